/*
 * The guest's standard streams as files over descriptors of the host.
 *
 *   struct stream   one host descriptor: how it may be used without blocking, and who waits for it
 *
 * Nothing sets O_NONBLOCK: the open file is shared with whoever started us. Instead each transfer asks not to
 * block (RWF_NOWAIT, MSG_DONTWAIT), or waits for readiness first and goes to the blocking pool. Descriptors that the
 * event loop cannot watch are always ready. A regular file's position is the host's, so that it goes on where we
 * stopped. Descriptors that are one open file become one file of the guest.
 */
#include "body/linux/stdio.h"

#include "abi/linux/fs/memfs.h"
#include "abi/linux/process.h"
#include "abi/linux/tty.h"
#include "body/linux/host.h"
#include "body/linux/hostfs.h"
#include "body/linux/stdio_console.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/string.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK ((size_t)64 << 10)
#define HOST_FIONREAD 0x541bu

struct stream {
    struct host_watch watch;
    int fd;
    uint32_t type; /* S_IFMT bits */
    bool watched;  /* readiness comes from the event loop; else always ready */
    bool memory;   /* /dev/null and its like: never blocks */
    struct atomic32 events; /* counts ready() */
    struct waitq waiters;
    struct knote_list knotes;
};

static struct stream *stream_of(struct file *file) { return file->data; }

static void stream_ready(struct host_watch *watch, uint32_t epoll_events)
{
    struct stream *stream = CONTAINER_OF(watch, struct stream, watch);
    uint32_t events = epoll_events & (EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP); /* the same bits */
    atomic32_add(&stream->events, 1);
    waitq_wake_all(&stream->waiters);
    knote_notify(&stream->knotes, events | (events & EPOLLIN ? EVENT_READ_NORMAL : 0) | (events & EPOLLOUT ? EVENT_WRITE_NORMAL : 0));
}

/* Waits until ready() has run since `seen` was read. The count is read again under the queue's lock, where ready() wakes. */
static int stream_wait(struct stream *stream, uint32_t seen)
{
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&stream->waiters.lock);
    bool changed = atomic32_load(&stream->events) != seen;
    if (!changed)
        waitq_enqueue_locked(&stream->waiters, &waiter);
    spin_unlock(&stream->waiters.lock);
    if (changed)
        return 0;
    return waiter_wait(&waiter, DEADLINE_NEVER, WAIT_INTERRUPTIBLE) ? -ERESTARTSYS : 0;
}

/* --- one host call that does not block --------------------------------------------------------------- */

static NOINLINE uint32_t host_poll(int fd, uint32_t events)
{
    struct pollfd entry = {.fd = fd, .events = (short)events};
    return poll(&entry, 1, 0) > 0 ? (uint32_t)entry.revents : 0;
}

struct transfer {
    int fd;
    void *buffer;
    size_t size;
    int64_t offset; /* -1: the host's position */
    bool write;
};

static int64_t transfer_try(const struct transfer *transfer)
{
    struct iovec vector = {transfer->buffer, transfer->size};
    return host_raw(transfer->write ? SYS_pwritev2 : SYS_preadv2, (uint64_t)transfer->fd, (uintptr_t)&vector, 1,
                    (uint64_t)transfer->offset, (uint64_t)transfer->offset >> 32 >> 32, RWF_NOWAIT);
}

static int64_t transfer_blocking(const struct transfer *transfer, bool pooled)
{
    struct iovec vector = {transfer->buffer, transfer->size};
    long number = transfer->write ? SYS_pwritev2 : SYS_preadv2;
    uint64_t fd = (uint64_t)transfer->fd, offset = (uint64_t)transfer->offset;
    return pooled ? host_raw_pooled(number, fd, (uintptr_t)&vector, 1, offset, 0, 0) : host_raw(number, fd, (uintptr_t)&vector, 1, offset, 0, 0);
}

