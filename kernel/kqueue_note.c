/*
 * Notes: what makes each filter's fire, and what is then told.
 *
 *   READ WRITE PORT   the knote says "look"; whether there is something, the object says when events are collected
 *   PROC SIGNAL       what task_post brings is kept in the note: fflags or'ed, signals counted
 *   TIMER             its timer; a periodic one is armed again only when it was told, and what it missed is then counted by
 *                     the clock, so the shortest period costs what its reader can take and no more
 *   USER              a trigger
 *
 * A task that forks and is tracked gets its child a note here, before the child runs: made under the parent's knote list's lock,
 * put on the child's list by task_post when that is free again.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/kqueue_internal.h"

#define PROC_ASKED (NOTE_EXIT | NOTE_FORK | NOTE_EXEC | NOTE_REAP | NOTE_SIGNAL | NOTE_EXITSTATUS | NOTE_TRACK)
#define TIMER_UNITS (NOTE_SECONDS | NOTE_MSECONDS | NOTE_USECONDS | NOTE_NSECONDS)

/* --- life ---------------------------------------------------------------------------------------------- */

static void timer_fired(struct timer *timer)
{
    struct note *note = CONTAINER_OF(timer, struct note, timer);
    spin_lock(&note->queue->lock);
    note->fired = 1;
    note_fire_locked(note);
    spin_unlock(&note->queue->lock);
}

static uint32_t knote_interest(int16_t filter)
{
    switch (filter) {
    case EVFILT_WRITE: return EVENT_WRITE;
    case EVFILT_PROC: return TASK_FORK | TASK_EXEC | TASK_EXIT | TASK_REAP | TASK_SIGNAL;
    case EVFILT_SIGNAL: return TASK_SIGNAL;
    default: return EVENT_READ;
    }
}

static void follower_attach(struct task_follower *follower, struct task *child);

struct note *note_make(struct kqueue *queue, const struct kevent *event, struct object *object)
{
    struct note *note = kzalloc(sizeof(*note));
    if (!note)
        return NULL;
    note->references = (struct atomic32)ATOMIC_INIT(1);
    note->queue = object_ref(queue);
    note->object = object ? object_ref(object) : NULL;
    note->event = *event;
    note->knote = (struct knote){.interest = knote_interest(event->filter), .activate = note_activate};
    note->follower.attach = follower_attach;
    list_init(&note->follower.link);
    list_init(&note->knote.link);
    list_init(&note->ready_link);
    timer_init(&note->timer, timer_fired);
    return note;
}

void note_unref(struct note *note)
{
    if (atomic32_sub(&note->references, 1) > 1)
        return;
    object_unref(note->object);
    object_unref(note->queue);
    kfree(note);
}

bool note_is_edge(const struct note *note)
{
    int16_t filter = note->event.filter;
    return filter == EVFILT_PROC || filter == EVFILT_SIGNAL || filter == EVFILT_TIMER || note->event.flags & EV_CLEAR;
}

/* --- tasks' lives -------------------------------------------------------------------------------------- */

/* The child does not run yet. The rival is the note's end: whichever comes second takes the knote off. */
static void follower_attach(struct task_follower *follower, struct task *child)
{
    struct note *note = CONTAINER_OF(follower, struct note, follower);
    knote_add(&child->life, &note->knote);
    spin_lock(&note->queue->lock);
    bool dead = note->dead;
    spin_unlock(&note->queue->lock);
    if (dead)
        knote_remove(&note->knote);
    note_unref(note);
}

/* False: the child cannot be followed. */
static bool follow_locked(struct note *parent, const struct task_event *event)
{
    struct kevent followed = parent->event;
    followed.ident = event->child_ident;
    struct note *note = note_make(parent->queue, &followed, &event->child->object);
    if (!note)
        return false;
    if (note_insert_locked(note) != 0) {
        object_unref_last(note->object); /* never the last: the caller has one, of this and of the queue */
        object_unref_last(note->queue);
        kfree(note);
        return false;
    }
    note->disabled = parent->disabled;
    note->fired = NOTE_CHILD;
    note->data = (int64_t)parent->event.ident;
    note_fire_locked(note);
    atomic32_add_relaxed(&note->references, 1);
    list_push_back(event->attach, &note->follower.link);
    return true;
}

static uint32_t proc_forked_locked(struct note *note, const struct task_event *event)
{
    uint32_t fired = note->event.fflags & NOTE_FORK;
    if (note->event.fflags & NOTE_TRACK && !follow_locked(note, event))
        fired |= NOTE_TRACKERR;
    return fired;
}

