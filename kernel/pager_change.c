/*
 * Paged memobjs: what the pager does to pages that are there. Asking about them, cleaning, locking, evicting, changing.
 */
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/pager_internal.h"
#include "kernel/string.h"

/* Where a range ends that begins at first: nothing is beyond the memobj's end. memobj->mutex held. */
static uint64_t range_end(const struct memobj *memobj, uint64_t first, uint64_t count)
{
    uint64_t all = pages_of(memobj->size);

    return first >= all ? first : first + min_u64(count, all - first);
}

/* --- asking ------------------------------------------------------------------------------------------ */

static uint8_t flags_of(const struct page_block *block, uint64_t bit)
{
    static const struct {
        enum block_bit bit;
        enum page_flags flag;
    } names[] = {{BIT_PRESENT, PAGE_PRESENT},   {BIT_DIRTY, PAGE_DIRTY},       {BIT_ACCESSED, PAGE_ACCESSED},
                 {BIT_ASKED, PAGE_ASKED},       {BIT_CLEANING, PAGE_CLEANING}, {BIT_LOCKED, PAGE_LOCKED}};
    uint8_t flags = 0;

    for (uint32_t i = 0; i < ARRAY_SIZE(names); i++)
        if (block->bits[names[i].bit] & bit)
            flags |= (uint8_t)names[i].flag;
    return flags;
}

void pager_query(struct memobj *memobj, uint64_t first, uint64_t count, uint8_t *flags)
{
    struct paged *paged = memobj->paged;

    mutex_lock(&memobj->mutex);
    for (uint64_t i = 0; i < count; i++) {
        struct page_block *block = block_find(paged, first + i);
        flags[i] = block ? flags_of(block, page_bit(first + i)) : 0;
        if (block)
            block_clear(paged, block, BIT_ACCESSED, page_bit(first + i));
    }
    mutex_unlock(&memobj->mutex);
}

/* --- cleaning ---------------------------------------------------------------------------------------- */

static uint64_t to_clean(const struct page_block *block)
{
    return block->bits[BIT_DIRTY] & ~(block->bits[BIT_CLEANING] | page_busy(block));
}

/* The first run of dirty pages; empty when there is none. */
static void find_dirty(struct paged *paged, uint64_t first, uint64_t end, uint64_t most, struct page_run *run)
{
    struct page_block *block;

    run->count = 0;
    end = min_u64(end, pages_of(paged->memobj->size));
    for (; first < end && run->count < most && (block = block_after(paged, first)); first = (block->number + 1) * BLOCK_PAGES) {
        uint64_t start = block->number * BLOCK_PAGES, mask = block_mask(block, first, end) & to_clean(block);
        if (run->count && (start != run->first + run->count || !(mask & 1)))
            return;
        for (uint64_t i = 0; i < BLOCK_PAGES && run->count < most; i++) {
            bool dirty = mask >> i & 1;
            if (dirty && !run->count)
                run->first = start + i;
            if (!dirty && run->count)
                return;
            run->count += dirty;
        }
    }
}

/* Holds the run, or lets go of it, and takes it from programs that write it. */
static void hold_run(struct paged *paged, const struct page_run *run)
{
    struct page_block *block;
    uint64_t end = run->first + run->count;

    for (uint64_t at = run->first; at < end && (block = block_after(paged, at)); at = (block->number + 1) * BLOCK_PAGES)
        block_set(paged, block, BIT_HELD, block_mask(block, run->first, end));
    for (uint64_t at = run->first; at < end && (block = block_after(paged, at)); at = (block->number + 1) * BLOCK_PAGES)
        block_take_writes_locked(paged, block, block_mask(block, run->first, end));
}

static void release_run(struct paged *paged, const struct page_run *run)
{
    struct page_block *block;
    uint64_t end = run->first + run->count;

    for (uint64_t at = run->first; at < end && (block = block_after(paged, at)); at = (block->number + 1) * BLOCK_PAGES)
        block_release_locked(paged, block, block_mask(block, run->first, end));
}

static void clean_page(struct paged *paged, uint64_t index, uint8_t *to, uint64_t number)
{
    struct page_block *block = block_find(paged, index);

    memcpy(to, body_memobj_page(paged->memobj, index), PAGE_SIZE);
    block_clear(paged, block, BIT_DIRTY, page_bit(index));
    block_set(paged, block, BIT_CLEANING, page_bit(index));
    block->tickets[index % BLOCK_PAGES] = number;
}

