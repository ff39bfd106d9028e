/*
 * The scheduler's insides, shared by sched.c, thread.c, stack.c and lockcheck.c only.
 *
 * A context switch is made with a lock held: the thread's own lock when it suspends or parks, the run
 * queue's when it yields to a queue. So whoever wants to make the thread ready, or to run it, waits those few
 * instructions until its registers are saved. The code that runs next, whatever it is, releases the lock
 * (sched_tail): that record is in the CPU.
 */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include "kernel/body.h"
#include "kernel/spin.h"
#include "kernel/thread.h"

#define CPUS_MAX 64u
#define CPU_STACKS 8u

enum tail_kind { TAIL_NONE, TAIL_UNLOCK, TAIL_YIELD, TAIL_PARK, TAIL_EXIT };

struct cpu {
    /* owned by the CPU */
    struct thread *current;      /* NULL on the scheduler's stack */
    struct body_context context; /* the scheduler's own, while a thread runs */
    uint32_t id;
    uint32_t switches;           /* since the devices were last considered */
    nanoseconds_t polled;        /* when body_idle last ran */
    /* what the next context does first, for the one it replaced */
    enum tail_kind tail;
    struct thread *tail_thread;
    struct spinlock *tail_lock; /* may be NULL for YIELD and PARK */
    uint32_t tail_interrupts;   /* of YIELD: the state to go back to */
    void *stacks[CPU_STACKS];
    uint32_t stack_count;
    struct atomic_ptr first;     /* the thread to run next, before the queue; others read it as a hint */
    uint32_t favours;            /* how often `first` went before a queue that was not empty */
    uint8_t locks_held; /* the order check's record for the scheduler's stack */
    uint16_t lock_ranks[THREAD_LOCKS_HELD_MAX];

    struct spinlock lock __attribute__((aligned(64))); /* rank RUN_QUEUE; guards: */
    struct list ready;                                 /* struct thread.run_link */
    struct atomic32 ready_count;                       /* written under the lock, read as a hint */
} __attribute__((aligned(64)));

static inline struct cpu *cpu_self(void) { return body_cpu_local(); }

/* Makes a READY thread run some time: on this CPU, after what is ready, or (_here) next. Its lock is not needed. */
void sched_enqueue(struct thread *thread);
void sched_enqueue_here(struct thread *thread);
/*
 * Leaves the running thread for another one or the scheduler; see the head of this file. For UNLOCK the call returns
 * when the thread runs again; for PARK and EXIT it does not return.
 */
void sched_switch(struct cpu *cpu, enum tail_kind kind, struct spinlock *lock);
/* The first thing every context does when it gets a CPU. */
void sched_tail(void);

/* thread.c: what a context made for the thread starts in. */
void thread_main(void *argument);
/* thread.c: the end of a park, thread->lock held and released; of an exit. */
void thread_parked(struct thread *thread);
void thread_gone(struct thread *thread);

/* stack.c. From the CPU's own cache or the shared pool, without allocating: NULL when both are empty. */
void *stack_take(struct cpu *cpu);
/* May allocate: no spinlock held. */
void *stack_make(struct cpu *cpu);
/* No spinlock held (the body may be asked to free it). */
void stack_give(struct cpu *cpu, void *stack);
void stack_pool_init(void);
void stack_pool_fini(struct cpu *cpus, uint32_t count);

#endif