static int64_t transfer_socket(const struct transfer *transfer)
{
    return host_raw(transfer->write ? SYS_sendto : SYS_recvfrom, (uint64_t)transfer->fd, (uintptr_t)transfer->buffer, transfer->size,
                    MSG_DONTWAIT | (transfer->write ? MSG_NOSIGNAL : 0), 0, 0);
}

/* -EAGAIN when it would block. */
static int64_t transfer_once(struct stream *stream, const struct transfer *transfer)
{
    if (stream->type == S_IFSOCK)
        return transfer_socket(transfer);
    if (stream->memory)
        return transfer_blocking(transfer, false);
    int64_t moved = transfer_try(transfer);
    if (moved == -EOPNOTSUPP && stream->type == S_IFREG && transfer->write && transfer->size <= HOST_WRITE_DIRECT_MAX)
        return transfer_blocking(transfer, false);
    if (moved == -EAGAIN && !stream->watched)
        return transfer_blocking(transfer, true);
    if (moved != -EOPNOTSUPP)
        return moved;
    /* The host cannot say whether it would block: when it says ready we try, on the pool in case somebody is faster. */
    if (stream->watched && !host_poll(stream->fd, transfer->write ? POLLOUT : POLLIN))
        return -EAGAIN;
    return transfer_blocking(transfer, true);
}

static int64_t transfer_wait(struct stream *stream, const struct transfer *transfer, bool nonblocking)
{
    for (;;) {
        uint32_t seen = atomic32_load(&stream->events);
        int64_t moved = transfer_once(stream, transfer);
        if (moved != -EAGAIN || nonblocking)
            return moved;
        int error = stream_wait(stream, seen);
        if (error)
            return error;
    }
}

/* --- file operations --------------------------------------------------------------------------------- */

static bool is_nonblocking(struct file *file, const struct io *io) { return file_nonblocking(file) || io->flags & IO_NONBLOCK; }

static int64_t host_position(int fd) { return host_raw(SYS_lseek, (uint64_t)fd, 0, SEEK_CUR, 0, 0, 0); }

/* Reads once: what a stream has is what the program gets. */
static int64_t read_once(struct file *file, struct io *io, int64_t offset)
{
    struct stream *stream = stream_of(file);
    size_t size = io_left(io) < CHUNK ? io_left(io) : CHUNK;
    char *buffer = kalloc(size ? size : 1);
    if (!buffer)
        return -ENOMEM;
    struct transfer transfer = {stream->fd, buffer, size, offset, false};
    int64_t moved = transfer_wait(stream, &transfer, is_nonblocking(file, io));
    if (moved > 0 && io_put(io, buffer, (size_t)moved) < (size_t)moved)
        moved = -EFAULT;
    kfree(buffer);
    return moved;
}

static void raise_pipe_signal(void)
{
    if (current_thread())
        signal_send_thread(current_thread(), LINUX_SIGPIPE, NULL);
}

static int64_t write_all(struct file *file, struct io *io, int64_t offset)
{
    struct stream *stream = stream_of(file);
    size_t chunk = io_left(io) < CHUNK ? io_left(io) : CHUNK;
    char *buffer = kalloc(chunk ? chunk : 1);
    int64_t done = 0, moved = buffer ? 0 : -ENOMEM;
    while (moved >= 0 && io_left(io)) {
        size_t got = io_get(io, buffer, io_left(io) < chunk ? io_left(io) : chunk), at = 0;
        moved = got ? 0 : -EFAULT;
        while (at < got && moved >= 0) {
            struct transfer transfer = {stream->fd, buffer + at, got - at, offset < 0 ? -1 : offset + done, true};
            moved = transfer_wait(stream, &transfer, is_nonblocking(file, io));
            at += moved > 0 ? (size_t)moved : 0;
            done += moved > 0 ? moved : 0;
        }
    }
    kfree(buffer);
    if (moved == -EPIPE)
        raise_pipe_signal();
    return done ? done : moved < 0 ? moved : 0;
}

