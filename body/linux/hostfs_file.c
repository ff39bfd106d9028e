/*
 * Host calls of the host file system, and struct host_file.
 *
 * Every host call is first made in a form that cannot block (RESOLVE_CACHED, RWF_NOWAIT) and handed to the
 * blocking pool when the host would have to wait. Errors come back as negative codes at once: errno is
 * thread-local, and a microthread may wake up on another host thread.
 */
#include "body/linux/host_file.h"

#include "body/linux/host.h"
#include "body/linux/hostfs.h"
#include "kernel/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

struct raw_call {
    long number;
    uint64_t arguments[6];
};

static NOINLINE int64_t raw_call_run(void *argument)
{
    const struct raw_call *call = argument;
    const uint64_t *a = call->arguments;
    long result;
    do {
        result = syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

int64_t host_raw(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    struct raw_call call = {number, {a, b, c, d, e, f}};
    return raw_call_run(&call);
}

int64_t host_raw_pooled(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    struct raw_call call = {number, {a, b, c, d, e, f}};
    return host_call(raw_call_run, &call);
}

int host_open_beneath(int directory, const char *name, uint64_t flags, uint32_t mode)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC | O_NOFOLLOW,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    };
    if (!(flags & (O_CREAT | O_TRUNC))) {
        how.resolve |= RESOLVE_CACHED;
        int64_t fd = host_raw(SYS_openat2, directory, (uintptr_t)name, (uintptr_t)&how, sizeof how, 0, 0);
        if (fd != -EAGAIN)
            return (int)fd;
        how.resolve &= ~(uint64_t)RESOLVE_CACHED;
    }
    return (int)host_raw_pooled(SYS_openat2, directory, (uintptr_t)name, (uintptr_t)&how, sizeof how, 0, 0);
}

int host_statx(int fd, struct statx *stat)
{
    return (int)host_raw(SYS_statx, fd, (uintptr_t) "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
                         STATX_BASIC_STATS | STATX_BTIME, (uintptr_t)stat, 0);
}

struct host_file *host_file_create(int fd, int write_fd)
{
    struct host_file *file = kzalloc(sizeof *file);
    if (!file) {
        close(fd);
        if (write_fd >= 0)
            close(write_fd);
        return NULL;
    }
    atomic32_store_relaxed(&file->references, 1);
    file->fd = fd;
    file->write_fd = write_fd;
    return file;
}

struct host_file *host_file_ref(struct host_file *file)
{
    atomic32_add(&file->references, 1);
    return file;
}

void host_file_unref(struct host_file *file)
{
    if (!file || atomic32_sub(&file->references, 1) != 1)
        return;
    close(file->fd);
    if (file->write_fd >= 0)
        close(file->write_fd);
    kfree(file);
}

#define TMPFS_MAGIC_NUMBER 0x01021994
#define RAMFS_MAGIC_NUMBER 0x858458f6

/* File systems in memory know no RWF_NOWAIT, but their calls do not wait for a device either. */
static bool lives_in_memory(int fd)
{
    struct statfs fs;
    if (host_raw(SYS_fstatfs, fd, (uintptr_t)&fs, 0, 0, 0, 0) < 0)
        return false;
    return fs.f_type == TMPFS_MAGIC_NUMBER || (uint32_t)fs.f_type == RAMFS_MAGIC_NUMBER;
}

static int64_t transfer(long number, int fd, const struct iovec *vector, uint64_t offset, int flags)
{
    int64_t result = host_raw(number, fd, (uintptr_t)vector, 1, offset, 0, (uint64_t)(flags | RWF_NOWAIT));
    if (result != -EAGAIN && result != -EOPNOTSUPP)
        return result;
    bool small = number == SYS_pwritev2 && vector->iov_len <= HOST_WRITE_DIRECT_MAX;
    if (result == -EOPNOTSUPP && (small || lives_in_memory(fd)))
        return host_raw(number, fd, (uintptr_t)vector, 1, offset, 0, (uint64_t)flags);
    return host_raw_pooled(number, fd, (uintptr_t)vector, 1, offset, 0, (uint64_t)flags);
}

int64_t host_file_read(struct host_file *file, void *buffer, uint64_t offset, size_t size)
{
    size_t done = 0;
    while (done < size) {
        struct iovec vector = {(char *)buffer + done, size - done};
        int64_t moved = transfer(SYS_preadv2, file->fd, &vector, offset + done, 0);
        if (moved < 0 && !done)
            return moved;
        if (moved <= 0)
            break;
        done += (size_t)moved;
    }
    return (int64_t)done;
}

int64_t host_file_write(struct host_file *file, const void *buffer, uint64_t offset, size_t size)
{
    if (file->write_fd < 0)
        return -EROFS;
    size_t done = 0;
    while (done < size) {
        struct iovec vector = {(char *)(uintptr_t)buffer + done, size - done};
        int64_t moved = transfer(SYS_pwritev2, file->write_fd, &vector, offset + done, 0);
        if (moved < 0 && !done)
            return moved;
        if (moved <= 0)
            break;
        done += (size_t)moved;
    }
    return (int64_t)done;
}
