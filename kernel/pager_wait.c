/*
 * Paged memobjs: threads that wait for pages, and the pump that tells the pager what there is to tell.
 *
 * A wait begins as a want in the memobj's list. The pump turns wants into page_in operations, as many as the pager may have
 * unanswered (PAGER_ASKED_MAX pages), first come first served and each page once: so any number of waiting threads is bounded
 * to the pager, and adjacent wants become one run. A want that ends before its turn was never asked for.
 *
 * One thread at a time pumps a memobj; who finds it pumping leaves a mark and goes on. So operations come in order: sizes before
 * the pages that are asked for after them. The mutex is free while an operation runs.
 */
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/pager_internal.h"
#include "kernel/thread.h"

#define AHEAD_FIRST 4u

int changed_wait_locked(struct paged *paged, enum wait_flags flags)
{
    return waitq_sleep(&paged->changed, &paged->memobj->mutex, DEADLINE_NEVER, flags);
}

/* --- runs to ask for --------------------------------------------------------------------------------- */

static bool page_absent(struct paged *paged, uint64_t index)
{
    const struct page_block *block = block_find(paged, index);
    uint64_t busy = block ? block->bits[BIT_PRESENT] | block->bits[BIT_ASKED] | page_busy(block) : 0;

    return !(busy & page_bit(index));
}

/* The first run of absent pages that the want needs. False: all are on their way. *needed: how many of the run are needed. */
static bool want_run(struct paged *paged, const struct page_want *want, struct page_run *run, uint64_t *needed)
{
    uint64_t all = pages_of(paged->memobj->size), end = min_u64(want->first + want->count, all);
    uint64_t limit = min_u64(end + want->ahead, all), index = want->first;

    while (index < end && !page_absent(paged, index))
        index++;
    if (index >= end)
        return false;
    run->first = index;
    run->count = 0;
    while (index < limit && run->count < PAGER_RUN_PAGES && page_absent(paged, index)) {
        run->count++;
        index++;
    }
    *needed = min_u64(run->count, end - run->first);
    return true;
}

static uint64_t asked_max(const struct paged *paged) { return paged->ops->asked_max ? paged->ops->asked_max : PAGER_ASKED_MAX; }

/* Marks them asked for. What does not fit is not asked for now; false: nothing could be marked. */
static bool run_mark(struct paged *paged, struct page_run *run)
{
    uint64_t room = asked_max(paged) - min_u64(asked_max(paged), paged->totals[BIT_ASKED]), marked = 0;

    run->epoch = paged->epoch;
    for (; marked < run->count && marked < room; marked++) {
        struct page_block *block = block_make(paged, run->first + marked);
        if (!block)
            break;
        block_set(paged, block, BIT_ASKED, page_bit(run->first + marked));
        block->tickets[(run->first + marked) % BLOCK_PAGES] = run->epoch;
    }
    run->count = marked;
    return marked;
}

static void run_unmark(struct paged *paged, const struct page_run *run)
{
    for (uint64_t i = 0; i < run->count; i++) {
        struct page_block *block = block_find(paged, run->first + i);
        if (block && (block->bits[BIT_ASKED] & page_bit(run->first + i)) && block->tickets[(run->first + i) % BLOCK_PAGES] == run->epoch)
            block_clear(paged, block, BIT_ASKED, page_bit(run->first + i));
    }
    blocks_trim(paged, run->first, run->first + run->count);
}

static struct page_want *next_want(struct paged *paged, struct page_run *run, uint64_t *needed)
{
    if (paged->stalled || !paged->alive || paged->totals[BIT_ASKED] >= asked_max(paged))
        return NULL;
    LIST_FOR_EACH(node, &paged->wants)
    {
        struct page_want *want = LIST_ENTRY(node, struct page_want, link);
        if (want->asks && want_run(paged, want, run, needed))
            return want;
    }
    return NULL;
}

/* False: there is no more to ask for. */
static bool ask_one(struct paged *paged)
{
    struct memobj *memobj = paged->memobj;
    struct page_run run;
    uint64_t needed, readies = paged->readies;
    struct page_want *want = next_want(paged, &run, &needed);
    int error;

    if (!want)
        return false;
    if (!run_mark(paged, &run)) {
        wants_wake_locked(paged, want->first, want->first + 1, -ENOMEM);
        return true;
    }
    mutex_unlock(&memobj->mutex);
    error = paged->ops->page_in(memobj, paged->context, &run, min_u64(needed, run.count));
    mutex_lock(&memobj->mutex);
    if (!error)
        return true;
    run_unmark(paged, &run);
    if (error == -EAGAIN)
        paged->stalled = readies == paged->readies;
    else
        wants_fail_locked(paged, run.first, run.first + run.count, error);
    return true;
}

/* --- the pump ---------------------------------------------------------------------------------------- */

