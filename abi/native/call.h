/*
 * The native calls as C sees them: what tools/gen_native.py makes of the table in calls/, and the door into it.
 *
 *   native_call        number and six registers in, the answer out; for threads of any ABI
 *   native_FUNCTION    the handlers (native_calls.h): arguments looked up, copied in and checked by generated wrappers,
 *                      which also copy out and drop references
 *
 * A handler answers a negated errno. -EINTR of a call that restarts becomes -ERESTARTSYS: whose ABI the thread has decides.
 */
#ifndef ABI_NATIVE_CALL_H
#define ABI_NATIVE_CALL_H

#include "kernel/errno.h"
#include "kernel/handle.h"
#include "kernel/memobj.h"
#include "kernel/task.h"
#include "kernel/user.h"

#include <hyla/numbers.h>
#include <hyla/types.h>

#define NATIVE_FIRST HYLA_CALL_FIRST
#define NATIVE_LIMIT HYLA_CALL_LIMIT
#define NATIVE_VERSION 0x48590001 /* "HY", major 0, minor 1 */

typedef int64_t native_function(const uint64_t arguments[6]);
extern native_function *const native_functions[NATIVE_LIMIT - NATIVE_FIRST];

/* --- for tracing ------------------------------------------------------------------------------------- */

enum native_argument_kind {
    NATIVE_ARG_INT,
    NATIVE_ARG_UINT,
    NATIVE_ARG_DEADLINE,
    NATIVE_ARG_HANDLE,
    NATIVE_ARG_STRING,
    NATIVE_ARG_ADDRESS,
    NATIVE_ARG_BYTES_IN,
    NATIVE_ARG_BYTES_OUT,
    NATIVE_ARG_STRUCT_IN,
    NATIVE_ARG_STRUCT_OUT,
    NATIVE_ARG_STRUCT_INOUT,
    NATIVE_ARG_WORDS, /* in registers */
};

struct native_field {
    const char *name;
    uint16_t offset;
    uint8_t size, count;
};

struct native_argument {
    const char *name;
    uint8_t kind; /* enum native_argument_kind */
    uint8_t other; /* of a buffer: the argument that says how much */
    const struct native_field *fields; /* of a structure; ended by a NULL name */
};

enum native_row_flags { NATIVE_BLOCKS = 1, NATIVE_RESTARTS = 2, NATIVE_ATTACHED = 4 };

struct native_row {
    const char *name; /* NULL: no such call */
    uint8_t flags;
    uint8_t argument_count;
    struct native_argument arguments[6];
};
extern const struct native_row native_rows[NATIVE_LIMIT - NATIVE_FIRST];

/* As struct abi_calls has them. */
int64_t native_call(uint64_t number, const uint64_t arguments[6]);
size_t native_show(uint64_t number, const uint64_t arguments[6], bool after, char *text, size_t size);
/* For a server with another primary ABI: its threads may make native calls as well. */
void native_calls_register(void);

/* --- for wrappers and handlers ----------------------------------------------------------------------- */

/* The calling thread's handles. */
struct handle_table *native_handles(void);
void native_drop(struct object *const *held, uint32_t count);
static inline int64_t native_undo(int64_t error, struct object *const *held, uint32_t count)
{
    native_drop(held, count);
    return error;
}
/* From a handler of a call that restarts: this interruption is the answer, and it is not to be made again. */
#define NATIVE_FINAL_EINTR (-4095)
static inline int64_t native_restart(int64_t result)
{
    return result == -EINTR ? -ERESTARTSYS : result == NATIVE_FINAL_EINTR ? -EINTR : result;
}
/* Makes a handle to a fresh object and gives up the caller's reference to it: the handle, or an error. NULL: -ENOMEM. */
int64_t native_handle_new(struct object *object, uint32_t rights);

extern const struct object_type timer_object_type, kqueue_type, port_pager_type, port_type, thread_control_type;

/* The calling thread's task. */
struct task *native_task_current(void);

#endif
