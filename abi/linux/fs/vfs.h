/*
 * What the files above the file-system interface share: the tree of names, walking, opening, locks.
 *
 *   struct path    a name in the tree and the node it stands for; the name cache holds most of them, so that
 *                  one name is one path. A path without a node remembers that the name is absent.
 *   struct mount   a file system in its place
 *   struct walk    a name being resolved
 *
 * The tree (parent, name, cache membership, covering mounts), every fs_context's cwd and root, and the owners
 * remembered in nodes are guarded by one spinlock, path_cache_lock: a walk over cached names takes it once and
 * counts no reference on the way. Changes of names in one directory are serialised by names_lock of the
 * directory's node, taken before path_cache_lock; a lookup that misses takes it too, so that one name never gets
 * two paths. Directories marked NODE_NO_CACHE have neither: each lookup there makes a fresh path. With NODE_SAME_NODE as
 * well (the host's files, which others change too), each lookup asks the file system, and the path that is known is
 * used again when the same node answers.
 */
#ifndef ABI_LINUX_FS_VFS_H
#define ABI_LINUX_FS_VFS_H

#include "abi/linux/file.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/fs/notify.h"
#include "kernel/body.h"
#include "kernel/list.h"
#include "kernel/lock.h"

struct cred;
struct process;

enum mount_flags { MOUNT_READ_ONLY = 1, MOUNT_NO_SUID = 2, MOUNT_NO_DEV = 4, MOUNT_NO_EXEC = 8, MOUNT_FLAGS = 15 }; /* as MS_* and ST_* */

struct mount {
    struct object object;
    struct fs *fs;           /* referenced */
    uint32_t flags;
    /* under path_cache_lock */
    struct path *root;       /* referenced until unmounted */
    struct path *mountpoint; /* referenced; NULL for the root of everything */
    struct list link;        /* all mounts, in order of mounting */
    uint32_t id;             /* constant, as the next two */
    char *source;            /* what mount(2) called it, for /proc/mounts */
    char *root_name;         /* of a bind mount: its root in its file system; NULL: the whole */
};

struct path {
    struct object object;
    struct node *node;   /* referenced, constant; NULL: an absent name */
    struct mount *mount; /* referenced, constant */
    uint32_t type;       /* node's type bits; 0 for an absent name */
    /* under path_cache_lock */
    uint32_t hash;
    struct path *parent; /* referenced; NULL for the root of a mount, and for what has no place */
    struct path *hash_next;
    struct list clock_link;
    nanoseconds_t until;   /* in a NODE_TIMED directory: how long this may be believed, */
    uint32_t generation;   /* and the directory's answer_generation when it was asked */
    struct mount *covering; /* what is mounted here */
    char *target;        /* of a symbolic link, once read; never changes then */
    bool cached;         /* in the hash, which holds a reference */
    bool used;           /* since the clock's hand last came by */
    bool gone;           /* unlinked */
    uint16_t name_length;
    char *name;          /* short_name or a block of its own; terminated */
    char short_name[24];
};

struct fs_context {
    struct object object;
    /* under path_cache_lock */
    struct path *root, *cwd; /* referenced */
    struct atomic32 umask;
};

void fs_context_set_cwd(struct fs_context *context, struct path *path);
void fs_context_set_root(struct fs_context *context, struct path *path);

/* --- path.c: paths and the name cache ---------------------------------------------------------------- */

extern struct spinlock path_cache_lock;
#define PATH_CACHE_MAX 4096u /* paths that only the cache holds on to; more are kept while in use */

uint32_t path_hash(const struct path *parent, const char *name, size_t length);
/* A path with one reference, in no cache; takes over the reference on node (also on failure). NULL: no memory. */
struct path *path_create(struct path *parent, struct mount *mount, const char *name, size_t length, struct node *node);
/* The cached path, borrowed while path_cache_lock is held; NULL when the cache knows nothing. */
struct path *path_cached_locked(struct path *parent, const char *name, size_t length, uint32_t hash);
/* Enters a path, which replaces what the cache knew of the name. path_cache_lock not held. */
void path_cache_add(struct path *path);
/*
 * The same, unless the names of its directory were recalled since node->answer_generation had that value: a timed answer is
 * dated by it, so it may be entered all the same.
 */
