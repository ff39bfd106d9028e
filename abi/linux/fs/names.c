/*
 * Names in one directory: looking them up, making, linking, removing, renaming them.
 *
 * The name cache must agree with the file system, so the look at the file system and the entry into the cache
 * happen under one mutex, as do a change and what it means for the cache. There are a few such mutexes, chosen by the
 * directory's node; two are taken in order of address. Directories whose names are never kept need none: their file
 * system alone decides (and may need locks of any rank to answer, as /proc does). Where a program answers, a directory
 * has a gate of its own instead, and the file system one for renames: that program may be looking up names meanwhile, and
 * who waits for one that never answers can be killed.
 *
 * Order of checks and errors follows Linux's, because programs depend on it: mkdir of an existing name on a
 * read-only file system is EEXIST, unlink of an absent one there EROFS.
 */
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"

enum { NAME_LOCKS = 64 };

static struct mutex name_locks[NAME_LOCKS];
static struct mutex rename_lock;

void names_init(void)
{
    for (int i = 0; i < NAME_LOCKS; i++)
        mutex_init(&name_locks[i], RANK_NAMES);
    mutex_init(&rename_lock, RANK_RENAME);
}

static struct mutex *lock_of(struct node *directory)
{
    uint64_t key = (uintptr_t)directory;

    if ((directory->flags & (NODE_NO_CACHE | NODE_SAME_NODE)) == NODE_NO_CACHE)
        return NULL;
    return &name_locks[(key >> 6 ^ key >> 13) % NAME_LOCKS];
}

int names_lock(struct node *directory)
{
    if (directory->names_gate)
        return gate_enter(directory->names_gate);
    if (lock_of(directory))
        mutex_lock(lock_of(directory));
    return 0;
}

void names_unlock(struct node *directory)
{
    if (directory->names_gate)
        gate_leave(directory->names_gate);
    else if (lock_of(directory))
        mutex_unlock(lock_of(directory));
}

/* Directories of one file system: both have gates or neither. */
static int names_lock_pair(struct node *a, struct node *b)
{
    if (a->names_gate && b->names_gate)
        return gate_enter_pair(a->names_gate, b->names_gate);
    if (!lock_of(a) || lock_of(a) == lock_of(b))
        names_lock(b);
    else if (!lock_of(b))
        names_lock(a);
    else
        mutex_lock_pair(lock_of(a), lock_of(b));
    return 0;
}

static void names_unlock_pair(struct node *a, struct node *b)
{
    if (a->names_gate && b->names_gate)
        gate_leave_pair(a->names_gate, b->names_gate);
    else if (!lock_of(a) || lock_of(a) == lock_of(b))
        names_unlock(b);
    else if (!lock_of(b))
        names_unlock(a);
    else
        mutex_unlock_pair(lock_of(a), lock_of(b));
}

/* --- looking up -------------------------------------------------------------------------------------- */

/* What the cache knows: a reference in *path, -ENOENT for a name known to be absent, 1 for nothing. */
static int cache_lookup(struct path *directory, const char *name, size_t length, struct path **path)
{
    uint32_t hash = path_hash(directory, name, length);
    int result = 1;

    spin_lock(&path_cache_lock);
    struct path *found = path_cached_locked(directory, name, length, hash);
    if (found && !path_answers(directory, found)) {
        result = 1;
    } else if (found && found->node) {
        *path = path_ref(found);
        result = 0;
    } else if (found) {
        result = -ENOENT;
    }
    spin_unlock(&path_cache_lock);
    return result;
}

/* A name that was there and was looked up again in vain: whoever still has its path sees that it is gone. */
static void forget_absent(struct path *directory, const char *name, size_t length)
{
    uint32_t hash = path_hash(directory, name, length);

    spin_lock(&path_cache_lock);
    struct path *found = path_cached_locked(directory, name, length, hash);
    found = found && !found->covering ? path_ref(found) : NULL;
    spin_unlock(&path_cache_lock);
    if (found)
        path_cache_unlinked(found);
    path_unref(found);
}

static void remember_absent(struct path *directory, const char *name, size_t length, uint32_t generation)
{
    bool timed = (directory->node->flags & NODE_TIMED) && directory->node->answer_until > body_now();

    if (directory->node->flags & NODE_TIMED)
        forget_absent(directory, name, length);
    if (!timed && (!(directory->node->flags & NODE_CACHE_NEGATIVE) || !path_cacheable(directory)))
        return;
    struct path *path = path_create(directory, directory->mount, name, length, NULL);
    if (!path)
        return;
    path->until = directory->node->answer_until;
    path->generation = generation;
    path_cache_add_since(path, generation);
    path_unref(path);
}

