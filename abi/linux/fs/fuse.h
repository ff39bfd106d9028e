/*
 * FUSE: file systems that a program serves through /dev/fuse. The design is in fuse.md; the protocol in fuse_wire.h.
 *
 *   struct fuse_conn      one mounted file system and the programs that serve it: queues, limits, life
 *   struct fuse_request   one message and its reply
 *   struct fuse_device    an open /dev/fuse
 *   struct fuse_node      what a node of such a file system keeps
 *   struct fuse_handle    an open file or directory of it
 *
 *   fuse_dev.c fuse_request.c fuse_conn.c    messages
 *   fuse_node.c fuse_attr.c fuse_names.c fuse_xattr.c fuse_dir.c fuse_file.c fuse_io.c    what they say
 *   fuse_notify.c    what the program says unasked
 *   fuse_mount.c     mount(2)'s options, the file system as an object
 */
#ifndef ABI_LINUX_FS_FUSE_H
#define ABI_LINUX_FS_FUSE_H

#include "abi/linux/fs/fuse_mount.h"
#include "abi/linux/fs/fuse_wire.h"
#include "abi/linux/fs/memfs.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/gate.h"
#include "kernel/pager.h"

#define FUSE_BUCKETS 64u
#define FUSE_PAGES_MAX 32u /* of one request */
#define FUSE_BACKGROUND_DEFAULT 12u
#define FUSE_BACKGROUND_MAX 1024u

/* What mount(2) was told. */
struct fuse_options {
    int32_t fd;
    uint32_t root_mode, uid, gid, max_read, block_size;
    bool default_permissions, allow_other, block_device;
};

struct fuse_conn {
    struct object object; /* references: the file system, devices, nodes, requests */
    struct fuse_options options;
    uint64_t key; /* hides addresses in lock owners */

    struct spinlock lock; /* rank FUSE; guards this group */
    bool connected;       /* requests may be sent: from the mount until the abort */
    bool initialised;     /* INIT was answered: the next group is constant */
    bool refused;         /* INIT was answered in a way that cannot be served */
    bool aborted;         /* by force, not by the last path's going */
    struct list devices;  /* struct fuse_device.link */
    struct list pending;  /* struct fuse_request.link: not yet read */
    struct list background; /* the same, held back by max_background */
    struct list interrupts; /* struct fuse_request.interrupt_link */
    struct list forgets;    /* struct fuse_node.forget_link: dead nodes */
    struct list sent[FUSE_BUCKETS]; /* struct fuse_request.link: read, not answered */
    uint64_t next_unique;
    struct list polls;      /* struct fuse_handle.poll_link */
    uint64_t next_poll;
    uint32_t background_active;
    uint32_t live;          /* requests sent, not ended, not abandoned */
    bool closing;           /* unmounted: to be aborted when `live` is 0 */
    bool forget_turn;
    struct waitq readers;      /* in read(2) of a device */
    struct waitq init_waiters; /* until INIT is answered */

    /* constant once initialised */
    uint32_t minor, flags, max_write, max_read, max_background;

    struct atomic64 missing; /* by enum fuse_operation: answered ENOSYS */

    struct spinlock table_lock; /* rank NODE_TABLE; guards the table and each node's identity and attributes */
    struct list *table;         /* struct fuse_node.table_link */
    uint64_t attr_version;      /* counts what may have changed attributes behind an answer that is under way */

    struct gate rename_gate;
};
#define FUSE_TABLE_BUCKETS 1024u

enum fuse_state { FUSE_NEW, FUSE_WAITING /* pending or background */, FUSE_SENT, FUSE_ANSWERING /* its reply is being copied */, FUSE_DONE };

struct fuse_request {
    struct atomic32 references;
    struct fuse_conn *conn; /* referenced */
    /* under conn->lock */
    struct list link, interrupt_link;
    enum fuse_state state;
    struct fuse_device *device; /* that read it; compared, never followed */
    bool background;            /* counts in background_active once it is pending */
    bool abandoned;             /* who sent it was killed meanwhile */
    bool interrupted;           /* FUSE_INTERRUPT is to follow it */
    bool copied;                /* the program has it whole */

