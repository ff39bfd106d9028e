/*
 * Paths and the name cache.
 *
 * The cache is a hash from (directory's path, name) to path. It holds a reference on each; a path keeps its parent
 * and its mount. When more than PATH_CACHE_MAX are in it, a clock's hand goes over them and drops those
 * that nobody else holds and that were not used since it last came by. Absent names are paths without a node.
 *
 * Names change under path_cache_lock, so whoever reads parent or name holds it. References are dropped only
 * after it is released, because dropping the last one runs path_destroy. Death is iterative: a path that dies
 * goes to a list, and whoever empties that list finds the parents that died with it there, instead of deep in
 * its stack.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

#include "abi/linux/fs/vfs.h"

enum { BUCKETS = 4096, CLOCK_STEPS = 32 };

struct spinlock path_cache_lock = SPINLOCK_INIT(RANK_NAME_CACHE);
/* under path_cache_lock */
static struct path *buckets[BUCKETS];
static struct list clock_list = {&clock_list, &clock_list};
static uint32_t cached_count;
static struct list dead_paths = {&dead_paths, &dead_paths};
static bool reaping;

/* --- birth and death --------------------------------------------------------------------------------- */

static void path_free(struct path *path)
{
    if (path->gone && path->node)
        notify_gone(path->node);
    object_unref(path->node);
    path_unref(path->parent);
    object_unref(path->mount);
    if (path->name != path->short_name)
        kfree(path->name);
    kfree(path->target);
    kfree(path);
}

static void path_destroy(struct object *object)
{
    struct path *path = CONTAINER_OF(object, struct path, object);

    KASSERT(!path->cached);
    spin_lock(&path_cache_lock);
    list_push_back(&dead_paths, &path->clock_link);
    bool busy = reaping;
    reaping = true;
    while (!busy && !list_empty(&dead_paths)) {
        path = LIST_ENTRY(list_pop_front(&dead_paths), struct path, clock_link);
        spin_unlock(&path_cache_lock);
        path_free(path);
        spin_lock(&path_cache_lock);
    }
    if (!busy)
        reaping = false;
    spin_unlock(&path_cache_lock);
}

static const struct object_type path_type = {.name = "path", .destroy = path_destroy};

struct path *path_ref(struct path *path) { return object_ref(path); }
void path_unref(struct path *path) { object_unref(path); }
struct node *path_node(struct path *path) { return path->node; }

static bool name_set(struct path *path, const char *name, size_t length)
{
    path->name = length < sizeof(path->short_name) ? path->short_name : kalloc(length + 1);
    if (!path->name)
        return false;
    memcpy(path->name, name, length);
    path->name[length] = 0;
    path->name_length = (uint16_t)length;
    return true;
}

struct path *path_create(struct path *parent, struct mount *mount, const char *name, size_t length, struct node *node)
{
    struct path *path = kzalloc(sizeof(*path));

    if (!path || !name_set(path, name, length)) {
        kfree(path);
        object_unref(node);
        return NULL;
    }
    object_init(&path->object, &path_type);
    list_init(&path->clock_link);
    path->node = node;
    path->type = node ? node->mode & LINUX_S_IFMT : 0;
    path->parent = parent ? path_ref(parent) : NULL;
    path->mount = mount ? object_ref(mount) : NULL;
    if (parent)
        path->hash = path_hash(parent, name, length);
    return path;
}

/* --- the hash ---------------------------------------------------------------------------------------- */

uint32_t path_hash(const struct path *parent, const char *name, size_t length)
{
    uint64_t hash = (uintptr_t)parent >> 5;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 32);
}

struct path *path_cached_locked(struct path *parent, const char *name, size_t length, uint32_t hash)
{
    for (struct path *path = buckets[hash % BUCKETS]; path; path = path->hash_next) {
        if (path->hash == hash && path->parent == parent && path->name_length == length && !memcmp(path->name, name, length)) {
            path->used = true;
            return path;
        }
    }
    return NULL;
}

static void hash_insert_locked(struct path *path)
{
    path->hash_next = buckets[path->hash % BUCKETS];
    buckets[path->hash % BUCKETS] = path;
    path->cached = path->used = true;
    list_push_back(&clock_list, &path->clock_link);
    cached_count++;
}

/* The caller inherits the cache's reference. */
static struct path *hash_remove_locked(struct path *path)
{
    struct path **link = &buckets[path->hash % BUCKETS];

    if (!path->cached)
        return NULL;
    while (*link != path)
        link = &(*link)->hash_next;
    *link = path->hash_next;
    path->hash_next = NULL;
    path->cached = false;
    list_remove(&path->clock_link);
    cached_count--;
    return path;
}

/* One path that only the cache holds and nobody used lately, or NULL after a bounded search. */
static struct path *clock_victim_locked(void)
{
    for (int i = 0; i < CLOCK_STEPS && !list_empty(&clock_list); i++) {
        struct path *path = LIST_ENTRY(clock_list.next, struct path, clock_link);
        if (!path->used && atomic32_load_acquire(&path->object.references) == 1)
            return hash_remove_locked(path);
        path->used = false;
        list_remove(&path->clock_link);
        list_push_back(&clock_list, &path->clock_link);
    }
    return NULL;
}