int64_t pager_clean(struct memobj *memobj, uint64_t first, uint64_t end, void *buffer, uint64_t pages_max, struct page_run *run)
{
    struct paged *paged = memobj->paged;
    int64_t size = 0;

    mutex_lock(&memobj->mutex);
    find_dirty(paged, first, end, paged->alive ? min_u64(pages_max, PAGER_RUN_PAGES) : 0, run);
    if (run->count) {
        hold_run(paged, run);
        run->epoch = ++paged->cleanings;
        paged->written = paged->tell_written; /* one that is about to be told stands for this, too */
        for (uint64_t i = 0; i < run->count; i++)
            clean_page(paged, run->first + i, (uint8_t *)buffer + i * PAGE_SIZE, run->epoch);
        release_run(paged, run);
        size = (int64_t)min_u64(run->count << PAGE_SHIFT, memobj->size - (run->first << PAGE_SHIFT));
    }
    mutex_unlock(&memobj->mutex);
    return size;
}

void pager_cleaned(struct memobj *memobj, const struct page_run *run, int error)
{
    struct paged *paged = memobj->paged;

    mutex_lock(&memobj->mutex);
    for (uint64_t index = run->first; index < range_end(memobj, run->first, run->count); index++) {
        struct page_block *block = block_find(paged, index);
        uint64_t bit = page_bit(index);
        if (!block || !(block->bits[BIT_CLEANING] & bit) || block->tickets[index % BLOCK_PAGES] != run->epoch)
            continue;
        block_clear(paged, block, BIT_CLEANING, bit);
        if (error && paged->alive)
            block_set(paged, block, BIT_DIRTY, bit);
    }
    if (error && error != -EAGAIN && !paged->sync_error)
        paged->sync_error = error < 0 && error >= -4095 ? error : -EIO;
    waitq_wake_all(&paged->changed);
    mutex_unlock(&memobj->mutex);
}

/* --- locking ----------------------------------------------------------------------------------------- */

static int may_lock(struct paged *paged, uint64_t index, uint64_t epoch, enum pager_lock how)
{
    const struct page_block *block = block_find(paged, index);
    uint64_t bit = page_bit(index);
    bool present = block && (block->bits[BIT_PRESENT] & bit), asked = block && (block->bits[BIT_ASKED] & bit);

    if (index >= pages_of(paged->memobj->size))
        return -ENXIO;
    if (present != (how == PAGER_LOCK_READ) || (block && (page_busy(block) & bit)))
        return -EBUSY;
    if (how == PAGER_LOCK_FILL && epoch != (asked ? block->tickets[index % BLOCK_PAGES] : paged->epoch))
        return -ESTALE;
    return 0;
}

/* Drops the pages that were made for filling. */
static void unfill(struct paged *paged, uint64_t first, uint64_t end)
{
    for (; first < end; first++) {
        struct page_block *block = block_find(paged, first);
        if (block && (block->bits[BIT_LOCKED] & ~block->bits[BIT_PRESENT] & page_bit(first)))
            block_drop_locked(paged, block, page_bit(first));
    }
}

static int lock_fill(struct paged *paged, uint64_t index)
{
    struct page_block *block = block_make(paged, index);

    if (!block || !page_make_locked(paged->memobj, index))
        return -ENOMEM;
    block_set(paged, block, BIT_LOCKED, page_bit(index));
    return 0;
}

static int lock_run(struct paged *paged, const struct page_run *run, enum pager_lock how, void **pages)
{
    uint64_t end = run->first + run->count;
    int error = 0;

    for (uint64_t index = run->first; index < end && !error; index++)
        error = may_lock(paged, index, run->epoch, how);
    if (error)
        return error;
    for (uint64_t index = run->first; index < end && !error; index++) {
        if (how == PAGER_LOCK_FILL)
            error = lock_fill(paged, index);
        else
            block_set(paged, block_find(paged, index), BIT_LOCKED, page_bit(index));
        if (!error)
            pages[index - run->first] = body_memobj_page(paged->memobj, index);
    }
    if (error)
        unfill(paged, run->first, end);
    return error;
}

/* Which may find some of them unlocked again: then that thread has given up what it locked. */
static void take_writes(struct paged *paged, const struct page_run *run)
{
    struct page_block *block;
    uint64_t end = run->first + run->count;

    for (uint64_t at = run->first; at < end && (block = block_after(paged, at)); at = (block->number + 1) * BLOCK_PAGES)
        block_take_writes_locked(paged, block, block_mask(block, run->first, end) & page_busy(block));
}

int pager_lock(struct memobj *memobj, const struct page_run *run, enum pager_lock how, void **pages)
{
    int error;

    if (!run->count || run->count > PAGER_RUN_PAGES || run->first > UINT64_MAX - run->count)
        return -EINVAL;
    mutex_lock(&memobj->mutex);
    error = memobj->paged->alive ? lock_run(memobj->paged, run, how, pages) : -EIO;
    if (!error && how == PAGER_LOCK_READ)
        take_writes(memobj->paged, run);
    mutex_unlock(&memobj->mutex);
    return error;
}

