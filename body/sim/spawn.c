/*
 * Threads of a test, and waiting until everything else has come to rest.
 */
#include "body/sim/engine.h"

#include <stdio.h>

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/object.h"

struct sim_thread {
    struct thread *thread; /* a reference */
    thread_function *function;
    void *argument;
    struct atomic32 done;
    struct waitq ended;
};

/* For the report when a schedule hangs. */
#define REMEMBERED 64u
static struct thread *remembered[REMEMBERED];
static uint64_t remembered_seed;

static void remember(struct thread *thread)
{
    if (remembered_seed != sim.seed)
        for (uint32_t i = 0; i < REMEMBERED; i++)
            remembered[i] = NULL;
    remembered_seed = sim.seed;
    for (uint32_t i = 0; i < REMEMBERED; i++) {
        if (!remembered[i]) {
            remembered[i] = thread;
            return;
        }
    }
}

static void forget(struct thread *thread)
{
    for (uint32_t i = 0; i < REMEMBERED; i++)
        if (remembered[i] == thread)
            remembered[i] = NULL;
}

void sim_spawn_report(void)
{
    static const char *const names[] = {[THREAD_NEW] = "new",       [THREAD_READY] = "ready or running",
                                        [THREAD_BLOCKED] = "blocked", [THREAD_PARKED] = "parked",
                                        [THREAD_DEAD] = "dead"};
    for (uint32_t i = 0; i < REMEMBERED && remembered_seed == sim.seed; i++) {
        struct thread *thread = remembered[i];
        if (thread)
            fprintf(stderr, "  thread %u: %s%s%s\n", i, names[thread->state], thread->waiter ? ", interruptible" : "", thread_interrupted(thread) ? ", interrupted" : "");
    }
}

static void thread_body(void *argument)
{
    struct sim_thread *self = argument;
    self->function(self->argument);
    atomic32_store_release(&self->done, 1);
    waitq_wake_all(&self->ended);
}

struct sim_thread *sim_spawn_in(struct task *task, thread_function *function, void *argument)
{
    sim_calm_begin();
    struct sim_thread *thread = kzalloc(sizeof(*thread));
    thread->function = function;
    thread->argument = argument;
    waitq_init(&thread->ended);
    thread->thread = thread_create("test", task, thread_body, thread);
    remember(thread->thread);
    thread_start(thread->thread);
    sim_calm_end();
    return thread;
}

struct sim_thread *sim_spawn(thread_function *function, void *argument) { return sim_spawn_in(NULL, function, argument); }

struct thread *sim_kernel_thread(struct sim_thread *thread) { return thread->thread; }

static void await_done(struct sim_thread *thread)
{
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&thread->ended.lock);
    waitq_enqueue_locked(&thread->ended, &waiter);
    spin_unlock(&thread->ended.lock);
    if (atomic32_load_acquire(&thread->done))
        waiter_abandon(&waiter);
    else
        waiter_wait(&waiter, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
    waitq_quiesce(&thread->ended);
}

void sim_join(struct sim_thread *thread)
{
    await_done(thread);
    while (atomic32_load_acquire(&thread->thread->object.references) > 1) { /* its own reference goes last */
        thread_yield();
        body_relax(0);
    }
    forget(thread->thread);
    object_unref(thread->thread);
    kfree(thread);
}

void sim_settle(void)
{
    KASSERT(!sim.settler);
    struct thread *self = thread_current();
    sim.settler = self;
    while (sim.settler == self)
        thread_suspend();
}
