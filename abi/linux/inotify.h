/*
 * inotify's insides: what inotify.c (instances) and inotify_watch.c (watches) share.
 *
 *   struct inotify        an instance: its watches and the events that wait to be read
 *   struct inotify_watch  one node watched by one instance
 *
 * One mutex guards all of it: events are told under it, so what one reads is in the order in which it was told. It is taken
 * only when something is watched somewhere (notify_wanted). A watch holds its node and the node's file system; both are let
 * go of outside the mutex (watches_free).
 */
#ifndef ABI_LINUX_INOTIFY_H
#define ABI_LINUX_INOTIFY_H

#include "abi/linux/fs/notify.h"
#include "kernel/list.h"
#include "kernel/tree.h"

#define INOTIFY_QUEUE_MAX 16384u     /* events of one instance that wait, then IN_Q_OVERFLOW */
#define INOTIFY_INSTANCES_MAX 128u   /* of one user */
#define INOTIFY_WATCHES_MAX 65536u   /* of one user */

enum inotify_bits {
    IN_UNMOUNT = 0x2000,
    IN_Q_OVERFLOW = 0x4000,
    IN_IGNORED = 0x8000,
    IN_ONLYDIR = 0x01000000,
    IN_DONT_FOLLOW = 0x02000000,
    IN_EXCL_UNLINK = 0x04000000,
    IN_MASK_CREATE = 0x10000000,
    IN_MASK_ADD = 0x20000000,
    IN_ISDIR = 0x40000000,
};
#define IN_ONESHOT 0x80000000u

/* How many instances and watches a user has: kept while there are any. */
struct inotify_user {
    struct list link;
    uint32_t uid, instances, watches;
};

struct inotify {
    struct list link;    /* all instances */
    struct inotify_user *user;
    struct tree by_wd;   /* struct inotify_watch.place */
    struct list watches; /* struct inotify_watch.link */
    struct list events;  /* struct inotify_event_waiting.link */
    uint32_t event_count;
    uint64_t event_bytes;
    int32_t last_wd;
    bool overflown;      /* an IN_Q_OVERFLOW waits */
    struct waitq readers;
    struct knote_list knotes;
};

struct inotify_watch {
    struct tree_node place;
    struct list link;
    struct inotify *instance;
    struct inotify_watch *next; /* of those on the same node: node->watches is the first */
    struct node *node;          /* referenced, as is its file system */
    struct fs *fs;
    int32_t wd;
    uint32_t mask;
};

/* As read(2) gives it, before the name. */
struct linux_inotify_event {
    int32_t wd;
    uint32_t mask, cookie, length; /* of the name, with the zeros that end and fill it */
};

struct inotify_event_waiting {
    struct list link;
    struct linux_inotify_event head;
    uint32_t name_length; /* without zeros */
    char name[];
};

extern struct mutex inotify_mutex;      /* rank NOTIFY */
extern struct list inotify_instances;   /* under it */

/* inotify_mutex held. Puts an event at the end of the queue, unless it repeats the last one. */
void inotify_tell_locked(struct inotify *instance, int32_t wd, uint32_t mask, uint32_t cookie, const char *name, size_t length);

/* inotify_watch.c */
/* Watches a node, or changes how it is watched. The watch's number; -EEXIST, -ENOSPC, -ENOMEM. */
int64_t watch_set(struct inotify *instance, struct node *node, uint32_t mask);
/* The watch with a number, or NULL. inotify_mutex held. */
struct inotify_watch *watch_find_locked(struct inotify *instance, int32_t wd);
/* Ends it: IN_IGNORED is told, and it goes to `dead`, for watches_free. inotify_mutex held. */
void watch_end_locked(struct inotify_watch *watch, struct list *dead);
/* Ends all of an instance that goes: nobody is told. inotify_mutex held. */
void watches_end_all_locked(struct inotify *instance, struct list *dead);
/* inotify_mutex not held. */
void watches_free(struct list *dead);

#endif
