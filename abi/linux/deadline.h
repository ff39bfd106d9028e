/*
 * Timeouts as calls carry them, and the deadlines the kernel waits with.
 */
#ifndef ABI_LINUX_DEADLINE_H
#define ABI_LINUX_DEADLINE_H

#include "abi/linux/uapi.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/user.h"

#define NS_PER_SECOND 1000000000ull

static inline nanoseconds_t deadline_after_ns(uint64_t wait_ns)
{
    nanoseconds_t now = body_now();
    return wait_ns >= DEADLINE_NEVER - now ? DEADLINE_NEVER : now + wait_ns;
}

/* Negative: never. */
static inline nanoseconds_t deadline_after_ms(int64_t wait_ms)
{
    return wait_ms < 0 ? DEADLINE_NEVER : deadline_after_ns((uint64_t)wait_ms * 1000000);
}

/* A relative timespec; NULL: never. -EINVAL. */
static inline int deadline_after_timespec(const struct linux_timespec *wait, nanoseconds_t *deadline)
{
    *deadline = DEADLINE_NEVER;
    if (!wait)
        return 0;
    if (wait->seconds < 0 || wait->nanoseconds < 0 || (uint64_t)wait->nanoseconds >= NS_PER_SECOND)
        return -EINVAL;
    if ((uint64_t)wait->seconds < DEADLINE_NEVER / NS_PER_SECOND)
        *deadline = deadline_after_ns((uint64_t)wait->seconds * NS_PER_SECOND + (uint64_t)wait->nanoseconds);
    return 0;
}

/* What is left of it, never negative. */
static inline struct linux_timespec deadline_remaining(nanoseconds_t deadline)
{
    nanoseconds_t now = body_now();
    uint64_t left = deadline > now ? deadline - now : 0;
    return (struct linux_timespec){(int64_t)(left / NS_PER_SECOND), (int64_t)(left % NS_PER_SECOND)};
}

/*
 * select, pselect6 and ppoll write back what is left. A call to be restarted must find it there: when it cannot be
 * written it is not restarted. Returns the result.
 */
static inline int64_t deadline_report(uaddr_t timeout, nanoseconds_t deadline, int64_t result)
{
    struct linux_timespec left = deadline_remaining(deadline);

    if (user_write(timeout, &left, sizeof(left)) && result == -ERESTARTNOHAND)
        return -EINTR;
    return result;
}

#endif
