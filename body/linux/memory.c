/*
 * Memobjs on Linux. An anonymous one begins as pages of the server's own heap; when it is first mapped
 * into a client it moves into a memfd of its own, sealed against resizing, so that nothing a client does
 * can take pages from under the server. The memfd's size is the most a memobj can have: what is
 * there is the kernel's affair, not the host file's.
 *
 * Pages are found through a table of chunks: heap pages, or windows onto the memfd. memobj->mutex guards it.
 */
#include "body/linux/client.h"
#include "body/linux/host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK_PAGES 256u
#define CHUNK_SIZE ((uint64_t)CHUNK_PAGES * PAGE_SIZE)

struct chunk {
    void *window;              /* with a memfd */
    void *pages[CHUNK_PAGES];  /* without */
    uint64_t present[CHUNK_PAGES / 64];
};

struct body_memobj {
    int fd;      /* -1: heap pages */
    int read_fd; /* the same file, only to be read: a paged memobj's, made when first needed; -1 */
    uint64_t chunk_count;
    struct chunk **chunks;
};

int body_memobj_create(struct memobj *memobj)
{
    struct body_memobj *body = kzalloc(sizeof *body);
    if (!body)
        return -ENOMEM;
    body->fd = body->read_fd = -1;
    memobj->body = body;
    return 0;
}

static void chunk_free(struct chunk *chunk)
{
    if (!chunk)
        return;
    if (chunk->window)
        munmap(chunk->window, CHUNK_SIZE);
    for (uint32_t i = 0; i < CHUNK_PAGES; i++)
        kfree(chunk->pages[i]);
    kfree(chunk);
}

void body_memobj_destroy(struct memobj *memobj)
{
    if (memobj->kind == MEMOBJ_HOST_FILE) {
        host_file_unref(memobj->body);
        return;
    }
    struct body_memobj *body = memobj->body;
    for (uint64_t i = 0; i < body->chunk_count; i++)
        chunk_free(body->chunks[i]);
    kfree(body->chunks);
    if (body->fd >= 0)
        close(body->fd);
    if (body->read_fd >= 0)
        close(body->read_fd);
    kfree(body);
}

static struct chunk *chunk_at(const struct body_memobj *body, uint64_t index)
{
    uint64_t number = index / CHUNK_PAGES;
    return number < body->chunk_count ? body->chunks[number] : NULL;
}

static struct chunk *chunk_make(struct body_memobj *body, uint64_t index)
{
    uint64_t number = index / CHUNK_PAGES;
    if (number >= MEMOBJ_SIZE_MAX / CHUNK_SIZE)
        return NULL;
    if (number >= body->chunk_count) {
        uint64_t count = number + 1 + number / 2;
        struct chunk **chunks = krealloc(body->chunks, count * sizeof *chunks);
        if (!chunks)
            return NULL;
        memset(chunks + body->chunk_count, 0, (count - body->chunk_count) * sizeof *chunks);
        body->chunks = chunks;
        body->chunk_count = count;
    }
    if (!body->chunks[number])
        body->chunks[number] = kzalloc(sizeof(struct chunk));
    return body->chunks[number];
}

static void *window(const struct body_memobj *body, struct chunk *chunk, uint64_t index)
{
    if (!chunk->window) {
        void *at = mmap(NULL, CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, body->fd, (off_t)(index / CHUNK_PAGES * CHUNK_SIZE));
        if (at == MAP_FAILED)
            return NULL;
        chunk->window = at;
    }
    return (char *)chunk->window + index % CHUNK_PAGES * PAGE_SIZE;
}

void *body_memobj_page(struct memobj *memobj, uint64_t index)
{
    struct body_memobj *body = memobj->body;
    struct chunk *chunk = chunk_make(body, index);
    uint32_t slot = (uint32_t)(index % CHUNK_PAGES);
    if (!chunk)
        return NULL;
    void *page;
    if (body->fd >= 0)
        page = window(body, chunk, index);
    else if (!(page = chunk->pages[slot]))
        page = chunk->pages[slot] = kzalloc(PAGE_SIZE);
    if (page)
        chunk->present[slot / 64] |= 1ull << (slot % 64);
    return page;
}

/* A client may have made pages of a mapped memobj without the server's knowledge: then the host is asked. */
bool body_memobj_present(struct memobj *memobj, uint64_t index)
{
    struct body_memobj *body = memobj->body;
    const struct chunk *chunk = chunk_at(body, index);
    if (chunk && chunk->present[index % CHUNK_PAGES / 64] & 1ull << (index % 64))
        return true;
    if (body->fd < 0)
        return false;
    off_t data = lseek(body->fd, (off_t)(index * PAGE_SIZE), SEEK_DATA);
    return data == (off_t)(index * PAGE_SIZE);
}