static void unlock_page(struct paged *paged, uint64_t index, int error)
{
    struct page_block *block = block_find(paged, index);
    uint64_t bit = page_bit(index);
    bool filling = block && !(block->bits[BIT_PRESENT] & bit);

    if (!block || !(block->bits[BIT_LOCKED] & bit))
        return;
    if (filling && error) {
        block_drop_locked(paged, block, bit);
        wants_fail_locked(paged, index, index + 1, error);
        return;
    }
    block_clear(paged, block, BIT_LOCKED, bit);
    if (filling) {
        uint64_t start = index << PAGE_SHIFT, most = min_u64(PAGE_SIZE, paged->memobj->size - start);
        memset((uint8_t *)body_memobj_page(paged->memobj, index) + most, 0, PAGE_SIZE - most);
        block_clear(paged, block, BIT_ASKED, bit);
        block_set(paged, block, BIT_PRESENT, bit);
        block->tickets[index % BLOCK_PAGES] = 0;
    }
    block_set(paged, block, BIT_ACCESSED, bit);
    wants_wake_locked(paged, index, index + 1, 0);
}

void pager_unlock(struct memobj *memobj, const struct page_run *run, int error)
{
    mutex_lock(&memobj->mutex);
    for (uint64_t index = run->first; index < range_end(memobj, run->first, run->count); index++)
        unlock_page(memobj->paged, index, error);
    blocks_trim(memobj->paged, run->first, range_end(memobj, run->first, run->count));
    waitq_wake_all(&memobj->paged->changed);
    pump_locked(memobj->paged);
    mutex_unlock(&memobj->mutex);
}

/* --- dropping and changing --------------------------------------------------------------------------- */

static uint64_t drop(struct paged *paged, uint64_t first, uint64_t end, bool dirty)
{
    uint64_t dropped = 0;
    struct page_block *block;

    for (uint64_t at = first; at < end && (block = block_after(paged, at)); at = (block->number + 1) * BLOCK_PAGES) {
        uint64_t keep = page_busy(block) | (dirty ? 0 : block->bits[BIT_DIRTY] | block->bits[BIT_CLEANING]);
        uint64_t mask = block_mask(block, at, end) & block->bits[BIT_PRESENT] & ~keep;
        dropped += bits_count(block_expel_locked(paged, block, mask, false));
    }
    blocks_trim(paged, first, end);
    return dropped;
}

uint64_t pager_evict(struct memobj *memobj, uint64_t first, uint64_t count)
{
    mutex_lock(&memobj->mutex);
    uint64_t dropped = drop(memobj->paged, first, range_end(memobj, first, count), false);
    mutex_unlock(&memobj->mutex);
    return dropped;
}

uint64_t pager_invalidate(struct memobj *memobj, uint64_t first, uint64_t count, bool dirty)
{
    struct paged *paged = memobj->paged;
    uint64_t end, dropped;

    mutex_lock(&memobj->mutex);
    end = range_end(memobj, first, count);
    paged->epoch++;
    pages_unask(paged, first, end, UINT64_MAX);
    dropped = drop(paged, first, end, dirty);
    waitq_wake_all(&paged->changed);
    pump_locked(paged);
    mutex_unlock(&memobj->mutex);
    return dropped;
}

/* A part of one page that the pager has stored. */
static void update_part(struct paged *paged, uint64_t offset, const void *data, uint64_t size)
{
    uint64_t index = offset >> PAGE_SHIFT;
    const struct page_block *block = block_find(paged, index);

    if (block && (block->bits[BIT_PRESENT] & page_bit(index)))
        memcpy((uint8_t *)body_memobj_page(paged->memobj, index) + (offset & ~PAGE_MASK), data, size);
    else if (block)
        pages_unask(paged, index, index + 1, UINT64_MAX);
}

int pager_update(struct memobj *memobj, uint64_t offset, const void *data, uint64_t size)
{
    if (offset > MEMOBJ_SIZE_MAX || size > MEMOBJ_SIZE_MAX - offset)
        return -EFBIG;
    mutex_lock(&memobj->mutex);
    memobj->paged->epoch++;
    for (uint64_t done = 0, part; done < size; done += part) {
        uint64_t at = offset + done;
        part = min_u64(size - done, PAGE_SIZE - (at & ~PAGE_MASK));
        update_part(memobj->paged, at, (const uint8_t *)data + done, part);
    }
    memobj->size = max_u64(memobj->size, offset + size);
    pump_locked(memobj->paged);
    mutex_unlock(&memobj->mutex);
    return 0;
}

int pager_resize(struct memobj *memobj, uint64_t size) { return paged_resize(memobj, size, false); }
