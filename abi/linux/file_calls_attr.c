/*
 * Changing what a file is: mode, owner, times, size, space.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"

enum { AT_SYMLINK_NOFOLLOW = 0x100, AT_EMPTY_PATH = 0x1000 };

/* The node a name or a descriptor stands for, with the path when it has one. */
struct target {
    struct path *path;
    struct file *file;
    struct node *node; /* borrowed from one of the others */
};

static void target_done(struct target *target)
{
    path_unref(target->path);
    object_unref(target->file);
}

static int target_named(struct target *target, int dfd, const char *name, uint32_t at_flags)
{
    uint32_t flags = (at_flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0) | (at_flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
    int error = path_walk_any(dfd, name, flags, NULL, &target->path, &target->file);

    if (error)
        return error;
    target->node = target->path ? target->path->node : target->file->node;
    if (target->node)
        return 0;
    target_done(target);
    return -EPERM;
}

static int target_descriptor(struct target *target, int fd)
{
    int error = fd_get(fd, &target->file);

    if (error)
        return error;
    target->path = target->file->path ? path_ref(target->file->path) : NULL;
    target->node = target->file->node;
    if (target->node)
        return 0;
    target_done(target);
    return -EPERM;
}

static int target_writable(const struct target *target) { return target->path ? path_writable(target->path) : 0; }

/* Both times are attributes; one alone is what a read or a write would have changed. */
static uint32_t events_of(uint32_t valid)
{
    uint32_t times = valid & (ATTR_ATIME | ATTR_MTIME);
    uint32_t events = valid & (ATTR_MODE | ATTR_UID | ATTR_GID) ? NOTIFY_ATTRIB : 0;

    if (times == ATTR_ATIME)
        return events | NOTIFY_ACCESS;
    return events | (times == ATTR_MTIME ? NOTIFY_MODIFY : times ? NOTIFY_ATTRIB : 0);
}

static int target_change(struct target *target, const struct node_attr *attr)
{
    int error = node_set_attr(target->node, attr);

    if (!error)
        notify_path(target->path, events_of(attr->valid));
    return error;
}

/* --- mode -------------------------------------------------------------------------------------------- */

static int mode_change(struct target *target, uint32_t mode)
{
    struct node_attr attr = {.valid = ATTR_MODE, .mode = mode & 07777};
    const struct cred *cred = current_cred();
    struct node_owner owner;
    int error = target_writable(target);

    if (!error)
        error = node_owner(target->node, &owner);
    if (error)
        return error;
    if (!node_owned_by_caller(target->node))
        return -EPERM;
    if (!node_decides(target->node) && !cred_in_group(cred, owner.gid) && !capable(LINUX_CAP_FSETID))
        attr.mode &= ~(uint32_t)LINUX_S_ISGID;
    if ((target->node->mode & LINUX_S_IFMT) == LINUX_S_IFLNK)
        return -EOPNOTSUPP;
    return target_change(target, &attr);
}

int64_t sys_fchmodat2(int32_t dfd, const char *name, uint32_t mode, uint32_t flags)
{
    struct target target;
    int error;

    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    error = target_named(&target, dfd, name, flags);
    if (error)
        return error;
    error = mode_change(&target, mode);
    target_done(&target);
    return error;
}

int64_t sys_fchmodat(int32_t dfd, const char *name, uint32_t mode) { return sys_fchmodat2(dfd, name, mode, 0); }
int64_t sys_chmod(const char *name, uint32_t mode) { return sys_fchmodat2(LINUX_AT_FDCWD, name, mode, 0); }

int64_t sys_fchmod(int32_t fd, uint32_t mode)
{
    struct target target;
    int error = target_descriptor(&target, fd);

    if (error)
        return error;
    error = mode_change(&target, mode);
    target_done(&target);
    return error;
}

/* --- owner ------------------------------------------------------------------------------------------- */

/* Giving a file away takes CAP_CHOWN; its owner may change the group to one of their own. */
static int owner_allowed(const struct node_owner *owner, uint32_t uid, uint32_t gid)
{
    const struct cred *cred = current_cred();

    if (capable(LINUX_CAP_CHOWN))
        return 0;
    if (uid != UINT32_MAX && (cred->fsuid != owner->uid || uid != owner->uid))
        return -EPERM;
    if (gid != UINT32_MAX && (cred->fsuid != owner->uid || (gid != owner->gid && !cred_in_group(cred, gid))))
        return -EPERM;
    return 0;
}

static int owner_change(struct target *target, uint32_t uid, uint32_t gid)
{
    struct node_attr attr = {.uid = uid, .gid = gid};
    struct node_owner owner;
    int error = target_writable(target);

    if (!error)
        error = node_owner(target->node, &owner);
    if (!error && !node_decides(target->node))
        error = owner_allowed(&owner, uid, gid);
    if (error)
        return error;
    attr.valid = (uid != UINT32_MAX ? ATTR_UID : 0) | (gid != UINT32_MAX ? ATTR_GID : 0);
    /* As with a write: the bits go, except set-group-ID of what is no program (mandatory locks once meant that). */
    if ((target->node->mode & LINUX_S_IFMT) == LINUX_S_IFREG && (owner.mode & (LINUX_S_ISUID | LINUX_S_ISGID))) {
        attr.valid |= ATTR_MODE;
        attr.mode = owner.mode & 07777 & ~(uint32_t)(LINUX_S_ISUID | (owner.mode & 010 ? LINUX_S_ISGID : 0));
    }
    return attr.valid ? target_change(target, &attr) : 0;
}

int64_t sys_fchownat(int32_t dfd, const char *name, uint32_t uid, uint32_t gid, uint32_t flags)
{
    struct target target;
    int error;

    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    error = target_named(&target, dfd, name, flags);
    if (error)
        return error;
    error = owner_change(&target, uid, gid);
    target_done(&target);
    return error;
}

int64_t sys_chown(const char *name, uint32_t uid, uint32_t gid) { return sys_fchownat(LINUX_AT_FDCWD, name, uid, gid, 0); }

int64_t sys_lchown(const char *name, uint32_t uid, uint32_t gid)
{
    return sys_fchownat(LINUX_AT_FDCWD, name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

int64_t sys_fchown(int32_t fd, uint32_t uid, uint32_t gid)
{
    struct target target;
    int error = target_descriptor(&target, fd);

    if (error)
        return error;
    error = owner_change(&target, uid, gid);
    target_done(&target);
    return error;
}

/* --- times ------------------------------------------------------------------------------------------- */

enum { UTIME_NOW = 0x3fffffff, UTIME_OMIT = 0x3ffffffe };

static bool nanoseconds_valid(int64_t nanoseconds)
{
    return nanoseconds == UTIME_NOW || nanoseconds == UTIME_OMIT || (nanoseconds >= 0 && nanoseconds < 1000000000);
}

static struct file_time time_of(const struct linux_timespec *time, struct file_time now)
{
    if (time->nanoseconds == UTIME_NOW)
        return now;
    return (struct file_time){.seconds = time->seconds, .nanoseconds = (uint32_t)time->nanoseconds};
}

/* Setting both to now needs write permission; anything else, ownership. */
static int times_allowed(struct target *target, bool now)
{
    int error = target_writable(target);

    if (error || node_owned_by_caller(target->node))
        return error;
    return now ? node_permission(target->node, MAY_WRITE) : -EPERM;
}

static int times_change(struct target *target, const struct linux_timespec times[2])
{
    static const struct linux_timespec both_now[2] = {{.nanoseconds = UTIME_NOW}, {.nanoseconds = UTIME_NOW}};
    struct file_time now = wall_time();
    struct node_attr attr = {.valid = 0};
    int error;

    times = times ? times : both_now;
    if (!nanoseconds_valid(times[0].nanoseconds) || !nanoseconds_valid(times[1].nanoseconds))
        return -EINVAL;
    if (times[0].nanoseconds == UTIME_OMIT && times[1].nanoseconds == UTIME_OMIT)
        return 0;
    error = times_allowed(target, times[0].nanoseconds == UTIME_NOW && times[1].nanoseconds == UTIME_NOW);
    if (error)
        return error;
    attr.valid = (times[0].nanoseconds != UTIME_OMIT ? ATTR_ATIME : 0) | (times[1].nanoseconds != UTIME_OMIT ? ATTR_MTIME : 0);
    attr.access = time_of(&times[0], now);
    attr.modify = time_of(&times[1], now);
    return target_change(target, &attr);
}

static int times_of_name(int dfd, const char *name, const struct linux_timespec *times, uint32_t flags)
{
    struct target target;
    int error;

    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (name)
        error = target_named(&target, dfd, name, flags);
    else
        error = flags ? -EINVAL : target_descriptor(&target, dfd);
    if (error)
        return error;
    error = times_change(&target, times);
    target_done(&target);
    return error;
}

int64_t sys_utimensat(int32_t dfd, const char *name, const struct linux_timespec *times, uint32_t flags)
{
    return times_of_name(dfd, name, times, flags);
}

static int times_of_values(int dfd, const char *name, const struct linux_timeval *values)
{
    struct linux_timespec times[2];

    if (!values)
        return times_of_name(dfd, name, NULL, 0);
    for (int i = 0; i < 2; i++) {
        if (values[i].microseconds < 0 || values[i].microseconds >= 1000000)
            return -EINVAL;
        times[i] = (struct linux_timespec){.seconds = values[i].seconds, .nanoseconds = values[i].microseconds * 1000};
    }
    return times_of_name(dfd, name, times, 0);
}

int64_t sys_futimesat(int32_t dfd, const char *name, const struct linux_timeval *times) { return times_of_values(dfd, name, times); }
int64_t sys_utimes(const char *name, const struct linux_timeval *times) { return times_of_values(LINUX_AT_FDCWD, name, times); }

int64_t sys_utime(const char *name, const struct linux_utimbuf *buffer)
{
    struct linux_timespec times[2];

    if (!buffer)
        return times_of_name(LINUX_AT_FDCWD, name, NULL, 0);
    times[0] = (struct linux_timespec){.seconds = buffer->access};
    times[1] = (struct linux_timespec){.seconds = buffer->modify};
    return times_of_name(LINUX_AT_FDCWD, name, times, 0);
}

/* --- size -------------------------------------------------------------------------------------------- */

static int truncate_path(struct path *path, uint64_t size)
{
    int error;

    if (path->type == LINUX_S_IFDIR)
        return -EISDIR;
    if (path->type != LINUX_S_IFREG)
        return -EINVAL;
    error = path_writable(path);
    if (!error)
        error = node_permission(path->node, MAY_WRITE);
    if (!error)
        error = node_write_begin(path->node);
    if (error)
        return error;
    error = node_truncate(path->node, size);
    if (!error)
        notify_path(path, NOTIFY_MODIFY);
    node_write_end(path->node);
    return error;
}

int64_t sys_truncate(const char *name, int64_t size)
{
    struct path *path;
    int error;

    if (size < 0)
        return -EINVAL;
    error = path_walk(LINUX_AT_FDCWD, name, 0, &path);
    if (error)
        return error == -ENXIO ? -EINVAL : error;
    error = truncate_path(path, (uint64_t)size);
    path_unref(path);
    return error;
}

static int truncate_file(struct file *file, int64_t size)
{
    if (!file_writable(file) || !file->ops->truncate || (file->node && (file->node->mode & LINUX_S_IFMT) != LINUX_S_IFREG))
        return -EINVAL;
    int error = file->ops->truncate(file, (uint64_t)size);
    if (!error)
        notify_file(file, NOTIFY_MODIFY);
    return error;
}

int64_t sys_ftruncate(int32_t fd, int64_t size)
{
    struct file *file;
    int error;

    if (size < 0)
        return -EINVAL;
    error = fd_get(fd, &file);
    if (error)
        return error;
    error = truncate_file(file, size);
    file_unref(file);
    return error;
}

enum { FALLOC_KEEP_SIZE = 1, FALLOC_PUNCH_HOLE = 2, FALLOC_COLLAPSE = 8, FALLOC_ZERO = 16, FALLOC_INSERT = 32, FALLOC_UNSHARE = 64 };

static int allocate_check(struct file *file, uint32_t mode, int64_t offset, int64_t size)
{
    if (mode & ~(uint32_t)(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_COLLAPSE | FALLOC_ZERO | FALLOC_INSERT | FALLOC_UNSHARE))
        return -EOPNOTSUPP;
    if ((mode & FALLOC_PUNCH_HOLE) && (mode & ~(uint32_t)FALLOC_KEEP_SIZE) != FALLOC_PUNCH_HOLE)
        return -EOPNOTSUPP;
    if ((mode & FALLOC_PUNCH_HOLE) && !(mode & FALLOC_KEEP_SIZE))
        return -EOPNOTSUPP;
    if (!file_writable(file))
        return -EBADF;
    if (file->node && (file->node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR)
        return -EISDIR;
    if (!file->node)
        return file->ops->seek ? -ENODEV : -ESPIPE;
    if ((file->node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return (file->node->mode & LINUX_S_IFMT) == LINUX_S_IFIFO ? -ESPIPE : -ENODEV;
    if (offset > INT64_MAX - size)
        return -EFBIG;
    return file->ops->allocate ? 0 : -EOPNOTSUPP;
}

int64_t sys_fallocate(int32_t fd, uint32_t mode, int64_t offset, int64_t size)
{
    struct file *file;
    int error = fd_get(fd, &file);

    if (error)
        return error;
    error = offset < 0 || size <= 0 ? -EINVAL : allocate_check(file, mode, offset, size);
    if (!error)
        error = file->ops->allocate(file, (int)mode, (uint64_t)offset, (uint64_t)size);
    if (!error)
        notify_file(file, NOTIFY_MODIFY);
    file_unref(file);
    return error;
}