/* Once, whether started_with_task or task_post comes first. */
static uint32_t proc_ended_locked(struct note *note, int64_t status)
{
    uint32_t fired = note->event.flags & EV_EOF ? 0 : note->event.fflags & NOTE_EXIT;
    if (fired)
        note->data = status;
    note->event.flags |= EV_EOF;
    note->last = !(note->event.fflags & NOTE_REAP);
    return fired;
}

static uint32_t proc_fired_locked(struct note *note, const struct task_event *event)
{
    switch (event->kind) {
    case TASK_FORK:
        return proc_forked_locked(note, event);
    case TASK_EXEC:
        return note->event.fflags & NOTE_EXEC;
    case TASK_EXIT:
        return proc_ended_locked(note, event->data);
    case TASK_REAP:
        note->last = true;
        return note->event.fflags & NOTE_REAP;
    case TASK_SIGNAL:
        if (note->event.fflags & NOTE_SIGNAL && !(note->fired & NOTE_EXIT))
            note->data = event->data;
        return note->event.fflags & NOTE_SIGNAL;
    }
    return 0;
}

/* Also a note that has nothing to tell is collected, when it is its last. */
static void proc_locked(struct note *note, const struct task_event *event)
{
    uint32_t fired = proc_fired_locked(note, event);
    note->fired |= fired;
    if (fired || note->last)
        note_fire_locked(note);
}

static void signal_locked(struct note *note, const struct task_event *event)
{
    if ((uint64_t)event->data != note->event.ident)
        return;
    note->fired = 1;
    note->data++;
    note_fire_locked(note);
}

bool note_activate(struct knote *knote, uint32_t events)
{
    struct note *note = CONTAINER_OF(knote, struct note, knote);
    const struct task_event *event = knote->list ? knote->list->detail : NULL;
    (void)events;
    spin_lock(&note->queue->lock);
    if (note->dead)
        ;
    else if (note->event.filter == EVFILT_PROC && event)
        proc_locked(note, event);
    else if (note->event.filter == EVFILT_SIGNAL && event)
        signal_locked(note, event);
    else if (note->look)
        note_fire_locked(note);
    spin_unlock(&note->queue->lock);
    return true;
}

/* A task that ended before it was watched. The rival is task_post: who comes second tells nothing. */
static void started_with_task(struct note *note)
{
    struct task *task = CONTAINER_OF(note->object, struct task, object);
    struct task_event event = {.kind = TASK_EXIT};
    spin_lock(&task->life.lock);
    bool ended = task->ended;
    event.data = task->status;
    spin_unlock(&task->life.lock);
    spin_lock(&note->queue->lock);
    if (ended && !(note->event.flags & EV_EOF))
        proc_locked(note, &event);
    spin_unlock(&note->queue->lock);
}

void note_started(struct note *note)
{
    if (note->event.filter == EVFILT_PROC)
        started_with_task(note);
    struct kevent ignored = note->event;
    if (!note->look || !note->look(note->object, &ignored))
        return;
    spin_lock(&note->queue->lock);
    note_fire_locked(note);
    spin_unlock(&note->queue->lock);
}

/* --- what is asked ------------------------------------------------------------------------------------- */

static int timer_period(const struct kevent *change, nanoseconds_t *period)
{
    uint32_t units = change->fflags & TIMER_UNITS;
    uint64_t scale = units == NOTE_SECONDS ? 1000000000 : units == NOTE_USECONDS ? 1000 : units == NOTE_NSECONDS ? 1 : 1000000;
    if (change->data < 0 || (units & (units - 1)) || (uint64_t)change->data > (uint64_t)INT64_MAX / scale)
        return -EINVAL;
    *period = change->data == 0 ? scale : (uint64_t)change->data * scale;
    return 0;
}

int note_check(const struct kevent *change)
{
    nanoseconds_t period;
    switch (change->filter) {
    case EVFILT_READ:
    case EVFILT_WRITE:
    case EVFILT_PORT:
        return change->fflags ? -EINVAL : 0;
    case EVFILT_SIGNAL:
        return change->fflags || change->ident == 0 ? -EINVAL : 0;
    case EVFILT_PROC:
        return change->fflags & ~(uint32_t)PROC_ASKED ? -EINVAL : 0;
    case EVFILT_TIMER:
        return change->fflags & ~(uint32_t)(TIMER_UNITS | NOTE_ABSTIME) ? -EINVAL : timer_period(change, &period);
    case EVFILT_USER:
        return change->fflags & ~(uint32_t)(NOTE_FFCTRLMASK | NOTE_FFLAGSMASK | NOTE_TRIGGER) ? -EINVAL : 0;
    }
    return -EINVAL;
}

