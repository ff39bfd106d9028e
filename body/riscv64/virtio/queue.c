/*
 * Split virtqueues (Virtual I/O Device Version 1.2, 2.7): see virtio.h.
 *
 * A queue's three parts share one page. The driver's side of each is only ever written, the device's only read, and what is
 * read is checked: the index of used requests may not run ahead of what was given, and each must begin a chain in use.
 */
#include "body/riscv64/csr.h"
#include "body/riscv64/frames.h"
#include "body/riscv64/virtio/registers.h"
#include "body/riscv64/virtio/virtio.h"
#include "kernel/assert.h"
#include "kernel/string.h"

enum descriptor_flags { DESCRIPTOR_NEXT = 1, DESCRIPTOR_WRITE = 2 };
enum { USED_NO_NOTIFY = 1 };

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct available {
    uint16_t flags, index;
    uint16_t ring[VIRTQ_SIZE_MAX];
};

struct used_element {
    uint32_t id, length;
};

struct used {
    uint16_t flags, index;
    struct used_element ring[VIRTQ_SIZE_MAX];
};

struct virtq_memory {
    struct descriptor descriptors[VIRTQ_SIZE_MAX];
    struct available available;
    struct used used __attribute__((aligned(4)));
};
_Static_assert(sizeof(struct descriptor) == 16 && sizeof(struct virtq_memory) <= PAGE_SIZE, "a queue is in one page");

static uint64_t physical(const void *address)
{
    KASSERT((uint64_t)address >= DIRECT_BASE && (uint64_t)address < STACKS_BASE);
    return (uint64_t)address - DIRECT_BASE;
}

/* Reads of what the device writes at any time. */
static uint16_t look16(const uint16_t *at) { return *(const volatile uint16_t *)at; }
static uint32_t look32(const uint32_t *at) { return *(const volatile uint32_t *)at; }

static void put_address(struct virtio *virtio, uint32_t which, const void *address)
{
    device_write32(virtio->base + which, (uint32_t)physical(address));
    device_write32(virtio->base + which + 4, (uint32_t)(physical(address) >> 32));
}

bool virtq_open(struct virtq *queue, struct virtio *virtio, uint32_t index, uint32_t size)
{
    KASSERT(size <= VIRTQ_SIZE_MAX && !(size & (size - 1)));
    device_write32(virtio->base + VIRTIO_QUEUE_SELECT, index);
    uint32_t most = device_read32(virtio->base + VIRTIO_QUEUE_SIZE_MAX);
    while (size > most)
        size /= 2;
    uint64_t frame = size && !device_read32(virtio->base + VIRTIO_QUEUE_READY) ? frame_alloc(0, FRAME_DEVICE) : 0;
    if (!frame)
        return false;
    *queue = (struct virtq){.virtio = virtio, .memory = memset(frame_address(frame), 0, PAGE_SIZE), .size = (uint16_t)size,
                            .index = (uint16_t)index, .free = (uint16_t)size};
    for (uint16_t i = 0; i < size; i++)
        queue->next[i] = (uint16_t)(i + 1);
    device_write32(virtio->base + VIRTIO_QUEUE_SIZE, size);
    put_address(virtio, VIRTIO_QUEUE_DESCRIPTORS, queue->memory->descriptors);
    put_address(virtio, VIRTIO_QUEUE_DRIVER, &queue->memory->available);
    put_address(virtio, VIRTIO_QUEUE_DEVICE, &queue->memory->used);
    device_write32(virtio->base + VIRTIO_QUEUE_READY, 1);
    return true;
}

bool virtq_add(struct virtq *queue, const struct virtq_buffer *buffers, uint32_t count, uint32_t readable, void *token)
{
    KASSERT(count && token);
    if (count > queue->free || virtio_broken(queue->virtio))
        return false;
    uint16_t head = queue->first_free, at = head;
    for (uint32_t i = 0; i < count; i++) {
        bool last = i == count - 1;
        queue->memory->descriptors[at] = (struct descriptor){
            .address = physical(buffers[i].address), .length = buffers[i].size, .next = last ? 0 : queue->next[at],
            .flags = (uint16_t)((last ? 0 : DESCRIPTOR_NEXT) | (i < readable ? 0 : DESCRIPTOR_WRITE))};
        queue->first_free = queue->next[at];
        at = queue->first_free;
    }
    queue->free = (uint16_t)(queue->free - count);
    queue->count[head] = (uint16_t)count;
    queue->tokens[head] = token;
    queue->memory->available.ring[queue->published++ & (queue->size - 1)] = head;
    return true;
}

void virtq_notify(struct virtq *queue)
{
    atomic_fence(); /* the requests before the index */
    *(volatile uint16_t *)&queue->memory->available.index = queue->published;
    atomic_fence(); /* the index before the look at what the device wants */
    if (!(look16(&queue->memory->used.flags) & USED_NO_NOTIFY) && !virtio_broken(queue->virtio))
        device_write32(queue->virtio->base + VIRTIO_QUEUE_NOTIFY, queue->index);
}

static void *release(struct virtq *queue, uint16_t head)
{
    uint16_t last = head;
    for (uint16_t i = 1; i < queue->count[head]; i++)
        last = queue->next[last];
    queue->next[last] = queue->first_free;
    queue->first_free = head;
    queue->free = (uint16_t)(queue->free + queue->count[head]);
    queue->count[head] = 0;
    return queue->tokens[head];
}

void *virtq_take(struct virtq *queue, uint32_t *written)
{
    uint16_t index = look16(&queue->memory->used.index);
    atomic_fence(); /* the index before what it counts */
    uint16_t ready = (uint16_t)(index - queue->last_used);
    if (!ready || virtio_broken(queue->virtio))
        return NULL;
    const struct used_element *element = &queue->memory->used.ring[queue->last_used & (queue->size - 1)];
    uint32_t id = look32(&element->id);
    *written = look32(&element->length);
    if (ready > queue->size || id >= queue->size || !queue->count[id]) {
        virtio_fail(queue->virtio);
        return NULL;
    }
    queue->last_used++;
    return release(queue, (uint16_t)id);
}

void *virtq_give_up(struct virtq *queue)
{
    for (uint16_t i = 0; i < queue->size; i++)
        if (queue->count[i])
            return release(queue, i);
    return NULL;
}