void path_cache_add_since(struct path *path, uint32_t generation);
/* The name is gone from its directory. */
void path_cache_unlinked(struct path *path);
/*
 * A rename: `path` takes the new name under `parent`; `replaced` (or NULL) is gone. `block` holds length + 1 bytes
 * and is taken over; it may be NULL when the name fits short_name.
 */
void path_cache_move(struct path *path, struct path *parent, const char *new_name, size_t length, char *block, struct path *replaced);
void path_cache_exchange(struct path *a, struct path *b);
/* Forgets every path of a mount, used or not: it has been unmounted, and no more will come. */
void path_cache_drop(struct mount *mount);
/* Forgets the unused part of the cache. */
void path_cache_shrink(void);
/*
 * A file system recalls what is cached of one name in a directory, or (NULL) of all its names, also what a lookup under way brings.
 * Names where something is mounted stay. Bounded by the size of the cache.
 */
void path_cache_recall(struct node *directory, const char *name, size_t length);
/* The same for all directories of the file system with this root. */
void path_cache_recall_fs(struct node *root);
/* The name as seen from `root`; *reached false: root is not above it. Length or -ENAMETOOLONG. */
int64_t path_name_from(struct path *path, struct path *root, char *buffer, size_t size, bool *reached, bool *gone);
/* True when `path` is `ancestor` or beneath it. */
bool path_beneath(struct path *path, struct path *ancestor);
/* The cache may answer a lookup in the directory. */
static inline bool path_cacheable(const struct path *directory)
{
    return !(directory->node->flags & NODE_NO_CACHE) && !directory->node->fs->bound;
}
/* A file that is looked up again has the path it had, although the file system is asked: NODE_SAME_NODE, or bound. */
static inline bool path_reused(const struct path *directory)
{
    return (directory->node->flags & NODE_SAME_NODE) || (directory->node->fs->bound && !(directory->node->flags & NODE_NO_CACHE));
}
/* Paths of the directory's names are kept. */
static inline bool path_kept(const struct path *directory) { return path_cacheable(directory) || path_reused(directory); }
/* Of a NODE_TIMED directory: what is known of the name is still good. path_cache_lock held. */
static inline bool path_fresh(const struct path *directory, const struct path *child)
{
    return (directory->node->flags & NODE_TIMED) && child->generation == atomic32_load_relaxed(&directory->node->answer_generation) &&
           child->until > body_now();
}
/* The cached path is an answer: it always is where something is mounted (nothing else is kept in /proc). path_cache_lock held. */
static inline bool path_answers(const struct path *directory, const struct path *child)
{
    return path_cacheable(directory) || !path_reused(directory) || child->covering || path_fresh(directory, child);
}

/* --- names.c: names in one directory ----------------------------------------------------------------- */

