/*
 * Files of block devices: reads and writes at any offset, ioctls (see block.h).
 *
 * A transfer is one request with a buffer of its own, owned by two: who waits for it and the driver. A killed program so need not
 * wait for a device that does not answer. A call has up to FLIGHT transfers under way at once. A write of parts of sectors reads
 * them first, and then nobody else may write: such writes take turns with those of whole sectors, which need no turns.
 */
#include "abi/linux/block.h"

#include "abi/linux/file.h"
#include "abi/linux/fs/devfs.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/string.h"

#define FLIGHT 8u
#define MAJOR_BLOCK 254u
#define MINORS_EACH 16u
#define DEVICES_MAX 8u
#define DISK_GROUP 6u
enum { SEEK_SET, SEEK_CUR, SEEK_END };
enum { BLKROGET = 0x125e, BLKGETSIZE = 0x1260, BLKFLSBUF = 0x1261, BLKSSZGET = 0x1268, BLKIOMIN = 0x1278, BLKIOOPT = 0x1279,
       BLKALIGNOFF = 0x127a, BLKPBSZGET = 0x127b };
#define BLKBSZGET 0x80081270u
#define BLKGETSIZE64 0x80081272u

struct transfer {
    struct block_request request;
    struct atomic32 owners;
    struct waitq waiters;
    bool finished; /* under waiters.lock */
    uint8_t buffer[] __attribute__((aligned(64)));
};

static uint64_t size_of(const struct block_device *device) { return device->sectors * BLOCK_SECTOR; }

/* --- transfers ----------------------------------------------------------------------------------------- */

static void drop(struct transfer *transfer)
{
    if (atomic32_sub(&transfer->owners, 1) == 1)
        kfree(transfer);
}

static void on_done(struct block_request *request)
{
    struct transfer *transfer = LIST_ENTRY(request, struct transfer, request);
    spin_lock(&transfer->waiters.lock);
    transfer->finished = true;
    spin_unlock(&transfer->waiters.lock);
    waitq_wake_all(&transfer->waiters);
    drop(transfer);
}

static struct transfer *create(enum block_kind kind, uint64_t sector, uint32_t sectors)
{
    struct transfer *transfer = kalloc(sizeof *transfer + sectors * BLOCK_SECTOR);
    if (!transfer)
        return NULL;
    transfer->request = (struct block_request){.kind = kind, .sector = sector, .sectors = sectors, .buffer = transfer->buffer, .done = on_done};
    atomic32_store(&transfer->owners, 1);
    waitq_init(&transfer->waiters);
    transfer->finished = false;
    return transfer;
}

static void submit(struct block_device *device, struct transfer *transfer)
{
    atomic32_add(&transfer->owners, 1);
    device->submit(device, &transfer->request);
}

/* The request's status, or -EINTR when the thread is killed: the driver then has the buffer for as long as it needs it. */
static int wait_for(struct transfer *transfer)
{
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&transfer->waiters.lock);
    bool finished = transfer->finished;
    if (!finished)
        waitq_enqueue_locked(&transfer->waiters, &waiter);
    spin_unlock(&transfer->waiters.lock);
    int error = finished ? 0 : waiter_wait(&waiter, DEADLINE_NEVER, WAIT_KILLABLE);
    return error ? error : transfer->request.status;
}

/* One transfer from beginning to end; *transfer is the caller's when there is no error. */
static int transfer_now(struct block_device *device, enum block_kind kind, uint64_t sector, uint32_t sectors, struct transfer **transfer)
{
    *transfer = create(kind, sector, sectors);
    if (!*transfer)
        return -ENOMEM;
    submit(device, *transfer);
    int error = wait_for(*transfer);
    if (error)
        drop(*transfer);
    return error;
}

/* A stretch of a read or write: bytes [skip, skip + size) of a transfer. */
struct piece {
    struct transfer *transfer;
    uint32_t skip, size;
};

/* The first bytes of [offset, offset + size), as one transfer takes them. -ENOMEM. */
static int make_piece(struct piece *piece, enum block_kind kind, uint64_t offset, uint64_t size)
{
    piece->skip = (uint32_t)(offset % BLOCK_SECTOR);
    piece->size = (uint32_t)min_u64(size, BLOCK_REQUEST_BYTES - piece->skip);
    uint32_t sectors = (piece->skip + piece->size + BLOCK_SECTOR - 1) / BLOCK_SECTOR;
    piece->transfer = create(kind, offset / BLOCK_SECTOR, sectors);
    return piece->transfer ? 0 : -ENOMEM;
}

/* --- reading ------------------------------------------------------------------------------------------- */

/* O_DIRECT promises whole sectors. */
static bool direct_misaligned(struct file *file, uint64_t position, size_t size)
{
    return (atomic32_load_relaxed(&file->flags) & LINUX_O_DIRECT) && ((position | size) & (BLOCK_SECTOR - 1));
}

