/*
 * The alternate signal stack of a thread, as sigaltstack(2) describes it.
 *
 * SS_AUTODISARM forgets the stack while a handler runs on it, so that the handler may switch away; the frame brings
 * it back. A thread on its stack cannot change it.
 */
#include "abi/linux/signal_state.h"

bool altstack_contains(const struct thread_signals *signals, uint64_t sp)
{
    if (signals->altstack_flags & LINUX_SS_AUTODISARM)
        return false;
    return sp > signals->altstack && sp - signals->altstack <= signals->altstack_size;
}

void altstack_reset(struct thread_signals *signals)
{
    signals->altstack = 0;
    signals->altstack_size = 0;
    signals->altstack_flags = LINUX_SS_DISABLE;
}

void altstack_get(const struct thread_signals *signals, struct linux_stack *stack, uint64_t sp)
{
    uint32_t flags = signals->altstack_flags & LINUX_SS_AUTODISARM;
    if (!signals->altstack_size)
        flags |= LINUX_SS_DISABLE;
    else if (altstack_contains(signals, sp))
        flags |= LINUX_SS_ONSTACK;
    *stack = (struct linux_stack){.sp = signals->altstack, .flags = (int32_t)flags, .size = signals->altstack_size};
}

int altstack_set(struct thread_signals *signals, const struct linux_stack *stack, uint64_t sp)
{
    uint32_t flags = (uint32_t)stack->flags;
    uint32_t mode = flags & ~LINUX_SS_AUTODISARM;
    if (altstack_contains(signals, sp))
        return -EPERM;
    if (mode != LINUX_SS_DISABLE && mode != LINUX_SS_ONSTACK && mode != 0)
        return -EINVAL;
    bool disable = mode == LINUX_SS_DISABLE;
    if (!disable && stack->size < signal_stack_least)
        return -ENOMEM;
    signals->altstack = disable ? 0 : stack->sp;
    signals->altstack_size = disable ? 0 : stack->size;
    signals->altstack_flags = flags;
    return 0;
}
