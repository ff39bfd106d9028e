/*
 * The in-memory file system (tmpfs): files over anonymous memobjs, directories as hash tables.
 *
 *   struct memfs     an instance
 *   struct memnode   our part of a node
 *   struct mementry  a name in a directory (memfs_names.c): holds a reference to its node
 *
 * A node may have a lower one, in another file system, and take over from it bit by bit: that makes an overlay, and is
 * the business of overlay.c, whose functions do nothing for the others.
 *
 * One mutex per instance (rank DIRECTORY) guards all names and link counts, so that a rename looks at four nodes
 * without an order of its own; a spinlock guards attributes. Contents are the memobj's business; extended
 * attributes are under the node's mutex. A directory knows its parent by inode number only, so that references
 * never form a circle.
 *
 * Directory cookies count upwards per directory and are never used again: a reader that comes back after
 * names came and went sees every name that stayed, once.
 */
#include "abi/linux/fs/memfs.h"

#include "abi/linux/fs/memfs_node.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/string.h"

#define TMPFS_MAGIC 0x01021994
#define FIRST_BUCKETS 8u

static struct memfs *memfs_of(struct fs *fs) { return CONTAINER_OF(fs->ops, struct memfs, ops); }

void memfs_put(struct memfs *memfs)
{
    if (atomic32_sub(&memfs->references, 1) != 1)
        return;
    kfree(memfs->table);
    kfree(memfs);
}

/* --- nodes ------------------------------------------------------------------------------------------- */

static struct memnode *memnode_alloc(struct memfs *fs, uint32_t mode)
{
    struct memnode *mem = kzalloc(sizeof *mem);
    if (!mem)
        return NULL;
    atomic32_add(&fs->references, 1);
    mem->fs = fs;
    mem->mode = mode;
    list_init(&mem->entries);
    list_init(&mem->xattrs);
    list_init(&mem->table_link);
    list_init(&mem->own_link);
    mem->next_cookie = 3;
    return mem;
}

/* The part that depends on the type: false without memory. */
static bool memnode_fill(struct memnode *mem, const char *target)
{
    switch (mem->mode & LINUX_S_IFMT) {
    case LINUX_S_IFREG:
        if (mem->lower)
            return true;
        atomic_ptr_store_release(&mem->memobj, memobj_create(0));
        return memnode_memobj(mem) != NULL;
    case LINUX_S_IFLNK:
        if (mem->lower)
            return true;
        return (mem->target = kstrdup(target)) != NULL;
    case LINUX_S_IFDIR:
        mem->buckets = kzalloc(FIRST_BUCKETS * sizeof *mem->buckets);
        mem->bucket_count = FIRST_BUCKETS;
        mem->link_count = 2; /* "." and its name */
        mem->complete = !mem->lower;
        return mem->buckets != NULL;
    default:
        return true;
    }
}

static void memnode_free(struct memnode *mem)
{
    memfs_free_xattrs(mem);
    object_unref(memnode_memobj(mem));
    object_unref(mem->lower);
    kfree(mem->target);
    kfree(mem->buckets);
    memfs_put(mem->fs);
    kfree(mem);
}

static struct node *make_node(struct fs *fs, struct memnode *mem, const char *target, uint64_t inode)
{
    if (memnode_fill(mem, target))
        mem->node = node_create(fs, &memfs_node_ops, mem->mode, inode, mem);
    if (!mem->node) {
        memnode_free(mem);
        return NULL;
    }
    if (node_is_directory(mem->node)) {
        mem->parent_inode = inode;
        mem->node->flags |= NODE_CACHE_NEGATIVE;
    }
    return mem->node;
}

struct node *memfs_make_node(struct fs *fs, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid, uint32_t gid)
{
    struct memnode *mem = memnode_alloc(memfs_of(fs), mode);
    if (!mem)
        return NULL;
    mem->uid = uid;
    mem->gid = gid;
    mem->rdev = rdev;
    mem->access = mem->modify = mem->change = mem->birth = wall_time();
    mem->own = mem->own_xattrs = true;
    return make_node(fs, mem, target, memfs_inode(fs));
}

