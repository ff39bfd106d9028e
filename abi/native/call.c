/*
 * The door of the native calls, and what every handler needs.
 */
#include "abi/native/task.h"

#include "kernel/thread.h"

int64_t native_call(uint64_t number, const uint64_t arguments[6])
{
    if (number < NATIVE_FIRST || number >= NATIVE_LIMIT || !native_functions[number - NATIVE_FIRST])
        return -ENOSYS;
    return native_functions[number - NATIVE_FIRST](arguments);
}

static const struct abi_calls native_calls = {.first = NATIVE_FIRST, .end = NATIVE_LIMIT, .call = native_call, .show = native_show,
                                             .task_ended = native_names_forget};

void native_calls_register(void) { abi_register_calls(&native_calls); }

struct task *native_task_current(void) { return thread_current()->task; }
struct handle_table *native_handles(void) { return &native_task_current()->handles; }

void native_drop(struct object *const *held, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        object_unref(held[i]);
}

int64_t native_handle_new(struct object *object, uint32_t rights)
{
    struct handle_value value = {.object = object, .rights = rights};
    handle_t handle;

    if (!object)
        return -ENOMEM;
    int error = handle_insert(native_handles(), &value, &handle);
    if (error)
        object_unref(object);
    return error ? error : (int64_t)handle;
}
