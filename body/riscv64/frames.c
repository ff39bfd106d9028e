/*
 * The buddy allocator.
 *
 * One spinlock guards the free lists and the state of blocks. A free block of order n begins at a multiple of 2^n; its
 * buddy is the block whose number differs in bit n only; two free buddies are joined at once.
 */
#include "body/riscv64/frames.h"

#include "body/riscv64/machine.h"
#include "kernel/assert.h"
#include "kernel/lock.h"
#include "kernel/string.h"

static struct {
    struct spinlock lock;
    struct list free[FRAME_ORDER_MAX + 1];
    struct frame *frames; /* of [first, end) */
    uint64_t first, end;
    uint64_t counts[FRAME_KINDS];
    uint64_t total;
} memory = {.lock = SPINLOCK_INIT(RANK_BODY)};

struct frame *frame_of(uint64_t number)
{
    KASSERT(number >= memory.first && number < memory.end);
    return &memory.frames[number - memory.first];
}

uint64_t frame_number(const struct frame *frame) { return memory.first + (uint64_t)(frame - memory.frames); }
uint64_t frames_total(void) { return memory.total; }
uint64_t frames_count(enum frame_kind kind) { return memory.counts[kind]; }

/* --- blocks -------------------------------------------------------------------------------------------- */

static void put_locked(uint64_t number, uint32_t order)
{
    struct frame *frame = frame_of(number);
    frame->kind = FRAME_FREE;
    frame->order = (uint8_t)order;
    list_push_front(&memory.free[order], &frame->link);
}

/* True when that block is free as a whole, and then it is taken off its list. */
static bool take_buddy_locked(uint64_t number, uint32_t order)
{
    if (number < memory.first || number + ((uint64_t)1 << order) > memory.end)
        return false;
    struct frame *frame = frame_of(number);
    if (frame->kind != FRAME_FREE || frame->order != order || !list_linked(&frame->link))
        return false;
    list_remove(&frame->link);
    return true;
}

static void join_locked(uint64_t number, uint32_t order)
{
    while (order < FRAME_ORDER_MAX && take_buddy_locked(number ^ (uint64_t)1 << order, order)) {
        number &= ~((uint64_t)1 << order);
        order++;
    }
    put_locked(number, order);
}

static uint64_t split_locked(uint32_t order, enum frame_kind kind)
{
    uint32_t from = order;
    while (from <= FRAME_ORDER_MAX && list_empty(&memory.free[from]))
        from++;
    if (from > FRAME_ORDER_MAX)
        return 0;
    struct frame *frame = LIST_ENTRY(memory.free[from].next, struct frame, link);
    uint64_t number = frame_number(frame);
    list_remove(&frame->link);
    while (from > order) {
        from--;
        put_locked(number + ((uint64_t)1 << from), from);
    }
    frame->kind = (uint8_t)kind;
    frame->order = (uint8_t)order;
    return number;
}

uint64_t frame_alloc(uint32_t order, enum frame_kind kind)
{
    if (order > FRAME_ORDER_MAX)
        return 0;
    spin_lock(&memory.lock);
    uint64_t number = split_locked(order, kind);
    if (number) {
        memory.counts[kind] += (uint64_t)1 << order;
        memory.counts[FRAME_FREE] -= (uint64_t)1 << order;
    }
    spin_unlock(&memory.lock);
    return number;
}

void frame_free(uint64_t number)
{
    struct frame *frame = frame_of(number);
    uint64_t count = (uint64_t)1 << frame->order;
    spin_lock(&memory.lock);
    KASSERT(frame->kind > FRAME_FREE && frame->kind < FRAME_KINDS);
    memory.counts[frame->kind] -= count;
    memory.counts[FRAME_FREE] += count;
    join_locked(number, frame->order);
    spin_unlock(&memory.lock);
}

uint64_t *table_alloc(void)
{
    uint64_t number = frame_alloc(0, FRAME_TABLE);
    return number ? memset(frame_address(number), 0, PAGE_SIZE) : NULL;
}

/* --- the beginning ------------------------------------------------------------------------------------- */

void frames_release(uint64_t physical, uint64_t size)
{
    uint64_t number = round_up(physical, PAGE_SIZE) >> PAGE_SHIFT, end = (physical + size) >> PAGE_SHIFT;
    spin_lock(&memory.lock);
    for (; number < end; number++) {
        KASSERT(frame_of(number)->kind == FRAME_RESERVED);
        memory.counts[FRAME_RESERVED]--;
        memory.counts[FRAME_FREE]++;
        join_locked(number, 0);
    }
    spin_unlock(&memory.lock);
}

/* The end of the reserved range that overlaps, or 0. */
static uint64_t reserved_end(uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < machine.reserved_count; i++) {
        const struct machine_range *range = &machine.reserved[i];
        if (range->start < end && start < range->start + range->size)
            return range->start + range->size;
    }
    return 0;
}

/* The first place in memory for so many bytes that nobody has reserved. */
static uint64_t place(uint64_t size)
{
    for (uint32_t i = 0; i < machine.memory_count; i++) {
        uint64_t at = round_up(machine.memory[i].start, PAGE_SIZE), end = machine.memory[i].start + machine.memory[i].size, next;
        while (at + size <= end && (next = reserved_end(at, at + size)))
            at = round_up(next, PAGE_SIZE);
        if (at + size <= end)
            return at;
    }
    panic("no room for the table of frames");
}

static void give_range(uint64_t start, uint64_t end)
{
    for (uint64_t at = start, next; at < end; at = next) {
        uint64_t skip = reserved_end(at, at + PAGE_SIZE);
        next = skip ? round_up(skip, PAGE_SIZE) : at + PAGE_SIZE;
        if (!skip)
            frames_release(at, PAGE_SIZE);
    }
}

static void reserve(uint64_t start, uint64_t size)
{
    KASSERT(machine.reserved_count < MACHINE_RANGES_MAX);
    machine.reserved[machine.reserved_count++] = (struct machine_range){start, size};
}

void frames_init(uint64_t image_start, uint64_t image_size)
{
    uint64_t low = UINT64_MAX, high = 0;
    for (uint32_t order = 0; order <= FRAME_ORDER_MAX; order++)
        list_init(&memory.free[order]);
    for (uint32_t i = 0; i < machine.memory_count; i++) {
        low = min_u64(low, machine.memory[i].start);
        high = max_u64(high, machine.memory[i].start + machine.memory[i].size);
        memory.total += machine.memory[i].size >> PAGE_SHIFT;
    }
    reserve(image_start, image_size);
    memory.first = round_up(low, PAGE_SIZE) >> PAGE_SHIFT;
    memory.end = high >> PAGE_SHIFT;
    uint64_t table_size = (memory.end - memory.first) * sizeof(struct frame), table = place(table_size);
    reserve(table, table_size);
    memory.frames = (struct frame *)(DIRECT_BASE + table);
    memset(memory.frames, 0, table_size);
    memory.counts[FRAME_RESERVED] = memory.total;
    for (uint32_t i = 0; i < machine.memory_count; i++)
        give_range(round_up(machine.memory[i].start, PAGE_SIZE), round_down(machine.memory[i].start + machine.memory[i].size, PAGE_SIZE));
}
