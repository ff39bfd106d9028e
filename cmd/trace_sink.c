/*
 * Where a trace goes: a file, or standard error. Lines that cannot be written are lost: a full disk must not stop a program.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static int trace_fd = -1;

void trace_sink_write(const char *text, size_t length)
{
    while (length) {
        ssize_t done = write(trace_fd, text, length);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = trace_fd, .events = POLLOUT};
            poll(&wait, 1, -1);
        } else if (done < 0 && errno != EINTR) {
            return;
        } else if (done > 0) {
            text += done;
            length -= (size_t)done;
        }
    }
}

int trace_sink_open(const char *file)
{
    trace_fd = file ? open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666) : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (trace_fd >= 0)
        return 0;
    complain("--trace '%s': %s", file ? file : "standard error", strerror(errno));
    return EXIT_HYLA;
}

void trace_sink_close(void)
{
    if (trace_fd >= 0)
        close(trace_fd);
    trace_fd = -1;
}
