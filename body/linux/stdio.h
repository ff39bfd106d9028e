/*
 * The guest's standard streams and its console, over descriptors of the host.
 */
#ifndef BODY_LINUX_STDIO_H
#define BODY_LINUX_STDIO_H

#include "kernel/types.h"

struct file;
struct tty;

/*
 * An open file over a host descriptor, which stays the caller's and must stay open: a pipe, a regular file, a
 * directory, a character device, a socket. The host's own O_NONBLOCK setting is left alone. -EBADF: closed there;
 * the guest's descriptor is then to be closed too.
 */
int stdio_file(int host_fd, struct file **file);

/*
 * The console: a terminal of the guest whose other end is the host's terminal. The first of `fds` that is a terminal is
 * put into raw mode (restored by stdio_console_close, at exit, and when a signal ends the server) and its input
 * feeds the line discipline; output goes to it. Window size follows SIGWINCH. A reference, or NULL with *error:
 * -ENOTTY when none of the descriptors is a terminal.
 *
 * After it, stdio_file of a descriptor that is this terminal gives a file of the console instead.
 * Threads: after host_init, before or during host_run.
 */
struct tty *stdio_console_open(const int *fds, size_t count, int *error);
/* Restores the host's terminal. Any host thread; idempotent; async-signal-safe. */
void stdio_console_close(void);

#endif
