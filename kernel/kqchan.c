/*
 * The event channel's state machine: see kernel/kqchan.h for the protocol.
 *
 * channel->mutex is held over everything that is sent, so an answer and the notification of what happened meanwhile cannot change
 * places. channel->lock guards what an activation touches: it only notes what happened and has the pump run, which is deferred work.
 * At most one answer waits for room in the socket (unsent); until it is gone no request is taken.
 *
 * A child's channel comes into being in its parent's activation, without a link (unborn), on the parent's list. It gets its link when
 * the parent's peer reads it off. Unborn channels of a family are counted in one place.
 */
#include "kernel/kqchan.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/async.h"
#include "kernel/errno.h"
#include "kernel/lock.h"
#include "kernel/port.h"
#include "kernel/task.h"

#define PROC_ASKED (NOTE_EXIT | NOTE_FORK | NOTE_EXEC | NOTE_REAP | NOTE_SIGNAL | NOTE_EXITSTATUS | NOTE_TRACK)
#define TASK_EVENTS (TASK_FORK | TASK_EXEC | TASK_EXIT | TASK_REAP | TASK_SIGNAL)

struct family {
    struct atomic32 references; /* one for each channel */
    struct atomic32 untold;
};

struct kqchan {
    struct object object;
    struct mutex mutex; /* RANK_KQUEUE; guards: */
    struct kqchan_link *link; /* NULL: unborn, or over */
    bool notified;            /* a notification is out */
    bool unsent_waits;
    struct kqchan_message unsent;
    struct kqchan_link *unsent_child;
    struct async_work pump;   /* holds a reference while it is queued */

    struct knote knote;
    struct task_follower follower;
    struct object *watched;   /* a reference: a task, a port or a port set */
    bool is_task;
    uint64_t ident;
    struct family *family;

    struct spinlock lock; /* RANK_EVENT_QUEUE; guards: */
    bool over;
    bool born;            /* has its link, or had it */
    bool ended;           /* the task: EV_EOF */
    uint32_t flags;       /* EV_CLEAR */
    uint32_t interest;
    uint64_t udata;
    uint32_t fired;
    int64_t data;
    struct list children; /* unborn; struct kqchan.child_link, each with a reference */
    struct list child_link;
};

/* --- the object ---------------------------------------------------------------------------------------- */

static void family_unref(struct family *family)
{
    if (atomic32_sub(&family->references, 1) == 1)
        kfree(family);
}

static void kqchan_destroy(struct object *object)
{
    struct kqchan *channel = CONTAINER_OF(object, struct kqchan, object);
    KASSERT(!channel->link && list_empty(&channel->children));
    object_unref(channel->watched);
    family_unref(channel->family);
    kfree(channel);
}

static const struct object_type kqchan_type = {.name = "kqchan", .destroy = kqchan_destroy};

static bool activate(struct knote *knote, uint32_t events);
static void attach(struct task_follower *follower, struct task *child);
static void pump_run(struct async_work *work);

/* Takes a reference on the family. */
static struct kqchan *channel_make(struct family *family, struct object *watched, uint64_t ident, uint64_t udata)
{
    struct kqchan *channel = kzalloc(sizeof(*channel));
    if (!channel)
        return NULL;
    object_init(&channel->object, &kqchan_type);
    mutex_init(&channel->mutex, RANK_KQUEUE);
    spinlock_init(&channel->lock, RANK_EVENT_QUEUE);
    async_work_init(&channel->pump, pump_run);
    list_init(&channel->children);
    list_init(&channel->child_link);
    list_init(&channel->follower.link);
    list_init(&channel->knote.link);
    channel->knote.activate = activate;
    channel->follower.attach = attach;
    atomic32_add_relaxed(&family->references, 1);
    channel->family = family;
    channel->watched = object_ref(watched);
    channel->ident = ident;
    channel->udata = udata;
    return channel;
}

/* --- what happens -------------------------------------------------------------------------------------- */

static void pump_locked(struct kqchan *channel)
{
    object_ref(channel);
    if (!kernel_async(&channel->pump))
        object_unref_last(channel); /* never the last: the caller has one */
}

static bool family_count(struct family *family)
{
    if (atomic32_add(&family->untold, 1) < KQCHAN_UNTOLD_MAX)
        return true;
    atomic32_sub(&family->untold, 1);
    return false;
}