/* Takes what has come in to the reader, in order; *error stops the rest. */
static uint64_t take_in(struct piece *pieces, uint32_t count, struct io *io, int *error)
{
    uint64_t done = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!*error)
            *error = wait_for(pieces[i].transfer);
        if (!*error) {
            size_t put = io_put(io, pieces[i].transfer->buffer + pieces[i].skip, pieces[i].size);
            done += put;
            *error = put < pieces[i].size ? -EFAULT : 0;
        }
        drop(pieces[i].transfer);
    }
    return done;
}

static uint64_t read_flight(struct block_device *device, struct io *io, uint64_t offset, uint64_t size, int *error)
{
    struct piece pieces[FLIGHT];
    uint32_t count = 0;
    for (; count < FLIGHT && size && !*error; count++) {
        *error = make_piece(&pieces[count], BLOCK_READ, offset, size);
        if (*error)
            break;
        submit(device, pieces[count].transfer);
        offset += pieces[count].size;
        size -= pieces[count].size;
    }
    if (*error == -ENOMEM && count)
        *error = 0; /* with fewer at once, then */
    return take_in(pieces, count, io, error);
}

static int64_t block_read(struct file *file, struct io *io, int64_t *position)
{
    struct block_device *device = file->data;
    uint64_t at = (uint64_t)*position, end, done = 0;
    int error = 0;
    if (direct_misaligned(file, at, io_left(io)))
        return -EINVAL;
    if (at >= size_of(device))
        return 0;
    end = min_u64(size_of(device), at + io_left(io));
    while (at + done < end && !error)
        done += read_flight(device, io, at + done, end - at - done, &error);
    *position += (int64_t)done;
    return done ? (int64_t)done : error;
}

/* --- writing ------------------------------------------------------------------------------------------- */

static int enter(struct block_device *device, bool part)
{
    int error = 0;
    mutex_lock(&device->mutex);
    device->part_waiters += part;
    while (!error && (device->part_writer || (part ? device->whole_writers > 0 : device->part_waiters > 0)))
        error = waitq_sleep(&device->writers, &device->mutex, DEADLINE_NEVER, WAIT_KILLABLE);
    device->part_waiters -= part;
    if (!error && part)
        device->part_writer = true;
    else if (!error)
        device->whole_writers++;
    mutex_unlock(&device->mutex);
    if (error)
        waitq_wake_all(&device->writers); /* who let us go first */
    return error;
}

static void leave(struct block_device *device, bool part)
{
    mutex_lock(&device->mutex);
    if (part)
        device->part_writer = false;
    else
        device->whole_writers--;
    mutex_unlock(&device->mutex);
    waitq_wake_all(&device->writers);
}

/* What a sector holds on the device, for the bytes [from, to) of it that are not written. */
static int keep_sector(struct block_device *device, struct transfer *whole, uint32_t index, uint32_t from, uint32_t to)
{
    struct transfer *old = NULL;
    int error = from < to ? transfer_now(device, BLOCK_READ, whole->request.sector + index, 1, &old) : 0;
    if (error || from == to)
        return error;
    memcpy(whole->buffer + index * BLOCK_SECTOR + from, old->buffer + from, to - from);
    drop(old);
    return 0;
}

static int write_part(struct block_device *device, struct piece *piece)
{
    struct transfer *transfer = piece->transfer;
    uint32_t end = piece->skip + piece->size, last = transfer->request.sectors - 1, used = end - last * BLOCK_SECTOR;
    int error = enter(device, true);
    if (error)
        return error;
    error = keep_sector(device, transfer, 0, 0, piece->skip);
    if (!error)
        error = keep_sector(device, transfer, last, used, BLOCK_SECTOR);
    if (!error) {
        submit(device, transfer);
        error = wait_for(transfer);
    }
    leave(device, true);
    return error;
}

/* Whole sectors, all at once. How many bytes, from the first on, have been written. */
static uint64_t write_whole(struct block_device *device, struct piece *pieces, uint32_t count, int *error)
{
    uint64_t done = 0;
    *error = count ? enter(device, false) : 0;
    if (*error || !count)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        submit(device, pieces[i].transfer);
    for (uint32_t i = 0; i < count && !*error; i++) {
        *error = wait_for(pieces[i].transfer);
        done += *error ? 0 : pieces[i].size;
    }
    leave(device, false);
    return done;
}

static bool is_part(const struct piece *piece) { return piece->skip || piece->size % BLOCK_SECTOR; }

/* A piece with the writer's bytes in it. -ENOMEM, -EFAULT. */
static int fill_piece(struct piece *piece, struct io *io, uint64_t offset, uint64_t size)
{
    int error = make_piece(piece, BLOCK_WRITE, offset, size);
    if (!error && io_get(io, piece->transfer->buffer + piece->skip, piece->size) < piece->size) {
        drop(piece->transfer);
        error = -EFAULT;
    }
    return error;
}

