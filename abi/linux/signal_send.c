/*
 * Sending: a signal becomes pending for a thread or a process, and a thread that can take it is told.
 *
 * In this order: stop signals and SIGCONT undo each other whatever their disposition; who watches the task
 * (kernel/task.h) is told; what is ignored (and not blocked) goes no further; the queue takes it; waiters in
 * sigtimedwait and signalfd wake; one thread that does not block it is marked interrupted, which ends its wait, and
 * kicked out of user mode. SIGKILL is never queued: it begins the end at once.
 */
#include "abi/linux/signal_state.h"
#include "kernel/assert.h"

void signal_notify_thread(struct thread_signals *own)
{
    struct thread *thread = signals_thread(own)->thread;
    thread_interrupt(thread);
    if (thread != thread_current())
        body_user_kick(thread);
}

void signal_retarget(struct process_signals *signals, struct thread_signals *except, signal_set set)
{
    set &= signals->queue.pending;
    LIST_FOR_EACH(node, &signals->threads) {
        struct thread_signals *own = LIST_ENTRY(node, struct thread_signals, link);
        if (!set)
            return;
        if (own == except || !(set & ~own->blocked))
            continue;
        set &= own->blocked;
        signal_notify_thread(own);
    }
}

/* A thread for a signal of the process: the leader if it can, then one that has nothing to do yet, then any; or NULL. */
static struct thread_signals *choose_thread(struct process_signals *signals, int signal)
{
    struct thread_signals *busy = NULL;
    LIST_FOR_EACH(node, &signals->threads) {
        struct thread_signals *own = LIST_ENTRY(node, struct thread_signals, link);
        if (own->blocked & sigset_of(signal))
            continue;
        if (!thread_interrupted(signals_thread(own)->thread))
            return own;
        busy = busy ? busy : own;
    }
    return busy;
}

/* The first process keeps running when another one sends it what it does not handle. */
static bool protected_from_sender(struct process_signals *signals, const struct linux_siginfo *info, const struct signal_action *action)
{
    struct process *sender = current_process();
    return signals->process->pid == 1 && info->code <= 0 && sender && sender != signals->process &&
           action->handler == LINUX_SIG_DFL;
}

static bool thrown_away(struct process_signals *signals, struct thread_signals *target, const struct linux_siginfo *info)
{
    int signal = info->signo;
    if (list_empty(&signals->threads))
        return true;
    if (!target)
        target = LIST_ENTRY(signals->threads.next, struct thread_signals, link);
    if (target->blocked & sigset_of(signal))
        return false;
    struct signal_action action = signal_action_read(signals, signal);
    return signal_action_ignores(&action, signal) || protected_from_sender(signals, info, &action);
}

/* What stop signals and SIGCONT do before anything else. */
static void prepare(struct process_signals *signals, int signal)
{
    if (sigset_of(signal) & SIGNAL_STOPS)
        signal_stopping_locked(signals);
    else if (signal == LINUX_SIGCONT)
        signal_continue_locked(signals);
}

static void announce(struct process_signals *signals, struct thread_signals *target, int signal)
{
    waitq_wake_all(&signals->arrivals);
    if (!knote_list_empty(&signals->knotes))
        knote_notify(&signals->knotes, EVENT_READ | EVENT_READ_NORMAL);
    if (!target)
        target = choose_thread(signals, signal);
    if (target && !(target->blocked & sigset_of(signal)))
        signal_notify_thread(target);
}

/*
 * Who watches the process's task learns of every attempt, also of what is ignored, but of none after its end: the last
 * thread leaves the list, under signals->mutex, before TASK_EXIT.
 */
static void tell_watchers_locked(struct process_signals *signals, int signal)
{
    struct task *task = signals->process->watched;
    if (UNLIKELY(!knote_list_empty(&task->life)) && !list_empty(&signals->threads))
        task_post(task, &(struct task_event){.kind = TASK_SIGNAL, .data = signal});
}

/* Tells the watchers. True when the signal goes no further. */
static bool send_ignored_locked(struct process_signals *signals, struct thread_signals *target, const struct linux_siginfo *info)
{
    tell_watchers_locked(signals, info->signo);
    return thrown_away(signals, target, info);
}

static int send_locked(struct process_signals *signals, struct thread_signals *target, const struct linux_siginfo *info)
{
    prepare(signals, info->signo);
    if (send_ignored_locked(signals, target, info))
        return 0;
    int error = signal_queue_add(signals, target ? &target->queue : &signals->queue, info->signo, info);
    if (!error)
        announce(signals, target, info->signo);
    return error;
}

