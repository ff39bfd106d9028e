/*
 * Spinlocks: the bare lock of kernel/spin.h with the order check around it.
 */
#include "kernel/lockcheck.h"
#include "kernel/spin.h"

void spinlock_init(struct spinlock *lock, enum lock_rank rank) { *lock = (struct spinlock)SPINLOCK_INIT((uint16_t)rank); }

void spin_lock(struct spinlock *lock)
{
    lockcheck_order(lock->rank, false);
    spin_acquire(lock);
    lockcheck_acquired(lock->rank);
}

bool spin_trylock(struct spinlock *lock)
{
    if (!spin_try_acquire(lock))
        return false;
    lockcheck_acquired(lock->rank);
    return true;
}

void spin_unlock(struct spinlock *lock)
{
    lockcheck_released(lock->rank);
    spin_release(lock);
}

static void spin_lock_second(struct spinlock *lock)
{
    lockcheck_order(lock->rank, true);
    spin_acquire(lock);
    lockcheck_acquired(lock->rank);
}

void spin_lock_pair(struct spinlock *a, struct spinlock *b)
{
    struct spinlock *first = (uintptr_t)a <= (uintptr_t)b ? a : b;
    struct spinlock *second = first == a ? b : a;
    spin_lock(first);
    if (second != first)
        spin_lock_second(second);
}

void spin_unlock_pair(struct spinlock *a, struct spinlock *b)
{
    struct spinlock *first = (uintptr_t)a <= (uintptr_t)b ? a : b;
    struct spinlock *second = first == a ? b : a;
    if (second != first)
        spin_unlock(second);
    spin_unlock(first);
}

bool spin_is_locked(const struct spinlock *lock) { return atomic32_load_relaxed(&lock->word) != 0; }