static int64_t stream_read(struct file *file, struct io *io, int64_t *position)
{
    (void)position;
    return io_left(io) ? read_once(file, io, -1) : 0;
}

static int64_t stream_write(struct file *file, struct io *io, int64_t *position)
{
    (void)position;
    return write_all(file, io, -1);
}

/* At the file's position the host's is used and moved; elsewhere (pread) it is left alone. */
static int64_t at_position(struct file *file, struct io *io, int64_t *position, int64_t (*move)(struct file *, struct io *, int64_t))
{
    bool shared = *position == file->position;
    int64_t moved = move(file, io, shared ? -1 : *position);
    if (shared)
        *position = host_position(stream_of(file)->fd);
    else if (moved > 0)
        *position += moved;
    return moved;
}

static int64_t read_some(struct file *file, struct io *io, int64_t offset)
{
    int64_t done = 0, moved = 0;
    while (io_left(io)) {
        size_t want = io_left(io) < CHUNK ? io_left(io) : CHUNK;
        moved = read_once(file, io, offset < 0 ? -1 : offset + done);
        if (moved > 0)
            done += moved;
        if (moved < (int64_t)want)
            break;
    }
    return done ? done : moved;
}

static int64_t regular_read(struct file *file, struct io *io, int64_t *position) { return at_position(file, io, position, read_some); }
static int64_t regular_write(struct file *file, struct io *io, int64_t *position) { return at_position(file, io, position, write_all); }

static int64_t regular_seek(struct file *file, int64_t offset, int whence)
{
    int64_t position = host_raw(SYS_lseek, (uint64_t)stream_of(file)->fd, (uint64_t)offset, (uint64_t)whence, 0, 0, 0);
    if (position >= 0)
        file->position = position;
    return position;
}

static uint32_t stream_poll(struct file *file)
{
    struct stream *stream = stream_of(file);
    if (!stream->watched)
        return EVENT_READ | EVENT_WRITE | EVENT_READ_NORMAL | EVENT_WRITE_NORMAL;
    return host_poll(stream->fd, POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP);
}

static struct knote_list *stream_knotes(struct file *file) { return stream_of(file)->watched ? &stream_of(file)->knotes : NULL; }

static int64_t stream_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    int32_t count = 0;
    if (command != HOST_FIONREAD)
        return -ENOTTY;
    int64_t error = host_raw(SYS_ioctl, (uint64_t)stream_of(file)->fd, HOST_FIONREAD, (uintptr_t)&count, 0, 0, 0);
    return error ? error : user_write(argument, &count, sizeof count);
}

static struct file_time time_of(const struct statx_timestamp *time) { return (struct file_time){time->tv_sec, time->tv_nsec}; }

static int stream_stat(struct file *file, struct linux_stat_data *out)
{
    struct statx stat;
    int error = host_statx(stream_of(file)->fd, &stat);
    if (error)
        return error;
    *out = (struct linux_stat_data){
        .device = makedev(stat.stx_dev_major, stat.stx_dev_minor),
        .inode = stat.stx_ino,
        .link_count = stat.stx_nlink,
        .rdev = makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        .size = stat.stx_size,
        .blocks = stat.stx_blocks,
        .mode = stat.stx_mode,
        .uid = stat.stx_uid,
        .gid = stat.stx_gid,
        .block_size = stat.stx_blksize,
        .access = time_of(&stat.stx_atime),
        .modify = time_of(&stat.stx_mtime),
        .change = time_of(&stat.stx_ctime),
    };
    return 0;
}

static int regular_truncate(struct file *file, uint64_t size)
{
    return (int)host_raw_pooled(SYS_ftruncate, (uint64_t)stream_of(file)->fd, size, 0, 0, 0, 0);
}

