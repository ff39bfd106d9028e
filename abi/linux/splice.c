/*
 * splice, tee, vmsplice. Bytes are copied (whole pages move only between two pipes): what counts here is
 * which bytes go where, and that none is lost or doubled when the other side blocks or fails half-way. A file whose reads and
 * writes are messages (/dev/fuse) gets and gives them whole.
 *
 * Between a pipe and another file the pipe's end is claimed: its mutex is dropped while the other file reads
 * or writes, and nobody else touches that end meanwhile. Between two pipes both mutexes are held, and all
 * waiting is done before.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/notify.h"
#include "abi/linux/pipe_internal.h"
#include "kernel/alloc.h"
#include "kernel/string.h"
#include "kernel/user.h"

enum { SPLICE_F_MOVE = 1, SPLICE_F_NONBLOCK = 2, SPLICE_F_MORE = 4, SPLICE_F_GIFT = 8, SPLICE_F_ALL = 15 };

#define READ_EVENTS (EVENT_READ | EVENT_READ_NORMAL)
#define WRITE_EVENTS (EVENT_WRITE | EVENT_WRITE_NORMAL)

/* --- pipe to file ------------------------------------------------------------------------------------ */

/* The first slot's bytes to the file, with the mutex dropped. Bytes (then short: stop) or an error. */
static int64_t slot_write(struct pipe *pipe, struct file *out, int64_t *position, size_t size)
{
    struct pipe_slot slot = *pipe_slot_at(pipe, pipe->tail);
    bool was_full = pipe_full(pipe);
    struct io io;
    int64_t moved;

    mutex_unlock(&pipe->mutex);
    io_init_kernel(&io, slot.page + slot.offset, size);
    moved = out->ops->write(out, &io, position);
    if (moved > 0)
        notify_file(out, NOTIFY_MODIFY);
    mutex_lock(&pipe->mutex);
    if (moved > 0)
        pipe_consume_locked(pipe, moved);
    if (was_full && !pipe_full(pipe))
        pipe_announce_locked(pipe, WRITE_EVENTS);
    return moved;
}

static int64_t pipe_to_file(struct pipe *pipe, struct file *out, int64_t *position, size_t size, bool nonblock)
{
    int64_t total = 0, moved;

    pipe_lock(pipe);
    moved = pipe_wait_readable_locked(pipe, nonblock);
    if (moved > 0) {
        pipe->read_claimed = true;
        while (size && !pipe_empty(pipe)) {
            size_t wanted = min_u64(size, pipe_slot_at(pipe, pipe->tail)->length);

            moved = slot_write(pipe, out, position, wanted);
            if (moved <= 0)
                break;
            total += moved;
            size -= moved;
            if ((size_t)moved < wanted)
                break;
        }
        pipe->read_claimed = false;
    }
    pipe_unlock(pipe);
    return total ? total : moved;
}

/* --- file to pipe ------------------------------------------------------------------------------------ */

/* One page from the file into the pipe, which has room and is claimed. Bytes, 0 at the end, or an error. */
static int64_t page_read(struct pipe *pipe, struct file *in, int64_t *position, size_t size, bool more)
{
    uint8_t *page = pipe_page_get_locked(pipe);
    struct io io;
    int64_t moved;

    if (!page)
        return -ENOMEM;
    mutex_unlock(&pipe->mutex);
    io_init_kernel(&io, page, size);
    io.flags = more ? IO_NONBLOCK : 0; /* only the first read may wait */
    moved = in->ops->read(in, &io, position);
    if (moved > 0)
        notify_file(in, NOTIFY_ACCESS);
    mutex_lock(&pipe->mutex);
    if (moved > 0 && pipe->readers) {
        pipe_push_locked(pipe, page, moved, 0);
        pipe_announce_locked(pipe, READ_EVENTS);
        return moved;
    }
    pipe_page_put_locked(pipe, page);
    return moved > 0 ? -EPIPE : moved;
}

