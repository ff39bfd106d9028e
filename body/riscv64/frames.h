/*
 * Physical memory: frames of 4 KiB, given out in blocks of 2^order by a buddy allocator.
 *
 * Every frame of memory has a struct frame. A block's state is kept in its first one. Frames that programs see are
 * counted by references (a memobj's, and one for each translation); all others have one owner.
 */
#ifndef RISCV64_FRAMES_H
#define RISCV64_FRAMES_H

#include "body/riscv64/layout.h"
#include "kernel/atomic.h"
#include "kernel/list.h"
#include "kernel/types.h"

#define FRAME_ORDER_MAX 13u /* 32 MiB */

enum frame_kind {
    FRAME_RESERVED, /* firmware, the image, what is no memory at all */
    FRAME_FREE,
    FRAME_SLAB,     /* slab.c: small objects */
    FRAME_LARGE,    /* slab.c: one object of whole frames */
    FRAME_PAGE,     /* a page of a program or a memobj */
    FRAME_TABLE,    /* a page table */
    FRAME_STACK,
    FRAME_DEVICE,   /* queues and buffers of devices */
    FRAME_KINDS,
};

/* What translations are searched for. */
enum frame_mark { FRAME_CONDEMNED = 1, FRAME_READ_ONLY = 2 };

struct frame {
    struct list link;      /* free: the list of its order; slab: its class's list */
    struct atomic32 references; /* FRAME_PAGE */
    uint8_t kind, order;
    uint16_t used;         /* slab: objects in use; a memobj's page: enum frame_mark */
    void *free;            /* slab: the first free object */
};

/* Once: takes over all memory that is not reserved. */
void frames_init(uint64_t image_start, uint64_t image_size);
/* A block's number of its first frame, or 0. Any context. The contents are undefined. */
uint64_t frame_alloc(uint32_t order, enum frame_kind kind);
void frame_free(uint64_t number);
/* Gives a range to the allocator that was reserved so far (the initramfs, once unpacked). */
void frames_release(uint64_t physical, uint64_t size);

struct frame *frame_of(uint64_t number);
uint64_t frame_number(const struct frame *frame);
uint64_t frames_total(void); /* of memory, reserved or not */
uint64_t frames_count(enum frame_kind kind);

static inline void *frame_address(uint64_t number) { return (void *)(DIRECT_BASE + (number << PAGE_SHIFT)); }
static inline uint64_t frame_of_address(const void *address) { return ((uint64_t)address - DIRECT_BASE) >> PAGE_SHIFT; }

/* A zeroed page of memory for a table. NULL: none. */
uint64_t *table_alloc(void);

#endif
