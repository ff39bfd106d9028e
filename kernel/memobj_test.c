/*
 * What memobjs are charged against the total commit limit: pages that the kernel makes, one by one, and
 * ranges that programs map shared, whole. In the end nothing stays charged.
 */
#include "kernel/memobj.h"

#include "body/sim/sim.h"
#include "kernel/aspace.h"
#include "kernel/errno.h"
#include "kernel/task.h"

#define READ_WRITE (PROT_READ_BIT | PROT_WRITE_BIT)

static uint64_t start;

static void limit_begin(uint32_t pages)
{
    start = aspace_total_committed();
    aspace_set_total_commit_limit(start + pages * PAGE_SIZE);
}

static void limit_end(void)
{
    SIM_CHECK_EQUAL(aspace_total_committed(), start);
    aspace_set_total_commit_limit(UINT64_MAX);
}

static uint64_t charged_pages(void) { return (aspace_total_committed() - start) / PAGE_SIZE; }

static int64_t write_byte(struct memobj *memobj, uint64_t page) { return memobj_write(memobj, "x", page * PAGE_SIZE, 1); }

SIM_TEST(pages_made_are_charged_until_they_go, .schedules = 20)
{
    sim_calm_begin();
    limit_begin(4);
    struct memobj *memobj = memobj_create(0), *other = memobj_create(8 * PAGE_SIZE);
    for (uint64_t page = 0; page < 3; page++)
        SIM_CHECK_EQUAL(write_byte(memobj, page * 2), 1);
    SIM_CHECK_EQUAL(write_byte(memobj, 2), 1); /* was there */
    SIM_CHECK_EQUAL(charged_pages(), 3);
    SIM_CHECK(memobj_address(other, 0));
    SIM_CHECK(!memobj_address(other, PAGE_SIZE));
    SIM_CHECK_EQUAL(write_byte(memobj, 1), -ENOMEM);
    SIM_CHECK_EQUAL(memobj_resident(memobj), 3 * PAGE_SIZE);
    SIM_CHECK_EQUAL(memobj_punch(memobj, PAGE_SIZE, PAGE_SIZE), 0); /* a hole gives nothing back */
    SIM_CHECK_EQUAL(charged_pages(), 4);
    SIM_CHECK_EQUAL(memobj_resident(memobj), 3 * PAGE_SIZE);
    SIM_CHECK_EQUAL(memobj_punch(memobj, PAGE_SIZE, 2 * PAGE_SIZE), 0);
    SIM_CHECK_EQUAL(charged_pages(), 3);
    SIM_CHECK_EQUAL(memobj_resize(memobj, 1), 0);
    SIM_CHECK_EQUAL(charged_pages(), 2);
    SIM_CHECK_EQUAL(memobj_resident(memobj), PAGE_SIZE);
    object_unref(memobj);
    SIM_CHECK_EQUAL(charged_pages(), 1);
    object_unref(other);
    limit_end();
    sim_calm_end();
}

SIM_TEST(a_short_write_tells_how_far_the_limit_let_it_come, .schedules = 20)
{
    static const char bytes[4 * PAGE_SIZE];
    sim_calm_begin();
    limit_begin(3);
    struct memobj *memobj = memobj_create(0);
    SIM_CHECK_EQUAL(memobj_write(memobj, bytes, 0, sizeof bytes), 3 * PAGE_SIZE);
    SIM_CHECK_EQUAL(memobj->size, 3 * PAGE_SIZE);
    object_unref(memobj);
    limit_end();
    sim_calm_end();
}

SIM_TEST(pages_that_cannot_be_made_are_not_charged, .schedules = 300, .fail_allocations = true)
{
    limit_begin(8);
    struct memobj *memobj = memobj_create(8 * PAGE_SIZE);
    uint64_t made = 0;
    for (uint64_t page = 0; memobj && page < 8; page++)
        made += write_byte(memobj, page) == 1;
    SIM_CHECK_EQUAL(charged_pages(), made);
    if (memobj)
        object_unref(memobj);
    limit_end();
}