static int64_t file_to_pipe(struct pipe *pipe, struct file *in, int64_t *position, size_t size, bool nonblock)
{
    int64_t total = 0, moved;

    pipe_lock(pipe);
    moved = pipe_wait_writable_locked(pipe, nonblock);
    if (moved > 0) {
        pipe->write_claimed = true;
        while (size && !pipe_full(pipe)) {
            size_t wanted = min_u64(size, PAGE_SIZE);

            moved = page_read(pipe, in, position, wanted, total > 0);
            if (moved <= 0)
                break;
            total += moved;
            size -= moved;
            if ((size_t)moved < wanted)
                break;
        }
        pipe->write_claimed = false;
    }
    pipe_unlock(pipe);
    if (moved == -EPIPE)
        pipe_send_sigpipe();
    return total ? total : moved;
}

/* --- whole messages ---------------------------------------------------------------------------------- */

#define MESSAGE_MAX ((size_t)2 << 20)

/* A message into pages of the pipe, which is claimed and not full. What it has no room for is lost: -EIO. */
static int64_t message_push_locked(struct pipe *pipe, const uint8_t *message, size_t size)
{
    for (size_t done = 0, part; done < size; done += part) {
        uint8_t *page = pipe_full(pipe) ? NULL : pipe_page_get_locked(pipe);

        if (!page)
            return -EIO;
        part = min_u64(size - done, PAGE_SIZE);
        memcpy(page, message + done, part);
        pipe_push_locked(pipe, page, part, 0);
    }
    pipe_announce_locked(pipe, READ_EVENTS);
    return (int64_t)size;
}

static int64_t message_read(struct pipe *pipe, struct file *in, uint8_t *message, size_t size, bool nonblock)
{
    struct io io;
    int64_t moved;

    pipe_lock(pipe);
    moved = pipe_wait_writable_locked(pipe, nonblock);
    if (moved > 0) {
        pipe->write_claimed = true;
        mutex_unlock(&pipe->mutex);
        io_init_kernel(&io, message, size);
        moved = in->ops->read(in, &io, NULL); /* waits as the file's own flags say */
        mutex_lock(&pipe->mutex);
        if (moved > 0)
            moved = pipe->readers ? message_push_locked(pipe, message, (size_t)moved) : -EPIPE;
        pipe->write_claimed = false;
    }
    pipe_unlock(pipe);
    return moved;
}

/* What was asked for, out of the pipe, as one message. */
static int64_t message_write(struct pipe *pipe, struct file *out, uint8_t *message, size_t size, bool nonblock)
{
    struct io io;
    size_t got = 0;
    int64_t moved;

    pipe_lock(pipe);
    moved = pipe_wait_readable_locked(pipe, nonblock);
    while (moved > 0 && got < size && !pipe_empty(pipe)) {
        struct pipe_slot *slot = pipe_slot_at(pipe, pipe->tail);
        size_t part = min_u64(size - got, slot->length);

        memcpy(message + got, slot->page + slot->offset, part);
        pipe_consume_locked(pipe, part);
        got += part;
    }
    if (got)
        pipe_announce_locked(pipe, WRITE_EVENTS);
    pipe_unlock(pipe);
    if (!got)
        return moved;
    io_init_kernel(&io, message, got);
    return out->ops->write(out, &io, NULL);
}

static int64_t message_splice(struct pipe *pipe, struct file *other, size_t size, bool nonblock, bool reading)
{
    uint8_t *message = kalloc(min_u64(size, MESSAGE_MAX));
    int64_t moved;

    if (!message)
        return -ENOMEM;
    size = min_u64(size, MESSAGE_MAX);
    moved = reading ? message_read(pipe, other, message, size, nonblock) : message_write(pipe, other, message, size, nonblock);
    kfree(message);
    if (moved == -EPIPE)
        pipe_send_sigpipe();
    return moved;
}

/* --- pipe to pipe ------------------------------------------------------------------------------------ */

/*
 * Both locked, `from` not empty and `to` not full, nobody has claimed them: 1. Else nothing is locked and it is the
 * end (0) or an error.
 */
