/*
 * Names: looking up, making, linking, removing, renaming; symbolic links' targets.
 *
 * The caller holds the directory's gate. Each answer says how long the name may be believed: it is left in dir->answer_until for
 * the name cache. An abandoned request that made the program count a lookup, or open a file, is undone when it is answered.
 */
#include "abi/linux/fs/fuse.h"

#include "abi/linux/process.h"
#include "kernel/string.h"

static uint32_t umask_now(void) { return current_process() ? atomic32_load_relaxed(&current_process()->fs->umask) : 0; }

static void entry_orphan(struct fuse_request *request)
{
    const struct fuse_entry_out *entry = request->out;

    fuse_forget_entry(request->conn, entry->nodeid);
}

/* Sends a request that is answered with an entry, and takes the node: a reference. The request is put. */
static int call_entry(struct node *dir, struct fuse_request *request, struct node **node)
{
    const struct fuse_entry_out *entry = request->out;
    int error;

    request->orphan = entry_orphan;
    error = fuse_call(request);
    dir->answer_until = error ? 0 : fuse_until(entry->entry_valid, entry->entry_valid_ns);
    if (!error)
        error = entry->nodeid ? fuse_node_for(dir->fs, entry, request->attr_version, node) : -ENOENT;
    fuse_request_put(request);
    return error;
}

int fuse_lookup(struct node *dir, const char *name, size_t length, struct node **child)
{
    struct fuse_request *request;
    int error;

    if (fuse_primed_take(dir, name, length, child))
        return 0;
    atomic32_store_relaxed(&fuse_node_of(dir)->advised, 1);
    error = fuse_begin(dir, FUSE_LOOKUP, 0, name, length, sizeof(struct fuse_entry_out), &request);
    dir->answer_until = 0;
    return error ? error : call_entry(dir, request, child);
}

/* --- making ------------------------------------------------------------------------------------------ */

/* What was made must be what was asked for. */
static int call_made(struct node *dir, struct fuse_request *request, uint32_t mode, struct node **child)
{
    int error = call_entry(dir, request, child);

    fuse_attr_expire(dir);
    if (error || ((*child)->mode & LINUX_S_IFMT) == (mode & LINUX_S_IFMT))
        return error == -ENOENT ? -EIO : error;
    object_unref(*child);
    *child = NULL;
    return -EIO;
}

static int make_link(struct node *dir, const char *name, size_t length, const char *target, struct fuse_request **request)
{
    size_t target_size = strlen(target) + 1;
    int error = fuse_begin(dir, FUSE_SYMLINK, length + 1, target, target_size - 1, sizeof(struct fuse_entry_out), request);

    if (!error) {
        memcpy((*request)->in, name, length);
        ((char *)(*request)->in)[length] = 0;
    }
    return error;
}

static int make_directory(struct node *dir, const char *name, size_t length, uint32_t mode, struct fuse_request **request)
{
    int error = fuse_begin(dir, FUSE_MKDIR, sizeof(struct fuse_mkdir_in), name, length, sizeof(struct fuse_entry_out), request);

    if (!error)
        *(struct fuse_mkdir_in *)(*request)->in = (struct fuse_mkdir_in){.mode = mode & 07777, .umask = umask_now()};
    return error;
}

static int make_other(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, struct fuse_request **request)
{
    int error = fuse_begin(dir, FUSE_MKNOD, sizeof(struct fuse_mknod_in), name, length, sizeof(struct fuse_entry_out), request);

    if (!error)
        *(struct fuse_mknod_in *)(*request)->in = (struct fuse_mknod_in){.mode = mode, .rdev = (uint32_t)rdev, .umask = umask_now()};
    return error;
}

int fuse_create(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid,
                uint32_t gid, struct node **child)
{
    struct fuse_request *request;
    int error;

    (void)uid, (void)gid; /* the request's header says who asks */
    if ((mode & LINUX_S_IFMT) == LINUX_S_IFLNK)
        error = make_link(dir, name, length, target, &request);
    else if ((mode & LINUX_S_IFMT) == LINUX_S_IFDIR)
        error = make_directory(dir, name, length, mode, &request);
    else
        error = make_other(dir, name, length, mode, rdev, &request);
    return error ? error : call_made(dir, request, mode, child);
}

static void create_orphan(struct fuse_request *request)
{
    const struct fuse_create_out *out = request->out;

    fuse_release_handle(request->conn, out->entry.nodeid, out->open.handle, 0, false);
    entry_orphan(request);
}

