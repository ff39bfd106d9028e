/*
 * The host's files beneath a directory, as a file system: nodes, lookup, attributes, reading.
 *
 * The root is opened once, by path, when the file system is made. From then on everything is one component at
 * a time beneath a descriptor, without following symbolic links (the path walker above does that, in the
 * guest's tree of names) and without magic links, so nothing outside the root can be named. A /proc of the
 * host that lies beneath the root is shown as an empty directory: it would show the server itself.
 *
 * Nodes live in a table without references, so that one file of the host is one node however it is reached.
 * Changes to the host's files are in hostfs_change.c, descriptors in hostfs_cache.c.
 */
#include "body/linux/hostfs.h"

#include "abi/linux/fs/memfs.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/string.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PROC_MAGIC_NUMBER 0x9fa0
#define READ_CHUNK ((size_t)64 << 10)
#define DIRECTORY_CHUNK ((size_t)32 << 10)

static const struct node_ops hostfs_node_ops;

int host_name_copy(char to[NAME_LENGTH_MAX + 1], const char *name, size_t length)
{
    if (length > NAME_LENGTH_MAX)
        return -ENAMETOOLONG;
    memcpy(to, name, length);
    to[length] = 0;
    return 0;
}

/* --- nodes ------------------------------------------------------------------------------------------- */

static struct list *bucket_of(struct host_fs *fs, uint64_t device, uint64_t inode)
{
    return &fs->buckets[((inode ^ device << 7) * 0x9e3779b97f4a7c15u >> 32) % HOSTFS_BUCKETS];
}

static bool matches(const struct host_node *node, const struct statx *stat)
{
    return node->inode == stat->stx_ino && node->device == makedev(stat->stx_dev_major, stat->stx_dev_minor) &&
           node->birth_seconds == stat->stx_btime.tv_sec && node->birth_nanoseconds == stat->stx_btime.tv_nsec &&
           (node->node->mode & S_IFMT) == (stat->stx_mode & S_IFMT);
}

static struct node *table_find_locked(struct host_fs *fs, const struct statx *stat)
{
    struct list *bucket = bucket_of(fs, makedev(stat->stx_dev_major, stat->stx_dev_minor), stat->stx_ino);
    LIST_FOR_EACH (link, bucket) {
        struct host_node *node = LIST_ENTRY(link, struct host_node, table_link);
        if (matches(node, stat) && object_try_ref(node->node))
            return node->node;
    }
    return NULL;
}

static struct node *table_find(struct host_fs *fs, const struct statx *stat)
{
    spin_lock(&fs->lock);
    struct node *node = table_find_locked(fs, stat);
    spin_unlock(&fs->lock);
    return node;
}

/* The guest's number for a device of the host: the root's is the file system's own. */
static uint64_t device_number(struct host_fs *fs, uint64_t device)
{
    uint32_t index = 0;
    spin_lock(&fs->lock);
    while (index < fs->device_count && fs->devices[index] != device)
        index++;
    if (index == fs->device_count && index < HOSTFS_DEVICES_MAX)
        fs->devices[fs->device_count++] = device;
    spin_unlock(&fs->lock);
    return fs->fs->device + ((uint64_t)index << 40);
}

static void host_fs_put(struct host_fs *fs)
{
    if (atomic32_sub(&fs->references, 1) == 1)
        kfree(fs);
}

static struct host_node *host_node_create(struct host_fs *fs, const struct statx *stat, struct node *dir, const char *name)
{
    struct host_node *node = kzalloc(sizeof *node);
    if (!node)
        return NULL;
    node->fs = fs;
    node->device = makedev(stat->stx_dev_major, stat->stx_dev_minor);
    node->inode = stat->stx_ino;
    node->birth_seconds = stat->stx_btime.tv_sec;
    node->birth_nanoseconds = stat->stx_btime.tv_nsec;
    list_init(&node->table_link);
    list_init(&node->lru_link);
    node->name = name ? kstrdup(name) : NULL;
    if (!name || node->name)
        node->node = node_create(fs->fs, &hostfs_node_ops, stat->stx_mode, stat->stx_ino, node);
    if (!node->node) {
        kfree(node->name);
        kfree(node);
        return NULL;
    }
    atomic32_add(&fs->references, 1);
    node->parent = dir ? object_ref(dir) : NULL;
    if (fs->writable)
        node->node->flags |= NODE_NO_CACHE | NODE_SAME_NODE;
    return node;
}