static int both_lock(struct pipe *from, struct pipe *to, bool nonblock)
{
    for (;;) {
        int result;

        pipe_lock(from);
        result = pipe_wait_readable_locked(from, nonblock);
        pipe_unlock(from);
        if (result <= 0)
            return result;
        pipe_lock(to);
        result = pipe_wait_writable_locked(to, nonblock);
        pipe_unlock(to);
        if (result <= 0)
            return result;
        pipe_lock_pair(from, to);
        if (!pipe_empty(from) && !from->read_claimed && to->readers && !pipe_full(to) && !to->write_claimed)
            return 1;
        mutex_unlock_pair(&from->mutex, &to->mutex);
    }
}

/* A copy of some bytes of a slot at the end of `to`. False: no memory. */
static bool slot_copy(struct pipe *to, const struct pipe_slot *slot, size_t size)
{
    uint8_t *page = pipe_page_get_locked(to);

    if (!page)
        return false;
    memcpy(page, slot->page + slot->offset, size);
    pipe_push_locked(to, page, size, slot->flags);
    return true;
}

static int64_t slots_move(struct pipe *from, struct pipe *to, size_t size)
{
    int64_t total = 0;

    while (size && !pipe_empty(from) && !pipe_full(to)) {
        struct pipe_slot *slot = pipe_slot_at(from, from->tail);
        size_t moved = min_u64(size, slot->length);

        if (moved == slot->length) {
            *pipe_slot_at(to, to->head++) = *slot;
            slot->page = NULL;
            from->tail++;
        } else {
            if (!slot_copy(to, slot, moved))
                return total ? total : -ENOMEM;
            pipe_consume_locked(from, moved);
        }
        total += moved;
        size -= moved;
    }
    return total;
}

static int64_t slots_copy(struct pipe *from, struct pipe *to, size_t size)
{
    int64_t total = 0;

    for (uint32_t i = from->tail; size && i != from->head && !pipe_full(to); i++) {
        struct pipe_slot *slot = pipe_slot_at(from, i);
        size_t copied = min_u64(size, slot->length);

        if (!slot_copy(to, slot, copied))
            return total ? total : -ENOMEM;
        total += copied;
        size -= copied;
    }
    return total;
}

static int64_t pipe_to_pipe(struct pipe *from, struct pipe *to, size_t size, bool nonblock, bool keep)
{
    int64_t result = both_lock(from, to, nonblock);
    bool was_full;

    if (result == -EPIPE)
        pipe_send_sigpipe();
    if (result <= 0)
        return result;
    was_full = pipe_full(from);
    result = keep ? slots_copy(from, to, size) : slots_move(from, to, size);
    if (result > 0)
        pipe_announce_locked(to, READ_EVENTS);
    if (was_full && !pipe_full(from))
        pipe_announce_locked(from, WRITE_EVENTS);
    pipe_unlock(to);
    pipe_unlock(from);
    return result;
}

/* --- the calls --------------------------------------------------------------------------------------- */

/* Two files by descriptor, the first to be read, the second to be written. */
static int files_get(int in_fd, int out_fd, struct file **in, struct file **out)
{
    int error = fd_get(in_fd, in);

    if (error)
        return error;
    error = fd_get(out_fd, out);
    if (!error && file_readable(*in) && file_writable(*out))
        return 0;
    if (!error)
        file_unref(*out);
    file_unref(*in);
    return -EBADF;
}

/* The other file's side: its offset from the caller or its own position, and back afterwards. */
struct side {
    struct file *file;
    uaddr_t user; /* where the caller keeps the offset, or 0 */
    int64_t position;
    bool locked;
};

static int side_begin(struct side *side, struct file *file, uaddr_t user)
{
    *side = (struct side){.file = file, .user = user};
    if (user && !file->ops->seek)
        return -EINVAL;
    if (user && user_read(&side->position, user, sizeof(side->position)))
        return -EFAULT;
    if (user && side->position < 0)
        return -EINVAL;
    if (user || !file->ops->seek)
        return 0;
    if (file_position_lock(file, &side->locked))
        return -ERESTARTSYS;
    side->position = file->position;
    return 0;
}

static int64_t *side_position(struct side *side) { return side->file->ops->seek ? &side->position : NULL; }

