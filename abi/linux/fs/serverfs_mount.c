/*
 * Mounts of file servers: attaching, what a server recalls, its death, another one taking over. See serverfs.c.
 *
 * Recalls and the news of a death come in the link's listening thread, which holds a reference on the server_fs but none on the file
 * system: what it needs it reaches through nodes that are still alive.
 */
#include "abi/linux/fs/serverfs.h"

#include "abi/linux/fs/vfs.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

static struct server_fs *server_of(struct fs *fs) { return CONTAINER_OF(fs->ops, struct server_fs, ops); }

/* --- what the server recalls ------------------------------------------------------------------------- */

static struct node *node_known(struct server_fs *server, uint64_t id)
{
    spin_lock(&server->lock);
    struct server_node *self = server->link ? server_find_locked(server, server->link, id) : NULL;
    spin_unlock(&server->lock);
    return self ? self->node : NULL;
}

static void on_invalidate(struct object *owner, uint64_t id, uint32_t what)
{
    struct node *node = node_known(CONTAINER_OF(owner, struct server_fs, object), id);

    if (!node)
        return;
    if (what & HYLA_FILE_INVALIDATE_ATTRIBUTES) {
        server_forget_attributes(node);
        node_attr_changed(node);
    }
    if (what & HYLA_FILE_INVALIDATE_NAMES)
        path_cache_recall(node, NULL, 0);
    object_unref(node);
}

static void on_invalidate_name(struct object *owner, uint64_t id, const char *name, uint32_t length)
{
    struct node *node = node_known(CONTAINER_OF(owner, struct server_fs, object), id);

    if (node)
        path_cache_recall(node, name, length);
    object_unref(node);
}

/* What is cached would hide that nobody answers any more. */
static void on_death(struct object *owner, struct file_link *link)
{
    struct server_fs *server = CONTAINER_OF(owner, struct server_fs, object);

    spin_lock(&server->lock);
    struct server_node *root = server->link == link ? server_find_locked(server, link, HYLA_FILE_ROOT) : NULL;
    spin_unlock(&server->lock);
    if (!root)
        return;
    path_cache_recall_fs(root->node);
    object_unref(root->node);
}

static const struct file_link_events link_events = {.invalidate = on_invalidate, .invalidate_name = on_invalidate_name, .died = on_death};

/* --- the instance ------------------------------------------------------------------------------------ */

static int server_stat_fs(struct fs *fs, struct linux_statfs_data *stat)
{
    struct hyla_file_space space;
    struct file_link *link;
    uint64_t id;
    int error = server_link(fs->root, &link, &id);

    if (error)
        return error;
    error = (int)file_call_get_space(link, &space);
    object_unref(link);
    if (error)
        return error;
    *stat = (struct linux_statfs_data){
        .type = space.type, .block_size = space.block_size ? space.block_size : PAGE_SIZE, .blocks = space.blocks, .blocks_free = space.blocks_free,
        .blocks_available = space.blocks_available, .files = space.files, .files_free = space.files_free, .fsid = fs->device,
        .name_length = space.name_length ? space.name_length : NAME_LENGTH_MAX,
    };
    return 0;
}

static int server_sync_fs(struct fs *fs)
{
    struct file_link *link;
    uint64_t id;
    int error = server_link(fs->root, &link, &id);

    if (error)
        return error;
    error = (int)file_call_sync(link, 0, 0);
    object_unref(link);
    return error == -EOPNOTSUPP ? 0 : error;
}

static void server_release(struct fs *fs)
{
    struct server_fs *server = server_of(fs);

    spin_lock(&server->lock);
    struct file_link *link = server->link;
    server->link = NULL;
    spin_unlock(&server->lock);
    if (link)
        file_link_close(link);
    object_unref(server);
}

static void server_destroy(struct object *object) { kfree(CONTAINER_OF(object, struct server_fs, object)); }
static const struct object_type server_type = {.name = "file server", .destroy = server_destroy};

