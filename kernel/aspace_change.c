/*
 * Changes of what is mapped without moving it: protection, flags, advice.
 *
 * Everything is checked before anything is changed, so a refused request leaves the whole range as it was
 * (which Linux allows but does not promise). Advice is the exception that madvise(2) makes: it is carried
 * out for what is mapped, and a hole is reported at the end.
 */
#include "kernel/aspace_internal.h"

#define CHANGE_SPARES 2

/* 0 when regions cover the range without a hole and `check` accepts each; -ENOMEM for a hole. */
static int check_each(struct aspace *aspace, uaddr_t start, uaddr_t end, int (*check)(const struct region *, uint32_t),
                      uint32_t argument)
{
    struct region *region = aspace_find_locked(aspace, start);

    for (uaddr_t at = start; at < end; region = region_next(aspace, region)) {
        int error;
        if (!region || region->start > at)
            return -ENOMEM;
        error = check(region, argument);
        if (error)
            return error;
        at = region->end;
        if (at >= end)
            break;
        if (!region_next(aspace, region))
            return -ENOMEM;
    }
    return 0;
}

/* --- protection -------------------------------------------------------------------------------------- */

static int may_protect(const struct region *region, uint32_t prot)
{
    if (region->flags & REGION_BODY)
        return -EPERM;
    if ((prot & PROT_WRITE_BIT) && (region->flags & REGION_SHARED) && !(region->flags & REGION_MAY_WRITE))
        return -EACCES;
    return 0;
}

/* What becomes committed by the new protection. */
static uint64_t newly_committed(struct aspace *aspace, uaddr_t start, uaddr_t end, uint32_t prot)
{
    uint64_t sum = 0;

    for (struct region *region = aspace_find_after_locked(aspace, start); region && region->start < end;
         region = region_next(aspace, region))
        if (!(region->flags & REGION_COMMITTED) && region_commits(prot, region->flags))
            sum += min_u64(region->end, end) - max_u64(region->start, start);
    return sum;
}

static void commit_protection(struct aspace *aspace, struct region_pool *pool, uaddr_t start, uaddr_t end, uint32_t prot)
{
    mutex_lock(&aspace->map_mutex);
    region_isolate_locked(aspace, pool, start, end);
    for (struct region *region = aspace_find_after_locked(aspace, start); region && region->start < end;
         region = region_next(aspace, region)) {
        region_uncount_locked(aspace, region);
        region->prot = prot;
        if (region_commits(prot, region->flags))
            region->flags |= REGION_COMMITTED;
        region_count_locked(aspace, region);
    }
    region_merge_locked(aspace, pool, start, end);
    mutex_unlock(&aspace->map_mutex);
}

static int protect_locked(struct aspace *aspace, struct region_pool *pool, uaddr_t start, uint64_t size, uint32_t prot)
{
    struct map_op op = {.kind = MAP_OP_PROTECT, .address = start, .size = size, .prot = prot};
    uint64_t reserved;
    int error = check_each(aspace, start, start + size, may_protect, prot);

    if (error)
        return error;
    if (aspace->region_count + CHANGE_SPARES > ASPACE_REGIONS_MAX)
        return -ENOMEM;
    reserved = newly_committed(aspace, start, start + size, prot);
    error = commit_reserve_locked(aspace, reserved);
    if (error)
        return error;
    error = body_apply_one(aspace, &op);
    if (error)
        commit_release_locked(aspace, reserved);
    else
        commit_protection(aspace, pool, start, start + size, prot);
    return error;
}

int aspace_protect(struct aspace *aspace, uaddr_t address, uint64_t size, uint32_t prot)
{
    struct region_pool pool;
    int error;

    if (!range_sane(address, size))
        return address & ~PAGE_MASK ? -EINVAL : -ENOMEM;
    error = region_pool_fill(&pool, CHANGE_SPARES);
    if (!error) {
        mutex_lock(&aspace->mutex);
        error = protect_locked(aspace, &pool, address, size, prot);
        mutex_unlock(&aspace->mutex);
    }
    region_pool_done(&pool);
    return error;
}

/* --- flags ------------------------------------------------------------------------------------------- */

static int may_set_flags(const struct region *region, uint32_t set)
{
    if ((set & REGION_WIPE_ON_FORK) && (region->memobj || (region->flags & (REGION_SHARED | REGION_BODY))))
        return -EINVAL;
    return 0;
}

