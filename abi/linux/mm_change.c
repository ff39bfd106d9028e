/*
 * mprotect, madvise, msync and mincore.
 */
#include "abi/linux/mm_internal.h"

/* --- mprotect ---------------------------------------------------------------------------------------- */

/* PROT_GROWSDOWN: from the start of the stack that holds the address. */
static int stack_start(struct aspace *aspace, uaddr_t *address, uint64_t *size)
{
    struct region *region;
    int error = -EINVAL;

    mutex_lock(&aspace->mutex);
    region = aspace_find_locked(aspace, *address);
    if (region && (region->flags & (REGION_GROWS_DOWN | REGION_STACK))) {
        *size += *address - region->start;
        *address = region->start;
        error = 0;
    }
    mutex_unlock(&aspace->mutex);
    return error;
}

int64_t sys_mprotect(uaddr_t address, uint64_t size, uint32_t prot)
{
    struct mm *mm = current_mm();
    uint32_t grows = prot & (LINUX_PROT_GROWSDOWN | LINUX_PROT_GROWSUP);
    int error = 0;

    prot &= ~grows;
    if (grows == (LINUX_PROT_GROWSDOWN | LINUX_PROT_GROWSUP) || (address & ~PAGE_MASK))
        return -EINVAL;
    if (!size)
        return 0;
    if (!mm_round(&size) || address + size <= address)
        return -ENOMEM;
    if (prot & ~(uint32_t)(7 | LINUX_PROT_SEM))
        return -EINVAL;
    mutex_lock(&mm->mutex);
    if (grows)
        error = grows == LINUX_PROT_GROWSDOWN ? stack_start(mm->aspace, &address, &size) : -EINVAL;
    if (!error)
        error = aspace_protect(mm->aspace, address, size, prot & 7);
    mutex_unlock(&mm->mutex);
    return error;
}

/* --- madvise ----------------------------------------------------------------------------------------- */

/* What each MADV_ value becomes: an advice to the kernel, or flags set and cleared. */
struct advice_row {
    int32_t value;
    enum aspace_advice advice; /* when no flags */
    uint32_t set, clear;
};

static const struct advice_row advice_rows[] = {
    {0, ADVICE_WILL_NEED, 0, 0},                       /* NORMAL */
    {1, ADVICE_WILL_NEED, 0, 0},                       /* RANDOM */
    {2, ADVICE_WILL_NEED, 0, 0},                       /* SEQUENTIAL */
    {3, ADVICE_WILL_NEED, 0, 0},                       /* WILLNEED */
    {4, ADVICE_DONT_NEED, 0, 0},                       /* DONTNEED */
    {8, ADVICE_FREE, 0, 0},                            /* FREE */
    {9, ADVICE_REMOVE, 0, 0},                          /* REMOVE */
    {10, ADVICE_DONT_FORK, REGION_NO_FORK, 0},         /* DONTFORK */
    {11, ADVICE_DO_FORK, 0, REGION_NO_FORK},           /* DOFORK */
    {12, ADVICE_WILL_NEED, 0, 0},                      /* MERGEABLE: a hint that is not taken */
    {13, ADVICE_WILL_NEED, 0, 0},                      /* UNMERGEABLE */
    {14, ADVICE_HUGE_PAGE, 0, 0},                      /* HUGEPAGE */
    {15, ADVICE_NO_HUGE_PAGE, 0, 0},                   /* NOHUGEPAGE */
    {16, ADVICE_WILL_NEED, REGION_DONT_DUMP, 0},       /* DONTDUMP */
    {17, ADVICE_WILL_NEED, 0, REGION_DONT_DUMP},       /* DODUMP */
    {18, ADVICE_WIPE_ON_FORK, REGION_WIPE_ON_FORK, 0}, /* WIPEONFORK */
    {19, ADVICE_KEEP_ON_FORK, 0, REGION_WIPE_ON_FORK}, /* KEEPONFORK */
    {20, ADVICE_WILL_NEED, 0, 0},                      /* COLD */
    {21, ADVICE_WILL_NEED, 0, 0},                      /* PAGEOUT */
    {22, ADVICE_POPULATE_READ, 0, 0},                  /* POPULATE_READ */
    {23, ADVICE_POPULATE_WRITE, 0, 0},                 /* POPULATE_WRITE */
};

static const struct advice_row *find_advice(int32_t value)
{
    for (size_t i = 0; i < ARRAY_SIZE(advice_rows); i++)
        if (advice_rows[i].value == value)
            return &advice_rows[i];
    return NULL;
}

