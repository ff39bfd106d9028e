/*
 * Handle tables: names, rights, limits, reservation, and what becomes of the last handle.
 */
#include "kernel/handle.h"

#include "body/sim/sim.h"
#include "kernel/alloc.h"
#include "kernel/errno.h"

struct thing {
    struct object object;
    struct atomic32 orphaned;
};

static void thing_destroy(struct object *object) { kfree(CONTAINER_OF(object, struct thing, object)); }

static void thing_orphaned(struct object *object)
{
    atomic32_add(&CONTAINER_OF(object, struct thing, object)->orphaned, 1);
}

static const struct object_type thing_type = {.name = "thing", .destroy = thing_destroy, .no_handles = thing_orphaned};
static const struct object_type other_type = {.name = "other", .destroy = thing_destroy};

static struct thing *thing_make(void)
{
    sim_calm_begin();
    struct thing *thing = kzalloc(sizeof(*thing));
    sim_calm_end();
    object_init(&thing->object, &thing_type);
    return thing;
}

static int insert(struct handle_table *table, struct thing *thing, uint32_t rights, handle_t *handle)
{
    struct handle_value value = {.object = object_ref(thing), .rights = rights, .badge = 7};
    int error = handle_insert(table, &value, handle);
    if (error)
        object_unref(thing);
    return error;
}

SIM_TEST(a_handle_names_an_object_with_rights, .schedules = 50)
{
    struct handle_table table;
    struct handle_value value;
    handle_t handle;
    handle_table_init(&table, 100);
    struct thing *thing = thing_make();
    SIM_CHECK_EQUAL(insert(&table, thing, RIGHT_READ | RIGHT_COPY, &handle), 0);
    SIM_CHECK(handle != HANDLE_NONE);
    SIM_CHECK_EQUAL(handle_get(&table, handle, &thing_type, RIGHT_READ, &value), 0);
    SIM_CHECK(value.object == &thing->object && value.badge == 7);
    object_unref(value.object);
    SIM_CHECK_EQUAL(handle_get(&table, handle, &thing_type, RIGHT_WRITE, &value), -EACCES);
    SIM_CHECK_EQUAL(handle_get(&table, handle, &other_type, RIGHT_READ, &value), -EINVAL);
    SIM_CHECK_EQUAL(handle_get(&table, handle + 1, NULL, 0, &value), -EBADF);
    SIM_CHECK_EQUAL(handle_get(&table, HANDLE_NONE, NULL, 0, &value), -EBADF);
    SIM_CHECK_EQUAL(handle_get(&table, UINT32_MAX, NULL, 0, &value), -EBADF);
    handle_table_destroy(&table);
    SIM_CHECK_EQUAL(atomic32_load(&thing->orphaned), 1);
    object_unref(thing);
}

SIM_TEST(a_stale_handle_fails_when_its_slot_is_used_again, .schedules = 50)
{
    struct handle_table table;
    struct handle_value value;
    handle_t first, second;
    handle_table_init(&table, 100);
    struct thing *thing = thing_make();
    insert(&table, thing, RIGHT_READ, &first);
    SIM_CHECK_EQUAL(handle_close(&table, first), 0);
    SIM_CHECK_EQUAL(handle_close(&table, first), -EBADF);
    insert(&table, thing, RIGHT_READ, &second);
    SIM_CHECK(first != second && (first & 0xffff) == (second & 0xffff));
    SIM_CHECK_EQUAL(handle_get(&table, first, NULL, 0, &value), -EBADF);
    handle_table_destroy(&table);
    object_unref(thing);
}

SIM_TEST(a_copy_has_at_most_the_rights_of_its_original, .schedules = 50)
{
    struct handle_table table;
    struct handle_value value;
    handle_t handle, copy, again;
    handle_table_init(&table, 100);
    struct thing *thing = thing_make();
    insert(&table, thing, RIGHT_READ | RIGHT_COPY, &handle);
    SIM_CHECK_EQUAL(handle_copy(&table, handle, RIGHT_READ | RIGHT_WRITE, &copy), 0);
    SIM_CHECK_EQUAL(handle_get(&table, copy, NULL, RIGHT_WRITE, &value), -EACCES);
    SIM_CHECK_EQUAL(handle_copy(&table, copy, RIGHT_READ, &again), -EACCES);
    SIM_CHECK_EQUAL(handle_close(&table, handle), 0);
    SIM_CHECK_EQUAL(atomic32_load(&thing->orphaned), 0);
    SIM_CHECK_EQUAL(handle_close(&table, copy), 0);
    SIM_CHECK_EQUAL(atomic32_load(&thing->orphaned), 1);
    handle_table_destroy(&table);
    object_unref(thing);
}

