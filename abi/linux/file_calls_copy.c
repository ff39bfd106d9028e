/*
 * sendfile and copy_file_range: bytes from file to file, through a kernel buffer.
 *
 * A file's own position is read and written around the whole copy, each under its lock for a moment only: two
 * copies in opposite directions can not wait for each other.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"

enum { COPY_BUFFER = 65536 };

/* One end of a copy. */
struct end {
    struct file *file;
    uaddr_t offset_address; /* 0: the file's own position */
    int64_t offset;
    bool stream;
};

static int end_begin(struct end *end, struct file *file, uaddr_t offset_address)
{
    end->file = file;
    end->offset_address = offset_address;
    end->stream = !file->ops->seek;
    end->offset = 0;
    if (offset_address) {
        if (user_read(&end->offset, offset_address, sizeof(end->offset)))
            return -EFAULT;
        if (end->stream)
            return -ESPIPE;
    } else if (!end->stream) {
        end->offset = file->position;
    }
    return end->offset < 0 ? -EINVAL : 0;
}

static int end_finish(struct end *end)
{
    bool locked;
    int error;

    if (end->offset_address)
        return user_write(end->offset_address, &end->offset, sizeof(end->offset));
    if (end->stream)
        return 0;
    error = file_position_lock(end->file, &locked);
    if (!error) {
        end->file->position = end->offset;
        file_position_unlock(end->file, locked);
    }
    return error;
}

static int64_t write_part(struct end *to, uint8_t *buffer, size_t size)
{
    size_t done = 0;

    while (done < size) {
        struct io io;
        io_init_kernel(&io, buffer + done, size - done);
        if (file_nonblocking(to->file))
            io.flags |= IO_NONBLOCK;
        int64_t part = to->file->ops->write(to->file, &io, to->stream ? NULL : &to->offset);
        if (part <= 0)
            return done ? (int64_t)done : part;
        done += (size_t)part;
    }
    return (int64_t)done;
}

/* What was read but could not be written is not consumed. */
static int64_t copy_part(struct end *from, struct end *to, uint8_t *buffer, size_t size)
{
    int64_t start = from->offset, got, put;
    struct io io;

    io_init_kernel(&io, buffer, size);
    got = from->file->ops->read(from->file, &io, &from->offset);
    if (got <= 0)
        return got;
    put = write_part(to, buffer, (size_t)got);
    from->offset = start + (put > 0 ? put : 0);
    return put;
}

static int64_t copy_all(struct end *from, struct end *to, uint64_t count)
{
    uint8_t *buffer = kalloc(COPY_BUFFER);
    uint64_t done = 0;
    int64_t part = 0;

    if (!buffer)
        return -ENOMEM;
    count = min_u64(count, IO_SIZE_MAX);
    while (done < count) {
        size_t size = min_u64(count - done, COPY_BUFFER);
        part = copy_part(from, to, buffer, size);
        if (part <= 0)
            break;
        done += (uint64_t)part;
        if ((size_t)part < size && to->stream)
            break;
    }
    kfree(buffer);
    return done ? (int64_t)done : part;
}

static int64_t copy(struct file *from_file, uaddr_t from_offset, struct file *to_file, uaddr_t to_offset, uint64_t count)
{
    struct end from, to;
    int64_t result = end_begin(&from, from_file, from_offset);

    if (!result)
        result = end_begin(&to, to_file, to_offset);
    if (result)
        return result;
    result = copy_all(&from, &to, count);
    if (result > 0) {
        notify_file(from_file, NOTIFY_ACCESS);
        notify_file(to_file, NOTIFY_MODIFY);
        int error = end_finish(&from);
        int second = end_finish(&to);
        if (error || second)
            return error ? error : second;
    }
    return result;
}

static bool is_type(const struct file *file, uint32_t type) { return file->node && (file->node->mode & LINUX_S_IFMT) == type; }

/* --- sendfile ---------------------------------------------------------------------------------------- */

static int64_t send_file(struct file *to, struct file *from, uaddr_t offset, uint64_t count)
{
    if (!file_readable(from) || !file_writable(to))
        return -EBADF;
    if (!from->ops->read || !to->ops->write || !from->ops->seek || is_type(from, LINUX_S_IFDIR))
        return offset && !from->ops->seek ? -ESPIPE : -EINVAL;
    if (atomic32_load_relaxed(&to->flags) & LINUX_O_APPEND && to->ops->seek)
        return -EINVAL;
    return copy(from, offset, to, 0, count);
}

int64_t sys_sendfile(int32_t out_fd, int32_t in_fd, uaddr_t offset, uint64_t count)
{
    struct file *from, *to;
    int64_t result = fd_get(in_fd, &from);

    if (result)
        return result;
    result = fd_get(out_fd, &to);
    if (!result) {
        result = send_file(to, from, offset, count);
        file_unref(to);
    }
    file_unref(from);
    return result;
}

/* --- copy_file_range --------------------------------------------------------------------------------- */

static int range_check(struct file *from, struct file *to)
{
    if (is_type(from, LINUX_S_IFDIR) || is_type(to, LINUX_S_IFDIR))
        return -EISDIR;
    if (!is_type(from, LINUX_S_IFREG) || !is_type(to, LINUX_S_IFREG))
        return -EINVAL;
    if (!file_readable(from) || !file_writable(to) || (atomic32_load_relaxed(&to->flags) & LINUX_O_APPEND))
        return -EBADF;
    return 0;
}

/* The two ranges of one file must not overlap. */
static int overlap_check(struct file *from, uaddr_t from_offset, struct file *to, uaddr_t to_offset, uint64_t count)
{
    struct end a, b;
    int error = from->node == to->node ? end_begin(&a, from, from_offset) : 1;

    if (error)
        return error == 1 ? 0 : error;
    error = end_begin(&b, to, to_offset);
    if (error)
        return error;
    count = min_u64(count, IO_SIZE_MAX);
    return (uint64_t)a.offset < (uint64_t)b.offset + count && (uint64_t)b.offset < (uint64_t)a.offset + count ? -EINVAL : 0;
}

static int64_t copy_range(struct file *from, uaddr_t from_offset, struct file *to, uaddr_t to_offset, uint64_t count)
{
    int64_t error = range_check(from, to);

    if (!error)
        error = overlap_check(from, from_offset, to, to_offset, count);
    return error ? error : copy(from, from_offset, to, to_offset, count);
}

int64_t sys_copy_file_range(int32_t in_fd, uaddr_t in_offset, int32_t out_fd, uaddr_t out_offset, uint64_t count, uint32_t flags)
{
    struct file *from, *to;
    int64_t result = flags ? -EINVAL : fd_get(in_fd, &from);

    if (result)
        return result;
    result = fd_get(out_fd, &to);
    if (!result) {
        result = copy_range(from, in_offset, to, out_offset, count);
        file_unref(to);
    }
    file_unref(from);
    return result;
}
