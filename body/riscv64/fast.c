/*
 * The hart's side of the short way (docs/fast-path.md): what a hand-over means for the address space, the floating-point registers,
 * the accounting, and for those who want to interrupt the thread that gets the hart.
 *
 * Compiled with s2 to s9 fixed: they hold the message; s1, s10 and s11 need not be kept, for trap.S does not want them back. Called by trap.S with interrupts disabled, on the kernel stack whose base is the
 * loop of user mode (user.c); the caller's other registers are saved.
 */
#include "body/riscv64/csr.h"
#include "body/riscv64/fast.h"
#include "body/riscv64/frames.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/space.h"
#include "body/riscv64/user.h"
#include "kernel/port_fast.h"

#include <hyla/numbers.h>

_Static_assert(HYLA_CALL_WORD_CALL == FAST_CALL_FIRST && HYLA_CALL_WORD_REPLY_WAIT == FAST_CALL_FIRST + 1, "fast.h, trap.S");

void fast_turn_off(void)
{
    for (uint32_t i = 0; i < hart_count; i++)
        harts[i].fast_off = true;
}

void fast_count(uint64_t *tried, uint64_t *taken)
{
    *tried = *taken = 0;
    for (uint32_t i = 0; i < hart_count; i++) {
        *tried += harts[i].fast_refused + harts[i].fast_taken;
        *taken += harts[i].fast_taken;
    }
}

/* As space_activate, for the usual case: it has an identifier, and this hart has run it before, so it is in its set. */
static inline void activate(struct hart *hart, struct space *space)
{
    struct space *old = hart->active;
    if (old == space)
        return;
    if (UNLIKELY(!space->asid || !(atomic64_load_relaxed(&space->harts) >> hart->index & 1))) {
        space_activate(space);
        return;
    }
    atomic32_add_relaxed(&space->references, 1);
    hart->active = space;
    csr_write("satp", space->satp);
    atomic32_sub(&old->references, 1); /* never the last: the thread that parked has one, and its lock is held */
}

/* Floating point is off for a thread whose registers are not there: its first use of them traps, and user.c loads them. */
static inline void enter_fp(struct hart *hart, struct user_thread *user)
{
    if (hart->fp_owner == user && user->fp_hart == hart->index)
        csr_set("sstatus", SSTATUS_FS_CLEAN);
}

static inline void leave(struct hart *hart, struct user_thread *user)
{
    uint64_t now = csr_read("time");
    atomic64_store_relaxed(&user->user_ticks, atomic64_load_relaxed(&user->user_ticks) + now - hart->user_since);
    hart->user_since = now;
    uint64_t status;
    __asm__ volatile("csrrc %0, sstatus, %1" : "=r"(status) : "r"((uint64_t)SSTATUS_FS) : "memory");
    if (UNLIKELY((status & SSTATUS_FS) == SSTATUS_FS_DIRTY)) {
        hart->fp_live = user;
        fp_leave();
    }
}

/* The thread has the hart. Who interrupts it reads `mode` after the mark, this reads the mark after `mode`: one of the two sees the other. */
static inline struct fast_entered enter(struct hart *hart, struct thread *next, struct port_fast *fast)
{
    struct user_thread *user = next->user;
    hart->fast_taken++;
    hart->user_regs = (uint64_t)&user->regs;
    user->regs.a1 = fast->badge;
    atomic32_store_relaxed(&user->mode, hart->index + 1);
    atomic_fence();
    port_fast_done(fast);
    if (UNLIKELY(atomic32_load_relaxed(&next->interrupts) || atomic64_load_relaxed(&hart->instructions_stale))) {
        user->regs.a0 = (uint64_t)fast->result;
        return (struct fast_entered){0, FAST_NOT_TO_USER};
    }
    enter_fp(hart, user);
    return (struct fast_entered){fast->result, &user->regs};
}

struct fast_entered fast_exchange(uint64_t first, uint64_t second, uint64_t replies)
{
    struct hart *hart = hart_self();
    struct cpu *cpu = hart->local;
    struct thread *self = cpu->current, *next;
    struct user_thread *user = self->user;
    struct port_fast fast = {.again = user_again};
    if (UNLIKELY(hart->fast_off))
        return (struct fast_entered){0, NULL};
    if (replies)
        next = port_fast_reply_wait(cpu, self, first, second, &fast);
    else
        next = port_fast_call(cpu, self, first, &fast);
    if (UNLIKELY(!next)) {
        hart->fast_refused++;
        return (struct fast_entered){0, NULL};
    }
    user->regs.a1 = 0; /* a reply is not sent again, should the call be made anew */
    leave(hart, user);
    atomic32_store_relaxed(&user->mode, 0);
    activate(hart, ((struct user_thread *)next->user)->space);
    return enter(hart, next, &fast);
}
