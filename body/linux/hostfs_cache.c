/*
 * The descriptors of host nodes: opened when used, kept while used often, closed when too many.
 *
 * One list orders the nodes that hold descriptors by their last use. When it grows past its limit the last
 * one's are dropped, except those that could not be opened again (pinned). Users hold references of their
 * own (struct host_file), so a descriptor never closes under a host call. A node's memobj is cached with it
 * and dropped only when nobody else has it, for a mapped file must stay one memobj.
 *
 * Opening again goes from the nearest ancestor that has a descriptor down, one component at a time.
 */
#include "body/linux/hostfs.h"
#include "kernel/string.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* What one node gave up, to be dropped without the lock. */
struct spoils {
    struct host_file *path, *contents;
    struct memobj *memobj;
};

static void spoils_drop(struct spoils *spoils)
{
    host_file_unref(spoils->path);
    host_file_unref(spoils->contents);
    object_unref(spoils->memobj);
}

static void take_descriptors_locked(struct host_node *node, struct spoils *spoils)
{
    *spoils = (struct spoils){node->path, node->contents, NULL};
    node->path = node->contents = NULL;
    /* References beyond ours are only taken under this lock while it is cached here. */
    if (node->memobj && atomic32_load(&node->memobj->object.references) == 1) {
        spoils->memobj = node->memobj;
        node->memobj = NULL;
    }
    if (list_linked(&node->lru_link)) {
        list_remove(&node->lru_link);
        node->fs->lru_count--;
    }
}

/* Moves the node to the front; gives up the last one's descriptors when there are too many. */
static void touch_locked(struct host_node *node, struct spoils *spoils)
{
    struct host_fs *fs = node->fs;
    *spoils = (struct spoils){0};
    if (node->pinned)
        return;
    if (list_linked(&node->lru_link))
        list_remove(&node->lru_link);
    else
        fs->lru_count++;
    list_push_front(&fs->lru, &node->lru_link);
    if (fs->lru_count > HOSTFS_CACHED_NODES_MAX)
        take_descriptors_locked(LIST_ENTRY(fs->lru.prev, struct host_node, lru_link), spoils);
}

static struct host_file *cached(struct host_node *node, struct host_file **slot)
{
    struct spoils spoils = {0};
    spin_lock(&node->fs->lock);
    struct host_file *file = *slot ? host_file_ref(*slot) : NULL;
    if (file)
        touch_locked(node, &spoils);
    spin_unlock(&node->fs->lock);
    spoils_drop(&spoils);
    return file;
}

/* Puts a file made outside the lock into the slot; a rival's that came first (and is good enough) wins. */
static struct host_file *cache(struct host_node *node, struct host_file **slot, struct host_file *file, bool write)
{
    struct spoils spoils = {0};
    struct host_file *old = NULL;
    spin_lock(&node->fs->lock);
    if (*slot && (!write || (*slot)->write_fd >= 0)) {
        old = file;
        file = *slot;
    } else {
        old = *slot;
        *slot = file;
    }
    host_file_ref(file);
    touch_locked(node, &spoils);
    spin_unlock(&node->fs->lock);
    host_file_unref(old);
    spoils_drop(&spoils);
    return file;
}

void host_node_forget(struct host_node *node)
{
    struct spoils spoils;
    spin_lock(&node->fs->lock);
    take_descriptors_locked(node, &spoils);
    struct memobj *memobj = node->memobj;
    node->memobj = NULL;
    spin_unlock(&node->fs->lock);
    spoils_drop(&spoils);
    object_unref(memobj);
}

bool host_node_name(struct host_node *node, struct node **parent, char name[NAME_LENGTH_MAX + 1])
{
    spin_lock(&node->fs->lock);
    bool found = node->parent != NULL;
    if (found) {
        *parent = object_ref(node->parent);
        size_t length = strlen(node->name);
        memcpy(name, node->name, length + 1);
    }
    spin_unlock(&node->fs->lock);
    return found;
}

static int check_identity(struct host_node *node, int fd)
{
    struct statx stat;
    int error = host_statx(fd, &stat);
    if (error)
        return error;
    bool same = stat.stx_ino == node->inode && makedev(stat.stx_dev_major, stat.stx_dev_minor) == node->device &&
                stat.stx_btime.tv_sec == node->birth_seconds && stat.stx_btime.tv_nsec == node->birth_nanoseconds;
    return same ? 0 : -ESTALE;
}

/* The node's own name beneath its parent's descriptor. */
static int open_named(struct host_node *node, int directory, const char *name, int flags)
{
    int fd = host_open_beneath(directory, name, (uint64_t)flags, 0);
    if (fd < 0)
        return fd == -ENOENT || fd == -ELOOP || fd == -ENXIO ? -ESTALE : fd;
    int error = check_identity(node, fd);
    if (error)
        close(fd);
    return error ? error : fd;
}

