/*
 * Open files and directories: the program's handles.
 *
 * The message that will give a handle back is made with the file, so that closing cannot fail; nobody waits for its answer. A
 * program that has no open at all (ENOSYS) keeps no handles: files then work by node id alone.
 */
#include "abi/linux/fs/fuse.h"

#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/thread.h"
#include "kernel/user.h"

enum { SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE };

uint64_t fuse_lock_owner(struct fuse_conn *conn, const void *owner) { return (uint64_t)(uintptr_t)owner ^ conn->key; }

/* --- giving a handle back ---------------------------------------------------------------------------- */

static struct fuse_request *release_prepare(struct fuse_conn *conn, uint64_t nodeid, uint64_t handle, uint32_t flags, bool directory)
{
    uint32_t operation = directory ? FUSE_RELEASEDIR : FUSE_RELEASE;
    struct fuse_request *request = fuse_request_create(conn, operation, nodeid, sizeof(struct fuse_release_in), 0);

    if (request)
        *(struct fuse_release_in *)request->in = (struct fuse_release_in){.handle = handle, .flags = flags};
    return request;
}

void fuse_release_handle(struct fuse_conn *conn, uint64_t nodeid, uint64_t handle, uint32_t flags, bool directory)
{
    struct fuse_request *request = release_prepare(conn, nodeid, handle, flags, directory);

    if (request)
        fuse_send(request);
}

/* --- opening ----------------------------------------------------------------------------------------- */

static const struct file_ops *ops_for(const struct fuse_handle *handle)
{
    if (handle->directory)
        return &fuse_directory_ops;
    return handle->open_flags & (FUSE_OPENED_STREAM | FUSE_OPENED_NONSEEKABLE) ? &fuse_stream_ops : &fuse_file_ops;
}

static void handle_free(struct fuse_handle *handle)
{
    fuse_request_put(handle->release);
    object_unref(handle->pages);
    object_unref(atomic_ptr_load_acquire(&handle->snapshot));
    kfree(handle->entries);
    object_unref(handle->conn);
    kfree(handle);
}

/* Where the program does not want every read and write for itself. */
static void handle_cache(struct fuse_handle *handle, struct node *node)
{
    if (handle->directory || (handle->open_flags & (FUSE_OPENED_DIRECT | FUSE_OPENED_STREAM | FUSE_OPENED_NONSEEKABLE)))
        return;
    handle->pages = fuse_pages_open(node, handle->nothing ? FUSE_OPENED_KEEP_CACHE : handle->open_flags);
}

/* opened NULL: the program has no handles. */
static struct fuse_handle *handle_make(struct node *node, uint32_t flags, const struct fuse_open_out *opened)
{
    struct fuse_conn *conn = fuse_conn_of(node);
    struct fuse_handle *handle = kzalloc(sizeof(*handle));

    if (!handle)
        return NULL;
    handle->conn = object_ref(conn);
    handle->directory = (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR;
    handle->nothing = !opened;
    handle->flags = flags;
    list_init(&handle->poll_link);
    list_init(&handle->node_link);
    knote_list_init(&handle->knotes);
    if (!opened)
        return handle;
    handle->handle = opened->handle;
    handle->open_flags = opened->flags;
    handle->release = release_prepare(conn, fuse_node_of(node)->nodeid, opened->handle, flags, handle->directory);
    if (handle->release)
        return handle;
    handle_free(handle);
    return NULL;
}

int fuse_file_made(struct node *node, uint32_t flags, const struct fuse_open_out *opened, struct file **file)
{
    struct fuse_handle *handle = handle_make(node, flags, opened);

    *file = handle ? file_create(ops_for(handle), flags, handle) : NULL;
    if (*file) {
        (*file)->node = object_ref(node);
        handle_cache(handle, node);
        if (!handle->directory)
            fuse_pages_handle_open(node, handle);
        return 0;
    }
    if (handle)
        handle_free(handle);
    if (opened)
        fuse_release_handle(fuse_conn_of(node), fuse_node_of(node)->nodeid, opened->handle, flags,
                            (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR);
    return -ENOMEM;
}

static void open_orphan(struct fuse_request *request)
{
    const struct fuse_open_out *out = request->out;
    const struct fuse_open_in *in = request->in;

    fuse_release_handle(request->conn, request->header.nodeid, out->handle, in->flags, request->header.operation == FUSE_OPENDIR);
}

static int device_of_node(struct node *node, uint32_t flags, struct file **file)
{
    struct linux_stat_data stat;
    int error = fuse_get_attr(node, NULL, false, &stat);

    return error ? error : device_open(node->mode, stat.rdev, flags, file);
}

int fuse_open(struct node *node, uint32_t flags, struct file **file)
{
    uint32_t type = node->mode & LINUX_S_IFMT, operation = type == LINUX_S_IFDIR ? FUSE_OPENDIR : FUSE_OPEN;
    struct fuse_request *request;
    int error;

    if (type == LINUX_S_IFCHR || type == LINUX_S_IFBLK)
        return device_of_node(node, flags, file);
    error = fuse_begin(node, operation, sizeof(struct fuse_open_in), NULL, 0, sizeof(struct fuse_open_out), &request);
    if (!error) {
        ((struct fuse_open_in *)request->in)->flags = flags & ~(uint32_t)(LINUX_O_NOCTTY | LINUX_O_CLOEXEC);
        request->orphan = open_orphan;
        error = fuse_call(request);
    }
    if (!error || error == -ENOSYS)
        error = fuse_file_made(node, flags, error ? NULL : request->out, file);
    fuse_request_put(request);
    return error;
}

/* --- closing ----------------------------------------------------------------------------------------- */

static int pages_sync(struct fuse_handle *handle)
{
    int error = handle->pages ? memobj_sync(handle->pages, 0, UINT64_MAX) : 0;

    return error == -EINTR ? -ERESTARTNOINTR : error;
}

static int flush_ask(struct file *file, struct process *process)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    struct fuse_request *request;
    int error;

    if ((handle->open_flags & FUSE_OPENED_NO_FLUSH) || handle->nothing || fuse_missing(handle->conn, FUSE_FLUSH))
        return 0;
    error = fuse_begin(file->node, FUSE_FLUSH, sizeof(struct fuse_flush_in), NULL, 0, 0, &request);
    if (error)
        return error;
    *(struct fuse_flush_in *)request->in =
        (struct fuse_flush_in){.handle = handle->handle, .lock_owner = fuse_lock_owner(handle->conn, process ? process->fds : NULL)};
    /* The dying do not wait for an answer. */
    if (!thread_killed(thread_current())) {
        error = fuse_call_put(request);
        return error == -ENOSYS ? 0 : error;
    }
    fuse_send(request);
    return 0;
}

/* What a mapping has changed goes first; only a writer's close waits for it. */
static int fuse_flush(struct file *file, struct process *process)
{
    bool waits = file_writable(file) && !thread_killed(thread_current());
    int error = waits ? pages_sync(fuse_handle_of(file)) : 0, asked = flush_ask(file, process);

    return error == -ERESTARTNOINTR || !error ? asked : error;
}

static void file_release(struct file *file)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    struct fuse_request *release = handle->release;

