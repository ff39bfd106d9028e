/*
 * The FUSE protocol as it goes over /dev/fuse: numbers and layouts of version 7.36, as fuse(4) and the published headers have
 * them. A request is struct fuse_in_header, the operation's own structure and what follows it (names, data); a reply is struct
 * fuse_out_header and the operation's. All integers are the machine's. Names end with a NUL.
 */
#ifndef ABI_LINUX_FS_FUSE_WIRE_H
#define ABI_LINUX_FS_FUSE_WIRE_H

#include "kernel/types.h"

#define FUSE_MAJOR 7u
#define FUSE_MINOR 36u
#define FUSE_MINOR_LEAST 12u /* older ones lay out create and mknod differently */
#define FUSE_ROOT 1u         /* the root's node id */
#define FUSE_READ_BUFFER_LEAST 8192u

enum fuse_operation {
    FUSE_LOOKUP = 1, FUSE_FORGET = 2, FUSE_GETATTR = 3, FUSE_SETATTR = 4, FUSE_READLINK = 5, FUSE_SYMLINK = 6, FUSE_MKNOD = 8, FUSE_MKDIR = 9,
    FUSE_UNLINK = 10, FUSE_RMDIR = 11, FUSE_RENAME = 12, FUSE_LINK = 13, FUSE_OPEN = 14, FUSE_READ = 15, FUSE_WRITE = 16, FUSE_STATFS = 17,
    FUSE_RELEASE = 18, FUSE_FSYNC = 20, FUSE_SETXATTR = 21, FUSE_GETXATTR = 22, FUSE_LISTXATTR = 23, FUSE_REMOVEXATTR = 24, FUSE_FLUSH = 25,
    FUSE_INIT = 26, FUSE_OPENDIR = 27, FUSE_READDIR = 28, FUSE_RELEASEDIR = 29, FUSE_FSYNCDIR = 30, FUSE_GETLK = 31, FUSE_SETLK = 32,
    FUSE_SETLKW = 33, FUSE_ACCESS = 34, FUSE_CREATE = 35, FUSE_INTERRUPT = 36, FUSE_DESTROY = 38, FUSE_IOCTL = 39, FUSE_POLL = 40,
    FUSE_NOTIFY_REPLY = 41, FUSE_BATCH_FORGET = 42, FUSE_FALLOCATE = 43, FUSE_READDIRPLUS = 44, FUSE_RENAME2 = 45, FUSE_LSEEK = 46,
    FUSE_COPY_FILE_RANGE = 47, FUSE_SYNCFS = 50, FUSE_OPERATIONS = 64
};

enum fuse_notification {
    FUSE_NOTIFY_POLL = 1, FUSE_NOTIFY_INVAL_INODE = 2, FUSE_NOTIFY_INVAL_ENTRY = 3, FUSE_NOTIFY_STORE = 4, FUSE_NOTIFY_RETRIEVE = 5,
    FUSE_NOTIFY_DELETE = 6
};

/* fuse_init_in.flags and fuse_init_out.flags: what is offered, and taken. */
enum fuse_init_flags {
    FUSE_INIT_ASYNC_READ = 1 << 0, FUSE_INIT_POSIX_LOCKS = 1 << 1, FUSE_INIT_ATOMIC_O_TRUNC = 1 << 3, FUSE_INIT_BIG_WRITES = 1 << 5,
    FUSE_INIT_DONT_MASK = 1 << 6, FUSE_INIT_SPLICE = 7 << 7 /* write, move, read */, FUSE_INIT_FLOCK_LOCKS = 1 << 10, FUSE_INIT_IOCTL_DIR = 1 << 11, FUSE_INIT_AUTO_INVAL_DATA = 1 << 12,
    FUSE_INIT_READDIRPLUS = 1 << 13, FUSE_INIT_READDIRPLUS_AUTO = 1 << 14, FUSE_INIT_WRITEBACK = 1 << 16, FUSE_INIT_NO_OPEN = 1 << 17,
    FUSE_INIT_PARALLEL_DIROPS = 1 << 18, FUSE_INIT_HANDLE_KILLPRIV = 1 << 19, FUSE_INIT_ABORT_ERROR = 1 << 21, FUSE_INIT_MAX_PAGES = 1 << 22,
    FUSE_INIT_NO_OPENDIR = 1 << 24, FUSE_INIT_EXPLICIT_INVAL = 1 << 25, FUSE_INIT_EXT = 1 << 30
};

