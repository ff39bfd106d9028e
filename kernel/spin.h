/*
 * The bare spinlock, inline and without the order check: for kernel/spinlock.c, and for the scheduler,
 * whose locks (thread, run queue) are held across a context switch and released by whoever runs next.
 *
 * Test and test-and-set: the word is 0 when free. Where the body has interrupts, the holder's state from
 * before is kept in the lock, so nested spinlocks are released in reverse order.
 */
#ifndef KERNEL_SPIN_H
#define KERNEL_SPIN_H

#include "kernel/body.h"
#include "kernel/lock.h"

static inline uint32_t spin_interrupts_disable(void) { return BODY_HAS_INTERRUPTS ? body_interrupts_disable() : 0; }

static inline void spin_interrupts_restore(uint32_t state)
{
    if (BODY_HAS_INTERRUPTS)
        body_interrupts_restore(state);
}

static inline bool spin_try_acquire(struct spinlock *lock)
{
    uint32_t interrupts = spin_interrupts_disable();
    if (atomic32_swap(&lock->word, 1) != 0) {
        spin_interrupts_restore(interrupts);
        return false;
    }
    lock->interrupts = (uint8_t)interrupts;
    return true;
}

static inline void spin_acquire(struct spinlock *lock)
{
    uint32_t turn = 0;
    while (UNLIKELY(!spin_try_acquire(lock)))
        while (atomic32_load_relaxed(&lock->word) != 0)
            body_relax(turn++);
}

static inline void spin_release(struct spinlock *lock)
{
    uint32_t interrupts = lock->interrupts;
    atomic32_store_release(&lock->word, 0);
    spin_interrupts_restore(interrupts);
}

#endif
