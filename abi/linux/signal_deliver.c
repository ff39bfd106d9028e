/*
 * Delivery: what happens to a thread on its way back to user mode.
 *
 * Signals are taken one after the other until none is left: ignored ones vanish, default actions stop or end the
 * process, and each handler gets a frame on the user's stack, the later ones above the earlier, so that the last one
 * runs first (as on Linux). The first handler decides what an interrupted call returns; without a handler the call
 * restarts. Registers are fetched when first needed and set once, at the end.
 */
#include "abi/linux/call.h"
#include "abi/linux/signal_state.h"
#include "abi/linux/trace.h"
#include "kernel/assert.h"
#include "kernel/thread_control.h"

struct delivery {
    struct lthread *thread;
    struct user_entry *entry;
    bool in_call; /* entry->result is what the call returns, or a restart code to be resolved */
    bool regs_loaded;
    struct user_regs regs;
};

static bool is_restart(int64_t result)
{
    return result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND || result == -ERESTART_RESTARTBLOCK;
}

static struct user_regs *load_regs(struct delivery *d)
{
    if (!d->regs_loaded) {
        body_user_get_regs(d->thread->thread, &d->regs);
        if (d->in_call)
            signal_regs_set_result(&d->regs, d->entry->result);
        d->regs_loaded = true;
    }
    return &d->regs;
}

/* The call was interrupted by a handler with these flags. */
static void resolve_for_handler(struct delivery *d, uint64_t flags)
{
    int64_t result = d->entry->result;
    struct user_regs *regs = load_regs(d);
    if (!d->in_call || !is_restart(result))
        return;
    if (result == -ERESTARTNOINTR || (result == -ERESTARTSYS && (flags & LINUX_SA_RESTART)))
        signal_regs_restart(regs, d->entry->number, d->entry->arguments[0]);
    else
        signal_regs_set_result(regs, -EINTR);
    d->in_call = false;
}

/* No handler ran. */
static void resolve_without_handler(struct delivery *d)
{
    if (!d->in_call || !is_restart(d->entry->result))
        return;
    bool block = d->entry->result == -ERESTART_RESTARTBLOCK;
    signal_regs_restart(load_regs(d), block ? signal_restart_call : d->entry->number, d->entry->arguments[0]);
    d->in_call = false;
}

/* The mask while the handler runs. */
static void enter_handler(struct lthread *thread, int signal, const struct signal_action *action)
{
    signal_set mask = thread->signals.blocked | action->mask;
    if (!(action->flags & LINUX_SA_NODEFER))
        mask |= sigset_of(signal);
    thread->signals.restore_mask = false;
    signal_set_mask(thread, mask);
}

/* The frame could not be written: SIGSEGV, and a fatal one when that was SIGSEGV's. */
static void frame_failed(struct lthread *thread, int signal)
{
    struct process_signals *signals = thread->process->signals;
    if (signal == LINUX_SIGSEGV) {
        struct signal_action action = {.handler = LINUX_SIG_DFL};
        mutex_lock(&signals->mutex);
        signal_action_write(signals, LINUX_SIGSEGV, &action);
        mutex_unlock(&signals->mutex);
    }
    signal_force(LINUX_SIGSEGV, NULL);
}

static void run_handler(struct delivery *d, int signal, const struct linux_siginfo *info, const struct signal_action *action)
{
    struct lthread *thread = d->thread;
    struct thread_signals *own = &thread->signals;
    resolve_for_handler(d, action->flags);
    struct signal_frame frame = {
        .signal = signal,
        .info = info,
        .action = action,
        .mask = own->restore_mask ? own->saved_mask : own->blocked,
    };
    if (signal_frame_push(thread, &d->regs, &frame)) {
        frame_failed(thread, signal);
        return;
    }
    if (own->altstack_flags & LINUX_SS_AUTODISARM)
        altstack_reset(own);
    body_user_fp_reset(thread->thread);
    enter_handler(thread, signal, action);
}

