/*
 * Clients: an address space's host side, the host processes in it, and its threads' slots.
 *
 * The server holds two descriptors per client (socket, doorbell) and one per host process (pidfd); the
 * call pages' memfd is closed once both sides have mapped it. What a client says on its socket is
 * only "hello", with credentials that the host vouches for.
 */
#include "body/linux/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a killed thread's stub may take to answer before its host process is killed. Honest ones need microseconds. */
#define GRACE_NS 5000000000u
/* A hello that takes longer than this is looked into. */
#define HELLO_NS 2500000000u
/* More clones than this that were made by nobody, and the whole client is taken for hostile. */
#define ODD_CLONES_MAX 32u

static void socket_ready(struct host_watch *watch, uint32_t events);
static void client_free(struct async_work *work);
static void grace_over(struct timer *timer);
static void hello_overdue(struct timer *timer);
static void all_add(struct host_process *process);
static void all_remove(struct host_process *process);

/* --- making and unmaking ----------------------------------------------------------------------------- */

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
    list_init(&client->processes);
    list_init(&client->pool_link);
    waitq_init(&client->ready);
    timer_init(&client->grace, grace_over);
    timer_init(&client->hello_timer, hello_overdue);
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
    client->socket_watch = (struct host_watch){.fd = client->socket, .ready = socket_ready};
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
    socket_ready(&client->socket_watch, 0); /* a hello that nobody has read yet: nothing would end that process */
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
    kfree(client);
}

void client_ref(struct client *client) { atomic32_add(&client->references, 1); }

void client_unref(struct client *client)
{
    if (client && atomic32_sub(&client->references, 1) == 1)
        kernel_async(&client->free_work);
}

/* --- host processes ---------------------------------------------------------------------------------- */

struct user_thread *client_thread_at_locked(const struct client *client, uint32_t index)
{
    struct user_thread **block = client->threads[index / SLOTS_PER_BLOCK];
    return block ? block[index % SLOTS_PER_BLOCK] : NULL;
}

/* References, or NULL: of a thread that is being made there may be a user side only. */
static struct user_thread *thread_of_slot(struct client *client, uint32_t index, struct thread **thread)
{
    spin_lock(&client->lock);
    struct user_thread *user = client_thread_at_locked(client, index);
    if (user)
        user_thread_ref(user);
    *thread = user && user->thread ? object_ref(user->thread) : NULL;
    spin_unlock(&client->lock);
    return user;
}

static void mark_lost(struct client *client, const struct host_process *process)
{
    uint64_t slots[ARRAY_SIZE(client->slots_used)];
    spin_lock(&client->lock);
    memcpy(slots, client->slots_used, sizeof slots);
    spin_unlock(&client->lock);
    for (uint32_t word = 0; word < ARRAY_SIZE(slots); word++) {
        for (uint64_t used = slots[word]; used; used &= used - 1) {
            struct thread *thread;
            struct user_thread *user = thread_of_slot(client, word * 64 + (uint32_t)__builtin_ctzll(used), &thread);
            if (thread && (!process || user->process == process)) {
                post_lost(user);
                if (!client->attached || user != client->first) /* that one's thread is another's */
                    thread_kill(thread); /* it may wait for something in the kernel */
            }
            if (user)
                user_thread_unref(user);
            object_unref(thread);
        }
    }
}

static void process_gone(struct async_work *work)
{
    struct host_process *process = CONTAINER_OF(work, struct host_process, gone);
    struct client *client = process->client;
    host_watch_remove(&process->watch);
    all_remove(process);
    spin_lock(&client->lock);
    process->dead = true;
    list_remove(&process->link);
    bool last = list_empty(&client->processes);
    spin_unlock(&client->lock);
    if (client->attached)
        attach_end_soon(client->attached);
    else
        mark_lost(client, last ? NULL : process);
    close(process->pidfd);
    kfree(process);
    client_unref(client);
}

/* One was told to come into the kernel and die, and did not. Processes that share the memory share the fate. */
static void grace_over(struct timer *timer) { client_kill(CONTAINER_OF(timer, struct client, grace)); }

void client_expect_end(struct user_thread *user)
{
    if (!atomic32_swap(&user->client->grace_given, 1))
        timer_set(&user->client->grace, body_now() + GRACE_NS);
}

static void process_ready(struct host_watch *watch, UNUSED uint32_t events)
{
    struct host_process *process = CONTAINER_OF(watch, struct host_process, watch);
    if (!atomic32_swap(&process->noticed, 1)) /* the host tells of the exit, and again of the reaping */
        kernel_async(&process->gone);
}

/* False when the last reference has gone: the client is on its way to being freed. */
static bool client_ref_live(struct client *client)
{
    uint32_t references = atomic32_load(&client->references);
    while (references && !atomic32_cas(&client->references, &references, references + 1))
        ;
    return references;
}