struct node *memfs_make_over(struct fs *fs, struct node *lower)
{
    struct memnode *mem = memnode_alloc(memfs_of(fs), lower->mode);
    if (!mem)
        return NULL;
    mem->lower = object_ref(lower);
    return make_node(fs, mem, NULL, lower->inode);
}

uint64_t memfs_inode(struct fs *fs) { return atomic64_add_relaxed(&memfs_of(fs)->next_inode, 1); }

static void memfs_release_node(struct node *node)
{
    struct memnode *mem = memnode_of(node);
    overlay_forget(mem);
    if (!list_empty(&mem->entries))
        memfs_bury(&mem->entries);
    memnode_free(mem);
}

/* --- attributes and contents ------------------------------------------------------------------------- */

static int size_of(struct memnode *mem, struct linux_stat_data *stat)
{
    struct memobj *memobj = memnode_memobj(mem);
    *stat = (struct linux_stat_data){.device = mem->node->fs->device, .rdev = mem->rdev, .block_size = PAGE_SIZE};
    if (memobj) {
        stat->size = memobj->size;
        stat->blocks = memobj_resident(memobj) / 512;
        return 0;
    }
    if (mem->lower && !node_is_directory(mem->node))
        return overlay_get_attr(mem->node, stat);
    stat->size = mem->target ? strlen(mem->target) : mem->entry_count * 20;
    return 0;
}

static int memfs_get_attr(struct node *node, struct linux_stat_data *stat)
{
    struct memnode *mem = memnode_of(node);
    struct linux_stat_data size;
    spin_lock(&mem->fs->attributes);
    bool own = mem->own;
    spin_unlock(&mem->fs->attributes);
    if (!own)
        return overlay_get_attr(node, stat);
    int error = size_of(mem, &size);
    if (error)
        return error;
    spin_lock(&mem->fs->attributes);
    *stat = (struct linux_stat_data){
        .device = size.device,
        .inode = node->inode,
        .link_count = mem->link_count,
        .rdev = size.rdev,
        .size = size.size,
        .blocks = size.blocks,
        .mode = mem->mode,
        .uid = mem->uid,
        .gid = mem->gid,
        .block_size = size.block_size,
        .access = mem->access,
        .modify = mem->modify,
        .change = mem->change,
        .birth = mem->birth,
        .has_birth = true,
    };
    spin_unlock(&mem->fs->attributes);
    return 0;
}

static void apply_attr(struct memnode *mem, const struct node_attr *attr, struct file_time now)
{
    if (attr->valid & ATTR_MODE)
        mem->mode = (mem->mode & LINUX_S_IFMT) | (attr->mode & ~(uint32_t)LINUX_S_IFMT);
    if (attr->valid & ATTR_UID)
        mem->uid = attr->uid;
    if (attr->valid & ATTR_GID)
        mem->gid = attr->gid;
    if (attr->valid & ATTR_ATIME)
        mem->access = attr->access;
    if (attr->valid & ATTR_SIZE)
        mem->modify = now;
    if (attr->valid & ATTR_MTIME)
        mem->modify = attr->modify;
    mem->change = now;
}

static int change_size(struct node *node, uint64_t size)
{
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return node_is_directory(node) ? -EISDIR : -EINVAL;
    if (size > MEMOBJ_SIZE_MAX)
        return -EFBIG;
    int error = overlay_copy_up(node, size);
    return error ? error : memobj_resize(memnode_memobj(memnode_of(node)), size);
}

static int memfs_set_attr(struct node *node, const struct node_attr *attr)
{
    struct memnode *mem = memnode_of(node);
    struct memfs *fs = mem->fs;
    int error = overlay_own(node);
    if (!error && (attr->valid & ATTR_SIZE))
        error = change_size(node, attr->size);
    if (error)
        return error;
    struct file_time now = wall_time();
    spin_lock(&fs->attributes);
    apply_attr(mem, attr, now);
    node->mode = mem->mode;
    spin_unlock(&fs->attributes);
    return 0;
}

