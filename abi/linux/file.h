/*
 * Open files, descriptors, and input/output requests.
 *
 *   struct file     an open file description: position, flags, operations
 *   struct fdtable  a process's descriptors
 *   struct io       one transfer between a file and user (or kernel) memory
 */
#ifndef ABI_LINUX_FILE_H
#define ABI_LINUX_FILE_H

#include "abi/linux/gate.h"
#include "kernel/errno.h"
#include "kernel/event.h"
#include "kernel/lock.h"
#include "kernel/memobj.h"
#include "kernel/object.h"
#include "kernel/waitq.h"

struct file;
struct io;
struct node;
struct path;
struct linux_stat_data;
struct process;

enum { LINUX_O_RDONLY = 0, LINUX_O_WRONLY = 1, LINUX_O_RDWR = 2, LINUX_O_ACCMODE = 3, LINUX_O_CREAT = 0100, LINUX_O_EXCL = 0200,
       LINUX_O_NOCTTY = 0400, LINUX_O_TRUNC = 01000, LINUX_O_APPEND = 02000, LINUX_O_NONBLOCK = 04000, LINUX_O_DSYNC = 010000,
       LINUX_O_ASYNC = 020000, LINUX_O_DIRECT = 040000, LINUX_O_LARGEFILE = 0100000, LINUX_O_DIRECTORY = 0200000,
       LINUX_O_NOFOLLOW = 0400000, LINUX_O_NOATIME = 01000000, LINUX_O_CLOEXEC = 02000000, LINUX_O_SYNC = 04010000,
       LINUX_O_PATH = 010000000, LINUX_O_TMPFILE = 020200000 };

/* What a file was opened as. All calls run on a user thread and may suspend; interruptible waits return -ERESTARTSYS. */
struct file_ops {
    const char *kind; /* "pipe", "socket", "epoll": for traces and /proc/PID/fd */
    /* *position is where to start and is advanced; NULL for a stream. Bytes moved or a negative error. */
    int64_t (*read)(struct file *file, struct io *io, int64_t *position);
    int64_t (*write)(struct file *file, struct io *io, int64_t *position);
    /* -ESPIPE when NULL. */
    int64_t (*seek)(struct file *file, int64_t offset, int whence);
    bool messages; /* one read or write is one message: splice keeps them whole */
    bool async;           /* O_ASYNC means something: abi/linux/file_async.c */
    bool seek_to_nowhere; /* a stream, whose lseek all the same succeeds and answers 0 */
    /* event_bits that are true now. NULL: always READ and WRITE. */
    uint32_t (*poll)(struct file *file);
    /* Where poll's changes are announced; NULL function or result: never changes. */
    struct knote_list *(*knotes)(struct file *file);
    int64_t (*ioctl)(struct file *file, uint32_t command, uaddr_t argument); /* -ENOTTY when NULL */
    /* Directory entries from *position (a cookie) on, through emit until it returns false. */
    int (*read_directory)(struct file *file, int64_t *position,
                          bool (*emit)(void *context, const char *name, size_t length, uint64_t inode, uint8_t type, int64_t next),
                          void *context);
    /* Files without a node (pipes, sockets…) answer fstat here; else the node does. */
    int (*stat)(struct file *file, struct linux_stat_data *stat);
    int (*truncate)(struct file *file, uint64_t size);
    int (*sync)(struct file *file, bool data_only);
    int (*allocate)(struct file *file, int mode, uint64_t offset, uint64_t size);
    /* A referenced memobj for mmap: *memobj; -ENODEV when NULL. */
    int (*map)(struct file *file, uint32_t prot, bool shared, struct memobj **memobj);
    /* A descriptor to it was closed by `process` (POSIX locks, flush): what close(2) answers, though it is closed all the same. */
    int (*flush)(struct file *file, struct process *process);
    int (*set_flags)(struct file *file, uint32_t flags); /* fcntl F_SETFL may veto */
    /*
     * Programs may be using the file by its number, without the kernel (a pipe's ring): from hold(file, true) to hold(file, false)
     * nobody does or begins to. Around everything that changes what a number or the file's flags mean. Nests. NULL: never so.
     */
    void (*hold)(struct file *file, bool on);
    void (*show_fdinfo)(struct file *file, char *buffer, size_t size);
    /* The last reference is gone. */
    void (*release)(struct file *file);
};

