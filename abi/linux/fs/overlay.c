/*
 * The overlay: a private in-memory layer over another file system that never changes.
 *
 * It is a memfs whose nodes may have a lower node and take over from it when something is changed, each
 * aspect for itself: the attributes (own), the contents (memobj), the extended attributes (own_xattrs), the names
 * of a directory (complete). A directory that was read or changed knows all its names, as entries that wait for
 * someone to look at them; so removing or renaming a name needs no mark in its place, and a lower directory moves
 * like any other.
 *
 * One lower node has one node above: a table by lower node, without references, gives the same node however it is
 * reached, and so the same inode number before and after. A node that differs from its lower one is kept alive by
 * the instance (`owned`) until its last name goes.
 */
#include "abi/linux/fs/memfs.h"

#include "abi/linux/fs/memfs_node.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define COPY_CHUNK ((size_t)64 << 10)
#define FIRST_UPPER_INODE ((uint64_t)1 << 40) /* the lower file system's numbers are hoped to be below */
#define XATTR_NAMES_MAX 65536u

/* --- nodes over lower nodes -------------------------------------------------------------------------- */

static struct list *bucket_of(struct memfs *fs, struct node *lower) { return &fs->table[((uintptr_t)lower >> 6) % OVERLAY_BUCKETS]; }

static struct node *find_locked(struct memfs *fs, struct node *lower)
{
    struct list *bucket = bucket_of(fs, lower);
    LIST_FOR_EACH (link, bucket) {
        struct memnode *mem = LIST_ENTRY(link, struct memnode, table_link);
        if (mem->lower == lower && object_try_ref(mem->node))
            return mem->node;
    }
    return NULL;
}

/* The node over a lower one: a reference, or NULL without memory. */
static struct node *node_over(struct fs *fs, struct memfs *mem, struct node *lower)
{
    spin_lock(&mem->attributes);
    struct node *node = find_locked(mem, lower);
    spin_unlock(&mem->attributes);
    if (node)
        return node;
    struct node *fresh = memfs_make_over(fs, lower);
    if (!fresh)
        return NULL;
    spin_lock(&mem->attributes);
    node = find_locked(mem, lower);
    if (!node) {
        list_push_front(bucket_of(mem, lower), &memnode_of(fresh)->table_link);
        node = object_ref(fresh);
    }
    spin_unlock(&mem->attributes);
    object_unref(fresh);
    return node;
}

void overlay_forget(struct memnode *mem)
{
    spin_lock(&mem->fs->attributes);
    list_remove(&mem->table_link);
    spin_unlock(&mem->fs->attributes);
}

int overlay_lookup(struct node *dir, const char *name, size_t length, struct node **child)
{
    struct memnode *mem = memnode_of(dir);
    struct node *lower;
    int error = mem->lower->ops->lookup(mem->lower, name, length, &lower);
    if (error)
        return error;
    *child = node_over(dir->fs, mem->fs, lower);
    object_unref(lower);
    if (!*child)
        return -ENOMEM;
    if (node_is_directory(*child) && !memnode_of(*child)->own)
        memnode_of(*child)->parent_inode = dir->inode;
    return 0;
}

/* --- attributes -------------------------------------------------------------------------------------- */

int overlay_get_attr(struct node *node, struct linux_stat_data *stat)
{
    struct node *lower = memnode_of(node)->lower;
    int error = lower->ops->get_attr(lower, stat);
    stat->device = node->fs->device + (stat->device - lower->fs->device);
    return error;
}

static void take_attributes_locked(struct memnode *mem, const struct linux_stat_data *stat)
{
    mem->mode = stat->mode;
    mem->uid = stat->uid;
    mem->gid = stat->gid;
    mem->link_count = (uint32_t)stat->link_count;
    mem->rdev = stat->rdev;
    mem->access = stat->access;
    mem->modify = stat->modify;
    mem->change = stat->change;
    mem->birth = stat->birth;
    mem->own = true;
    object_ref(mem->node);
    list_push_back(&mem->fs->owned, &mem->own_link);
}

int overlay_own(struct node *node)
{
    struct memnode *mem = memnode_of(node);
    struct linux_stat_data stat;
    spin_lock(&mem->fs->attributes);
    bool own = mem->own;
    spin_unlock(&mem->fs->attributes);
    if (own)
        return 0;
    int error = overlay_get_attr(node, &stat);
    if (error)
        return error;
    spin_lock(&mem->fs->attributes);
    if (!mem->own)
        take_attributes_locked(mem, &stat);
    spin_unlock(&mem->fs->attributes);
    return 0;
}

