/*
 * One Linux memory record per address space: birth, fork, the heap's break, the limits.
 *
 * The regions themselves are the kernel's (kernel/aspace.h). mm->mutex is taken by every call that changes
 * the map, around the aspace call, so that a limit is checked against the same map that is then changed
 * and fork copies a map that stands still.
 */
#include "abi/linux/mm_internal.h"

static void mm_destroy(struct object *object)
{
    struct mm *mm = CONTAINER_OF(object, struct mm, object);

    if (mm->exe)
        file_unref(mm->exe);
    object_unref(mm->aspace);
    kfree(mm);
}

static const struct object_type mm_type = {.name = "memory record", .destroy = mm_destroy};

struct mm *mm_create(struct aspace *aspace)
{
    struct mm *mm = kzalloc(sizeof(*mm));

    if (!mm)
        return NULL;
    object_init(&mm->object, &mm_type);
    mutex_init(&mm->mutex, RANK_MM);
    mm->aspace = object_ref(aspace);
    mm->dumpable = true;
    return mm;
}

struct mm *mm_fork(struct mm *parent, struct aspace *child)
{
    struct mm *mm;

    if (aspace_copy_regions(child, parent->aspace))
        return NULL;
    mm = mm_create(child);
    if (!mm)
        return NULL;
    mm->brk_start = parent->brk_start;
    mm->brk_end = parent->brk_end;
    mm->stack_top = parent->stack_top;
    mm->arg_start = parent->arg_start;
    mm->arg_end = parent->arg_end;
    mm->env_start = parent->env_start;
    mm->env_end = parent->env_end;
    mm->vdso = parent->vdso;
    mm->exe = parent->exe ? file_ref(parent->exe) : NULL;
    memcpy(mm->auxv, parent->auxv, sizeof(mm->auxv));
    mm->auxv_size = parent->auxv_size;
    mm->dumpable = parent->dumpable;
    atomic32_store_relaxed(&mm->barriers, atomic32_load_relaxed(&parent->barriers));
    return mm;
}

void mm_set_brk(struct mm *mm, uaddr_t start)
{
    mm->brk_start = mm->brk_end = round_up(start, PAGE_SIZE);
}

void mm_set_exe(struct mm *mm, struct file *exe)
{
    struct file *old = mm->exe;

    mm->exe = exe ? file_ref(exe) : NULL;
    if (old)
        file_unref(old);
}

bool mm_grow_stack(struct mm *mm, uaddr_t address)
{
    uint64_t limit = rlimit(LINUX_RLIMIT_STACK);
    bool grown;

    mutex_lock(&mm->mutex);
    grown = aspace_grow_down(mm->aspace, address, limit);
    mutex_unlock(&mm->mutex);
    return grown;
}

/* --- limits ------------------------------------------------------------------------------------------ */

bool mm_round(uint64_t *size)
{
    uint64_t rounded = round_up(*size, PAGE_SIZE);
    bool good = rounded >= *size;

    *size = rounded;
    return good;
}

struct mm_limits mm_limits_read(void)
{
    return (struct mm_limits){
        .mapped = rlimit(LINUX_RLIMIT_AS),
        .data = rlimit(LINUX_RLIMIT_DATA),
        .locked = rlimit(LINUX_RLIMIT_MEMLOCK),
        .privileged = capable(LINUX_CAP_IPC_LOCK),
    };
}

bool mm_may_expand(struct mm *mm, const struct mm_limits *limits, uint64_t size, uint64_t freed, bool data)
{
    struct aspace *aspace = mm->aspace;
    uint64_t mapped = aspace->mapped_bytes - min_u64(freed, aspace->mapped_bytes);

    if (size > UINT64_MAX - mapped || mapped + size > limits->mapped)
        return false;
    if (!data || size <= freed)
        return true;
    return size - freed <= UINT64_MAX - aspace->data_bytes && aspace->data_bytes + size - freed <= limits->data;
}

bool mm_may_lock(struct mm *mm, const struct mm_limits *limits, uint64_t size)
{
    if (limits->privileged)
        return true;
    return size <= limits->locked && mm->aspace->locked_bytes <= limits->locked - size;
}

/* --- brk --------------------------------------------------------------------------------------------- */

static bool brk_grow(struct mm *mm, const struct mm_limits *limits, uaddr_t old_end, uaddr_t new_end)
{
    struct aspace_map_request request = {
        .address = old_end,
        .size = new_end - old_end,
        .prot = PROT_READ_BIT | PROT_WRITE_BIT,
        .flags = REGION_HEAP | REGION_MAY_WRITE | ASPACE_FIXED_NOREPLACE,
        .name = "[heap]",
    };
    uaddr_t address;

    if (new_end - mm->brk_start > limits->data || !mm_may_expand(mm, limits, request.size, 0, true))
        return false;
    if (mm->lock_future & LINUX_MCL_FUTURE) {
        if (!mm_may_lock(mm, limits, request.size))
            return false;
        request.flags |= REGION_LOCKED | (mm->lock_future & LINUX_MCL_ONFAULT ? 0 : ASPACE_POPULATE);
    }
    return aspace_map(mm->aspace, &request, &address) == 0;
}

int64_t sys_brk(uaddr_t end)
{
    struct mm_limits limits = mm_limits_read();
    struct mm *mm = current_mm();
    uaddr_t old_page, new_page;
    int64_t result;

    mutex_lock(&mm->mutex);
    old_page = round_up(mm->brk_end, PAGE_SIZE);
    new_page = round_up(end, PAGE_SIZE);
    if (end >= mm->brk_start && new_page >= end && mm->brk_start) {
        bool done = true;
        if (new_page < old_page)
            done = aspace_unmap(mm->aspace, new_page, old_page - new_page) == 0;
        else if (new_page > old_page)
            done = brk_grow(mm, &limits, old_page, new_page);
        if (done)
            mm->brk_end = end;
    }
    result = (int64_t)mm->brk_end;
    mutex_unlock(&mm->mutex);
    return result;
}
