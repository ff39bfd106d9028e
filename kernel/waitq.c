/*
 * Wait queues: see kernel/waitq.h for the rules; here is why they hold.
 *
 * A waiter's state moves once, by compare-and-swap, so of a wake (under the queue's lock), a timeout (the
 * timer's function) and an interruption (under thread->lock) one wins. What the losers and winners may
 * still touch when the waiting thread sees the new state, and how it waits for them to be out:
 *   - the waker: the queue pointer becoming NULL is its last touch of the waiter and the thread;
 *   - the timer: timer_cancel_sync;
 *   - the interrupter: taking thread->waiter back takes thread->lock.
 * After that the record, on the thread's stack, is nobody else's.
 */
#include "kernel/waitq.h"

#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/spin.h"
#include "kernel/thread.h"

void waitq_init(struct waitq *queue)
{
    spinlock_init(&queue->lock, RANK_WAITQ);
    list_init(&queue->waiters);
}

void waitq_quiesce(struct waitq *queue)
{
    spin_lock(&queue->lock);
    spin_unlock(&queue->lock);
}

static bool waiter_move(struct waiter *waiter, enum waiter_state state)
{
    uint32_t expected = WAITER_WAITING;
    return atomic32_cas(&waiter->state, &expected, state);
}

static enum waiter_state waiter_state(const struct waiter *waiter) { return atomic32_load_acquire(&waiter->state); }

static void waiter_timed_out(struct timer *timer)
{
    struct waiter *waiter = CONTAINER_OF(timer, struct waiter, timeout);
    if (waiter_move(waiter, WAITER_TIMED_OUT))
        thread_wake(waiter->thread);
}

void waiter_init(struct waiter *waiter)
{
    *waiter = (struct waiter){.thread = thread_current(), .state = ATOMIC_INIT(WAITER_WAITING)};
    KASSERT(waiter->thread);
    list_init(&waiter->link);
    timer_init(&waiter->timeout, waiter_timed_out);
}

void waitq_enqueue_locked(struct waitq *queue, struct waiter *waiter)
{
    KASSERT(spin_is_locked(&queue->lock) && !list_linked(&waiter->link));
    list_push_back(&queue->waiters, &waiter->link);
    atomic_ptr_store_release(&waiter->queue, queue);
}

/* --- waking ------------------------------------------------------------------------------------------ */

bool waitq_wake_locked(struct waitq *queue, struct waiter *waiter)
{
    KASSERT(atomic_ptr_load_relaxed(&waiter->queue) == queue);
    if (!waiter_move(waiter, WAITER_WOKEN))
        return false;
    list_remove(&waiter->link);
    thread_wake(waiter->thread);
    atomic_ptr_store_release(&waiter->queue, NULL); /* the last touch: waiter_leave waits for it */
    return true;
}

size_t waitq_wake(struct waitq *queue, size_t count)
{
    size_t woken = 0;
    spin_lock(&queue->lock);
    LIST_FOR_EACH_SAFE (link, &queue->waiters) {
        if (woken == count)
            break;
        woken += waitq_wake_locked(queue, LIST_ENTRY(link, struct waiter, link));
    }
    spin_unlock(&queue->lock);
    return woken;
}

void waitq_requeue_locked(struct waitq *from, struct waitq *to, struct waiter *waiter)
{
    KASSERT(atomic_ptr_load_relaxed(&waiter->queue) == from);
    KASSERT(spin_is_locked(&from->lock) && spin_is_locked(&to->lock));
    list_remove(&waiter->link);
    list_push_back(&to->waiters, &waiter->link);
    atomic_ptr_store_release(&waiter->queue, to);
}

__attribute__((no_sanitize("thread"))) bool waitq_empty(const struct waitq *queue)
{
    atomic_fence();
    return queue->waiters.next == &queue->waiters; /* not list_empty, which has not this function's attribute */
}

/* --- leaving ----------------------------------------------------------------------------------------- */

/* Chosen by a waker, who is still within the queue's lock: waits until it has let go of the waiter. */
static void waiter_await_waker(struct waiter *waiter)
{
    for (uint32_t turn = 0; atomic_ptr_load_acquire(&waiter->queue); turn++)
        body_relax(turn);
}

/* Off the queue it is on now: a requeue may move it until its lock is held. */
static void waiter_dequeue(struct waiter *waiter)
{
    struct waitq *queue;
    while ((queue = atomic_ptr_load_acquire(&waiter->queue))) {
        spin_lock(&queue->lock);
        bool here = atomic_ptr_load_relaxed(&waiter->queue) == queue;
        if (here) {
            list_remove(&waiter->link);
            atomic_ptr_store_release(&waiter->queue, NULL);
        }
        spin_unlock(&queue->lock);
        if (here)
            return;
    }
}

bool waiter_abandon(struct waiter *waiter)
{
    waiter_move(waiter, WAITER_INTERRUPTED);
    bool woken = waiter_state(waiter) == WAITER_WOKEN;
    if (woken)
        waiter_await_waker(waiter);
    else
        waiter_dequeue(waiter);
    return woken;
}

