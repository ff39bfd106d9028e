/*
 * Knotes: activation, exclusiveness, and the two deaths (the object's, the watcher's) in any order.
 */
#include "kernel/event.h"

#include "body/sim/sim.h"
#include "kernel/alloc.h"
#include "kernel/thread.h"

struct watcher {
    struct knote knote;
    struct atomic32 seen; /* events, or-ed */
    struct atomic32 activations;
    bool refuses;
};

static bool note(struct knote *knote, uint32_t events)
{
    struct watcher *watcher = CONTAINER_OF(knote, struct watcher, knote);
    atomic32_or(&watcher->seen, events);
    atomic32_add(&watcher->activations, 1);
    return !watcher->refuses;
}

static struct watcher *watcher_make(uint32_t interest)
{
    struct watcher *watcher = kzalloc(sizeof(*watcher));
    watcher->knote = (struct knote){.interest = interest, .activate = note};
    list_init(&watcher->knote.link);
    return watcher;
}

static uint32_t seen(struct watcher *watcher) { return atomic32_load(&watcher->seen); }

SIM_TEST(a_knote_sees_what_it_is_interested_in, .schedules = 50)
{
    struct knote_list list;
    knote_list_init(&list);
    struct watcher *reader = watcher_make(EVENT_READ), *writer = watcher_make(EVENT_WRITE);
    knote_add(&list, &reader->knote);
    knote_add(&list, &writer->knote);
    knote_notify(&list, EVENT_READ);
    SIM_CHECK_EQUAL(seen(reader), EVENT_READ);
    SIM_CHECK_EQUAL(seen(writer), 0);
    knote_notify(&list, EVENT_HANGUP); /* of interest to all */
    SIM_CHECK_EQUAL(seen(writer), EVENT_HANGUP);
    knote_remove(&reader->knote);
    knote_remove(&reader->knote);
    knote_list_close(&list);
    SIM_CHECK(seen(writer) & EVENT_CLOSED);
    SIM_CHECK(!(seen(reader) & EVENT_CLOSED));
    knote_remove(&writer->knote);
    kfree(reader);
    kfree(writer);
}

SIM_TEST(one_exclusive_knote_takes_the_event, .schedules = 50)
{
    struct knote_list list;
    knote_list_init(&list);
    struct watcher *watchers[4];
    for (int i = 0; i < 4; i++) {
        watchers[i] = watcher_make(EVENT_READ);
        watchers[i]->knote.exclusive = i < 3;
        watchers[i]->refuses = i == 0;
        knote_add(&list, &watchers[i]->knote);
    }
    knote_notify(&list, EVENT_READ);
    SIM_CHECK(seen(watchers[0]) && seen(watchers[1]) && seen(watchers[3]));
    SIM_CHECK(!seen(watchers[2]));
    for (int i = 0; i < 4; i++) {
        knote_remove(&watchers[i]->knote);
        kfree(watchers[i]);
    }
}

static void remove_and_free(void *argument)
{
    struct watcher *watcher = argument;
    knote_remove(&watcher->knote);
    uint32_t activations = atomic32_load(&watcher->activations);
    sim_point();
    SIM_CHECK_EQUAL(atomic32_load(&watcher->activations), activations);
    kfree(watcher);
}

static void close_and_free(void *argument)
{
    struct knote_list *list = argument;
    knote_list_close(list);
    kfree(list);
}

SIM_TEST(object_and_watchers_may_die_in_any_order, .schedules = 8000)
{
    struct knote_list *list = kzalloc(sizeof(*list));
    knote_list_init(list);
    struct sim_thread *threads[4];
    for (int i = 0; i < 3; i++) {
        struct watcher *watcher = watcher_make(EVENT_READ);
        knote_add(list, &watcher->knote);
        threads[i] = sim_spawn(remove_and_free, watcher);
    }
    knote_notify(list, EVENT_READ);
    threads[3] = sim_spawn(close_and_free, list);
    for (int i = 0; i < 4; i++)
        sim_join(threads[i]);
}

struct source {
    struct knote_list list;
    struct atomic32 level;
};

static void raise_level(void *argument)
{
    struct source *source = argument;
    atomic32_store_release(&source->level, 1);
    knote_notify(&source->list, EVENT_READ);
}

/* Attach, then ask the level: the rule of every collector. */
SIM_TEST(attach_then_ask_misses_nothing, .schedules = 5000)
{
    struct source source = {.level = ATOMIC_INIT(0)};
    knote_list_init(&source.list);
    struct watcher *watcher = watcher_make(EVENT_READ);
    struct sim_thread *thread = sim_spawn(raise_level, &source);
    knote_add(&source.list, &watcher->knote);
    bool ready = atomic32_load_acquire(&source.level);
    sim_join(thread);
    SIM_CHECK(ready || seen(watcher));
    knote_remove(&watcher->knote);
    kfree(watcher);
}
