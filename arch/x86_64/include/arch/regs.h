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

#endif