static bool said_hello_locked(struct client *client, int32_t pid)
{
    LIST_FOR_EACH (node, &client->processes)
        if (LIST_ENTRY(node, struct host_process, link)->pid == pid)
            return true;
    return false;
}

static void add_process_locked(struct client *client, struct host_process *process, uint32_t index)
{
    struct user_thread *user = client_thread_at_locked(client, index);
    list_push_back(&client->processes, &process->link);
    /* A process's first thread has no clear-child-tid: its slot is never used again. */
    if (client->slots[index].host_tid == 0)
        client->slots[index].host_tid = (uint32_t)process->pid;
    if (user && !user->process) {
        __atomic_store_n(&user->process, process, __ATOMIC_RELEASE);
        atomic32_store(&user->outer_tid, (uint32_t)process->pid);
    }
}

static struct host_process *make_process(struct client *client, int32_t pid)
{
    struct host_process *process = kzalloc(sizeof *process);
    int pidfd = process ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (pidfd < 0) { /* it died already: the socket's end tells */
        kfree(process);
        return NULL;
    }
    process->client = client;
    process->pid = pid;
    process->pidfd = pidfd;
    process->watch = (struct host_watch){.fd = pidfd, .ready = process_ready};
    async_work_init(&process->gone, process_gone);
    list_init(&process->link);
    return process;
}

static void unmake_process(struct host_process *process)
{
    close(process->pidfd);
    kfree(process);
}

/* --- attached ones ----------------------------------------------------------------------------------- */

int client_adopt_process(struct client *client, int32_t pid)
{
    struct host_process *process = make_process(client, pid);
    if (!process)
        return -ESRCH;
    client_ref(client);
    spin_lock(&client->lock);
    list_push_back(&client->processes, &process->link);
    spin_unlock(&client->lock);
    all_add(process);
    atomic32_store(&client->ready_pid, (uint32_t)pid);
    int error = host_watch_add(&process->watch, EPOLLIN);
    if (error)
        process_ready(&process->watch, 0);
    return error;
}

void client_forget_processes(struct client *client)
{
    struct host_process *found;
    do {
        found = NULL;
        spin_lock(&client->lock);
        LIST_FOR_EACH (node, &client->processes) {
            struct host_process *process = LIST_ENTRY(node, struct host_process, link);
            if (!found && !atomic32_swap(&process->noticed, 1))
                found = process; /* it stays until its work has run */
        }
        spin_unlock(&client->lock);
        if (found)
            kernel_async(&found->gone);
    } while (found);
}

void client_lost(struct client *client)
{
    spin_lock(&client->lock);
    if (client->first)
        atomic32_store(&client->first->lost, 1);
    spin_unlock(&client->lock);
    atomic32_store(&client->hung_up, 1);
    mark_lost(client, NULL);
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

/* --- hello ------------------------------------------------------------------------------------------- */

/* Believed once from each host process: a guest can say it as often as it likes, and anything with it. */
static struct {
    struct spinlock lock; /* rank BODY */
    struct list processes; /* struct host_process.all_link */
} all = {.lock = SPINLOCK_INIT(RANK_BODY), .processes = {&all.processes, &all.processes}};

static void all_add(struct host_process *process)
{
    spin_lock(&all.lock);
    list_push_back(&all.processes, &process->all_link);
    spin_unlock(&all.lock);
}

static void all_remove(struct host_process *process)
{
    spin_lock(&all.lock);
    list_remove(&process->all_link);
    spin_unlock(&all.lock);
}

bool client_knows(int32_t pid)
{
    bool known = false;
    spin_lock(&all.lock);
    LIST_FOR_EACH (node, &all.processes)
        known |= LIST_ENTRY(node, struct host_process, all_link)->pid == pid;
    spin_unlock(&all.lock);
    return known;
}

static void hello_overdue(struct timer *timer)
{
    if (!atomic32_load(&CONTAINER_OF(timer, struct client, hello_timer)->ready_pid))
        sweep_ask();
}

void client_expect_hello(struct client *client)
{
    atomic32_store(&client->awaited, 1);
    if (!atomic32_load(&client->ready_pid))
        timer_set(&client->hello_timer, body_now() + HELLO_NS);
}

void client_odd_clone(struct client *client)
{
    if (atomic32_add(&client->odd_clones, 1) >= ODD_CLONES_MAX)
        client_kill(client);
}

/*
 * A thread may run before its process has said hello, and who wanted to interrupt it then could not: it marked the thread,
 * fenced, and found no process. Here the process is known first and the mark is looked for second.
 */
static void kick_again(struct client *client, uint32_t index)
{
    struct thread *thread;
    struct user_thread *user = thread_of_slot(client, index, &thread);
    atomic_fence();
    if (thread && thread_interrupted(thread))
        body_user_kick(thread);
    if (user)
        user_thread_unref(user);
    object_unref(thread);
}

static void hello(struct client *client, uint32_t index, int32_t pid)
{
    struct host_process *process = index < CLIENT_THREADS_MAX ? make_process(client, pid) : NULL;
    if (!process)
        return;
    if (!client_ref_live(client)) { /* nobody waits for it any more */
        syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
        unmake_process(process);
        return;
    }
    spin_lock(&client->lock);
    bool known = said_hello_locked(client, pid), due = !known && !client->doomed && atomic32_load(&client->hellos_due) > 0;
    if (due) {
        atomic32_sub(&client->hellos_due, 1);
        add_process_locked(client, process, index);
    }
    spin_unlock(&client->lock);
    if (!due) {
        if (!known) /* made by a clone that was somebody else's, or too late */
            syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
        unmake_process(process);
        client_unref(client);
        return;
    }
    all_add(process);
    uint32_t none = 0;
    atomic32_cas(&client->ready_pid, &none, (uint32_t)pid);
    host_watch_add(&process->watch, EPOLLIN);
    waitq_wake_all(&client->ready);
    kick_again(client, index);
}

static void socket_ready(struct host_watch *watch, uint32_t events)
{
    struct client *client = CONTAINER_OF(watch, struct client, socket_watch);
    for (;;) {
        uint32_t words[2];
        char control[CMSG_SPACE(sizeof(struct ucred))]; /* no room for descriptors: what a client sends is dropped */
        struct iovec vector = {words, sizeof words};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t got = recvmsg(client->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got <= 0)
            break;
        for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
            if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS && got == sizeof words && words[0] == STUB_HELLO)
                hello(client, words[1], ((struct ucred *)(void *)CMSG_DATA(part))->pid);
        }
    }
    if (events & (EPOLLHUP | EPOLLRDHUP)) {
        atomic32_store(&client->hung_up, 1);
        mark_lost(client, NULL);
        waitq_wake_all(&client->ready);
    }
}

