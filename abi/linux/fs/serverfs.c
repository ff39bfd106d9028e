/*
 * File systems that live in other processes: the Linux ABI's client of the file protocol (docs/file-protocol.md).
 *
 *   struct server_fs    a mount's server
 *   struct server_node  our part of a node: the server's number for it, what is remembered, its contents' memory object
 *
 * Here: nodes and what is remembered of them. Mounts, recalls, death, and another server taking over are in serverfs_mount.c, names in
 * serverfs_names.c, contents in serverfs_contents.c.
 *
 * A server is not trusted. Each answer is checked where it is taken in; one that makes no sense is EIO for who asked and changes
 * nothing. While a server is waited for only gates and locks of its own file system are held (names, renames, appending, the one
 * node), all of which can be waited for killably.
 *
 * A node belongs to the link over which it was named. When that server ends the link is dead, for ever, and so is the node: EIO. A
 * new server gets a link of its own; only the root node lives on and belongs to it.
 *
 * Remembered attributes: an answer is kept if the server allows it and neither a change nor a recall happened since the question.
 */
#include "abi/linux/fs/serverfs.h"

#include "abi/linux/fs/memfs.h"
#include "abi/linux/fs/vfs.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/string.h"

/* --- questions --------------------------------------------------------------------------------------- */

int server_ask(struct node *node, struct server_question *question)
{
    struct server_node *self = server_node_of(node);

    spin_lock(&self->server->lock);
    *question = (struct server_question){.link = object_ref(self->link), .id = self->id, .generation = self->generation};
    spin_unlock(&self->server->lock);
    question->recalls = atomic32_load(&question->link->recalls);
    if (!file_link_dead(question->link))
        return 0;
    server_done(question);
    return -EIO;
}

void server_done(struct server_question *question) { object_unref(question->link); }

int server_link(struct node *node, struct file_link **link, uint64_t *id)
{
    struct server_question question;
    int error = server_ask(node, &question);

    *link = question.link;
    *id = question.id;
    return error;
}

/* --- attributes -------------------------------------------------------------------------------------- */

bool server_attributes_sound(const struct hyla_file_attributes *attributes)
{
    switch (attributes->mode & LINUX_S_IFMT) {
    case LINUX_S_IFREG: case LINUX_S_IFDIR: case LINUX_S_IFLNK: case LINUX_S_IFCHR: case LINUX_S_IFBLK: case LINUX_S_IFIFO: case LINUX_S_IFSOCK:
        break;
    default:
        return false;
    }
    uint32_t second = 1000000000;
    return attributes->node && attributes->size <= INT64_MAX && !(attributes->mode & ~0177777u) && attributes->access_nanoseconds < second &&
           attributes->modify_nanoseconds < second && attributes->change_nanoseconds < second && attributes->birth_nanoseconds < second;
}

static bool may_keep_locked(const struct server_node *self, const struct server_question *question, uint32_t cache)
{
    return (cache & HYLA_FILE_CACHE_ATTRIBUTES) && self->link == question->link && self->generation == question->generation &&
           atomic32_load(&self->link->recalls) == question->recalls;
}

/* Times that the server does not know yet stay. */
static void keep_times(struct hyla_file_attributes *fresh, const struct hyla_file_attributes *old, uint32_t times)
{
    if (times & HYLA_FILE_SET_ACCESS) {
        fresh->access_seconds = old->access_seconds;
        fresh->access_nanoseconds = old->access_nanoseconds;
    }
    if (times & HYLA_FILE_SET_MODIFY) {
        fresh->modify_seconds = old->modify_seconds;
        fresh->modify_nanoseconds = old->modify_nanoseconds;
    }
}

int server_learn(struct node *node, const struct server_question *question, const struct hyla_file_attributes *attributes)
{
    struct server_node *self = server_node_of(node);
    struct hyla_file_attributes fresh = *attributes;

    if (!server_attributes_sound(attributes) || attributes->node != question->id || ((attributes->mode ^ node->mode) & LINUX_S_IFMT))
        return -EIO;
    spin_lock(&self->server->lock);
    keep_times(&fresh, &self->attributes, self->times);
    self->known = may_keep_locked(self, question, attributes->cache);
    if (self->known || !self->times)
        self->attributes = fresh;
    spin_unlock(&self->server->lock);
    return 0;
}

void server_forget_attributes(struct node *node)
{
    struct server_node *self = server_node_of(node);

    spin_lock(&self->server->lock);
    self->known = false;
    self->generation++;
    spin_unlock(&self->server->lock);
}

static void fill_stat(struct node *node, const struct hyla_file_attributes *from, struct linux_stat_data *stat)
{
    struct memobj *memobj = server_memobj(server_node_of(node));

    *stat = (struct linux_stat_data){
        .device = node->fs->device,
        .inode = from->inode ? from->inode : from->node,
        .link_count = from->links,
        .rdev = from->rdev,
        .size = memobj ? memobj->size : from->size,
        .blocks = memobj ? memobj_resident(memobj) / 512 : from->blocks,
        .mode = from->mode,
        .uid = from->uid,
        .gid = from->gid,
        .block_size = from->block_size ? from->block_size : PAGE_SIZE,
        .access = {from->access_seconds, from->access_nanoseconds},
        .modify = {from->modify_seconds, from->modify_nanoseconds},
        .change = {from->change_seconds, from->change_nanoseconds},
        .birth = {from->birth_seconds, from->birth_nanoseconds},
        .has_birth = from->birth_seconds || from->birth_nanoseconds,
    };
}