enum fuse_open_result { FUSE_OPENED_DIRECT = 1, FUSE_OPENED_KEEP_CACHE = 2, FUSE_OPENED_NONSEEKABLE = 4, FUSE_OPENED_CACHE_DIR = 8,
                        FUSE_OPENED_STREAM = 16, FUSE_OPENED_NO_FLUSH = 32 };
enum fuse_setattr_valid { FUSE_SET_MODE = 1, FUSE_SET_UID = 2, FUSE_SET_GID = 4, FUSE_SET_SIZE = 8, FUSE_SET_ATIME = 16, FUSE_SET_MTIME = 32,
                          FUSE_SET_HANDLE = 64 };
enum { FUSE_GETATTR_HANDLE = 1, FUSE_FSYNC_DATA_ONLY = 1, FUSE_LOCK_FLOCK = 1, FUSE_POLL_NOTIFY = 1, FUSE_WRITE_FROM_CACHE = 1,
       FUSE_IOCTL_IS_DIRECTORY = 16 };
#define FUSE_DEVICE_CLONE 0x8004e500u /* _IOR(229, 0, uint32_t) */

struct fuse_in_header {
    uint32_t length, operation;
    uint64_t unique, nodeid;
    uint32_t uid, gid, pid, padding;
};
struct fuse_out_header {
    uint32_t length;
    int32_t error; /* 0 or negative; in a notification (unique 0) its code */
    uint64_t unique;
};

struct fuse_attr {
    uint64_t inode, size, blocks, atime, mtime, ctime;
    uint32_t atime_ns, mtime_ns, ctime_ns, mode, links, uid, gid, rdev, block_size, flags;
};
struct fuse_entry_out {
    uint64_t nodeid, generation;
    uint64_t entry_valid, attr_valid; /* seconds */
    uint32_t entry_valid_ns, attr_valid_ns;
    struct fuse_attr attr;
};
struct fuse_attr_out {
    uint64_t attr_valid;
    uint32_t attr_valid_ns, padding;
    struct fuse_attr attr;
};
struct fuse_init_in {
    uint32_t major, minor, max_readahead, flags, flags2, unused[11];
};
struct fuse_init_out {
    uint32_t major, minor, max_readahead, flags;
    uint16_t max_background, congestion_threshold;
    uint32_t max_write, time_granularity;
    uint16_t max_pages, map_alignment;
    uint32_t flags2, unused[7];
};
#define FUSE_INIT_OUT_LEAST 24u /* up to max_write: minor versions below 23 end there */

