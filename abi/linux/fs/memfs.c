/*
 * The in-memory file system (tmpfs): files over anonymous memobjs, directories as hash tables.
 *
 *   struct memnode   our part of a node
 *   struct mementry  a name in a directory: holds a reference to its node
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
#include "kernel/assert.h"
#include "kernel/string.h"

#define TMPFS_MAGIC 0x01021994
#define FIRST_BUCKETS 8u
#define BOUNCE_SIZE ((size_t)64 << 10)

static struct memfs *memfs_of(struct fs *fs) { return fs->data; }

/* --- nodes ------------------------------------------------------------------------------------------- */

static struct memnode *memnode_alloc(uint32_t mode, uint32_t uid, uint32_t gid)
{
    struct memnode *mem = kzalloc(sizeof *mem);
    if (!mem)
        return NULL;
    mem->mode = mode;
    mem->uid = uid;
    mem->gid = gid;
    mem->access = mem->modify = mem->change = mem->birth = wall_time();
    list_init(&mem->entries);
    list_init(&mem->xattrs);
    mem->next_cookie = 3;
    return mem;
}

/* The part that depends on the type: false without memory. */
static bool memnode_fill(struct memnode *mem, const char *target)
{
    switch (mem->mode & LINUX_S_IFMT) {
    case LINUX_S_IFREG:
        return (mem->memobj = memobj_create(0)) != NULL;
    case LINUX_S_IFLNK:
        return (mem->target = kstrdup(target)) != NULL;
    case LINUX_S_IFDIR:
        mem->buckets = kzalloc(FIRST_BUCKETS * sizeof *mem->buckets);
        mem->bucket_count = FIRST_BUCKETS;
        mem->link_count = 1; /* "." */
        return mem->buckets != NULL;
    default:
        return true;
    }
}

static void memnode_free(struct memnode *mem)
{
    memfs_free_xattrs(mem);
    object_unref(mem->memobj);
    kfree(mem->target);
    kfree(mem->buckets);
    kfree(mem);
}

static struct node *make_node(struct fs *fs, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid, uint32_t gid)
{
    struct memnode *mem = memnode_alloc(mode, uid, gid);
    struct node *node = NULL;
    if (mem && memnode_fill(mem, target)) {
        mem->rdev = rdev;
        node = node_create(fs, &memfs_node_ops, mode, memfs_inode(fs), mem);
    }
    if (!node && mem)
        memnode_free(mem);
    if (node && (mode & LINUX_S_IFMT) == LINUX_S_IFDIR) {
        mem->parent_inode = node->inode;
        node->flags |= NODE_CACHE_NEGATIVE;
    }
    return node;
}

struct node *memfs_orphan(struct fs *fs, uint32_t mode, uint32_t uid, uint32_t gid) { return make_node(fs, mode, 0, "", uid, gid); }

uint64_t memfs_inode(struct fs *fs) { return atomic64_add_relaxed(&memfs_of(fs)->next_inode, 1); }

/*
 * Names of directories that died with names in them. Dropping a name may end another directory: one dropper at a
 * time works the list off, so that a deep tree does not become a deep stack.
 */
static struct spinlock graveyard_lock = SPINLOCK_INIT(RANK_NODE_TABLE);
static struct list graveyard = {&graveyard, &graveyard};
static bool graveyard_busy;

static void bury(struct list *entries)
{
    spin_lock(&graveyard_lock);
    list_splice_back(&graveyard, entries);
    bool mine = !graveyard_busy;
    graveyard_busy = true;
    while (mine) {
        struct list *link = list_pop_front(&graveyard);
        if (!link)
            break;
        spin_unlock(&graveyard_lock);
        struct mementry *entry = LIST_ENTRY(link, struct mementry, link);
        object_unref(entry->node);
        kfree(entry);
        spin_lock(&graveyard_lock);
    }
    if (mine)
        graveyard_busy = false;
    spin_unlock(&graveyard_lock);
}

static void memfs_release_node(struct node *node)
{
    struct memnode *mem = memnode_of(node);
    if (!list_empty(&mem->entries))
        bury(&mem->entries);
    memnode_free(mem);
}

/* --- names; the tree mutex is held ------------------------------------------------------------------- */

static uint32_t hash_name(const char *name, size_t length)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash;
}

static struct mementry **entry_slot(struct memnode *dir, const char *name, size_t length)
{
    uint32_t hash = hash_name(name, length);
    struct mementry **slot = &dir->buckets[hash & (dir->bucket_count - 1)];
    while (*slot && ((*slot)->hash != hash || (*slot)->length != length || memcmp((*slot)->name, name, length)))
        slot = &(*slot)->next;
    return slot;
}

