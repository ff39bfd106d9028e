/*
 * Attributes and who may do what.
 *
 * Without default_permissions the program decides; the mode bits mean nothing here, except that a program file needs one execute
 * bit. Without allow_other nobody but the user who mounted it comes in, root included: the program might learn and do things to
 * others' processes through the files it shows them (fuse(4), mount.fuse3(8)).
 */
#include "abi/linux/fs/fuse.h"

#include "abi/linux/process.h"

static void stat_fill(const struct node *node, const struct fuse_attr *attr, struct linux_stat_data *stat)
{
    *stat = (struct linux_stat_data){
        .device = node->fs->device,
        .inode = attr->inode,
        .link_count = attr->links,
        .rdev = attr->rdev,
        .size = attr->size,
        .blocks = attr->blocks,
        .mode = attr->mode,
        .uid = attr->uid,
        .gid = attr->gid,
        .block_size = attr->block_size ? attr->block_size : (uint32_t)PAGE_SIZE,
        .access = {.seconds = (int64_t)attr->atime, .nanoseconds = attr->atime_ns},
        .modify = {.seconds = (int64_t)attr->mtime, .nanoseconds = attr->mtime_ns},
        .change = {.seconds = (int64_t)attr->ctime, .nanoseconds = attr->ctime_ns},
    };
}

static bool attr_remembered(struct node *node, struct fuse_attr *attr)
{
    struct fuse_node *fuse = fuse_node_of(node);
    nanoseconds_t now = body_now();

    spin_lock(&fuse->conn->table_lock);
    bool good = fuse->attr_until > now && !fuse->bad;
    *attr = fuse->attr;
    spin_unlock(&fuse->conn->table_lock);
    return good;
}

/* The handle that goes with a message about attributes: directories' handles are apart, and mean nothing there. */
static bool handle_counts(const struct fuse_handle *handle) { return handle && !handle->nothing && !handle->directory; }

static int attr_ask(struct node *node, const struct fuse_handle *handle, struct fuse_attr *attr)
{
    struct fuse_request *request;
    int error = fuse_begin(node, FUSE_GETATTR, sizeof(struct fuse_getattr_in), NULL, 0, sizeof(struct fuse_attr_out), &request);

    if (error)
        return error;
    if (handle_counts(handle))
        *(struct fuse_getattr_in *)request->in = (struct fuse_getattr_in){.flags = FUSE_GETATTR_HANDLE, .handle = handle->handle};
    error = fuse_call(request);
    if (!error) {
        const struct fuse_attr_out *out = request->out;
        *attr = out->attr;
        error = fuse_attr_take(node, attr, fuse_until(out->attr_valid, out->attr_valid_ns), request->attr_version);
    }
    fuse_request_put(request);
    return error;
}

int fuse_get_attr(struct node *node, const struct fuse_handle *handle, bool fresh, struct linux_stat_data *stat)
{
    struct fuse_attr attr;
    int error = !fresh && attr_remembered(node, &attr) ? 0 : attr_ask(node, handle, &attr);

    if (!error)
        stat_fill(node, &attr, stat);
    return error;
}

static void setattr_fill(struct fuse_setattr_in *in, const struct node *node, const struct node_attr *attr)
{
    in->valid = (attr->valid & ATTR_MODE ? FUSE_SET_MODE : 0u) | (attr->valid & ATTR_UID ? FUSE_SET_UID : 0u) |
                (attr->valid & ATTR_GID ? FUSE_SET_GID : 0u) | (attr->valid & ATTR_SIZE ? FUSE_SET_SIZE : 0u) |
                (attr->valid & ATTR_ATIME ? FUSE_SET_ATIME : 0u) | (attr->valid & ATTR_MTIME ? FUSE_SET_MTIME : 0u);
    in->size = attr->size;
    in->mode = attr->mode | (node->mode & LINUX_S_IFMT);
    in->uid = attr->uid;
    in->gid = attr->gid;
    in->atime = (uint64_t)attr->access.seconds;
    in->atime_ns = attr->access.nanoseconds;
    in->mtime = (uint64_t)attr->modify.seconds;
    in->mtime_ns = attr->modify.nanoseconds;
}

int fuse_set_attr(struct node *node, const struct fuse_handle *handle, const struct node_attr *attr)
{
    struct fuse_request *request;
    int error = fuse_begin(node, FUSE_SETATTR, sizeof(struct fuse_setattr_in), NULL, 0, sizeof(struct fuse_attr_out), &request);

    if (error)
        return error;
    struct fuse_setattr_in *in = request->in;
    setattr_fill(in, node, attr);
    if (handle_counts(handle)) {
        in->valid |= FUSE_SET_HANDLE;
        in->handle = handle->handle;
    }
    error = fuse_call(request);
    fuse_attr_expire(node); /* whatever came of it; and older than this is every answer under way */
    if (!error) {
        const struct fuse_attr_out *out = request->out;
        error = fuse_attr_take(node, &out->attr, fuse_until(out->attr_valid, out->attr_valid_ns), fuse_attr_version(request->conn));
    }
    fuse_request_put(request);
    return error;
}

/* --- who may ----------------------------------------------------------------------------------------- */

static bool is_mounter(const struct fuse_options *options, const struct cred *cred)
{
    return cred->uid == options->uid && cred->euid == options->uid && cred->suid == options->uid && cred->gid == options->gid &&
           cred->egid == options->gid && cred->sgid == options->gid;
}

int fuse_permission(struct node *node, uint32_t mask, const struct cred *cred)
{
    const struct fuse_options *options = &fuse_conn_of(node)->options;

    if (!options->allow_other && !is_mounter(options, cred))
        return -EACCES;
    if (options->default_permissions)
        return DECISION_MODE_BITS;
    return (mask & MAY_EXECUTE) && (node->mode & LINUX_S_IFMT) == LINUX_S_IFREG ? DECISION_EXECUTE_BIT : DECISION_ALLOWED;
}

int fuse_access(struct node *node, uint32_t mask)
{
    struct fuse_request *request;
    int error;

    if (fuse_conn_of(node)->options.default_permissions || fuse_missing(fuse_conn_of(node), FUSE_ACCESS))
        return 0;
    error = fuse_begin(node, FUSE_ACCESS, sizeof(struct fuse_access_in), NULL, 0, 0, &request);
    if (error)
        return error;
    ((struct fuse_access_in *)request->in)->mask = mask;
    error = fuse_call_put(request);
    return error == -ENOSYS ? 0 : error;
}
