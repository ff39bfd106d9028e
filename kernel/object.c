/*
 * Reference counts, and the count of all live objects for leak checks.
 *
 * The count of references is the only thing that keeps an object: the thread that takes it to zero runs
 * the type's destroy, at once, in its own context. Dropping is sequentially consistent, so everything the
 * other holders did to the object has happened before destroy looks at it.
 */
#include "kernel/object.h"

#include "kernel/assert.h"

#define REFERENCES_MAX (UINT32_MAX / 2)

static struct atomic64 live_objects;

void object_init(struct object *object, const struct object_type *type)
{
    KASSERT(type->destroy);
    object->type = type;
    object->references = (struct atomic32)ATOMIC_INIT(1);
    object->handles = (struct atomic32)ATOMIC_INIT(0);
    atomic64_add_relaxed(&live_objects, 1);
}

void *object_ref(void *pointer)
{
    struct object *object = pointer;
    uint32_t before = atomic32_add_relaxed(&object->references, 1);
    KASSERT(before > 0 && before < REFERENCES_MAX);
    return pointer;
}

bool object_try_ref(void *pointer)
{
    struct object *object = pointer;
    uint32_t count = atomic32_load_relaxed(&object->references);
    while (count > 0) {
        KASSERT(count < REFERENCES_MAX);
        if (atomic32_cas(&object->references, &count, count + 1))
            return true;
    }
    return false;
}

bool object_unref_last(void *pointer)
{
    struct object *object = pointer;
    uint32_t before = atomic32_sub(&object->references, 1);
    KASSERT(before > 0 && before < REFERENCES_MAX);
    return before == 1;
}

void object_destroy(void *pointer)
{
    struct object *object = pointer;
    KASSERT(atomic32_load_relaxed(&object->references) == 0);
    atomic64_sub(&live_objects, 1);
    object->type->destroy(object);
}

void object_unref(void *pointer)
{
    if (pointer && object_unref_last(pointer))
        object_destroy(pointer);
}

uint64_t object_live_count(void) { return atomic64_load_relaxed(&live_objects); }