/* The path that stood for this very node under this name before: a reference, or NULL. */
static struct path *path_again(struct path *directory, const char *name, size_t length, struct node *node)
{
    uint32_t hash = path_hash(directory, name, length);

    /* A link's target is kept with its path, so it is read again when the link was looked up again. */
    if ((directory->node->flags & NODE_TIMED) && (node->mode & LINUX_S_IFMT) == LINUX_S_IFLNK)
        return NULL;
    spin_lock(&path_cache_lock);
    struct path *found = path_cached_locked(directory, name, length, hash);
    found = found && found->node == node ? path_ref(found) : NULL;
    spin_unlock(&path_cache_lock);
    return found;
}

/* A program that answers with a directory above the one it was asked in would make a tree without an end. */
static bool closes_circle(struct path *directory, const struct node *node)
{
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFDIR)
        return false;
    spin_lock(&path_cache_lock);
    while (directory && directory->node != node)
        directory = directory->parent;
    spin_unlock(&path_cache_lock);
    return directory != NULL;
}

static void answer_dated(struct path *directory, struct path *path, uint32_t generation)
{
    if (!(directory->node->flags & NODE_TIMED))
        return;
    spin_lock(&path_cache_lock);
    path->until = directory->node->answer_until;
    path->generation = generation;
    spin_unlock(&path_cache_lock);
}

/* A path for a node the file system gave when its directory had the generation; takes over the reference. */
static int path_for(struct path *directory, const char *name, size_t length, struct node *node, uint32_t generation, struct path **path)
{
    if ((directory->node->flags & NODE_TIMED) && closes_circle(directory, node)) {
        object_unref(node);
        return -ELOOP;
    }
    *path = path_reused(directory) ? path_again(directory, name, length, node) : NULL;
    if (*path) {
        object_unref(node);
        answer_dated(directory, *path, generation);
        return 0;
    }
    *path = path_create(directory, directory->mount, name, length, node);
    if (!*path)
        return -ENOMEM;
    answer_dated(directory, *path, generation);
    if (path_kept(directory))
        path_cache_add_since(*path, generation);
    return 0;
}

int names_lookup_locked(struct path *directory, const char *name, size_t length, struct path **path)
{
    uint32_t generation = atomic32_load_acquire(&directory->node->answer_generation);
    struct node *node = NULL;
    int error = cache_lookup(directory, name, length, path);

    if (error != 1)
        return error;
    if (!directory->node->ops->lookup)
        return -ENOTDIR;
    error = directory->node->ops->lookup(directory->node, name, length, &node);
    if (!error)
        return path_for(directory, name, length, node, generation, path);
    if (error == -ENOENT)
        remember_absent(directory, name, length, generation);
    return error;
}

int names_lookup(struct path *directory, const char *name, size_t length, struct path **path)
{
    int error = names_lock(directory->node);

    if (error)
        return error;
    error = names_lookup_locked(directory, name, length, path);
    names_unlock(directory->node);
    return error;
}

/* --- making ------------------------------------------------------------------------------------------ */

static bool path_gone(struct path *path)
{
    spin_lock(&path_cache_lock);
    bool gone = path->gone;
    spin_unlock(&path_cache_lock);
    return gone;
}

bool path_covered(struct path *path)
{
    spin_lock(&path_cache_lock);
    bool covered = path->covering != NULL;
    spin_unlock(&path_cache_lock);
    return covered;
}

/* The name is free and the caller may make it. names_lock held. */
static int may_create(struct path *directory, const char *name, size_t length)
{
    struct path *existing;
    int error = length > NAME_LENGTH_MAX ? -ENAMETOOLONG : names_lookup_locked(directory, name, length, &existing);

    if (!error) {
        path_unref(existing);
        return -EEXIST;
    }
    if (error != -ENOENT || (directory->node->flags & NODE_NAMES_FIXED))
        return error;
    error = path_writable(directory);
    if (!error && path_gone(directory))
        error = -ENOENT;
    return error ? error : node_permission(directory->node, MAY_WRITE | MAY_EXECUTE);
}