static int send_kill(struct process *process, const struct linux_siginfo *info)
{
    static const struct signal_action action = {.handler = LINUX_SIG_DFL};
    struct process_signals *signals = process->signals;
    if (protected_from_sender(signals, info, &action))
        return 0;
    if (UNLIKELY(!knote_list_empty(&process->watched->life))) {
        mutex_lock(&signals->mutex);
        tell_watchers_locked(signals, LINUX_SIGKILL);
        mutex_unlock(&signals->mutex);
    }
    process_kill(process, LINUX_SIGKILL);
    return 0;
}

/* A copy that names its signal. */
static struct linux_siginfo complete_info(int signal, const struct linux_siginfo *info)
{
    struct linux_siginfo copy = {.code = LINUX_SI_KERNEL};
    if (info)
        copy = *info;
    copy.signo = signal;
    return copy;
}

int signal_send_process(struct process *process, int signal, const struct linux_siginfo *info)
{
    struct process_signals *signals = process->signals;
    KASSERT(signal_valid(signal));
    struct linux_siginfo complete = complete_info(signal, info);
    if (signal == LINUX_SIGKILL)
        return send_kill(process, &complete);
    mutex_lock(&signals->mutex);
    int error = send_locked(signals, NULL, &complete);
    mutex_unlock(&signals->mutex);
    return error;
}

int signal_send_thread(struct lthread *thread, int signal, const struct linux_siginfo *info)
{
    struct process_signals *signals = thread->process->signals;
    KASSERT(signal_valid(signal));
    struct linux_siginfo complete = complete_info(signal, info);
    if (signal == LINUX_SIGKILL)
        return send_kill(thread->process, &complete);
    mutex_lock(&signals->mutex);
    int error = thread->signals.signals ? send_locked(signals, &thread->signals, &complete) : 0;
    mutex_unlock(&signals->mutex);
    return error;
}

int signal_send_group_locked(int32_t pgid, int signal, const struct linux_siginfo *info)
{
    int result = -ESRCH;
    LIST_FOR_EACH(node, &process_all) {
        struct process *process = LIST_ENTRY(node, struct process, all_link);
        if (process->pgid != pgid || !process->signals)
            continue;
        int error = signal_send_process(process, signal, info);
        result = result == 0 ? 0 : error;
    }
    return result;
}

int signal_send_group(int32_t pgid, int signal, const struct linux_siginfo *info)
{
    mutex_lock(&process_tree_lock);
    int result = signal_send_group_locked(pgid, signal, info);
    mutex_unlock(&process_tree_lock);
    return result;
}

void signal_force(int signal, const struct linux_siginfo *info)
{
    struct lthread *thread = current_thread();
    struct process_signals *signals = thread->process->signals;
    struct linux_siginfo complete = complete_info(signal, info);
    mutex_lock(&signals->mutex);
    struct signal_action action = signal_action_read(signals, signal);
    bool blocked = thread->signals.blocked & sigset_of(signal);
    if (blocked || action.handler == LINUX_SIG_IGN) {
        action = (struct signal_action){.handler = LINUX_SIG_DFL};
        signal_action_write(signals, signal, &action);
        thread->signals.blocked &= ~sigset_of(signal);
    }
    tell_watchers_locked(signals, signal);
    signal_queue_add(signals, &thread->signals.queue, signal, &complete);
    announce(signals, &thread->signals, signal);
    mutex_unlock(&signals->mutex);
}

void signal_fault(struct lthread *thread, const struct user_entry *entry)
{
    struct linux_siginfo info = {.signo = entry->signal, .code = entry->code, .fault.address = entry->address};
    thread->signals.trap_number = entry->trap_number;
    thread->signals.trap_error = entry->error_code;
    thread->signals.trap_address = entry->address;
    signal_force(signal_valid(entry->signal) ? entry->signal : LINUX_SIGSEGV, &info);
}

/* A timer's thread may be gone; then its signal is, too. */
enum signal_record_fate signal_send_record(struct process *process, struct lthread *thread, struct signal_record *record)
{
    struct process_signals *signals = process->signals;
    struct thread_signals *target = thread ? &thread->signals : NULL;
    enum signal_record_fate fate = RECORD_QUEUED;
    mutex_lock(&signals->mutex);
    if (record->queue)
        fate = RECORD_WAS_QUEUED;
    else if ((target && !target->signals) || send_ignored_locked(signals, target, &record->info))
        fate = RECORD_IGNORED;
    else {
        signal_queue_add_record(target ? &target->queue : &signals->queue, record);
        announce(signals, target, record->info.signo);
    }
    mutex_unlock(&signals->mutex);
    return fate;
}

bool signal_unqueue_record(struct process *process, struct signal_record *record)
{
    mutex_lock(&process->signals->mutex);
    bool queued = record->queue;
    if (queued)
        signal_queue_remove(record);
    mutex_unlock(&process->signals->mutex);
    return queued;
}
