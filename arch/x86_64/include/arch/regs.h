/*
 * x86-64 user registers.
 */
#ifndef ARCH_REGS_H
#define ARCH_REGS_H

#include "kernel/types.h"

struct user_regs {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp;
    uint64_t rip, eflags;
    uint64_t fs_base, gs_base;
};

#define USER_REGS_MACHINE 62 /* as ELF numbers them: EM_X86_64 */

/*
 * Makes registers that somebody wants a thread to have such as it may have: flags limited to a program's own, without the trap flag; thread
 * pointers as they were. False: the CPU could not return there.
 */
static inline bool user_regs_accept(struct user_regs *regs, const struct user_regs *before)
{
    const uint64_t flags = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x400 | 0x800 | 0x40000;
    regs->eflags = (regs->eflags & flags) | (before->eflags & ~flags);
    regs->fs_base = before->fs_base;
    regs->gs_base = before->gs_base;
    return regs->rip < 0x7ffffffff000u;
}

#endif
