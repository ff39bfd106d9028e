/*
 * Paged memobjs: their life, and what the pager answers.
 *
 * References to the memobj are its users'. The pager's hold is no reference: when the last user goes, the one reference becomes
 * the pager's (the memobj idles), until somebody uses it again or the pager gives it up. Since the last reference may be
 * dropped anywhere, that is done in kernel-only threads.
 */
#include "kernel/pager.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/pager_internal.h"
#include "kernel/string.h"
#include "kernel/thread.h"

/* --- life -------------------------------------------------------------------------------------------- */

static void paged_free(struct memobj *memobj)
{
    blocks_free(memobj->paged);
    kfree(memobj->paged);
    memobj_free(memobj);
}

/* The last user is gone. It is not: pager_gone holds a user's reference itself, so this sees the hold or its end. */
static void become_idle(struct async_work *work)
{
    struct paged *paged = CONTAINER_OF(work, struct paged, idle_work);
    struct memobj *memobj = paged->memobj;

    mutex_lock(&memobj->mutex);
    object_init(&memobj->object, memobj->object.type);
    paged->idle = true;
    paged->tell_idle = true;
    waitq_wake_all(&paged->changed);
    pump_locked(paged);
    mutex_unlock(&memobj->mutex);
}

void paged_destroy(struct memobj *memobj)
{
    if (memobj->paged->held)
        kernel_async(&memobj->paged->idle_work);
    else
        paged_free(memobj);
}

struct memobj *memobj_create_paged(const struct pager_ops *ops, void *context, uint64_t size)
{
    struct paged *paged = kzalloc(sizeof(*paged));
    struct memobj *memobj = paged ? memobj_new_paged(size) : NULL;

    KASSERT(ops->page_in);
    if (!memobj) {
        kfree(paged);
        return NULL;
    }
    paged->memobj = memobj;
    paged->ops = ops;
    paged->context = context;
    paged->held = paged->alive = true;
    paged->lowest = size;
    tree_init(&paged->blocks, NULL);
    list_init(&paged->regions);
    list_init(&paged->wants);
    waitq_init(&paged->changed);
    async_work_init(&paged->idle_work, become_idle);
    memobj->paged = paged;
    return memobj;
}

void *pager_context(const struct memobj *memobj, const struct pager_ops *ops)
{
    return memobj->paged && memobj->paged->ops == ops ? memobj->paged->context : NULL;
}

static void use_locked(struct paged *paged)
{
    for (;;) {
        if (paged->idle) {
            paged->idle = paged->tell_idle = false;
            return;
        }
        if (object_try_ref(paged->memobj))
            return;
        changed_wait_locked(paged, WAIT_UNINTERRUPTIBLE); /* become_idle is on its way */
    }
}

struct memobj *pager_use(struct memobj *memobj)
{
    mutex_lock(&memobj->mutex);
    use_locked(memobj->paged);
    mutex_unlock(&memobj->mutex);
    return memobj;
}

/* What the pager had in hand comes back: filled pages go, the others stay as they are, nothing is to be stored any more. */
static void disown_block(struct paged *paged, struct page_block *block)
{
    uint64_t filling = block->bits[BIT_LOCKED] & ~block->bits[BIT_PRESENT];

    block_drop_locked(paged, block, filling);
    block_clear(paged, block, BIT_LOCKED, ~(uint64_t)0);
    block_clear(paged, block, BIT_ASKED, ~(uint64_t)0);
    block_clear(paged, block, BIT_CLEANING, ~(uint64_t)0);
    block_clear(paged, block, BIT_DIRTY, ~(uint64_t)0);
}

static void die_locked(struct paged *paged)
{
    struct page_block *block;
    bool lost = false;

    KASSERT(paged->pumping != thread_current());
    paged->alive = false;
    for (uint64_t index = 0; (block = block_after(paged, index)); index = (block->number + 1) * BLOCK_PAGES) {
        lost |= block->bits[BIT_DIRTY] | block->bits[BIT_CLEANING];
        disown_block(paged, block);
    }
    blocks_trim(paged, 0, UINT64_MAX);
    if (lost)
        paged->sync_error = -EIO;
    wants_end_locked(paged, -EIO);
    waitq_wake_all(&paged->changed);
    while (paged->pumping)
        changed_wait_locked(paged, WAIT_UNINTERRUPTIBLE);
}

void pager_die(struct memobj *memobj)
{
    mutex_lock(&memobj->mutex);
    if (memobj->paged->alive)
        die_locked(memobj->paged);
    mutex_unlock(&memobj->mutex);
}

void pager_gone(struct memobj *memobj)
{
    struct paged *paged = memobj->paged;

    mutex_lock(&memobj->mutex);
    use_locked(paged);
    KASSERT(paged->held);
    if (paged->alive)
        die_locked(paged);
    paged->held = false;
    mutex_unlock(&memobj->mutex);
    object_unref(memobj);
}

void pager_ready(struct memobj *memobj)
{
    mutex_lock(&memobj->mutex);
    memobj->paged->stalled = false;
    memobj->paged->readies++;
    pump_locked(memobj->paged);
    mutex_unlock(&memobj->mutex);
}

uint64_t pager_epoch(struct memobj *memobj)
{
    mutex_lock(&memobj->mutex);
    uint64_t epoch = memobj->paged->epoch;
    mutex_unlock(&memobj->mutex);
    return epoch;
}

/* --- supplying --------------------------------------------------------------------------------------- */

/* Whether a page waits for contents with that ticket, or would take them. */
static bool takes(struct paged *paged, const struct page_block *block, uint64_t index, uint64_t epoch)
{
    uint64_t bit = page_bit(index);

    if ((block->bits[BIT_PRESENT] | page_busy(block)) & bit)
        return false;
    return epoch == (block->bits[BIT_ASKED] & bit ? block->tickets[index % BLOCK_PAGES] : paged->epoch);
}

