/*
 * Opening, as open(2) and openat2(2) tell it: walk, check, make what O_CREAT asks for, then let the node decide what
 * kind of file it is.
 *
 * A regular file opened for writing counts in node->writers, a running program counts down from zero there, so
 * the two exclude each other (ETXTBSY); the file settles the count when it goes.
 */
#include "abi/linux/fs/vfs.h"
#include "abi/linux/pipe.h"
#include "abi/linux/process.h"
#include "kernel/body.h"
#include "kernel/string.h"

int node_write_begin(struct node *node)
{
    uint32_t writers = atomic32_load_relaxed(&node->writers);

    do {
        if ((int32_t)writers < 0)
            return -ETXTBSY;
    } while (!atomic32_cas(&node->writers, &writers, writers + 1));
    return 0;
}

void node_write_end(struct node *node) { atomic32_sub(&node->writers, 1); }

static int node_deny_writers(struct node *node)
{
    uint32_t writers = atomic32_load_relaxed(&node->writers);

    do {
        if ((int32_t)writers > 0)
            return -ETXTBSY;
    } while (!atomic32_cas(&node->writers, &writers, writers - 1));
    return 0;
}

/* --- checks ------------------------------------------------------------------------------------------ */

static uint32_t access_mask(uint32_t flags)
{
    static const uint8_t masks[4] = {MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE};

    return masks[flags & LINUX_O_ACCMODE] | (flags & LINUX_O_TRUNC ? MAY_WRITE : 0);
}

static int check_type(const struct path *path, uint32_t flags, uint32_t mask)
{
    uint32_t mount_flags = path->mount ? path->mount->flags : 0;

    switch (path->type) {
    case LINUX_S_IFLNK:
        return -ELOOP;
    case LINUX_S_IFDIR:
        return (mask & MAY_WRITE) || (flags & LINUX_O_CREAT) ? -EISDIR : 0;
    case LINUX_S_IFCHR:
    case LINUX_S_IFBLK:
        return mount_flags & MOUNT_NO_DEV ? -EACCES : 0;
    default:
        return 0;
    }
}

/* Writing to a device, FIFO or socket is no change of a read-only file system. */
static int check_read_only(struct path *path, uint32_t mask)
{
    bool changes = path->type == LINUX_S_IFREG || path->type == LINUX_S_IFDIR;

    return changes && (mask & MAY_WRITE) ? path_writable(path) : 0;
}

/* created: O_CREAT made it just now, so its mode does not matter. */
static int check_open(struct path *path, uint32_t flags, bool created)
{
    uint32_t mask = access_mask(flags);
    int error = check_type(path, flags, mask);

    if (!error)
        error = check_read_only(path, mask);
    if (!error && !created)
        error = node_permission(path->node, mask);
    if (!error && (flags & LINUX_O_NOATIME) && !node_owned_by_caller(path->node))
        error = -EPERM;
    return error;
}

/* --- files ------------------------------------------------------------------------------------------- */

static int file_over_path(const struct file_ops *ops, uint32_t flags, struct file **file)
{
    *file = file_create(ops, flags, NULL);
    return *file ? 0 : -ENOMEM;
}

/* The file the node wants to be. */
static int file_for_node(struct path *path, uint32_t flags, struct file **file)
{
    struct node *node = path->node;

    *file = NULL;
    if (path->type == LINUX_S_IFSOCK)
        return -ENXIO;
    if (path->type == LINUX_S_IFIFO)
        return fifo_open(node, flags, file);
    if (node->ops->open) {
        int error = node->ops->open(node, flags, file);
        if (error || *file)
            return error;
    }
    if (path->type == LINUX_S_IFCHR || path->type == LINUX_S_IFBLK)
        return -ENXIO;
    return file_over_path(&node_file_ops, flags, file);
}

static void file_adopt(struct file *file, struct path *path)
{
    if (!file->node)
        file->node = object_ref(path->node);
    if (!file->path)
        file->path = path_ref(path);
}

static int open_path_only(struct path *path, uint32_t flags, struct file **file)
{
    static const struct file_ops path_ops = {.kind = "path"};
    int error = file_over_path(&path_ops, flags & (LINUX_O_PATH | LINUX_O_DIRECTORY | LINUX_O_NOFOLLOW), file);

    if (!error)
        file_adopt(*file, path);
    return error;
}

/*
 * The node is found and may be opened so. A writer is counted from before the truncation until the file goes. *file is NULL, or the file
 * that came with the node when it was made.
 */