/* --- waiting ----------------------------------------------------------------------------------------- */

static bool interrupts_end(uint32_t interrupts, enum wait_flags flags)
{
    return flags == WAIT_INTERRUPTIBLE ? interrupts & (THREAD_INTERRUPTED | THREAD_KILLED) : flags == WAIT_KILLABLE && interrupts & THREAD_KILLED;
}

/*
 * From here on thread_interrupt finds the waiter. The rival is interrupt() in thread.c: one sees the other. True: it was
 * interrupted before, and this is what ended the wait.
 */
static bool waiter_publish(struct waiter *waiter, enum wait_flags flags)
{
    struct thread *self = waiter->thread;
    spin_acquire(&self->lock);
    KASSERT(self == thread_current() && !self->waiter);
    waiter->flags = flags;
    self->waiter = waiter;
    spin_release(&self->lock);
    return interrupts_end(atomic32_load(&self->interrupts), flags) && waiter_move(waiter, WAITER_INTERRUPTED);
}

static void waiter_withdraw(struct waiter *waiter)
{
    spin_acquire(&waiter->thread->lock);
    waiter->thread->waiter = NULL;
    spin_release(&waiter->thread->lock);
}

static void waiter_arm(struct waiter *waiter, nanoseconds_t deadline)
{
    if (deadline == DEADLINE_NEVER)
        return;
    if (deadline <= body_now())
        waiter_move(waiter, WAITER_TIMED_OUT);
    else
        timer_set(&waiter->timeout, deadline);
}

static bool all_waiting(const struct waiter *waiters, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (waiter_state(&waiters[i]) != WAITER_WAITING)
            return false;
    return true;
}

/* The first of the waiters carries the timeout and the interruption for all. */
static void suspend_until_moved(struct waiter *waiters, size_t count, nanoseconds_t deadline, enum wait_flags flags)
{
    struct waiter *carrier = &waiters[0];
    waiter_arm(carrier, deadline);
    if (flags != WAIT_UNINTERRUPTIBLE)
        waiter_publish(carrier, flags);
    while (all_waiting(waiters, count))
        thread_suspend();
    if (flags != WAIT_UNINTERRUPTIBLE)
        waiter_withdraw(carrier);
    if (deadline != DEADLINE_NEVER)
        timer_cancel_sync(&carrier->timeout);
}

int waiter_wait_any(struct waiter *waiters, size_t count, nanoseconds_t deadline, enum wait_flags flags)
{
    KASSERT(count > 0 && count <= INT_MAX);
    suspend_until_moved(waiters, count, deadline, flags);
    int woken = -1;
    for (size_t i = count; i-- > 0;)
        if (waiter_abandon(&waiters[i]))
            woken = (int)i;
    if (woken >= 0)
        return woken;
    return waiter_state(&waiters[0]) == WAITER_TIMED_OUT ? -ETIMEDOUT : -EINTR;
}

int waiter_wait(struct waiter *waiter, nanoseconds_t deadline, enum wait_flags flags)
{
    return waiter_wait_any(waiter, 1, deadline, flags);
}

/* --- without a queue --------------------------------------------------------------------------------- */

bool waiter_claim(struct waiter *waiter) { return waiter_move(waiter, WAITER_WOKEN); }
bool waiter_ended(const struct waiter *waiter) { return waiter_state(waiter) != WAITER_WAITING; }

void waiter_resume(struct waiter *waiter, bool here)
{
    if (waiter->parks && here)
        thread_unpark_here(waiter->thread);
    else if (waiter->parks)
        thread_unpark(waiter->thread);
    else if (here)
        thread_wake_here(waiter->thread);
    else
        thread_wake(waiter->thread);
}

/* Whoever ends the wait unparks, exactly once; also when it is waiter_publish, that finds it interrupted already. */
void waiter_park(struct waiter *waiter, enum wait_flags flags, void (*continuation)(void *argument), void *argument)
{
    KASSERT(waiter->parks && !atomic_ptr_load_relaxed(&waiter->queue));
    if (waiter_publish(waiter, flags))
        thread_unpark_here(waiter->thread);
    thread_park(continuation, argument);
}

int waiter_unparked(struct waiter *waiter)
{
    waiter_withdraw(waiter);
    KASSERT(waiter_ended(waiter));
    return waiter_state(waiter) == WAITER_WOKEN ? 0 : -EINTR;
}

int waitq_sleep(struct waitq *queue, struct mutex *mutex, nanoseconds_t deadline, enum wait_flags flags)
{
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&queue->lock);
    waitq_enqueue_locked(queue, &waiter);
    spin_unlock(&queue->lock);
    if (mutex)
        mutex_unlock(mutex);
    int error = waiter_wait(&waiter, deadline, flags);
    if (mutex)
        mutex_lock(mutex);
    return error;
}