void path_cache_add(struct path *path) { path_cache_add_since(path, atomic32_load_acquire(&path->parent->node->answer_generation)); }

void path_cache_add_since(struct path *path, uint32_t generation)
{
    struct path *old, *victims[2] = {NULL, NULL};

    spin_lock(&path_cache_lock);
    KASSERT(!path->cached);
    bool unmounted = path->mount && !path->mount->root; /* it lives as long as it is used, and no longer */
    if (unmounted ||
        (!(path->parent->node->flags & NODE_TIMED) && atomic32_load_relaxed(&path->parent->node->answer_generation) != generation)) {
        spin_unlock(&path_cache_lock);
        return;
    }
    old = path_cached_locked(path->parent, path->name, path->name_length, path->hash);
    if (old)
        hash_remove_locked(old);
    hash_insert_locked(path_ref(path));
    for (int i = 0; i < 2 && cached_count > PATH_CACHE_MAX; i++)
        victims[i] = clock_victim_locked();
    spin_unlock(&path_cache_lock);
    path_unref(old);
    path_unref(victims[0]);
    path_unref(victims[1]);
}

void path_cache_shrink(void)
{
    for (uint32_t i = 0; i < 2 * PATH_CACHE_MAX; i++) {
        spin_lock(&path_cache_lock);
        struct path *victim = clock_victim_locked();
        spin_unlock(&path_cache_lock);
        path_unref(victim);
    }
}

/* Takes some of the mount's paths out of the cache: how many. */
static int drop_some(struct mount *mount)
{
    struct path *dropped[32];
    int count = 0;

    spin_lock(&path_cache_lock);
    LIST_FOR_EACH_SAFE(link, &clock_list)
    {
        struct path *path = LIST_ENTRY(link, struct path, clock_link);
        if (path->mount == mount)
            dropped[count++] = hash_remove_locked(path);
        if (count == (int)ARRAY_SIZE(dropped))
            break;
    }
    spin_unlock(&path_cache_lock);
    for (int i = 0; i < count; i++)
        path_unref(dropped[i]);
    return count;
}

void path_cache_drop(struct mount *mount)
{
    while (drop_some(mount))
        ;
}

/* --- recalls ------------------------------------------------------------------------------------------ */

struct recall {
    const struct fs *fs;          /* or NULL: */
    const struct node *directory;
    const char *name;             /* or NULL: all */
    size_t length;
};

static bool recalled(const struct recall *recall, const struct path *path)
{
    if (path->covering || !path->parent)
        return false;
    if (recall->fs)
        return path->mount && path->mount->fs == recall->fs;
    return path->parent->node == recall->directory &&
           (!recall->name || (path->name_length == recall->length && !memcmp(path->name, recall->name, recall->length)));
}

/* Takes up to `room` paths off the cache; the caller drops them. */
static uint32_t recall_some_locked(const struct recall *recall, struct path **victims, uint32_t room)
{
    uint32_t count = 0;

    for (struct list *link = clock_list.next, *next; link != &clock_list && count < room; link = next) {
        struct path *path = LIST_ENTRY(link, struct path, clock_link);
        next = link->next;
        if (recalled(recall, path))
            victims[count++] = hash_remove_locked(path);
    }
    return count;
}

static void recall_all(const struct recall *recall)
{
    enum { AT_ONCE = 16 };
    struct path *victims[AT_ONCE];
    uint32_t count;

    do {
        spin_lock(&path_cache_lock);
        count = recall_some_locked(recall, victims, AT_ONCE);
        spin_unlock(&path_cache_lock);
        for (uint32_t i = 0; i < count; i++)
            path_unref(victims[i]);
    } while (count == AT_ONCE);
}

void path_cache_recall(struct node *directory, const char *name, size_t length)
{
    const struct recall recall = {.directory = directory, .name = name, .length = length};

    spin_lock(&path_cache_lock);
    node_names_changed(directory);
    spin_unlock(&path_cache_lock);
    recall_all(&recall);
}

void path_cache_recall_fs(struct node *root)
{
    const struct recall recall = {.fs = root->fs};

    spin_lock(&path_cache_lock);
    node_names_changed(root); /* other directories' lookups under way are of nodes that are not used again */
    spin_unlock(&path_cache_lock);
    recall_all(&recall);
}

/* --- names that change ------------------------------------------------------------------------------- */

void path_cache_unlinked(struct path *path)
{
    spin_lock(&path_cache_lock);
    struct path *dropped = hash_remove_locked(path);
    path->gone = true;
    spin_unlock(&path_cache_lock);
    path_unref(dropped);
}

/* Gives the path another name and parent; returns what must be let go of outside the lock. */
static struct path *rename_locked(struct path *path, struct path *parent, const char *name, size_t length, char *block, char **old_block)
{
    struct path *old_parent = path->parent;

