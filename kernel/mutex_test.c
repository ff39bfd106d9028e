/*
 * Mutexes: exclusion, hand-over in order, the order check.
 */
#include "body/sim/sim.h"
#include "kernel/lock.h"
#include "kernel/thread.h"

struct counter {
    struct mutex mutex;
    struct atomic32 value;
    struct atomic32 inside;
};

static void add_under_mutex(void *argument)
{
    struct counter *counter = argument;
    for (int i = 0; i < 4; i++) {
        mutex_lock(&counter->mutex);
        SIM_CHECK(mutex_owned(&counter->mutex));
        SIM_CHECK_EQUAL(atomic32_add(&counter->inside, 1), 0);
        uint32_t value = atomic32_load_relaxed(&counter->value);
        if (sim_chance(3))
            thread_yield();
        atomic32_store_relaxed(&counter->value, value + 1);
        atomic32_sub(&counter->inside, 1);
        mutex_unlock(&counter->mutex);
        SIM_CHECK(!mutex_owned(&counter->mutex));
    }
}

SIM_TEST(mutex_excludes_and_publishes, .schedules = 8000)
{
    struct counter counter = {.value = ATOMIC_INIT(0)};
    mutex_init(&counter.mutex, RANK_PIPE);
    struct sim_thread *threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = sim_spawn(add_under_mutex, &counter);
    add_under_mutex(&counter);
    for (int i = 0; i < 3; i++)
        sim_join(threads[i]);
    SIM_CHECK_EQUAL(atomic32_load_relaxed(&counter.value), 16);
}

struct queue {
    struct mutex mutex;
    uint32_t served; /* under mutex */
    struct atomic32 arrived;
};

struct customer {
    struct queue *queue;
    uint32_t place;
};

static void be_served(void *argument)
{
    struct customer *customer = argument;
    atomic32_add(&customer->queue->arrived, 1);
    mutex_lock(&customer->queue->mutex);
    SIM_CHECK_EQUAL(customer->queue->served, customer->place);
    customer->queue->served++;
    mutex_unlock(&customer->queue->mutex);
}

SIM_TEST(mutex_is_handed_over_first_come_first_served, .schedules = 2000)
{
    struct queue queue = {.served = 0};
    mutex_init(&queue.mutex, RANK_PIPE);
    struct customer customers[4];
    struct sim_thread *threads[4];
    mutex_lock(&queue.mutex);
    for (uint32_t i = 0; i < 4; i++) {
        customers[i] = (struct customer){.queue = &queue, .place = i};
        threads[i] = sim_spawn(be_served, &customers[i]);
        sim_settle(); /* it has queued itself */
    }
    mutex_unlock(&queue.mutex);
    for (int i = 0; i < 4; i++)
        sim_join(threads[i]);
    SIM_CHECK_EQUAL(queue.served, 4);
}

/* With a waiter queued, unlock makes it the owner: the unlocker cannot take the mutex again first. */
SIM_TEST(unlock_does_not_let_anyone_barge, .schedules = 2000)
{
    struct queue queue = {.served = 0};
    mutex_init(&queue.mutex, RANK_PIPE);
    struct customer customer = {.queue = &queue, .place = 0};
    mutex_lock(&queue.mutex);
    struct sim_thread *thread = sim_spawn(be_served, &customer);
    sim_settle();
    mutex_unlock(&queue.mutex);
    if (mutex_trylock(&queue.mutex)) {
        SIM_CHECK_EQUAL(queue.served, 1);
        mutex_unlock(&queue.mutex);
    }
    mutex_lock(&queue.mutex);
    SIM_CHECK_EQUAL(queue.served, 1);
    mutex_unlock(&queue.mutex);
    sim_join(thread);
}

struct two {
    struct mutex a, b;
    struct atomic32 value;
};

static void add_under_both(void *argument)
{
    struct two *two = argument;
    for (int i = 0; i < 3; i++) {
        bool swapped = sim_chance(2);
        mutex_lock_pair(swapped ? &two->b : &two->a, swapped ? &two->a : &two->b);
        atomic32_store_relaxed(&two->value, atomic32_load_relaxed(&two->value) + 1);
        mutex_unlock_pair(&two->a, &two->b);
    }
}

SIM_TEST(mutex_lock_pair_takes_two_in_either_order, .schedules = 2000)
{
    struct two two = {.value = ATOMIC_INIT(0)};
    mutex_init(&two.a, RANK_DIRECTORY);
    mutex_init(&two.b, RANK_DIRECTORY);
    struct sim_thread *threads[2] = {sim_spawn(add_under_both, &two), sim_spawn(add_under_both, &two)};
    sim_join(threads[0]);
    sim_join(threads[1]);
    SIM_CHECK_EQUAL(atomic32_load_relaxed(&two.value), 6);
}

