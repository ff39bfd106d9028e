/*
 * Faults: which page belongs at an address, and with which rights.
 */
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/paging/paging.h"
#include "kernel/string.h"

/* Memory that may be written may be read too, as on every machine this runs on. */
static bool allowed(const struct region *region, enum region_prot access)
{
    if (access == PROT_READ_BIT)
        return region->prot & (PROT_READ_BIT | PROT_WRITE_BIT);
    return region->prot & access;
}

/* A private page that others may hold too: writes go to a copy. `page` is referenced by a translation or a memobj. */
static int copy_page(struct aspace *aspace, const struct region *region, uaddr_t address, const void *page)
{
    void *copy = page_alloc();

    if (!copy)
        return -ENOMEM;
    if (page == page_of_zeros())
        memset(copy, 0, PAGE_SIZE);
    else
        memcpy(copy, page, PAGE_SIZE);
    return translation_set(aspace, address, copy, region->prot, true);
}

/* There is a translation, but it did not suffice, or does by now. */
static int fault_present(struct aspace *aspace, const struct region *region, uaddr_t address, void *page, bool writable, bool write)
{
    bool shared = region->flags & REGION_SHARED;

    if (write && !writable && !shared && !page_is_sole(page))
        return copy_page(aspace, region, address, page);
    translation_set_rights(aspace, address, region->prot, writable || write || shared);
    return 0;
}

static int fault_anonymous(struct aspace *aspace, const struct region *region, uaddr_t address, bool write)
{
    void *zeros = page_of_zeros();

    if (write)
        return copy_page(aspace, region, address, zeros);
    page_ref(zeros);
    return translation_set(aspace, address, zeros, region->prot, false);
}

/* memobj->mutex held. */
static int fault_memobj(struct aspace *aspace, const struct region *region, uaddr_t address, bool write)
{
    struct memobj *memobj = region->memobj;
    uint64_t offset = region->offset + (address - region->start);
    bool shared = region->flags & REGION_SHARED;
    void *page;

    if (offset >= round_up(memobj->size, PAGE_SIZE))
        return -ENXIO;
    page = memobj_address_locked(memobj, offset);
    if (!page)
        return -ENOMEM;
    if (write && !shared)
        return copy_page(aspace, region, address, page);
    int error = translation_attach(aspace, memobj);
    if (error)
        return error;
    page_ref(page);
    return translation_set(aspace, address, page, region->prot, shared);
}

/*
 * A page that a pager supplies is writable only while it is dirty, which a write makes it. memobj->mutex held. -EAGAIN: it has to be
 * waited for, without any lock.
 */
static int fault_paged(struct aspace *aspace, const struct region *region, uaddr_t address, bool write)
{
    struct memobj *memobj = region->memobj;
    bool shared = region->flags & REGION_SHARED, writable = false;
    uint64_t index = (region->offset + (address - region->start)) >> PAGE_SHIFT;
    void *page = translation_get(aspace, address, &writable);
    int error;

    if (page && !shared)
        return fault_present(aspace, region, address, page, writable, write);
    if (page && (!write || writable)) {
        translation_set_rights(aspace, address, region->prot, writable);
        return 0;
    }
    error = memobj_page_locked(memobj, index, write && shared, &page, &writable);
    if (error)
        return error;
    if (write && !shared)
        return copy_page(aspace, region, address, page);
    error = translation_attach(aspace, memobj);
    if (error)
        return error;
    page_ref(page);
    return translation_set(aspace, address, page, region->prot, shared && writable);
}

static int fault_region(struct aspace *aspace, const struct region *region, uaddr_t address, bool write)
{
    bool writable;
    void *page;

    if (region->memobj && region->memobj->paged)
        return fault_paged(aspace, region, address, write);
    page = translation_get(aspace, address, &writable);
    if (page)
        return fault_present(aspace, region, address, page, writable, write);
    if (region->flags & REGION_BODY)
        return -EFAULT; /* the body has translated all it wants there */
    return region->memobj ? fault_memobj(aspace, region, address, write) : fault_anonymous(aspace, region, address, write);
}

/* A memobj's mutex keeps its pages, here and in it, until all is done: it may be about to drop some. */
static int fault_locked(struct aspace *aspace, uaddr_t address, enum region_prot access)
{
    struct region *region = aspace_find_locked(aspace, address);

    if (!region)
        return -EFAULT;
    if (!allowed(region, access))
        return -EACCES;
    if (region->memobj)
        mutex_lock(&region->memobj->mutex);
    int error = fault_region(aspace, region, address, access == PROT_WRITE_BIT);
    if (region->memobj)
        mutex_unlock(&region->memobj->mutex);
    return error;
}

/* What to wait for. */
struct missing {
    struct memobj *memobj; /* a reference */
    uint64_t index;
    bool write;
};

/* The same, and when a pager has to be waited for, *missing is filled in. */
static int fault_or_missing(struct aspace *aspace, uaddr_t address, enum region_prot access, struct missing *missing)
{
    int error;

    mutex_lock(&aspace->mutex);
    error = fault_locked(aspace, address, access);
    struct region *region = aspace_find_locked(aspace, address);
    if (region && region->memobj && region->memobj->paged) {
        missing->memobj = object_ref(region->memobj);
        missing->index = (region->offset + (address - region->start)) >> PAGE_SHIFT;
        missing->write = access == PROT_WRITE_BIT && (region->flags & REGION_SHARED);
    }
    mutex_unlock(&aspace->mutex);
    return error;
}

static int missing_wait(const struct missing *missing, enum wait_flags flags)
{
    int error = memobj_page_wait(missing->memobj, missing->index, missing->write, flags);

    return !error ? -EAGAIN : error == -EINTR ? error : -EIO;
}

/* With the mutex held by a caller a pager is not waited for: it would hold up everybody who changes the map. */
int paging_fault(struct aspace *aspace, uaddr_t address, enum region_prot access, enum wait_flags flags)
{
    struct missing missing = {0};
    int error;

    address = round_down(address, PAGE_SIZE);
    if (mutex_owned(&aspace->mutex)) {
        error = fault_locked(aspace, address, access);
        return error == -EAGAIN ? -EFAULT : error;
    }
    do {
        error = fault_or_missing(aspace, address, access, &missing);
        if (missing.memobj && missing.write)
            memobj_told(missing.memobj);
        if (error == -EAGAIN)
            error = missing_wait(&missing, flags);
        object_unref(missing.memobj);
        missing.memobj = NULL;
    } while (error == -EAGAIN);
    return error;
}

int paging_populate_locked(struct aspace *aspace, uaddr_t start, uint64_t size, bool write)
{
    for (uaddr_t at = start; at < start + size; at += PAGE_SIZE) {
        struct region *region = aspace_find_locked(aspace, at);
        enum region_prot access = write ? PROT_WRITE_BIT : PROT_READ_BIT;
        if (region && !write && !allowed(region, access))
            access = PROT_EXEC_BIT;
        int error = fault_locked(aspace, at, access);
        if (error == -EAGAIN)
            continue; /* a pager is not waited for here */
        if (error)
            return error == -ENOMEM ? error : -EFAULT;
    }
    return 0;
}

int paging_fork(struct aspace *child, struct aspace *parent)
{
    int error = 0;

    mutex_lock(&parent->mutex);
    LIST_FOR_EACH(node, &child->regions)
    {
        const struct region *region = LIST_ENTRY(node, struct region, link);
        if (!(region->flags & (REGION_SHARED | REGION_WIPE_ON_FORK)))
            error = translation_share(child, parent, region->start, region->end);
        if (error)
            break;
    }
    mutex_unlock(&parent->mutex);
    return error;
}