SIM_TEST(the_limit_holds_and_a_reservation_cannot_fail, .schedules = 50)
{
    struct handle_table table;
    handle_t handle;
    handle_table_init(&table, 20);
    struct thing *thing = thing_make();
    SIM_CHECK_EQUAL(handle_reserve(&table, 21), -EMFILE);
    SIM_CHECK_EQUAL(handle_reserve(&table, 5), 0);
    uint32_t inserted = 0;
    while (insert(&table, thing, RIGHT_READ, &handle) == 0)
        inserted++;
    SIM_CHECK_EQUAL(inserted, 15);
    for (int i = 0; i < 4; i++) {
        struct handle_value value = {.object = object_ref(thing), .rights = RIGHT_READ};
        SIM_CHECK(handle_insert_reserved(&table, &value) != HANDLE_NONE);
    }
    handle_unreserve(&table, 1);
    SIM_CHECK_EQUAL(insert(&table, thing, RIGHT_READ, &handle), 0);
    SIM_CHECK_EQUAL(insert(&table, thing, RIGHT_READ, &handle), -EMFILE);
    handle_table_destroy(&table);
    object_unref(thing);
}

SIM_TEST(moving_the_only_handle_does_not_orphan, .schedules = 50)
{
    struct handle_table from, to;
    struct handle_value value;
    handle_t handle;
    handle_table_init(&from, 10);
    handle_table_init(&to, 10);
    struct thing *thing = thing_make();
    insert(&from, thing, RIGHT_READ, &handle);
    SIM_CHECK_EQUAL(handle_take(&from, handle, &value), 0);
    SIM_CHECK_EQUAL(handle_insert(&to, &value, &handle), 0);
    handle_dropped(&value);
    SIM_CHECK_EQUAL(atomic32_load(&thing->orphaned), 0);
    handle_table_destroy(&to);
    SIM_CHECK_EQUAL(atomic32_load(&thing->orphaned), 1);
    handle_table_destroy(&from);
    object_unref(thing);
}

SIM_TEST(a_clone_has_the_copyable_handles_at_the_same_values, .schedules = 200, .fail_allocations = true)
{
    struct handle_table from, to;
    struct handle_value value;
    handle_t handles[3];
    handle_table_init(&from, 100);
    handle_table_init(&to, 100);
    struct thing *thing = thing_make();
    sim_calm_begin();
    insert(&from, thing, RIGHT_READ | RIGHT_COPY, &handles[0]);
    insert(&from, thing, RIGHT_READ, &handles[1]);
    insert(&from, thing, RIGHT_READ | RIGHT_COPY, &handles[2]);
    sim_calm_end();
    if (handle_table_clone(&to, &from) == 0) {
        SIM_CHECK_EQUAL(handle_get(&to, handles[1], NULL, 0, &value), -EBADF);
        SIM_CHECK_EQUAL(handle_get(&to, handles[2], NULL, 0, &value), 0);
        object_unref(value.object);
        SIM_CHECK_EQUAL(insert(&to, thing, RIGHT_READ, &handles[1]), 0); /* in the gap */
    }
    handle_table_destroy(&from);
    handle_table_destroy(&to);
    object_unref(thing);
}

struct shared_table {
    struct handle_table table;
    struct thing *thing;
};

static void use_table(void *argument)
{
    struct shared_table *shared = argument;
    handle_t handles[4];
    for (int i = 0; i < 4; i++) {
        if (insert(&shared->table, shared->thing, RIGHT_READ | RIGHT_COPY, &handles[i]))
            handles[i] = HANDLE_NONE;
        handle_t copy;
        if (sim_chance(2) && handle_copy(&shared->table, handles[i], RIGHT_READ, &copy) == 0)
            SIM_CHECK_EQUAL(handle_close(&shared->table, copy), 0);
    }
    for (int i = 0; i < 4; i++)
        SIM_CHECK_EQUAL(handle_close(&shared->table, handles[i]), handles[i] == HANDLE_NONE ? -EBADF : 0);
}

