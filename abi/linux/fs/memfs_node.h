/*
 * Inside of the in-memory file system: see memfs.c.
 */
#ifndef ABI_LINUX_FS_MEMFS_NODE_H
#define ABI_LINUX_FS_MEMFS_NODE_H

#include "abi/linux/fs/fs.h"

#define OVERLAY_BUCKETS 1024u

struct memfs {
    struct fs_ops ops;            /* constant */
    struct atomic32 references;   /* the file system's and each memnode's */
    struct mutex tree;            /* rank DIRECTORY: every name and directory of this instance */
    struct spinlock attributes;   /* rank NODE_TABLE: the attributes of its nodes, and the table */
    struct atomic64 next_inode;
    /* overlays only: see overlay.c */
    struct fs *lower;             /* referenced */
    struct list *table;           /* OVERLAY_BUCKETS lists of struct memnode.table_link, by lower node; under attributes */
    struct list owned;            /* struct memnode.own_link: nodes kept alive because they differ; under attributes */
};

struct mementry {
    struct list link;      /* directory->entries, in order of cookies */
    struct mementry *next; /* in its bucket */
    struct node *node;     /* referenced; NULL: the lower directory's, not looked at yet */
    uint64_t inode;
    uint8_t type;          /* as directory entries tell it */
    int64_t cookie;
    uint32_t hash, length;
    char name[]; /* terminated */
};

struct memnode {
    /* constant */
    struct memfs *fs;
    struct node *node;
    char *target;          /* symbolic links */
    uint64_t rdev;
    struct node *lower;    /* referenced; NULL: all our own */
    struct atomic_ptr memobj; /* regular files: set once, by copy-up when there is a lower node; referenced */
    struct list table_link, own_link; /* under memfs->attributes */

    /* under memfs->attributes */
    uint32_t mode, uid, gid;
    struct file_time access, modify, change, birth;
    /* link_count is written under memfs->tree and memfs->attributes */
    uint32_t link_count;
    bool own;      /* the attributes above are the truth; else the lower node's are */

    /* directories; under memfs->tree */
    struct list entries;
    struct mementry **buckets;
    uint32_t bucket_count, entry_count;
    int64_t next_cookie;
    uint64_t parent_inode;
    bool removed;  /* its own name is gone */
    bool complete; /* all names are here; else the lower directory must be asked */

    /* under node->mutex */
    struct list xattrs;
    bool own_xattrs;
};

extern const struct node_ops memfs_node_ops;
static inline struct memnode *memnode_of(struct node *node) { return node->data; }

static inline struct memobj *memnode_memobj(struct memnode *mem) { return atomic_ptr_load_acquire(&mem->memobj); }
static inline bool node_is_directory(const struct node *node) { return (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR; }
static inline bool node_is_memfs(const struct node *node) { return node->ops == &memfs_node_ops; }

/* memfs.c */
struct memfs *memfs_alloc(const char *name, uint64_t first_inode);
struct node *memfs_make_node(struct fs *fs, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid, uint32_t gid);
/* A node over a lower one, in no table yet. */
struct node *memfs_make_over(struct fs *fs, struct node *lower);
void memfs_put(struct memfs *memfs);

/* memfs_names.c */
/* Drops names of a dead directory, however deep what hangs on them is. */
void memfs_bury(struct list *entries);
/* Adds a name without looking for a rival; tree mutex held. node NULL: lazy. False without memory. */
bool memfs_add_lazy(struct memnode *dir, const char *name, size_t length, uint64_t inode, uint8_t type);
int memfs_lookup(struct node *dir, const char *name, size_t length, struct node **child);
int memfs_create_child(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid,
                       uint32_t gid, struct node **child);
int memfs_link(struct node *dir, const char *name, size_t length, struct node *target);
int memfs_unlink(struct node *dir, const char *name, size_t length);
int memfs_remove_directory(struct node *dir, const char *name, size_t length);
int memfs_rename(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length,
                 uint32_t flags);
int memfs_read_directory(struct node *dir, int64_t *cookie, directory_emit *emit, void *context);

/*
 * overlay.c: what a node with a lower one does first; all return at once for nodes without. None is called with the tree
 * mutex or a node's mutex held, all may suspend. 0 or a negative error.
 */
int overlay_complete(struct node *dir);   /* the names are all ours */
int overlay_own(struct node *node);       /* the attributes are ours */
int overlay_copy_up(struct node *node, uint64_t keep); /* the contents are ours: the first `keep` bytes at least */
int overlay_own_xattrs(struct node *node);
int overlay_lookup(struct node *dir, const char *name, size_t length, struct node **child);
int overlay_get_attr(struct node *node, struct linux_stat_data *stat); /* not own */
void overlay_forget(struct memnode *mem); /* the node dies: leaves the table */
void overlay_disown(struct memnode *mem); /* its last name is gone: nothing keeps it but its users */

/* memfs_xattr.c */
int64_t memfs_get_xattr(struct node *node, const char *name, void *value, size_t size);
int memfs_set_xattr(struct node *node, const char *name, const void *value, size_t size, int flags);
int64_t memfs_list_xattr(struct node *node, char *names, size_t size);
int memfs_remove_xattr(struct node *node, const char *name);
void memfs_free_xattrs(struct memnode *mem);
/* Adds a value without any check; false without memory. node->mutex held. */
bool memfs_add_xattr(struct memnode *mem, const char *name, const void *value, size_t size);

#endif
