/*
 * Harts: their records, starting them, waking them, asking them to do something, their timers.
 *
 * In the kernel tp points at the hart's record; in user mode sscratch does (trap.S). A record is the hart's own except for
 * the group that others write. Contexts do not carry tp: after a switch it is that of the hart that runs.
 */
#ifndef RISCV64_HART_H
#define RISCV64_HART_H

#include "body/riscv64/layout.h"
#include "body/riscv64/machine.h"
#include "kernel/atomic.h"
#include "kernel/types.h"

struct space;
struct user_thread;

struct hart {
    /* trap.S knows the first five */
    uint64_t scratch;
    uint64_t user_regs;    /* struct user_regs of the thread in user mode */
    uint64_t kernel_sp;    /* where its trap goes on */
    uint64_t emergency_sp; /* for a trap that finds the stack used up */
    uint64_t t0;

    uint32_t index; /* the kernel's number: 0 is the one that booted */
    uint64_t id;    /* the firmware's */
    void *local;    /* body_cpu_local */
    struct space *active; /* what satp says; a reference; NULL: the kernel's own table */
    struct user_thread *fp_live;  /* whose registers these are, newer than memory */
    struct user_thread *fp_owner; /* whose registers these are, if it says so too */
    nanoseconds_t timer_deadline, slice_deadline, programmed;
    bool slice_over;
    uint64_t user_since; /* ticks: when its thread entered user mode */
    uint64_t fast_refused, fast_taken;
    bool fast_off;
    struct atomic64 instructions_stale; /* fence.i before user mode */

    struct atomic32 online;
    struct atomic32 woken;   /* body_cpu_wake */
    struct atomic_ptr call;  /* struct hart_call to do */
};

_Static_assert(offsetof(struct hart, scratch) == HART_SCRATCH, "layout.h");
_Static_assert(offsetof(struct hart, user_regs) == HART_USER_REGS, "layout.h");
_Static_assert(offsetof(struct hart, kernel_sp) == HART_KERNEL_SP, "layout.h");
_Static_assert(offsetof(struct hart, emergency_sp) == HART_EMERGENCY_SP, "layout.h");
_Static_assert(offsetof(struct hart, t0) == HART_T0, "layout.h");

extern struct hart harts[MACHINE_HARTS_MAX];
extern uint32_t hart_count;

static inline struct hart *hart_self(void)
{
    struct hart *hart;
    __asm__ volatile("mv %0, tp" : "=r"(hart));
    return hart;
}

/* The boot hart's record; before anything else. */
void hart_init_first(uint64_t id);
/* Makes the records, at most `limit` harts; then the others come up and run the scheduler. */
void harts_prepare(uint32_t limit);
void harts_start(uint64_t load);
/* What the hart runs for ever. */
NORETURN void hart_run(void);

/* Interrupts, from trap.c; interrupts disabled. */
void hart_software_interrupt(void);
void hart_timer_interrupt(void);
/* A slice of user mode begins when none runs. hart_slice_over tells that it ended, once. Interrupts disabled. */
void hart_slice_begin(void);
bool hart_slice_over(void);

/*
 * Runs function(argument) on every other hart of the mask (of indices), with interrupts disabled there, and waits. On a
 * thread, no spinlock held.
 */
void harts_call(uint64_t mask, void (*function)(void *argument), void *argument);
/* Brings a hart into the kernel. Any context. */
void hart_interrupt(uint32_t index);
/* Forgets translations everywhere, at once. Any context. */
void harts_fence_kernel(uint64_t address, uint64_t size);
void harts_fence_asid(uint64_t mask, uint64_t address, uint64_t size, uint32_t asid);
/* All others stop for good; waits a moment for it. For panic. */
void harts_halt_others(void);
void hart_check_halt(void);

/* time.c */
void time_init(void);
uint64_t time_ticks(nanoseconds_t time); /* rounded up */
nanoseconds_t time_of_ticks(uint64_t ticks);

#endif
