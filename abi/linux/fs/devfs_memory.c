/*
 * /dev/null, zero, full, random and urandom: see null(4), full(4), random(4).
 *
 * Each is a stream without a position of its own; lseek answers 0, as Linux's do. Random bytes come from the body, which is
 * always ready.
 */
#include "abi/linux/fs/devfs.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/body.h"

#define RANDOM_CHUNK 256u
enum { MINOR_NULL = 3, MINOR_ZERO = 5, MINOR_FULL = 7, MINOR_RANDOM = 8, MINOR_URANDOM = 9 };
enum { RNDGETENTCNT = 0x80045200 };

static int64_t null_read(struct file *file, struct io *io, int64_t *position)
{
    (void)file, (void)io, (void)position;
    return 0;
}

static int64_t sink_write(struct file *file, struct io *io, int64_t *position)
{
    size_t size = io_left(io);
    (void)file, (void)position;
    io_skip(io, size);
    return (int64_t)size;
}

static int64_t zero_read(struct file *file, struct io *io, int64_t *position)
{
    size_t want = io_left(io), put = io_put_zeros(io, want);
    (void)file, (void)position;
    return put || !want ? (int64_t)put : -EFAULT;
}

static int64_t full_write(struct file *file, struct io *io, int64_t *position)
{
    (void)file, (void)io, (void)position;
    return io_left(io) ? -ENOSPC : 0;
}

static int64_t random_read(struct file *file, struct io *io, int64_t *position)
{
    uint8_t chunk[RANDOM_CHUNK];
    int64_t done = 0;
    (void)file, (void)position;
    while (io_left(io)) {
        size_t want = io_left(io) < sizeof chunk ? io_left(io) : sizeof chunk;
        body_random(chunk, want);
        size_t put = io_put(io, chunk, want);
        done += (int64_t)put;
        if (put < want)
            return done ? done : -EFAULT;
    }
    return done;
}

static int64_t stay_at_start(struct file *file, int64_t offset, int whence)
{
    (void)file, (void)offset;
    return whence < 0 || whence > 2 ? -EINVAL : 0;
}

static int64_t random_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    int32_t bits = 256;
    (void)file;
    return command == RNDGETENTCNT ? user_write(argument, &bits, sizeof bits) : -ENOTTY;
}

/* Shared mappings of /dev/zero are anonymous shared memory, private ones anonymous memory. */
static int zero_map(struct file *file, uint32_t prot, bool shared, struct memobj **memobj)
{
    (void)file, (void)prot, (void)shared;
    *memobj = memobj_create(MEMOBJ_SIZE_MAX);
    return *memobj ? 0 : -ENOMEM;
}

static const struct file_ops null_ops = {.kind = "null", .read = null_read, .write = sink_write, .seek = stay_at_start};
static const struct file_ops zero_ops = {.kind = "zero", .read = zero_read, .write = sink_write, .seek = stay_at_start, .map = zero_map};
static const struct file_ops full_ops = {.kind = "full", .read = zero_read, .write = full_write, .seek = stay_at_start};
static const struct file_ops random_ops = {.kind = "random", .read = random_read, .write = sink_write, .seek = stay_at_start,
                                           .ioctl = random_ioctl};

int memory_device_open(uint32_t minor, uint32_t flags, struct file **file)
{
    const struct file_ops *ops = minor == MINOR_NULL                               ? &null_ops
                                 : minor == MINOR_ZERO                             ? &zero_ops
                                 : minor == MINOR_FULL                             ? &full_ops
                                 : minor == MINOR_RANDOM || minor == MINOR_URANDOM ? &random_ops
                                                                                   : NULL;
    if (!ops)
        return -ENXIO;
    *file = file_create(ops, flags, NULL);
    return *file ? 0 : -ENOMEM;
}