static void commit_flags(struct aspace *aspace, struct region_pool *pool, uaddr_t start, uaddr_t end, uint32_t set,
                         uint32_t clear)
{
    mutex_lock(&aspace->map_mutex);
    region_isolate_locked(aspace, pool, start, end);
    for (struct region *region = aspace_find_after_locked(aspace, start); region && region->start < end;
         region = region_next(aspace, region)) {
        if (region->flags & REGION_BODY)
            continue;
        region_uncount_locked(aspace, region);
        region->flags = (region->flags & ~clear) | set;
        region_count_locked(aspace, region);
    }
    region_merge_locked(aspace, pool, start, end);
    mutex_unlock(&aspace->map_mutex);
}

/* The body's clone is told of the flags that are its business. */
static int advise_flags(struct aspace *aspace, uaddr_t start, uint64_t size, uint32_t set, uint32_t clear)
{
    struct map_op op = {.kind = MAP_OP_ADVISE, .address = start, .size = size};

    if ((set | clear) & REGION_NO_FORK)
        op.advice = set & REGION_NO_FORK ? ADVICE_DONT_FORK : ADVICE_DO_FORK;
    else if ((set | clear) & REGION_WIPE_ON_FORK)
        op.advice = set & REGION_WIPE_ON_FORK ? ADVICE_WIPE_ON_FORK : ADVICE_KEEP_ON_FORK;
    else
        return 0;
    return body_apply_one(aspace, &op);
}

int aspace_set_flags(struct aspace *aspace, uaddr_t address, uint64_t size, uint32_t set, uint32_t clear)
{
    struct region_pool pool;
    int error;

    if (!range_sane(address, size))
        return address & ~PAGE_MASK ? -EINVAL : -ENOMEM;
    error = region_pool_fill(&pool, CHANGE_SPARES);
    if (!error) {
        mutex_lock(&aspace->mutex);
        error = check_each(aspace, address, address + size, may_set_flags, set);
        if (!error && aspace->region_count + CHANGE_SPARES > ASPACE_REGIONS_MAX)
            error = -ENOMEM;
        if (!error)
            error = advise_flags(aspace, address, size, set, clear);
        if (!error)
            commit_flags(aspace, &pool, address, address + size, set, clear);
        mutex_unlock(&aspace->mutex);
    }
    region_pool_done(&pool);
    return error;
}

/* --- advice ------------------------------------------------------------------------------------------ */

static int may_advise(const struct region *region, enum aspace_advice advice)
{
    bool populate = advice == ADVICE_POPULATE_READ || advice == ADVICE_POPULATE_WRITE;
    uint32_t needed = advice == ADVICE_POPULATE_WRITE ? PROT_WRITE_BIT : PROT_READ_BIT | PROT_WRITE_BIT | PROT_EXEC_BIT;

    if (region->flags & REGION_BODY)
        return -EINVAL;
    if ((advice == ADVICE_DONT_NEED || advice == ADVICE_FREE || advice == ADVICE_REMOVE) && (region->flags & REGION_LOCKED))
        return -EINVAL;
    if (advice == ADVICE_FREE && (region->memobj || (region->flags & REGION_SHARED)))
        return -EINVAL;
    if (advice == ADVICE_REMOVE && (!region->memobj || region->memobj->kind != MEMOBJ_ANONYMOUS))
        return -EINVAL;
    if (advice == ADVICE_REMOVE && (!(region->flags & REGION_SHARED) || !(region->flags & REGION_MAY_WRITE)))
        return -EACCES;
    if (populate && !(region->prot & needed))
        return -EINVAL;
    return 0;
}

/* One region's part of the range. */
static int advise_one(struct aspace *aspace, struct region *region, uaddr_t start, uaddr_t end, enum aspace_advice advice)
{
    struct map_op op = {.kind = MAP_OP_ADVISE, .address = start, .size = end - start, .advice = advice};
    int error = may_advise(region, advice);

    if (error)
        return error;
    if (advice == ADVICE_REMOVE)
        return memobj_punch(region->memobj, region->offset + (start - region->start), end - start);
    if (advice == ADVICE_WILL_NEED)
        return 0;
    return body_apply_one(aspace, &op);
}

int aspace_advise(struct aspace *aspace, uaddr_t address, uint64_t size, enum aspace_advice advice)
{
    uaddr_t at = address, end = address + size;
    struct region *region;
    bool hole = false;
    int error = 0;

    if (!range_sane(address, size))
        return -EINVAL;
    mutex_lock(&aspace->mutex);
    region = aspace_find_after_locked(aspace, at);
    while (!error && at < end && region && region->start < end) {
        uaddr_t start = max_u64(region->start, at), stop = min_u64(region->end, end);
        hole |= start > at;
        error = advise_one(aspace, region, start, stop, advice);
        at = stop;
        region = region_next(aspace, region);
    }
    mutex_unlock(&aspace->mutex);
    hole |= at < end;
    return error ? error : hole ? -ENOMEM : 0;
}
