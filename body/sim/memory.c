/*
 * Memory of the simulated machine: an arena at a fixed address, so that a schedule's addresses (and what
 * depends on them, as the order of two locks) are the same whenever it is run, and stacks.
 *
 * Blocks are never reused within a schedule and are poisoned when freed, so every use after free is seen.
 * Fresh memory holds a pattern, so that forgetting to initialise shows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "body/sim/engine.h"

#ifdef SIM_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#define ARENA_ADDRESS ((char *)0x200000000000)
#define ARENA_SIZE ((size_t)256 << 20)
#define STACKS_ADDRESS ((char *)0x210000000000)
#define STACKS_MAX 512u
#define REDZONE 32u
#define FRESH_BYTE 0xa5
#define FREED_BYTE 0xdd

struct block {
    size_t size;
    size_t live; /* the size again, while it is allocated */
};

static char *arena;
static size_t arena_used;
static uint64_t live_blocks, made_blocks, made_bytes;

static char *map_fixed(char *address, size_t size)
{
    char *memory = mmap(address, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (memory != address) {
        perror("sim: mmap");
        exit(2);
    }
    return memory;
}

uint64_t body_memory_size(void) { return ARENA_SIZE; }
uint64_t sim_memory_live(void) { return live_blocks; }
uint64_t sim_allocations(void) { return made_blocks; }
uint64_t sim_allocated_bytes(void) { return made_bytes; }

/* --- blocks ------------------------------------------------------------------------------------------ */

static struct block *block_of(void *memory) { return (struct block *)((char *)memory - sizeof(struct block)); }

static bool fails(void)
{
    return sim.running && sim.fail_one_in && sim_failures_allowed() && sim_chance(sim.fail_one_in);
}

void *body_alloc(size_t size)
{
    sim_point();
    size_t total = round_up(sizeof(struct block) + size, 16) + REDZONE;
    if (fails() || size > ARENA_SIZE || total > ARENA_SIZE - arena_used)
        return NULL;
    struct block *block = (struct block *)(arena + arena_used);
    arena_used += total;
    ASAN_UNPOISON_MEMORY_REGION(block, sizeof(*block) + size);
    ASAN_POISON_MEMORY_REGION((char *)(block + 1) + size, total - sizeof(*block) - size);
    *block = (struct block){.size = size, .live = size};
    live_blocks++;
    made_blocks++;
    made_bytes += size;
    return memset(block + 1, FRESH_BYTE, size);
}

void body_free(void *memory)
{
    if (!memory)
        return;
    sim_point();
    struct block *block = block_of(memory);
    if (block->live != block->size)
        sim_fail("a block is freed twice, or was never allocated");
    sim_buffer_forget(memory, block->size);
    block->live = ~block->size;
    memset(memory, FREED_BYTE, block->size);
    ASAN_POISON_MEMORY_REGION(memory, block->size);
    live_blocks--;
}

void *body_realloc(void *memory, size_t size)
{
    void *copy = body_alloc(size);
    if (!copy)
        return NULL;
    size_t old = block_of(memory)->size;
    memcpy(copy, memory, old < size ? old : size);
    body_free(memory);
    return copy;
}

/* --- stacks ------------------------------------------------------------------------------------------ */

static char *stacks;
static void *free_stacks[STACKS_MAX];
static uint32_t free_stack_count;

static char *stack_at(uint32_t index) { return stacks + (size_t)index * (BODY_STACK_SIZE + PAGE_SIZE) + PAGE_SIZE; }

static void stacks_map(void)
{
    stacks = map_fixed(STACKS_ADDRESS, (size_t)STACKS_MAX * (BODY_STACK_SIZE + PAGE_SIZE));
    for (uint32_t i = 0; i < STACKS_MAX; i++)
        mprotect(stack_at(i) - PAGE_SIZE, PAGE_SIZE, PROT_NONE);
}

uint32_t sim_stacks_out(void) { return STACKS_MAX - free_stack_count; }

/* The order of free stacks is part of what a schedule depends on. */
static void stacks_reset(void)
{
    if (!stacks)
        stacks_map();
    for (free_stack_count = 0; free_stack_count < STACKS_MAX; free_stack_count++)
        free_stacks[free_stack_count] = stack_at(STACKS_MAX - 1 - free_stack_count);
}

void sim_memory_reset(void)
{
    if (!arena)
        arena = map_fixed(ARENA_ADDRESS, ARENA_SIZE);
    else
        ASAN_POISON_MEMORY_REGION(arena, arena_used);
    arena_used = 0;
    live_blocks = 0;
    stacks_reset();
}

void *body_stack_alloc(void)
{
    sim_point();
    if (fails() || free_stack_count == 0)
        return NULL;
    void *stack = free_stacks[--free_stack_count];
    ASAN_UNPOISON_MEMORY_REGION(stack, BODY_STACK_SIZE);
    return stack;
}

void body_stack_free(void *stack)
{
    sim_point();
    if (sim.running)
        sim_buffer_forget(stack, BODY_STACK_SIZE);
    ASAN_POISON_MEMORY_REGION(stack, BODY_STACK_SIZE);
    free_stacks[free_stack_count++] = stack;
}

void *sim_stack_of_strand(uint32_t id)
{
    static char *strand_stacks[SIM_STRANDS];
    if (!strand_stacks[id])
        strand_stacks[id] = map_fixed(STACKS_ADDRESS + ((size_t)1 << 32) + (size_t)id * 2 * SIM_STRAND_STACK, SIM_STRAND_STACK);
    ASAN_UNPOISON_MEMORY_REGION(strand_stacks[id], SIM_STRAND_STACK);
    return strand_stacks[id];
}
