/*
 * The kernel's own memory: its allocator, its page tables, its stacks.
 */
#ifndef RISCV64_MEMORY_H
#define RISCV64_MEMORY_H

#include "kernel/types.h"

/* slab.c */
void slab_init(void);
/* The account, to the log. */
void memory_report(void);

/* kernel_map.c: the tables that boot_map.c's give way to. `load` is where the image lies. */
void kernel_map_init(uint64_t load);
/* The value for satp with no program's memory; its table's upper half is every root table's. */
uint64_t kernel_map_satp(void);
const uint64_t *kernel_map_root(void);
/* Translations for a range in the kernel's half, all multiples of a page. False: no memory for tables. */
bool kernel_map_add(uint64_t address, uint64_t physical, uint64_t size, uint64_t bits);
/* Makes a device reachable: its address in the direct map. */
uintptr_t kernel_map_device(uint64_t physical, uint64_t size);

#endif
