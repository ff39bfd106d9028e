/*
 * Sleeping mutexes. state_lock guards the owner and the waiters and is held for a few instructions;
 * waiting suspends the microthread, not the CPU.
 *
 * Unlock hands over: with waiters queued, the mutex never becomes free but gets the first one as its next
 * owner, so nobody barges past and nobody starves.
 *
 * A waiter's record lives on its stack. The unlocker makes it owner, and wakes it, within state_lock; the
 * waiter looks at the owner under state_lock too, so when it sees itself there the unlocker has touched
 * the record, and the thread, for the last time.
 *
 * One who may be killed while it waits has a struct waiter as well, whose state decides between the unlocker, who claims it, and
 * the killer; an unlocker that comes too late goes on to the next in the queue.
 */
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/lockcheck.h"
#include "kernel/lock.h"
#include "kernel/thread.h"

struct mutex_waiter {
    struct list link;
    struct thread *thread;
    struct waiter *killable; /* NULL: waits to the end */
};

void mutex_init(struct mutex *mutex, enum lock_rank rank)
{
    spinlock_init(&mutex->state_lock, RANK_WAITQ);
    mutex->owner = NULL;
    list_init(&mutex->waiters);
    mutex->rank = (uint16_t)rank;
}

static bool mutex_owned_by(const struct mutex *mutex, const struct thread *thread)
{
    struct spinlock *lock = (struct spinlock *)&mutex->state_lock;
    spin_lock(lock);
    bool owned = mutex->owner == thread;
    spin_unlock(lock);
    return owned;
}

static bool mutex_take(struct mutex *mutex, struct thread *self, struct mutex_waiter *waiter)
{
    spin_lock(&mutex->state_lock);
    KASSERT(mutex->owner != self);
    bool taken = !mutex->owner;
    if (taken)
        mutex->owner = self;
    else if (waiter)
        list_push_back(&mutex->waiters, &waiter->link);
    spin_unlock(&mutex->state_lock);
    return taken;
}

static void mutex_lock_checked(struct mutex *mutex, bool or_equal)
{
    struct thread *self = thread_current();
    KASSERT(self);
    lockcheck_order(mutex->rank, or_equal);
    struct mutex_waiter waiter = {.thread = self};
    if (!mutex_take(mutex, self, &waiter)) {
        do
            thread_suspend();
        while (!mutex_owned_by(mutex, self));
    }
    lockcheck_acquired(mutex->rank);
}

void mutex_lock(struct mutex *mutex) { mutex_lock_checked(mutex, false); }

/* The killed one's record leaves the list, where an unlocker has not taken it off before. */
static void give_up(struct mutex *mutex, struct mutex_waiter *waiter)
{
    spin_lock(&mutex->state_lock);
    if (list_linked(&waiter->link))
        list_remove(&waiter->link);
    spin_unlock(&mutex->state_lock);
}

static int mutex_lock_killable_checked(struct mutex *mutex, bool or_equal)
{
    struct thread *self = thread_current();
    struct waiter wait;
    struct mutex_waiter waiter = {.thread = self, .killable = &wait};

    KASSERT(self);
    lockcheck_order(mutex->rank, or_equal);
    waiter_init(&wait);
    list_init(&waiter.link);
    if (!mutex_take(mutex, self, &waiter)) {
        if (waiter_wait(&wait, DEADLINE_NEVER, WAIT_KILLABLE)) {
            give_up(mutex, &waiter);
            return -EINTR;
        }
        bool owned = mutex_owned_by(mutex, self); /* also: whoever handed it over is done with the record */
        KASSERT(owned);
    }
    lockcheck_acquired(mutex->rank);
    return 0;
}

int mutex_lock_killable(struct mutex *mutex) { return mutex_lock_killable_checked(mutex, false); }

bool mutex_trylock(struct mutex *mutex)
{
    struct thread *self = thread_current();
    KASSERT(self);
    if (!mutex_take(mutex, self, NULL))
        return false;
    lockcheck_acquired(mutex->rank);
    return true;
}

/* The waiter is off the list. It becomes the owner unless it has been killed. */
static void hand_over_locked(struct mutex *mutex, struct mutex_waiter *waiter)
{
    if (waiter->killable && !waiter_claim(waiter->killable))
        return;
    mutex->owner = waiter->thread;
    if (waiter->killable)
        waiter_resume(waiter->killable, false);
    else
        thread_wake(waiter->thread);
}

void mutex_unlock(struct mutex *mutex)
{
    lockcheck_released(mutex->rank);
    spin_lock(&mutex->state_lock);
    KASSERT(mutex->owner && mutex->owner == thread_current());
    mutex->owner = NULL;
    while (!mutex->owner && !list_empty(&mutex->waiters))
        hand_over_locked(mutex, LIST_ENTRY(list_pop_front(&mutex->waiters), struct mutex_waiter, link));
    spin_unlock(&mutex->state_lock);
}

void mutex_lock_pair(struct mutex *a, struct mutex *b)
{
    struct mutex *first = (uintptr_t)a <= (uintptr_t)b ? a : b;
    struct mutex *second = first == a ? b : a;
    mutex_lock_checked(first, false);
    if (second != first)
        mutex_lock_checked(second, true);
}

int mutex_lock_pair_killable(struct mutex *a, struct mutex *b)
{
    struct mutex *first = (uintptr_t)a <= (uintptr_t)b ? a : b;
    struct mutex *second = first == a ? b : a;
    int error = mutex_lock_killable_checked(first, false);

    if (error || second == first)
        return error;
    error = mutex_lock_killable_checked(second, true);
    if (error)
        mutex_unlock(first);
    return error;
}

void mutex_unlock_pair(struct mutex *a, struct mutex *b)
{
    mutex_unlock(a);
    if (a != b)
        mutex_unlock(b);
}

bool mutex_owned(const struct mutex *mutex)
{
    struct thread *self = thread_current();
    return self && mutex_owned_by(mutex, self);
}
