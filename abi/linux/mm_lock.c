/*
 * mlock and its family. Locked memory is counted against RLIMIT_MEMLOCK and brought in at once (unless on
 * fault was asked for); keeping it from the host's swap is left to the host.
 */
#include "abi/linux/mm_internal.h"

enum { LINUX_MLOCK_ONFAULT = 1 };

static bool may_lock_at_all(const struct mm_limits *limits) { return limits->locked || limits->privileged; }

/* Bytes of the range that are locked already. */
static uint64_t locked_in(struct aspace *aspace, uaddr_t address, uint64_t size)
{
    uaddr_t end = address + size;
    uint64_t sum = 0;

    mutex_lock(&aspace->mutex);
    for (uaddr_t at = address; at < end;) {
        struct region *region = aspace_find_after_locked(aspace, at);
        if (!region || region->start >= end)
            break;
        if (region->flags & REGION_LOCKED)
            sum += min_u64(region->end, end) - max_u64(region->start, at);
        at = region->end;
    }
    mutex_unlock(&aspace->mutex);
    return sum;
}

/* Pages are brought in as they may be accessed; memory without any access cannot be, which Linux calls ENOMEM. */
static int bring_in(struct aspace *aspace, uaddr_t address, uint64_t size)
{
    int error = aspace_advise(aspace, address, size, ADVICE_POPULATE_READ);

    return error == -EFAULT || error == -EINVAL ? -ENOMEM : error;
}

static bool page_range(uaddr_t *address, uint64_t *size)
{
    uint64_t head = *address & ~PAGE_MASK;

    if (*size > UINT64_MAX - head - PAGE_SIZE)
        return false;
    *address -= head;
    *size = round_up(*size + head, PAGE_SIZE);
    return *address + *size >= *address;
}

static int lock_range(uaddr_t address, uint64_t size, bool on_fault)
{
    struct mm_limits limits = mm_limits_read();
    struct mm *mm = current_mm();
    int error = 0;

    if (!may_lock_at_all(&limits))
        return -EPERM;
    if (!page_range(&address, &size))
        return -EINVAL;
    if (!size)
        return 0;
    mutex_lock(&mm->mutex);
    if (!mm_may_lock(mm, &limits, size - locked_in(mm->aspace, address, size)))
        error = -ENOMEM;
    if (!error)
        error = aspace_set_flags(mm->aspace, address, size, REGION_LOCKED, 0);
    if (!error && !on_fault)
        error = bring_in(mm->aspace, address, size);
    mutex_unlock(&mm->mutex);
    return error;
}

int64_t sys_mlock(uaddr_t address, uint64_t size) { return lock_range(address, size, false); }

int64_t sys_mlock2(uaddr_t address, uint64_t size, uint32_t flags)
{
    if (flags & ~(uint32_t)LINUX_MLOCK_ONFAULT)
        return -EINVAL;
    return lock_range(address, size, flags & LINUX_MLOCK_ONFAULT);
}

int64_t sys_munlock(uaddr_t address, uint64_t size)
{
    struct mm *mm = current_mm();
    int error;

    if (!page_range(&address, &size))
        return -EINVAL;
    if (!size)
        return 0;
    mutex_lock(&mm->mutex);
    error = aspace_set_flags(mm->aspace, address, size, 0, REGION_LOCKED);
    mutex_unlock(&mm->mutex);
    return error;
}

/* The next region at or after *at that is a program's own. */
static bool next_region(struct aspace *aspace, uaddr_t *at, uint64_t *size, uint32_t *prot)
{
    struct region *region;

    mutex_lock(&aspace->mutex);
    do
        region = aspace_find_after_locked(aspace, *at), *at = region ? region->end : *at;
    while (region && (region->flags & REGION_BODY));
    if (region) {
        *at = region->start;
        *size = region->end - region->start;
        *prot = region->prot;
    }
    mutex_unlock(&aspace->mutex);
    return region;
}

/* What cannot be brought in is skipped, as mlockall(2) does. mm->mutex held. */
static int lock_all(struct mm *mm, uint32_t set, uint32_t clear, bool populate)
{
    uaddr_t at = 0;
    uint64_t size;
    uint32_t prot;
    int error = 0;

    while (!error && next_region(mm->aspace, &at, &size, &prot)) {
        error = aspace_set_flags(mm->aspace, at, size, set, clear);
        if (!error && populate && prot)
            bring_in(mm->aspace, at, size);
        at += size;
    }
    return error;
}

int64_t sys_mlockall(uint32_t flags)
{
    struct mm_limits limits = mm_limits_read();
    struct mm *mm = current_mm();
    bool on_fault = flags & LINUX_MCL_ONFAULT;
    int error = 0;

    if (!flags || (flags & ~(uint32_t)(LINUX_MCL_CURRENT | LINUX_MCL_FUTURE | LINUX_MCL_ONFAULT)) || flags == LINUX_MCL_ONFAULT)
        return -EINVAL;
    if (!may_lock_at_all(&limits))
        return -EPERM;
    mutex_lock(&mm->mutex);
    if ((flags & LINUX_MCL_CURRENT) && !limits.privileged && mm->aspace->mapped_bytes > limits.locked)
        error = -ENOMEM;
    if (!error)
        mm->lock_future = flags & LINUX_MCL_FUTURE ? flags & (LINUX_MCL_FUTURE | LINUX_MCL_ONFAULT) : 0;
    if (!error && (flags & LINUX_MCL_CURRENT))
        error = lock_all(mm, REGION_LOCKED, 0, !on_fault);
    mutex_unlock(&mm->mutex);
    return error;
}

int64_t sys_munlockall(void)
{
    struct mm *mm = current_mm();
    int error;

    mutex_lock(&mm->mutex);
    mm->lock_future = 0;
    error = lock_all(mm, 0, REGION_LOCKED, false);
    mutex_unlock(&mm->mutex);
    return error;
}