int64_t sys_madvise(uaddr_t address, uint64_t size, int32_t advice)
{
    const struct advice_row *row = find_advice(advice);
    struct mm *mm = current_mm();
    int error;

    if (advice == 100 || advice == 101) /* HWPOISON, SOFT_OFFLINE */
        return -EPERM;
    if (!row || (address & ~PAGE_MASK) || !mm_round(&size) || address + size < address)
        return -EINVAL;
    if (!size)
        return 0;
    mutex_lock(&mm->mutex);
    if (row->set | row->clear)
        error = aspace_set_flags(mm->aspace, address, size, row->set, row->clear);
    else
        error = aspace_advise(mm->aspace, address, size, row->advice);
    mutex_unlock(&mm->mutex);
    return error;
}

/* --- msync ------------------------------------------------------------------------------------------- */

enum { LINUX_MS_ASYNC = 1, LINUX_MS_INVALIDATE = 2, LINUX_MS_SYNC = 4 };

/* The next region's file to write back at or after *at, referenced, or NULL; *at moves past the region. */
static int next_sync(struct aspace *aspace, uaddr_t *at, uaddr_t end, uint32_t flags, bool *hole, struct file **file)
{
    struct region *region;
    int error = 0;

    *file = NULL;
    mutex_lock(&aspace->mutex);
    region = aspace_find_after_locked(aspace, *at);
    if (!region || region->start >= end) {
        *hole = true;
        *at = end;
    } else {
        *hole |= region->start > *at;
        if ((flags & LINUX_MS_INVALIDATE) && (region->flags & REGION_LOCKED))
            error = -EBUSY;
        if ((flags & LINUX_MS_SYNC) && (region->flags & REGION_SHARED) && region->owner)
            *file = object_ref(region->owner);
        *at = min_u64(region->end, end);
    }
    mutex_unlock(&aspace->mutex);
    return error;
}

int64_t sys_msync(uaddr_t address, uint64_t size, uint32_t flags)
{
    struct aspace *aspace = current_mm()->aspace;
    uaddr_t at = address, end;
    bool hole = false;
    int error = 0;

    if (flags & ~(uint32_t)(LINUX_MS_ASYNC | LINUX_MS_INVALIDATE | LINUX_MS_SYNC))
        return -EINVAL;
    if ((address & ~PAGE_MASK) || ((flags & LINUX_MS_ASYNC) && (flags & LINUX_MS_SYNC)))
        return -EINVAL;
    if (!mm_round(&size) || address + size < address)
        return -ENOMEM;
    end = address + size;
    while (!error && at < end) {
        struct file *file;
        error = next_sync(aspace, &at, end, flags, &hole, &file);
        if (file) {
            if (!error && file->ops->sync)
                error = file->ops->sync(file, true);
            file_unref(file);
        }
    }
    return error ? error : hole ? -ENOMEM : 0;
}

/* --- mincore ----------------------------------------------------------------------------------------- */

#define MINCORE_PAGES 512u

/* Presence of up to MINCORE_PAGES pages from *at on: how many, or -ENOMEM at a hole. */
static int64_t presence(struct aspace *aspace, uaddr_t at, uaddr_t end, uint8_t *pages)
{
    uint32_t count = 0;

    mutex_lock(&aspace->mutex);
    for (; at < end && count < MINCORE_PAGES; at += PAGE_SIZE, count++) {
        struct region *region = aspace_find_locked(aspace, at);
        if (!region)
            break;
        pages[count] = 1;
        if (region->memobj && region->memobj->kind == MEMOBJ_ANONYMOUS && (region->flags & REGION_SHARED))
            pages[count] = body_memobj_present(region->memobj, (region->offset + (at - region->start)) >> PAGE_SHIFT);
    }
    mutex_unlock(&aspace->mutex);
    return count || at >= end ? (int64_t)count : -ENOMEM;
}

int64_t sys_mincore(uaddr_t address, uint64_t size, uaddr_t vector)
{
    struct aspace *aspace = current_mm()->aspace;
    uint8_t pages[MINCORE_PAGES];
    uaddr_t end;

    if (address & ~PAGE_MASK)
        return -EINVAL;
    if (!mm_round(&size) || address + size < address || address + size > aspace->ceiling)
        return -ENOMEM;
    for (end = address + size; address < end;) {
        int64_t count = presence(aspace, address, end, pages);
        if (count < 0)
            return count;
        if (user_write(vector, pages, count))
            return -EFAULT;
        vector += count;
        address += (uint64_t)count << PAGE_SHIFT;
    }
    return 0;
}
