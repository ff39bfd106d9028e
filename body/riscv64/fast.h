/*
 * The short way of calls of words. Also included by assembly.
 */
#ifndef RISCV64_FAST_H
#define RISCV64_FAST_H

#define FAST_CALL_FIRST 4172 /* and the next: HYLA_CALL_WORD_CALL, HYLA_CALL_WORD_REPLY_WAIT */
#define FAST_CAUSE 64        /* for user.c: a thread has got the hart by the short way, and is to look about in the kernel */

#ifndef __ASSEMBLER__
#include "kernel/types.h"

struct user_regs;

/*
 * From trap.S. regs NULL: nothing has changed. Else the registers of the thread that has the hart now, but for a0, which is the result,
 * and the words; or FAST_NOT_TO_USER when it may not go to user mode before it has been in the kernel.
 */
struct fast_entered {
    int64_t result;
    struct user_regs *regs;
};
struct fast_entered fast_exchange(uint64_t first, uint64_t second, uint64_t replies);
#define FAST_NOT_TO_USER ((struct user_regs *)1)
/* Boot argument hyla.slow. Before any program runs. */
void fast_turn_off(void);
/* Sums, roughly. */
void fast_count(uint64_t *tried, uint64_t *taken);
#endif

#endif
