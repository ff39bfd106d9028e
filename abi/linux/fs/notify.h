/*
 * What happens to files is told to those who watch them (inotify(7)): abi/linux/inotify_watch.c.
 *
 * Called by the layers that carry a change out, once it is done. With nothing watched anywhere each call is one relaxed load.
 * May be called with locks up to RANK_NODE held; the caller keeps what it names alive.
 */
#ifndef ABI_LINUX_FS_NOTIFY_H
#define ABI_LINUX_FS_NOTIFY_H

#include "abi/linux/file.h"

struct fs;

/* The values are inotify's. */
enum notify_event {
    NOTIFY_ACCESS = 0x001,
    NOTIFY_MODIFY = 0x002,
    NOTIFY_ATTRIB = 0x004,
    NOTIFY_CLOSE_WRITE = 0x008,
    NOTIFY_CLOSE_NOWRITE = 0x010,
    NOTIFY_OPEN = 0x020,
    NOTIFY_MOVED_FROM = 0x040,
    NOTIFY_MOVED_TO = 0x080,
    NOTIFY_CREATE = 0x100,
    NOTIFY_DELETE = 0x200,
    NOTIFY_DELETE_SELF = 0x400,
    NOTIFY_MOVE_SELF = 0x800,
    NOTIFY_ALL = 0xfff,
};

/* Once, before the first mount. */
void notify_init(void);

extern struct atomic32 notify_watches; /* of all instances together: a hint for these inlines */

void notify_path_always(struct path *path, uint32_t events);
void notify_name_always(struct node *directory, const char *name, size_t length, uint32_t events, struct node *of, uint32_t cookie);
void notify_node_always(struct node *node, uint32_t events);
void notify_gone_always(struct node *node);
void notify_unmounted_always(struct fs *fs);

static inline bool notify_wanted(void) { return UNLIKELY(atomic32_load_relaxed(&notify_watches) != 0); }

/* To those who watch the file, and with its name to those who watch the directory it is (or was) in. path: NULL is nothing. */
static inline void notify_path(struct path *path, uint32_t events)
{
    if (notify_wanted() && path)
        notify_path_always(path, events);
}

/* The same of what an open file was opened as. */
static inline void notify_file(struct file *file, uint32_t events) { notify_path(file->path, events); }

/* To those who watch the directory: about the name of `of` in it. cookie: the two halves of a move have the same; else 0. */
static inline void notify_name(struct node *directory, const char *name, size_t length, uint32_t events, struct node *of, uint32_t cookie)
{
    if (notify_wanted())
        notify_name_always(directory, name, length, events, of, cookie);
}

/* To those who watch the node itself alone. */
static inline void notify_node(struct node *node, uint32_t events)
{
    if (notify_wanted())
        notify_node_always(node, events);
}

/* A name of the node was taken away, and nobody uses it by that name any more: if it was the last one, the watches end. */
static inline void notify_gone(struct node *node)
{
    if (notify_wanted())
        notify_gone_always(node);
}

/* The last mount of the file system has gone. */
static inline void notify_unmounted(struct fs *fs)
{
    if (notify_wanted())
        notify_unmounted_always(fs);
}

#endif
