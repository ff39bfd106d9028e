/*
 * Native calls about event queues: what an ident names becomes an object here; all else is kernel/kqueue.h's.
 */
#include "abi/native/native_calls.h"
#include "kernel/alloc.h"
#include "kernel/body.h"
#include "kernel/kqchan.h"
#include "kernel/kqueue.h"
#include "kernel/port.h"
#include "kernel/string.h"

static_assert(sizeof(struct hyla_event) == sizeof(struct kevent) && offsetof(struct hyla_event, notes) == offsetof(struct kevent, fflags) &&
                  offsetof(struct hyla_event, user) == offsetof(struct kevent, udata),
              "an event is the same inside and outside");
#define SAME(inside, outside) ((int64_t)(inside) == (int64_t)(outside))
static_assert(SAME(EVFILT_READ, HYLA_FILTER_READ) && SAME(EVFILT_PROC, HYLA_FILTER_PROC) && SAME(EVFILT_SIGNAL, HYLA_FILTER_SIGNAL) &&
                  SAME(EVFILT_TIMER, HYLA_FILTER_TIMER) && SAME(EVFILT_PORT, HYLA_FILTER_PORT) && SAME(EVFILT_USER, HYLA_FILTER_USER),
              "filters");

#define EVENTS_MAX 256u
#define ON_STACK 8u

int64_t native_queue_create(void)
{
    return native_handle_new((struct object *)kqueue_make(), RIGHT_READ | RIGHT_WRITE | RIGHT_COPY | RIGHT_TRANSFER);
}

/* 0 with a reference in source->object (NULL: the filter names none), or an error. */
static int find_source(const struct kevent *change, struct kevent_source *source)
{
    struct handle_value value;
    *source = (struct kevent_source){.object = NULL};
    bool process = change->filter == EVFILT_PROC;
    if (change->filter == EVFILT_SIGNAL && change->flags & EV_ADD) { /* its ident is the signal's number */
        struct task *self = native_task_current();
        *source = (struct kevent_source){.object = object_ref(&self->object), .knotes = &self->life};
        return 0;
    }
    if ((!process && change->filter != EVFILT_READ && change->filter != EVFILT_PORT) || !(change->flags & EV_ADD))
        return 0;
    if (change->ident > UINT32_MAX)
        return -EBADF;
    uint32_t rights = change->filter == EVFILT_PORT ? RIGHT_RECEIVE : RIGHT_READ;
    int error = handle_get(native_handles(), (handle_t)change->ident, process ? &task_type : NULL, rights, &value);
    if (error)
        return error;
    if (process)
        *source = (struct kevent_source){.object = value.object, .knotes = &((struct task *)value.object)->life};
    else
        error = kevent_source_of(value.object, change->filter, source);
    if (error)
        object_unref(value.object);
    source->object = error ? NULL : value.object;
    return error;
}

int64_t native_queue_change(struct kqueue *queue, const struct hyla_event *change)
{
    struct kevent event;
    struct kevent_source source;
    memcpy(&event, change, sizeof event);
    int error = find_source(&event, &source);
    if (error)
        return error;
    error = kqueue_change(queue, &event, source.object ? &source : NULL);
    object_unref(source.object);
    return error;
}

int64_t native_queue_wait(struct kqueue *queue, uaddr_t events, uint64_t size, nanoseconds_t deadline)
{
    struct kevent some[ON_STACK], *room = some;
    uint64_t count = min_u64(size / sizeof some[0], EVENTS_MAX);
    if (!count || size % sizeof some[0])
        return -EINVAL;
    if (count > ON_STACK)
        room = kalloc(count * sizeof *room);
    if (!room)
        return -ENOMEM;
    int64_t got = kqueue_wait(queue, room, count, deadline);
    if (got > 0 && user_write(events, room, (size_t)got * sizeof *room))
        got = -EFAULT;
    if (room != some)
        kfree(room);
    return got;
}

/* --- channels ---------------------------------------------------------------------------------------- */

static_assert(sizeof(struct hyla_channel_message) == sizeof(struct kqchan_message) &&
                  offsetof(struct hyla_channel_message, ident) == offsetof(struct kqchan_message, event),
              "a channel's message is the same inside and outside");

struct channel_request {
    struct object *object;
    handle_t ident;
    uint32_t notes, flags;
    uint64_t user;
};

static int open_channel(struct kqchan_link *link, struct kqchan **made, void *context)
{
    const struct channel_request *request = context;
    if (request->object->type == &task_type)
        return kqchan_open_task((struct task *)request->object, request->ident, request->notes, request->user, link, made);
    return kqchan_open_port(request->object, request->ident, request->flags, request->user, link, made);
}

int64_t native_channel_open(handle_t object, uint32_t notes, uint32_t flags, uint64_t user)
{
    struct handle_value value;
    int error = handle_get(native_handles(), object, NULL, 0, &value);
    if (error)
        return error;
    struct channel_request request = {value.object, object, notes, flags, user};
    uint32_t wanted = value.object->type == &task_type ? RIGHT_READ : RIGHT_RECEIVE;
    int64_t result = value.rights & wanted ? user_channel_open(open_channel, &request) : -EACCES;
    object_unref(value.object);
    return result;
}
