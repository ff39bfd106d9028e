/*
 * eventfd: a 64-bit counter behind a descriptor (eventfd(2)).
 *
 * A read takes the whole count, or one of it in semaphore mode, and waits while it is zero; a write adds and
 * waits while the sum would pass the largest count. User memory is never touched with the mutex held.
 */
#include "abi/linux/anon.h"
#include "abi/linux/calls.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"
#include "kernel/waitq.h"

#define COUNT_MAX (UINT64_MAX - 1)
enum { EFD_SEMAPHORE = 1 };

struct eventfd {
    struct mutex mutex; /* rank EVENT_FILE */
    uint64_t count;
    bool semaphore; /* constant */
    struct waitq readers, writers;
    struct knote_list knotes;
};

/* Unlocks and wakes whom the new count concerns. */
static void eventfd_unlock(struct eventfd *event)
{
    bool wake_reader = event->count && !waitq_empty(&event->readers);
    bool wake_writer = event->count < COUNT_MAX && !waitq_empty(&event->writers);

    mutex_unlock(&event->mutex);
    if (wake_reader)
        waitq_wake_one(&event->readers);
    if (wake_writer)
        waitq_wake_all(&event->writers); /* each may need another amount of room */
}

static void announce_locked(struct eventfd *event, uint32_t events)
{
    if (!knote_list_empty(&event->knotes))
        knote_notify(&event->knotes, events);
}

static int take(struct eventfd *event, bool nonblock, uint64_t *value)
{
    int error = 0;

    mutex_lock(&event->mutex);
    while (!event->count && !error) {
        if (nonblock)
            error = -EAGAIN;
        else if (waitq_sleep(&event->readers, &event->mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE))
            error = -ERESTARTSYS;
    }
    if (!error) {
        *value = event->semaphore ? 1 : event->count;
        event->count -= *value;
        announce_locked(event, EVENT_WRITE | EVENT_WRITE_NORMAL);
    }
    eventfd_unlock(event);
    return error;
}

static int64_t eventfd_read(struct file *file, struct io *io, int64_t *position)
{
    uint64_t value;
    int error;

    (void)position;
    if (io_left(io) < sizeof(value))
        return -EINVAL;
    error = take(file->data, file_nonblocking(file) || (io->flags & IO_NONBLOCK), &value);
    if (error)
        return error;
    return io_put(io, &value, sizeof(value)) == sizeof(value) ? (int64_t)sizeof(value) : -EFAULT;
}

static int give(struct eventfd *event, bool nonblock, uint64_t value)
{
    int error = 0;

    mutex_lock(&event->mutex);
    while (value > COUNT_MAX - event->count && !error) {
        if (nonblock)
            error = -EAGAIN;
        else if (waitq_sleep(&event->writers, &event->mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE))
            error = -ERESTARTSYS;
    }
    if (!error) {
        event->count += value;
        announce_locked(event, EVENT_READ | EVENT_READ_NORMAL);
    }
    eventfd_unlock(event);
    return error;
}

static int64_t eventfd_write(struct file *file, struct io *io, int64_t *position)
{
    uint64_t value;
    int error;

    (void)position;
    if (io_left(io) < sizeof(value))
        return -EINVAL;
    if (io_get(io, &value, sizeof(value)) < sizeof(value))
        return -EFAULT;
    if (value == UINT64_MAX)
        return -EINVAL;
    error = give(file->data, file_nonblocking(file) || (io->flags & IO_NONBLOCK), value);
    return error ? error : (int64_t)sizeof(value);
}

static uint32_t eventfd_poll(struct file *file)
{
    struct eventfd *event = file->data;
    uint32_t events = 0;

    mutex_lock(&event->mutex);
    if (event->count)
        events |= EVENT_READ | EVENT_READ_NORMAL;
    if (event->count < COUNT_MAX)
        events |= EVENT_WRITE | EVENT_WRITE_NORMAL;
    mutex_unlock(&event->mutex);
    return events;
}

static struct knote_list *eventfd_knotes(struct file *file)
{
    struct eventfd *event = file->data;
    return &event->knotes;
}

static void eventfd_show(struct file *file, char *buffer, size_t size)
{
    struct eventfd *event = file->data;

    format(buffer, size, "eventfd-count: %16llx\neventfd-semaphore: %d\n", (unsigned long long)event->count, event->semaphore);
}

static void eventfd_release(struct file *file)
{
    struct eventfd *event = file->data;

    knote_list_close(&event->knotes);
    kfree(event);
}

static const struct file_ops eventfd_ops = {
    .kind = "eventfd",
    .seek_to_nowhere = true,
    .read = eventfd_read,
    .write = eventfd_write,
    .poll = eventfd_poll,
    .knotes = eventfd_knotes,
    .stat = anon_shared_stat,
    .show_fdinfo = eventfd_show,
    .release = eventfd_release,
};

static struct eventfd *eventfd_create(uint32_t count, bool semaphore)
{
    struct eventfd *event = kzalloc(sizeof(*event));

    if (!event)
        return NULL;
    mutex_init(&event->mutex, RANK_EVENT_FILE);
    event->count = count;
    event->semaphore = semaphore;
    waitq_init(&event->readers);
    waitq_init(&event->writers);
    knote_list_init(&event->knotes);
    return event;
}

int64_t sys_eventfd2(uint32_t count, uint32_t flags)
{
    struct eventfd *event;
    struct file *file;
    int fd;

    if (flags & ~(uint32_t)(EFD_SEMAPHORE | LINUX_O_CLOEXEC | LINUX_O_NONBLOCK))
        return -EINVAL;
    event = eventfd_create(count, flags & EFD_SEMAPHORE);
    if (!event)
        return -ENOMEM;
    file = file_create(&eventfd_ops, LINUX_O_RDWR | (flags & LINUX_O_NONBLOCK), event);
    if (!file) {
        kfree(event);
        return -ENOMEM;
    }
    fd = fd_install(file, flags & LINUX_O_CLOEXEC);
    if (fd < 0)
        file_unref(file);
    return fd;
}

int64_t sys_eventfd(uint32_t count) { return sys_eventfd2(count, 0); }
