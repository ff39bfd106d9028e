/*
 * Objects: one destroy, at the last reference; try_ref against it.
 */
#include "kernel/object.h"

#include "body/sim/sim.h"
#include "kernel/alloc.h"
#include "kernel/lock.h"

struct thing {
    struct object object;
    struct atomic32 *destroyed;
    struct atomic32 data; /* written relaxed before a reference is dropped */
};

struct registry {
    struct spinlock lock;
    struct thing *thing; /* without a reference; under lock */
    struct atomic32 destroyed;
};

static void thing_destroy(struct object *object)
{
    struct thing *thing = CONTAINER_OF(object, struct thing, object);
    atomic32_add(thing->destroyed, 1);
    kfree(thing);
}

static const struct object_type thing_type = {.name = "thing", .destroy = thing_destroy};

static struct thing *thing_make(struct atomic32 *destroyed)
{
    struct thing *thing = kzalloc(sizeof(*thing));
    object_init(&thing->object, &thing_type);
    thing->destroyed = destroyed;
    return thing;
}

static void take_and_drop(void *argument)
{
    struct thing *thing = argument;
    for (int i = 0; i < 4; i++) {
        object_ref(thing);
        atomic32_store_relaxed(&thing->data, (uint32_t)i);
        object_unref(thing);
    }
    object_unref(thing);
}

SIM_TEST(the_last_reference_destroys_once, .schedules = 4000)
{
    struct atomic32 destroyed = ATOMIC_INIT(0);
    uint64_t live = object_live_count();
    struct thing *thing = thing_make(&destroyed);
    struct sim_thread *threads[2];
    for (int i = 0; i < 2; i++)
        threads[i] = sim_spawn(take_and_drop, object_ref(thing));
    take_and_drop(thing);
    for (int i = 0; i < 2; i++)
        sim_join(threads[i]);
    SIM_CHECK_EQUAL(atomic32_load(&destroyed), 1);
    SIM_CHECK_EQUAL(object_live_count(), live);
}

static void registry_destroy(struct object *object)
{
    thing_destroy(object);
}

static void find_and_drop(void *argument)
{
    struct registry *registry = argument;
    spin_lock(&registry->lock);
    struct thing *thing = registry->thing;
    if (thing && !object_try_ref(thing))
        thing = NULL;
    spin_unlock(&registry->lock);
    if (!thing)
        return;
    SIM_CHECK_EQUAL(atomic32_load(&registry->destroyed), 0);
    object_unref(thing);
}

static void drop_from_registry(struct object *object);
static const struct object_type registered_type = {.name = "registered", .destroy = drop_from_registry};
static struct registry *the_registry;

static void drop_from_registry(struct object *object)
{
    spin_lock(&the_registry->lock);
    the_registry->thing = NULL;
    spin_unlock(&the_registry->lock);
    registry_destroy(object);
}

SIM_TEST(try_ref_never_revives_a_dying_object, .schedules = 5000)
{
    struct registry registry = {.lock = SPINLOCK_INIT(RANK_WAITQ)};
    the_registry = &registry;
    struct thing *thing = thing_make(&registry.destroyed);
    thing->object.type = &registered_type;
    registry.thing = thing;
    struct sim_thread *threads[2] = {sim_spawn(find_and_drop, &registry), sim_spawn(find_and_drop, &registry)};
    object_unref(thing);
    sim_join(threads[0]);
    sim_join(threads[1]);
    SIM_CHECK_EQUAL(atomic32_load(&registry.destroyed), 1);
}

SIM_TEST(unref_of_nothing_is_fine, .schedules = 1) { object_unref(NULL); }
