/*
 * The handshake over schedules: a client that posts, spins or sleeps, gives calls up at any moment, also when they have just been
 * answered, and uses the slot again as soon as it may; a kernel thread that is claimed, waits, is struck, answers; two others that serve the
 * doorbell. Weak memory and all. Each answer names its call: none may come to another one, and only a call that was given up may be interrupted.
 * A post that nobody claims is a hang, which the simulator reports.
 */
#include "body/linux/handshake.h"
#include "body/sim/sim.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/thread.h"

#define CALLS 6u
#define LAST 1000000u /* the call that ends the kernel thread */

struct slot {
    struct atomic32 state, mode, polled, pending, stop;
    struct atomic64 sequence, cancel, seen;
    struct atomic64 argument, answer, interrupted; /* what travels */
    struct waitq bell, client, work;
    struct spinlock cancelling;
    struct thread *kernel;
    struct cancel_words words;
};

static void slot_init(struct slot *slot)
{
    *slot = (struct slot){.words = {&slot->sequence, &slot->cancel, &slot->seen}};
    atomic32_store(&slot->mode, MODE_USER);
    waitq_init(&slot->bell);
    waitq_init(&slot->client);
    waitq_init(&slot->work);
    spinlock_init(&slot->cancelling, RANK_ARRIVALS);
}

/* Sleeps on the queue while the word is so: what a futex does. */
static void sleep_while(struct waitq *queue, const struct atomic32 *word, uint32_t value)
{
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&queue->lock);
    bool sleeps = atomic32_load(word) == value;
    if (sleeps)
        waitq_enqueue_locked(queue, &waiter);
    spin_unlock(&queue->lock);
    if (sleeps)
        waiter_wait(&waiter, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
}

static void ring(struct slot *slot)
{
    atomic32_store(&slot->pending, 1);
    waitq_wake_all(&slot->bell);
}

/* --- the server ----------------------------------------------------------------------------------------- */

static void claim(struct slot *slot)
{
    uint32_t word;
    if (handshake_look(&slot->mode, &slot->state, &word) && handshake_claim(&slot->mode, word))
        thread_wake(slot->kernel);
}

static void strike(void *thread) { thread_interrupt(thread); }

static void serve_bell(void *argument)
{
    struct slot *slot = argument;
    while (!atomic32_load(&slot->stop)) {
        if (atomic32_swap(&slot->pending, 0)) {
            claim(slot);
            spin_lock(&slot->cancelling);
            cancel_serve(&slot->words, &slot->mode, strike, slot->kernel);
            spin_unlock(&slot->cancelling);
        } else {
            sleep_while(&slot->bell, &slot->pending, 0);
        }
    }
    ring(slot); /* the other one is to hear of the end too */
}

/* The call's work. 0, or it was interrupted. */
static int work(struct slot *slot)
{
    thread_interrupt_clear(slot->kernel);
    if (cancel_given_up(&slot->words))
        thread_interrupt(slot->kernel);
    int error = sim_chance(3) ? 0 : waitq_sleep(&slot->work, NULL, body_now() + sim_random(2000), WAIT_INTERRUPTIBLE);
    thread_interrupt_clear(slot->kernel);
    return error == -EINTR ? error : 0;
}

static void answer(struct slot *slot, uint64_t call, int error)
{
    atomic64_store_relaxed(&slot->answer, call);
    atomic64_store_relaxed(&slot->interrupted, error != 0);
    handshake_begin_answer(&slot->mode);
    atomic32_store_relaxed(&slot->polled, 1);
    if (handshake_publish(&slot->state, SLOT_ANSWERED) == SLOT_POSTED_SLEEPING)
        waitq_wake_all(&slot->client);
    handshake_move_on(&slot->mode, MODE_USER);
    for (uint32_t turns = sim_random(4); turns > 0; turns--) /* as a worker that polls, and then leaves (post.c) */
        claim(slot);
    atomic32_store(&slot->polled, 0);
    claim(slot);
}

static void kernel_thread(void *argument)
{
    struct slot *slot = argument;
    for (uint64_t call = 0; call != LAST;) {
        while (mode_of(atomic32_load(&slot->mode)) != MODE_KERNEL)
            thread_suspend();
        call = atomic64_load_relaxed(&slot->argument);
        answer(slot, call, work(slot));
    }
}

/* --- the client ----------------------------------------------------------------------------------------- */

static void post(struct slot *slot, uint64_t call)
{
    atomic64_store_relaxed(&slot->argument, call);
    atomic64_store_relaxed(&slot->sequence, call);
    atomic32_store(&slot->state, SLOT_POSTED);
    if (!atomic32_load(&slot->polled))
        ring(slot);
}

/* Until it is answered; or, when it was given up, until nothing can come of that any more. */
static bool wait_for(struct slot *slot, bool gives_up)
{
    bool given_up = false;
    for (;;) {
        uint32_t state = atomic32_load_acquire(&slot->state);
        if (!state_is_posted(state) && (given_up ? cancel_is_over(&slot->words, &slot->state) : !gives_up || sim_chance(2)))
            return given_up;
        if (gives_up && !given_up && sim_chance(3)) { /* perhaps when it was answered already */
            given_up = true;
            cancel_ask(&slot->words);
            ring(slot);
        }
        state = SLOT_POSTED;
        if (sim_chance(2) && atomic32_cas(&slot->state, &state, SLOT_POSTED_SLEEPING) && (!gives_up || given_up))
            sleep_while(&slot->client, &slot->state, SLOT_POSTED_SLEEPING);
        else
            thread_yield();
    }
}

static void call(struct slot *slot, uint64_t number, bool gives_up)
{
    post(slot, number);
    bool given_up = wait_for(slot, gives_up);
    SIM_CHECK_EQUAL(atomic64_load_relaxed(&slot->answer), number);
    SIM_CHECK(given_up || !atomic64_load_relaxed(&slot->interrupted));
}

SIM_TEST(no_answer_and_no_interruption_reaches_another_call, .schedules = 40000)
{
    struct slot slot;
    slot_init(&slot);
    struct sim_thread *kernel = sim_spawn(kernel_thread, &slot), *bells[2];
    slot.kernel = sim_kernel_thread(kernel);
    for (int i = 0; i < 2; i++)
        bells[i] = sim_spawn(serve_bell, &slot);
    for (uint64_t number = 1; number <= CALLS; number++)
        call(&slot, number, sim_chance(2));
    call(&slot, LAST, false);
    sim_join(kernel);
    atomic32_store(&slot.stop, 1);
    ring(&slot);
    for (int i = 0; i < 2; i++)
        sim_join(bells[i]);
}