struct fuse_forget_in { uint64_t lookups; };
struct fuse_forget_one { uint64_t nodeid, lookups; };
struct fuse_batch_forget_in { uint32_t count, padding; };
struct fuse_getattr_in { uint32_t flags, padding; uint64_t handle; };
struct fuse_mknod_in { uint32_t mode, rdev, umask, padding; };
struct fuse_mkdir_in { uint32_t mode, umask; };
struct fuse_rename_in { uint64_t new_directory; };
struct fuse_rename2_in { uint64_t new_directory; uint32_t flags, padding; };
struct fuse_link_in { uint64_t old_nodeid; };
struct fuse_setattr_in {
    uint32_t valid, padding;
    uint64_t handle, size, lock_owner, atime, mtime, ctime;
    uint32_t atime_ns, mtime_ns, ctime_ns, mode, unused4, uid, gid, unused5;
};
struct fuse_open_in { uint32_t flags, open_flags; };
struct fuse_create_in { uint32_t flags, mode, umask, open_flags; };
struct fuse_open_out { uint64_t handle; uint32_t flags, padding; };
struct fuse_create_out { struct fuse_entry_out entry; struct fuse_open_out open; };
struct fuse_release_in { uint64_t handle; uint32_t flags, release_flags; uint64_t lock_owner; };
struct fuse_flush_in { uint64_t handle; uint32_t unused, padding; uint64_t lock_owner; };
struct fuse_read_in { uint64_t handle, offset; uint32_t size, read_flags; uint64_t lock_owner; uint32_t flags, padding; };
struct fuse_write_in { uint64_t handle, offset; uint32_t size, write_flags; uint64_t lock_owner; uint32_t flags, padding; };
struct fuse_write_out { uint32_t size, padding; };
struct fuse_statfs_out {
    uint64_t blocks, blocks_free, blocks_available, files, files_free;
    uint32_t block_size, name_length, fragment_size, padding, spare[6];
};
struct fuse_fsync_in { uint64_t handle; uint32_t flags, padding; };
struct fuse_setxattr_in { uint32_t size, flags; }; /* what is laid out without FUSE_SETXATTR_EXT */
struct fuse_getxattr_in { uint32_t size, padding; };
struct fuse_getxattr_out { uint32_t size, padding; };
struct fuse_lock { uint64_t start, end; uint32_t type, pid; };
struct fuse_lock_in { uint64_t handle, owner; struct fuse_lock lock; uint32_t flags, padding; };
struct fuse_access_in { uint32_t mask, padding; };
struct fuse_interrupt_in { uint64_t unique; };
struct fuse_ioctl_in { uint64_t handle; uint32_t flags, command; uint64_t argument; uint32_t in_size, out_size; };
struct fuse_ioctl_out { int32_t result; uint32_t flags, in_vectors, out_vectors; };
struct fuse_poll_in { uint64_t handle, poll_handle; uint32_t flags, events; };
struct fuse_poll_out { uint32_t events, padding; };
struct fuse_fallocate_in { uint64_t handle, offset, length; uint32_t mode, padding; };
struct fuse_lseek_in { uint64_t handle, offset; uint32_t whence, padding; };
struct fuse_lseek_out { uint64_t offset; };
struct fuse_copy_in { uint64_t handle_in, offset_in, nodeid_out, handle_out, offset_out, length, flags; };

/* In the replies of READDIR and READDIRPLUS; each record is padded to a multiple of 8 bytes. */
struct fuse_dirent { uint64_t inode, next; uint32_t name_length, type; /* the name follows */ };
struct fuse_direntplus { struct fuse_entry_out entry; struct fuse_dirent dirent; };

struct fuse_notify_poll { uint64_t poll_handle; };
struct fuse_notify_inode { uint64_t nodeid; int64_t offset, length; };
struct fuse_notify_entry { uint64_t parent; uint32_t name_length, flags; };
struct fuse_notify_delete { uint64_t parent, child; uint32_t name_length, padding; };
struct fuse_notify_store { uint64_t nodeid, offset; uint32_t size, padding; };
struct fuse_notify_retrieve { uint64_t unique, nodeid, offset; uint32_t size, padding; };
struct fuse_retrieve_in { uint64_t dummy1, offset; uint32_t size, dummy2; uint64_t dummy3, dummy4; };

#define FUSE_LAYOUT(type, size) static_assert(sizeof(struct type) == (size), "the protocol's layout of " #type)
FUSE_LAYOUT(fuse_in_header, 40);
FUSE_LAYOUT(fuse_out_header, 16);
FUSE_LAYOUT(fuse_attr, 88);
FUSE_LAYOUT(fuse_entry_out, 128);
FUSE_LAYOUT(fuse_attr_out, 104);
FUSE_LAYOUT(fuse_init_in, 64);
FUSE_LAYOUT(fuse_init_out, 64);
FUSE_LAYOUT(fuse_setattr_in, 88);
FUSE_LAYOUT(fuse_create_out, 144);
FUSE_LAYOUT(fuse_release_in, 24);
FUSE_LAYOUT(fuse_read_in, 40);
FUSE_LAYOUT(fuse_write_in, 40);
FUSE_LAYOUT(fuse_statfs_out, 80);
FUSE_LAYOUT(fuse_lock_in, 48);
FUSE_LAYOUT(fuse_ioctl_in, 32);
FUSE_LAYOUT(fuse_fallocate_in, 32);
FUSE_LAYOUT(fuse_copy_in, 56);
FUSE_LAYOUT(fuse_dirent, 24);
FUSE_LAYOUT(fuse_direntplus, 152);

#endif
