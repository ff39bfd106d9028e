/*
 * Paged memobjs inside: what is known of each page, who waits, and what the pager has still to be told.
 *
 * Page states are bits in blocks of 64 pages, in a tree by block number; a page without a block is absent. The bytes are the
 * body's (body_memobj_page), there exactly when PRESENT, or LOCKED and being filled. Everything is under memobj->mutex.
 *
 *     absent      no bit
 *     asked       ASKED: the pager knows; its epoch is the ticket
 *     filling     LOCKED without PRESENT, maybe ASKED
 *     clean       PRESENT
 *     dirty       PRESENT DIRTY
 *     cleaning    PRESENT CLEANING, and DIRTY when written meanwhile; the cleaning's number is the ticket
 *     locked      LOCKED on top of the last three
 *
 *     leaving     HELD without PRESENT: the kernel takes it from programs that map it, and then drops it
 *     held        PRESENT HELD: the kernel takes the right to write it from programs, and then cleans it
 *
 * MAPPED and WRITABLE: since it was last taken from them, some program may have got it mapped, and so that it can write.
 *
 * A want is a thread that waits for a page, on its stack; it is off the list and may be gone as soon as the mutex is free.
 */
#ifndef KERNEL_PAGER_INTERNAL_H
#define KERNEL_PAGER_INTERNAL_H

#include "kernel/async.h"
#include "kernel/pager.h"
#include "kernel/tree.h"
#include "kernel/waitq.h"

#define BLOCK_PAGES 64u

/* The last three say nothing by themselves: a block with only them may go. */
enum block_bit { BIT_PRESENT, BIT_DIRTY, BIT_ASKED, BIT_CLEANING, BIT_LOCKED, BIT_HELD, BIT_ACCESSED, BIT_MAPPED, BIT_WRITABLE, BLOCK_BITS };

struct page_block {
    struct tree_node node;
    uint64_t number; /* its first page is number * BLOCK_PAGES */
    uint64_t bits[BLOCK_BITS];
    uint64_t tickets[BLOCK_PAGES]; /* of ASKED pages: the epoch; of PRESENT ones: the number of their last cleaning */
};

struct page_want {
    struct list link; /* struct paged.wants */
    uint64_t first, count;
    uint64_t ahead; /* more pages that would be nice */
    bool asks;      /* the page is absent; else it only waits for a lock to go */
    bool done;      /* look again */
    int error;
    struct waitq queue;
};

struct paged {
    struct memobj *memobj;
    const struct pager_ops *ops;
    void *context;
    /* all of it under memobj->mutex */
    struct tree blocks;
    uint64_t totals[BLOCK_BITS]; /* pages with that bit */
    uint64_t epoch;
    uint64_t cleanings;      /* numbers them */
    struct list regions;     /* struct region.memobj_link: that map it */
    struct list wants;       /* struct page_want.link, first come first asked */
    struct waitq changed;    /* cleaned, unlocked, idle, no operation runs, no resize goes on: whoever waits looks again */
    struct thread *pumping;  /* who calls operations; NULL: nobody */
    bool pump_again;
    bool held;               /* by the pager: the pointer is good without a reference */
    bool alive;              /* the pager is: it may be asked */
    bool stalled;            /* page_in said -EAGAIN, and no pager_ready came since it was called */
    uint64_t readies;        /* counts those */
    bool resizing;
    bool mappable;           /* the body has been told that it may be mapped */
    bool idle;               /* the one reference is the pager's */
    uint64_t lowest;         /* size since resized was last told */
    bool tell_resized, tell_written, tell_idle;
    bool written;            /* told since the last pager_clean */
    uint64_t clean_first, clean_end; /* to be asked back; empty: nothing */
    int sync_error;          /* of write-backs since the last sync */
    uint64_t ahead_next;     /* where a sequential reader comes next, and how much it gets */
    uint64_t ahead_window;
    struct async_work idle_work;
};

/* --- pager_pages.c: the states ----------------------------------------------------------------------- */

static inline uint64_t page_bit(uint64_t index) { return (uint64_t)1 << (index % BLOCK_PAGES); }
static inline uint64_t pages_of(uint64_t bytes) { return (bytes + PAGE_SIZE - 1) >> PAGE_SHIFT; }