static void tell_size(struct paged *paged)
{
    struct memobj *memobj = paged->memobj;
    uint64_t size = memobj->size, lowest = min_u64(size, paged->lowest);

    paged->tell_resized = false;
    paged->lowest = size;
    if (!paged->ops->resized)
        return;
    mutex_unlock(&memobj->mutex);
    paged->ops->resized(memobj, paged->context, size, lowest);
    mutex_lock(&memobj->mutex);
}

static void tell_clean(struct paged *paged)
{
    struct memobj *memobj = paged->memobj;
    uint64_t first = paged->clean_first, end = paged->clean_end;

    paged->clean_first = paged->clean_end = 0;
    if (!paged->ops->clean)
        return;
    mutex_unlock(&memobj->mutex);
    paged->ops->clean(memobj, paged->context, first, end - first);
    mutex_lock(&memobj->mutex);
}

static void tell(struct paged *paged, bool *what, void (*operation)(struct memobj *memobj, void *context))
{
    *what = false;
    if (!operation)
        return;
    mutex_unlock(&paged->memobj->mutex);
    operation(paged->memobj, paged->context);
    mutex_lock(&paged->memobj->mutex);
}

/* False: nothing was left to tell. */
static bool pump_one(struct paged *paged)
{
    if (paged->tell_resized)
        tell_size(paged);
    else if (paged->tell_written)
        tell(paged, &paged->tell_written, paged->ops->written);
    else if (paged->clean_first < paged->clean_end)
        tell_clean(paged);
    else if (paged->tell_idle)
        tell(paged, &paged->tell_idle, paged->ops->idle);
    else
        return ask_one(paged);
    return true;
}

void pump_locked(struct paged *paged)
{
    if (paged->pumping) {
        paged->pump_again = true;
        return;
    }
    paged->pumping = thread_current();
    do {
        paged->pump_again = false;
        while (paged->alive && pump_one(paged)) {
        }
    } while (paged->pump_again && paged->alive);
    paged->pumping = NULL;
    if (!paged->alive)
        waitq_wake_all(&paged->changed);
}

/* --- wants ------------------------------------------------------------------------------------------- */

static void want_end(struct page_want *want, int error)
{
    list_remove(&want->link);
    want->done = true;
    want->error = error;
    waitq_wake_one(&want->queue);
}

void wants_wake_locked(struct paged *paged, uint64_t first, uint64_t end, int error)
{
    LIST_FOR_EACH_SAFE(node, &paged->wants)
    {
        struct page_want *want = LIST_ENTRY(node, struct page_want, link);
        if (want->first >= first && want->first < end)
            want_end(want, error);
    }
}

void wants_end_locked(struct paged *paged, int error)
{
    while (!list_empty(&paged->wants)) {
        struct page_want *want = LIST_ENTRY(paged->wants.next, struct page_want, link);
        want_end(want, want->asks ? error : 0);
    }
}

/* Who waits for more than the failed pages goes on with what comes before them, so that they are not asked for again at once. */
void wants_fail_locked(struct paged *paged, uint64_t first, uint64_t end, int error)
{
    wants_wake_locked(paged, first, end, error);
    LIST_FOR_EACH(node, &paged->wants)
    {
        struct page_want *want = LIST_ENTRY(node, struct page_want, link);
        if (want->first < first && want->first + want->count + want->ahead > first) {
            want->count = min_u64(want->count, first - want->first);
            want->ahead = 0;
        }
    }
}

/* Read-ahead: who comes where the last one was sent on gets more, twice as much each time. */
static uint64_t ahead_of(struct paged *paged, uint64_t first, uint64_t count)
{
    bool sequential = first && first == paged->ahead_next;
    uint64_t window = sequential ? max_u64(paged->ahead_window * 2, AHEAD_FIRST) : 0;

    paged->ahead_window = min_u64(window, PAGER_RUN_PAGES - min_u64(count, PAGER_RUN_PAGES));
    paged->ahead_next = first + count + paged->ahead_window;
    return paged->ahead_window;
}

/* Out of line, so that the want's place on the list begins and ends in here for the compiler too. */
static NOINLINE int want_wait(struct paged *paged, struct page_want *want, enum wait_flags flags)
{
    int error = 0;

    waitq_init(&want->queue);
    list_push_back(&paged->wants, &want->link);
    if (want->asks)
        pump_locked(paged);
    while (!want->done && !error)
        error = waitq_sleep(&want->queue, &paged->memobj->mutex, DEADLINE_NEVER, flags);
    list_remove(&want->link);
    return want->done ? want->error : error;
}

int page_await_locked(struct paged *paged, uint64_t first, uint64_t count, bool asks, enum wait_flags flags)
{
    struct page_want want = {.first = first, .count = min_u64(count, PAGER_RUN_PAGES), .asks = asks};

    if (!paged->alive && asks)
        return -EIO;
    if (flags & WAIT_INTERRUPTIBLE ? thread_interrupted(thread_current()) : thread_killed(thread_current()))
        return -EINTR; /* also when a pager keeps us running in circles */
    want.ahead = asks && page_absent(paged, first) ? ahead_of(paged, first, want.count) : 0;
    return want_wait(paged, &want, flags);
}
