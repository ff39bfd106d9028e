/*
 * Paged memobjs: the users' side, through the kernel. Reading, writing, resizing, syncing.
 *
 * Pages are gone through one at a time under the mutex. Where one is missing or locked the thread waits without the mutex and
 * looks again at everything, the size too. What was moved before an error or an interruption counts.
 */
#include "kernel/pager_internal.h"

#include "kernel/aspace.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/string.h"

/* --- pages ------------------------------------------------------------------------------------------- */

void *page_make_locked(struct memobj *memobj, uint64_t index)
{
    bool charge = commit_limited();
    void *page;

    if (charge && commit_charge(PAGE_SIZE))
        return NULL;
    page = body_memobj_page(memobj, index);
    if (page) {
        memobj->pages++;
        memobj->charged += charge;
    } else if (charge)
        commit_discharge(PAGE_SIZE);
    return page;
}

void block_drop_locked(struct paged *paged, struct page_block *block, uint64_t mask)
{
    uint64_t start = block->number * BLOCK_PAGES, bytes = mask & (block->bits[BIT_PRESENT] | page_busy(block));

    for (uint64_t i = 0; i < BLOCK_PAGES; i++) {
        uint64_t first = i;
        while (i < BLOCK_PAGES && (bytes >> i & 1))
            i++;
        if (i > first)
            memobj_drop_pages(paged->memobj, start + first, i - first);
    }
    for (uint32_t bit = 0; bit < BLOCK_BITS; bit++)
        block_clear(paged, block, bit, mask);
}

void page_dirtied_locked(struct paged *paged, struct page_block *block, uint64_t mask)
{
    block_set(paged, block, BIT_DIRTY, mask);
    block_set(paged, block, BIT_ACCESSED, mask);
    if (!paged->written) {
        paged->written = true;
        paged->tell_written = true;
    }
}

/* --- reading ----------------------------------------------------------------------------------------- */

/* 1: moved. 0: look again. Else an error. */
static int read_part(struct paged *paged, uint8_t *to, uint64_t offset, uint64_t size, uint64_t wanted_end)
{
    uint64_t index = offset >> PAGE_SHIFT;
    struct page_block *block = block_find(paged, index);
    uint64_t bit = page_bit(index);
    uint8_t *page;

    if (!block || !(block->bits[BIT_PRESENT] & bit))
        return page_await_locked(paged, index, pages_of(wanted_end) - index, true, WAIT_INTERRUPTIBLE);
    page = body_memobj_page(paged->memobj, index);
    if (!page)
        return -ENOMEM;
    memcpy(to, page + (offset & ~PAGE_MASK), size);
    if (!(block->bits[BIT_ACCESSED] & bit))
        block_set(paged, block, BIT_ACCESSED, bit);
    return 1;
}

int64_t paged_read(struct memobj *memobj, void *buffer, uint64_t offset, size_t size)
{
    size_t done = 0;
    int result = 1;

    mutex_lock(&memobj->mutex);
    while (result >= 0) {
        uint64_t at = offset + done, end;
        if (done == size || at >= memobj->size)
            break;
        end = at + min_u64(size - done, memobj->size - at);
        uint64_t part = min_u64(end - at, PAGE_SIZE - (at & ~PAGE_MASK));
        result = read_part(memobj->paged, (uint8_t *)buffer + done, at, part, end);
        done += result > 0 ? part : 0;
    }
    mutex_unlock(&memobj->mutex);
    return done || result >= 0 ? (int64_t)done : result;
}

/* --- writing ----------------------------------------------------------------------------------------- */

/* Whether all that the page holds is written over: then nobody needs to be asked what it was. */
static bool covers(const struct memobj *memobj, uint64_t index, uint64_t offset, uint64_t size)
{
    uint64_t start = index << PAGE_SHIFT, end = min_u64(start + PAGE_SIZE, memobj->size);

    return start >= memobj->size || (offset <= start && offset + size >= end);
}