static int open_checked(struct path *path, uint32_t flags, struct file **file)
{
    bool regular = path->type == LINUX_S_IFREG, writes = (flags & LINUX_O_ACCMODE) != LINUX_O_RDONLY;
    bool truncates = regular && (flags & LINUX_O_TRUNC), counts = regular && (writes || truncates);
    int error = counts ? node_write_begin(path->node) : 0;

    if (error)
        return error;
    if (!*file)
        error = file_for_node(path, flags & ~(uint32_t)(LINUX_O_CREAT | LINUX_O_EXCL | LINUX_O_TRUNC), file);
    if (!error && truncates)
        error = node_truncate(path->node, 0);
    if (!error && truncates)
        notify_path(path, NOTIFY_MODIFY);
    if (!error)
        file_adopt(*file, path);
    if (!error && counts && writes && (*file)->node == path->node) {
        (*file)->internal |= FILE_COUNTS_WRITER;
        return 0;
    }
    if (counts)
        node_write_end(path->node);
    if (error && *file) {
        file_unref(*file);
        *file = NULL;
    }
    return error;
}

int vfs_open_path(struct path *path, uint32_t flags, struct file **file)
{
    int error;

    *file = NULL;
    if (flags & LINUX_O_PATH)
        return open_path_only(path, flags, file);
    error = check_open(path, flags, false);
    return error ? error : open_checked(path, flags, file);
}

/*
 * /proc/PID/fd/N of a file without a name. A stream is shared as it is, when it can do what is asked (Linux would make
 * another description of the same pipe or terminal); sockets and event files cannot be opened again.
 */
static int open_anonymous(struct file *found, uint32_t flags, struct file **file)
{
    static const char *const streams[] = {"pipe", "tty", "file", "device", "directory"};
    uint32_t mask = access_mask(flags);

    for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
        if (strcmp(found->ops->kind, streams[i]))
            continue;
        if (((mask & MAY_READ) && !file_readable(found)) || ((mask & MAY_WRITE) && !file_writable(found)))
            return -EACCES;
        *file = file_ref(found);
        return 0;
    }
    return -ENXIO;
}

/* O_PATH of such a file: good for fstat alone. */
static int path_only_stat(struct file *file, struct linux_stat_data *stat) { return file_stat(file->data, stat); }
static void path_only_release(struct file *file) { file_unref(file->data); }

static int open_anonymous_path(struct file *found, uint32_t flags, struct file **file)
{
    static const struct file_ops ops = {.kind = "path", .stat = path_only_stat, .release = path_only_release};

    *file = file_create(&ops, flags, found);
    if (!*file)
        return -ENOMEM;
    file_ref(found);
    return 0;
}

static int open_walked(struct walk *walk, uint32_t flags, struct file **file)
{
    if (walk->file)
        return flags & LINUX_O_PATH ? open_anonymous_path(walk->file, flags, file) : open_anonymous(walk->file, flags, file);
    return vfs_open_path(walk->pin, flags, file);
}

/* --- making ------------------------------------------------------------------------------------------ */

/* A file made for this open: its own mode does not limit it. */
static int open_made(struct path *path, uint32_t flags, struct file **file)
{
    int error = check_open(path, flags & ~(uint32_t)(LINUX_O_TRUNC | LINUX_O_CREAT), true);

    return error ? error : open_checked(path, flags & ~(uint32_t)LINUX_O_TRUNC, file);
}

static int create_last(struct walk *walk, const struct open_request *request, struct file **file)
{
    struct create_request create = {.mode = LINUX_S_IFREG | (request->mode & 07777), .open_flags = request->flags, .file = file};
    struct path *path;
    int error = names_create(walk->at, walk->last, walk->last_length, &create, &path);

    if (error)
        return error;
    error = open_made(path, request->flags, file);
    if (error && *file) {
        file_unref(*file);
        *file = NULL;
    }
    path_unref(path);
    return error;
}

enum { STEP_LINK = 1, STEP_RACED = 2 };

/* One try with the last component: STEP_LINK when a link leads on, STEP_RACED when somebody made the name meanwhile. */
static int open_create_step(struct walk *walk, const struct open_request *request, struct file **file)
{
    bool more = false;
    int error = walk_run(walk);

    if (error)
        return error;
    if (walk->last_kind != LAST_NORMAL || walk->directory)
        return -EISDIR;
    error = walk_last(walk, &more);
    if (error == -ENOENT) {
        error = create_last(walk, request, file);
        return error == -EEXIST && !(request->flags & LINUX_O_EXCL) ? STEP_RACED : error;
    }
    if (error)
        return error;
    if (request->flags & LINUX_O_EXCL)
        return -EEXIST;
    return more ? STEP_LINK : open_walked(walk, request->flags, file);
}

static int open_create(struct walk *walk, const struct open_request *request, struct file **file)
{
    int result = STEP_LINK;

    for (int tries = 0; result > 0 && tries < 128; tries++) {
        result = open_create_step(walk, request, file);
        if (result == STEP_RACED)
            walk->rest = walk->last;
    }
    return result > 0 ? -EAGAIN : result;
}

