/*
 * Event channels' socket ends (kernel/kqchan.h): a SEQPACKET pair, whose other end is a descriptor in an attached process's own event
 * loop.
 *
 * All that comes from the socket is done by the link's work, on a kernel thread and never twice at once: it reads requests, tells
 * the channel of room and of the peer's end, and frees the link when the channel has let go of it. `hung` is the one way to the
 * end: whoever finds that the peer is gone, or that nobody will ever have its end, sets it and queues the work.
 */
#include "body/linux/attach.h"
#include "kernel/kqchan.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUESTS_AT_ONCE 32u

struct channel_link {
    struct kqchan_link link;
    struct kqchan *channel; /* the reference that kqchan_hung_up drops */
    int fd, remote;         /* the peer's end until it is sent, then -1 */
    struct host_watch watch;
    struct async_work work;
    struct atomic32 hung;   /* to be told to the channel */
    struct atomic32 full;   /* something could not be sent */
    /* owned by the work */
    bool told;   /* the channel was told of the end */
    bool closed; /* and has let go of the link */
    bool kept; /* a request that the channel could not take yet */
    struct kqchan_message request;
};

static struct channel_link *link_of(struct kqchan_link *link) { return CONTAINER_OF(link, struct channel_link, link); }

/* --- the work ---------------------------------------------------------------------------------------- */

static void link_free(struct channel_link *link)
{
    host_watch_remove(&link->watch);
    close(link->fd);
    if (link->remote >= 0)
        close(link->remote);
    kfree(link);
}

/* True when a request lies in `request`. */
static bool next_request(struct channel_link *link)
{
    if (link->kept)
        return true;
    struct kqchan_message message;
    struct iovec vector = {&message, sizeof message};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t got = recvmsg(link->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got != sizeof message || (header.msg_flags & MSG_TRUNC)) { /* the end, or no message of ours */
        atomic32_store(&link->hung, 1);
        return false;
    }
    link->request = message;
    link->kept = true;
    return true;
}

static void serve_requests(struct channel_link *link)
{
    for (uint32_t served = 0; !atomic32_load(&link->hung) && next_request(link); served++) {
        int error = kqchan_received(link->channel, &link->request);
        if (error == -EAGAIN)
            return;
        link->kept = false;
        if (error)
            atomic32_store(&link->hung, 1);
        if (served == REQUESTS_AT_ONCE) {
            kernel_async(&link->work);
            return;
        }
    }
}

static void link_work(struct async_work *work)
{
    struct channel_link *link = CONTAINER_OF(work, struct channel_link, work);
    if (!link->told && !atomic32_load(&link->hung) && atomic32_swap(&link->full, 0))
        kqchan_writable(link->channel);
    if (!link->told)
        serve_requests(link);
    if (atomic32_load(&link->hung) && !link->told) {
        link->told = true;
        kqchan_hung_up(link->channel);
    }
    if (!link->closed)
        return;
    host_watch_remove(&link->watch); /* nobody queues the work any more: the channel has no link either */
    if (!atomic32_load(&work->queued))
        link_free(link);
}

static void link_ready(struct host_watch *watch, UNUSED uint32_t events) { kernel_async(&CONTAINER_OF(watch, struct channel_link, watch)->work); }

static void hang_up(struct channel_link *link)
{
    atomic32_store(&link->hung, 1);
    kernel_async(&link->work);
}

/* --- what the channel asks --------------------------------------------------------------------------- */

static int link_send(struct kqchan_link *to, const struct kqchan_message *message, struct kqchan_link *child)
{
    struct channel_link *link = link_of(to), *born = child ? link_of(child) : NULL;
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
    atomic32_store(&link->full, 1); /* before: room may come at once */
    if (sendmsg(link->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof *message) {
        atomic32_store(&link->full, 0);
        if (born) {
            close(born->remote);
            born->remote = -1;
        }
        return 0;
    }
    if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
        return -EAGAIN;
    hang_up(link);
    if (born)
        hang_up(born);
    return -EPIPE;
}

static void link_close(struct kqchan_link *of)
{
    struct channel_link *link = link_of(of);
    KASSERT(link->told); /* kqchan_hung_up called it, and so this link's work is what runs */
    link->closed = true;
}

static void link_abandon(struct kqchan_link *of) { hang_up(link_of(of)); }
static int link_pair(struct kqchan_link *link, struct kqchan *child, struct kqchan_link **made);

static const struct kqchan_link_operations operations = {.send = link_send, .pair = link_pair, .abandon = link_abandon, .close = link_close};

/* --- making ------------------------------------------------------------------------------------------ */

static int link_make(struct channel_link **made)
{
    int ends[2];
    struct channel_link *link = kzalloc(sizeof *link);
    if (!link || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        kfree(link);
        return link ? -EMFILE : -ENOMEM;
    }
    link->link.operations = &operations;
    link->fd = ends[0];
    link->remote = ends[1];
    link->watch = (struct host_watch){.fd = link->fd, .ready = link_ready};
    async_work_init(&link->work, link_work);
    *made = link;
    return 0;
}

static int link_watch(struct channel_link *link) { return host_watch_add(&link->watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP); }

static int link_pair(UNUSED struct kqchan_link *link, struct kqchan *child, struct kqchan_link **made)
{
    struct channel_link *born;
    int error = link_make(&born);
    if (error)
        return error;
    born->channel = child;
    error = link_watch(born);
    if (error) {
        link_free(born);
        return -EMFILE;
    }
    *made = &born->link;
    return 0;
}

/* The calling thread's process gets the other end: by a descriptor on its socket, which its own slot's command takes. */
static int64_t give_end(struct channel_link *link)
{
    struct user_thread *user = thread_current()->user;
    struct client *client = user->client;
    struct aspace *aspace = thread_current()->task->aspace;
    mutex_lock(&aspace->mutex);
    uint8_t tag = ++client->fd_tag;
    int64_t result = sandbox_send_fds(client->socket, (char)tag, &link->remote, 1);
    if (result == 0) {
        uint64_t arguments[2] = {0, tag};
        result = command_one(user, ATTACH_TAKE_FD, arguments, 2);
    }
    mutex_unlock(&aspace->mutex);
    close(link->remote);
    link->remote = -1;
    return result;
}

int64_t body_channel_open(int (*open)(struct kqchan_link *link, struct kqchan **made, void *context), void *context)
{
    struct user_thread *user = thread_current()->user;
    struct channel_link *link;
    if (!user || !user->client->attached)
        return -ENOSYS;
    int error = link_make(&link);
    if (error)
        return error;
    error = open(&link->link, &link->channel, context);
    if (error) {
        link_free(link);
        return error;
    }
    int64_t result = link_watch(link) ? -EMFILE : give_end(link);
    if (result < 0)
        hang_up(link);
    return result;
}
