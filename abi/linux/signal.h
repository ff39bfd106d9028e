/*
 * Linux signals: pending sets, dispositions, delivery on the way back to user mode.
 *
 * Host signals never carry guest signals: a guest signal is a record here, and body_user_kick brings a
 * thread that runs in user mode into the kernel to look.
 */
#ifndef ABI_LINUX_SIGNAL_H
#define ABI_LINUX_SIGNAL_H

#include "kernel/event.h"
#include "kernel/list.h"
#include "kernel/lock.h"
#include "kernel/object.h"
#include "kernel/waitq.h"

#define LINUX_SIGNALS 64
enum { LINUX_SIGHUP = 1, LINUX_SIGINT, LINUX_SIGQUIT, LINUX_SIGILL, LINUX_SIGTRAP, LINUX_SIGABRT, LINUX_SIGBUS, LINUX_SIGFPE,
       LINUX_SIGKILL, LINUX_SIGUSR1, LINUX_SIGSEGV, LINUX_SIGUSR2, LINUX_SIGPIPE, LINUX_SIGALRM, LINUX_SIGTERM, LINUX_SIGSTKFLT,
       LINUX_SIGCHLD, LINUX_SIGCONT, LINUX_SIGSTOP, LINUX_SIGTSTP, LINUX_SIGTTIN, LINUX_SIGTTOU, LINUX_SIGURG, LINUX_SIGXCPU,
       LINUX_SIGXFSZ, LINUX_SIGVTALRM, LINUX_SIGPROF, LINUX_SIGWINCH, LINUX_SIGIO, LINUX_SIGPWR, LINUX_SIGSYS, LINUX_SIGRTMIN };

typedef uint64_t signal_set; /* bit n-1 is signal n */
static inline signal_set sigset_of(int signal) { return (signal_set)1 << (signal - 1); }

/* As the user sees it: 128 bytes. */
struct linux_siginfo {
    int32_t signo, errno_, code, pad;
    union {
        uint8_t bytes[112];
        struct { int32_t pid; uint32_t uid; uint64_t value; } rt;      /* kill, sigqueue */
        struct { int32_t pid; uint32_t uid; int32_t status; int32_t pad; int64_t utime, stime; } child;
        struct { uint64_t address; } fault;
        struct { int32_t timer; int32_t overrun; uint64_t value; } timer;
        struct { int64_t band; int32_t fd; } poll;
        struct { uint64_t call_address; int32_t call; uint32_t arch; } sys;
    };
};
_Static_assert(sizeof(struct linux_siginfo) == 128, "siginfo_t");

enum { LINUX_SI_USER = 0, LINUX_SI_KERNEL = 0x80, LINUX_SI_QUEUE = -1, LINUX_SI_TIMER = -2, LINUX_SI_MESGQ = -3, LINUX_SI_ASYNCIO = -4,
       LINUX_SI_SIGIO = -5, LINUX_SI_TKILL = -6 };
enum { LINUX_CLD_EXITED = 1, LINUX_CLD_KILLED, LINUX_CLD_DUMPED, LINUX_CLD_TRAPPED, LINUX_CLD_STOPPED, LINUX_CLD_CONTINUED };

struct signal_queue {
    signal_set pending;
    struct list infos; /* struct signal_record: abi/linux/signal.c */
};

struct process_signals;

struct thread_signals {
    /* under the process's signals->mutex */
    signal_set blocked;
    struct signal_queue queue;
    /* own */
    signal_set saved_mask;       /* sigsuspend, ppoll: restored after delivery */
    bool restore_mask;
    uaddr_t altstack;
    uint64_t altstack_size;
    uint32_t altstack_flags;
    uint64_t trap_number, trap_error, trap_address; /* of the last fault, for signal frames */
    /* under signals->mutex */
    struct process_signals *signals; /* NULL: not attached */
    struct list link;                /* signals->threads, the leader first */
    bool must_stop;                  /* a group stop has not been carried out by this thread yet */
};

struct process;
struct lthread;
struct process_signals;
struct user_entry;

