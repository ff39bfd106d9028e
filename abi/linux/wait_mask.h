/*
 * The signal mask that ppoll, pselect6 and epoll_pwait put on for the time of their wait.
 */
#ifndef ABI_LINUX_WAIT_MASK_H
#define ABI_LINUX_WAIT_MASK_H

#include "abi/linux/signal.h"
#include "kernel/errno.h"
#include "kernel/user.h"

/* mask 0: none. -EINVAL, -EFAULT. */
static inline int wait_mask_begin(uaddr_t mask, uint64_t size)
{
    signal_set set;

    if (!mask)
        return 0;
    if (size != sizeof(set))
        return -EINVAL;
    if (user_read(&set, mask, sizeof(set)))
        return -EFAULT;
    signal_mask_temporarily(set & ~(sigset_of(LINUX_SIGKILL) | sigset_of(LINUX_SIGSTOP)));
    return 0;
}

/* The mask stays until the signal that ended the wait is delivered; else it ends now. Returns the result. */
static inline int64_t wait_mask_end(uaddr_t mask, int64_t result)
{
    if (mask && result != -ERESTARTNOHAND && result != -EINTR)
        signal_mask_restore();
    return result;
}

#endif
