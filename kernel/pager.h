/*
 * Paged memobjs: memory objects whose pages a pager supplies. The pager's side; users have kernel/memobj.h.
 *
 * A pager is whoever knows what the pages hold: code in the kernel (a file system that speaks to a device), or a process behind
 * a port (kernel/pager_port.h). It is asked by `struct pager_ops`, which only tell it that there is work, and answers whenever it
 * likes by the functions below, from any thread. It may be slow, silent, wrong or gone: users wait interruptibly, and nothing
 * else waits for it. docs/memobjs.md has the states of a page, who moves them, and what dies how.
 *
 * Tickets. A page_run carries the memobj's epoch of the moment it was asked for. Shrinking and invalidating move the epoch on
 * and take the tickets of the pages they touch away: an answer that comes with an old ticket is dropped, so contents from before
 * a truncation never come back. An answer is counted in pages that took it; that it was dropped is no error.
 *
 * Taking pages from programs that have them mapped (pager_clean, _lock, _evict, _invalidate, _resize, and memobj_resize) may wait for those
 * programs to come into the kernel, a bounded time, and takes locks of rank ASPACE: the caller holds none of that rank or above.
 * Pages that a private mapping of a program reaches may stay where the body cannot tell copies apart (body_memobj_revoke).
 *
 * Units: `first`, `count` in pages of PAGE_SIZE; sizes in bytes. Errors are negative codes.
 */
#ifndef KERNEL_PAGER_H
#define KERNEL_PAGER_H

#include "kernel/memobj.h"

/* What is asked of a pager at most: pages of one run, and pages of one memobj that were asked for and not answered. */
#define PAGER_RUN_PAGES 64u
#define PAGER_ASKED_MAX 512u

struct page_run {
    uint64_t first, count;
    uint64_t epoch; /* the ticket */
};

/*
 * What a pager is told. Called one at a time for each memobj, in the order things happened to it, with none of the memobj's locks
 * held but perhaps locks of its user's (ranks below MEMOBJ): an operation never waits for anybody, and takes only locks
 * of ranks above MEMOBJ. It may call the functions below but for pager_gone. Each may be NULL but page_in.
 */
struct pager_ops {
    uint64_t asked_max; /* pages asked for and not answered, at most; 0: PAGER_ASKED_MAX */
    /*
     * Pages are wanted: somebody waits for the first `needed`, the rest is read-ahead. Every page must be answered some time, by a
     * supply or a failure. 0; -EAGAIN: not now, nothing was taken: pager_ready has it asked again; other errors fail the run.
     */
    int (*page_in)(struct memobj *memobj, void *context, const struct page_run *run, uint64_t needed);
    /* Dirty pages in this range should be written back soon (pager_clean): somebody syncs, or memory is short. */
    void (*clean)(struct memobj *memobj, void *context, uint64_t first, uint64_t count);
    /*
     * Users made it this large, and `lowest` bytes at the least since this was last told: what was beyond that is zeros now. Pages
     * that are asked for afterwards are meant so.
     */
    void (*resized)(struct memobj *memobj, void *context, uint64_t size, uint64_t lowest);
    /* The first write since pager_clean was last called, or since creation: for file times. */
    void (*written)(struct memobj *memobj, void *context);
    /*
     * The last user is gone; pages, dirty ones too, stay as they are. Either pager_use brings it to life again, or the pager cleans
     * what it wants to keep and says pager_gone.
     */
    void (*idle)(struct memobj *memobj, void *context);
};

/*
 * A memobj of `size` bytes, no page present; one reference for the caller, as a user. Besides, the pager holds it until
 * pager_gone: so long the pointer is good for the functions here. NULL: no memory, too large.
 */
struct memobj *memobj_create_paged(const struct pager_ops *ops, void *context, uint64_t size);
/* The context given at creation, NULL when it is no paged memobj with these operations. */
void *pager_context(const struct memobj *memobj, const struct pager_ops *ops);
/* A user's reference to a memobj that the pager holds; it may be idle. May suspend shortly. */
struct memobj *pager_use(struct memobj *memobj);
/*
 * The pager died. Who waits, and who needs an absent page afterwards, gets EIO; locked pages are unlocked, those being filled are
 * absent; dirty pages are as good as clean, and a sync tells EIO. When it returns no operation runs or will, for which it may
 * suspend; other functions may run at the same time and have no effect afterwards. The hold remains. Not from an operation.
 */