/*
 * Its link count has come to 0: memfs->attributes is held, and so is a reference by the caller (the entry's), who
 * drops it later. The instance's reference is therefore not the last.
 */
void overlay_disown(struct memnode *mem)
{
    if (!list_linked(&mem->own_link))
        return;
    list_remove(&mem->own_link);
    object_unref(mem->node);
}

/* --- contents ---------------------------------------------------------------------------------------- */

static bool all_zero(const uint8_t *bytes, size_t size)
{
    while (size && !*bytes)
        bytes++, size--;
    return !size;
}

static int64_t copy_chunk(struct node *lower, struct memobj *memobj, uint8_t *buffer, uint64_t offset, uint64_t left)
{
    struct io io;
    io_init_kernel(&io, buffer, left < COPY_CHUNK ? (size_t)left : COPY_CHUNK);
    int64_t moved = lower->ops->read(lower, &io, offset);
    if (moved > 0 && !all_zero(buffer, (size_t)moved)) {
        int64_t written = memobj_write(memobj, buffer, offset, (size_t)moved);
        return written < 0 ? written : moved;
    }
    return moved;
}

/* The lower file's first `keep` bytes, as a memobj of their size. */
static int copy_contents(struct node *lower, uint64_t keep, struct memobj *memobj)
{
    uint8_t *buffer = kalloc(COPY_CHUNK);
    uint64_t offset = 0;
    int64_t moved = buffer ? 1 : -ENOMEM;
    while (moved > 0 && offset < keep) {
        moved = copy_chunk(lower, memobj, buffer, offset, keep - offset);
        if (moved > 0)
            offset += (uint64_t)moved;
    }
    kfree(buffer);
    return moved < 0 ? (int)moved : memobj_resize(memobj, offset);
}

static int copy_up_locked(struct memnode *mem, uint64_t keep)
{
    if (memnode_memobj(mem))
        return 0;
    struct memobj *memobj = memobj_create(0);
    if (!memobj)
        return -ENOMEM;
    int error = copy_contents(mem->lower, keep, memobj);
    if (error)
        object_unref(memobj);
    else
        atomic_ptr_store_release(&mem->memobj, memobj);
    return error;
}

int overlay_copy_up(struct node *node, uint64_t keep)
{
    struct memnode *mem = memnode_of(node);
    if (memnode_memobj(mem))
        return 0;
    int error = overlay_own(node);
    if (error)
        return error;
    mutex_lock(&node->mutex);
    error = copy_up_locked(mem, keep);
    mutex_unlock(&node->mutex);
    return error;
}

/* --- names ------------------------------------------------------------------------------------------- */

struct listing {
    struct list entries; /* struct listed */
    bool out_of_memory;
    uint64_t parent_inode;
};

struct listed {
    struct list link;
    uint64_t inode;
    size_t length;
    uint8_t type;
    char name[];
};

static bool listing_add(void *context, const char *name, size_t length, uint64_t inode, uint8_t type, int64_t next)
{
    struct listing *listing = context;
    (void)next;
    if (length == 1 && name[0] == '.')
        return true;
    if (length == 2 && name[0] == '.' && name[1] == '.') {
        listing->parent_inode = inode;
        return true;
    }
    struct listed *listed = kalloc(sizeof *listed + length);
    if (!listed) {
        listing->out_of_memory = true;
        return false;
    }
    listed->inode = inode;
    listed->type = type;
    listed->length = length;
    memcpy(listed->name, name, length);
    list_push_back(&listing->entries, &listed->link);
    return true;
}

static bool listing_install(struct memnode *mem, struct listing *listing)
{
    LIST_FOR_EACH (link, &listing->entries) {
        struct listed *listed = LIST_ENTRY(link, struct listed, link);
        if (!memfs_add_lazy(mem, listed->name, listed->length, listed->inode, listed->type))
            return false;
    }
    return true;
}

static void listing_free(struct listing *listing)
{
    struct list *link;
    while ((link = list_pop_front(&listing->entries)))
        kfree(LIST_ENTRY(link, struct listed, link));
}

/* Without memory half-way the directory stays incomplete and empty, to be tried again. */
static int install_names(struct memnode *mem, struct listing *listing)
{
    struct list failed;
    list_init(&failed);
    mutex_lock(&mem->fs->tree);
    bool done = mem->complete || listing_install(mem, listing);
    if (done)
        mem->complete = true;
    else {
        list_splice_back(&failed, &mem->entries);
        memset(mem->buckets, 0, mem->bucket_count * sizeof *mem->buckets);
        mem->entry_count = 0;
    }
    mutex_unlock(&mem->fs->tree);
    if (!list_empty(&failed))
        memfs_bury(&failed);
    return done ? 0 : -ENOMEM;
}

