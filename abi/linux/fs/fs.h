/*
 * The file-system interface: one shape for every file system, the in-memory layer, the host's files,
 * /proc, /dev and file servers behind ports. Its operations are the messages of the file protocol
 * (docs/file-protocol.md), so they speak in nodes, names, cookies and attributes, never in paths.
 *
 *   struct fs     a mounted instance
 *   struct node   one file, directory, link…: reference-counted, identified by (fs, inode)
 *   struct path   a place in the tree of names: (mount, name chain, node); reference-counted
 *
 * Path walking, mounts, permission checks, the name cache and locks live above this interface
 * (abi/linux/fs/path.c and friends) and know no particular file system.
 */
#ifndef ABI_LINUX_FS_FS_H
#define ABI_LINUX_FS_FS_H

#include "abi/linux/file.h"

struct fs;
struct node;
struct cred;

#define NAME_LENGTH_MAX 255
#define PATH_LENGTH_MAX 4096

enum { LINUX_S_IFMT = 0170000, LINUX_S_IFSOCK = 0140000, LINUX_S_IFLNK = 0120000, LINUX_S_IFREG = 0100000, LINUX_S_IFBLK = 0060000,
       LINUX_S_IFDIR = 0040000, LINUX_S_IFCHR = 0020000, LINUX_S_IFIFO = 0010000, LINUX_S_ISUID = 04000, LINUX_S_ISGID = 02000,
       LINUX_S_ISVTX = 01000 };

struct file_time {
    int64_t seconds;
    uint32_t nanoseconds;
};

struct linux_stat_data {
    uint64_t device, inode, link_count, rdev, size, blocks; /* blocks of 512 bytes */
    uint32_t mode, uid, gid, block_size;
    struct file_time access, modify, change, birth;
    bool has_birth;
};

enum attr_valid { ATTR_MODE = 1, ATTR_UID = 2, ATTR_GID = 4, ATTR_SIZE = 8, ATTR_ATIME = 16, ATTR_MTIME = 32 };
struct node_attr {
    uint32_t valid;
    uint32_t mode, uid, gid;
    uint64_t size;
    struct file_time access, modify;
};

/* emit returns false to stop; `next` is the cookie after this entry. */
typedef bool directory_emit(void *context, const char *name, size_t length, uint64_t inode, uint8_t type, int64_t next);

