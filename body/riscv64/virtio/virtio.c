/*
 * Finding virtio devices and agreeing with them: see virtio.h.
 *
 * The order is the specification's (3.1.1): reset, acknowledge, driver, features, features-ok, queues, driver-ok.
 */
#include "body/riscv64/virtio/virtio.h"

#include "body/riscv64/csr.h"
#include "body/riscv64/machine.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/plic.h"
#include "body/riscv64/virtio/registers.h"
#include "kernel/assert.h"
#include "kernel/string.h"

#define RESET_TURNS 1000000u
#define CONFIG_TURNS 16u

static struct virtio devices[MACHINE_VIRTIO_MAX];

static uint32_t get(struct virtio *virtio, uint32_t which) { return device_read32(virtio->base + which); }
static void put(struct virtio *virtio, uint32_t which, uint32_t value) { device_write32(virtio->base + which, value); }

/* --- agreeing ------------------------------------------------------------------------------------------ */

static bool refuse(struct virtio *virtio, const char *why)
{
    log_line("virtio device %u at %lx: %s", virtio->kind, (unsigned long)virtio->device->address, why);
    put(virtio, VIRTIO_STATUS, STATUS_FAILED);
    return false;
}

static bool reset(struct virtio *virtio)
{
    put(virtio, VIRTIO_STATUS, 0);
    for (uint32_t turn = 0; turn < RESET_TURNS; turn++)
        if (!get(virtio, VIRTIO_STATUS))
            return true;
    return false;
}

static uint64_t offered(struct virtio *virtio)
{
    put(virtio, VIRTIO_DEVICE_FEATURES_SELECT, 0);
    uint64_t low = get(virtio, VIRTIO_DEVICE_FEATURES);
    put(virtio, VIRTIO_DEVICE_FEATURES_SELECT, 1);
    return (uint64_t)get(virtio, VIRTIO_DEVICE_FEATURES) << 32 | low;
}

static void accept(struct virtio *virtio)
{
    put(virtio, VIRTIO_DRIVER_FEATURES_SELECT, 0);
    put(virtio, VIRTIO_DRIVER_FEATURES, (uint32_t)virtio->features);
    put(virtio, VIRTIO_DRIVER_FEATURES_SELECT, 1);
    put(virtio, VIRTIO_DRIVER_FEATURES, (uint32_t)(virtio->features >> 32));
}

bool virtio_begin(struct virtio *virtio, uint64_t needed, uint64_t wanted)
{
    if (!reset(virtio))
        return refuse(virtio, "it does not reset");
    put(virtio, VIRTIO_STATUS, STATUS_ACKNOWLEDGE);
    put(virtio, VIRTIO_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    uint64_t has = offered(virtio);
    needed |= FEATURE_VERSION_1;
    if ((has & needed) != needed)
        return refuse(virtio, "it lacks a feature that is needed");
    virtio->features = has & (needed | wanted);
    accept(virtio);
    put(virtio, VIRTIO_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    if (!(get(virtio, VIRTIO_STATUS) & STATUS_FEATURES_OK))
        return refuse(virtio, "it does not take its own features");
    return true;
}

/* --- interrupts ---------------------------------------------------------------------------------------- */

/* A device that was taken away answers with what an empty place does. */
static bool gone(struct virtio *virtio)
{
    return get(virtio, VIRTIO_MAGIC) != MAGIC || get(virtio, VIRTIO_DEVICE_ID) != virtio->kind || (get(virtio, VIRTIO_STATUS) & STATUS_NEEDS_RESET);
}

static void interrupt(void *argument)
{
    struct virtio *virtio = argument;
    uint32_t what = get(virtio, VIRTIO_INTERRUPT_STATUS);
    put(virtio, VIRTIO_INTERRUPT_ACK, what);
    if ((what & INTERRUPT_CONFIG) && gone(virtio))
        virtio_fail(virtio);
    virtio->interrupt(virtio);
}

void virtio_ready(struct virtio *virtio)
{
    plic_handle(virtio->device->interrupt, interrupt, virtio);
    put(virtio, VIRTIO_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

void virtio_fail(struct virtio *virtio)
{
    if (atomic32_swap(&virtio->broken, 1))
        return;
    put(virtio, VIRTIO_STATUS, 0); /* a reset: it may touch no memory any more */
    plic_ignore(virtio->device->interrupt);
}

/* --- configuration ------------------------------------------------------------------------------------- */

uint8_t virtio_config8(struct virtio *virtio, uint32_t offset) { return device_read8(virtio->base + VIRTIO_CONFIG + offset); }
uint32_t virtio_config32(struct virtio *virtio, uint32_t offset) { return get(virtio, VIRTIO_CONFIG + offset); }

uint64_t virtio_config64(struct virtio *virtio, uint32_t offset)
{
    uint64_t value = 0;
    for (uint32_t turn = 0; turn < CONFIG_TURNS; turn++) {
        uint32_t before = get(virtio, VIRTIO_CONFIG_GENERATION);
        value = virtio_config32(virtio, offset) | (uint64_t)virtio_config32(virtio, offset + 4) << 32;
        if (before == get(virtio, VIRTIO_CONFIG_GENERATION))
            break;
    }
    return value;
}

/* --- finding ------------------------------------------------------------------------------------------- */

static bool drive(struct virtio *virtio)
{
    switch (virtio->kind) {
    case VIRTIO_NET: return virtio_net_start(virtio);
    case VIRTIO_BLOCK: return virtio_block_start(virtio);
    case VIRTIO_CONSOLE: return virtio_console_start(virtio);
    case VIRTIO_RANDOM: return virtio_random_start(virtio);
    default: return refuse(virtio, "no driver for this kind");
    }
}

static void look_at(const struct machine_device *device, struct virtio *virtio)
{
    if (device->size < VIRTIO_CONFIG || !device->interrupt)
        return;
    virtio->device = device;
    virtio->base = kernel_map_device(device->address, device->size);
    if (get(virtio, VIRTIO_MAGIC) != MAGIC)
        return;
    virtio->kind = get(virtio, VIRTIO_DEVICE_ID);
    if (!virtio->kind)
        return; /* nothing is plugged in */
    if (!machine.plic.size)
        log_line("a virtio device is not used: there is no interrupt controller");
    else if (get(virtio, VIRTIO_VERSION) == 2)
        drive(virtio);
    else
        log_line("virtio device %u at %lx is of the legacy kind and is not used (for QEMU: -global virtio-mmio.force-legacy=false)", virtio->kind,
                 (unsigned long)device->address);
}

/* By address, so that disks have the names of their places. */
void virtio_init(void)
{
    const struct machine_device *last = NULL;
    for (uint32_t i = 0; i < machine.virtio_count; i++) {
        const struct machine_device *next = NULL;
        for (uint32_t k = 0; k < machine.virtio_count; k++) {
            const struct machine_device *device = &machine.virtio[k];
            if ((!last || device->address > last->address) && (!next || device->address < next->address))
                next = device;
        }
        if (!next)
            return;
        look_at(next, &devices[i]);
        last = next;
    }
}
