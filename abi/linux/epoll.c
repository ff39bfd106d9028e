/*
 * epoll descriptors: creation, death, and being watched themselves.
 *
 * An epoll is readable while it has something ready; poll, select and other epolls may wait for that. The
 * last reference to its file removes all items; the last reference to a watched file removes that file's
 * items from every epoll, whatever descriptors they were added by.
 */
#include "abi/linux/epoll.h"

#include "abi/linux/anon.h"
#include "abi/linux/calls.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { EPOLL_CLOEXEC = LINUX_O_CLOEXEC };

struct mutex epoll_tree = {
    .state_lock = SPINLOCK_INIT(RANK_WAITQ),
    .waiters = {&epoll_tree.waiters, &epoll_tree.waiters},
    .rank = RANK_EPOLL_TREE,
};

static uint32_t epoll_poll(struct file *file)
{
    return epoll_any_ready(file->data) ? EVENT_READ | EVENT_READ_NORMAL : 0;
}

static struct knote_list *epoll_knotes(struct file *file)
{
    struct epoll *epoll = file->data;
    return &epoll->knotes;
}

/* As much as fits: one line for each item. */
static void epoll_show(struct file *file, char *buffer, size_t size)
{
    struct epoll *epoll = file->data;
    size_t used = 0;

    if (size)
        buffer[0] = 0;
    mutex_lock(&epoll->mutex);
    for (uint32_t i = 0; i < epoll->bucket_count; i++)
        for (struct epoll_item *item = epoll->buckets[i]; item && used < size; item = item->bucket_next)
            used += format(buffer + used, size - used, "tfd: %8d events: %8x data: %16llx\n", item->fd, item->events,
                           (unsigned long long)item->data);
    mutex_unlock(&epoll->mutex);
}

static void epoll_release(struct file *file)
{
    struct epoll *epoll = file->data;

    mutex_lock(&epoll_tree);
    mutex_lock(&epoll->mutex);
    epoll_items_remove_all(epoll);
    mutex_unlock(&epoll->mutex);
    mutex_unlock(&epoll_tree);
    knote_list_close(&epoll->knotes);
    epoll_put(epoll);
}

static const struct file_ops epoll_ops = {
    .kind = "eventpoll",
    .seek_to_nowhere = true,
    .poll = epoll_poll,
    .knotes = epoll_knotes,
    .stat = anon_shared_stat,
    .show_fdinfo = epoll_show,
    .release = epoll_release,
};

struct epoll *epoll_of(struct file *file) { return file->ops == &epoll_ops ? file->data : NULL; }

void epoll_file_gone(struct file *file)
{
    struct list *first;

    mutex_lock(&epoll_tree);
    while ((first = atomic_ptr_load_relaxed(&file->epoll_items))) {
        struct epoll_item *item = LIST_ENTRY(first, struct epoll_item, file_link);
        struct epoll *epoll = item->epoll;

        mutex_lock(&epoll->mutex);
        epoll_item_remove(item);
        mutex_unlock(&epoll->mutex);
    }
    mutex_unlock(&epoll_tree);
}

/* Deferred: an item whose file is an epoll became ready, inside that epoll's own knote list. */
static void announce_run(struct async_work *work)
{
    struct epoll *epoll = CONTAINER_OF(work, struct epoll, announce);

    knote_notify(&epoll->knotes, EVENT_READ | EVENT_READ_NORMAL);
    epoll_put(epoll);
}

void epoll_put(struct epoll *epoll)
{
    if (atomic32_sub(&epoll->references, 1) != 1)
        return;
    kfree(epoll->buckets);
    kfree(epoll);
}

static struct epoll *epoll_make(void)
{
    struct epoll *epoll = kzalloc(sizeof(*epoll));

    if (!epoll)
        return NULL;
    epoll->buckets = kcalloc(EPOLL_BUCKETS_FIRST, sizeof(*epoll->buckets));
    if (!epoll->buckets) {
        kfree(epoll);
        return NULL;
    }
    epoll->bucket_count = EPOLL_BUCKETS_FIRST;
    mutex_init(&epoll->mutex, RANK_EPOLL);
    spinlock_init(&epoll->ready_lock, RANK_EVENT_QUEUE);
    list_init(&epoll->ready);
    waitq_init(&epoll->waiters);
    knote_list_init(&epoll->knotes);
    spinlock_init(&epoll->knotes.lock, RANK_KNOTE_NESTED);
    async_work_init(&epoll->announce, announce_run);
    atomic32_store_relaxed(&epoll->references, 1);
    return epoll;
}

int64_t sys_epoll_create1(uint32_t flags)
{
    struct epoll *epoll;
    struct file *file;
    int fd;

    if (flags & ~(uint32_t)EPOLL_CLOEXEC)
        return -EINVAL;
    epoll = epoll_make();
    if (!epoll)
        return -ENOMEM;
    file = file_create(&epoll_ops, LINUX_O_RDWR, epoll);
    if (!file) {
        epoll_put(epoll);
        return -ENOMEM;
    }
    epoll->file = file;
    fd = fd_install(file, flags);
    if (fd < 0)
        file_unref(file);
    return fd;
}

int64_t sys_epoll_create(int32_t size) { return size > 0 ? sys_epoll_create1(0) : -EINVAL; }