struct file {
    struct object object;
    const struct file_ops *ops;
    void *data;              /* the implementation's */
    struct node *node;       /* referenced; NULL for anonymous files */
    struct path *path;       /* how it was opened, for /proc/PID/fd and *at calls; NULL for anonymous files */
    struct atomic32 flags;   /* LINUX_O_*: access mode constant; status flags by fcntl */
    struct mutex mutex;      /* rank FILE; serialises users of the position */
    int64_t position;        /* under mutex */
    struct atomic_ptr async; /* struct file_async: who gets signals; NULL: nobody ever asked for them */
    void *locks;             /* OFD and flock owners: abi/linux/fs/locks.c */
    struct gate position_gate;      /* file_position_lock */
    uint32_t internal;       /* enum file_internal; set before the file is shared */
    struct atomic_ptr epoll_items; /* the epoll entries that watch it (abi/linux/epoll.c); NULL: none */
};
enum file_internal { FILE_COUNTS_WRITER = 1, FILE_DENIES_WRITERS = 2 /* undone on node->writers when the file goes */ };

/* A new file with one reference; takes no reference on node and path (it takes them over). NULL: no memory. */
struct file *file_create(const struct file_ops *ops, uint32_t flags, void *data);
static inline struct file *file_ref(struct file *file) { return object_ref(file); }
static inline void file_unref(struct file *file) { object_unref(file); }
static inline bool file_readable(struct file *file) { return (atomic32_load_relaxed(&file->flags) & LINUX_O_ACCMODE) != LINUX_O_WRONLY; }
static inline bool file_writable(struct file *file) { return (atomic32_load_relaxed(&file->flags) & LINUX_O_ACCMODE) != LINUX_O_RDONLY; }
static inline bool file_nonblocking(struct file *file) { return atomic32_load_relaxed(&file->flags) & LINUX_O_NONBLOCK; }

/* Kernel-side transfers, at an explicit offset. */
int64_t file_read_kernel(struct file *file, void *buffer, size_t size, int64_t offset);
int64_t file_write_kernel(struct file *file, const void *buffer, size_t size, int64_t offset);
/*
 * The position of a file that can seek, for one reader or writer at a time (f_pos_lock). No lock rank: it is held
 * across ops, which may take any lock. Killable: -EINTR. A file nobody else can reach needs no lock: *locked tells.
 */
int file_position_lock(struct file *file, bool *locked);
void file_position_unlock(struct file *file, bool locked);
uint32_t file_poll(struct file *file);
/* For file.c, first of all when the last reference is gone and epoll_items is not NULL: its entries go. abi/linux/epoll.c */
void epoll_file_gone(struct file *file);
/* The same for file->async. abi/linux/file_async.c */
void file_async_gone(struct file *file);
struct knote_list *file_knotes(struct file *file);

/* --- input/output requests --------------------------------------------------------------------------- */

struct linux_iovec {
    uint64_t base, length;
};
#define IO_VECTORS_MAX 1024
#define IO_SIZE_MAX 0x7ffff000u /* as Linux's MAX_RW_COUNT */

struct io {
    struct linux_iovec *vectors; /* user memory; NULL: kernel memory */
    uint32_t count, index;
    uint64_t vector_offset; /* consumed of vectors[index] */
    uint8_t *kernel;        /* kernel memory */
    size_t left;            /* bytes to go */
    uint32_t flags;         /* enum io_flags */
    int32_t fd;             /* a plain read(2) or write(2) of this descriptor, which may be begun again; else -1 */
    struct linux_iovec inline_vectors[8];
};
enum io_flags { IO_NONBLOCK = 1, IO_APPEND = 2, IO_HIGH_PRIORITY = 4, IO_SYNC = 8, IO_DATA_SYNC = 16 };

