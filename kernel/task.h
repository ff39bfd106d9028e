/*
 * Tasks: an address space and a table of handles, with threads in it. What a Linux process adds is the
 * ABI's (abi/linux/process.h).
 */
#ifndef KERNEL_TASK_H
#define KERNEL_TASK_H

#include "kernel/aspace.h"
#include "kernel/event.h"
#include "kernel/handle.h"
#include "kernel/object.h"
#include "kernel/waitq.h"

/* What happens in a task's life, for those who watch it (kernel/kqueue.h). The values are bits of a knote's interest. */
enum task_event_kind {
    TASK_FORK = 1 << 20,
    TASK_EXEC = 1 << 21,
    TASK_EXIT = 1 << 22,
    TASK_REAP = 1 << 23,
    TASK_SIGNAL = 1 << 24,
};

struct task_event {
    enum task_event_kind kind;
    int64_t data;         /* EXIT: the status as wait tells it; SIGNAL: the number; FORK: the parent's own ident */
    struct task *child;   /* FORK: not started yet */
    uint64_t child_ident; /* FORK: what programs call it */
    struct list *attach;  /* FORK: made by task_post, filled by who follows the child: struct task_follower.link */
};

/* Who follows a child: called when its parent's watchers have been told, with no lock held, and before the child runs. */
struct task_follower {
    struct list link;
    void (*attach)(struct task_follower *follower, struct task *child);
};

struct task {
    struct object object;
    struct spinlock lock;  /* rank THREAD: guards aspace */
    struct aspace *aspace; /* replaced by exec; see task_set_aspace */
    struct handle_table handles;
    void *abi;             /* the ABI's process */
    struct knote_list life; /* who watches the task; notified with a struct task_event */
    /* under life.lock */
    bool ended;
    int64_t status;
    struct atomic32 gone; /* its memory and its handles are gone, or about to go, and none of its threads returns to user mode */
    int32_t end_status;    /* before `gone`: as wait(2) encodes it */
    struct waitq end_waiters;
};

extern const struct object_type task_type;

struct task *task_create(struct aspace *aspace);
/* exec: the old one's reference is dropped. */
void task_set_aspace(struct task *task, struct aspace *aspace);
/* A reference to the task's address space. */
struct aspace *task_aspace(struct task *task);
/*
 * Tells the watchers. The ABI calls it, in a thread, with no lock of rank KNOTE_OWNER or above: FORK before the child runs, EXIT
 * once the status is settled. Costs a comparison when nobody watches.
 */
void task_post(struct task *task, const struct task_event *event);
/* Once, by the ABI, when its process has ended: posts EXIT if nobody has, closes its handles, tells who waits. May suspend. */
void task_end(struct task *task, int32_t status);
/* Waits for that. 0, -ETIMEDOUT, -EINTR. */
int task_wait(struct task *task, nanoseconds_t deadline);

#endif
