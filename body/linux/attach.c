/*
 * The listener, connections, and the check-in.
 *
 * Whatever happens on a connection pokes its work, which runs on a kernel thread, never twice at once: it reads messages, moves the
 * state on, and in the end takes everything apart. A connection has a time to check in by; one that does not keep to the protocol ends.
 * Descriptors that somebody sends along are dropped by the host, since no message is received with room for them.
 */
#include "body/linux/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHECK_IN_NS 5000000000u
#define SWEEP_NS 2000000000u
#define MESSAGES_AT_ONCE 16u

static struct {
    struct spinlock lock; /* rank BODY; guards the next two */
    struct list list;     /* struct attached.link */
    uint32_t count;
    struct attach_options options;
    struct host_watch listener;
    struct atomic32 starved; /* connections wait that could not be accepted */
    int kernel_page_fd;
    struct timer sweep_timer;
    struct async_work sweep_work, accept_work;
} all = {.lock = SPINLOCK_INIT(RANK_BODY), .list = {&all.list, &all.list}};

/* --- the list ---------------------------------------------------------------------------------------- */

void attach_unref(struct attached *attached)
{
    if (atomic32_sub(&attached->references, 1) == 1)
        kfree(attached);
}

uint32_t attach_all(struct attached **list, uint32_t limit)
{
    uint32_t count = 0;
    spin_lock(&all.lock);
    LIST_FOR_EACH (link, &all.list) {
        struct attached *attached = LIST_ENTRY(link, struct attached, link);
        if (attached->state != ATTACH_RUNNING || count == limit)
            continue;
        atomic32_add(&attached->references, 1);
        list[count++] = attached;
    }
    spin_unlock(&all.lock);
    return count;
}

uint32_t attach_count(void)
{
    spin_lock(&all.lock);
    uint32_t count = all.count;
    spin_unlock(&all.lock);
    return count;
}

void attach_visit(void (*visit)(const struct attached *attached, void *context), void *context)
{
    uint32_t room = attach_count() + 16;
    struct attached **list = kcalloc(room, sizeof *list);
    uint32_t count = list ? attach_all(list, room) : 0;
    for (uint32_t i = 0; i < count; i++) {
        visit(list[i], context);
        attach_unref(list[i]);
    }
    kfree(list);
}

static void set_state(struct attached *attached, enum attach_state state)
{
    spin_lock(&all.lock);
    attached->state = state;
    spin_unlock(&all.lock);
}

/* Queued work has a reference of its own: the run before it may be the one that ends the connection. */
void attach_poke(struct attached *attached)
{
    atomic32_add(&attached->references, 1);
    if (!kernel_async(&attached->work))
        attach_unref(attached);
}

void attach_end_soon(struct attached *attached)
{
    atomic32_store(&attached->ending, 1);
    attach_poke(attached);
}

/* --- messages ---------------------------------------------------------------------------------------- */

static int connection_of(const struct attached *attached) { return attached->client ? attached->client->socket : attached->fd; }

static int send_message(struct attached *attached, const void *message, size_t size, const int *fds, uint32_t count)
{
    char control[CMSG_SPACE(sizeof(int) * 3)] = {0};
    struct iovec vector = {(void *)message, size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *part = CMSG_FIRSTHDR(&header);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(part), fds, sizeof(int) * count);
    }
    return sendmsg(connection_of(attached), &header, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size ? 0 : -EIO;
}

static void refuse(struct attached *attached, int error)
{
    struct attach_welcome welcome = {.tag = ATTACH_WELCOME, .error = error, .version = ATTACH_VERSION};
    send_message(attached, &welcome, sizeof welcome, NULL, 0);
    atomic32_store(&attached->ending, 1);
}

static void put_text(void *context, const char *text, size_t length)
{
    while (length) {
        size_t part = min_u64(length, 4096);
        if (send_message(context, text, part, NULL, 0))
            return;
        text += part;
        length -= part;
    }
}

static void on_look(struct attached *attached, const struct attach_look *look)
{
    all.options.look(look->what, put_text, attached);
    atomic32_store(&attached->ending, 1);
}

/* --- check-in ---------------------------------------------------------------------------------------- */

static bool hello_good(const struct attach_hello *hello)
{
    uint64_t end = 0x7ffffffff000;
    return hello->version == ATTACH_VERSION && hello->window_start >= 0x10000 && hello->window_start % PAGE_SIZE == 0 &&
           hello->window_size % PAGE_SIZE == 0 && hello->window_size >= PAGE_SIZE && hello->window_start < end &&
           hello->window_size <= end - hello->window_start && hello->signal >= 32 && hello->signal <= 64;
}

