/*
 * Ports: every death, at every moment. What is checked each time: nobody waits for ever, each message is in one place (with its
 * sender, its receiver, or gone with a port), and nothing is left over at the end.
 */
#include "body/sim/port_testing.h"

struct pair {
    struct handle_table server, client;
    handle_t receive, send;
    struct atomic32 taken, answered, reset, piped, interrupted;
};

static void pair_init(struct pair *pair, uint32_t queue_limit)
{
    *pair = (struct pair){.receive = HANDLE_NONE};
    handle_table_init(&pair->server, 100);
    handle_table_init(&pair->client, 100);
    pair->receive = port_of(&pair->server, queue_limit);
    pair->send = send_right(&pair->server, pair->receive, 1, &pair->client);
}

static void pair_end(struct pair *pair)
{
    handle_table_destroy(&pair->client);
    handle_table_destroy(&pair->server);
}

static uint32_t value(struct atomic32 *word) { return atomic32_load(word); }

/* One call with a token, and where the token must be afterwards. */
static void call_once(void *argument)
{
    struct pair *pair = argument;
    struct note note;
    struct outgoing outgoing = {.word = 1, .handle = token_make(&pair->client)};
    int error = call_message(&pair->client, pair->send, &outgoing, &note);
    SIM_CHECK(error == 0 || error == -EPIPE || error == -ECONNRESET || error == -EINTR);
    SIM_CHECK_EQUAL(names_token(&pair->client, outgoing.handle), !note.sent);
    SIM_CHECK(error != 0 || (note.sent && note.received));
    SIM_CHECK(error != -EPIPE || !note.sent);
    SIM_CHECK(error != -ECONNRESET || note.sent);
    atomic32_add(error == 0 ? &pair->answered : error == -EPIPE ? &pair->piped : error == -EINTR ? &pair->interrupted : &pair->reset, 1);
}

/* Takes calls and answers them, drops some reply rights, and gives up at some point. */
static void serve_and_die(struct pair *pair, uint32_t calls)
{
    for (uint32_t i = 0; i < calls; i++) {
        struct note note;
        if (receive_message(&pair->server, pair->receive, 0, &note) != 0)
            return;
        atomic32_add(&pair->taken, 1);
        SIM_CHECK(names_token(&pair->server, note.handles[0]));
        if (sim_chance(3))
            SIM_CHECK_EQUAL(handle_close(&pair->server, note.reply), 0);
        else if (sim_chance(4))
            continue; /* it goes with the task */
        else
            SIM_CHECK_EQUAL(reply_word(&pair->server, note.reply, 2), 0);
    }
}

static void server_task(void *argument)
{
    struct pair *pair = argument;
    serve_and_die(pair, sim_random(3));
    handle_table_destroy(&pair->server);
}

#define CALLERS 3

SIM_TEST(a_server_that_dies_fails_all_its_callers, .schedules = 12000)
{
    struct pair pair;
    struct sim_thread *callers[CALLERS];
    pair_init(&pair, sim_random(2));
    struct sim_thread *server = sim_spawn(server_task, &pair);
    for (uint32_t i = 0; i < CALLERS; i++)
        callers[i] = sim_spawn(call_once, &pair);
    for (uint32_t i = 0; i < CALLERS; i++)
        sim_join(callers[i]);
    sim_join(server);
    SIM_CHECK_EQUAL(value(&pair.answered) + value(&pair.piped) + value(&pair.reset), CALLERS);
    SIM_CHECK_EQUAL(value(&pair.answered) + value(&pair.reset), value(&pair.taken));
    SIM_CHECK_EQUAL(send_word(&pair.client, pair.send, 1), -EPIPE);
    pair_end(&pair);
}

/* --- callers that leave -------------------------------------------------------------------------------- */

static void call_interrupted(void *argument)
{
    struct thread *self = thread_current();
    if (sim_chance(2))
        sim_may_kill(self);
    else
        sim_may_interrupt(self, 1);
    call_once(argument);
    sim_leave_alone(self);
}

static void stop_server(void *argument)
{
    struct pair *pair = argument;
    struct note note;
    SIM_CHECK_EQUAL(call_message(&pair->client, pair->send, &(struct outgoing){.word = 0}, &note), 0);
}

