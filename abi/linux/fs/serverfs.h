/*
 * Inside of the client of file servers: see serverfs.c.
 */
#ifndef ABI_LINUX_FS_SERVERFS_H
#define ABI_LINUX_FS_SERVERFS_H

#include "abi/file/file_calls.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/gate.h"

#define SERVER_BUCKETS 256u

/* One mount's server, or the servers it had one after the other. References: the struct fs's, each node's, each link's. */
struct server_fs {
    struct object object;
    struct fs_ops ops;           /* constant: ops.name is the label */
    char label[32];
    struct spinlock lock;        /* rank NODE_TABLE; guards the table, the current link, and each node's changing part */
    struct list buckets[SERVER_BUCKETS]; /* struct server_node.table_link */
    struct file_link *link;      /* referenced; NULL after the end */
    struct gate rename_gate;
};

struct server_node {
    struct file_outgoing outgoing; /* first: what is left of the node when it goes, for the server to be told */
    struct server_fs *server;    /* referenced */
    struct node *node;
    struct list table_link;      /* under server->lock */
    /* Constant, but of the root, which a new server takes over: there under server->lock. */
    struct file_link *link;      /* referenced; its server's numbers are these */
    uint64_t id;
    /* set once */
    struct atomic_ptr memobj;    /* what `contents` names, when there is one */
    struct atomic32 opened;      /* OPENED_*: bits are only added */
    /* under server->lock */
    struct handle_value contents;
    uint64_t references;         /* that the server counts */
    bool known;                  /* `attributes` may be used */
    uint32_t generation;         /* an answer is kept only if it has not changed since the question */
    struct hyla_file_attributes attributes;
    struct gate names_gate;      /* directories: one change or lookup of names at a time */
    uint32_t times;              /* HYLA_FILE_SET_ACCESS, _MODIFY: newer in `attributes` than the server knows */
};
enum { OPENED_READ = 1, OPENED_WRITE = 2, OPENED_MAY_WRITE = 4, OPENED_MAY_MAP = 8, OPENED_MAY_GROW = 16 };

extern const struct node_ops server_node_ops;
static inline struct server_node *server_node_of(struct node *node) { return node->data; }
static inline bool server_node_is_directory(const struct node *node) { return (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR; }

/* --- serverfs.c -------------------------------------------------------------------------------------- */

/* A reference to the node's link and its number there. -EIO: the server is gone. */
int server_link(struct node *node, struct file_link **link, uint64_t *id);
/* What a question and its answer must agree on, for the answer to be kept. */
struct server_question {
    struct file_link *link; /* referenced until server_done */
    uint64_t id;
    uint32_t generation, recalls;
};
int server_ask(struct node *node, struct server_question *question);
void server_done(struct server_question *question);
/* The answer's attributes are the node's. 0 or -EIO for nonsense. */
int server_learn(struct node *node, const struct server_question *question, const struct hyla_file_attributes *attributes);
/* What was remembered is no longer so. */
void server_forget_attributes(struct node *node);
/* A reference to the node that an answer of the directory's server named; the server has counted it. -EIO, -ENOMEM. */
int server_node_for(struct node *directory, const struct server_question *question, const struct hyla_file_attributes *attributes,
                    struct node **node);
int server_get_attr(struct node *node, struct linux_stat_data *stat);
int server_set_attr(struct node *node, const struct node_attr *attr);
/* The contents were read or written without the server: its times are told later. */
void server_touch(struct node *node, bool written);
/* Tells the times now. */
int server_tell_times(struct node *node);
void server_release_node(struct node *node);
/* False: nonsense. */
bool server_attributes_sound(const struct hyla_file_attributes *attributes);
/* Under server->lock: where nodes with the number are; a reference to the one that belongs to the link, or NULL. */
struct list *server_bucket(struct server_fs *server, uint64_t id);
struct server_node *server_find_locked(struct server_fs *server, const struct file_link *link, uint64_t id);
/* A node that is in no table yet. NULL: no memory. */
struct server_node *server_node_make(struct server_fs *server, struct fs *fs, struct file_link *link, const struct hyla_file_attributes *attributes);

/* --- serverfs_names.c -------------------------------------------------------------------------------- */

int server_lookup(struct node *dir, const char *name, size_t length, struct node **child);
int server_create(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid,
                  uint32_t gid, struct node **child);
int server_link_name(struct node *dir, const char *name, size_t length, struct node *target);
int server_unlink(struct node *dir, const char *name, size_t length);
int server_remove_directory(struct node *dir, const char *name, size_t length);
int server_rename(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length,
                  uint32_t flags);
int64_t server_read_link(struct node *node, char *target, size_t size);
int server_read_directory(struct node *dir, int64_t *cookie, directory_emit *emit, void *context);
int64_t server_get_xattr(struct node *node, const char *name, void *value, size_t size);
int server_set_xattr(struct node *node, const char *name, const void *value, size_t size, int flags);
int64_t server_list_xattr(struct node *node, char *names, size_t size);
int server_remove_xattr(struct node *node, const char *name);

/* --- serverfs_contents.c ----------------------------------------------------------------------------- */

static inline struct memobj *server_memobj(struct server_node *self) { return atomic_ptr_load_acquire(&self->memobj); }
int server_open(struct node *node, uint32_t flags, struct file **file);
int64_t server_read(struct node *node, struct io *io, uint64_t offset);
int64_t server_write(struct node *node, struct io *io, uint64_t offset);
int server_allocate(struct node *node, int mode, uint64_t offset, uint64_t size);
int server_map(struct node *node, uint32_t prot, bool shared, struct memobj **memobj);
int server_sync(struct node *node, bool data_only);

#endif
