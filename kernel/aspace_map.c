/*
 * Mapping and unmapping. The region map decides what is allowed, the body carries it out, then the map
 * takes over what was decided by steps that cannot fail.
 */
#include "kernel/aspace_internal.h"

/* One new region, and two splits where it replaces the middle of an old one. */
#define MAP_SPARES 3

static int choose_address(struct aspace *aspace, const struct aspace_map_request *request, uaddr_t *address)
{
    bool fixed = request->flags & (ASPACE_FIXED | ASPACE_FIXED_NOREPLACE);
    uaddr_t hint = request->address;
    int error = range_sane(hint, request->size) ? range_check_locked(aspace, hint, request->size) : -EINVAL;

    *address = hint;
    if (request->flags & ASPACE_FIXED_NOREPLACE) {
        if (range_sane(hint, request->size) && !range_free_locked(aspace, hint, hint + request->size))
            return -EEXIST;
        return error == -EINVAL ? -ENOMEM : error;
    }
    if (fixed)
        return error == -EINVAL ? -ENOMEM : error;
    if (hint && !error && range_free_locked(aspace, hint, hint + request->size))
        return 0;
    *address = aspace_place_locked(aspace, request->size, request->flags & ASPACE_BELOW_2G ? (uaddr_t)1 << 31 : aspace->high);
    return *address ? 0 : -ENOMEM;
}

static int map_in_body(struct aspace *aspace, const struct aspace_map_request *request, uaddr_t address, uint32_t flags)
{
    struct map_op op = {
        .kind = MAP_OP_MAP,
        .address = address,
        .size = request->size,
        .prot = request->prot,
        .flags = flags,
        .memobj = request->memobj,
        .offset = request->offset,
    };

    return body_apply_one(aspace, &op);
}

static void fill_region(struct region *region, const struct aspace_map_request *request, uaddr_t address, uint32_t flags)
{
    region->start = address;
    region->end = address + request->size;
    region->prot = request->prot;
    region->flags = flags;
    region->memobj = request->memobj ? object_ref(request->memobj) : NULL;
    region->offset = request->offset;
    region->owner = request->owner ? object_ref(request->owner) : NULL;
    region->name = request->name;
}

static int map_locked(struct aspace *aspace, struct region_pool *pool, const struct aspace_map_request *request,
                      uaddr_t *address)
{
    uint32_t flags = request->flags & 0xffff & ~(uint32_t)(REGION_COMMITTED | REGION_BODY);
    uint64_t size = request->size, committed = 0;
    struct region *region;
    int error = choose_address(aspace, request, address);

    if (error)
        return error;
    if (aspace->region_count + MAP_SPARES > ASPACE_REGIONS_MAX)
        return -ENOMEM;
    if (region_commits(request->prot, flags)) {
        flags |= REGION_COMMITTED;
        committed = size;
    }
    error = share_reserve(request->memobj, flags, request->offset, size);
    if (error)
        return error;
    error = commit_reserve_locked(aspace, committed);
    if (error)
        return error;
    error = map_in_body(aspace, request, *address, flags);
    if (error) {
        commit_release_locked(aspace, committed);
        return error;
    }
    region = region_pool_take(pool);
    fill_region(region, request, *address, flags);
    mutex_lock(&aspace->map_mutex);
    region_carve_locked(aspace, pool, *address, *address + size);
    region_insert_locked(aspace, region);
    region_merge_locked(aspace, pool, *address, *address + size);
    mutex_unlock(&aspace->map_mutex);
    return 0;
}

/* A hint to have the pages now: failing it is no error. */
static void populate(struct aspace *aspace, uaddr_t address, uint64_t size, uint32_t prot)
{
    struct map_op op = {.kind = MAP_OP_ADVISE, .address = address, .size = size};

    op.advice = prot & PROT_WRITE_BIT ? ADVICE_POPULATE_WRITE : ADVICE_POPULATE_READ;
    if (prot)
        body_apply_one(aspace, &op);
}

