/*
 * read, write and their kind: one descriptor, one transfer.
 *
 * Every variant becomes an io request, an offset of its own or the file's position, and flags; transfer() does the
 * rest. A file without seek is a stream: it gets no position, and the variants with an offset fail with ESPIPE.
 */
#include "abi/linux/calls.h"
#include "abi/linux/file.h"
#include "abi/linux/fs/notify.h"
#include "abi/linux/process.h"

enum { RWF_HIPRI = 1, RWF_DSYNC = 2, RWF_SYNC = 4, RWF_NOWAIT = 8, RWF_APPEND = 16 };
enum direction { TRANSFER_READ, TRANSFER_WRITE };

static int64_t run(struct file *file, struct io *io, int64_t *position, enum direction direction)
{
    bool write = direction == TRANSFER_WRITE;
    int64_t done = write ? file->ops->write(file, io, position) : file->ops->read(file, io, position);

    if (done > 0)
        notify_file(file, write ? NOTIFY_MODIFY : NOTIFY_ACCESS);
    return done;
}

static int64_t run_at_position(struct file *file, struct io *io, enum direction direction)
{
    int64_t position, done;
    bool locked;
    int error = file_position_lock(file, &locked);

    if (error)
        return error;
    position = file->position;
    done = run(file, io, &position, direction);
    file->position = position;
    file_position_unlock(file, locked);
    return done;
}

static int64_t transfer_file(struct file *file, struct io *io, enum direction direction, const int64_t *offset)
{
    bool write = direction == TRANSFER_WRITE;

    if (write ? !file_writable(file) : !file_readable(file))
        return -EBADF;
    if (write ? !file->ops->write : !file->ops->read)
        return -EINVAL;
    if (file_nonblocking(file))
        io->flags |= IO_NONBLOCK;
    if (offset && !file->ops->seek)
        return -ESPIPE;
    if (offset) {
        int64_t position = *offset;
        return run(file, io, &position, direction);
    }
    return file->ops->seek ? run_at_position(file, io, direction) : run(file, io, NULL, direction);
}

static int64_t transfer(int fd, struct io *io, enum direction direction, const int64_t *offset)
{
    struct file *file;
    int64_t done;

    if (offset && *offset < 0)
        return -EINVAL;
    done = fd_get(fd, &file);
    if (done)
        return done;
    done = transfer_file(file, io, direction, offset);
    file_unref(file);
    return done;
}

static int64_t transfer_buffer(int fd, uaddr_t buffer, uint64_t size, enum direction direction, const int64_t *offset)
{
    struct io io;

    if (size > INT64_MAX)
        return -EINVAL;
    io_init_user(&io, buffer, size);
    io.fd = offset ? -1 : fd;
    return transfer(fd, &io, direction, offset);
}

static uint32_t io_flags_of(uint32_t flags)
{
    return (flags & RWF_HIPRI ? IO_HIGH_PRIORITY : 0) | (flags & RWF_DSYNC ? IO_DATA_SYNC : 0) | (flags & RWF_SYNC ? IO_SYNC : 0) |
           (flags & RWF_NOWAIT ? IO_NONBLOCK : 0) | (flags & RWF_APPEND ? IO_APPEND : 0);
}

static int64_t transfer_vectors(int fd, uaddr_t vectors, uint64_t count, enum direction direction, const int64_t *offset,
                                uint32_t flags)
{
    struct io io;
    int64_t done;

    if (offset && *offset < 0)
        return -EINVAL;
    done = io_init_vectors(&io, vectors, count);
    if (done)
        return done;
    io.flags = io_flags_of(flags);
    done = transfer(fd, &io, direction, offset);
    io_done(&io);
    return done;
}

/* preadv2 and pwritev2: offset -1 means the file's position. */
static int64_t transfer_vectors2(int fd, uaddr_t vectors, uint64_t count, enum direction direction, int64_t offset, uint32_t flags)
{
    uint32_t known = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | (direction == TRANSFER_WRITE ? RWF_APPEND : 0);

    if (flags & ~known)
        return -EOPNOTSUPP;
    return transfer_vectors(fd, vectors, count, direction, offset == -1 ? NULL : &offset, flags);
}