static bool recall(struct server_node *self, struct hyla_file_attributes *attributes)
{
    spin_lock(&self->server->lock);
    bool known = self->known && !file_link_dead(self->link);
    if (known)
        *attributes = self->attributes;
    spin_unlock(&self->server->lock);
    return known;
}

int server_get_attr(struct node *node, struct linux_stat_data *stat)
{
    struct hyla_file_attributes attributes;
    struct server_question question;

    if (recall(server_node_of(node), &attributes)) {
        fill_stat(node, &attributes, stat);
        return 0;
    }
    int error = server_tell_times(node);
    if (!error)
        error = server_ask(node, &question);
    if (error)
        return error;
    error = (int)file_call_get_attributes(question.link, question.id, &attributes);
    if (!error)
        error = server_learn(node, &question, &attributes);
    if (!error)
        fill_stat(node, &attributes, stat);
    server_done(&question);
    return error;
}

static struct hyla_file_changes changes_of(const struct node_attr *attr)
{
    static_assert((int)ATTR_MODE == HYLA_FILE_SET_MODE && (int)ATTR_UID == HYLA_FILE_SET_UID && (int)ATTR_GID == HYLA_FILE_SET_GID &&
                      (int)ATTR_SIZE == HYLA_FILE_SET_SIZE && (int)ATTR_ATIME == HYLA_FILE_SET_ACCESS && (int)ATTR_MTIME == HYLA_FILE_SET_MODIFY,
                  "what is set");
    return (struct hyla_file_changes){
        .valid = attr->valid, .mode = attr->mode & 07777, .uid = attr->uid, .gid = attr->gid, .size = attr->size,
        .access_seconds = attr->access.seconds, .access_nanoseconds = attr->access.nanoseconds,
        .modify_seconds = attr->modify.seconds, .modify_nanoseconds = attr->modify.nanoseconds,
    };
}

static int change(struct node *node, const struct hyla_file_changes *changes)
{
    struct hyla_file_attributes attributes;
    struct server_question question;

    server_forget_attributes(node); /* answers to older questions do not count */
    int error = server_ask(node, &question);
    if (error)
        return error;
    error = (int)file_call_set_attributes(question.link, question.id, changes, &attributes);
    if (!error)
        error = server_learn(node, &question, &attributes);
    server_done(&question);
    return error;
}

int server_set_attr(struct node *node, const struct node_attr *attr)
{
    struct hyla_file_changes changes = changes_of(attr);

    if (attr->valid & ATTR_SIZE) {
        if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
            return server_node_is_directory(node) ? -EISDIR : -EINVAL;
        if (attr->size > MEMOBJ_SIZE_MAX)
            return -EFBIG;
    }
    int error = server_tell_times(node); /* which must not come after what is set here */
    return error ? error : change(node, &changes);
}

/* --- times ------------------------------------------------------------------------------------------- */

static void touch_locked(struct server_node *self, bool written, struct file_time now)
{
    struct hyla_file_attributes *at = &self->attributes;
    struct file_time access = {at->access_seconds, at->access_nanoseconds}, modify = {at->modify_seconds, at->modify_nanoseconds};
    struct file_time changed = {at->change_seconds, at->change_nanoseconds};

    if (written) {
        at->modify_seconds = at->change_seconds = now.seconds;
        at->modify_nanoseconds = at->change_nanoseconds = now.nanoseconds;
        self->times |= HYLA_FILE_SET_MODIFY;
    } else if (self->known && !self->node->fs->read_only && access_time_due(&access, &modify, &changed, &now)) {
        at->access_seconds = now.seconds;
        at->access_nanoseconds = now.nanoseconds;
        self->times |= HYLA_FILE_SET_ACCESS;
    }
}

void server_touch(struct node *node, bool written)
{
    struct server_node *self = server_node_of(node);
    struct file_time now = wall_time();

    spin_lock(&self->server->lock);
    touch_locked(self, written, now);
    spin_unlock(&self->server->lock);
}

/* What is to be told, and then counts as told. */
static struct hyla_file_changes take_times_locked(struct server_node *self)
{
    const struct hyla_file_attributes *at = &self->attributes;
    struct hyla_file_changes changes = {
        .valid = self->times, .access_seconds = at->access_seconds, .access_nanoseconds = at->access_nanoseconds,
        .modify_seconds = at->modify_seconds, .modify_nanoseconds = at->modify_nanoseconds,
    };
    self->times = 0;
    return changes;
}

int server_tell_times(struct node *node)
{
    struct server_node *self = server_node_of(node);

    spin_lock(&self->server->lock);
    struct hyla_file_changes changes = take_times_locked(self);
    spin_unlock(&self->server->lock);
    if (!changes.valid)
        return 0;
    int error = change(node, &changes);
    return error == -EPERM || error == -EROFS || error == -EOPNOTSUPP ? 0 : error; /* a server may keep no times */
}

