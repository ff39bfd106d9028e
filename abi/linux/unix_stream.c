/*
 * Stream sockets: bytes in order, whatever the messages they came in.
 *
 * A send is cut into messages; user memory is read before the receiver's mutex is taken. A receive takes bytes
 * from as many messages as it can without mixing what must stay apart: it ends after a message with
 * descriptors, and, with SO_PASSCRED, before a message of another sender.
 */
#include "abi/linux/pipe_internal.h"
#include "abi/linux/unix_socket.h"

#include "kernel/alloc.h"
#include "kernel/string.h"

/* --- sending ----------------------------------------------------------------------------------------- */

/* Waits for room, then appends. 0, -EPIPE, -EAGAIN, -ERESTARTSYS, -EINTR; the message is the caller's on failure. */
static int message_send(struct unix_socket *socket, struct unix_socket *peer, struct unix_message *message, bool nonblock,
                        nanoseconds_t deadline)
{
    int error = 0;
    bool wake = false;

    mutex_lock(&peer->mutex);
    while (!error) {
        if (peer->dead || (peer->shutdown & SHUT_RECEIVE))
            error = -EPIPE;
        else if (!unix_full_locked(peer, socket))
            break;
        else
            error = nonblock ? -EAGAIN : unix_sleep(&peer->room, peer, deadline);
    }
    if (!error) {
        unix_message_push_locked(peer, message);
        wake = !waitq_empty(&peer->readers);
    }
    mutex_unlock(&peer->mutex);
    if (wake)
        waitq_wake_one(&peer->readers);
    return error;
}

static uint32_t chunk_size(struct unix_socket *socket, size_t left)
{
    uint32_t half = atomic32_load_relaxed(&socket->send_buffer) / 2;

    return min_u64(left, min_u64(half > 64 ? half - 64 : 1, UNIX_CHUNK_MAX));
}

static int chunk_send(struct unix_socket *socket, struct unix_socket *peer, struct io *io, bool nonblock, nanoseconds_t deadline,
                      struct unix_sending *sending)
{
    int error = 0;
    struct unix_message *message = unix_message_create(io, chunk_size(socket, io_left(io)), &error);

    if (!message)
        return error;
    error = unix_message_address(message, socket, peer, sending);
    if (!error)
        error = message_send(socket, peer, message, nonblock, deadline);
    if (error)
        unix_message_free(message);
    return error;
}

int64_t unix_stream_send(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_sending *sending)
{
    struct unix_socket *peer = unix_peer(socket);
    size_t wanted = io_left(io), left = wanted;
    nanoseconds_t deadline;
    int error = 0;

    if (sending->name)
        return peer ? -EISCONN : -EOPNOTSUPP;
    if (!peer)
        return socket->shutdown & SHUT_SEND ? -EPIPE : -ENOTCONN;
    deadline = unix_deadline(&socket->send_timeout);
    if (!wanted && (socket->shutdown & SHUT_SEND))
        error = -EPIPE;
    while (left && !error) {
        error = chunk_send(socket, peer, io, flags & MSG_DONTWAIT, deadline, sending);
        if (!error)
            left = io_left(io);
    }
    if (left < wanted)
        return wanted - left;
    if (error == -EPIPE && !(flags & MSG_NOSIGNAL))
        pipe_send_sigpipe();
    return error;
}

/* --- receiving --------------------------------------------------------------------------------------- */

struct stream_read {
    struct unix_socket *socket;
    struct io *io;
    struct unix_receiving *receiving;
    bool peek, nonblock, check_sender;
    size_t target;      /* bytes worth returning for */
    nanoseconds_t deadline;
    int64_t total;
    struct list done;   /* messages read to their end: freed without the mutex, names may have a node to let go */
};

static bool same_sender(const struct unix_credentials *a, const struct unix_credentials *b)
{
    return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

/* One message's bytes, under the mutex. True to go on with the next message. */
static bool message_read(struct stream_read *read, struct unix_message *message, int *error)
{
    size_t wanted = min_u64(message->size - message->offset, io_left(read->io));
    size_t moved = io_put(read->io, message->data + message->offset, wanted);
    bool rights = message->rights;

    if (moved < wanted && !moved) {
        *error = -EFAULT;
        return false;
    }
    *error = unix_message_deliver(message, read->receiving, read->peek);
    if (*error)
        return false;
    read->total += moved;
    if (!read->peek) {
        message->offset += moved;
        read->socket->queued_bytes -= moved;
        if (message->offset == message->size) {
            unix_message_remove_locked(read->socket, message);
            list_push_back(&read->done, &message->link);
        }
    }
    return moved == wanted && !rights;
}

/* What is queued, as far as it belongs together and there is room for it. True when the receive is complete. */
static bool queue_read(struct stream_read *read, int *error)
{
    struct unix_socket *socket = read->socket;

    LIST_FOR_EACH_SAFE(link, &socket->messages) {
        struct unix_message *message = LIST_ENTRY(link, struct unix_message, link);

        if (!io_left(read->io))
            return true;
        if (read->check_sender && read->receiving->has_message &&
            !same_sender(&read->receiving->credentials, &message->credentials))
            return true;
        if (!message_read(read, message, error))
            return true;
    }
    return !io_left(read->io);
}

/* The queue is empty: 0 to wait and look again, 1 to return what there is, or an error. */
static int empty_wait(struct stream_read *read)
{
    struct unix_socket *socket = read->socket;
    int error;

    if (read->total && (size_t)read->total >= read->target)
        return 1;
    if (socket->error) {
        error = -socket->error;
        if (!read->total)
            socket->error = 0;
        return error;
    }
    if (socket->shutdown & SHUT_RECEIVE)
        return 1;
    if (read->nonblock)
        return -EAGAIN;
    return unix_sleep(&socket->readers, socket, read->deadline);
}

static int stream_read_locked(struct stream_read *read)
{
    int result = 0;

    if (read->socket->state != UNIX_CONNECTED)
        return -EINVAL;
    for (;;) {
        int error = 0;

        if (!list_empty(&read->socket->messages)) {
            if (queue_read(read, &error))
                return error;
            if ((size_t)read->total >= read->target || read->peek)
                return 0; /* a peek does not wait for more: it would see the same bytes again */
        }
        result = empty_wait(read);
        if (result)
            return result > 0 ? 0 : result;
    }
}

int64_t unix_stream_receive(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_receiving *receiving)
{
    struct stream_read read = {
        .socket = socket, .io = io, .receiving = receiving, .peek = flags & MSG_PEEK, .nonblock = flags & MSG_DONTWAIT,
        .check_sender = atomic32_load_relaxed(&socket->pass_credentials),
        .deadline = unix_deadline(&socket->receive_timeout),
    };
    struct list *link;
    bool wake;
    int error;

    if (!io_left(io) && socket->state == UNIX_CONNECTED)
        return 0;
    list_init(&read.done);
    read.target = io_left(io);
    if (!(flags & MSG_WAITALL))
        read.target = min_u64(read.target, max_u64(atomic32_load_relaxed(&socket->receive_low), 1));
    mutex_lock(&socket->mutex);
    error = stream_read_locked(&read);
    wake = !list_empty(&socket->messages) && !waitq_empty(&socket->readers);
    mutex_unlock(&socket->mutex);
    if (wake)
        waitq_wake_one(&socket->readers);
    while ((link = list_pop_front(&read.done)))
        unix_message_free(LIST_ENTRY(link, struct unix_message, link));
    return read.total ? read.total : error;
}
