/*
 * Attached tasks and threads: what a process is that came by itself. See task.c.
 */
#ifndef ABI_NATIVE_TASK_H
#define ABI_NATIVE_TASK_H

#include "abi/native/call.h"
#include "kernel/async.h"
#include "kernel/list.h"
#include "kernel/thread.h"

struct native_task {
    struct list link; /* under the lock of all tasks */
    struct task *task; /* referenced while `users` is not 0 */
    int32_t id, parent_id; /* constant: the server's own ids, never the host's */
    struct atomic32 users;   /* its threads, and one for the process itself: at 0 the task ends */
    struct atomic32 threads;
    struct async_work end_work;
};

struct native_thread {
    struct native_task *task; /* counted in task->users */
    int32_t id;
};

/* The server's primary ABI is the native one: for attached processes only. Once. */
void native_abi_init(void);
/* As struct abi_arrivals has them. */
extern const struct abi_arrivals native_arrivals;
/* The end of the calling thread: of an attached task. */
NORETURN void native_thread_exit(void);
/* Fills in what only an attached task has: id, threads. Zero for others. */
void native_task_describe(struct task *task, struct hyla_task_info *info);
/* Calls visit for every attached task, with a reference held; it may suspend. Tasks that come meanwhile may be missed. */
void native_tasks_visit(void (*visit)(struct task *task, const struct native_task *native, void *argument), void *argument);

/* fork.c: copies that wait for a child to name their token. */
/* References to the copy and to its parent, or NULL. */
struct task *native_fork_claim(uint64_t token, struct task **parent);
void native_fork_forget(const struct task *parent);

/* names.c: the task ends. */
void native_names_forget(const struct task *task);

#endif