void pager_die(struct memobj *memobj);
/* The same if it has not died yet, and the hold ends: no other function runs or will be called. Once. */
void pager_gone(struct memobj *memobj);
/* A page_in that was refused with -EAGAIN may be tried again. Any thread, not from an operation. May suspend. */
void pager_ready(struct memobj *memobj);

/* --- answers ----------------------------------------------------------------------------------------- */

/*
 * The contents of a run, as much as `size` bytes; what is missing to its end, or lies beyond the memobj's end, is zeros. Pages that
 * were not asked for are taken too when they are absent and the ticket is the current one (pager_epoch, taken before
 * the contents were read). How many pages took it, or -ENOMEM: those before it did, the others were failed with it.
 */
int64_t pager_supply(struct memobj *memobj, const struct page_run *run, const void *data, uint64_t size);
/* The same with pages of an anonymous memobj, which has holes there afterwards, whatever became of them. -EINVAL: not anonymous. */
int64_t pager_supply_move(struct memobj *memobj, const struct page_run *run, struct memobj *source, uint64_t source_first);
/* Who waits gets the error; the pages are absent again, so the next access asks anew. -EAGAIN: only for read-ahead that is declined. */
void pager_fail(struct memobj *memobj, const struct page_run *run, int error);
uint64_t pager_epoch(struct memobj *memobj);

/* --- writing back ------------------------------------------------------------------------------------ */

enum page_flags { PAGE_PRESENT = 1, PAGE_DIRTY = 2, PAGE_ACCESSED = 4, PAGE_ASKED = 8, PAGE_CLEANING = 16, PAGE_LOCKED = 32 };
/* The flags of each page. ACCESSED is reset: it says whether the page was used since the last query, or brought in. */
void pager_query(struct memobj *memobj, uint64_t first, uint64_t count, uint8_t *flags);
/*
 * Takes the first run of dirty pages at or after `first` and before `end`, at most `pages_max` of them (and PAGER_RUN_PAGES):
 * atomically against all writers copies them into `buffer`, and they are clean, but are kept until pager_cleaned. Bytes of
 * contents (less than the pages' at the memobj's end), 0: none is dirty. May suspend.
 */
int64_t pager_clean(struct memobj *memobj, uint64_t first, uint64_t end, void *buffer, uint64_t pages_max, struct page_run *run);
/* They are stored; or, with an error, are dirty again, and the next memobj_sync tells it (but for -EAGAIN: it was not tried). */
void pager_cleaned(struct memobj *memobj, const struct page_run *run, int error);

/* --- locking in place -------------------------------------------------------------------------------- */

enum pager_lock {
    PAGER_LOCK_READ, /* present pages: users may read them, and not write */
    PAGER_LOCK_FILL, /* absent pages, asked for or not: made, zeroed, and not to be seen before they are unlocked */
};
/*
 * Locks a run (up to PAGER_RUN_PAGES), all or nothing; `pages` gets the kernel's addresses. Users who need them wait, so does a
 * truncation. -EBUSY: one is locked already or not in that state; -ESTALE: the ticket; -ENXIO: beyond the end; -ENOMEM. May suspend.
 */
int pager_lock(struct memobj *memobj, const struct page_run *run, enum pager_lock how, void **pages);
/* Of pages that were filled, error 0: they are supplied; else who waits gets it and they are absent. */
void pager_unlock(struct memobj *memobj, const struct page_run *run, int error);

/* --- what the pager changes -------------------------------------------------------------------------- */

/* Drops clean pages that are neither locked nor being cleaned. How many. May suspend. */
uint64_t pager_evict(struct memobj *memobj, uint64_t first, uint64_t count);
/* The contents changed elsewhere: drops pages, dirty ones too when `dirty`, and has those on their way asked for again. May suspend. */
uint64_t pager_invalidate(struct memobj *memobj, uint64_t first, uint64_t count, bool dirty);
/*
 * Bytes that the pager has stored already (write-through): copied into pages that are present, and nobody's page is dirtied by
 * it; pages on their way are asked for again. Grows the memobj when they reach past its end. -EFBIG. May suspend.
 */
int pager_update(struct memobj *memobj, uint64_t offset, const void *data, uint64_t size);
/* As memobj_resize, but the pager is not told. */
int pager_resize(struct memobj *memobj, uint64_t size);

#endif
