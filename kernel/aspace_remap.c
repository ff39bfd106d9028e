/*
 * mremap(2): shrinking, growing in place, moving, moving onto a fixed place, leaving the old range behind
 * empty, and making a second mapping of a shared region.
 *
 * The body grows and moves by MAP_OP_MOVE even where mapping the added part would look the same to the
 * program: on Linux a range that was grown by a second mapping might be two mappings to the host, which
 * could then not be moved in one piece.
 */
#include "kernel/aspace_internal.h"

#include "kernel/string.h"

/* Two carvings of two spares each, and the moved region. */
#define REMAP_SPARES 5

struct remap {
    uaddr_t address;
    uint64_t old_size, new_size;
    bool may_move, fixed, keep_old;
    uaddr_t new_address; /* of a fixed request; then of the result */
};

/* A shared region that grows reaches more of its memobj. */
static int share_more(const struct region *region, const struct remap *remap)
{
    uint64_t offset = region->offset + (remap->address - region->start);

    return remap->new_size <= remap->old_size ? 0 : share_reserve(region->memobj, region->flags, offset, remap->new_size);
}

/* A region like `model` for [address, address + size), its memory beginning where `from` lies in the model. */
static void insert_like(struct aspace *aspace, struct region_pool *pool, const struct region *model, uaddr_t from,
                        uaddr_t address, uint64_t size)
{
    struct region *region = region_pool_take(pool);

    region->start = address;
    region->end = address + size;
    region->prot = model->prot;
    region->flags = model->flags;
    region->memobj = model->memobj ? object_ref(model->memobj) : NULL;
    region->offset = model->offset + (from - model->start);
    region->owner = model->owner ? object_ref(model->owner) : NULL;
    region->name = model->name;
    region_insert_locked(aspace, region);
    region_merge_locked(aspace, pool, address, address + size);
}

static int choose_target(struct aspace *aspace, struct remap *remap)
{
    if (remap->fixed)
        return range_check_locked(aspace, remap->new_address, remap->new_size);
    if (!remap->may_move)
        return -ENOMEM;
    remap->new_address = aspace_place_locked(aspace, remap->new_size, aspace->high);
    return remap->new_address ? 0 : -ENOMEM;
}

static int unmap_part(struct aspace *aspace, struct region_pool *pool, uaddr_t address, uint64_t size)
{
    struct map_op op = {.kind = MAP_OP_UNMAP, .address = address, .size = size};
    int error = body_apply_one(aspace, &op);

    if (error)
        return error;
    mutex_lock(&aspace->map_mutex);
    region_carve_locked(aspace, pool, address, address + size);
    mutex_unlock(&aspace->map_mutex);
    return 0;
}

static int move_in_body(struct aspace *aspace, const struct remap *remap)
{
    struct map_op op = {
        .kind = MAP_OP_MOVE,
        .address = remap->address,
        .size = remap->old_size,
        .new_address = remap->new_address,
        .new_size = remap->new_size,
        .flags = remap->keep_old ? MAP_OP_KEEP_OLD : 0,
    };

    return body_apply_one(aspace, &op);
}

static int grow_in_place(struct aspace *aspace, struct region_pool *pool, struct region *region, struct remap *remap)
{
    uint64_t added = remap->new_size - remap->old_size;
    uint64_t charge = region->flags & REGION_COMMITTED ? added : 0;
    int error = share_more(region, remap);

    if (!error)
        error = commit_reserve_locked(aspace, charge);
    if (error)
        return error;
    remap->new_address = remap->address;
    error = move_in_body(aspace, remap);
    if (error) {
        commit_release_locked(aspace, charge);
        return error;
    }
    mutex_lock(&aspace->map_mutex);
    region_grow_locked(aspace, region, region->start, remap->address + remap->new_size);
    region_merge_locked(aspace, pool, region->start, region->end);
    mutex_unlock(&aspace->map_mutex);
    return 0;
}

