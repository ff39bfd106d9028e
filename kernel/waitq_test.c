/*
 * Wait queues: every pair of wake, timeout, interruption, requeue and leaving that can race.
 *
 * What is checked each time: a wait ends for exactly one reason, a wake that was counted was delivered,
 * nobody sleeps for ever, and the queues are empty afterwards.
 */
#include "body/sim/sim.h"
#include "kernel/alloc.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/object.h"
#include "kernel/waitq.h"

#define SLEEPERS 3

struct shared {
    struct waitq queue;
    struct waitq other;
    struct mutex mutex;
    bool condition; /* under mutex */
    struct atomic32 arrived;
    struct atomic32 woken, timed_out, interrupted;
    nanoseconds_t deadline;
    enum wait_flags flags;
};

static void shared_init(struct shared *shared)
{
    *shared = (struct shared){.deadline = DEADLINE_NEVER, .flags = WAIT_INTERRUPTIBLE};
    waitq_init(&shared->queue);
    waitq_init(&shared->other);
    mutex_init(&shared->mutex, RANK_PIPE);
}

static void shared_check_empty(struct shared *shared)
{
    waitq_quiesce(&shared->queue);
    waitq_quiesce(&shared->other);
    SIM_CHECK(waitq_empty(&shared->queue) && waitq_empty(&shared->other));
}

static void count_result(struct shared *shared, int result)
{
    SIM_CHECK(result == 0 || result == -ETIMEDOUT || result == -EINTR);
    atomic32_add(result == 0 ? &shared->woken : result == -EINTR ? &shared->interrupted : &shared->timed_out, 1);
}

static uint32_t value(struct atomic32 *word) { return atomic32_load(word); }

/* One wait, counted by how it ended. */
static void sleeper(void *argument)
{
    struct shared *shared = argument;
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&shared->queue.lock);
    waitq_enqueue_locked(&shared->queue, &waiter);
    spin_unlock(&shared->queue.lock);
    atomic32_add(&shared->arrived, 1);
    count_result(shared, waiter_wait(&waiter, shared->deadline, shared->flags));
}

static void spawn_sleepers(struct shared *shared, struct sim_thread **threads)
{
    for (int i = 0; i < SLEEPERS; i++)
        threads[i] = sim_spawn(sleeper, shared);
}

static void join_sleepers(struct sim_thread **threads)
{
    for (int i = 0; i < SLEEPERS; i++)
        sim_join(threads[i]);
}

/* --- wakes ------------------------------------------------------------------------------------------- */

SIM_TEST(a_wake_wakes_exactly_as_many_as_it_says, .schedules = 6000)
{
    struct shared shared;
    struct sim_thread *threads[SLEEPERS];
    shared_init(&shared);
    spawn_sleepers(&shared, threads);
    uint32_t woken = 0;
    while (woken < SLEEPERS) {
        woken += (uint32_t)waitq_wake(&shared.queue, 1 + sim_random(2));
        SIM_CHECK(value(&shared.woken) <= woken);
        thread_yield();
        sim_point();
    }
    join_sleepers(threads);
    SIM_CHECK_EQUAL(value(&shared.woken), SLEEPERS);
    SIM_CHECK_EQUAL(waitq_wake_all(&shared.queue), 0);
    shared_check_empty(&shared);
}

static void wait_for_condition(void *argument)
{
    struct shared *shared = argument;
    mutex_lock(&shared->mutex);
    while (!shared->condition)
        SIM_CHECK_EQUAL(waitq_sleep(&shared->queue, &shared->mutex, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE), 0);
    mutex_unlock(&shared->mutex);
    atomic32_add(&shared->woken, 1);
}

SIM_TEST(no_wake_is_lost_between_unlock_and_sleep, .schedules = 8000)
{
    struct shared shared;
    shared_init(&shared);
    struct sim_thread *threads[2] = {sim_spawn(wait_for_condition, &shared), sim_spawn(wait_for_condition, &shared)};
    mutex_lock(&shared.mutex);
    shared.condition = true;
    bool inside = sim_chance(2);
    if (inside)
        waitq_wake_all(&shared.queue);
    mutex_unlock(&shared.mutex);
    if (!inside)
        waitq_wake_all(&shared.queue);
    sim_join(threads[0]);
    sim_join(threads[1]);
    shared_check_empty(&shared);
}

struct mailbox {
    struct waitq queue;
    struct atomic32 full;
};

