/*
 * Changes to the host's files, for a host file system that is not read-only.
 *
 * Each is one host call on (directory descriptor, one component), on the blocking pool: it may have to wait for
 * the host's journal. The host decides about permissions with the server's own rights, on top of what the
 * guest's kernel has checked before. A file whose name goes keeps its descriptors while it is in use.
 */
#include "body/linux/hostfs.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define WRITE_CHUNK ((size_t)64 << 10)
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* One entry of a writable directory: its descriptor and its name. */
struct place {
    struct host_file *directory;
    char name[NAME_LENGTH_MAX + 1];
};

static int place_init(struct place *place, struct node *dir, const char *name, size_t length)
{
    if (!host_node_of(dir)->fs->writable)
        return -EROFS;
    int error = host_name_copy(place->name, name, length);
    return error ? error : host_node_path(host_node_of(dir), &place->directory);
}

static void place_done(struct place *place) { host_file_unref(place->directory); }

static int64_t at_place(struct place *place, long number, uint64_t a, uint64_t b, uint64_t c)
{
    return host_raw_pooled(number, (uint64_t)place->directory->fd, (uintptr_t)place->name, a, b, c, 0);
}

/* --- names ------------------------------------------------------------------------------------------- */

/* The creator may write whatever the mode says: the first descriptors are kept. */
static int create_file(struct place *place, uint32_t permissions, struct host_file **contents)
{
    int write_fd = host_open_beneath(place->directory->fd, place->name, O_CREAT | O_EXCL | O_RDWR, permissions | 0400);
    if (write_fd < 0)
        return write_fd;
    int fd = host_open_beneath(place->directory->fd, place->name, O_RDONLY, 0);
    host_raw(SYS_fchmod, (uint64_t)write_fd, permissions, 0, 0, 0, 0);
    if (fd < 0)
        close(write_fd);
    else
        *contents = host_file_create(fd, write_fd);
    return 0;
}

static int create_at(struct place *place, uint32_t mode, const char *target, struct host_file **contents)
{
    uint32_t permissions = mode & 07777;
    switch (mode & LINUX_S_IFMT) {
    case LINUX_S_IFREG:
        return create_file(place, permissions, contents);
    case LINUX_S_IFDIR:
        return (int)at_place(place, SYS_mkdirat, permissions, 0, 0);
    case LINUX_S_IFLNK:
        return (int)host_raw_pooled(SYS_symlinkat, (uintptr_t)target, (uint64_t)place->directory->fd, (uintptr_t)place->name, 0, 0, 0);
    case LINUX_S_IFIFO:
    case LINUX_S_IFSOCK:
        return (int)at_place(place, SYS_mknodat, mode, 0, 0);
    default:
        return -EPERM;
    }
}

int hostfs_create_node(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid,
                       uint32_t gid, struct node **child)
{
    struct place place;
    (void)rdev;
    int error = place_init(&place, dir, name, length);
    if (error)
        return error;
    struct host_file *contents = NULL;
    error = create_at(&place, mode, target, &contents);
    int fd = error ? error : host_open_beneath(place.directory->fd, place.name, O_PATH, 0);
    if (fd >= 0 && (uid != geteuid() || gid != getegid())) /* as far as the host lets us */
        host_raw(SYS_fchownat, (uint64_t)fd, (uintptr_t) "", uid, gid, AT_EMPTY_PATH, 0);
    place_done(&place);
    error = fd < 0 ? fd : host_node_for(host_node_of(dir)->fs, fd, dir, place.name, child);
    if (error)
        host_file_unref(contents);
    else
        host_node_adopt(host_node_of(*child), contents);
    return error;
}

int hostfs_link(struct node *dir, const char *name, size_t length, struct node *target)
{
    struct place to;
    struct node *parent;
    char old_name[NAME_LENGTH_MAX + 1];
    struct host_file *from;
    int error = place_init(&to, dir, name, length);
    if (error)
        return error;
    error = host_node_name(host_node_of(target), &parent, old_name) ? 0 : -ENOENT;
    if (!error) {
        error = host_node_path(host_node_of(parent), &from);
        object_unref(parent);
    }
    if (!error) {
        error = (int)host_raw_pooled(SYS_linkat, (uint64_t)from->fd, (uintptr_t)old_name, (uint64_t)to.directory->fd, (uintptr_t)to.name, 0, 0);
        host_file_unref(from);
    }
    place_done(&to);
    return error;
}

