/*
 * For the signal and time tests: CHECK prints the failing line and ends the test; xfork's child ends with the status
 * of its function.
 */
#ifndef TESTS_LINUX_SIGNAL_CHECK_H
#define TESTS_LINUX_SIGNAL_CHECK_H

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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

static inline void handle(int signal, void (*function)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = function, .sa_flags = flags | SA_SIGINFO};
    CHECK(sigaction(signal, &action, NULL) == 0);
}

static inline sigset_t set_of(int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    return set;
}

static inline void block(int signal)
{
    sigset_t set = set_of(signal);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
}

static inline void unblock(int signal)
{
    sigset_t set = set_of(signal);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
}

static inline pid_t xfork(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    return pid;
}

static inline int wait_for(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

/* Runs function in a child that must return. */
static inline int status_of(void (*function)(void))
{
    pid_t pid = xfork();
    if (pid == 0) {
        function();
        _exit(0);
    }
    return wait_for(pid);
}

static inline int64_t now_ns(clockid_t clock)
{
    struct timespec time;
    CHECK(clock_gettime(clock, &time) == 0);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

#endif
