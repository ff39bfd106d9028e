/*
 * The region map against a model: an array with one record per page of a window. Random requests run on
 * both, also while allocations fail; afterwards the map's own invariants hold, every page is what the model
 * says, and the memory behind it has the value that was written.
 */
#include "kernel/aspace.h"

#include "body/sim/sim.h"
#include "kernel/aspace_internal.h"
#include "kernel/task.h"

#define WINDOW 48u
#define FIRST (SIM_USER_BASE + 16 * PAGE_SIZE)
#define READ_WRITE (PROT_READ_BIT | PROT_WRITE_BIT)

struct model_page {
    bool mapped;
    uint32_t prot;
    bool locked;
    uint32_t value; /* of its first word; 0: never written */
};

struct model {
    struct aspace *aspace;
    struct memobj *memobj; /* for some of the mappings, private: copy on write */
    struct model_page pages[WINDOW];
    uint32_t next_value;
};

static uaddr_t address_of(uint32_t page) { return FIRST + (uaddr_t)page * PAGE_SIZE; }

/* --- checks ------------------------------------------------------------------------------------------ */

static uint32_t check_tree(struct tree_node *node)
{
    uint32_t height[2] = {0, 0}, count = 1;
    if (!node)
        return 0;
    for (int side = 0; side < 2; side++) {
        if (!node->child[side])
            continue;
        SIM_CHECK(node->child[side]->parent == node);
        count += check_tree(node->child[side]);
        height[side] = node->child[side]->height;
    }
    SIM_CHECK(height[0] <= height[1] + 1 && height[1] <= height[0] + 1);
    return count;
}

static void check_map(struct aspace *aspace)
{
    uint64_t mapped = 0, locked = 0, committed = 0;
    uaddr_t end = 0;
    uint32_t count = 0;
    LIST_FOR_EACH (node, &aspace->regions) {
        struct region *region = LIST_ENTRY(node, struct region, link);
        SIM_CHECK(region->start < region->end && region->start >= end);
        SIM_CHECK_EQUAL(region->gap, region->start - end);
        SIM_CHECK(region->subtree_gap >= region->gap);
        SIM_CHECK(aspace_find_locked(aspace, region->start) == region);
        SIM_CHECK(aspace_find_locked(aspace, region->end - 1) == region);
        end = region->end;
        count++;
        if (region->flags & REGION_BODY)
            continue;
        mapped += region_size(region);
        locked += region->flags & REGION_LOCKED ? region_size(region) : 0;
        committed += region->flags & REGION_COMMITTED ? region_size(region) : 0;
    }
    SIM_CHECK_EQUAL(count, aspace->region_count);
    SIM_CHECK_EQUAL(check_tree(aspace->tree.root), count);
    SIM_CHECK_EQUAL(mapped, aspace->mapped_bytes);
    SIM_CHECK_EQUAL(locked, aspace->locked_bytes);
    SIM_CHECK_EQUAL(committed, aspace->committed_bytes);
    SIM_CHECK_EQUAL(aspace_total_committed(), committed);
}

static void check_pages(struct model *model)
{
    for (uint32_t i = 0; i < WINDOW; i++) {
        struct model_page *page = &model->pages[i];
        struct region *region = aspace_find_locked(model->aspace, address_of(i));
        SIM_CHECK_EQUAL(region != NULL, page->mapped);
        if (!region)
            continue;
        SIM_CHECK_EQUAL(region->prot, page->prot);
        SIM_CHECK_EQUAL((region->flags & REGION_LOCKED) != 0, page->locked);
        if (page->prot & PROT_READ_BIT)
            SIM_CHECK_EQUAL(sim_user_load(address_of(i)), page->value);
    }
}

/* --- requests ---------------------------------------------------------------------------------------- */

static uint32_t random_prot(void)
{
    static const uint32_t prots[] = {0, PROT_READ_BIT, READ_WRITE, READ_WRITE};
    return prots[sim_random(4)];
}

