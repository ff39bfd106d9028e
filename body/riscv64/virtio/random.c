/*
 * The virtio entropy device's driver (Virtual I/O Device Version 1.2, 5.4).
 *
 * One request at a time: what comes is mixed into the generator (random.h), which asks for more as it gives out numbers. No
 * reader ever waits for the device.
 */
#include "body/riscv64/frames.h"
#include "body/riscv64/random.h"
#include "body/riscv64/virtio/virtio.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/lock.h"
#include "kernel/string.h"

#define REQUEST_BYTES 64u

static struct {
    struct spinlock lock;
    struct virtq queue;
    uint8_t *page; /* NULL: no device */
    bool asked;
} entropy = {.lock = SPINLOCK_INIT(RANK_BODY - 10)};

bool random_has_device(void) { return entropy.page; }

void random_want_entropy(void)
{
    if (!entropy.page)
        return;
    spin_lock(&entropy.lock);
    struct virtq_buffer buffer = {entropy.page, REQUEST_BYTES};
    if (!entropy.asked && virtq_add(&entropy.queue, &buffer, 1, 0, entropy.page)) {
        entropy.asked = true;
        virtq_notify(&entropy.queue);
    }
    spin_unlock(&entropy.lock);
}

static void interrupt(UNUSED struct virtio *virtio)
{
    uint8_t bytes[REQUEST_BYTES];
    uint32_t size = 0;
    spin_lock(&entropy.lock);
    bool came = virtq_take(&entropy.queue, &size);
    if (size > sizeof bytes)
        size = sizeof bytes;
    if (came) {
        memcpy(bytes, entropy.page, size);
        memset(entropy.page, 0, size);
        entropy.asked = false;
    }
    spin_unlock(&entropy.lock);
    if (came)
        random_mix(bytes, size);
}

bool virtio_random_start(struct virtio *virtio)
{
    if (entropy.page || !virtio_begin(virtio, 0, 0))
        return false;
    uint64_t frame = virtq_open(&entropy.queue, virtio, 0, 1) ? frame_alloc(0, FRAME_DEVICE) : 0;
    if (!frame) {
        log_line("the virtio entropy device cannot be used");
        return false;
    }
    virtio->interrupt = interrupt;
    virtio_ready(virtio);
    entropy.page = frame_address(frame);
    random_want_entropy();
    return true;
}