/* Once, before the first mount. */
void names_init(void);
bool path_covered(struct path *path); /* something is mounted there */
/* One of a few mutexes of rank NAMES, by directory. Nothing is locked for NODE_NO_CACHE directories. */
/* -EINTR: killed while it waited for a gate (node->names_gate), which stands in for the mutex where a program answers. */
int names_lock(struct node *directory);
void names_unlock(struct node *directory);
/* A reference to the path of a component beneath a directory, mounts not crossed: an absent name gives -ENOENT. */
int names_lookup(struct path *directory, const char *name, size_t length, struct path **path);
/* The same with names_lock held. */
int names_lookup_locked(struct path *directory, const char *name, size_t length, struct path **path);
struct create_request {
    uint32_t mode;      /* with type bits; umask not yet applied */
    uint64_t rdev;
    const char *target; /* symbolic links */
    /* Of a regular file: opens it in the same step with these flags, where the file system can; *file stays NULL where not. */
    uint32_t open_flags;
    struct file **file;
    bool unnoticed;     /* nobody is told: the name is only a way to the file */
};
/* Permission included. A reference in *path (may be NULL). -EEXIST. */
int names_create(struct path *directory, const char *name, size_t length, const struct create_request *request, struct path **path);
int names_link(struct path *directory, const char *name, size_t length, struct node *target);
int names_remove(struct path *directory, const char *name, size_t length, bool is_directory, bool must_be_directory);
int names_remove_unnoticed(struct path *directory, const char *name, size_t length);
struct rename_request {
    struct path *from, *to; /* directories */
    const char *name, *new_name;
    size_t length, new_length;
    bool must_be_directory, new_must_be_directory; /* trailing slashes */
    uint32_t flags;         /* 1 NOREPLACE, 2 EXCHANGE */
};
int names_rename(const struct rename_request *request);

/* --- walk.c ------------------------------------------------------------------------------------------ */

#define WALK_LINKS_MAX 40u
enum resolve_flags { RESOLVE_NO_XDEV = 1, RESOLVE_NO_MAGICLINKS = 2, RESOLVE_NO_SYMLINKS = 4, RESOLVE_BENEATH = 8, RESOLVE_IN_ROOT = 16,
                     RESOLVE_CACHED = 32 };
enum walk_last { LAST_NORMAL, LAST_DOT, LAST_DOTDOT, LAST_ROOT };

struct walk {
    const struct cred *cred;
    struct path *at;          /* where we are */
    struct path *pin;         /* the reference that keeps it while the lock is free */
    struct path *next_pin;    /* keeps what was just fetched, until `pin` can */
    struct path *root, *root_pin;
    struct file *file;        /* the result when a magic link named an anonymous file: a reference */
    const char *rest;
    uint32_t flags, resolve;
    uint32_t links, depth;
    bool directory;           /* a trailing slash: the last component must be a directory, links are followed */
    struct path *link_pins[WALK_LINKS_MAX];
    const char *rests[WALK_LINKS_MAX];
    /* WALK_PARENT: the last component */
    enum walk_last last_kind;
    const char *last;
    uint32_t last_length;
};

/* Starts at dfd, the cwd or the root. cred NULL: the current thread's. -EBADF, -ENOTDIR, -ENOENT. walk_end always. */
int walk_begin(struct walk *walk, int dfd, const char *name, uint32_t flags, uint32_t resolve, const struct cred *cred);
/* Resolves what is left: walk->at (or walk->file) is the answer, kept by walk->pin. */
int walk_run(struct walk *walk);
/*
 * After a walk_run with WALK_PARENT that ended on LAST_NORMAL: goes to the last component. *more: it was a link, and
 * walk_run is to go on (to the parent of where it points). -ENOENT: the name is free in walk->at.
 */
int walk_last(struct walk *walk, bool *more);
void walk_end(struct walk *walk);
/* path_walk that also answers with anonymous files: exactly one of *path and *file is set. */
int path_walk_any(int dfd, const char *name, uint32_t flags, const struct cred *cred, struct path **path, struct file **file);
/* walk_begin and walk_run with WALK_PARENT: the parent is walk->at, kept until walk_end (which always comes). */
int walk_parent(struct walk *walk, int dfd, const char *name);

/* --- mount.c ----------------------------------------------------------------------------------------- */

/* Takes over the reference on fs when it succeeds. -ENOTDIR, -EBUSY, -ENOMEM. source: for /proc/mounts, or NULL. */
int mount_on(struct path *mountpoint, struct fs *fs, uint32_t flags, const char *source);
/*
 * umount2: `root` is the root of a mount, one reference of which is the caller's. MNT_DETACH: also when it is in use. MNT_FORCE: what is
 * under way there is given up first. -EINVAL, -EBUSY.
 */