static void take_from_mailbox(void *argument)
{
    struct mailbox *mailbox = argument;
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&mailbox->queue.lock);
    waitq_enqueue_locked(&mailbox->queue, &waiter);
    spin_unlock(&mailbox->queue.lock);
    if (atomic32_load(&mailbox->full))
        waiter_abandon(&waiter);
    else
        SIM_CHECK_EQUAL(waiter_wait(&waiter, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE), 0);
}

/* The condition is an atomic word and the waker asks first whether anybody waits. */
SIM_TEST(the_empty_hint_misses_no_waiter, .schedules = 8000)
{
    struct mailbox mailbox = {.full = ATOMIC_INIT(0)};
    waitq_init(&mailbox.queue);
    struct sim_thread *thread = sim_spawn(take_from_mailbox, &mailbox);
    atomic32_store_relaxed(&mailbox.full, 1);
    if (!waitq_empty(&mailbox.queue))
        waitq_wake_all(&mailbox.queue);
    sim_join(thread);
    waitq_quiesce(&mailbox.queue);
}

/* --- wake against timeout and interruption ----------------------------------------------------------- */

static void race_wakes(struct shared *shared, uint32_t wakes)
{
    struct sim_thread *threads[SLEEPERS];
    spawn_sleepers(shared, threads);
    uint32_t woken = 0;
    for (uint32_t i = 0; i < wakes; i++) {
        woken += (uint32_t)waitq_wake_one(&shared->queue);
        sim_advance(sim_random(100));
    }
    join_sleepers(threads);
    SIM_CHECK_EQUAL(value(&shared->woken), woken);
    SIM_CHECK_EQUAL(value(&shared->woken) + value(&shared->timed_out) + value(&shared->interrupted), SLEEPERS);
    shared_check_empty(shared);
}

SIM_TEST(wake_and_timeout_have_one_winner, .schedules = 8000)
{
    struct shared shared;
    shared_init(&shared);
    shared.deadline = body_now() + sim_random(2000);
    race_wakes(&shared, sim_random(6));
    SIM_CHECK_EQUAL(value(&shared.interrupted), 0);
}

SIM_TEST(a_deadline_in_the_past_times_out_at_once, .schedules = 500)
{
    struct shared shared;
    shared_init(&shared);
    shared.deadline = sim_chance(2) ? 0 : body_now();
    race_wakes(&shared, 0);
    SIM_CHECK_EQUAL(value(&shared.timed_out), SLEEPERS);
}

/* Interrupted by the simulator while another thread wakes it. */
static void interruptible_sleeper(void *argument)
{
    struct shared *shared = argument;
    sim_may_interrupt(thread_current(), 1);
    sleeper(shared);
    sim_leave_alone(thread_current());
}

SIM_TEST(wake_interruption_and_timeout_have_one_winner, .schedules = 10000)
{
    struct shared shared;
    struct sim_thread *threads[SLEEPERS];
    shared_init(&shared);
    shared.deadline = body_now() + 1000 + sim_random(5000);
    for (int i = 0; i < SLEEPERS; i++)
        threads[i] = sim_spawn(interruptible_sleeper, &shared);
    uint32_t woken = 0;
    for (int i = 0; i < 4; i++) {
        woken += (uint32_t)waitq_wake_one(&shared.queue);
        sim_advance(sim_random(300));
    }
    join_sleepers(threads);
    SIM_CHECK_EQUAL(value(&shared.woken), woken);
    SIM_CHECK_EQUAL(woken + value(&shared.timed_out) + value(&shared.interrupted), SLEEPERS);
    shared_check_empty(&shared);
}

static void interrupt_then_kill(enum wait_flags flags, bool interrupt_ends, bool kill_ends)
{
    struct shared shared;
    shared_init(&shared);
    shared.flags = flags;
    struct sim_thread *thread = sim_spawn(sleeper, &shared);
    if (sim_chance(2))
        sim_settle();
    thread_interrupt(sim_kernel_thread(thread));
    sim_settle();
    SIM_CHECK_EQUAL(value(&shared.interrupted), interrupt_ends);
    thread_kill(sim_kernel_thread(thread));
    sim_settle();
    SIM_CHECK_EQUAL(value(&shared.interrupted), kill_ends);
    waitq_wake_all(&shared.queue);
    sim_join(thread);
    SIM_CHECK_EQUAL(value(&shared.woken), !kill_ends);
    shared_check_empty(&shared);
}

