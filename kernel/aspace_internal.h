/*
 * What the aspace_*.c files share: the region map's own operations. All but the pool functions want
 * aspace->mutex held, and those that change the map also map_mutex.
 *
 * Changes follow one pattern: fill a pool with the regions that splitting could need, lock, check, tell
 * the body, commit by operations that cannot fail, unlock, and only then let the removed regions' objects
 * go (their last reference may run a file's release, which takes other locks).
 */
#ifndef KERNEL_ASPACE_INTERNAL_H
#define KERNEL_ASPACE_INTERNAL_H

#include "kernel/aspace.h"
#include "kernel/body.h"
#include "kernel/errno.h"

struct region_pool {
    struct list spare; /* regions to use */
    struct list dead;  /* regions that left the map */
};

/* 0 or -ENOMEM; region_pool_done is called in either case, without the mutex. */
int region_pool_fill(struct region_pool *pool, uint32_t count);
void region_pool_done(struct region_pool *pool);
/* A blank region; the pool was filled for it. */
struct region *region_pool_take(struct region_pool *pool);

static inline uint64_t region_size(const struct region *region) { return region->end - region->start; }
struct region *region_next(struct aspace *aspace, struct region *region);
struct region *region_prev(struct aspace *aspace, struct region *region);
void region_index_init(struct aspace *aspace);

/* Links a filled-in region where nothing is; counts it. Its references are the caller's. */
void region_insert_locked(struct aspace *aspace, struct region *region);
/* Makes region boundaries at both ends of the range: uses up to two spare regions. */
void region_isolate_locked(struct aspace *aspace, struct region_pool *pool, uaddr_t start, uaddr_t end);
/* Removes everything in the range: uses up to two spare regions. */
void region_carve_locked(struct aspace *aspace, struct region_pool *pool, uaddr_t start, uaddr_t end);
/* Joins neighbours that are alike, for all pairs that touch [start, end]. */
void region_merge_locked(struct aspace *aspace, struct region_pool *pool, uaddr_t start, uaddr_t end);
/* Removes a region's bytes from the counters, or adds them: around changes of prot and flags. */
void region_uncount_locked(struct aspace *aspace, const struct region *region);
void region_count_locked(struct aspace *aspace, const struct region *region);

/* Moves a region's ends outwards into free space. */
void region_grow_locked(struct aspace *aspace, struct region *region, uaddr_t start, uaddr_t end);

/* True when such memory is counted against the commit limit. */
bool region_commits(uint32_t prot, uint32_t flags);
/* The address space's and the total account; reserved bytes become a region's with REGION_COMMITTED. 0 or -ENOMEM. */
int commit_reserve_locked(struct aspace *aspace, uint64_t size);
/* Takes back what was just released, whatever the limit. */
void commit_take_locked(struct aspace *aspace, uint64_t size);
void commit_release_locked(struct aspace *aspace, uint64_t size);

/* Before a mapping with these flags is made: what programs may fill through it is the memobj's from now on. 0 or -ENOMEM. */
int share_reserve(struct memobj *memobj, uint32_t flags, uint64_t offset, uint64_t size);

/* 0, or -EPERM (the body's own memory, or beneath the floor), -ENOMEM (beyond the ceiling). */
int range_check_locked(struct aspace *aspace, uaddr_t start, uint64_t size);
bool range_free_locked(struct aspace *aspace, uaddr_t start, uaddr_t end);
/* Page-aligned, not empty, not wrapping round. */
bool range_sane(uaddr_t start, uint64_t size);
/* The highest free place between aspace->low and `high`: 0 when there is none. */
uaddr_t aspace_place_locked(struct aspace *aspace, uint64_t size, uaddr_t high);
int body_apply_one(struct aspace *aspace, const struct map_op *op);

#endif
