/*
 * Event channels of managed programs (kernel/kqchan_end.h): a pair of the program's own seqpacket sockets. One end is a descriptor in
 * its table; the other has a file and no descriptor, and is the kernel's.
 *
 * The kernel's end is watched as epoll would, by a knote; sending and receiving are the sockets' own, never waiting. On a kernel
 * thread there are no credentials: what the kernel sends comes from process 0, user 0.
 */
#include "abi/linux/channel.h"

#include "abi/linux/unix_socket.h"
#include "kernel/alloc.h"
#include "kernel/kqchan_end.h"

struct channel_socket {
    struct kqchan_end end;
    struct file *file;   /* the kernel's end */
    struct file *remote; /* the program's, until it is given away, then NULL */
    struct knote knote;
};

static struct channel_socket *socket_of(struct kqchan_end *end) { return CONTAINER_OF(end, struct channel_socket, end); }

static int socket_receive(struct kqchan_end *end, struct kqchan_message *message)
{
    struct unix_receiving receiving = {0};
    struct io io;
    io_init_kernel(&io, message, sizeof *message);
    int64_t got = unix_receive(unix_of(socket_of(end)->file), &io, MSG_DONTWAIT, &receiving);
    unix_rights_drop(receiving.rights);
    object_unref(receiving.from);
    if (got == -EAGAIN)
        return 0;
    return got == sizeof *message && !(receiving.flags & MSG_TRUNC) ? 1 : -EPIPE;
}

/* The child's end goes along: the one reference, which comes back when there is no room. */
static int rights_for(struct channel_socket *born, struct unix_rights **rights)
{
    if (!born)
        return 0;
    int error = unix_rights_extend(rights, 1);
    if (!error)
        (*rights)->files[(*rights)->count++] = born->remote;
    return error;
}

static int socket_send(struct kqchan_end *end, const struct kqchan_message *message, struct kqchan_end *child)
{
    struct channel_socket *born = child ? socket_of(child) : NULL;
    struct unix_sending sending = {0};
    struct kqchan_message copy = *message;
    struct io io;
    io_init_kernel(&io, &copy, sizeof copy);
    int64_t sent = rights_for(born, &sending.rights);
    if (!sent)
        sent = unix_send(unix_of(socket_of(end)->file), &io, MSG_DONTWAIT | MSG_NOSIGNAL, &sending);
    if (sent == sizeof copy && born)
        born->remote = NULL;
    if (sending.rights)
        sending.rights->count = 0; /* still the child's */
    unix_rights_drop(sending.rights);
    if (sent == sizeof copy)
        return 0;
    return sent == -EAGAIN || sent == -ENOMEM ? -EAGAIN : -EPIPE;
}

static void socket_unwatch(struct kqchan_end *end) { knote_remove(&socket_of(end)->knote); }

static void socket_free(struct kqchan_end *end)
{
    struct channel_socket *socket = socket_of(end);
    file_unref(socket->file);
    if (socket->remote)
        file_unref(socket->remote);
    kfree(socket);
}

static int socket_pair(struct kqchan_end *end, struct kqchan *child, struct kqchan_end **made);

static const struct kqchan_socket socket_functions = {
    .receive = socket_receive, .send = socket_send, .pair = socket_pair, .unwatch = socket_unwatch, .free = socket_free};

/* --- making ------------------------------------------------------------------------------------------ */

static bool socket_ready(struct knote *knote, UNUSED uint32_t events)
{
    kqchan_end_ready(&CONTAINER_OF(knote, struct channel_socket, knote)->end);
    return true;
}

static int socket_make(struct channel_socket **made)
{
    struct channel_socket *socket = kzalloc(sizeof *socket);
    struct file *files[2];
    if (!socket || unix_pair_make(LINUX_SOCK_SEQPACKET, 0, files)) {
        kfree(socket);
        return -ENOMEM;
    }
    kqchan_end_init(&socket->end, &socket_functions);
    socket->file = files[0];
    socket->remote = files[1];
    socket->knote = (struct knote){.interest = EVENT_READ | EVENT_WRITE, .activate = socket_ready};
    list_init(&socket->knote.link);
    *made = socket;
    return 0;
}

/* The peer cannot have sent anything yet. */
static void socket_watch(struct channel_socket *socket) { knote_add(&unix_of(socket->file)->knotes, &socket->knote); }

static int socket_pair(UNUSED struct kqchan_end *end, struct kqchan *child, struct kqchan_end **made)
{
    struct channel_socket *born;
    int error = socket_make(&born);
    if (error)
        return error;
    born->end.channel = child;
    socket_watch(born);
    *made = &born->end;
    return 0;
}

int64_t linux_channel_open(user_channel_maker make, void *context)
{
    struct channel_socket *socket;
    int fd = fd_reserve(0, LINUX_O_CLOEXEC);
    if (fd < 0)
        return fd;
    int error = socket_make(&socket);
    if (error) {
        fd_cancel(fd);
        return error;
    }
    error = make(&socket->end.link, &socket->end.channel, context);
    if (error) {
        fd_cancel(fd);
        socket_free(&socket->end);
        return error;
    }
    struct file *remote = socket->remote;
    socket->remote = NULL;
    socket_watch(socket);
    fd_commit(fd, remote); /* from here on the end may be gone at any time */
    return fd;
}