static bool all_mapped(const struct model *model, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!model->pages[first + i].mapped)
            return false;
    return true;
}

static void do_map(struct model *model, uint32_t first, uint32_t count)
{
    struct aspace_map_request request = {.address = address_of(first),
                                         .size = (uint64_t)count * PAGE_SIZE,
                                         .prot = random_prot(),
                                         .flags = REGION_MAY_WRITE | (sim_chance(2) ? ASPACE_FIXED : ASPACE_FIXED_NOREPLACE),
                                         .memobj = sim_chance(2) ? model->memobj : NULL,
                                         .offset = sim_random(3) * PAGE_SIZE};
    bool occupied = false;
    uaddr_t address;
    int error;
    for (uint32_t i = 0; i < count; i++)
        occupied |= model->pages[first + i].mapped;
    error = aspace_map(model->aspace, &request, &address);
    if (occupied && (request.flags & ASPACE_FIXED_NOREPLACE))
        SIM_CHECK(error == -EEXIST || error == -ENOMEM);
    else
        SIM_CHECK(error == 0 || error == -ENOMEM);
    for (uint32_t i = 0; !error && i < count; i++)
        model->pages[first + i] = (struct model_page){.mapped = true, .prot = request.prot};
}

static void do_unmap(struct model *model, uint32_t first, uint32_t count)
{
    int error = aspace_unmap(model->aspace, address_of(first), (uint64_t)count * PAGE_SIZE);
    SIM_CHECK(error == 0 || error == -ENOMEM);
    for (uint32_t i = 0; !error && i < count; i++)
        model->pages[first + i] = (struct model_page){0};
}

static void do_protect(struct model *model, uint32_t first, uint32_t count)
{
    uint32_t prot = random_prot();
    int error = aspace_protect(model->aspace, address_of(first), (uint64_t)count * PAGE_SIZE, prot);
    SIM_CHECK(error == -ENOMEM || (error == 0 && all_mapped(model, first, count)));
    for (uint32_t i = 0; !error && i < count; i++)
        model->pages[first + i].prot = prot;
}

static void do_lock(struct model *model, uint32_t first, uint32_t count)
{
    bool lock = sim_chance(2);
    int error = aspace_set_flags(model->aspace, address_of(first), (uint64_t)count * PAGE_SIZE, lock ? REGION_LOCKED : 0,
                                 lock ? 0 : REGION_LOCKED);
    SIM_CHECK(error == -ENOMEM || (error == 0 && all_mapped(model, first, count)));
    for (uint32_t i = 0; !error && i < count; i++)
        model->pages[first + i].locked = lock;
}

/* A move onto a fixed place of the window, growing or shrinking a little. */
static void do_move(struct model *model, uint32_t first, uint32_t count)
{
    uint32_t new_count = 1 + sim_random(count + 2), to = sim_random(WINDOW - new_count);
    struct model_page old[WINDOW];
    uaddr_t result;
    int error;
    if (new_count > count && model->pages[first].mapped)
        new_count = count; /* what a grown memobj page holds is the object's business */
    error = aspace_remap(model->aspace, address_of(first), (uint64_t)count * PAGE_SIZE, (uint64_t)new_count * PAGE_SIZE, true, true,
                         false, address_of(to), &result);
    /* The simulated body moves nothing: the Linux tests do. */
    SIM_CHECK(error == 0 || error == -ENOMEM || error == -EINVAL || error == -EFAULT || error == -ENOSYS);
    if (error == -ENOMEM || error == -ENOSYS) { /* the tail may be gone already, as with Linux */
        for (uint32_t i = 0; i < WINDOW; i++)
            if (!aspace_find_locked(model->aspace, address_of(i)))
                model->pages[i] = (struct model_page){0};
        return;
    }
    if (error)
        return;
    for (uint32_t i = 0; i < count; i++) {
        old[i] = model->pages[first + i];
        model->pages[first + i] = (struct model_page){0};
    }
    for (uint32_t i = 0; i < new_count; i++)
        model->pages[to + i] = old[i];
}

