/*
 * A regular file of the host, as a memobj of kind MEMOBJ_HOST_FILE holds it (memobj_create_host_file's body_file).
 * Reference-counted: the file system's descriptor cache and memobjs share it.
 *
 * For body_memobj_*: read with preadv2(fd, RWF_NOWAIT) and host_call otherwise, or with host_file_read below;
 * body_memobj_destroy calls host_file_unref. To map, send `fd`; only a shared region that may be written
 * gets `write_fd`.
 */
#ifndef BODY_LINUX_HOST_FILE_H
#define BODY_LINUX_HOST_FILE_H

#include "kernel/atomic.h"

struct host_file {
    struct atomic32 references;
    int fd;       /* O_RDONLY, or O_PATH in hostfs's own cache */
    int write_fd; /* O_RDWR, or -1 */
};

/*
 * Most file systems cannot promise not to block in a buffered write. A small one only goes to the page cache, and is made in
 * place: the way to the pool and back would cost many times its price.
 */
#define HOST_WRITE_DIRECT_MAX ((size_t)16 << 10)

/* Takes over both descriptors. NULL (descriptors closed): no memory. */
struct host_file *host_file_create(int fd, int write_fd);
struct host_file *host_file_ref(struct host_file *file);
/* Closes the descriptors with the last reference. */
void host_file_unref(struct host_file *file);
/* Kernel memory; may suspend. Bytes (0 at the end) or -errno; write: -EROFS without write_fd. */
int64_t host_file_read(struct host_file *file, void *buffer, uint64_t offset, size_t size);
int64_t host_file_write(struct host_file *file, const void *buffer, uint64_t offset, size_t size);

#endif