    if (handle->pages && file_writable(file))
        fuse_pages_write_back(file->node, 0, UINT64_MAX);
    fuse_pages_handle_closed(handle);

    spin_lock(&handle->conn->lock);
    list_remove(&handle->poll_link);
    spin_unlock(&handle->conn->lock);
    knote_list_close(&handle->knotes);
    handle->release = NULL;
    if (release) {
        /* Forgetting the node comes after it. */
        release->node = object_ref(file->node);
        release->fs = object_ref(file->node->fs);
        fuse_send(release);
    }
    handle_free(handle);
}

/* --- the rest ---------------------------------------------------------------------------------------- */

static int file_stat_(struct file *file, struct linux_stat_data *stat)
{
    return fuse_get_attr(file->node, fuse_handle_of(file), false, stat);
}

static int file_sync(struct file *file, bool data_only)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    uint32_t operation = handle->directory ? FUSE_FSYNCDIR : FUSE_FSYNC;
    struct fuse_request *request;
    int error = pages_sync(handle);

    if (error)
        return error;
    error = fuse_begin(file->node, operation, sizeof(struct fuse_fsync_in), NULL, 0, 0, &request);
    if (!error) {
        *(struct fuse_fsync_in *)request->in =
            (struct fuse_fsync_in){.handle = handle->handle, .flags = data_only ? FUSE_FSYNC_DATA_ONLY : 0};
        error = fuse_call_put(request);
    }
    return error == -ENOSYS ? 0 : error;
}

static int file_truncate(struct file *file, uint64_t size) { return node_truncate(file->node, size); }

enum { FALLOCATE_KEEP_SIZE = 1 };

static int file_allocate(struct file *file, int mode, uint64_t offset, uint64_t size)
{
    struct fuse_request *request;
    int error = fuse_begin(file->node, FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), NULL, 0, 0, &request);

    if (!error) {
        *(struct fuse_fallocate_in *)request->in = (struct fuse_fallocate_in){
            .handle = fuse_handle_of(file)->handle, .offset = offset, .length = size, .mode = (uint32_t)mode};
        error = fuse_call_put(request);
        fuse_attr_wrote(file->node, error || (mode & FALLOCATE_KEEP_SIZE) ? 0 : offset + size);
        fuse_pages_invalidate(file->node, offset, size);
    }
    return error == -ENOSYS ? -EOPNOTSUPP : error;
}

