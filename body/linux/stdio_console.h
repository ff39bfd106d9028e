/*
 * Between the standard streams and the console.
 */
#ifndef BODY_LINUX_STDIO_CONSOLE_H
#define BODY_LINUX_STDIO_CONSOLE_H

#include "kernel/types.h"

/* True when the host descriptor is the terminal that the console took over. */
bool stdio_console_is(int host_fd);
/* The server's own SIGPIPE: a write's EPIPE says it all. stdio_signal.c, away from abi/linux/signal.h. */
void stdio_ignore_pipe_signal(void);

#endif
