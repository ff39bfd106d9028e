/*
 * Handle tables: a task's names for objects. A handle is process-local, never a pointer, never global:
 * slot index and a generation, so that a stale handle fails instead of naming something else.
 */
#ifndef KERNEL_HANDLE_H
#define KERNEL_HANDLE_H

#include "kernel/lock.h"
#include "kernel/object.h"

typedef uint32_t handle_t;
#define HANDLE_NONE 0u
#define HANDLES_MAX 65536u
#define HANDLES_KEPT_NONE UINT32_MAX

enum handle_rights {
    RIGHT_READ = 1 << 0,
    RIGHT_WRITE = 1 << 1,
    RIGHT_MAP = 1 << 2,
    RIGHT_RESIZE = 1 << 3,
    RIGHT_SEND = 1 << 4,
    RIGHT_SEND_ONCE = 1 << 5,
    RIGHT_RECEIVE = 1 << 6,
    RIGHT_COPY = 1 << 7,     /* may be duplicated */
    RIGHT_TRANSFER = 1 << 8, /* may travel in a message */
    RIGHT_MANAGE = 1 << 9,   /* threads, tasks: start, stop, destroy */
};

struct handle_slot {
    struct object *object; /* NULL: free */
    uint64_t badge;        /* what a send right says of its holder */
    uint32_t rights;
    uint16_t generation;
    uint32_t next_free;
};

struct handle_table {
    struct mutex mutex;
    /* under mutex */
    struct handle_slot *slots;
    uint32_t size;
    uint32_t used;
    uint32_t reserved;
    uint32_t first_free;
    uint32_t limit;
};

/* What a handle names, taken out of the table: holds a reference. */
struct handle_value {
    struct object *object;
    uint64_t badge;
    uint32_t rights;
};

/* One handle of a message. */
struct handle_transfer {
    handle_t handle;           /* the sender's; then the receiver's */
    uint32_t rights;           /* asked for; then carried */
    bool move;                 /* else a copy */
    struct handle_value value; /* on the way: a reference, and counted in object->handles */
};

void handle_table_init(struct handle_table *table, uint32_t limit);
/* Closes everything. Nobody else uses the table any more. */
void handle_table_destroy(struct handle_table *table);
/* Closes everything that is in it now, for a task that has ended but is still named by others: what comes later is refused. */
void handle_table_clear(struct handle_table *table);
/* Takes over the value's reference on success. 0, -EMFILE, -ENOMEM. */
int handle_insert(struct handle_table *table, const struct handle_value *value, handle_t *handle);
/* Reserve n slots so that later handle_insert_reserved cannot fail. 0, -EMFILE, -ENOMEM. */
int handle_reserve(struct handle_table *table, uint32_t count);
void handle_unreserve(struct handle_table *table, uint32_t count);
/* HANDLE_NONE when the table was emptied for good meanwhile: the value is closed. */
handle_t handle_insert_reserved(struct handle_table *table, const struct handle_value *value);
/* Looks up with a type and the rights that must be there: a reference in *value. -EBADF, -EACCES, -EINVAL (type). */
int handle_get(struct handle_table *table, handle_t handle, const struct object_type *type, uint32_t rights,
               struct handle_value *value);
/*
 * Removes from the table: the reference moves to *value. -EBADF. object->handles still counts it, so that an object
 * on its way to another table does not see its last handle go: once it is inserted there, or given up, the caller calls
 * handle_dropped with that value.
 */
int handle_take(struct handle_table *table, handle_t handle, struct handle_value *value);
/* The same, when handle_get with that type and these rights would succeed; else its errors. */
int handle_take_if(struct handle_table *table, handle_t handle, const struct object_type *type, uint32_t rights,
                   struct handle_value *value);
/* -EBADF. */
int handle_close(struct handle_table *table, handle_t handle);
/* A second handle with at most the first's rights. -EBADF, -EACCES (no RIGHT_COPY), -EMFILE, -ENOMEM. */
int handle_copy(struct handle_table *table, handle_t handle, uint32_t rights, handle_t *copy);
/* One handle fewer: tells the type, which may do much. The caller keeps the value's reference, and holds no lock. */
void handle_dropped(const struct handle_value *value);
/* The same, and drops the reference. */
void handle_value_close(const struct handle_value *value);

/*
 * Handles for a message, all or none: each needs RIGHT_TRANSFER, and RIGHT_COPY unless it is moved. A copy gets at most
 * `rights`; so does what is moved, but its RIGHT_SEND, RIGHT_SEND_ONCE and RIGHT_RECEIVE cannot be taken off it. The slots of
 * moved handles are kept, empty, under *kept, until one of the next two is called. -EBADF (also a handle moved and then named
 * again), -EACCES.
 */
int handle_detach(struct handle_table *table, struct handle_transfer *transfers, uint32_t count, uint32_t *kept);
/* The handles are gone for good. */
void handle_detach_commit(struct handle_table *table, uint32_t kept);
/* They are back, under the numbers they had; copies are dropped. */
void handle_detach_abort(struct handle_table *table, struct handle_transfer *transfers, uint32_t count, uint32_t kept);
/* Puts them into slots that were reserved, and tells the new handles. In a table that was emptied for good they are closed. */
void handle_attach_reserved(struct handle_table *table, struct handle_transfer *transfers, uint32_t count);
/* For fork: `to` becomes a copy of `from`'s copyable handles at the same values. 0 or -ENOMEM. */
int handle_table_clone(struct handle_table *to, struct handle_table *from);

#endif
