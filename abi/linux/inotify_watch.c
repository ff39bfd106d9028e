/*
 * Watches: which nodes are watched, and how what happens to them finds its way to the instances.
 *
 * A node names its first watch; the others follow. Whoever tells of an event reads that pointer without the mutex as a hint:
 * a watch that is being made meanwhile need not see it. An event about a file goes to the directory's watches first, with
 * the name, then to the file's own, as on Linux. A watch ends with its instance, by inotify_rm_watch, after one event
 * (IN_ONESHOT), when the last name of its node goes and nobody uses that name any more, or with the file system's last mount.
 */
#include "abi/linux/inotify.h"

#include "abi/linux/fs/vfs.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

struct atomic32 notify_watches;

static bool is_directory(const struct node *node) { return (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR; }
static bool watched(struct node *node) { return atomic_ptr_load_relaxed(&node->watches) != NULL; }

/* --- numbers ----------------------------------------------------------------------------------------- */

/* The watch, or NULL with the place where it would be. */
static struct inotify_watch *find_place_locked(struct inotify *instance, int32_t wd, struct tree_node **parent, int *side)
{
    struct tree_node *node = instance->by_wd.root;

    *parent = NULL;
    *side = 0;
    while (node) {
        struct inotify_watch *watch = CONTAINER_OF(node, struct inotify_watch, place);
        if (watch->wd == wd)
            return watch;
        *parent = node;
        *side = wd > watch->wd;
        node = node->child[*side];
    }
    return NULL;
}

struct inotify_watch *watch_find_locked(struct inotify *instance, int32_t wd)
{
    struct tree_node *parent;
    int side;

    return find_place_locked(instance, wd, &parent, &side);
}

/* The next number that is free: they come round again only after all of them were given out. */
static void give_number_locked(struct inotify *instance, struct inotify_watch *watch)
{
    struct tree_node *parent;
    int side;

    do
        instance->last_wd = instance->last_wd == INT32_MAX ? 1 : instance->last_wd + 1;
    while (find_place_locked(instance, instance->last_wd, &parent, &side));
    watch->wd = instance->last_wd;
    tree_insert(&instance->by_wd, parent, side, &watch->place);
}

/* --- beginning and ending ---------------------------------------------------------------------------- */

static struct inotify_watch *first_of(struct node *node) { return atomic_ptr_load_relaxed(&node->watches); }

static struct inotify_watch *watch_of_locked(struct inotify *instance, struct node *node)
{
    struct inotify_watch *watch = first_of(node);

    while (watch && watch->instance != instance)
        watch = watch->next;
    return watch;
}

static void attach_locked(struct inotify_watch *watch, struct inotify *instance, struct node *node)
{
    watch->instance = instance;
    watch->node = object_ref(node);
    watch->fs = object_ref(node->fs);
    watch->next = first_of(node);
    list_push_back(&instance->watches, &watch->link);
    give_number_locked(instance, watch);
    instance->user->watches++;
    atomic32_add(&notify_watches, 1);
    atomic_ptr_store_release(&node->watches, watch);
}

/* What inotify_add_watch's mask leaves in a watch. */
static uint32_t kept_bits(uint32_t mask) { return mask & (NOTIFY_ALL | IN_ONESHOT | IN_EXCL_UNLINK); }

static int64_t watch_set_locked(struct inotify *instance, struct node *node, uint32_t mask, struct inotify_watch **fresh)
{
    struct inotify_watch *watch = watch_of_locked(instance, node);

    if (watch && (mask & IN_MASK_CREATE))
        return -EEXIST;
    if (!watch) {
        if (instance->user->watches >= INOTIFY_WATCHES_MAX)
            return -ENOSPC;
        watch = *fresh;
        *fresh = NULL;
        attach_locked(watch, instance, node);
    }
    watch->mask = kept_bits(mask) | (mask & IN_MASK_ADD ? watch->mask : 0);
    return watch->wd;
}

int64_t watch_set(struct inotify *instance, struct node *node, uint32_t mask)
{
    struct inotify_watch *fresh = kzalloc(sizeof(*fresh));
    int64_t result;

    if (!fresh)
        return -ENOMEM;
    list_init(&fresh->link);
    mutex_lock(&inotify_mutex);
    result = watch_set_locked(instance, node, mask, &fresh);
    mutex_unlock(&inotify_mutex);
    kfree(fresh);
    return result;
}

static void detach_locked(struct inotify_watch *watch, struct list *dead)
{
    struct inotify_watch *at = first_of(watch->node);

    if (at == watch) {
        atomic_ptr_store_release(&watch->node->watches, watch->next);
    } else {
        while (at->next != watch)
            at = at->next;
        at->next = watch->next;
    }
    tree_remove(&watch->instance->by_wd, &watch->place);
    list_remove(&watch->link);
    watch->instance->user->watches--;
    atomic32_sub(&notify_watches, 1);
    list_push_back(dead, &watch->link);
}

void watch_end_locked(struct inotify_watch *watch, struct list *dead)
{
    detach_locked(watch, dead);
    inotify_tell_locked(watch->instance, watch->wd, IN_IGNORED, 0, NULL, 0);
}

void watches_end_all_locked(struct inotify *instance, struct list *dead)
{
    while (!list_empty(&instance->watches))
        detach_locked(LIST_ENTRY(instance->watches.next, struct inotify_watch, link), dead);
}

void watches_free(struct list *dead)
{
    while (!list_empty(dead)) {
        struct inotify_watch *watch = LIST_ENTRY(list_pop_front(dead), struct inotify_watch, link);
        object_unref(watch->node);
        object_unref(watch->fs);
        kfree(watch);
    }
}

/* --- telling ----------------------------------------------------------------------------------------- */

struct told {
    uint32_t events; /* with IN_ISDIR */
    uint32_t cookie;
    const char *name;
    size_t length;
    bool unlinked;   /* the file it is about has lost the name that it is told with */
    bool last;       /* the watches end with it */
};

static void tell(struct node *node, const struct told *told)
{
    struct inotify_watch *watch, *next;
    struct list dead;

    list_init(&dead);
    mutex_lock(&inotify_mutex);
    for (watch = first_of(node); watch; watch = next) {
        next = watch->next;
        bool heard = (told->events & watch->mask & NOTIFY_ALL) && !(told->unlinked && (watch->mask & IN_EXCL_UNLINK));
        if (heard)
            inotify_tell_locked(watch->instance, watch->wd, told->events, told->cookie, told->name, told->length);
        if (told->last || (heard && (watch->mask & IN_ONESHOT)))
            watch_end_locked(watch, &dead);
    }
    mutex_unlock(&inotify_mutex);
    watches_free(&dead);
}

static uint32_t with_kind(uint32_t events, const struct node *of) { return events | (is_directory(of) ? IN_ISDIR : 0); }

/* The directory that a path is in, when it is watched: a reference, with a copy of the name. Else NULL. */
static struct node *watched_directory(struct path *path, char name[NAME_LENGTH_MAX + 1], struct told *told)
{
    struct node *node = NULL;

    spin_lock(&path_cache_lock);
    if (path->parent && path->parent->node && path->name_length <= NAME_LENGTH_MAX && watched(path->parent->node)) {
        node = object_ref(path->parent->node);
        memcpy(name, path->name, path->name_length);
        told->name = name;
        told->length = path->name_length;
        told->unlinked = path->gone;
    }
    spin_unlock(&path_cache_lock);
    return node;
}

void notify_path_always(struct path *path, uint32_t events)
{
    char name[NAME_LENGTH_MAX + 1];
    struct node *node = path->node, *directory;
    struct told told = {.events = 0};

    if (!node)
        return;
    told.events = with_kind(events, node);
    directory = watched_directory(path, name, &told);
    if (directory) {
        tell(directory, &told);
        object_unref(directory);
    }
    if (watched(node))
        tell(node, &(struct told){.events = told.events});
}

void notify_name_always(struct node *directory, const char *name, size_t length, uint32_t events, struct node *of, uint32_t cookie)
{
    if (watched(directory))
        tell(directory, &(struct told){.events = with_kind(events, of), .cookie = cookie, .name = name, .length = length});
}

void notify_node_always(struct node *node, uint32_t events)
{
    bool of_itself = events & (NOTIFY_MOVE_SELF | NOTIFY_DELETE_SELF); /* these never say what it is */

    if (watched(node))
        tell(node, &(struct told){.events = of_itself ? events : with_kind(events, node)});
}

void notify_gone_always(struct node *node)
{
    struct linux_stat_data stat = {.link_count = 0};

    if (!watched(node))
        return;
    if (!is_directory(node) && (!node->ops->get_attr || node->ops->get_attr(node, &stat) || stat.link_count))
        return;
    tell(node, &(struct told){.events = NOTIFY_DELETE_SELF, .last = true});
}

void notify_unmounted_always(struct fs *fs)
{
    struct list dead;

    list_init(&dead);
    mutex_lock(&inotify_mutex);
    LIST_FOR_EACH (at, &inotify_instances) {
        struct inotify *instance = LIST_ENTRY(at, struct inotify, link);
        for (struct list *link = instance->watches.next, *next; link != &instance->watches; link = next) {
            struct inotify_watch *watch = LIST_ENTRY(link, struct inotify_watch, link);
            next = link->next;
            if (watch->fs != fs)
                continue;
            inotify_tell_locked(instance, watch->wd, IN_UNMOUNT, 0, NULL, 0);
            watch_end_locked(watch, &dead);
        }
    }
    mutex_unlock(&inotify_mutex);
    watches_free(&dead);
}
