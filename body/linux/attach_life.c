/*
 * What comes of an attached process: threads that arrive by their first post, leave, or vanish; calls that are given up; the end.
 *
 * Giving up a call is handshake.h's protocol.
 */
#include "body/linux/attach.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- arrivals ---------------------------------------------------------------------------------------- */

static bool is_posted(const struct call_slot *slot) { return state_is_posted(__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE)); }

static void wake_slot(struct call_slot *slot, uint32_t state)
{
    if (__atomic_exchange_n(&slot->state, state, __ATOMIC_SEQ_CST) == SLOT_POSTED_SLEEPING)
        syscall(SYS_futex, &slot->state, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void refuse_thread(struct call_slot *slot, int error)
{
    slot->rax = (uint64_t)(int64_t)error;
    wake_slot(slot, SLOT_ANSWERED);
}

static struct user_thread *thread_at(struct client *client, uint32_t index)
{
    spin_lock(&client->lock);
    struct user_thread *user = client_thread_at_locked(client, index);
    if (user)
        user_thread_ref(user);
    spin_unlock(&client->lock);
    return user;
}

/* The host thread that it says to be, if that is one of this process. */
static int32_t thread_of(const struct attached *attached, struct call_slot *slot)
{
    int32_t tid = __atomic_load_n(&attach_area(slot)->tid, __ATOMIC_RELAXED);
    return attached->same_ids && tid > 0 && syscall(SYS_tgkill, attached->pid, tid, 0) == 0 ? tid : 0;
}

/* Whose nested call it says to be. A reference, or NULL. */
static struct thread *first_of(struct client *client, uint32_t index)
{
    uint32_t first = __atomic_load_n(&attach_area(&client->slots[index])->first, __ATOMIC_RELAXED);
    if (first == 0 || first == index || first >= CLIENT_THREADS_MAX)
        return NULL;
    spin_lock(&client->lock);
    struct user_thread *user = client_thread_at_locked(client, first);
    struct thread *thread = user && user->thread ? object_ref(user->thread) : NULL;
    spin_unlock(&client->lock);
    return thread;
}

/* 0, or why the thread cannot be had. */
static int make_thread(struct client *client, uint32_t index)
{
    struct thread *first = first_of(client, index), *thread = abi_arrivals()->thread_arrives(client->attached->task, first);
    object_unref(first);
    struct user_thread *user = thread ? client_add_thread_at(client, thread, index) : NULL;
    if (!user) {
        if (thread)
            abi_arrivals()->thread_refused(thread);
        return -ENOMEM;
    }
    atomic32_store(&user->outer_tid, (uint32_t)thread_of(client->attached, user->slot));
    user_attach(thread, user);
    user_started(user);
    return 0;
}

/*
 * Workers may serve two rings at once. So under the lock: a post in a slot that is no thread's is a new thread's first one, since
 * the last thread of the slot was taken out of the table before its state became FREE, and only then it can be posted in again.
 */
void attach_slot_rung(struct client *client, uint32_t index)
{
    struct attached *attached = client->attached;
    struct call_slot *slot = &client->slots[index];
    if (index == 0 || atomic32_load(&attached->ending))
        return;
    spin_lock(&attached->arriving);
    struct user_thread *user = thread_at(client, index);
    int error = user || !is_posted(slot) ? 0 : make_thread(client, index);
    if (error)
        refuse_thread(slot, error);
    else if (!user)
        user = thread_at(client, index);
    spin_unlock(&attached->arriving);
    if (!user)
        return;
    post_claim(user);
    user_thread_unref(user);
}

static void strike(void *thread) { thread_interrupt(thread); }

void attach_look_for_cancel(struct client *client, uint32_t index)
{
    struct cancel_words words = attach_cancel_words(&client->slots[index]);
    if (atomic64_load(words.cancel) == atomic64_load_relaxed(words.seen))
        return;
    spin_lock(&client->attached->cancelling);
    spin_lock(&client->lock);
    struct user_thread *user = client_thread_at_locked(client, index);
    bool served = user && user != client->first && user->thread;
    struct thread *thread = served ? object_ref(user->thread) : NULL;
    if (served)
        user_thread_ref(user);
    spin_unlock(&client->lock);
    cancel_serve(&words, served ? &user->mode : NULL, strike, thread);
    spin_unlock(&client->attached->cancelling);
    if (served)
        user_thread_unref(user);
    object_unref(thread);
}

static bool call_given_up(struct thread *thread)
{
    struct user_thread *user = thread->user;
    struct cancel_words words = attach_cancel_words(user->slot);
    return cancel_given_up(&words);
}

void attach_decode(struct user_thread *user, struct user_entry *entry)
{
    user->answer_filled = 0;
    user->trapped = user->rewritable = false;
    entry->interrupted = call_given_up;
}

/* --- memory that travels with the answer ------------------------------------------------------------- */

/* From the start of what the client has set apart, without gaps. */
bool attach_copy_out(struct user_thread *user, uaddr_t to, const void *from, size_t size)
{
    struct attach_area *area = attach_area(user->slot);
    struct answer_place place = {__atomic_load_n(&area->out_address, __ATOMIC_RELAXED), __atomic_load_n(&area->out_size, __ATOMIC_RELAXED),
                                 area->out, ATTACH_OUT_BYTES, &area->out_filled};
    return answer_put(user, &place, to, from, size);
}

/* --- ends -------------------------------------------------------------------------------------------- */

/* Out of the client's table first: a post that is found in the slot afterwards is a new thread's. */
void attach_send_away(struct user_thread *user)
{
    struct call_slot *slot = user->slot;
    bool ending = atomic32_load(&user->client->attached->ending);
    user_thread_ref(user);
    client_remove_thread(user);
    if (!ending) /* else it says, or will say, that the server is gone */
        wake_slot(slot, ATTACH_SLOT_FREE);
    user_thread_unref(user);
}

/* Nobody borrows slot 0 any more after this: who does now hears that the process is gone. */
static void end_s2c(struct client *client)
{
    mutex_lock(&client->rewriting);
    struct user_thread *first = client->first;
    client->first = NULL;
    mutex_unlock(&client->rewriting);
    if (first)
        client_remove_thread(first);
}

void attach_end_client(struct attached *attached)
{
    struct client *client = attached->client;
    host_watch_remove(&client->doorbell_watch); /* no arrivals from here on */
    client_lost(client);
    end_s2c(client);
    client_tell_gone(client);
    client_forget_processes(client);
    client_unref(client);
}

/* --- threads that vanish ------------------------------------------------------------------------------ */

static void lose_thread(struct client *client, struct user_thread *user)
{
    spin_lock(&client->lock);
    struct thread *thread = user == client_thread_at_locked(client, user->index) && user->thread ? object_ref(user->thread) : NULL;
    spin_unlock(&client->lock);
    if (thread) {
        post_lost(user);
        thread_kill(thread);
    }
    object_unref(thread);
}

static void sweep_client(const struct attached *attached, UNUSED void *context)
{
    struct client *client = attached->client;
    uint64_t slots[CLIENT_THREADS_MAX / 64];
    client_slots_used(client, slots);
    for (uint32_t index = 1; index < CLIENT_THREADS_MAX; index++) {
        struct user_thread *user = slots[index / 64] >> (index % 64) & 1 ? thread_at(client, index) : NULL;
        if (!user)
            continue;
        int32_t tid = (int32_t)atomic32_load(&user->outer_tid);
        if (tid > 0 && syscall(SYS_tgkill, attached->pid, tid, 0) < 0 && errno == ESRCH)
            lose_thread(client, user);
        user_thread_unref(user);
    }
}

void attach_sweep(void) { attach_visit(sweep_client, NULL); }