/* Every reply is success for the server, whether its caller is still there or not. */
static void serve_until_told(void *argument)
{
    struct pair *pair = argument;
    struct note note = {.word = 1};
    int error = receive_message(&pair->server, pair->receive, 0, &note);
    while (note.word != 0) {
        SIM_CHECK_EQUAL(error, 0);
        atomic32_add(&pair->taken, 1);
        struct outgoing answer = {.word = 1, .handle = sim_chance(2) ? note.handles[0] : HANDLE_NONE};
        if (sim_chance(2))
            sim_point();
        error = reply_and_wait(&pair->server, note.reply, &answer, pair->receive, &note);
    }
    SIM_CHECK_EQUAL(reply_word(&pair->server, note.reply, 0), 0);
}

SIM_TEST(callers_are_interrupted_and_killed_at_any_moment, .schedules = 15000)
{
    struct pair pair;
    struct sim_thread *callers[CALLERS];
    pair_init(&pair, 0);
    struct sim_thread *server = sim_spawn(serve_until_told, &pair);
    for (uint32_t i = 0; i < CALLERS; i++)
        callers[i] = sim_spawn(call_interrupted, &pair);
    for (uint32_t i = 0; i < CALLERS; i++)
        sim_join(callers[i]);
    stop_server(&pair);
    sim_join(server);
    SIM_CHECK_EQUAL(value(&pair.answered) + value(&pair.interrupted), CALLERS);
    SIM_CHECK(value(&pair.taken) >= value(&pair.answered));
    pair_end(&pair);
}

SIM_TEST(a_stale_reply_right_is_harmless_after_its_caller_is_gone, .schedules = 3000)
{
    struct pair pair;
    struct note note;
    pair_init(&pair, 0);
    struct sim_thread *caller = sim_spawn(call_once, &pair);
    SIM_CHECK_EQUAL(receive_message(&pair.server, pair.receive, 0, &note), 0);
    thread_kill(sim_kernel_thread(caller));
    sim_join(caller);
    SIM_CHECK_EQUAL(value(&pair.interrupted), 1);
    if (sim_chance(2))
        SIM_CHECK_EQUAL(send_message(&pair.server, note.reply, &(struct outgoing){.word = 1, .size = 9, .handle = note.handles[0]}, 0, NULL), 0);
    else
        SIM_CHECK_EQUAL(handle_close(&pair.server, note.reply), 0);
    pair_end(&pair);
}

/* An old reply right must not answer a later call of the same thread. */
static void call_twice(void *argument)
{
    struct pair *pair = argument;
    struct note note;
    SIM_CHECK_EQUAL(call_message(&pair->client, pair->send, &(struct outgoing){.word = 1}, &note), -EINTR);
    SIM_CHECK(note.sent);
    thread_interrupt_clear(thread_current());
    SIM_CHECK_EQUAL(call_message(&pair->client, pair->send, &(struct outgoing){.word = 2}, &note), 0);
    SIM_CHECK_EQUAL(note.word, 22);
}

static void reply_eleven(void *argument)
{
    struct pair *pair = argument;
    SIM_CHECK_EQUAL(reply_word(&pair->server, value(&pair->taken), 11), 0);
}

SIM_TEST(an_old_reply_right_does_not_answer_a_new_call, .schedules = 8000)
{
    struct pair pair;
    struct note first, second;
    pair_init(&pair, 0);
    struct sim_thread *caller = sim_spawn(call_twice, &pair);
    SIM_CHECK_EQUAL(receive_message(&pair.server, pair.receive, 0, &first), 0);
    thread_interrupt(sim_kernel_thread(caller));
    atomic32_store(&pair.taken, first.reply);
    if (sim_chance(2)) {
        SIM_CHECK_EQUAL(receive_message(&pair.server, pair.receive, 0, &second), 0);
    } else {
        sim_settle();
        SIM_CHECK_EQUAL(receive_message(&pair.server, pair.receive, 0, &second), 0);
    }
    struct sim_thread *late = sim_spawn(reply_eleven, &pair);
    SIM_CHECK_EQUAL(reply_word(&pair.server, second.reply, 22), 0);
    sim_join(late);
    sim_join(caller);
    pair_end(&pair);
}

/* --- senders and receivers that leave ------------------------------------------------------------------ */