uint64_t body_memobj_made(struct memobj *memobj, uint64_t first, uint64_t count)
{
    struct body_memobj *body = memobj->body;
    uint64_t limit = body->chunk_count * CHUNK_PAGES, made = 0;
    for (uint64_t index = first; index < limit && index - first < count; index++) {
        const struct chunk *chunk = chunk_at(body, index);
        if (chunk)
            made += chunk->present[index % CHUNK_PAGES / 64] >> (index % 64) & 1;
        else
            index |= CHUNK_PAGES - 1;
    }
    return made;
}

static void punch_chunk(struct body_memobj *body, uint64_t index)
{
    struct chunk *chunk = chunk_at(body, index);
    uint32_t slot = (uint32_t)(index % CHUNK_PAGES);
    if (!chunk)
        return;
    kfree(chunk->pages[slot]);
    chunk->pages[slot] = NULL;
    chunk->present[slot / 64] &= ~(1ull << (slot % 64));
}

void body_memobj_punch(struct memobj *memobj, uint64_t first, uint64_t count)
{
    struct body_memobj *body = memobj->body;
    uint64_t limit = body->chunk_count * CHUNK_PAGES;
    if (body->fd >= 0) {
        uint64_t all = MEMOBJ_SIZE_MAX / PAGE_SIZE;
        if (first < all)
            fallocate(body->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(first * PAGE_SIZE),
                      (off_t)(min_u64(count, all - first) * PAGE_SIZE));
    }
    for (uint64_t index = first; index < limit && index - first < count; index++) {
        if (!body->chunks[index / CHUNK_PAGES]) {
            index |= CHUNK_PAGES - 1;
            continue;
        }
        punch_chunk(body, index);
    }
}

int64_t body_memobj_file_read(struct memobj *memobj, void *buffer, uint64_t offset, size_t size)
{
    return host_file_read(memobj->body, buffer, offset, size);
}

int64_t body_memobj_file_write(struct memobj *memobj, const void *buffer, uint64_t offset, size_t size)
{
    return host_file_write(memobj->body, buffer, offset, size);
}

/* --- the memfd --------------------------------------------------------------------------------------- */

static int move_chunk(int fd, struct chunk *chunk, uint64_t number)
{
    for (uint32_t i = 0; i < CHUNK_PAGES; i++) {
        off_t at = (off_t)(number * CHUNK_SIZE + (uint64_t)i * PAGE_SIZE);
        if (chunk->pages[i] && pwrite(fd, chunk->pages[i], PAGE_SIZE, at) != PAGE_SIZE)
            return -ENOMEM;
    }
    return 0;
}

static int move_to_memfd(struct body_memobj *body)
{
    int fd = memfd_create("hyla memobj", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int error = ftruncate(fd, (off_t)MEMOBJ_SIZE_MAX) < 0 ? -errno : 0;
    if (!error && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        error = -errno;
    for (uint64_t i = 0; i < body->chunk_count && !error; i++)
        if (body->chunks[i])
            error = move_chunk(fd, body->chunks[i], i);
    if (error) {
        close(fd);
        return error;
    }
    for (uint64_t i = 0; i < body->chunk_count; i++) {
        for (uint32_t page = 0; body->chunks[i] && page < CHUNK_PAGES; page++) {
            kfree(body->chunks[i]->pages[page]);
            body->chunks[i]->pages[page] = NULL;
        }
    }
    body->fd = fd;
    return 0;
}

/* A descriptor that can only read what the receiver may only read. */
static int reopen_read_only(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int copy = open(path, O_RDONLY | O_CLOEXEC);
    return copy < 0 ? -errno : copy;
}

int body_memobj_mappable(struct memobj *memobj)
{
    struct body_memobj *body = memobj->body;
    return body->fd < 0 ? move_to_memfd(body) : 0;
}

int memobj_host_fd(struct memobj *memobj, bool shared_write, bool *close_it)
{
    *close_it = false;
    if (memobj->kind == MEMOBJ_HOST_FILE) {
        const struct host_file *file = memobj->body;
        return !shared_write ? file->fd : file->write_fd >= 0 ? file->write_fd : -EACCES;
    }
    struct body_memobj *body = memobj->body;
    mutex_lock(&memobj->mutex);
    int error = body->fd < 0 ? move_to_memfd(body) : 0;
    if (!error && memobj->paged && !shared_write && body->read_fd < 0)
        body->read_fd = reopen_read_only(body->fd);
    mutex_unlock(&memobj->mutex);
    if (error)
        return error;
    if (memobj->paged)
        return shared_write ? body->fd : body->read_fd;
    *close_it = !shared_write;
    return shared_write ? body->fd : reopen_read_only(body->fd);
}
