/*
 * Sv48 page tables: four levels of 512 entries.
 *
 * A leaf of a program holds its frame (PTE_HELD) also when the program may not touch it (PROT_NONE): then PTE_VALID is
 * clear, since an entry that is valid and neither readable, writable nor executable would be a pointer.
 */
#ifndef RISCV64_TABLE_H
#define RISCV64_TABLE_H

#include <stdbool.h>
#include <stdint.h>

enum pte_bits {
    PTE_VALID = 1 << 0,
    PTE_READ = 1 << 1,
    PTE_WRITE = 1 << 2,
    PTE_EXECUTE = 1 << 3,
    PTE_USER = 1 << 4,
    PTE_GLOBAL = 1 << 5,
    PTE_ACCESSED = 1 << 6,
    PTE_DIRTY = 1 << 7,
    PTE_HELD = 1 << 8, /* software's: a frame is referenced */
};
#define PTE_LEAF (PTE_READ | PTE_WRITE | PTE_EXECUTE)
#define PTE_FRAME(pte) ((pte) >> 10 & 0xfffffffffffull)
#define PTE_OF_FRAME(frame) ((uint64_t)(frame) << 10)

#define TABLE_ENTRIES 512u
#define TABLE_LEVELS 4u

#endif