static struct fs *instance_create(void)
{
    struct server_fs *server = kzalloc(sizeof *server);

    if (!server)
        return NULL;
    object_init(&server->object, &server_type);
    spinlock_init(&server->lock, RANK_NODE_TABLE);
    for (uint32_t i = 0; i < SERVER_BUCKETS; i++)
        list_init(&server->buckets[i]);
    server->ops = (struct fs_ops){
        .name = server->label, .stat_fs = server_stat_fs, .sync_fs = server_sync_fs, .release = server_release, .remote = true,
    };
    gate_init(&server->rename_gate);
    struct fs *fs = fs_create(&server->ops, server);
    if (fs)
        fs->rename_gate = &server->rename_gate;
    else
        object_unref(server);
    return fs;
}

static int attach_link(struct server_fs *server, const struct handle_value *right, struct file_link **link, struct hyla_file_attributes *root,
                       char label[32])
{
    int error = file_link_create(right, &server->object, &link_events, link);

    if (error)
        return error;
    error = file_link_attach(*link, root, label);
    if (!error && (!server_attributes_sound(root) || root->node != HYLA_FILE_ROOT))
        error = -EIO;
    if (error)
        file_link_close(*link);
    return error;
}

static int make_root(struct fs *fs, struct file_link *link, const struct hyla_file_attributes *root)
{
    struct server_fs *server = server_of(fs);
    struct server_node *self = server_node_make(server, fs, link, root);

    if (!self)
        return -ENOMEM;
    spin_lock(&server->lock);
    list_push_back(server_bucket(server, self->id), &self->table_link);
    spin_unlock(&server->lock);
    fs->root = self->node;
    return 0;
}

int serverfs_create(const struct handle_value *right, struct fs **result)
{
    struct hyla_file_attributes root;
    struct fs *fs = instance_create();
    struct server_fs *server = fs ? server_of(fs) : NULL;
    struct file_link *link;
    char label[32];

    if (!fs)
        return -ENOMEM;
    int error = attach_link(server, right, &link, &root, label);
    if (!error) {
        memcpy(server->label, *label ? label : "server", sizeof label);
        server->link = link;
        error = make_root(fs, link, &root);
    }
    if (error)
        object_unref(fs);
    else
        *result = fs;
    return error;
}

/* The root and the mount go over to the new link, all at once; returns the old one. */
static struct file_link *take_over(struct server_fs *server, struct server_node *root, struct file_link *link)
{
    spin_lock(&server->lock);
    struct file_link *old = server->link, *old_of_root = root->link;
    server->link = link;
    root->link = object_ref(link);
    root->known = false;
    root->generation++;
    root->times = 0;
    spin_unlock(&server->lock);
    object_unref(old_of_root);
    return old;
}

int serverfs_attach_again(struct fs *fs, const struct handle_value *right)
{
    struct hyla_file_attributes root;
    struct file_link *link;
    char label[32];

    if (fs->ops->release != server_release)
        return -EINVAL;
    int error = attach_link(server_of(fs), right, &link, &root, label);
    if (error)
        return error;
    if ((root.mode ^ fs->root->mode) & LINUX_S_IFMT) {
        file_link_close(link);
        return -EIO;
    }
    file_link_close(take_over(server_of(fs), server_node_of(fs->root), link));
    node_attr_changed(fs->root);
    path_cache_recall_fs(fs->root);
    return 0;
}

uint64_t serverfs_messages(struct fs *fs, bool *dead)
{
    struct server_fs *server;
    uint64_t messages = 0;

    *dead = true;
    if (fs->ops->release != server_release)
        return 0;
    server = server_of(fs);
    spin_lock(&server->lock);
    if (server->link) {
        messages = atomic64_load_relaxed(&server->link->messages);
        *dead = file_link_dead(server->link);
    }
    spin_unlock(&server->lock);
    return messages;
}