/* One user buffer. */
void io_init_user(struct io *io, uaddr_t buffer, size_t size);
void io_init_kernel(struct io *io, void *buffer, size_t size);
/* A user array of iovecs, copied in and checked: 0, -EFAULT, -EINVAL, -ENOMEM. io_done after. */
int io_init_vectors(struct io *io, uaddr_t vectors, uint64_t count);
void io_done(struct io *io);
static inline size_t io_left(const struct io *io) { return io->left; }
/* Kernel to requester: bytes moved (≤ size, ≤ io_left); short only on a fault: 0 moved of more than 0 is a fault. */
size_t io_put(struct io *io, const void *from, size_t size);
/* Requester to kernel. */
size_t io_get(struct io *io, void *to, size_t size);
size_t io_put_zeros(struct io *io, size_t size);
void io_skip(struct io *io, size_t size);
/*
 * Between the requester and a memory object, from its byte `offset` on: bytes moved (short at its end, or where the requester's memory
 * ends), or -EFAULT, -EIO, -ERESTARTNOINTR (interrupted in waiting for a page); writing also -ENOSPC, -EFBIG, -EPERM. May suspend. io_memobj.c
 */
int64_t io_put_memobj(struct io *io, struct memobj *memobj, uint64_t offset);
int64_t io_get_memobj(struct io *io, struct memobj *memobj, uint64_t offset);

/* --- descriptors ------------------------------------------------------------------------------------- */

/* A reference to the file behind a descriptor of the current process. -EBADF. With O_PATH descriptors refused, or allowed (_any). */
int fd_get(int fd, struct file **file);
int fd_get_any(int fd, struct file **file);
/* The lowest free descriptor >= minimum; takes over the reference on success. cloexec: LINUX_O_CLOEXEC in flags. fd or -EMFILE, -ENOMEM. */
int fd_install(struct file *file, uint32_t flags);
int fd_install_from(struct file *file, int minimum, uint32_t flags);
/* Two at once or none (pipe, socketpair): takes over both references on success. */
int fd_install_pair(struct file *first, struct file *second, uint32_t flags, int fds[2]);
int fd_close(int fd);
/* A descriptor that is taken but answers EBADF, until committed (takes over the reference) or cancelled. */
int fd_reserve(int minimum, uint32_t flags);
void fd_commit(int fd, struct file *file);
void fd_cancel(int fd);

/* dup2: at exactly fd, closing what was there; takes over the reference on success. -EBADF, -EBUSY, -ENOMEM. */
int fd_replace(int fd, struct file *file, uint32_t flags);
int fd_cloexec(int fd); /* 0, 1 or -EBADF */
int fd_set_cloexec(int fd, bool cloexec);
void fd_close_range(uint32_t first, uint32_t last);
void fd_cloexec_range(uint32_t first, uint32_t last);

struct fdtable *fdtable_create(void);
struct fdtable *fdtable_copy(struct fdtable *from); /* fork */
struct fdtable *fdtable_ref(struct fdtable *table);
/* The last one closes everything, on behalf of `process`. */
void fdtable_unref(struct fdtable *table, struct process *process);
/* unshare(CLONE_FILES): a private copy if shared with other processes. -ENOMEM; -EINVAL with several threads. */
int fdtable_unshare(struct process *process);
/* exec: a private copy if shared, close-on-exec descriptors closed. */
int fdtable_exec(struct process *process);
/* For /proc: the file at fd of another process's table (a reference or NULL); the next used fd >= fd, or -1. */
struct file *fdtable_peek(struct fdtable *table, int fd);
int fdtable_next(struct fdtable *table, int fd);
int fdtable_install_at(struct fdtable *table, int fd, struct file *file); /* takes over the reference */

#endif
