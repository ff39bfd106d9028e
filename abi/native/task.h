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
    struct list thread_list; /* struct native_thread.link, under the lock of all threads */
    struct async_work end_work;
};

/*
 * A thread of a program may have several of these, one for each call that it is in at once (docs/attached.md, Interrupts): the first is
 * the thread as others see it, and the nested ones have its id.
 */
struct native_thread {
    struct list link, by_id;  /* under the lock of all threads; only of a first one */
    struct native_task *task; /* counted in task->users */
    struct thread *thread;
    int32_t id;               /* constant */
    bool nested;              /* constant */
    struct atomic32 futex_state; /* enum native_futex_state */
    struct atomic32 call;     /* the number of the call that it is in, or 0: for those who look */
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
struct native_ids {
    int32_t task, parent;
};
void native_tasks_visit(void (*visit)(struct task *task, struct native_ids ids, void *argument), void *argument);

/* thread.c: the threads of attached tasks. */
/* A fresh one with an id of its own, or of the thread that it is nested in (`first`, or NULL). NULL: no memory. */
struct native_thread *native_thread_create(struct task *task, struct thread *first);
void native_thread_known(struct native_thread *self, struct thread *thread);
/* Nobody finds it any more, and its PI locks pass on. */
void native_thread_forget(struct native_thread *self);
/* As struct abi has them. */
struct thread *native_thread_at(struct task *task, int32_t *id);
enum futex_owner_state native_futex_owner(uint32_t id);
/* Calls visit for every thread of an attached task; it may suspend. */
void native_threads_visit(struct task *task, void (*visit)(struct thread *thread, int32_t id, uint64_t call, void *argument), void *argument);
/* Tasks and threads have one range of ids. Never 0. */
int32_t native_next_id(void);

/* task->abi is looked at by others than the task's own threads: takes the lock of all tasks, or releases it. */
void native_task_lock(bool take);

/* fork.c: copies that wait for a child to name their token. */
/* References to the copy and to its parent, or NULL. */
struct task *native_fork_claim(uint64_t token, struct task **parent);
void native_fork_forget(const struct task *parent);

/* names.c: the task ends. */
void native_names_forget(const struct task *task);

#endif
