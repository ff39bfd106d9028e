/*
 * Nodes: one per node id of a connection, found through a table without references, as the host's files are.
 *
 * Every entry the program answers with counts one lookup of its node id; when the last reference to the node goes, the id is
 * forgotten with the count. The dead node itself is the record that waits for a reader of the device, so forgetting cannot fail.
 *
 * An entry is believed only as far as it agrees with itself and with what was said before. A node id whose type or generation has changed
 * is another file: the old node is bad from then on (EIO), and a new one takes its place in the table.
 *
 * Attributes are remembered until the time the program gave. An answer that was under way while this side changed the file
 * (attr_version) is older than the change and not remembered.
 */
#include "abi/linux/fs/fuse.h"

#include "kernel/alloc.h"
#include "kernel/body.h"

static uint32_t type_of(uint32_t mode) { return mode & LINUX_S_IFMT; }

bool fuse_attr_possible(const struct fuse_attr *attr)
{
    uint32_t type = type_of(attr->mode);
    bool known = type == LINUX_S_IFREG || type == LINUX_S_IFDIR || type == LINUX_S_IFLNK || type == LINUX_S_IFCHR ||
                 type == LINUX_S_IFBLK || type == LINUX_S_IFIFO || type == LINUX_S_IFSOCK;

    return known && attr->size <= INT64_MAX;
}

nanoseconds_t fuse_until(uint64_t seconds, uint32_t nanoseconds)
{
    nanoseconds_t now = body_now();

    if (!seconds && !nanoseconds)
        return 0;
    if (seconds > UINT32_MAX)
        return DEADLINE_NEVER;
    return now + seconds * 1000000000u + (nanoseconds < 1000000000u ? nanoseconds : 999999999u);
}

/* --- the table --------------------------------------------------------------------------------------- */

static struct list *bucket_of(struct fuse_conn *conn, uint64_t nodeid)
{
    return &conn->table[(nodeid * 0x9e3779b97f4a7c15u >> 32) % FUSE_TABLE_BUCKETS];
}

static struct fuse_node *find_locked(struct fuse_conn *conn, uint64_t nodeid)
{
    LIST_FOR_EACH(link, bucket_of(conn, nodeid))
    {
        struct fuse_node *fuse = LIST_ENTRY(link, struct fuse_node, table_link);
        if (fuse->nodeid == nodeid)
            return fuse;
    }
    return NULL;
}

struct node *fuse_node_find(struct fuse_conn *conn, uint64_t nodeid)
{
    spin_lock(&conn->table_lock);
    struct fuse_node *fuse = find_locked(conn, nodeid);
    struct node *node = fuse && object_try_ref(fuse->node) ? fuse->node : NULL;
    spin_unlock(&conn->table_lock);
    return node;
}

bool fuse_node_bad(struct node *node)
{
    struct fuse_node *fuse = fuse_node_of(node);

    spin_lock(&fuse->conn->table_lock);
    bool bad = fuse->bad;
    spin_unlock(&fuse->conn->table_lock);
    return bad;
}

/* --- birth and death --------------------------------------------------------------------------------- */

static struct node *make_node(struct fs *fs, struct fuse_conn *conn, uint64_t nodeid, uint64_t generation, uint32_t mode, uint64_t inode)
{
    struct fuse_node *fuse = kzalloc(sizeof(*fuse));
    struct node *node = fuse ? node_create(fs, &fuse_node_ops, mode, inode, fuse) : NULL;

    if (!node) {
        kfree(fuse);
        return NULL;
    }
    fuse->conn = object_ref(conn);
    fuse->node = node;
    fuse->nodeid = nodeid;
    fuse->generation = generation;
    list_init(&fuse->table_link);
    list_init(&fuse->forget_link);
    list_init(&fuse->handles);
    list_init(&fuse->primed);
    gate_init(&fuse->gate);
    node->flags |= NODE_NO_CACHE | NODE_SAME_NODE | NODE_TIMED;
    if (type_of(mode) == LINUX_S_IFDIR)
        node->names_gate = &fuse->gate;
    return node;
}

struct node *fuse_root_create(struct fs *fs, struct fuse_conn *conn)
{
    struct node *node = make_node(fs, conn, FUSE_ROOT, 0, conn->options.root_mode, FUSE_ROOT);

    if (!node)
        return NULL;
    spin_lock(&conn->table_lock);
    list_push_back(bucket_of(conn, FUSE_ROOT), &fuse_node_of(node)->table_link);
    spin_unlock(&conn->table_lock);
    return node;
}

static void forget(struct fuse_conn *conn, struct fuse_node *dead)
{
    spin_lock(&conn->lock);
    bool queued = dead->lookups && conn->connected;
    if (queued)
        list_push_back(&conn->forgets, &dead->forget_link);
    spin_unlock(&conn->lock);
    if (queued)
        fuse_conn_announce(conn);
    else
        kfree(dead);
}

static void node_release(struct node *node)
{
    struct fuse_node *fuse = fuse_node_of(node);
    struct fuse_conn *conn = fuse->conn;

    spin_lock(&conn->table_lock);
    list_remove(&fuse->table_link);
    spin_unlock(&conn->table_lock);
    fuse_pages_gone(fuse);
    fuse_primed_drop(fuse);
    fuse->conn = NULL;
    fuse->node = NULL;
    forget(conn, fuse);
    object_unref(conn);
}

/* One lookup that no node keeps. Without memory the program keeps the id for ever, which is its loss alone. */
void fuse_forget_entry(struct fuse_conn *conn, uint64_t nodeid)
{
    struct fuse_node *dead = nodeid && nodeid != FUSE_ROOT ? kzalloc(sizeof(*dead)) : NULL;

    if (!dead)
        return;
    list_init(&dead->forget_link);
    dead->nodeid = nodeid;
    dead->lookups = 1;
    forget(conn, dead);
}

