/*
 * Gates: one at a time, also across a wait for another program.
 *
 * A mutex is never held while its owner waits for what a program does, because who waits for a mutex cannot be killed. A
 * gate can be held so: who waits for it can. It has no rank, because what is asked for behind it may take any lock; gates have an
 * order of their own: a file's position, a file system's renames, a directory's names (two in order of address), appending.
 */
#ifndef ABI_LINUX_GATE_H
#define ABI_LINUX_GATE_H

#include "kernel/atomic.h"
#include "kernel/waitq.h"

struct gate {
    struct atomic32 busy; /* 0 free, 1 taken, 2 taken and waited for */
    struct waitq waiters;
};

void gate_init(struct gate *gate);
/* May suspend. -EINTR: the thread was killed. */
int gate_enter(struct gate *gate);
void gate_leave(struct gate *gate);
/* Both, in order of address; they may be one. */
int gate_enter_pair(struct gate *a, struct gate *b);
void gate_leave_pair(struct gate *a, struct gate *b);

#endif