struct page_block *block_find(struct paged *paged, uint64_t index);
/* NULL: no memory. */
struct page_block *block_make(struct paged *paged, uint64_t index);
/* The first block that reaches past page index, or NULL. */
struct page_block *block_after(struct paged *paged, uint64_t index);
/* The pages of [first, end) that are in the block, as bits. */
uint64_t block_mask(const struct page_block *block, uint64_t first, uint64_t end);
/* Pages that somebody has locked, or the kernel holds: not to be written, cut, cleaned or dropped now. */
static inline uint64_t page_busy(const struct page_block *block) { return block->bits[BIT_LOCKED] | block->bits[BIT_HELD]; }
bool page_is(struct paged *paged, uint64_t index, enum block_bit bit);
uint64_t bits_count(uint64_t mask);
void block_set(struct paged *paged, struct page_block *block, enum block_bit bit, uint64_t mask);
void block_clear(struct paged *paged, struct page_block *block, enum block_bit bit, uint64_t mask);
bool pages_any(struct paged *paged, uint64_t first, uint64_t end, enum block_bit bit);
/* Frees blocks that say nothing. */
void blocks_trim(struct paged *paged, uint64_t first, uint64_t end);
void blocks_free(struct paged *paged);

/* --- pager_wait.c: those who wait, and what the pager is told ---------------------------------------- */

/*
 * Waits until the first page's state has changed, the mutex let go meanwhile: 0 (look again), -EINTR, -EIO or another error of the
 * pager's. `asks`: it is absent and has to be asked for, `count` pages from it on if they are absent too.
 */
int page_await_locked(struct paged *paged, uint64_t first, uint64_t count, bool asks, enum wait_flags flags);
/* Wakes those who wait for pages of [first, end). */
void wants_wake_locked(struct paged *paged, uint64_t first, uint64_t end, int error);
/* The same for pages that could not be had. */
void wants_fail_locked(struct paged *paged, uint64_t first, uint64_t end, int error);
/* All who wait look again; those who wait for contents get the error. */
void wants_end_locked(struct paged *paged, int error);
/* Has the pager told what there is to tell; lets the mutex go for it, and may find everything changed. */
void pump_locked(struct paged *paged);
/* Waits for `changed`, interruptibly or not. */
int changed_wait_locked(struct paged *paged, enum wait_flags flags);

/* --- pager_io.c: the users' side, called by memobj.c --------------------------------------------------- */

int64_t paged_read(struct memobj *memobj, void *buffer, uint64_t offset, size_t size);
int64_t paged_write(struct memobj *memobj, const void *buffer, uint64_t offset, size_t size);
int paged_sync(struct memobj *memobj, uint64_t first, uint64_t end);
int paged_resize(struct memobj *memobj, uint64_t size, bool tell);
/* A page with bytes, PRESENT not yet set; charged to the commit limit. NULL: no memory. */
void *page_make_locked(struct memobj *memobj, uint64_t index);
/* Drops the pages whose mask it is, from the body too. None is locked by anybody else, nobody has them mapped. */
void block_drop_locked(struct paged *paged, struct page_block *block, uint64_t mask);
/* A write by a user. */
void page_dirtied_locked(struct paged *paged, struct page_block *block, uint64_t mask);

/* --- pager.c ----------------------------------------------------------------------------------------- */

/* The last reference to a paged memobj is gone: it lives on in the pager's name, or goes. Any thread, any sleeping lock held. */
void paged_destroy(struct memobj *memobj);

/* Takes back that pages were asked for, if that was with this ticket (or with any: UINT64_MAX). */
void pages_unask(struct paged *paged, uint64_t first, uint64_t end, uint64_t epoch);

/* --- pager_map.c --------------------------------------------------------------------------------------- */

/* Of pages that are locked or held: no program can write them any more without a fault. May let the mutex go. */
void block_take_writes_locked(struct paged *paged, struct page_block *block, uint64_t mask);
/* Held pages are so no more. */
void block_release_locked(struct paged *paged, struct page_block *block, uint64_t mask);
/*
 * Of present pages that are not busy: takes them from all programs and drops them; those that some program keeps stay, unless they
 * must go. Which are gone. May let the mutex go.
 */
uint64_t block_expel_locked(struct paged *paged, struct page_block *block, uint64_t mask, bool must);

/* memobj.c */
/* Paged, but without its `paged` yet. */
struct memobj *memobj_new_paged(uint64_t size);
void memobj_free(struct memobj *memobj);
void memobj_drop_pages(struct memobj *memobj, uint64_t first, uint64_t count);

#endif
