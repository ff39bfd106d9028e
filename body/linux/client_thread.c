/*
 * The threads of a client: their slots, taken and given back, and the stub that is lent before a thread runs in it.
 *
 * A slot is free when no thread has it and the host has cleared host_tid in it: the stub's thread that was there is gone.
 */
#include "body/linux/attach.h"

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