/* Permission has been checked by the caller. Names are one component, never "." or "..", not empty, no '/'. */
struct node_ops {
    int (*get_attr)(struct node *node, struct linux_stat_data *stat);
    int (*set_attr)(struct node *node, const struct node_attr *attr);
    /* A reference in *child. -ENOENT. */
    int (*lookup)(struct node *dir, const char *name, size_t length, struct node **child);
    /* mode with type bits; rdev for devices; uid and gid of the new node; target for symlinks. */
    int (*create)(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid,
                  uint32_t gid, struct node **child);
    /*
     * create of a regular file and its opening in one, where the file system can: *file as from open. NULL or -ENOSYS: create,
     * then open.
     */
    int (*create_open)(struct node *dir, const char *name, size_t length, uint32_t mode, uint32_t uid, uint32_t gid, uint32_t flags,
                       struct node **child, struct file **file);
    int (*link)(struct node *dir, const char *name, size_t length, struct node *target);
    int (*unlink)(struct node *dir, const char *name, size_t length); /* not directories */
    int (*remove_directory)(struct node *dir, const char *name, size_t length);
    /* flags: 1 NOREPLACE, 2 EXCHANGE */
    int (*rename)(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length,
                  uint32_t flags);
    /* Length of the target (not terminated), at most size. */
    int64_t (*read_link)(struct node *node, char *target, size_t size);
    /*
     * Entries from *cookie on (0: the start; else a `next` given before), "." and ".." included, emitted by the file
     * system like any other (".." of its root with the root's own inode). *cookie ends after the last entry taken.
     */
    int (*read_directory)(struct node *dir, int64_t *cookie, directory_emit *emit, void *context);
    /* Contents. Kernel buffers or user ones through io. */
    int64_t (*read)(struct node *node, struct io *io, uint64_t offset);
    int64_t (*write)(struct node *node, struct io *io, uint64_t offset);
    int (*sync)(struct node *node, bool data_only);
    int (*allocate)(struct node *node, int mode, uint64_t offset, uint64_t size);
    /* prot: all that may ever be asked of the map, so with PROT_WRITE_BIT for a shared map of a file that is open for writing. */
    int (*map)(struct node *node, uint32_t prot, bool shared, struct memobj **memobj);
    /*
     * Called when the node is opened (not O_PATH): NULL means the generic file operations over this node.
     * flags as open(2) got them, without those of creation but with O_NOCTTY.
     * A device, FIFO, /proc file… returns a file of its own in *file.
     */
    int (*open)(struct node *node, uint32_t flags, struct file **file);
    /*
     * For file systems that decide themselves who may do what: enum node_decision, or -EACCES. Must not suspend. mask as for
     * node_permission, 0: anything at all. NULL: the mode bits decide.
     */
    int (*permission)(struct node *node, uint32_t mask, const struct cred *cred);
    /* access(2), chdir and chroot ask this too, when everything else has agreed. May suspend. NULL: nothing to add. */
    int (*access)(struct node *node, uint32_t mask);
    int64_t (*get_xattr)(struct node *node, const char *name, void *value, size_t size);
    int (*set_xattr)(struct node *node, const char *name, const void *value, size_t size, int flags);
    int64_t (*list_xattr)(struct node *node, char *names, size_t size);
    int (*remove_xattr)(struct node *node, const char *name);
    /* /proc/PID/exe, cwd, root, fd/N: a magic link answers with the very path, or *path NULL and *file for anonymous files. */
    int (*follow)(struct node *node, struct path **path, struct file **file);
    /* One of its names has moved, gone or been replaced: link count and change time that are remembered are old. May be NULL. */
    void (*names_changed)(struct node *node);
    /* The last reference is gone. */
    void (*release)(struct node *node);
};

/* What node_ops.permission says: it may go on; the mode bits decide; one execute bit for anybody is enough. */
enum node_decision { DECISION_ALLOWED = 0, DECISION_MODE_BITS = 1, DECISION_EXECUTE_BIT = 2 };

enum node_flags {
    NODE_NO_CACHE = 1,       /* lookups of and in it are never cached: /proc */
    NODE_CACHE_NEGATIVE = 2, /* a directory whose names change only through its operations: absent names are remembered too */
    NODE_SAME_NODE = 8,      /* with NODE_NO_CACHE: a file that is looked up again gives the same node while it is in use, so
                                its path is kept (and follows renames), although each lookup still asks */
    NODE_NAMES_FIXED = 32,   /* a directory in which nobody makes names: ENOENT for an absent one, whatever the caller may do */
    NODE_TIMED = 16,         /* with both: an answer, also that a name is absent, may be believed until dir->answer_until */
    NODE_LINKABLE = 4,       /* made by O_TMPFILE: link may give it a name although it has none */
};

struct node {
    struct object object;
    const struct node_ops *ops;
    struct fs *fs;
    uint64_t inode;
    uint32_t mode;   /* type bits constant; permission bits a hint (get_attr is the truth) */
    uint32_t flags;
    void *data;      /* the file system's */
    struct mutex mutex; /* rank NODE, DIRECTORY for directories */
    struct waitq *pipe_waiters;
    struct gate *names_gate; /* of a directory whose names a program answers for: instead of a shared mutex; names.c */
    void *fifo;      /* open FIFO state: abi/linux/pipe.c, under mutex */
    void *socket;    /* bound UNIX socket: abi/linux/unix_socket.c */
    void *locks;     /* abi/linux/fs/locks.c */
    struct atomic_ptr watches; /* those of inotify: abi/linux/inotify_watch.c; NULL: none */
    /*
     * Of a NODE_TIMED directory: until when its last answer may be believed, set by lookup, create and link under its names_gate;
     * and how often it withdrew what it had answered (node_names_changed).
     */
    nanoseconds_t answer_until;
    struct atomic32 answer_generation;
    struct atomic32 writers; /* open for writing (ETXTBSY), or negative: being executed */
    /* What permission checks need, remembered by permission.c under the name cache's lock; dropped by node_attr_changed. */
    bool owner_known;
    uint32_t owner_generation;
    uint32_t owner_mode, owner_uid, owner_gid;
};

