/*
 * The calls that make, remove, link and rename names. What a name's last component may be, and what an odd one
 * answers, is each call's own; the rest is fs/names.c's.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { AT_REMOVEDIR = 0x200, AT_SYMLINK_FOLLOW = 0x400, AT_EMPTY_PATH = 0x1000 };

/* --- making ------------------------------------------------------------------------------------------ */

static int make(int dfd, const char *name, const struct create_request *request)
{
    bool directory = (request->mode & LINUX_S_IFMT) == LINUX_S_IFDIR;
    struct walk walk;
    int error = walk_parent(&walk, dfd, name);

    if (!error && walk.last_kind != LAST_NORMAL)
        error = -EEXIST;
    if (!error && walk.directory && !directory) {
        /* "name/" names a directory that is, or is not, there. */
        struct path *path;
        error = names_lookup(walk.at, walk.last, walk.last_length, &path);
        if (!error) {
            path_unref(path);
            error = -EEXIST;
        }
    }
    if (!error)
        error = names_create(walk.at, walk.last, walk.last_length, request, NULL);
    walk_end(&walk);
    return error;
}

int64_t sys_mkdirat(int32_t dfd, const char *name, uint32_t mode)
{
    return make(dfd, name, &(struct create_request){.mode = LINUX_S_IFDIR | (mode & 01777)});
}

int64_t sys_mkdir(const char *name, uint32_t mode) { return sys_mkdirat(LINUX_AT_FDCWD, name, mode); }

int64_t sys_symlinkat(const char *target, int32_t dfd, const char *name)
{
    if (!*target)
        return -ENOENT;
    return make(dfd, name, &(struct create_request){.mode = LINUX_S_IFLNK | 0777, .target = target});
}

int64_t sys_symlink(const char *target, const char *name) { return sys_symlinkat(target, LINUX_AT_FDCWD, name); }

