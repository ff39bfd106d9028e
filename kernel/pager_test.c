/*
 * Paged memobjs under schedules: a pager that answers from threads of its own, users that read, write, truncate and give up, and
 * everything that can come in between. The contents follow a rule, so a page from the wrong time or place is seen.
 */
#include "kernel/pager.h"

#include "body/sim/sim.h"
#include "kernel/errno.h"
#include "kernel/aspace.h"
#include "kernel/lock.h"
#include "kernel/string.h"
#include "kernel/task.h"
#include "kernel/user.h"

#define QUEUE 64

/* A pager in memory: a backing store of words, one for each page (its first bytes), and a queue of what it was asked. */
struct store {
    struct memobj *memobj;
    struct mutex mutex; /* guards the rest; above MEMOBJ */
    struct waitq more;
    struct page_run asked[QUEUE];
    uint32_t head, tail;
    uint64_t words[64];
    uint64_t size;
    uint32_t clean_wanted, sizes_told, writes_told, idles_told;
    bool stop;
    int refuse; /* so many page_in are refused with -EAGAIN */
    struct sim_thread *thread;
};

static int store_page_in(struct memobj *memobj UNUSED, void *context, const struct page_run *run, uint64_t needed)
{
    struct store *store = context;
    int error = 0;

    SIM_CHECK(needed >= 1 && needed <= run->count && run->count <= PAGER_RUN_PAGES);
    mutex_lock(&store->mutex);
    if (store->refuse > 0 || store->tail - store->head == QUEUE) {
        store->refuse--;
        error = -EAGAIN;
    } else
        store->asked[store->tail++ % QUEUE] = *run;
    waitq_wake_all(&store->more);
    mutex_unlock(&store->mutex);
    return error;
}

static void store_clean(struct memobj *memobj UNUSED, void *context, uint64_t first UNUSED, uint64_t count UNUSED)
{
    struct store *store = context;

    mutex_lock(&store->mutex);
    store->clean_wanted++;
    waitq_wake_all(&store->more);
    mutex_unlock(&store->mutex);
}

static void store_resized(struct memobj *memobj UNUSED, void *context, uint64_t size, uint64_t lowest)
{
    struct store *store = context;

    SIM_CHECK(lowest <= size);
    mutex_lock(&store->mutex);
    store->sizes_told++;
    for (uint64_t i = (lowest + PAGE_SIZE - 1) / PAGE_SIZE; i < ARRAY_SIZE(store->words); i++)
        store->words[i] = 0;
    store->size = size;
    mutex_unlock(&store->mutex);
}

static void store_written(struct memobj *memobj UNUSED, void *context) { ((struct store *)context)->writes_told++; }
static void store_idle(struct memobj *memobj UNUSED, void *context)
{
    struct store *store = context;

    mutex_lock(&store->mutex);
    store->idles_told++;
    waitq_wake_all(&store->more);
    mutex_unlock(&store->mutex);
}

static const struct pager_ops store_ops = {0, store_page_in, store_clean, store_resized, store_written, store_idle};

static void store_init(struct store *store, uint64_t pages)
{
    *store = (struct store){.size = pages * PAGE_SIZE};
    mutex_init(&store->mutex, RANK_BODY_SLEEPING);
    waitq_init(&store->more);
    for (uint64_t i = 0; i < pages && i < ARRAY_SIZE(store->words); i++)
        store->words[i] = 1000 + i;
    store->memobj = memobj_create_paged(&store_ops, store, pages * PAGE_SIZE);
    SIM_CHECK(store->memobj);
}

/* Answers one run from the words as they are now. */
static void store_answer(struct store *store, const struct page_run *run)
{
    static uint8_t bytes[PAGER_RUN_PAGES][PAGE_SIZE];

    mutex_lock(&store->mutex);
    for (uint64_t i = 0; i < run->count; i++)
        memcpy(bytes[i], &store->words[run->first + i], sizeof store->words[0]);
    mutex_unlock(&store->mutex);
    pager_supply(store->memobj, run, bytes, run->count * PAGE_SIZE);
}

