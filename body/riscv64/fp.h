/*
 * Floating-point registers. The kernel uses none: what a hart's registers hold is some program's state.
 *
 * While a thread works in the kernel its state stays in the registers. It is written to memory when it was changed in
 * user mode (the hart says so) and the hart is about to run another context: so a thread that wakes up on another hart finds
 * it in memory. Registers whose thread has not run elsewhere since need not be loaded again.
 */
#ifndef RISCV64_FP_H
#define RISCV64_FP_H

#include "kernel/types.h"

struct fp_state {
    uint64_t f[32];
    uint32_t fcsr;
    uint32_t pad;
};

struct user_thread;

/* Before user mode, and after it; interrupts disabled. */
void fp_enter_user(struct user_thread *user);
void fp_left_user(struct user_thread *user);
/* The hart is about to run another context. */
void fp_leave(void);
/* The calling thread's state, up to date in memory; after a change in memory. */
void fp_flush(struct user_thread *user);
void fp_changed(struct user_thread *user);
/* The user thread's record goes. */
void fp_forget(struct user_thread *user);

#endif