static int move_region(struct aspace *aspace, struct region_pool *pool, struct region *region, struct remap *remap)
{
    struct region model = *region;
    uint64_t kept = remap->keep_old ? 0 : remap->old_size; /* what carving the old range will give back */
    uint64_t charge = model.flags & REGION_COMMITTED ? remap->new_size - kept : 0;
    int error = choose_target(aspace, remap);

    if (!error)
        error = share_more(region, remap);
    if (!error)
        error = commit_reserve_locked(aspace, charge);
    if (error)
        return error;
    error = move_in_body(aspace, remap);
    if (error) {
        commit_release_locked(aspace, charge);
        return error;
    }
    /* The pool keeps what is carved out, so model's references stay good until it is done. */
    mutex_lock(&aspace->map_mutex);
    region_carve_locked(aspace, pool, remap->new_address, remap->new_address + remap->new_size);
    if (!remap->keep_old)
        region_carve_locked(aspace, pool, remap->address, remap->address + remap->old_size);
    if (model.flags & REGION_COMMITTED)
        commit_take_locked(aspace, kept);
    insert_like(aspace, pool, &model, remap->address, remap->new_address, remap->new_size);
    mutex_unlock(&aspace->map_mutex);
    return 0;
}

/* old_size 0: the same memory at a second place. */
static int duplicate(struct aspace *aspace, struct region_pool *pool, struct region *region, struct remap *remap)
{
    struct region model = *region;
    struct map_op op = {.kind = MAP_OP_MAP, .size = remap->new_size, .prot = model.prot, .flags = model.flags, .memobj = model.memobj};
    int error;

    if (!(model.flags & REGION_SHARED) || remap->keep_old)
        return -EINVAL;
    error = choose_target(aspace, remap);
    if (!error)
        error = share_more(region, remap);
    if (error)
        return error;
    op.address = remap->new_address;
    op.offset = model.offset + (remap->address - model.start);
    error = body_apply_one(aspace, &op);
    if (error)
        return error;
    mutex_lock(&aspace->map_mutex);
    region_carve_locked(aspace, pool, remap->new_address, remap->new_address + remap->new_size);
    insert_like(aspace, pool, &model, remap->address, remap->new_address, remap->new_size);
    mutex_unlock(&aspace->map_mutex);
    return 0;
}

static bool room_above(struct aspace *aspace, const struct region *region, const struct remap *remap)
{
    uaddr_t end = remap->address + remap->new_size;

    return remap->address + remap->old_size == region->end && end > region->end && end <= aspace->ceiling &&
           range_free_locked(aspace, region->end, end);
}

/* Steps 1 and 2 of a fixed move that shrinks: the tail goes first, then the rest moves. */
static int remap_locked(struct aspace *aspace, struct region_pool *pool, struct remap *remap)
{
    struct region *region = aspace_find_locked(aspace, remap->address);
    int error;

    if (!region || (region->flags & REGION_BODY))
        return -EFAULT;
    if (aspace->region_count + REMAP_SPARES > ASPACE_REGIONS_MAX)
        return -ENOMEM;
    if (!remap->old_size)
        return duplicate(aspace, pool, region, remap);
    if (remap->address + remap->old_size > region->end)
        return -EFAULT;
    if (remap->new_size < remap->old_size) {
        error = unmap_part(aspace, pool, remap->address + remap->new_size, remap->old_size - remap->new_size);
        if (error)
            return error;
        remap->old_size = remap->new_size;
        region = aspace_find_locked(aspace, remap->address);
    }
    if (remap->fixed || remap->keep_old)
        return move_region(aspace, pool, region, remap);
    remap->new_address = remap->address;
    if (remap->new_size == remap->old_size)
        return 0;
    if (room_above(aspace, region, remap))
        return grow_in_place(aspace, pool, region, remap);
    return move_region(aspace, pool, region, remap);
}

static bool remap_sane(const struct remap *remap)
{
    if (!range_sane(remap->address, remap->new_size) || (remap->old_size && !range_sane(remap->address, remap->old_size)))
        return false;
    if (!remap->fixed)
        return true;
    if (!range_sane(remap->new_address, remap->new_size))
        return false;
    return remap->address + remap->old_size <= remap->new_address || remap->new_address + remap->new_size <= remap->address;
}

int aspace_remap(struct aspace *aspace, uaddr_t address, uint64_t old_size, uint64_t new_size, bool may_move, bool fixed,
                 bool keep_old, uaddr_t new_address, uaddr_t *result)
{
    struct remap remap = {address, old_size, new_size, may_move, fixed, keep_old, new_address};
    struct region_pool pool;
    int error;

    if (!remap_sane(&remap))
        return -EINVAL;
    error = region_pool_fill(&pool, REMAP_SPARES + 2);
    if (!error) {
        mutex_lock(&aspace->mutex);
        error = remap_locked(aspace, &pool, &remap);
        mutex_unlock(&aspace->mutex);
    }
    region_pool_done(&pool);
    *result = remap.new_address;
    return error;
}