/* False: the child cannot be followed. */
static bool follow_locked(struct kqchan *parent, const struct task_event *event)
{
    if (!family_count(parent->family))
        return false;
    struct kqchan *child = channel_make(parent->family, &event->child->object, event->child_ident, parent->udata);
    if (!child) {
        atomic32_sub(&parent->family->untold, 1);
        return false;
    }
    child->is_task = true;
    child->interest = parent->interest;
    child->knote.interest = TASK_EVENTS;
    list_push_back(&parent->children, &child->child_link);
    object_ref(child);
    list_push_back(event->attach, &child->follower.link);
    return true;
}

/* The child does not run yet. The rival is close_one: whichever comes second takes the knote off. */
static void attach(struct task_follower *follower, struct task *task)
{
    struct kqchan *channel = CONTAINER_OF(follower, struct kqchan, follower);
    knote_add(&task->life, &channel->knote);
    spin_lock(&channel->lock);
    bool over = channel->over;
    spin_unlock(&channel->lock);
    if (over)
        knote_remove(&channel->knote);
    object_unref(channel);
}

/* Once, whether look_for_end or task_post comes first. */
static uint32_t ended_locked(struct kqchan *channel, int64_t status)
{
    if (channel->ended)
        return 0;
    channel->ended = true;
    if (channel->interest & NOTE_EXIT)
        channel->data = status;
    return channel->interest & NOTE_EXIT;
}

static uint32_t fired_locked(struct kqchan *channel, const struct task_event *event)
{
    switch (event->kind) {
    case TASK_FORK:
        if (channel->interest & NOTE_TRACK && !follow_locked(channel, event))
            return (channel->interest & NOTE_FORK) | NOTE_TRACKERR;
        return channel->interest & NOTE_FORK;
    case TASK_EXEC:
        return channel->interest & NOTE_EXEC;
    case TASK_EXIT:
        return ended_locked(channel, event->data);
    case TASK_REAP:
        return channel->interest & NOTE_REAP;
    case TASK_SIGNAL:
        if (channel->interest & NOTE_SIGNAL && !(channel->fired & NOTE_EXIT))
            channel->data = event->data;
        return channel->interest & NOTE_SIGNAL;
    }
    return 0;
}

static bool pending_locked(const struct kqchan *channel) { return channel->fired || !list_empty(&channel->children); }

static bool activate(struct knote *knote, uint32_t events)
{
    struct kqchan *channel = CONTAINER_OF(knote, struct kqchan, knote);
    const struct task_event *event = knote->list ? knote->list->detail : NULL;
    (void)events;
    spin_lock(&channel->lock);
    if (!channel->over) {
        if (!channel->is_task)
            channel->fired = 1;
        else if (event)
            channel->fired |= fired_locked(channel, event);
        if (channel->born && pending_locked(channel))
            pump_locked(channel);
    }
    spin_unlock(&channel->lock);
    return true;
}

/* A task that ended before the channel came. The rival is task_post: who comes second tells nothing. */
static void look_for_end(struct kqchan *channel)
{
    struct task *task = CONTAINER_OF(channel->watched, struct task, object);
    spin_lock(&task->life.lock);
    bool ended = task->ended;
    int64_t status = task->status;
    spin_unlock(&task->life.lock);
    spin_lock(&channel->lock);
    if (ended && !channel->ended) {
        channel->fired |= ended_locked(channel, status);
        pump_locked(channel);
    }
    spin_unlock(&channel->lock);
}

/* --- sending ------------------------------------------------------------------------------------------- */

/* The answer goes, or waits for room. With the mutex. */
static void answer(struct kqchan *channel, const struct kqchan_message *message, struct kqchan_link *child)
{
    KASSERT(!channel->unsent_waits);
    if (channel->link->operations->send(channel->link, message, child) == -EAGAIN) {
        channel->unsent = *message;
        channel->unsent_child = child;
        channel->unsent_waits = true;
    }
}

/* False: there is no room. */
static bool flush(struct kqchan *channel)
{
    if (!channel->unsent_waits)
        return true;
    channel->unsent_waits = false;
    answer(channel, &channel->unsent, channel->unsent_child);
    return !channel->unsent_waits;
}

static bool pending(struct kqchan *channel)
{
    spin_lock(&channel->lock);
    bool some = pending_locked(channel);
    spin_unlock(&channel->lock);
    return some;
}

/* What is to be sent and has room. With the mutex. */
static void pump(struct kqchan *channel)
{
    if (!channel->link || !flush(channel) || channel->notified || !pending(channel))
        return;
    struct kqchan_message notification = {.kind = KQCHAN_NOTIFY};
    channel->notified = channel->link->operations->send(channel->link, &notification, NULL) == 0;
}

