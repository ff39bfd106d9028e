/*
 * mmap, munmap and mremap: Linux's flags and errors over aspace_map, aspace_unmap and aspace_remap.
 *
 * Shared memory always has a memobj: a file's (its map operation gives it), or a new anonymous one.
 * Private memory of files is a private mapping of the file's memobj; private anonymous memory has none.
 */
#include "abi/linux/mm_internal.h"
#include "abi/linux/process_life.h"

/* What MAP_SHARED_VALIDATE accepts: the flags from before it, as Linux has them. */
#define MAP_FLAGS_KNOWN                                                                                                \
    (LINUX_MAP_TYPE | LINUX_MAP_FIXED | LINUX_MAP_ANONYMOUS | LINUX_MAP_32BIT | LINUX_MAP_GROWSDOWN |                  \
     LINUX_MAP_DENYWRITE | LINUX_MAP_EXECUTABLE | LINUX_MAP_LOCKED | LINUX_MAP_NORESERVE | LINUX_MAP_POPULATE |        \
     LINUX_MAP_NONBLOCK | LINUX_MAP_STACK | LINUX_MAP_HUGETLB | LINUX_MAP_ABOVE_4G | LINUX_MAP_UNINITIALIZED |         \
     LINUX_MAP_HUGE_SIZES)

/* --- decoding ---------------------------------------------------------------------------------------- */

static int check_file(struct file *file, uint32_t prot, uint32_t flags)
{
    uint32_t type = flags & LINUX_MAP_TYPE;

    if (type == LINUX_MAP_SHARED_VALIDATE && (flags & ~(uint32_t)MAP_FLAGS_KNOWN))
        return -EOPNOTSUPP;
    if (flags & LINUX_MAP_HUGETLB)
        return -EINVAL;
    if (type != LINUX_MAP_PRIVATE && (prot & PROT_WRITE_BIT) && !file_writable(file))
        return -EACCES;
    if (!file_readable(file))
        return -EACCES;
    if (!file->ops->map)
        return -ENODEV;
    return flags & LINUX_MAP_GROWSDOWN ? -EINVAL : 0;
}

/* The request for a file: takes a reference on the memobj, and keeps the file as owner. */
static int request_file(struct aspace_map_request *request, struct file *file, uint32_t flags)
{
    bool shared = (flags & LINUX_MAP_TYPE) != LINUX_MAP_PRIVATE;
    int error = check_file(file, request->prot, flags);

    if (error)
        return error;
    if (shared)
        request->flags |= REGION_SHARED;
    if (!shared || file_writable(file))
        request->flags |= REGION_MAY_WRITE;
    request->owner = &file->object;
    return file->ops->map(file, request->prot, shared, &request->memobj);
}

static int request_anonymous(struct aspace_map_request *request, uint32_t flags)
{
    request->flags |= REGION_MAY_WRITE;
    request->offset = 0;
    if (flags & LINUX_MAP_HUGETLB)
        return -ENOMEM; /* as a Linux with no huge pages set aside */
    switch (flags & LINUX_MAP_TYPE) {
    case LINUX_MAP_PRIVATE:
        if (flags & LINUX_MAP_GROWSDOWN)
            request->flags |= REGION_GROWS_DOWN;
        return 0;
    case LINUX_MAP_SHARED:
        if (flags & LINUX_MAP_GROWSDOWN)
            return -EINVAL;
        request->flags |= REGION_SHARED;
        request->name = "/dev/zero (deleted)";
        request->memobj = memobj_create(request->size);
        return request->memobj ? 0 : -ENOMEM;
    default:
        return -EINVAL;
    }
}

static uint32_t placement_flags(uint32_t flags)
{
    uint32_t result = 0;

    if (flags & LINUX_MAP_FIXED_NOREPLACE)
        result |= ASPACE_FIXED_NOREPLACE;
    else if (flags & LINUX_MAP_FIXED)
        result |= ASPACE_FIXED;
    if ((flags & LINUX_MAP_NORESERVE) && !system_memory_limit()) /* a limit counts all, as Linux's strict overcommit does */
        result |= REGION_NO_RESERVE;
    if (flags & LINUX_MAP_32BIT)
        result |= ASPACE_BELOW_2G;
    if ((flags & (LINUX_MAP_POPULATE | LINUX_MAP_NONBLOCK)) == LINUX_MAP_POPULATE)
        result |= ASPACE_POPULATE;
    return result;
}

/* --- mmap -------------------------------------------------------------------------------------------- */

/* MAP_LOCKED and mlockall(MCL_FUTURE). */
static int request_lock(struct mm *mm, const struct mm_limits *limits, struct aspace_map_request *request, uint32_t flags)
{
    if (!(flags & LINUX_MAP_LOCKED) && !(mm->lock_future & LINUX_MCL_FUTURE))
        return 0;
    if ((flags & LINUX_MAP_LOCKED) && !limits->locked && !limits->privileged)
        return -EPERM;
    if (!mm_may_lock(mm, limits, request->size))
        return -EAGAIN;
    request->flags |= REGION_LOCKED;
    if ((flags & LINUX_MAP_LOCKED) || !(mm->lock_future & LINUX_MCL_ONFAULT))
        request->flags |= ASPACE_POPULATE;
    return 0;
}

static int map_request(struct mm *mm, struct aspace_map_request *request, uint32_t flags, uaddr_t *address)
{
    bool data = (request->prot & PROT_WRITE_BIT) && !(request->flags & (REGION_SHARED | REGION_GROWS_DOWN));
    struct mm_limits limits = mm_limits_read();
    uint64_t freed = 0;
    int error;

    mutex_lock(&mm->mutex);
    error = request_lock(mm, &limits, request, flags);
    if (!error && (request->flags & ASPACE_FIXED))
        freed = aspace_mapped_in(mm->aspace, request->address, request->size);
    if (!error && !mm_may_expand(mm, &limits, request->size, freed, data))
        error = -ENOMEM;
    if (!error)
        error = aspace_map(mm->aspace, request, address);
    mutex_unlock(&mm->mutex);
    return error;
}

