/*
 * Deferred work: one queue, two kernel-only threads.
 *
 * Posting takes one spinlock and wakes at most one idle worker, so it may be done from timers and under
 * most spinlocks. A work item never runs twice at the same time: a worker passes over an item that the
 * other one is in, and the other one takes it when it is done.
 *
 * The worker's record of what it runs is only an address: the item may be gone by then.
 */
#include "kernel/async.h"

#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/lock.h"
#include "kernel/sched.h"
#include "kernel/thread.h"

#define WORKERS 2u

struct worker {
    struct thread *thread; /* a reference */
    /* under async.lock */
    bool idle;
    struct async_work *running;
};

static struct {
    struct spinlock lock; /* rank POOL; guards: */
    struct list works;    /* struct async_work.link */
    bool stopping;
    struct worker workers[WORKERS];
} async = {.lock = SPINLOCK_INIT(RANK_POOL), .works = {&async.works, &async.works}};

void async_work_init(struct async_work *work, void (*function)(struct async_work *work))
{
    *work = (struct async_work){.function = function};
    list_init(&work->link);
}

/* A thread to wake for new work, or NULL when all are busy: they look again by themselves. */
static struct thread *claim_idle_locked(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        if (async.workers[i].idle) {
            async.workers[i].idle = false;
            return async.workers[i].thread;
        }
    }
    return NULL;
}

bool kernel_async(struct async_work *work)
{
    if (atomic32_swap(&work->queued, 1) != 0)
        return false;
    spin_lock(&async.lock);
    list_push_back(&async.works, &work->link);
    struct thread *thread = claim_idle_locked();
    if (thread)
        object_ref(thread);
    spin_unlock(&async.lock);
    if (thread) {
        thread_wake(thread);
        object_unref(thread); /* never the last: see worker_await_end */
    }
    return true;
}

static bool runs_elsewhere_locked(const struct async_work *work)
{
    for (unsigned i = 0; i < WORKERS; i++)
        if (async.workers[i].running == work)
            return true;
    return false;
}

static struct async_work *take_work_locked(struct worker *self)
{
    self->running = NULL;
    LIST_FOR_EACH (link, &async.works) {
        struct async_work *work = LIST_ENTRY(link, struct async_work, link);
        if (runs_elsewhere_locked(work))
            continue;
        list_remove(&work->link);
        self->running = work;
        return work;
    }
    return NULL;
}

/* The next item, or NULL when the worker is to end. */
static struct async_work *next_work(struct worker *self)
{
    for (;;) {
        spin_lock(&async.lock);
        struct async_work *work = take_work_locked(self);
        bool end = !work && async.stopping && list_empty(&async.works);
        self->idle = !work && !end;
        spin_unlock(&async.lock);
        if (work || end)
            return work;
        thread_suspend();
    }
}

/* The other worker may have gone idle over an item that was in ours: it looks again. */
static void worker_end(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        thread_wake(async.workers[i].thread);
}

static void worker_run(void *argument)
{
    struct worker *self = argument;
    struct async_work *work;
    while ((work = next_work(self))) {
        atomic32_store(&work->queued, 0);
        work->function(work);
    }
    worker_end();
}

int async_init(void)
{
    spinlock_init(&async.lock, RANK_POOL);
    list_init(&async.works);
    async.stopping = false;
    for (unsigned i = 0; i < WORKERS; i++)
        async.workers[i] = (struct worker){.thread = thread_create("async", NULL, worker_run, &async.workers[i])};
    bool made = async.workers[0].thread && async.workers[1].thread;
    for (unsigned i = 0; i < WORKERS; i++) {
        if (made)
            thread_start(async.workers[i].thread);
        else
            object_unref(async.workers[i].thread);
    }
    return made ? 0 : -ENOMEM;
}

/* Until ours is the only reference: its own goes last, at its very end. */
static void worker_await_end(struct thread *thread)
{
    while (atomic32_load_acquire(&thread->object.references) > 1) {
        thread_yield();
        body_relax(0);
    }
}

void async_stop(void)
{
    spin_lock(&async.lock);
    async.stopping = true;
    spin_unlock(&async.lock);
    for (unsigned i = 0; i < WORKERS; i++)
        thread_wake(async.workers[i].thread);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_await_end(async.workers[i].thread);
    for (unsigned i = 0; i < WORKERS; i++) /* only now: each wakes the other at its end */
        object_unref(async.workers[i].thread);
}
