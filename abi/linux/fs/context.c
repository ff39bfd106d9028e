/*
 * What a process sees the tree from: its root, its current directory and its umask, shared with CLONE_FS.
 */
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"

static void fs_context_destroy(struct object *object)
{
    struct fs_context *context = CONTAINER_OF(object, struct fs_context, object);

    path_unref(context->root);
    path_unref(context->cwd);
    kfree(context);
}

static const struct object_type fs_context_type = {.name = "fs_context", .destroy = fs_context_destroy};

struct fs_context *fs_context_create(struct path *root, struct path *cwd)
{
    struct fs_context *context = kzalloc(sizeof(*context));

    if (!context)
        return NULL;
    object_init(&context->object, &fs_context_type);
    context->root = path_ref(root);
    context->cwd = path_ref(cwd);
    atomic32_store_relaxed(&context->umask, 022);
    return context;
}

struct fs_context *fs_context_copy(struct fs_context *from)
{
    struct path *root = fs_context_root(from), *cwd = fs_context_cwd(from);
    struct fs_context *copy = fs_context_create(root, cwd);

    if (copy)
        atomic32_store_relaxed(&copy->umask, atomic32_load_relaxed(&from->umask));
    path_unref(root);
    path_unref(cwd);
    return copy;
}

struct fs_context *fs_context_ref(struct fs_context *context) { return object_ref(context); }
void fs_context_unref(struct fs_context *context) { object_unref(context); }

struct path *fs_context_cwd(struct fs_context *context)
{
    spin_lock(&path_cache_lock);
    struct path *path = path_ref(context->cwd);
    spin_unlock(&path_cache_lock);
    return path;
}

/* NULL: the current process's, or the root of everything on a kernel-only thread. */
struct path *fs_context_root(struct fs_context *context)
{
    if (!context && current_process())
        context = current_process()->fs;
    if (!context)
        return mount_root_path();
    spin_lock(&path_cache_lock);
    struct path *path = path_ref(context->root);
    spin_unlock(&path_cache_lock);
    return path;
}

static void place_set(struct path **place, struct path *path)
{
    spin_lock(&path_cache_lock);
    struct path *old = *place;
    *place = path_ref(path);
    spin_unlock(&path_cache_lock);
    path_unref(old);
}

void fs_context_set_cwd(struct fs_context *context, struct path *path) { place_set(&context->cwd, path); }
void fs_context_set_root(struct fs_context *context, struct path *path) { place_set(&context->root, path); }
