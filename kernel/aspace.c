/*
 * Address spaces as objects: birth, death, searches, and the futex key of an address.
 *
 * The map itself lives in aspace_regions.c; the operations on it, one file per verb, in aspace_map.c,
 * aspace_change.c, aspace_remap.c and aspace_fork.c. The mutex is held while the body carries out a batch,
 * so other threads of the same program wait; nobody else does, because another program's call only looks
 * (/proc, shared futexes), and for that takes the map mutex, which is held for a few steps.
 */
#include "kernel/aspace_internal.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/futex.h"

/* 47 bits of user addresses, less a guard page: x86-64 with four levels, and Sv48. */
#define CEILING_DEFAULT (((uaddr_t)1 << 47) - PAGE_SIZE)
/* As Linux's vm.mmap_min_addr. */
#define FLOOR_DEFAULT ((uaddr_t)0x10000)

static void aspace_destroy(struct object *object)
{
    struct aspace *aspace = CONTAINER_OF(object, struct aspace, object);
    struct region_pool pool;

    if (aspace->body)
        body_aspace_destroy(aspace);
    region_pool_fill(&pool, 0);
    region_carve_locked(aspace, &pool, 0, UINT64_MAX);
    region_pool_done(&pool);
    KASSERT(aspace->committed_bytes == 0);
    futex_table_destroy(aspace->futexes);
    kfree(aspace);
}

static const struct object_type aspace_type = {.name = "address space", .destroy = aspace_destroy};

struct aspace *aspace_create_bare(void)
{
    struct aspace *aspace = kzalloc(sizeof(*aspace));

    if (!aspace)
        return NULL;
    aspace->futexes = futex_table_create();
    if (!aspace->futexes) {
        kfree(aspace);
        return NULL;
    }
    object_init(&aspace->object, &aspace_type);
    mutex_init(&aspace->mutex, RANK_ASPACE);
    mutex_init(&aspace->map_mutex, RANK_ASPACE_MAP);
    list_init(&aspace->regions);
    region_index_init(aspace);
    aspace->commit_limit = UINT64_MAX;
    aspace->low = aspace->floor = FLOOR_DEFAULT;
    aspace->high = aspace->ceiling = CEILING_DEFAULT;
    return aspace;
}

struct aspace *aspace_create(void)
{
    struct aspace *aspace = aspace_create_bare();

    if (aspace && body_aspace_create(aspace)) {
        object_unref(aspace);
        return NULL;
    }
    return aspace;
}

int aspace_add_body_region(struct aspace *aspace, uaddr_t start, uint64_t size, uint32_t prot, const char *name)
{
    struct region_pool pool;
    int error = range_sane(start, size) ? region_pool_fill(&pool, 1) : -EINVAL;

    if (error == -EINVAL)
        return error;
    mutex_lock(&aspace->mutex);
    if (!error && !range_free_locked(aspace, start, start + size))
        error = -EEXIST;
    if (!error) {
        struct region *region = region_pool_take(&pool);
        region->start = start;
        region->end = start + size;
        region->prot = prot;
        region->flags = REGION_BODY;
        region->name = name;
        mutex_lock(&aspace->map_mutex);
        region_insert_locked(aspace, region);
        mutex_unlock(&aspace->map_mutex);
    }
    mutex_unlock(&aspace->mutex);
    region_pool_done(&pool);
    return error;
}

struct region *aspace_find_after_locked(struct aspace *aspace, uaddr_t address)
{
    struct tree_node *node = aspace->tree.root;
    struct region *found = NULL;

    while (node) {
        struct region *region = CONTAINER_OF(node, struct region, node);
        if (region->end > address)
            found = region;
        node = node->child[region->end <= address];
    }
    return found;
}

struct region *aspace_find_locked(struct aspace *aspace, uaddr_t address)
{
    struct region *region = aspace_find_after_locked(aspace, address);

    return region && region->start <= address ? region : NULL;
}

uint64_t aspace_mapped_in(struct aspace *aspace, uaddr_t address, uint64_t size)
{
    uint64_t sum = 0, end = address + size < address ? UINT64_MAX : address + size;

    mutex_lock(&aspace->map_mutex);
    for (struct region *region = aspace_find_after_locked(aspace, address); region && region->start < end;
         region = region_next(aspace, region))
        sum += min_u64(region->end, end) - max_u64(region->start, address);
    mutex_unlock(&aspace->map_mutex);
    return sum;
}

int aspace_resolve(struct aspace *aspace, uaddr_t address, struct memobj **memobj, uint64_t *offset)
{
    struct region *region;
    int error = -EFAULT;

    *memobj = NULL;
    *offset = 0;
    mutex_lock(&aspace->map_mutex);
    region = aspace_find_locked(aspace, address);
    if (region) {
        error = 0;
        if ((region->flags & REGION_SHARED) && region->memobj) {
            *memobj = object_ref(region->memobj);
            *offset = region->offset + (address - region->start);
        }
    }
    mutex_unlock(&aspace->map_mutex);
    return error;
}

int aspace_barrier(struct aspace *aspace, bool serialise)
{
    struct map_op op = {.kind = MAP_OP_BARRIER, .flags = serialise};

    return body_apply_one(aspace, &op);
}
