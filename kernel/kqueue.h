/*
 * Event queues, as FreeBSD's kqueue(2) has them: a queue of notes, each (ident, filter) once, and of those the ones that
 * have fired. Stands on knotes (kernel/event.h), timers, and what is posted of tasks' lives (kernel/task.h).
 *
 * An ABI finds what an ident names and hands it over as a kevent_source; the queue keeps a reference on it until the note goes:
 * by EV_DELETE, EV_ONESHOT, or the end of the queue's last handle.
 *
 * What a change of a note means for what is pending. Only EV_ADD changes a note; EV_ENABLE and EV_DISABLE alone leave its interest,
 * and NOTE_TRIGGER works with or without. The new flags, fflags, data and udata replace the old ones. Pending
 * fflags that are no longer asked for are dropped, and with the last of them the event; what is still asked for stays pending and is
 * told with the new udata. A timer starts anew and its pending expirations are dropped. EV_DISABLE keeps what is pending
 * and what comes until EV_ENABLE.
 *
 * Errors: EINVAL (filter, flags, fflags, data out of range), ENOENT (no such note to change), ENOMEM, ENOSPC (KQUEUE_NOTES_MAX
 * in one queue), EINTR, ETIMEDOUT from waiting, EPIPE when the queue's last handle was closed meanwhile.
 */
#ifndef KERNEL_KQUEUE_H
#define KERNEL_KQUEUE_H

#include "kernel/event.h"
#include "kernel/object.h"
#include "kernel/types.h"

#define KQUEUE_NOTES_MAX 65536u

enum kevent_filter {
    EVFILT_READ = -1,
    EVFILT_WRITE = -2,
    EVFILT_PROC = -5,
    EVFILT_SIGNAL = -6,
    EVFILT_TIMER = -7,
    EVFILT_PORT = -8, /* a port or a port set has a message; data: how many wait in the port, 1 for a set */
    EVFILT_USER = -11,
};

enum kevent_flags {
    EV_ADD = 0x0001,
    EV_DELETE = 0x0002,
    EV_ENABLE = 0x0004,
    EV_DISABLE = 0x0008,
    EV_ONESHOT = 0x0010,
    EV_CLEAR = 0x0020,
    EV_RECEIPT = 0x0040,
    EV_DISPATCH = 0x0080,
    EV_ERROR = 0x4000, /* out: data is an error number, or 0 for a receipt */
    EV_EOF = 0x8000,   /* out: the other side is gone; a process has ended */
};

enum kevent_fflags {
    /* EVFILT_USER */
    NOTE_FFNOP = 0x00000000,
    NOTE_FFAND = 0x40000000,
    NOTE_FFOR = 0x80000000,
    NOTE_FFCOPY = 0xc0000000,
    NOTE_FFCTRLMASK = 0xc0000000,
    NOTE_FFLAGSMASK = 0x00ffffff,
    NOTE_TRIGGER = 0x01000000,
    /* EVFILT_PROC */
    NOTE_EXIT = 0x80000000,       /* data: the exit status */
    NOTE_FORK = 0x40000000,
    NOTE_EXEC = 0x20000000,
    NOTE_REAP = 0x10000000,
    NOTE_SIGNAL = 0x08000000,     /* data: the signal's number, the last one */
    NOTE_EXITSTATUS = 0x04000000, /* accepted; the status comes with NOTE_EXIT anyway */
    NOTE_TRACK = 0x00000001,      /* follow across fork: a note for the child, with the same interest and udata */
    NOTE_TRACKERR = 0x00000002,   /* out: a child could not be followed */
    NOTE_CHILD = 0x00000004,      /* out, in the child's note: data is the parent's ident */
    /* EVFILT_TIMER: the unit of data, milliseconds when none is given */
    NOTE_SECONDS = 0x00000001,
    NOTE_MSECONDS = 0x00000002,
    NOTE_USECONDS = 0x00000004,
    NOTE_NSECONDS = 0x00000008,
    NOTE_ABSTIME = 0x00000010,    /* data is wall-clock time; fires once */
};

/* As on the wire to programs. */
struct kevent {
    uint64_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    int64_t data;
    uint64_t udata;
};
static_assert(sizeof(struct kevent) == 32, "shared with programs");

/* What an ident names. */
struct kevent_source {
    struct object *object; /* borrowed: the queue takes a reference of its own */
    struct knote_list *knotes;
    /*
     * READ, WRITE and PORT: whether it is ready now. Fills event->data, may add EV_EOF to flags and set fflags. May sleep; called
     * with the queue's mutex (RANK_KQUEUE) held. NULL for PROC and SIGNAL, whose object is a task and knotes its life.
     */
    bool (*look)(struct object *object, struct kevent *event);
};

struct kqueue;
/* For a queue that no handle names (a body's own): as the end of the last handle. */
void kqueue_close(struct kqueue *queue);
extern const struct object_type kqueue_type;

/* A queue with one reference; its notes go with its last handle. NULL: no memory. */
struct kqueue *kqueue_make(void);
/* One change. `source`: for the filters that name an object, when EV_ADD may make a note; else NULL. May suspend. */
int kqueue_change(struct kqueue *queue, const struct kevent *change, const struct kevent_source *source);
/* Up to `count` events, without waiting; how many. May suspend. */
size_t kqueue_collect(struct kqueue *queue, struct kevent *events, size_t count);
/* The same, and waits for the first one: interruptible. */
int64_t kqueue_wait(struct kqueue *queue, struct kevent *events, size_t count, nanoseconds_t deadline);
/* The answer to a change: EV_ERROR with the error number, or 0. */
struct kevent kevent_receipt(const struct kevent *change, int error);
/* A port, a port set, or another queue, as the source of an event. -EINVAL: the object is none of these, or not for that filter. */
int kevent_source_of(struct object *object, int16_t filter, struct kevent_source *source);

#endif