static void send_interrupted(void *argument)
{
    struct pair *pair = argument;
    struct thread *self = thread_current();
    sim_may_interrupt(self, 2);
    for (uint32_t i = 0; i < 2; i++) {
        struct note note;
        struct outgoing outgoing = {.word = 1, .handle = token_make(&pair->client), .copy = sim_chance(2)};
        int error = send_message(&pair->client, pair->send, &outgoing, 0, &note);
        SIM_CHECK(error == 0 || error == -EINTR);
        SIM_CHECK_EQUAL(note.sent, error == 0);
        SIM_CHECK_EQUAL(names_token(&pair->client, outgoing.handle), outgoing.copy || error);
        if (error == 0)
            atomic32_add(&pair->answered, 1);
        else
            thread_interrupt_clear(self);
    }
    sim_leave_alone(self);
}

static void receive_interrupted(void *argument)
{
    struct pair *pair = argument;
    struct thread *self = thread_current();
    sim_may_interrupt(self, 2);
    for (;;) {
        struct note note;
        int error = receive_message(&pair->server, pair->receive, 0, &note);
        if (error == -EPIPE || error == -EBADF)
            break;
        SIM_CHECK(error == 0 || error == -EINTR);
        if (error == 0) {
            SIM_CHECK(names_token(&pair->server, note.handles[0]));
            atomic32_add(&pair->taken, 1);
        } else {
            thread_interrupt_clear(self);
        }
    }
    sim_leave_alone(self);
}

SIM_TEST(no_message_is_lost_to_interruptions, .schedules = 12000)
{
    struct pair pair;
    struct sim_thread *senders[2], *receivers[2];
    pair_init(&pair, sim_random(3));
    for (uint32_t i = 0; i < 2; i++) {
        senders[i] = sim_spawn(send_interrupted, &pair);
        receivers[i] = sim_spawn(receive_interrupted, &pair);
    }
    for (uint32_t i = 0; i < 2; i++)
        sim_join(senders[i]);
    while (value(&pair.taken) < value(&pair.answered)) {
        thread_yield();
        body_relax(0);
    }
    SIM_CHECK_EQUAL(handle_close(&pair.server, pair.receive), 0);
    for (uint32_t i = 0; i < 2; i++)
        sim_join(receivers[i]);
    SIM_CHECK_EQUAL(value(&pair.taken), value(&pair.answered));
    pair_end(&pair);
}

/* --- receive rights that move -------------------------------------------------------------------------- */

static void receive_until_moved(void *argument)
{
    struct pair *pair = argument;
    int error;
    while ((error = receive_message(&pair->server, pair->receive, 0, NULL)) == 0)
        atomic32_add(&pair->taken, 1);
    SIM_CHECK(error == -ECANCELED || error == -EBADF);
}

static void send_four(void *argument)
{
    struct pair *pair = argument;
    for (uint32_t i = 0; i < 4; i++)
        SIM_CHECK_EQUAL(send_word(&pair->client, pair->send, i), 0);
}

SIM_TEST(a_receive_right_moves_with_its_queue, .schedules = 10000)
{
    struct pair pair, other;
    struct note note;
    pair_init(&pair, sim_random(2));
    pair_init(&other, sim_random(2));
    struct sim_thread *receiver = sim_spawn(receive_until_moved, &pair);
    struct sim_thread *sender = sim_spawn(send_four, &pair);
    handle_t send = send_right(&other.server, other.receive, 1, &pair.server);
    struct sim_thread *mover = NULL;
    struct outgoing outgoing = {.handle = pair.receive};
    if (sim_chance(2))
        SIM_CHECK_EQUAL(port_set_queue_limit(&other.server, other.receive, 1), 0);
    SIM_CHECK_EQUAL(port_set_queue_limit(&other.server, other.receive, 1), 0);
    SIM_CHECK_EQUAL(send_message(&pair.server, send, &outgoing, 0, NULL), 0);
    SIM_CHECK_EQUAL(receive_message(&other.server, other.receive, 0, &note), 0);
    SIM_CHECK(!mover && note.handle_count == 1);
    sim_join(receiver);
    for (uint32_t left = 4 - value(&pair.taken); left > 0; left--)
        SIM_CHECK_EQUAL(receive_message(&other.server, note.handles[0], 0, NULL), 0);
    sim_join(sender);
    SIM_CHECK_EQUAL(receive_message(&other.server, note.handles[0], PORT_RECEIVE_NONBLOCK, NULL), -EAGAIN);
    pair_end(&pair);
    pair_end(&other);
}

