/*
 * inotify instances: descriptors from which one reads what happened to watched files (inotify(7)).
 *
 * Events queue up, equal ones that follow each other count once, and past INOTIFY_QUEUE_MAX one IN_Q_OVERFLOW stands for the
 * rest. A read gives whole events, as many as fit. Instances and watches are limited per user, as the files in
 * /proc/sys/fs/inotify say. What is watched, and how it is told: inotify_watch.c.
 */
#include "abi/linux/inotify.h"

#include "abi/linux/anon.h"
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { LINUX_FIONREAD = 0x541b };
#define NAME_UNIT 16u /* names are filled up to a multiple of this: the size of an event without one */
#define WATCH_BITS (NOTIFY_ALL | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | \
                    IN_MASK_ADD | IN_ISDIR | IN_ONESHOT)

_Static_assert(sizeof(struct linux_inotify_event) == NAME_UNIT, "struct inotify_event");

struct mutex inotify_mutex;
struct list inotify_instances = {&inotify_instances, &inotify_instances};
static struct list users = {&users, &users}; /* under inotify_mutex */

void notify_init(void) { mutex_init(&inotify_mutex, RANK_NOTIFY); }

/* --- the queue --------------------------------------------------------------------------------------- */

static bool repeats_last(const struct inotify *instance, const struct linux_inotify_event *head, const char *name, size_t length)
{
    if (list_empty(&instance->events) || (head->mask & IN_IGNORED))
        return false;
    const struct inotify_event_waiting *last = LIST_ENTRY(instance->events.prev, struct inotify_event_waiting, link);
    return last->head.mask == head->mask && last->head.wd == head->wd && last->name_length == length &&
           (!length || !memcmp(last->name, name, length));
}

static struct inotify_event_waiting *event_make(const struct linux_inotify_event *head, const char *name, size_t length)
{
    struct inotify_event_waiting *event = kzalloc(sizeof(*event) + length + 1);

    if (!event)
        return NULL;
    event->head = *head;
    event->name_length = (uint32_t)length;
    event->head.length = length ? ((uint32_t)length / NAME_UNIT + 1) * NAME_UNIT : 0;
    if (length)
        memcpy(event->name, name, length);
    return event;
}

static void event_push_locked(struct inotify *instance, struct inotify_event_waiting *event)
{
    list_push_back(&instance->events, &event->link);
    instance->event_count++;
    instance->event_bytes += sizeof(event->head) + event->head.length;
    waitq_wake_all(&instance->readers);
    knote_notify(&instance->knotes, EVENT_READ | EVENT_READ_NORMAL);
}

void inotify_tell_locked(struct inotify *instance, int32_t wd, uint32_t mask, uint32_t cookie, const char *name, size_t length)
{
    struct linux_inotify_event head = {.wd = wd, .mask = mask, .cookie = cookie}, overflow = {.wd = -1, .mask = IN_Q_OVERFLOW};
    struct inotify_event_waiting *event = NULL;

    if (instance->event_count < INOTIFY_QUEUE_MAX) {
        if (repeats_last(instance, &head, name, length))
            return;
        event = event_make(&head, name, length);
    }
    if (!event && !instance->overflown) { /* without memory it is lost just the same, and is said to be */
        event = event_make(&overflow, NULL, 0);
        instance->overflown = event != NULL;
    }
    if (event)
        event_push_locked(instance, event);
}

static struct inotify_event_waiting *event_pop_locked(struct inotify *instance)
{
    struct inotify_event_waiting *event = LIST_ENTRY(list_pop_front(&instance->events), struct inotify_event_waiting, link);

    instance->event_count--;
    instance->event_bytes -= sizeof(event->head) + event->head.length;
    if (event->head.mask & IN_Q_OVERFLOW)
        instance->overflown = false;
    return event;
}

/* --- reading ----------------------------------------------------------------------------------------- */

