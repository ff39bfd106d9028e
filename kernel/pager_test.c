/*
 * Paged memobjs under schedules: supplying, failing, hostile answers, filling in place, limits; and what may come in between.
 */
#include "kernel/pager_test.h"

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
