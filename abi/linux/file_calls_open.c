/*
 * open and close: descriptors from names. The descriptor is reserved before the file is opened (or made), so a full
 * table makes nothing.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"

enum { OPEN_FLAGS_KNOWN = LINUX_O_ACCMODE | LINUX_O_CREAT | LINUX_O_EXCL | LINUX_O_NOCTTY | LINUX_O_TRUNC | LINUX_O_APPEND |
                          LINUX_O_NONBLOCK | LINUX_O_SYNC | LINUX_O_ASYNC | LINUX_O_DIRECT | LINUX_O_LARGEFILE | LINUX_O_NOFOLLOW |
                          LINUX_O_NOATIME | LINUX_O_CLOEXEC | LINUX_O_PATH | LINUX_O_TMPFILE };

static int64_t open_request(int dfd, const char *name, const struct open_request *request)
{
    struct file *file;
    int error, fd = fd_reserve(0, request->flags);

    if (fd < 0)
        return fd;
    error = vfs_open_request(dfd, name, request, &file);
    if (error) {
        fd_cancel(fd);
        return error;
    }
    fd_commit(fd, file);
    return fd;
}

int64_t sys_openat(int32_t dfd, const char *name, uint32_t flags, uint32_t mode)
{
    struct open_request request = {.flags = flags & OPEN_FLAGS_KNOWN, .mode = mode & 07777};

    if ((flags & 020000000) && (flags & LINUX_O_TMPFILE) != LINUX_O_TMPFILE)
        return -EINVAL;
    return open_request(dfd, name, &request);
}

int64_t sys_open(const char *name, uint32_t flags, uint32_t mode) { return sys_openat(LINUX_AT_FDCWD, name, flags, mode); }

int64_t sys_creat(const char *name, uint32_t mode)
{
    return sys_openat(LINUX_AT_FDCWD, name, LINUX_O_CREAT | LINUX_O_WRONLY | LINUX_O_TRUNC, mode);
}

/* openat2 refuses what open ignores. */
static int how_check(const struct linux_open_how *how)
{
    uint64_t resolve_known = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT |
                             RESOLVE_CACHED;
    bool makes = (how->flags & LINUX_O_CREAT) || (how->flags & LINUX_O_TMPFILE) == LINUX_O_TMPFILE;

    if ((how->flags & ~(uint64_t)OPEN_FLAGS_KNOWN) || (how->resolve & ~resolve_known) || (how->mode & ~(uint64_t)07777))
        return -EINVAL;
    if (how->mode && !makes)
        return -EINVAL;
    if ((how->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) == (RESOLVE_BENEATH | RESOLVE_IN_ROOT))
        return -EINVAL;
    if ((how->flags & LINUX_O_PATH) &&
        (how->flags & ~(uint64_t)(LINUX_O_PATH | LINUX_O_DIRECTORY | LINUX_O_NOFOLLOW | LINUX_O_CLOEXEC)))
        return -EINVAL;
    return 0;
}

/* A structure that grows: what this kernel does not know of it must be zero. */
static int how_copy(struct linux_open_how *how, uaddr_t from, uint64_t size)
{
    uint8_t tail[64];

    if (size < sizeof(*how))
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (user_read(how, from, sizeof(*how)))
        return -EFAULT;
    for (uint64_t at = sizeof(*how); at < size;) {
        uint64_t part = min_u64(size - at, sizeof(tail));
        if (user_read(tail, from + at, part))
            return -EFAULT;
        for (uint64_t i = 0; i < part; i++)
            if (tail[i])
                return -E2BIG;
        at += part;
    }
    return 0;
}

int64_t sys_openat2(int32_t dfd, const char *name, uaddr_t how_address, uint64_t size)
{
    struct linux_open_how how;
    int error = how_copy(&how, how_address, size);

    if (!error)
        error = how_check(&how);
    if (error)
        return error;
    struct open_request request = {.flags = (uint32_t)how.flags, .mode = (uint32_t)how.mode, .resolve = (uint32_t)how.resolve};
    return open_request(dfd, name, &request);
}

int64_t sys_close(int32_t fd) { return fd_close(fd); }

enum { CLOSE_RANGE_UNSHARE = 2, CLOSE_RANGE_CLOEXEC = 4 };

int64_t sys_close_range(uint32_t first, uint32_t last, uint32_t flags)
{
    int error = 0;

    if ((flags & ~(uint32_t)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || first > last)
        return -EINVAL;
    if (flags & CLOSE_RANGE_UNSHARE)
        error = fdtable_unshare(current_process());
    if (error)
        return error;
    if (flags & CLOSE_RANGE_CLOEXEC)
        fd_cloexec_range(first, last);
    else
        fd_close_range(first, last);
    return 0;
}
