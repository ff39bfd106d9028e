/*
 * Tasks: an address space and a table of handles, with threads in it. What a Linux process adds is the
 * ABI's (abi/linux/process.h).
 */
#ifndef KERNEL_TASK_H
#define KERNEL_TASK_H

#include "kernel/aspace.h"
#include "kernel/handle.h"
#include "kernel/object.h"

struct task {
    struct object object;
    struct spinlock lock;  /* rank THREAD: guards aspace */
    struct aspace *aspace; /* replaced by exec; see task_set_aspace */
    struct handle_table handles;
    void *abi;             /* the ABI's process */
};

struct task *task_create(struct aspace *aspace);
/* exec: the old one's reference is dropped. */
void task_set_aspace(struct task *task, struct aspace *aspace);
/* A reference to the task's address space. */
struct aspace *task_aspace(struct task *task);

#endif