int64_t sys_mknodat(int32_t dfd, const char *name, uint32_t mode, uint32_t device)
{
    uint32_t type = mode & LINUX_S_IFMT;

    switch (type) {
    case 0:
        mode |= LINUX_S_IFREG;
        break;
    case LINUX_S_IFREG:
    case LINUX_S_IFIFO:
    case LINUX_S_IFSOCK:
        break;
    case LINUX_S_IFCHR:
    case LINUX_S_IFBLK:
        if (!capable(LINUX_CAP_MKNOD))
            return -EPERM;
        break;
    case LINUX_S_IFDIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
    return make(dfd, name, &(struct create_request){.mode = mode & (LINUX_S_IFMT | 07777), .rdev = device});
}

int64_t sys_mknod(const char *name, uint32_t mode, uint32_t device) { return sys_mknodat(LINUX_AT_FDCWD, name, mode, device); }

static int link_to(struct path *old, int dfd, const char *name)
{
    struct walk walk;
    int error = walk_parent(&walk, dfd, name);

    if (!error && walk.last_kind != LAST_NORMAL)
        error = -EEXIST;
    if (!error && walk.directory)
        error = -ENOENT;
    if (!error && old->mount != walk.at->mount)
        error = -EXDEV;
    if (!error)
        error = names_link(walk.at, walk.last, walk.last_length, old->node);
    walk_end(&walk);
    return error;
}

int64_t sys_linkat(int32_t old_dfd, const char *old_name, int32_t dfd, const char *name, uint32_t flags)
{
    uint32_t walk_flags = (flags & AT_SYMLINK_FOLLOW ? 0 : WALK_NOFOLLOW) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
    struct path *old;
    int error;

    if (flags & ~(uint32_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    error = path_walk(old_dfd, old_name, walk_flags, &old);
    if (error)
        return error == -ENXIO ? -EXDEV : error;
    error = link_to(old, dfd, name);
    path_unref(old);
    return error;
}

int64_t sys_link(const char *old_name, const char *name) { return sys_linkat(LINUX_AT_FDCWD, old_name, LINUX_AT_FDCWD, name, 0); }

/* --- removing ---------------------------------------------------------------------------------------- */

static int remove_directory(struct walk *walk)
{
    static const int errors[] = {[LAST_DOT] = -EINVAL, [LAST_DOTDOT] = -ENOTEMPTY, [LAST_ROOT] = -EBUSY};

    if (walk->last_kind != LAST_NORMAL)
        return errors[walk->last_kind];
    return names_remove(walk->at, walk->last, walk->last_length, true, walk->directory);
}

static int remove_file(struct walk *walk)
{
    if (walk->last_kind != LAST_NORMAL)
        return -EISDIR;
    return names_remove(walk->at, walk->last, walk->last_length, false, walk->directory);
}

int64_t sys_unlinkat(int32_t dfd, const char *name, uint32_t flags)
{
    struct walk walk;
    int error;

    if (flags & ~(uint32_t)AT_REMOVEDIR)
        return -EINVAL;
    error = walk_parent(&walk, dfd, name);
    if (!error)
        error = flags & AT_REMOVEDIR ? remove_directory(&walk) : remove_file(&walk);
    walk_end(&walk);
    return error;
}

int64_t sys_unlink(const char *name) { return sys_unlinkat(LINUX_AT_FDCWD, name, 0); }
int64_t sys_rmdir(const char *name) { return sys_unlinkat(LINUX_AT_FDCWD, name, AT_REMOVEDIR); }

/* --- renaming ---------------------------------------------------------------------------------------- */

enum { RENAME_NOREPLACE = 1, RENAME_EXCHANGE = 2 };

static int rename_walked(struct walk *from, struct walk *to, uint32_t flags)
{
    struct rename_request request = {
        .from = from->at,
        .to = to->at,
        .name = from->last,
        .length = from->last_length,
        .new_name = to->last,
        .new_length = to->last_length,
        .must_be_directory = from->directory,
        .new_must_be_directory = to->directory,
        .flags = flags,
    };

    if (from->at->mount != to->at->mount)
        return -EXDEV;
    if (from->last_kind != LAST_NORMAL)
        return -EBUSY;
    if (to->last_kind != LAST_NORMAL)
        return flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    return names_rename(&request);
}

int64_t sys_renameat2(int32_t old_dfd, const char *old_name, int32_t dfd, const char *name, uint32_t flags)
{
    struct walk from, to;
    int error;

    if ((flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE)) || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    error = walk_parent(&from, old_dfd, old_name);
    if (!error) {
        error = walk_parent(&to, dfd, name);
        if (!error)
            error = rename_walked(&from, &to, flags);
        walk_end(&to);
    }
    walk_end(&from);
    return error;
}

int64_t sys_renameat(int32_t old_dfd, const char *old_name, int32_t dfd, const char *name)
{
    return sys_renameat2(old_dfd, old_name, dfd, name, 0);
}

int64_t sys_rename(const char *old_name, const char *name)
{
    return sys_renameat2(LINUX_AT_FDCWD, old_name, LINUX_AT_FDCWD, name, 0);
}

/* --- reading links ----------------------------------------------------------------------------------- */

static int64_t read_link(struct node *node, uaddr_t buffer, uint64_t size)
{
    uint64_t length = min_u64(size, PATH_LENGTH_MAX);
    char *target;
    int64_t result;

    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFLNK || !node->ops->read_link)
        return -EINVAL;
    target = kalloc(PATH_LENGTH_MAX);
    if (!target)
        return -ENOMEM;
    result = node->ops->read_link(node, target, length);
    if (result >= 0 && user_write(buffer, target, (size_t)result))
        result = -EFAULT;
    kfree(target);
    return result;
}

int64_t sys_readlinkat(int32_t dfd, const char *name, uaddr_t buffer, int32_t size)
{
    struct path *path;
    int64_t result;

    if (size <= 0)
        return -EINVAL;
    result = path_walk(dfd, name, WALK_NOFOLLOW | WALK_EMPTY, &path);
    if (result)
        return result == -ENXIO ? -EINVAL : result;
    result = read_link(path->node, buffer, (uint64_t)size);
    /* An empty name is only good for a descriptor that is a link. */
    if (result == -EINVAL && !*name)
        result = -ENOENT;
    path_unref(path);
    return result;
}

int64_t sys_readlink(const char *name, uaddr_t buffer, int32_t size)
{
    if (size > 0 && !*name)
        return -ENOENT;
    return sys_readlinkat(LINUX_AT_FDCWD, name, buffer, size);
}
