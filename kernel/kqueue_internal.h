/*
 * The insides of event queues, shared by kqueue.c (the queue, changes, collecting) and kqueue_note.c (what makes a note fire).
 *
 * queue->mutex is held over changes and collecting; queue->lock guards what an activation touches, from whatever context. A note is
 * taken off the ready list before its object is asked, so what happens meanwhile links it again: nothing is lost.
 */
#ifndef KERNEL_KQUEUE_INTERNAL_H
#define KERNEL_KQUEUE_INTERNAL_H

#include "kernel/async.h"
#include "kernel/kqueue.h"
#include "kernel/task.h"
#include "kernel/timer.h"
#include "kernel/tree.h"
#include "kernel/waitq.h"

struct kqueue {
    struct object object;
    struct mutex mutex; /* RANK_KQUEUE */

    struct spinlock lock; /* RANK_EVENT_QUEUE; guards: */
    struct tree notes;    /* by filter and ident */
    uint32_t count;
    struct list ready;    /* struct note.ready_link, the first to fire first */
    bool closed;
    struct waitq waiters; /* entered under the lock, with the ready list empty */

    struct knote_list knotes;    /* who watches this queue; lock rank KNOTE_NESTED */
    struct async_work announce;  /* tells them; holds a reference while it is queued */
};

struct note {
    struct atomic32 references; /* one for its place in the queue, one for a follower that is to be attached */
    struct knote knote;
    struct kqueue *queue;        /* a reference */
    struct object *object;       /* a reference, or NULL */
    bool (*look)(struct object *object, struct kevent *event);
    struct task_follower follower;

    /* under queue->lock */
    struct tree_node node;
    struct list ready_link;
    bool dead;      /* out of the queue */
    bool disabled;
    bool missed;    /* something came while it was disabled */
    bool last;      /* goes when it has been told */
    struct kevent event; /* as asked: fflags is the interest, flags what EV_ADD said */
    uint32_t fired; /* PROC: fflags that are pending; USER: triggered; SIGNAL, TIMER: something is */
    int64_t data;   /* of the pending event */

    /* TIMER */
    struct timer timer;
    nanoseconds_t next;   /* the first expiration that was not told */
    nanoseconds_t period; /* 0: fires once */
};

/* A note that is in no queue yet. NULL: no memory. */
struct note *note_make(struct kqueue *queue, const struct kevent *event, struct object *object);
void note_unref(struct note *note);
/* Into the queue. -EPIPE: closed; -EEXIST, -ENOSPC. The lock is held. */
int note_insert_locked(struct note *note);
struct note *note_find_locked(struct kqueue *queue, uint64_t ident, int16_t filter);
/* Something happened. The lock is held. */
void note_fire_locked(struct note *note);
/* The knote's activate. */
bool note_activate(struct knote *knote, uint32_t events);
/* It is in the queue, and its knote on its object's list: what has happened already. */
void note_started(struct note *note);
/* Checks and takes what a filter wants of a change. -EINVAL. */
int note_check(const struct kevent *change);
/* Sets or sets anew the filter's own state, from note->event; `change` is what was asked. The mutex is held. */
void note_configure(struct note *note, const struct kevent *change);
/* The pending event, if there is one; it is then told. The mutex is held. */
bool note_take(struct note *note, struct kevent *event);
/* EV_CLEAR by nature, or by flag. */
bool note_is_edge(const struct note *note);

#endif
