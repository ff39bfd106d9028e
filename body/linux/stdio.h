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
 * put into raw mode (restored by stdio_console_close and at exit) and its input
 * feeds the line discipline; output goes to it. Window size and mode follow stdio_console_signal. A reference, or NULL with *error:
 * -ENOTTY when none of the descriptors is a terminal.
 *
 * After it, stdio_file of a descriptor that is this terminal gives a file of the console instead.
 * Threads: after host_init, before or during host_run.
 */
struct tty *stdio_console_open(const int *fds, size_t count, int *error);
/*
 * To be called with each SIGWINCH and SIGCONT that the server gets, on a kernel thread: the first becomes the guest's
 * window size and SIGWINCH to its foreground group (true: there is a console, nothing is left to forward), the second puts a
 * terminal that a shell took away meanwhile back into raw mode (false: forward it as usual).
 */
bool stdio_console_signal(int signal);
/* Restores the host's terminal. Any host thread; idempotent; async-signal-safe. */
void stdio_console_close(void);

#endif