static int map_shared(struct aspace *aspace, struct memobj *memobj, uint64_t first, uint64_t count, uint32_t flags, uaddr_t *address)
{
    struct aspace_map_request request = {.size = count * PAGE_SIZE, .prot = PROT_READ_BIT, .memobj = memobj, .offset = first * PAGE_SIZE,
                                         .flags = REGION_SHARED | flags};
    return aspace_map(aspace, &request, address);
}

static void shared_mappings(void *argument UNUSED)
{
    struct aspace *aspace = thread_current()->task->aspace;
    uaddr_t address, again;
    sim_calm_begin();
    limit_begin(10);
    struct memobj *memobj = memobj_create(32 * PAGE_SIZE);
    SIM_CHECK_EQUAL(write_byte(memobj, 1), 1);
    SIM_CHECK_EQUAL(write_byte(memobj, 5), 1);
    SIM_CHECK_EQUAL(map_shared(aspace, memobj, 0, 32, 0, &address), 0); /* never to be written */
    SIM_CHECK_EQUAL(charged_pages(), 2);
    SIM_CHECK_EQUAL(map_shared(aspace, memobj, 0, 4, REGION_MAY_WRITE, &address), 0);
    SIM_CHECK_EQUAL(charged_pages(), 5); /* of the four one was, and one is outside */
    SIM_CHECK_EQUAL(write_byte(memobj, 2), 1);
    SIM_CHECK_EQUAL(map_shared(aspace, memobj, 1, 2, REGION_MAY_WRITE, &again), 0);
    SIM_CHECK_EQUAL(charged_pages(), 5);
    SIM_CHECK_EQUAL(map_shared(aspace, memobj, 0, 11, REGION_MAY_WRITE, &again), -ENOMEM);
    SIM_CHECK_EQUAL(aspace_remap(aspace, address, 4 * PAGE_SIZE, 11 * PAGE_SIZE, true, false, false, 0, &again), -ENOMEM);
    SIM_CHECK_EQUAL(charged_pages(), 5);
    SIM_CHECK_EQUAL(aspace_remap(aspace, address, 0, 8 * PAGE_SIZE, true, false, false, 0, &again), 0);
    SIM_CHECK_EQUAL(charged_pages(), 8); /* the one that was outside is inside now */
    SIM_CHECK_EQUAL(memobj_punch(memobj, 0, 32 * PAGE_SIZE), 0);
    SIM_CHECK_EQUAL(charged_pages(), 8); /* the program may fill it again */
    SIM_CHECK_EQUAL(write_byte(memobj, 20), 1);
    SIM_CHECK_EQUAL(charged_pages(), 9);
    SIM_CHECK_EQUAL(aspace_unmap(aspace, address, 4 * PAGE_SIZE), 0);
    SIM_CHECK_EQUAL(charged_pages(), 9);
    object_unref(memobj); /* the mappings' references remain */
    sim_calm_end();
}

SIM_TEST(shared_mappings_are_charged_whole_until_the_memobj_goes, .schedules = 20)
{
    struct task *task = sim_user_task(1);
    sim_join(sim_spawn_in(task, shared_mappings, NULL));
    object_unref(task);
    SIM_CHECK_EQUAL(aspace_total_committed(), 0);
    aspace_set_total_commit_limit(UINT64_MAX);
}

SIM_TEST(without_a_limit_nothing_is_charged, .schedules = 1)
{
    sim_calm_begin();
    struct memobj *memobj = memobj_create(0);
    SIM_CHECK_EQUAL(write_byte(memobj, 0), 1);
    SIM_CHECK_EQUAL(memobj_share(memobj, 0, MEMOBJ_SIZE_MAX), 0);
    SIM_CHECK_EQUAL(aspace_total_committed(), 0);
    object_unref(memobj);
    SIM_CHECK_EQUAL(aspace_total_committed(), 0);
    sim_calm_end();
}