/* Who still waits where the right was gets nothing while it is on its way. */
SIM_TEST(a_receive_right_on_its_way_serves_nobody, .schedules = 3000)
{
    struct pair pair, other;
    struct note note;
    pair_init(&pair, 2);
    pair_init(&other, 1);
    struct sim_thread *receiver = sim_spawn(receive_until_moved, &pair);
    handle_t send = send_right(&other.server, other.receive, 1, &pair.server);
    if (!sim_chance(4))
        sim_settle();
    SIM_CHECK_EQUAL(send_message(&pair.server, send, &(struct outgoing){.handle = pair.receive}, 0, NULL), 0);
    SIM_CHECK_EQUAL(send_word(&pair.client, pair.send, 5), 0);
    sim_settle();
    SIM_CHECK_EQUAL(value(&pair.taken), 0);
    SIM_CHECK_EQUAL(receive_message(&other.server, other.receive, 0, &note), 0);
    sim_join(receiver);
    SIM_CHECK_EQUAL(receive_message(&other.server, note.handles[0], 0, &note), 0);
    SIM_CHECK_EQUAL(note.word, 5);
    pair_end(&pair);
    pair_end(&other);
}

/* While the right is on its way its handle is none. */
static void receive_until_told(void *argument)
{
    struct pair *pair = argument;
    while (!value(&pair->reset)) {
        int error = receive_message(&pair->server, pair->receive, 0, NULL);
        SIM_CHECK(error == 0 || error == -EBADF || error == -EPIPE);
        if (error == 0)
            atomic32_add(&pair->taken, 1);
        else
            body_relax(0);
    }
}

/* The move fails: who waited goes on. */
SIM_TEST(a_move_that_fails_leaves_the_receivers, .schedules = 5000)
{
    struct pair pair, other;
    pair_init(&pair, 0);
    pair_init(&other, 0);
    struct sim_thread *receiver = sim_spawn(receive_until_told, &pair);
    struct sim_thread *sender = sim_spawn(send_interrupted, &pair);
    handle_t send = send_right(&other.server, other.receive, 1, &pair.server);
    for (int i = 0; i < 3; i++)
        SIM_CHECK_EQUAL(send_message(&pair.server, send, &(struct outgoing){.handle = pair.receive}, PORT_SEND_NONBLOCK, NULL), -EAGAIN);
    sim_join(sender);
    while (value(&pair.taken) < value(&pair.answered)) {
        thread_yield();
        body_relax(0);
    }
    atomic32_store(&pair.reset, 1);
    SIM_CHECK_EQUAL(handle_close(&pair.server, pair.receive), 0);
    sim_join(receiver);
    pair_end(&pair);
    pair_end(&other);
}

/* --- rings --------------------------------------------------------------------------------------------- */

SIM_TEST(a_port_does_not_travel_through_itself, .schedules = 500)
{
    struct pair pair;
    struct note note;
    pair_init(&pair, sim_random(2));
    handle_t send = send_right(&pair.server, pair.receive, 3, &pair.server);
    SIM_CHECK_EQUAL(send_message(&pair.server, send, &(struct outgoing){.handle = pair.receive}, 0, &note), -ELOOP);
    SIM_CHECK(!note.sent);
    SIM_CHECK_EQUAL(send_message(&pair.client, pair.send, &(struct outgoing){.word = 1}, PORT_SEND_NONBLOCK, NULL) == 0,
                    receive_message(&pair.server, pair.receive, PORT_RECEIVE_NONBLOCK, NULL) == 0);
    pair_end(&pair);
}

struct ring {
    struct pair pair[2];
    handle_t send[2];
    struct atomic32 sent, looped, next;
};

/* Sends one port's receive right through the other. */
static void send_across(void *argument)
{
    struct ring *ring = argument;
    uint32_t i = atomic32_add(&ring->next, 1);
    int error = send_message(&ring->pair[i].server, ring->send[i], &(struct outgoing){.handle = ring->pair[i].receive}, 0, NULL);
    SIM_CHECK(error == 0 || error == -ELOOP);
    atomic32_add(error ? &ring->looped : &ring->sent, 1);
}

