/*
 * Between main.c (files, contents), names.c (directories), xattr.c and start.c (the command line).
 */
#ifndef MEMORY_FS_MEMORY_H
#define MEMORY_FS_MEMORY_H

#include <hyla/fs.h>

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

struct entry {
    struct entry *next; /* in order of cookies */
    struct file *file;  /* holds one of its links */
    int64_t cookie;
    char name[];
};

struct xattr {
    struct xattr *next;
    uint32_t size;
    char *value;
    char name[];
};

struct file {
    uint64_t number, references; /* that kernels hold */
    uint32_t links;              /* names */
    uint32_t mode, uid, gid;
    uint64_t rdev, charged;      /* bytes, in whole pages */
    struct timespec access, modify, change, birth;
    hyla_handle_t memobj;        /* regular files */
    char *target;                /* symbolic links */
    /* directories */
    struct entry *entries;
    uint64_t entry_count;
    uint32_t directories;        /* among the entries */
    int64_t next_cookie;
    struct file *parent;
    struct xattr *xattrs;
};

extern struct tree {
    pthread_mutex_t mutex; /* guards all of it and all files */
    struct file **files;   /* by number - 1 */
    uint64_t size, next, count;
    uint64_t limit, used;  /* bytes; limit 0: none */
} tree;

extern const struct hyla_file_ops memory_ops;

void tree_lock(void);
int64_t tree_unlock(int64_t result); /* answers result */
/* All with the mutex held. */
struct file *file_of(uint64_t number);
struct file *file_make(uint32_t mode, uint32_t uid, uint32_t gid); /* without names; NULL: no memory */
void file_put(struct file *file); /* frees it when nobody needs it */
uint64_t file_size(const struct file *file);
void file_show(const struct file *file, struct hyla_file_attributes *a);
void file_changed(struct file *file, bool contents);
void xattr_drop(struct file *file, struct xattr *xattr);

int64_t memory_lookup(struct hyla_fs *fs, uint64_t directory, const char *name, struct hyla_file_attributes *found);
int64_t memory_create(struct hyla_fs *fs, uint64_t directory, const char *name, uint32_t mode, uint64_t rdev, uint32_t uid, uint32_t gid,
                      const char *target, struct hyla_file_attributes *made);
int64_t memory_link(struct hyla_fs *fs, uint64_t directory, const char *name, uint64_t node, struct hyla_file_attributes *linked);
int64_t memory_remove(struct hyla_fs *fs, uint64_t directory, const char *name, uint32_t flags);
int64_t memory_rename(struct hyla_fs *fs, uint64_t from, const char *name, uint64_t to, const char *new_name, uint32_t flags);
int64_t memory_read_link(struct hyla_fs *fs, uint64_t node, void *target, uint32_t room);
int64_t memory_read_directory(struct hyla_fs *fs, uint64_t node, int64_t cookie, void *entries, uint32_t room);
int64_t memory_get_xattr(struct hyla_fs *fs, uint64_t node, const char *name, uint32_t *length, void *value, uint32_t room);
int64_t memory_set_xattr(struct hyla_fs *fs, uint64_t node, const char *name, uint32_t flags, const void *value, uint32_t size);
int64_t memory_list_xattr(struct hyla_fs *fs, uint64_t node, uint32_t *length, void *names, uint32_t room);
int64_t memory_remove_xattr(struct hyla_fs *fs, uint64_t node, const char *name);

#endif
