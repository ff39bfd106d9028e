/*
 * Reading, writing, ioctl and poll: messages by handle.
 *
 * Bytes go through the request: a reply is copied in from the program's memory and out to the reader's, each on its owner's
 * thread, so that neither can fault under the other. A transfer larger than a message is several; it ends early where the program
 * gives or takes less than it could.
 */
#include "abi/linux/fs/fuse.h"

#include "abi/linux/process.h"
#include "kernel/string.h"
#include "kernel/user.h"

/* --- reading ----------------------------------------------------------------------------------------- */

/* One message's worth: bytes put to the reader, *end when the program gave less than was asked. */
static int64_t read_part(struct file *file, struct io *io, uint64_t offset, bool *end)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    uint32_t size = (uint32_t)min_u64(io_left(io), handle->conn->max_read);
    struct fuse_request *request;
    int64_t result = fuse_begin(file->node, FUSE_READ, sizeof(struct fuse_read_in), NULL, 0, size, &request);

    if (result)
        return result;
    *(struct fuse_read_in *)request->in = (struct fuse_read_in){.handle = handle->handle, .offset = offset, .size = size,
                                                                .flags = atomic32_load_relaxed(&file->flags)};
    request->out_variable = true;
    result = fuse_call(request);
    if (!result) {
        *end = request->out_length < size;
        result = (int64_t)io_put(io, request->out, request->out_length);
        if (!result && request->out_length)
            result = -EFAULT;
    }
    fuse_request_put(request);
    return result;
}

/* Where a transfer of a stream begins: nowhere, or where the last one ended. */
static uint64_t stream_start(const struct fuse_handle *handle)
{
    return handle->open_flags & FUSE_OPENED_STREAM ? 0 : atomic64_load_relaxed(&handle->stream_at);
}

int64_t fuse_file_read(struct file *file, struct io *io, int64_t *position)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    uint64_t start = position ? (uint64_t)*position : stream_start(handle);
    int64_t done = 0, part = 1;
    bool end = false;

    if (handle->pages && position) {
        done = fuse_pages_read(file, io, start);
        *position += done > 0 ? done : 0;
        return done;
    }
    while (io_left(io) && !end && part > 0) {
        if (start + (uint64_t)done > INT64_MAX)
            break;
        part = read_part(file, io, start + (uint64_t)done, &end);
        done += part > 0 ? part : 0;
    }
    if (position)
        *position += done;
    else
        atomic64_store_relaxed(&handle->stream_at, start + (uint64_t)done);
    return done || part > 0 ? done : part;
}

/* --- writing ----------------------------------------------------------------------------------------- */

/* What the program has taken, into the pages that are there. */
static void wrote_through(struct file *file, uint64_t offset, const void *data, size_t size)
{
    struct memobj *pages = fuse_handle_of(file)->pages;

    if (!pages || pager_update(pages, offset, data, size))
        fuse_pages_invalidate(file->node, offset, size);
}

/* One message's worth: bytes the program took, *end when that is less than it was given. */
static int64_t write_part(struct file *file, struct io *io, uint64_t offset, bool *end)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    size_t head = sizeof(struct fuse_write_in), size = min_u64(io_left(io), handle->conn->max_write);
    struct fuse_request *request;
    int64_t result =
        fuse_begin(file->node, FUSE_WRITE, head + size, NULL, 0, sizeof(struct fuse_write_out), &request);

    if (result)
        return result;
    size_t got = io_get(io, (uint8_t *)request->in + head, size);
    *end = got < size;
    request->in_size = (uint32_t)(head + got);
    request->header.length = (uint32_t)(sizeof(request->header) + head + got);
    *(struct fuse_write_in *)request->in = (struct fuse_write_in){.handle = handle->handle, .offset = offset, .size = (uint32_t)got,
                                                                  .flags = atomic32_load_relaxed(&file->flags)};
    result = got || !size ? fuse_call(request) : -EFAULT;
    if (!result) {
        uint32_t taken = ((const struct fuse_write_out *)request->out)->size;
        *end |= taken < got;
        result = taken > got ? -EIO : (int64_t)taken;
    }
    if (result > 0)
        wrote_through(file, offset, (const uint8_t *)request->in + head, (size_t)result);
    fuse_request_put(request);
    return result;
}

