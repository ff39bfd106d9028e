/*
 * Names: how programs that know nothing of each other find a port. A flat table for the whole server; what more a system wants, a
 * program behind a port can give.
 *
 * The send rights lie in a handle table of their own, so that they count as rights like any others. A name whose port is dead is as
 * good as withdrawn.
 */
#include "abi/native/native_calls.h"
#include "abi/native/task.h"
#include "kernel/alloc.h"
#include "kernel/port.h"
#include "kernel/string.h"

#define NAMES_MAX 1024u

struct name {
    struct list link;
    const struct task *owner; /* compared only; native_names_forget comes before it goes */
    handle_t handle;          /* in `rights` */
    char text[];
};

static struct {
    struct mutex mutex; /* rank NATIVE_NAMES; guards the rest */
    struct list list;
    uint32_t count;
    bool ready;
    struct handle_table rights;
} names = {.mutex = {.state_lock = SPINLOCK_INIT(RANK_WAITQ), .waiters = {&names.mutex.waiters, &names.mutex.waiters}, .rank = RANK_NATIVE_NAMES},
           .list = {&names.list, &names.list}};

static void lock_names(void)
{
    mutex_lock(&names.mutex);
    if (!names.ready)
        handle_table_init(&names.rights, NAMES_MAX);
    names.ready = true;
}

static bool is_dead(handle_t handle)
{
    struct handle_value value;
    if (handle_get(&names.rights, handle, &port_type, RIGHT_SEND, &value))
        return true;
    bool dead = port_events(value.object) & EVENT_CLOSED;
    object_unref(value.object);
    return dead;
}

static struct name *find_locked(const char *text)
{
    LIST_FOR_EACH (link, &names.list) {
        struct name *name = LIST_ENTRY(link, struct name, link);
        if (!strcmp(name->text, text))
            return name;
    }
    return NULL;
}

/* Off the list: to be given to drop() without the mutex, since the last right may tell somebody. */
static struct name *unlink_locked(struct name *name)
{
    list_remove(&name->link);
    names.count--;
    return name;
}

static void drop(struct name *name)
{
    if (!name)
        return;
    handle_close(&names.rights, name->handle);
    kfree(name);
}

static int publish_locked(struct name *name, const struct handle_value *right, struct name **old)
{
    struct name *found = find_locked(name->text);
    if (found && !is_dead(found->handle))
        return -EEXIST;
    if (found)
        *old = unlink_locked(found);
    if (names.count >= NAMES_MAX)
        return -ENOSPC;
    int error = handle_insert(&names.rights, right, &name->handle);
    if (error)
        return error == -EMFILE ? -ENOSPC : error;
    list_push_back(&names.list, &name->link);
    names.count++;
    return 0;
}

int64_t native_name_publish(const char *text, handle_t send)
{
    struct handle_value right;
    struct name *old = NULL, *name;
    size_t length = strlen(text) + 1;
    int error = length > 1 ? handle_get(native_handles(), send, &port_type, RIGHT_SEND | RIGHT_COPY, &right) : -EINVAL;
    if (error)
        return error;
    name = kzalloc(sizeof *name + length);
    error = name ? 0 : -ENOMEM;
    if (!error) {
        memcpy(name->text, text, length);
        name->owner = native_task_current();
        lock_names();
        error = publish_locked(name, &right, &old);
        mutex_unlock(&names.mutex);
    }
    if (error) {
        object_unref(right.object);
        kfree(name);
    }
    drop(old);
    return error;
}

int64_t native_name_find(const char *text)
{
    struct handle_value right;
    handle_t handle = HANDLE_NONE;
    lock_names();
    const struct name *name = find_locked(text);
    int error = name && !is_dead(name->handle) ? handle_get(&names.rights, name->handle, &port_type, RIGHT_SEND, &right) : -ENOENT;
    mutex_unlock(&names.mutex);
    if (error)
        return -ENOENT;
    error = handle_insert(native_handles(), &right, &handle);
    if (error)
        object_unref(right.object);
    return error ? error : (int64_t)handle;
}

int64_t native_name_withdraw(const char *text)
{
    lock_names();
    struct name *name = find_locked(text);
    int error = !name ? -ENOENT : name->owner != native_task_current() ? -EPERM : 0;
    if (!error)
        unlink_locked(name);
    mutex_unlock(&names.mutex);
    drop(error ? NULL : name);
    return error;
}

static struct name *one_of_locked(const struct task *task)
{
    LIST_FOR_EACH (link, &names.list)
        if (LIST_ENTRY(link, struct name, link)->owner == task)
            return unlink_locked(LIST_ENTRY(link, struct name, link));
    return NULL;
}

void native_names_forget(const struct task *task)
{
    struct name *name;
    do {
        lock_names();
        name = one_of_locked(task);
        mutex_unlock(&names.mutex);
        drop(name);
    } while (name);
}