    struct atomic32 finished; /* the rest belongs to the sender again */
    struct waitq waiters;
    struct fuse_in_header header;
    void *in;  /* what follows the header */
    void *out; /* for what follows the reply's */
    uint32_t in_size, out_size;
    bool out_variable;    /* a shorter reply is fine */
    uint32_t out_length;  /* what came */
    int error;            /* 0 or negative */
    uint64_t attr_version; /* when it was sent */
    struct node *node;     /* referenced until the end, with its file system, or NULL */
    struct fs *fs;
    struct file *file;     /* the same, or NULL */
    struct page_run run;   /* of messages about pages */
    uint64_t answers;      /* the number it goes out with when it is an answer itself; 0: its own */
    void (*done)(struct fuse_request *request);   /* of one that nobody waits for: the end, good or bad */
    void (*orphan)(struct fuse_request *request); /* answered well, but abandoned: undoes what the program did for it */
};

struct fuse_device {
    struct list link;       /* under conn->lock */
    struct atomic_ptr conn; /* referenced; NULL until a mount or FUSE_DEV_IOC_CLONE */
    struct knote_list knotes;
};

struct fuse_node {
    struct fuse_conn *conn; /* referenced */
    struct node *node;      /* backwards */
    uint64_t nodeid, generation; /* constant */
    /* under conn->table_lock */
    struct list table_link, forget_link;
    uint64_t lookups; /* to be forgotten at the end */
    bool bad;         /* its answers contradicted each other: everything but forgetting it is EIO */
    struct fuse_attr attr;
    nanoseconds_t attr_until;
    uint64_t attr_version; /* of conn, when attr was last changed from here */
    struct list primed;    /* of a directory: fuse_primed.c */
    uint32_t primed_count;
    struct atomic32 advised; /* names of the directory were looked up since its entries were last read */
    struct list handles;   /* of a regular file: struct fuse_handle.node_link */

    struct atomic_ptr pages; /* of a regular file that was opened with caching: its memobj (fuse_pages.c), set once */

    struct gate gate; /* a directory's names; a file's appending writes */
};
static inline struct fuse_node *fuse_node_of(const struct node *node) { return node->data; }
static inline struct fuse_conn *fuse_conn_of(const struct node *node) { return fuse_node_of(node)->conn; }

struct fuse_handle {
    struct fuse_conn *conn; /* referenced */
    uint64_t handle;
    uint32_t open_flags; /* enum fuse_open_result */
    bool nothing;        /* the program knows of no handles: no release */
    bool directory;
    uint32_t flags;         /* it was opened with */
    struct list node_link;  /* under conn->table_lock */
    struct atomic_ptr snapshot; /* referenced: what private mappings of the file show; NULL until the first */
    struct memobj *pages;   /* a user's reference; NULL: not cached */
    struct fuse_request *release; /* ready to be sent */
    struct atomic64 stream_at;    /* of one that only goes forward: where the next transfer begins */
    uint64_t poll_handle;   /* under conn->lock, as poll_link; 0: never polled */
    struct list poll_link;
    struct atomic32 poll_asked;  /* a FUSE_POLL is under way */
    struct atomic32 poll_known;  /* it was answered, and nobody has looked at poll_events since */
    struct atomic32 poll_events;
    struct knote_list knotes;
    /* a directory's entries that were read ahead; under the file's position gate */
    uint8_t *entries;
    uint32_t entries_size, entries_at;
    bool entries_plus;    /* they came with what they are */
    int64_t entries_next; /* the cookie that goes on at entries_at */
};

/* --- fuse_conn.c ------------------------------------------------------------------------------------- */

struct fuse_conn *fuse_conn_create(const struct fuse_options *options); /* NULL: no memory */
/* Queues INIT. -ENOMEM. */
int fuse_conn_start(struct fuse_conn *conn);
/* Every request fails, now (ECONNABORTED) and from now on (ENOTCONN); devices read ENODEV, or ECONNABORTED when forced. Repeatable. */
void fuse_conn_abort(struct fuse_conn *conn, bool forced);
/* Unmounted: aborts it as soon as nothing is under way but what was abandoned. */
void fuse_conn_close(struct fuse_conn *conn);
/* Wakes a reader and announces it to those who poll. */
void fuse_conn_announce(struct fuse_conn *conn);
bool fuse_missing(struct fuse_conn *conn, uint32_t operation);
void fuse_mark_missing(struct fuse_conn *conn, uint32_t operation);