/* Mode, uid and gid of a new node: umask, and the group of set-group-ID directories. */
static int owner_of_new(struct node *directory, uint32_t mode, struct node_owner *owner)
{
    const struct cred *cred = current_cred();
    struct process *process = current_process();
    struct node_owner in = {.mode = 0};
    int error = node_decides(directory) ? 0 : node_owner(directory, &in);

    if (error)
        return error;
    if (process && (mode & LINUX_S_IFMT) != LINUX_S_IFLNK)
        mode &= ~atomic32_load_relaxed(&process->fs->umask);
    *owner = (struct node_owner){.mode = mode, .uid = cred ? cred->fsuid : 0, .gid = cred ? cred->fsgid : 0};
    if (in.mode & LINUX_S_ISGID) {
        owner->gid = in.gid;
        if ((mode & LINUX_S_IFMT) == LINUX_S_IFDIR)
            owner->mode |= LINUX_S_ISGID;
    }
    return 0;
}

/* Paths of the same names through another mount are no answers any more. */
static void names_elsewhere(struct node *dir)
{
    if (dir->fs->bound)
        node_names_changed(dir);
}

static int create_node(struct node *dir, const char *name, size_t length, const struct create_request *request,
                       const struct node_owner *owner, struct node **node)
{
    int error = -ENOSYS;

    if (request->file && dir->ops->create_open)
        error = dir->ops->create_open(dir, name, length, owner->mode, owner->uid, owner->gid, request->open_flags, node, request->file);
    if (error != -ENOSYS)
        return error;
    return dir->ops->create(dir, name, length, owner->mode, request->rdev, request->target, owner->uid, owner->gid, node);
}

static int create_locked(struct path *directory, const char *name, size_t length, const struct create_request *request,
                         struct path **path)
{
    struct node *dir = directory->node, *node = NULL;
    uint32_t generation = atomic32_load_acquire(&dir->answer_generation);
    struct node_owner owner;
    int error = may_create(directory, name, length);

    if (!error && !dir->ops->create)
        error = (request->mode & LINUX_S_IFMT) == LINUX_S_IFREG ? -EACCES : -EPERM;
    if (!error)
        error = owner_of_new(dir, request->mode, &owner);
    if (!error)
        error = create_node(dir, name, length, request, &owner, &node);
    names_elsewhere(dir);
    if (!error && !request->unnoticed)
        notify_name(dir, name, length, NOTIFY_CREATE, node, 0);
    if (!error)
        error = path_for(directory, name, length, node, generation, path);
    if (error && request->file && *request->file) {
        file_unref(*request->file);
        *request->file = NULL;
    }
    return error;
}

int names_create(struct path *directory, const char *name, size_t length, const struct create_request *request, struct path **path)
{
    struct path *made;
    int error = names_lock(directory->node);

    if (error)
        return error;
    error = create_locked(directory, name, length, request, &made);
    names_unlock(directory->node);
    if (error)
        return error;
    if (path)
        *path = made;
    else
        path_unref(made);
    return 0;
}

static int link_locked(struct path *directory, const char *name, size_t length, struct node *target)
{
    struct node *dir = directory->node;
    uint32_t generation = atomic32_load_acquire(&dir->answer_generation);
    struct path *path;
    int error = may_create(directory, name, length);

    if (error)
        return error;
    if (dir->fs != target->fs)
        return -EXDEV;
    if ((target->mode & LINUX_S_IFMT) == LINUX_S_IFDIR || !dir->ops->link)
        return -EPERM;
    error = dir->ops->link(dir, name, length, target);
    names_elsewhere(dir);
    if (!error) {
        notify_node(target, NOTIFY_ATTRIB); /* one name more */
        notify_name(dir, name, length, NOTIFY_CREATE, target, 0);
    }
    if (!error && !path_for(directory, name, length, object_ref(target), generation, &path))
        path_unref(path);
    return error;
}

int names_link(struct path *directory, const char *name, size_t length, struct node *target)
{
    int error = names_lock(directory->node);

    if (error)
        return error;
    error = link_locked(directory, name, length, target);
    names_unlock(directory->node);
    return error;
}

/* --- removing ---------------------------------------------------------------------------------------- */