/* The process's memory as the kernel knows it: a window that libhyla keeps free of anything else. */
static void adopt_aspace(struct attached *attached)
{
    struct aspace *aspace = attached->aspace;
    aspace->body = attached->client; /* with the reference that client_create_attached gave */
    aspace->floor = aspace->low = attached->hello.window_start;
    aspace->ceiling = aspace->high = attached->hello.window_start + attached->hello.window_size;
    futex_census_place(aspace, (struct atomic32 *)attached->client->pages->census);
}

static int make_client(struct attached *attached, int remote[2])
{
    struct client *client = client_create_attached(attached->fd, remote);
    if (!client)
        return -ENOMEM;
    attached->fd = -1;
    client->attached = attached;
    atomic32_add(&attached->references, 1);
    client_ref(client);
    attached->client = client;
    adopt_aspace(attached);
    return client_adopt_process(client, attached->pid);
}

static int check_in(struct attached *attached, int remote[2])
{
    if (!hello_good(&attached->hello))
        return attached->hello.version == ATTACH_VERSION ? -EINVAL : -EPROTO;
    attached->task = abi_arrivals()->task_arrives(attached->hello.token);
    if (!attached->task)
        return attached->hello.token ? -ESRCH : -ENOMEM;
    attached->aspace = task_aspace(attached->task);
    return attached->aspace ? make_client(attached, remote) : -ENOMEM;
}

static void on_hello(struct attached *attached, const struct attach_hello *hello)
{
    int remote[2] = {-1, -1};
    attached->hello = *hello;
    attached->signal = (int32_t)hello->signal;
    attached->same_ids = hello->pid == attached->pid;
    int error = attach_count() > all.options.processes_max ? -EAGAIN : check_in(attached, remote);
    if (!error) {
        const int fds[3] = {remote[0], remote[1], all.kernel_page_fd};
        struct attach_welcome welcome = {.tag = ATTACH_WELCOME, .server_pid = getpid(), .version = ATTACH_VERSION, .pages_size = CALL_PAGES_SIZE};
        if (send_message(attached, &welcome, sizeof welcome, fds, 3))
            atomic32_store(&attached->ending, 1);
        set_state(attached, ATTACH_WELCOMED);
    } else {
        refuse(attached, error);
    }
    for (int i = 0; i < 2; i++)
        if (remote[i] >= 0)
            close(remote[i]);
}

/* Can the server read the client's memory by itself? It tells where a word is, and what it holds. */
static void on_ready(struct attached *attached, const struct attach_ready *ready)
{
    uint64_t value = ~ready->value;
    struct iovec here = {&value, sizeof value}, there = {(void *)(uintptr_t)ready->address, sizeof value};
    bool remote = !host_options.no_vm_access && process_vm_readv(attached->pid, &here, 1, &there, 1, 0) == sizeof value && value == ready->value;
    atomic32_store_relaxed(&attached->client->no_vm_access, !remote);
    struct attach_go go = {.tag = ATTACH_GO, .copies_remotely = remote};
    timer_cancel(&attached->deadline);
    set_state(attached, ATTACH_RUNNING);
    if (send_message(attached, &go, sizeof go, NULL, 0))
        atomic32_store(&attached->ending, 1);
}

union attach_message {
    uint32_t tag;
    struct attach_hello hello;
    struct attach_ready ready;
    struct attach_look look;
};

/* Once running a client has nothing to say here. */
static void on_message(struct attached *attached, const union attach_message *message, size_t size)
{
    if (attached->state == ATTACH_CONNECTED && size == sizeof message->hello && message->tag == ATTACH_HELLO)
        on_hello(attached, &message->hello);
    else if (attached->state == ATTACH_CONNECTED && size == sizeof message->look && message->tag == ATTACH_LOOK)
        on_look(attached, &message->look);
    else if (attached->state == ATTACH_WELCOMED && size == sizeof message->ready && message->tag == ATTACH_READY)
        on_ready(attached, &message->ready);
    else
        atomic32_store(&attached->ending, 1);
}

/* True when there may be more to read. */
static bool read_message(struct attached *attached)
{
    union attach_message message;
    struct iovec vector = {&message, sizeof message};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t got = recvmsg(connection_of(attached), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got > 0 && !(header.msg_flags & MSG_TRUNC))
        on_message(attached, &message, (size_t)got);
    else if (got >= 0 || (errno != EAGAIN && errno != EINTR)) /* the end, an empty message, one that is too long */
        atomic32_store(&attached->ending, 1);
    return got > 0 && !atomic32_load(&attached->ending);
}

/* --- connections ------------------------------------------------------------------------------------- */

static void connection_ended(struct attached *attached)
{
    set_state(attached, ATTACH_ENDED);
    host_watch_remove(&attached->watch);
    timer_cancel_sync(&attached->deadline);
    if (attached->client)
        attach_end_client(attached);
    if (attached->task) {
        abi_arrivals()->task_leaves(attached->task);
        object_unref(attached->aspace);
        object_unref(attached->task);
    }
    if (attached->fd >= 0)
        close(attached->fd);
    spin_lock(&all.lock);
    list_remove(&attached->link);
    all.count--;
    spin_unlock(&all.lock);
    if (atomic32_swap(&all.starved, 0))
        kernel_async(&all.accept_work);
    attach_unref(attached);
}