/* The page's bytes beyond the memobj's end, and beyond what there is, are zeros: it is fresh. */
static void fill(const struct memobj *memobj, uint64_t index, uint8_t *page, const void *data, uint64_t size)
{
    uint64_t start = index << PAGE_SHIFT, most = min_u64(PAGE_SIZE, memobj->size - start);

    memcpy(page, data, min_u64(size, most));
}

static void now_present(struct paged *paged, struct page_block *block, uint64_t index)
{
    block_clear(paged, block, BIT_ASKED, page_bit(index));
    block_clear(paged, block, BIT_LOCKED, page_bit(index));
    block_set(paged, block, BIT_PRESENT, page_bit(index));
    block_set(paged, block, BIT_ACCESSED, page_bit(index));
    block->tickets[index % BLOCK_PAGES] = 0;
    wants_wake_locked(paged, index, index + 1, 0);
}

/* 1: it took the page, 0: it did not, or -ENOMEM. */
static int supply_page(struct paged *paged, uint64_t index, uint64_t epoch, const void *data, uint64_t size)
{
    struct page_block *block;
    uint8_t *page;

    if (index >= pages_of(paged->memobj->size))
        return 0;
    block = block_make(paged, index);
    if (!block)
        return -ENOMEM;
    if (!takes(paged, block, index, epoch))
        return 0;
    page = page_make_locked(paged->memobj, index);
    if (!page)
        return -ENOMEM;
    fill(paged->memobj, index, page, data, size);
    now_present(paged, block, index);
    return 1;
}

void pages_unask(struct paged *paged, uint64_t first, uint64_t end, uint64_t epoch)
{
    struct page_block *block;

    for (uint64_t at = first; at < end && (block = block_after(paged, at)); at = (block->number + 1) * BLOCK_PAGES) {
        uint64_t mask = block_mask(block, at, end) & block->bits[BIT_ASKED];
        for (uint64_t i = 0; i < BLOCK_PAGES && mask >> i; i++)
            if ((mask >> i & 1) && (epoch == UINT64_MAX || block->tickets[i] == epoch))
                block_clear(paged, block, BIT_ASKED, (uint64_t)1 << i);
    }
}

static void fail_locked(struct paged *paged, uint64_t first, uint64_t end, uint64_t epoch, int error)
{
    pages_unask(paged, first, end, epoch);
    blocks_trim(paged, first, end);
    if (error == -EAGAIN)
        wants_wake_locked(paged, first, end, 0);
    else
        wants_fail_locked(paged, first, end, error);
}

static uint64_t run_end(const struct page_run *run)
{
    uint64_t all = MEMOBJ_SIZE_MAX >> PAGE_SHIFT;

    return run->first >= all ? run->first : run->first + min_u64(run->count, all - run->first);
}

int64_t pager_supply(struct memobj *memobj, const struct page_run *run, const void *data, uint64_t size)
{
    static const uint8_t nothing[1];
    uint64_t index = run->first, end = run_end(run), offset = 0;
    int64_t taken = 0;
    int result = 0;

    mutex_lock(&memobj->mutex);
    for (; index < min_u64(end, pages_of(memobj->size)) && memobj->paged->alive; index++, offset += PAGE_SIZE) {
        bool some = offset < size;
        result = supply_page(memobj->paged, index, run->epoch, some ? (const uint8_t *)data + offset : nothing, some ? size - offset : 0);
        if (result < 0)
            break;
        taken += result;
    }
    if (result < 0)
        fail_locked(memobj->paged, index, end, run->epoch, -ENOMEM);
    blocks_trim(memobj->paged, run->first, end);
    pump_locked(memobj->paged);
    mutex_unlock(&memobj->mutex);
    return taken || result >= 0 ? taken : result;
}

void pager_fail(struct memobj *memobj, const struct page_run *run, int error)
{
    mutex_lock(&memobj->mutex);
    fail_locked(memobj->paged, run->first, run_end(run), run->epoch, error < 0 && error >= -4095 ? error : -EIO);
    pump_locked(memobj->paged);
    mutex_unlock(&memobj->mutex);
}

static int64_t move_page(struct memobj *memobj, const struct page_run *run, struct memobj *source, uint64_t from, uint8_t *buffer)
{
    int64_t got = memobj_read(source, buffer, from << PAGE_SHIFT, PAGE_SIZE);

    if (got < 0)
        return got;
    return pager_supply(memobj, run, buffer, (uint64_t)got);
}

int64_t pager_supply_move(struct memobj *memobj, const struct page_run *run, struct memobj *source, uint64_t source_first)
{
    uint64_t end = run_end(run), most = MEMOBJ_SIZE_MAX >> PAGE_SHIFT;
    struct page_run one = {.first = run->first, .count = 1, .epoch = run->epoch};
    uint8_t *buffer;
    int64_t taken = 0, result = 0;

    if (source->kind != MEMOBJ_ANONYMOUS || source == memobj || source_first > most || end - run->first > most - source_first)
        return -EINVAL;
    buffer = kalloc(PAGE_SIZE);
    if (!buffer)
        return -ENOMEM;
    for (; one.first < end && result >= 0; one.first++) {
        result = move_page(memobj, &one, source, source_first + (one.first - run->first), buffer);
        taken += result > 0 ? result : 0;
    }
    kfree(buffer);
    memobj_punch(source, source_first << PAGE_SHIFT, (end - run->first) << PAGE_SHIFT);
    return taken || result >= 0 ? taken : result;
}
