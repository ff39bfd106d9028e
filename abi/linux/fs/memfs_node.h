/*
 * Inside of the in-memory file system: see memfs.c.
 */
#ifndef ABI_LINUX_FS_MEMFS_NODE_H
#define ABI_LINUX_FS_MEMFS_NODE_H

#include "abi/linux/fs/fs.h"

struct memfs {
    struct fs_ops ops;          /* constant */
    struct mutex tree;          /* rank DIRECTORY: every name and directory of this instance */
    struct spinlock attributes; /* rank NODE_TABLE: the attributes of its nodes */
    struct atomic64 next_inode;
};

struct mementry {
    struct list link;      /* directory->entries, in order of cookies */
    struct mementry *next; /* in its bucket */
    struct node *node;     /* referenced */
    int64_t cookie;
    uint32_t hash, length;
    char name[]; /* terminated */
};

struct memnode {
    /* constant */
    struct memobj *memobj; /* regular files */
    char *target;          /* symbolic links */
    uint64_t rdev;

    /* under memfs->attributes */
    uint32_t mode, uid, gid;
    struct file_time access, modify, change, birth;
    /* link_count is written under memfs->tree and memfs->attributes */
    uint32_t link_count;
    bool linkable; /* O_TMPFILE: may get its first name */

    /* directories; under memfs->tree */
    struct list entries;
    struct mementry **buckets;
    uint32_t bucket_count, entry_count;
    int64_t next_cookie;
    uint64_t parent_inode;

    struct list xattrs; /* under node->mutex */
};

extern const struct node_ops memfs_node_ops;
static inline struct memnode *memnode_of(struct node *node) { return node->data; }

/* memfs_xattr.c */
int64_t memfs_get_xattr(struct node *node, const char *name, void *value, size_t size);
int memfs_set_xattr(struct node *node, const char *name, const void *value, size_t size, int flags);
int64_t memfs_list_xattr(struct node *node, char *names, size_t size);
int memfs_remove_xattr(struct node *node, const char *name);
void memfs_free_xattrs(struct memnode *mem);

#endif