SIM_TEST(an_interruptible_wait_ends_by_interruption, .schedules = 1000) { interrupt_then_kill(WAIT_INTERRUPTIBLE, true, true); }
SIM_TEST(a_killable_wait_ends_only_by_death, .schedules = 1000) { interrupt_then_kill(WAIT_KILLABLE, false, true); }
SIM_TEST(an_uninterruptible_wait_ends_by_neither, .schedules = 1000)
{
    interrupt_then_kill(WAIT_UNINTERRUPTIBLE, false, false);
}

static void sleep_twice_interrupted(void *argument)
{
    struct shared *shared = argument;
    SIM_CHECK_EQUAL(waitq_sleep(&shared->queue, NULL, DEADLINE_NEVER, WAIT_INTERRUPTIBLE), -EINTR);
    SIM_CHECK_EQUAL(waitq_sleep(&shared->queue, NULL, DEADLINE_NEVER, WAIT_INTERRUPTIBLE), -EINTR);
    thread_interrupt_clear(thread_current());
    SIM_CHECK(!thread_interrupted(thread_current()));
    SIM_CHECK_EQUAL(waitq_sleep(&shared->queue, NULL, body_now() + 1000, WAIT_INTERRUPTIBLE), -ETIMEDOUT);
}

SIM_TEST(an_interruption_stays_until_it_is_cleared, .schedules = 1000)
{
    struct shared shared;
    shared_init(&shared);
    struct sim_thread *thread = sim_spawn(sleep_twice_interrupted, &shared);
    thread_interrupt(sim_kernel_thread(thread));
    sim_join(thread);
    shared_check_empty(&shared);
}

/* --- requeue ----------------------------------------------------------------------------------------- */

/* Moves the first waiter of a queue to the other one, or back; takes part in no counting. */
static void move_one(struct shared *shared, bool back)
{
    struct waitq *from = back ? &shared->other : &shared->queue;
    struct waitq *to = back ? &shared->queue : &shared->other;
    spin_lock_pair(&from->lock, &to->lock);
    if (!waitq_empty(from))
        waitq_requeue_locked(from, to, LIST_ENTRY(from->waiters.next, struct waiter, link));
    spin_unlock_pair(&from->lock, &to->lock);
}

SIM_TEST(a_requeued_waiter_is_woken_from_its_new_queue, .schedules = 4000)
{
    struct shared shared;
    struct sim_thread *threads[SLEEPERS];
    shared_init(&shared);
    spawn_sleepers(&shared, threads);
    sim_settle();
    for (int i = 0; i < SLEEPERS; i++)
        move_one(&shared, false);
    SIM_CHECK_EQUAL(waitq_wake_all(&shared.queue), 0);
    SIM_CHECK_EQUAL(waitq_wake_all(&shared.other), SLEEPERS);
    join_sleepers(threads);
    shared_check_empty(&shared);
}

static void mover(void *argument)
{
    for (int i = 0; i < 6; i++)
        move_one(argument, sim_chance(3));
}

SIM_TEST(a_requeued_waiter_leaves_the_queue_it_is_on, .schedules = 15000)
{
    struct shared shared;
    struct sim_thread *threads[SLEEPERS];
    shared_init(&shared);
    shared.deadline = body_now() + sim_random(4000);
    for (int i = 0; i < SLEEPERS; i++)
        threads[i] = sim_spawn(interruptible_sleeper, &shared);
    struct sim_thread *requeuer = sim_spawn(mover, &shared);
    uint32_t woken = 0;
    for (int i = 0; i < 3; i++) {
        woken += (uint32_t)waitq_wake_one(sim_chance(2) ? &shared.queue : &shared.other);
        sim_advance(sim_random(500));
    }
    sim_join(requeuer);
    join_sleepers(threads);
    SIM_CHECK_EQUAL(value(&shared.woken), woken);
    SIM_CHECK_EQUAL(woken + value(&shared.timed_out) + value(&shared.interrupted), SLEEPERS);
    shared_check_empty(&shared);
}

SIM_TEST(requeue_onto_the_same_queue_moves_to_the_tail, .schedules = 500)
{
    struct shared shared;
    struct sim_thread *threads[SLEEPERS];
    shared_init(&shared);
    spawn_sleepers(&shared, threads);
    sim_settle();
    spin_lock(&shared.queue.lock);
    struct list *first = shared.queue.waiters.next;
    waitq_requeue_locked(&shared.queue, &shared.queue, LIST_ENTRY(first, struct waiter, link));
    SIM_CHECK(shared.queue.waiters.prev == first);
    spin_unlock(&shared.queue.lock);
    SIM_CHECK_EQUAL(waitq_wake_all(&shared.queue), SLEEPERS);
    join_sleepers(threads);
}

