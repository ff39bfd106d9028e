/*
 * Posts and answers: the hot path between a client's call slot and a kernel thread.
 *
 * A worker that has just answered a thread keeps its slot on a short list of its own and looks at it while
 * it spins (loop.c), so that the next call needs no doorbell. slot->polled tells the client so.
 *
 * Race between a client that posts and a worker that stops looking:
 *      client                      worker (hot_leave)
 *   1. state := POSTED             1. polled := 0
 *   2. fence                       2. fence
 *   3. reads polled                3. reads state
 * Either the client sees 0 at 3 and rings, or the worker sees the post at 3 and serves it.
 */
#include "body/linux/client.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HOT_MAX 8u

struct hot_list {
    enum hot_wake woke_here; /* a stub that slept on this CPU was woken: it waits for the CPU */
    const struct user_thread *caller; /* whose post was claimed here last: compared, never followed */
    uint32_t caller_cpu; /* where the last post claimed here came from */
    uint32_t count;
    struct user_thread *users[HOT_MAX];
};

static _Thread_local struct hot_list hot_list;

/* The worker's list; never cached across a switch. */
static NOINLINE struct hot_list *hot_self(void)
{
    struct hot_list *list = &hot_list;
    __asm__ volatile("" : "+r"(list));
    return list;
}

static struct atomic32 *state_word(const struct user_thread *user) { return (struct atomic32 *)(void *)&user->slot->state; }

static void enter_kernel(struct user_thread *user)
{
    atomic32_sub(&users_running, 1);
    thread_unpark_here(user->thread);
}

/* Moves `word`, as it was read, to KERNEL: the thread's entry or its command is then the caller's to serve. */
static bool claim(struct user_thread *user, uint32_t word)
{
    if (!handshake_claim(&user->mode, word))
        return false;
    if (mode_of(word) == MODE_USER) {
        hot_self()->caller = user;
        hot_self()->caller_cpu = __atomic_load_n(&user->slot->kind, __ATOMIC_RELAXED) >> SLOT_CPU_SHIFT;
        enter_kernel(user);
    } else {
        atomic32_store(&user->done, 1);
        thread_wake(user->thread);
    }
    return true;
}

bool post_claim(struct user_thread *user)
{
    uint32_t word;
    return handshake_look(&user->mode, state_word(user), &word) && claim(user, word);
}

void post_lost(struct user_thread *user)
{
    atomic32_store(&user->lost, 1);
    uint32_t word = atomic32_load(&user->mode);
    while (mode_of(word) == MODE_USER || mode_of(word) == MODE_COMMAND) {
        if (claim(user, word))
            return;
        word = atomic32_load(&user->mode);
    }
}

void mode_begin_answer(struct user_thread *user) { handshake_begin_answer(&user->mode); }
void mode_stay_in_kernel(struct user_thread *user) { handshake_stay(&user->mode); }

/*
 * Wakes a sleeping stub, and says where. Programs that answer each other, so that each is awake for a short time only, do
 * best on one CPU: waking an idle one costs more than they run (and keeps another from sleeping deeper). The host does not
 * know that the one that called is about to sleep, so the woken one's affinity is narrowed for the moment of the wake;
 * it stays there by itself then, and may be moved again by the host's balancing when it should come to run for long.
 */
static void wake_stub(struct user_thread *user, struct call_slot *slot)
{
    struct hot_list *hot = hot_self();
    cpu_set_t before;
    uint32_t cpu = __atomic_load_n(&slot->cpu, __ATOMIC_RELAXED);
    bool pull = loop_cpus > 1 && cpu != hot->caller_cpu && __atomic_load_n(&slot->quick, __ATOMIC_RELAXED) >= SLOT_QUICK &&
                user_place(user, hot->caller_cpu, &before);
    syscall(SYS_futex, &slot->state, FUTEX_WAKE, 1, NULL, NULL, 0);
    if (pull) {
        user_place_back(user, &before);
        cpu = hot->caller_cpu;
        STATISTIC(pulls, 1);
    }
    if (cpu == current_cpu_hint())
        hot->woke_here = user == hot->caller && hot->woke_here != HOT_WOKE_OTHER ? HOT_WOKE_CALLER : HOT_WOKE_OTHER;
}

