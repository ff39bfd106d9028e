/*
 * Deferred work: functions that kernel-only threads run soon, where they may suspend. For what a timer
 * function, a spinlock's holder or a dying object cannot do itself.
 */
#ifndef KERNEL_ASYNC_H
#define KERNEL_ASYNC_H

#include "kernel/list.h"
#include "kernel/atomic.h"

struct async_work {
    struct list link;
    struct atomic32 queued;
    void (*function)(struct async_work *work);
};

void async_work_init(struct async_work *work, void (*function)(struct async_work *work));
/*
 * Queues it; false when it is queued already (it then runs once). A function never runs twice at the same time;
 * `queued` is clear before it runs, so it may queue or free its own work.
 * Never fails, never blocks, any context.
 */
bool kernel_async(struct async_work *work);
/* Starts the threads that run the work. Once, after thread_system_init. 0 or -ENOMEM. */
int async_init(void);
/* Ends those threads when the queued work has run; waits until they have. On a thread. For a clean end of a body. */
void async_stop(void);

#endif
