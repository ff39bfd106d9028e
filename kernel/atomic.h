/*
 * Every word that two CPUs share goes through these functions, so that the simulation body can switch
 * threads at, and reorder, each of them. <body/atomic.h> is chosen by the body's include path: compiler
 * built-ins for real machines, store buffers for the simulator.
 *
 * The types are structs so that a plain access does not compile by accident. Orders are spelled in the
 * name; the read-modify-write functions are sequentially consistent unless named _relaxed.
 *
 * <body/atomic.h> defines, for N in 32, 64 (uint32_t, uint64_t):
 *   uintN_t atomicN_load_relaxed(const struct atomicN *)      uintN_t atomicN_load_acquire(...)
 *   uintN_t atomicN_load(...)                  sequentially consistent
 *   void atomicN_store_relaxed(struct atomicN *, uintN_t)     ..._store_release, ..._store (seq_cst)
 *   uintN_t atomicN_swap(struct atomicN *, uintN_t)           the old value
 *   uintN_t atomicN_swap_acquire(...)          the same, for taking a lock
 *   bool atomic32_take(struct atomic32 *)       swap_acquire of 1: whether it was 0
 *   bool atomicN_cas(struct atomicN *, uintN_t *expected, uintN_t desired)   strong; updates *expected
 *   uintN_t atomicN_add(struct atomicN *, uintN_t)            the OLD value; also _sub, _or, _and
 *   uintN_t atomicN_add_relaxed(struct atomicN *, uintN_t)    the OLD value
 * and for pointers: struct atomic_ptr with atomic_ptr_load_acquire, _load_relaxed, _store_release,
 * _store_relaxed, _swap, _cas (void *), and atomic_fence() (sequentially consistent).
 */
#ifndef KERNEL_ATOMIC_H
#define KERNEL_ATOMIC_H

#include "kernel/types.h"

struct atomic32 {
    uint32_t raw;
};
struct atomic64 {
    uint64_t raw;
};
struct atomic_ptr {
    void *raw;
};

#define ATOMIC_INIT(value) {(value)}

#include <body/atomic.h>

#endif
