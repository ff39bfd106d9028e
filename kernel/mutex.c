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
 */
#include "kernel/assert.h"
#include "kernel/lockcheck.h"
#include "kernel/lock.h"
#include "kernel/thread.h"

struct mutex_waiter {
    struct list link;
    struct thread *thread;
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

bool mutex_trylock(struct mutex *mutex)
{
    struct thread *self = thread_current();
    KASSERT(self);
    if (!mutex_take(mutex, self, NULL))
        return false;
    lockcheck_acquired(mutex->rank);
    return true;
}

void mutex_unlock(struct mutex *mutex)
{
    lockcheck_released(mutex->rank);
    spin_lock(&mutex->state_lock);
    KASSERT(mutex->owner && mutex->owner == thread_current());
    struct list *first = list_pop_front(&mutex->waiters);
    mutex->owner = NULL;
    if (first) {
        mutex->owner = LIST_ENTRY(first, struct mutex_waiter, link)->thread;
        thread_wake(mutex->owner);
    }
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
