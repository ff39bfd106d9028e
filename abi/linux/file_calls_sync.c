/*
 * sync and its kind.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/string.h"

static int64_t sync_file(int fd, bool data_only)
{
    struct file *file;
    int64_t error = fd_get(fd, &file);

    if (error)
        return error;
    error = file->ops->sync ? file->ops->sync(file, data_only) : -EINVAL;
    file_unref(file);
    return error;
}

int64_t sys_fsync(int32_t fd) { return sync_file(fd, false); }
int64_t sys_fdatasync(int32_t fd) { return sync_file(fd, true); }

int64_t sys_syncfs(int32_t fd)
{
    struct file *file;
    int64_t error = fd_get(fd, &file);

    if (error)
        return error;
    if (file->node && file->node->fs->ops->sync_fs)
        error = file->node->fs->ops->sync_fs(file->node->fs);
    file_unref(file);
    return error;
}

int64_t sys_sync(void)
{
    mounts_sync();
    return 0;
}

int64_t sys_sync_file_range(int32_t fd, int64_t offset, int64_t size, uint32_t flags)
{
    struct file *file;
    int64_t error = fd_get(fd, &file);

    if (error)
        return error;
    if ((flags & ~7u) || offset < 0 || size < 0 || offset > INT64_MAX - size)
        error = -EINVAL;
    else if (!file->node || ((file->node->mode & LINUX_S_IFMT) != LINUX_S_IFREG && (file->node->mode & LINUX_S_IFMT) != LINUX_S_IFDIR))
        error = -ESPIPE;
    else if (file->ops->sync)
        error = file->ops->sync(file, true);
    file_unref(file);
    return error;
}