static bool not_after(const struct file_time *a, const struct file_time *b)
{
    return a->seconds < b->seconds || (a->seconds == b->seconds && a->nanoseconds <= b->nanoseconds);
}

bool access_time_due(const struct file_time *access, const struct file_time *modify, const struct file_time *change,
                     const struct file_time *now)
{
    return not_after(access, modify) || not_after(access, change) || now->seconds - access->seconds >= 24 * 60 * 60;
}

static void touch(struct node *node, bool written)
{
    struct memnode *mem = memnode_of(node);
    struct memfs *fs = mem->fs;
    struct file_time now = wall_time();
    spin_lock(&fs->attributes);
    if (written)
        mem->modify = mem->change = now;
    else if (access_time_due(&mem->access, &mem->modify, &mem->change, &now))
        mem->access = now;
    spin_unlock(&fs->attributes);
}

static int64_t memfs_read_link(struct node *node, char *target, size_t size)
{
    struct memnode *mem = memnode_of(node);
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFLNK)
        return -EINVAL;
    if (mem->lower)
        return mem->lower->ops->read_link(mem->lower, target, size);
    size_t length = strlen(mem->target);
    length = length < size ? length : size;
    memcpy(target, mem->target, length);
    return (int64_t)length;
}

static int64_t memfs_read(struct node *node, struct io *io, uint64_t offset)
{
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return node_is_directory(node) ? -EISDIR : -EINVAL;
    struct memnode *mem = memnode_of(node);
    struct memobj *memobj = memnode_memobj(mem);
    if (!memobj)
        return mem->lower->ops->read(mem->lower, io, offset);
    int64_t done = io_put_memobj(io, memobj, offset);
    touch(node, false);
    return done;
}

static int64_t memfs_write(struct node *node, struct io *io, uint64_t offset)
{
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -EINVAL;
    if (!io_left(io))
        return 0;
    if (offset >= MEMOBJ_SIZE_MAX)
        return -EFBIG;
    int error = overlay_copy_up(node, UINT64_MAX);
    if (error)
        return error;
    int64_t done = io_get_memobj(io, memnode_memobj(memnode_of(node)), offset);
    if (done > 0)
        touch(node, true);
    return done;
}

static int memfs_sync(struct node *node, bool data_only)
{
    (void)node, (void)data_only;
    return 0;
}

enum { FALLOCATE_KEEP_SIZE = 1, FALLOCATE_PUNCH_HOLE = 2, FALLOCATE_ZERO_RANGE = 16 };

/* Space is found when it is written to; what can be promised is the size. */
static int memfs_allocate(struct node *node, int mode, uint64_t offset, uint64_t size)
{
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -ENODEV;
    if (offset + size > MEMOBJ_SIZE_MAX)
        return -EFBIG;
    if (mode & ~(FALLOCATE_KEEP_SIZE | FALLOCATE_PUNCH_HOLE | FALLOCATE_ZERO_RANGE))
        return -EOPNOTSUPP;
    if ((mode & FALLOCATE_PUNCH_HOLE) && !(mode & FALLOCATE_KEEP_SIZE))
        return -EOPNOTSUPP;
    int error = overlay_copy_up(node, UINT64_MAX);
    if (error)
        return error;
    struct memobj *memobj = memnode_memobj(memnode_of(node));
    if (mode & (FALLOCATE_PUNCH_HOLE | FALLOCATE_ZERO_RANGE)) {
        uint64_t end = min_u64(offset + size, memobj->size);
        error = offset < end ? memobj_punch(memobj, offset, end - offset) : 0;
    }
    if (!error && !(mode & FALLOCATE_KEEP_SIZE) && offset + size > memobj->size)
        error = memobj_resize(memobj, offset + size);
    if (!error)
        touch(node, true);
    return error;
}

