/*
 * Event channels' sockets (kernel/kqchan_end.h): a SEQPACKET pair, whose other end is a descriptor in an attached process's own event
 * loop.
 */
#include "body/linux/attach.h"
#include "kernel/kqchan_end.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct channel_socket {
    struct kqchan_end end;
    int fd, remote; /* the peer's end until it is sent, then -1 */
    struct host_watch watch;
};

static struct channel_socket *socket_of(struct kqchan_end *end) { return CONTAINER_OF(end, struct channel_socket, end); }

static int socket_receive(struct kqchan_end *end, struct kqchan_message *message)
{
    struct iovec vector = {message, sizeof *message};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t got = recvmsg(socket_of(end)->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return got == sizeof *message && !(header.msg_flags & MSG_TRUNC) ? 1 : -EPIPE;
}

static int socket_send(struct kqchan_end *end, const struct kqchan_message *message, struct kqchan_end *child)
{
    struct channel_socket *born = child ? socket_of(child) : NULL;
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec vector = {(void *)message, sizeof *message};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    if (born) {
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        struct cmsghdr *part = CMSG_FIRSTHDR(&header);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(part), &born->remote, sizeof(int));
    }
    if (sendmsg(socket_of(end)->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof *message)
        return errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS ? -EAGAIN : -EPIPE;
    if (born) {
        close(born->remote);
        born->remote = -1;
    }
    return 0;
}

static void socket_unwatch(struct kqchan_end *end) { host_watch_remove(&socket_of(end)->watch); }

static void socket_free(struct kqchan_end *end)
{
    struct channel_socket *socket = socket_of(end);
    close(socket->fd);
    if (socket->remote >= 0)
        close(socket->remote);
    kfree(socket);
}

static int socket_pair(struct kqchan_end *end, struct kqchan *child, struct kqchan_end **made);

static const struct kqchan_socket socket_functions = {
    .receive = socket_receive, .send = socket_send, .pair = socket_pair, .unwatch = socket_unwatch, .free = socket_free};

/* --- making ------------------------------------------------------------------------------------------ */

static void socket_ready(struct host_watch *watch, UNUSED uint32_t events) { kqchan_end_ready(&CONTAINER_OF(watch, struct channel_socket, watch)->end); }

static int socket_make(struct channel_socket **made)
{
    int ends[2];
    struct channel_socket *socket = kzalloc(sizeof *socket);
    if (!socket || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        kfree(socket);
        return socket ? -EMFILE : -ENOMEM;
    }
    kqchan_end_init(&socket->end, &socket_functions);
    socket->fd = ends[0];
    socket->remote = ends[1];
    socket->watch = (struct host_watch){.fd = socket->fd, .ready = socket_ready};
    *made = socket;
    return 0;
}

static int socket_watch(struct channel_socket *socket) { return host_watch_add(&socket->watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP); }

static int socket_pair(UNUSED struct kqchan_end *end, struct kqchan *child, struct kqchan_end **made)
{
    struct channel_socket *born;
    int error = socket_make(&born);
    if (error)
        return error;
    born->end.channel = child;
    if (socket_watch(born)) {
        socket_free(&born->end);
        return -EMFILE;
    }
    *made = &born->end;
    return 0;
}

/* The calling thread's process gets the other end: by a descriptor on its socket, which its own slot's command takes. */
static int64_t give_end(struct channel_socket *socket)
{
    struct user_thread *user = thread_current()->user;
    struct client *client = user->client;
    struct aspace *aspace = thread_current()->task->aspace;
    mutex_lock(&aspace->mutex);
    uint8_t tag = ++client->fd_tag;
    int64_t result = sandbox_send_fds(client->socket, (char)tag, &socket->remote, 1);
    if (result == 0) {
        uint64_t arguments[2] = {0, tag};
        result = command_one(user, ATTACH_TAKE_FD, arguments, 2);
    }
    mutex_unlock(&aspace->mutex);
    close(socket->remote);
    socket->remote = -1;
    return result;
}

int64_t body_channel_open(user_channel_maker make, void *context)
{
    struct user_thread *user = thread_current()->user;
    struct channel_socket *socket;
    if (!user || !user->client->attached)
        return -ENOSYS;
    int error = socket_make(&socket);
    if (error)
        return error;
    error = make(&socket->end.link, &socket->end.channel, context);
    if (error) {
        socket_free(&socket->end);
        return error;
    }
    int64_t result = socket_watch(socket) ? -EMFILE : give_end(socket);
    if (result < 0)
        kqchan_end_hang_up(&socket->end);
    return result;
}
