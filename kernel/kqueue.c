/*
 * The event queue: its notes, changes, collecting and waiting, its end. What makes a note fire is in kqueue_note.c.
 *
 * A note that fires goes to the end of the ready list and wakes one waiter. Who collects takes what is ready in hand, so that what
 * is ready again by then (level filters go back to the end) comes in the next round and nobody collects for ever.
 *
 * The queue's notes go with its last handle, whoever still has references; a note keeps its queue's memory until it is gone.
 */
#include "kernel/kqueue.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/kqueue_internal.h"
#include "kernel/port.h"
#include "kernel/thread.h"

#define FLAGS_IN (EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE | EV_ONESHOT | EV_CLEAR | EV_RECEIPT | EV_DISPATCH)
#define FLAGS_KEPT (EV_ONESHOT | EV_CLEAR | EV_DISPATCH)

/* --- notes in the queue -------------------------------------------------------------------------------- */

static int note_compare(const struct note *note, uint64_t ident, int16_t filter)
{
    if (note->event.filter != filter)
        return filter > note->event.filter ? 1 : -1;
    return ident > note->event.ident ? 1 : ident < note->event.ident ? -1 : 0;
}

struct note *note_find_locked(struct kqueue *queue, uint64_t ident, int16_t filter)
{
    struct tree_node *node = queue->notes.root;
    while (node) {
        struct note *note = CONTAINER_OF(node, struct note, node);
        int order = note_compare(note, ident, filter);
        if (order == 0)
            return note;
        node = node->child[order > 0];
    }
    return NULL;
}

int note_insert_locked(struct note *note)
{
    struct kqueue *queue = note->queue;
    struct tree_node *parent = NULL, *node = queue->notes.root;
    int side = 0;
    if (queue->closed)
        return -EPIPE;
    if (queue->count >= KQUEUE_NOTES_MAX)
        return -ENOSPC;
    while (node) {
        int order = note_compare(CONTAINER_OF(node, struct note, node), note->event.ident, note->event.filter);
        if (order == 0)
            return -EEXIST;
        parent = node;
        side = order > 0;
        node = node->child[side];
    }
    tree_insert(&queue->notes, parent, side, &note->node);
    queue->count++;
    return 0;
}

static void announce_run(struct async_work *work)
{
    struct kqueue *queue = CONTAINER_OF(work, struct kqueue, announce);
    knote_notify(&queue->knotes, EVENT_READ);
    object_unref(queue);
}

/* Those who watch the queue itself are told by deferred work: their lists' locks are outside this one. */
static void announce_locked(struct kqueue *queue)
{
    if (knote_list_empty(&queue->knotes))
        return;
    object_ref(queue);
    if (!kernel_async(&queue->announce))
        object_unref_last(queue); /* never the last: a note has one */
}

void note_fire_locked(struct note *note)
{
    struct kqueue *queue = note->queue;
    if (note->dead)
        return;
    if (note->disabled) {
        note->missed = true;
        return;
    }
    if (list_linked(&note->ready_link))
        return;
    list_push_back(&queue->ready, &note->ready_link);
    waitq_wake_one(&queue->waiters);
    announce_locked(queue);
}

/* Afterwards nothing makes it fire. The mutex is held. */
static void note_remove(struct note *note)
{
    struct kqueue *queue = note->queue;
    spin_lock(&queue->lock);
    KASSERT(!note->dead);
    note->dead = true;
    tree_remove(&queue->notes, &note->node);
    list_remove(&note->ready_link);
    queue->count--;
    spin_unlock(&queue->lock);
    knote_remove(&note->knote);
    timer_cancel_sync(&note->timer);
    note_unref(note);
}

/* --- changes ------------------------------------------------------------------------------------------- */

static bool needs_source(int16_t filter) { return filter != EVFILT_TIMER && filter != EVFILT_USER; }

static int check_change(const struct kevent *change)
{
    if (change->flags & ~(uint32_t)FLAGS_IN || (change->flags & EV_ENABLE && change->flags & EV_DISABLE))
        return -EINVAL;
    return change->flags & EV_ADD || change->filter == EVFILT_USER ? note_check(change) : 0;
}

static int note_add(struct kqueue *queue, const struct kevent *change, const struct kevent_source *source)
{
    if (needs_source(change->filter) != (source != NULL))
        return -EINVAL;
    struct kevent event = *change;
    event.flags &= FLAGS_KEPT;
    if (event.filter == EVFILT_USER)
        event.fflags = 0;
    struct note *note = note_make(queue, &event, source ? source->object : NULL);
    if (!note)
        return -ENOMEM;
    note->disabled = change->flags & EV_DISABLE;
    note->look = source ? source->look : NULL;
    spin_lock(&queue->lock);
    int error = note_insert_locked(note);
    spin_unlock(&queue->lock);
    if (error) {
        note_unref(note);
        return error;
    }
    note_configure(note, change);
    if (source)
        knote_add(source->knotes, &note->knote);
    note_started(note);
    return 0;
}

