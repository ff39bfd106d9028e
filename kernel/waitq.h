/*
 * Wait queues: the one primitive under everything that blocks.
 *
 * A waiter is a record, usually on the waiting thread's stack, whose state moves once:
 *     WAITING -> WOKEN | TIMED_OUT | INTERRUPTED
 * by one compare-and-swap, so a wake, a timeout and an interruption that race have exactly one winner;
 * the losers do nothing. A waiter may be moved to another queue (requeue); whoever then cancels it finds
 * the queue it is on *now* through waiter->queue, re-checked under that queue's lock.
 *
 * Usual use, with a mutex that guards the condition:
 *     while (!condition) {
 *         int error = waitq_sleep(&object->waiters, &object->mutex, deadline, WAIT_INTERRUPTIBLE);
 *         if (error) break;                    -ETIMEDOUT or -EINTR
 *     }
 * and the other side, with or without the mutex: waitq_wake_all(&object->waiters).
 */
#ifndef KERNEL_WAITQ_H
#define KERNEL_WAITQ_H

#include "kernel/atomic.h"
#include "kernel/list.h"
#include "kernel/lock.h"
#include "kernel/timer.h"

enum waiter_state { WAITER_WAITING, WAITER_WOKEN, WAITER_TIMED_OUT, WAITER_INTERRUPTED };

enum wait_flags {
    WAIT_UNINTERRUPTIBLE = 0,
    WAIT_INTERRUPTIBLE = 1, /* thread_interrupt and thread_kill end the wait with -EINTR */
    WAIT_KILLABLE = 2,      /* only thread_kill ends it */
};

struct waitq {
    struct spinlock lock; /* guards the list and, for each waiter on it, the fields grouped below */
    struct list waiters;  /* struct waiter.link */
};

struct waiter {
    struct thread *thread;
    struct atomic32 state; /* enum waiter_state */
    struct atomic_ptr queue; /* the struct waitq it is on, or NULL; changed under that queue's lock */
    /* under queue->lock */
    struct list link;
    /* under thread->lock */
    enum wait_flags flags;
    bool parks; /* its thread waits without a stack */
    /* owned by the waiting thread */
    struct timer timeout;
};

#define WAITQ_INIT(name) {.lock = SPINLOCK_INIT(RANK_WAITQ), .waiters = {&(name).waiters, &(name).waiters}}

void waitq_init(struct waitq *queue);
/*
 * Waits until no wake is at work on the queue any more. For a queue whose memory goes as soon as the waiter has been
 * woken (a completion on a stack): the waker may still hold its lock. Objects that the waker has a reference on need it not.
 */
void waitq_quiesce(struct waitq *queue);

/* The calling thread's waiter. To be enqueued once. */
void waiter_init(struct waiter *waiter);
/* Enqueues at the tail. The caller holds queue->lock (spin_lock(&queue->lock)). */
void waitq_enqueue_locked(struct waitq *queue, struct waiter *waiter);
/*
 * Suspends until the waiter's state has moved, and takes it off its queue, whichever that is now.
 * The caller holds no spinlock. The wake may have come already. Returns 0, -ETIMEDOUT or -EINTR.
 * When a wake raced a timeout and won, the answer is 0: no wake is ever lost.
 */
int waiter_wait(struct waiter *waiter, nanoseconds_t deadline, enum wait_flags flags);
/*
 * The same for several waiters of the calling thread, each enqueued on a queue of its own: suspends until one is woken,
 * takes all off their queues, and returns the lowest index that was woken, -ETIMEDOUT or -EINTR.
 */
int waiter_wait_any(struct waiter *waiters, size_t count, nanoseconds_t deadline, enum wait_flags flags);
/* Takes an enqueued waiter that will not wait off its queue. True when a wake had already chosen it. */
bool waiter_abandon(struct waiter *waiter);

/*
 * Tries to move the waiter WAITING -> WOKEN, takes it off the queue, makes its thread runnable. The caller
 * holds queue->lock and the waiter is on queue. False when another event had won: it then stays for its
 * thread to remove, and must not be counted as woken.
 */
bool waitq_wake_locked(struct waitq *queue, struct waiter *waiter);
/*
 * Moves a waiter to the tail of another queue. Both locks are held (spin_lock_pair). A waiter that leaves by itself
 * (timeout, interruption) may still be about to take the lock of the queue it was on: that queue's memory must stay until
 * the waiter is gone, or be type-stable.
 */
void waitq_requeue_locked(struct waitq *from, struct waitq *to, struct waiter *waiter);

/* Wakes up to `count` waiters, first come first served; returns how many. */
size_t waitq_wake(struct waitq *queue, size_t count);
static inline size_t waitq_wake_one(struct waitq *queue) { return waitq_wake(queue, 1); }
static inline size_t waitq_wake_all(struct waitq *queue) { return waitq_wake(queue, SIZE_MAX); }
/*
 * A hint without the lock, exact under it. A full fence comes first: who makes a condition true and then finds the queue
 * empty has not missed a waiter that enqueues and then checks the condition.
 */
bool waitq_empty(const struct waitq *queue);

/*
 * Waits without a queue, for an object that finds its waiters by means of its own, and guards them: the waker claims (WAITING ->
 * WOKEN; false: another event had won) and then resumes, `here`: to run next on this CPU. From the claim to the
 * resumption it holds a lock of the object's, which the waiting thread takes before the record may go. The thread waits by
 * waiter_wait; or, when it has set waiter->parks before anybody could claim, by waiter_park, once, and its continuation calls
 * waiter_unparked for the result, 0 or -EINTR.
 */
bool waiter_claim(struct waiter *waiter);
void waiter_resume(struct waiter *waiter, bool here);
/* A hint: whether something has ended the wait. */
bool waiter_ended(const struct waiter *waiter);
NORETURN void waiter_park(struct waiter *waiter, enum wait_flags flags, void (*continuation)(void *argument), void *argument);
int waiter_unparked(struct waiter *waiter);

/*
 * Enqueues on `queue`, releases `mutex`, waits, takes `mutex` again. A wake after the release is never
 * lost. Returns 0, -ETIMEDOUT or -EINTR. mutex may be NULL when the caller checks by other means.
 */
int waitq_sleep(struct waitq *queue, struct mutex *mutex, nanoseconds_t deadline, enum wait_flags flags);

#endif