struct linux_statfs_data {
    uint64_t type, block_size, blocks, blocks_free, blocks_available, files, files_free, fsid, name_length, flags;
};

struct fs_ops {
    const char *name; /* as /proc/mounts shows it */
    bool remote;      /* a program serves it, which may never answer: sync(2) does not wait for it */
    int (*stat_fs)(struct fs *fs, struct linux_statfs_data *stat);
    int (*sync_fs)(struct fs *fs);
    /* No mount of it is left, though something may still have references. May be NULL. Must not wait for a program. */
    void (*unmounted)(struct fs *fs);
    /* Before the last path of a forced unmount: gives up what is under way. May be NULL. */
    void (*abort)(struct fs *fs);
    /* What /proc/mounts shows after the mount's own options, beginning with a comma. May be NULL. */
    void (*show_options)(struct fs *fs, char *buffer, size_t size);
    void (*release)(struct fs *fs);
};

#define FS_APPEND_LOCKS 4u

struct fs {
    struct object object;
    struct mutex append_locks[FS_APPEND_LOCKS]; /* rank NODE_WRITE: one appending write at a time, by node; node_file.c */
    const struct fs_ops *ops;
    uint64_t device; /* st_dev, unique per instance */
    struct atomic32 mounts; /* how many */
    bool read_only;
    bool bound; /* has shown, or shows, a file under two paths (a bind mount): the name cache asks it every time. Only ever set */
    struct gate *rename_gate; /* with names_gate in its directories; else NULL */
    struct node *root; /* referenced */
    void *data;
};

/* Fresh objects with one reference; NULL: no memory. */
struct fs *fs_create(const struct fs_ops *ops, void *data);
struct node *node_create(struct fs *fs, const struct node_ops *ops, uint32_t mode, uint64_t inode, void *data);

/* --- file systems ------------------------------------------------------------------------------------ */

struct fs *memfs_create(void);                                   /* abi/linux/fs/memfs.c */
struct fs *overlay_create(struct fs *lower, bool read_only);     /* lower plus a private in-memory layer; overlay.c */
struct fs *procfs_create(void);                                  /* abi/linux/fs/procfs.c */
struct fs *devfs_create(void);                                   /* abi/linux/fs/devfs.c */
/*
 * What a server answers behind a port (docs/file-protocol.md); serverfs.c. The right needs SEND and COPY. Asks the server, so it may wait:
 * -ERESTARTSYS, -EINTR. -EACCES, -EIO, -ENOMEM, or what the server answers.
 */
struct handle_value;
int serverfs_create(const struct handle_value *right, struct fs **fs);
/* Another server in the place of one, which has usually died: open files stay dead, names and what is below them are asked anew. */
int serverfs_attach_again(struct fs *fs, const struct handle_value *right);
/* How many messages its server has taken, and whether it is dead; 0 and true when it is no server's. */
uint64_t serverfs_messages(struct fs *fs, bool *dead);
/* The body's files beneath a directory: Linux only, body/linux/hostfs.c. -errno in *error. */
struct fs *hostfs_create(const char *host_path, bool read_only, int *error);

/* --- paths ------------------------------------------------------------------------------------------- */

enum walk_flags {
    WALK_NOFOLLOW = 1,   /* do not follow a final symbolic link */
    WALK_DIRECTORY = 2,  /* the result must be a directory */
    WALK_EMPTY = 4,      /* AT_EMPTY_PATH */
    WALK_PARENT = 8,     /* stop at the parent; *last gets the final component */
};
#define LINUX_AT_FDCWD (-100)

