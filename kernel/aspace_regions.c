/*
 * The region map: an ordered list of regions, indexed by a balanced tree whose nodes know the largest gap
 * beneath them, so that both "what is here" and "where is room" take a few steps among 65530 regions.
 *
 * Invariants: regions are page-aligned, not empty, and do not overlap; region->gap is the free space
 * between the region before and this one; the counters of the address space are sums over its regions
 * (the body's own excepted). Everything here runs under aspace->mutex.
 */
#include "kernel/aspace_internal.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"

/* Free bytes kept below a stack, so that it cannot grow into its neighbour (Linux's stack_guard_gap). */
#define STACK_GUARD_SIZE ((uint64_t)256 * PAGE_SIZE)

static struct atomic64 total_committed = ATOMIC_INIT(0);
static struct atomic64 total_commit_limit = ATOMIC_INIT(UINT64_MAX);

/* --- the index --------------------------------------------------------------------------------------- */

static struct region *region_of(struct tree_node *node) { return CONTAINER_OF(node, struct region, node); }

static void update_gap(struct tree_node *node)
{
    struct region *region = region_of(node);

    region->subtree_gap = region->gap;
    for (int side = 0; side < 2; side++)
        if (node->child[side])
            region->subtree_gap = max_u64(region->subtree_gap, region_of(node->child[side])->subtree_gap);
}

void region_index_init(struct aspace *aspace) { tree_init(&aspace->tree, update_gap); }

struct region *region_next(struct aspace *aspace, struct region *region)
{
    return region->link.next == &aspace->regions ? NULL : LIST_ENTRY(region->link.next, struct region, link);
}

struct region *region_prev(struct aspace *aspace, struct region *region)
{
    return region->link.prev == &aspace->regions ? NULL : LIST_ENTRY(region->link.prev, struct region, link);
}

/* The gap before a region, which may be NULL (the map's end), is computed again. */
static void refresh_gap(struct aspace *aspace, struct region *region)
{
    struct region *prev;

    if (!region)
        return;
    prev = region_prev(aspace, region);
    region->gap = region->start - (prev ? prev->end : 0);
    tree_changed(&aspace->tree, &region->node);
}

static void index_insert(struct aspace *aspace, struct region *region)
{
    struct tree_node *parent = NULL, *node = aspace->tree.root;
    struct list *before = &aspace->regions;
    int side = 0;

    while (node) {
        struct region *other = region_of(node);
        parent = node;
        side = other->start < region->start;
        if (!side)
            before = &other->link;
        node = node->child[side];
    }
    list_push_back(before, &region->link);
    region->gap = region->subtree_gap = 0;
    tree_insert(&aspace->tree, parent, side, &region->node);
    refresh_gap(aspace, region);
    refresh_gap(aspace, region_next(aspace, region));
    aspace->region_count++;
    if (region->memobj && region->memobj->paged)
        memobj_mapped(aspace, region);
}

static void index_remove(struct aspace *aspace, struct region *region)
{
    struct region *next = region_next(aspace, region);

    tree_remove(&aspace->tree, &region->node);
    list_remove(&region->link);
    refresh_gap(aspace, next);
    aspace->region_count--;
    if (region->memobj && region->memobj->paged)
        memobj_unmapped(region);
}

/* --- accounting -------------------------------------------------------------------------------------- */

bool region_commits(uint32_t prot, uint32_t flags)
{
    return (prot & PROT_WRITE_BIT) && !(flags & (REGION_SHARED | REGION_NO_RESERVE | REGION_BODY));
}

bool commit_limited(void) { return atomic64_load_relaxed(&total_commit_limit) != UINT64_MAX; }

int commit_charge(uint64_t size)
{
    uint64_t total = atomic64_add(&total_committed, size) + size;

    if (total <= atomic64_load_relaxed(&total_commit_limit))
        return 0;
    atomic64_sub(&total_committed, size);
    return -ENOMEM;
}

void commit_discharge(uint64_t size) { atomic64_sub(&total_committed, size); }

int commit_reserve_locked(struct aspace *aspace, uint64_t size)
{
    uint64_t total = atomic64_add(&total_committed, size) + size;

    if (total > atomic64_load_relaxed(&total_commit_limit) || aspace->committed_bytes + size > aspace->commit_limit) {
        atomic64_sub(&total_committed, size);
        return -ENOMEM;
    }
    aspace->committed_bytes += size;
    return 0;
}