/* --- waiting for several, and not waiting ------------------------------------------------------------ */

static void wait_for_either(void *argument)
{
    struct shared *shared = argument;
    struct waiter waiters[2];
    struct waitq *queues[2] = {&shared->queue, &shared->other};
    for (int i = 0; i < 2; i++) {
        waiter_init(&waiters[i]);
        spin_lock(&queues[i]->lock);
        waitq_enqueue_locked(queues[i], &waiters[i]);
        spin_unlock(&queues[i]->lock);
    }
    int result = waiter_wait_any(waiters, 2, shared->deadline, WAIT_INTERRUPTIBLE);
    SIM_CHECK(result == 0 || result == 1 || result == -ETIMEDOUT);
    atomic32_add(result >= 0 ? &shared->woken : &shared->timed_out, 1);
}

SIM_TEST(waiting_for_several_queues_ends_with_any, .schedules = 6000)
{
    struct shared shared;
    shared_init(&shared);
    if (sim_chance(2))
        shared.deadline = body_now() + sim_random(3000);
    struct sim_thread *threads[2] = {sim_spawn(wait_for_either, &shared), sim_spawn(wait_for_either, &shared)};
    while (value(&shared.woken) + value(&shared.timed_out) < 2) {
        waitq_wake_one(sim_chance(2) ? &shared.queue : &shared.other);
        thread_yield();
        body_relax(0);
    }
    sim_join(threads[0]);
    sim_join(threads[1]);
    shared_check_empty(&shared);
}

static void waker(void *argument)
{
    struct shared *shared = argument;
    atomic32_add(&shared->arrived, (uint32_t)waitq_wake_one(&shared->queue));
}

SIM_TEST(abandoning_tells_whether_a_wake_had_come, .schedules = 4000)
{
    struct shared shared;
    shared_init(&shared);
    struct sim_thread *thread = sim_spawn(waker, &shared);
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&shared.queue.lock);
    waitq_enqueue_locked(&shared.queue, &waiter);
    spin_unlock(&shared.queue.lock);
    bool woken = waiter_abandon(&waiter);
    sim_join(thread);
    SIM_CHECK_EQUAL(value(&shared.arrived), woken);
    shared_check_empty(&shared);
}

/* --- a completion on the waiting thread's stack ------------------------------------------------------ */

static void complete(void *argument) { waitq_wake_all(argument); }

SIM_TEST(a_queue_on_a_stack_may_go_after_quiesce, .schedules = 4000)
{
    struct sim_thread *thread;
    {
        struct waitq completion;
        waitq_init(&completion);
        struct waiter waiter;
        waiter_init(&waiter);
        spin_lock(&completion.lock);
        waitq_enqueue_locked(&completion, &waiter);
        spin_unlock(&completion.lock);
        thread = sim_spawn(complete, &completion);
        SIM_CHECK_EQUAL(waiter_wait(&waiter, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE), 0);
        waitq_quiesce(&completion);
    }
    sim_join(thread);
}

/* --- a reference held across a wait ------------------------------------------------------------------ */

struct guarded {
    struct object object;
    struct waitq queue;
};

static void guarded_destroy(struct object *object) { kfree(CONTAINER_OF(object, struct guarded, object)); }
static const struct object_type guarded_type = {.name = "guarded", .destroy = guarded_destroy};

static void wait_with_reference(void *argument)
{
    struct guarded *guarded = argument; /* the reference is this thread's */
    sim_may_kill(thread_current());
    waitq_sleep(&guarded->queue, NULL, DEADLINE_NEVER, WAIT_KILLABLE);
    sim_leave_alone(thread_current());
    object_unref(guarded);
}

SIM_TEST(a_cancelled_wait_keeps_no_reference, .schedules = 3000)
{
    struct guarded *guarded = kzalloc(sizeof(*guarded));
    object_init(&guarded->object, &guarded_type);
    waitq_init(&guarded->queue);
    struct sim_thread *threads[2];
    for (int i = 0; i < 2; i++)
        threads[i] = sim_spawn(wait_with_reference, object_ref(guarded));
    for (int i = 0; i < 2; i++) {
        if (sim_chance(2))
            sim_settle();
        waitq_wake_all(&guarded->queue);
        thread_kill(sim_kernel_thread(threads[i]));
    }
    object_unref(guarded);
    for (int i = 0; i < 2; i++)
        sim_join(threads[i]);
}