/* Makes the page without asking for it; who asked gets this one. 1, or -ENOMEM. */
static int page_overwrite(struct paged *paged, uint64_t index)
{
    struct page_block *block = block_make(paged, index);

    if (!block || !page_make_locked(paged->memobj, index)) {
        blocks_trim(paged, index, index + 1);
        return -ENOMEM;
    }
    block_clear(paged, block, BIT_ASKED, page_bit(index));
    block_set(paged, block, BIT_PRESENT, page_bit(index));
    block->tickets[index % BLOCK_PAGES] = 0;
    wants_wake_locked(paged, index, index + 1, 0);
    return 1;
}

/* 1: the page may be written. 0: look again. Else an error. */
static int page_for_write(struct paged *paged, uint64_t offset, uint64_t size)
{
    uint64_t index = offset >> PAGE_SHIFT;
    const struct page_block *block = block_find(paged, index);

    if (!paged->alive)
        return -EIO;
    if (paged->resizing)
        return changed_wait_locked(paged, WAIT_INTERRUPTIBLE);
    if (block && (page_busy(block) & page_bit(index)))
        return page_await_locked(paged, index, 1, false, WAIT_INTERRUPTIBLE);
    if (block && (block->bits[BIT_PRESENT] & page_bit(index)))
        return 1;
    if (covers(paged->memobj, index, offset, size))
        return page_overwrite(paged, index);
    return page_await_locked(paged, index, 1, true, WAIT_INTERRUPTIBLE);
}

static int write_part(struct paged *paged, const uint8_t *from, uint64_t offset, uint64_t size)
{
    struct memobj *memobj = paged->memobj;
    uint64_t index = offset >> PAGE_SHIFT;
    int result = page_for_write(paged, offset, size);
    uint8_t *page;

    if (result <= 0)
        return result;
    page = body_memobj_page(memobj, index);
    if (!page)
        return -ENOMEM;
    memcpy(page + (offset & ~PAGE_MASK), from, size);
    page_dirtied_locked(paged, block_find(paged, index), page_bit(index));
    if (offset + size > memobj->size) {
        memobj->size = offset + size;
        paged->tell_resized = true;
    }
    return 1;
}

int64_t paged_write(struct memobj *memobj, const void *buffer, uint64_t offset, size_t size)
{
    size_t done = 0;
    int result = 1;

    if (offset >= MEMOBJ_SIZE_MAX && size)
        return -EFBIG;
    size = min_u64(size, MEMOBJ_SIZE_MAX - min_u64(offset, MEMOBJ_SIZE_MAX));
    mutex_lock(&memobj->mutex);
    while (done < size && result >= 0) {
        uint64_t at = offset + done, part = min_u64(size - done, PAGE_SIZE - (at & ~PAGE_MASK));
        result = write_part(memobj->paged, (const uint8_t *)buffer + done, at, part);
        done += result > 0 ? part : 0;
    }
    pump_locked(memobj->paged);
    mutex_unlock(&memobj->mutex);
    return done || result >= 0 ? (int64_t)done : result;
}

/* --- resizing ---------------------------------------------------------------------------------------- */

/* Nobody has a page of [first, …) locked, nobody else resizes. -EINTR. */
static int resize_begin(struct paged *paged, uint64_t first)
{
    int error = 0;

    while (!error && (paged->resizing || pages_any(paged, first, UINT64_MAX, BIT_LOCKED) || pages_any(paged, first, UINT64_MAX, BIT_HELD)))
        error = changed_wait_locked(paged, WAIT_INTERRUPTIBLE);
    return error;
}

/*
 * What lies past the new end goes; the tickets of what was asked for and may have been read before, too. Nobody makes pages there
 * meanwhile: the size is the new one, and does not grow while `resizing`.
 */
