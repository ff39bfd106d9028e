/*
 * Messages between UNIX-domain sockets, and the room for them.
 *
 * Between sockets that are each other's peer the sender's buffer size limits what waits in the receiver; into
 * a datagram socket that is not connected back, the number of datagrams does (net.unix.max_dgram_qlen). A
 * sender sleeps in the receiver's `room` and is woken when a quarter of the limit is reached from above, so
 * that it can then send many at once.
 */
#include "abi/linux/unix_socket.h"

#include "kernel/alloc.h"
#include "kernel/string.h"

#define READ_EVENTS (EVENT_READ | EVENT_READ_NORMAL)
#define WRITE_EVENTS (EVENT_WRITE | EVENT_WRITE_NORMAL | EVENT_WRITE_BAND)

struct unix_message *unix_message_create(struct io *io, uint32_t size, int *error)
{
    struct unix_message *message = kalloc(sizeof(*message) + size);

    if (!message) {
        *error = -ENOMEM;
        return NULL;
    }
    memset(message, 0, sizeof(*message));
    list_init(&message->link);
    message->credentials = UNIX_CREDENTIALS_NONE;
    message->size = size;
    message->charge = size + UNIX_MESSAGE_OVERHEAD;
    if (size && io_get(io, message->data, size) < size) {
        *error = -EFAULT;
        kfree(message);
        return NULL;
    }
    return message;
}

void unix_message_free(struct unix_message *message)
{
    object_unref(message->from);
    unix_rights_drop(message->rights);
    kfree(message);
}

static bool wants_credentials(struct unix_socket *socket) { return atomic32_load_relaxed(&socket->pass_credentials); }

int unix_message_address(struct unix_message *message, struct unix_socket *from, struct unix_socket *to, struct unix_sending *sending)
{
    int error;

    mutex_lock(&from->mutex);
    if (from->address)
        message->from = object_ref(from->address);
    mutex_unlock(&from->mutex);
    if (sending->has_credentials)
        message->credentials = sending->credentials;
    else if (wants_credentials(from) || wants_credentials(to) || !to->file)
        message->credentials = unix_credentials_current();
    if (!sending->rights)
        return 0;
    error = unix_rights_fly(sending->rights);
    if (error)
        return error;
    message->rights = sending->rights;
    sending->rights = NULL;
    return 0;
}

static bool mutual(struct unix_socket *to, struct unix_socket *from) { return unix_peer(to) == from; }

bool unix_full_locked(struct unix_socket *to, struct unix_socket *from)
{
    if (mutual(to, from))
        return to->queued_charge >= atomic32_load_relaxed(&from->send_buffer);
    return to != from && to->message_count > UNIX_DATAGRAMS_MAX;
}

bool unix_writable_locked(struct unix_socket *to, struct unix_socket *from)
{
    if (mutual(to, from))
        return to->queued_charge * 4 <= atomic32_load_relaxed(&from->send_buffer);
    return to->message_count <= UNIX_DATAGRAMS_MAX;
}

void unix_message_push_locked(struct unix_socket *to, struct unix_message *message)
{
    list_push_back(&to->messages, &message->link);
    to->message_count++;
    to->queued_bytes += message->size;
    to->queued_charge += message->charge;
    unix_announce_locked(to, READ_EVENTS);
}

/* Senders that wait, and those that are polled, are told when there is room worth telling. */
static void room_made_locked(struct unix_socket *socket, bool was_many)
{
    struct unix_socket *peer = unix_peer(socket);

    if (peer && unix_writable_locked(socket, peer)) {
        if (!waitq_empty(&socket->room))
            waitq_wake_all(&socket->room);
        unix_announce_locked(peer, WRITE_EVENTS);
    }
    if (!was_many || socket->message_count > UNIX_DATAGRAMS_MAX)
        return;
    waitq_wake_all(&socket->room);
    LIST_FOR_EACH(link, &socket->senders)
        unix_announce_locked(LIST_ENTRY(link, struct unix_socket, sender_link), WRITE_EVENTS);
}

void unix_message_remove_locked(struct unix_socket *socket, struct unix_message *message)
{
    bool was_many = unix_is_datagram(socket) && socket->message_count > UNIX_DATAGRAMS_MAX;

    list_remove(&message->link);
    socket->message_count--;
    socket->queued_bytes -= message->size - message->offset;
    socket->queued_charge -= message->charge;
    room_made_locked(socket, was_many);
}

int unix_message_deliver(struct unix_message *message, struct unix_receiving *receiving, bool peek)
{
    if (!receiving->has_message) {
        receiving->has_message = true;
        receiving->credentials = message->credentials;
        receiving->from = message->from ? object_ref(message->from) : NULL;
    }
    if (!message->rights)
        return 0;
    if (peek) {
        receiving->rights = unix_rights_copy(message->rights);
        return receiving->rights ? 0 : -ENOMEM;
    }
    receiving->rights = message->rights;
    message->rights = NULL;
    return 0;
}

int64_t unix_send(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_sending *sending)
{
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (unix_is_stream(socket))
        return unix_stream_send(socket, io, flags, sending);
    return unix_datagram_send(socket, io, flags, sending);
}

int64_t unix_receive(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_receiving *receiving)
{
    int64_t result;

    if (flags & MSG_ERRQUEUE)
        return -EAGAIN;
    if (flags & MSG_OOB)
        return unix_is_stream(socket) ? -EINVAL : -EOPNOTSUPP;
    if (unix_is_stream(socket))
        result = unix_stream_receive(socket, io, flags, receiving);
    else
        result = unix_datagram_receive(socket, io, flags, receiving);
    if (!receiving->rights)
        return result;
    if (flags & MSG_PEEK)
        unix_flight_barrier();
    else
        unix_rights_land(receiving->rights);
    return result;
}