static int remove_check(struct path *directory, struct path *path, bool is_directory, bool must_be_directory)
{
    bool found_directory = path->type == LINUX_S_IFDIR;
    int error;

    if (!is_directory && must_be_directory)
        return found_directory ? -EISDIR : -ENOTDIR;
    error = node_may_remove(directory->node, path->node);
    if (error)
        return error;
    if (is_directory != found_directory)
        return is_directory ? -ENOTDIR : -EISDIR;
    return path_covered(path) ? -EBUSY : 0;
}

static void names_changed(struct node *node)
{
    if (node->ops->names_changed)
        node->ops->names_changed(node);
}

static int remove_from(struct node *dir, const char *name, size_t length, bool is_directory)
{
    int (*remove)(struct node *, const char *, size_t) = is_directory ? dir->ops->remove_directory : dir->ops->unlink;

    return remove ? remove(dir, name, length) : -EPERM;
}

/* *gone: a reference to what had the name. */
static int remove_locked(struct path *directory, const char *name, size_t length, bool is_directory, bool must_be_directory,
                         struct node **gone)
{
    struct path *path;
    int error = names_lookup_locked(directory, name, length, &path);

    if (error)
        return error;
    error = remove_check(directory, path, is_directory, must_be_directory);
    if (!error)
        error = remove_from(directory->node, name, length, is_directory);
    names_elsewhere(directory->node);
    if (!error) {
        *gone = object_ref(path->node);
        if (!is_directory)
            notify_node(path->node, NOTIFY_ATTRIB); /* one name less */
        path_cache_unlinked(path);
        names_changed(path->node);
    }
    path_unref(path);
    return error;
}

static int names_take_away(struct path *directory, const char *name, size_t length, bool is_directory, bool must_be_directory, bool notice)
{
    struct node *gone = NULL;
    int error = path_writable(directory);

    if (!error)
        error = names_lock(directory->node);
    if (error)
        return error;
    error = remove_locked(directory, name, length, is_directory, must_be_directory, &gone);
    if (!error && notice)
        notify_name(directory->node, name, length, NOTIFY_DELETE, gone, 0);
    names_unlock(directory->node);
    object_unref(gone);
    return error;
}

int names_remove(struct path *directory, const char *name, size_t length, bool is_directory, bool must_be_directory)
{
    return names_take_away(directory, name, length, is_directory, must_be_directory, true);
}

int names_remove_unnoticed(struct path *directory, const char *name, size_t length)
{
    return names_take_away(directory, name, length, false, false, false);
}

/* --- renaming ---------------------------------------------------------------------------------------- */

enum { RENAME_NOREPLACE = 1, RENAME_EXCHANGE = 2 };

/* The kinds of the two names, and that neither directory would end up inside itself. */
static int rename_kinds(const struct rename_request *request, struct path *from, struct path *to)
{
    bool exchange = request->flags & RENAME_EXCHANGE, from_directory = from->type == LINUX_S_IFDIR;

    if (to && (request->flags & RENAME_NOREPLACE))
        return -EEXIST;
    if (!to && exchange)
        return -ENOENT;
    if (exchange && to->type != LINUX_S_IFDIR && request->new_must_be_directory)
        return -ENOTDIR;
    if (!from_directory && (request->must_be_directory || (!exchange && request->new_must_be_directory)))
        return -ENOTDIR;
    if (from_directory && path_beneath(request->to, from))
        return -EINVAL;
    if (to && to->type == LINUX_S_IFDIR && path_beneath(request->from, to))
        return exchange ? -EINVAL : -ENOTEMPTY;
    return 0;
}

/* Moving a directory elsewhere changes its "..", so it must be writable. */
static int rename_parent_change(const struct rename_request *request, struct path *moved)
{
    if (moved->type != LINUX_S_IFDIR || request->from->node == request->to->node)
        return 0;
    return node_permission(moved->node, MAY_WRITE);
}

static int rename_permissions(const struct rename_request *request, struct path *from, struct path *to)
{
    bool exchange = request->flags & RENAME_EXCHANGE;
    int error = node_may_remove(request->from->node, from->node);

    if (!error && to)
        error = node_may_remove(request->to->node, to->node);
    else if (!error)
        error = path_gone(request->to) ? -ENOENT : node_permission(request->to->node, MAY_WRITE | MAY_EXECUTE);
    if (!error && to && !exchange && (from->type == LINUX_S_IFDIR) != (to->type == LINUX_S_IFDIR))
        error = from->type == LINUX_S_IFDIR ? -ENOTDIR : -EISDIR;
    if (!error)
        error = rename_parent_change(request, from);
    if (!error && exchange)
        error = rename_parent_change(request, to);
    if (!error && (path_covered(from) || (to && path_covered(to))))
        error = -EBUSY;
    return error;
}