/* Walks from dfd (or the root for an absolute path) with the current thread's credentials. A reference in *path. */
int path_walk(int dfd, const char *name, uint32_t flags, struct path **path);
struct node *path_node(struct path *path); /* borrowed */
struct path *path_ref(struct path *path);
void path_unref(struct path *path);
/* The absolute name as seen from the current root, with " (deleted)" when it is gone. Length or -ENAMETOOLONG. */
int64_t path_name(struct path *path, char *buffer, size_t size);
/* open(2) in the current process's context: a reference in *file. */
/*
 * mknod(2) without its checks of privilege: mode with type bits, the umask applied here. A reference in *path (when not
 * NULL). -EEXIST, … Sockets bind with it.
 */
int vfs_mknod(int dfd, const char *name, uint32_t mode, uint64_t rdev, struct path **path);
int vfs_open(int dfd, const char *name, uint32_t flags, uint32_t mode, struct file **file);
/* For exec: opens for reading, regular and executable for the current credentials, denies writers until file_unref + vfs_exec_done. */
int vfs_open_exec(int dfd, const char *name, uint32_t walk_flags, struct file **file);
int file_stat(struct file *file, struct linux_stat_data *stat);
/* Checks mode bits for the current credentials' fsuid/fsgid: mask of 4 read, 2 write, 1 execute. 0 or -EACCES. */
int node_permission(struct node *node, uint32_t mask);
/* A file system that changes mode, uid or gid by itself (not through set_attr) says so. */
void node_attr_changed(struct node *node);
/* A NODE_TIMED directory withdraws its answers: every name is asked for anew. */
void node_names_changed(struct node *directory);
struct file_time wall_time(void);

/* Mounts: at start the command builds the tree. dst is an absolute path that exists (created in a memfs root when missing). */
/* Both take over the reference on fs when they succeed. mount_root comes first. */
int mount_root(struct fs *fs);
int mount_at(const char *destination, struct fs *fs);
/* Makes what is missing of a directory's name; *mount: what it is in now, referenced. */
struct mount;
int mount_place(const char *destination, struct mount **mount);
/*
 * Waits until another mount than `before` is there: a reference in *mount. -ECHILD: the process, which was to mount, has ended instead.
 * Uninterruptible: for a kernel-only thread.
 */
int mount_wait(const char *destination, struct mount *before, struct process *process, struct mount **mount);
/* Takes the mount away, used or not, if it is still there. Takes over the reference. */
void mount_end(struct mount *mount);
/*
 * A tree of its own, seen by who has it as its root directory: a reference to its root in *root. And a mount in such a tree, under
 * a name that is made in the directory. On a kernel-only thread. -ENOMEM, …
 */
int mount_detached(struct fs *fs, struct path **root);
int mount_under(struct path *directory, const char *name, struct fs *fs);
/* Bind of a single host file or directory is a hostfs (or an overlay of one). For /proc/mounts: */
int mounts_show(char *buffer, size_t size);
int mounts_show_info(char *buffer, size_t size); /* mountinfo */
/* For /proc/PID/mountstats: each mount, and of file servers how many messages they have taken. */
int mounts_show_statistics(char *buffer, size_t size);
/* Each mount in order, with its name as seen from the root. Stops at false. -ENOMEM. */
int mounts_each(bool (*each)(void *context, struct fs *fs, const char *source, const char *name, bool read_only), void *context);

/* fs_context: cwd, root, umask of a process. */
struct fs_context *fs_context_create(struct path *root, struct path *cwd);
struct fs_context *fs_context_copy(struct fs_context *from);
struct fs_context *fs_context_ref(struct fs_context *context);
void fs_context_unref(struct fs_context *context);
struct path *mount_root_path(void); /* referenced */
struct path *fs_context_cwd(struct fs_context *context);  /* referenced */
struct path *fs_context_root(struct fs_context *context); /* referenced */

#endif