/* Pieces of whole sectors, then at most one that is not. */
static uint64_t write_flight(struct block_device *device, struct io *io, uint64_t offset, uint64_t size, int *error)
{
    struct piece pieces[FLIGHT];
    uint32_t count = 0;
    bool part = false;
    int missing = 0;
    while (count < FLIGHT && size && !part && !(missing = fill_piece(&pieces[count], io, offset, size))) {
        part = is_part(&pieces[count]);
        offset += pieces[count].size;
        size -= pieces[count++].size;
    }
    uint64_t done = write_whole(device, pieces, count - part, error);
    if (part && !*error) {
        *error = write_part(device, &pieces[count - 1]);
        done += *error ? 0 : pieces[count - 1].size;
    }
    if (!*error && !(missing == -ENOMEM && count))
        *error = missing;
    for (uint32_t i = 0; i < count; i++)
        drop(pieces[i].transfer);
    return done;
}

static int flush(struct block_device *device)
{
    struct transfer *transfer = NULL;
    int error = device->flushes ? transfer_now(device, BLOCK_FLUSH, 0, 0, &transfer) : 0;
    if (!error && device->flushes)
        drop(transfer);
    return error;
}

static int64_t block_write(struct file *file, struct io *io, int64_t *position)
{
    struct block_device *device = file->data;
    uint64_t at = (uint64_t)*position, end, done = 0;
    uint32_t flags = atomic32_load_relaxed(&file->flags);
    int error = 0;
    if (device->read_only)
        return -EPERM;
    if (direct_misaligned(file, at, io_left(io)))
        return -EINVAL;
    if (!io_left(io))
        return 0;
    if (at >= size_of(device))
        return -ENOSPC;
    end = min_u64(size_of(device), at + io_left(io));
    while (at + done < end && !error)
        done += write_flight(device, io, at + done, end - at - done, &error);
    *position += (int64_t)done;
    if (done && ((io->flags & (IO_SYNC | IO_DATA_SYNC)) || (flags & LINUX_O_DSYNC)))
        error = flush(device);
    else if (done)
        error = 0;
    return error ? error : (int64_t)done;
}

/* --- the rest of a file -------------------------------------------------------------------------------- */

static int64_t block_seek(struct file *file, int64_t offset, int whence)
{
    int64_t base = whence == SEEK_CUR ? file->position : whence == SEEK_END ? (int64_t)size_of(file->data) : 0;
    if (whence < SEEK_SET || whence > SEEK_END || (offset > 0 && base > INT64_MAX - offset) || base + offset < 0)
        return -EINVAL;
    return file->position = base + offset;
}

static int block_sync(struct file *file, bool data_only)
{
    (void)data_only;
    return flush(file->data);
}

/* The answers that are an int; -1: none. */
static int32_t number_of(const struct block_device *device, uint32_t command)
{
    switch (command) {
    case BLKROGET: return device->read_only;
    case BLKSSZGET: return BLOCK_SECTOR;
    case BLKPBSZGET:
    case BLKIOMIN: return (int32_t)device->physical_sector;
    case BLKIOOPT:
    case BLKALIGNOFF: return 0;
    default: return -1;
    }
}

static int64_t block_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    struct block_device *device = file->data;
    uint64_t size = command == BLKGETSIZE ? device->sectors : size_of(device);
    uint64_t block = PAGE_SIZE;
    int32_t number = number_of(device, command);
    switch (command) {
    case BLKGETSIZE:
    case BLKGETSIZE64: return user_write(argument, &size, sizeof size);
    case BLKBSZGET: return user_write(argument, &block, sizeof(int32_t)); /* an int, whatever its name says */
    case BLKFLSBUF: return capable(LINUX_CAP_SYS_ADMIN) ? flush(device) : -EACCES;
    default: return number < 0 ? -ENOTTY : user_write(argument, &number, sizeof number);
    }
}

static const struct file_ops block_ops = {.kind = "device", .read = block_read, .write = block_write, .seek = block_seek, .ioctl = block_ioctl,
                                          .sync = block_sync};

static int block_open(void *data, uint32_t flags, struct file **file)
{
    *file = file_create(&block_ops, flags, data);
    return *file ? 0 : -ENOMEM;
}

int block_register(struct block_device *device)
{
    static uint32_t count;
    if (count == DEVICES_MAX)
        return -ENOSPC;
    format(device->name, sizeof device->name, "vd%c", (char)('a' + count));
    mutex_init(&device->mutex, RANK_NODE);
    waitq_init(&device->writers);
    struct device_entry entry = {.name = device->name, .mode = LINUX_S_IFBLK | 0660, .major = MAJOR_BLOCK, .minor = count * MINORS_EACH,
                                 .gid = DISK_GROUP, .open = block_open, .data = device};
    count++;
    return device_register(&entry);
}