static int regular_sync(struct file *file, bool data_only)
{
    return (int)host_raw_pooled(data_only ? SYS_fdatasync : SYS_fsync, (uint64_t)stream_of(file)->fd, 0, 0, 0, 0, 0);
}

static int regular_allocate(struct file *file, int mode, uint64_t offset, uint64_t size)
{
    return (int)host_raw_pooled(SYS_fallocate, (uint64_t)stream_of(file)->fd, (uint64_t)mode, offset, size, 0, 0);
}

/* For reading only: the descriptor that would be handed on carries whatever rights our starter had. */
static int regular_map(struct file *file, uint32_t prot, bool shared, struct memobj **memobj)
{
    struct linux_stat_data stat;
    if (shared && (prot & PROT_WRITE_BIT))
        return -EACCES;
    int error = stream_stat(file, &stat);
    if (error)
        return error;
    int fd = (int)host_raw(SYS_fcntl, (uint64_t)stream_of(file)->fd, F_DUPFD_CLOEXEC, 3, 0, 0, 0);
    if (fd < 0)
        return fd;
    struct host_file *contents = host_file_create(fd, -1);
    *memobj = contents ? memobj_create_host_file(contents, stat.size) : NULL;
    if (!*memobj)
        host_file_unref(contents);
    return *memobj ? 0 : -ENOMEM;
}

static void stream_release(struct file *file);

/* What the event loop cannot watch has no poll either: epoll refuses it, as it does natively. */
#define COMMON_OPS .ioctl = stream_ioctl, .stat = stream_stat, .release = stream_release
#define WATCHED_OPS .poll = stream_poll, .knotes = stream_knotes, COMMON_OPS

static const struct file_ops pipe_stream_ops = {.kind = "pipe", .read = stream_read, .write = stream_write, WATCHED_OPS};
static const struct file_ops socket_stream_ops = {.kind = "socket", .read = stream_read, .write = stream_write, WATCHED_OPS};
static const struct file_ops device_stream_ops = {.kind = "device", .read = stream_read, .write = stream_write, WATCHED_OPS};
static const struct file_ops memory_stream_ops = {.kind = "device", .read = stream_read, .write = stream_write, COMMON_OPS};
static const struct file_ops directory_stream_ops = {.kind = "directory", COMMON_OPS};
static const struct file_ops regular_stream_ops = {
    .kind = "file",
    .read = regular_read,
    .write = regular_write,
    .seek = regular_seek,
    .truncate = regular_truncate,
    .sync = regular_sync,
    .allocate = regular_allocate,
    .map = regular_map,
    COMMON_OPS,
};

/* --- creation ---------------------------------------------------------------------------------------- */

static const struct file_ops *ops_for(const struct stream *stream)
{
    switch (stream->type) {
    case S_IFIFO:
        return &pipe_stream_ops;
    case S_IFSOCK:
        return &socket_stream_ops;
    case S_IFREG:
        return &regular_stream_ops;
    case S_IFDIR:
        return &directory_stream_ops;
    default:
        return stream->watched ? &device_stream_ops : &memory_stream_ops;
    }
}

static struct stream *stream_create(int fd, const struct statx *stat)
{
    struct stream *stream = kzalloc(sizeof *stream);
    if (!stream)
        return NULL;
    stream->fd = fd;
    stream->type = stat->stx_mode & S_IFMT;
    stream->memory = stream->type == S_IFCHR && stat->stx_rdev_major == 1;
    stream->watch = (struct host_watch){.fd = fd, .ready = stream_ready};
    waitq_init(&stream->waiters);
    knote_list_init(&stream->knotes);
    return stream;
}

/* The streams there are, to find descriptors that share one open file. Not referenced; a stream leaves when it is released. */
static struct spinlock open_lock = SPINLOCK_INIT(RANK_NODE_TABLE);
static struct file *open_files[3];

static bool same_open_file(int a, int b)
{
    int64_t pid = host_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
    return host_raw(SYS_kcmp, (uint64_t)pid, (uint64_t)pid, KCMP_FILE, (uint64_t)a, (uint64_t)b, 0) == 0;
}

