/*
 * Mounts: which file system's root covers which path.
 *
 * The tree starts as one root file system and grows by mount_at while the command builds it, later by
 * mount(2). A mounted-on path is kept in the name cache (its ancestors too), so that every walk finds it, also in
 * directories that are otherwise never cached. A mount lives as long as a path in it.
 *
 * A bind mount shows files of a file system under a second path. The name cache knows names by their path, so a change made
 * through one would not be seen through the other: from the first bind on, the file system is asked for every name (fs->bound).
 */
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

/* under path_cache_lock */
static struct list mounts = {&mounts, &mounts};
static struct path *root_path;

static void mount_destroy(struct object *object)
{
    struct mount *mount = CONTAINER_OF(object, struct mount, object);

    if (mount->fs && atomic32_sub(&mount->fs->mounts, 1) == 1) {
        if (notify_wanted())
            notify_unmounted(mount->fs);
        if (mount->fs->ops->unmounted)
            mount->fs->ops->unmounted(mount->fs);
    }
    object_unref(mount->fs);
    kfree(mount->source);
    kfree(mount->root_name);
    kfree(mount);
}

static const struct object_type mount_type = {.name = "mount", .destroy = mount_destroy};

/* Of the tree beneath `root`. Takes over the reference on fs when it succeeds. */
static struct mount *mount_create(struct fs *fs, struct node *root, uint32_t flags, const char *source)
{
    static struct atomic32 next_id = ATOMIC_INIT(1);
    struct mount *mount = kzalloc(sizeof(*mount));

    if (!mount)
        return NULL;
    object_init(&mount->object, &mount_type);
    list_init(&mount->link);
    mount->flags = flags;
    mount->fs = fs;
    atomic32_add(&fs->mounts, 1);
    mount->id = atomic32_add_relaxed(&next_id, 1);
    mount->source = kstrdup(source ? source : fs->ops->name);
    mount->root = mount->source ? path_create(NULL, mount, "", 0, object_ref(root)) : NULL;
    if (!mount->root) {
        atomic32_sub(&fs->mounts, 1);
        mount->fs = NULL;
        object_unref(mount);
        return NULL;
    }
    return mount;
}

/* On the one thread that builds the first trees. */
static void init_once(void)
{
    static bool done;

    if (done)
        return;
    names_init();
    locks_init();
    notify_init();
    done = true;
}

int mount_root(struct fs *fs)
{
    struct mount *mount;

    KASSERT(!root_path);
    init_once();
    mount = mount_create(fs, fs->root, 0, NULL);
    if (!mount)
        return -ENOMEM;
    spin_lock(&path_cache_lock);
    root_path = mount->root;
    list_push_back(&mounts, &mount->link);
    spin_unlock(&path_cache_lock);
    return 0;
}

struct path *mount_root_path(void)
{
    spin_lock(&path_cache_lock);
    struct path *path = root_path ? path_ref(root_path) : NULL;
    spin_unlock(&path_cache_lock);
    return path;
}

/* Enters the path and its ancestors into the cache, so that this very path is what walks find. */
static void path_keep(struct path *path)
{
    while (path && path->parent) {
        if (!path->cached)
            path_cache_add(path);
        path = path->parent;
    }
}

/* Puts a mount in its place; listed: where all see it. -EBUSY: the place was taken, or went, meanwhile. */
static int mount_attach(struct mount *mount, struct path *mountpoint, bool listed)
{
    path_keep(mountpoint);
    spin_lock(&path_cache_lock);
    bool busy = mountpoint->covering || mountpoint->gone;
    if (!busy) {
        mount->mountpoint = path_ref(mountpoint);
        mountpoint->covering = mount;
        if (listed)
            list_push_back(&mounts, &mount->link);
    }
    spin_unlock(&path_cache_lock);
    if (!busy)
        mounts_changed();
    return busy ? -EBUSY : 0;
}

