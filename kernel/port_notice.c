/*
 * Notifications: messages promised for an event, whose memory is reserved with the promise, so that they come.
 *
 * A request lies on a list of the port it is about and holds a reference (no right) on its target. The event takes it off, sends
 * the message past the target's queue limit, and ends it. What bounds them is PORT_NOTICES_MAX for each port they are about.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/port_internal.h"

/* --- the event ----------------------------------------------------------------------------------------- */

void port_notice_write(struct port_item *block, enum port_notice kind, uint64_t cookie, uint64_t badge, uint64_t target_badge)
{
    block->message.words[0] = kind;
    block->message.words[1] = cookie;
    block->message.words[2] = badge;
    block->badge = target_badge;
}

static void request_free(struct port_notice_request *request)
{
    object_unref(request->target);
    port_item_free(request->block);
    kfree(request);
}

static void request_fire(struct port_notice_request *request)
{
    port_notice_write(request->block, request->kind, request->cookie, request->badge, request->target_badge);
    if (port_post(request->target, request->block, true))
        request->block = NULL;
    request_free(request);
}

void port_notices_fire(struct list *requests)
{
    struct list *link;
    while ((link = list_pop_front(requests)))
        request_fire(LIST_ENTRY(link, struct port_notice_request, link));
}

void port_notices_drop(struct list *requests)
{
    struct list *link;
    while ((link = list_pop_front(requests)))
        request_free(LIST_ENTRY(link, struct port_notice_request, link));
}

void port_notices_take_locked(struct port *port, struct list *requests, struct list *to)
{
    LIST_FOR_EACH (link, requests) {
        KASSERT(port->notice_count > 0);
        port->notice_count--;
    }
    list_splice_back(to, requests);
}

/* --- asking -------------------------------------------------------------------------------------------- */

/* Where such requests wait; NULL: the event has come already. The port is locked. */
static struct list *requests_of_locked(struct port *port, enum port_notice kind, uint64_t badge)
{
    if (kind == PORT_NOTICE_DEAD_NAME)
        return port->dead ? NULL : &port->dead_names;
    if (kind == PORT_NOTICE_NO_SENDERS)
        return port->send_rights == 0 ? NULL : &port->no_senders;
    struct port_badge *entry = port_badge_find_locked(port, badge);
    return entry ? &entry->notices : NULL;
}

static struct port_notice_request *find_locked(struct list *requests, const struct port_notice_request *wanted)
{
    LIST_FOR_EACH (link, requests) {
        struct port_notice_request *request = LIST_ENTRY(link, struct port_notice_request, link);
        if (request->target == wanted->target && request->target_badge == wanted->target_badge &&
            request->cookie == wanted->cookie)
            return request;
    }
    return NULL;
}

/* Links *request, or leaves it: the same one is there (0), there are too many, or, *now, the event has come. */
static int ask_locked(struct port *port, struct port_notice_request **request, bool *now)
{
    struct list *requests = requests_of_locked(port, (*request)->kind, (*request)->badge);
    *now = !requests;
    if (!requests || find_locked(requests, *request))
        return 0;
    if (port->notice_count >= PORT_NOTICES_MAX)
        return -ENOSPC;
    port->notice_count++;
    list_push_back(requests, &(*request)->link);
    *request = NULL;
    return 0;
}

static int ask(struct port *port, struct port_notice_request *request)
{
    bool now;
    spin_lock(&port->lock);
    int error = ask_locked(port, &request, &now);
    spin_unlock(&port->lock);
    if (request && now)
        request_fire(request);
    else if (request)
        request_free(request);
    return error;
}

static int subject_get(struct handle_table *table, handle_t handle, enum port_notice kind, struct port **port)
{
    struct handle_value value;
    if (kind != PORT_NOTICE_DEAD_NAME && kind != PORT_NOTICE_NO_SENDERS && kind != PORT_NOTICE_BADGE_GONE)
        return -EINVAL;
    uint32_t right = kind == PORT_NOTICE_DEAD_NAME ? RIGHT_SEND : RIGHT_RECEIVE;
    int error = handle_get(table, handle, &port_type, right, &value);
    if (!error)
        *port = CONTAINER_OF(value.object, struct port, object);
    return error;
}

/* The request without its place: the target is referenced. */
static int request_init(struct port_notice_request *request, struct handle_table *table, enum port_notice kind, uint64_t badge,
                        handle_t target, uint64_t cookie)
{
    struct handle_value value;
    int error = handle_get(table, target, &port_type, RIGHT_SEND, &value);
    if (error)
        return error;
    *request = (struct port_notice_request){.kind = kind,
                                            .badge = kind == PORT_NOTICE_BADGE_GONE ? badge : 0,
                                            .cookie = cookie,
                                            .target = CONTAINER_OF(value.object, struct port, object),
                                            .target_badge = value.badge};
    list_init(&request->link);
    return 0;
}

static int request_make(struct port_notice_request **made, const struct port_notice_request *contents)
{
    struct port_notice_request *request = kzalloc(sizeof(*request));
    struct port_item *block = port_item_make();
    if (!request || !block) {
        kfree(request);
        port_item_free(block);
        return -ENOMEM;
    }
    *request = *contents;
    list_init(&request->link);
    request->block = block;
    object_ref(request->target);
    *made = request;
    return 0;
}

int port_notify(struct handle_table *table, handle_t handle, enum port_notice kind, uint64_t badge, handle_t target, uint64_t cookie)
{
    struct port *port;
    struct port_notice_request contents, *request;
    int error = subject_get(table, handle, kind, &port);
    if (error)
        return error;
    error = request_init(&contents, table, kind, badge, target, cookie);
    if (!error) {
        error = request_make(&request, &contents);
        if (!error)
            error = ask(port, request);
        object_unref(contents.target);
    }
    object_unref(port);
    return error;
}

static struct port_notice_request *cancel(struct port *port, const struct port_notice_request *wanted)
{
    spin_lock(&port->lock);
    struct list *requests = requests_of_locked(port, wanted->kind, wanted->badge);
    struct port_notice_request *request = requests ? find_locked(requests, wanted) : NULL;
    if (request) {
        list_remove(&request->link);
        port->notice_count--;
    }
    spin_unlock(&port->lock);
    return request;
}

int port_notify_cancel(struct handle_table *table, handle_t handle, enum port_notice kind, uint64_t badge, handle_t target,
                       uint64_t cookie)
{
    struct port *port;
    struct port_notice_request wanted;
    int error = subject_get(table, handle, kind, &port);
    if (error)
        return error;
    error = request_init(&wanted, table, kind, badge, target, cookie);
    if (!error) {
        struct port_notice_request *request = cancel(port, &wanted);
        error = request ? 0 : -ENOENT;
        if (request)
            request_free(request);
        object_unref(wanted.target);
    }
    object_unref(port);
    return error;
}