static bool is_host_proc(const struct host_node *dir, const struct statx *stat, int fd)
{
    struct statfs fs;
    if (dir && dir->device == makedev(stat->stx_dev_major, stat->stx_dev_minor))
        return dir->forbidden;
    return !host_raw(SYS_fstatfs, fd, (uintptr_t)&fs, 0, 0, 0, 0) && fs.f_type == PROC_MAGIC_NUMBER;
}

/* A node that was found under another name is called by the new one: its old one may be gone. */
static void host_node_rename(struct host_node *node, struct node *dir, const char *name)
{
    if (node->parent == dir && !strcmp(node->name, name))
        return;
    char *copy = kstrdup(name);
    if (!copy || !dir || !node->parent) {
        kfree(copy);
        return;
    }
    spin_lock(&node->fs->lock);
    char *old_name = node->name;
    struct node *old_parent = node->parent;
    node->name = copy;
    node->parent = object_ref(dir);
    spin_unlock(&node->fs->lock);
    kfree(old_name);
    object_unref(old_parent);
}

int host_node_for(struct host_fs *fs, int fd, struct node *dir, const char *name, struct node **node)
{
    struct statx stat;
    int error = host_statx(fd, &stat);
    if (error) {
        close(fd);
        return error;
    }
    *node = table_find(fs, &stat);
    if (*node) {
        close(fd);
        if (dir)
            host_node_rename(host_node_of(*node), dir, name);
        return 0;
    }
    struct host_node *fresh = host_node_create(fs, &stat, dir, name);
    if (!fresh) {
        close(fd);
        return -ENOMEM;
    }
    fresh->forbidden = is_host_proc(dir ? host_node_of(dir) : NULL, &stat, fd);
    fresh->path = host_file_create(fd, -1); /* without memory it is opened again */
    spin_lock(&fs->lock);
    *node = table_find_locked(fs, &stat); /* a rival was faster */
    if (!*node) {
        list_push_front(bucket_of(fs, fresh->device, fresh->inode), &fresh->table_link);
        *node = fresh->node;
        fresh = NULL;
    }
    spin_unlock(&fs->lock);
    if (fresh)
        object_unref(fresh->node);
    struct host_file *touched;
    if (!host_node_path(host_node_of(*node), &touched))
        host_file_unref(touched);
    return 0;
}

/* Drops the parents of dead nodes one after the other, for a deep tree would overflow the stack. */
static void drop_parents(struct host_fs *fs, struct host_node *first)
{
    spin_lock(&fs->lock);
    list_push_back(&fs->dying, &first->lru_link);
    bool mine = !fs->draining;
    fs->draining = true;
    while (mine) {
        struct list *link = list_pop_front(&fs->dying);
        if (!link)
            break;
        spin_unlock(&fs->lock);
        struct host_node *node = LIST_ENTRY(link, struct host_node, lru_link);
        object_unref(node->parent);
        kfree(node);
        host_fs_put(fs); /* not the last: the caller's */
        spin_lock(&fs->lock);
    }
    if (mine)
        fs->draining = false;
    spin_unlock(&fs->lock);
}

static void hostfs_release_node(struct node *node)
{
    struct host_node *host = host_node_of(node);
    struct host_fs *fs = host->fs;
    host_node_forget(host);
    spin_lock(&fs->lock);
    list_remove(&host->table_link);
    spin_unlock(&fs->lock);
    kfree(host->name);
    atomic32_add(&fs->references, 1);
    drop_parents(fs, host);
    host_fs_put(fs);
}

/* --- lookup and attributes --------------------------------------------------------------------------- */

static int hostfs_lookup(struct node *dir, const char *name, size_t length, struct node **child)
{
    char text[NAME_LENGTH_MAX + 1];
    struct host_node *host = host_node_of(dir);
    int error = host_name_copy(text, name, length);
    if (error || host->forbidden)
        return error ? error : -ENOENT;
    struct host_file *directory;
    error = host_node_path(host, &directory);
    if (error)
        return error == -ESTALE ? -ENOENT : error;
    int fd = host_open_beneath(directory->fd, text, O_PATH, 0);
    host_file_unref(directory);
    return fd < 0 ? fd : host_node_for(host->fs, fd, dir, text, child);
}

struct node *host_node_find(struct host_fs *fs, struct node *dir, const char *name)
{
    struct host_file *directory;
    struct statx stat;
    if (host_node_path(host_node_of(dir), &directory))
        return NULL;
    int fd = host_open_beneath(directory->fd, name, O_PATH, 0);
    host_file_unref(directory);
    if (fd < 0)
        return NULL;
    int error = host_statx(fd, &stat);
    close(fd);
    return error ? NULL : table_find(fs, &stat);
}

