/*
 * mount, umount2, pivot_root: see mount(2), umount(2).
 *
 * Mounting takes CAP_SYS_ADMIN, as on Linux. There is one tree of mounts for all, and every mount is private: asking for that is
 * granted, asking for sharing or following is not.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/fuse_mount.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/port.h"
#include "kernel/string.h"
#include "kernel/task.h"
#include "kernel/user.h"

enum { MS_REMOUNT = 32, MS_BIND = 4096, MS_MOVE = 8192, MS_SILENT = 32768, MS_UNBINDABLE = 1 << 17, MS_PRIVATE = 1 << 18,
       MS_SLAVE = 1 << 19, MS_SHARED = 1 << 20 };
enum { MNT_EXPIRE = 4, UMOUNT_NOFOLLOW = 8 };
#define MS_MAGIC_MASK 0xffff0000u
#define MS_MAGIC 0xc0ed0000u
#define TYPE_NAME_MAX 47

/* --- file systems by type ---------------------------------------------------------------------------- */

/* mount(2)'s data: up to a page, as a string. NULL stands for an empty one. */
static int data_read(uaddr_t data, char **text)
{
    size_t got;

    *text = kzalloc(PAGE_SIZE + 1);
    if (!*text)
        return -ENOMEM;
    got = data ? user_read_some(*text, data, PAGE_SIZE) : 0;
    if (!data || got)
        return 0;
    kfree(*text);
    return -EFAULT;
}

/* "mode=" of a tmpfs; its other options (size, nr_inodes, uid, gid) set limits and owners that are not kept. */
static int tmpfs_make(const char *options, struct fs **fs)
{
    struct node_attr attr = {.valid = ATTR_MODE, .mode = 01777};
    const char *mode = !strncmp(options, "mode=", 5) ? options + 5 : NULL;

    for (const char *at = options; !mode && (at = strchr(at, ',')); at++)
        if (!strncmp(at + 1, "mode=", 5))
            mode = at + 6;
    if (mode)
        for (attr.mode = 0; *mode >= '0' && *mode <= '7'; mode++)
            attr.mode = (attr.mode << 3 | (uint32_t)(*mode - '0')) & 07777;
    *fs = memfs_create();
    return *fs ? (*fs)->root->ops->set_attr((*fs)->root, &attr) : -ENOMEM;
}

static bool is_fuse(const char *type)
{
    size_t length = !strncmp(type, "fuseblk", 7) ? 7 : 4;

    return !strncmp(type, "fuse", 4) && (!type[length] || type[length] == '.');
}

static int fs_of_type(const char *type, char *options, struct fs **fs)
{
    *fs = NULL;
    if (strlen(type) > TYPE_NAME_MAX)
        return -ENODEV;
    if (is_fuse(type))
        return fuse_mount(type, options, fs);
    if (!strcmp(type, "tmpfs") || !strcmp(type, "ramfs"))
        return tmpfs_make(options, fs);
    if (strcmp(type, "proc"))
        return -ENODEV;
    *fs = procfs_create();
    return *fs ? 0 : -ENOMEM;
}

static int mount_new(struct path *path, const char *source, const char *type, uint32_t flags, uaddr_t data)
{
    struct fs *fs = NULL;
    char *options;
    int error = type ? data_read(data, &options) : -EINVAL;

    if (error)
        return error;
    error = fs_of_type(type, options, &fs);
    kfree(options);
    if (!error)
        error = mount_on(path, fs, flags & MOUNT_FLAGS, source);
    if (error)
        object_unref(fs);
    return error;
}

/* --- file servers ------------------------------------------------------------------------------------ */

/* Data "port=NUMBER": a handle of the caller's, a send right that may be copied. */
static int server_right(const char *options, struct handle_value *right)
{
    static const char key[] = "port=";
    const char *at = options + sizeof key - 1;
    uint64_t number = 0;

    if (strncmp(options, key, sizeof key - 1) || !*at)
        return -EINVAL;
    for (; *at; at++) {
        if (*at < '0' || *at > '9' || number > UINT32_MAX)
            return -EINVAL;
        number = number * 10 + (uint64_t)(*at - '0');
    }
    if (number > UINT32_MAX)
        return -EINVAL;
    return handle_get(&thread_current()->task->handles, (handle_t)number, &port_type, RIGHT_SEND | RIGHT_COPY, right);
}

