/*
 * Where the held ranks are recorded: in the running thread, or, on a CPU's scheduler stack, in the CPU.
 * Code that runs on no CPU of the scheduler (a host thread of the body's own) is not checked.
 *
 * A record belongs to who runs on it: no lock guards it.
 */
#include "kernel/lockcheck.h"

#include "kernel/assert.h"
#include "kernel/sched.h"

#ifdef HYLA_DEBUG_LOCKS

struct record {
    uint8_t *count;
    uint16_t *ranks;
};

static struct record record_current(void)
{
    struct cpu *cpu = body_cpu_local();
    if (!cpu)
        return (struct record){NULL, NULL};
    struct thread *thread = cpu->current;
    if (thread)
        return (struct record){&thread->locks_held, thread->lock_ranks};
    return (struct record){&cpu->locks_held, cpu->lock_ranks};
}

void lockcheck_order(uint16_t rank, bool or_equal)
{
    struct record record = record_current();
    if (rank == RANK_NONE || !record.count)
        return;
    for (unsigned i = 0; i < *record.count; i++) {
        uint16_t held = record.ranks[i];
        if (held > rank || (held == rank && !or_equal))
            panic("lock order: rank %u taken while rank %u is held", rank, held);
    }
}

void lockcheck_acquired(uint16_t rank)
{
    struct record record = record_current();
    if (rank == RANK_NONE || !record.count)
        return;
    if (*record.count == THREAD_LOCKS_HELD_MAX)
        panic("lock order: more than %d locks held", THREAD_LOCKS_HELD_MAX);
    record.ranks[(*record.count)++] = rank;
}

void lockcheck_released(uint16_t rank)
{
    struct record record = record_current();
    if (rank == RANK_NONE || !record.count)
        return;
    unsigned i = *record.count;
    while (i > 0 && record.ranks[i - 1] != rank)
        i--;
    if (i == 0)
        panic("lock order: rank %u released but not held", rank);
    for (; i < *record.count; i++)
        record.ranks[i - 1] = record.ranks[i];
    (*record.count)--;
}

void lockcheck_suspend(void)
{
    struct record record = record_current();
    for (unsigned i = 0; record.count && i < *record.count; i++)
        if (record.ranks[i] > RANK_SLEEPING_MAX)
            panic("lock order: suspended while a spinlock of rank %u is held", record.ranks[i]);
}

void lockcheck_park(uint16_t spared)
{
    struct record record = record_current();
    for (unsigned i = 0; record.count && i < *record.count; i++) {
        if (record.ranks[i] != spared)
            panic("lock order: parked while a lock of rank %u is held", record.ranks[i]);
        spared = RANK_NONE;
    }
    if (record.count)
        *record.count = 0;
}

#else

/* Without the check this file is empty, which ISO C forbids. */
typedef int lockcheck_unused;

#endif
