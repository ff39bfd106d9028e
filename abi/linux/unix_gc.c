/*
 * Sockets that nobody can reach: one that is only named by a message waiting in a socket that is only named by
 * a message… in the first one. Reference counts keep such a ring alive for ever; this search ends it.
 *
 *   1. A socket all of whose file's references are in flight is a *candidate*.
 *   2. From each candidate's count the messages that wait in candidates are taken off. What is left comes from
 *      messages in sockets that somebody holds (or that are in a receiver's or sender's hands): *live*.
 *   3. Whatever waits in a live candidate is live too.
 *   4. The rest is garbage: its messages are thrown away, and the reference counts do what is left to do.
 *
 * Nobody can come to hold a candidate meanwhile: receiving descriptors passes unix_flight_mutex before they are
 * installed, and so does sending them, and the search holds it from 1 to 4.
 */
#include "abi/linux/unix_gc.h"

#include "abi/linux/unix_socket.h"
#include "kernel/assert.h"
#include "kernel/async.h"

typedef void child_function(struct unix_socket *child, struct list *work);

/* Calls for each candidate that a message in the socket's own queue carries. */
static void queue_for_each(struct unix_socket *socket, child_function *function, struct list *work)
{
    mutex_lock(&socket->mutex);
    LIST_FOR_EACH(link, &socket->messages) {
        struct unix_rights *rights = LIST_ENTRY(link, struct unix_message, link)->rights;

        for (uint32_t i = 0; rights && i < rights->count; i++) {
            struct unix_socket *child = unix_of(rights->files[i]);
            if (child && child->gc_candidate)
                function(child, work);
        }
    }
    mutex_unlock(&socket->mutex);
}

/* The index-th connection nobody has accepted yet, referenced; NULL: there are no more. */
static struct unix_socket *embryo_get(struct unix_socket *listener, uint32_t index)
{
    struct unix_socket *embryo = NULL;

    mutex_lock(&listener->mutex);
    LIST_FOR_EACH(link, &listener->embryos)
        if (index-- == 0) {
            embryo = object_ref(LIST_ENTRY(link, struct unix_socket, embryo_link));
            break;
        }
    mutex_unlock(&listener->mutex);
    return embryo;
}

/* Also what waits in connections that the socket, a listener, would accept. */
static void children_for_each(struct unix_socket *socket, child_function *function, struct list *work)
{
    struct unix_socket *embryo;

    queue_for_each(socket, function, work);
    for (uint32_t i = 0; (embryo = embryo_get(socket, i)); i++) {
        queue_for_each(embryo, function, work);
        object_unref(embryo);
    }
}

static void child_uncount(struct unix_socket *child, struct list *work)
{
    (void)work;
    KASSERT(child->gc_count > 0);
    child->gc_count--;
}

static void child_revive(struct unix_socket *child, struct list *work)
{
    if (child->gc_live)
        return;
    child->gc_live = true;
    list_push_back(work, &child->gc_link);
}

static uint32_t candidates_mark(void)
{
    uint32_t count = 0;

    LIST_FOR_EACH(link, &unix_flight_sockets) {
        struct unix_socket *socket = LIST_ENTRY(link, struct unix_socket, flight_link);

        socket->gc_count = socket->in_flight;
        socket->gc_live = false;
        socket->gc_candidate = socket->file && atomic32_load(&socket->file->object.references) == socket->in_flight;
        count += socket->gc_candidate;
    }
    return count;
}

static void live_mark(void)
{
    struct list work, *next;

    list_init(&work);
    LIST_FOR_EACH(link, &unix_flight_sockets) {
        struct unix_socket *socket = LIST_ENTRY(link, struct unix_socket, flight_link);
        if (socket->gc_candidate)
            children_for_each(socket, child_uncount, NULL);
    }
    LIST_FOR_EACH(link, &unix_flight_sockets) {
        struct unix_socket *socket = LIST_ENTRY(link, struct unix_socket, flight_link);
        if (socket->gc_candidate && socket->gc_count > 0)
            child_revive(socket, &work);
    }
    while ((next = list_pop_front(&work)))
        children_for_each(LIST_ENTRY(next, struct unix_socket, gc_link), child_revive, &work);
}

static void queue_take(struct unix_socket *socket, struct list *messages)
{
    mutex_lock(&socket->mutex);
    list_splice_back(messages, &socket->messages);
    socket->message_count = 0;
    socket->queued_bytes = socket->queued_charge = 0;
    mutex_unlock(&socket->mutex);
}

static void garbage_take(struct list *messages)
{
    LIST_FOR_EACH(link, &unix_flight_sockets) {
        struct unix_socket *socket = LIST_ENTRY(link, struct unix_socket, flight_link), *embryo;

        if (!socket->gc_candidate || socket->gc_live)
            continue;
        queue_take(socket, messages);
        for (uint32_t i = 0; (embryo = embryo_get(socket, i)); i++) {
            queue_take(embryo, messages);
            object_unref(embryo);
        }
    }
    /* Nothing of this search is left behind for the next. */
    LIST_FOR_EACH(link, &unix_flight_sockets)
        LIST_ENTRY(link, struct unix_socket, flight_link)->gc_candidate = false;
}

static void gc_run(struct async_work *work)
{
    struct list messages, *link;

    (void)work;
    list_init(&messages);
    mutex_lock(&unix_flight_mutex);
    if (candidates_mark()) {
        live_mark();
        garbage_take(&messages);
    }
    mutex_unlock(&unix_flight_mutex);
    while ((link = list_pop_front(&messages)))
        unix_message_free(LIST_ENTRY(link, struct unix_message, link));
}

static struct async_work gc_work = {.link = {&gc_work.link, &gc_work.link}, .function = gc_run};

void unix_gc_request(void)
{
    if (!list_empty(&unix_flight_sockets)) /* a hint: whoever comes next looks again */
        kernel_async(&gc_work);
}
