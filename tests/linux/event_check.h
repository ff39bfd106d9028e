/*
 * For the tests of what is polled and piped: CHECK prints the failing line and ends the test; tick_start makes
 * SIGALRM come again and again, so that a wait that should be interrupted is, whenever it begins.
 */
#ifndef TESTS_LINUX_EVENT_CHECK_H
#define TESTS_LINUX_EVENT_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
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

static volatile sig_atomic_t ticks;
static inline void tick_count(int signal) { (void)signal, ticks++; }

static inline void on_signal(int signal, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    CHECK(sigaction(signal, &action, NULL) == 0);
}

/* SIGALRM every millisecond; flags: SA_RESTART or 0. */
static inline void tick_start(int flags)
{
    struct itimerval every = {{0, 1000}, {0, 1000}};
    ticks = 0;
    on_signal(SIGALRM, tick_count, flags);
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
}

static inline void tick_stop(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

static inline void child_done(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static inline double now(void)
{
    struct timespec time;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static inline short poll_one(int fd, short events)
{
    struct pollfd one = {.fd = fd, .events = events};
    CHECK(poll(&one, 1, 0) >= 0);
    return one.revents;
}

static inline int readable_bytes(int fd)
{
    int bytes = -1;
    CHECK(ioctl(fd, FIONREAD, &bytes) == 0);
    return bytes;
}

#endif
