/*
 * libhyla-fs: file servers. A program implements functions of struct hyla_file_ops (<hyla/file_ops.h>), one for each message of the
 * file protocol that it can answer, and serves them on a port; the kernel shows what they answer as a file system.
 *
 *     struct hyla_fs_options options = {.ops = &ops, .label = "hello"};
 *     if (!(error = hyla_fs_create(&options, &fs)) && !(error = hyla_fs_mount(fs, "/mnt", 0)))
 *         error = hyla_fs_run(fs);        until it is unmounted
 *
 * Files are numbers of the server's choice; the root directory is number HYLA_FILE_ROOT. At the least a server has get_attributes, and
 * lookup and read_directory for its directories; with read alone its files are
 * read by messages, or, with options.paged, kept by the kernel; with open it gives out memory objects itself.
 * For C and C++. Functions answer 0 or more, or a negated errno value.
 */
#ifndef HYLA_FS_H
#define HYLA_FS_H

#include <hyla/file_ops.h>
#include <hyla/hyla.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hyla_fs_options {
    const struct hyla_file_ops *ops; /* copied */
    void *data;                      /* for the functions: hyla_fs_data */
    const char *label;               /* what /proc/mounts shows as the type: at most 31 printable characters, no blanks */
    unsigned threads;                /* that serve at once; 0: 4; at most 64 */
    int paged;                       /* regular files are memory objects whose pages the function `read` supplies, so the kernel keeps
                                        them and maps them. For servers that only read: they have lookup, no create, no link */
    hyla_handle_t port;              /* the receive right of a port made by somebody else; 0: a new one */
};

/* A server, with its port and its threads at work. -ENOMEM, -EINVAL, -EMFILE, and those of hyla_start. */
int hyla_fs_create(const struct hyla_fs_options *options, struct hyla_fs **fs);
void *hyla_fs_data(const struct hyla_fs *fs);
/* A send right (SEND, COPY, TRANSFER), to be given to a program that mounts it. */
int64_t hyla_fs_right(struct hyla_fs *fs);
/*
 * mount(2), for servers that run inside `hyla run` with CAP_SYS_ADMIN; flags as there: MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, and
 * MS_REMOUNT to take the place of a server that has died.
 */
int hyla_fs_mount(struct hyla_fs *fs, const char *directory, unsigned long flags);
/*
 * Serves until nobody can reach the port any more (after unmounting it, or without ever a right: never), or hyla_fs_stop; then all threads
 * have ended, and the server is freed.
 */
int hyla_fs_run(struct hyla_fs *fs);
/* From any thread or function: mounts of it answer EIO from now on, hyla_fs_run returns. */
void hyla_fs_stop(struct hyla_fs *fs);

/*
 * For a server with `paged` and an open of its own: such an object of `size` bytes, answered as the contents. Asked again for the file it
 * gives the same one. -EOPNOTSUPP: not `paged`.
 */
int64_t hyla_fs_open_paged(struct hyla_fs *fs, uint64_t node, uint64_t size, struct hyla_msg_handle *contents);

/*
 * Recalls what kernels may have cached of a file (HYLA_FILE_INVALIDATE_*), or of one name. Returns when nothing old is used any more,
 * so it may not be called with a lock held that the functions need. A mount that has gone is passed over.
 */
int hyla_fs_invalidate(struct hyla_fs *fs, uint64_t node, uint32_t what);
int hyla_fs_invalidate_name(struct hyla_fs *fs, uint64_t directory, const char *name);

/*
 * For read_directory: appends an entry to what is answered, `used` bytes of which are taken. The new `used`; -ENOSPC: it does not fit,
 * the listing ends before it. next: the cookie from which the entry after this one is read, never 0. mode: its type is shown.
 */
int64_t hyla_fs_entry(void *entries, uint32_t room, int64_t used, const char *name, uint64_t inode, uint32_t mode, int64_t next);

#ifdef __cplusplus
}
#endif
#endif
