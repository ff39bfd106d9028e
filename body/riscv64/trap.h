/*
 * Traps: interrupts and exceptions, from the kernel and from user mode.
 */
#ifndef RISCV64_TRAP_H
#define RISCV64_TRAP_H

#include <arch/regs.h>

#include "kernel/types.h"

/* What trap.S saves of interrupted kernel code, on its stack. */
struct trap_frame {
    struct user_regs regs; /* pc is sepc */
    uint64_t status, cause, value;
    uint64_t pad;
};
_Static_assert(sizeof(struct trap_frame) == 288, "trap.S");

/* On each hart: where traps go; then interrupts on. */
void trap_init(void);
void trap_enable(void);
/* An interrupt, with interrupts disabled: cause as in scause. */
void trap_interrupt(uint64_t cause);
/* From trap.S. */
void trap_from_kernel(struct trap_frame *frame);
NORETURN void trap_stack_overflow(struct trap_frame *frame);
/*
 * Runs user mode with these registers until something brings it back; the new ones are in *regs then. sstatus has been set
 * for it. Returns scause; stval is still in its register. Interrupts disabled before and after.
 */
uint64_t trap_run_user(struct user_regs *regs);

#endif