/* The program has made and opened a file: node and file for it, or the handle is given back. */
static int created(struct node *dir, struct fuse_request *request, uint32_t flags, struct node **child, struct file **file)
{
    const struct fuse_create_out *out = request->out;
    int error = fuse_node_for(dir->fs, &out->entry, request->attr_version, child);

    dir->answer_until = fuse_until(out->entry.entry_valid, out->entry.entry_valid_ns);
    if (!error && ((*child)->mode & LINUX_S_IFMT) != LINUX_S_IFREG) {
        object_unref(*child);
        error = -EIO;
    }
    if (error) {
        fuse_release_handle(request->conn, out->entry.nodeid, out->open.handle, flags, false);
        return error;
    }
    error = fuse_file_made(*child, flags, &out->open, file);
    if (error)
        object_unref(*child);
    return error;
}

int fuse_create_open(struct node *dir, const char *name, size_t length, uint32_t mode, uint32_t uid, uint32_t gid, uint32_t flags,
                     struct node **child, struct file **file)
{
    struct fuse_request *request;
    int error = fuse_begin(dir, FUSE_CREATE, sizeof(struct fuse_create_in), name, length, sizeof(struct fuse_create_out), &request);

    (void)uid, (void)gid;
    if (error)
        return error;
    *(struct fuse_create_in *)request->in =
        (struct fuse_create_in){.flags = flags & ~(uint32_t)LINUX_O_NOCTTY, .mode = mode, .umask = umask_now()};
    request->orphan = create_orphan;
    error = fuse_call(request);
    fuse_attr_expire(dir);
    if (!error)
        error = created(dir, request, flags, child, file);
    fuse_request_put(request);
    return error;
}

/*
 * The program may know the new name by another node id than the old. The name is not believed, so that it is looked up when it is
 * used first.
 */
int fuse_link(struct node *dir, const char *name, size_t length, struct node *target)
{
    struct fuse_request *request;
    struct node *made;
    int error = fuse_begin(dir, FUSE_LINK, sizeof(struct fuse_link_in), name, length, sizeof(struct fuse_entry_out), &request);

    if (error)
        return error == -ENOSYS ? -EPERM : error;
    ((struct fuse_link_in *)request->in)->old_nodeid = fuse_node_of(target)->nodeid;
    error = call_made(dir, request, target->mode, &made);
    dir->answer_until = 0;
    fuse_attr_expire(target);
    if (!error)
        object_unref(made);
    return error == -ENOSYS ? -EPERM : error;
}

/* --- removing and renaming --------------------------------------------------------------------------- */

static int take_away(struct node *dir, uint32_t operation, const char *name, size_t length)
{
    struct fuse_request *request;
    int error = fuse_begin(dir, operation, 0, name, length, 0, &request);

    if (!error)
        error = fuse_call_put(request);
    fuse_attr_expire(dir);
    if (error)
        node_names_changed(dir); /* it may be gone all the same */
    return error;
}

int fuse_unlink(struct node *dir, const char *name, size_t length) { return take_away(dir, FUSE_UNLINK, name, length); }
int fuse_remove_directory(struct node *dir, const char *name, size_t length) { return take_away(dir, FUSE_RMDIR, name, length); }

static int rename_begin(struct node *from, const char *name, size_t length, uint64_t to, const char *new_name, size_t new_length,
                        uint32_t flags, struct fuse_request **request)
{
    size_t head = flags ? sizeof(struct fuse_rename2_in) : sizeof(struct fuse_rename_in);
    int error = fuse_begin(from, flags ? FUSE_RENAME2 : FUSE_RENAME, head + length + 1, new_name, new_length, 0, request);

    if (error)
        return error;
    if (flags)
        *(struct fuse_rename2_in *)(*request)->in = (struct fuse_rename2_in){.new_directory = to, .flags = flags};
    else
        ((struct fuse_rename_in *)(*request)->in)->new_directory = to;
    memcpy((char *)(*request)->in + head, name, length);
    ((char *)(*request)->in)[head + length] = 0;
    return 0;
}

int fuse_rename(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length, uint32_t flags)
{
    struct fuse_request *request;
    int error = rename_begin(from, name, length, fuse_node_of(to)->nodeid, new_name, new_length, flags, &request);

    if (!error)
        error = fuse_call_put(request);
    fuse_attr_expire(from);
    fuse_attr_expire(to);
    if (error) {
        node_names_changed(from);
        node_names_changed(to);
    }
    return error == -ENOSYS && flags ? -EINVAL : error;
}

/* --- symbolic links ---------------------------------------------------------------------------------- */

int64_t fuse_read_link(struct node *node, char *target, size_t size)
{
    struct fuse_request *request;
    size_t length = 0;
    int error = fuse_begin(node, FUSE_READLINK, 0, NULL, 0, PATH_LENGTH_MAX - 1, &request);

    if (error)
        return error;
    request->out_variable = true;
    error = fuse_call(request);
    if (!error) {
        length = min_u64(strnlen(request->out, request->out_length), size);
        memcpy(target, request->out, length);
    }
    fuse_request_put(request);
    return error ? error : (int64_t)length;
}
