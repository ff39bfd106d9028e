/*
 * For the futex tests: the calls without a C library in between, and threads that say when they are done.
 */
#ifndef TESTS_LINUX_FUTEX_CHECK_H
#define TESTS_LINUX_FUTEX_CHECK_H

#include <linux/futex.h>

#include "memory_check.h"

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

typedef _Atomic uint32_t word;

static inline long futex(word *address, int op, uint32_t value, const void *timeout, word *second, uint32_t value3)
{
    return syscall(SYS_futex, address, op, value, timeout, second, value3);
}
static inline long futex_wait(word *address, uint32_t value) { return futex(address, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0); }
static inline long futex_wake(word *address, uint32_t count) { return futex(address, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0); }

static inline void start(pthread_t *thread, void *(*function)(void *), void *argument)
{
    CHECK(pthread_create(thread, NULL, function, argument) == 0);
}

/* Waits until the other side has come to the kernel: by its effect, not by time. */
#define UNTIL(condition)                                                                                               \
    while (!(condition))                                                                                               \
    sched_yield()

static inline struct timespec after_ms(clockid_t clock, long ms)
{
    struct timespec now;
    clock_gettime(clock, &now);
    now.tv_nsec += ms * 1000000;
    now.tv_sec += now.tv_nsec / 1000000000;
    now.tv_nsec %= 1000000000;
    return now;
}

static inline uint32_t self_tid(void) { return (uint32_t)syscall(SYS_gettid); }

#endif
