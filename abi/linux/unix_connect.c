/*
 * Connections: listen, connect, accept, pairs, shutdown.
 *
 * connect makes the server's end itself (an *embryo*), ties the two together and queues it at the listener;
 * accept only picks it up. So a client may send at once, and a listener's death refuses what was not accepted
 * by killing the embryos.
 */
#include "abi/linux/unix_socket.h"

#include "abi/linux/deadline.h"
#include "abi/linux/process.h"

#define READ_EVENTS (EVENT_READ | EVENT_READ_NORMAL)
#define WRITE_EVENTS (EVENT_WRITE | EVENT_WRITE_NORMAL | EVENT_WRITE_BAND)

nanoseconds_t unix_deadline(const struct atomic64 *timeout)
{
    uint64_t wait_ns = atomic64_load_relaxed(timeout);

    return wait_ns ? deadline_after_ns(wait_ns) : DEADLINE_NEVER;
}

int unix_sleep(struct waitq *queue, struct unix_socket *socket, nanoseconds_t deadline)
{
    int error = waitq_sleep(queue, &socket->mutex, deadline, WAIT_INTERRUPTIBLE);

    if (error == -ETIMEDOUT)
        return -EAGAIN;
    if (error)
        return deadline == DEADLINE_NEVER ? -ERESTARTSYS : -EINTR; /* signal(7): with a timeout, never restarted */
    return 0;
}

int unix_listen(struct unix_socket *socket, int backlog)
{
    int error = 0;

    if (unix_is_datagram(socket))
        return -EOPNOTSUPP;
    mutex_lock(&socket->mutex);
    if (!socket->address || socket->state == UNIX_CONNECTED) {
        error = -EINVAL;
    } else {
        socket->backlog = min_u64((uint32_t)backlog, UNIX_BACKLOG_MAX);
        socket->state = UNIX_LISTENING;
        socket->own_credentials = socket->peer_credentials = unix_credentials_current();
        waitq_wake_all(&socket->room);
    }
    mutex_unlock(&socket->mutex);
    return error;
}

/* --- connecting a stream ----------------------------------------------------------------------------- */

/* Both ends get each other, with the references. Both mutexes held, or nobody else knows them. */
static void tie(struct unix_socket *a, struct unix_socket *b)
{
    a->state = b->state = UNIX_CONNECTED;
    atomic_ptr_store_release(&a->peer, object_ref(b));
    atomic_ptr_store_release(&b->peer, object_ref(a));
}

static int connector_check(const struct unix_socket *socket)
{
    if (socket->state == UNIX_CONNECTED)
        return -EISCONN;
    return socket->state == UNIX_LISTENING ? -EINVAL : 0;
}

static int listener_check(const struct unix_socket *listener)
{
    if (listener->dead || listener->state != UNIX_LISTENING || (listener->shutdown & SHUT_RECEIVE))
        return -ECONNREFUSED;
    return 0;
}

static void embryo_queue_locked(struct unix_socket *socket, struct unix_socket *listener, struct unix_socket *embryo)
{
    embryo->address = object_ref(listener->address);
    embryo->peer_credentials = unix_credentials_current();
    socket->peer_credentials = listener->peer_credentials;
    atomic32_store_relaxed(&embryo->pass_credentials, atomic32_load_relaxed(&listener->pass_credentials));
    tie(socket, embryo);
    list_push_back(&listener->embryos, &embryo->embryo_link);
    listener->embryo_count++;
    unix_announce_locked(listener, READ_EVENTS);
    unix_announce_locked(socket, WRITE_EVENTS);
}

/* Waits until there is room in the backlog, with both mutexes held at the end: 0. Else none is held. */
static int backlog_wait(struct unix_socket *socket, struct unix_socket *listener, bool nonblock)
{
    nanoseconds_t deadline = unix_deadline(&socket->send_timeout);

    for (;;) {
        int error;

        mutex_lock_pair(&socket->mutex, &listener->mutex);
        error = connector_check(socket);
        if (!error)
            error = listener_check(listener);
        if (!error && listener->embryo_count <= listener->backlog)
            return 0;
        mutex_unlock(&socket->mutex);
        if (!error)
            error = nonblock ? -EAGAIN : unix_sleep(&listener->room, listener, deadline);
        mutex_unlock(&listener->mutex);
        if (error)
            return error;
    }
}

