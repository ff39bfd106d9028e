/*
 * For the process tests: CHECK prints the failing line and ends the test; wait_exit waits for a child that must
 * exit with a status.
 */
#ifndef TESTS_LINUX_PROCESS_CHECK_H
#define TESTS_LINUX_PROCESS_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(2, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                              \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)
#define CHECK_ERROR(call, error) CHECK((errno = 0, (call) == -1) && errno == (error))

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static inline int wait_status(pid_t pid)
{
    int status = -1;

    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static inline void wait_exit(pid_t pid, int code)
{
    int status = wait_status(pid);

    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        dprintf(2, "status %#x, not exit code %d\n", status, code);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == code);
}

/* Runs the function in a child that must succeed. */
static inline void in_child(void (*function)(void))
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        function();
        _exit(0);
    }
    wait_exit(pid, 0);
}

static inline void read_byte(int fd)
{
    char byte;

    CHECK(read(fd, &byte, 1) == 1);
}

#endif
