/*
 * The portable half of fork: a copy of the region map, as madvise(2) and mlock(2) asked for it. The memory
 * itself is the body's business (body_user_clone), copy on write; shared regions share their memobj.
 *
 * The copy is made region by region into a bare address space that nobody else knows yet; when memory or
 * the commit limit runs out the caller drops that address space, which gives everything back.
 */
#include "kernel/aspace_internal.h"

static int copy_region(struct aspace *child, struct region_pool *pool, const struct region *from)
{
    struct region *copy;

    if ((from->flags & REGION_COMMITTED) && commit_reserve_locked(child, region_size(from)))
        return -ENOMEM;
    copy = region_pool_take(pool);
    copy->start = from->start;
    copy->end = from->end;
    copy->prot = from->prot;
    copy->flags = from->flags & ~(uint32_t)REGION_LOCKED;
    copy->memobj = from->memobj ? object_ref(from->memobj) : NULL;
    copy->offset = from->offset;
    copy->owner = from->owner ? object_ref(from->owner) : NULL;
    copy->name = from->name;
    region_insert_locked(child, copy);
    return 0;
}

/* The body may have filled in its own limits and regions already, or does it in its clone. */
static void copy_limits(struct aspace *child, const struct aspace *parent)
{
    child->low = parent->low;
    child->high = parent->high;
    child->floor = parent->floor;
    child->ceiling = parent->ceiling;
    child->commit_limit = parent->commit_limit;
}

int aspace_copy_regions(struct aspace *child, struct aspace *parent)
{
    struct region_pool pool;
    int error;

    mutex_lock(&parent->mutex);
    error = region_pool_fill(&pool, parent->region_count);
    copy_limits(child, parent);
    LIST_FOR_EACH(node, &parent->regions)
    {
        const struct region *region = LIST_ENTRY(node, struct region, link);
        if (error)
            break;
        if (!(region->flags & REGION_NO_FORK))
            error = copy_region(child, &pool, region);
    }
    mutex_unlock(&parent->mutex);
    region_pool_done(&pool);
    return error;
}
