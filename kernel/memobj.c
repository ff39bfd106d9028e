/*
 * Memory objects: sparse arrays of pages under one interface, whoever owns the pages.
 *
 * An anonymous memobj's pages are the body's; the kernel reaches each through body_memobj_page, which
 * makes it when new. Pages that nobody wrote read as zeros without coming into being. A host file's bytes
 * are moved by the body. The mutex guards the size, and keeps a shrinking memobj from losing a page under a
 * copy. Programs that have an object mapped see and change its pages without any of this.
 *
 * Under a total commit limit an anonymous memobj is charged for the range that programs may fill by shared
 * mappings, whole, and for each page that the kernel makes outside of it.
 */
#include "kernel/memobj.h"

#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/pager_internal.h"
#include "kernel/string.h"

void memobj_free(struct memobj *memobj)
{
    uint64_t charged = memobj->charged + memobj->mapped_end - memobj->mapped_first;

    body_memobj_destroy(memobj);
    if (charged)
        commit_discharge(charged << PAGE_SHIFT);
    kfree(memobj);
}

static void memobj_destroy(struct object *object)
{
    struct memobj *memobj = CONTAINER_OF(object, struct memobj, object);

    if (memobj->paged)
        paged_destroy(memobj);
    else
        memobj_free(memobj);
}

const struct object_type memobj_type = {.name = "memobj", .destroy = memobj_destroy};

static struct memobj *memobj_new(enum memobj_kind kind, uint64_t size)
{
    struct memobj *memobj = kzalloc(sizeof(*memobj));

    if (!memobj)
        return NULL;
    memobj->kind = kind;
    memobj->size = size;
    mutex_init(&memobj->mutex, RANK_MEMOBJ);
    return memobj;
}

static struct memobj *create_with_pages(enum memobj_kind kind, uint64_t size)
{
    struct memobj *memobj = size <= MEMOBJ_SIZE_MAX ? memobj_new(kind, size) : NULL;

    if (memobj && body_memobj_create(memobj)) {
        kfree(memobj);
        return NULL;
    }
    if (memobj)
        object_init(&memobj->object, &memobj_type);
    return memobj;
}

struct memobj *memobj_create(uint64_t size) { return create_with_pages(MEMOBJ_ANONYMOUS, size); }
struct memobj *memobj_new_paged(uint64_t size) { return create_with_pages(MEMOBJ_PAGED, size); }

struct memobj *memobj_create_host_file(void *body_file, uint64_t size)
{
    struct memobj *memobj = memobj_new(MEMOBJ_HOST_FILE, size);

    if (memobj) {
        memobj->body = body_file;
        object_init(&memobj->object, &memobj_type);
    }
    return memobj;
}

/* The page at index, made when it is not there. NULL: no memory, or the limit is reached. */
static uint8_t *page_make(struct memobj *memobj, uint64_t index)
{
    bool fresh = !body_memobj_present(memobj, index);
    bool charge = fresh && commit_limited() && (index < memobj->mapped_first || index >= memobj->mapped_end);
    uint8_t *page;

    if (charge && commit_charge(PAGE_SIZE))
        return NULL;
    page = body_memobj_page(memobj, index);
    if (page) {
        memobj->pages += fresh;
        memobj->charged += charge;
    } else if (charge)
        commit_discharge(PAGE_SIZE);
    return page;
}

/* The charged pages of [first, end): none in the mapped range, and no more than there are (some are older than the limit). */
static uint64_t charged_in(struct memobj *memobj, uint64_t first, uint64_t end)
{
    uint64_t low = min_u64(end, memobj->mapped_first), high = max_u64(first, memobj->mapped_end), made = 0;

    if (!memobj->charged)
        return 0;
    if (memobj->mapped_first == memobj->mapped_end)
        made = body_memobj_made(memobj, first, end - first);
    else {
        made += first < low ? body_memobj_made(memobj, first, low - first) : 0;
        made += high < end ? body_memobj_made(memobj, high, end - high) : 0;
    }
    return min_u64(memobj->charged, made);
}

static int share_locked(struct memobj *memobj, uint64_t first, uint64_t end)
{
    uint64_t old = memobj->mapped_end - memobj->mapped_first, paid;

    if (old) {
        first = min_u64(first, memobj->mapped_first);
        end = max_u64(end, memobj->mapped_end);
    }
    paid = old + charged_in(memobj, first, end);
    if (end - first > paid && commit_charge((end - first - paid) << PAGE_SHIFT))
        return -ENOMEM;
    memobj->charged -= paid - old;
    memobj->mapped_first = first;
    memobj->mapped_end = end;
    return 0;
}