static void connection_go_on(struct attached *attached)
{
    uint32_t messages = 0;
    while (!atomic32_load(&attached->ending) && read_message(attached) && ++messages < MESSAGES_AT_ONCE)
        ;
    if (atomic32_load(&attached->overdue) && attached->state < ATTACH_RUNNING)
        atomic32_store(&attached->ending, 1);
    if (atomic32_load(&attached->ending))
        connection_ended(attached);
    else if (messages == MESSAGES_AT_ONCE)
        attach_poke(attached);
}

static void connection_work(struct async_work *work)
{
    struct attached *attached = CONTAINER_OF(work, struct attached, work);
    if (attached->state != ATTACH_ENDED)
        connection_go_on(attached);
    attach_unref(attached); /* attach_poke's */
}

static void connection_ready(struct host_watch *watch, UNUSED uint32_t events) { attach_poke(CONTAINER_OF(watch, struct attached, watch)); }

static void connection_overdue(struct timer *timer)
{
    struct attached *attached = CONTAINER_OF(timer, struct attached, deadline);
    atomic32_store(&attached->overdue, 1);
    attach_poke(attached);
}

/* Takes over fd. */
static void connection_add(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    struct attached *attached = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid() && peer.pid > 0)
        attached = kzalloc(sizeof *attached);
    if (!attached) {
        close(fd);
        return;
    }
    atomic32_store_relaxed(&attached->references, 1);
    spinlock_init(&attached->arriving, RANK_ARRIVALS);
    spinlock_init(&attached->cancelling, RANK_ARRIVALS);
    attached->fd = fd;
    attached->pid = peer.pid;
    attached->watch = (struct host_watch){.fd = fd, .ready = connection_ready};
    timer_init(&attached->deadline, connection_overdue);
    async_work_init(&attached->work, connection_work);
    list_init(&attached->link);
    spin_lock(&all.lock);
    list_push_back(&all.list, &attached->link);
    all.count++;
    spin_unlock(&all.lock);
    timer_set(&attached->deadline, body_now() + CHECK_IN_NS);
    if (host_watch_add(&attached->watch, EPOLLIN | EPOLLRDHUP))
        attach_end_soon(attached);
}

/* With no descriptor left the connection waits in the host's queue until one of ours has ended. */
static void accept_all(UNUSED struct async_work *work)
{
    for (;;) {
        int fd = accept4(all.listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            connection_add(fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            atomic32_store(&all.starved, 1);
        return;
    }
}

static void listener_ready(UNUSED struct host_watch *watch, UNUSED uint32_t events) { kernel_async(&all.accept_work); }

/* --- life -------------------------------------------------------------------------------------------- */

static void sweep(UNUSED struct async_work *work)
{
    attach_sweep();
    if (atomic32_swap(&all.starved, 0))
        kernel_async(&all.accept_work);
    timer_set(&all.sweep_timer, body_now() + SWEEP_NS);
}

static void sweep_due(UNUSED struct timer *timer) { kernel_async(&all.sweep_work); }

/* What clients may read: as for managed ones (sandbox.c), but each gets a descriptor that can only read. */
static int make_kernel_page(void)
{
    char path[32];
    int fd = memfd_create("hyla kernel page", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, PAGE_SIZE) < 0)
        return -errno;
    kernel_page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    all.kernel_page_fd = open(path, O_RDONLY | O_CLOEXEC);
    close(fd);
    if (kernel_page == MAP_FAILED || all.kernel_page_fd < 0)
        return -errno;
    kernel_page->spin = loop_cpus > 1 ? CLIENT_SPIN_TURNS : 0;
    return 0;
}

int attach_start(const struct attach_options *options, const char **why)
{
    all.options = *options;
    async_work_init(&all.accept_work, accept_all);
    async_work_init(&all.sweep_work, sweep);
    timer_init(&all.sweep_timer, sweep_due);
    int error = make_kernel_page();
    if (error) {
        *why = "cannot make the shared memory";
        return error;
    }
    all.listener = (struct host_watch){.fd = options->listener, .ready = listener_ready};
    fcntl(options->listener, F_SETFL, O_NONBLOCK);
    error = host_watch_add(&all.listener, EPOLLIN);
    if (error)
        *why = "cannot watch the socket";
    timer_set(&all.sweep_timer, body_now() + SWEEP_NS);
    return error;
}

static void tell_gone(const struct attached *attached, UNUSED void *context) { client_tell_gone(attached->client); }

void attach_stop(void)
{
    host_watch_remove(&all.listener);
    close(all.listener.fd);
    attach_visit(tell_gone, NULL);
}