static int stream_connect(struct unix_socket *socket, struct unix_socket *listener, bool nonblock)
{
    struct unix_socket *embryo;
    int error;

    if (socket == listener)
        return -EINVAL; /* it listens */
    embryo = unix_create(socket->type);
    if (!embryo)
        return -ENOMEM;
    error = backlog_wait(socket, listener, nonblock);
    if (error) {
        object_unref(embryo);
        return error;
    }
    embryo_queue_locked(socket, listener, embryo);
    mutex_unlock_pair(&socket->mutex, &listener->mutex);
    waitq_wake_one(&listener->readers);
    return 0;
}

/* --- connecting a datagram socket -------------------------------------------------------------------- */

/*
 * The old peer's datagrams are not for a new connection: they go, and it is told. Nothing is held. Takes over the reference
 * on `old`.
 */
static void peer_change_finish(struct unix_socket *socket, struct unix_socket *old)
{
    struct list messages, *link;

    list_init(&messages);
    mutex_lock(&socket->mutex);
    list_splice_back(&messages, &socket->messages);
    socket->message_count = 0;
    socket->queued_bytes = socket->queued_charge = 0;
    waitq_wake_all(&socket->room);
    mutex_unlock(&socket->mutex);
    if (!list_empty(&messages)) {
        mutex_lock(&old->mutex);
        if (!old->dead && unix_peer(old) == socket) {
            old->error = ECONNRESET;
            waitq_wake_all(&old->readers);
            unix_announce_locked(old, EVENT_ERROR);
        }
        mutex_unlock(&old->mutex);
    }
    while ((link = list_pop_front(&messages)))
        unix_message_free(LIST_ENTRY(link, struct unix_message, link));
    object_unref(old);
}

/* Leaves the old peer's list, enters the new one's (peer NULL: nobody's). The names mutex is held: it serialises this. */
static void peer_replace(struct unix_socket *socket, struct unix_socket *old, struct unix_socket *peer)
{
    if (old) {
        mutex_lock(&old->mutex);
        list_remove(&socket->sender_link);
        mutex_unlock(&old->mutex);
    }
    mutex_lock(&socket->mutex);
    atomic_ptr_store_release(&socket->peer, peer ? object_ref(peer) : NULL);
    socket->state = peer ? UNIX_CONNECTED : UNIX_UNCONNECTED;
    unix_announce_locked(socket, WRITE_EVENTS);
    mutex_unlock(&socket->mutex);
    if (!peer)
        return;
    mutex_lock(&peer->mutex);
    list_push_back(&peer->senders, &socket->sender_link);
    mutex_unlock(&peer->mutex);
}

/* A datagram socket that is connected to somebody else takes nothing from us. */
static int peer_check(struct unix_socket *socket, struct unix_socket *peer)
{
    int error;

    mutex_lock(&peer->mutex);
    error = unix_peer(peer) && unix_peer(peer) != socket ? -EPERM : 0;
    mutex_unlock(&peer->mutex);
    return error;
}

static int datagram_connect(struct unix_socket *socket, struct unix_socket *peer)
{
    struct unix_socket *old = NULL;
    int error;

    mutex_lock(&unix_names_mutex);
    error = peer ? peer_check(socket, peer) : 0;
    if (!error) {
        old = unix_peer(socket);
        peer_replace(socket, old, peer);
    }
    mutex_unlock(&unix_names_mutex);
    if (old && old != peer)
        peer_change_finish(socket, old);
    else
        object_unref(old);
    return error;
}

void unix_peer_forget(struct unix_socket *socket, struct unix_socket *dead)
{
    bool was_peer;

    mutex_lock(&unix_names_mutex);
    was_peer = unix_peer(socket) == dead;
    if (was_peer)
        peer_replace(socket, dead, NULL);
    mutex_unlock(&unix_names_mutex);
    if (was_peer)
        object_unref(dead);
}