static struct mementry *entry_find(struct memnode *dir, const char *name, size_t length) { return *entry_slot(dir, name, length); }

/* Twice the buckets; without memory the chains just get longer. */
static void grow_buckets(struct memnode *dir)
{
    uint32_t count = dir->bucket_count * 2;
    struct mementry **buckets = kcalloc(count, sizeof *buckets);
    if (!buckets)
        return;
    LIST_FOR_EACH (link, &dir->entries) {
        struct mementry *entry = LIST_ENTRY(link, struct mementry, link);
        entry->next = buckets[entry->hash & (count - 1)];
        buckets[entry->hash & (count - 1)] = entry;
    }
    kfree(dir->buckets);
    dir->buckets = buckets;
    dir->bucket_count = count;
}

static struct mementry *entry_create(const char *name, size_t length)
{
    struct mementry *entry = kzalloc(sizeof *entry + length + 1);
    if (!entry)
        return NULL;
    entry->length = (uint32_t)length;
    entry->hash = hash_name(name, length);
    memcpy(entry->name, name, length);
    return entry;
}

/* Takes over the caller's reference to node, which the entry then holds. */
static void entry_insert(struct memnode *dir, struct mementry *entry, struct node *node)
{
    entry->node = node;
    entry->cookie = dir->next_cookie++;
    if (dir->entry_count >= dir->bucket_count)
        grow_buckets(dir);
    struct mementry **slot = &dir->buckets[entry->hash & (dir->bucket_count - 1)];
    entry->next = *slot;
    *slot = entry;
    list_push_back(&dir->entries, &entry->link);
    dir->entry_count++;
}

/* The caller gets the entry and its reference. */
static struct mementry *entry_remove(struct memnode *dir, const char *name, size_t length)
{
    struct mementry **slot = entry_slot(dir, name, length);
    struct mementry *entry = *slot;
    *slot = entry->next;
    list_remove(&entry->link);
    dir->entry_count--;
    return entry;
}

static void entry_destroy(struct mementry *entry)
{
    if (entry)
        object_unref(entry->node);
    kfree(entry);
}

