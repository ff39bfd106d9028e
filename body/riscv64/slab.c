/*
 * Kernel memory: small objects from slabs, large ones in whole frames.
 *
 * A slab is a block of frames cut into objects of one class's size; free objects are linked through their first word, and
 * the slab's frame counts those in use. A class keeps the slabs that have room in a list; one that is full is on none,
 * one that is empty goes back to the frames unless it is the class's last with room. Sizes are rounded up to a class: no
 * more than a quarter is lost.
 */
#include "body/riscv64/frames.h"
#include "body/riscv64/memory.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/lock.h"
#include "kernel/string.h"

#define LARGEST 4096u

/* Objects per slab are at least eight. */
static const struct {
    uint16_t size;
    uint8_t order;
} shapes[] = {{16, 0},  {32, 0},  {48, 0},  {64, 0},   {96, 0},   {128, 0},  {192, 0},  {256, 0},  {384, 0},
              {512, 0}, {768, 1}, {1024, 1}, {1536, 2}, {2048, 2}, {3072, 3}, {4096, 3}};
#define CLASSES ARRAY_SIZE(shapes)

static struct slab_class {
    struct spinlock lock;
    struct list room; /* struct frame.link: slabs with a free object */
    uint64_t slabs, objects;
} classes[CLASSES];

void slab_init(void)
{
    for (uint32_t i = 0; i < CLASSES; i++) {
        spinlock_init(&classes[i].lock, RANK_BODY - 1);
        list_init(&classes[i].room);
    }
}

static uint32_t class_of(size_t size)
{
    uint32_t index = 0;
    while (shapes[index].size < size)
        index++;
    return index;
}

/* --- slabs --------------------------------------------------------------------------------------------- */

/* `order` of a frame inside a block is the class, and `free` the block's first frame: so an object finds its slab. */
static struct frame *slab_of(const void *object, uint32_t *index)
{
    struct frame *frame = frame_of(frame_of_address(object));
    if (frame->used == UINT16_MAX)
        frame = frame->free;
    *index = (uint32_t)frame->references.raw;
    return frame;
}

static void cut(struct frame *slab, uint32_t index)
{
    char *base = frame_address(frame_number(slab));
    size_t size = shapes[index].size, count = (PAGE_SIZE << shapes[index].order) / size;
    slab->free = NULL;
    slab->used = 0;
    slab->references.raw = index;
    for (size_t i = count; i-- > 0;) {
        *(void **)(base + i * size) = slab->free;
        slab->free = base + i * size;
    }
    for (uint32_t i = 1; i < 1u << shapes[index].order; i++) {
        slab[i].kind = FRAME_SLAB;
        slab[i].used = UINT16_MAX;
        slab[i].free = slab;
    }
}

static bool grow_locked(uint32_t index)
{
    uint64_t number = frame_alloc(shapes[index].order, FRAME_SLAB);
    if (!number)
        return false;
    struct frame *slab = frame_of(number);
    cut(slab, index);
    list_push_front(&classes[index].room, &slab->link);
    classes[index].slabs++;
    return true;
}

static void *small_alloc(size_t size)
{
    uint32_t index = class_of(size);
    struct slab_class *class = &classes[index];
    void **object = NULL;
    spin_lock(&class->lock);
    if (!list_empty(&class->room) || grow_locked(index)) {
        struct frame *slab = LIST_ENTRY(class->room.next, struct frame, link);
        object = slab->free;
        slab->free = *object;
        slab->used++;
        class->objects++;
        if (!slab->free)
            list_remove(&slab->link);
    }
    spin_unlock(&class->lock);
    return object;
}

static void small_free(void *object)
{
    uint32_t index;
    struct frame *slab = slab_of(object, &index);
    struct slab_class *class = &classes[index];
    spin_lock(&class->lock);
    KASSERT(slab->used > 0);
    if (!slab->free)
        list_push_front(&class->room, &slab->link);
    *(void **)object = slab->free;
    slab->free = object;
    class->objects--;
    bool give = --slab->used == 0 && class->room.next != class->room.prev;
    if (give) {
        list_remove(&slab->link);
        class->slabs--;
    }
    spin_unlock(&class->lock);
    if (give)
        frame_free(frame_number(slab));
}

/* --- the contract -------------------------------------------------------------------------------------- */

static uint32_t order_for(size_t size)
{
    uint32_t order = 0;
    while (((uint64_t)PAGE_SIZE << order) < size && order <= FRAME_ORDER_MAX)
        order++;
    return order;
}

void *body_alloc(size_t size)
{
    if (size <= LARGEST)
        return small_alloc(size);
    uint64_t number = frame_alloc(order_for(size), FRAME_LARGE);
    return number ? frame_address(number) : NULL;
}

static bool is_large(const void *block) { return frame_of(frame_of_address(block))->kind == FRAME_LARGE; }

static size_t size_of(const void *block)
{
    uint32_t index;
    if (is_large(block))
        return (size_t)PAGE_SIZE << frame_of(frame_of_address(block))->order;
    slab_of(block, &index);
    return shapes[index].size;
}

void *body_realloc(void *block, size_t size)
{
    size_t old = size_of(block);
    if (size <= old && size > old / 4)
        return block;
    void *copy = body_alloc(size);
    if (!copy)
        return NULL;
    memcpy(copy, block, size < old ? size : old);
    body_free(block);
    return copy;
}

void body_free(void *block)
{
    if (is_large(block))
        frame_free(frame_of_address(block));
    else
        small_free(block);
}

uint64_t body_memory_size(void) { return frames_total() << PAGE_SHIFT; }

void memory_report(void)
{
    static const char *const names[FRAME_KINDS] = {"reserved", "free", "small objects", "large objects", "pages", "tables", "stacks", "devices"};
    for (uint32_t kind = 0; kind < FRAME_KINDS; kind++)
        log_line("memory: %s: %lu frames", names[kind], (unsigned long)frames_count((enum frame_kind)kind));
    for (uint32_t i = 0; i < CLASSES; i++)
        log_line("memory: class %u: %lu objects in %lu slabs", shapes[i].size, (unsigned long)classes[i].objects,
                 (unsigned long)classes[i].slabs);
}