/*
 * What is posted between the answer and the mode's moving on, and could not be claimed by who noticed it, is found on this worker's hot
 * list, which the caller has put the slot on (hot_add) and which is looked at before the worker sleeps.
 */
void post_answer(struct user_thread *user, uint32_t state, enum user_mode mode)
{
    struct call_slot *slot = user->slot;
    /* The slot's word as well: a thread that had the slot before may have left its mark there, even after this one came. */
    if (atomic32_load_relaxed(&user->blocked) || __atomic_load_n(&slot->blocked, __ATOMIC_RELAXED)) {
        atomic32_store_relaxed(&user->blocked, 0);
        __atomic_store_n(&slot->blocked, 0, __ATOMIC_RELAXED);
    }
    if (handshake_publish(state_word(user), state) == SLOT_POSTED_SLEEPING)
        wake_stub(user, slot);
    else if (user == hot_self()->caller && hot_self()->caller_cpu == current_cpu_hint() && hot_self()->woke_here == HOT_WOKE_NOBODY)
        hot_self()->woke_here = HOT_WOKE_CALLER; /* it stands in line for this CPU (stub.c): as good as woken */
    if (mode == MODE_KERNEL)
        return;
    handshake_move_on(&user->mode, mode);
    if (UNLIKELY(atomic32_load(&user->lost)))
        post_lost(user);
}

static void stop_polling(struct user_thread *user)
{
    atomic32_store_relaxed(&user->polled, 0);
    __atomic_store_n(&user->slot->polled, 0, __ATOMIC_SEQ_CST);
    post_claim(user);
    user_thread_unref(user);
}

void hot_add(struct user_thread *user)
{
    struct hot_list *hot = hot_self();
    uint32_t here = current_cpu_hint() + 1;
    if (atomic32_load_relaxed(&user->polled) != here) {
        atomic32_store_relaxed(&user->polled, here);
        __atomic_store_n(&user->slot->polled, here, __ATOMIC_RELAXED);
    }
    for (uint32_t i = 0; i < hot->count; i++)
        if (hot->users[i] == user)
            return;
    user_thread_ref(user);
    if (hot->count < HOT_MAX) {
        hot->users[hot->count++] = user;
        return;
    }
    struct user_thread *oldest = hot->users[0];
    for (uint32_t i = 1; i < HOT_MAX; i++)
        hot->users[i - 1] = hot->users[i];
    hot->users[HOT_MAX - 1] = user;
    stop_polling(oldest);
}

bool hot_worth_spinning(void) { return hot_self()->count > 0; }

enum hot_wake hot_woke_here(void)
{
    struct hot_list *hot = hot_self();
    enum hot_wake woke_here = hot->woke_here;
    hot->woke_here = HOT_WOKE_NOBODY;
    return woke_here;
}

uint32_t hot_asleep(void)
{
    struct hot_list *hot = hot_self();
    uint32_t asleep = 0;
    for (uint32_t i = 0; i < hot->count; i++) {
        uint32_t before = 0;
        while (before < i && hot->users[before]->client != hot->users[i]->client)
            before++;
        asleep += before == i ? client_asleep(hot->users[i]->client) : 0;
    }
    return asleep;
}

bool hot_poll(void)
{
    struct hot_list *hot = hot_self();
    for (uint32_t i = 0; i < hot->count; i++) {
        if (post_claim(hot->users[i])) {
            STATISTIC(calls_by_page_poll, 1);
            return true;
        }
    }
    return false;
}

/* Its call waits for something: its stub is to sleep, not to spin. */
static void mark_blocked(struct user_thread *user)
{
    if (mode_of(atomic32_load_relaxed(&user->mode)) != MODE_KERNEL || atomic32_load_relaxed(&user->blocked))
        return;
    atomic32_store_relaxed(&user->blocked, 1);
    __atomic_store_n(&user->slot->blocked, 1, __ATOMIC_RELAXED);
}

void hot_mark_blocked(void)
{
    struct hot_list *hot = hot_self();
    for (uint32_t i = 0; i < hot->count; i++)
        mark_blocked(hot->users[i]);
}

void hot_leave(void)
{
    struct hot_list *hot = hot_self();
    for (uint32_t i = 0; i < hot->count; i++) {
        struct user_thread *user = hot->users[i];
        mark_blocked(user);
        stop_polling(user);
    }
    hot->count = 0;
}
