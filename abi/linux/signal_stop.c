/*
 * Group stop: a process stops when the last of its threads has, and goes on as a whole.
 *
 * Who takes a stop signal sets signals->stop_signal and marks every thread must_stop; each stops in signal_deliver, in
 * a killable wait. The last one reports. SIGCONT clears it all, whatever its disposition; a stop signal that was
 * taken before a SIGCONT and not yet carried out is void (signals->continues). The parent must hear of stops and
 * continuations in their order although different threads notice them: they queue in signals->reports, and one
 * thread at a time, holding no lock, tells them.
 */
#include "abi/linux/signal_state.h"
#include "kernel/assert.h"

static void add_report(struct process_signals *signals, int report)
{
    if (signals->report_count < SIGNAL_REPORTS_MAX)
        signals->reports[signals->report_count++] = report;
}

static int next_report(struct process_signals *signals)
{
    int report = signals->reports[0];
    signals->report_count--;
    for (uint32_t i = 0; i < signals->report_count; i++)
        signals->reports[i] = signals->reports[i + 1];
    return report;
}

void signal_report(struct process *process)
{
    struct process_signals *signals = process->signals;
    mutex_lock(&signals->mutex);
    while (signals->report_count && !signals->reporting) {
        int report = next_report(signals);
        signals->reporting = true;
        mutex_unlock(&signals->mutex);
        if (report)
            process_report_stopped(process, report);
        else
            process_report_continued(process);
        mutex_lock(&signals->mutex);
        signals->reporting = false;
    }
    mutex_unlock(&signals->mutex);
}

/* The thread has stopped, or need not any more. */
static void count_stopped(struct process_signals *signals, struct thread_signals *own)
{
    if (!own->must_stop)
        return;
    own->must_stop = false;
    KASSERT(signals->stop_pending > 0);
    if (--signals->stop_pending == 0 && !signals->stop_reported && !list_empty(&signals->threads)) {
        signals->stop_reported = true;
        add_report(signals, signals->stop_signal);
    }
}

static void mark(struct process_signals *signals, struct thread_signals *own)
{
    if (own->must_stop)
        return;
    own->must_stop = true;
    signals->stop_pending++;
    signal_notify_thread(own);
}

void signal_stop_process(struct lthread *thread, int signal, uint32_t continues)
{
    struct process_signals *signals = thread->process->signals;
    if (signal != LINUX_SIGSTOP && process_group_orphaned(thread->process->pgid))
        return;
    mutex_lock(&signals->mutex);
    if (signals->continues == continues && !signals->stop_signal && !thread_killed(thread->thread)) {
        signals->stop_signal = signal;
        signals->stop_reported = false;
        LIST_FOR_EACH(node, &signals->threads)
            mark(signals, LIST_ENTRY(node, struct thread_signals, link));
    }
    mutex_unlock(&signals->mutex);
}

/* Counts the thread in, and sleeps unless it is to be counted anew. Whether it is to stay stopped. */
static bool stop_round(struct lthread *thread)
{
    struct process_signals *signals = thread->process->signals;
    mutex_lock(&signals->mutex);
    count_stopped(signals, &thread->signals);
    mutex_unlock(&signals->mutex);
    signal_report(thread->process);
    mutex_lock(&signals->mutex);
    if (signals->stop_signal && !thread->signals.must_stop && !thread_killed(thread->thread))
        waitq_sleep(&signals->stopped, &signals->mutex, DEADLINE_NEVER, WAIT_KILLABLE);
    bool stay = signals->stop_signal && !thread_killed(thread->thread);
    mutex_unlock(&signals->mutex);
    return stay;
}

/* A SIGCONT and the next stop may both have come before the thread wakes: it then counts for that stop too. */
void signal_stop_here(struct lthread *thread)
{
    while (stop_round(thread))
        ;
    signal_report(thread->process);
}

static void flush_all(struct process_signals *signals, signal_set set)
{
    signal_queue_flush_plain(&signals->queue, set);
    LIST_FOR_EACH(node, &signals->threads)
        signal_queue_flush_plain(&LIST_ENTRY(node, struct thread_signals, link)->queue, set);
}

void signal_stopping_locked(struct process_signals *signals) { flush_all(signals, sigset_of(LINUX_SIGCONT)); }

void signal_continue_locked(struct process_signals *signals)
{
    flush_all(signals, SIGNAL_STOPS);
    signals->continues++;
    if (!signals->stop_signal)
        return;
    signals->stop_signal = 0;
    signals->stop_pending = 0;
    LIST_FOR_EACH(node, &signals->threads)
        LIST_ENTRY(node, struct thread_signals, link)->must_stop = false;
    if (signals->stop_reported)
        add_report(signals, 0);
    signals->stop_reported = false;
    waitq_wake_all(&signals->stopped);
}

void signal_stop_join_locked(struct thread_signals *own)
{
    if (own->signals->stop_signal)
        mark(own->signals, own);
}

void signal_stop_leave_locked(struct process_signals *signals, struct thread_signals *own)
{
    count_stopped(signals, own);
}
