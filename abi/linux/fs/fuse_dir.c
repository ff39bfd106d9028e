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

static int entries_fetch(struct file *file, struct fuse_handle *handle, int64_t position)
{
    struct fuse_request *request;
    int error;

    handle->entries_at = handle->entries_size = 0;
    if (!handle->entries)
        handle->entries = kalloc(ENTRIES_SIZE);
    if (!handle->entries)
        return -ENOMEM;
    error = fuse_begin(file->node, FUSE_READDIR, sizeof(struct fuse_read_in), NULL, 0, ENTRIES_SIZE, &request);
    if (error)
        return error;
    *(struct fuse_read_in *)request->in = (struct fuse_read_in){.handle = handle->handle, .offset = (uint64_t)position,
                                                                .size = ENTRIES_SIZE, .flags = atomic32_load_relaxed(&file->flags)};
    request->out_variable = true;
    error = fuse_call(request);
    if (!error) {
        memcpy(handle->entries, request->out, request->out_length);
        handle->entries_size = request->out_length;
        handle->entries_next = position;
    }
    fuse_request_put(request);
    return error;
}

/* The next whole record: false when there is none, or only a part of one. */
static bool entry_at(const struct fuse_handle *handle, struct fuse_dirent *entry, const char **name, uint32_t *size)
{
    uint32_t left = handle->entries_size - handle->entries_at;

    if (left < sizeof(*entry))
        return false;
    memcpy(entry, handle->entries + handle->entries_at, sizeof(*entry));
    if (entry->name_length > left - sizeof(*entry))
        return false;
    *name = (const char *)handle->entries + handle->entries_at + sizeof(*entry);
    *size = (uint32_t)min_u64(round_up(sizeof(*entry) + entry->name_length, 8), left);
    return true;
}

static bool name_possible(const char *name, uint32_t length)
{
    return length > 0 && length <= NAME_LENGTH_MAX && !memchr(name, '/', length) && !memchr(name, 0, length);
}

/* What is there, to the caller: 1 for more to fetch, 0 when the caller has had enough, or -EIO. */
static int entries_emit(struct fuse_handle *handle, int64_t *position, directory_emit *emit, void *context)
{
    struct fuse_dirent entry;
    const char *name;
    uint32_t size;

    while (entry_at(handle, &entry, &name, &size)) {
        if (!name_possible(name, entry.name_length))
            return -EIO;
        if (!emit(context, name, entry.name_length, entry.inode, (uint8_t)(entry.type & 15), (int64_t)entry.next))
            return 0;
        handle->entries_at += size;
        *position = handle->entries_next = (int64_t)entry.next;
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