static int mount_port(struct path *path, const char *source, uint32_t flags, const struct handle_value *right)
{
    struct fs *fs = NULL;
    int error;

    if (flags & MS_REMOUNT)
        return path->mount && path->mount->root == path ? serverfs_attach_again(path->mount->fs, right) : -EINVAL;
    error = serverfs_create(right, &fs);
    if (!error)
        error = mount_on(path, fs, flags & MOUNT_FLAGS, source);
    if (error)
        object_unref(fs);
    return error;
}

/* What a program answers on a port; a remount puts another in its place. */
static int mount_server(struct path *path, const char *source, uint32_t flags, uaddr_t data)
{
    struct handle_value right;
    char *options;
    int error = data_read(data, &options);

    if (error)
        return error;
    error = server_right(options, &right);
    kfree(options);
    if (error)
        return error;
    error = mount_port(path, source, flags, &right);
    object_unref(right.object);
    return error;
}

/* --- mount ------------------------------------------------------------------------------------------- */

/* The second path of a bind or move. */
static int with_source(const char *source, struct path *path, int (*operation)(struct path *source, struct path *path))
{
    struct path *from;
    int error = source ? path_walk(LINUX_AT_FDCWD, source, 0, &from) : -EINVAL;

    if (error)
        return error;
    error = operation(from, path);
    path_unref(from);
    return error;
}

static int mount_as_told(struct path *path, const char *source, const char *type, uint32_t flags, uaddr_t data)
{
    if (type && !strcmp(type, "server"))
        return mount_server(path, source, flags, data);
    if (flags & MS_REMOUNT)
        return mount_change(path, flags & MOUNT_FLAGS);
    if (flags & MS_BIND)
        return with_source(source, path, mount_bind);
    if (flags & (MS_PRIVATE | MS_SLAVE | MS_SHARED | MS_UNBINDABLE))
        return (flags & (MS_SHARED | MS_UNBINDABLE)) || !path->mount || path->mount->root != path ? -EINVAL : 0;
    if (flags & MS_MOVE)
        return with_source(source, path, mount_move);
    return mount_new(path, source, type, flags, data);
}

int64_t sys_mount(const char *source, const char *target, const char *type, uint64_t flags, uaddr_t data)
{
    struct path *path;
    int error;

    if ((flags & MS_MAGIC_MASK) == MS_MAGIC)
        flags &= ~(uint64_t)MS_MAGIC_MASK;
    if (!capable(LINUX_CAP_SYS_ADMIN))
        return -EPERM;
    error = path_walk(LINUX_AT_FDCWD, target, 0, &path);
    if (error)
        return error;
    error = mount_as_told(path, source, type, (uint32_t)flags, data);
    path_unref(path);
    return error;
}

int64_t sys_umount2(const char *name, uint32_t flags)
{
    struct path *path;
    int error;

    if (flags & ~(uint32_t)(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW))
        return -EINVAL;
    if ((flags & MNT_EXPIRE) && (flags & (MNT_FORCE | MNT_DETACH)))
        return -EINVAL;
    if (!capable(LINUX_CAP_SYS_ADMIN))
        return -EPERM;
    error = path_walk(LINUX_AT_FDCWD, name, flags & UMOUNT_NOFOLLOW ? WALK_NOFOLLOW : 0, &path);
    if (error)
        return error;
    /* The first call with MNT_EXPIRE marks, the second unmounts what nobody used in between: no such mark is kept. */
    error = flags & MNT_EXPIRE ? -EAGAIN : mount_remove(path, flags);
    path_unref(path);
    return error;
}

int64_t sys_pivot_root(const char *new_root, const char *put_old)
{
    (void)new_root, (void)put_old;
    return -EPERM;
}