static struct file *shared_file(int fd)
{
    struct file *found = NULL;
    for (int other = 0; other < 3 && !found; other++) {
        if (other != fd && !same_open_file(fd, other))
            continue;
        spin_lock(&open_lock);
        if (open_files[other] && object_try_ref(open_files[other]))
            found = open_files[other];
        spin_unlock(&open_lock);
    }
    return found;
}

static void remember(int fd, struct file *file)
{
    spin_lock(&open_lock);
    if (fd >= 0 && fd < 3)
        open_files[fd] = file;
    spin_unlock(&open_lock);
}

static void forget(struct file *file)
{
    spin_lock(&open_lock);
    for (int fd = 0; fd < 3; fd++)
        if (open_files[fd] == file)
            open_files[fd] = NULL;
    spin_unlock(&open_lock);
}

static void stream_release(struct file *file)
{
    struct stream *stream = stream_of(file);
    forget(file);
    if (stream->watched)
        host_watch_remove(&stream->watch);
    knote_list_close(&stream->knotes);
    kfree(stream);
}

static int open_stream(int fd, uint32_t flags, const struct statx *stat, struct file **file)
{
    struct stream *stream = stream_create(fd, stat);
    if (!stream)
        return -ENOMEM;
    int error = stream->memory ? -EPERM : host_watch_add(&stream->watch, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP);
    stream->watched = !error;
    if (error && error != -EPERM) {
        kfree(stream);
        return error;
    }
    *file = file_create(ops_for(stream), flags, stream);
    if (!*file) {
        if (stream->watched)
            host_watch_remove(&stream->watch);
        kfree(stream);
        return -ENOMEM;
    }
    if (stream->type == S_IFREG)
        (*file)->position = host_position(fd);
    return 0;
}

/* /dev/null and its like are the guest's own, under their name: a program may ask what its standard input is. */
static struct file *own_device(const struct statx *stat, uint32_t flags)
{
    static const char *const names[] = {[3] = "/dev/null", [5] = "/dev/zero", [7] = "/dev/full", [8] = "/dev/random", [9] = "/dev/urandom"};
    struct linux_stat_data found;
    struct path *path;
    struct file *file = NULL;
    if ((stat->stx_mode & S_IFMT) != S_IFCHR || stat->stx_rdev_major != 1 || stat->stx_rdev_minor >= ARRAY_SIZE(names) ||
        !names[stat->stx_rdev_minor] || path_walk(LINUX_AT_FDCWD, names[stat->stx_rdev_minor], 0, &path))
        return NULL;
    struct node *node = path_node(path);
    uint64_t rdev = makedev(stat->stx_rdev_major, stat->stx_rdev_minor);
    if (node->ops->get_attr(node, &found) || found.rdev != rdev || device_open(found.mode, rdev, flags, &file)) {
        path_unref(path);
        return NULL;
    }
    file->node = object_ref(node);
    file->path = path;
    return file;
}

int stdio_file(int host_fd, struct file **file)
{
    struct statx stat;
    int64_t flags = host_raw(SYS_fcntl, (uint64_t)host_fd, F_GETFL, 0, 0, 0, 0);
    int error = flags < 0 ? (int)flags : host_statx(host_fd, &stat);
    if (error)
        return error;
    stdio_ignore_pipe_signal();
    uint32_t kept = (uint32_t)flags & (O_ACCMODE | O_APPEND | O_NONBLOCK);
    if (stdio_console_is(host_fd))
        return tty_open(tty_console(), kept | LINUX_O_NOCTTY, file);
    *file = shared_file(host_fd);
    if (!*file)
        *file = own_device(&stat, kept);
    if (*file)
        return 0;
    error = open_stream(host_fd, kept, &stat, file);
    if (!error)
        remember(host_fd, *file);
    return error;
}