/* What was taken, decided in one go under signals->mutex. */
struct taken {
    int signal;
    uint32_t continues;
    struct linux_siginfo info;
    struct signal_action action;
    struct signal_record *record;
};

static void take(struct lthread *thread, struct taken *taken)
{
    struct process_signals *signals = thread->process->signals;
    mutex_lock(&signals->mutex);
    taken->continues = signals->continues;
    taken->signal = signal_take_locked(thread, ~thread->signals.blocked, &taken->info, &taken->record);
    if (taken->signal) {
        taken->action = signal_action_read(signals, taken->signal);
        if ((taken->action.flags & LINUX_SA_RESETHAND) && taken->action.handler != LINUX_SIG_IGN) {
            struct signal_action once = taken->action;
            once.handler = LINUX_SIG_DFL;
            signal_action_write(signals, taken->signal, &once);
        }
    } else {
        signal_recalculate(&thread->signals);
    }
    mutex_unlock(&signals->mutex);
    if (taken->record)
        signal_timer_taken(taken->record, &taken->info);
    if (taken->signal && UNLIKELY(atomic32_load_relaxed(&call_hooks) & CALL_HOOK_TRACE))
        trace_signal(taken->signal, &taken->info);
}

static void act_default(struct lthread *thread, const struct taken *taken)
{
    switch (signal_default(taken->signal)) {
    case SIGNAL_IGNORE:
    case SIGNAL_CONTINUE:
        break;
    case SIGNAL_STOP:
        signal_stop_process(thread, taken->signal, taken->continues);
        break;
    case SIGNAL_TERMINATE:
    case SIGNAL_CORE: /* no core file is written, so the status does not say so */
        process_exit_group(taken->signal);
    }
}

static void act(struct delivery *d, const struct taken *taken)
{
    if (taken->action.handler == LINUX_SIG_DFL)
        act_default(d->thread, taken);
    else if (taken->action.handler != LINUX_SIG_IGN)
        run_handler(d, taken->signal, &taken->info, &taken->action);
}

static void deliver_all(struct delivery *d)
{
    struct taken taken;
    for (;;) {
        if (thread_killed(d->thread->thread))
            return;
        if (d->thread->process->signals->stop_signal)
            signal_stop_here(d->thread);
        take(d->thread, &taken);
        if (!taken.signal)
            return;
        act(d, &taken);
    }
}

static NOINLINE void deliver_slowly(struct lthread *thread, struct user_entry *entry)
{
    struct delivery d = {.thread = thread, .entry = entry, .in_call = entry->kind == USER_CALL && !thread->regs_changed};
    thread->regs_changed = false;
    bool interrupted = d.in_call && (is_restart(entry->result) || entry->result == -EINTR);
    /* A call that succeeded is done with its temporary mask: only an interrupted one delivers what it let in. */
    if (!interrupted)
        signal_mask_restore();
    deliver_all(&d);
    signal_mask_restore();
    resolve_without_handler(&d);
    while (UNLIKELY(thread_stopping()) && !thread_killed(thread->thread)) {
        thread_stop_here(load_regs(&d)); /* as the program will have them */
        deliver_all(&d);                 /* what came meanwhile */
    }
    if (d.regs_loaded)
        body_user_set_regs(thread->thread, &d.regs);
}

void signal_deliver(struct lthread *thread, struct user_entry *entry)
{
    bool restart = entry->kind == USER_CALL && entry->result <= -ERESTARTSYS && entry->result >= -ERESTART_RESTARTBLOCK;
    bool nothing = !atomic32_load_acquire(&thread->thread->interrupts) && !thread->signals.restore_mask && !thread->regs_changed;
    if (LIKELY(nothing && !restart))
        return;
    if (nothing && entry->result == -ERESTARTNOINTR && body_user_repeat(thread->thread))
        return;
    deliver_slowly(thread, entry);
}
