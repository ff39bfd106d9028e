/*
 * Threads: parking and unparking, suspending and waking, hand-over, death, spreading over CPUs.
 */
#include "kernel/thread.h"

#include "body/sim/sim.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/object.h"

/* --- parking ----------------------------------------------------------------------------------------- */

/* A thread that runs an entry each time it is unparked, as user threads do. */
struct visitor {
    struct thread *thread;
    struct atomic32 posted;  /* how many visits were asked for; each is followed by an unpark */
    struct atomic32 visits;  /* entries taken */
    uint32_t wanted;
    struct spinlock lock;
    struct atomic32 on_stack; /* nobody else runs the entry at the same time */
};

static void visitor_entry(void *argument)
{
    struct visitor *visitor = argument;
    SIM_CHECK(thread_current() == visitor->thread);
    SIM_CHECK_EQUAL(atomic32_add(&visitor->on_stack, 1), 0);
    uint32_t visits = atomic32_add(&visitor->visits, 1) + 1;
    SIM_CHECK(visits <= visitor->wanted + 1);
    if (sim_chance(3))
        thread_yield();
    bool last = atomic32_load(&visitor->posted) == visitor->wanted;
    atomic32_sub(&visitor->on_stack, 1);
    if (last)
        thread_exit();
    if (sim_chance(2))
        thread_park(visitor_entry, visitor);
    spin_lock(&visitor->lock);
    thread_park_unlock(visitor_entry, visitor, &visitor->lock);
}

static void visitor_start(struct visitor *visitor, uint32_t wanted)
{
    *visitor = (struct visitor){.wanted = wanted, .lock = SPINLOCK_INIT(RANK_WAITQ)};
    sim_calm_begin();
    visitor->thread = thread_create_parked("visitor", NULL, visitor_entry, visitor);
    sim_calm_end();
    SIM_CHECK(visitor->thread);
}

static void visitor_end(struct visitor *visitor)
{
    while (atomic32_load(&visitor->thread->object.references) > 1) {
        thread_yield();
        body_relax(0);
    }
    SIM_CHECK_EQUAL(atomic32_load(&visitor->posted), visitor->wanted);
    SIM_CHECK(!spin_is_locked(&visitor->lock));
    object_unref(visitor->thread);
}

static void post(void *argument)
{
    struct visitor *visitor = argument;
    for (uint32_t i = 0; i < visitor->wanted / 2; i++) {
        atomic32_add(&visitor->posted, 1);
        if (sim_chance(2))
            thread_unpark(visitor->thread);
        else
            thread_unpark_here(visitor->thread);
        if (sim_chance(4))
            thread_yield();
    }
}

SIM_TEST(no_unpark_is_lost, .schedules = 10000)
{
    struct visitor visitor;
    visitor_start(&visitor, 6);
    struct sim_thread *other = sim_spawn(post, &visitor);
    post(&visitor);
    sim_join(other);
    visitor_end(&visitor);
}

SIM_TEST(unparks_survive_failing_stacks, .schedules = 4000, .fail_allocations = true)
{
    struct visitor visitor;
    visitor_start(&visitor, 4);
    struct sim_thread *other = sim_spawn(post, &visitor);
    post(&visitor);
    sim_join(other);
    visitor_end(&visitor);
}

SIM_TEST(the_lock_given_to_park_guards_until_suspended, .schedules = 3000)
{
    struct visitor visitor;
    visitor_start(&visitor, 2);
    for (int i = 0; i < 2; i++) {
        spin_lock(&visitor.lock); /* taken only when the visitor is off its stack, or on its way elsewhere */
        spin_unlock(&visitor.lock);
        atomic32_add(&visitor.posted, 1);
        thread_unpark(visitor.thread);
        sim_settle();
    }
    visitor_end(&visitor);
}

SIM_TEST(a_parked_thread_can_be_discarded, .schedules = 200)
{
    struct visitor visitor;
    visitor_start(&visitor, 1);
    SIM_CHECK(!visitor.thread->stack);
    thread_discard_parked(visitor.thread);
    object_unref(visitor.thread);
}

/* An unpark for a thread that waits with its stack neither ends the wait nor is lost. */
static void blocked_entry(void *argument)
{
    struct visitor *visitor = argument;
    if (atomic32_add(&visitor->visits, 1) == 0) {
        nanoseconds_t deadline = body_now() + 5000;
        struct waitq queue = WAITQ_INIT(queue);
        SIM_CHECK_EQUAL(waitq_sleep(&queue, NULL, deadline, WAIT_UNINTERRUPTIBLE), -ETIMEDOUT);
        thread_park(blocked_entry, visitor);
    }
}

SIM_TEST(an_unpark_during_a_wait_comes_after_it, .schedules = 3000)
{
    struct visitor visitor = {.wanted = 2};
    visitor.thread = thread_create_parked("visitor", NULL, blocked_entry, &visitor);
    thread_unpark(visitor.thread);
    while (atomic32_load(&visitor.visits) == 0) {
        thread_yield();
        body_relax(0);
    }
    thread_unpark(visitor.thread);
    atomic32_store(&visitor.posted, 2);
    visitor_end(&visitor);
    SIM_CHECK_EQUAL(atomic32_load(&visitor.visits), 2);
}

/* --- suspend and wake -------------------------------------------------------------------------------- */

struct baton {
    struct thread *threads[2];
    struct atomic32 turn;
    uint32_t rounds;
    struct atomic32 ready;
};

