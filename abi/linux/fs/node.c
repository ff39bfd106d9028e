/*
 * Nodes and file systems as objects: birth and death. Everything a node means is its file system's; what is kept
 * here for the layers above is cleared when it goes.
 *
 * A node has no reference on its file system; whoever uses a node also holds a path, whose mount holds the file
 * system, and lets go of the node first. A file system has a reference on its root.
 */
#include "abi/linux/fs/vfs.h"
#include "kernel/alloc.h"
#include "kernel/body.h"

static void node_destroy(struct object *object)
{
    struct node *node = CONTAINER_OF(object, struct node, object);

    if (node->ops->release)
        node->ops->release(node);
    locks_destroy(node->locks);
    kfree(node);
}

static const struct object_type node_type = {.name = "node", .destroy = node_destroy};

struct node *node_create(struct fs *fs, const struct node_ops *ops, uint32_t mode, uint64_t inode, void *data)
{
    struct node *node = kzalloc(sizeof(*node));

    if (!node)
        return NULL;
    object_init(&node->object, &node_type);
    node->ops = ops;
    node->fs = fs;
    node->mode = mode;
    node->inode = inode;
    node->data = data;
    mutex_init(&node->mutex, (mode & LINUX_S_IFMT) == LINUX_S_IFDIR ? RANK_DIRECTORY : RANK_NODE);
    return node;
}

static void fs_destroy(struct object *object)
{
    struct fs *fs = CONTAINER_OF(object, struct fs, object);
    struct node *root = fs->root;

    fs->root = NULL;
    object_unref(root);
    if (fs->ops->release)
        fs->ops->release(fs);
    kfree(fs);
}

static const struct object_type fs_type = {.name = "fs", .destroy = fs_destroy};

struct fs *fs_create(const struct fs_ops *ops, void *data)
{
    static struct atomic64 next_device = ATOMIC_INIT(0x1a);
    struct fs *fs = kzalloc(sizeof(*fs));

    if (!fs)
        return NULL;
    object_init(&fs->object, &fs_type);
    for (uint32_t i = 0; i < FS_APPEND_LOCKS; i++)
        mutex_init(&fs->append_locks[i], RANK_NODE_WRITE);
    fs->ops = ops;
    fs->data = data;
    fs->device = atomic64_add_relaxed(&next_device, 1);
    return fs;
}

struct file_time wall_time(void)
{
    uint64_t now = body_now() + (uint64_t)body_wall_offset();

    return (struct file_time){.seconds = (int64_t)(now / 1000000000u), .nanoseconds = (uint32_t)(now % 1000000000u)};
}