    *old_block = path->name != path->short_name ? path->name : NULL;
    path->name = length < sizeof(path->short_name) ? path->short_name : block;
    memcpy(path->name, name, length);
    path->name[length] = 0;
    path->name_length = (uint16_t)length;
    path->parent = path_ref(parent);
    path->hash = path_hash(parent, name, length);
    return old_parent;
}

void path_cache_move(struct path *path, struct path *parent, const char *new_name, size_t length, char *block, struct path *replaced)
{
    struct path *dropped, *negative, *removed = NULL, *old_parent;
    char *old_block;

    spin_lock(&path_cache_lock);
    dropped = hash_remove_locked(path);
    if (replaced) {
        removed = hash_remove_locked(replaced);
        replaced->gone = true;
    }
    negative = path_cached_locked(parent, new_name, length, path_hash(parent, new_name, length));
    if (negative)
        hash_remove_locked(negative);
    old_parent = rename_locked(path, parent, new_name, length, block, &old_block);
    if (dropped)
        hash_insert_locked(path);
    spin_unlock(&path_cache_lock);
    path_unref(removed);
    path_unref(negative);
    path_unref(old_parent);
    kfree(old_block);
    if (length < sizeof(path->short_name))
        kfree(block);
}

/* Name and place of each for the other's: the strings travel with them, so nothing is allocated. */
void path_cache_exchange(struct path *a, struct path *b)
{
    char short_a[sizeof(a->short_name)];
    char *name_a, *name_b;

    spin_lock(&path_cache_lock);
    bool cached_a = hash_remove_locked(a), cached_b = hash_remove_locked(b);
    bool is_short_a = a->name == a->short_name, is_short_b = b->name == b->short_name;
    name_a = a->name, name_b = b->name;
    memcpy(short_a, a->short_name, sizeof(short_a));
    memcpy(a->short_name, b->short_name, sizeof(short_a));
    memcpy(b->short_name, short_a, sizeof(short_a));
    a->name = is_short_b ? a->short_name : name_b;
    b->name = is_short_a ? b->short_name : name_a;
    uint16_t length = a->name_length;
    a->name_length = b->name_length;
    b->name_length = length;
    struct path *parent = a->parent;
    a->parent = b->parent;
    b->parent = parent;
    uint32_t hash = a->hash;
    a->hash = b->hash;
    b->hash = hash;
    if (cached_a)
        hash_insert_locked(a);
    if (cached_b)
        hash_insert_locked(b);
    spin_unlock(&path_cache_lock);
}

/* --- questions about the tree ------------------------------------------------------------------------ */

/* One step up, over the roots of mounts: NULL at the very top. path_cache_lock held. */
static struct path *up_locked(struct path *path)
{
    if (path->parent)
        return path->parent;
    return path->mount ? path->mount->mountpoint : NULL;
}

bool path_beneath(struct path *path, struct path *ancestor)
{
    spin_lock(&path_cache_lock);
    while (path && path != ancestor)
        path = up_locked(path);
    spin_unlock(&path_cache_lock);
    return path != NULL;
}

/* Writes the name backwards from the end of the buffer; returns its start, or NULL when there is no room. */
static char *name_locked(struct path *path, struct path *root, char *buffer, char *end, bool *reached)
{
    char *at = end;

    while (path && path != root) {
        if (!path->parent && path->mount && path->mount->mountpoint) {
            path = path->mount->mountpoint;
            continue;
        }
        if (!path->parent && path->name_length == 0)
            break;
        if (at - buffer < path->name_length + 1)
            return NULL;
        at -= path->name_length;
        memcpy(at, path->name, path->name_length);
        *--at = '/';
        path = path->parent;
    }
    *reached = path == root;
    if (at == end) {
        if (at == buffer)
            return NULL;
        *--at = '/';
    }
    return at;
}

int64_t path_name_from(struct path *path, struct path *root, char *buffer, size_t size, bool *reached, bool *gone)
{
    char *start, *end = buffer + size - 1;

    if (size < 2)
        return -ENAMETOOLONG;
    spin_lock(&path_cache_lock);
    *gone = path->gone;
    start = name_locked(path, root, buffer, end, reached);
    spin_unlock(&path_cache_lock);
    if (!start)
        return -ENAMETOOLONG;
    memmove(buffer, start, (size_t)(end - start));
    buffer[end - start] = 0;
    return end - start;
}

int64_t path_name(struct path *path, char *buffer, size_t size)
{
    static const char suffix[] = " (deleted)";
    struct path *root = fs_context_root(NULL);
    bool reached, gone;
    int64_t length = path_name_from(path, root, buffer, size, &reached, &gone);

    path_unref(root);
    if (length < 0 || !gone)
        return length;
    if ((uint64_t)length + sizeof(suffix) > size)
        return -ENAMETOOLONG;
    memcpy(buffer + length, suffix, sizeof(suffix));
    return length + (int64_t)sizeof(suffix) - 1;
}