static void do_write(struct model *model, uint32_t first)
{
    if (model->pages[first].mapped && model->pages[first].prot == READ_WRITE) {
        model->pages[first].value = ++model->next_value;
        sim_user_swap(address_of(first), model->next_value);
    }
}

static void random_requests(void *argument UNUSED)
{
    struct model model = {.aspace = thread_current()->task->aspace};
    sim_calm_begin();
    model.memobj = memobj_create((uint64_t)WINDOW * PAGE_SIZE);
    sim_calm_end();
    for (int turn = 0; turn < 40; turn++) {
        uint32_t count = 1 + sim_random(8), first = sim_random(WINDOW - count);
        switch (sim_random(8)) {
        case 0:
        case 1:
            do_map(&model, first, count);
            break;
        case 2:
            do_unmap(&model, first, count);
            break;
        case 3:
            do_protect(&model, first, count);
            break;
        case 4:
            do_lock(&model, first, count);
            break;
        case 5:
            do_move(&model, first, count);
            break;
        default:
            do_write(&model, first);
        }
        check_map(model.aspace);
    }
    check_pages(&model);
    object_unref(model.memobj);
}

static void in_task(void (*function)(void *))
{
    struct task *task = sim_user_task(1);
    sim_join(sim_spawn_in(task, function, NULL));
    object_unref(task);
    SIM_CHECK_EQUAL(aspace_total_committed(), 0);
}

SIM_TEST(region_map_agrees_with_a_model, .schedules = 1500, .cpus = 1) { in_task(random_requests); }
SIM_TEST(region_map_survives_failing_allocations, .schedules = 1500, .fail_allocations = true, .cpus = 1) { in_task(random_requests); }

/* --- placement --------------------------------------------------------------------------------------- */

static uaddr_t place(struct aspace *aspace, uint64_t size, uaddr_t hint)
{
    struct aspace_map_request request = {.address = hint, .size = size, .prot = PROT_READ_BIT};
    uaddr_t address = 0;
    SIM_CHECK_EQUAL(aspace_map(aspace, &request, &address), 0);
    return address;
}

static void placement(void *argument UNUSED)
{
    struct aspace *aspace = thread_current()->task->aspace;
    uaddr_t first = place(aspace, 4 * PAGE_SIZE, 0), second = place(aspace, 4 * PAGE_SIZE, 0), third = place(aspace, 4 * PAGE_SIZE, 0);
    sim_calm_begin();
    SIM_CHECK_EQUAL(first, aspace->high - 4 * PAGE_SIZE);
    SIM_CHECK_EQUAL(second, first - 4 * PAGE_SIZE);
    SIM_CHECK_EQUAL(third, second - 4 * PAGE_SIZE);
    SIM_CHECK_EQUAL(aspace_unmap(aspace, second, 4 * PAGE_SIZE), 0);
    SIM_CHECK_EQUAL(place(aspace, 5 * PAGE_SIZE, 0), third - 5 * PAGE_SIZE);
    SIM_CHECK_EQUAL(place(aspace, 3 * PAGE_SIZE, 0), first - 3 * PAGE_SIZE);
    SIM_CHECK_EQUAL(place(aspace, PAGE_SIZE, FIRST + 7 * PAGE_SIZE), FIRST + 7 * PAGE_SIZE);
    SIM_CHECK_EQUAL(place(aspace, PAGE_SIZE, FIRST + 7 * PAGE_SIZE), second);
    check_map(aspace);
    sim_calm_end();
}

SIM_TEST(places_are_taken_from_the_top, .schedules = 50) { in_task(placement); }

