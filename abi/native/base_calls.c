/*
 * Native calls about the calling thread, clocks and handles.
 */
#include "abi/native/native_calls.h"
#include "kernel/body.h"
#include "kernel/kqueue.h"
#include "kernel/port.h"
#include "kernel/thread.h"

#define SAME(right) ((uint32_t)RIGHT_##right == (uint32_t)HYLA_RIGHT_##right)
static_assert(SAME(READ) && SAME(WRITE) && SAME(MAP) && SAME(RESIZE) && SAME(SEND) && SAME(SEND_ONCE) && SAME(RECEIVE) && SAME(COPY) &&
                  SAME(TRANSFER) && SAME(MANAGE),
              "rights are the same inside and outside");

int64_t native_probe(void) { return NATIVE_VERSION; }

int64_t native_ids_get(struct hyla_ids *ids)
{
    struct user_ids own;

    user_ids_get(&own);
    *ids = (struct hyla_ids){.task = own.task, .thread = own.thread, .parent = own.parent,
                             .world = user_arrivals_known() ? HYLA_WORLD_ATTACHED : HYLA_WORLD_MANAGED};
    return 0;
}

int64_t native_clock_get(uint32_t clock, uint64_t *time)
{
    if (clock > HYLA_CLOCK_WALL)
        return -EINVAL;
    *time = body_now() + (clock == HYLA_CLOCK_WALL ? (uint64_t)body_wall_offset() : 0);
    return 0;
}

int64_t native_sleep(nanoseconds_t deadline)
{
    struct waitq nobody;

    waitq_init(&nobody);
    int error = waitq_sleep(&nobody, NULL, deadline, WAIT_INTERRUPTIBLE);
    return error == -ETIMEDOUT ? 0 : error;
}

/* --- handles ----------------------------------------------------------------------------------------- */

int64_t native_handle_close(handle_t handle) { return handle_close(native_handles(), handle); }

int64_t native_handle_copy(handle_t handle, uint32_t rights)
{
    handle_t copy;
    int error = handle_copy(native_handles(), handle, rights, &copy);
    return error ? error : (int64_t)copy;
}

static uint32_t kind_of(const struct object *object)
{
    if (object->type == &memobj_type)
        return HYLA_OBJECT_KIND_MEMOBJ;
    if (object->type == &timer_object_type)
        return HYLA_OBJECT_KIND_TIMER;
    if (object->type == &task_type)
        return HYLA_OBJECT_KIND_TASK;
    if (object->type == &port_type || object->type == &port_set_type || object->type == &port_reply_type)
        return HYLA_OBJECT_KIND_PORT;
    if (object->type == &kqueue_type)
        return HYLA_OBJECT_KIND_QUEUE;
    if (object->type == &port_pager_type)
        return HYLA_OBJECT_KIND_PAGER;
    if (object->type == &thread_control_type)
        return HYLA_OBJECT_KIND_THREAD;
    return HYLA_OBJECT_KIND_OTHER;
}

/* Tells two objects apart without telling where they are: the address, multiplied by an odd number nobody outside knows. */
static uint64_t name_of(const struct object *object)
{
    static struct atomic64 secret;
    uint64_t key = atomic64_load(&secret), fresh, none = 0;
    if (!key) {
        body_random(&fresh, sizeof fresh);
        atomic64_cas(&secret, &none, fresh | 1);
        key = atomic64_load(&secret);
    }
    return (uint64_t)(uintptr_t)object * key;
}

int64_t native_handle_info(handle_t handle, struct hyla_handle_info *info)
{
    struct handle_value value;
    int error = handle_get(native_handles(), handle, NULL, 0, &value);
    if (error)
        return error;
    *info = (struct hyla_handle_info){.kind = kind_of(value.object), .rights = value.rights, .badge = value.badge,
                                      .object = name_of(value.object), .handles = atomic32_load(&value.object->handles)};
    object_unref(value.object);
    return 0;
}
