/*
 * The contents of regular files as a paged memobj, whose pager is this: what was read once is not asked for again.
 *
 * A node gets its memobj with its first open that allows caching and keeps it until it goes. Its size follows the attributes. A page that
 * is wanted becomes a FUSE_READ through any handle that is open for reading; there is one, because every user of the memobj, a mapping
 * too, has an open file. Writes go through: to the program first, then into the pages that are there (fuse_io.c). Pages that were
 * dirtied by a mapping are written back (FUSE_WRITE_FROM_CACHE) when somebody syncs, closes or unmaps.
 *
 * Without FOPEN_KEEP_CACHE an open drops what is cached, as the program wants it; with FUSE_AUTO_INVAL_DATA so does another mtime.
 */
#include "abi/linux/fs/fuse.h"

#include "kernel/assert.h"
#include "kernel/string.h"

static uint64_t pages_of(uint64_t bytes) { return (bytes + PAGE_SIZE - 1) / PAGE_SIZE; }

struct memobj *fuse_pages(struct node *node) { return atomic_ptr_load_acquire(&fuse_node_of(node)->pages); }

/* --- handles ----------------------------------------------------------------------------------------- */

void fuse_pages_handle_open(struct node *node, struct fuse_handle *handle)
{
    struct fuse_conn *conn = handle->conn;

    spin_lock(&conn->table_lock);
    list_push_back(&fuse_node_of(node)->handles, &handle->node_link);
    spin_unlock(&conn->table_lock);
}

void fuse_pages_handle_closed(struct fuse_handle *handle)
{
    spin_lock(&handle->conn->table_lock);
    list_remove(&handle->node_link);
    spin_unlock(&handle->conn->table_lock);
}

/* Any handle that may read, or write. -EIO: none is open. */
static int handle_for(struct node *node, bool writing, uint64_t *handle_number)
{
    struct fuse_node *fuse = fuse_node_of(node);
    uint32_t unfit = writing ? LINUX_O_RDONLY : LINUX_O_WRONLY;
    int error = -EIO;

    spin_lock(&fuse->conn->table_lock);
    LIST_FOR_EACH(link, &fuse->handles)
    {
        struct fuse_handle *handle = LIST_ENTRY(link, struct fuse_handle, node_link);
        if ((handle->flags & LINUX_O_ACCMODE) != unfit) {
            *handle_number = handle->handle;
            error = 0;
            break;
        }
    }
    spin_unlock(&fuse->conn->table_lock);
    return error;
}

/* --- the pager --------------------------------------------------------------------------------------- */

static void page_in_done(struct fuse_request *request)
{
    struct memobj *pages = fuse_pages(request->node);

    if (request->error)
        pager_fail(pages, &request->run, request->error == -ENOSYS ? -EIO : request->error);
    else
        pager_supply(pages, &request->run, request->out, request->out_length);
}

static int page_in_part(struct node *node, const struct page_run *run, uint64_t handle)
{
    uint32_t size = (uint32_t)(run->count * PAGE_SIZE);
    struct fuse_request *request;
    int error = fuse_begin(node, FUSE_READ, sizeof(struct fuse_read_in), NULL, 0, size, &request);

    if (error)
        return error;
    *(struct fuse_read_in *)request->in = (struct fuse_read_in){.handle = handle, .offset = run->first * PAGE_SIZE, .size = size};
    request->out_variable = true;
    request->run = *run;
    request->done = page_in_done;
    fuse_send(request);
    return 0;
}

/* Parts that could not be sent are failed, so that every page is answered. */
static int page_in(struct memobj *memobj, void *context, const struct page_run *run, uint64_t needed)
{
    struct node *node = ((struct fuse_node *)context)->node;
    uint64_t most = fuse_conn_of(node)->max_read / PAGE_SIZE, handle;
    int error = handle_for(node, false, &handle);

    (void)needed;
    if (error)
        return error;
    for (uint64_t done = 0, count; done < run->count; done += count) {
        count = min_u64(run->count - done, most ? most : 1);
        struct page_run part = {.first = run->first + done, .count = count, .epoch = run->epoch};
        error = page_in_part(node, &part, handle);
        if (error)
            pager_fail(memobj, &part, error);
    }
    return 0;
}

static void write_done(struct fuse_request *request)
{
    uint64_t size = request->in_size - sizeof(struct fuse_write_in);
    int error = request->error;

    if (!error && ((const struct fuse_write_out *)request->out)->size != size)
        error = -EIO;
    pager_cleaned(fuse_pages(request->node), &request->run, error);
    fuse_attr_wrote(request->node, 0);
}