/* O_TMPFILE: a file that is made under a name nobody knows, which is taken away at once; linkat can give it another. */
static int open_temporary(struct walk *walk, const struct open_request *request, struct file **file)
{
    struct create_request create = {.mode = LINUX_S_IFREG | (request->mode & 07777), .unnoticed = true};
    struct path *path;
    char name[32];
    uint64_t number;
    int error;

    if ((request->flags & LINUX_O_ACCMODE) == LINUX_O_RDONLY)
        return -EINVAL;
    /* Where others see the names too, the file would show, and could not be linked afterwards. */
    if (!path_cacheable(walk->at))
        return -EOPNOTSUPP;
    body_random(&number, sizeof(number));
    format(name, sizeof(name), "#%llx", (unsigned long long)number);
    error = names_create(walk->at, name, strlen(name), &create, &path);
    if (error)
        return error == -EPERM ? -EOPNOTSUPP : error;
    if (!(request->flags & LINUX_O_EXCL))
        path->node->flags |= NODE_LINKABLE;
    error = open_made(path, request->flags & ~(uint32_t)LINUX_O_DIRECTORY, file);
    names_remove_unnoticed(walk->at, name, strlen(name));
    path_unref(path);
    return error;
}

/* --- doors ------------------------------------------------------------------------------------------- */

static uint32_t walk_flags_of(uint32_t flags)
{
    uint32_t walk_flags = 0;

    if ((flags & LINUX_O_NOFOLLOW) || (flags & (LINUX_O_CREAT | LINUX_O_EXCL)) == (LINUX_O_CREAT | LINUX_O_EXCL))
        walk_flags |= WALK_NOFOLLOW;
    if (flags & LINUX_O_CREAT)
        walk_flags |= WALK_PARENT;
    if (flags & LINUX_O_DIRECTORY)
        walk_flags |= WALK_DIRECTORY;
    return walk_flags;
}

int vfs_open_request(int dfd, const char *name, const struct open_request *given, struct file **file)
{
    struct open_request request = *given;
    struct walk walk;
    int error;

    *file = NULL;
    if (request.flags & LINUX_O_PATH)
        request.flags &= LINUX_O_PATH | LINUX_O_DIRECTORY | LINUX_O_NOFOLLOW;
    else
        request.flags |= LINUX_O_LARGEFILE;
    if ((request.flags & (LINUX_O_CREAT | LINUX_O_DIRECTORY)) == (LINUX_O_CREAT | LINUX_O_DIRECTORY))
        return -EINVAL;
    error = walk_begin(&walk, dfd, name, walk_flags_of(request.flags), request.resolve, NULL);
    if (!error && (request.flags & LINUX_O_CREAT)) {
        error = open_create(&walk, &request, file);
    } else if (!error) {
        error = walk_run(&walk);
        if (!error && (request.flags & LINUX_O_TMPFILE) == LINUX_O_TMPFILE)
            error = open_temporary(&walk, &request, file);
        else if (!error)
            error = open_walked(&walk, request.flags, file);
    }
    if (!error && !(request.flags & LINUX_O_PATH))
        notify_file(*file, NOTIFY_OPEN);
    walk_end(&walk);
    return error;
}

int vfs_open(int dfd, const char *name, uint32_t flags, uint32_t mode, struct file **file)
{
    struct open_request request = {.flags = flags, .mode = mode};

    return vfs_open_request(dfd, name, &request, file);
}

static int open_exec(struct path *path, struct file **file)
{
    int error;

    if (path->type != LINUX_S_IFREG || (path->mount && (path->mount->flags & MOUNT_NO_EXEC)))
        return -EACCES;
    error = node_permission(path->node, MAY_EXECUTE);
    if (error)
        return error;
    error = node_deny_writers(path->node);
    if (error)
        return error;
    error = file_for_node(path, LINUX_O_RDONLY | LINUX_O_LARGEFILE, file);
    if (!error)
        file_adopt(*file, path);
    if (!error && (*file)->node == path->node)
        (*file)->internal |= FILE_DENIES_WRITERS;
    else
        atomic32_add(&path->node->writers, 1);
    return error;
}

int vfs_open_exec(int dfd, const char *name, uint32_t walk_flags, struct file **file)
{
    struct path *path;
    int error = path_walk(dfd, name, walk_flags, &path);

    *file = NULL;
    if (error)
        return error == -ENXIO ? -EACCES : error;
    error = path->type == LINUX_S_IFLNK ? -ELOOP : open_exec(path, file);
    if (!error)
        notify_file(*file, NOTIFY_OPEN);
    path_unref(path);
    return error;
}

int vfs_mknod(int dfd, const char *name, uint32_t mode, uint64_t rdev, struct path **path)
{
    struct create_request create = {.mode = mode, .rdev = rdev};
    struct walk walk;
    int error = walk_parent(&walk, dfd, name);

    if (!error && walk.last_kind != LAST_NORMAL)
        error = -EEXIST;
    if (!error && walk.directory)
        error = -ENOENT;
    if (!error)
        error = names_create(walk.at, walk.last, walk.last_length, &create, path);
    walk_end(&walk);
    return error;
}
