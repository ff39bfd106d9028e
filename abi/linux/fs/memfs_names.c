/*
 * Names in the in-memory file system: directories as hash tables, and what changes them.
 *
 * All under the instance's tree mutex. What may have to wait (the lower layer of an overlay) is done before it is taken:
 * `prepare` makes sure that a directory knows all its names and that a child's link count is its own; an entry
 * whose node was never looked at (overlay: struct mementry without node) gets it then.
 */
#include "abi/linux/fs/memfs.h"

#include "abi/linux/fs/memfs_node.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

/*
 * Names of directories that died with names in them. Dropping a name may end another directory: one dropper at a
 * time works the list off, so that a deep tree does not become a deep stack.
 */
static struct spinlock graveyard_lock = SPINLOCK_INIT(RANK_NODE_TABLE);
static struct list graveyard = {&graveyard, &graveyard};
static bool graveyard_busy;

void memfs_bury(struct list *entries)
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

static void entry_link(struct memnode *dir, struct mementry *entry)
{
    entry->cookie = dir->next_cookie++;
    if (dir->entry_count >= dir->bucket_count)
        grow_buckets(dir);
    struct mementry **slot = &dir->buckets[entry->hash & (dir->bucket_count - 1)];
    entry->next = *slot;
    *slot = entry;
    list_push_back(&dir->entries, &entry->link);
    dir->entry_count++;
}

/* Takes over the caller's reference to node, which the entry then holds. */
static void entry_insert(struct memnode *dir, struct mementry *entry, struct node *node)
{
    entry->node = node;
    entry->inode = node->inode;
    entry->type = (uint8_t)((node->mode & LINUX_S_IFMT) >> 12);
    entry_link(dir, entry);
}