int client_wait_ready(struct client *client)
{
    while (!atomic32_load(&client->ready_pid)) {
        struct waiter waiter;
        if (atomic32_load(&client->hung_up))
            return -EIO;
        waiter_init(&waiter);
        spin_lock(&client->ready.lock);
        waitq_enqueue_locked(&client->ready, &waiter);
        spin_unlock(&client->ready.lock);
        if (atomic32_load(&client->ready_pid) || atomic32_load(&client->hung_up)) {
            waiter_abandon(&waiter);
            continue;
        }
        waiter_wait(&waiter, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
    }
    return 0;
}

int32_t client_pid(struct client *client)
{
    if (UNLIKELY(!atomic32_load(&client->ready_pid)) && client_wait_ready(client))
        return 0;
    spin_lock(&client->lock);
    int32_t pid = list_empty(&client->processes) ? 0 : LIST_ENTRY(client->processes.next, struct host_process, link)->pid;
    spin_unlock(&client->lock);
    return pid;
}

bool client_kill(struct client *client)
{
    spin_lock(&client->lock);
    bool known = !list_empty(&client->processes);
    LIST_FOR_EACH (node, &client->processes)
        if (!client->doomed)
            syscall(SYS_pidfd_send_signal, LIST_ENTRY(node, struct host_process, link)->pidfd, SIGKILL, NULL, 0);
    client->doomed = true;
    spin_unlock(&client->lock);
    return known;
}

/* --- threads ----------------------------------------------------------------------------------------- */

static bool slot_free(const struct client *client, uint32_t index)
{
    return !(client->slots_used[index / 64] & 1ull << (index % 64)) &&
           __atomic_load_n(&client->slots[index].host_tid, __ATOMIC_ACQUIRE) == 0;
}

static bool make_block(struct client *client, uint32_t index)
{
    struct user_thread ***place = &client->threads[index / SLOTS_PER_BLOCK], **block = NULL;
    if (!__atomic_load_n(place, __ATOMIC_ACQUIRE)) {
        block = kzalloc(SLOTS_PER_BLOCK * sizeof *block);
        if (!block)
            return false;
    }
    spin_lock(&client->lock);
    if (!*place) {
        __atomic_store_n(place, block, __ATOMIC_RELEASE);
        block = NULL;
    }
    spin_unlock(&client->lock);
    kfree(block);
    return true;
}

static bool take_slot(struct client *client, uint32_t index, struct user_thread *user)
{
    if (!make_block(client, index))
        return false;
    spin_lock(&client->lock);
    bool fresh = index == 0 && !client_thread_at_locked(client, 0) && client->slots_used[0] == 0 && !client->used_before;
    bool taken = fresh || slot_free(client, index);
    client->used_before = true;
    if (taken) {
        client->slots_used[index / 64] |= 1ull << (index % 64);
        client->threads[index / SLOTS_PER_BLOCK][index % SLOTS_PER_BLOCK] = user;
    }
    spin_unlock(&client->lock);
    return taken;
}

struct user_thread *client_add_thread_at(struct client *client, struct thread *thread, uint32_t index)
{
    struct user_thread *user = kzalloc(sizeof *user);
    if (!user)
        return NULL;
    atomic32_store_relaxed(&user->references, 1); /* whole before it can be found: its host process may be lost at once */
    user->client = client;
    user->thread = thread;
    user->index = index;
    user->slot = &client->slots[index];
    if (!take_slot(client, index, user)) {
        kfree(user);
        return NULL;
    }
    client_ref(client);
    user->slot->robust_set = 0;
    rings_begin(user);
    spin_lock(&client->lock);
    if (index == 0 && !list_empty(&client->processes)) /* from the pool: it has said hello */
        user->process = LIST_ENTRY(client->processes.next, struct host_process, link);
    if (user->process)
        atomic32_store_relaxed(&user->outer_tid, (uint32_t)user->process->pid);
    spin_unlock(&client->lock);
    /* A client from the pool waits on its slot already, perhaps asleep; else the last owner's word stands there. */
    uint32_t state = __atomic_load_n(&user->slot->state, __ATOMIC_ACQUIRE);
    if (state != SLOT_POSTED && state != SLOT_POSTED_SLEEPING)
        __atomic_store_n(&user->slot->state, SLOT_POSTED, __ATOMIC_SEQ_CST);
    return user;
}

struct user_thread *client_add_thread(struct client *client, struct thread *thread)
{
    struct user_thread *first = client->first;
    if (first) { /* a borrowed one stays */
        first->thread = thread;
        client->first = NULL;
        return first;
    }
    for (uint32_t index = 0; index < CLIENT_THREADS_MAX; index++) {
        if (!slot_free(client, index))
            continue;
        struct user_thread *user = client_add_thread_at(client, thread, index);
        if (user)
            return user;
    }
    return NULL;
}

void client_remove_thread(struct user_thread *user)
{
    struct client *client = user->client;
    rings_leave(user);
    spin_lock(&client->lock);
    client->threads[user->index / SLOTS_PER_BLOCK][user->index % SLOTS_PER_BLOCK] = NULL;
    client->slots_used[user->index / 64] &= ~(1ull << (user->index % 64));
    spin_unlock(&client->lock);
    user_thread_unref(user);
}

/* A forked child that has not started: its one thread waits in the stub as well. */
static int borrow_child(struct client *client, struct thread *thread, struct user_thread **user)
{
    struct user_thread *found = NULL;
    if (atomic32_load(&client->thread_count) > 0)
        return -EINVAL;
    spin_lock(&client->lock);
    for (uint32_t word = 0; word < ARRAY_SIZE(client->slots_used) && !found; word++)
        if (client->slots_used[word])
            found = client_thread_at_locked(client, word * 64 + (uint32_t)__builtin_ctzll(client->slots_used[word]));
    spin_unlock(&client->lock);
    if (!found)
        return -EINVAL;
    found->lender = found->thread;
    found->thread = thread;
    *user = found;
    return 0;
}

int client_borrow(struct client *client, struct thread *thread, struct user_thread **user)
{
    if (!thread)
        return -EINVAL;
    if (client->attached) { /* one borrower at a time, until client_return */
        mutex_lock(&client->rewriting);
        if (!client->first) {
            mutex_unlock(&client->rewriting);
            return -ESRCH;
        }
    }
    if (client->first) {
        client->first->thread = thread;
        *user = client->first;
        return 0;
    }
    if (client->used_before)
        return borrow_child(client, thread, user);
    *user = client_add_thread_at(client, thread, 0);
    if (!*user)
        return -ENOMEM;
    (*user)->trapped = true;
    client->first = *user; /* its reference */
    return 0;
}

/* The stub goes on waiting; until a thread moves in, nobody is woken by its slot. */
void client_return(struct user_thread *user)
{
    spin_lock(&user->client->lock); /* who looks for lost threads must not meet one that is leaving */
    user->thread = user->lender;
    user->lender = NULL;
    spin_unlock(&user->client->lock);
    if (user->client->attached)
        mutex_unlock(&user->client->rewriting);
}

void user_thread_ref(struct user_thread *user) { atomic32_add(&user->references, 1); }

void user_thread_unref(struct user_thread *user)
{
    if (atomic32_sub(&user->references, 1) != 1)
        return;
    client_unref(user->client);
    kfree(user);
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
                attach_look_for_cancel(client, index);
        }
    }
}