int share_reserve(struct memobj *memobj, uint32_t flags, uint64_t offset, uint64_t size)
{
    if (!memobj || !(flags & REGION_SHARED) || !(flags & REGION_MAY_WRITE))
        return 0;
    return memobj_share(memobj, offset, size);
}

void commit_take_locked(struct aspace *aspace, uint64_t size)
{
    aspace->committed_bytes += size;
    atomic64_add(&total_committed, size);
}

void commit_release_locked(struct aspace *aspace, uint64_t size)
{
    KASSERT(aspace->committed_bytes >= size);
    aspace->committed_bytes -= size;
    atomic64_sub(&total_committed, size);
}

void aspace_set_total_commit_limit(uint64_t bytes) { atomic64_store(&total_commit_limit, bytes); }
uint64_t aspace_total_committed(void) { return atomic64_load_relaxed(&total_committed); }

static void count(struct aspace *aspace, const struct region *region, uint64_t sign)
{
    uint64_t size = sign * region_size(region);

    if (region->flags & REGION_BODY)
        return;
    aspace->mapped_bytes += size;
    if ((region->prot & PROT_WRITE_BIT) && !(region->flags & (REGION_SHARED | REGION_STACK | REGION_GROWS_DOWN)))
        aspace->data_bytes += size;
    if (region->flags & REGION_LOCKED)
        aspace->locked_bytes += size;
}

void region_count_locked(struct aspace *aspace, const struct region *region) { count(aspace, region, 1); }
void region_uncount_locked(struct aspace *aspace, const struct region *region) { count(aspace, region, UINT64_MAX); }

/* --- pools ------------------------------------------------------------------------------------------- */

int region_pool_fill(struct region_pool *pool, uint32_t count)
{
    list_init(&pool->spare);
    list_init(&pool->dead);
    while (count--) {
        struct region *region = kzalloc(sizeof(*region));
        if (!region)
            return -ENOMEM;
        list_push_back(&pool->spare, &region->link);
    }
    return 0;
}

struct region *region_pool_take(struct region_pool *pool)
{
    struct list *node = list_pop_front(&pool->spare);

    KASSERT(node);
    return LIST_ENTRY(node, struct region, link);
}

void region_pool_done(struct region_pool *pool)
{
    struct list *node;

    while ((node = list_pop_front(&pool->spare)))
        kfree(LIST_ENTRY(node, struct region, link));
    while ((node = list_pop_front(&pool->dead))) {
        struct region *region = LIST_ENTRY(node, struct region, link);
        object_unref(region->memobj);
        object_unref(region->owner);
        kfree(region);
    }
}

/* --- changes of the map ------------------------------------------------------------------------------ */

void region_insert_locked(struct aspace *aspace, struct region *region)
{
    index_insert(aspace, region);
    region_count_locked(aspace, region);
}

static void region_remove(struct aspace *aspace, struct region_pool *pool, struct region *region)
{
    region_uncount_locked(aspace, region);
    if (region->flags & REGION_COMMITTED)
        commit_release_locked(aspace, region_size(region));
    index_remove(aspace, region);
    list_push_back(&pool->dead, &region->link);
}

/* The part from `at` on becomes a region of its own. The sums stay as they are. */
static void region_split(struct aspace *aspace, struct region_pool *pool, struct region *region, uaddr_t at)
{
    struct region *upper = region_pool_take(pool);

    upper->start = at;
    upper->end = region->end;
    upper->prot = region->prot;
    upper->flags = region->flags;
    upper->memobj = region->memobj ? object_ref(region->memobj) : NULL;
    upper->offset = region->offset + (at - region->start);
    upper->owner = region->owner ? object_ref(region->owner) : NULL;
    upper->name = region->name;
    region->end = at;
    index_insert(aspace, upper);
}

static void split_at(struct aspace *aspace, struct region_pool *pool, uaddr_t at)
{
    struct region *region = aspace_find_locked(aspace, at);

    if (region && region->start < at)
        region_split(aspace, pool, region, at);
}

void region_isolate_locked(struct aspace *aspace, struct region_pool *pool, uaddr_t start, uaddr_t end)
{
    split_at(aspace, pool, start);
    split_at(aspace, pool, end);
}

