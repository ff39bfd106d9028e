/*
 * Spinlocks: exclusion and visibility on a weakly ordered machine, and the order check.
 */
#include "body/sim/sim.h"
#include "kernel/lock.h"

struct counter {
    struct spinlock lock;
    struct atomic32 value; /* accessed relaxed: only the lock orders it */
    uint32_t rounds;
};

static void counter_add(struct counter *counter)
{
    uint32_t value = atomic32_load_relaxed(&counter->value);
    sim_point();
    atomic32_store_relaxed(&counter->value, value + 1);
}

static void add_under_lock(void *argument)
{
    struct counter *counter = argument;
    for (uint32_t i = 0; i < counter->rounds; i++) {
        spin_lock(&counter->lock);
        counter_add(counter);
        spin_unlock(&counter->lock);
    }
}

SIM_TEST(spinlock_excludes_and_publishes, .schedules = 6000)
{
    struct counter counter = {.lock = SPINLOCK_INIT(RANK_WAITQ), .rounds = 5};
    struct sim_thread *threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = sim_spawn(add_under_lock, &counter);
    for (int i = 0; i < 3; i++)
        sim_join(threads[i]);
    SIM_CHECK_EQUAL(atomic32_load_relaxed(&counter.value), 15);
}

struct pair {
    struct spinlock a, b;
    struct atomic32 value;
};

static void add_under_pair(void *argument)
{
    struct pair *pair = argument;
    for (uint32_t i = 0; i < 4; i++) {
        struct spinlock *first = sim_chance(2) ? &pair->a : &pair->b;
        struct spinlock *second = first == &pair->a ? &pair->b : &pair->a;
        spin_lock_pair(first, second);
        uint32_t value = atomic32_load_relaxed(&pair->value);
        atomic32_store_relaxed(&pair->value, value + 1);
        spin_unlock_pair(first, second);
    }
}

SIM_TEST(spin_lock_pair_takes_two_in_either_order, .schedules = 3000)
{
    struct pair pair = {.a = SPINLOCK_INIT(RANK_WAITQ), .b = SPINLOCK_INIT(RANK_WAITQ)};
    struct sim_thread *other = sim_spawn(add_under_pair, &pair);
    add_under_pair(&pair);
    sim_join(other);
    SIM_CHECK_EQUAL(atomic32_load_relaxed(&pair.value), 8);
}

SIM_TEST(spin_lock_pair_may_be_one_lock, .schedules = 20)
{
    struct spinlock lock = SPINLOCK_INIT(RANK_WAITQ);
    spin_lock_pair(&lock, &lock);
    SIM_CHECK(spin_is_locked(&lock));
    spin_unlock_pair(&lock, &lock);
    SIM_CHECK(!spin_is_locked(&lock));
}

SIM_TEST(spin_trylock_fails_when_held, .schedules = 20)
{
    struct spinlock lock = SPINLOCK_INIT(RANK_WAITQ);
    SIM_CHECK(spin_trylock(&lock));
    SIM_CHECK(!spin_trylock(&lock));
    spin_unlock(&lock);
    SIM_CHECK(spin_trylock(&lock));
    spin_unlock(&lock);
}

SIM_TEST(wrong_spinlock_order_panics, .schedules = 1, .panics = "lock order: rank 110 taken while rank 120 is held")
{
    struct spinlock bucket = SPINLOCK_INIT(RANK_FUTEX_BUCKET);
    struct spinlock queue = SPINLOCK_INIT(RANK_WAITQ);
    spin_lock(&queue);
    spin_lock(&bucket);
}

SIM_TEST(equal_rank_without_pair_panics, .schedules = 1, .panics = "lock order")
{
    struct spinlock a = SPINLOCK_INIT(RANK_WAITQ), b = SPINLOCK_INIT(RANK_WAITQ);
    spin_lock(&a);
    spin_lock(&b);
}

SIM_TEST(releasing_what_is_not_held_panics, .schedules = 1, .panics = "released but not held")
{
    struct spinlock lock = SPINLOCK_INIT(RANK_WAITQ);
    spin_unlock(&lock);
}
