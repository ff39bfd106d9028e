/*
 * Hello: how a host process of a client becomes known.
 *
 * What a client says on its socket is only "hello", with credentials that the host vouches for. It is believed once from
 * each host process, and no oftener than the client has hellos due: a guest can say it as often as it likes, and anything
 * with it. A hello that does not come is looked into.
 */
#include "body/linux/client_internal.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* A hello that takes longer than this is looked into. */
#define HELLO_NS 2500000000u
/* More clones than this that were made by nobody, and the whole client is taken for hostile. */
#define ODD_CLONES_MAX 32u

void client_hello_overdue(struct timer *timer)
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

/*
 * A thread may run before its process has said hello, and who wanted to interrupt it then could not: it marked the thread,
 * fenced, and found no process. Here the process is known first and the mark is looked for second.
 */
static void kick_again(struct client *client, uint32_t index)
{
    struct thread *thread;
    struct user_thread *user = client_thread_of_slot(client, index, &thread);
    atomic_fence();
    if (thread && thread_interrupted(thread))
        body_user_kick(thread);
    if (user)
        user_thread_unref(user);
    object_unref(thread);
}

static void hello(struct client *client, uint32_t index, int32_t pid)
{
    struct host_process *process = index < CLIENT_THREADS_MAX ? host_process_make(client, pid) : NULL;
    if (!process)
        return;
    if (!client_ref_live(client)) { /* nobody waits for it any more */
        syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
        host_process_unmake(process);
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
        host_process_unmake(process);
        client_unref(client);
        return;
    }
    host_process_known(process);
    uint32_t none = 0;
    atomic32_cas(&client->ready_pid, &none, (uint32_t)pid);
    host_watch_add(&process->watch, EPOLLIN);
    waitq_wake_all(&client->ready);
    kick_again(client, index);
}

void client_socket_ready(struct host_watch *watch, uint32_t events)
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
        client_mark_lost(client, NULL);
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
