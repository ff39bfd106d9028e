/*
 * Masks, and taking signals: what the current thread lets in, and the next signal it is to have.
 *
 * Blocking a signal that already waits for the process may take away the thread that was woken for it, so another
 * one is looked for. A temporary mask (ppoll, sigsuspend) lasts until signal_deliver has delivered what it let in.
 */
#include "abi/linux/signal_state.h"
#include "kernel/assert.h"

void signal_recalculate(struct thread_signals *own)
{
    struct process_signals *signals = own->signals;
    struct thread *thread = signals_thread(own)->thread;
    bool wanted = own->must_stop || ((own->queue.pending | signals->queue.pending) & ~own->blocked);
    if (wanted && !thread_interrupted(thread))
        thread_interrupt(thread);
    else if (!wanted && thread_interrupted(thread))
        thread_interrupt_clear(thread);
}

void signal_set_mask_locked(struct thread_signals *own, signal_set mask)
{
    struct process_signals *signals = own->signals;
    signal_set closed = mask & ~own->blocked & signals->queue.pending;
    own->blocked = mask & ~SIGNAL_KERNEL_ONLY;
    if (closed)
        signal_retarget(signals, own, closed);
    signal_recalculate(own);
}

void signal_set_mask(struct lthread *thread, signal_set mask)
{
    if (thread->signals.blocked == (mask & ~SIGNAL_KERNEL_ONLY))
        return;
    struct process_signals *signals = thread->process->signals;
    mutex_lock(&signals->mutex);
    signal_set_mask_locked(&thread->signals, mask);
    mutex_unlock(&signals->mutex);
}

void signal_mask_temporarily(signal_set mask)
{
    struct lthread *thread = current_thread();
    thread->signals.saved_mask = thread->signals.blocked;
    thread->signals.restore_mask = true;
    signal_set_mask(thread, mask);
}

void signal_mask_restore(void)
{
    struct lthread *thread = current_thread();
    if (!thread->signals.restore_mask)
        return;
    thread->signals.restore_mask = false;
    signal_set_mask(thread, thread->signals.saved_mask);
}

bool signal_pending(void)
{
    struct thread *thread = thread_current();
    return thread_interrupted(thread) || thread_killed(thread);
}

bool signal_ignored_or_blocked(int signal)
{
    struct lthread *thread = current_thread();
    struct process_signals *signals = thread->process->signals;
    if (thread->signals.blocked & sigset_of(signal))
        return true;
    mutex_lock(&signals->mutex);
    struct signal_action action = signal_action_read(signals, signal);
    mutex_unlock(&signals->mutex);
    return action.handler == LINUX_SIG_IGN;
}

int signal_take_locked(struct lthread *thread, signal_set set, struct linux_siginfo *info, struct signal_record **record)
{
    struct process_signals *signals = thread->process->signals;
    KASSERT(mutex_owned(&signals->mutex));
    int signal = signal_queue_take(&thread->signals.queue, set, info, record);
    return signal ? signal : signal_queue_take(&signals->queue, set, info, record);
}

int signal_dequeue(signal_set mask, struct linux_siginfo *info)
{
    struct lthread *thread = current_thread();
    struct process_signals *signals = thread->process->signals;
    struct signal_record *record;
    mutex_lock(&signals->mutex);
    int signal = signal_take_locked(thread, mask & ~SIGNAL_KERNEL_ONLY, info, &record);
    if (signal)
        signal_recalculate(&thread->signals);
    mutex_unlock(&signals->mutex);
    if (record)
        signal_timer_taken(record, info);
    return signal;
}

int64_t signal_wait_in(signal_set set, nanoseconds_t deadline, struct linux_siginfo *info)
{
    struct lthread *thread = current_thread();
    struct process_signals *signals = thread->process->signals;
    struct signal_record *record = NULL;
    int error = 0, signal;
    mutex_lock(&signals->mutex);
    for (;;) {
        signal = signal_take_locked(thread, set, info, &record);
        if (signal || error)
            break;
        signal_recalculate(&thread->signals);
        error = -ETIMEDOUT;
        if (deadline)
            error = waitq_sleep(&signals->arrivals, &signals->mutex, deadline, WAIT_INTERRUPTIBLE);
    }
    if (signal)
        signal_recalculate(&thread->signals);
    mutex_unlock(&signals->mutex);
    if (record)
        signal_timer_taken(record, info);
    if (signal)
        return signal;
    return error == -ETIMEDOUT ? -EAGAIN : -EINTR;
}

signal_set signal_pending_set(void)
{
    struct lthread *thread = current_thread();
    struct process_signals *signals = thread->process->signals;
    mutex_lock(&signals->mutex);
    signal_set pending = thread->signals.queue.pending | signals->queue.pending;
    mutex_unlock(&signals->mutex);
    return pending;
}

struct knote_list *signal_knotes(struct process *process) { return &process->signals->knotes; }
