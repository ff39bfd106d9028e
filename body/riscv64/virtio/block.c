/*
 * The virtio block device's driver (Virtual I/O Device Version 1.2, 5.2).
 *
 * A request is three descriptors: a header, the data, a status byte; headers and status bytes are in a page of the driver's, one
 * slot per request that may be under way. Requests that find no slot wait in a list and follow as others are done. When the
 * device breaks, all that it had and all that come later end with EIO.
 */
#include "abi/linux/block.h"

#include "body/riscv64/frames.h"
#include "body/riscv64/virtio/virtio.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/string.h"

#define SLOTS 16u
#define FEATURE_BLOCK_SIZE ((uint64_t)1 << 6)
#define FEATURE_READ_ONLY ((uint64_t)1 << 5)
#define FEATURE_FLUSH ((uint64_t)1 << 9)
#define CONFIG_CAPACITY 0u
#define CONFIG_BLOCK_SIZE 20u
enum { TYPE_READ = 0, TYPE_WRITE = 1, TYPE_FLUSH = 4 };
enum { STATUS_OK = 0, STATUS_ERROR = 1, STATUS_UNSUPPORTED = 2 };

struct slot {
    uint32_t type, reserved;
    uint64_t sector;
    uint8_t status;
};

struct disk {
    struct block_device block;
    struct virtio *virtio;
    struct spinlock lock; /* guards the rest */
    struct virtq queue;
    struct slot *slots;   /* a page */
    struct block_request *requests[SLOTS]; /* in the slot's order; NULL: free */
    struct list waiting;  /* struct block_request.link */
    bool reported;
};

/* --- lock held ----------------------------------------------------------------------------------------- */

static uint32_t find_slot(const struct disk *disk)
{
    uint32_t i = 0;
    while (i < SLOTS && disk->requests[i])
        i++;
    return i;
}

static bool give(struct disk *disk, struct block_request *request)
{
    static const uint32_t types[] = {[BLOCK_READ] = TYPE_READ, [BLOCK_WRITE] = TYPE_WRITE, [BLOCK_FLUSH] = TYPE_FLUSH};
    uint32_t number = find_slot(disk), count = 0;
    if (number == SLOTS)
        return false;
    struct slot *slot = &disk->slots[number];
    *slot = (struct slot){.type = types[request->kind], .sector = request->sector, .status = 0xff};
    struct virtq_buffer buffers[3];
    buffers[count++] = (struct virtq_buffer){slot, offsetof(struct slot, status)};
    if (request->sectors)
        buffers[count++] = (struct virtq_buffer){request->buffer, request->sectors * BLOCK_SECTOR};
    buffers[count++] = (struct virtq_buffer){&slot->status, 1};
    if (!virtq_add(&disk->queue, buffers, count, request->kind == BLOCK_WRITE ? 2 : 1, slot))
        return false;
    disk->requests[number] = request;
    return true;
}

static void give_waiting(struct disk *disk)
{
    bool any = false;
    while (!list_empty(&disk->waiting)) {
        struct block_request *request = LIST_ENTRY(disk->waiting.next, struct block_request, link);
        if (!give(disk, request))
            break;
        list_remove(&request->link);
        any = true;
    }
    if (any)
        virtq_notify(&disk->queue);
}

static struct block_request *take_slot(struct disk *disk, struct slot *slot)
{
    uint32_t number = (uint32_t)(slot - disk->slots);
    struct block_request *request = disk->requests[number];
    uint8_t status = *(volatile uint8_t *)&slot->status;
    request->status = status == STATUS_OK ? 0 : status == STATUS_UNSUPPORTED ? -EOPNOTSUPP : -EIO;
    disk->requests[number] = NULL;
    return request;
}

/* The next request that is over, one way or the other. */
static struct block_request *next_done(struct disk *disk)
{
    uint32_t written;
    struct slot *slot = virtq_take(&disk->queue, &written);
    if (slot)
        return take_slot(disk, slot);
    if (!virtio_broken(disk->virtio))
        return NULL;
    struct block_request *request = NULL;
    if ((slot = virtq_give_up(&disk->queue)))
        request = take_slot(disk, slot);
    else if (!list_empty(&disk->waiting))
        request = LIST_ENTRY(list_pop_front(&disk->waiting), struct block_request, link);
    if (request)
        request->status = -EIO;
    return request;
}

/* --- requests ------------------------------------------------------------------------------------------ */

static void finish(struct disk *disk)
{
    struct block_request *request;
    do {
        spin_lock(&disk->lock);
        request = next_done(disk);
        if (request)
            give_waiting(disk);
        bool report = virtio_broken(disk->virtio) && !disk->reported;
        disk->reported |= report;
        spin_unlock(&disk->lock);
        if (report)
            log_line("%s is broken or gone: all it is asked ends with EIO", disk->block.name);
        if (request)
            request->done(request);
    } while (request);
}

static void interrupt(struct virtio *virtio) { finish(virtio->driver); }

static void submit(struct block_device *device, struct block_request *request)
{
    struct disk *disk = device->driver;
    spin_lock(&disk->lock);
    list_push_back(&disk->waiting, &request->link);
    give_waiting(disk);
    spin_unlock(&disk->lock);
    if (virtio_broken(disk->virtio))
        finish(disk);
}

/* --- starting ------------------------------------------------------------------------------------------ */

static void describe(struct disk *disk)
{
    struct virtio *virtio = disk->virtio;
    uint32_t size = virtio->features & FEATURE_BLOCK_SIZE ? virtio_config32(virtio, CONFIG_BLOCK_SIZE) : BLOCK_SECTOR;
    bool sane = size >= BLOCK_SECTOR && size <= 65536 && !(size & (size - 1));
    disk->block.sectors = min_u64(virtio_config64(virtio, CONFIG_CAPACITY), INT64_MAX / BLOCK_SECTOR);
    disk->block.physical_sector = sane ? size : BLOCK_SECTOR;
    disk->block.read_only = virtio->features & FEATURE_READ_ONLY;
    disk->block.flushes = virtio->features & FEATURE_FLUSH;
    disk->block.submit = submit;
    disk->block.driver = disk;
}

static bool prepare(struct disk *disk, struct virtio *virtio)
{
    uint64_t frame = virtq_open(&disk->queue, virtio, 0, VIRTQ_SIZE_MAX) ? frame_alloc(0, FRAME_DEVICE) : 0;
    if (!frame || disk->queue.size < 3)
        return false;
    disk->slots = frame_address(frame);
    disk->lock = (struct spinlock)SPINLOCK_INIT(RANK_BODY - 10);
    list_init(&disk->waiting);
    disk->virtio = virtio;
    virtio->driver = disk;
    virtio->interrupt = interrupt;
    describe(disk);
    return !block_register(&disk->block);
}

bool virtio_block_start(struct virtio *virtio)
{
    struct disk *disk = virtio_begin(virtio, 0, FEATURE_BLOCK_SIZE | FEATURE_READ_ONLY | FEATURE_FLUSH) ? kzalloc(sizeof *disk) : NULL;
    if (!disk || !prepare(disk, virtio)) {
        log_line("a virtio disk cannot be used");
        virtio_fail(virtio);
        return false;
    }
    virtio_ready(virtio);
    return true;
}
