/*
 * Paged memobjs under schedules: writing back, evicting, truncating, the pager's death, idling.
 */
#include "kernel/pager_test.h"

/* --- writing back ------------------------------------------------------------------------------------ */

static void write_upwards(void *argument)
{
    struct store *store = argument;

    for (uint64_t value = 1; value <= 4; value++) {
        write_word(store->memobj, 1, value);
        if (sim_chance(2)) {
            SIM_CHECK_EQUAL(memobj_sync(store->memobj, 0, UINT64_MAX), 0);
            mutex_lock(&store->mutex);
            SIM_CHECK(store->words[1] == value);
            mutex_unlock(&store->mutex);
        }
    }
    SIM_CHECK_EQUAL(memobj_sync(store->memobj, 0, 2 * PAGE_SIZE), 0);
}

static void write_elsewhere(void *argument)
{
    struct store *store = argument;

    for (uint64_t value = 1; value <= 6; value++)
        write_word(store->memobj, value & 1 ? 0 : 2, value);
}

SIM_TEST(what_is_synced_is_stored_while_others_write, .schedules = 3000)
{
    struct store store;

    store_init(&store, 4);
    store_start(&store);
    struct sim_thread *one = sim_spawn(write_upwards, &store), *two = sim_spawn(write_elsewhere, &store);
    sim_join(one);
    sim_join(two);
    SIM_CHECK_EQUAL(memobj_sync(store.memobj, 0, UINT64_MAX), 0);
    SIM_CHECK_EQUAL(store.words[1], 4);
    SIM_CHECK_EQUAL(store.words[0], 5);
    SIM_CHECK_EQUAL(store.words[2], 6);
    finish(&store);
}

static void write_and_check(void *argument)
{
    struct store *store = argument;

    for (uint64_t i = 1; i <= 8; i++) {
        write_word(store->memobj, i % 4, i * 10);
        SIM_CHECK_EQUAL(read_word(store->memobj, i % 4), i * 10);
        if (i > 4)
            SIM_CHECK_EQUAL(read_word(store->memobj, (i + 1) % 4), (i - 3) * 10);
    }
}

SIM_TEST(eviction_loses_nothing_that_was_written, .schedules = 3000)
{
    struct store store;

    store_init(&store, 8);
    store_start(&store);
    struct sim_thread *one = sim_spawn(write_and_check, &store), *two = sim_spawn(evict_often, &store);
    sim_join(one);
    sim_join(two);
    finish(&store);
}

SIM_TEST(what_could_not_be_stored_is_dirty_again_and_told_once, .schedules = 500)
{
    struct store store;
    struct page_run run;
    uint8_t flags;
    static uint8_t bytes[PAGE_SIZE];

    store_init(&store, 8);
    write_word(store.memobj, 9, 7); /* grows; page 9 has never been the pager's */
    SIM_CHECK_EQUAL(store.writes_told, 1);
    SIM_CHECK_EQUAL(store.size, 9 * PAGE_SIZE + 8);
    SIM_CHECK_EQUAL(pager_clean(store.memobj, 0, UINT64_MAX, bytes, 1, &run), 8);
    SIM_CHECK_EQUAL(run.first, 9);
    SIM_CHECK_EQUAL(pager_evict(store.memobj, 0, 20), 0); /* it is not stored yet */
    pager_cleaned(store.memobj, &run, -ENOSPC);
    pager_query(store.memobj, 9, 1, &flags);
    SIM_CHECK_EQUAL(flags, PAGE_PRESENT | PAGE_DIRTY | PAGE_ACCESSED);
    store_start(&store);
    SIM_CHECK_EQUAL(memobj_sync(store.memobj, 0, UINT64_MAX), -ENOSPC);
    SIM_CHECK_EQUAL(memobj_sync(store.memobj, 0, UINT64_MAX), 0);
    SIM_CHECK_EQUAL(pager_evict(store.memobj, 0, 20), 1);
    pager_query(store.memobj, 9, 1, &flags);
    SIM_CHECK_EQUAL(flags, 0);
    finish(&store);
}

/* --- truncation -------------------------------------------------------------------------------------- */

static void read_while_cut(void *argument)
{
    struct store *store = argument;

    for (int i = 0; i < 6; i++) {
        uint64_t page = sim_random(4), word = 0;
        int64_t size = memobj_read(store->memobj, &word, page * PAGE_SIZE, sizeof word);
        SIM_CHECK(size == 0 || size == 8 || (size == 4 && page == 0));
        SIM_CHECK(!word || word == 1000 + page);
    }
}

static void cut_and_grow(void *argument)
{
    struct store *store = argument;

    for (int i = 0; i < 3; i++) {
        SIM_CHECK_EQUAL(memobj_resize(store->memobj, 3 * PAGE_SIZE + 100), 0);
        SIM_CHECK_EQUAL(memobj_resize(store->memobj, 4), 0);
        SIM_CHECK_EQUAL(memobj_resize(store->memobj, 4 * PAGE_SIZE), 0);
        for (uint64_t page = 1; page < 4; page++)
            SIM_CHECK_EQUAL(read_word(store->memobj, page), 0);
        SIM_CHECK_EQUAL(read_word(store->memobj, 0), 1000); /* its lower half was kept */
    }
}

SIM_TEST(nothing_from_before_a_truncation_comes_back, .schedules = 5000)
{
    struct store store;

    store_init(&store, 4);
    store_start(&store);
    struct sim_thread *reader = sim_spawn(read_while_cut, &store), *other = sim_spawn(read_while_cut, &store);
    struct sim_thread *cutter = sim_spawn(cut_and_grow, &store);
    sim_join(cutter);
    sim_join(reader);
    sim_join(other);
    finish(&store);
}