static void enable_locked(struct note *note, uint32_t flags)
{
    if (flags & EV_DISABLE) {
        note->missed = note->missed || list_linked(&note->ready_link);
        list_remove(&note->ready_link);
        note->disabled = true;
    }
    if (flags & EV_ENABLE) {
        note->disabled = false;
        if (note->missed || note->look)
            note_fire_locked(note);
        note->missed = false;
    }
}

static void note_change(struct note *note, const struct kevent *change)
{
    struct kqueue *queue = note->queue;
    spin_lock(&queue->lock);
    if (change->flags & EV_ADD) {
        note->event.flags = (note->event.flags & EV_EOF) | (change->flags & FLAGS_KEPT);
        note->event.udata = change->udata;
        note->event.data = change->data;
        if (change->filter != EVFILT_USER)
            note->event.fflags = change->fflags;
    }
    spin_unlock(&queue->lock);
    if (change->flags & EV_ADD || change->filter == EVFILT_USER)
        note_configure(note, change);
    spin_lock(&queue->lock);
    enable_locked(note, change->flags);
    if (change->flags & EV_ADD && note->look)
        note_fire_locked(note);
    spin_unlock(&queue->lock);
}

static int change_with_mutex(struct kqueue *queue, const struct kevent *change, const struct kevent_source *source)
{
    spin_lock(&queue->lock);
    struct note *note = note_find_locked(queue, change->ident, change->filter);
    spin_unlock(&queue->lock);
    if (!note)
        return change->flags & EV_ADD && !(change->flags & EV_DELETE) ? note_add(queue, change, source) : -ENOENT;
    if (change->flags & EV_DELETE)
        note_remove(note);
    else
        note_change(note, change);
    return 0;
}

int kqueue_change(struct kqueue *queue, const struct kevent *change, const struct kevent_source *source)
{
    int error = check_change(change);
    if (error)
        return error;
    mutex_lock(&queue->mutex);
    error = change_with_mutex(queue, change, source);
    mutex_unlock(&queue->mutex);
    return error;
}

struct kevent kevent_receipt(const struct kevent *change, int error)
{
    struct kevent receipt = *change;
    receipt.flags = EV_ERROR;
    receipt.data = -error;
    return receipt;
}

/* --- collecting ---------------------------------------------------------------------------------------- */

/*
 * What becomes of a note that was told, or had nothing to tell. A task may end between the telling and here: what fired then is
 * on the ready list again and has yet to be told.
 */
static bool note_goes_locked(const struct note *note, bool told)
{
    if (told && note->event.flags & EV_ONESHOT)
        return true;
    return note->last && !note->fired && (told || note->event.filter == EVFILT_PROC);
}

static void note_stays_locked(struct note *note, bool told)
{
    if (told && note->event.flags & EV_DISPATCH) {
        enable_locked(note, EV_DISABLE);
        if (!note_is_edge(note))
            note->missed = false; /* it is looked at anyway when it is enabled */
    } else if (told && !note_is_edge(note)) {
        note_fire_locked(note);
    }
}

static void note_settle(struct note *note, bool told)
{
    struct kqueue *queue = note->queue;
    spin_lock(&queue->lock);
    bool goes = note_goes_locked(note, told);
    if (!goes)
        note_stays_locked(note, told);
    spin_unlock(&queue->lock);
    if (goes)
        note_remove(note);
}

static struct note *next_in_hand(struct kqueue *queue, struct list *hand)
{
    spin_lock(&queue->lock);
    struct list *link = list_pop_front(hand);
    spin_unlock(&queue->lock);
    return link ? LIST_ENTRY(link, struct note, ready_link) : NULL;
}

/* What is left in hand goes first next time, and somebody else may wait for it. */
static void put_back(struct kqueue *queue, struct list *hand)
{
    spin_lock(&queue->lock);
    list_splice_back(hand, &queue->ready);
    list_splice_back(&queue->ready, hand);
    if (!list_empty(&queue->ready))
        waitq_wake_one(&queue->waiters);
    spin_unlock(&queue->lock);
}