static int64_t write_at(struct file *file, struct io *io, uint64_t start)
{
    int64_t done = 0, part = 1;
    bool end = false;

    while (io_left(io) && !end && part > 0) {
        part = write_part(file, io, start + (uint64_t)done, &end);
        done += part > 0 ? part : 0;
    }
    fuse_attr_wrote(file->node, done > 0 ? start + (uint64_t)done : 0);
    return done || part > 0 ? done : part;
}

/* A process may not make a file longer than its limit: what fits is written. */
static int64_t write_limited(struct file *file, struct io *io, int64_t *position)
{
    uint64_t limit = current_thread() ? rlimit(LINUX_RLIMIT_FSIZE) : UINT64_MAX;
    int64_t done;

    if ((uint64_t)*position >= limit) {
        signal_send_thread(current_thread(), LINUX_SIGXFSZ, NULL);
        return -EFBIG;
    }
    if (*position > INT64_MAX - (int64_t)io_left(io))
        return -EFBIG;
    io->left = min_u64(io->left, limit - (uint64_t)*position);
    node_drop_privileges(file->node);
    done = write_at(file, io, (uint64_t)*position);
    *position += done > 0 ? done : 0;
    return done;
}

/* At the end, which nobody else of this side moves meanwhile. */
static int64_t write_append(struct file *file, struct io *io, int64_t *position)
{
    struct gate *gate = &fuse_node_of(file->node)->gate;
    struct linux_stat_data stat;
    int64_t done = gate_enter(gate);

    if (done)
        return done;
    done = fuse_get_attr(file->node, fuse_handle_of(file), true, &stat);
    if (!done) {
        *position = (int64_t)stat.size;
        done = write_limited(file, io, position);
    }
    gate_leave(gate);
    return done;
}

int64_t fuse_file_write(struct file *file, struct io *io, int64_t *position)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    uint32_t flags = atomic32_load_relaxed(&file->flags);
    int64_t at = position ? *position : (int64_t)stream_start(handle), done;

    if (!io_left(io))
        return 0;
    if (((io->flags & IO_APPEND) || (flags & LINUX_O_APPEND)) && position)
        done = write_append(file, io, &at);
    else
        done = write_limited(file, io, &at);
    if (position)
        *position = at;
    else
        atomic64_store_relaxed(&handle->stream_at, (uint64_t)at);
    if (done > 0 && ((io->flags & (IO_SYNC | IO_DATA_SYNC)) || (flags & LINUX_O_DSYNC))) {
        int error = file->ops->sync(file, !(io->flags & IO_SYNC) && (flags & LINUX_O_SYNC) != LINUX_O_SYNC);
        return error ? error : done;
    }
    return done;
}

/* --- ioctl ------------------------------------------------------------------------------------------- */

#define LINUX_FIONREAD 0x541bu
enum { IOCTL_WRITES = 1, IOCTL_READS = 2 }; /* what the caller gives, and wants back: in the command's upper bits */

static uint32_t ioctl_size(uint32_t command) { return command >> 16 & 0x3fff; }
static uint32_t ioctl_direction(uint32_t command) { return command >> 30; }

static int64_t ioctl_left(struct file *file, uaddr_t argument)
{
    struct linux_stat_data stat;
    int error = fuse_get_attr(file->node, fuse_handle_of(file), true, &stat);
    int32_t left = error ? 0 : (int32_t)((int64_t)stat.size - file->position);

    return error ? error : user_write(argument, &left, sizeof(left));
}

/* The command says what is copied; the program cannot ask for more (no FUSE_IOCTL_UNRESTRICTED). */
static int64_t ioctl_finish(struct fuse_request *request, uint32_t out_size, uaddr_t argument)
{
    const struct fuse_ioctl_out *out = request->out;
    uint32_t size = request->out_length - (uint32_t)sizeof(*out);

    if (request->out_length < sizeof(*out) || out->flags || size > out_size)
        return -EIO;
    if (size && user_write(argument, out + 1, size))
        return -EFAULT;
    return out->result;
}