/* The next run of dirty pages becomes a message: bytes of it, 0 when none is left, or an error. */
static int64_t write_back_part(struct node *node, struct memobj *pages, uint64_t handle, uint64_t from, uint64_t end, struct page_run *run)
{
    size_t head = sizeof(struct fuse_write_in), room = fuse_conn_of(node)->max_write;
    struct fuse_request *request;
    int64_t size = fuse_begin(node, FUSE_WRITE, head + room, NULL, 0, sizeof(struct fuse_write_out), &request);

    if (size)
        return size;
    size = pager_clean(pages, from, end, (uint8_t *)request->in + head, room / PAGE_SIZE, run);
    if (size <= 0) {
        fuse_request_put(request);
        return size;
    }
    request->in_size = (uint32_t)(head + (size_t)size);
    request->header.length = (uint32_t)sizeof(request->header) + request->in_size;
    *(struct fuse_write_in *)request->in = (struct fuse_write_in){
        .handle = handle, .offset = run->first * PAGE_SIZE, .size = (uint32_t)size, .write_flags = FUSE_WRITE_FROM_CACHE};
    request->run = *run;
    request->done = write_done;
    fuse_send(request);
    return size;
}

void fuse_pages_write_back(struct node *node, uint64_t first, uint64_t end)
{
    struct memobj *pages = fuse_pages(node);
    struct page_run run = {.first = first};
    uint64_t handle;
    int64_t size = pages && !handle_for(node, true, &handle) ? 1 : 0;

    for (; size > 0; first = run.first + run.count)
        size = first < end ? write_back_part(node, pages, handle, first, end, &run) : 0;
}

static void clean(struct memobj *memobj, void *context, uint64_t first, uint64_t count)
{
    (void)memobj;
    fuse_pages_write_back(((struct fuse_node *)context)->node, first, first + count < first ? UINT64_MAX : first + count);
}

static const struct pager_ops pager_ops = {.page_in = page_in, .clean = clean};

/* --- life -------------------------------------------------------------------------------------------- */

/* The node's memobj, made when there is none: a user's reference, or NULL where it cannot be. */
static struct memobj *pages_get(struct node *node)
{
    struct fuse_node *fuse = fuse_node_of(node);
    struct memobj *pages = fuse_pages(node), *fresh;
    void *none = NULL;

    if (pages)
        return pager_use(pages);
    spin_lock(&fuse->conn->table_lock);
    uint64_t size = fuse->attr.size;
    spin_unlock(&fuse->conn->table_lock);
    fresh = memobj_create_paged(&pager_ops, fuse, size);
    if (!fresh)
        return NULL;
    if (atomic_ptr_cas(&fuse->pages, &none, fresh))
        return fresh;
    pager_gone(fresh);
    object_unref(fresh);
    return pager_use(fuse_pages(node));
}

struct memobj *fuse_pages_open(struct node *node, uint32_t open_flags)
{
    struct memobj *pages = pages_get(node);

    if (pages && !(open_flags & FUSE_OPENED_KEEP_CACHE))
        pager_invalidate(pages, 0, UINT64_MAX, false);
    return pages;
}

void fuse_pages_gone(struct fuse_node *fuse)
{
    struct memobj *pages = atomic_ptr_load_acquire(&fuse->pages);

    if (pages)
        pager_gone(pages);
}

void fuse_pages_changed(struct node *node, uint64_t size, bool contents)
{
    struct memobj *pages = fuse_pages(node);

    if (!pages)
        return;
    if (contents)
        pager_invalidate(pages, 0, UINT64_MAX, false);
    if (size <= MEMOBJ_SIZE_MAX && size != pages->size)
        pager_resize(pages, size);
}

void fuse_pages_invalidate(struct node *node, uint64_t offset, uint64_t size)
{
    struct memobj *pages = fuse_pages(node);
    uint64_t first = offset / PAGE_SIZE;

    if (pages)
        pager_invalidate(pages, first, size > UINT64_MAX - offset - PAGE_SIZE ? UINT64_MAX - first : pages_of(offset + size) - first, false);
}

/* --- reading ----------------------------------------------------------------------------------------- */

int64_t fuse_pages_read(struct file *file, struct io *io, uint64_t offset)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    struct linux_stat_data stat;
    int64_t result = 0;

    /* The size counts where the end is reached; with FUSE_AUTO_INVAL_DATA the times always do. */
    if (offset + io_left(io) > handle->pages->size || (handle->conn->flags & FUSE_INIT_AUTO_INVAL_DATA))
        result = fuse_get_attr(file->node, handle, false, &stat);
    if (result || offset >= handle->pages->size)
        return result;
    return io_put_memobj(io, handle->pages, offset);
}
