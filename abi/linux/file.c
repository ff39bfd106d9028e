/*
 * Open file descriptions: creation, death, the position's lock, and transfers by the kernel itself.
 *
 * A file dies with its last reference: locks it holds end, the implementation releases its data, the counts
 * of writers on the node are settled, node and path go. The position is guarded by a gate
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
    if (atomic_ptr_load_acquire(&file->async))
        file_async_gone(file);
    locks_release_file(file);
    if (!(atomic32_load_relaxed(&file->flags) & LINUX_O_PATH))
        notify_file(file, file_writable(file) ? NOTIFY_CLOSE_WRITE : NOTIFY_CLOSE_NOWRITE);
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
    gate_init(&file->position_gate);
    return file;
}

int file_position_lock(struct file *file, bool *locked)
{
    int error = gate_enter(&file->position_gate);

    *locked = !error;
    return error;
}

void file_position_unlock(struct file *file, bool locked)
{
    if (locked)
        gate_leave(&file->position_gate);
}

int64_t file_read_kernel(struct file *file, void *buffer, size_t size, int64_t offset)
{
    struct io io;

    if (!file->ops->read)
        return -EINVAL;
    io_init_kernel(&io, buffer, size);
    int64_t done = file->ops->read(file, &io, &offset);
    if (done > 0)
        notify_file(file, NOTIFY_ACCESS);
    return done;
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
