/*
 * Deferred work: it runs, once per posting that took, and never twice at a time.
 */
#include "kernel/async.h"

#include "body/sim/sim.h"
#include "kernel/alloc.h"
#include "kernel/body.h"
#include "kernel/thread.h"
#include "kernel/timer.h"

struct job {
    struct async_work work;
    struct atomic32 runs, posts, inside;
    struct waitq queue;
};

static void job_run(struct async_work *work)
{
    struct job *job = CONTAINER_OF(work, struct job, work);
    SIM_CHECK_EQUAL(atomic32_add(&job->inside, 1), 0);
    if (sim_chance(2))
        thread_yield();
    atomic32_sub(&job->inside, 1);
    atomic32_add(&job->runs, 1);
    waitq_wake_all(&job->queue);
}

static void job_post(void *argument)
{
    struct job *job = argument;
    for (int i = 0; i < 3; i++) {
        atomic32_add(&job->posts, kernel_async(&job->work));
        if (sim_chance(3))
            thread_yield();
    }
}

SIM_TEST(work_runs_once_for_each_posting_that_took, .schedules = 6000)
{
    struct job job = {.runs = ATOMIC_INIT(0)};
    async_work_init(&job.work, job_run);
    waitq_init(&job.queue);
    struct sim_thread *threads[2] = {sim_spawn(job_post, &job), sim_spawn(job_post, &job)};
    sim_join(threads[0]);
    sim_join(threads[1]);
    while (atomic32_load(&job.runs) < atomic32_load(&job.posts)) {
        waitq_sleep(&job.queue, NULL, body_now() + 100, WAIT_UNINTERRUPTIBLE);
        SIM_CHECK(atomic32_load(&job.runs) <= atomic32_load(&job.posts));
    }
    SIM_CHECK(atomic32_load(&job.posts) >= 1);
    sim_settle();
    waitq_quiesce(&job.queue);
}

struct self_freeing {
    struct async_work work;
    uint32_t again;
};

static void free_own_work(struct async_work *work)
{
    struct self_freeing *self = CONTAINER_OF(work, struct self_freeing, work);
    if (self->again-- > 0)
        kernel_async(work);
    else
        kfree(self);
}

SIM_TEST(work_may_post_or_free_itself, .schedules = 3000)
{
    for (int i = 0; i < 4; i++) {
        struct self_freeing *self = kzalloc(sizeof(*self));
        async_work_init(&self->work, free_own_work);
        self->again = sim_random(3);
        SIM_CHECK(kernel_async(&self->work));
    }
}

struct delayed {
    struct timer timer;
    struct job job;
};

static void post_from_timer(struct timer *timer)
{
    kernel_async(&CONTAINER_OF(timer, struct delayed, timer)->job.work);
}

SIM_TEST(a_timer_may_post_work, .schedules = 3000)
{
    struct delayed delayed = {.job = {.runs = ATOMIC_INIT(0)}};
    async_work_init(&delayed.job.work, job_run);
    waitq_init(&delayed.job.queue);
    timer_init(&delayed.timer, post_from_timer);
    timer_set(&delayed.timer, body_now() + sim_random(2000));
    while (atomic32_load(&delayed.job.runs) == 0)
        waitq_sleep(&delayed.job.queue, NULL, body_now() + 100, WAIT_UNINTERRUPTIBLE);
    timer_cancel_sync(&delayed.timer);
    sim_settle();
    waitq_quiesce(&delayed.job.queue);
}