/* SEEK_DATA and SEEK_HOLE: the program's answer, or every byte counts as data. */
static int64_t seek_hole(struct file *file, int64_t offset, int whence)
{
    struct linux_stat_data stat;
    struct fuse_request *request;
    int64_t result = offset < 0 ? -ENXIO
                                : fuse_begin(file->node, FUSE_LSEEK, sizeof(struct fuse_lseek_in), NULL, 0,
                                             sizeof(struct fuse_lseek_out), &request);

    if (!result) {
        *(struct fuse_lseek_in *)request->in = (struct fuse_lseek_in){
            .handle = fuse_handle_of(file)->handle, .offset = (uint64_t)offset, .whence = (uint32_t)whence};
        result = fuse_call(request);
        if (!result)
            result = (int64_t)((const struct fuse_lseek_out *)request->out)->offset;
        fuse_request_put(request);
        if (result != -ENOSYS)
            return result;
    }
    if (result == -ENOSYS)
        result = fuse_get_attr(file->node, fuse_handle_of(file), true, &stat);
    if (result)
        return result;
    if (offset >= (int64_t)stat.size)
        return -ENXIO;
    return whence == SEEK_DATA ? offset : (int64_t)stat.size;
}

static int64_t file_seek(struct file *file, int64_t offset, int whence)
{
    struct linux_stat_data stat = {.size = 0};
    int64_t base = 0;

    if (whence < SEEK_SET || whence > SEEK_HOLE || (whence > SEEK_END && fuse_handle_of(file)->directory))
        return -EINVAL;
    if (whence == SEEK_END) {
        int error = fuse_get_attr(file->node, fuse_handle_of(file), true, &stat);
        if (error)
            return error;
    }
    if (whence >= SEEK_DATA)
        offset = seek_hole(file, offset, whence);
    else
        base = whence == SEEK_CUR ? file->position : whence == SEEK_END ? (int64_t)stat.size : 0;
    if (whence >= SEEK_DATA && offset < 0)
        return offset;
    if (__builtin_add_overflow(base, offset, &offset))
        return -EOVERFLOW;
    if (offset < 0)
        return -EINVAL;
    file->position = offset;
    return offset;
}

#define SNAPSHOT_MAX ((int64_t)256 << 20)
#define SNAPSHOT_CHUNK ((size_t)64 << 10)

static int snapshot_fill(struct file *file, struct memobj *snapshot, uint8_t *buffer)
{
    int64_t position = 0, got = 1;

    while (got > 0 && position < SNAPSHOT_MAX) {
        int64_t start = position;
        struct io io;
        io_init_kernel(&io, buffer, SNAPSHOT_CHUNK);
        got = fuse_file_read(file, &io, &position);
        if (got > 0)
            got = memobj_write(snapshot, buffer, (uint64_t)start, (size_t)got);
    }
    return got > 0 ? -ENOMEM : (int)got;
}

static int snapshot_make(struct file *file, struct memobj **snapshot)
{
    uint8_t *buffer = kalloc(SNAPSHOT_CHUNK);
    int error = buffer ? 0 : -ENOMEM;

    *snapshot = error ? NULL : memobj_create(0);
    if (!error)
        error = *snapshot ? snapshot_fill(file, *snapshot, buffer) : -ENOMEM;
    kfree(buffer);
    if (!error)
        return 0;
    object_unref(*snapshot);
    return error;
}

/*
 * A private mapping shows the file as it was when this open file was first mapped (whether it follows later changes is left open by
 * mmap(2)); programs and libraries are run so. Shared mappings need pages on demand: -ENODEV.
 */
static int file_map(struct file *file, uint32_t prot, bool shared, struct memobj **memobj)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    struct memobj *snapshot;
    void *none = NULL;
    int error;

    (void)prot;
    if (shared)
        return -ENODEV;
    if (!atomic_ptr_load_acquire(&handle->snapshot)) {
        error = snapshot_make(file, &snapshot);
        if (error)
            return error;
        if (!atomic_ptr_cas(&handle->snapshot, &none, snapshot))
            object_unref(snapshot);
    }
    *memobj = object_ref(atomic_ptr_load_acquire(&handle->snapshot));
    return 0;
}

static struct knote_list *file_knotes_(struct file *file) { return &fuse_handle_of(file)->knotes; }

const struct file_ops fuse_file_ops = {
    .kind = "file",
    .read = fuse_file_read,
    .write = fuse_file_write,
    .seek = file_seek,
    .ioctl = fuse_ioctl,
    .poll = fuse_poll,
    .knotes = file_knotes_,
    .stat = file_stat_,
    .truncate = file_truncate,
    .sync = file_sync,
    .allocate = file_allocate,
    .map = file_map,
    .flush = fuse_flush,
    .release = file_release,
};

/* A file without positions, or one that only goes forward. */
const struct file_ops fuse_stream_ops = {
    .kind = "file",
    .read = fuse_file_read,
    .write = fuse_file_write,
    .ioctl = fuse_ioctl,
    .poll = fuse_poll,
    .knotes = file_knotes_,
    .stat = file_stat_,
    .sync = file_sync,
    .flush = fuse_flush,
    .release = file_release,
};

static int64_t directory_read(struct file *file, struct io *io, int64_t *position)
{
    (void)file, (void)io, (void)position;
    return -EISDIR;
}

const struct file_ops fuse_directory_ops = {
    .kind = "directory",
    .read = directory_read,
    .seek = file_seek,
    .ioctl = fuse_ioctl,
    .read_directory = fuse_read_directory,
    .stat = file_stat_,
    .sync = file_sync,
    .release = file_release,
};