int aspace_map(struct aspace *aspace, const struct aspace_map_request *request, uaddr_t *address)
{
    struct region_pool pool;
    int error;

    if (!request->size || ((request->size | request->offset) & ~PAGE_MASK) || request->offset + request->size < request->offset)
        return -EINVAL;
    if ((request->flags & (ASPACE_FIXED | ASPACE_FIXED_NOREPLACE)) && (request->address & ~PAGE_MASK))
        return -EINVAL;
    error = region_pool_fill(&pool, MAP_SPARES);
    if (!error && request->memobj && request->memobj->paged)
        error = memobj_mappable(request->memobj);
    if (!error) {
        mutex_lock(&aspace->mutex);
        error = map_locked(aspace, &pool, request, address);
        if (!error && (request->flags & ASPACE_POPULATE))
            populate(aspace, *address, request->size, request->prot);
        mutex_unlock(&aspace->mutex);
    }
    region_pool_done(&pool);
    return error;
}

static int unmap_locked(struct aspace *aspace, struct region_pool *pool, uaddr_t address, uint64_t size)
{
    struct map_op op = {.kind = MAP_OP_UNMAP, .address = address, .size = size};
    int error;

    if (range_free_locked(aspace, address, address + size))
        return 0;
    error = range_check_locked(aspace, max_u64(address, aspace->floor), address + size - max_u64(address, aspace->floor));
    if (error)
        return error == -ENOMEM ? -EINVAL : error;
    if (aspace->region_count + 2 > ASPACE_REGIONS_MAX)
        return -ENOMEM;
    error = body_apply_one(aspace, &op);
    if (error)
        return error;
    mutex_lock(&aspace->map_mutex);
    region_carve_locked(aspace, pool, address, address + size);
    mutex_unlock(&aspace->map_mutex);
    return 0;
}

int aspace_unmap(struct aspace *aspace, uaddr_t address, uint64_t size)
{
    struct region_pool pool;
    int error;

    if (!range_sane(address, size) || address + size > aspace->ceiling)
        return -EINVAL;
    error = region_pool_fill(&pool, 2);
    if (!error) {
        mutex_lock(&aspace->mutex);
        error = unmap_locked(aspace, &pool, address, size);
        mutex_unlock(&aspace->mutex);
    }
    region_pool_done(&pool);
    return error;
}

/* The region at or above `address` when it is a stack that may grow down to it. */
static struct region *growable(struct aspace *aspace, uaddr_t address, uint64_t limit)
{
    struct region *region = aspace_find_after_locked(aspace, address), *prev;

    if (!region || !(region->flags & REGION_GROWS_DOWN) || region->start <= address || address < aspace->floor)
        return NULL;
    prev = region_prev(aspace, region);
    if (region->end - address > limit || (prev && prev->prot && address - prev->end < 256 * PAGE_SIZE))
        return NULL;
    return region;
}

bool aspace_grow_down(struct aspace *aspace, uaddr_t address, uint64_t limit)
{
    struct aspace_map_request request = {.address = round_down(address, PAGE_SIZE)};
    struct region *region;
    uint64_t grown = 0;

    mutex_lock(&aspace->mutex);
    region = growable(aspace, request.address, limit);
    if (region && !region->memobj) {
        request.size = region->start - request.address;
        request.prot = region->prot;
        if (!(region->flags & REGION_COMMITTED) || !commit_reserve_locked(aspace, request.size))
            grown = request.size;
    }
    if (grown && map_in_body(aspace, &request, request.address, region->flags)) {
        if (region->flags & REGION_COMMITTED)
            commit_release_locked(aspace, grown);
        grown = 0;
    }
    if (grown) {
        mutex_lock(&aspace->map_mutex);
        region_grow_locked(aspace, region, request.address, region->end);
        mutex_unlock(&aspace->map_mutex);
    }
    mutex_unlock(&aspace->mutex);
    return grown;
}
