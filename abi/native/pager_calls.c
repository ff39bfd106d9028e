/*
 * Native calls of pagers: memobjs whose pages a program supplies (kernel/pager_port.h, docs/memobjs.md).
 */
#include "abi/native/native_calls.h"
#include "kernel/alloc.h"
#include "kernel/pager_port.h"
#include "kernel/port.h"

#define SUPPLY_MAX (16ull << 20)
#define QUERY_MAX 65536u
#define CHUNK_PAGES 16u
#define CHUNK ((uint64_t)CHUNK_PAGES * PAGE_SIZE)
#define PAGER_RIGHTS (RIGHT_MANAGE | RIGHT_TRANSFER)
#define MEMOBJ_RIGHTS (RIGHT_READ | RIGHT_WRITE | RIGHT_MAP | RIGHT_RESIZE | RIGHT_COPY | RIGHT_TRANSFER)

#define SAME(inside, outside) ((uint32_t)(inside) == (uint32_t)(outside))
static_assert(SAME(PAGER_PAGE_IN, HYLA_PAGER_PAGE_IN) && SAME(PAGER_NEWS, HYLA_PAGER_NEWS), "messages");
static_assert(SAME(NEWS_RESIZED, HYLA_NEWS_RESIZED) && SAME(NEWS_WRITTEN, HYLA_NEWS_WRITTEN) && SAME(NEWS_CLEAN, HYLA_NEWS_CLEAN) &&
                  SAME(NEWS_IDLE, HYLA_NEWS_IDLE),
              "news");
static_assert(SAME(PAGE_PRESENT, HYLA_PAGE_PRESENT) && SAME(PAGE_DIRTY, HYLA_PAGE_DIRTY) && SAME(PAGE_ACCESSED, HYLA_PAGE_ACCESSED) &&
                  SAME(PAGE_ASKED, HYLA_PAGE_ASKED) && SAME(PAGE_CLEANING, HYLA_PAGE_CLEANING) && SAME(PAGE_LOCKED, HYLA_PAGE_LOCKED),
              "page flags");

static struct page_run run_of(const struct hyla_page_run *run)
{
    return (struct page_run){.first = run->first, .count = run->count, .epoch = run->epoch};
}

static bool run_sane(const struct hyla_page_run *run)
{
    uint64_t all = MEMOBJ_SIZE_MAX >> PAGE_SHIFT;

    return run->first <= all && run->count <= all - run->first;
}

/* A positive errno of a program's. */
static int error_of(uint32_t error) { return error > 0 && error < 4096 ? -(int)error : -EIO; }

int64_t native_pager_create(struct port *port, uint64_t cookie, uint64_t size)
{
    struct port_pager *pager;
    int64_t handle;

    if (size > MEMOBJ_SIZE_MAX)
        return -EFBIG;
    pager = port_pager_create(port, cookie, size);
    if (!pager)
        return -ENOMEM;
    struct memobj *memobj = pager->memobj; /* a user's reference: it idles when the handle is there to hear of it */
    handle = native_handle_new(&pager->object, PAGER_RIGHTS);
    object_unref(memobj);
    return handle;
}

int64_t native_pager_memobj(struct port_pager *pager, uint32_t rights)
{
    return native_handle_new((struct object *)pager_use(pager->memobj), rights & MEMOBJ_RIGHTS);
}

/* --- supplying --------------------------------------------------------------------------------------- */

/* The next pages of the run, `size` bytes of them from the program's memory. */
static int64_t supply_part(struct port_pager *pager, struct page_run *run, uaddr_t data, uint64_t size, char *buffer)
{
    if (user_read(buffer, data, size))
        return -EFAULT;
    return pager_supply(pager->memobj, run, buffer, size);
}

int64_t native_pager_supply(struct port_pager *pager, const struct hyla_page_run *run, uaddr_t data, uint64_t size)
{
    struct page_run rest = run_of(run);
    int64_t taken = 0, result = 0;
    uint64_t end;

    if (size > SUPPLY_MAX || !run_sane(run) || size > run->count << PAGE_SHIFT)
        return -EINVAL;
    char *buffer = kalloc(min_u64(CHUNK, round_up(size + 1, PAGE_SIZE)));
    if (!buffer)
        return -ENOMEM;
    end = run->first + run->count;
    for (uint64_t done = 0; rest.first < end && result >= 0; rest.first += rest.count) {
        uint64_t part = min_u64(size - done, CHUNK);
        rest.count = part < size - done ? CHUNK_PAGES : end - rest.first;
        result = supply_part(pager, &rest, data + done, part, buffer);
        taken += result > 0 ? result : 0;
        done += part;
    }
    kfree(buffer);
    return result < 0 ? result : taken;
}