static int memfs_map(struct node *node, uint32_t prot, bool shared, struct memobj **memobj)
{
    struct memnode *mem = memnode_of(node);
    int error = 0;
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -ENODEV;
    if (shared && (prot & PROT_WRITE_BIT))
        error = overlay_copy_up(node, UINT64_MAX);
    if (error)
        return error;
    if (!memnode_memobj(mem))
        return mem->lower->ops->map(mem->lower, prot, shared, memobj);
    *memobj = object_ref(memnode_memobj(mem));
    return 0;
}

static int memfs_open(struct node *node, uint32_t flags, struct file **file)
{
    struct memnode *mem = memnode_of(node);
    *file = NULL;
    switch (node->mode & LINUX_S_IFMT) {
    case LINUX_S_IFREG: /* the lower file system may refuse what the mode allows */
        if (memnode_memobj(mem) || !mem->lower->ops->open)
            return 0;
        return mem->lower->ops->open(mem->lower, flags & ~(uint32_t)LINUX_O_ACCMODE, file);
    case LINUX_S_IFCHR:
    case LINUX_S_IFBLK:
        if (mem->lower)
            return mem->lower->ops->open(mem->lower, flags, file);
        return device_open(node->mode, mem->rdev, flags, file);
    case LINUX_S_IFSOCK:
        return -ENXIO;
    default:
        return 0;
    }
}

const struct node_ops memfs_node_ops = {
    .get_attr = memfs_get_attr,
    .set_attr = memfs_set_attr,
    .lookup = memfs_lookup,
    .create = memfs_create_child,
    .link = memfs_link,
    .unlink = memfs_unlink,
    .remove_directory = memfs_remove_directory,
    .rename = memfs_rename,
    .read_link = memfs_read_link,
    .read_directory = memfs_read_directory,
    .read = memfs_read,
    .write = memfs_write,
    .sync = memfs_sync,
    .allocate = memfs_allocate,
    .map = memfs_map,
    .open = memfs_open,
    .get_xattr = memfs_get_xattr,
    .set_xattr = memfs_set_xattr,
    .list_xattr = memfs_list_xattr,
    .remove_xattr = memfs_remove_xattr,
    .release = memfs_release_node,
};

/* --- the instance ------------------------------------------------------------------------------------ */

static int memfs_stat_fs(struct fs *fs, struct linux_statfs_data *stat)
{
    uint64_t blocks = MEMOBJ_SIZE_MAX / PAGE_SIZE;
    *stat = (struct linux_statfs_data){
        .type = TMPFS_MAGIC,
        .block_size = PAGE_SIZE,
        .blocks = blocks,
        .blocks_free = blocks,
        .blocks_available = blocks,
        .fsid = fs->device,
        .name_length = NAME_LENGTH_MAX,
    };
    return 0;
}

static int memfs_sync_fs(struct fs *fs)
{
    (void)fs;
    return 0;
}

static void memfs_release(struct fs *fs) { memfs_put(memfs_of(fs)); }

struct memfs *memfs_alloc(const char *name, uint64_t first_inode)
{
    struct memfs *mem = kzalloc(sizeof *mem);
    if (!mem)
        return NULL;
    mem->ops = (struct fs_ops){.name = name, .stat_fs = memfs_stat_fs, .sync_fs = memfs_sync_fs, .release = memfs_release};
    atomic32_store_relaxed(&mem->references, 1);
    mutex_init(&mem->tree, RANK_DIRECTORY);
    spinlock_init(&mem->attributes, RANK_NODE_TABLE);
    atomic64_store_relaxed(&mem->next_inode, first_inode);
    list_init(&mem->owned);
    return mem;
}

struct fs *memfs_create_named(const char *name)
{
    struct memfs *mem = memfs_alloc(name, 1);
    struct fs *fs = mem ? fs_create(&mem->ops, NULL) : NULL;
    if (!fs) {
        if (mem)
            memfs_put(mem);
        return NULL;
    }
    fs->root = memfs_make_node(fs, LINUX_S_IFDIR | 0755, 0, NULL, 0, 0);
    if (!fs->root) {
        object_unref(fs);
        return NULL;
    }
    return fs;
}

struct fs *memfs_create(void) { return memfs_create_named("tmpfs"); }