int memobj_share(struct memobj *memobj, uint64_t offset, uint64_t size)
{
    uint64_t first = min_u64(offset, MEMOBJ_SIZE_MAX), end = first + min_u64(size, MEMOBJ_SIZE_MAX - first);
    int error = 0;

    mutex_lock(&memobj->mutex);
    if (memobj->seals & SEAL_WRITE)
        error = -EPERM;
    else if (memobj->kind == MEMOBJ_ANONYMOUS && commit_limited())
        error = share_locked(memobj, first >> PAGE_SHIFT, end >> PAGE_SHIFT);
    if (!error)
        atomic32_store_relaxed(&memobj->mapped_shared, 1);
    mutex_unlock(&memobj->mutex);
    return error;
}

static bool read_page(struct memobj *memobj, uint8_t *to, uint64_t offset, size_t size)
{
    uint64_t index = offset >> PAGE_SHIFT;
    uint8_t *page;

    if (!body_memobj_present(memobj, index)) {
        memset(to, 0, size);
        return true;
    }
    page = body_memobj_page(memobj, index);
    if (page)
        memcpy(to, page + (offset & ~PAGE_MASK), size);
    return page;
}

static bool write_page(struct memobj *memobj, const uint8_t *from, uint64_t offset, size_t size)
{
    uint8_t *page = page_make(memobj, offset >> PAGE_SHIFT);

    if (page)
        memcpy(page + (offset & ~PAGE_MASK), from, size);
    return page;
}

int64_t memobj_read(struct memobj *memobj, void *buffer, uint64_t offset, size_t size)
{
    size_t done = 0;

    if (memobj->kind != MEMOBJ_ANONYMOUS)
        return memobj->paged ? paged_read(memobj, buffer, offset, size) : body_memobj_file_read(memobj, buffer, offset, size);
    mutex_lock(&memobj->mutex);
    size = offset < memobj->size ? min_u64(size, memobj->size - offset) : 0;
    while (done < size) {
        size_t part = min_u64(size - done, PAGE_SIZE - ((offset + done) & ~PAGE_MASK));
        if (!read_page(memobj, (uint8_t *)buffer + done, offset + done, part))
            break;
        done += part;
    }
    mutex_unlock(&memobj->mutex);
    return done || !size ? (int64_t)done : -ENOMEM;
}

static bool write_sealed(const struct memobj *memobj, uint64_t end)
{
    return (memobj->seals & SEAL_WRITE) || ((memobj->seals & SEAL_GROW) && end > memobj->size);
}

int64_t memobj_write(struct memobj *memobj, const void *buffer, uint64_t offset, size_t size)
{
    size_t done = 0;

    if (memobj->kind != MEMOBJ_ANONYMOUS)
        return memobj->paged ? paged_write(memobj, buffer, offset, size) : body_memobj_file_write(memobj, buffer, offset, size);
    if (offset >= MEMOBJ_SIZE_MAX && size)
        return -EFBIG;
    size = min_u64(size, MEMOBJ_SIZE_MAX - min_u64(offset, MEMOBJ_SIZE_MAX));
    mutex_lock(&memobj->mutex);
    if (size && write_sealed(memobj, offset + size)) {
        mutex_unlock(&memobj->mutex);
        return -EPERM;
    }
    while (done < size) {
        size_t part = min_u64(size - done, PAGE_SIZE - ((offset + done) & ~PAGE_MASK));
        if (!write_page(memobj, (const uint8_t *)buffer + done, offset + done, part))
            break;
        done += part;
    }
    if (done)
        memobj->size = max_u64(memobj->size, offset + done);
    mutex_unlock(&memobj->mutex);
    return done || !size ? (int64_t)done : -ENOMEM;
}

static void zero_part(struct memobj *memobj, uint64_t offset, uint64_t size)
{
    uint8_t *page;

    if (!size || !body_memobj_present(memobj, offset >> PAGE_SHIFT))
        return;
    page = body_memobj_page(memobj, offset >> PAGE_SHIFT);
    if (page)
        memset(page + (offset & ~PAGE_MASK), 0, size);
}

/* Drops whole pages. The counts are of pages the kernel made, so they are corrected by those that were there. */
void memobj_drop_pages(struct memobj *memobj, uint64_t first, uint64_t count)
{
    uint64_t made, charged;

    if (!count)
        return;
    made = body_memobj_made(memobj, first, count);
    charged = charged_in(memobj, first, first + count);
    body_memobj_punch(memobj, first, count);
    memobj->pages -= min_u64(memobj->pages, made);
    memobj->charged -= charged;
    if (charged)
        commit_discharge(charged << PAGE_SHIFT);
}

