/*
 * The first page tables, built while translation is off.
 *
 * This file runs at physical addresses while the rest of the image believes in the upper half: it may only use what is
 * reached relative to the program counter, so no constant in it may hold an address. The tables serve until
 * kernel_map.c has made the real ones: the image in large pages, writable and executable throughout, at its own address and at
 * its physical one, and the first 512 GiB of physical addresses in the direct map.
 */
#include "body/riscv64/layout.h"
#include "body/riscv64/table.h"

#define LARGE_SHIFT 21
#define GIGA_SHIFT 30
#define INDEX(address, shift) ((uint64_t)(address) >> (shift) & 511)

static uint64_t root[512] __attribute__((aligned(4096)));
static uint64_t direct[512] __attribute__((aligned(4096)));
static uint64_t upper[512] __attribute__((aligned(4096)));
static uint64_t image[512] __attribute__((aligned(4096)));
static uint64_t here[512] __attribute__((aligned(4096)));
static uint64_t here_giga[512] __attribute__((aligned(4096)));

extern char image_start[], image_end[];

static uint64_t table_entry(const uint64_t *table) { return (uint64_t)table >> 12 << 10 | PTE_VALID; }
static uint64_t leaf(uint64_t physical, uint64_t bits) { return physical >> 12 << 10 | PTE_VALID | PTE_ACCESSED | PTE_DIRTY | bits; }

uint64_t boot_map(uint64_t load);

/* The value for satp. `load` is where the image lies, a multiple of 2 MiB. */
uint64_t boot_map(uint64_t load)
{
    uint64_t size = (uint64_t)(image_end - image_start);

    for (uint64_t i = 0; i < 512; i++)
        direct[i] = leaf(i << GIGA_SHIFT, PTE_READ | PTE_WRITE);
    for (uint64_t at = 0; at < size; at += 1u << LARGE_SHIFT) {
        uint64_t entry = leaf(load + at, PTE_READ | PTE_WRITE | PTE_EXECUTE);
        image[INDEX(at, LARGE_SHIFT)] = entry;
        here[INDEX(load + at, LARGE_SHIFT)] = entry;
    }
    upper[INDEX(IMAGE_BASE, GIGA_SHIFT)] = table_entry(image);
    here_giga[INDEX(load, GIGA_SHIFT)] = table_entry(here);
    root[INDEX(load, 39)] = table_entry(here_giga);
    root[INDEX(DIRECT_BASE, 39)] = table_entry(direct);
    root[INDEX(IMAGE_BASE, 39)] = table_entry(upper);
    return (uint64_t)SATP_SV48 << 60 | (uint64_t)root >> 12;
}
