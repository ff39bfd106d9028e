/*
 * Timers: one queue ordered by deadline over the body's single armed timer (body_timer_arm).
 *
 * A timer's function runs in no thread's context, on the CPU that serves the timer queue, with no lock
 * held: it must not suspend; it may take spinlocks, wake waiters, post async work (kernel/async.h).
 */
#ifndef KERNEL_TIMER_H
#define KERNEL_TIMER_H

#include "kernel/atomic.h"
#include "kernel/types.h"

struct timer;
typedef void timer_function(struct timer *timer);

struct timer {
    /* under the timer queue's lock */
    nanoseconds_t deadline;
    struct timer *child;    /* the queue is a pairing heap: its first child, */
    struct timer *sibling;  /* its next sibling, */
    struct timer *previous; /* its previous sibling or, for a first child, its parent */
    bool queued;
    /* constant after timer_init */
    timer_function *function;
};

/* Once, before any other call here. (thread_system_init does it.) */
void timer_system_init(void);
void timer_init(struct timer *timer, timer_function *function);
/* Arms, or re-arms, for an absolute monotonic time. Always 0: the queue needs no memory. */
int timer_set(struct timer *timer, nanoseconds_t deadline);
/* Disarms. True when it was armed and will not run. Does not wait for a function that is running. */
bool timer_cancel(struct timer *timer);
/* Disarms and waits until its function runs nowhere: afterwards the memory may go. Not from a timer function. */
void timer_cancel_sync(struct timer *timer);
/* The body calls this when its armed deadline has come (early or twice is harmless). */
void timer_queue_run(void);
/* The earliest deadline, or DEADLINE_NEVER. */
nanoseconds_t timer_queue_next(void);

#endif
