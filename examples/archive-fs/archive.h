/*
 * Between start.c (the command line), index.c (what the archive holds), read.c (bytes of an entry) and serve.c (answers).
 */
#ifndef ARCHIVE_FS_ARCHIVE_H
#define ARCHIVE_FS_ARCHIVE_H

#include <hyla/fs.h>

#include <stdbool.h>
#include <stddef.h>

#define ENTRIES_MAX 4000000u
#define DEPTH_MAX 256u

/* A file. Constant once the index is made, but for what is under `mutex` in serve.c. */
struct node {
    uint64_t parent;      /* of a directory */
    uint64_t size, rdev, entry; /* entry: which one of the archive has the contents; 0: none */
    int64_t modify_seconds;
    uint32_t modify_nanoseconds;
    uint32_t mode, uid, gid, links;
    char *target;         /* symbolic links */
    /* directories: the children as they are listed */
    uint64_t *children;   /* indexes of names */
    uint64_t child_count, child_room;
    /* in use */
    uint64_t references;
    hyla_handle_t contents;
};

/* A name in a directory. */
struct name {
    uint64_t directory, node;
    char *text;
};

/* Nodes by number (1 is the root); slot 0 of both arrays is unused. */
extern struct index {
    struct node *nodes;
    struct name *names;
    uint64_t node_count, node_room, name_count, name_room;
    uint64_t *buckets;    /* names by (directory, text): 0 free */
    uint64_t bucket_count;
} archive_index;

/* index.c: reads the whole archive's headers. 0, or a negated errno with a complaint to standard error when nothing can be read. */
int index_make(int fd);
/* The name's index, or 0. */
uint64_t index_find(uint64_t directory, const char *text);
/* A path's node as archives name things: relative, links followed nowhere. 0: there is none. */
uint64_t index_path(const char *path);

/*
 * read.c: bytes of an entry, from an offset on, through one of a few readers that each stand somewhere in the archive: going on where
 * one stands is cheap, going back costs reading from the start. Fewer than asked for: the entry's end. -EIO: the archive is damaged.
 */
int64_t entry_read(uint64_t entry, uint64_t offset, void *to, uint64_t size);

/* serve.c */
extern const struct hyla_file_ops archive_ops;

/* A reader of the archive behind `fd`, which others read as well. NULL with a complaint. */
struct archive;
struct archive *archive_begin(int fd, void **position);
void archive_end(struct archive *archive, void *position);
extern int archive_fd;

#endif