int overlay_complete(struct node *dir)
{
    struct memnode *mem = memnode_of(dir);
    struct listing listing = {0};
    int64_t cookie = 0;
    mutex_lock(&mem->fs->tree);
    bool complete = mem->complete;
    mutex_unlock(&mem->fs->tree);
    if (complete)
        return 0;
    list_init(&listing.entries);
    int error = mem->lower->ops->read_directory(mem->lower, &cookie, listing_add, &listing);
    if (!error && listing.out_of_memory)
        error = -ENOMEM;
    if (!error)
        error = install_names(mem, &listing);
    listing_free(&listing);
    return error;
}

/* --- extended attributes ----------------------------------------------------------------------------- */

static int take_xattr(struct memnode *mem, const char *name)
{
    struct node *lower = mem->lower;
    int64_t size = lower->ops->get_xattr(lower, name, NULL, 0);
    if (size < 0)
        return 0; /* went away, or not for us */
    char *value = kalloc((size_t)size + 1);
    if (!value)
        return -ENOMEM;
    int64_t got = lower->ops->get_xattr(lower, name, value, (size_t)size);
    int error = got >= 0 && !memfs_add_xattr(mem, name, value, (size_t)got) ? -ENOMEM : 0;
    kfree(value);
    return error;
}

static int take_xattrs_locked(struct memnode *mem)
{
    struct node *lower = mem->lower;
    if (mem->own_xattrs || !lower->ops->list_xattr)
        return 0;
    int64_t length = lower->ops->list_xattr(lower, NULL, 0);
    if (length <= 0 || length > XATTR_NAMES_MAX)
        return length == -ENOMEM ? -ENOMEM : 0;
    char *names = kalloc((size_t)length);
    if (!names)
        return -ENOMEM;
    length = lower->ops->list_xattr(lower, names, (size_t)length);
    int error = 0;
    for (int64_t at = 0; at < length && !error; at += (int64_t)strlen(names + at) + 1)
        error = take_xattr(mem, names + at);
    kfree(names);
    if (error)
        memfs_free_xattrs(mem);
    return error;
}

int overlay_own_xattrs(struct node *node)
{
    struct memnode *mem = memnode_of(node);
    int error = 0;
    if (!mem->lower)
        return 0;
    mutex_lock(&node->mutex);
    if (!mem->own_xattrs)
        error = take_xattrs_locked(mem);
    if (!error)
        mem->own_xattrs = true;
    mutex_unlock(&node->mutex);
    return error;
}

/* --- the instance ------------------------------------------------------------------------------------ */

static int overlay_stat_fs(struct fs *fs, struct linux_statfs_data *stat)
{
    struct fs *lower = CONTAINER_OF(fs->ops, struct memfs, ops)->lower;
    int error = lower->ops->stat_fs(lower, stat);
    stat->fsid = fs->device;
    return error;
}

/* The root is gone; what was kept because it differs goes now, then the lower file system's turn has come. */
static void overlay_release(struct fs *fs)
{
    struct memfs *mem = CONTAINER_OF(fs->ops, struct memfs, ops);
    for (;;) {
        spin_lock(&mem->attributes);
        struct list *link = list_pop_front(&mem->owned);
        spin_unlock(&mem->attributes);
        if (!link)
            break;
        object_unref(LIST_ENTRY(link, struct memnode, own_link)->node);
    }
    struct fs *lower = mem->lower;
    memfs_put(mem);
    object_unref(lower);
}

static struct memfs *overlay_alloc(struct fs *lower)
{
    struct memfs *mem = memfs_alloc("overlay", FIRST_UPPER_INODE);
    if (!mem)
        return NULL;
    mem->ops.stat_fs = overlay_stat_fs;
    mem->table = kalloc(OVERLAY_BUCKETS * sizeof *mem->table);
    if (!mem->table) {
        memfs_put(mem);
        return NULL;
    }
    for (size_t i = 0; i < OVERLAY_BUCKETS; i++)
        list_init(&mem->table[i]);
    mem->ops.release = overlay_release;
    mem->lower = object_ref(lower);
    return mem;
}

struct fs *overlay_create(struct fs *lower, bool read_only)
{
    struct memfs *mem = overlay_alloc(lower);
    if (!mem)
        return NULL;
    struct fs *fs = fs_create(&mem->ops, NULL);
    if (!fs) {
        mem->lower = NULL;
        object_unref(lower);
        memfs_put(mem);
        return NULL;
    }
    fs->read_only = read_only;
    fs->root = node_over(fs, mem, lower->root);
    if (!fs->root) {
        object_unref(fs);
        return NULL;
    }
    return fs;
}