static void pump_run(struct async_work *work)
{
    struct kqchan *channel = CONTAINER_OF(work, struct kqchan, pump);
    mutex_lock(&channel->mutex);
    pump(channel);
    mutex_unlock(&channel->mutex);
    object_unref(channel);
}

void kqchan_writable(struct kqchan *channel)
{
    mutex_lock(&channel->mutex);
    pump(channel);
    mutex_unlock(&channel->mutex);
}

/* --- the end ------------------------------------------------------------------------------------------- */

/* Its unborn children come on the list of what is to be closed. Drops a reference. */
static void close_one(struct kqchan *channel, struct list *closing)
{
    mutex_lock(&channel->mutex);
    struct kqchan_link *link = channel->link, *unsent_child = channel->unsent_waits ? channel->unsent_child : NULL;
    channel->link = NULL;
    channel->unsent_waits = false;
    mutex_unlock(&channel->mutex);
    spin_lock(&channel->lock);
    channel->over = true;
    list_splice_back(closing, &channel->children);
    spin_unlock(&channel->lock);
    knote_remove(&channel->knote);
    if (unsent_child)
        unsent_child->operations->abandon(unsent_child);
    if (link)
        link->operations->close(link);
    object_unref(channel);
}

static void close_family(struct list *closing)
{
    struct list *next;
    while ((next = list_pop_front(closing))) {
        struct kqchan *child = LIST_ENTRY(next, struct kqchan, child_link);
        atomic32_sub(&child->family->untold, 1);
        close_one(child, closing);
    }
}

void kqchan_hung_up(struct kqchan *channel)
{
    struct list closing;
    list_init(&closing);
    close_one(channel, &closing);
    close_family(&closing);
}

/* --- requests ------------------------------------------------------------------------------------------ */

static struct kqchan *child_take(struct kqchan *channel)
{
    spin_lock(&channel->lock);
    struct list *link = list_pop_front(&channel->children);
    spin_unlock(&channel->lock);
    return link ? LIST_ENTRY(link, struct kqchan, child_link) : NULL;
}

static void message_event(struct kqchan *channel, struct kqchan_message *message, uint64_t ident, uint32_t fflags, int64_t data)
{
    message->event = (struct kevent){.ident = ident,
                                     .filter = channel->is_task ? EVFILT_PROC : EVFILT_PORT,
                                     .fflags = fflags,
                                     .data = data,
                                     .udata = channel->udata};
}

/* With a link the child is born: what happens to it is told in its own channel from now on. */
static void birth(struct kqchan *child, struct kqchan_link *link)
{
    child->link = link; /* no pump has run yet, and no peer has been told */
    spin_lock(&child->lock);
    child->born = true;
    if (pending_locked(child))
        pump_locked(child);
    spin_unlock(&child->lock);
}

/* *refused: no channel could be made for the child; it is not followed, and the caller's to close, without the mutex. */
static void tell_child(struct kqchan *channel, struct kqchan_message *message, struct kqchan *child, struct kqchan **refused)
{
    struct kqchan_link *made = NULL;
    atomic32_sub(&child->family->untold, 1);
    object_ref(child);
    if (channel->link->operations->pair(channel->link, child, &made) == 0) {
        birth(child, made);
        message_event(channel, message, child->ident, NOTE_CHILD, (int64_t)channel->ident);
        message->flags = KQCHAN_CHILD;
    } else {
        *refused = child;
        message_event(channel, message, channel->ident, NOTE_TRACKERR, 0);
    }
    object_unref(child);
    answer(channel, message, made);
}

static bool take_task(struct kqchan *channel, struct kqchan_message *message)
{
    spin_lock(&channel->lock);
    uint32_t fired = channel->fired;
    message_event(channel, message, channel->ident, fired, channel->data);
    message->event.flags = channel->ended ? EV_EOF : 0;
    channel->fired = 0;
    channel->data = 0;
    spin_unlock(&channel->lock);
    return fired;
}

/* Without EV_CLEAR there is another notification as long as messages wait. */
static bool take_port(struct kqchan *channel, struct kqchan_message *message)
{
    spin_lock(&channel->lock);
    channel->fired = 0;
    message_event(channel, message, channel->ident, 0, 0);
    bool level = !(channel->flags & EV_CLEAR);
    spin_unlock(&channel->lock);
    uint32_t events = port_events(channel->watched);
    message->event.data = (int64_t)port_messages(channel->watched);
    message->event.flags = events & EVENT_HANGUP ? EV_EOF : 0;
    if (events & EVENT_READ && level) {
        spin_lock(&channel->lock);
        channel->fired = 1;
        spin_unlock(&channel->lock);
    }
    return events;
}