int64_t fuse_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    uint32_t in_size = ioctl_direction(command) & IOCTL_WRITES ? ioctl_size(command) : 0;
    uint32_t out_size = ioctl_direction(command) & IOCTL_READS ? ioctl_size(command) : 0;
    struct fuse_request *request;
    int64_t result;

    if (command == LINUX_FIONREAD && !handle->directory)
        return ioctl_left(file, argument);
    if (handle->directory && !(handle->conn->flags & FUSE_INIT_IOCTL_DIR))
        return -ENOTTY;
    result = fuse_begin(file->node, FUSE_IOCTL, sizeof(struct fuse_ioctl_in) + in_size, NULL, 0, sizeof(struct fuse_ioctl_out) + out_size,
                        &request);
    if (result)
        return result == -ENOSYS ? -ENOTTY : result;
    struct fuse_ioctl_in *in = request->in;
    *in = (struct fuse_ioctl_in){.handle = handle->handle, .flags = handle->directory ? FUSE_IOCTL_IS_DIRECTORY : 0, .command = command,
                                 .argument = argument, .in_size = in_size, .out_size = out_size};
    request->out_variable = true;
    result = in_size && user_read(in + 1, argument, in_size) ? -EFAULT : fuse_call(request);
    if (!result)
        result = ioctl_finish(request, out_size, argument);
    fuse_request_put(request);
    return result == -ENOSYS ? -ENOTTY : result;
}

/* --- poll -------------------------------------------------------------------------------------------- */

#define POLL_ALWAYS (EVENT_READ | EVENT_WRITE | EVENT_READ_NORMAL | EVENT_WRITE_NORMAL)

/*
 * Poll must not wait, because who polls many files may hold locks; so the program is asked in passing, and its answer announced. The file
 * stays alive until then: the request keeps it.
 */
static void poll_done(struct fuse_request *request)
{
    struct file *file = request->file;
    struct fuse_handle *handle = fuse_handle_of(file);
    uint32_t events = request->error == -ENOSYS ? POLL_ALWAYS : EVENT_ERROR;

    if (!request->error)
        events = ((const struct fuse_poll_out *)request->out)->events & 0xffff;
    atomic32_store_release(&handle->poll_events, events);
    atomic32_store_release(&handle->poll_known, 1);
    atomic32_store_release(&handle->poll_asked, 0);
    if (events)
        knote_notify(&handle->knotes, events);
}

static void poll_register(struct fuse_handle *handle)
{
    struct fuse_conn *conn = handle->conn;

    spin_lock(&conn->lock);
    if (!handle->poll_handle) {
        handle->poll_handle = conn->next_poll++;
        list_push_back(&conn->polls, &handle->poll_link);
    }
    spin_unlock(&conn->lock);
}

static void poll_ask(struct file *file)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    struct fuse_request *request;

    poll_register(handle);
    if (atomic32_swap(&handle->poll_asked, 1))
        return;
    if (fuse_begin(file->node, FUSE_POLL, sizeof(struct fuse_poll_in), NULL, 0, sizeof(struct fuse_poll_out), &request)) {
        atomic32_store_release(&handle->poll_asked, 0);
        return;
    }
    *(struct fuse_poll_in *)request->in = (struct fuse_poll_in){.handle = handle->handle, .poll_handle = handle->poll_handle,
                                                                .flags = FUSE_POLL_NOTIFY, .events = POLL_ALWAYS | EVENT_PRIORITY};
    request->done = poll_done;
    request->file = file_ref(file);
    fuse_send(request);
}

uint32_t fuse_poll(struct file *file)
{
    struct fuse_handle *handle = fuse_handle_of(file);

    if (fuse_missing(handle->conn, FUSE_POLL))
        return POLL_ALWAYS;
    /* An answer is good for one look. */
    if (atomic32_swap(&handle->poll_known, 0))
        return atomic32_load_acquire(&handle->poll_events);
    poll_ask(file);
    return atomic32_load_acquire(&handle->poll_known) ? atomic32_load_acquire(&handle->poll_events) : 0;
}