static void punch_locked(struct memobj *memobj, uint64_t offset, uint64_t end)
{
    uint64_t first = round_up(offset, PAGE_SIZE), last = round_down(end, PAGE_SIZE);

    if (first > last) { /* within one page */
        zero_part(memobj, offset, end - offset);
        return;
    }
    zero_part(memobj, offset, first - offset);
    memobj_drop_pages(memobj, first >> PAGE_SHIFT, (last - first) >> PAGE_SHIFT);
    zero_part(memobj, last, end - last);
}

int memobj_resize(struct memobj *memobj, uint64_t size)
{
    uint64_t end;

    if (size > MEMOBJ_SIZE_MAX)
        return -EFBIG;
    if (memobj->kind != MEMOBJ_ANONYMOUS)
        return memobj->paged ? paged_resize(memobj, size, true) : -EINVAL;
    mutex_lock(&memobj->mutex);
    bool sealed = memobj->seals & (size < memobj->size ? SEAL_SHRINK : size > memobj->size ? SEAL_GROW : 0);
    end = round_up(memobj->size, PAGE_SIZE);
    if (!sealed)
        memobj->size = size;
    if (!sealed && size < end)
        punch_locked(memobj, size, end);
    mutex_unlock(&memobj->mutex);
    return sealed ? -EPERM : 0;
}

int memobj_sync(struct memobj *memobj, uint64_t offset, uint64_t size)
{
    uint64_t end = min_u64(size > UINT64_MAX - offset ? UINT64_MAX : offset + size, MEMOBJ_SIZE_MAX);

    return memobj->paged ? paged_sync(memobj, offset >> PAGE_SHIFT, pages_of(end)) : 0;
}

/*
 * Who maps an object shared and writable marks it first and asks for the seal then (memobj_share), under the mutex, so the
 * two cannot pass each other.
 */
int memobj_seal(struct memobj *memobj, uint32_t seals)
{
    int error = 0;

    if ((seals & ~(uint32_t)SEAL_ALL) || memobj->kind != MEMOBJ_ANONYMOUS)
        return -EINVAL;
    mutex_lock(&memobj->mutex);
    if (memobj->seals & SEAL_SEAL)
        error = -EPERM;
    else if ((seals & SEAL_WRITE) && atomic32_load(&memobj->mapped_shared))
        error = -EBUSY;
    else
        memobj->seals |= seals;
    mutex_unlock(&memobj->mutex);
    return error;
}

int memobj_punch(struct memobj *memobj, uint64_t offset, uint64_t size)
{
    uint64_t end = offset + size < offset ? UINT64_MAX : offset + size;

    if (memobj->kind != MEMOBJ_ANONYMOUS)
        return -EOPNOTSUPP;
    mutex_lock(&memobj->mutex);
    bool sealed = memobj->seals & SEAL_WRITE;
    end = min_u64(end, round_up(memobj->size, PAGE_SIZE));
    if (offset < end && !sealed)
        punch_locked(memobj, offset, end);
    mutex_unlock(&memobj->mutex);
    return sealed ? -EPERM : 0;
}

uint64_t memobj_resident(struct memobj *memobj)
{
    uint64_t all, made;

    mutex_lock(&memobj->mutex);
    all = round_up(memobj->size, PAGE_SIZE);
    made = memobj->pages << PAGE_SHIFT;
    mutex_unlock(&memobj->mutex);
    if (memobj->kind == MEMOBJ_HOST_FILE || (!memobj->paged && atomic32_load_relaxed(&memobj->mapped_shared)))
        return all;
    return min_u64(all, made);
}

void *memobj_address_locked(struct memobj *memobj, uint64_t offset)
{
    uint8_t *page = NULL;

    KASSERT(memobj->kind == MEMOBJ_ANONYMOUS);
    if (offset < round_up(memobj->size, PAGE_SIZE))
        page = page_make(memobj, offset >> PAGE_SHIFT);
    return page ? page + (offset & ~PAGE_MASK) : NULL;
}

void *memobj_address(struct memobj *memobj, uint64_t offset)
{
    mutex_lock(&memobj->mutex);
    void *address = memobj_address_locked(memobj, offset);
    mutex_unlock(&memobj->mutex);
    return address;
}