static void answer_read(struct kqchan *channel, uint64_t serial, struct kqchan **refused)
{
    struct kqchan_message message = {.kind = KQCHAN_EVENT, .serial = serial};
    struct kqchan *child = channel->is_task ? child_take(channel) : NULL;
    channel->notified = false;
    if (child) {
        tell_child(channel, &message, child, refused);
        return;
    }
    if (!(channel->is_task ? take_task(channel, &message) : take_port(channel, &message))) {
        message.flags = KQCHAN_DROP;
        message.event = (struct kevent){.ident = 0};
    }
    answer(channel, &message, NULL);
}

static int check_flags(const struct kqchan *channel, uint32_t flags, uint32_t fflags)
{
    uint32_t allowed = channel->is_task ? PROC_ASKED : 0;
    return fflags & ~allowed || flags & ~(uint32_t)EV_CLEAR ? -EINVAL : 0;
}

static void modify_locked(struct kqchan *channel, const struct kevent *event)
{
    channel->flags = event->flags;
    channel->interest = event->fflags;
    channel->udata = event->udata;
    if (channel->is_task)
        channel->fired &= event->fflags | NOTE_TRACKERR;
}

static void answer_modify(struct kqchan *channel, const struct kqchan_message *request)
{
    struct kqchan_message message = {.kind = KQCHAN_MODIFIED, .serial = request->serial};
    message.error = check_flags(channel, request->event.flags, request->event.fflags);
    spin_lock(&channel->lock);
    if (!message.error)
        modify_locked(channel, &request->event);
    spin_unlock(&channel->lock);
    answer(channel, &message, NULL);
}

/* With the mutex. */
static int receive(struct kqchan *channel, const struct kqchan_message *message, struct kqchan **refused)
{
    if (!channel->link)
        return -EPIPE;
    if (!flush(channel))
        return -EAGAIN;
    if (message->kind == KQCHAN_READ)
        answer_read(channel, message->serial, refused);
    else if (message->kind == KQCHAN_MODIFY)
        answer_modify(channel, message);
    else
        return -EINVAL;
    pump(channel);
    return 0;
}

int kqchan_received(struct kqchan *channel, const struct kqchan_message *message)
{
    struct kqchan *refused = NULL;
    mutex_lock(&channel->mutex);
    int error = receive(channel, message, &refused);
    mutex_unlock(&channel->mutex);
    if (refused)
        kqchan_hung_up(refused);
    return error;
}

/* --- opening ------------------------------------------------------------------------------------------- */

static struct kqchan *channel_open(struct object *watched, uint64_t ident, uint64_t udata)
{
    struct family *family = kzalloc(sizeof(*family));
    if (!family)
        return NULL;
    struct kqchan *channel = channel_make(family, watched, ident, udata);
    if (!channel)
        kfree(family);
    return channel;
}

int kqchan_open_task(struct task *task, uint64_t ident, uint32_t fflags, uint64_t udata, struct kqchan_link *link, struct kqchan **made)
{
    if (fflags & ~(uint32_t)PROC_ASKED)
        return -EINVAL;
    struct kqchan *channel = channel_open(&task->object, ident, udata);
    if (!channel)
        return -ENOMEM;
    channel->is_task = true;
    channel->interest = fflags;
    channel->knote.interest = TASK_EVENTS;
    channel->link = link;
    channel->born = true;
    *made = channel; /* the peer may be served from here on */
    object_ref(channel); /* the peer may go at once */
    knote_add(&task->life, &channel->knote);
    look_for_end(channel);
    object_unref(channel);
    return 0;
}

int kqchan_open_port(struct object *port, uint64_t ident, uint32_t flags, uint64_t udata, struct kqchan_link *link, struct kqchan **made)
{
    if (flags & ~(uint32_t)EV_CLEAR || (port->type != &port_type && port->type != &port_set_type))
        return -EINVAL;
    struct kqchan *channel = channel_open(port, ident, udata);
    if (!channel)
        return -ENOMEM;
    channel->flags = flags;
    channel->knote.interest = EVENT_READ;
    channel->link = link;
    channel->born = true;
    *made = channel;
    object_ref(channel); /* the peer may go at once */
    knote_add(port_knotes(port), &channel->knote);
    if (port_events(port))
        activate(&channel->knote, EVENT_READ);
    object_unref(channel);
    return 0;
}
