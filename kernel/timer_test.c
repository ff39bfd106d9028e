/*
 * Timers: order, re-arming, and cancelling against a function that runs.
 */
#include "kernel/timer.h"

#include "body/sim/sim.h"
#include "kernel/alloc.h"
#include "kernel/body.h"
#include "kernel/waitq.h"

#define TIMERS 12

struct bell {
    struct timer timer;
    struct bells *bells;
    struct atomic32 rung;
    struct atomic32 inside;
    uint32_t again;    /* how often it arms itself */
    nanoseconds_t due; /* not before */
};

struct bells {
    struct bell bells[TIMERS];
    struct waitq queue;
    struct atomic32 rung;
};

static void ring(struct timer *timer)
{
    struct bell *bell = CONTAINER_OF(timer, struct bell, timer);
    SIM_CHECK_EQUAL(atomic32_add(&bell->inside, 1), 0);
    SIM_CHECK(body_now() >= bell->due);
    if (bell->again > 0) {
        bell->again--;
        timer_set(timer, body_now() + sim_random(300));
    }
    sim_point();
    atomic32_add(&bell->rung, 1);
    atomic32_sub(&bell->inside, 1);
    atomic32_add(&bell->bells->rung, 1);
    waitq_wake_all(&bell->bells->queue);
}

static struct bells *bells_make(void)
{
    sim_calm_begin();
    struct bells *bells = kzalloc(sizeof(*bells));
    sim_calm_end();
    waitq_init(&bells->queue);
    for (int i = 0; i < TIMERS; i++) {
        timer_init(&bells->bells[i].timer, ring);
        bells->bells[i].bells = bells;
    }
    return bells;
}

static void bells_free(struct bells *bells)
{
    for (int i = 0; i < TIMERS; i++)
        timer_cancel_sync(&bells->bells[i].timer);
    waitq_quiesce(&bells->queue);
    kfree(bells);
}

static void await_rung(struct bells *bells, uint32_t count)
{
    while (atomic32_load(&bells->rung) < count)
        waitq_sleep(&bells->queue, NULL, body_now() + 500, WAIT_UNINTERRUPTIBLE);
}

SIM_TEST(every_timer_fires_once_and_not_early, .schedules = 4000)
{
    struct bells *bells = bells_make();
    for (int i = 0; i < TIMERS; i++) {
        bells->bells[i].due = body_now() + sim_random(3000);
        timer_set(&bells->bells[i].timer, bells->bells[i].due);
    }
    await_rung(bells, TIMERS);
    for (int i = 0; i < TIMERS; i++)
        SIM_CHECK_EQUAL(atomic32_load(&bells->bells[i].rung), 1);
    SIM_CHECK_EQUAL(timer_queue_next(), DEADLINE_NEVER);
    bells_free(bells);
}

SIM_TEST(a_cancelled_timer_does_not_fire, .schedules = 4000)
{
    struct bells *bells = bells_make();
    uint32_t cancelled = 0;
    for (int i = 0; i < TIMERS; i++)
        timer_set(&bells->bells[i].timer, body_now() + sim_random(2000));
    for (int i = 0; i < TIMERS; i += 2)
        cancelled += timer_cancel(&bells->bells[i].timer);
    await_rung(bells, TIMERS - cancelled);
    sim_settle();
    SIM_CHECK_EQUAL(atomic32_load(&bells->rung), TIMERS - cancelled);
    bells_free(bells);
}

SIM_TEST(setting_again_replaces_the_deadline, .schedules = 3000)
{
    struct bells *bells = bells_make();
    sim_calm_begin(); /* no jump in time to the far deadline */
    nanoseconds_t far = body_now() + 1000000000;
    for (int i = 0; i < TIMERS; i++)
        timer_set(&bells->bells[i].timer, far + sim_random(1000));
    for (int i = 0; i < TIMERS; i++)
        timer_set(&bells->bells[i].timer, body_now() + sim_random(1000));
    sim_calm_end();
    await_rung(bells, TIMERS);
    SIM_CHECK(body_now() < far);
    SIM_CHECK_EQUAL(atomic32_load(&bells->rung), TIMERS);
    timer_set(&bells->bells[0].timer, body_now() + 1000000000);
    timer_set(&bells->bells[0].timer, DEADLINE_NEVER);
    SIM_CHECK_EQUAL(timer_queue_next(), DEADLINE_NEVER);
    bells_free(bells);
}

SIM_TEST(a_timer_may_arm_itself, .schedules = 3000)
{
    struct bells *bells = bells_make();
    for (int i = 0; i < 3; i++) {
        bells->bells[i].again = 3;
        timer_set(&bells->bells[i].timer, body_now() + sim_random(500));
    }
    await_rung(bells, 12);
    bells_free(bells);
}

static void free_soon(void *argument)
{
    sim_advance(sim_random(1000));
    bells_free(argument);
}

SIM_TEST(after_cancel_sync_the_memory_may_go, .schedules = 8000)
{
    struct bells *bells = bells_make();
    for (int i = 0; i < 4; i++) {
        bells->bells[i].again = sim_random(4);
        timer_set(&bells->bells[i].timer, body_now() + sim_random(1500));
    }
    struct sim_thread *thread = sim_spawn(free_soon, bells);
    sim_join(thread);
}

static void set_and_cancel(void *argument)
{
    struct bells *bells = argument;
    for (int i = 0; i < 10; i++) {
        struct timer *timer = &bells->bells[sim_random(TIMERS)].timer;
        if (sim_chance(3))
            timer_cancel(timer);
        else if (sim_chance(4))
            timer_cancel_sync(timer);
        else
            timer_set(timer, body_now() + sim_random(500));
    }
}

SIM_TEST(the_heap_survives_any_order_of_changes, .schedules = 4000)
{
    struct bells *bells = bells_make();
    struct sim_thread *threads[2] = {sim_spawn(set_and_cancel, bells), sim_spawn(set_and_cancel, bells)};
    set_and_cancel(bells);
    sim_join(threads[0]);
    sim_join(threads[1]);
    bells_free(bells);
    SIM_CHECK_EQUAL(timer_queue_next(), DEADLINE_NEVER);
}