/* One name that moved: from its directory to the other. */
static void notify_moved(const struct rename_request *request, bool back, struct node *moved)
{
    static struct atomic32 last_cookie;
    uint32_t cookie = notify_wanted() ? atomic32_add_relaxed(&last_cookie, 1) + 1 : 0;
    struct node *dir = request->from->node, *new_dir = request->to->node;

    notify_name(back ? new_dir : dir, back ? request->new_name : request->name, back ? request->new_length : request->length,
                NOTIFY_MOVED_FROM, moved, cookie);
    notify_name(back ? dir : new_dir, back ? request->name : request->new_name, back ? request->length : request->new_length,
                NOTIFY_MOVED_TO, moved, cookie);
}

static void notify_renamed(const struct rename_request *request, struct path *from, struct path *to)
{
    notify_moved(request, false, from->node);
    if (to && !(request->flags & RENAME_EXCHANGE))
        notify_node(to->node, NOTIFY_ATTRIB); /* it lost the name */
    notify_node(from->node, NOTIFY_MOVE_SELF);
    if (to && (request->flags & RENAME_EXCHANGE)) {
        notify_moved(request, true, to->node);
        notify_node(to->node, NOTIFY_MOVE_SELF);
    }
}

static int rename_commit(const struct rename_request *request, struct path *from, struct path *to)
{
    struct node *dir = request->from->node, *new_dir = request->to->node;
    char *block = NULL;
    int error;

    if (!dir->ops->rename)
        return -EPERM;
    if (request->new_length >= sizeof(from->short_name)) {
        block = kalloc(request->new_length + 1);
        if (!block)
            return -ENOMEM;
    }
    error = dir->ops->rename(dir, request->name, request->length, new_dir, request->new_name, request->new_length, request->flags);
    names_elsewhere(dir);
    names_elsewhere(new_dir);
    if (!error && (request->flags & RENAME_EXCHANGE))
        path_cache_exchange(from, to);
    if (!error)
        names_changed(from->node);
    if (!error && to)
        names_changed(to->node);
    if (error || (request->flags & RENAME_EXCHANGE))
        kfree(block);
    else
        path_cache_move(from, request->to, request->new_name, request->new_length, block, to);
    if (!error)
        notify_renamed(request, from, to);
    return error;
}

static int rename_checked(const struct rename_request *request, struct path *from, struct path *to)
{
    int error = rename_kinds(request, from, to);

    if (error)
        return error;
    if (to && to->node == from->node)
        return 0;
    error = rename_permissions(request, from, to);
    return error ? error : rename_commit(request, from, to);
}

static int rename_locked(const struct rename_request *request)
{
    struct path *from, *to = NULL;
    int error = names_lookup_locked(request->from, request->name, request->length, &from);

    if (error)
        return error;
    error = names_lookup_locked(request->to, request->new_name, request->new_length, &to);
    if (error == -ENOENT) {
        to = NULL;
        error = 0;
    }
    if (!error)
        error = rename_checked(request, from, to);
    path_unref(from);
    path_unref(to);
    return error;
}

/* With it held no other rename in the file system changes who is beneath whom. */
static int rename_begin(struct fs *fs)
{
    if (fs->rename_gate)
        return gate_enter(fs->rename_gate);
    mutex_lock(&rename_lock);
    return 0;
}

static void rename_end(struct fs *fs)
{
    if (fs->rename_gate)
        gate_leave(fs->rename_gate);
    else
        mutex_unlock(&rename_lock);
}

static int rename_pair(const struct rename_request *request)
{
    int error = names_lock_pair(request->from->node, request->to->node);

    if (error)
        return error;
    error = rename_locked(request);
    names_unlock_pair(request->from->node, request->to->node);
    return error;
}

int names_rename(const struct rename_request *request)
{
    struct fs *fs = request->from->node->fs;
    int error;

    if (request->from->mount != request->to->mount)
        return -EXDEV;
    error = path_writable(request->from);
    if (error)
        return error;
    if (request->from->node == request->to->node)
        return rename_pair(request);
    error = rename_begin(fs);
    if (error)
        return error;
    error = rename_pair(request);
    rename_end(fs);
    return error;
}