/* One that was never attached; the file system stays the caller's when `keep_fs`. */
static void mount_discard(struct mount *mount, bool keep_fs)
{
    if (keep_fs)
        object_ref(mount->fs);
    path_unref(mount->root);
    object_unref(mount);
}

static bool is_directory(const struct node *node) { return (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR; }

static int mount_put(struct path *mountpoint, struct fs *fs, uint32_t flags, const char *source, bool listed)
{
    struct mount *mount;
    int error;

    if ((mountpoint->type == LINUX_S_IFDIR) != is_directory(fs->root))
        return -ENOTDIR;
    mount = mount_create(fs, fs->root, flags, source);
    if (!mount)
        return -ENOMEM;
    error = mount_attach(mount, mountpoint, listed);
    if (error)
        mount_discard(mount, true);
    return error;
}

int mount_on(struct path *mountpoint, struct fs *fs, uint32_t flags, const char *source)
{
    return mount_put(mountpoint, fs, flags, source, true);
}

/* Where a path is in its file system, for mountinfo. */
static char *name_in_fs(struct path *path)
{
    char *name = kalloc(PATH_LENGTH_MAX), *copy;
    bool reached, gone;

    if (!name)
        return NULL;
    if (path_name_from(path, path->mount->root, name, PATH_LENGTH_MAX, &reached, &gone) < 0)
        format(name, PATH_LENGTH_MAX, "/");
    copy = kstrdup(name);
    kfree(name);
    return copy;
}

int mount_bind(struct path *from, struct path *mountpoint)
{
    struct mount *mount;
    struct fs *fs;
    int error;

    if (!from->mount)
        return -EINVAL;
    if ((mountpoint->type == LINUX_S_IFDIR) != (from->type == LINUX_S_IFDIR))
        return -ENOTDIR;
    fs = object_ref(from->mount->fs);
    mount = mount_create(fs, from->node, from->mount->flags, from->mount->source);
    if (!mount) {
        object_unref(fs);
        return -ENOMEM;
    }
    fs->bound = true; /* before the second path can be walked */
    mount->root_name = name_in_fs(from);
    error = mount->root_name ? mount_attach(mount, mountpoint, true) : -ENOMEM;
    if (error)
        mount_discard(mount, false);
    return error;
}

int mount_move(struct path *root, struct path *mountpoint)
{
    struct mount *mount = root->mount;
    struct path *old = NULL;
    int error = 0;

    if (!mount || root->parent)
        return -EINVAL;
    if ((mountpoint->type == LINUX_S_IFDIR) != (root->type == LINUX_S_IFDIR))
        return -ENOTDIR;
    if (path_beneath(mountpoint, root))
        return -ELOOP;
    path_keep(mountpoint);
    spin_lock(&path_cache_lock);
    if (mount->root != root || !mount->mountpoint)
        error = -EINVAL;
    else if (mountpoint->covering || mountpoint->gone)
        error = -EBUSY;
    if (!error) {
        old = mount->mountpoint;
        old->covering = NULL;
        mountpoint->covering = mount;
        mount->mountpoint = path_ref(mountpoint);
    }
    spin_unlock(&path_cache_lock);
    path_unref(old);
    return error;
}

int mount_remove(struct path *root, uint32_t flags)
{
    struct mount *mount = root->mount;
    struct path *mountpoint;
    int error = 0;

    if (!mount || root->parent)
        return -EINVAL;
    if ((flags & MNT_FORCE) && mount->fs->ops->abort)
        mount->fs->ops->abort(mount->fs);
    path_cache_shrink();
    spin_lock(&path_cache_lock);
    mountpoint = mount->mountpoint;
    if (!mountpoint || mount->root != root)
        error = -EINVAL;
    /* One reference is the mount's, one the caller's; files and directories in use hold more. */
    else if (!(flags & MNT_DETACH) && atomic32_load_acquire(&root->object.references) > 2)
        error = -EBUSY;
    if (!error) {
        mountpoint->covering = NULL;
        mount->mountpoint = NULL;
        list_remove(&mount->link);
        mount->root = NULL;
    }
    spin_unlock(&path_cache_lock);
    if (error)
        return error;
    path_cache_drop(mount);
    path_unref(mountpoint);
    path_unref(root);
    object_unref(mount);
    return 0;
}

int mount_change(struct path *root, uint32_t flags)
{
    int error = -EINVAL;

    spin_lock(&path_cache_lock);
    if (root->mount && root->mount->root == root) {
        root->mount->flags = flags;
        error = 0;
    }
    spin_unlock(&path_cache_lock);
    return error;
}

/* --- while the command builds the tree --------------------------------------------------------------- */

static int make_component(const char *name, uint32_t type)
{
    struct create_request request = {.mode = type | (type == LINUX_S_IFDIR ? 0755 : 0644)};
    struct walk walk;
    int error = walk_parent(&walk, LINUX_AT_FDCWD, name);

    if (!error && walk.last_kind == LAST_NORMAL)
        error = names_create(walk.at, walk.last, walk.last_length, &request, NULL);
    walk_end(&walk);
    return error == -EEXIST ? 0 : error;
}

int mount_make_place(const char *destination, uint32_t type)
{
    char *name = kstrdup(destination);
    int error = name ? 0 : -ENOMEM;

    for (char *slash = name ? strchr(name + 1, '/') : NULL; slash && !error; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        error = make_component(name, LINUX_S_IFDIR);
        *slash = '/';
    }
    if (!error)
        error = make_component(name, type);
    kfree(name);
    return error;
}

int mount_at(const char *destination, struct fs *fs)
{
    struct path *path;
    int error = path_walk(LINUX_AT_FDCWD, destination, 0, &path);

    if (error == -ENOENT && destination[0] == '/') {
        error = mount_make_place(destination, fs->root->mode & LINUX_S_IFMT);
        if (!error)
            error = path_walk(LINUX_AT_FDCWD, destination, 0, &path);
    }
    if (error)
        return error;
    error = mount_on(path, fs, 0, NULL);
    path_unref(path);
    return error;
}

int mount_detached(struct fs *fs, struct path **root)
{
    struct mount *mount;

    init_once();
    mount = mount_create(fs, fs->root, 0, NULL);
    if (!mount)
        return -ENOMEM;
    *root = mount->root; /* which keeps the mount, not the other way round; in no list, since nobody unmounts it */
    object_unref(mount);
    return 0;
}

int mount_under(struct path *directory, const char *name, struct fs *fs)
{
    uint32_t type = fs->root->mode & LINUX_S_IFMT;
    struct create_request request = {.mode = type | (type == LINUX_S_IFDIR ? 0755 : 0644)};
    struct path *path;
    int error = names_create(directory, name, strlen(name), &request, &path);

    if (error)
        return error;
    error = mount_put(path, fs, MOUNT_READ_ONLY | MOUNT_NO_SUID | MOUNT_NO_DEV, NULL, false);
    path_unref(path);
    return error;
}

/* --- all of them ------------------------------------------------------------------------------------ */

struct mount *mount_number(uint32_t number)
{
    struct mount *found = NULL;

    spin_lock(&path_cache_lock);
    LIST_FOR_EACH(link, &mounts)
    {
        if (number-- == 0) {
            found = object_ref(LIST_ENTRY(link, struct mount, link));
            break;
        }
    }
    spin_unlock(&path_cache_lock);
    return found;
}

void mounts_sync(void)
{
    struct mount *mount;

    for (uint32_t i = 0; (mount = mount_number(i)); i++) {
        if (mount->fs->ops->sync_fs && !mount->fs->ops->remote)
            mount->fs->ops->sync_fs(mount->fs);
        object_unref(mount);
    }
}
