/*
 * Clients: an address space's host side: made and unmade, its call pages, its doorbell.
 *
 * The server holds two descriptors per client (socket, doorbell) and one per host process (pidfd); the
 * call pages' memfd is closed once both sides have mapped it.
 */
#include "body/linux/client_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void client_free(struct async_work *work);

/* Sealed against resizing: a client that could shrink it would kill the server with SIGBUS. */
static int make_pages(struct client *client)
{
    int fd = memfd_create("hyla call pages", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, CALL_PAGES_SIZE) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        goto fail;
    void *pages = mmap(NULL, CALL_PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (pages == MAP_FAILED)
        goto fail;
    client->pages = pages;
    client->slots = (struct call_slot *)((char *)pages + CALL_PAGES_HEADER_SIZE);
    client->slots[0].state = SLOT_POSTED; /* the zygote's child waits there for its program */
    return fd;
fail:
    if (fd >= 0)
        close(fd);
    return -1;
}

static struct client *client_new(void)
{
    struct client *client = kzalloc(sizeof *client);
    if (!client)
        return NULL;
    atomic32_store_relaxed(&client->references, 1);
    spinlock_init(&client->lock, RANK_BODY);
    mutex_init(&client->rewriting, RANK_BODY_SLEEPING);
    mutex_init(&client->passing, RANK_BODY_SLEEPING);
    mutex_init(&client->revoking, RANK_BODY_SLEEPING - 1);
    waitq_init(&client->revoked);
    list_init(&client->processes);
    list_init(&client->pool_link);
    waitq_init(&client->ready);
    timer_init(&client->grace, client_grace_over);
    timer_init(&client->hello_timer, client_hello_overdue);
    atomic32_store_relaxed(&client->hellos_due, 1);
    async_work_init(&client->free_work, client_free);
    client->socket = client->doorbell = -1;
    return client;
}

/* The other end, to be sent, or -1. */
static int make_doorbell(struct client *client)
{
    client->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    client->doorbell_watch = (struct host_watch){.fd = client->doorbell, .ready = client_doorbell};
    int remote = client->doorbell < 0 ? -1 : fcntl(client->doorbell, F_DUPFD_CLOEXEC, 0);
    return remote < 0 || host_watch_add(&client->doorbell_watch, EPOLLIN) < 0 ? -1 : remote;
}

struct client *client_create(int remote[3])
{
    struct client *client = client_new();
    int sockets[2] = {-1, -1}, one = 1;
    if (!client)
        return NULL;
    remote[0] = remote[1] = remote[2] = -1;
    remote[2] = make_pages(client);
    if (remote[2] < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        goto fail;
    client->socket = sockets[0];
    remote[0] = sockets[1];
    setsockopt(client->socket, SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
    remote[1] = make_doorbell(client);
    client->socket_watch = (struct host_watch){.fd = client->socket, .ready = client_socket_ready};
    if (remote[1] < 0 || host_watch_add(&client->socket_watch, EPOLLIN | EPOLLRDHUP) < 0)
        goto fail;
    return client;
fail:
    client_close_remote(remote);
    client_unref(client);
    return NULL;
}

/* Slot 0 waits for what the server wants of the process as a whole. */
struct client *client_create_attached(int socket, int remote[2])
{
    struct client *client = client_new();
    if (!client)
        return NULL;
    mutex_init(&client->rewriting, RANK_S2C); /* mappings, and with them memobjs, are the main use */
    remote[0] = make_pages(client);
    remote[1] = remote[0] < 0 ? -1 : make_doorbell(client);
    client->first = remote[1] < 0 ? NULL : client_add_thread_at(client, NULL, 0);
    if (!client->first) {
        client_unref(client);
        return NULL;
    }
    client->socket = socket;
    return client;
}

void client_close_remote(const int remote[3])
{
    for (int i = 0; i < 3; i++)
        if (remote[i] >= 0)
            close(remote[i]);
}

static void client_free(struct async_work *work)
{
    struct client *client = CONTAINER_OF(work, struct client, free_work);
    timer_cancel_sync(&client->grace);
    timer_cancel_sync(&client->hello_timer);
    if (atomic32_load(&client->awaited) && !atomic32_load(&client->ready_pid))
        sweep_ask();
    host_watch_remove(&client->doorbell_watch);
    host_watch_remove(&client->socket_watch);
    KASSERT(list_empty(&client->processes) && !client->first);
    if (!client->attached) /* whose messages are other ones, and might bring descriptors */
        client_socket_ready(&client->socket_watch, 0); /* a hello that nobody has read yet: nothing would end that process */
    rings_free_client(client);
    if (client->doorbell >= 0)
        close(client->doorbell);
    if (client->socket >= 0)
        close(client->socket);
    if (client->pages)
        munmap(client->pages, CALL_PAGES_SIZE);
    for (uint32_t i = 0; i < ARRAY_SIZE(client->threads); i++)
        kfree(client->threads[i]);
    if (client->attached)
        attach_unref(client->attached);
    kfree(client->revoke_list);
    kfree(client);
}

void client_ref(struct client *client) { atomic32_add(&client->references, 1); }

void client_unref(struct client *client)
{
    if (client && atomic32_sub(&client->references, 1) == 1)
        kernel_async(&client->free_work);
}

/* --- slots ------------------------------------------------------------------------------------------- */

struct user_thread *client_thread_at_locked(const struct client *client, uint32_t index)
{
    struct user_thread **block = client->threads[index / SLOTS_PER_BLOCK];
    return block ? block[index % SLOTS_PER_BLOCK] : NULL;
}

/* References, or NULL: of a thread that is being made there may be a user side only. */
struct user_thread *client_thread_of_slot(struct client *client, uint32_t index, struct thread **thread)
{
    spin_lock(&client->lock);
    struct user_thread *user = client_thread_at_locked(client, index);
    if (user)
        user_thread_ref(user);
    *thread = user && user->thread ? object_ref(user->thread) : NULL;
    spin_unlock(&client->lock);
    return user;
}

void client_slots_used(struct client *client, uint64_t slots[CLIENT_THREADS_MAX / 64])
{
    spin_lock(&client->lock);
    memcpy(slots, client->slots_used, sizeof client->slots_used);
    spin_unlock(&client->lock);
}

void client_tell_gone(struct client *client)
{
    uint64_t slots[CLIENT_THREADS_MAX / 64];
    client_slots_used(client, slots);
    for (uint32_t index = 0; index < CLIENT_THREADS_MAX; index++) {
        if (!(slots[index / 64] >> (index % 64) & 1))
            continue;
        struct call_slot *slot = &client->slots[index];
        if (__atomic_exchange_n(&slot->state, ATTACH_SLOT_GONE, __ATOMIC_SEQ_CST) == SLOT_POSTED_SLEEPING)
            syscall(SYS_futex, &slot->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

/* Which slots were posted: the client says so in the header, in words that only hint. */
void client_doorbell(struct host_watch *watch, UNUSED uint32_t events)
{
    struct client *client = CONTAINER_OF(watch, struct client, doorbell_watch);
    STATISTIC(doorbells, 1);
    for (uint32_t word = 0; word < CLIENT_THREADS_MAX / 64; word++) {
        if (!__atomic_load_n(&client->pages->pending[word], __ATOMIC_RELAXED))
            continue;
        uint64_t pending = __atomic_exchange_n(&client->pages->pending[word], 0, __ATOMIC_SEQ_CST);
        for (; pending; pending &= pending - 1) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(pending);
            spin_lock(&client->lock);
            struct user_thread *user = client_thread_at_locked(client, index);
            if (user)
                user_thread_ref(user);
            spin_unlock(&client->lock);
            if (user) {
                post_claim(user);
                user_thread_unref(user);
            } else if (client->attached) {
                attach_slot_rung(client, index);
            }
            if (client->attached)
                attach_look_for_cancel(client, index), attach_look_for_stop(client, index);
        }
    }
}
