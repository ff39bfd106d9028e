/*
 * Walking: from a name to a path, as path_resolution(7) tells it.
 *
 * The walk runs under path_cache_lock over whatever is cached, without counting references, and lets go of the lock
 * only where somebody must be asked: a component the cache does not know, a directory whose owner is not
 * known, a symbolic link not yet read, a magic link. Before it lets go it pins where it stands.
 *
 * A symbolic link is followed by putting what is left of the name aside and going on with the target; nothing is
 * copied, because the link's path (pinned for the walk) keeps the target. At most WALK_LINKS_MAX links, so all
 * state has a fixed size.
 */
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

struct component {
    const char *name;
    size_t length;
    bool last; /* nothing but slashes comes after it */
};

/* --- the lock ---------------------------------------------------------------------------------------- */

static void walk_lock(void) { spin_lock(&path_cache_lock); }

static void walk_unlock(struct walk *walk)
{
    struct path *old = walk->pin, *old_next = walk->next_pin;

    walk->pin = path_ref(walk->at);
    walk->next_pin = NULL;
    if (!walk->root_pin)
        walk->root_pin = path_ref(walk->root);
    spin_unlock(&path_cache_lock);
    path_unref(old);
    path_unref(old_next);
}

/* --- beginning and end ------------------------------------------------------------------------------- */

static int start_at_descriptor(struct walk *walk, int dfd)
{
    struct file *file;
    int error = fd_get_any(dfd, &file);

    if (error)
        return error;
    if (file->path)
        walk->pin = path_ref(file->path);
    else if (!*walk->rest)
        walk->file = file_ref(file);
    else
        error = -ENOTDIR;
    file_unref(file);
    return error;
}

static int start_here(struct walk *walk, struct fs_context *context)
{
    walk_lock();
    walk->root = context->root;
    walk->root_pin = path_ref(walk->root);
    walk->at = *walk->rest == '/' ? walk->root : walk->pin ? walk->pin : context->cwd;
    if (walk->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) {
        struct path *start = walk->pin ? walk->pin : context->cwd;
        path_ref(start);
        struct path *old = walk->root_pin;
        walk->root = walk->root_pin = walk->at = start;
        walk_unlock(walk);
        path_unref(old);
        return 0;
    }
    walk_unlock(walk);
    return 0;
}

/* A kernel-only thread walks from the root of everything. */
static int start_at_root(struct walk *walk)
{
    walk->root_pin = mount_root_path();
    if (!walk->root_pin)
        return -ENOENT;
    walk->root = walk->at = walk->root_pin;
    walk->pin = path_ref(walk->at);
    return 0;
}

int walk_begin(struct walk *walk, int dfd, const char *name, uint32_t flags, uint32_t resolve, const struct cred *cred)
{
    struct process *process = current_process();
    int error;

    walk->at = walk->pin = walk->next_pin = walk->root = walk->root_pin = NULL;
    walk->file = NULL;
    walk->rest = name;
    walk->flags = flags;
    walk->resolve = resolve;
    walk->links = walk->depth = 0;
    walk->directory = false;
    walk->last = NULL;
    walk->cred = cred ? cred : current_cred();
    if (!*name && !(flags & WALK_EMPTY))
        return -ENOENT;
    if (*name == '/' && (resolve & RESOLVE_BENEATH))
        return -EXDEV;
    if (!process)
        return start_at_root(walk);
    if (dfd != LINUX_AT_FDCWD && (*name != '/' || (resolve & RESOLVE_IN_ROOT))) {
        error = start_at_descriptor(walk, dfd);
        if (error || walk->file)
            return error;
    }
    return start_here(walk, process->fs);
}

void walk_end(struct walk *walk)
{
    path_unref(walk->pin);
    path_unref(walk->next_pin);
    path_unref(walk->root_pin);
    if (walk->file)
        file_unref(walk->file);
    for (uint32_t i = 0; i < walk->links; i++)
        path_unref(walk->link_pins[i]);
}

/* --- components -------------------------------------------------------------------------------------- */

/* Takes the next component off what is left; false when nothing is left. */
static bool component_next(struct walk *walk, struct component *component)
{
    for (;;) {
        const char *start = walk->rest, *end;
        while (*start == '/')
            start++;
        if (*start) {
            for (end = start; *end && *end != '/'; end++)
                ;
            component->name = start;
            component->length = (size_t)(end - start);
            for (start = end; *start == '/'; start++)
                ;
            component->last = !*start && !walk->depth;
            if (component->last && start != end)
                walk->directory = true;
            walk->rest = start;
            return true;
        }
        walk->rest = start;
        if (!walk->depth)
            return false;
        walk->rest = walk->rests[--walk->depth];
    }
}