static int64_t side_end(struct side *side, int64_t result)
{
    if (side->user) {
        if (result > 0 && user_write(side->user, &side->position, sizeof(side->position)))
            return -EFAULT;
    } else if (side->file->ops->seek) {
        if (result > 0)
            side->file->position = side->position;
        file_position_unlock(side->file, side->locked);
    }
    return result;
}

static int64_t splice_with_file(struct pipe *pipe, struct file *other, uaddr_t offset, size_t size, bool nonblock, bool reading)
{
    struct side side;
    int64_t result;

    if (reading ? !other->ops->read : !other->ops->write)
        return -EINVAL;
    if (!reading && (atomic32_load_relaxed(&other->flags) & LINUX_O_APPEND))
        return -EINVAL;
    if (other->ops->messages)
        return offset ? -ESPIPE : message_splice(pipe, other, size, nonblock, reading);
    result = side_begin(&side, other, offset);
    if (result)
        return result;
    if (reading)
        result = file_to_pipe(pipe, other, side_position(&side), size, nonblock);
    else
        result = pipe_to_file(pipe, other, side_position(&side), size, nonblock);
    return side_end(&side, result);
}

static int64_t splice_files(struct file *in, uaddr_t in_offset, struct file *out, uaddr_t out_offset, size_t size, bool nonblock)
{
    struct pipe *from = pipe_of(in), *to = pipe_of(out);

    if ((from && in_offset) || (to && out_offset))
        return -ESPIPE;
    if (from == to)
        return -EINVAL; /* also: neither is a pipe */
    nonblock |= (from && file_nonblocking(in)) || (to && file_nonblocking(out));
    if (from && to)
        return pipe_to_pipe(from, to, size, nonblock, false);
    if (from)
        return splice_with_file(from, out, out_offset, size, nonblock, false);
    return splice_with_file(to, in, in_offset, size, nonblock, true);
}

int64_t sys_splice(int32_t in_fd, uaddr_t in_offset, int32_t out_fd, uaddr_t out_offset, uint64_t size, uint32_t flags)
{
    struct file *in, *out;
    int64_t result;

    if (flags & ~(uint32_t)SPLICE_F_ALL)
        return -EINVAL;
    if (!size)
        return 0;
    result = files_get(in_fd, out_fd, &in, &out);
    if (result)
        return result;
    result = splice_files(in, in_offset, out, out_offset, min_u64(size, IO_SIZE_MAX), flags & SPLICE_F_NONBLOCK);
    file_unref(in);
    file_unref(out);
    return result;
}

int64_t sys_tee(int32_t in_fd, int32_t out_fd, uint64_t size, uint32_t flags)
{
    struct file *in, *out;
    int64_t result;

    if (flags & ~(uint32_t)SPLICE_F_ALL)
        return -EINVAL;
    if (!size)
        return 0;
    result = files_get(in_fd, out_fd, &in, &out);
    if (result)
        return result;
    if (!pipe_of(in) || !pipe_of(out) || pipe_of(in) == pipe_of(out))
        result = -EINVAL;
    else
        result = pipe_to_pipe(pipe_of(in), pipe_of(out), min_u64(size, IO_SIZE_MAX),
                              (flags & SPLICE_F_NONBLOCK) || file_nonblocking(in) || file_nonblocking(out), true);
    file_unref(in);
    file_unref(out);
    return result;
}

int64_t sys_vmsplice(int32_t fd, uaddr_t vectors, uint64_t count, uint32_t flags)
{
    struct file *file;
    struct io io;
    int64_t result;

    if (flags & ~(uint32_t)SPLICE_F_ALL)
        return -EINVAL;
    result = fd_get(fd, &file);
    if (result)
        return result;
    result = pipe_of(file) ? io_init_vectors(&io, vectors, count) : -EBADF;
    if (!result) {
        if (flags & SPLICE_F_NONBLOCK)
            io.flags |= IO_NONBLOCK;
        result = file_writable(file) ? file->ops->write(file, &io, NULL) : file->ops->read(file, &io, NULL);
        io_done(&io);
    }
    file_unref(file);
    return result;
}
