/*
 * The kernel's half of every address space.
 *
 * Memory is in the direct map, never executable, in the largest pages that fit; where it holds the image's text and
 * constants it is read-only there too, so that no writable translation of either exists. The image itself has pages of
 * 4 KiB with the rights of each section. Devices are added one by one, stacks as they are made (stack.c).
 */
#include "body/riscv64/csr.h"
#include "body/riscv64/frames.h"
#include "body/riscv64/machine.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/table.h"
#include "kernel/assert.h"
#include "kernel/lock.h"

#define ROOT_FIRST_UPPER 256u

extern char image_start[], text_end[], constants_end[], image_end[];

static uint64_t *root;
static struct spinlock lock = SPINLOCK_INIT(RANK_BODY - 1);

const uint64_t *kernel_map_root(void) { return root; }
uint64_t kernel_map_satp(void) { return (uint64_t)SATP_SV48 << 60 | frame_of_address(root); }

static uint32_t index_at(uint64_t address, uint32_t level) { return address >> (PAGE_SHIFT + 9 * level) & (TABLE_ENTRIES - 1); }

/* The entry for address at `level` (0: 4 KiB), tables made on the way. */
static uint64_t *entry_at(uint64_t address, uint32_t level)
{
    uint64_t *table = root;
    for (uint32_t at = TABLE_LEVELS - 1; at > level; at--) {
        uint64_t *entry = &table[index_at(address, at)];
        if (!(*entry & PTE_VALID)) {
            uint64_t *below = table_alloc();
            if (!below)
                return NULL;
            *entry = PTE_OF_FRAME(frame_of_address(below)) | PTE_VALID;
        }
        KASSERT(!(*entry & PTE_LEAF));
        table = frame_address(PTE_FRAME(*entry));
    }
    return &table[index_at(address, level)];
}

static uint32_t largest_level(uint64_t address, uint64_t physical, uint64_t size)
{
    for (uint32_t level = 2; level > 0; level--) {
        uint64_t span = (uint64_t)PAGE_SIZE << 9 * level;
        if (size >= span && !((address | physical) & (span - 1)))
            return level;
    }
    return 0;
}

bool kernel_map_add(uint64_t address, uint64_t physical, uint64_t size, uint64_t bits)
{
    bool made = true;
    spin_lock(&lock);
    while (size && made) {
        uint32_t level = largest_level(address, physical, size);
        uint64_t span = (uint64_t)PAGE_SIZE << 9 * level, *entry = entry_at(address, level);
        made = entry;
        if (entry)
            *entry = PTE_OF_FRAME(physical >> PAGE_SHIFT) | PTE_VALID | PTE_GLOBAL | PTE_ACCESSED | PTE_DIRTY | bits;
        address += span;
        physical += span;
        size -= span;
    }
    spin_unlock(&lock);
    return made;
}

uintptr_t kernel_map_device(uint64_t physical, uint64_t size)
{
    uint64_t start = round_down(physical, PAGE_SIZE), end = round_up(physical + size, PAGE_SIZE);
    if (!kernel_map_add(DIRECT_BASE + start, start, end - start, PTE_READ | PTE_WRITE))
        panic("no memory to map a device");
    __asm__ volatile("sfence.vma" ::: "memory");
    return DIRECT_BASE + physical;
}

static void map_direct(uint64_t start, uint64_t end, uint64_t bits)
{
    if (start < end && !kernel_map_add(DIRECT_BASE + start, start, end - start, bits))
        panic("no memory for the direct map");
}

/* A range of memory, without write where the image's text and constants are. */
static void map_memory(const struct machine_range *range, uint64_t load)
{
    uint64_t start = round_up(range->start, PAGE_SIZE), end = round_down(range->start + range->size, PAGE_SIZE);
    uint64_t fixed_end = load + (uint64_t)(constants_end - image_start);
    if (load < start || load >= end) {
        map_direct(start, end, PTE_READ | PTE_WRITE);
        return;
    }
    map_direct(start, load, PTE_READ | PTE_WRITE);
    map_direct(load, fixed_end, PTE_READ);
    map_direct(fixed_end, end, PTE_READ | PTE_WRITE);
}

static void map_image(const char *from, const char *to, uint64_t load, uint64_t bits)
{
    uint64_t offset = (uint64_t)(from - image_start);
    for (uint64_t at = 0; at < (uint64_t)(to - from); at += PAGE_SIZE)
        if (!kernel_map_add((uint64_t)from + at, load + offset + at, PAGE_SIZE, bits))
            panic("no memory to map the image");
}

/* Root tables are copied: whatever may be mapped later must have its table below the root now. */
static void make_tables_for(uint64_t address)
{
    if (!entry_at(address, 2))
        panic("no memory for the kernel's tables");
}

void kernel_map_init(uint64_t load)
{
    root = table_alloc();
    if (!root)
        panic("no memory for the kernel's tables");
    make_tables_for(DIRECT_BASE);
    make_tables_for(STACKS_BASE);
    for (uint32_t i = 0; i < machine.memory_count; i++)
        map_memory(&machine.memory[i], load);
    map_image(image_start, text_end, load, PTE_READ | PTE_EXECUTE);
    map_image(text_end, constants_end, load, PTE_READ);
    map_image(constants_end, image_end, load, PTE_READ | PTE_WRITE);
    csr_write("satp", kernel_map_satp());
    __asm__ volatile("sfence.vma" ::: "memory");
}