void region_carve_locked(struct aspace *aspace, struct region_pool *pool, uaddr_t start, uaddr_t end)
{
    struct region *region, *next;

    region_isolate_locked(aspace, pool, start, end);
    for (region = aspace_find_after_locked(aspace, start); region && region->start < end; region = next) {
        next = region_next(aspace, region);
        region_remove(aspace, pool, region);
    }
}

void region_grow_locked(struct aspace *aspace, struct region *region, uaddr_t start, uaddr_t end)
{
    region_uncount_locked(aspace, region);
    region->start = start;
    region->end = end;
    region_count_locked(aspace, region);
    refresh_gap(aspace, region);
    refresh_gap(aspace, region_next(aspace, region));
}

static bool regions_alike(const struct region *a, const struct region *b)
{
    if (a->end != b->start || a->prot != b->prot || a->flags != b->flags || a->memobj != b->memobj ||
        a->owner != b->owner || a->name != b->name)
        return false;
    if (a->flags & (REGION_BODY | REGION_GROWS_DOWN))
        return false;
    return !a->memobj || a->offset + region_size(a) == b->offset;
}

void region_merge_locked(struct aspace *aspace, struct region_pool *pool, uaddr_t start, uaddr_t end)
{
    struct region *region = aspace_find_after_locked(aspace, start ? start - 1 : 0), *next;

    while (region && (next = region_next(aspace, region)) && next->start <= end) {
        if (!regions_alike(region, next)) {
            region = next;
            continue;
        }
        index_remove(aspace, next);
        region->end = next->end;
        refresh_gap(aspace, region_next(aspace, region));
        list_push_back(&pool->dead, &next->link);
    }
}

/* --- ranges and places ------------------------------------------------------------------------------- */

bool range_sane(uaddr_t start, uint64_t size)
{
    return size && !((start | size) & ~PAGE_MASK) && start + size > start;
}

bool range_free_locked(struct aspace *aspace, uaddr_t start, uaddr_t end)
{
    struct region *region = aspace_find_after_locked(aspace, start);

    return !region || region->start >= end;
}

int range_check_locked(struct aspace *aspace, uaddr_t start, uint64_t size)
{
    struct region *region;

    if (start > aspace->ceiling || size > aspace->ceiling - start)
        return -ENOMEM;
    if (start < aspace->floor)
        return -EPERM;
    for (region = aspace_find_after_locked(aspace, start); region && region->start < start + size;
         region = region_next(aspace, region))
        if (region->flags & REGION_BODY)
            return -EPERM;
    return 0;
}

struct search {
    uint64_t size;
    uaddr_t low, high;
};

/* Where in the gap [bottom, top), kept within low and high, the size fits: the highest place, or 0. */
static uaddr_t fit(const struct search *search, uaddr_t bottom, uaddr_t top)
{
    bottom = max_u64(bottom, search->low);
    top = min_u64(top, search->high);
    return top > bottom && top - bottom >= search->size ? top - search->size : 0;
}

/*
 * The highest gap beneath a node that fits. Only the gaps cut by low and high (and by a stack's guard) can disappoint, and
 * whole sides beyond those two are not entered, so this looks at few paths.
 */
static uaddr_t search_gaps(const struct search *search, struct tree_node *node)
{
    struct region *region;
    uaddr_t found = 0;
    uint64_t guard;

    if (!node || region_of(node)->subtree_gap < search->size)
        return 0;
    region = region_of(node);
    if (region->end < search->high)
        found = search_gaps(search, node->child[1]);
    guard = region->flags & REGION_GROWS_DOWN ? min_u64(STACK_GUARD_SIZE, region->gap) : 0;
    if (!found)
        found = fit(search, region->start - region->gap, region->start - guard);
    if (!found && region->start > search->low)
        found = search_gaps(search, node->child[0]);
    return found;
}

uaddr_t aspace_place_locked(struct aspace *aspace, uint64_t size, uaddr_t high)
{
    uaddr_t last = list_empty(&aspace->regions) ? 0 : LIST_ENTRY(aspace->regions.prev, struct region, link)->end;
    struct search search = {.size = size, .low = aspace->low, .high = min_u64(high, aspace->high)};
    uaddr_t found = fit(&search, last, search.high);

    return found ? found : search_gaps(&search, aspace->tree.root);
}

int body_apply_one(struct aspace *aspace, const struct map_op *op)
{
    size_t done;

    return body_aspace_apply(aspace, op, 1, &done);
}