int mm_map_request(struct aspace_map_request *request, uaddr_t *address) { return map_request(current_mm(), request, 0, address); }

static int check_place(const struct aspace_map_request *request, uint32_t flags)
{
    uint32_t type = flags & LINUX_MAP_TYPE;

    if ((flags & (LINUX_MAP_FIXED | LINUX_MAP_FIXED_NOREPLACE)) && (request->address & ~PAGE_MASK))
        return -EINVAL;
    return type < LINUX_MAP_SHARED || type > LINUX_MAP_SHARED_VALIDATE ? -EINVAL : 0;
}

int64_t sys_mmap(uaddr_t address, uint64_t size, uint32_t prot, uint32_t flags, int32_t fd, int64_t offset)
{
    struct aspace_map_request request = {.address = address, .size = size, .prot = prot & 7, .offset = (uint64_t)offset};
    struct file *file = NULL;
    int error = 0;

    if (request.offset & ~PAGE_MASK)
        return -EINVAL;
    if (!(flags & LINUX_MAP_ANONYMOUS))
        error = fd_get(fd, &file);
    if (error)
        return error;
    if (!size)
        error = -EINVAL;
    else if (!mm_round(&request.size) || !request.size || request.size > ((uint64_t)1 << 47))
        error = -ENOMEM;
    else if (request.offset + request.size < request.offset)
        error = -EOVERFLOW;
    else
        error = check_place(&request, flags);
    request.flags = placement_flags(flags);
    if (!(flags & (LINUX_MAP_FIXED | LINUX_MAP_FIXED_NOREPLACE)))
        request.address = round_down(address, PAGE_SIZE);
    if (!error)
        error = file ? request_file(&request, file, flags) : request_anonymous(&request, flags);
    if (!error)
        error = map_request(current_mm(), &request, flags, &address);
    object_unref(request.memobj);
    if (file)
        file_unref(file);
    return error ? error : (int64_t)address;
}

/* --- munmap ------------------------------------------------------------------------------------------ */

int64_t sys_munmap(uaddr_t address, uint64_t size)
{
    struct mm *mm = current_mm();
    int error;

    if ((address & ~PAGE_MASK) || !size || !mm_round(&size))
        return -EINVAL;
    mutex_lock(&mm->mutex);
    error = aspace_unmap(mm->aspace, address, size);
    mutex_unlock(&mm->mutex);
    return error;
}

/* --- mremap ------------------------------------------------------------------------------------------ */

enum { LINUX_MREMAP_MAYMOVE = 1, LINUX_MREMAP_FIXED = 2, LINUX_MREMAP_DONTUNMAP = 4 };

static int check_remap(uaddr_t address, uint64_t old_size, uint64_t new_size, uint32_t flags, uaddr_t new_address)
{
    if (flags & ~(uint32_t)(LINUX_MREMAP_MAYMOVE | LINUX_MREMAP_FIXED | LINUX_MREMAP_DONTUNMAP))
        return -EINVAL;
    if ((flags & (LINUX_MREMAP_FIXED | LINUX_MREMAP_DONTUNMAP)) && !(flags & LINUX_MREMAP_MAYMOVE))
        return -EINVAL;
    if ((flags & LINUX_MREMAP_DONTUNMAP) && old_size != new_size)
        return -EINVAL;
    if ((address & ~PAGE_MASK) || !new_size)
        return -EINVAL;
    return (flags & (LINUX_MREMAP_FIXED | LINUX_MREMAP_DONTUNMAP)) && (new_address & ~PAGE_MASK) ? -EINVAL : 0;
}

/* The limits for what is added. -EFAULT when nothing is there. */
static int check_growth(struct mm *mm, const struct mm_limits *limits, uaddr_t address, uint64_t added)
{
    struct region *region;
    bool data = false, locked = false, found;

    mutex_lock(&mm->aspace->mutex);
    region = aspace_find_locked(mm->aspace, address);
    found = region;
    if (region) {
        data = (region->prot & PROT_WRITE_BIT) && !(region->flags & (REGION_SHARED | REGION_STACK | REGION_GROWS_DOWN));
        locked = region->flags & REGION_LOCKED;
    }
    mutex_unlock(&mm->aspace->mutex);
    if (!found)
        return -EFAULT;
    if (locked && !mm_may_lock(mm, limits, added))
        return -EAGAIN;
    return mm_may_expand(mm, limits, added, 0, data) ? 0 : -ENOMEM;
}

int64_t sys_mremap(uaddr_t address, uint64_t old_size, uint64_t new_size, uint32_t flags, uaddr_t new_address)
{
    struct mm *mm = current_mm();
    struct mm_limits limits = mm_limits_read();
    bool keep_old = flags & LINUX_MREMAP_DONTUNMAP;
    uaddr_t result = address;
    int error = check_remap(address, old_size, new_size, flags, new_address);

    if (error)
        return error;
    if (!mm_round(&old_size) || !mm_round(&new_size))
        return -EINVAL;
    mutex_lock(&mm->mutex);
    if (new_size > old_size || keep_old)
        error = check_growth(mm, &limits, address, keep_old ? new_size : new_size - old_size);
    if (!error)
        error = aspace_remap(mm->aspace, address, old_size, new_size, flags & LINUX_MREMAP_MAYMOVE, flags & LINUX_MREMAP_FIXED,
                             keep_old, new_address, &result);
    mutex_unlock(&mm->mutex);
    return error ? error : (int64_t)result;
}