static void store_write_back(struct store *store)
{
    static uint8_t bytes[PAGER_RUN_PAGES][PAGE_SIZE];
    struct page_run run;
    uint64_t first = 0;

    while (pager_clean(store->memobj, first, UINT64_MAX, bytes, 2, &run) > 0) {
        mutex_lock(&store->mutex);
        for (uint64_t i = 0; i < run.count; i++)
            memcpy(&store->words[run.first + i], bytes[i], sizeof store->words[0]);
        mutex_unlock(&store->mutex);
        pager_cleaned(store->memobj, &run, 0);
        first = run.first + run.count;
    }
}

/* False: it is to stop, and nothing is left to do. */
static bool store_serve_one(struct store *store)
{
    struct page_run run = {0};
    bool clean, go;

    mutex_lock(&store->mutex);
    while (store->head == store->tail && !store->clean_wanted && !store->stop)
        waitq_sleep(&store->more, &store->mutex, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
    clean = store->clean_wanted;
    go = clean || store->head != store->tail;
    store->clean_wanted = 0;
    if (!clean && go)
        run = store->asked[store->head++ % QUEUE];
    mutex_unlock(&store->mutex);
    if (clean)
        store_write_back(store);
    else if (go)
        store_answer(store, &run);
    return go;
}

static void store_thread(void *argument)
{
    while (store_serve_one(argument)) {
    }
}

static void store_start(struct store *store) { store->thread = sim_spawn(store_thread, store); }

static void store_stop(struct store *store)
{
    mutex_lock(&store->mutex);
    store->stop = true;
    waitq_wake_all(&store->more);
    mutex_unlock(&store->mutex);
    if (store->thread)
        sim_join(store->thread);
}

static uint64_t read_word(struct memobj *memobj, uint64_t page)
{
    uint64_t word = 0;

    SIM_CHECK_EQUAL(memobj_read(memobj, &word, page * PAGE_SIZE, sizeof word), sizeof word);
    return word;
}

static void write_word(struct memobj *memobj, uint64_t page, uint64_t word)
{
    SIM_CHECK_EQUAL(memobj_write(memobj, &word, page * PAGE_SIZE, sizeof word), sizeof word);
}

static void finish(struct store *store)
{
    store_stop(store);
    pager_gone(store->memobj);
    object_unref(store->memobj);
}

/* --- supplying --------------------------------------------------------------------------------------- */

SIM_TEST(a_missing_page_is_asked_for_once_and_read, .schedules = 2000)
{
    struct store store;

    store_init(&store, 8);
    store_start(&store);
    for (uint64_t page = 0; page < 8; page++)
        SIM_CHECK_EQUAL(read_word(store.memobj, page), 1000 + page);
    SIM_CHECK(store.tail <= 8);
    uint32_t asked = store.tail;
    for (uint64_t page = 0; page < 8; page++)
        SIM_CHECK_EQUAL(read_word(store.memobj, page), 1000 + page);
    SIM_CHECK_EQUAL(store.tail, asked);
    finish(&store);
}

static void read_all(void *argument)
{
    struct memobj *memobj = argument;

    for (uint64_t page = 0; page < 8; page++)
        SIM_CHECK_EQUAL(read_word(memobj, page), 1000 + page);
}

SIM_TEST(readers_of_the_same_pages_share_what_is_asked, .schedules = 2000)
{
    struct store store;
    struct sim_thread *readers[3];

    store_init(&store, 8);
    store.refuse = 2;
    for (uint32_t i = 0; i < 3; i++)
        readers[i] = sim_spawn(read_all, store.memobj);
    store_start(&store);
    for (uint32_t i = 0; i < 3; i++) {
        sim_settle();
        pager_ready(store.memobj);
    }
    for (uint32_t i = 0; i < 3; i++)
        sim_join(readers[i]);
    SIM_CHECK(store.tail <= 8);
    finish(&store);
}

static void silent_reader(void *argument)
{
    struct store *store = argument;
    uint64_t word;
    int64_t result = memobj_read(store->memobj, &word, 3 * PAGE_SIZE, sizeof word);

    SIM_CHECK(result == -EINTR);
}

SIM_TEST(who_waits_for_a_silent_pager_can_be_interrupted, .schedules = 2000)
{
    struct store store;

    store_init(&store, 8);
    struct sim_thread *one = sim_spawn(silent_reader, &store), *two = sim_spawn(silent_reader, &store);
    thread_interrupt(sim_kernel_thread(one));
    sim_settle();
    thread_kill(sim_kernel_thread(two));
    sim_join(one);
    sim_join(two);
    SIM_CHECK(store.tail <= 1);
    finish(&store);
}

static void expect_error(void *argument)
{
    struct store *store = argument;
    uint64_t word;

    SIM_CHECK_EQUAL(memobj_read(store->memobj, &word, 2 * PAGE_SIZE, sizeof word), -ENXIO);
}

SIM_TEST(a_failure_reaches_who_waits_and_is_forgotten, .schedules = 2000)
{
    struct store store;

    store_init(&store, 8);
    struct sim_thread *reader = sim_spawn(expect_error, &store);
    sim_settle();
    SIM_CHECK_EQUAL(store.tail, 1);
    pager_fail(store.memobj, &store.asked[0], -ENXIO);
    sim_join(reader);
    store.head = 1;
    store_start(&store);
    SIM_CHECK_EQUAL(read_word(store.memobj, 2), 1002);
    finish(&store);
}

/* Reads a long range of which the pager refuses one page: what comes before it is read. */
static void read_up_to_failure(void *argument)
{
    struct store *store = argument;
    static uint8_t bytes[8 * PAGE_SIZE];

    SIM_CHECK_EQUAL(memobj_read(store->memobj, bytes, 0, sizeof bytes), 5 * PAGE_SIZE);
}

SIM_TEST(a_read_ends_before_the_page_that_failed, .schedules = 1000)
{
    struct store store;

    store_init(&store, 8);
    struct sim_thread *reader = sim_spawn(read_up_to_failure, &store);
    sim_settle();
    SIM_CHECK_EQUAL(store.asked[0].count, 8);
    struct page_run bad = {.first = 5, .count = 3, .epoch = store.asked[0].epoch}, good = {.first = 0, .count = 5, .epoch = bad.epoch};
    pager_fail(store.memobj, &bad, -EIO);
    store_answer(&store, &good);
    sim_settle();
    SIM_CHECK(store.tail <= 2);
    if (store.tail == 2)
        pager_fail(store.memobj, &store.asked[1], -EIO);
    sim_join(reader);
    finish(&store);
}

/* --- hostile answers --------------------------------------------------------------------------------- */

SIM_TEST(answers_that_nobody_asked_for_do_no_harm, .schedules = 300)
{
    struct store store;
    static uint8_t bytes[2 * PAGE_SIZE];
    struct page_run odd[] = {{.first = UINT64_MAX, .count = UINT64_MAX}, {.first = 7, .count = UINT64_MAX}, {.first = 2, .count = 1, .epoch = 77}, {.count = 0}};

    store_init(&store, 8);
    SIM_CHECK_EQUAL(memobj_write(store.memobj, bytes, PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
    for (uint32_t i = 0; i < ARRAY_SIZE(odd); i++) {
        void *pages[PAGER_RUN_PAGES];
        SIM_CHECK(pager_supply(store.memobj, &odd[i], bytes, i == 1 ? 0 : sizeof bytes) <= 1);
        pager_fail(store.memobj, &odd[i], 17);
        pager_cleaned(store.memobj, &(struct page_run){odd[i].first, min_u64(odd[i].count, 100), odd[i].epoch}, 0);
        pager_unlock(store.memobj, &(struct page_run){odd[i].first, min_u64(odd[i].count, 100), odd[i].epoch}, 0);
        SIM_CHECK(pager_lock(store.memobj, &odd[i], PAGER_LOCK_FILL, pages) < 0);
    }
    SIM_CHECK_EQUAL(read_word(store.memobj, 7), 0); /* supplied with nothing */
    SIM_CHECK_EQUAL(pager_supply(store.memobj, &(struct page_run){1, 1, 0}, bytes, sizeof bytes), 0);
    SIM_CHECK(pager_update(store.memobj, UINT64_MAX, bytes, 2) == -EFBIG);
    finish(&store);
}

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

static void evict_often(void *argument)
{
    struct store *store = argument;

    for (int i = 0; i < 12; i++) {
        if (sim_chance(3))
            store_clean(store->memobj, store, 0, 8);
        pager_evict(store->memobj, sim_random(4), 1 + sim_random(4));
        thread_yield();
    }
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

/* --- locking ----------------------------------------------------------------------------------------- */

static void fill_in_place(struct store *store, const struct page_run *run)
{
    void *pages[PAGER_RUN_PAGES];
    int error = pager_lock(store->memobj, run, PAGER_LOCK_FILL, pages);

    if (error) {
        SIM_CHECK(error == -EBUSY || error == -ESTALE || error == -ENXIO);
        pager_fail(store->memobj, run, -EAGAIN);
        return;
    }
    for (uint64_t i = 0; i < run->count; i++) {
        memset(pages[i], 0xff, PAGE_SIZE);
        thread_yield();
        memcpy(pages[i], &store->words[run->first + i], sizeof store->words[0]);
    }
    pager_unlock(store->memobj, run, 0);
}

static void lock_for_reading(struct store *store)
{
    void *pages[PAGER_RUN_PAGES];
    struct page_run run = {.first = sim_random(4), .count = 1};

    if (pager_lock(store->memobj, &run, PAGER_LOCK_READ, pages))
        return;
    uint64_t word, later;
    memcpy(&word, pages[0], sizeof word);
    thread_yield();
    memcpy(&later, pages[0], sizeof later);
    SIM_CHECK_EQUAL(word, later);
    pager_unlock(store->memobj, &run, 0);
}

static void locking_thread(void *argument)
{
    struct store *store = argument;
    bool more = true;

    while (more) {
        struct page_run run = {0};
        lock_for_reading(store);
        mutex_lock(&store->mutex);
        while (store->head == store->tail && !store->stop)
            waitq_sleep(&store->more, &store->mutex, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
        more = store->head != store->tail;
        if (more)
            run = store->asked[store->head++ % QUEUE];
        mutex_unlock(&store->mutex);
        if (more)
            fill_in_place(store, &run);
    }
}

static void write_some(void *argument)
{
    struct store *store = argument;

    for (uint64_t i = 1; i <= 8; i++) {
        write_word(store->memobj, i % 4, 1000 + i % 4);
        SIM_CHECK_EQUAL(read_word(store->memobj, (i + 2) % 4), 1000 + (i + 2) % 4);
    }
}

static void cut_at_two(void *argument)
{
    struct store *store = argument;

    for (int i = 0; i < 4; i++)
        SIM_CHECK_EQUAL(pager_resize(store->memobj, i & 1 ? 8 * PAGE_SIZE : 6 * PAGE_SIZE), 0);
}

SIM_TEST(pages_are_filled_in_place_while_others_wait, .schedules = 3000)
{
    struct store store;

    store_init(&store, 8);
    store.thread = sim_spawn(locking_thread, &store);
    struct sim_thread *one = sim_spawn(write_some, &store), *two = sim_spawn(cut_at_two, &store);
    for (uint64_t page = 0; page < 4; page++)
        SIM_CHECK_EQUAL(read_word(store.memobj, page), 1000 + page);
    sim_join(one);
    sim_join(two);
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

/* --- mappings ---------------------------------------------------------------------------------------- */

#define MAPPED ((uaddr_t)0x400000)

static struct task *task_with_mapping(struct store *store, uint32_t flags)
{
    struct aspace_map_request request = {.address = MAPPED, .size = 4 * PAGE_SIZE, .prot = PROT_READ_BIT | PROT_WRITE_BIT,
                                         .flags = flags | ASPACE_FIXED | REGION_MAY_WRITE, .memobj = store->memobj};
    struct task *task = sim_user_task(1);
    uaddr_t address;

    sim_calm_begin();
    SIM_CHECK_EQUAL(aspace_map(task->aspace, &request, &address), 0);
    sim_calm_end();
    return task;
}

static void store_through_mapping(void *argument UNUSED)
{
    for (uint32_t value = 1; value <= 8; value++) {
        uaddr_t at = MAPPED + value % 4 * PAGE_SIZE;
        sim_user_store(at, value);
        SIM_CHECK_EQUAL(sim_user_load(at), value);
        if (value > 4)
            SIM_CHECK_EQUAL(sim_user_load(MAPPED + (value - 1) % 4 * PAGE_SIZE), value - 1);
    }
}

SIM_TEST(pages_are_evicted_and_cleaned_while_programs_write_them, .schedules = 4000)
{
    struct store store;

    store_init(&store, 4);
    store_start(&store);
    struct task *task = task_with_mapping(&store, REGION_SHARED);
    struct sim_thread *one = sim_spawn_in(task, store_through_mapping, NULL), *two = sim_spawn(evict_often, &store);
    sim_join(one);
    sim_join(two);
    SIM_CHECK_EQUAL(memobj_sync(store.memobj, 0, UINT64_MAX), 0);
    for (uint32_t page = 0; page < 4; page++)
        SIM_CHECK_EQUAL((uint32_t)store.words[page], page ? 4 + page : 8);
    object_unref(task);
    finish(&store);
}

/* Another program adds to the same words: no addition is lost, whoever cleans. */
static void add_through_mapping(void *argument UNUSED)
{
    for (uint32_t i = 0; i < 5; i++)
        sim_user_add(MAPPED + i % 2 * PAGE_SIZE, 1);
}

SIM_TEST(two_programs_share_what_is_cleaned_under_them, .schedules = 4000)
{
    struct store store;

    store_init(&store, 4);
    store_start(&store);
    struct task *a = task_with_mapping(&store, REGION_SHARED), *b = task_with_mapping(&store, REGION_SHARED);
    struct sim_thread *one = sim_spawn_in(a, add_through_mapping, NULL), *two = sim_spawn_in(b, add_through_mapping, NULL);
    struct sim_thread *three = sim_spawn(evict_often, &store);
    sim_join(one);
    sim_join(two);
    sim_join(three);
    SIM_CHECK_EQUAL(memobj_sync(store.memobj, 0, UINT64_MAX), 0);
    SIM_CHECK_EQUAL(store.words[0], 1006);
    SIM_CHECK_EQUAL(store.words[1], 1005);
    object_unref(a);
    object_unref(b);
    finish(&store);
}

static void read_mapping_while_cut(void *argument UNUSED)
{
    for (int i = 0; i < 8; i++) {
        uint64_t page = sim_random(4), word = 0;
        int error = user_read(&word, MAPPED + page * PAGE_SIZE, sizeof word);
        SIM_CHECK(!error || error == -EFAULT);
        SIM_CHECK(!word || word == 1000 + page || word == 7);
        word = 7;
        if (sim_chance(3))
            user_write(MAPPED + page * PAGE_SIZE, &word, sizeof word);
    }
}

static void cut_mapped(void *argument)
{
    struct store *store = argument;

    for (int i = 0; i < 3; i++) {
        SIM_CHECK_EQUAL(memobj_resize(store->memobj, PAGE_SIZE), 0);
        SIM_CHECK_EQUAL(memobj_resize(store->memobj, 4 * PAGE_SIZE), 0);
        for (uint64_t page = 1; page < 4; page++) {
            uint64_t word = read_word(store->memobj, page);
            SIM_CHECK(word == 0 || word == 7);
        }
    }
}

SIM_TEST(a_mapped_page_ends_with_the_truncation, .schedules = 4000)
{
    struct store store;

    store_init(&store, 4);
    store_start(&store);
    struct task *task = task_with_mapping(&store, REGION_SHARED), *other = task_with_mapping(&store, 0);
    struct sim_thread *one = sim_spawn_in(task, read_mapping_while_cut, NULL), *two = sim_spawn(cut_mapped, &store);
    struct sim_thread *three = sim_spawn_in(other, read_mapping_while_cut, NULL);
    sim_join(one);
    sim_join(two);
    sim_join(three);
    SIM_CHECK_EQUAL(memobj_resize(store.memobj, 0), 0);
    object_unref(task);
    object_unref(other);
    finish(&store);
}

static void fault_until_interrupted(void *argument UNUSED)
{
    uint64_t word;

    SIM_CHECK_EQUAL(user_read(&word, MAPPED, sizeof word), -EFAULT);
}

SIM_TEST(a_fault_on_a_silent_pager_ends_with_the_interruption_or_the_pager, .schedules = 1000)
{
    struct store store;

    store_init(&store, 4);
    struct task *task = task_with_mapping(&store, REGION_SHARED);
    struct sim_thread *one = sim_spawn_in(task, fault_until_interrupted, NULL), *two = sim_spawn_in(task, fault_until_interrupted, NULL);
    sim_settle();
    thread_kill(sim_kernel_thread(one));
    sim_join(one);
    pager_die(store.memobj);
    sim_join(two);
    object_unref(task);
    finish(&store);
}

/* --- limits, and no memory --------------------------------------------------------------------------- */

static void silent_big_reader(void *argument)
{
    struct memobj *memobj = argument;
    static uint8_t bytes[16 * PAGE_SIZE];

    SIM_CHECK_EQUAL(memobj_read(memobj, bytes, 32 * PAGE_SIZE * sim_random(60), sizeof bytes), -EINTR);
}

SIM_TEST(a_silent_pager_is_asked_for_a_bounded_number_of_pages, .schedules = 50)
{
    struct store store;
    struct sim_thread *readers[40];
    uint64_t asked = 0;

    store_init(&store, 2000);
    for (uint32_t i = 0; i < ARRAY_SIZE(readers); i++)
        readers[i] = sim_spawn(silent_big_reader, store.memobj);
    sim_settle();
    for (uint32_t i = 0; i < store.tail; i++)
        asked += store.asked[i].count;
    SIM_CHECK(asked <= PAGER_ASKED_MAX);
    for (uint32_t i = 0; i < ARRAY_SIZE(readers); i++)
        thread_kill(sim_kernel_thread(readers[i]));
    for (uint32_t i = 0; i < ARRAY_SIZE(readers); i++)
        sim_join(readers[i]);
    finish(&store);
}

SIM_TEST(without_memory_there_are_errors_and_no_losses, .schedules = 3000, .fail_allocations = true)
{
    struct store store;

    sim_calm_begin();
    store_init(&store, 6);
    store_start(&store);
    sim_calm_end();
    for (uint64_t page = 0; page < 6; page++) {
        uint64_t word = 0;
        int64_t size = memobj_read(store.memobj, &word, page * PAGE_SIZE, sizeof word);
        SIM_CHECK(size == -ENOMEM || (size == 8 && word == 1000 + page));
        size = memobj_write(store.memobj, &word, (page + 9) * PAGE_SIZE, sizeof word);
        SIM_CHECK(size == -ENOMEM || size == 8);
    }
    finish(&store);
}
