/*
 * Memory objects: sparse arrays of pages under one interface, whoever owns the pages.
 *
 * An anonymous memobj's pages are the body's; the kernel reaches each through body_memobj_page, which
 * makes it when new. Pages that nobody wrote read as zeros without coming into being. A host file's bytes
 * are moved by the body. The mutex guards the size, and keeps a shrinking memobj from losing a page under a
 * copy. Programs that have an object mapped see and change its pages without any of this.
 */
#include "kernel/memobj.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/string.h"

static void memobj_destroy(struct object *object)
{
    struct memobj *memobj = CONTAINER_OF(object, struct memobj, object);

    body_memobj_destroy(memobj);
    kfree(memobj);
}

static const struct object_type memobj_type = {.name = "memobj", .destroy = memobj_destroy};

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

struct memobj *memobj_create(uint64_t size)
{
    struct memobj *memobj = size <= MEMOBJ_SIZE_MAX ? memobj_new(MEMOBJ_ANONYMOUS, size) : NULL;

    if (memobj && body_memobj_create(memobj)) {
        kfree(memobj);
        return NULL;
    }
    if (memobj)
        object_init(&memobj->object, &memobj_type);
    return memobj;
}

struct memobj *memobj_create_host_file(void *body_file, uint64_t size)
{
    struct memobj *memobj = memobj_new(MEMOBJ_HOST_FILE, size);

    if (memobj) {
        memobj->body = body_file;
        object_init(&memobj->object, &memobj_type);
    }
    return memobj;
}

/* The page at index, made when it is not there. NULL: no memory. */
static uint8_t *page_make(struct memobj *memobj, uint64_t index)
{
    bool fresh = !body_memobj_present(memobj, index);
    uint8_t *page = body_memobj_page(memobj, index);

    if (page && fresh)
        memobj->pages++;
    return page;
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

    if (memobj->kind == MEMOBJ_HOST_FILE)
        return body_memobj_file_read(memobj, buffer, offset, size);
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

int64_t memobj_write(struct memobj *memobj, const void *buffer, uint64_t offset, size_t size)
{
    size_t done = 0;

    if (memobj->kind == MEMOBJ_HOST_FILE)
        return body_memobj_file_write(memobj, buffer, offset, size);
    if (offset >= MEMOBJ_SIZE_MAX && size)
        return -EFBIG;
    size = min_u64(size, MEMOBJ_SIZE_MAX - min_u64(offset, MEMOBJ_SIZE_MAX));
    mutex_lock(&memobj->mutex);
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

/* Drops whole pages. The count is of pages the kernel made, so it is corrected by what it could have made. */
static void drop_pages(struct memobj *memobj, uint64_t first, uint64_t count)
{
    if (!count)
        return;
    body_memobj_punch(memobj, first, count);
    memobj->pages -= min_u64(memobj->pages, count);
}

static void punch_locked(struct memobj *memobj, uint64_t offset, uint64_t end)
{
    uint64_t first = round_up(offset, PAGE_SIZE), last = round_down(end, PAGE_SIZE);

    if (first > last) { /* within one page */
        zero_part(memobj, offset, end - offset);
        return;
    }
    zero_part(memobj, offset, first - offset);
    drop_pages(memobj, first >> PAGE_SHIFT, (last - first) >> PAGE_SHIFT);
    zero_part(memobj, last, end - last);
}

int memobj_resize(struct memobj *memobj, uint64_t size)
{
    uint64_t end;

    if (size > MEMOBJ_SIZE_MAX)
        return -EFBIG;
    if (memobj->kind != MEMOBJ_ANONYMOUS)
        return -EINVAL;
    mutex_lock(&memobj->mutex);
    end = round_up(memobj->size, PAGE_SIZE);
    memobj->size = size;
    if (size < end)
        punch_locked(memobj, size, end);
    mutex_unlock(&memobj->mutex);
    return 0;
}

int memobj_punch(struct memobj *memobj, uint64_t offset, uint64_t size)
{
    uint64_t end = offset + size < offset ? UINT64_MAX : offset + size;

    if (memobj->kind != MEMOBJ_ANONYMOUS)
        return -EOPNOTSUPP;
    mutex_lock(&memobj->mutex);
    end = min_u64(end, round_up(memobj->size, PAGE_SIZE));
    if (offset < end)
        punch_locked(memobj, offset, end);
    mutex_unlock(&memobj->mutex);
    return 0;
}

uint64_t memobj_resident(struct memobj *memobj)
{
    uint64_t all, made;

    mutex_lock(&memobj->mutex);
    all = round_up(memobj->size, PAGE_SIZE);
    made = memobj->pages << PAGE_SHIFT;
    mutex_unlock(&memobj->mutex);
    if (memobj->kind == MEMOBJ_HOST_FILE || atomic32_load_relaxed(&memobj->mapped_shared))
        return all;
    return min_u64(all, made);
}

void *memobj_address(struct memobj *memobj, uint64_t offset)
{
    uint8_t *page = NULL;

    KASSERT(memobj->kind == MEMOBJ_ANONYMOUS);
    mutex_lock(&memobj->mutex);
    if (offset < round_up(memobj->size, PAGE_SIZE))
        page = page_make(memobj, offset >> PAGE_SHIFT);
    mutex_unlock(&memobj->mutex);
    return page ? page + (offset & ~PAGE_MASK) : NULL;
}
