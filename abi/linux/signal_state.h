/*
 * The inside of signals, for abi/linux/signal*.c and the timers that queue signals.
 *
 *   struct process_signals   one process: pending for the process, its threads as targets, group stop
 *   struct signal_actions    dispositions; shared by CLONE_SIGHAND processes, so with a lock of its own
 *   struct signal_record     one queued siginfo; a timer brings its own, so that its signal can always be queued
 *   struct signal_quota      one user's queued records, against RLIMIT_SIGPENDING
 *
 * One mutex a process, signals->mutex (rank SIGNAL), guards pending sets, masks, the list of threads and the group
 * stop. A thread has something to do in signal_deliver exactly when its kernel thread is marked interrupted; the mark
 * is set and cleared under the mutex only, so none is lost. Senders take no lock of lower rank: they are called with
 * pipes, terminals and the process tree locked. What needs the tree (reports to the parent) is done by the target.
 */
#ifndef ABI_LINUX_SIGNAL_STATE_H
#define ABI_LINUX_SIGNAL_STATE_H

#include "abi/linux/process.h"

enum { LINUX_SA_NOCLDSTOP = 1, LINUX_SA_NOCLDWAIT = 2, LINUX_SA_SIGINFO = 4, LINUX_SA_EXPOSE_TAGBITS = 0x800,
       LINUX_SA_RESTORER = 0x04000000, LINUX_SA_ONSTACK = 0x08000000, LINUX_SA_RESTART = 0x10000000,
       LINUX_SA_NODEFER = 0x40000000 };
#define LINUX_SA_RESETHAND 0x80000000u
enum { LINUX_SIG_DFL = 0, LINUX_SIG_IGN = 1 };
enum { LINUX_SS_ONSTACK = 1, LINUX_SS_DISABLE = 2 };
#define LINUX_SS_AUTODISARM 0x80000000u

struct signal_action {
    uaddr_t handler; /* LINUX_SIG_DFL, LINUX_SIG_IGN or a function */
    uint64_t flags;
    uaddr_t restorer;
    signal_set mask;
};

struct signal_actions {
    struct object object;
    struct spinlock lock; /* rank EVENT_QUEUE, inside signals->mutex; guards action */
    struct signal_action action[LINUX_SIGNALS];
};

struct signal_quota {
    struct list link;
    uint32_t uid;
    uint32_t references;   /* under quota_lock */
    struct atomic64 count; /* records queued */
};

struct signal_timer;

struct signal_record {
    /* under signals->mutex */
    struct list link; /* queue->infos */
    struct signal_queue *queue; /* NULL: on none */
    /* constant while queued */
    struct linux_siginfo info;
    struct signal_quota *quota; /* charged, or NULL */
    struct signal_timer *timer; /* it belongs to this timer, which it keeps alive while queued; NULL: freed when taken */
};

#define SIGNAL_REPORTS_MAX 8

struct process_signals {
    struct process *process; /* constant; the process owns this */
    struct mutex mutex;      /* rank SIGNAL; guards the rest */
    struct signal_actions *actions;
    struct signal_queue queue;
    struct list threads;     /* struct thread_signals.link, the leader first while it lives */
    struct waitq arrivals;   /* sigtimedwait */
    struct knote_list knotes;
    struct signal_quota *quota;
    /* group stop */
    int stop_signal;         /* not 0: the process is stopping or stopped by it */
    uint32_t stop_pending;   /* threads with must_stop */
    uint32_t continues;      /* how often SIGCONT came: a stop signal taken before the last one is void */
    bool stop_reported;      /* the parent has been told, or is about to be, that it has stopped */
    struct waitq stopped;    /* stopped threads */
    int reports[SIGNAL_REPORTS_MAX]; /* what the parent is still to be told, in order: a stop signal, or 0 for continued */
    uint32_t report_count;
    bool reporting;          /* some thread is telling it */
};

static inline struct lthread *signals_thread(struct thread_signals *thread) { return CONTAINER_OF(thread, struct lthread, signals); }