static struct file_time file_time_of(const struct statx_timestamp *time) { return (struct file_time){time->tv_sec, time->tv_nsec}; }

static int hostfs_get_attr(struct node *node, struct linux_stat_data *out)
{
    struct host_file *path;
    struct statx stat;
    int error = host_node_path(host_node_of(node), &path);
    if (error)
        return error;
    error = host_statx(path->fd, &stat);
    host_file_unref(path);
    if (error)
        return error;
    *out = (struct linux_stat_data){
        .device = device_number(host_node_of(node)->fs, host_node_of(node)->device),
        .inode = stat.stx_ino,
        .link_count = stat.stx_nlink,
        .rdev = makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        .size = stat.stx_size,
        .blocks = stat.stx_blocks,
        .mode = stat.stx_mode,
        .uid = stat.stx_uid,
        .gid = stat.stx_gid,
        .block_size = stat.stx_blksize,
        .access = file_time_of(&stat.stx_atime),
        .modify = file_time_of(&stat.stx_mtime),
        .change = file_time_of(&stat.stx_ctime),
        .birth = file_time_of(&stat.stx_btime),
        .has_birth = stat.stx_mask & STATX_BTIME,
    };
    node->mode = stat.stx_mode;
    return 0;
}

static int64_t hostfs_read_link(struct node *node, char *target, size_t size)
{
    struct host_file *path;
    int error = host_node_path(host_node_of(node), &path);
    if (error)
        return error;
    int64_t length = host_raw(SYS_readlinkat, path->fd, (uintptr_t) "", (uintptr_t)target, size, 0, 0);
    host_file_unref(path);
    return length;
}

/* --- directories ------------------------------------------------------------------------------------- */