/* From any thread that may suspend. info may be NULL (SI_KERNEL). -EAGAIN at the queue limit (real-time signals). */
int signal_send_process(struct process *process, int signal, const struct linux_siginfo *info);
int signal_send_thread(struct lthread *thread, int signal, const struct linux_siginfo *info);
/* All members of a process group; -ESRCH when there are none. */
int signal_send_group(int32_t pgid, int signal, const struct linux_siginfo *info);
int signal_send_group_locked(int32_t pgid, int signal, const struct linux_siginfo *info); /* process_tree_lock held */
/* A fault of the current thread: cannot be ignored or blocked. */
void signal_force(int signal, const struct linux_siginfo *info);
/* True when the current thread has an unblocked signal waiting. */
bool signal_pending(void);
/* Job control: true when the current process ignores or blocks the signal. */
bool signal_ignored_or_blocked(int signal);
/* Temporary mask for ppoll, pselect, epoll_pwait, sigsuspend: restored after the call's signals are delivered. */
void signal_mask_temporarily(signal_set mask);
/* The call ended by itself, not by a signal: the temporary mask (if there is one) ends now, before anything is delivered. */
void signal_mask_restore(void);
/* Woken (with the current thread's) whenever a signal in `mask` arrives: signalfd, sigtimedwait. */
struct knote_list *signal_knotes(struct process *process);
/* Takes one pending signal out of the set for the current thread (its own first, then the process's): 0 when none. */
int signal_dequeue(signal_set mask, struct linux_siginfo *info);

struct user_entry;
/*
 * On the way back to user mode, after every entry: restarts or ends an interrupted call, restores a temporary mask,
 * delivers, stops. Fatal signals end in process_exit_group. Runs on the thread.
 */
void signal_deliver(struct lthread *thread, struct user_entry *entry);

/*
 * The life of signal state; called by process code. signal_send_process and signal_send_thread may be called with
 * process_tree_lock held (SIGCHLD), so they take no lock of rank below PROCESS (signal_send_group takes the tree lock); stopping and continuing is reported by the target's own threads, in
 * signal_deliver, through process_report_stopped and process_report_continued (abi/linux/process.h). SIGKILL begins the
 * end at once through process_kill.
 */
/* A first process: sets process->signals, all default. 0 or -ENOMEM. */
int signals_create(struct process *process);
/* A child process: a copy of the dispositions, or the same ones (CLONE_SIGHAND), or handlers cleared; nothing pending. */
int signals_fork(struct process *child, struct process *parent, bool share, bool clear);
/* exec, only the calling thread is left: dispositions of its own, handlers become default, no alternate stack. 0 or -ENOMEM. */
int signals_exec(struct process *process);
/* process->signals goes: with the zombie's last reference. */
void signals_destroy(struct process *process);
/* A new thread: the creator's mask, nothing pending, no alternate stack (a new process of its own memory keeps it: keep_altstack). NULL: the first. */
void thread_signals_init(struct lthread *thread, const struct lthread *creator, bool keep_altstack);
/* A thread ends: its own pending signals go; the process's pending ones find another thread. process->mutex not held. */
void thread_signals_exit(struct lthread *thread);
/* The parent's disposition of SIGCHLD is SIG_IGN or has SA_NOCLDWAIT: children leave no zombies. */
bool signals_autoreap(struct process *parent);
/* The parent wants SIGCHLD for stopped and continued children (no SA_NOCLDSTOP, not ignored). */
bool signals_stop_wanted(struct process *parent);

/* --- for the entry, clone, exec and exit ------------------------------------------------------------- */

/*
 * signal_deliver costs one load when nothing is to be done. A call that set the registers itself (rt_sigreturn, execve)
 * must have set thread->regs_changed, which signal_deliver clears. No lock held.
 *
 * The entry's USER_FAULT that nobody resolved becomes a forced signal with the fault's details here.
 */
void signal_fault(struct lthread *thread, const struct user_entry *entry);
/*
 * thread_signals_init makes the thread a possible target, so thread->process, thread->thread and process->signals must be
 * set before (the first thread of a process is its leader), and thread_signals_exit undoes it, also when clone fails later.
 * After body_user_start: what arrived before it reaches the thread.
 */
void signal_thread_started(struct lthread *thread);
/* The real user id changed: whose RLIMIT_SIGPENDING counts. Created processes inherit; the first is uid 0. */
void signals_set_user(struct process *process, uint32_t uid);
/* For /proc/PID/status. */
struct signal_summary {
    signal_set thread_pending, process_pending, blocked, ignored, caught;
    uint64_t queued, queue_limit;
};
void signal_summary_read(struct lthread *thread, struct signal_summary *summary);

/* POSIX and interval timers: exec deletes the POSIX ones, exit all (process->timers). On a thread, no lock held. */
void timers_exec(struct process *process);
void timers_exit(struct process *process);

#endif
