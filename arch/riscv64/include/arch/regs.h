/*
 * RISC-V user registers, in the order Linux has them (user_regs_struct): pc, then x1 to x31.
 */
#ifndef ARCH_REGS_H
#define ARCH_REGS_H

#include "kernel/types.h"

struct user_regs {
    uint64_t pc;
    uint64_t ra, sp, gp, tp;
    uint64_t t0, t1, t2;
    uint64_t s0, s1;
    uint64_t a0, a1, a2, a3, a4, a5, a6, a7;
    uint64_t s2, s3, s4, s5, s6, s7, s8, s9, s10, s11;
    uint64_t t3, t4, t5, t6;
};
_Static_assert(sizeof(struct user_regs) == 32 * 8, "struct user_regs_struct");

#define USER_REGS_MACHINE 243 /* as ELF numbers them: EM_RISCV */

/* Whether a thread may have registers that somebody wants it to have. */
static inline bool user_regs_accept(struct user_regs *regs, const struct user_regs *before)
{
    (void)before;
    return !(regs->pc & 1) && regs->pc < 0x800000000000u;
}

#endif
