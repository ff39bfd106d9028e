/*
 * stat and its kind, access, statfs: what is known about a file.
 *
 * A name may lead, through /proc/PID/fd, to a file that has no name; then the open file answers.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { AT_SYMLINK_NOFOLLOW = 0x100, AT_EACCESS = 0x200, AT_NO_AUTOMOUNT = 0x800, AT_EMPTY_PATH = 0x1000, AT_STATX_SYNC_TYPE = 0x6000 };

static int stat_of_node(struct node *node, struct linux_stat_data *data) { return node->ops->get_attr(node, data); }

/* An empty name with AT_EMPTY_PATH, the quick way: the descriptor itself. */
static int stat_descriptor(int fd, struct linux_stat_data *data)
{
    struct file *file;
    int error = fd_get_any(fd, &file);

    if (error)
        return error;
    error = file_stat(file, data);
    file_unref(file);
    return error;
}

static int stat_named(int dfd, const char *name, uint32_t flags, struct linux_stat_data *data)
{
    uint32_t walk_flags = (flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
    struct path *path;
    struct file *file;
    int error;

    memset(data, 0, sizeof(*data));
    if (!*name && (flags & AT_EMPTY_PATH) && dfd != LINUX_AT_FDCWD)
        return stat_descriptor(dfd, data);
    error = path_walk_any(dfd, name, walk_flags, NULL, &path, &file);
    if (error)
        return error;
    error = path ? stat_of_node(path->node, data) : file_stat(file, data);
    path_unref(path);
    object_unref(file);
    return error;
}

static void stat_fill(struct linux_stat *stat, const struct linux_stat_data *data)
{
    memset(stat, 0, sizeof(*stat));
    stat->device = data->device;
    stat->inode = data->inode;
    stat->link_count = data->link_count;
    stat->mode = data->mode;
    stat->uid = data->uid;
    stat->gid = data->gid;
    stat->rdev = data->rdev;
    stat->size = (int64_t)data->size;
    stat->block_size = data->block_size;
    stat->blocks = (int64_t)data->blocks;
    stat->access_seconds = (uint64_t)data->access.seconds;
    stat->access_nanoseconds = data->access.nanoseconds;
    stat->modify_seconds = (uint64_t)data->modify.seconds;
    stat->modify_nanoseconds = data->modify.nanoseconds;
    stat->change_seconds = (uint64_t)data->change.seconds;
    stat->change_nanoseconds = data->change.nanoseconds;
}

int64_t sys_newfstatat(int32_t dfd, const char *name, struct linux_stat *stat, uint32_t flags)
{
    struct linux_stat_data data;
    int error;

    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
        return -EINVAL;
    error = stat_named(dfd, name, flags, &data);
    if (!error)
        stat_fill(stat, &data);
    return error;
}

int64_t sys_stat(const char *name, struct linux_stat *stat) { return sys_newfstatat(LINUX_AT_FDCWD, name, stat, 0); }

int64_t sys_lstat(const char *name, struct linux_stat *stat)
{
    return sys_newfstatat(LINUX_AT_FDCWD, name, stat, AT_SYMLINK_NOFOLLOW);
}

int64_t sys_fstat(int32_t fd, struct linux_stat *stat)
{
    struct linux_stat_data data = {.device = 0};
    int error = stat_descriptor(fd, &data);

    if (!error)
        stat_fill(stat, &data);
    return error;
}

/* --- statx ------------------------------------------------------------------------------------------- */

enum { STATX_BASIC_STATS = 0x7ff, STATX_BTIME = 0x800, STATX_MNT_ID = 0x1000, STATX_RESERVED = (int)0x80000000 };

static uint32_t device_major(uint64_t device) { return (uint32_t)((device >> 8 & 0xfff) | (device >> 32 & ~(uint64_t)0xfff)); }
static uint32_t device_minor(uint64_t device) { return (uint32_t)((device & 0xff) | (device >> 12 & ~(uint64_t)0xff)); }

static struct linux_statx_timestamp statx_time(struct file_time time)
{
    return (struct linux_statx_timestamp){.seconds = time.seconds, .nanoseconds = time.nanoseconds};
}

static void statx_fill(struct linux_statx *statx, const struct linux_stat_data *data)
{
    memset(statx, 0, sizeof(*statx));
    statx->mask = STATX_BASIC_STATS | (data->has_birth ? STATX_BTIME : 0);
    statx->block_size = data->block_size;
    statx->link_count = (uint32_t)data->link_count;
    statx->uid = data->uid;
    statx->gid = data->gid;
    statx->mode = (uint16_t)data->mode;
    statx->inode = data->inode;
    statx->size = data->size;
    statx->blocks = data->blocks;
    statx->access = statx_time(data->access);
    statx->modify = statx_time(data->modify);
    statx->change = statx_time(data->change);
    if (data->has_birth)
        statx->birth = statx_time(data->birth);
    statx->rdev_major = device_major(data->rdev);
    statx->rdev_minor = device_minor(data->rdev);
    statx->device_major = device_major(data->device);
    statx->device_minor = device_minor(data->device);
}

int64_t sys_statx(int32_t dfd, const char *name, uint32_t flags, uint32_t mask, struct linux_statx *statx)
{
    uint32_t known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    struct linux_stat_data data;
    int error;

    if ((mask & (uint32_t)STATX_RESERVED) || (flags & ~known) || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
        return -EINVAL;
    error = stat_named(dfd, name, flags, &data);
    if (!error)
        statx_fill(statx, &data);
    return error;
}

/* --- access ------------------------------------------------------------------------------------------ */

/* access(2) asks for the real ids: credentials of their own, of which the caller keeps the groups. */
static const struct cred *real_cred(const struct cred *cred, struct cred *real)
{
    if (cred->uid == cred->fsuid && cred->gid == cred->fsgid && (cred->uid || cred->cap_effective == cred->cap_permitted) &&
        (!cred->uid || !cred->cap_effective))
        return cred;
    *real = *cred;
    real->fsuid = cred->uid;
    real->fsgid = cred->gid;
    real->cap_effective = cred->uid ? 0 : cred->cap_permitted;
    return real;
}

static int access_path(struct path *path, uint32_t mode, const struct cred *cred)
{
    bool changes = path->type == LINUX_S_IFREG || path->type == LINUX_S_IFDIR || path->type == LINUX_S_IFLNK;
    int error;

    if ((mode & MAY_EXECUTE) && path->type == LINUX_S_IFREG && path->mount && (path->mount->flags & MOUNT_NO_EXEC))
        return -EACCES;
    error = node_permission_for(path->node, mode, cred);
    if (!error && (mode & MAY_WRITE) && changes)
        error = path_writable(path);
    return error ? error : node_access(path->node, mode);
}

int64_t sys_faccessat2(int32_t dfd, const char *name, uint32_t mode, uint32_t flags)
{
    const struct cred *cred = current_cred();
    struct cred real;
    struct path *path;
    struct file *file;
    int error;

    if ((mode & ~7u) || (flags & ~(uint32_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
        return -EINVAL;
    if (!(flags & AT_EACCESS))
        cred = real_cred(cred, &real);
    error = path_walk_any(dfd, name,
                          (flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0), cred, &path,
                          &file);
    if (error)
        return error;
    if (path)
        error = access_path(path, mode, cred);
    path_unref(path);
    object_unref(file);
    return error;
}

int64_t sys_faccessat(int32_t dfd, const char *name, uint32_t mode) { return sys_faccessat2(dfd, name, mode, 0); }
int64_t sys_access(const char *name, uint32_t mode) { return sys_faccessat2(LINUX_AT_FDCWD, name, mode, 0); }

/* --- statfs ------------------------------------------------------------------------------------------ */

enum { ST_RDONLY = 1, ST_VALID = 0x20 };

static int statfs_fill(struct fs *fs, const struct mount *mount, struct linux_statfs *statfs)
{
    struct linux_statfs_data data = {.type = 0};
    int error = fs && fs->ops->stat_fs ? fs->ops->stat_fs(fs, &data) : -ENOSYS;

    if (error)
        return error;
    memset(statfs, 0, sizeof(*statfs));
    statfs->type = (int64_t)data.type;
    statfs->block_size = statfs->fragment_size = (int64_t)data.block_size;
    statfs->blocks = data.blocks;
    statfs->blocks_free = data.blocks_free;
    statfs->blocks_available = data.blocks_available;
    statfs->files = data.files;
    statfs->files_free = data.files_free;
    statfs->fsid[0] = (int32_t)data.fsid;
    statfs->fsid[1] = (int32_t)(data.fsid >> 32);
    statfs->name_length = (int64_t)data.name_length;
    statfs->flags = (int64_t)(data.flags | ST_VALID | (fs->read_only ? ST_RDONLY : 0) | (mount ? mount->flags & 15 : 0));
    return 0;
}

/* Pipes, sockets and their kind live in file systems of their own that only statfs ever sees. */
static int statfs_anonymous(struct file *file, struct linux_statfs *statfs)
{
    memset(statfs, 0, sizeof(*statfs));
    statfs->type = !strcmp(file->ops->kind, "pipe") ? 0x50495045 : !strcmp(file->ops->kind, "socket") ? 0x534f434b : 0x09041934;
    statfs->block_size = statfs->fragment_size = PAGE_SIZE;
    statfs->name_length = NAME_LENGTH_MAX;
    statfs->flags = ST_VALID;
    return 0;
}

static int statfs_file(struct file *file, struct linux_statfs *statfs)
{
    if (!file->node)
        return statfs_anonymous(file, statfs);
    return statfs_fill(file->node->fs, file->path ? file->path->mount : NULL, statfs);
}

int64_t sys_statfs(const char *name, struct linux_statfs *statfs)
{
    struct path *path;
    struct file *file;
    int error = path_walk_any(LINUX_AT_FDCWD, name, 0, NULL, &path, &file);

    if (error)
        return error;
    error = path ? statfs_fill(path->node->fs, path->mount, statfs) : statfs_file(file, statfs);
    path_unref(path);
    object_unref(file);
    return error;
}

int64_t sys_fstatfs(int32_t fd, struct linux_statfs *statfs)
{
    struct file *file;
    int error = fd_get_any(fd, &file);

    if (error)
        return error;
    error = statfs_file(file, statfs);
    file_unref(file);
    return error;
}
