/*
 * Reference-counted objects. Every kernel object begins with struct object; its type says how it dies.
 */
#ifndef KERNEL_OBJECT_H
#define KERNEL_OBJECT_H

#include "kernel/atomic.h"

struct object;
struct handle_table;

struct object_type {
    const char *name;
    /* The last reference is gone. May be called in any thread; with no spinlock held. */
    void (*destroy)(struct object *object);
    /* The last handle (not reference) to it was closed, or NULL. */
    void (*no_handles)(struct object *object);
    /*
     * For types that count their rights; may be NULL. A handle with these rights came into the table, whose mutex is held: only
     * spinlocks, and no destroy. And one was closed or, on its way in a message, given up: no lock is held.
     */
    void (*right_added)(struct object *object, struct handle_table *table, uint32_t rights, uint64_t badge);
    void (*right_dropped)(struct object *object, uint32_t rights, uint64_t badge);
};

struct object {
    const struct object_type *type;
    struct atomic32 references;
    struct atomic32 handles;
};

/* One reference, for the caller. */
void object_init(struct object *object, const struct object_type *type);
/* Takes another reference. The caller has one. Returns the object. */
void *object_ref(void *object);
/* Takes a reference unless the object is dying. For tables that hold no reference themselves. */
bool object_try_ref(void *object);
/* Drops a reference; NULL is fine. May run the type's destroy. */
void object_unref(void *object);
/*
 * The two halves of object_unref, for those who may not run a destroy where they are: true when the reference
 * was the last; object_destroy must then be called, in a context where the type's destroy may run.
 */
bool object_unref_last(void *object);
void object_destroy(void *object);
/* Live objects of all types: for leak checks. */
uint64_t object_live_count(void);

#endif