/* The node behind a name that is about to go keeps what it needs to go on without. */
static void keep_alive(struct node *dir, const char *name)
{
    struct node *node = host_node_find(host_node_of(dir)->fs, dir, name);
    if (node)
        host_node_pin(host_node_of(node));
    object_unref(node);
}

static int remove_at(struct node *dir, const char *name, size_t length, int flags)
{
    struct place place;
    int error = place_init(&place, dir, name, length);
    if (error)
        return error;
    keep_alive(dir, place.name);
    error = (int)at_place(&place, SYS_unlinkat, (uint64_t)flags, 0, 0);
    place_done(&place);
    return error;
}

int hostfs_unlink(struct node *dir, const char *name, size_t length) { return remove_at(dir, name, length, 0); }
int hostfs_remove_directory(struct node *dir, const char *name, size_t length) { return remove_at(dir, name, length, AT_REMOVEDIR); }

/* Looking the new name up tells the node how it is called now. */
static void learn_name(struct node *dir, struct place *place)
{
    struct node *node;
    int fd = host_open_beneath(place->directory->fd, place->name, O_PATH, 0);
    if (fd >= 0 && !host_node_for(host_node_of(dir)->fs, fd, dir, place->name, &node))
        object_unref(node);
}

int hostfs_rename(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length,
                  uint32_t flags)
{
    struct place old, new;
    int error = place_init(&old, from, name, length);
    if (error)
        return error;
    error = place_init(&new, to, new_name, new_length);
    if (!error) {
        if (!flags)
            keep_alive(to, new.name);
        error = (int)host_raw_pooled(SYS_renameat2, (uint64_t)old.directory->fd, (uintptr_t)old.name, (uint64_t)new.directory->fd,
                                     (uintptr_t)new.name, flags, 0);
        if (!error)
            learn_name(to, &new);
        if (!error && (flags & 2))
            learn_name(from, &old);
        place_done(&new);
    }
    place_done(&old);
    return error;
}

/* --- attributes -------------------------------------------------------------------------------------- */

