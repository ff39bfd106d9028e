/*
 * Paged memobjs in address spaces.
 *
 * A body maps a page only while it is present, and writable only when it is dirty, by memobj_page_locked under memobj->mutex. From
 * then on the page is marked as mapped, and before it is dropped or made clean it is *held* (BIT_HELD), the mutex let go, and the
 * body takes it from all programs (body_memobj_revoke). Who needs a held page waits: it is short, and a pager has no say in it.
 *
 * The memobj knows the regions that map it, so that a body can find them. A region is on that list exactly while it is in its
 * address space's map.
 */
#include "kernel/pager_internal.h"

#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"

/* --- faults ------------------------------------------------------------------------------------------ */

int memobj_page_locked(struct memobj *memobj, uint64_t index, bool write, void **page, bool *writable)
{
    struct paged *paged = memobj->paged;
    struct page_block *block = block_find(paged, index);
    uint64_t bit = page_bit(index);

    if (index >= pages_of(memobj->size))
        return -ENXIO;
    if (!block || !(block->bits[BIT_PRESENT] & bit) || (write && (page_busy(block) & bit)))
        return -EAGAIN;
    if (write && !paged->alive)
        return -EIO;
    *page = body_memobj_page(memobj, index);
    if (!*page)
        return -ENOMEM;
    if (write)
        page_dirtied_locked(paged, block, bit);
    *writable = (block->bits[BIT_DIRTY] & bit) && !(page_busy(block) & bit);
    block_set(paged, block, BIT_MAPPED, bit);
    block_set(paged, block, BIT_ACCESSED, bit);
    if (*writable)
        block_set(paged, block, BIT_WRITABLE, bit);
    return 0;
}

int memobj_page_wait(struct memobj *memobj, uint64_t index, bool write, enum wait_flags flags)
{
    struct paged *paged = memobj->paged;
    int error = 0;

    mutex_lock(&memobj->mutex);
    if (index < pages_of(memobj->size)) {
        const struct page_block *block = block_find(paged, index);
        bool present = block && (block->bits[BIT_PRESENT] & page_bit(index));
        if (!present)
            error = page_await_locked(paged, index, 1, true, flags);
        else if (write && (page_busy(block) & page_bit(index)))
            error = page_await_locked(paged, index, 1, false, flags);
    }
    mutex_unlock(&memobj->mutex);
    return error;
}

int memobj_mappable(struct memobj *memobj)
{
    struct paged *paged = memobj->paged;
    int error = 0;

    mutex_lock(&memobj->mutex);
    while (!error && !paged->mappable && paged->totals[BIT_LOCKED])
        error = changed_wait_locked(paged, WAIT_INTERRUPTIBLE);
    if (!error && !paged->mappable) {
        error = body_memobj_mappable(memobj);
        paged->mappable = !error;
    }
    mutex_unlock(&memobj->mutex);
    return error;
}

void memobj_told(struct memobj *memobj)
{
    mutex_lock(&memobj->mutex);
    pump_locked(memobj->paged);
    mutex_unlock(&memobj->mutex);
}

/* --- who maps it -------------------------------------------------------------------------------------- */

void memobj_mapped(struct aspace *aspace, struct region *region)
{
    mutex_lock(&region->memobj->mutex);
    region->aspace = aspace;
    list_push_back(&region->memobj->paged->regions, &region->memobj_link);
    mutex_unlock(&region->memobj->mutex);
}

void memobj_unmapped(struct region *region)
{
    mutex_lock(&region->memobj->mutex);
    list_remove(&region->memobj_link);
    mutex_unlock(&region->memobj->mutex);
}

static bool is_listed(struct aspace *const *list, uint32_t count, const struct aspace *aspace)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i] == aspace)
            return true;
    return false;
}

int memobj_aspaces(struct memobj *memobj, struct aspace ***list, uint32_t *count)
{
    uint32_t regions = 0;

    *count = 0;
    mutex_lock(&memobj->mutex);
    LIST_FOR_EACH(node, &memobj->paged->regions)
    {
        regions++;
    }
    *list = kcalloc(regions + 1, sizeof(**list));
    if (*list) {
        LIST_FOR_EACH(node, &memobj->paged->regions)
        {
            struct aspace *aspace = LIST_ENTRY(node, struct region, memobj_link)->aspace;
            if (!is_listed(*list, *count, aspace) && object_try_ref(aspace)) /* else it is being destroyed: nobody runs in it */
                (*list)[(*count)++] = aspace;
        }
    }
    mutex_unlock(&memobj->mutex);
    return *list ? 0 : -ENOMEM;
}

/* --- taking pages from programs ------------------------------------------------------------------------- */

/* In runs, without the mutex. False: somebody keeps one. */
static bool revoke(struct paged *paged, uint64_t start, uint64_t mask, bool writes_only)
{
    bool all = true;

    mutex_unlock(&paged->memobj->mutex);
    for (uint64_t i = 0; i < BLOCK_PAGES; i++) {
        uint64_t first = i;
        while (i < BLOCK_PAGES && (mask >> i & 1))
            i++;
        if (i > first)
            all &= body_memobj_revoke(paged->memobj, start + first, i - first, writes_only);
    }
    mutex_lock(&paged->memobj->mutex);
    return all;
}

void block_release_locked(struct paged *paged, struct page_block *block, uint64_t mask)
{
    uint64_t start = block->number * BLOCK_PAGES;

    block_clear(paged, block, BIT_HELD, mask);
    for (uint64_t i = 0; i < BLOCK_PAGES; i++)
        if (mask >> i & 1)
            wants_wake_locked(paged, start + i, start + i + 1, 0);
    waitq_wake_all(&paged->changed);
}

void block_take_writes_locked(struct paged *paged, struct page_block *block, uint64_t mask)
{
    mask &= block->bits[BIT_WRITABLE];
    KASSERT(!(mask & ~page_busy(block)));
    if (mask && revoke(paged, block->number * BLOCK_PAGES, mask, true))
        block_clear(paged, block, BIT_WRITABLE, mask);
}

uint64_t block_expel_locked(struct paged *paged, struct page_block *block, uint64_t mask, bool must)
{
    uint64_t mapped = mask & block->bits[BIT_MAPPED];

    KASSERT(!(mask & page_busy(block)));
    if (!mapped) {
        block_drop_locked(paged, block, mask);
        return mask;
    }
    block_set(paged, block, BIT_HELD, mask);
    block_clear(paged, block, BIT_PRESENT, mask);
    bool all = revoke(paged, block->number * BLOCK_PAGES, mapped, false);
    uint64_t kept = all || must ? 0 : mapped;
    block_set(paged, block, BIT_PRESENT, kept);
    block_release_locked(paged, block, kept);
    block_drop_locked(paged, block, mask & ~kept);
    block_release_locked(paged, block, mask & ~kept);
    return mask & ~kept;
}
