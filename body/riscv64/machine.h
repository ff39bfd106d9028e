/*
 * What the device tree tells of this machine. Filled in once by machine_read; constant afterwards.
 */
#ifndef RISCV64_MACHINE_H
#define RISCV64_MACHINE_H

#include "kernel/types.h"

#define MACHINE_RANGES_MAX 16u
#define MACHINE_HARTS_MAX 8u
#define MACHINE_VIRTIO_MAX 8u

struct machine_range {
    uint64_t start, size;
};

struct machine_device {
    uint64_t address, size; /* size 0: the machine has none */
    uint32_t interrupt;     /* at the interrupt controller; 0: none */
};

struct machine {
    char model[64];
    struct machine_range memory[MACHINE_RANGES_MAX];
    uint32_t memory_count;
    struct machine_range reserved[MACHINE_RANGES_MAX];
    uint32_t reserved_count;

    uint64_t hart_ids[MACHINE_HARTS_MAX];
    uint32_t hart_phandles[MACHINE_HARTS_MAX]; /* of its interrupt controller */
    uint32_t hart_count;
    bool sstc;            /* every hart has the supervisor's timer compare register */
    uint32_t timebase_hz;

    struct machine_device uart;
    uint32_t uart_shift, uart_width; /* distance of the registers, as a power of two; bytes of an access */
    struct machine_device plic;
    uint32_t plic_sources;
    uint32_t plic_contexts[MACHINE_HARTS_MAX]; /* the supervisor context of each hart */
    struct machine_device virtio[MACHINE_VIRTIO_MAX];
    uint32_t virtio_count;
    struct machine_device test; /* ends the machine with a status */
    struct machine_device clock; /* goldfish real-time clock */

    uint64_t initrd_start, initrd_end; /* physical; equal: none */
    const char *arguments;             /* /chosen/bootargs, never NULL */
    const void *seed;                  /* /chosen/rng-seed */
    uint32_t seed_size;
};

extern struct machine machine;

/* False when it is no device tree. */
bool machine_read(const void *blob, uint64_t physical);
/* The value of a boot argument NAME=VALUE or NAME (then ""): its length, or -1 when it is not given. Before a "--". */
int32_t machine_argument(const char *name, const char **value);

#endif
