/*
 * Contents of a file server's regular files.
 *
 * Opened for the first time, a file is asked for its memory object. With one, reading, writing in place and mapping are accesses to
 * it and no message is sent; writing past its end asks the server to make it longer first (allocate), unless the handle lets it
 * grow by itself. Without one each piece of a read or write is a message.
 *
 * A server keeps its rights to the object: it may cut it at any time (reads come out short, mapped pages fault), and stops
 * nobody by that.
 */
#include "abi/linux/fs/serverfs.h"

#include "abi/linux/fs/memfs.h"
#include "abi/linux/fs/devfs.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/string.h"

#define MESSAGE_SIZE ((size_t)HYLA_FILE_DATA_MAX & ~(size_t)(PAGE_SIZE - 1))

/* --- opening ----------------------------------------------------------------------------------------- */

static uint32_t opened_of(uint32_t rights, bool write)
{
    return OPENED_READ | (write ? OPENED_WRITE : 0) | (rights & RIGHT_WRITE ? OPENED_MAY_WRITE : 0) | (rights & RIGHT_MAP ? OPENED_MAY_MAP : 0) |
           ((rights & (RIGHT_WRITE | RIGHT_RESIZE)) == (RIGHT_WRITE | RIGHT_RESIZE) ? OPENED_MAY_GROW : 0);
}

/* node->mutex held. The first answer decides whether there is an object and which; a later one may only add rights. */
static int contents_take_locked(struct server_node *self, struct handle_value *contents, bool write)
{
    bool first = !(atomic32_load_relaxed(&self->opened) & OPENED_READ);

    if (contents->object && (contents->object->type != &memobj_type || !(contents->rights & RIGHT_READ)))
        return -EIO;
    if (!first && contents->object != self->contents.object)
        return -EIO;
    if (contents->object && self->contents.object) {
        struct handle_value old = self->contents;
        self->contents = *contents;
        *contents = old;
    } else if (contents->object) {
        self->contents = *contents;
        *contents = (struct handle_value){0};
        atomic_ptr_store_release(&self->memobj, CONTAINER_OF(self->contents.object, struct memobj, object));
    }
    uint32_t bits = atomic32_load_relaxed(&self->opened) | opened_of(self->contents.object ? self->contents.rights : 0, write);
    atomic32_store_release(&self->opened, bits);
    return 0;
}

static int contents_ask_locked(struct node *node, bool write)
{
    struct handle_value contents = {0};
    struct file_link *link;
    uint64_t id;
    int error = server_link(node, &link, &id);

    if (error)
        return error;
    error = (int)file_call_open(link, id, write ? HYLA_FILE_OPEN_WRITE : 0, &contents);
    object_unref(link);
    if (!error)
        error = contents_take_locked(server_node_of(node), &contents, write);
    if (contents.object)
        handle_value_close(&contents);
    return error;
}

static bool contents_open(const struct server_node *self, bool write)
{
    return atomic32_load_acquire(&self->opened) & (write ? OPENED_WRITE : OPENED_READ);
}

/* Once per node, and once more for the first writer. 0 also says that the server lives. */
static int contents_get(struct node *node, bool write)
{
    struct server_node *self = server_node_of(node);

    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return server_node_is_directory(node) ? -EISDIR : -EINVAL;
    if (contents_open(self, write))
        return file_link_dead(self->link) ? -EIO : 0;
    int error = mutex_lock_killable(&node->mutex);
    if (error)
        return error;
    if (!contents_open(self, write))
        error = contents_ask_locked(node, write);
    mutex_unlock(&node->mutex);
    return error;
}

int server_open(struct node *node, uint32_t flags, struct file **file)
{
    struct linux_stat_data stat;
    int error;

    *file = NULL;
    switch (node->mode & LINUX_S_IFMT) {
    case LINUX_S_IFREG:
        return contents_get(node, (flags & LINUX_O_ACCMODE) != LINUX_O_RDONLY);
    case LINUX_S_IFCHR:
    case LINUX_S_IFBLK:
        error = server_get_attr(node, &stat);
        return error ? error : device_open(stat.mode, stat.rdev, flags, file);
    case LINUX_S_IFSOCK:
        return -ENXIO;
    default:
        return 0;
    }
}

/* --- through the memory object ----------------------------------------------------------------------- */

/* The server makes the file long enough. */
static int ask_for_room(struct node *node, int mode, uint64_t offset, uint64_t size)
{
    struct hyla_file_attributes attributes;
    struct server_question question;

    server_forget_attributes(node);
    int error = server_ask(node, &question);
    if (error)
        return error;
    error = (int)file_call_allocate(question.link, question.id, (uint32_t)mode, offset, size, &attributes);
    if (!error)
        error = server_learn(node, &question, &attributes);
    server_done(&question);
    return error;
}

static int64_t write_memobj(struct node *node, struct io *io, uint64_t offset)
{
    struct server_node *self = server_node_of(node);
    struct memobj *memobj = server_memobj(self);
    uint32_t opened = atomic32_load_acquire(&self->opened);

    if (!(opened & OPENED_MAY_WRITE))
        return -EIO;
    if (offset >= MEMOBJ_SIZE_MAX || io_left(io) > MEMOBJ_SIZE_MAX - offset)
        return -EFBIG;
    if (!(opened & OPENED_MAY_GROW) && offset + io_left(io) > memobj->size) {
        int error = ask_for_room(node, 0, offset, io_left(io));
        if (error)
            return error;
        if (memobj->size < offset + io_left(io))
            return -EIO;
    }
    int64_t done = io_get_memobj(io, memobj, offset);
    if (done > 0)
        server_touch(node, true);
    return done;
}

