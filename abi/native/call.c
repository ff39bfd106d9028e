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

/* The first argument of one of two kinds, or a buffer's. */
static bool native_hint(uint64_t number, enum native_argument_kind bytes, enum native_argument_kind structure, uint32_t *pointer, uint32_t *length)
{
    const struct native_row *row = &native_rows[number - NATIVE_FIRST];
    for (uint32_t i = 0; row->name && i < row->argument_count; i++) {
        enum native_argument_kind kind = row->arguments[i].kind;
        if (kind != bytes && kind != structure && kind != NATIVE_ARG_STRUCT_INOUT)
            continue;
        *pointer = i;
        *length = kind == bytes ? row->arguments[i].other : i;
        return true;
    }
    return false;
}

static bool native_call_reads(uint64_t number, uint32_t *pointer, uint32_t *length)
{
    return native_hint(number, NATIVE_ARG_BYTES_IN, NATIVE_ARG_STRUCT_IN, pointer, length);
}

static bool native_call_writes(uint64_t number, uint32_t *pointer, uint32_t *length)
{
    return native_hint(number, NATIVE_ARG_BYTES_OUT, NATIVE_ARG_STRUCT_OUT, pointer, length);
}

static const struct abi_calls native_calls = {.first = NATIVE_FIRST, .end = NATIVE_LIMIT, .call = native_call, .call_reads = native_call_reads, .call_writes = native_call_writes,
                                             .show = native_show,
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
