/*
 * UNIX-domain sockets as objects and as files: creation, death, readiness, small questions.
 *
 * Death is the file's: the peer learns it (end of file; ECONNRESET when something was left unread), waiting
 * connections are refused, senders and readers wake, the name becomes free, descriptors in unread messages
 * are let go. The object itself lives on while a peer refers to it, dead.
 */
#include "abi/linux/unix_socket.h"

#include "abi/linux/anon.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

enum { FIONREAD = 0x541B, SIOCOUTQ = 0x5411 };

#define READ_EVENTS (EVENT_READ | EVENT_READ_NORMAL)
#define WRITE_EVENTS (EVENT_WRITE | EVENT_WRITE_NORMAL | EVENT_WRITE_BAND)

static void socket_destroy(struct object *object)
{
    struct unix_socket *socket = CONTAINER_OF(object, struct unix_socket, object);

    KASSERT(list_empty(&socket->messages) && !unix_peer(socket));
    object_unref(socket->address);
    kfree(socket);
}

static const struct object_type socket_type = {.name = "socket", .destroy = socket_destroy};

struct unix_credentials unix_credentials_current(void)
{
    if (!current_process())
        return (struct unix_credentials){0, 0, 0};
    const struct cred *cred = current_cred();

    return (struct unix_credentials){current_process()->pid, cred->euid, cred->egid};
}

struct unix_socket *unix_create(uint16_t type)
{
    struct unix_socket *socket = kzalloc(sizeof(*socket));

    if (!socket)
        return NULL;
    object_init(&socket->object, &socket_type);
    socket->type = type;
    socket->inode = anon_inode_next();
    if (current_process()) {
        socket->uid = current_cred()->fsuid;
        socket->gid = current_cred()->fsgid;
    }
    socket->created = wall_time();
    socket->peer_credentials = (struct unix_credentials){0, UINT32_MAX, UINT32_MAX};
    mutex_init(&socket->mutex, RANK_SOCKET);
    list_init(&socket->messages);
    list_init(&socket->embryos);
    list_init(&socket->embryo_link);
    list_init(&socket->senders);
    list_init(&socket->sender_link);
    list_init(&socket->flight_link);
    list_init(&socket->gc_link);
    waitq_init(&socket->readers);
    waitq_init(&socket->room);
    knote_list_init(&socket->knotes);
    atomic32_store_relaxed(&socket->send_buffer, UNIX_BUFFER_DEFAULT);
    atomic32_store_relaxed(&socket->receive_buffer, UNIX_BUFFER_DEFAULT);
    atomic32_store_relaxed(&socket->receive_low, 1);
    return socket;
}

void unix_announce_locked(struct unix_socket *socket, uint32_t events)
{
    if (!knote_list_empty(&socket->knotes))
        knote_notify(&socket->knotes, events);
}

struct unix_socket *unix_peer_get(struct unix_socket *socket)
{
    struct unix_socket *peer;

    mutex_lock(&socket->mutex);
    peer = unix_peer(socket);
    if (peer)
        object_ref(peer);
    mutex_unlock(&socket->mutex);
    return peer;
}

/* --- death ------------------------------------------------------------------------------------------- */

static void wake_everybody_locked(struct unix_socket *socket)
{
    waitq_wake_all(&socket->readers);
    waitq_wake_all(&socket->room);
    unix_announce_locked(socket, READ_EVENTS | WRITE_EVENTS | EVENT_HANGUP | EVENT_READ_HANGUP | EVENT_ERROR);
}

/* The other end of a connection learns of the death. `reset`: something it sent was never read. */
static void peer_bereave(struct unix_socket *peer, bool reset)
{
    mutex_lock(&peer->mutex);
    peer->shutdown = SHUT_BOTH;
    if (reset && !peer->dead)
        peer->error = ECONNRESET;
    wake_everybody_locked(peer);
    mutex_unlock(&peer->mutex);
}

static void peer_leave(struct unix_socket *socket, struct unix_socket *peer, bool reset)
{
    if (!peer)
        return;
    if (unix_is_datagram(socket)) {
        mutex_lock(&peer->mutex);
        list_remove(&socket->sender_link);
        mutex_unlock(&peer->mutex);
    } else {
        peer_bereave(peer, reset);
    }
    object_unref(peer);
}

void unix_close(struct unix_socket *socket, bool embryo)
{
    struct list messages, embryos, *link;
    struct unix_socket *peer;

    list_init(&messages);
    list_init(&embryos);
    unix_unbind(socket);
    mutex_lock(&socket->mutex);
    socket->dead = true;
    socket->shutdown = SHUT_BOTH;
    list_splice_back(&messages, &socket->messages);
    socket->queued_bytes = socket->queued_charge = 0;
    socket->message_count = 0;
    list_splice_back(&embryos, &socket->embryos);
    peer = unix_peer(socket);
    atomic_ptr_store_release(&socket->peer, NULL);
    LIST_FOR_EACH(sender, &socket->senders)
        unix_announce_locked(LIST_ENTRY(sender, struct unix_socket, sender_link), WRITE_EVENTS);
    wake_everybody_locked(socket);
    mutex_unlock(&socket->mutex);
    peer_leave(socket, peer, embryo || !list_empty(&messages));
    while ((link = list_pop_front(&embryos)))
        unix_close(LIST_ENTRY(link, struct unix_socket, embryo_link), true);
    while ((link = list_pop_front(&messages)))
        unix_message_free(LIST_ENTRY(link, struct unix_message, link));
    knote_list_close(&socket->knotes);
    object_unref(socket);
}

