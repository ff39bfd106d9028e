/*
 * sync and its kind, and mounting.
 *
 * Mounting takes CAP_SYS_ADMIN, as on Linux, and offers the file systems that need no device: tmpfs and proc. A bind
 * mount would show one file under two paths whose cached names know nothing of each other, so it is refused.
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

/* --- mounting ---------------------------------------------------------------------------------------- */

enum { MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_REMOUNT = 32, MS_BIND = 4096, MS_MOVE = 8192,
       MS_PROPAGATION = 0x1e0000 };
enum { MNT_FORCE = 1, MNT_DETACH = 2, MNT_EXPIRE = 4, UMOUNT_NOFOLLOW = 8 };

static int fs_of_type(const char *type, struct fs **fs)
{
    if (!strcmp(type, "tmpfs") || !strcmp(type, "ramfs"))
        *fs = memfs_create();
    else if (!strcmp(type, "proc"))
        *fs = procfs_create();
    else
        return -ENODEV;
    return *fs ? 0 : -ENOMEM;
}

static int mount_new(struct path *path, const char *source, const char *type, uint32_t flags)
{
    struct fs *fs;
    int error = fs_of_type(type, &fs);

    if (error)
        return error;
    error = mount_on(path, fs, flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC), source);
    if (error)
        object_unref(fs);
    return error;
}

int64_t sys_mount(const char *source, const char *target, const char *type, uint64_t flags, uaddr_t data)
{
    struct path *path;
    int error;

    (void)data;
    if (!capable(LINUX_CAP_SYS_ADMIN))
        return -EPERM;
    error = path_walk(LINUX_AT_FDCWD, target, 0, &path);
    if (error)
        return error;
    if (flags & (MS_BIND | MS_MOVE))
        error = -EPERM;
    else if (flags & MS_REMOUNT)
        error = mount_change(path, (uint32_t)flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC));
    else if (flags & MS_PROPAGATION)
        error = path->mount && path->mount->root == path ? 0 : -EINVAL;
    else
        error = type ? mount_new(path, source, type, (uint32_t)flags) : -EINVAL;
    path_unref(path);
    return error;
}

int64_t sys_umount2(const char *name, uint32_t flags)
{
    struct path *path;
    int error;

    if (flags & ~(uint32_t)(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW))
        return -EINVAL;
    if (!capable(LINUX_CAP_SYS_ADMIN))
        return -EPERM;
    error = path_walk(LINUX_AT_FDCWD, name, flags & UMOUNT_NOFOLLOW ? WALK_NOFOLLOW : 0, &path);
    if (error)
        return error;
    error = mount_remove(path, flags & MNT_DETACH);
    path_unref(path);
    return error;
}

int64_t sys_pivot_root(const char *new_root, const char *put_old)
{
    (void)new_root, (void)put_old;
    return -EPERM;
}