enum { MNT_FORCE = 1, MNT_DETACH = 2 };
int mount_remove(struct path *root, uint32_t flags);
int mount_change(struct path *root, uint32_t flags); /* remount */
/* Shows the file or directory at `from` at the mountpoint too, with the flags of the mount it is in. As mount_on. */
int mount_bind(struct path *from, struct path *mountpoint);
/* Moves a whole mount, named by its root, elsewhere. -EINVAL: no root, or beneath itself; -ELOOP, -ENOTDIR, -EBUSY. */
int mount_move(struct path *root, struct path *mountpoint);
void mounts_sync(void);
void mounts_changed(void); /* something was mounted: mount_wait.c */
/* Makes what is missing of an absolute name: directories, and at its end what the mount covers, of this type. */
int mount_make_place(const char *destination, uint32_t type);
/* The mount with this place in the order of mounting: a reference, or NULL. */
struct mount *mount_number(uint32_t number);

/* --- permission.c ------------------------------------------------------------------------------------ */

struct node_owner {
    uint32_t mode, uid, gid;
};
enum { MAY_EXECUTE = 1, MAY_WRITE = 2, MAY_READ = 4 };
int node_owner(struct node *node, struct node_owner *owner);
int node_permission_for(struct node *node, uint32_t mask, const struct cred *cred);
/* Under path_cache_lock: 0, -EACCES, or 1 when the node's owner must be fetched first. */
int node_search_locked(struct node *node, const struct cred *cred);
bool cred_in_group(const struct cred *cred, uint32_t gid);
/* May the current credentials remove or replace `node` in `directory`: write, search, sticky. */
int node_may_remove(struct node *directory, struct node *node);
/* The node's attributes changed by the current thread: set_attr and what must be remembered anew. */
int node_set_attr(struct node *node, const struct node_attr *attr);
/* -EROFS when the mount or file system is read-only. */
int path_writable(struct path *path);
bool node_owned_by_caller(struct node *node);
/* The file system decides itself whether the current thread may change the node: mode, owner and times are not checked here. */
bool node_decides(struct node *node);
/* node_ops.access, for those who only ask: access(2), chdir, chroot. */
int node_access(struct node *node, uint32_t mask);

/* --- open.c, node_file.c ----------------------------------------------------------------------------- */

extern const struct file_ops node_file_ops;
/* Set-user-ID and set-group-ID, before a write by the unprivileged: true if there were any. */
bool node_drop_privileges(struct node *node);
/* Resizes; RLIMIT_FSIZE respected. Writability has been checked. */
int node_truncate(struct node *node, uint64_t size);
struct open_request {
    uint32_t flags, mode, resolve;
};
int vfs_open_request(int dfd, const char *name, const struct open_request *request, struct file **file);
/* Opens what a walk found. */
int vfs_open_path(struct path *path, uint32_t flags, struct file **file);
int node_write_begin(struct node *node); /* -ETXTBSY */
void node_write_end(struct node *node);

/* --- locks.c ----------------------------------------------------------------------------------------- */

struct fdtable;
void locks_init(void); /* once, before the first mount */
/* A descriptor to the file was closed through `table`: its POSIX locks on the node end. */
void locks_release_posix(struct file *file, struct fdtable *table);
/* The open file goes: flock and OFD locks end. */
void locks_release_file(struct file *file);
void locks_destroy(void *locks);
/* fcntl's record locks (ofd: owned by the open file) and flock; `argument` is the user's struct flock. May wait. */
int64_t lock_get(struct file *file, uaddr_t argument, bool ofd);
int64_t lock_set(struct file *file, uaddr_t argument, bool ofd, bool wait);
int64_t lock_flock(struct file *file, uint32_t operation);

/* --- memfd.c ----------------------------------------------------------------------------------------- */

/* fcntl F_ADD_SEALS and F_GET_SEALS: -EINVAL for other files. */
int64_t memfd_add_seals(struct file *file, uint32_t seals);
int64_t memfd_get_seals(struct file *file);

#endif