/* --- fuse_request.c ---------------------------------------------------------------------------------- */

/* One reference; in zeroed, out not. NULL: no memory. */
struct fuse_request *fuse_request_create(struct fuse_conn *conn, uint32_t operation, uint64_t nodeid, size_t in_size, size_t out_size);
/*
 * The same about a node, which it keeps: -EIO for a bad node, -ENOSYS for an operation the program is known not to have, -ENOMEM. When
 * `name` is given it follows the structure of in_size bytes, with its NUL.
 */
int fuse_begin(struct node *node, uint32_t operation, size_t in_size, const char *name, size_t length, size_t out_size,
               struct fuse_request **request);
/* fuse_call and fuse_request_put, for requests whose reply has nothing but an error. */
int fuse_call_put(struct fuse_request *request);
void fuse_request_ref(struct fuse_request *request);
/* NULL is fine. */
void fuse_request_put(struct fuse_request *request);
/*
 * Sends and waits. 0 or what the program answered; -ENOTCONN, -ECONNABORTED, -ECONNREFUSED (INIT failed), -EINTR (killed; what
 * the program does for it is undone when it answers). A signal makes FUSE_INTERRUPT follow the request.
 */
int fuse_call(struct fuse_request *request);
/* Sends without waiting: request->done is called at the end. The reference is taken over. */
void fuse_send(struct fuse_request *request);
/* The end of a request that has been taken off its list. */
void fuse_finish(struct fuse_request *request, int error);
/* Under conn->lock: takes it off its list and out of the counts, FUSE_DONE. */
void fuse_take_off_locked(struct fuse_request *request);
/* Background requests that may go now go to pending: true when some did. */
bool fuse_background_flow_locked(struct fuse_conn *conn);
struct fuse_request *fuse_sent_find_locked(struct fuse_conn *conn, uint64_t unique);

/* --- fuse_dev.c, fuse_notify.c ----------------------------------------------------------------------- */

/* Binds the open device to the connection. -EINVAL: not /dev/fuse; -EBUSY: has one already. */
int fuse_device_bind(struct file *file, struct fuse_conn *conn);
/* A notification of `size` bytes after the header. 0 or the error that write(2) gives. */
int fuse_notify(struct fuse_conn *conn, uint32_t code, struct io *io, size_t size);

/* --- fuse_node.c ------------------------------------------------------------------------------------- */

extern const struct node_ops fuse_node_ops;
/*
 * The node that an entry speaks of: one more lookup of it to be forgotten, its attributes noted. A reference in *node. -EIO for an
 * entry that cannot be; -ENOMEM (and the entry is forgotten).
 */
int fuse_node_for(struct fs *fs, const struct fuse_entry_out *entry, uint64_t attr_version, struct node **node);
struct node *fuse_root_create(struct fs *fs, struct fuse_conn *conn);
/* By id, a reference or NULL. */
struct node *fuse_node_find(struct fuse_conn *conn, uint64_t nodeid);
void fuse_forget_entry(struct fuse_conn *conn, uint64_t nodeid);
bool fuse_node_bad(struct node *node);
nanoseconds_t fuse_until(uint64_t seconds, uint32_t nanoseconds);
/* Checks and notes attributes. -EIO: they cannot be, and the node is bad from now on. */
int fuse_attr_take(struct node *node, const struct fuse_attr *attr, nanoseconds_t until, uint64_t version);
/* The remembered attributes are no longer good. */
void fuse_attr_expire(struct node *node);
/* This side wrote up to `end`: the size is at least that, and answers under way are older. */
void fuse_attr_wrote(struct node *node, uint64_t end);
bool fuse_attr_possible(const struct fuse_attr *attr);
uint64_t fuse_attr_version(struct fuse_conn *conn);

/* --- fuse_attr.c, fuse_names.c, fuse_xattr.c --------------------------------------------------------- */