/* --- entries ----------------------------------------------------------------------------------------- */

static bool same_file(const struct fuse_node *fuse, const struct fuse_entry_out *entry)
{
    return !fuse->bad && fuse->generation == entry->generation && type_of(fuse->node->mode) == type_of(entry->attr.mode);
}

/*
 * The known node of the entry's id (a reference), its lookup counted; or NULL, and `fresh` (when given) is in the table
 * in its place. A dying node still in the table forgets its own lookups by itself.
 */
static struct node *enter(struct fuse_conn *conn, const struct fuse_entry_out *entry, struct node *fresh)
{
    struct node *node = NULL;

    spin_lock(&conn->table_lock);
    struct fuse_node *fuse = find_locked(conn, entry->nodeid);
    if (fuse && same_file(fuse, entry) && object_try_ref(fuse->node)) {
        node = fuse->node;
        fuse->lookups++;
    } else if (fresh) {
        if (fuse) {
            fuse->bad |= !same_file(fuse, entry);
            list_remove(&fuse->table_link);
        }
        fuse_node_of(fresh)->lookups = 1;
        list_push_back(bucket_of(conn, entry->nodeid), &fuse_node_of(fresh)->table_link);
    }
    spin_unlock(&conn->table_lock);
    return node;
}

int fuse_node_for(struct fs *fs, const struct fuse_entry_out *entry, uint64_t attr_version, struct node **node)
{
    struct fuse_conn *conn = fuse_conn_of(fs->root);
    struct node *fresh;

    if (!entry->nodeid || entry->nodeid == FUSE_ROOT || !fuse_attr_possible(&entry->attr)) {
        fuse_forget_entry(conn, entry->nodeid);
        return -EIO;
    }
    *node = enter(conn, entry, NULL);
    if (!*node) {
        fresh = make_node(fs, conn, entry->nodeid, entry->generation, entry->attr.mode, entry->attr.inode);
        if (!fresh) {
            fuse_forget_entry(conn, entry->nodeid);
            return -ENOMEM;
        }
        *node = enter(conn, entry, fresh);
        if (*node)
            object_unref(fresh);
        else
            *node = fresh;
    }
    if (!fuse_attr_take(*node, &entry->attr, fuse_until(entry->attr_valid, entry->attr_valid_ns), attr_version))
        return 0;
    object_unref(*node);
    *node = NULL;
    return -EIO;
}

/* --- attributes -------------------------------------------------------------------------------------- */

uint64_t fuse_attr_version(struct fuse_conn *conn)
{
    spin_lock(&conn->table_lock);
    uint64_t version = conn->attr_version;
    spin_unlock(&conn->table_lock);
    return version;
}

int fuse_attr_take(struct node *node, const struct fuse_attr *attr, nanoseconds_t until, uint64_t version)
{
    struct fuse_node *fuse = fuse_node_of(node);
    struct fuse_conn *conn = fuse->conn;

    spin_lock(&conn->table_lock);
    bool taken = false, other_time = fuse->attr.mtime != attr->mtime || fuse->attr.mtime_ns != attr->mtime_ns;
    if (!fuse_attr_possible(attr) || type_of(attr->mode) != type_of(node->mode))
        fuse->bad = true;
    else if (fuse->attr_version <= version) {
        fuse->attr = *attr;
        fuse->attr_until = until;
        taken = true;
    }
    bool bad = fuse->bad;
    spin_unlock(&conn->table_lock);
    if (taken)
        fuse_pages_changed(node, attr->size, other_time && (conn->flags & FUSE_INIT_AUTO_INVAL_DATA));
    return bad ? -EIO : 0;
}

void fuse_attr_expire(struct node *node)
{
    struct fuse_node *fuse = fuse_node_of(node);

    spin_lock(&fuse->conn->table_lock);
    fuse->attr_until = 0;
    fuse->attr_version = ++fuse->conn->attr_version;
    spin_unlock(&fuse->conn->table_lock);
}

void fuse_attr_wrote(struct node *node, uint64_t end)
{
    struct fuse_node *fuse = fuse_node_of(node);

    spin_lock(&fuse->conn->table_lock);
    fuse->attr_version = ++fuse->conn->attr_version;
    if (fuse->attr.size < end)
        fuse->attr.size = end;
    fuse->attr_until = 0; /* times and blocks have changed too */
    spin_unlock(&fuse->conn->table_lock);
}

/* --- operations -------------------------------------------------------------------------------------- */

static int node_get_attr(struct node *node, struct linux_stat_data *stat) { return fuse_get_attr(node, NULL, false, stat); }
static int node_set_attr_(struct node *node, const struct node_attr *attr) { return fuse_set_attr(node, NULL, attr); }

const struct node_ops fuse_node_ops = {
    .get_attr = node_get_attr,
    .set_attr = node_set_attr_,
    .lookup = fuse_lookup,
    .create = fuse_create,
    .create_open = fuse_create_open,
    .link = fuse_link,
    .unlink = fuse_unlink,
    .remove_directory = fuse_remove_directory,
    .rename = fuse_rename,
    .read_link = fuse_read_link,
    .open = fuse_open,
    .permission = fuse_permission,
    .access = fuse_access,
    .get_xattr = fuse_get_xattr,
    .set_xattr = fuse_set_xattr,
    .list_xattr = fuse_list_xattr,
    .remove_xattr = fuse_remove_xattr,
    .release = node_release,
};
