/*
 * The host processes of a client: told apart by pidfd, and what the end of one means for the threads in it.
 *
 * A process is on two lists: its client's, and the list of all that are believed (client_knows), by which those that nobody
 * answers for are found. Its end is noticed once, in a watch, and carried out as deferred work.
 */
#include "body/linux/client_internal.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a killed thread's stub may take to answer before its host process is killed. Honest ones need microseconds. */
#define GRACE_NS 5000000000u

/* All that have said hello and are not known to be gone. */
static struct {
    struct spinlock lock; /* rank BODY */
    struct list processes; /* struct host_process.all_link */
} all = {.lock = SPINLOCK_INIT(RANK_BODY), .processes = {&all.processes, &all.processes}};

void host_process_known(struct host_process *process)
{
    spin_lock(&all.lock);
    list_push_back(&all.processes, &process->all_link);
    spin_unlock(&all.lock);
}

static void host_process_unknown(struct host_process *process)
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

void client_mark_lost(struct client *client, const struct host_process *process)
{
    uint64_t slots[ARRAY_SIZE(client->slots_used)];
    spin_lock(&client->lock);
    memcpy(slots, client->slots_used, sizeof slots);
    spin_unlock(&client->lock);
    for (uint32_t word = 0; word < ARRAY_SIZE(slots); word++) {
        for (uint64_t used = slots[word]; used; used &= used - 1) {
            struct thread *thread;
            struct user_thread *user = client_thread_of_slot(client, word * 64 + (uint32_t)__builtin_ctzll(used), &thread);
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
    host_process_unknown(process);
    spin_lock(&client->lock);
    process->dead = true;
    list_remove(&process->link);
    bool last = list_empty(&client->processes);
    spin_unlock(&client->lock);
    if (client->attached)
        attach_end_soon(client->attached);
    else
        client_mark_lost(client, last ? NULL : process);
    close(process->pidfd);
    kfree(process);
    client_unref(client);
}

/* One was told to come into the kernel and die, and did not. Processes that share the memory share the fate. */
void client_grace_over(struct timer *timer) { client_kill(CONTAINER_OF(timer, struct client, grace)); }

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

struct host_process *host_process_make(struct client *client, int32_t pid)
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

void host_process_unmake(struct host_process *process)
{
    close(process->pidfd);
    kfree(process);
}

int client_adopt_process(struct client *client, int32_t pid)
{
    struct host_process *process = host_process_make(client, pid);
    if (!process)
        return -ESRCH;
    client_ref(client);
    spin_lock(&client->lock);
    list_push_back(&client->processes, &process->link);
    spin_unlock(&client->lock);
    host_process_known(process);
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
    client_mark_lost(client, NULL);
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