/* --- what signals are (signal_actions.c) -------------------------------------------------------------- */

#define SIGNAL_KERNEL_ONLY (((signal_set)1 << (LINUX_SIGKILL - 1)) | ((signal_set)1 << (LINUX_SIGSTOP - 1)))
#define SIGNAL_STOPS                                                                                                   \
    (sigset_of(LINUX_SIGSTOP) | sigset_of(LINUX_SIGTSTP) | sigset_of(LINUX_SIGTTIN) | sigset_of(LINUX_SIGTTOU))
enum signal_default { SIGNAL_TERMINATE, SIGNAL_CORE, SIGNAL_IGNORE, SIGNAL_STOP, SIGNAL_CONTINUE };
enum signal_default signal_default(int signal);
static inline bool signal_valid(int signal) { return signal >= 1 && signal <= LINUX_SIGNALS; }

struct signal_actions *signal_actions_create(const struct signal_actions *from, bool clear_handlers);
/* A copy of one action. signals->mutex held. */
struct signal_action signal_action_read(struct process_signals *signals, int signal);
void signal_action_write(struct process_signals *signals, int signal, const struct signal_action *action);
/* True when the action throws the signal away. */
bool signal_action_ignores(const struct signal_action *action, int signal);

/* --- queues (signal_queue.c) -------------------------------------------------------------------------- */

void signal_queue_init(struct signal_queue *queue);
/*
 * Marks the signal pending with its info. Standard signals that are pending already are merged. At the limit (or without
 * memory) a real-time signal that carries information is -EAGAIN; others are pending without info. signals->mutex held.
 */
int signal_queue_add(struct process_signals *signals, struct signal_queue *queue, int signal, const struct linux_siginfo *info);
/* A timer's own record; it must not be queued. */
void signal_queue_add_record(struct signal_queue *queue, struct signal_record *record);
/* The next signal out of set, 0 when none. *record: the timer's record, to be settled by signal_timer_taken after unlock. */
int signal_queue_take(struct signal_queue *queue, signal_set set, struct linux_siginfo *info, struct signal_record **record);
/*
 * Drops the pending signals of the set. A timer's record is returned, to be settled by signal_timer_dropped after unlock;
 * then again, until NULL. signals->mutex held.
 */
struct signal_record *signal_queue_flush(struct signal_queue *queue, signal_set set);
/* The same for plain records only: what stop signals and SIGCONT do to each other. */
void signal_queue_flush_plain(struct signal_queue *queue, signal_set set);
/* A timer's record, off the queue it is on. signals->mutex held. */
void signal_queue_remove(struct signal_record *record);
/* NULL: no memory. */
struct signal_quota *signal_quota_get(uint32_t uid);
void signal_quota_put(struct signal_quota *quota);

/* --- sending and taking (signal_send.c, signal_mask.c) ------------------------------------------------ */

/* Takes the next deliverable signal for the current thread, with its action. signals->mutex held. */
int signal_take_locked(struct lthread *thread, signal_set set, struct linux_siginfo *info, struct signal_record **record);
/*
 * Takes a signal out of the set for the current thread, or waits for one until the deadline (0: not at all). Its number,
 * -EAGAIN, or -EINTR. No lock held.
 */
int64_t signal_wait_in(signal_set set, nanoseconds_t deadline, struct linux_siginfo *info);
/* All that is pending for the current thread, blocked or not. */
signal_set signal_pending_set(void);
/* Marks the thread and brings it into the kernel. signals->mutex held. */
void signal_notify_thread(struct thread_signals *thread);
/* Pending signals of the process in `set` find a thread that takes them. signals->mutex held. */
void signal_retarget(struct process_signals *signals, struct thread_signals *except, signal_set set);
/* Marks or unmarks the current thread after its mask or what is pending changed. signals->mutex held. */
void signal_recalculate(struct thread_signals *thread);
/* The current thread's mask; KILL and STOP are left out. */
void signal_set_mask(struct lthread *thread, signal_set mask);
void signal_set_mask_locked(struct thread_signals *thread, signal_set mask);
/* A timer's signal: to the process, or to the thread when not NULL. What became of the record. No lock above RANK_ABI_TIMER. */
enum signal_record_fate { RECORD_QUEUED, RECORD_WAS_QUEUED, RECORD_IGNORED };
enum signal_record_fate signal_send_record(struct process *process, struct lthread *thread, struct signal_record *record);
/* Takes a record off its queue: true when it was on one. */
bool signal_unqueue_record(struct process *process, struct signal_record *record);

