/*
 * User memory: copies that meet a hole, strings at the end of what is mapped, and reads that race an unmapping.
 */
#include "kernel/user.h"

#include "body/sim/sim.h"
#include "kernel/aspace.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/string.h"
#include "kernel/task.h"

#define PAGES 2u
#define END (SIM_USER_BASE + PAGES * PAGE_SIZE)

static void in_task(thread_function *function, uint32_t pages)
{
    struct task *task = sim_user_task(pages);
    sim_join(sim_spawn_in(task, function, task));
    object_unref(task);
}

static void copies(void *argument)
{
    (void)argument;
    char out[64], in[64];
    memset(out, 'x', sizeof(out));
    SIM_CHECK_EQUAL(user_write(SIM_USER_BASE + PAGE_SIZE - 32, out, sizeof(out)), 0); /* across two pages */
    SIM_CHECK_EQUAL(user_read(in, SIM_USER_BASE + PAGE_SIZE - 32, sizeof(in)), 0);
    SIM_CHECK(memcmp(in, out, sizeof(in)) == 0);
    SIM_CHECK_EQUAL(user_zero(SIM_USER_BASE + PAGE_SIZE - 8, 16), 0);
    SIM_CHECK_EQUAL(user_read(in, SIM_USER_BASE + PAGE_SIZE - 32, sizeof(in)), 0);
    SIM_CHECK(in[23] == 'x' && in[24] == 0 && in[39] == 0 && in[40] == 'x');
    SIM_CHECK_EQUAL(user_zero(SIM_USER_BASE, PAGES * PAGE_SIZE), 0);
}

SIM_TEST(copies_cross_pages, .schedules = 200) { in_task(copies, PAGES); }

static void holes(void *argument)
{
    (void)argument;
    char bytes[64] = "";
    SIM_CHECK_EQUAL(user_write_some(END - 16, bytes, sizeof(bytes)), 16);
    SIM_CHECK_EQUAL(user_read_some(bytes, END - 16, sizeof(bytes)), 16);
    SIM_CHECK_EQUAL(user_read(bytes, END - 16, sizeof(bytes)), -EFAULT);
    SIM_CHECK_EQUAL(user_write(END, bytes, 1), -EFAULT);
    SIM_CHECK_EQUAL(user_read(bytes, 0, 1), -EFAULT);
    SIM_CHECK_EQUAL(user_read(bytes, UINT64_MAX - 8, sizeof(bytes)), -EFAULT);
    SIM_CHECK_EQUAL(user_zero(END - 8, 16), -EFAULT);
    SIM_CHECK_EQUAL(user_read(bytes, 0, 0), 0);
}

SIM_TEST(a_copy_stops_at_a_hole, .schedules = 200) { in_task(holes, PAGES); }

static void strings(void *argument)
{
    (void)argument;
    char text[32];
    user_write(END - 5, "hyla", 5);
    SIM_CHECK_EQUAL(user_read_string(text, END - 5, sizeof(text)), 4);
    SIM_CHECK(strcmp(text, "hyla") == 0);
    SIM_CHECK_EQUAL(user_read_string(text, END - 5, 5), 4);
    SIM_CHECK_EQUAL(user_read_string(text, END - 5, 4), -ENAMETOOLONG);
    SIM_CHECK_EQUAL(user_read_string(text, END - 1, sizeof(text)), 0);
    user_write(END - 4, "long", 4);
    SIM_CHECK_EQUAL(user_read_string(text, END - 4, sizeof(text)), -EFAULT);
    SIM_CHECK_EQUAL(user_read_string(text, END, sizeof(text)), -EFAULT);
}

SIM_TEST(a_string_ends_at_its_terminator_or_fails, .schedules = 200) { in_task(strings, PAGES); }

struct fading {
    struct task *task;
    struct atomic32 gone;
};

static void unmap(void *argument)
{
    struct fading *fading = argument;
    SIM_CHECK_EQUAL(aspace_unmap(fading->task->aspace, SIM_USER_BASE, PAGE_SIZE), 0);
    atomic32_store(&fading->gone, 1);
}

/* Until the unmapping has returned the old value may be seen; afterwards never. */
static void peek_while_unmapped(void *argument)
{
    struct fading *fading = argument;
    uint32_t value = 7;
    sim_user_store(SIM_USER_BASE, value);
    struct sim_thread *thread = sim_spawn_in(fading->task, unmap, fading);
    for (int i = 0; i < 10; i++) {
        bool gone = atomic32_load(&fading->gone);
        int error = body_peek32(fading->task->aspace, SIM_USER_BASE, &value);
        SIM_CHECK(error == -EFAULT || (!error && !gone && value == 7));
    }
    sim_join(thread);
    SIM_CHECK_EQUAL(body_peek32(fading->task->aspace, SIM_USER_BASE, &value), -EFAULT);
    SIM_CHECK_EQUAL(user_read(&value, SIM_USER_BASE, sizeof(value)), -EFAULT);
}

SIM_TEST(nobody_sees_a_page_after_its_unmapping, .schedules = 3000)
{
    struct fading fading = {.task = sim_user_task(1)};
    sim_join(sim_spawn_in(fading.task, peek_while_unmapped, &fading));
    object_unref(fading.task);
}

static void add_by_cas(void *argument)
{
    (void)argument;
    for (int i = 0; i < 3; i++) {
        uint32_t expected = sim_user_load(SIM_USER_BASE), previous;
        while (body_cas32(SIM_USER_BASE, expected, expected + 1, &previous) == 0 && previous != expected)
            expected = previous;
    }
}

SIM_TEST(compare_and_swap_of_a_user_word_loses_nothing, .schedules = 2000)
{
    struct task *task = sim_user_task(1);
    struct sim_thread *threads[2] = {sim_spawn_in(task, add_by_cas, NULL), sim_spawn_in(task, add_by_cas, NULL)};
    sim_join(threads[0]);
    sim_join(threads[1]);
    uint32_t value = 0;
    SIM_CHECK_EQUAL(body_peek32(task->aspace, SIM_USER_BASE, &value), 0);
    SIM_CHECK_EQUAL(value, 6);
    object_unref(task);
}