int64_t sys_read(int32_t fd, uaddr_t buffer, uint64_t count) { return transfer_buffer(fd, buffer, count, TRANSFER_READ, NULL); }
int64_t sys_write(int32_t fd, uaddr_t buffer, uint64_t count) { return transfer_buffer(fd, buffer, count, TRANSFER_WRITE, NULL); }

int64_t sys_pread64(int32_t fd, uaddr_t buffer, uint64_t count, int64_t offset)
{
    return transfer_buffer(fd, buffer, count, TRANSFER_READ, &offset);
}

int64_t sys_pwrite64(int32_t fd, uaddr_t buffer, uint64_t count, int64_t offset)
{
    return transfer_buffer(fd, buffer, count, TRANSFER_WRITE, &offset);
}

int64_t sys_readv(int32_t fd, uaddr_t vectors, uint64_t count)
{
    return transfer_vectors(fd, vectors, count, TRANSFER_READ, NULL, 0);
}

int64_t sys_writev(int32_t fd, uaddr_t vectors, uint64_t count)
{
    return transfer_vectors(fd, vectors, count, TRANSFER_WRITE, NULL, 0);
}

/* The offset comes as two longs; on 64-bit machines the low one is all of it. */
int64_t sys_preadv(int32_t fd, uaddr_t vectors, uint64_t count, int64_t low, uint64_t high)
{
    (void)high;
    return transfer_vectors(fd, vectors, count, TRANSFER_READ, &low, 0);
}

int64_t sys_pwritev(int32_t fd, uaddr_t vectors, uint64_t count, int64_t low, uint64_t high)
{
    (void)high;
    return transfer_vectors(fd, vectors, count, TRANSFER_WRITE, &low, 0);
}

int64_t sys_preadv2(int32_t fd, uaddr_t vectors, uint64_t count, int64_t low, uint64_t high, uint32_t flags)
{
    (void)high;
    return transfer_vectors2(fd, vectors, count, TRANSFER_READ, low, flags);
}

int64_t sys_pwritev2(int32_t fd, uaddr_t vectors, uint64_t count, int64_t low, uint64_t high, uint32_t flags)
{
    (void)high;
    return transfer_vectors2(fd, vectors, count, TRANSFER_WRITE, low, flags);
}

static int64_t seek(struct file *file, int64_t offset, int32_t whence)
{
    bool locked;

    if (whence < 0 || whence > 4)
        return -EINVAL;
    if (!file->ops->seek)
        return file->ops->seek_to_nowhere ? 0 : -ESPIPE;
    int64_t result = file_position_lock(file, &locked);
    if (!result) {
        result = file->ops->seek(file, offset, whence);
        file_position_unlock(file, locked);
    }
    return result;
}

int64_t sys_lseek(int32_t fd, int64_t offset, int32_t whence)
{
    struct file *file;
    int64_t result = fd_get(fd, &file);

    if (result)
        return result;
    result = seek(file, offset, whence);
    file_unref(file);
    return result;
}

int64_t sys_readahead(int32_t fd, int64_t offset, uint64_t count)
{
    struct file *file;
    int64_t error = fd_get(fd, &file);

    (void)offset, (void)count;
    if (error)
        return error;
    if (!file_readable(file))
        error = -EBADF;
    else if (!file->ops->map)
        error = -EINVAL;
    file_unref(file);
    return error;
}

int64_t sys_fadvise64(int32_t fd, int64_t offset, int64_t length, int32_t advice)
{
    struct file *file;
    int64_t error = fd_get(fd, &file);

    (void)offset;
    if (error)
        return error;
    if (!file->ops->seek)
        error = -ESPIPE;
    else if (length < 0 || advice < 0 || advice > 5)
        error = -EINVAL;
    file_unref(file);
    return error;
}