/* The next event, if it fits into `room`: 0, -EAGAIN, -EINVAL (it does not), -ERESTARTSYS. */
static int next_event(struct inotify *instance, size_t room, bool wait, struct inotify_event_waiting **event)
{
    int error = 0;

    mutex_lock(&inotify_mutex);
    while (!error && list_empty(&instance->events)) {
        if (!wait)
            error = -EAGAIN;
        else if (waitq_sleep(&instance->readers, &inotify_mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE))
            error = -ERESTARTSYS;
    }
    if (!error) {
        const struct inotify_event_waiting *first = LIST_ENTRY(instance->events.next, struct inotify_event_waiting, link);
        if (sizeof(first->head) + first->head.length > room)
            error = -EINVAL;
        else
            *event = event_pop_locked(instance);
    }
    mutex_unlock(&inotify_mutex);
    return error;
}

static bool event_put(struct io *io, const struct inotify_event_waiting *event)
{
    size_t zeros = event->head.length - event->name_length;

    if (io_put(io, &event->head, sizeof(event->head)) != sizeof(event->head))
        return false;
    return io_put(io, event->name, event->name_length) == event->name_length && io_put_zeros(io, zeros) == zeros;
}

static int64_t inotify_read(struct file *file, struct io *io, int64_t *position)
{
    bool wait = !file_nonblocking(file) && !(io->flags & IO_NONBLOCK);
    int64_t total = 0;

    (void)position;
    for (;;) {
        struct inotify_event_waiting *event;
        int error = next_event(file->data, io_left(io), wait && !total, &event);
        if (error)
            return total ? total : error;
        size_t size = sizeof(event->head) + event->head.length;
        bool put = event_put(io, event);
        kfree(event);
        if (!put)
            return -EFAULT;
        total += (int64_t)size;
    }
}

static uint32_t inotify_poll(struct file *file)
{
    struct inotify *instance = file->data;

    mutex_lock(&inotify_mutex);
    bool ready = !list_empty(&instance->events);
    mutex_unlock(&inotify_mutex);
    return ready ? EVENT_READ | EVENT_READ_NORMAL : 0;
}

static struct knote_list *inotify_knotes(struct file *file)
{
    struct inotify *instance = file->data;
    return &instance->knotes;
}

static int64_t inotify_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    struct inotify *instance = file->data;
    int32_t bytes;

    if (command != LINUX_FIONREAD)
        return -ENOTTY;
    mutex_lock(&inotify_mutex);
    bytes = (int32_t)instance->event_bytes;
    mutex_unlock(&inotify_mutex);
    return user_write(argument, &bytes, sizeof(bytes));
}

static void inotify_show(struct file *file, char *buffer, size_t size)
{
    struct inotify *instance = file->data;
    size_t used = 0;

    mutex_lock(&inotify_mutex);
    LIST_FOR_EACH (at, &instance->watches) {
        const struct inotify_watch *watch = LIST_ENTRY(at, struct inotify_watch, link);
        char line[96];
        int length = (int)format(line, sizeof(line), "inotify wd:%x ino:%llx sdev:%llx mask:%x ignored_mask:0\n", (unsigned)watch->wd,
                                 (unsigned long long)watch->node->inode, (unsigned long long)watch->fs->device, watch->mask);
        if (used + (size_t)length >= size)
            break;
        memcpy(buffer + used, line, (size_t)length + 1);
        used += (size_t)length;
    }
    mutex_unlock(&inotify_mutex);
}

/* --- users ------------------------------------------------------------------------------------------- */

/* One more instance of the user: NULL with -EMFILE or -ENOMEM. */
static struct inotify_user *user_enter_locked(uint32_t uid, int *error)
{
    struct inotify_user *user = NULL;

    LIST_FOR_EACH (at, &users)
        if (LIST_ENTRY(at, struct inotify_user, link)->uid == uid)
            user = LIST_ENTRY(at, struct inotify_user, link);
    if (!user) {
        user = kzalloc(sizeof(*user));
        if (user) {
            user->uid = uid;
            list_push_back(&users, &user->link);
        }
    }
    *error = !user ? -ENOMEM : user->instances >= INOTIFY_INSTANCES_MAX ? -EMFILE : 0;
    if (*error)
        return NULL;
    user->instances++;
    return user;
}

static void user_leave_locked(struct inotify_user *user)
{
    if (--user->instances)
        return;
    list_remove(&user->link);
    kfree(user);
}

/* --- instances --------------------------------------------------------------------------------------- */