int unix_connect(struct unix_socket *socket, const struct linux_sockaddr_un *name, uint32_t length, bool nonblock)
{
    struct unix_socket *other;
    int error;

    if (unix_is_datagram(socket) && length >= sizeof(name->family) && name->family == LINUX_AF_UNSPEC)
        return datagram_connect(socket, NULL);
    if (atomic32_load_relaxed(&socket->pass_credentials) && !socket->address) {
        error = unix_autobind(socket);
        if (error)
            return error;
    }
    error = unix_lookup(name, length, socket->type, &other);
    if (error)
        return error;
    error = unix_is_datagram(socket) ? datagram_connect(socket, other) : stream_connect(socket, other, nonblock);
    object_unref(other);
    return error;
}

/* --- accepting, pairing, shutting down --------------------------------------------------------------- */

int unix_accept(struct unix_socket *socket, bool nonblock, struct unix_socket **accepted)
{
    nanoseconds_t deadline = unix_deadline(&socket->receive_timeout);
    struct list *first = NULL;
    bool wake = false;
    int error = 0;

    if (unix_is_datagram(socket))
        return -EOPNOTSUPP;
    mutex_lock(&socket->mutex);
    while (!error) {
        if (socket->state != UNIX_LISTENING)
            error = -EINVAL;
        else if ((first = list_pop_front(&socket->embryos)))
            break;
        else if (socket->shutdown & SHUT_RECEIVE)
            error = -EINVAL;
        else
            error = nonblock ? -EAGAIN : unix_sleep(&socket->readers, socket, deadline);
    }
    if (first) {
        *accepted = LIST_ENTRY(first, struct unix_socket, embryo_link);
        socket->embryo_count--;
        waitq_wake_all(&socket->room);
        wake = !list_empty(&socket->embryos) && !waitq_empty(&socket->readers);
    }
    mutex_unlock(&socket->mutex);
    if (wake)
        waitq_wake_one(&socket->readers);
    return error;
}

void unix_pair(struct unix_socket *a, struct unix_socket *b)
{
    a->peer_credentials = b->peer_credentials = unix_credentials_current();
    tie(a, b);
    if (!unix_is_datagram(a))
        return;
    list_push_back(&b->senders, &a->sender_link);
    list_push_back(&a->senders, &b->sender_link);
}

int unix_pair_make(uint16_t type, uint32_t flags, struct file *files[2])
{
    struct unix_socket *sockets[2];
    int error = unix_make(type, flags, &files[0], &sockets[0]);

    if (error)
        return error;
    error = unix_make(type, flags, &files[1], &sockets[1]);
    if (error) {
        file_unref(files[0]);
        return error;
    }
    unix_pair(sockets[0], sockets[1]);
    return 0;
}

static void shutdown_add(struct unix_socket *socket, uint8_t sides)
{
    mutex_lock(&socket->mutex);
    socket->shutdown |= sides;
    waitq_wake_all(&socket->readers);
    waitq_wake_all(&socket->room);
    unix_announce_locked(socket, READ_EVENTS | WRITE_EVENTS | EVENT_READ_HANGUP | (socket->shutdown == SHUT_BOTH ? EVENT_HANGUP : 0));
    mutex_unlock(&socket->mutex);
}

int unix_shutdown(struct unix_socket *socket, int how)
{
    struct unix_socket *peer;
    uint8_t sides;

    if (how < 0 || how > 2)
        return -EINVAL;
    sides = how + 1;
    shutdown_add(socket, sides);
    if (unix_is_datagram(socket))
        return 0;
    peer = unix_peer_get(socket);
    if (!peer)
        return 0;
    shutdown_add(peer, (sides & SHUT_RECEIVE ? SHUT_SEND : 0) | (sides & SHUT_SEND ? SHUT_RECEIVE : 0));
    object_unref(peer);
    return 0;
}