SIM_TEST(tables_survive_parallel_use_and_no_memory, .schedules = 3000, .fail_allocations = true)
{
    struct shared_table shared = {.thing = thing_make()};
    handle_table_init(&shared.table, 100);
    struct sim_thread *threads[2] = {sim_spawn(use_table, &shared), sim_spawn(use_table, &shared)};
    sim_join(threads[0]);
    sim_join(threads[1]);
    SIM_CHECK_EQUAL(shared.table.used, 0);
    SIM_CHECK_EQUAL(shared.table.reserved, 0);
    handle_table_destroy(&shared.table);
    SIM_CHECK_EQUAL(atomic32_load(&shared.thing->object.references), 1);
    object_unref(shared.thing);
}

/* --- handles on their way -------------------------------------------------------------------------------- */

static void transfers_of(struct handle_table *table, struct thing *thing, struct handle_transfer *transfers)
{
    for (int i = 0; i < 3; i++) {
        transfers[i] = (struct handle_transfer){.rights = RIGHT_READ, .move = i != 1};
        SIM_CHECK_EQUAL(insert(table, thing, RIGHT_READ | RIGHT_WRITE | RIGHT_COPY | RIGHT_TRANSFER, &transfers[i].handle), 0);
    }
}

static uint32_t handles_of(struct thing *thing) { return atomic32_load(&thing->object.handles); }

SIM_TEST(handles_on_their_way_come_back_as_they_were, .schedules = 50)
{
    struct handle_table table;
    struct handle_transfer transfers[3];
    struct handle_value value;
    uint32_t kept;
    handle_t other;
    handle_table_init(&table, 100);
    struct thing *thing = thing_make();
    transfers_of(&table, thing, transfers);
    SIM_CHECK_EQUAL(handle_detach(&table, transfers, 3, &kept), 0);
    SIM_CHECK_EQUAL(handle_get(&table, transfers[0].handle, NULL, 0, &value), -EBADF);
    SIM_CHECK_EQUAL(handle_get(&table, transfers[1].handle, NULL, 0, &value), 0);
    object_unref(value.object);
    insert(&table, thing, RIGHT_READ, &other);
    SIM_CHECK(other != transfers[0].handle && other != transfers[2].handle);
    handle_detach_abort(&table, transfers, 3, kept);
    SIM_CHECK_EQUAL(handle_get(&table, transfers[2].handle, NULL, RIGHT_WRITE, &value), 0);
    object_unref(value.object);
    SIM_CHECK_EQUAL(handles_of(thing), 4);
    SIM_CHECK_EQUAL(handle_detach(&table, transfers, 3, &kept), 0);
    handle_detach_commit(&table, kept);
    SIM_CHECK_EQUAL(handle_reserve(&table, 3), 0);
    handle_attach_reserved(&table, transfers, 3);
    SIM_CHECK_EQUAL(handle_get(&table, transfers[2].handle, NULL, RIGHT_WRITE, &value), -EACCES);
    SIM_CHECK_EQUAL(transfers[2].rights, RIGHT_READ);
    SIM_CHECK_EQUAL(handles_of(thing), 5);
    handle_table_destroy(&table);
    object_unref(thing);
}

/* As the end of a task does it while one of its threads is in the middle of a message. */
static void empty_for_good(struct handle_table *table)
{
    mutex_lock(&table->mutex);
    struct handle_table old = {.slots = table->slots, .size = table->size};
    table->slots = NULL;
    table->size = table->used = table->limit = 0;
    mutex_unlock(&table->mutex);
    handle_table_destroy(&old);
}

SIM_TEST(a_table_emptied_for_good_takes_nothing_back, .schedules = 50)
{
    struct handle_table table;
    struct handle_transfer transfers[3];
    uint32_t kept;
    handle_table_init(&table, 100);
    struct thing *thing = thing_make();
    transfers_of(&table, thing, transfers);
    SIM_CHECK_EQUAL(handle_reserve(&table, 4), 0);
    SIM_CHECK_EQUAL(handle_detach(&table, transfers, 3, &kept), 0);
    empty_for_good(&table);
    SIM_CHECK_EQUAL(handles_of(thing), 3);
    if (sim_chance(2)) {
        handle_detach_abort(&table, transfers, 3, kept);
    } else {
        handle_detach_commit(&table, kept);
        handle_attach_reserved(&table, transfers, 3);
        SIM_CHECK_EQUAL(transfers[0].handle, HANDLE_NONE);
    }
    struct handle_value value = {.object = object_ref(thing), .rights = RIGHT_READ};
    SIM_CHECK_EQUAL(handle_insert_reserved(&table, &value), HANDLE_NONE);
    handle_unreserve(&table, 1);
    SIM_CHECK_EQUAL(handles_of(thing), 0);
    handle_table_destroy(&table);
    object_unref(thing);
}