/* --- waiters that may be killed ---------------------------------------------------------------------- */

struct killable {
    struct mutex mutex;
    struct atomic32 inside, taken, killed;
};

static void take_killably(void *argument)
{
    struct killable *killable = argument;
    if (mutex_lock_killable(&killable->mutex)) {
        SIM_CHECK(thread_killed(thread_current()));
        atomic32_add(&killable->killed, 1);
        return;
    }
    SIM_CHECK_EQUAL(atomic32_add(&killable->inside, 1), 0);
    if (sim_chance(2))
        thread_yield();
    atomic32_sub(&killable->inside, 1);
    atomic32_add(&killable->taken, 1);
    mutex_unlock(&killable->mutex);
}

/* The holder never lets go before the first has given up; the others get it after that, killed or not. */
SIM_TEST(a_killed_waiter_gives_up_and_the_mutex_goes_on, .schedules = 8000)
{
    struct killable killable = {.taken = ATOMIC_INIT(0)};
    struct sim_thread *threads[4];
    mutex_init(&killable.mutex, RANK_NAMES);
    mutex_lock(&killable.mutex);
    for (int i = 0; i < 4; i++)
        threads[i] = sim_spawn(take_killably, &killable);
    thread_kill(sim_kernel_thread(threads[0]));
    sim_join(threads[0]);
    SIM_CHECK_EQUAL(atomic32_load(&killable.killed), 1);
    thread_kill(sim_kernel_thread(threads[1])); /* races the unlock */
    mutex_unlock(&killable.mutex);
    for (int i = 1; i < 4; i++)
        sim_join(threads[i]);
    uint32_t taken = atomic32_load(&killable.taken), killed = atomic32_load(&killable.killed);
    SIM_CHECK(taken >= 2 && taken + killed == 4);
    SIM_CHECK(mutex_trylock(&killable.mutex));
    mutex_unlock(&killable.mutex);
}

static void take_two_killably(void *argument)
{
    struct two *two = argument;
    if (mutex_lock_pair_killable(&two->b, &two->a))
        return;
    atomic32_store_relaxed(&two->value, atomic32_load_relaxed(&two->value) + 1);
    mutex_unlock_pair(&two->a, &two->b);
}

SIM_TEST(a_killed_pair_leaves_neither_mutex_taken, .schedules = 4000)
{
    struct two two = {.value = ATOMIC_INIT(0)};
    mutex_init(&two.a, RANK_DIRECTORY);
    mutex_init(&two.b, RANK_DIRECTORY);
    mutex_lock(sim_chance(2) ? &two.a : &two.b);
    struct mutex *held = mutex_owned(&two.a) ? &two.a : &two.b;
    struct sim_thread *thread = sim_spawn(take_two_killably, &two);
    thread_kill(sim_kernel_thread(thread));
    sim_join(thread);
    mutex_unlock(held);
    SIM_CHECK_EQUAL(atomic32_load_relaxed(&two.value), 0);
    SIM_CHECK(mutex_trylock(&two.a));
    mutex_unlock(&two.a);
    SIM_CHECK(mutex_trylock(&two.b));
    mutex_unlock(&two.b);
}

SIM_TEST(wrong_mutex_order_panics, .schedules = 1, .panics = "lock order: rank 30 taken while rank 66 is held")
{
    struct mutex pipe, table;
    mutex_init(&pipe, RANK_PIPE);
    mutex_init(&table, RANK_FDTABLE);
    mutex_lock(&pipe);
    mutex_lock(&table);
}

SIM_TEST(mutex_under_spinlock_panics, .schedules = 1, .panics = "lock order")
{
    struct spinlock lock = SPINLOCK_INIT(RANK_WAITQ);
    struct mutex mutex;
    mutex_init(&mutex, RANK_PIPE);
    spin_lock(&lock);
    mutex_lock(&mutex);
}

SIM_TEST(suspending_with_a_spinlock_panics, .schedules = 1, .panics = "suspended while a spinlock")
{
    struct spinlock lock = SPINLOCK_INIT(RANK_WAITQ);
    spin_lock(&lock);
    thread_yield();
}

SIM_TEST(parking_with_a_mutex_panics, .schedules = 1, .panics = "parked while a lock")
{
    struct mutex mutex;
    mutex_init(&mutex, RANK_PIPE);
    mutex_lock(&mutex);
    thread_exit();
}
