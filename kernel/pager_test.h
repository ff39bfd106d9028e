/*
 * For the tests of paged memobjs: a pager in memory that answers from a thread of its own, and users that read, write and check. The
 * contents follow a rule, so a page from the wrong time or place is seen.
 */
#ifndef KERNEL_PAGER_TEST_H
#define KERNEL_PAGER_TEST_H

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

static inline int store_page_in(struct memobj *memobj UNUSED, void *context, const struct page_run *run, uint64_t needed)
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

static inline void store_clean(struct memobj *memobj UNUSED, void *context, uint64_t first UNUSED, uint64_t count UNUSED)
{
    struct store *store = context;

    mutex_lock(&store->mutex);
    store->clean_wanted++;
    waitq_wake_all(&store->more);
    mutex_unlock(&store->mutex);
}

static inline void store_resized(struct memobj *memobj UNUSED, void *context, uint64_t size, uint64_t lowest)
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

static inline void store_written(struct memobj *memobj UNUSED, void *context) { ((struct store *)context)->writes_told++; }
static inline void store_idle(struct memobj *memobj UNUSED, void *context)
{
    struct store *store = context;

    mutex_lock(&store->mutex);
    store->idles_told++;
    waitq_wake_all(&store->more);
    mutex_unlock(&store->mutex);
}

static const struct pager_ops store_ops = {0, store_page_in, store_clean, store_resized, store_written, store_idle};

static inline void store_init(struct store *store, uint64_t pages)
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
static inline void store_answer(struct store *store, const struct page_run *run)
{
    static uint8_t bytes[PAGER_RUN_PAGES][PAGE_SIZE];

    mutex_lock(&store->mutex);
    for (uint64_t i = 0; i < run->count; i++)
        memcpy(bytes[i], &store->words[run->first + i], sizeof store->words[0]);
    mutex_unlock(&store->mutex);
    pager_supply(store->memobj, run, bytes, run->count * PAGE_SIZE);
}

static inline void store_write_back(struct store *store)
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
static inline bool store_serve_one(struct store *store)
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

static inline void store_thread(void *argument)
{
    while (store_serve_one(argument)) {
    }
}

static inline void store_start(struct store *store) { store->thread = sim_spawn(store_thread, store); }

static inline void store_stop(struct store *store)
{
    mutex_lock(&store->mutex);
    store->stop = true;
    waitq_wake_all(&store->more);
    mutex_unlock(&store->mutex);
    if (store->thread)
        sim_join(store->thread);
}

static inline uint64_t read_word(struct memobj *memobj, uint64_t page)
{
    uint64_t word = 0;

    SIM_CHECK_EQUAL(memobj_read(memobj, &word, page * PAGE_SIZE, sizeof word), sizeof word);
    return word;
}

static inline void write_word(struct memobj *memobj, uint64_t page, uint64_t word)
{
    SIM_CHECK_EQUAL(memobj_write(memobj, &word, page * PAGE_SIZE, sizeof word), sizeof word);
}

static inline void finish(struct store *store)
{
    store_stop(store);
    pager_gone(store->memobj);
    object_unref(store->memobj);
}

/* Thread: takes clean pages away, and has some cleaned. */
static inline void evict_often(void *argument)
{
    struct store *store = argument;

    for (int i = 0; i < 12; i++) {
        if (sim_chance(3))
            store_clean(store->memobj, store, 0, 8);
        pager_evict(store->memobj, sim_random(4), 1 + sim_random(4));
        thread_yield();
    }
}

#endif
