/*
 * The run-time check of the lock order (kernel/rank.h), compiled in with HYLA_DEBUG_LOCKS.
 *
 * Each thread, and each CPU's scheduler stack, records the ranks it holds. Taking a rank that is not
 * greater than all of them, suspending with a spinlock held, or parking with anything held panics, at the
 * moment of the mistake and not at the deadlock that it may one day cause. RANK_NONE is not recorded.
 */
#ifndef KERNEL_LOCKCHECK_H
#define KERNEL_LOCKCHECK_H

#include "kernel/types.h"

#ifdef HYLA_DEBUG_LOCKS
/* Before waiting for a lock: its rank must be greater than all held; `or_equal` for the second of a pair. */
void lockcheck_order(uint16_t rank, bool or_equal);
void lockcheck_acquired(uint16_t rank);
void lockcheck_released(uint16_t rank);
/* The caller is about to suspend: it holds no spinlock; when parking, no lock at all (but `spared`'s rank, once). */
void lockcheck_suspend(void);
void lockcheck_park(uint16_t spared);
#else
static inline void lockcheck_order(uint16_t rank UNUSED, bool or_equal UNUSED) {}
static inline void lockcheck_acquired(uint16_t rank UNUSED) {}
static inline void lockcheck_released(uint16_t rank UNUSED) {}
static inline void lockcheck_suspend(void) {}
static inline void lockcheck_park(uint16_t spared UNUSED) {}
#endif

#endif
