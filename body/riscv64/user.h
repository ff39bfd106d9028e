/*
 * The body's record of a user thread.
 */
#ifndef RISCV64_USER_H
#define RISCV64_USER_H

#include "body/riscv64/fp.h"
#include "body/riscv64/layout.h"
#include "kernel/atomic.h"

#include <arch/regs.h>

struct space;
struct thread;

struct user_thread {
    struct user_regs regs;
    int32_t process_id, thread_id; /* answered in trap.S; 0: in the kernel */
    struct fp_state fp;
    uint32_t fp_hart;     /* whose registers may hold the state; UINT32_MAX: none */
    struct space *space;  /* a reference */
    bool regs_set;        /* body_user_set_regs was called during this entry */
    struct atomic32 mode; /* 0: in the kernel; else the index of the hart it runs on, plus 1 */
    struct atomic64 user_ticks; /* written by the hart that runs it */
    bool fp_was_off;      /* when it left user mode (fast.c) */
};

_Static_assert(offsetof(struct user_thread, process_id) == USER_PROCESS_ID && offsetof(struct user_thread, thread_id) == USER_THREAD_ID, "layout.h");

/* The continuation of a thread that parked in a call: makes it anew in the kernel. */
void user_again(void *argument);

#endif
