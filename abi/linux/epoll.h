/*
 * The epoll object, shared by epoll.c, epoll_items.c, epoll_wait.c and epoll_calls.c.
 *
 *   struct epoll        an interest list, a ready list, and who waits
 *   struct epoll_item   one (file, descriptor) of the interest list: a knote on the file
 *
 * An activated knote links its item into the ready list and wakes; the state of the file is asked for only
 * when events are collected. An item is taken off the ready list *before* its file is asked, so an event that
 * comes in between links it again: no edge is lost.
 *
 * Locks: epoll_tree (additions, removals, nesting, death) > epoll->mutex (the items; collecting) >
 * knote list > ready_lock (the ready list, item->disabled, sleeping). An item names its file without a
 * reference: the file's death removes it (epoll_file_gone), so with either of the first two held it is valid.
 */
#ifndef ABI_LINUX_EPOLL_H
#define ABI_LINUX_EPOLL_H

#include "abi/linux/file.h"
#include "kernel/async.h"
#include "kernel/waitq.h"

#define EPOLL_DEPTH_MAX 5u              /* epolls in one chain */
#define EPOLL_ITEMS_MAX (1u << 20)      /* in the whole system */
#define EPOLL_BUCKETS_FIRST 16u

enum epoll_flags {
    EPOLL_EXCLUSIVE = 1 << 28,
    EPOLL_WAKEUP = 1 << 29,
    EPOLL_ONESHOT = 1 << 30,
};
#define EPOLL_EDGE (1u << 31)
#define EPOLL_EVENT_MASK 0xffffu /* the rest are flags */

struct epoll_item {
    struct knote knote;
    struct list ready_link; /* under ready_lock */
    bool disabled;          /* under ready_lock: a one-shot that fired */
    struct epoll *epoll;
    struct file *file; /* see above */
    int fd;
    bool nested;       /* the file is an epoll itself */
    uint32_t events;   /* under epoll->mutex, as data */
    uint64_t data;
    struct epoll_item *bucket_next; /* under epoll->mutex */
    struct list file_link;          /* under epoll_tree: the ring of the file's items */
};

struct epoll {
    struct file *file;  /* the one open file, not referenced; constant */
    struct mutex mutex; /* rank EPOLL */
    struct epoll_item **buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t item_count;

    struct spinlock ready_lock; /* rank EVENT_QUEUE */
    struct list ready;
    bool scanning; /* a part of the ready list is in somebody's hands */
    struct waitq waiters; /* entered under ready_lock, with the ready list empty */

    struct knote_list knotes; /* who watches this epoll; lock rank KNOTE_NESTED */
    struct async_work announce;
    uint64_t visit; /* under epoll_tree, as depth: the last walk that came by, and what it found */
    uint32_t depth;
    struct atomic32 references; /* the file's, and one for a queued announce */
};

extern struct mutex epoll_tree;

/* The epoll behind a file, or NULL. */
struct epoll *epoll_of(struct file *file);

/* --- items: epoll_items.c ---------------------------------------------------------------------------- */

/* epoll->mutex held. NULL: not there. */
struct epoll_item *epoll_find(struct epoll *epoll, struct file *file, int fd);
/* Both with epoll_tree and epoll->mutex held. The new item is watched and linked ready if it is. -ENOMEM, -ENOSPC. */
int epoll_item_add(struct epoll *epoll, struct file *file, int fd, uint32_t events, uint64_t data);
void epoll_item_remove(struct epoll_item *item);
/* epoll->mutex held. */
void epoll_item_change(struct epoll_item *item, uint32_t events, uint64_t data);
void epoll_items_remove_all(struct epoll *epoll);
/* True when `below` under `epoll` would close a loop or make a chain too long. epoll_tree held. */
bool epoll_nests_badly(struct epoll *epoll, struct epoll *below);
/* What the item is to report now. epoll->mutex held. */
uint32_t epoll_item_events(const struct epoll_item *item);
void epoll_put(struct epoll *epoll);

/* --- collecting: epoll_wait.c ------------------------------------------------------------------------ */

/* True when some item is ready; drops from the ready list those in front that are not. */
bool epoll_any_ready(struct epoll *epoll);
/* Moves up to `limit` events to user memory: how many, or -EFAULT. */
int64_t epoll_collect(struct epoll *epoll, uaddr_t events, int32_t limit);
/* epoll_wait(2): events, 0 at the deadline (0: do not wait), -EINTR, -EFAULT. */
int64_t epoll_wait_until(struct epoll *epoll, uaddr_t events, int32_t limit, nanoseconds_t deadline);

#endif
