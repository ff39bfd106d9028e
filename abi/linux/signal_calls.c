/*
 * The calls about one's own signals: sigaction, masks, waiting, the alternate stack, returning from handlers.
 * Semantics are those of the manual pages sigaction(2), sigprocmask(2), sigsuspend(2), sigwaitinfo(2), sigaltstack(2).
 */
#include "abi/linux/calls.h"
#include "abi/linux/signal_state.h"
#include "abi/linux/time.h"

/* Drops what is pending of a signal that is ignored from now on. signals->mutex held, released meanwhile for timers. */
static void drop_pending(struct process_signals *signals, struct signal_queue *queue, int signal)
{
    struct signal_record *record;
    while ((record = signal_queue_flush(queue, sigset_of(signal)))) {
        mutex_unlock(&signals->mutex);
        signal_timer_dropped(record);
        mutex_lock(&signals->mutex);
    }
}

static void set_action(struct process_signals *signals, int signal, const struct signal_action *action)
{
    mutex_lock(&signals->mutex);
    signal_action_write(signals, signal, action);
    if (signal_action_ignores(action, signal)) {
        drop_pending(signals, &signals->queue, signal);
        /* Other threads' own pending signals vanish when they are taken: they are ignored then as well. */
        drop_pending(signals, &current_thread()->signals.queue, signal);
        signal_recalculate(&current_thread()->signals);
    }
    mutex_unlock(&signals->mutex);
}

int64_t sys_rt_sigaction(int32_t signal, uaddr_t action, uaddr_t old_action, uint64_t set_size)
{
    struct process_signals *signals = current_process()->signals;
    struct signal_action new, old;
    if (set_size != sizeof(signal_set))
        return -EINVAL;
    if (action && signal_action_copy_in(&new, action))
        return -EFAULT;
    if (!signal_valid(signal) || (action && (SIGNAL_KERNEL_ONLY & sigset_of(signal))))
        return -EINVAL;
    mutex_lock(&signals->mutex);
    old = signal_action_read(signals, signal);
    mutex_unlock(&signals->mutex);
    if (action) {
        new.flags &= signal_action_flags;
        new.mask &= ~SIGNAL_KERNEL_ONLY;
        set_action(signals, signal, &new);
    }
    return old_action ? signal_action_copy_out(old_action, &old) : 0;
}

enum { SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK };

static int change_mask(struct lthread *thread, int32_t how, signal_set set)
{
    signal_set mask = thread->signals.blocked;
    switch (how) {
    case SIG_BLOCK:
        mask |= set;
        break;
    case SIG_UNBLOCK:
        mask &= ~set;
        break;
    case SIG_SETMASK:
        mask = set;
        break;
    default:
        return -EINVAL;
    }
    signal_set_mask(thread, mask);
    return 0;
}

int64_t sys_rt_sigprocmask(int32_t how, uaddr_t set, uaddr_t old_set, uint64_t set_size)
{
    struct lthread *thread = current_thread();
    signal_set new, old = thread->signals.blocked;
    if (set_size != sizeof(signal_set))
        return -EINVAL;
    if (set) {
        if (user_read(&new, set, sizeof new))
            return -EFAULT;
        int error = change_mask(thread, how, new);
        if (error)
            return error;
    }
    return old_set ? user_write(old_set, &old, sizeof old) : 0;
}

int64_t sys_rt_sigpending(uaddr_t set, uint64_t set_size)
{
    struct lthread *thread = current_thread();
    if (set_size > sizeof(signal_set))
        return -EINVAL;
    signal_set pending = signal_pending_set() & thread->signals.blocked;
    return user_write(set, &pending, set_size);
}

/* Until a signal is to be delivered. */
static int64_t wait_for_signal(void)
{
    struct waitq nobody;
    waitq_init(&nobody);
    while (!signal_pending())
        waitq_sleep(&nobody, NULL, DEADLINE_NEVER, WAIT_INTERRUPTIBLE);
    return -ERESTARTNOHAND;
}

int64_t sys_pause(void) { return wait_for_signal(); }

int64_t sys_rt_sigsuspend(uaddr_t set, uint64_t set_size)
{
    signal_set mask;
    if (set_size != sizeof mask)
        return -EINVAL;
    if (user_read(&mask, set, sizeof mask))
        return -EFAULT;
    signal_mask_temporarily(mask);
    return wait_for_signal();
}

int64_t sys_rt_sigtimedwait(uaddr_t set, uaddr_t info, uaddr_t timeout, uint64_t set_size)
{
    signal_set wanted;
    struct linux_siginfo found;
    struct linux_timespec time;
    nanoseconds_t deadline = DEADLINE_NEVER;
    if (set_size != sizeof wanted)
        return -EINVAL;
    if (user_read(&wanted, set, sizeof wanted))
        return -EFAULT;
    if (timeout) {
        if (user_read(&time, timeout, sizeof time))
            return -EFAULT;
        if (!timespec_valid(&time))
            return -EINVAL;
        deadline = deadline_after_ns(timespec_ns(&time));
    }
    int64_t signal = signal_wait_in(wanted & ~SIGNAL_KERNEL_ONLY, deadline, &found);
    if (signal > 0 && info && user_write(info, &found, sizeof found))
        return -EFAULT;
    return signal;
}

int64_t sys_sigaltstack(uaddr_t stack, uaddr_t old_stack)
{
    struct lthread *thread = current_thread();
    struct linux_stack new, old;
    struct user_regs regs;
    body_user_get_regs(thread->thread, &regs);
    uint64_t sp = signal_regs_stack(&regs);
    altstack_get(&thread->signals, &old, sp);
    if (stack) {
        if (user_read(&new, stack, sizeof new))
            return -EFAULT;
        int error = altstack_set(&thread->signals, &new, sp);
        if (error)
            return error;
    }
    return old_stack ? user_write(old_stack, &old, sizeof old) : 0;
}

int64_t sys_rt_sigreturn(void)
{
    struct lthread *thread = current_thread();
    struct user_regs regs;
    signal_set mask;
    body_user_get_regs(thread->thread, &regs);
    thread->restart = NULL;
    if (signal_frame_pop(thread, &regs, &mask)) {
        signal_force(LINUX_SIGSEGV, NULL);
        return 0;
    }
    signal_set_mask(thread, mask);
    body_user_set_regs(thread->thread, &regs);
    thread->regs_changed = true;
    return 0;
}

int64_t sys_restart_syscall(void)
{
    struct lthread *thread = current_thread();
    int64_t (*restart)(struct lthread *) = thread->restart;
    thread->restart = NULL;
    return restart ? restart(thread) : -EINTR;
}