/* May the caller search the directory we are in? Called and left with the lock held. */
static int search_check(struct walk *walk)
{
    int error;

    if (walk->at->type != LINUX_S_IFDIR)
        return -ENOTDIR;
    error = node_search_locked(walk->at->node, walk->cred);
    if (error != 1)
        return error;
    walk_unlock(walk);
    error = node_permission_for(walk->at->node, MAY_EXECUTE, walk->cred);
    walk_lock();
    return error;
}

static int walk_up(struct walk *walk)
{
    struct path *at = walk->at;

    while (at != walk->root && !at->parent && at->mount && at->mount->mountpoint) {
        if (walk->resolve & RESOLVE_NO_XDEV)
            return -EXDEV;
        at = at->mount->mountpoint;
    }
    if (at == walk->root)
        return walk->resolve & RESOLVE_BENEATH ? -EXDEV : 0;
    if (at->parent)
        at = at->parent;
    while (at->covering)
        at = at->covering->root;
    walk->at = at;
    return 0;
}

/* --- symbolic links ---------------------------------------------------------------------------------- */

/* What a target of up to a page says, as a string of its own. */
static int target_read(struct node *node, char **target)
{
    char *buffer = kalloc(PATH_LENGTH_MAX);
    int64_t length;

    if (!buffer)
        return -ENOMEM;
    length = node->ops->read_link ? node->ops->read_link(node, buffer, PATH_LENGTH_MAX - 1) : -EINVAL;
    if (length >= 0) {
        buffer[length] = 0;
        *target = kstrdup(buffer);
    }
    kfree(buffer);
    return length < 0 ? (int)length : *target ? 0 : -ENOMEM;
}

/* Reads the link's target into its path. The lock is let go of meanwhile; link is pinned by the caller. */
static int target_fetch(struct walk *walk, struct path *link)
{
    char *target = NULL;
    int error;

    walk_unlock(walk);
    error = target_read(link->node, &target);
    walk_lock();
    if (!error && !link->target) {
        link->target = target;
        target = NULL;
    }
    kfree(target);
    return error;
}

static int target_push(struct walk *walk, const char *target)
{
    if (!*target)
        return -ENOENT;
    if (*walk->rest)
        walk->rests[walk->depth++] = walk->rest;
    walk->rest = target;
    if (*target != '/')
        return 0;
    if (walk->resolve & RESOLVE_BENEATH)
        return -EXDEV;
    if ((walk->resolve & RESOLVE_NO_XDEV) && walk->at->mount != walk->root->mount)
        return -EXDEV;
    walk->at = walk->root;
    return 0;
}

/* A link of /proc leads to the very file, whatever its name. */
static int follow_magic(struct walk *walk, struct path *link, bool last)
{
    struct path *path = NULL;
    struct file *file = NULL;
    int error;

    if (walk->resolve & RESOLVE_NO_MAGICLINKS)
        return -ELOOP;
    if (walk->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT))
        return -EXDEV;
    walk_unlock(walk);
    error = link->node->ops->follow(link->node, &path, &file);
    if (!error && file && path) {
        file_unref(file);
        file = NULL;
    }
    if (!error && file && (!last || walk->directory)) {
        file_unref(file);
        error = -ENOTDIR;
    }
    walk_lock();
    if (error)
        return error;
    walk->file = file;
    if (path)
        walk->at = walk->next_pin = path;
    return 0;
}

static int follow_link(struct walk *walk, struct path *link, bool last)
{
    int error;

    if (walk->resolve & RESOLVE_NO_SYMLINKS || walk->links == WALK_LINKS_MAX)
        return -ELOOP;
    walk->link_pins[walk->links++] = path_ref(link);
    if (link->node->ops->follow) {
        error = follow_magic(walk, link, last);
        /* A link in the directory of magic links that is an ordinary one: /proc/self. */
        if (error != -EINVAL)
            return error;
    }
    if (!link->target) {
        error = target_fetch(walk, link);
        if (error)
            return error;
    }
    return target_push(walk, link->target);
}

/* --- the walk ---------------------------------------------------------------------------------------- */

