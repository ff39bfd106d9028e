/*
 * What the program says unasked: that something it answered is no longer so.
 *
 * Notifications wait for nothing and take no gate, because the program may send them from the middle of anything. A name that is
 * no longer so makes the whole directory be asked anew: cheap to do, and nothing can be missed.
 */
#include "abi/linux/fs/fuse.h"

#include "kernel/alloc.h"

/* The structure at the head of the message; what follows it stays in io. */
static int head_get(struct io *io, void *head, size_t size, size_t *left)
{
    if (*left < size)
        return -EINVAL;
    *left -= size;
    return io_get(io, head, size) < size ? -EFAULT : 0;
}

static int notify_inode(struct fuse_conn *conn, struct io *io, size_t left)
{
    struct fuse_notify_inode head;
    int error = head_get(io, &head, sizeof(head), &left);
    struct node *node;

    if (error || left)
        return error ? error : -EINVAL;
    node = fuse_node_find(conn, head.nodeid);
    if (!node)
        return -ENOENT;
    fuse_attr_expire(node);
    if (head.offset >= 0)
        fuse_pages_invalidate(node, (uint64_t)head.offset, head.length > 0 ? (uint64_t)head.length : UINT64_MAX);
    object_unref(node);
    return 0;
}

/* The name itself is checked and not used: every name of the directory is asked for anew. */
static int names_changed(struct fuse_conn *conn, uint64_t parent, uint32_t name_length, size_t left)
{
    struct node *node;

    if (name_length > NAME_LENGTH_MAX)
        return -ENAMETOOLONG;
    if (!name_length || left != name_length + 1u)
        return -EINVAL;
    node = fuse_node_find(conn, parent);
    if (!node)
        return -ENOENT;
    bool directory = (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR;
    if (directory) {
        fuse_attr_expire(node);
        node_names_changed(node);
    }
    object_unref(node);
    return directory ? 0 : -ENOTDIR;
}

static int notify_entry(struct fuse_conn *conn, struct io *io, size_t left)
{
    struct fuse_notify_entry head;
    int error = head_get(io, &head, sizeof(head), &left);

    return error ? error : names_changed(conn, head.parent, head.name_length, left);
}

static int notify_delete(struct fuse_conn *conn, struct io *io, size_t left)
{
    struct fuse_notify_delete head;
    int error = head_get(io, &head, sizeof(head), &left);

    return error ? error : names_changed(conn, head.parent, head.name_length, left);
}

static int notify_poll(struct fuse_conn *conn, struct io *io, size_t left)
{
    struct fuse_notify_poll head;
    int error = head_get(io, &head, sizeof(head), &left);

    if (error || left)
        return error ? error : -EINVAL;
    spin_lock(&conn->lock);
    LIST_FOR_EACH(link, &conn->polls)
    {
        struct fuse_handle *handle = LIST_ENTRY(link, struct fuse_handle, poll_link);
        if (handle->poll_handle == head.poll_handle) {
            atomic32_store_release(&handle->poll_known, 0);
            knote_notify(&handle->knotes, EVENT_READ | EVENT_WRITE);
        }
    }
    spin_unlock(&conn->lock);
    return 0;
}

/* New contents. They are not kept: what is cached there is dropped, and the next read asks. */
static int notify_store(struct fuse_conn *conn, struct io *io, size_t left)
{
    struct fuse_notify_store head;
    int error = head_get(io, &head, sizeof(head), &left);
    struct node *node;

    if (error || left != head.size)
        return error ? error : -EINVAL;
    node = fuse_node_find(conn, head.nodeid);
    if (!node)
        return -ENOENT;
    fuse_attr_expire(node);
    fuse_pages_invalidate(node, head.offset, head.size);
    object_unref(node);
    return 0;
}

/* Asks what is cached of a file. It is free to be nothing, which a message of its own says. */
static int notify_retrieve(struct fuse_conn *conn, struct io *io, size_t left)
{
    struct fuse_notify_retrieve head;
    int error = head_get(io, &head, sizeof(head), &left);
    struct fuse_request *request;

    if (error || left)
        return error ? error : -EINVAL;
    request = fuse_request_create(conn, FUSE_NOTIFY_REPLY, head.nodeid, sizeof(struct fuse_retrieve_in), 0);
    if (!request)
        return -ENOMEM;
    *(struct fuse_retrieve_in *)request->in = (struct fuse_retrieve_in){.offset = head.offset};
    request->answers = head.unique;
    fuse_send(request);
    return 0;
}

int fuse_notify(struct fuse_conn *conn, uint32_t code, struct io *io, size_t size)
{
    switch (code) {
    case FUSE_NOTIFY_POLL:
        return notify_poll(conn, io, size);
    case FUSE_NOTIFY_INVAL_INODE:
        return notify_inode(conn, io, size);
    case FUSE_NOTIFY_INVAL_ENTRY:
        return notify_entry(conn, io, size);
    case FUSE_NOTIFY_STORE:
        return notify_store(conn, io, size);
    case FUSE_NOTIFY_RETRIEVE:
        return notify_retrieve(conn, io, size);
    case FUSE_NOTIFY_DELETE:
        return notify_delete(conn, io, size);
    default:
        return -EINVAL;
    }
}