/* Opens the topmost ancestor (or the node itself) that has no descriptor and whose parent has one. */
static int path_step(struct host_node *node)
{
    struct node *current = object_ref(node->node);
    for (;;) {
        char name[NAME_LENGTH_MAX + 1];
        struct node *parent;
        if (!host_node_name(host_node_of(current), &parent, name)) {
            object_unref(current);
            return -ESTALE;
        }
        struct host_file *directory = cached(host_node_of(parent), &host_node_of(parent)->path);
        if (!directory) {
            object_unref(current);
            current = parent;
            continue;
        }
        int fd = open_named(host_node_of(current), directory->fd, name, O_PATH);
        host_file_unref(directory);
        if (fd >= 0) {
            struct host_file *file = host_file_create(fd, -1);
            fd = file ? 0 : -ENOMEM;
            if (file)
                host_file_unref(cache(host_node_of(current), &host_node_of(current)->path, file, false));
        }
        object_unref(parent);
        object_unref(current);
        return fd;
    }
}

int host_node_path(struct host_node *node, struct host_file **path)
{
    /* The bound is for a tree that others keep moving, or deeper than the cache. */
    for (int turn = 0; turn < PATH_LENGTH_MAX; turn++) {
        *path = cached(node, &node->path);
        if (*path)
            return 0;
        int error = path_step(node);
        if (error)
            return error;
    }
    return -ESTALE;
}

static int open_through_parent(struct host_node *node, int flags)
{
    char name[NAME_LENGTH_MAX + 1];
    struct node *parent;
    if (!host_node_name(node, &parent, name))
        return -ESTALE;
    struct host_file *directory;
    int fd = host_node_path(host_node_of(parent), &directory);
    if (!fd) {
        fd = open_named(node, directory->fd, name, flags | O_NONBLOCK | O_NOCTTY);
        host_file_unref(directory);
    }
    object_unref(parent);
    return fd;
}

int host_node_contents(struct host_node *node, bool write, struct host_file **contents)
{
    if (write && !node->fs->writable)
        return -EROFS;
    *contents = cached(node, &node->contents);
    if (*contents && (!write || (*contents)->write_fd >= 0))
        return 0;
    host_file_unref(*contents);
    int fd = open_through_parent(node, write ? O_RDWR : O_RDONLY);
    int write_fd = -1;
    if (fd >= 0 && write) {
        write_fd = fd;
        fd = open_through_parent(node, O_RDONLY);
        if (fd < 0)
            close(write_fd);
    }
    if (fd < 0)
        return fd;
    struct host_file *file = host_file_create(fd, write_fd);
    if (!file)
        return -ENOMEM;
    *contents = cache(node, &node->contents, file, write);
    return 0;
}

void host_node_adopt(struct host_node *node, struct host_file *contents)
{
    if (contents)
        host_file_unref(cache(node, &node->contents, contents, true));
}

static int memobj_make(struct host_node *node, bool write, struct memobj **memobj)
{
    struct host_file *file;
    int error = host_node_contents(node, write, &file);
    if (error)
        return error;
    *memobj = memobj_create_host_file(file, 0);
    if (!*memobj)
        host_file_unref(file);
    return *memobj ? 0 : -ENOMEM;
}

static struct memobj *memobj_cached(struct host_node *node, struct memobj *fresh)
{
    struct spoils spoils = {0};
    spin_lock(&node->fs->lock);
    if (!node->memobj && fresh)
        node->memobj = object_ref(fresh);
    struct memobj *memobj = node->memobj ? object_ref(node->memobj) : NULL;
    if (memobj)
        touch_locked(node, &spoils);
    spin_unlock(&node->fs->lock);
    spoils_drop(&spoils);
    return memobj;
}

int host_node_memobj(struct host_node *node, bool write, struct memobj **memobj)
{
    *memobj = memobj_cached(node, NULL);
    if (!*memobj) {
        struct memobj *fresh;
        int error = memobj_make(node, write, &fresh);
        if (error && write)
            error = memobj_make(node, false, &fresh);
        if (error)
            return error;
        *memobj = memobj_cached(node, fresh);
        object_unref(fresh);
    }
    return 0;
}

void host_node_pin(struct host_node *node)
{
    struct host_file *file;
    if ((node->node->mode & LINUX_S_IFMT) == LINUX_S_IFREG && !host_node_contents(node, node->fs->writable, &file))
        host_file_unref(file);
    if (!host_node_path(node, &file))
        host_file_unref(file);
    spin_lock(&node->fs->lock);
    node->pinned = true;
    if (list_linked(&node->lru_link)) {
        list_remove(&node->lru_link);
        node->fs->lru_count--;
    }
    spin_unlock(&node->fs->lock);
}
