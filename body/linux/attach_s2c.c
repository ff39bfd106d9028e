/*
 * Waiting for an attached client to do what it was asked to. It need not: it may be stopped, or have blocked the signal, or be no honest
 * libhyla. So every wait here ends.
 *
 *   asked        slot state COMMAND. A thread of the process that waits in a call is woken to look; with none, a signal is sent
 *   not begun    after BEGIN_NS the command is taken back: mode COMMAND -> KERNEL first, so that nobody else claims, then the state
 *                COMMAND -> POSTED. Nothing has been done, -ETIMEDOUT
 *   begun        the state was FREE by then (slot 0), or nobody can tell (a thread's own slot): after END_NS more the process is cut off
 */
#include "body/linux/attach.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BEGIN_NS 2000000000u
#define REMIND_NS 200000000u
#define END_NS 5000000000u

struct alarm {
    struct timer timer;
    struct thread *thread;
};

static void alarm_rings(struct timer *timer) { thread_wake(CONTAINER_OF(timer, struct alarm, timer)->thread); }

/* Until the commands were carried out, or the time has come. */
static bool wait_until(struct user_thread *user, struct alarm *alarm, nanoseconds_t deadline)
{
    timer_set(&alarm->timer, deadline);
    while (!atomic32_load(&user->done) && body_now() < deadline)
        thread_suspend();
    timer_cancel_sync(&alarm->timer);
    return atomic32_load(&user->done);
}

/* A sleeper's state word is changed before it is woken, so one that is about to sleep does not. True when there was one. */
static bool nudge_sleeper(struct client *client)
{
    uint64_t slots[CLIENT_THREADS_MAX / 64];
    client_slots_used(client, slots);
    for (uint32_t index = 1; index < CLIENT_THREADS_MAX; index++) {
        uint32_t state = SLOT_POSTED_SLEEPING;
        if (!(slots[index / 64] >> (index % 64) & 1))
            continue;
        if (!__atomic_compare_exchange_n(&client->slots[index].state, &state, SLOT_POSTED, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            continue;
        syscall(SYS_futex, &client->slots[index].state, FUTEX_WAKE, 1, NULL, NULL, 0);
        return true;
    }
    return false;
}

static void interrupt_process(struct client *client)
{
    spin_lock(&client->lock);
    if (!list_empty(&client->processes))
        syscall(SYS_pidfd_send_signal, LIST_ENTRY(client->processes.next, struct host_process, link)->pidfd, client->attached->signal, NULL, 0);
    spin_unlock(&client->lock);
}

/* True: it was not begun, and now never will be. */
static bool take_back(struct user_thread *user)
{
    uint32_t word = atomic32_load(&user->mode), state = SLOT_COMMAND;
    if (mode_of(word) != MODE_COMMAND || !atomic32_cas(&user->mode, &word, mode_with(word, MODE_KERNEL)))
        return false; /* just claimed */
    if (__atomic_compare_exchange_n(&user->slot->state, &state, SLOT_POSTED, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return true;
    atomic32_store(&user->mode, mode_with(word, MODE_COMMAND));
    post_claim(user); /* what was posted meanwhile */
    return false;
}

static int wait_bounded(struct user_thread *user, struct alarm *alarm)
{
    struct client *client = user->client;
    nanoseconds_t start = body_now();
    bool shared = user == client->first;
    if (shared && !nudge_sleeper(client))
        interrupt_process(client);
    if (shared && !wait_until(user, alarm, start + REMIND_NS))
        interrupt_process(client);
    if (wait_until(user, alarm, start + BEGIN_NS))
        return 0;
    if (shared && take_back(user))
        return -ETIMEDOUT;
    if (!wait_until(user, alarm, body_now() + END_NS))
        attach_end_soon(client->attached); /* its threads are lost then, and this wait is over */
    while (!atomic32_load(&user->done))
        thread_suspend();
    return 0;
}

int attach_command_wait(struct user_thread *user)
{
    struct alarm alarm = {.thread = thread_current()};
    timer_init(&alarm.timer, alarm_rings);
    int error = wait_bounded(user, &alarm);
    return error ? error : atomic32_load(&user->lost) ? -ESRCH : 0;
}
