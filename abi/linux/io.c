/*
 * Input/output requests: one transfer between a file and the memory of whoever asked, user memory described
 * by vectors or a kernel buffer.
 *
 * A request is consumed from the front: io_put and io_get move bytes and advance, `left` counts down. A short
 * move means that user memory faulted; what was moved stays moved. The vectors are copied in and checked once,
 * so a program that changes them meanwhile changes nothing.
 */
#include "abi/linux/file.h"
#include "kernel/alloc.h"
#include "kernel/string.h"
#include "kernel/user.h"

void io_init_user(struct io *io, uaddr_t buffer, size_t size)
{
    if (size > IO_SIZE_MAX)
        size = IO_SIZE_MAX;
    io->vectors = io->inline_vectors;
    io->count = 1;
    io->index = 0;
    io->vector_offset = 0;
    io->kernel = NULL;
    io->left = size;
    io->flags = 0;
    io->fd = -1;
    io->inline_vectors[0] = (struct linux_iovec){.base = buffer, .length = size};
}

void io_init_kernel(struct io *io, void *buffer, size_t size)
{
    io->vectors = NULL;
    io->count = io->index = 0;
    io->vector_offset = 0;
    io->kernel = buffer;
    io->left = size;
    io->flags = 0;
    io->fd = -1;
}

/* Every length must be a valid ssize_t; the total is cut at IO_SIZE_MAX. */
static int vectors_check(struct io *io)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < io->count; i++) {
        uint64_t length = io->vectors[i].length;
        if (length > INT64_MAX)
            return -EINVAL;
        total = min_u64(total + min_u64(length, IO_SIZE_MAX), IO_SIZE_MAX);
    }
    io->left = total;
    return 0;
}

int io_init_vectors(struct io *io, uaddr_t vectors, uint64_t count)
{
    int error;

    if (count > IO_VECTORS_MAX)
        return -EINVAL;
    io_init_kernel(io, NULL, 0);
    io->vectors = io->inline_vectors;
    io->count = count;
    if (count > ARRAY_SIZE(io->inline_vectors)) {
        io->vectors = kalloc(count * sizeof(struct linux_iovec));
        if (!io->vectors)
            return -ENOMEM;
    }
    error = count ? user_read(io->vectors, vectors, count * sizeof(struct linux_iovec)) : 0;
    if (!error)
        error = vectors_check(io);
    if (error)
        io_done(io);
    return error;
}

void io_done(struct io *io)
{
    if (io->vectors && io->vectors != io->inline_vectors)
        kfree(io->vectors);
    io->vectors = NULL;
    io->left = 0;
}

/* The user memory at the front: its address, and at most `size` bytes of it. */
static size_t io_front(struct io *io, size_t size, uaddr_t *address)
{
    struct linux_iovec *vector = &io->vectors[io->index];

    while (io->vector_offset >= vector->length) {
        vector = &io->vectors[++io->index];
        io->vector_offset = 0;
    }
    *address = vector->base + io->vector_offset;
    return min_u64(size, vector->length - io->vector_offset);
}

static void io_advance(struct io *io, size_t size)
{
    io->vector_offset += size;
    io->left -= size;
}

size_t io_put(struct io *io, const void *from, size_t size)
{
    size_t moved = 0;

    size = min_u64(size, io->left);
    if (!io->vectors) {
        memcpy(io->kernel, from, size);
        io->kernel += size;
        io->left -= size;
        return size;
    }
    while (moved < size) {
        uaddr_t address;
        size_t part = io_front(io, size - moved, &address);
        size_t done = user_write_some(address, (const uint8_t *)from + moved, part);
        io_advance(io, done);
        moved += done;
        if (done < part)
            break;
    }
    return moved;
}

size_t io_get(struct io *io, void *to, size_t size)
{
    size_t moved = 0;

    size = min_u64(size, io->left);
    if (!io->vectors) {
        memcpy(to, io->kernel, size);
        io->kernel += size;
        io->left -= size;
        return size;
    }
    while (moved < size) {
        uaddr_t address;
        size_t part = io_front(io, size - moved, &address);
        size_t done = user_read_some((uint8_t *)to + moved, address, part);
        io_advance(io, done);
        moved += done;
        if (done < part)
            break;
    }
    return moved;
}

size_t io_put_zeros(struct io *io, size_t size)
{
    static const uint8_t zeros[PAGE_SIZE];
    size_t moved = 0;

    size = min_u64(size, io->left);
    while (moved < size) {
        size_t part = min_u64(size - moved, sizeof(zeros));
        size_t done = io_put(io, zeros, part);
        moved += done;
        if (done < part)
            break;
    }
    return moved;
}

void io_skip(struct io *io, size_t size)
{
    size = min_u64(size, io->left);
    if (!io->vectors) {
        io->kernel += size;
        io->left -= size;
        return;
    }
    while (size) {
        uaddr_t address;
        size_t part = io_front(io, size, &address);
        io_advance(io, part);
        size -= part;
    }
}