SIM_TEST(truncation_drops_dirty_pages_and_those_being_stored, .schedules = 500)
{
    struct store store;
    struct page_run run;
    static uint8_t bytes[PAGE_SIZE];

    store_init(&store, 4);
    for (uint64_t page = 0; page < 4; page++)
        SIM_CHECK_EQUAL(memobj_write(store.memobj, bytes, page * PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
    SIM_CHECK_EQUAL(pager_clean(store.memobj, 2, 3, bytes, 1, &run), PAGE_SIZE);
    SIM_CHECK_EQUAL(memobj_resize(store.memobj, PAGE_SIZE), 0);
    SIM_CHECK_EQUAL(memobj_resident(store.memobj), PAGE_SIZE);
    SIM_CHECK_EQUAL(memobj_resize(store.memobj, 4 * PAGE_SIZE), 0);
    SIM_CHECK_EQUAL(memobj_write(store.memobj, bytes, 2 * PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
    struct page_run again;
    SIM_CHECK_EQUAL(pager_clean(store.memobj, 2, 3, bytes, 1, &again), PAGE_SIZE);
    pager_cleaned(store.memobj, &run, 0); /* the first one's: not this page's any more */
    uint8_t flags;
    pager_query(store.memobj, 2, 1, &flags);
    SIM_CHECK(flags & PAGE_CLEANING);
    pager_cleaned(store.memobj, &again, 0);
    finish(&store);
}

/* --- deaths ------------------------------------------------------------------------------------------ */

static void use_until_gone(void *argument)
{
    struct store *store = argument;

    for (int i = 0; i < 8; i++) {
        uint64_t page = sim_random(6), word = 0;
        int64_t size = memobj_read(store->memobj, &word, page * PAGE_SIZE, sizeof word);
        SIM_CHECK(size == 0 || size == 8 || size == -EIO);
        SIM_CHECK(size != 8 || word == 1000 + page || word == 0);
        if (sim_chance(3)) {
            word = 1000 + page;
            size = memobj_write(store->memobj, &word, page * PAGE_SIZE, sizeof word);
            SIM_CHECK(size == 8 || size == -EIO);
        }
        if (sim_chance(6)) {
            int error = memobj_resize(store->memobj, sim_random(6) * PAGE_SIZE);
            SIM_CHECK(!error || error == -EIO);
        }
        if (sim_chance(4)) {
            int error = memobj_sync(store->memobj, 0, UINT64_MAX);
            SIM_CHECK(!error || error == -EIO);
        }
    }
}

/* Dies after a random number of answers, with a lock or a cleaning in hand now and then. */
static void dying_pager(void *argument)
{
    struct store *store = argument;
    static uint8_t bytes[PAGE_SIZE];
    void *pages[1];

    for (uint32_t left = sim_random(6); left > 0; left--) {
        struct page_run run = {0};
        bool some;
        mutex_lock(&store->mutex);
        some = store->head != store->tail;
        if (some)
            run = store->asked[store->head++ % QUEUE];
        mutex_unlock(&store->mutex);
        if (some)
            store_answer(store, &run);
        thread_yield();
    }
    struct page_run run = {.first = sim_random(6), .count = 1, .epoch = pager_epoch(store->memobj)};
    if (sim_chance(2))
        pager_lock(store->memobj, &run, sim_chance(2) ? PAGER_LOCK_FILL : PAGER_LOCK_READ, pages);
    if (sim_chance(2))
        pager_clean(store->memobj, 0, UINT64_MAX, bytes, 1, &run);
    thread_yield();
    if (sim_chance(2))
        pager_die(store->memobj);
    pager_gone(store->memobj);
}

SIM_TEST(a_pager_may_die_at_any_time, .schedules = 5000)
{
    struct store store;

    store_init(&store, 6);
    struct sim_thread *users[3], *pager;
    for (uint32_t i = 0; i < 3; i++)
        users[i] = sim_spawn(use_until_gone, &store);
    pager = sim_spawn(dying_pager, &store);
    for (uint32_t i = 0; i < 3; i++)
        sim_join(users[i]);
    sim_join(pager);
    uint64_t word;
    for (uint64_t page = 0; page < 6; page++)
        SIM_CHECK(memobj_write(store.memobj, &word, 0, 8) == -EIO);
    object_unref(store.memobj);
}

/* --- idling ------------------------------------------------------------------------------------------ */

static void use_and_drop(void *argument)
{
    struct store *store = argument;

    for (int i = 0; i < 4; i++) {
        struct memobj *memobj = pager_use(store->memobj);
        SIM_CHECK_EQUAL(read_word(memobj, 1), 77);
        object_unref(memobj);
    }
}

SIM_TEST(an_idle_memobj_keeps_its_pages_and_is_used_again, .schedules = 3000)
{
    struct store store;

    store_init(&store, 4);
    SIM_CHECK_EQUAL(pager_supply(store.memobj, &(struct page_run){.first = 1, .count = 1}, &(uint64_t){77}, 8), 1);
    struct sim_thread *one = sim_spawn(use_and_drop, &store), *two = sim_spawn(use_and_drop, &store);
    object_unref(store.memobj);
    sim_join(one);
    sim_join(two);
    mutex_lock(&store.mutex);
    while (!store.idles_told)
        waitq_sleep(&store.more, &store.mutex, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
    mutex_unlock(&store.mutex);
    pager_gone(store.memobj);
}

SIM_TEST(a_pager_gives_up_while_the_last_user_goes, .schedules = 3000)
{
    struct store store;

    store_init(&store, 4);
    struct sim_thread *pager = sim_spawn(dying_pager, &store);
    object_unref(store.memobj);
    sim_join(pager);
}
