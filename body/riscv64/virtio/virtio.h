/*
 * Virtio devices over MMIO (Virtual I/O Device Version 1.2, chapters 2 and 4.2): what all drivers share.
 *
 *   struct virtio   one device: negotiation, its configuration, its interrupt
 *   struct virtq    one split virtqueue of it
 *
 * Nothing that a device writes is trusted further than its data: which descriptors belong together is remembered here, and a
 * device that says it used what it was never given is broken. A broken one is reset, interrupts no more, and its driver ends what
 * waits for it. A device of the legacy kind (version 1) is refused.
 *
 * Locks: a driver guards its queues with a spinlock of its own. `interrupt` runs with none, with interrupts disabled.
 */
#ifndef RISCV64_VIRTIO_H
#define RISCV64_VIRTIO_H

#include "kernel/atomic.h"
#include "kernel/types.h"

struct machine_device;

enum virtio_kind { VIRTIO_NET = 1, VIRTIO_BLOCK = 2, VIRTIO_CONSOLE = 3, VIRTIO_RANDOM = 4 };

struct virtio {
    const struct machine_device *device;
    uintptr_t base;
    uint32_t kind;
    uint64_t features;      /* that both sides have */
    struct atomic32 broken;
    /* the driver's */
    void *driver;
    void (*interrupt)(struct virtio *virtio); /* some queue has something, or the device is broken */
};

#define VIRTQ_SIZE_MAX 64u

struct virtq_memory;
struct virtq {
    struct virtio *virtio;
    struct virtq_memory *memory;
    uint16_t size, index, free, last_used, published;
    uint16_t first_free;
    uint16_t next[VIRTQ_SIZE_MAX];  /* of a chain in use, or of the free ones; never read back from the device */
    uint16_t count[VIRTQ_SIZE_MAX]; /* descriptors of the chain that begins here; 0: none does */
    void *tokens[VIRTQ_SIZE_MAX];
};

struct virtq_buffer {
    void *address; /* in the direct map: kalloc'ed, or frames */
    uint32_t size;
};

/* Looks at every place for a device and hands it to its driver. Once. */
void virtio_init(void);

/*
 * Resets the device and agrees on features: the device must have `needed`; of `wanted` it may lack some. False, after a line in the
 * log: it cannot be used.
 */
bool virtio_begin(struct virtio *virtio, uint64_t needed, uint64_t wanted);
/* A queue of at most `size` descriptors, a power of two. False: the device has no such queue, or no memory. */
bool virtq_open(struct virtq *queue, struct virtio *virtio, uint32_t index, uint32_t size);
/* The driver is complete: interrupts from now on. */
void virtio_ready(struct virtio *virtio);
static inline bool virtio_broken(struct virtio *virtio) { return atomic32_load(&virtio->broken); }
/* The device is used no more. No interrupt comes from it when the running one has ended. Any context, says nothing. */
void virtio_fail(struct virtio *virtio);

/* Configuration: consistent where it is more than one access. */
uint8_t virtio_config8(struct virtio *virtio, uint32_t offset);
uint32_t virtio_config32(struct virtio *virtio, uint32_t offset);
uint64_t virtio_config64(struct virtio *virtio, uint32_t offset);

/*
 * Gives the device a request: `count` buffers, of which the device reads the first `readable` and writes the others. False: no room.
 * It is told with virtq_notify. The driver's lock held for these three.
 */
bool virtq_add(struct virtq *queue, const struct virtq_buffer *buffers, uint32_t count, uint32_t readable, void *token);
void virtq_notify(struct virtq *queue);
/* The token of the next request that the device has done, and how many bytes it says it wrote; NULL: none, or broken. */
void *virtq_take(struct virtq *queue, uint32_t *written);
/* After virtio_fail: the tokens of requests that will not be done, one by one; then NULL. */
void *virtq_give_up(struct virtq *queue);

/* The drivers. False: not for them, or it cannot be used; the log says why. */
bool virtio_console_start(struct virtio *virtio);
bool virtio_random_start(struct virtio *virtio);
bool virtio_block_start(struct virtio *virtio);
bool virtio_net_start(struct virtio *virtio);

#endif