static void cut(struct paged *paged, uint64_t size)
{
    uint64_t last = size >> PAGE_SHIFT, first = pages_of(size), index = first;
    struct page_block *block;

    while ((block = block_after(paged, index))) {
        uint64_t mask = block_mask(block, first, UINT64_MAX);
        index = (block->number + 1) * BLOCK_PAGES;
        block_clear(paged, block, BIT_ASKED, mask);
        block_expel_locked(paged, block, mask & block->bits[BIT_PRESENT], true);
    }
    block = last < first ? block_find(paged, last) : NULL;
    if (block && (block->bits[BIT_PRESENT] & page_bit(last))) {
        uint8_t *page = body_memobj_page(paged->memobj, last);
        if (page)
            memset(page + (size & ~PAGE_MASK), 0, PAGE_SIZE - (size & ~PAGE_MASK));
    } else if (block)
        block_clear(paged, block, BIT_ASKED, page_bit(last));
    blocks_trim(paged, last, UINT64_MAX);
    wants_wake_locked(paged, last, UINT64_MAX, 0);
}

int paged_resize(struct memobj *memobj, uint64_t size, bool tell)
{
    struct paged *paged = memobj->paged;
    int error;

    if (size > MEMOBJ_SIZE_MAX)
        return -EFBIG;
    mutex_lock(&memobj->mutex);
    error = resize_begin(paged, size >> PAGE_SHIFT);
    if (!error && !paged->alive && tell)
        error = -EIO;
    if (!error && size != memobj->size) {
        bool shrinks = size < memobj->size;
        memobj->size = size;
        paged->tell_resized |= tell;
        paged->lowest = min_u64(paged->lowest, size);
        if (shrinks) {
            paged->epoch++;
            paged->resizing = true;
            cut(paged, size);
            paged->resizing = false;
            waitq_wake_all(&paged->changed);
        }
        pump_locked(paged);
    }
    mutex_unlock(&memobj->mutex);
    return error;
}

/* --- syncing ----------------------------------------------------------------------------------------- */

/*
 * The first page at or after `first` that holds what was written before the cleaning numbered `before + 1`, and is not stored. A page
 * that was cleaned since then and is dirty again has been written again. `end` when there is none.
 */
static uint64_t unsynced(struct paged *paged, uint64_t first, uint64_t end, uint64_t before)
{
    struct page_block *block;

    for (; first < end && (block = block_after(paged, first)); first = (block->number + 1) * BLOCK_PAGES) {
        uint64_t start = block->number * BLOCK_PAGES;
        uint64_t mask = block_mask(block, first, end) & (block->bits[BIT_DIRTY] | block->bits[BIT_CLEANING]);
        for (uint64_t i = 0; i < BLOCK_PAGES && mask >> i; i++)
            if ((mask >> i & 1) && ((block->bits[BIT_CLEANING] >> i & 1) || block->tickets[i] <= before))
                return start + i;
    }
    return end;
}

static void ask_clean(struct paged *paged, uint64_t first, uint64_t end)
{
    bool none = paged->clean_first >= paged->clean_end;

    paged->clean_first = none ? first : min_u64(paged->clean_first, first);
    paged->clean_end = none ? end : max_u64(paged->clean_end, end);
    pump_locked(paged);
}

int paged_sync(struct memobj *memobj, uint64_t first, uint64_t end)
{
    struct paged *paged = memobj->paged;
    uint64_t before, at = first;
    int error = 0;

    mutex_lock(&memobj->mutex);
    before = paged->cleanings;
    while (!error && (at = unsynced(paged, at, end, before)) < end) {
        if (!page_is(paged, at, BIT_CLEANING))
            ask_clean(paged, at, end);
        if (!paged->alive)
            error = -EIO;
        else if (unsynced(paged, at, end, before) == at)
            error = changed_wait_locked(paged, WAIT_INTERRUPTIBLE);
    }
    if (!error) {
        error = paged->sync_error;
        paged->sync_error = 0;
    }
    mutex_unlock(&memobj->mutex);
    return error;
}