/* handle NULL: of the node. fresh: whatever is remembered. */
int fuse_get_attr(struct node *node, const struct fuse_handle *handle, bool fresh, struct linux_stat_data *stat);
int fuse_set_attr(struct node *node, const struct fuse_handle *handle, const struct node_attr *attr);
int fuse_permission(struct node *node, uint32_t mask, const struct cred *cred);
int fuse_access(struct node *node, uint32_t mask);
int fuse_lookup(struct node *dir, const char *name, size_t length, struct node **child);
int fuse_create(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid,
                uint32_t gid, struct node **child);
int fuse_create_open(struct node *dir, const char *name, size_t length, uint32_t mode, uint32_t uid, uint32_t gid, uint32_t flags,
                     struct node **child, struct file **file);
int fuse_link(struct node *dir, const char *name, size_t length, struct node *target);
int fuse_unlink(struct node *dir, const char *name, size_t length);
int fuse_remove_directory(struct node *dir, const char *name, size_t length);
int fuse_rename(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length, uint32_t flags);
int64_t fuse_read_link(struct node *node, char *target, size_t size);
int64_t fuse_get_xattr(struct node *node, const char *name, void *value, size_t size);
int fuse_set_xattr(struct node *node, const char *name, const void *value, size_t size, int flags);
int64_t fuse_list_xattr(struct node *node, char *names, size_t size);
int fuse_remove_xattr(struct node *node, const char *name);
int fuse_stat_fs(struct fs *fs, struct linux_statfs_data *stat);

/* --- fuse_file.c, fuse_io.c, fuse_dir.c -------------------------------------------------------------- */

int fuse_open(struct node *node, uint32_t flags, struct file **file);
/* A file over a handle the program has given. On failure the handle is released. */
int fuse_file_made(struct node *node, uint32_t flags, const struct fuse_open_out *opened, struct file **file);
/* Tells the program that a handle that never became a file is not wanted; nobody waits. */
void fuse_release_handle(struct fuse_conn *conn, uint64_t nodeid, uint64_t handle, uint32_t flags, bool directory);
extern const struct file_ops fuse_file_ops, fuse_stream_ops, fuse_directory_ops;
static inline struct fuse_handle *fuse_handle_of(const struct file *file) { return file->data; }
int64_t fuse_file_read(struct file *file, struct io *io, int64_t *position);
int64_t fuse_file_write(struct file *file, struct io *io, int64_t *position);
int fuse_read_directory(struct file *file, int64_t *position, directory_emit *emit, void *context);
int64_t fuse_ioctl(struct file *file, uint32_t command, uaddr_t argument);
uint32_t fuse_poll(struct file *file);
/* --- fuse_primed.c ----------------------------------------------------------------------------------- */

/* Remembers a name for one lookup; takes over the reference on node. */
void fuse_prime(struct node *dir, const char *name, size_t length, struct node *node, nanoseconds_t until, uint32_t generation);
/* A reference in *node, and dir->answer_until, when the name is remembered and still good. */
bool fuse_primed_take(struct node *dir, const char *name, size_t length, struct node **node);
void fuse_primed_drop(struct fuse_node *fuse);

/* --- fuse_pages.c ------------------------------------------------------------------------------------ */

/* The node's memobj, borrowed while the node lives; NULL: none yet. */
struct memobj *fuse_pages(struct node *node);
/* A user's reference for a handle that was opened with these enum fuse_open_result; NULL: cannot be cached. */
struct memobj *fuse_pages_open(struct node *node, uint32_t open_flags);
void fuse_pages_handle_open(struct node *node, struct fuse_handle *handle);
void fuse_pages_handle_closed(struct fuse_handle *handle);
/* The node goes. */
void fuse_pages_gone(struct fuse_node *fuse);
/* The program says that the size is this; `contents`: and that they are others. */
void fuse_pages_changed(struct node *node, uint64_t size, bool contents);
void fuse_pages_invalidate(struct node *node, uint64_t offset, uint64_t size);
/* Sends what is dirty in a range of pages; nobody waits (memobj_sync does). */
void fuse_pages_write_back(struct node *node, uint64_t first, uint64_t end);
int64_t fuse_pages_read(struct file *file, struct io *io, uint64_t offset);

uint64_t fuse_lock_owner(struct fuse_conn *conn, const void *owner);

#endif
