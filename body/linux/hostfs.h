/*
 * Inside of the host file system: what its files share.
 *
 *   struct host_fs     a mounted instance over one root descriptor
 *   struct host_node   our part of a struct node: its identity on the host, its name, its cached descriptors
 *
 * A node is (device, inode, birth time) of the host, and is reached as (parent, name): a descriptor that was
 * closed to save descriptors is opened again beneath the parent's and its identity checked, so a name that
 * somebody moved or replaced is -ESTALE, never another file.
 */
#ifndef BODY_LINUX_HOSTFS_H
#define BODY_LINUX_HOSTFS_H

#include "abi/linux/fs/fs.h"
#include "body/linux/host_file.h"
#include "kernel/lock.h"

struct statx;

#define HOSTFS_BUCKETS 1024u
#define HOSTFS_CACHED_NODES_MAX 256u /* nodes with descriptors that nobody uses right now */
#define HOSTFS_DEVICES_MAX 64u

struct host_fs {
    struct fs *fs; /* not referenced: it goes after its nodes' users */
    bool writable;
    struct atomic32 references; /* the file system's and each host_node's */
    struct spinlock lock; /* rank NODE_TABLE; guards the rest and host_node's second group */
    struct list buckets[HOSTFS_BUCKETS]; /* struct host_node.table_link */
    struct list lru;                     /* struct host_node.lru_link, most recently used first */
    uint32_t lru_count;
    struct list dying; /* struct host_node.lru_link: nodes whose parent reference is still to be dropped */
    bool draining;
    uint64_t devices[HOSTFS_DEVICES_MAX];
    uint32_t device_count;
};

struct host_node {
    /* constant */
    struct node *node;
    struct host_fs *fs;
    uint64_t device, inode; /* the host's */
    int64_t birth_seconds;
    uint32_t birth_nanoseconds;
    bool forbidden; /* a /proc of the host: shown empty */

    /* under fs->lock */
    struct list table_link;
    struct list lru_link;
    struct node *parent;        /* referenced; NULL for the root */
    char *name;                 /* in parent */
    struct host_file *path;     /* O_PATH, or NULL */
    struct host_file *contents; /* open for reading, perhaps writing, or NULL */
    struct memobj *memobj;
    bool pinned; /* its descriptors cannot be had again: the root, unlinked files */
};

static inline struct host_node *host_node_of(struct node *node) { return node->data; }

/* --- hostfs_file.c: host calls ----------------------------------------------------------------------- */

/* A host system call in place, or on the blocking pool: its result or -errno. */
int64_t host_raw(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
int64_t host_raw_pooled(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
/* One component (or ".") beneath a directory descriptor: no symbolic link is followed. A descriptor or -errno. */
int host_open_beneath(int directory, const char *name, uint64_t flags, uint32_t mode);
int host_statx(int fd, struct statx *stat);

/* --- hostfs_cache.c: descriptors of nodes ------------------------------------------------------------ */

/* A reference to the node's O_PATH descriptor, opened again if need be. */
int host_node_path(struct host_node *node, struct host_file **path);
/* A reference to the node's contents; `write`: with a write_fd, else -EROFS or -EACCES. */
int host_node_contents(struct host_node *node, bool write, struct host_file **contents);
/* Contents that the node's mode would not let us open again (just created): takes over the reference. NULL is fine. */
void host_node_adopt(struct host_node *node, struct host_file *contents);
/* A reference to the node's memobj, made when missing. */
int host_node_memobj(struct host_node *node, bool write, struct memobj **memobj);
/* Drops all that is cached (the node dies). */
void host_node_forget(struct host_node *node);
/* Keeps what is cached for as long as the node lives, opening it first: its name is about to go. */
void host_node_pin(struct host_node *node);
/* Copies the name the node has now and references its parent. False for the root. */
bool host_node_name(struct host_node *node, struct node **parent, char name[NAME_LENGTH_MAX + 1]);

/* --- hostfs.c ---------------------------------------------------------------------------------------- */

/* The node for a fresh O_PATH descriptor found as (dir, name); takes over fd. */
int host_node_for(struct host_fs *fs, int fd, struct node *dir, const char *name, struct node **node);
/* 0 or -ENAMETOOLONG. */
int host_name_copy(char to[NAME_LENGTH_MAX + 1], const char *name, size_t length);
/* The live node of one directory entry, if we have it (a reference) or NULL. */
struct node *host_node_find(struct host_fs *fs, struct node *dir, const char *name);

/* --- hostfs_change.c --------------------------------------------------------------------------------- */

int hostfs_set_attr(struct node *node, const struct node_attr *attr);
int hostfs_create_node(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid,
                       uint32_t gid, struct node **child);
int hostfs_link(struct node *dir, const char *name, size_t length, struct node *target);
int hostfs_unlink(struct node *dir, const char *name, size_t length);
int hostfs_remove_directory(struct node *dir, const char *name, size_t length);
int hostfs_rename(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length,
                  uint32_t flags);
int64_t hostfs_write(struct node *node, struct io *io, uint64_t offset);
int hostfs_sync(struct node *node, bool data_only);
int hostfs_allocate(struct node *node, int mode, uint64_t offset, uint64_t size);
int hostfs_set_xattr(struct node *node, const char *name, const void *value, size_t size, int flags);
int hostfs_remove_xattr(struct node *node, const char *name);

#endif
