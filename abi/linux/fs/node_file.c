/*
 * The generic open file: reads, writes, directory entries and the rest straight from a node's operations.
 *
 * Appending writes of one node go one at a time, so that each lands at the end the one before left; where a program serves the file
 * it may never return, so each file system has locks of its own and who waits may be killed. A write
 * takes away set-user-ID bits and respects RLIMIT_FSIZE, as Linux does; timestamps are the file system's.
 */
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/string.h"

enum { SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE };

static bool is_directory(const struct node *node) { return (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR; }

static int64_t node_file_read(struct file *file, struct io *io, int64_t *position)
{
    struct node *node = file->node;
    int64_t done;

    if (is_directory(node))
        return -EISDIR;
    if (!node->ops->read)
        return -EINVAL;
    if (!io_left(io))
        return 0;
    done = node->ops->read(node, io, (uint64_t)*position);
    if (done > 0)
        *position += done;
    return done;
}

/* Set-user-ID, and set-group-ID of an executable, do not survive a write by the unprivileged. */
bool node_drop_privileges(struct node *node)
{
    struct node_owner owner;
    struct node_attr attr = {.valid = ATTR_MODE};

    if (node_owner(node, &owner) || !(owner.mode & (LINUX_S_ISUID | LINUX_S_ISGID)))
        return false;
    attr.mode = owner.mode & ~(uint32_t)LINUX_S_ISUID;
    if (owner.mode & 010)
        attr.mode &= ~(uint32_t)LINUX_S_ISGID;
    return attr.mode != owner.mode && current_thread() && !capable(LINUX_CAP_FSETID) && !node_set_attr(node, &attr);
}

/* A process may not make a file longer than its limit: what fits is written. */
static int64_t write_at(struct file *file, struct io *io, int64_t *position, uint64_t limit)
{
    struct node *node = file->node;
    int64_t done;

    if ((uint64_t)*position >= limit || *position > INT64_MAX - (int64_t)io_left(io))
        return -EFBIG;
    io->left = min_u64(io->left, limit - (uint64_t)*position);
    if (node_drop_privileges(node))
        notify_file(file, NOTIFY_ATTRIB);
    done = node->ops->write(node, io, (uint64_t)*position);
    if (done > 0)
        *position += done;
    return done;
}

static int64_t write_append(struct file *file, struct io *io, int64_t *position, uint64_t limit)
{
    struct mutex *lock = &file->node->fs->append_locks[((uintptr_t)file->node >> 6) % FS_APPEND_LOCKS];
    struct linux_stat_data stat;
    int64_t done;

    done = mutex_lock_killable(lock);
    if (done)
        return done;
    done = file->node->ops->get_attr(file->node, &stat);
    if (!done) {
        *position = (int64_t)stat.size;
        done = write_at(file, io, position, limit);
    }
    mutex_unlock(lock);
    return done;
}

static int64_t node_file_write(struct file *file, struct io *io, int64_t *position)
{
    struct node *node = file->node;
    uint32_t flags = atomic32_load_relaxed(&file->flags);
    uint64_t limit = current_thread() ? rlimit(LINUX_RLIMIT_FSIZE) : UINT64_MAX;
    bool append = (io->flags & IO_APPEND) || (flags & LINUX_O_APPEND);
    int64_t done;

    if (!node->ops->write)
        return -EINVAL;
    if (!io_left(io))
        return 0;
    done = append ? write_append(file, io, position, limit) : write_at(file, io, position, limit);
    if (done == -EFBIG && (uint64_t)*position >= limit)
        signal_send_thread(current_thread(), LINUX_SIGXFSZ, NULL);
    if (done > 0 && node->ops->sync && ((io->flags & (IO_SYNC | IO_DATA_SYNC)) || (flags & LINUX_O_DSYNC))) {
        int error = node->ops->sync(node, !(io->flags & IO_SYNC) && (flags & LINUX_O_SYNC) != LINUX_O_SYNC);
        if (error)
            return error;
    }
    return done;
}

/* Every byte counts as data: the one hole is the end. */
static int64_t seek_data(int64_t offset, int64_t size, int whence)
{
    if (offset < 0 || offset >= size)
        return -ENXIO;
    return whence == SEEK_DATA ? offset : size;
}

static int64_t node_file_seek(struct file *file, int64_t offset, int whence)
{
    struct linux_stat_data stat = {.size = 0};
    int64_t base = 0;

    if (whence < SEEK_SET || whence > SEEK_HOLE)
        return -EINVAL;
    if (whence >= SEEK_END) {
        int error = file->node->ops->get_attr(file->node, &stat);
        if (error)
            return error;
    }
    if (whence >= SEEK_DATA) {
        offset = seek_data(offset, (int64_t)stat.size, whence);
        if (offset < 0)
            return offset;
    } else {
        base = whence == SEEK_CUR ? file->position : whence == SEEK_END ? (int64_t)stat.size : 0;
    }
    if (__builtin_add_overflow(base, offset, &offset))
        return -EOVERFLOW;
    if (offset < 0)
        return -EINVAL;
    file->position = offset;
    return offset;
}

enum { LINUX_FIONREAD = 0x541b };

static int64_t node_file_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    struct linux_stat_data stat;
    int32_t left;
    int error;

    if (command != LINUX_FIONREAD || (file->node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -ENOTTY;
    error = file->node->ops->get_attr(file->node, &stat);
    if (error)
        return error;
    left = (int32_t)((int64_t)stat.size - file->position);
    return user_write(argument, &left, sizeof(left));
}

static int node_file_read_directory(struct file *file, int64_t *position, directory_emit *emit, void *context)
{
    struct node *node = file->node;

    if (!is_directory(node) || !node->ops->read_directory)
        return -ENOTDIR;
    return node->ops->read_directory(node, position, emit, context);
}

static int node_file_truncate(struct file *file, uint64_t size)
{
    return node_truncate(file->node, size);
}

int node_truncate(struct node *node, uint64_t size)
{
    struct node_attr attr = {.valid = ATTR_SIZE, .size = size};

    if (current_thread() && size > rlimit(LINUX_RLIMIT_FSIZE)) {
        struct linux_stat_data stat;
        if (!node->ops->get_attr(node, &stat) && size > stat.size) {
            signal_send_thread(current_thread(), LINUX_SIGXFSZ, NULL);
            return -EFBIG;
        }
    }
    node_drop_privileges(node);
    return node_set_attr(node, &attr);
}

static int node_file_sync(struct file *file, bool data_only)
{
    return file->node->ops->sync ? file->node->ops->sync(file->node, data_only) : 0;
}

static int node_file_allocate(struct file *file, int mode, uint64_t offset, uint64_t size)
{
    return file->node->ops->allocate ? file->node->ops->allocate(file->node, mode, offset, size) : -EOPNOTSUPP;
}

static int node_file_map(struct file *file, uint32_t prot, bool shared, struct memobj **memobj)
{
    return file->node->ops->map ? file->node->ops->map(file->node, prot, shared, memobj) : -ENODEV;
}

const struct file_ops node_file_ops = {
    .kind = "file",
    .read = node_file_read,
    .write = node_file_write,
    .seek = node_file_seek,
    .ioctl = node_file_ioctl,
    .read_directory = node_file_read_directory,
    .truncate = node_file_truncate,
    .sync = node_file_sync,
    .allocate = node_file_allocate,
    .map = node_file_map,
};