/* Wall-clock time as monotonic time: what is past fires at once. */
static nanoseconds_t monotonic(uint64_t wall)
{
    int64_t offset = body_wall_offset();
    if (offset >= 0)
        return wall > (uint64_t)offset ? wall - (uint64_t)offset : 0;
    return wall + (uint64_t)-offset;
}

static void configure_timer(struct note *note)
{
    nanoseconds_t period = 0;
    KASSERT(timer_period(&note->event, &period) == 0);
    bool absolute = note->event.fflags & NOTE_ABSTIME;
    timer_cancel_sync(&note->timer);
    spin_lock(&note->queue->lock);
    list_remove(&note->ready_link);
    note->fired = 0;
    note->missed = false;
    note->period = absolute || note->event.flags & EV_ONESHOT ? 0 : period;
    note->last = note->period == 0;
    note->next = absolute ? monotonic(period) : body_now() + period;
    spin_unlock(&note->queue->lock);
    timer_set(&note->timer, note->next);
}

static uint32_t user_flags(uint32_t old, uint32_t change)
{
    uint32_t flags = change & NOTE_FFLAGSMASK;
    switch (change & NOTE_FFCTRLMASK) {
    case NOTE_FFAND: return old & flags;
    case NOTE_FFOR: return old | flags;
    case NOTE_FFCOPY: return flags;
    default: return old;
    }
}

static void configure_user_locked(struct note *note, const struct kevent *change)
{
    note->data = change->flags & EV_ADD ? change->data : note->data;
    note->event.fflags = user_flags(note->event.fflags, change->fflags);
    if (change->fflags & NOTE_TRIGGER) {
        note->fired = 1;
        note_fire_locked(note);
    }
}

/* What is pending and still asked for stays. */
static void configure_proc_locked(struct note *note)
{
    note->fired &= note->event.fflags | NOTE_CHILD | NOTE_TRACKERR;
    if (!note->fired && !note->last)
        list_remove(&note->ready_link);
}

void note_configure(struct note *note, const struct kevent *change)
{
    if (note->event.filter == EVFILT_TIMER && change->flags & EV_ADD) {
        configure_timer(note);
        return;
    }
    spin_lock(&note->queue->lock);
    if (note->event.filter == EVFILT_USER)
        configure_user_locked(note, change);
    else if (note->event.filter == EVFILT_PROC)
        configure_proc_locked(note);
    spin_unlock(&note->queue->lock);
}

/* --- what is told -------------------------------------------------------------------------------------- */

static bool take_timer(struct note *note, struct kevent *event)
{
    nanoseconds_t now = body_now();
    if (!note->fired || now < note->next)
        return false;
    note->fired = 0;
    event->data = 1;
    if (note->period == 0)
        return true;
    uint64_t missed = (now - note->next) / note->period;
    event->data = (int64_t)(missed + 1);
    note->next += (missed + 1) * note->period;
    timer_set(&note->timer, note->next);
    return true;
}

static bool take_state_locked(struct note *note, struct kevent *event)
{
    if (!note->fired)
        return false;
    event->data = note->data;
    if (note->event.filter == EVFILT_PROC)
        event->fflags = note->fired;
    if (note->event.filter == EVFILT_USER && !(note->event.flags & (EV_CLEAR | EV_ONESHOT | EV_DISPATCH)))
        return true; /* triggered until it is deleted or changed */
    note->fired = 0;
    if (note->event.filter != EVFILT_USER)
        note->data = 0;
    return true;
}

bool note_take(struct note *note, struct kevent *event)
{
    spin_lock(&note->queue->lock);
    *event = note->event;
    event->flags &= EV_EOF | EV_CLEAR | EV_ONESHOT | EV_DISPATCH;
    bool some = false;
    if (note->event.filter == EVFILT_TIMER)
        some = take_timer(note, event);
    else if (!note->look)
        some = take_state_locked(note, event);
    spin_unlock(&note->queue->lock);
    if (!note->look)
        return some;
    event->data = 0;
    return note->look(note->object, event);
}