/* --- through messages -------------------------------------------------------------------------------- */

static int64_t read_messages(struct node *node, struct io *io, uint64_t offset)
{
    struct server_node *self = server_node_of(node);
    size_t chunk = min_u64(io_left(io), MESSAGE_SIZE);
    char *buffer = kalloc(chunk ? chunk : 1);
    int64_t done = 0, got = buffer ? 1 : -ENOMEM;

    while (got > 0 && io_left(io)) {
        uint32_t wanted = (uint32_t)min_u64(io_left(io), chunk);
        got = file_call_read(self->link, self->id, offset + (uint64_t)done, wanted, buffer, wanted);
        if (got <= 0)
            break;
        size_t put = io_put(io, buffer, (size_t)got);
        done += (int64_t)put;
        if (put < (size_t)got)
            got = -EFAULT;
        else if ((uint32_t)got < wanted)
            break;
    }
    kfree(buffer);
    return done ? done : got < 0 ? got : 0;
}

/* One piece: how much of it was written. */
static int64_t write_message(struct node *node, const char *bytes, uint32_t size, uint64_t offset)
{
    struct hyla_file_attributes attributes;
    struct server_question question;
    uint32_t written = 0;

    server_forget_attributes(node);
    int error = server_ask(node, &question);
    if (error)
        return error;
    error = (int)file_call_write(question.link, question.id, offset, bytes, size, &written, &attributes);
    if (!error && written > size)
        error = -EIO;
    if (!error)
        error = server_learn(node, &question, &attributes);
    server_done(&question);
    return error ? error : (int64_t)written;
}

static int64_t write_messages(struct node *node, struct io *io, uint64_t offset)
{
    size_t chunk = min_u64(io_left(io), MESSAGE_SIZE - PAGE_SIZE);
    char *buffer = kalloc(chunk ? chunk : 1);
    int64_t done = 0, written = buffer ? 1 : -ENOMEM;

    while (written > 0 && io_left(io)) {
        size_t got = io_get(io, buffer, min_u64(io_left(io), chunk));
        written = got ? write_message(node, buffer, (uint32_t)got, offset + (uint64_t)done) : -EFAULT;
        if (written > 0)
            done += written;
        if (written >= 0 && (size_t)written < got)
            break;
    }
    kfree(buffer);
    return done ? done : written;
}

/* --- what the layer above calls ---------------------------------------------------------------------- */

int64_t server_read(struct node *node, struct io *io, uint64_t offset)
{
    int error = contents_get(node, false);
    struct memobj *memobj = server_memobj(server_node_of(node));

    if (error)
        return error;
    if (!memobj)
        return read_messages(node, io, offset);
    int64_t done = io_put_memobj(io, memobj, offset);
    if (done > 0)
        server_touch(node, false);
    return done;
}

int64_t server_write(struct node *node, struct io *io, uint64_t offset)
{
    int error = contents_get(node, true);

    if (error || !io_left(io))
        return error;
    return server_memobj(server_node_of(node)) ? write_memobj(node, io, offset) : write_messages(node, io, offset);
}

int server_allocate(struct node *node, int mode, uint64_t offset, uint64_t size)
{
    enum { KNOWN = HYLA_FILE_ALLOCATE_KEEP_SIZE | HYLA_FILE_ALLOCATE_PUNCH_HOLE | HYLA_FILE_ALLOCATE_ZERO_RANGE };

    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -ENODEV;
    if (size > MEMOBJ_SIZE_MAX || offset > MEMOBJ_SIZE_MAX - size)
        return -EFBIG;
    if ((mode & ~KNOWN) || ((mode & HYLA_FILE_ALLOCATE_PUNCH_HOLE) && !(mode & HYLA_FILE_ALLOCATE_KEEP_SIZE)))
        return -EOPNOTSUPP;
    int error = server_tell_times(node);
    return error ? error : ask_for_room(node, mode, offset, size);
}

int server_map(struct node *node, uint32_t prot, bool shared, struct memobj **memobj)
{
    struct server_node *self = server_node_of(node);
    bool writes = shared && (prot & PROT_WRITE_BIT);

    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -ENODEV;
    int error = contents_get(node, writes);
    if (error)
        return error;
    uint32_t opened = atomic32_load_acquire(&self->opened);
    if (!server_memobj(self) || !(opened & OPENED_MAY_MAP) || (writes && !(opened & OPENED_MAY_WRITE)))
        return -ENODEV;
    *memobj = object_ref(server_memobj(self));
    return 0;
}

int server_sync(struct node *node, bool data_only)
{
    struct file_link *link;
    uint64_t id;
    int error = data_only ? 0 : server_tell_times(node);

    if (!error)
        error = server_link(node, &link, &id);
    if (error)
        return error;
    error = (int)file_call_sync(link, id, data_only ? HYLA_FILE_SYNC_DATA : 0);
    object_unref(link);
    return error == -EOPNOTSUPP ? 0 : error;
}