static void pass_baton(struct baton *baton, uint32_t me)
{
    atomic32_add(&baton->ready, 1);
    for (uint32_t i = 0; i < baton->rounds; i++) {
        while (atomic32_load_acquire(&baton->turn) != me)
            thread_suspend();
        atomic32_store_release(&baton->turn, !me);
        thread_wake(baton->threads[!me]);
    }
}

static void pass_baton_first(void *argument) { pass_baton(argument, 1); }

SIM_TEST(no_wake_of_a_suspended_thread_is_lost, .schedules = 8000)
{
    struct baton baton = {.rounds = 5};
    baton.threads[0] = thread_current();
    struct sim_thread *other = sim_spawn(pass_baton_first, &baton);
    baton.threads[1] = sim_kernel_thread(other);
    pass_baton(&baton, 0);
    sim_join(other);
}

SIM_TEST(a_wake_before_the_suspend_is_kept, .schedules = 100)
{
    thread_wake(thread_current());
    thread_suspend();
}

/* --- yielding and spreading -------------------------------------------------------------------------- */

struct crowd {
    struct atomic32 running, turns;
};

static void yield_often(void *argument)
{
    struct crowd *crowd = argument;
    for (int i = 0; i < 5; i++) {
        SIM_CHECK(atomic32_add(&crowd->running, 1) < body_cpu_count());
        sim_point();
        atomic32_sub(&crowd->running, 1);
        thread_yield();
        atomic32_add(&crowd->turns, 1);
    }
}

SIM_TEST(never_more_threads_run_than_cpus, .schedules = 5000)
{
    struct crowd crowd = {.turns = ATOMIC_INIT(0)};
    struct sim_thread *threads[5];
    for (int i = 0; i < 5; i++)
        threads[i] = sim_spawn(yield_often, &crowd);
    for (int i = 0; i < 5; i++)
        sim_join(threads[i]);
    SIM_CHECK_EQUAL(atomic32_load(&crowd.turns), 25);
}

struct meeting {
    struct atomic32 present;
};

static void meet(void *argument)
{
    struct meeting *meeting = argument;
    atomic32_add(&meeting->present, 1);
    while (atomic32_load(&meeting->present) < 2)
        body_relax(0); /* without letting go of the CPU */
}

/* With one idle CPU, a second ready thread gets it although the first never yields. */
SIM_TEST(an_idle_cpu_takes_what_is_ready, .schedules = 2000, .cpus = 3)
{
    sched_set_spread(1);
    struct meeting meeting = {.present = ATOMIC_INIT(0)};
    struct sim_thread *threads[2] = {sim_spawn(meet, &meeting), sim_spawn(meet, &meeting)};
    sim_join(threads[0]);
    sim_join(threads[1]);
}

struct order {
    struct thread *marked;
    struct atomic32 next;
    uint32_t places[2];
};

static void take_place_marked(void *argument)
{
    struct order *order = argument;
    order->places[1] = atomic32_add(&order->next, 1);
}

static void take_place(void *argument)
{
    struct order *order = argument;
    order->places[0] = atomic32_add(&order->next, 1);
}

SIM_TEST(a_hand_over_runs_before_what_was_ready, .schedules = 500, .cpus = 1)
{
    struct order order = {.next = ATOMIC_INIT(0)};
    struct thread *handed = thread_create_parked("handed", NULL, take_place_marked, &order);
    struct sim_thread *ready = sim_spawn(take_place, &order);
    thread_unpark_here(handed);
    sim_join(ready);
    while (atomic32_load(&handed->object.references) > 1)
        thread_yield();
    object_unref(handed);
    SIM_CHECK_EQUAL(order.places[1], 0);
    SIM_CHECK_EQUAL(order.places[0], 1);
}

/* --- death ------------------------------------------------------------------------------------------- */

static void wait_until_killed(void *argument)
{
    struct waitq *queue = argument;
    sim_may_kill(thread_current());
    SIM_CHECK_EQUAL(waitq_sleep(queue, NULL, DEADLINE_NEVER, WAIT_KILLABLE), -EINTR);
    SIM_CHECK(thread_killed(thread_current()));
    thread_interrupt_clear(thread_current());
    SIM_CHECK_EQUAL(waitq_sleep(queue, NULL, DEADLINE_NEVER, WAIT_INTERRUPTIBLE), -EINTR);
    sim_leave_alone(thread_current());
}

SIM_TEST(a_kill_ends_every_later_wait, .schedules = 2000)
{
    struct waitq queue = WAITQ_INIT(queue);
    struct sim_thread *threads[2] = {sim_spawn(wait_until_killed, &queue), sim_spawn(wait_until_killed, &queue)};
    for (int i = 0; i < 2; i++)
        thread_kill(sim_kernel_thread(threads[i]));
    for (int i = 0; i < 2; i++)
        sim_join(threads[i]);
    waitq_quiesce(&queue);
}

static void nothing(void *argument) { (void)argument; }

SIM_TEST(a_dying_thread_outlives_its_creators_reference, .schedules = 3000)
{
    for (int i = 0; i < 3; i++) {
        struct thread *thread = thread_create("short", NULL, nothing, NULL);
        thread_start(thread);
        object_unref(thread);
    }
    sim_settle();
}

SIM_TEST(thread_creation_fails_without_memory, .schedules = 500, .fail_allocations = true)
{
    for (int i = 0; i < 4; i++) {
        struct thread *thread = thread_create("short", NULL, nothing, NULL);
        if (!thread)
            continue;
        if (sim_chance(2))
            thread_start(thread);
        object_unref(thread);
    }
    sim_settle();
}