struct host_dirent {
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* False when emit has had enough. */
static bool emit_chunk(const char *chunk, int64_t size, int64_t *cookie, directory_emit *emit, void *context)
{
    for (int64_t at = 0; at < size;) {
        const struct host_dirent *entry = (const void *)(chunk + at);
        if (!emit(context, entry->name, strlen(entry->name), entry->inode, entry->type, entry->next))
            return false;
        *cookie = entry->next;
        at += entry->length;
    }
    return true;
}

static int emit_entries(int fd, int64_t *cookie, directory_emit *emit, void *context)
{
    int64_t size = *cookie ? host_raw(SYS_lseek, fd, (uint64_t)*cookie, SEEK_SET, 0, 0, 0) : 0;
    char *chunk = kalloc(DIRECTORY_CHUNK);
    if (!chunk)
        return -ENOMEM;
    bool more = size >= 0;
    while (more) {
        size = host_raw_pooled(SYS_getdents64, fd, (uintptr_t)chunk, DIRECTORY_CHUNK, 0, 0, 0);
        more = size > 0 && emit_chunk(chunk, size, cookie, emit, context);
    }
    kfree(chunk);
    return size < 0 ? (int)size : 0;
}

static int emit_dots(struct node *node, int64_t *cookie, directory_emit *emit, void *context)
{
    while (*cookie < 2) {
        if (!emit(context, "..", (size_t)*cookie + 1, node->inode, LINUX_S_IFDIR >> 12, *cookie + 1))
            break;
        ++*cookie;
    }
    return 0;
}

static int hostfs_read_directory(struct node *dir, int64_t *cookie, directory_emit *emit, void *context)
{
    struct host_file *path;
    if (host_node_of(dir)->forbidden)
        return emit_dots(dir, cookie, emit, context);
    int error = host_node_path(host_node_of(dir), &path);
    if (error)
        return error;
    int fd = host_open_beneath(path->fd, ".", O_RDONLY | O_DIRECTORY, 0);
    host_file_unref(path);
    if (fd < 0)
        return fd;
    error = emit_entries(fd, cookie, emit, context);
    close(fd);
    return error;
}

/* --- contents ---------------------------------------------------------------------------------------- */

static int64_t read_direct(struct host_file *file, struct io *io, uint64_t offset)
{
    int64_t moved = host_file_read(file, io->kernel, offset, io_left(io));
    if (moved > 0)
        io_skip(io, (size_t)moved);
    return moved;
}

static int64_t read_bounced(struct host_file *file, struct io *io, uint64_t offset)
{
    size_t chunk = io_left(io) < READ_CHUNK ? io_left(io) : READ_CHUNK;
    char *buffer = kalloc(chunk ? chunk : 1);
    int64_t done = 0, moved = buffer ? 1 : -ENOMEM;
    while (moved > 0 && io_left(io)) {
        size_t want = io_left(io) < chunk ? io_left(io) : chunk;
        moved = host_file_read(file, buffer, offset + (uint64_t)done, want);
        if (moved <= 0)
            break;
        size_t put = io_put(io, buffer, (size_t)moved);
        done += (int64_t)put;
        if (put < (size_t)moved)
            moved = -EFAULT;
        else if ((size_t)moved < want)
            break;
    }
    kfree(buffer);
    return done ? done : moved < 0 ? moved : 0;
}

static int64_t hostfs_read(struct node *node, struct io *io, uint64_t offset)
{
    struct host_file *file;
    int error = host_node_contents(host_node_of(node), false, &file);
    if (error)
        return error;
    int64_t moved = io->vectors ? read_bounced(file, io, offset) : read_direct(file, io, offset);
    host_file_unref(file);
    return moved;
}

static int hostfs_map(struct node *node, uint32_t prot, bool shared, struct memobj **memobj)
{
    struct host_node *host = host_node_of(node);
    struct linux_stat_data stat;
    if (shared && (prot & PROT_WRITE_BIT) && !host->fs->writable)
        return -EROFS;
    int error = hostfs_get_attr(node, &stat);
    if (!error)
        error = host_node_memobj(host, host->fs->writable, memobj);
    if (error)
        return error;
    mutex_lock(&(*memobj)->mutex);
    (*memobj)->size = stat.size;
    mutex_unlock(&(*memobj)->mutex);
    return 0;
}

/* What can be opened is opened now, so that the host's refusal is open's error. The host's own devices never are. */
static int hostfs_open(struct node *node, uint32_t flags, struct file **file)
{
    struct host_file *contents;
    *file = NULL;
    switch (node->mode & LINUX_S_IFMT) {
    case LINUX_S_IFREG: {
        bool write = (flags & LINUX_O_ACCMODE) != LINUX_O_RDONLY;
        int error = host_node_contents(host_node_of(node), write, &contents);
        if (!error)
            host_file_unref(contents);
        return error;
    }
    case LINUX_S_IFCHR:
    case LINUX_S_IFBLK: { /* the number names a device of the guest's */
        struct linux_stat_data stat;
        int error = hostfs_get_attr(node, &stat);
        return error ? error : device_open(stat.mode, stat.rdev, flags, file);
    }
    case LINUX_S_IFSOCK:
        return -ENXIO;
    default:
        return 0;
    }
}

/* Only the user's own namespace: the others speak of the host's security, which is not the guest's. */
static bool xattr_visible(const char *name) { return !strncmp(name, "user.", 5); }

static int64_t with_contents(struct node *node, long number, uint64_t a, uint64_t b, uint64_t c)
{
    struct host_file *file;
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -EOPNOTSUPP;
    int error = host_node_contents(host_node_of(node), false, &file);
    if (error)
        return error;
    int64_t result = host_raw_pooled(number, file->fd, a, b, c, 0, 0);
    host_file_unref(file);
    return result;
}

static int64_t hostfs_get_xattr(struct node *node, const char *name, void *value, size_t size)
{
    if (!xattr_visible(name))
        return -EOPNOTSUPP;
    return with_contents(node, SYS_fgetxattr, (uintptr_t)name, (uintptr_t)value, size);
}

/* Keeps the visible names of a list of terminated names; its new length. */
static int64_t filter_names(char *names, int64_t length)
{
    int64_t kept = 0;
    for (int64_t at = 0; at < length;) {
        int64_t one = (int64_t)strlen(names + at) + 1;
        if (xattr_visible(names + at)) {
            memmove(names + kept, names + at, (size_t)one);
            kept += one;
        }
        at += one;
    }
    return kept;
}

static int64_t hostfs_list_xattr(struct node *node, char *names, size_t size)
{
    char *all = kalloc(XATTR_LIST_MAX);
    if (!all)
        return -ENOMEM;
    int64_t length = with_contents(node, SYS_flistxattr, (uintptr_t)all, XATTR_LIST_MAX, 0);
    if (length == -EOPNOTSUPP || length == -EACCES)
        length = 0;
    if (length > 0)
        length = filter_names(all, length);
    if (length > 0 && size && (size_t)length > size)
        length = -ERANGE;
    else if (length > 0 && size)
        memcpy(names, all, (size_t)length);
    kfree(all);
    return length;
}

static const struct node_ops hostfs_node_ops = {
    .get_attr = hostfs_get_attr,
    .set_attr = hostfs_set_attr,
    .lookup = hostfs_lookup,
    .create = hostfs_create_node,
    .link = hostfs_link,
    .unlink = hostfs_unlink,
    .remove_directory = hostfs_remove_directory,
    .rename = hostfs_rename,
    .read_link = hostfs_read_link,
    .read_directory = hostfs_read_directory,
    .read = hostfs_read,
    .write = hostfs_write,
    .sync = hostfs_sync,
    .allocate = hostfs_allocate,
    .map = hostfs_map,
    .open = hostfs_open,
    .get_xattr = hostfs_get_xattr,
    .set_xattr = hostfs_set_xattr,
    .list_xattr = hostfs_list_xattr,
    .remove_xattr = hostfs_remove_xattr,
    .release = hostfs_release_node,
};

/* --- the instance ------------------------------------------------------------------------------------ */

static int hostfs_stat_fs(struct fs *fs, struct linux_statfs_data *out)
{
    struct host_file *path;
    struct statfs stat;
    int error = host_node_path(host_node_of(fs->root), &path);
    if (error)
        return error;
    error = (int)host_raw_pooled(SYS_fstatfs, path->fd, (uintptr_t)&stat, 0, 0, 0, 0);
    host_file_unref(path);
    if (error)
        return error;
    *out = (struct linux_statfs_data){
        .type = (uint64_t)stat.f_type,
        .block_size = (uint64_t)stat.f_bsize,
        .blocks = stat.f_blocks,
        .blocks_free = stat.f_bfree,
        .blocks_available = stat.f_bavail,
        .files = stat.f_files,
        .files_free = stat.f_ffree,
        .fsid = fs->device,
        .name_length = NAME_LENGTH_MAX,
    };
    return 0;
}

static int hostfs_sync_fs(struct fs *fs)
{
    struct host_file *path;
    if (!((struct host_fs *)fs->data)->writable)
        return 0;
    int error = host_node_path(host_node_of(fs->root), &path);
    if (error)
        return error;
    int fd = host_open_beneath(path->fd, ".", O_RDONLY | O_DIRECTORY, 0);
    host_file_unref(path);
    if (fd < 0)
        return 0; /* the root is a file: its fsync is enough */
    error = (int)host_raw_pooled(SYS_syncfs, fd, 0, 0, 0, 0, 0);
    close(fd);
    return error;
}

static void hostfs_release(struct fs *fs) { host_fs_put(fs->data); }

static const struct fs_ops hostfs_ops = {
    .name = "hostfs",
    .stat_fs = hostfs_stat_fs,
    .sync_fs = hostfs_sync_fs,
    .release = hostfs_release,
};

static struct host_fs *host_fs_create(bool read_only)
{
    struct host_fs *fs = kzalloc(sizeof *fs);
    if (!fs)
        return NULL;
    fs->writable = !read_only;
    atomic32_store_relaxed(&fs->references, 1);
    spinlock_init(&fs->lock, RANK_NODE_TABLE);
    for (size_t i = 0; i < HOSTFS_BUCKETS; i++)
        list_init(&fs->buckets[i]);
    list_init(&fs->lru);
    list_init(&fs->dying);
    fs->fs = fs_create(&hostfs_ops, fs);
    if (!fs->fs) {
        kfree(fs);
        return NULL;
    }
    fs->fs->read_only = read_only;
    return fs;
}

/* A root that is a file has no parent to be opened through again: its descriptors stay. */
static int open_root_file(struct host_node *root, const char *host_path)
{
    int write_fd = root->fs->writable ? open(host_path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    int fd = open(host_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        if (write_fd >= 0)
            close(write_fd);
        return -errno;
    }
    root->contents = host_file_create(fd, write_fd);
    return root->contents ? 0 : -ENOMEM;
}

static int root_create(struct host_fs *fs, const char *host_path)
{
    int fd = open(host_path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = host_node_for(fs, fd, NULL, NULL, &fs->fs->root);
    if (error)
        return error;
    struct host_node *root = host_node_of(fs->fs->root);
    device_number(fs, root->device);
    host_node_pin(root);
    uint32_t type = root->node->mode & LINUX_S_IFMT;
    return type == LINUX_S_IFREG ? open_root_file(root, host_path) : type == LINUX_S_IFDIR ? 0 : -ENOTDIR;
}

struct fs *hostfs_create(const char *host_path, bool read_only, int *error)
{
    struct host_fs *fs = host_fs_create(read_only);
    *error = fs ? root_create(fs, host_path) : -ENOMEM;
    if (!*error)
        return fs->fs;
    if (fs)
        object_unref(fs->fs);
    return NULL;
}