static bool is_ours(const struct node *node) { return node->ops == &memfs_node_ops; }
static bool is_directory(const struct node *node) { return (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR; }
static bool is_empty(const struct node *dir) { return is_ours(dir) && !memnode_of((struct node *)(uintptr_t)dir)->entry_count; }

bool memfs_directory_empty(struct node *dir) { return is_empty(dir); }

/* A name of `child` came (by 1) or went (by -1) in `dir`. */
static void count_links(struct node *dir, struct node *child, int by)
{
    struct memfs *fs = memfs_of(dir->fs);
    struct file_time now = wall_time();
    spin_lock(&fs->attributes);
    struct memnode *mem = memnode_of(dir);
    mem->modify = mem->change = now;
    if (is_directory(child))
        mem->link_count += (uint32_t)by;
    if (is_ours(child)) {
        struct memnode *child_mem = memnode_of(child);
        child_mem->link_count += (uint32_t)by;
        child_mem->change = now;
        if (is_directory(child) && by > 0)
            child_mem->parent_inode = dir->inode;
        if (is_directory(child) && by < 0 && child_mem->link_count == 1)
            child_mem->link_count = 0; /* removed: its "." goes too */
    }
    spin_unlock(&fs->attributes);
}

/* --- operations on names ----------------------------------------------------------------------------- */

static int memfs_lookup(struct node *dir, const char *name, size_t length, struct node **child)
{
    struct memfs *fs = memfs_of(dir->fs);
    mutex_lock(&fs->tree);
    struct mementry *entry = entry_find(memnode_of(dir), name, length);
    if (entry)
        *child = object_ref(entry->node);
    mutex_unlock(&fs->tree);
    return entry ? 0 : -ENOENT;
}

/* Enters a node under a name: references it for the entry. */
static int insert(struct node *dir, const char *name, size_t length, struct node *child, bool unlinked_too)
{
    struct memfs *fs = memfs_of(dir->fs);
    struct mementry *entry = entry_create(name, length);
    if (!entry)
        return -ENOMEM;
    mutex_lock(&fs->tree);
    int error = 0;
    if (!memnode_of(dir)->link_count) /* removed meanwhile */
        error = -ENOENT;
    else if (entry_find(memnode_of(dir), name, length))
        error = -EEXIST;
    else if (!unlinked_too && !memnode_of(child)->link_count && !memnode_of(child)->linkable)
        error = -ENOENT;
    else {
        entry_insert(memnode_of(dir), entry, object_ref(child));
        count_links(dir, child, 1);
    }
    mutex_unlock(&fs->tree);
    if (error)
        kfree(entry);
    return error;
}

static int memfs_create_child(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target,
                              uint32_t uid, uint32_t gid, struct node **child)
{
    struct node *node = make_node(dir->fs, mode, rdev, target, uid, gid);
    if (!node)
        return -ENOMEM;
    int error = insert(dir, name, length, node, true);
    if (error)
        object_unref(node);
    else
        *child = node;
    return error;
}

int memfs_adopt(struct node *dir, const char *name, struct node *child) { return insert(dir, name, strlen(name), child, true); }

static int memfs_link(struct node *dir, const char *name, size_t length, struct node *target)
{
    if (target->fs != dir->fs || !is_ours(target))
        return -EXDEV;
    if (is_directory(target))
        return -EPERM;
    return insert(dir, name, length, target, false);
}

static int memfs_remove(struct node *dir, const char *name, size_t length, bool directory)
{
    struct memfs *fs = memfs_of(dir->fs);
    struct mementry *removed = NULL;
    int error = 0;
    mutex_lock(&fs->tree);
    struct mementry *entry = entry_find(memnode_of(dir), name, length);
    if (!entry)
        error = -ENOENT;
    else if (directory && !is_directory(entry->node))
        error = -ENOTDIR;
    else if (!directory && is_directory(entry->node))
        error = -EISDIR;
    else if (directory && !is_empty(entry->node))
        error = is_ours(entry->node) ? -ENOTEMPTY : -EBUSY;
    else {
        removed = entry_remove(memnode_of(dir), name, length);
        count_links(dir, removed->node, -1);
    }
    mutex_unlock(&fs->tree);
    entry_destroy(removed);
    return error;
}

static int memfs_unlink(struct node *dir, const char *name, size_t length) { return memfs_remove(dir, name, length, false); }
static int memfs_remove_directory(struct node *dir, const char *name, size_t length) { return memfs_remove(dir, name, length, true); }

struct move {
    struct node *from, *to;
    const char *name, *new_name;
    size_t length, new_length;
};

static int rename_check(const struct move *move, struct mementry *source, struct mementry *target, uint32_t flags)
{
    if (!source || (!target && (flags & 2)))
        return -ENOENT;
    if (!memnode_of(move->to)->link_count)
        return -ENOENT;
    if (target && (flags & 1))
        return -EEXIST;
    if (!target || (flags & 2))
        return 0;
    if (is_directory(source->node) && !is_directory(target->node))
        return -ENOTDIR;
    if (!is_directory(source->node) && is_directory(target->node))
        return -EISDIR;
    if (is_directory(target->node) && !is_empty(target->node))
        return -ENOTEMPTY;
    return 0;
}

static void swap_entries(const struct move *move, struct mementry *source, struct mementry *target)
{
    struct node *a = source->node, *b = target->node;
    count_links(move->from, a, -1);
    count_links(move->to, b, -1);
    source->node = b;
    target->node = a;
    if (is_ours(a) && is_directory(a) && !memnode_of(a)->link_count)
        memnode_of(a)->link_count = 1;
    if (is_ours(b) && is_directory(b) && !memnode_of(b)->link_count)
        memnode_of(b)->link_count = 1;
    count_links(move->from, b, 1);
    count_links(move->to, a, 1);
}

/* `fresh` becomes the new name; returns what is to be destroyed outside the lock, through *replaced and *old. */
static void move_entry(const struct move *move, struct mementry *fresh, struct mementry **old, struct mementry **replaced)
{
    if (entry_find(memnode_of(move->to), move->new_name, move->new_length)) {
        *replaced = entry_remove(memnode_of(move->to), move->new_name, move->new_length);
        count_links(move->to, (*replaced)->node, -1);
    }
    *old = entry_remove(memnode_of(move->from), move->name, move->length);
    struct node *node = (*old)->node;
    /* The new name first, so that no count ever falls to nothing. */
    entry_insert(memnode_of(move->to), fresh, object_ref(node));
    count_links(move->to, node, 1);
    count_links(move->from, node, -1);
    if (is_ours(node) && is_directory(node))
        memnode_of(node)->parent_inode = move->to->inode;
}

static int memfs_rename(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length,
                        uint32_t flags)
{
    struct move move = {from, to, name, new_name, length, new_length};
    struct memfs *fs = memfs_of(from->fs);
    struct mementry *fresh = entry_create(new_name, new_length), *old = NULL, *replaced = NULL;
    if (!fresh)
        return -ENOMEM;
    mutex_lock(&fs->tree);
    struct mementry *source = entry_find(memnode_of(from), name, length);
    struct mementry *target = entry_find(memnode_of(to), new_name, new_length);
    int error = rename_check(&move, source, target, flags);
    bool same = !error && target && target->node == source->node;
    if (!error && !same && (flags & 2))
        swap_entries(&move, source, target);
    else if (!error && !same)
        move_entry(&move, fresh, &old, &replaced);
    mutex_unlock(&fs->tree);
    if (!old)
        kfree(fresh);
    entry_destroy(old);
    entry_destroy(replaced);
    return error;
}

static int memfs_read_directory(struct node *dir, int64_t *cookie, directory_emit *emit, void *context)
{
    struct memfs *fs = memfs_of(dir->fs);
    struct memnode *mem = memnode_of(dir);
    bool more = true;
    mutex_lock(&fs->tree);
    while (more && *cookie < 2) {
        more = emit(context, "..", (size_t)*cookie + 1, *cookie ? mem->parent_inode : dir->inode, LINUX_S_IFDIR >> 12, *cookie + 1);
        *cookie += more;
    }
    LIST_FOR_EACH (link, &mem->entries) {
        struct mementry *entry = LIST_ENTRY(link, struct mementry, link);
        if (!more)
            break;
        if (entry->cookie <= *cookie)
            continue;
        more = emit(context, entry->name, entry->length, entry->node->inode, (uint8_t)((entry->node->mode & LINUX_S_IFMT) >> 12),
                    entry->cookie);
        if (more)
            *cookie = entry->cookie;
    }
    mutex_unlock(&fs->tree);
    return 0;
}

/* --- attributes and contents ------------------------------------------------------------------------- */

static int memfs_get_attr(struct node *node, struct linux_stat_data *stat)
{
    struct memfs *fs = memfs_of(node->fs);
    struct memnode *mem = memnode_of(node);
    uint64_t resident = mem->memobj ? memobj_resident(mem->memobj) : 0;
    uint64_t size = mem->memobj ? mem->memobj->size : mem->target ? strlen(mem->target) : mem->entry_count * 20;
    spin_lock(&fs->attributes);
    *stat = (struct linux_stat_data){
        .device = node->fs->device,
        .inode = node->inode,
        .link_count = mem->link_count,
        .rdev = mem->rdev,
        .size = size,
        .blocks = resident / 512,
        .mode = mem->mode,
        .uid = mem->uid,
        .gid = mem->gid,
        .block_size = PAGE_SIZE,
        .access = mem->access,
        .modify = mem->modify,
        .change = mem->change,
        .birth = mem->birth,
        .has_birth = true,
    };
    spin_unlock(&fs->attributes);
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

static int memfs_set_attr(struct node *node, const struct node_attr *attr)
{
    struct memfs *fs = memfs_of(node->fs);
    struct memnode *mem = memnode_of(node);
    if (attr->valid & ATTR_SIZE) {
        if (!mem->memobj)
            return is_directory(node) ? -EISDIR : -EINVAL;
        int error = attr->size > MEMOBJ_SIZE_MAX ? -EFBIG : memobj_resize(mem->memobj, attr->size);
        if (error)
            return error;
    }
    struct file_time now = wall_time();
    spin_lock(&fs->attributes);
    apply_attr(mem, attr, now);
    node->mode = mem->mode;
    spin_unlock(&fs->attributes);
    return 0;
}

void memfs_set_times(struct node *node, const struct linux_stat_data *stat)
{
    struct memfs *fs = memfs_of(node->fs);
    struct memnode *mem = memnode_of(node);
    spin_lock(&fs->attributes);
    mem->access = stat->access;
    mem->modify = stat->modify;
    mem->change = stat->change;
    if (stat->has_birth)
        mem->birth = stat->birth;
    spin_unlock(&fs->attributes);
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
    struct memfs *fs = memfs_of(node->fs);
    struct memnode *mem = memnode_of(node);
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
    if (!mem->target)
        return -EINVAL;
    size_t length = strlen(mem->target);
    length = length < size ? length : size;
    memcpy(target, mem->target, length);
    return (int64_t)length;
}

static int64_t memfs_read(struct node *node, struct io *io, uint64_t offset)
{
    struct memobj *memobj = memnode_of(node)->memobj;
    size_t chunk = io_left(io) < BOUNCE_SIZE ? io_left(io) : BOUNCE_SIZE;
    if (!memobj)
        return is_directory(node) ? -EISDIR : -EINVAL;
    if (!chunk || offset >= memobj->size)
        return 0;
    char *buffer = kalloc(chunk);
    int64_t done = 0, moved = buffer ? 1 : -ENOMEM;
    while (moved > 0 && io_left(io)) {
        moved = memobj_read(memobj, buffer, offset + (uint64_t)done, io_left(io) < chunk ? io_left(io) : chunk);
        if (moved <= 0)
            break;
        size_t put = io_put(io, buffer, (size_t)moved);
        done += (int64_t)put;
        if (put < (size_t)moved)
            moved = -EFAULT;
    }
    kfree(buffer);
    touch(node, false);
    return done ? done : moved < 0 ? moved : 0;
}

static int64_t memfs_write(struct node *node, struct io *io, uint64_t offset)
{
    struct memobj *memobj = memnode_of(node)->memobj;
    size_t chunk = io_left(io) < BOUNCE_SIZE ? io_left(io) : BOUNCE_SIZE;
    if (!memobj)
        return -EINVAL;
    if (!chunk)
        return 0;
    if (offset >= MEMOBJ_SIZE_MAX)
        return -EFBIG;
    char *buffer = kalloc(chunk);
    int64_t done = 0, moved = buffer ? 1 : -ENOMEM;
    while (moved > 0 && io_left(io)) {
        size_t got = io_get(io, buffer, io_left(io) < chunk ? io_left(io) : chunk);
        moved = got ? memobj_write(memobj, buffer, offset + (uint64_t)done, got) : -EFAULT;
        if (moved > 0)
            done += moved;
        if (moved > 0 && (size_t)moved < got)
            break;
    }
    kfree(buffer);
    if (done)
        touch(node, true);
    return done ? done : moved == -ENOMEM ? -ENOSPC : moved;
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
    struct memobj *memobj = memnode_of(node)->memobj;
    int error = 0;
    if (!memobj)
        return -ENODEV;
    if (offset + size > MEMOBJ_SIZE_MAX)
        return -EFBIG;
    if (mode & ~(FALLOCATE_KEEP_SIZE | FALLOCATE_PUNCH_HOLE | FALLOCATE_ZERO_RANGE))
        return -EOPNOTSUPP;
    if (mode & (FALLOCATE_PUNCH_HOLE | FALLOCATE_ZERO_RANGE)) {
        if ((mode & FALLOCATE_PUNCH_HOLE) && !(mode & FALLOCATE_KEEP_SIZE))
            return -EOPNOTSUPP;
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
    (void)prot, (void)shared;
    if (!memnode_of(node)->memobj)
        return -ENODEV;
    *memobj = object_ref(memnode_of(node)->memobj);
    return 0;
}

static int memfs_open(struct node *node, uint32_t flags, struct file **file)
{
    *file = NULL;
    switch (node->mode & LINUX_S_IFMT) {
    case LINUX_S_IFCHR:
    case LINUX_S_IFBLK:
        return device_open(node->mode, memnode_of(node)->rdev, flags, file);
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

static void memfs_release(struct fs *fs) { kfree(fs->data); }

struct fs *memfs_create_named(const char *name)
{
    struct memfs *mem = kzalloc(sizeof *mem);
    if (!mem)
        return NULL;
    mem->ops = (struct fs_ops){.name = name, .stat_fs = memfs_stat_fs, .sync_fs = memfs_sync_fs, .release = memfs_release};
    mutex_init(&mem->tree, RANK_DIRECTORY);
    spinlock_init(&mem->attributes, RANK_NODE_TABLE);
    atomic64_store_relaxed(&mem->next_inode, 1);
    struct fs *fs = fs_create(&mem->ops, mem);
    if (!fs) {
        kfree(mem);
        return NULL;
    }
    fs->root = make_node(fs, LINUX_S_IFDIR | 0755, 0, NULL, 0, 0);
    if (!fs->root) {
        object_unref(fs);
        return NULL;
    }
    memnode_of(fs->root)->link_count = 2;
    return fs;
}

struct fs *memfs_create(void) { return memfs_create_named("tmpfs"); }
