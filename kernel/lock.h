/*
 * Locks: spinlocks for a few instructions, mutexes for everything that may wait.
 *
 * A spinlock is held only over code that cannot suspend; it disables interrupts on the body that has
 * them. A mutex suspends the microthread, never the host thread or hart under it: a small state word, an
 * owner, and a queue of waiters to the first of which unlock hands the mutex over (no barging past a
 * waiter, so no starvation). Every lock has a rank (kernel/rank.h).
 */
#ifndef KERNEL_LOCK_H
#define KERNEL_LOCK_H

#include "kernel/atomic.h"
#include "kernel/list.h"
#include "kernel/rank.h"

struct thread;

struct spinlock {
    struct atomic32 word;
    uint16_t rank;
    uint8_t interrupts; /* of the holder: the state to go back to. So nested spinlocks are released in reverse order. */
};

#define SPINLOCK_INIT(rank_) {.word = ATOMIC_INIT(0), .rank = (rank_)}

void spinlock_init(struct spinlock *lock, enum lock_rank rank);
void spin_lock(struct spinlock *lock);
/* True when taken. Exempt from the order check, since it cannot deadlock. */
bool spin_trylock(struct spinlock *lock);
void spin_unlock(struct spinlock *lock);
/* Two locks of one rank, taken in address order; they may be the same lock. */
void spin_lock_pair(struct spinlock *a, struct spinlock *b);
void spin_unlock_pair(struct spinlock *a, struct spinlock *b);
/* For assertions: true when the lock is held by somebody. */
bool spin_is_locked(const struct spinlock *lock);

struct mutex {
    struct spinlock state_lock; /* guards the rest; rank WAITQ */
    struct thread *owner;
    struct list waiters; /* struct mutex_waiter, first to be served first */
    uint16_t rank;
};

void mutex_init(struct mutex *mutex, enum lock_rank rank);
/* May suspend. Not interruptible: what such a mutex guards is not held across a wait for a program. */
void mutex_lock(struct mutex *mutex);
/*
 * The same for mutexes that are: a file system's, whose server may never answer. Gives up when the calling thread is killed: -EINTR.
 * Those who take the same mutex with mutex_lock wait as long as it takes.
 */
int mutex_lock_killable(struct mutex *mutex);
bool mutex_trylock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);
void mutex_lock_pair(struct mutex *a, struct mutex *b);
int mutex_lock_pair_killable(struct mutex *a, struct mutex *b); /* both, or -EINTR and neither */
void mutex_unlock_pair(struct mutex *a, struct mutex *b);
/* For assertions: true when the calling thread owns the mutex. */
bool mutex_owned(const struct mutex *mutex);

#endif
