/*
 * Reading directories. The program's entries come by the bufferful; what the caller has no room for stays for the next call,
 * as long as that goes on at the cookie where this one stopped. (Under the file's position gate.)
 *
 * An entry is checked like everything else: a name of 1 to 255 bytes without '/' and NUL, within its record.
 */
#include "abi/linux/fs/fuse.h"

#include "kernel/alloc.h"
#include "kernel/string.h"

#define ENTRIES_SIZE ((size_t)32 << 10)

/* --- records ----------------------------------------------------------------------------------------- */

/* One record: with FUSE_READDIRPLUS what it is stands before it. */
struct record {
    struct fuse_entry_out entry;
    struct fuse_dirent dirent;
    const char *name;
    uint32_t size; /* in all */
};

/* The record at the head: false when there is none, or only a part of one. */
static bool record_at(const uint8_t *bytes, uint32_t left, bool plus, struct record *record)
{
    uint32_t before = plus ? (uint32_t)sizeof(record->entry) : 0, head = before + (uint32_t)sizeof(record->dirent);

    if (left < head)
        return false;
    memcpy(&record->entry, bytes, before);
    memcpy(&record->dirent, bytes + before, sizeof(record->dirent));
    if (record->dirent.name_length > left - head)
        return false;
    record->name = (const char *)bytes + head;
    record->size = (uint32_t)min_u64(round_up((uint64_t)head + record->dirent.name_length, 8), left);
    return true;
}

static bool name_possible(const char *name, uint32_t length)
{
    return length > 0 && length <= NAME_LENGTH_MAX && !memchr(name, '/', length) && !memchr(name, 0, length);
}

static bool is_dots(const char *name, uint32_t length) { return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')); }

/* Each entry counts a lookup: it becomes a node that waits to be looked up, or is forgotten. */
static void entry_enter(struct node *dir, const struct record *record, uint64_t attr_version, uint32_t generation)
{
    nanoseconds_t until = fuse_until(record->entry.entry_valid, record->entry.entry_valid_ns);
    struct node *node;

    if (!record->entry.nodeid)
        return;
    if (!name_possible(record->name, record->dirent.name_length) || is_dots(record->name, record->dirent.name_length))
        fuse_forget_entry(fuse_conn_of(dir), record->entry.nodeid);
    else if (!fuse_node_for(dir->fs, &record->entry, attr_version, &node))
        fuse_prime(dir, record->name, record->dirent.name_length, node, until, generation);
}

static void entries_enter(struct node *dir, const struct fuse_request *request, uint32_t generation)
{
    struct record record;

    for (uint32_t at = 0; record_at((const uint8_t *)request->out + at, request->out_length - at, true, &record); at += record.size)
        entry_enter(dir, &record, request->attr_version, generation);
}

static void entries_orphan(struct fuse_request *request)
{
    struct record record;

    for (uint32_t at = 0; record_at((const uint8_t *)request->out + at, request->out_length - at, true, &record); at += record.size)
        fuse_forget_entry(request->conn, record.entry.nodeid);
}

/* --- asking ------------------------------------------------------------------------------------------ */

/* With what they are, when the program can: always, or only where names are looked up too. */
static bool wants_plus(struct fuse_conn *conn, struct node *dir, int64_t position)
{
    struct fuse_node *fuse = fuse_node_of(dir);
    bool advised = atomic32_swap(&fuse->advised, 0) || position == 0;

    return (conn->flags & FUSE_INIT_READDIRPLUS) && !fuse_missing(conn, FUSE_READDIRPLUS) &&
           (advised || !(conn->flags & FUSE_INIT_READDIRPLUS_AUTO));
}

static int entries_ask(struct file *file, struct fuse_handle *handle, int64_t position, bool plus)
{
    uint32_t generation = atomic32_load_acquire(&file->node->answer_generation);
    struct fuse_request *request;
    int error = fuse_begin(file->node, plus ? FUSE_READDIRPLUS : FUSE_READDIR, sizeof(struct fuse_read_in), NULL, 0, ENTRIES_SIZE, &request);

    if (error)
        return error;
    *(struct fuse_read_in *)request->in = (struct fuse_read_in){.handle = handle->handle, .offset = (uint64_t)position,
                                                                .size = ENTRIES_SIZE, .flags = atomic32_load_relaxed(&file->flags)};
    request->out_variable = true;
    request->orphan = plus ? entries_orphan : NULL;
    error = fuse_call(request);
    if (!error) {
        memcpy(handle->entries, request->out, request->out_length);
        handle->entries_size = request->out_length;
        handle->entries_next = position;
        handle->entries_plus = plus;
        if (plus)
            entries_enter(file->node, request, generation);
    }
    fuse_request_put(request);
    return error;
}

static int entries_fetch(struct file *file, struct fuse_handle *handle, int64_t position)
{
    bool plus = wants_plus(handle->conn, file->node, position);
    int error;

    handle->entries_at = handle->entries_size = 0;
    if (!handle->entries)
        handle->entries = kalloc(ENTRIES_SIZE);
    if (!handle->entries)
        return -ENOMEM;
    error = entries_ask(file, handle, position, plus);
    return plus && error == -ENOSYS ? entries_ask(file, handle, position, false) : error;
}

/* --- giving ------------------------------------------------------------------------------------------ */

/* What is there, to the caller: 1 for more to fetch, 0 when the caller has had enough, or -EIO. */
static int entries_emit(struct fuse_handle *handle, int64_t *position, directory_emit *emit, void *context)
{
    struct record record;

    while (record_at(handle->entries + handle->entries_at, handle->entries_size - handle->entries_at, handle->entries_plus, &record)) {
        const struct fuse_dirent *entry = &record.dirent;
        if (!name_possible(record.name, entry->name_length))
            return -EIO;
        if (!emit(context, record.name, entry->name_length, entry->inode, (uint8_t)(entry->type & 15), (int64_t)entry->next))
            return 0;
        handle->entries_at += record.size;
        *position = handle->entries_next = (int64_t)entry->next;
    }
    return 1;
}

int fuse_read_directory(struct file *file, int64_t *position, directory_emit *emit, void *context)
{
    struct fuse_handle *handle = fuse_handle_of(file);
    int result = 1;

    if (*position == 0 || *position != handle->entries_next)
        handle->entries_at = handle->entries_size = 0;
    while (result > 0) {
        uint32_t before = handle->entries_at;
        result = entries_emit(handle, position, emit, context);
        if (result <= 0)
            break;
        if (handle->entries_size && handle->entries_at == before)
            return 0; /* a record that is no record: the end */
        result = entries_fetch(file, handle, *position);
        if (result || !handle->entries_size)
            return result;
        result = 1;
    }
    return result;
}
