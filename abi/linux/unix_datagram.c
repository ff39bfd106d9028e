/*
 * Datagram and seqpacket sockets: whole messages. A seqpacket socket is a connected datagram socket whose
 * peer's end is seen as end of file.
 */
#include "abi/linux/unix_socket.h"

#include "kernel/alloc.h"
#include "kernel/string.h"

/* --- sending ----------------------------------------------------------------------------------------- */

/* Who is to get it: a reference in *to. */
static int target_find(struct unix_socket *socket, const struct unix_sending *sending, struct unix_socket **to)
{
    if (sending->name && unix_is_datagram(socket))
        return unix_lookup(sending->name, sending->name_length, socket->type, to);
    *to = unix_peer_get(socket);
    return *to ? 0 : -ENOTCONN;
}

/* The socket's own state: a pending error, or no more sending. */
static int sender_check(struct unix_socket *socket)
{
    int error = 0;

    mutex_lock(&socket->mutex);
    if (socket->error) {
        error = -socket->error;
        socket->error = 0;
    } else if (socket->shutdown & SHUT_SEND) {
        error = -EPIPE;
    }
    mutex_unlock(&socket->mutex);
    return error;
}

/* With to->mutex held: 0 when the message may be appended now. */
static int target_wait_locked(struct unix_socket *socket, struct unix_socket *to, bool nonblock)
{
    nanoseconds_t deadline = unix_deadline(&socket->send_timeout);

    for (;;) {
        struct unix_socket *their_peer = unix_peer(to);
        int error;

        if (to->dead)
            return unix_is_datagram(socket) ? -ECONNREFUSED : -EPIPE;
        if (unix_is_datagram(socket) && their_peer && their_peer != socket)
            return -EPERM; /* connected to somebody else */
        if (to->shutdown & SHUT_RECEIVE)
            return -EPIPE;
        if (!unix_full_locked(to, socket))
            return 0;
        error = nonblock ? -EAGAIN : unix_sleep(&to->room, to, deadline);
        if (error)
            return error;
    }
}

static int message_send(struct unix_socket *socket, struct unix_socket *to, struct unix_message *message, bool nonblock)
{
    bool wake = false;
    int error;

    mutex_lock(&to->mutex);
    error = target_wait_locked(socket, to, nonblock);
    if (!error) {
        unix_message_push_locked(to, message);
        wake = !waitq_empty(&to->readers);
    }
    mutex_unlock(&to->mutex);
    if (wake)
        waitq_wake_one(&to->readers);
    if (error == -ECONNREFUSED)
        unix_peer_forget(socket, to);
    return error;
}

/* It was not sent: the rights are the caller's again. */
static void message_take_back(struct unix_message *message, struct unix_sending *sending)
{
    if (message->rights) {
        unix_rights_land(message->rights);
        sending->rights = message->rights;
        message->rights = NULL;
    }
    unix_message_free(message);
}

static int64_t send_to(struct unix_socket *socket, struct unix_socket *to, struct io *io, uint32_t flags, struct unix_sending *sending)
{
    uint32_t size = io_left(io);
    struct unix_message *message;
    int error = sender_check(socket);

    if (error)
        return error;
    message = unix_message_create(io, size, &error);
    if (!message)
        return error;
    error = unix_message_address(message, socket, to, sending);
    if (!error)
        error = message_send(socket, to, message, flags & MSG_DONTWAIT);
    if (error)
        message_take_back(message, sending);
    return error ? error : (int64_t)size;
}

int64_t unix_datagram_send(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_sending *sending)
{
    struct unix_socket *to;
    int64_t result;

    if (!unix_is_datagram(socket) && socket->state != UNIX_CONNECTED)
        return -ENOTCONN;
    if (atomic32_load_relaxed(&socket->pass_credentials) && !socket->address) {
        result = unix_autobind(socket);
        if (result)
            return result;
    }
    if (io_left(io) + 32 > atomic32_load_relaxed(&socket->send_buffer))
        return -EMSGSIZE;
    result = target_find(socket, sending, &to);
    if (result)
        return result;
    result = send_to(socket, to, io, flags, sending);
    object_unref(to);
    return result;
}

/* --- receiving --------------------------------------------------------------------------------------- */

/* The next message, still queued; NULL with *result what the call returns. Mutex held. */
static struct unix_message *message_wait_locked(struct unix_socket *socket, bool nonblock, int64_t *result)
{
    nanoseconds_t deadline = unix_deadline(&socket->receive_timeout);

    for (;;) {
        if (!list_empty(&socket->messages))
            return LIST_ENTRY(socket->messages.next, struct unix_message, link);
        *result = 0;
        if (socket->error) {
            *result = -socket->error;
            socket->error = 0;
            return NULL;
        }
        if ((socket->shutdown & SHUT_RECEIVE) && (!nonblock || !unix_is_datagram(socket)))
            return NULL;
        *result = nonblock ? -EAGAIN : unix_sleep(&socket->readers, socket, deadline);
        if (*result)
            return NULL;
    }
}

static int64_t message_copy(struct unix_message *message, struct io *io, uint32_t flags, struct unix_receiving *receiving)
{
    size_t wanted = min_u64(message->size, io_left(io));
    int error;

    if (wanted && io_put(io, message->data, wanted) < wanted)
        return -EFAULT;
    if (wanted < message->size)
        receiving->flags |= MSG_TRUNC;
    error = unix_message_deliver(message, receiving, flags & MSG_PEEK);
    if (error)
        return error;
    return flags & MSG_TRUNC ? message->size : wanted;
}

int64_t unix_datagram_receive(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_receiving *receiving)
{
    struct unix_message *message;
    int64_t result;
    bool wake;

    if (!unix_is_datagram(socket) && socket->state != UNIX_CONNECTED)
        return -ENOTCONN;
    mutex_lock(&socket->mutex);
    message = message_wait_locked(socket, flags & MSG_DONTWAIT, &result);
    if (message && (flags & MSG_PEEK))
        result = message_copy(message, io, flags, receiving);
    else if (message)
        unix_message_remove_locked(socket, message);
    wake = !list_empty(&socket->messages) && !waitq_empty(&socket->readers);
    mutex_unlock(&socket->mutex);
    if (wake)
        waitq_wake_one(&socket->readers);
    if (message && !(flags & MSG_PEEK)) {
        /* It is ours now: user memory may be waited for without keeping senders out. */
        result = message_copy(message, io, flags, receiving);
        unix_message_free(message);
    }
    return result;
}