bool memfs_add_lazy(struct memnode *dir, const char *name, size_t length, uint64_t inode, uint8_t type)
{
    struct mementry *entry = entry_create(name, length);
    if (!entry)
        return false;
    entry->inode = inode;
    entry->type = type;
    entry_link(dir, entry);
    return true;
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

static bool is_empty(struct node *dir) { return node_is_memfs(dir) && !memnode_of(dir)->entry_count; }

/* A name of `child` came (by 1) or went (by -1) in `dir`. */
static void count_links(struct node *dir, struct node *child, int by)
{
    struct memnode *mem = memnode_of(dir), *child_mem = node_is_memfs(child) ? memnode_of(child) : NULL;
    struct file_time now = wall_time();
    spin_lock(&mem->fs->attributes);
    mem->modify = mem->change = now;
    /* Some lower file systems count no subdirectories: never below what an empty directory has. */
    if (node_is_directory(child) && (by > 0 || mem->link_count > 2))
        mem->link_count += (uint32_t)by;
    if (child_mem) {
        child_mem->change = now;
        if (!node_is_directory(child))
            child_mem->link_count += (uint32_t)by;
        if (!child_mem->link_count)
            overlay_disown(child_mem);
    }
    spin_unlock(&mem->fs->attributes);
    if (child_mem && node_is_directory(child) && by > 0)
        child_mem->parent_inode = dir->inode;
}

/* After count_links took its last name away: nothing can be made in it any more. */
static void mark_removed(struct node *child)
{
    if (!node_is_directory(child) || !node_is_memfs(child))
        return;
    struct memnode *mem = memnode_of(child);
    mem->removed = true;
    spin_lock(&mem->fs->attributes);
    mem->link_count = 0;
    overlay_disown(mem);
    spin_unlock(&mem->fs->attributes);
}

/* --- operations on names ----------------------------------------------------------------------------- */

int memfs_lookup(struct node *dir, const char *name, size_t length, struct node **child)
{
    struct memfs *fs = memnode_of(dir)->fs;
    mutex_lock(&fs->tree);
    struct mementry *entry = entry_find(memnode_of(dir), name, length);
    bool ask_lower = entry ? !entry->node : !memnode_of(dir)->complete;
    if (entry && entry->node)
        *child = object_ref(entry->node);
    mutex_unlock(&fs->tree);
    if (ask_lower)
        return overlay_lookup(dir, name, length, child);
    return entry ? 0 : -ENOENT;
}

/* What must be ours before a name of `child` (or NULL) in `dir` changes. */
static int prepare(struct node *dir, struct node *child)
{
    int error = overlay_complete(dir);
    if (!error)
        error = overlay_own(dir);
    if (error || !child || !node_is_memfs(child))
        return error;
    error = overlay_own(child);
    return !error && node_is_directory(child) ? overlay_complete(child) : error;
}

/* The child and everything that has to be ours to unlink or move it. A reference in *child. */
static int prepare_named(struct node *dir, const char *name, size_t length, struct node **child)
{
    int error = memfs_lookup(dir, name, length, child);
    if (error)
        return error;
    error = prepare(dir, *child);
    if (error)
        object_unref(*child);
    return error;
}

/* The entry if it (still) is the prepared child's; gives a lazy one its node. Tree mutex held. */
static struct mementry *entry_of(struct memnode *dir, const char *name, size_t length, struct node *child)
{
    struct mementry *entry = entry_find(dir, name, length);
    if (entry && !entry->node)
        entry->node = object_ref(child);
    return entry && entry->node == child ? entry : NULL;
}

/* Enters a node under a name: references it for the entry. */
static int insert(struct node *dir, const char *name, size_t length, struct node *child, bool fresh)
{
    struct memfs *fs = memnode_of(dir)->fs;
    int error = prepare(dir, child);
    struct mementry *entry = error ? NULL : entry_create(name, length);
    if (!entry)
        return error ? error : -ENOMEM;
    mutex_lock(&fs->tree);
    if (memnode_of(dir)->removed)
        error = -ENOENT;
    else if (entry_find(memnode_of(dir), name, length))
        error = -EEXIST;
    else if (!fresh && !memnode_of(child)->link_count && !(child->flags & NODE_LINKABLE))
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

int memfs_create_child(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target,
                              uint32_t uid, uint32_t gid, struct node **child)
{
    struct node *node = memfs_make_node(dir->fs, mode, rdev, target, uid, gid);
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

int memfs_link(struct node *dir, const char *name, size_t length, struct node *target)
{
    if (target->fs != dir->fs || !node_is_memfs(target))
        return -EXDEV;
    if (node_is_directory(target))
        return -EPERM;
    return insert(dir, name, length, target, false);
}

static int remove_check(struct node *child, bool directory)
{
    if (directory && !node_is_directory(child))
        return -ENOTDIR;
    if (!directory && node_is_directory(child))
        return -EISDIR;
    if (directory && !is_empty(child))
        return node_is_memfs(child) ? -ENOTEMPTY : -EBUSY;
    return 0;
}

static int memfs_remove(struct node *dir, const char *name, size_t length, bool directory)
{
    struct memfs *fs = memnode_of(dir)->fs;
    struct mementry *removed = NULL;
    struct node *child;
    int error = prepare_named(dir, name, length, &child);
    if (error)
        return error;
    mutex_lock(&fs->tree);
    error = entry_of(memnode_of(dir), name, length, child) ? remove_check(child, directory) : -ENOENT;
    if (!error) {
        removed = entry_remove(memnode_of(dir), name, length);
        count_links(dir, child, -1);
        mark_removed(child);
    }
    mutex_unlock(&fs->tree);
    entry_destroy(removed);
    object_unref(child);
    return error;
}

int memfs_unlink(struct node *dir, const char *name, size_t length) { return memfs_remove(dir, name, length, false); }
int memfs_remove_directory(struct node *dir, const char *name, size_t length) { return memfs_remove(dir, name, length, true); }

struct move {
    struct node *from, *to;
    const char *name, *new_name;
    size_t length, new_length;
};

static int rename_check(const struct move *move, struct node *source, struct node *target, uint32_t flags)
{
    if (!source || (!target && (flags & 2)) || memnode_of(move->to)->removed)
        return -ENOENT;
    if (target && (flags & 1))
        return -EEXIST;
    if (!target || (flags & 2))
        return 0;
    if (node_is_directory(source) && !node_is_directory(target))
        return -ENOTDIR;
    if (!node_is_directory(source) && node_is_directory(target))
        return -EISDIR;
    if (node_is_directory(target) && !is_empty(target))
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
    uint64_t inode = source->inode;
    uint8_t type = source->type;
    source->inode = target->inode;
    source->type = target->type;
    target->inode = inode;
    target->type = type;
    count_links(move->from, b, 1);
    count_links(move->to, a, 1);
}

/* `fresh` becomes the new name; returns what is to be destroyed outside the lock, through *replaced and *old. */
static void move_entry(const struct move *move, struct mementry *fresh, struct mementry **old, struct mementry **replaced)
{
    if (entry_find(memnode_of(move->to), move->new_name, move->new_length)) {
        *replaced = entry_remove(memnode_of(move->to), move->new_name, move->new_length);
        count_links(move->to, (*replaced)->node, -1);
        mark_removed((*replaced)->node);
    }
    *old = entry_remove(memnode_of(move->from), move->name, move->length);
    struct node *node = (*old)->node;
    /* The new name first, so that no count ever falls to nothing. */
    entry_insert(memnode_of(move->to), fresh, object_ref(node));
    count_links(move->to, node, 1);
    count_links(move->from, node, -1);
}

/* Both names' nodes are prepared; fresh is the entry to use. Consumes fresh. */
static int rename_prepared(const struct move *move, struct node *source, struct node *target, struct mementry *fresh, uint32_t flags)
{
    struct memfs *fs = memnode_of(move->from)->fs;
    struct mementry *old = NULL, *replaced = NULL;
    mutex_lock(&fs->tree);
    struct mementry *a = entry_of(memnode_of(move->from), move->name, move->length, source);
    struct mementry *b = target ? entry_of(memnode_of(move->to), move->new_name, move->new_length, target) : NULL;
    bool rival = !a || (target ? !b : entry_find(memnode_of(move->to), move->new_name, move->new_length) != NULL);
    int error = rival ? -ESTALE : rename_check(move, source, target, flags);
    bool same = source == target;
    if (!error && !same && (flags & 2))
        swap_entries(move, a, b);
    else if (!error && !same)
        move_entry(move, fresh, &old, &replaced);
    mutex_unlock(&fs->tree);
    if (!old)
        kfree(fresh);
    entry_destroy(old);
    entry_destroy(replaced);
    return error;
}

static int rename_once(const struct move *move, uint32_t flags)
{
    struct node *source, *target = NULL;
    int error = prepare_named(move->from, move->name, move->length, &source);
    if (error)
        return error;
    error = prepare_named(move->to, move->new_name, move->new_length, &target);
    if (error == -ENOENT) {
        target = NULL;
        error = prepare(move->to, NULL);
    }
    struct mementry *fresh = error ? NULL : entry_create(move->new_name, move->new_length);
    if (fresh)
        error = rename_prepared(move, source, target, fresh, flags);
    else if (!error)
        error = -ENOMEM;
    object_unref(source);
    object_unref(target);
    return error;
}

int memfs_rename(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length,
                 uint32_t flags)
{
    struct move move = {from, to, name, new_name, length, new_length};
    int error;
    if (to->ops != from->ops || memnode_of(from)->fs != memnode_of(to)->fs)
        return -EXDEV;
    do
        error = rename_once(&move, flags);
    while (error == -ESTALE); /* a rival took a name in between */
    return error;
}

int memfs_read_directory(struct node *dir, int64_t *cookie, directory_emit *emit, void *context)
{
    struct memfs *fs = memnode_of(dir)->fs;
    struct memnode *mem = memnode_of(dir);
    bool more = true;
    int error = overlay_complete(dir);
    if (error)
        return error;
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
        more = emit(context, entry->name, entry->length, entry->inode, entry->type, entry->cookie);
        if (more)
            *cookie = entry->cookie;
    }
    mutex_unlock(&fs->tree);
    return 0;
}