/* --- nodes ------------------------------------------------------------------------------------------- */

struct list *server_bucket(struct server_fs *server, uint64_t id)
{
    return &server->buckets[(id * 0x9e3779b97f4a7c15u >> 32) % SERVER_BUCKETS];
}

struct server_node *server_find_locked(struct server_fs *server, const struct file_link *link, uint64_t id)
{
    LIST_FOR_EACH (place, server_bucket(server, id)) {
        struct server_node *self = LIST_ENTRY(place, struct server_node, table_link);
        if (self->id == id && self->link == link && object_try_ref(self->node))
            return self;
    }
    return NULL;
}

/* What the caches of the layers above may do is settled when a file is first named. */
static uint32_t node_flags_of(uint32_t mode, uint32_t cache)
{
    uint32_t both = HYLA_FILE_CACHE_ATTRIBUTES | HYLA_FILE_CACHE_NAMES;

    if ((mode & LINUX_S_IFMT) != LINUX_S_IFDIR)
        return cache & HYLA_FILE_CACHE_ATTRIBUTES ? 0 : NODE_NO_CACHE;
    if ((cache & both) != both)
        return NODE_NO_CACHE | NODE_SAME_NODE;
    return cache & HYLA_FILE_CACHE_ABSENT ? NODE_CACHE_NEGATIVE : 0;
}

struct server_node *server_node_make(struct server_fs *server, struct fs *fs, struct file_link *link, const struct hyla_file_attributes *attributes)
{
    struct server_node *self = kzalloc(sizeof *self);

    if (!self)
        return NULL;
    self->node = node_create(fs, &server_node_ops, attributes->mode, attributes->inode ? attributes->inode : attributes->node, self);
    if (!self->node) {
        kfree(self);
        return NULL;
    }
    self->node->flags = node_flags_of(attributes->mode, attributes->cache);
    gate_init(&self->names_gate);
    if (server_node_is_directory(self->node))
        self->node->names_gate = &self->names_gate;
    list_init(&self->table_link);
    self->server = object_ref(server);
    self->link = object_ref(link);
    self->id = attributes->node;
    return self;
}

/* A reference to the node with this number, old or new, one more of the server's references with it. NULL: no memory. */
static struct server_node *node_named(struct server_fs *server, struct fs *fs, struct file_link *link, const struct hyla_file_attributes *attributes)
{
    struct server_node *fresh = server_node_make(server, fs, link, attributes), *self;

    if (!fresh)
        return NULL;
    spin_lock(&server->lock);
    self = server_find_locked(server, link, attributes->node);
    if (!self) {
        self = fresh;
        fresh = NULL;
        list_push_back(server_bucket(server, self->id), &self->table_link);
    }
    self->references++;
    spin_unlock(&server->lock);
    if (fresh)
        object_unref(fresh->node);
    return self;
}

int server_node_for(struct node *directory, const struct server_question *question, const struct hyla_file_attributes *attributes,
                    struct node **node)
{
    struct server_fs *server = server_node_of(directory)->server;
    struct server_question now = *question;

    if (!server_attributes_sound(attributes) || attributes->node == HYLA_FILE_ROOT)
        return -EIO;
    struct server_node *self = node_named(server, directory->fs, question->link, attributes);
    if (!self)
        return -ENOMEM;
    now.id = attributes->node;
    spin_lock(&server->lock);
    now.generation = self->generation;
    spin_unlock(&server->lock);
    int error = server_learn(self->node, &now, attributes);
    if (error)
        object_unref(self->node);
    else
        *node = self->node;
    return error;
}

/* The block goes to the server as what is left to say. */
void server_release_node(struct node *node)
{
    struct server_node *self = server_node_of(node);
    struct server_fs *server = self->server;
    struct file_link *link = self->link;

    spin_lock(&server->lock);
    if (list_linked(&self->table_link))
        list_remove(&self->table_link);
    self->outgoing.changes = take_times_locked(self);
    spin_unlock(&server->lock);
    self->outgoing.node = self->id;
    self->outgoing.references = self->references;
    if (self->contents.object)
        handle_value_close(&self->contents);
    if (self->references)
        file_link_post(link, &self->outgoing);
    else
        kfree(self);
    object_unref(link);
    object_unref(server);
}

const struct node_ops server_node_ops = {
    .get_attr = server_get_attr,
    .set_attr = server_set_attr,
    .lookup = server_lookup,
    .create = server_create,
    .link = server_link_name,
    .unlink = server_unlink,
    .remove_directory = server_remove_directory,
    .rename = server_rename,
    .read_link = server_read_link,
    .read_directory = server_read_directory,
    .read = server_read,
    .write = server_write,
    .sync = server_sync,
    .allocate = server_allocate,
    .map = server_map,
    .open = server_open,
    .get_xattr = server_get_xattr,
    .set_xattr = server_set_xattr,
    .list_xattr = server_list_xattr,
    .remove_xattr = server_remove_xattr,
    .names_changed = server_forget_attributes,
    .release = server_release_node,
};
