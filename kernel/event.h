/*
 * Events: knotes attached to objects. One mechanism under poll, select, epoll and kqueue.
 *
 * An object that can become ready embeds a knote_list and calls knote_notify(list, events) after every
 * change that may make it ready. A knote says which events somebody cares for and what to do: its
 * `activate` runs with the list's spinlock held, so it may only wake, or link the knote into a queue's
 * ready list. Level state is never stored in a knote: who collects asks the object again.
 *
 * Death: the object calls knote_list_close before it goes; each knote gets `detach`ed and is told with
 * EVENT_CLOSED. A knote's owner removes it with knote_remove, after which activate runs nowhere.
 */
#ifndef KERNEL_EVENT_H
#define KERNEL_EVENT_H

#include "kernel/list.h"
#include "kernel/lock.h"

/* The values are those of poll(2) where it has one. */
enum event_bits {
    EVENT_READ = 0x001,      /* POLLIN */
    EVENT_PRIORITY = 0x002,  /* POLLPRI */
    EVENT_WRITE = 0x004,     /* POLLOUT */
    EVENT_ERROR = 0x008,     /* POLLERR */
    EVENT_HANGUP = 0x010,    /* POLLHUP */
    EVENT_INVALID = 0x020,   /* POLLNVAL */
    EVENT_READ_NORMAL = 0x040,
    EVENT_READ_BAND = 0x080,
    EVENT_WRITE_NORMAL = 0x100,
    EVENT_WRITE_BAND = 0x200,
    EVENT_READ_HANGUP = 0x2000, /* POLLRDHUP */
    EVENT_CLOSED = 0x10000,     /* the object itself goes */
};

struct knote_list {
    struct spinlock lock; /* rank KNOTE */
    struct list knotes;   /* struct knote.link */
    const void *detail;   /* under lock: of the notification that is going on, see knote_notify_with */
};

struct knote {
    struct list link; /* under list->lock */
    struct knote_list *list;
    uint32_t interest; /* event_bits; ERROR, HANGUP and CLOSED are always of interest */
    bool exclusive;    /* of several exclusive knotes only one that accepts is activated */
    /* Returns true when it took the event (ends the search among exclusive ones). List lock held. */
    bool (*activate)(struct knote *knote, uint32_t events);
};

void knote_list_init(struct knote_list *list);
void knote_add(struct knote_list *list, struct knote *knote);
/* Afterwards the knote is on no list and activate does not run. Safe when not attached, or list closed. */
void knote_remove(struct knote *knote);
/* Activates every knote interested in `events`. From any context without a lock of rank KNOTE or above. */
void knote_notify(struct knote_list *list, uint32_t events);
/* The same, with something that `activate` finds in list->detail, as its object's type defines it; else that is NULL. */
void knote_notify_with(struct knote_list *list, uint32_t events, const void *detail);
/* A cheap hint for objects with a hot path, without the lock: who adds a knote looks at the object afterwards. */
__attribute__((no_sanitize("thread"))) static inline bool knote_list_empty(const struct knote_list *list)
{
    return list->knotes.next == &list->knotes;
}
void knote_list_close(struct knote_list *list);

#endif
