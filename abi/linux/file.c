/*
 * Open file descriptions: creation, death, the position's lock, and transfers by the kernel itself.
 *
 * A file dies with its last reference: locks it holds end, the implementation releases its data, the counts
 * of writers on the node are settled, node and path go. The position is guarded by a flag and a wait queue
 * instead of a mutex, because it is held across the implementation's read or write, which may take locks of
 * any rank (a read of /proc takes the process tree's). What holds it never waits for another position, except
 * copying between two files, which does not hold it while it waits.
 */
#include "abi/linux/file.h"

#include "abi/linux/fs/vfs.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/thread.h"

static void writers_settle(struct file *file)
{
    if (file->internal & FILE_COUNTS_WRITER)
        atomic32_sub(&file->node->writers, 1);
    if (file->internal & FILE_DENIES_WRITERS)
        atomic32_add(&file->node->writers, 1);
}

static void file_destroy(struct object *object)
{
    struct file *file = CONTAINER_OF(object, struct file, object);

    if (atomic_ptr_load_acquire(&file->epoll_items))
        epoll_file_gone(file);
    locks_release_file(file);
    if (file->ops->release)
        file->ops->release(file);
    if (file->node) {
        writers_settle(file);
        object_unref(file->node);
    }
    if (file->path)
        path_unref(file->path);
    kfree(file);
}

static const struct object_type file_type = {.name = "file", .destroy = file_destroy};

struct file *file_create(const struct file_ops *ops, uint32_t flags, void *data)
{
    struct file *file = kzalloc(sizeof(*file));

    if (!file)
        return NULL;
    object_init(&file->object, &file_type);
    file->ops = ops;
    file->data = data;
    /* Neither is a property of the file: the one is the descriptor's, the other was about opening it. */
    atomic32_store_relaxed(&file->flags, flags & ~(uint32_t)(LINUX_O_CLOEXEC | LINUX_O_NOCTTY));
    mutex_init(&file->mutex, RANK_FILE);
    waitq_init(&file->position_waiters);
    return file;
}

static int position_wait(struct file *file)
{
    int error = 0;

    while (!error && atomic32_swap(&file->position_busy, 2) != 0) {
        struct waiter waiter;

        waiter_init(&waiter);
        spin_lock(&file->position_waiters.lock);
        waitq_enqueue_locked(&file->position_waiters, &waiter);
        spin_unlock(&file->position_waiters.lock);
        /* The holder's unlock either sees our 2 after we are enqueued, or we see its 0 here. */
        if (atomic32_swap(&file->position_busy, 2) == 0) {
            waiter_abandon(&waiter);
            return 0;
        }
        error = waiter_wait(&waiter, DEADLINE_NEVER, WAIT_KILLABLE);
    }
    return error;
}

int file_position_lock(struct file *file, bool *locked)
{
    uint32_t expected = 0;

    *locked = true;
    if (atomic32_cas(&file->position_busy, &expected, 1))
        return 0;
    int error = position_wait(file);
    *locked = !error;
    return error;
}

void file_position_unlock(struct file *file, bool locked)
{
    if (!locked)
        return;
    if (atomic32_swap(&file->position_busy, 0) == 2)
        waitq_wake_all(&file->position_waiters);
}

int64_t file_read_kernel(struct file *file, void *buffer, size_t size, int64_t offset)
{
    struct io io;

    if (!file->ops->read)
        return -EINVAL;
    io_init_kernel(&io, buffer, size);
    return file->ops->read(file, &io, &offset);
}

int64_t file_write_kernel(struct file *file, const void *buffer, size_t size, int64_t offset)
{
    struct io io;

    if (!file->ops->write)
        return -EINVAL;
    io_init_kernel(&io, (void *)(uintptr_t)buffer, size);
    return file->ops->write(file, &io, &offset);
}

uint32_t file_poll(struct file *file)
{
    if (!file->ops->poll)
        return EVENT_READ | EVENT_WRITE | EVENT_READ_NORMAL | EVENT_WRITE_NORMAL;
    return file->ops->poll(file);
}

struct knote_list *file_knotes(struct file *file)
{
    return file->ops->knotes ? file->ops->knotes(file) : NULL;
}

int file_stat(struct file *file, struct linux_stat_data *stat)
{
    if (file->ops->stat)
        return file->ops->stat(file, stat);
    if (file->node && file->node->ops->get_attr)
        return file->node->ops->get_attr(file->node, stat);
    return -EBADF;
}
