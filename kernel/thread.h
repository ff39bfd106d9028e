/*
 * Threads: microthreads, run by the body's CPUs (workers on Linux, harts on RISC-V).
 *
 * A thread is either running or ready with a stack, blocked with a stack (in waiter_wait), or parked
 * with a continuation and no stack. A *user thread* spends its time in user mode as a parked thread whose
 * continuation is the body's entry from user mode; a *kernel-only thread* just runs its function.
 *
 * thread_current() is a real function call on purpose: a value cached across a switch may be another
 * CPU's.
 */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include "kernel/async.h"
#include "kernel/atomic.h"
#include "kernel/lock.h"
#include "kernel/object.h"
#include "kernel/waitq.h"

#include <body/context.h> /* struct body_context: what a switch saves */

struct task;
struct thread_control;
struct kstack;

enum thread_state {
    THREAD_NEW,
    THREAD_READY,    /* on a run queue, or running: which of the two only its CPU knows */
    THREAD_RUNNING = THREAD_READY,
    THREAD_BLOCKED,  /* suspended with its stack */
    THREAD_PARKED,   /* suspended with a continuation, without a stack */
    THREAD_DEAD,
};

typedef void thread_function(void *argument);

#define THREAD_LOCKS_HELD_MAX 16

struct thread {
    struct object object;

    /* constant after creation */
    char name[24];
    struct task *task;   /* NULL for a kernel-only thread */
    void *abi;           /* the ABI's record of the thread */
    void *user;          /* the body's record of its user side */
    struct port_thread *ports; /* its part in messages; made by itself on first use, NULL before (kernel/port.h) */

    struct spinlock lock; /* guards the next group; rank THREAD */
    enum thread_state state;
    bool wake_pending;      /* a thread_wake came before the suspend */
    bool unpark_pending;    /* an unpark came before the park */
    thread_function *continuation;
    void *continuation_argument;
    struct kstack *stack;   /* NULL while parked */
    struct body_context context;
    struct waiter *waiter;  /* what it is blocked on, for thread_interrupt */
    struct thread_control *control; /* what handles to it name: set once, by whoever first asks; NULL before (kernel/thread_control.h) */
    bool ending;            /* no control is made any more */
    uint32_t cpu;           /* where it last ran: a hint */

    struct list run_link;   /* under the run queue's lock */
    struct async_work reaper; /* runs the destroy of a thread whose own reference was the last */

    struct atomic32 interrupts; /* enum thread_interrupts */

    /* owned by the thread itself: the ranked-lock checker's state */
    uint8_t locks_held;
    uint16_t lock_ranks[THREAD_LOCKS_HELD_MAX];
};

enum thread_interrupts {
    THREAD_INTERRUPTED = 1,
    THREAD_KILLED = 2,
    THREAD_STOPPING = 4, /* ends no wait: the thread is to stand still before it is in user mode again (kernel/thread_control.h) */
};

/* Once, before any other call here; then each CPU calls sched_run. 0 or -ENOMEM. */
int thread_system_init(uint32_t cpus);

/*
 * A new thread with one reference for the caller, not started. function runs on a pooled stack; when it
 * returns the thread ends. NULL when there is no memory.
 */
struct thread *thread_create(const char *name, struct task *task, thread_function *function, void *argument);
void thread_start(struct thread *thread);
/* A user thread: created parked; thread_unpark starts it in `entry` each time it enters the kernel. */
struct thread *thread_create_parked(const char *name, struct task *task, thread_function *entry, void *argument);
/* The calling thread's end; its stack goes back to the pool, the run-time's reference is dropped. */
NORETURN void thread_exit(void);
/* Ends a thread that is parked and can never be unparked again (drops the run-time's reference). */
void thread_discard_parked(struct thread *thread);

/* The running thread, or NULL on a CPU's own scheduler stack. */
struct thread *thread_current(void);
/* Lets other ready threads run. What works for long (big copies, long lists) calls it now and then: see sched_set_spread. */
void thread_yield(void);

/*
 * Gives the stack back and suspends; thread_unpark makes it run continuation(argument) on a fresh stack.
 * The caller holds no lock. An unpark that came before is not lost: it then continues at once.
 * Does not return.
 */
NORETURN void thread_park(thread_function *continuation, void *argument);
/* As thread_park, but releases `lock` only when the thread is fully suspended. */
NORETURN void thread_park_unlock(thread_function *continuation, void *argument, struct spinlock *lock);
/* Makes a parked thread ready. From any context. */
void thread_unpark(struct thread *thread);
/*
 * Makes a parked thread ready and, when the calling CPU has nothing better, run next on this CPU
 * (co-location, hand-over). From any context.
 */
void thread_unpark_here(struct thread *thread);

/*
 * Interruption. Sticky: the current or next interruptible wait ends with -EINTR, until cleared by
 * thread_interrupt_clear. The ABI decides what pending means. Killing also ends killable waits and
 * cannot be cleared. From any context but with no spinlock of rank WAITQ or above held.
 */
void thread_interrupt(struct thread *thread);
void thread_kill(struct thread *thread);
void thread_interrupt_clear(struct thread *thread);
bool thread_interrupted(const struct thread *thread);
bool thread_killed(const struct thread *thread);
/* For bodies, last before user mode: something of all this is so, and the thread has to go to its ABI once more. */
bool thread_wanted(const struct thread *thread);
/* For those who only tell of it: whether it waited a moment ago. *cpu: where it last ran. */
bool thread_waits(struct thread *thread, uint32_t *cpu);

/* --- for bodies ------------------------------------------------------------------------------------ */

/*
 * Placement. A thread that becomes ready goes to the waking CPU's queue; another CPU may take it, and an idle one
 * is woken for it, only when the queue then holds at least `backlog` threads. 2 (the default) keeps caller and
 * callee together; 1 spreads at once. From code on no CPU: to the queue of the CPU where it last ran, which is woken.
 */
void sched_set_spread(uint32_t backlog);
/* Ends what thread_system_init began, after every sched_run has returned: frees the pooled stacks. */
void thread_system_fini(void);

/*
 * A CPU's life: runs ready threads; calls body_idle() when there are none, and also every 50 µs or so while there
 * are some, so that devices and timers are served (body_idle must not wait while sched_work_available(cpu)).
 * Returns after sched_stop.
 */
void sched_run(uint32_t cpu);
void sched_stop(void);
/* True when some thread is ready on this CPU's queue or could be stolen. A hint, for body_idle. */
bool sched_work_available(uint32_t cpu);

/* --- used by waitq.c and mutex.c ------------------------------------------------------------------- */

/* Suspends with the stack until thread_wake; returns at once when a wake is pending. No spinlock held. */
void thread_suspend(void);
/* Ends (or pre-empts) one thread_suspend. From any context. _here: and it runs next on this CPU, as thread_unpark_here. */
void thread_wake(struct thread *thread);
void thread_wake_here(struct thread *thread);

#endif