/* --- group stop (signal_stop.c) ----------------------------------------------------------------------- */

/* The default action of a stop signal that was taken when signals->continues was `continues`. On the thread, no lock held. */
void signal_stop_process(struct lthread *thread, int signal, uint32_t continues);
/* Stops here while the process is stopped; ends when it goes on or the thread is killed. On the thread, no lock held. */
void signal_stop_here(struct lthread *thread);
/* SIGCONT came: every thread goes on. signals->mutex held; signal_report after unlock, by the sender if it can. */
void signal_continue_locked(struct process_signals *signals);
/* A stop signal came. signals->mutex held. */
void signal_stopping_locked(struct process_signals *signals);
/* A thread starts or ends during a stop. signals->mutex held; signal_report after unlock. */
void signal_stop_join_locked(struct thread_signals *thread);
void signal_stop_leave_locked(struct process_signals *signals, struct thread_signals *thread);
/* Tells the parent what is to be told. No lock held. */
void signal_report(struct process *process);

/* --- timers (posix_timer.c) --------------------------------------------------------------------------- */

/* A timer's record was taken for delivery: completes info (overrun), sets the timer again. No lock above RANK_ABI_TIMER. */
void signal_timer_taken(struct signal_record *record, struct linux_siginfo *info);
/* It was thrown away. */
void signal_timer_dropped(struct signal_record *record);

/* --- the architecture (arch/ARCH/signal_frame.c) ------------------------------------------------------ */

struct user_regs;

struct signal_frame {
    int signal;
    const struct linux_siginfo *info;
    const struct signal_action *action;
    signal_set mask; /* to be restored by rt_sigreturn */
};
/* Builds the frame on the user's stack and points *regs at the handler. 0 or -EFAULT. */
int signal_frame_push(struct lthread *thread, struct user_regs *regs, const struct signal_frame *frame);
/* Undoes it: registers, FP state, alternate stack. *mask is the one to be restored. 0 or -EFAULT. */
int signal_frame_pop(struct lthread *thread, struct user_regs *regs, signal_set *mask);
/* What a call returns to user mode. */
void signal_regs_set_result(struct user_regs *regs, int64_t result);
/* The call is made again: with this number; the first argument is given since its register may hold the result by now. */
void signal_regs_restart(struct user_regs *regs, uint64_t number, uint64_t first_argument);
uint64_t signal_regs_stack(const struct user_regs *regs);
extern const uint64_t signal_restart_call; /* the number of restart_syscall */
/* struct sigaction as the user has it. 0 or -EFAULT. */
int signal_action_copy_in(struct signal_action *action, uaddr_t from);
int signal_action_copy_out(uaddr_t to, const struct signal_action *action);
extern const uint64_t signal_action_flags; /* the flags sigaction keeps */
extern const uint64_t signal_stack_least; /* MINSIGSTKSZ: the least size of an alternate stack */

/* --- alternate stack (signal_altstack.c) -------------------------------------------------------------- */

struct linux_stack {
    uint64_t sp;
    int32_t flags;
    int32_t pad;
    uint64_t size;
};
/* True when sp is on the thread's alternate stack (never with SS_AUTODISARM). */
bool altstack_contains(const struct thread_signals *signals, uint64_t sp);
void altstack_reset(struct thread_signals *signals);
/* sigaltstack(2)'s change. */
int altstack_set(struct thread_signals *signals, const struct linux_stack *stack, uint64_t sp);
void altstack_get(const struct thread_signals *signals, struct linux_stack *stack, uint64_t sp);

#endif
