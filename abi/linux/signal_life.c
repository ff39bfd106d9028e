/*
 * The life of signal state: a process's, with its table of actions, and each thread's.
 *
 * A thread is a target from thread_signals_init to thread_signals_exit: it is linked into signals->threads, so that
 * senders need no lock of the process. The process_signals lives as long as its process.
 */
#include "abi/linux/signal_state.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"

static struct process_signals *signals_make(struct process *process, struct signal_actions *actions, struct signal_quota *quota)
{
    struct process_signals *signals = kzalloc(sizeof *signals);
    if (!signals || !actions || !quota) {
        kfree(signals);
        object_unref(actions);
        signal_quota_put(quota);
        return NULL;
    }
    signals->process = process;
    mutex_init(&signals->mutex, RANK_SIGNAL);
    signals->actions = actions;
    signals->quota = quota;
    signal_queue_init(&signals->queue);
    list_init(&signals->threads);
    waitq_init(&signals->arrivals);
    waitq_init(&signals->stopped);
    knote_list_init(&signals->knotes);
    return signals;
}

int signals_create(struct process *process)
{
    process->signals = signals_make(process, signal_actions_create(NULL, false), signal_quota_get(0));
    return process->signals ? 0 : -ENOMEM;
}

int signals_fork(struct process *child, struct process *parent, bool share, bool clear)
{
    struct process_signals *from = parent->signals;
    struct signal_actions *actions = share ? object_ref(from->actions) : signal_actions_create(from->actions, clear);
    child->signals = signals_make(child, actions, signal_quota_get(from->quota->uid));
    return child->signals ? 0 : -ENOMEM;
}

/* Drops what is pending. Nothing is sent to it any more, or the caller does not mind. */
static void queue_drain(struct process_signals *signals, struct signal_queue *queue)
{
    struct signal_record *record;
    do {
        mutex_lock(&signals->mutex);
        record = signal_queue_flush(queue, ~(signal_set)0);
        mutex_unlock(&signals->mutex);
        if (record)
            signal_timer_dropped(record);
    } while (record);
}

void signals_destroy(struct process *process)
{
    struct process_signals *signals = process->signals;
    if (!signals)
        return;
    KASSERT(list_empty(&signals->threads));
    process->signals = NULL;
    queue_drain(signals, &signals->queue);
    knote_list_close(&signals->knotes);
    object_unref(signals->actions);
    signal_quota_put(signals->quota);
    kfree(signals);
}

int signals_exec(struct process *process)
{
    struct process_signals *signals = process->signals;
    struct lthread *thread = current_thread();
    struct signal_actions *fresh = signal_actions_create(signals->actions, true);
    if (!fresh)
        return -ENOMEM;
    mutex_lock(&signals->mutex);
    struct signal_actions *old = signals->actions;
    signals->actions = fresh;
    mutex_unlock(&signals->mutex);
    object_unref(old);
    if (thread)
        altstack_reset(&thread->signals);
    return 0;
}

void signals_set_user(struct process *process, uint32_t uid)
{
    struct process_signals *signals = process->signals;
    struct signal_quota *quota = signal_quota_get(uid);
    if (!quota)
        return;
    mutex_lock(&signals->mutex);
    struct signal_quota *old = signals->quota;
    signals->quota = quota;
    mutex_unlock(&signals->mutex);
    signal_quota_put(old);
}

void thread_signals_init(struct lthread *thread, const struct lthread *creator, bool keep_altstack)
{
    struct thread_signals *own = &thread->signals;
    *own = (struct thread_signals){0};
    signal_queue_init(&own->queue);
    list_init(&own->link);
    altstack_reset(own);
    if (creator)
        own->blocked = creator->signals.blocked;
    if (creator && keep_altstack) {
        own->altstack = creator->signals.altstack;
        own->altstack_size = creator->signals.altstack_size;
        own->altstack_flags = creator->signals.altstack_flags;
    }
    KASSERT(thread->process && thread->process->signals && thread->thread);
    struct process_signals *signals = thread->process->signals;
    mutex_lock(&signals->mutex);
    own->signals = signals;
    list_push_back(&signals->threads, &own->link);
    signal_stop_join_locked(own);
    signal_retarget(signals, NULL, ~(signal_set)0);
    mutex_unlock(&signals->mutex);
}

void signal_thread_started(struct lthread *thread)
{
    if (atomic32_load(&thread->thread->interrupts))
        body_user_kick(thread->thread);
}

void thread_signals_exit(struct lthread *thread)
{
    struct thread_signals *own = &thread->signals;
    struct process_signals *signals = own->signals;
    if (!signals)
        return;
    mutex_lock(&signals->mutex);
    list_remove(&own->link);
    own->signals = NULL;
    signal_stop_leave_locked(signals, own);
    signal_retarget(signals, NULL, ~own->blocked);
    mutex_unlock(&signals->mutex);
    queue_drain(signals, &own->queue);
    signal_report(signals->process);
}

static struct signal_action child_action(struct process *parent)
{
    mutex_lock(&parent->signals->mutex);
    struct signal_action action = signal_action_read(parent->signals, LINUX_SIGCHLD);
    mutex_unlock(&parent->signals->mutex);
    return action;
}

bool signals_autoreap(struct process *parent)
{
    struct signal_action action = child_action(parent);
    return action.handler == LINUX_SIG_IGN || (action.flags & LINUX_SA_NOCLDWAIT);
}

bool signals_stop_wanted(struct process *parent)
{
    struct signal_action action = child_action(parent);
    return action.handler != LINUX_SIG_IGN && !(action.flags & LINUX_SA_NOCLDSTOP);
}

void signal_summary_read(struct lthread *thread, struct signal_summary *summary)
{
    struct process_signals *signals = thread->process->signals;
    mutex_lock(&signals->mutex);
    *summary = (struct signal_summary){
        .thread_pending = thread->signals.queue.pending,
        .process_pending = signals->queue.pending,
        .blocked = thread->signals.blocked,
        .queued = atomic64_load_relaxed(&signals->quota->count),
        .queue_limit = signals->process->limits[LINUX_RLIMIT_SIGPENDING].current,
    };
    for (int signal = 1; signal <= LINUX_SIGNALS; signal++) {
        uaddr_t handler = signal_action_read(signals, signal).handler;
        if (handler == LINUX_SIG_IGN)
            summary->ignored |= sigset_of(signal);
        else if (handler != LINUX_SIG_DFL)
            summary->caught |= sigset_of(signal);
    }
    mutex_unlock(&signals->mutex);
}