int64_t native_pager_move(struct port_pager *pager, const struct hyla_page_run *run, struct memobj *source, uint64_t source_first)
{
    struct page_run moved = run_of(run);

    if (!run_sane(run) || run->count > SUPPLY_MAX >> PAGE_SHIFT)
        return -EINVAL;
    return pager_supply_move(pager->memobj, &moved, source, source_first);
}

int64_t native_pager_fail(struct port_pager *pager, const struct hyla_page_run *run, uint32_t error)
{
    struct page_run failed = run_of(run);

    pager_fail(pager->memobj, &failed, error_of(error));
    return 0;
}

int64_t native_pager_news(struct port_pager *pager, struct hyla_pager_news *news)
{
    struct pager_news got;

    port_pager_news(pager, &got);
    *news = (struct hyla_pager_news){.flags = got.flags,
                                     .size = got.size,
                                     .lowest = got.lowest,
                                     .clean_first = got.clean_first,
                                     .clean_count = got.clean_count,
                                     .epoch = pager_epoch(pager->memobj)};
    return 0;
}

/* --- pages that are there ------------------------------------------------------------------------------ */

int64_t native_pager_query(struct port_pager *pager, uint64_t first, uaddr_t flags, uint64_t count)
{
    uint8_t buffer[512];

    if (count > QUERY_MAX || first > MEMOBJ_SIZE_MAX >> PAGE_SHIFT)
        return -EINVAL;
    for (uint64_t done = 0, part; done < count; done += part) {
        part = min_u64(count - done, sizeof buffer);
        pager_query(pager->memobj, first + done, part, buffer);
        if (user_write(flags + done, buffer, part))
            return -EFAULT;
    }
    return 0;
}

int64_t native_pager_clean(struct port_pager *pager, uint64_t first, uint64_t count, uaddr_t data, uint64_t size, struct hyla_page_run *run)
{
    uint64_t pages = min_u64(size >> PAGE_SHIFT, PAGER_RUN_PAGES), end = count > UINT64_MAX - first ? UINT64_MAX : first + count;
    struct page_run cleaned = {0};
    char *buffer;
    int64_t got;

    if (!pages)
        return -EINVAL;
    buffer = kalloc(pages << PAGE_SHIFT);
    if (!buffer)
        return -ENOMEM;
    got = pager_clean(pager->memobj, first, end, buffer, pages, &cleaned);
    if (got > 0 && user_write(data, buffer, (size_t)got)) {
        pager_cleaned(pager->memobj, &cleaned, -EAGAIN);
        got = -EFAULT;
    }
    kfree(buffer);
    *run = (struct hyla_page_run){.first = cleaned.first, .count = cleaned.count, .epoch = cleaned.epoch};
    return got;
}

int64_t native_pager_cleaned(struct port_pager *pager, const struct hyla_page_run *run, uint32_t error)
{
    struct page_run cleaned = run_of(run);

    if (!run_sane(run))
        return -EINVAL;
    pager_cleaned(pager->memobj, &cleaned, error ? error_of(error) : 0);
    return 0;
}

int64_t native_pager_lock(struct port_pager *pager, const struct hyla_page_run *run)
{
    struct page_run locked = run_of(run);
    void *pages[PAGER_RUN_PAGES];

    return pager_lock(pager->memobj, &locked, PAGER_LOCK_READ, pages);
}

int64_t native_pager_unlock(struct port_pager *pager, const struct hyla_page_run *run)
{
    struct page_run locked = run_of(run);

    if (!run_sane(run))
        return -EINVAL;
    pager_unlock(pager->memobj, &locked, 0);
    return 0;
}

int64_t native_pager_evict(struct port_pager *pager, uint64_t first, uint64_t count, uint32_t flags)
{
    if ((flags & ~3u) || flags == HYLA_EVICT_DIRTY)
        return -EINVAL;
    if (!flags)
        return (int64_t)pager_evict(pager->memobj, first, count);
    return (int64_t)pager_invalidate(pager->memobj, first, count, flags & HYLA_EVICT_DIRTY);
}

int64_t native_pager_resize(struct port_pager *pager, uint64_t size) { return pager_resize(pager->memobj, size); }