/* --- the file ---------------------------------------------------------------------------------------- */

static void socket_release(struct file *file)
{
    unix_close(file->data, false);
    unix_gc_request();
}

static uint32_t poll_own_locked(struct unix_socket *socket)
{
    uint32_t events = 0;

    if (socket->error)
        events |= EVENT_ERROR;
    if (socket->shutdown == SHUT_BOTH)
        events |= EVENT_HANGUP;
    if (socket->shutdown & SHUT_RECEIVE)
        events |= EVENT_READ_HANGUP | READ_EVENTS;
    if (!list_empty(&socket->messages) || !list_empty(&socket->embryos))
        events |= READ_EVENTS;
    if (!unix_is_datagram(socket) && socket->state == UNIX_UNCONNECTED)
        events |= EVENT_HANGUP;
    return events;
}

static uint32_t socket_poll(struct file *file)
{
    struct unix_socket *socket = file->data, *peer;
    uint32_t events;

    mutex_lock(&socket->mutex);
    events = poll_own_locked(socket);
    peer = unix_peer(socket);
    if (peer)
        object_ref(peer);
    else if (socket->state != UNIX_LISTENING)
        events |= WRITE_EVENTS;
    mutex_unlock(&socket->mutex);
    if (!peer)
        return events;
    mutex_lock(&peer->mutex);
    if (peer->dead || unix_writable_locked(peer, socket))
        events |= WRITE_EVENTS;
    mutex_unlock(&peer->mutex);
    object_unref(peer);
    return events;
}

static struct knote_list *socket_knotes(struct file *file)
{
    struct unix_socket *socket = file->data;
    return &socket->knotes;
}

static int64_t socket_read(struct file *file, struct io *io, int64_t *position)
{
    bool nonblock = file_nonblocking(file) || (io->flags & IO_NONBLOCK);
    struct unix_receiving receiving = {0};
    int64_t result;

    (void)position;
    result = unix_receive(file->data, io, nonblock ? MSG_DONTWAIT : 0, &receiving);
    unix_rights_drop(receiving.rights);
    object_unref(receiving.from);
    return result;
}

static int64_t socket_write(struct file *file, struct io *io, int64_t *position)
{
    bool nonblock = file_nonblocking(file) || (io->flags & IO_NONBLOCK);
    struct unix_sending sending = {0};

    (void)position;
    return unix_send(file->data, io, nonblock ? MSG_DONTWAIT : 0, &sending);
}

static int64_t readable_bytes(struct unix_socket *socket)
{
    int64_t bytes;

    mutex_lock(&socket->mutex);
    bytes = socket->queued_bytes;
    if (socket->state == UNIX_LISTENING)
        bytes = -EINVAL;
    else if (unix_is_datagram(socket) && !list_empty(&socket->messages))
        bytes = LIST_ENTRY(socket->messages.next, struct unix_message, link)->size;
    mutex_unlock(&socket->mutex);
    return bytes;
}

static int64_t unsent_bytes(struct unix_socket *socket)
{
    struct unix_socket *peer;
    int64_t bytes = 0;

    if (socket->state == UNIX_LISTENING)
        return -EINVAL;
    peer = unix_peer_get(socket);
    if (peer) {
        mutex_lock(&peer->mutex);
        bytes = peer->queued_charge;
        mutex_unlock(&peer->mutex);
        object_unref(peer);
    }
    return bytes;
}

static int64_t socket_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    int64_t bytes = -ENOTTY;
    int32_t value;

    if (command == FIONREAD)
        bytes = readable_bytes(file->data);
    else if (command == SIOCOUTQ)
        bytes = unsent_bytes(file->data);
    if (bytes < 0)
        return bytes;
    value = bytes > INT32_MAX ? INT32_MAX : (int32_t)bytes;
    return user_write(argument, &value, sizeof(value));
}

static int socket_stat(struct file *file, struct linux_stat_data *stat)
{
    struct unix_socket *socket = file->data;

    anon_stat(stat, ANON_DEVICE_SOCKET, socket->inode, LINUX_S_IFSOCK | 0777, socket->uid, socket->gid, socket->created);
    return 0;
}

static const struct file_ops socket_ops = {
    .kind = "socket",
    .async = true,
    .read = socket_read,
    .write = socket_write,
    .poll = socket_poll,
    .knotes = socket_knotes,
    .ioctl = socket_ioctl,
    .stat = socket_stat,
    .release = socket_release,
};

struct file *unix_file_create(struct unix_socket *socket, uint32_t flags)
{
    struct file *file = file_create(&socket_ops, LINUX_O_RDWR | flags, socket);

    if (file)
        socket->file = file;
    return file;
}

int unix_make(uint16_t type, uint32_t flags, struct file **file, struct unix_socket **made)
{
    struct unix_socket *socket = unix_create(type);

    if (!socket)
        return -ENOMEM;
    *file = unix_file_create(socket, flags);
    if (!*file) {
        object_unref(socket);
        return -ENOMEM;
    }
    *made = socket;
    return 0;
}

struct unix_socket *unix_of(struct file *file) { return file->ops == &socket_ops ? file->data : NULL; }