size_t kqueue_collect(struct kqueue *queue, struct kevent *events, size_t count)
{
    struct list hand;
    struct note *note;
    size_t found = 0;
    list_init(&hand);
    mutex_lock(&queue->mutex);
    spin_lock(&queue->lock);
    list_splice_back(&hand, &queue->ready);
    spin_unlock(&queue->lock);
    while (found < count && (note = next_in_hand(queue, &hand))) {
        bool told = note_take(note, &events[found]);
        found += told;
        note_settle(note, told);
    }
    put_back(queue, &hand);
    mutex_unlock(&queue->mutex);
    return found;
}

/* --- waiting ------------------------------------------------------------------------------------------- */

/* 0: look again. */
static int wait_for_one(struct kqueue *queue, nanoseconds_t deadline)
{
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&queue->lock);
    bool closed = queue->closed, wait = !closed && list_empty(&queue->ready);
    if (wait) {
        spin_lock(&queue->waiters.lock);
        waitq_enqueue_locked(&queue->waiters, &waiter);
        spin_unlock(&queue->waiters.lock);
    }
    spin_unlock(&queue->lock);
    if (wait)
        return waiter_wait(&waiter, deadline, WAIT_INTERRUPTIBLE);
    return closed ? -EPIPE : 0;
}

int64_t kqueue_wait(struct kqueue *queue, struct kevent *events, size_t count, nanoseconds_t deadline)
{
    int error = 0;
    KASSERT(count > 0);
    for (;;) {
        size_t found = kqueue_collect(queue, events, count);
        if (found > 0)
            return (int64_t)found;
        if (error)
            return error;
        error = wait_for_one(queue, deadline);
    }
}

/* --- the object ---------------------------------------------------------------------------------------- */

static struct note *first_note(struct kqueue *queue)
{
    spin_lock(&queue->lock);
    queue->closed = true;
    struct tree_node *node = queue->notes.root;
    spin_unlock(&queue->lock);
    return node ? CONTAINER_OF(node, struct note, node) : NULL;
}

void kqueue_close(struct kqueue *queue)
{
    struct note *note;
    mutex_lock(&queue->mutex);
    while ((note = first_note(queue)))
        note_remove(note);
    mutex_unlock(&queue->mutex);
    waitq_wake_all(&queue->waiters);
    knote_notify(&queue->knotes, EVENT_HANGUP);
}

static void kqueue_destroy(struct object *object)
{
    struct kqueue *queue = CONTAINER_OF(object, struct kqueue, object);
    KASSERT(!queue->notes.root && list_empty(&queue->ready));
    knote_list_close(&queue->knotes);
    kfree(queue);
}

static void kqueue_no_handles(struct object *object) { kqueue_close(CONTAINER_OF(object, struct kqueue, object)); }

const struct object_type kqueue_type = {.name = "kqueue", .destroy = kqueue_destroy, .no_handles = kqueue_no_handles};

struct kqueue *kqueue_make(void)
{
    struct kqueue *queue = kzalloc(sizeof(*queue));
    if (!queue)
        return NULL;
    object_init(&queue->object, &kqueue_type);
    mutex_init(&queue->mutex, RANK_KQUEUE);
    spinlock_init(&queue->lock, RANK_EVENT_QUEUE);
    tree_init(&queue->notes, NULL);
    list_init(&queue->ready);
    waitq_init(&queue->waiters);
    knote_list_init(&queue->knotes);
    spinlock_init(&queue->knotes.lock, RANK_KNOTE_NESTED);
    async_work_init(&queue->announce, announce_run);
    return queue;
}

/* --- the kernel's own sources -------------------------------------------------------------------------- */

static bool look_at_port(struct object *object, struct kevent *event)
{
    uint32_t events = port_events(object);
    event->data = (int64_t)port_messages(object);
    if (events & EVENT_HANGUP)
        event->flags |= EV_EOF;
    return events != 0;
}

/* How many have fired, as far as can be said without asking their objects. */
static bool look_at_queue(struct object *object, struct kevent *event)
{
    struct kqueue *queue = CONTAINER_OF(object, struct kqueue, object);
    spin_lock(&queue->lock);
    LIST_FOR_EACH (link, &queue->ready)
        event->data++;
    if (queue->closed)
        event->flags |= EV_EOF;
    spin_unlock(&queue->lock);
    return event->data > 0 || event->flags & EV_EOF;
}

int kevent_source_of(struct object *object, int16_t filter, struct kevent_source *source)
{
    *source = (struct kevent_source){.object = object};
    if ((object->type == &port_type || object->type == &port_set_type) && filter == EVFILT_PORT) {
        source->knotes = port_knotes(object);
        source->look = look_at_port;
        return 0;
    }
    if (object->type == &kqueue_type && filter == EVFILT_READ) {
        source->knotes = &CONTAINER_OF(object, struct kqueue, object)->knotes;
        source->look = look_at_queue;
        return 0;
    }
    return -EINVAL;
}