static void limits(void *argument UNUSED)
{
    struct aspace *aspace = thread_current()->task->aspace;
    struct aspace_map_request request = {.size = 4 * PAGE_SIZE, .prot = READ_WRITE};
    uaddr_t address;
    sim_calm_begin();
    aspace->commit_limit = aspace->committed_bytes + 4 * PAGE_SIZE;
    SIM_CHECK_EQUAL(aspace_map(aspace, &request, &address), 0);
    SIM_CHECK_EQUAL(aspace_map(aspace, &request, &address), -ENOMEM);
    request.prot = PROT_READ_BIT;
    SIM_CHECK_EQUAL(aspace_map(aspace, &request, &address), 0);
    SIM_CHECK_EQUAL(aspace_protect(aspace, address, request.size, READ_WRITE), -ENOMEM);
    aspace->commit_limit = UINT64_MAX;
    SIM_CHECK_EQUAL(aspace_protect(aspace, address, request.size, READ_WRITE), 0);
    request.address = 0;
    request.flags = ASPACE_FIXED;
    SIM_CHECK_EQUAL(aspace_map(aspace, &request, &address), -EPERM);
    request.address = aspace->ceiling;
    SIM_CHECK_EQUAL(aspace_map(aspace, &request, &address), -ENOMEM);
    check_map(aspace);
    sim_calm_end();
}

SIM_TEST(commit_limit_and_bounds_hold, .schedules = 20) { in_task(limits); }

/* The map may have 65530 regions and no more, and searches stay short: regions that need nothing of the body. */
static void many_regions(void *argument UNUSED)
{
    struct aspace *aspace = thread_current()->task->aspace;
    struct aspace_map_request request = {.size = PAGE_SIZE, .prot = PROT_READ_BIT};
    uaddr_t address;
    sim_calm_begin();
    for (uint32_t i = 0; aspace->region_count < ASPACE_REGIONS_MAX - 3; i++) {
        uint32_t scattered = (i * 40503u) & 0xffff;
        SIM_CHECK_EQUAL(aspace_add_body_region(aspace, FIRST + (uaddr_t)scattered * 2 * PAGE_SIZE, PAGE_SIZE, 0, "test"), 0);
    }
    check_map(aspace);
    aspace->high = aspace->low = FIRST + ((uaddr_t)1 << 17) * PAGE_SIZE;
    aspace->low = FIRST;
    SIM_CHECK_EQUAL(aspace_map(aspace, &request, &address), 0);
    SIM_CHECK_EQUAL(aspace_map(aspace, &request, &address), -ENOMEM);
    aspace->region_count -= 3; /* as if there were fewer */
    request.size = 2 * PAGE_SIZE + 16 * PAGE_SIZE;
    SIM_CHECK_EQUAL(aspace_map(aspace, &request, &address), -ENOMEM); /* no gap is so large */
    aspace->region_count += 3;
    sim_calm_end();
}

SIM_TEST(number_of_regions_is_bounded, .schedules = 1, .cpus = 1) { in_task(many_regions); }

/* --- fork -------------------------------------------------------------------------------------------- */

static void fork_copies(void *argument UNUSED)
{
    struct aspace *aspace = thread_current()->task->aspace, *child = aspace_create_bare();
    uaddr_t kept = place(aspace, PAGE_SIZE, FIRST), dropped = place(aspace, PAGE_SIZE, FIRST + 4 * PAGE_SIZE);
    int error;
    if (!child)
        return;
    sim_calm_begin();
    SIM_CHECK_EQUAL(aspace_set_flags(aspace, dropped, PAGE_SIZE, REGION_NO_FORK, 0), 0);
    SIM_CHECK_EQUAL(aspace_set_flags(aspace, kept, PAGE_SIZE, REGION_LOCKED, 0), 0);
    sim_calm_end();
    error = aspace_copy_regions(child, aspace);
    SIM_CHECK(error == 0 || error == -ENOMEM);
    if (!error) {
        SIM_CHECK(aspace_find_locked(child, kept) && !(aspace_find_locked(child, kept)->flags & REGION_LOCKED));
        SIM_CHECK(!aspace_find_locked(child, dropped));
    }
    object_unref(child);
}

SIM_TEST(fork_copies_regions_as_asked, .schedules = 300) { in_task(fork_copies); }