static void instance_free(struct inotify *instance)
{
    struct list dead;

    list_init(&dead);
    mutex_lock(&inotify_mutex);
    watches_end_all_locked(instance, &dead);
    list_remove(&instance->link);
    user_leave_locked(instance->user);
    while (!list_empty(&instance->events))
        kfree(event_pop_locked(instance));
    mutex_unlock(&inotify_mutex);
    watches_free(&dead);
    kfree(instance);
}

static void inotify_release(struct file *file)
{
    struct inotify *instance = file->data;

    knote_list_close(&instance->knotes);
    instance_free(instance);
}

static const struct file_ops inotify_ops = {
    .kind = "inotify",
    .async = true,
    .seek_to_nowhere = true,
    .read = inotify_read,
    .poll = inotify_poll,
    .knotes = inotify_knotes,
    .ioctl = inotify_ioctl,
    .stat = anon_shared_stat,
    .show_fdinfo = inotify_show,
    .release = inotify_release,
};

static int instance_create(struct inotify **made)
{
    struct inotify *instance = kzalloc(sizeof(*instance));
    const struct cred *cred = current_cred();
    int error;

    if (!instance)
        return -ENOMEM;
    tree_init(&instance->by_wd, NULL);
    list_init(&instance->watches);
    list_init(&instance->events);
    waitq_init(&instance->readers);
    knote_list_init(&instance->knotes);
    mutex_lock(&inotify_mutex);
    instance->user = user_enter_locked(cred ? cred->uid : 0, &error);
    if (!error)
        list_push_back(&inotify_instances, &instance->link);
    mutex_unlock(&inotify_mutex);
    if (error)
        kfree(instance);
    else
        *made = instance;
    return error;
}

int64_t sys_inotify_init1(uint32_t flags)
{
    struct inotify *instance;
    struct file *file;
    int result;

    if (flags & ~(uint32_t)(LINUX_O_CLOEXEC | LINUX_O_NONBLOCK))
        return -EINVAL;
    result = instance_create(&instance);
    if (result)
        return result;
    file = file_create(&inotify_ops, LINUX_O_RDONLY | (flags & LINUX_O_NONBLOCK), instance);
    if (!file) {
        instance_free(instance);
        return -ENOMEM;
    }
    result = fd_install(file, flags & LINUX_O_CLOEXEC);
    if (result < 0)
        file_unref(file);
    return result;
}

int64_t sys_inotify_init(void) { return sys_inotify_init1(0); }

/* --- watches ----------------------------------------------------------------------------------------- */

static int64_t add_watch(struct file *file, const char *name, uint32_t mask)
{
    uint32_t flags = (mask & IN_DONT_FOLLOW ? WALK_NOFOLLOW : 0) | (mask & IN_ONLYDIR ? WALK_DIRECTORY : 0);
    struct path *path;
    int64_t result;

    if ((mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE))
        return -EINVAL;
    if (file->ops != &inotify_ops)
        return -EINVAL;
    result = path_walk(LINUX_AT_FDCWD, name, flags, &path);
    if (result)
        return result;
    result = node_permission(path->node, MAY_READ);
    if (!result)
        result = watch_set(file->data, path->node, mask);
    path_unref(path);
    return result;
}

int64_t sys_inotify_add_watch(int32_t fd, const char *name, uint32_t mask)
{
    struct file *file;
    int64_t result;

    if ((mask & ~(uint32_t)WATCH_BITS) || !mask)
        return -EINVAL;
    result = fd_get(fd, &file);
    if (result)
        return result;
    result = add_watch(file, name, mask);
    file_unref(file);
    return result;
}

static int remove_watch(struct inotify *instance, int32_t wd)
{
    struct inotify_watch *watch;
    struct list dead;

    list_init(&dead);
    mutex_lock(&inotify_mutex);
    watch = watch_find_locked(instance, wd);
    if (watch)
        watch_end_locked(watch, &dead);
    mutex_unlock(&inotify_mutex);
    watches_free(&dead);
    return watch ? 0 : -EINVAL;
}

int64_t sys_inotify_rm_watch(int32_t fd, int32_t wd)
{
    struct file *file;
    int error = fd_get(fd, &file);

    if (error)
        return error;
    error = file->ops == &inotify_ops ? remove_watch(file->data, wd) : -EINVAL;
    file_unref(file);
    return error;
}