/* Goes to a child: over what is mounted on it, through it when it is a link to be followed. Lock held. */
static int walk_enter(struct walk *walk, struct path *child, bool last)
{
    while (child->covering) {
        if (walk->resolve & RESOLVE_NO_XDEV)
            return -EXDEV;
        child = child->covering->root;
    }
    if (child->type == LINUX_S_IFLNK && (!last || walk->directory || !(walk->flags & WALK_NOFOLLOW)))
        return follow_link(walk, child, last);
    walk->at = child;
    return 0;
}

/* A component the cache does not know: the file system is asked. */
static int walk_fetch(struct walk *walk, const struct component *component, struct path **child)
{
    int error;

    if (walk->resolve & RESOLVE_CACHED)
        return -EAGAIN;
    walk_unlock(walk);
    error = names_lookup(walk->at, component->name, component->length, child);
    walk_lock();
    if (!error)
        walk->next_pin = *child;
    return error;
}

static int walk_component(struct walk *walk, const struct component *component)
{
    struct path *child;

    if (component->name[0] == '.' && component->length == 1)
        return 0;
    if (component->name[0] == '.' && component->name[1] == '.' && component->length == 2)
        return walk_up(walk);
    if (component->length > NAME_LENGTH_MAX)
        return -ENAMETOOLONG;
    child = path_cached_locked(walk->at, component->name, component->length,
                               path_hash(walk->at, component->name, component->length));
    if (!child || !path_answers(walk->at, child)) {
        int error = walk_fetch(walk, component, &child);
        if (error)
            return error;
    }
    if (!child->node)
        return -ENOENT;
    return walk_enter(walk, child, component->last);
}

/* WALK_PARENT stops before the last component. */
static void note_last(struct walk *walk, const struct component *component)
{
    walk->last = component->name;
    walk->last_length = (uint32_t)component->length;
    walk->last_kind = LAST_NORMAL;
    if (component->name[0] == '.' && component->length == 1)
        walk->last_kind = LAST_DOT;
    if (component->name[0] == '.' && component->name[1] == '.' && component->length == 2)
        walk->last_kind = LAST_DOTDOT;
}

static int walk_locked(struct walk *walk)
{
    struct component component;
    int error = 0;

    walk->last_kind = LAST_ROOT;
    while (!error && component_next(walk, &component)) {
        error = search_check(walk);
        if (!error && component.last && (walk->flags & WALK_PARENT)) {
            note_last(walk, &component);
            return 0;
        }
        if (!error)
            error = walk_component(walk, &component);
    }
    if (!error && !walk->file && (walk->directory || (walk->flags & WALK_DIRECTORY)) && walk->at->type != LINUX_S_IFDIR)
        error = -ENOTDIR;
    return error;
}

int walk_run(struct walk *walk)
{
    int error;

    if (walk->file)
        return walk->flags & (WALK_DIRECTORY | WALK_PARENT) ? -ENOTDIR : 0;
    walk_lock();
    error = walk_locked(walk);
    walk_unlock(walk);
    return error;
}

int walk_last(struct walk *walk, bool *more)
{
    struct path *child;
    int error = names_lookup(walk->at, walk->last, walk->last_length, &child);

    if (error)
        return error;
    walk_lock();
    walk->next_pin = child;
    error = walk_enter(walk, child, true);
    *more = !error && !walk->file && (*walk->rest || walk->depth);
    walk_unlock(walk);
    return error;
}

int walk_parent(struct walk *walk, int dfd, const char *name)
{
    int error = walk_begin(walk, dfd, name, WALK_PARENT, 0, NULL);

    return error ? error : walk_run(walk);
}

int path_walk_any(int dfd, const char *name, uint32_t flags, const struct cred *cred, struct path **path, struct file **file)
{
    struct walk walk;
    int error = walk_begin(&walk, dfd, name, flags, 0, cred);

    *path = NULL;
    *file = NULL;
    if (!error)
        error = walk_run(&walk);
    if (!error && walk.file) {
        *file = walk.file;
        walk.file = NULL;
    } else if (!error) {
        *path = walk.pin;
        walk.pin = NULL;
    }
    walk_end(&walk);
    return error;
}

int path_walk(int dfd, const char *name, uint32_t flags, struct path **path)
{
    struct file *file;
    int error = path_walk_any(dfd, name, flags, NULL, path, &file);

    if (!error && file) {
        file_unref(file);
        error = -ENXIO;
    }
    return error;
}