SIM_TEST(two_ports_do_not_travel_through_each_other, .schedules = 8000)
{
    struct ring ring = {.sent = ATOMIC_INIT(0)};
    struct sim_thread *threads[2];
    for (int i = 0; i < 2; i++)
        pair_init(&ring.pair[i], 1);
    for (int i = 0; i < 2; i++)
        ring.send[i] = send_right(&ring.pair[1 - i].server, ring.pair[1 - i].receive, 4, &ring.pair[i].server);
    for (int i = 0; i < 2; i++)
        threads[i] = sim_spawn(send_across, &ring);
    for (int i = 0; i < 2; i++)
        sim_join(threads[i]);
    SIM_CHECK(value(&ring.sent) == 1 && value(&ring.looped) == 1);
    for (int i = 0; i < 2; i++)
        pair_end(&ring.pair[i]);
}

/* Each port's receive right in the next one's queue, from the innermost out: deep, and its end does not recurse. */
SIM_TEST(a_long_nest_of_ports_falls_with_its_root, .schedules = 20)
{
    struct pair pair;
    pair_init(&pair, 1);
    handle_t inner = pair.receive;
    for (uint32_t i = 0; i < 2000; i++) {
        handle_t outer = port_of(&pair.server, 1), send = send_right(&pair.server, outer, 1, &pair.server);
        SIM_CHECK_EQUAL(send_message(&pair.server, send, &(struct outgoing){.handle = inner}, 0, NULL), 0);
        SIM_CHECK_EQUAL(handle_close(&pair.server, send), 0);
        inner = outer;
    }
    SIM_CHECK_EQUAL(send_word(&pair.client, pair.send, 1), 0);
    handle_t last = port_of(&pair.client, 1);
    SIM_CHECK_EQUAL(handle_close(&pair.server, inner), 0);
    SIM_CHECK_EQUAL(send_word(&pair.client, pair.send, 1), -EPIPE);
    SIM_CHECK_EQUAL(handle_close(&pair.client, last), 0);
    pair_end(&pair);
}

SIM_TEST(a_nest_is_as_deep_as_its_limit, .schedules = 50)
{
    struct pair pair;
    pair_init(&pair, 1);
    handle_t at = send_right(&pair.server, pair.receive, 1, &pair.server);
    uint32_t depth = 0;
    for (;;) {
        handle_t inner = port_of(&pair.server, 1), send = send_right(&pair.server, inner, 1, &pair.server);
        int error = send_message(&pair.server, at, &(struct outgoing){.handle = inner}, 0, NULL);
        if (error) {
            SIM_CHECK_EQUAL(error, -ELOOP);
            break;
        }
        depth++;
        handle_close(&pair.server, at);
        at = send;
    }
    SIM_CHECK_EQUAL(depth, PORT_NESTING_MAX);
    pair_end(&pair);
}

/* The message holds the only send right to the port it waits in. */
SIM_TEST(a_message_with_the_last_send_right_to_its_own_port_goes_with_it, .schedules = 1000)
{
    struct pair pair;
    pair_init(&pair, 1);
    SIM_CHECK_EQUAL(send_message(&pair.client, pair.send, &(struct outgoing){.handle = pair.send}, 0, NULL), 0);
    SIM_CHECK_EQUAL(send_word(&pair.client, pair.send, 1), -EBADF);
    SIM_CHECK_EQUAL(handle_close(&pair.server, pair.receive), 0);
    pair_end(&pair);
}

/* --- fork ---------------------------------------------------------------------------------------------- */

SIM_TEST(a_fork_has_the_send_rights_and_not_the_receive_right, .schedules = 500)
{
    struct pair pair;
    struct handle_table child;
    struct note note;
    uint64_t rights;
    pair_init(&pair, 2);
    handle_t own = send_right(&pair.server, pair.receive, 5, &pair.server);
    handle_table_init(&child, 100);
    SIM_CHECK_EQUAL(handle_table_clone(&child, &pair.server), 0);
    SIM_CHECK_EQUAL(port_count(&pair.server, pair.receive, NULL, &rights), 0);
    SIM_CHECK_EQUAL(rights, 3);
    SIM_CHECK_EQUAL(receive_message(&child, pair.receive, 0, &note), -EBADF);
    SIM_CHECK_EQUAL(send_word(&child, own, 8), 0);
    SIM_CHECK_EQUAL(receive_message(&pair.server, pair.receive, 0, &note), 0);
    SIM_CHECK(note.badge == 5 && note.word == 8);
    handle_table_destroy(&pair.server);
    SIM_CHECK_EQUAL(send_word(&child, own, 8), -EPIPE);
    handle_table_destroy(&child);
    pair_end(&pair);
}