static int change_mode(struct node *node, int path, uint32_t mode)
{
    struct host_file *file;
    int error = (int)host_raw_pooled(SYS_fchmodat2, (uint64_t)path, (uintptr_t) "", mode & 07777, AT_EMPTY_PATH, 0, 0);
    if (error != -ENOSYS && error != -EINVAL)
        return error;
    if ((node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR) {
        int fd = host_open_beneath(path, ".", O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
            return fd;
        error = (int)host_raw_pooled(SYS_fchmod, (uint64_t)fd, mode & 07777, 0, 0, 0, 0);
        close(fd);
        return error;
    }
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -EOPNOTSUPP;
    error = host_node_contents(host_node_of(node), false, &file);
    if (error)
        return error;
    error = (int)host_raw_pooled(SYS_fchmod, (uint64_t)file->fd, mode & 07777, 0, 0, 0, 0);
    host_file_unref(file);
    return error;
}

static int change_owner(int path, const struct node_attr *attr)
{
    uint32_t uid = attr->valid & ATTR_UID ? attr->uid : UINT32_MAX;
    uint32_t gid = attr->valid & ATTR_GID ? attr->gid : UINT32_MAX;
    return (int)host_raw_pooled(SYS_fchownat, (uint64_t)path, (uintptr_t) "", uid, gid, AT_EMPTY_PATH, 0);
}

static int change_times(int path, const struct node_attr *attr)
{
    struct timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    if (attr->valid & ATTR_ATIME)
        times[0] = (struct timespec){attr->access.seconds, attr->access.nanoseconds};
    if (attr->valid & ATTR_MTIME)
        times[1] = (struct timespec){attr->modify.seconds, attr->modify.nanoseconds};
    return (int)host_raw_pooled(SYS_utimensat, (uint64_t)path, (uintptr_t) "", (uintptr_t)times, AT_EMPTY_PATH, 0, 0);
}

static int change_size(struct node *node, uint64_t size)
{
    struct host_file *file;
    int error = host_node_contents(host_node_of(node), true, &file);
    if (error)
        return error;
    error = (int)host_raw_pooled(SYS_ftruncate, (uint64_t)file->write_fd, size, 0, 0, 0, 0);
    host_file_unref(file);
    return error;
}

int hostfs_set_attr(struct node *node, const struct node_attr *attr)
{
    struct host_file *path;
    if (!host_node_of(node)->fs->writable)
        return -EROFS;
    int error = host_node_path(host_node_of(node), &path);
    if (error)
        return error;
    if (attr->valid & (ATTR_UID | ATTR_GID))
        error = change_owner(path->fd, attr);
    if (!error && (attr->valid & ATTR_MODE))
        error = change_mode(node, path->fd, attr->mode);
    if (!error && (attr->valid & ATTR_SIZE))
        error = change_size(node, attr->size);
    if (!error && (attr->valid & (ATTR_ATIME | ATTR_MTIME)))
        error = change_times(path->fd, attr);
    host_file_unref(path);
    return error;
}

/* --- contents ---------------------------------------------------------------------------------------- */

static int64_t append(struct host_file *file, const void *buffer, size_t size)
{
    struct iovec vector = {(void *)(uintptr_t)buffer, size};
    return host_raw_pooled(SYS_pwritev2, (uint64_t)file->write_fd, (uintptr_t)&vector, 1, 0, 0, RWF_APPEND);
}

static int64_t write_bounced(struct host_file *file, struct io *io, uint64_t offset)
{
    size_t chunk = io_left(io) < WRITE_CHUNK ? io_left(io) : WRITE_CHUNK;
    char *buffer = kalloc(chunk ? chunk : 1);
    int64_t done = 0, moved = buffer ? 1 : -ENOMEM;
    while (moved > 0 && io_left(io)) {
        size_t got = io_get(io, buffer, io_left(io) < chunk ? io_left(io) : chunk);
        if (!got) {
            moved = -EFAULT;
            break;
        }
        moved = io->flags & IO_APPEND ? append(file, buffer, got) : host_file_write(file, buffer, offset + (uint64_t)done, got);
        if (moved > 0)
            done += moved;
        if (moved > 0 && (size_t)moved < got)
            break;
    }
    kfree(buffer);
    return done ? done : moved < 0 ? moved : 0;
}

int64_t hostfs_write(struct node *node, struct io *io, uint64_t offset)
{
    struct host_file *file;
    int error = host_node_contents(host_node_of(node), true, &file);
    if (error)
        return error;
    int64_t moved = write_bounced(file, io, offset);
    host_file_unref(file);
    return moved;
}

int hostfs_sync(struct node *node, bool data_only)
{
    struct host_file *file;
    if (!host_node_of(node)->fs->writable || (node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return 0;
    int error = host_node_contents(host_node_of(node), false, &file);
    if (error)
        return error;
    error = (int)host_raw_pooled(data_only ? SYS_fdatasync : SYS_fsync, (uint64_t)file->fd, 0, 0, 0, 0, 0);
    host_file_unref(file);
    return error;
}

int hostfs_allocate(struct node *node, int mode, uint64_t offset, uint64_t size)
{
    struct host_file *file;
    int error = host_node_contents(host_node_of(node), true, &file);
    if (error)
        return error;
    error = (int)host_raw_pooled(SYS_fallocate, (uint64_t)file->write_fd, (uint64_t)mode, offset, size, 0, 0);
    host_file_unref(file);
    return error;
}

static int64_t change_xattr(struct node *node, long number, const char *name, const void *value, size_t size, int flags)
{
    struct host_file *file;
    if (!host_node_of(node)->fs->writable)
        return -EROFS;
    if (strncmp(name, "user.", 5) || (node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -EOPNOTSUPP;
    int error = host_node_contents(host_node_of(node), false, &file);
    if (error)
        return error;
    int64_t result = host_raw_pooled(number, (uint64_t)file->fd, (uintptr_t)name, (uintptr_t)value, size, (uint64_t)flags, 0);
    host_file_unref(file);
    return result;
}

int hostfs_set_xattr(struct node *node, const char *name, const void *value, size_t size, int flags)
{
    return (int)change_xattr(node, SYS_fsetxattr, name, value, size, flags);
}

int hostfs_remove_xattr(struct node *node, const char *name) { return (int)change_xattr(node, SYS_fremovexattr, name, NULL, 0, 0); }
