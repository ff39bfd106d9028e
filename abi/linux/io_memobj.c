/*
 * Transfers between a program and a memory object, through a buffer: no lock is held while user memory is touched, for
 * touching it may need this very object.
 *
 * A paged object may have to be waited for. Who reads or writes a file does not learn of signals that came meanwhile: where nothing
 * was moved the call begins again when the handler has run.
 */
#include "abi/linux/file.h"
#include "kernel/alloc.h"

#define BOUNCE_SIZE ((size_t)64 << 10)

static int64_t moved_or(int64_t done, int64_t error)
{
    return done ? done : error == -EINTR ? -ERESTARTNOINTR : error < 0 ? error : 0;
}

int64_t io_put_memobj(struct io *io, struct memobj *memobj, uint64_t offset)
{
    size_t room = min_u64(io_left(io), BOUNCE_SIZE);
    if (!room || offset >= memobj->size)
        return 0;
    char *buffer = kalloc(room);
    int64_t done = 0, moved = buffer ? 1 : -ENOMEM;
    while (moved > 0 && io_left(io)) {
        moved = memobj_read(memobj, buffer, offset + (uint64_t)done, min_u64(io_left(io), room));
        if (moved <= 0)
            break;
        size_t put = io_put(io, buffer, (size_t)moved);
        done += (int64_t)put;
        if (put < (size_t)moved)
            moved = -EFAULT;
    }
    kfree(buffer);
    return moved_or(done, moved);
}

int64_t io_get_memobj(struct io *io, struct memobj *memobj, uint64_t offset)
{
    size_t room = min_u64(io_left(io), BOUNCE_SIZE);
    if (!room)
        return 0;
    char *buffer = kalloc(room);
    int64_t done = 0, moved = buffer ? 1 : -ENOMEM;
    while (moved > 0 && io_left(io)) {
        size_t got = io_get(io, buffer, min_u64(io_left(io), room));
        moved = got ? memobj_write(memobj, buffer, offset + (uint64_t)done, got) : -EFAULT;
        done += moved > 0 ? moved : 0;
        if (moved > 0 && (size_t)moved < got)
            break;
    }
    kfree(buffer);
    return moved_or(done, moved == -ENOMEM ? -ENOSPC : moved);
}
