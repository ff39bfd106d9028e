/*
 * Paged memobjs under schedules: pages that programs have mapped.
 */
#include "kernel/pager_test.h"

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
