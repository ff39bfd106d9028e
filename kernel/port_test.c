/*
 * Ports: calls, one-way messages, queues, handles in messages, limits, sets, revocation and notifications. What dies how is in
 * port_death_test.c.
 */
#include "body/sim/port_testing.h"

/* --- calls --------------------------------------------------------------------------------------------- */

#define CLIENTS 3
#define CALLS 3
#define STOP 999999u

struct service {
    struct handle_table server, client;
    handle_t receive;
    handle_t send[CLIENTS];
    struct atomic32 served;
    struct atomic32 next_client;
    uint32_t size; /* of messages */
};

static void service_init(struct service *service, uint32_t queue_limit)
{
    *service = (struct service){.size = sim_chance(2) ? 0 : sim_random(200)};
    handle_table_init(&service->server, 100);
    handle_table_init(&service->client, 100);
    service->receive = port_of(&service->server, queue_limit);
    for (uint32_t i = 0; i < CLIENTS; i++)
        service->send[i] = send_right(&service->server, service->receive, 100 + i, &service->client);
}

static void service_end(struct service *service)
{
    handle_table_destroy(&service->client);
    handle_table_destroy(&service->server);
}

/* Answers word + 1 until it is told to stop. */
static void serve(void *argument)
{
    struct service *service = argument;
    struct note note;
    int error = receive_message(&service->server, service->receive, 0, &note);
    while (error == 0 && note.word != STOP) {
        SIM_CHECK(note.received && note.reply != HANDLE_NONE && note.badge >= 100 && note.badge < 100 + CLIENTS);
        SIM_CHECK_EQUAL(note.word / 1000, note.badge - 100);
        atomic32_add(&service->served, 1);
        struct outgoing answer = {.word = note.word + 1, .size = note.size};
        if (sim_chance(3)) {
            SIM_CHECK_EQUAL(send_message(&service->server, note.reply, &answer, 0, NULL), 0);
            error = receive_message(&service->server, service->receive, 0, &note);
        } else {
            error = reply_and_wait(&service->server, note.reply, &answer, service->receive, &note);
        }
    }
    SIM_CHECK_EQUAL(error, 0);
}

static void call_often(void *argument)
{
    struct service *service = argument;
    uint32_t client = atomic32_add(&service->next_client, 1);
    for (uint32_t i = 0; i < CALLS; i++) {
        struct note note;
        struct outgoing question = {.word = client * 1000 + i, .size = service->size};
        SIM_CHECK_EQUAL(call_message(&service->client, service->send[client], &question, &note), 0);
        SIM_CHECK(note.received && note.sent && note.reply == HANDLE_NONE);
        SIM_CHECK_EQUAL(note.word, question.word + 1);
        SIM_CHECK_EQUAL(note.size, question.size);
    }
}

static void calls_with(uint32_t servers)
{
    struct service service;
    struct sim_thread *server[2], *client[CLIENTS];
    service_init(&service, sim_chance(2) ? 0 : 5);
    for (uint32_t i = 0; i < servers; i++)
        server[i] = sim_spawn(serve, &service);
    for (uint32_t i = 0; i < CLIENTS; i++)
        client[i] = sim_spawn(call_often, &service);
    for (uint32_t i = 0; i < CLIENTS; i++)
        sim_join(client[i]);
    SIM_CHECK_EQUAL(atomic32_load(&service.served), CLIENTS * CALLS);
    for (uint32_t i = 0; i < servers; i++)
        SIM_CHECK_EQUAL(send_word(&service.client, service.send[0], STOP), 0);
    for (uint32_t i = 0; i < servers; i++)
        sim_join(server[i]);
    service_end(&service);
}

SIM_TEST(calls_of_many_clients_are_answered_by_one_server, .schedules = 12000) { calls_with(1); }
SIM_TEST(calls_of_many_clients_are_answered_by_two_servers, .schedules = 12000) { calls_with(2); }

/* --- parked callers ------------------------------------------------------------------------------------ */

struct parked {
    struct service *service;
    uint32_t client, done;
    bool interruptible;
    struct atomic32 *answered;
};

static void parked_finish(struct parked *parked, int result)
{
    struct port_thread *self = port_thread_self();
    if (result == PORT_WAITS)
        sim_fail("a call parks twice");
    if (result == 0) {
        SIM_CHECK_EQUAL(port_message_of(self)->words[0], parked->client * 1000 + parked->done + 1);
        atomic32_add(parked->answered, 1);
    } else {
        SIM_CHECK_EQUAL(result, -EINTR);
        thread_interrupt_clear(thread_current());
    }
    port_message_done(self);
    parked->done++;
}

static void parked_step(void *argument);

static void parked_continue(void *argument)
{
    parked_finish(argument, port_msg_resume(port_thread_self()));
    parked_step(argument);
}

/* Calls, without a stack while it waits; at the end the thread ends, on whatever stack it has then. */
static void parked_step(void *argument)
{
    struct parked *parked = argument;
    while (parked->done < CALLS) {
        struct port_thread *self = self_made();
        SIM_CHECK_EQUAL(message_fill(self, &(struct outgoing){.word = parked->client * 1000 + parked->done}), 0);
        struct port_request call = {.flags = PORT_SEND | PORT_CALL | PORT_PARKS,
                                    .to = parked->service->send[parked->client],
                                    .table = &parked->service->client,
                                    ROOM};
        int result = port_msg_begin(self, &call);
        if (result == PORT_WAITS)
            port_msg_park(self, parked_continue, parked);
        parked_finish(parked, result);
    }
}

static void await_thread(struct thread *thread)
{
    while (atomic32_load(&thread->object.references) > 1) {
        thread_yield();
        body_relax(0);
    }
    object_unref(thread);
}

static void parked_calls(bool interruptible)
{
    struct service service;
    struct parked parked[CLIENTS];
    struct thread *threads[CLIENTS];
    struct atomic32 answered = ATOMIC_INIT(0);
    service_init(&service, 0);
    struct sim_thread *server = sim_spawn(serve, &service);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        parked[i] = (struct parked){.service = &service, .client = i, .answered = &answered};
        sim_calm_begin();
        threads[i] = thread_create("parked", NULL, parked_step, &parked[i]);
        sim_calm_end();
        thread_start(threads[i]);
    }
    for (int i = 0; interruptible && i < 3; i++) {
        thread_interrupt(threads[sim_random(CLIENTS)]);
        sim_point();
    }
    for (uint32_t i = 0; i < CLIENTS; i++)
        await_thread(threads[i]);
    SIM_CHECK(interruptible ? atomic32_load(&answered) >= CLIENTS * CALLS - 3 : atomic32_load(&answered) == CLIENTS * CALLS);
    SIM_CHECK_EQUAL(send_word(&service.client, service.send[0], STOP), 0);
    sim_join(server);
    service_end(&service);
}

SIM_TEST(parked_callers_are_answered, .schedules = 8000) { parked_calls(false); }
SIM_TEST(parked_callers_are_interrupted, .schedules = 8000) { parked_calls(true); }

/* --- one way ------------------------------------------------------------------------------------------- */

struct one_way {
    struct handle_table server, client;
    handle_t receive, send;
    struct atomic32 sent, received;
};

static void one_way_init(struct one_way *way, uint32_t queue_limit)
{
    *way = (struct one_way){.receive = HANDLE_NONE};
    handle_table_init(&way->server, 100);
    handle_table_init(&way->client, 100);
    way->receive = port_of(&way->server, queue_limit);
    way->send = send_right(&way->server, way->receive, 7, &way->client);
}

static void one_way_end(struct one_way *way)
{
    handle_table_destroy(&way->server);
    handle_table_destroy(&way->client);
}

static void send_five(void *argument)
{
    struct one_way *way = argument;
    for (uint32_t i = 0; i < 5; i++) {
        SIM_CHECK_EQUAL(send_word(&way->client, way->send, i), 0);
        atomic32_add(&way->sent, 1);
    }
}

/* The messages of one sender come in order, and with a rendezvous it is at most one ahead. */
static void one_way_with(uint32_t queue_limit)
{
    struct one_way way;
    one_way_init(&way, queue_limit);
    struct sim_thread *sender = sim_spawn(send_five, &way);
    if (sim_chance(3)) {
        sim_settle();
        SIM_CHECK_EQUAL(atomic32_load(&way.sent), queue_limit < 5 ? queue_limit : 5);
    }
    for (uint32_t i = 0; i < 5; i++) {
        struct note note;
        SIM_CHECK(atomic32_load(&way.sent) <= i + queue_limit);
        SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), 0);
        SIM_CHECK_EQUAL(note.word, i);
        SIM_CHECK(note.badge == 7 && note.reply == HANDLE_NONE);
    }
    sim_join(sender);
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, PORT_RECEIVE_NONBLOCK, NULL), -EAGAIN);
    one_way_end(&way);
}

SIM_TEST(a_rendezvous_waits_for_the_receiver, .schedules = 8000) { one_way_with(0); }
SIM_TEST(a_queue_takes_as_many_as_its_limit, .schedules = 8000) { one_way_with(1 + sim_random(6)); }

SIM_TEST(a_full_queue_is_an_answer_to_who_does_not_wait, .schedules = 500)
{
    struct one_way way;
    struct note note;
    one_way_init(&way, 2);
    struct outgoing outgoing = {.word = 1, .handle = token_make(&way.client)};
    SIM_CHECK_EQUAL(send_word(&way.client, way.send, 0), 0);
    SIM_CHECK_EQUAL(send_word(&way.client, way.send, 0), 0);
    SIM_CHECK_EQUAL(send_message(&way.client, way.send, &outgoing, PORT_SEND_NONBLOCK, &note), -EAGAIN);
    SIM_CHECK(!note.sent && names_token(&way.client, outgoing.handle));
    SIM_CHECK_EQUAL(port_set_queue_limit(&way.server, way.receive, 3), 0);
    SIM_CHECK_EQUAL(send_message(&way.client, way.send, &outgoing, PORT_SEND_NONBLOCK, &note), 0);
    SIM_CHECK(note.sent && !names_token(&way.client, outgoing.handle));
    uint64_t messages, rights;
    SIM_CHECK_EQUAL(port_count(&way.server, way.receive, &messages, &rights), 0);
    SIM_CHECK(messages == 3 && rights == 1);
    SIM_CHECK_EQUAL(port_set_queue_limit(&way.server, way.receive, PORT_QUEUE_MAX + 1), -EINVAL);
    one_way_end(&way);
}

SIM_TEST(all_queues_together_are_bounded, .schedules = 3, .points = 100000000)
{
    struct one_way way[2];
    struct note note;
    struct outgoing large = {.word = 1, .size = PORT_BYTES_MAX};
    uint64_t sent = 0, room = body_memory_size() / 16;
    int error = 0;
    for (int i = 0; i < 2; i++)
        one_way_init(&way[i], PORT_QUEUE_MAX);
    for (; (error = send_message(&way[sent % 2].client, way[sent % 2].send, &large, PORT_SEND_NONBLOCK, &note)) == 0; sent++)
        SIM_CHECK(sent * PORT_BYTES_MAX < room);
    SIM_CHECK_EQUAL(error, -EAGAIN);
    SIM_CHECK((sent + 2) * PORT_BYTES_MAX > room);
    handle_table_destroy(&way[1].server); /* the half of them */
    SIM_CHECK_EQUAL(send_message(&way[0].client, way[0].send, &large, PORT_SEND_NONBLOCK, &note), 0);
    for (int i = 0; i < 2; i++)
        one_way_end(&way[i]);
}

static void call_and_count(void *argument)
{
    struct one_way *way = argument;
    struct note note;
    SIM_CHECK_EQUAL(call_message(&way->client, way->send, &(struct outgoing){.word = atomic32_add(&way->sent, 1)}, &note), 0);
}

SIM_TEST(callers_are_served_in_the_order_they_came, .schedules = 2000)
{
    struct one_way way;
    struct sim_thread *callers[4];
    one_way_init(&way, 0);
    for (uint32_t i = 0; i < 4; i++) {
        callers[i] = sim_spawn(call_and_count, &way);
        sim_settle();
    }
    for (uint32_t i = 0; i < 4; i++) {
        struct note note;
        SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), 0);
        SIM_CHECK_EQUAL(note.word, i);
        SIM_CHECK_EQUAL(reply_word(&way.server, note.reply, 0), 0);
    }
    for (uint32_t i = 0; i < 4; i++)
        sim_join(callers[i]);
    one_way_end(&way);
}

/* --- nothing is allocated ------------------------------------------------------------------------------ */

static void echo_until_stop(void *argument)
{
    struct one_way *way = argument;
    struct note note;
    SIM_CHECK_EQUAL(receive_message(&way->server, way->receive, 0, &note), 0);
    while (note.word != STOP)
        SIM_CHECK_EQUAL(reply_and_wait(&way->server, note.reply, &(struct outgoing){.word = note.word, .size = note.size},
                                       way->receive, &note),
                        0);
    SIM_CHECK_EQUAL(reply_word(&way->server, note.reply, 0), 0);
}

SIM_TEST(a_steady_call_and_reply_allocates_nothing, .schedules = 2000)
{
    struct one_way way;
    struct note note;
    one_way_init(&way, 0);
    struct sim_thread *server = sim_spawn(echo_until_stop, &way);
    struct outgoing question = {.word = 1, .size = 100};
    for (int i = 0; i < 2; i++)
        SIM_CHECK_EQUAL(call_message(&way.client, way.send, &question, &note), 0);
    uint64_t allocated = sim_allocations();
    for (int i = 0; i < 10; i++)
        SIM_CHECK_EQUAL(call_message(&way.client, way.send, &question, &note), 0);
    SIM_CHECK_EQUAL(sim_allocations(), allocated);
    question.word = STOP;
    SIM_CHECK_EQUAL(call_message(&way.client, way.send, &question, &note), 0);
    sim_join(server);
    one_way_end(&way);
}

/* --- handles ------------------------------------------------------------------------------------------- */

static void send_token(void *argument)
{
    struct one_way *way = argument;
    struct outgoing outgoing = {.word = 1, .handle = token_make(&way->client), .copy = sim_chance(2)};
    int error = send_message(&way->client, way->send, &outgoing, 0, NULL);
    SIM_CHECK(error == 0 || error == -ENOMEM);
    SIM_CHECK_EQUAL(names_token(&way->client, outgoing.handle), outgoing.copy || error);
    while (error == -ENOMEM)
        error = send_word(&way->client, way->send, 2);
    SIM_CHECK_EQUAL(error, 0);
}

SIM_TEST(a_handle_travels_or_stays, .schedules = 6000, .fail_allocations = true)
{
    struct one_way way;
    struct note note;
    one_way_init(&way, sim_random(2));
    self_made();
    struct sim_thread *sender = sim_spawn(send_token, &way);
    int error;
    while ((error = receive_message(&way.server, way.receive, 0, &note)) == -ENOMEM)
        ;
    SIM_CHECK_EQUAL(error, 0);
    SIM_CHECK_EQUAL(note.handle_count, note.word == 1);
    if (note.word == 1)
        SIM_CHECK(names_token(&way.server, note.handles[0]));
    sim_calm_begin();
    sim_join(sender);
    one_way_end(&way);
    sim_calm_end();
}

/* Sixty-four handles at once, some moved, some copied with less. */
SIM_TEST(a_message_carries_sixty_four_handles, .schedules = 300)
{
    struct one_way way;
    handle_t handles[PORT_HANDLES_MAX];
    one_way_init(&way, 1);
    struct port_thread *self = self_made();
    SIM_CHECK_EQUAL(port_message_prepare(self, 0, PORT_HANDLES_MAX + 1), -EMSGSIZE);
    SIM_CHECK_EQUAL(port_message_prepare(self, PORT_BYTES_MAX, PORT_HANDLES_MAX), 0);
    for (uint32_t i = 0; i < PORT_HANDLES_MAX; i++) {
        handles[i] = token_make(&way.client);
        port_message_of(self)->handles[i] =
            (struct handle_transfer){.handle = handles[i], .rights = RIGHT_READ | RIGHT_TRANSFER, .move = i % 2};
    }
    SIM_CHECK_EQUAL(port_msg(self, &(struct port_request){.flags = PORT_SEND, .to = way.send, .table = &way.client}), 0);
    port_message_done(self);
    struct port_request receive = {.flags = PORT_RECEIVE, .from = way.receive, .table = &way.server, .bytes_max = PORT_BYTES_MAX - 1, .handles_max = 64};
    SIM_CHECK_EQUAL(port_msg(self, &receive), -EMSGSIZE);
    SIM_CHECK(port_answer_of(self)->bytes_needed == PORT_BYTES_MAX && port_answer_of(self)->handles_needed == 64);
    receive.bytes_max = PORT_BYTES_MAX;
    receive.handles_max = 63;
    SIM_CHECK_EQUAL(port_msg(self, &receive), -EMSGSIZE);
    receive.handles_max = 64;
    SIM_CHECK_EQUAL(port_msg(self, &receive), 0);
    SIM_CHECK_EQUAL(port_message_of(self)->handle_count, 64);
    for (uint32_t i = 0; i < PORT_HANDLES_MAX; i++) {
        struct handle_transfer *arrived = &port_message_of(self)->handles[i];
        SIM_CHECK(names_token(&way.server, arrived->handle));
        SIM_CHECK_EQUAL(arrived->rights, RIGHT_READ | RIGHT_TRANSFER);
        SIM_CHECK_EQUAL(names_token(&way.client, handles[i]), i % 2 == 0);
    }
    port_message_done(self);
    one_way_end(&way);
}

SIM_TEST(a_message_with_a_bad_handle_takes_none, .schedules = 300)
{
    struct one_way way;
    one_way_init(&way, 1);
    handle_t good = token_make(&way.client), copied = token_make(&way.client);
    struct { handle_t handle; bool move; int error; } bad[] = {
        {HANDLE_NONE, true, -EBADF}, {good, true, -EBADF}, {good, false, -EBADF}, {12345, true, -EBADF}, {way.receive, true, 0},
    };
    bad[4].handle = token_make(&way.client);
    handle_t uncopyable;
    SIM_CHECK_EQUAL(handle_copy(&way.client, bad[4].handle, RIGHT_READ | RIGHT_TRANSFER, &uncopyable), 0);
    bad[4].handle = uncopyable;
    bad[4].move = false;
    bad[4].error = -EACCES;
    struct port_thread *self = self_made();
    for (uint32_t i = 0; i < ARRAY_SIZE(bad); i++) {
        SIM_CHECK_EQUAL(port_message_prepare(self, 0, 3), 0);
        struct handle_transfer *handles = port_message_of(self)->handles;
        handles[0] = (struct handle_transfer){.handle = copied, .rights = RIGHT_READ};
        handles[1] = (struct handle_transfer){.handle = good, .rights = UINT32_MAX, .move = true};
        handles[2] = (struct handle_transfer){.handle = bad[i].handle, .rights = UINT32_MAX, .move = bad[i].move};
        SIM_CHECK_EQUAL(port_msg(self, &(struct port_request){.flags = PORT_SEND, .to = way.send, .table = &way.client}), bad[i].error);
        SIM_CHECK(!port_answer_of(self)->sent && names_token(&way.client, good) && names_token(&way.client, copied));
    }
    port_message_done(self);
    one_way_end(&way);
}

SIM_TEST(a_receiver_whose_table_is_full_receives_nothing, .schedules = 500)
{
    struct one_way way;
    struct note note;
    one_way_init(&way, 1);
    way.server.limit = 2;
    SIM_CHECK_EQUAL(send_message(&way.client, way.send, &(struct outgoing){.handle = token_make(&way.client)}, 0, NULL), 0);
    handle_t filler = token_make(&way.server);
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), -EMFILE);
    handle_close(&way.server, filler);
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), -EMFILE); /* it might be a call */
    way.server.limit = 3;
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), 0);
    SIM_CHECK(names_token(&way.server, note.handles[0]));
    one_way_end(&way);
}

/* --- replies ------------------------------------------------------------------------------------------- */

static void call_with_little_room(void *argument)
{
    struct one_way *way = argument;
    struct port_thread *self = self_made();
    SIM_CHECK_EQUAL(message_fill(self, &(struct outgoing){.word = 1}), 0);
    struct port_request call = {.flags = PORT_SEND | PORT_CALL, .to = way->send, .table = &way->client, .bytes_max = 10};
    SIM_CHECK_EQUAL(port_msg(self, &call), -EMSGSIZE);
    const struct port_answer *answer = port_answer_of(self);
    SIM_CHECK(answer->sent && !answer->received && answer->bytes_needed == 11 && answer->handles_needed == 1);
    port_message_done(self);
}

SIM_TEST(a_reply_that_does_not_fit_is_the_callers_error, .schedules = 2000)
{
    struct one_way way;
    struct note note;
    one_way_init(&way, 0);
    struct sim_thread *caller = sim_spawn(call_with_little_room, &way);
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), 0);
    struct outgoing reply = {.word = 1, .size = 11, .handle = token_make(&way.server)};
    SIM_CHECK_EQUAL(send_message(&way.server, note.reply, &reply, 0, NULL), 0);
    SIM_CHECK(!names_token(&way.server, reply.handle));
    SIM_CHECK_EQUAL(reply_word(&way.server, note.reply, 0), -EBADF);
    sim_join(caller);
    one_way_end(&way);
}

static void call_with_token(void *argument)
{
    struct one_way *way = argument;
    struct note note;
    struct outgoing outgoing = {.word = 5, .handle = token_make(&way->client)};
    SIM_CHECK_EQUAL(call_message(&way->client, way->send, &outgoing, &note), 0);
    SIM_CHECK(!names_token(&way->client, outgoing.handle) && note.handle_count == 1 && names_token(&way->client, note.handles[0]));
}

SIM_TEST(a_handle_goes_with_a_call_and_comes_back_with_the_reply, .schedules = 4000)
{
    struct one_way way;
    struct note note;
    one_way_init(&way, 0);
    struct sim_thread *caller = sim_spawn(call_with_token, &way);
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), 0);
    SIM_CHECK_EQUAL(send_message(&way.server, note.reply, &(struct outgoing){.word = 6, .handle = note.handles[0]}, 0, NULL), 0);
    sim_join(caller);
    one_way_end(&way);
}

/* A reply right travels to another task, which answers. */
SIM_TEST(a_reply_right_may_be_passed_on, .schedules = 3000)
{
    struct one_way way, other;
    struct note note, passed;
    one_way_init(&way, 0);
    one_way_init(&other, 1);
    struct sim_thread *caller = sim_spawn(call_and_count, &way);
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), 0);
    handle_t send = send_right(&other.server, other.receive, 1, &way.server);
    SIM_CHECK_EQUAL(send_message(&way.server, send, &(struct outgoing){.handle = note.reply}, 0, NULL), 0);
    SIM_CHECK_EQUAL(receive_message(&other.server, other.receive, 0, &passed), 0);
    SIM_CHECK_EQUAL(reply_word(&other.server, passed.handles[0], 3), 0);
    sim_join(caller);
    one_way_end(&way);
    one_way_end(&other);
}

SIM_TEST(a_reply_right_in_its_own_message_is_refused, .schedules = 1000)
{
    struct one_way way;
    struct note note;
    one_way_init(&way, 0);
    struct sim_thread *caller = sim_spawn(call_and_count, &way);
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), 0);
    SIM_CHECK_EQUAL(send_message(&way.server, note.reply, &(struct outgoing){.handle = note.reply}, 0, NULL), -EBADF);
    SIM_CHECK_EQUAL(reply_word(&way.server, note.reply, 3), 0);
    sim_join(caller);
    one_way_end(&way);
}

/* --- arguments ----------------------------------------------------------------------------------------- */

SIM_TEST(wrong_requests_are_refused, .schedules = 100)
{
    struct one_way way;
    one_way_init(&way, 1);
    struct port_thread *self = self_made();
    handle_t token = token_make(&way.server);
    handle_t own = send_right(&way.server, way.receive, 1, &way.server);
    const struct { uint32_t flags; handle_t to, from; int error; } wrong[] = {
        {0, 0, 0, -EINVAL},
        {PORT_CALL, own, 0, -EINVAL},
        {PORT_SEND | PORT_CALL | PORT_RECEIVE, own, way.receive, -EINVAL},
        {1u << 31 | PORT_SEND, own, 0, -EINVAL},
        {PORT_SEND, HANDLE_NONE, 0, -EBADF},
        {PORT_SEND, token, 0, -EINVAL},
        {PORT_SEND, way.receive, 0, -EACCES},
        {PORT_RECEIVE, 0, own, -EACCES},
        {PORT_RECEIVE, 0, token, -EACCES},
        {PORT_RECEIVE, 0, 99, -EBADF},
        {PORT_SEND | PORT_RECEIVE, own, 99, -EBADF},
    };
    for (uint32_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        SIM_CHECK_EQUAL(port_message_prepare(self, 0, 0), 0);
        struct port_request request = {.flags = wrong[i].flags, .to = wrong[i].to, .from = wrong[i].from, .table = &way.server};
        SIM_CHECK_EQUAL(port_msg(self, &request), wrong[i].error);
        SIM_CHECK(!port_answer_of(self)->sent);
    }
    handle_t made;
    SIM_CHECK_EQUAL(port_make_send(&way.server, way.receive, 0, RIGHT_RECEIVE, &made), -EINVAL);
    SIM_CHECK_EQUAL(port_make_send(&way.server, own, 0, 0, &made), -EACCES);
    SIM_CHECK_EQUAL(port_create(&way.server, PORT_QUEUE_MAX + 1, &made), -EINVAL);
    one_way_end(&way);
}

/* --- send once to a port ------------------------------------------------------------------------------- */

SIM_TEST(a_send_once_right_sends_once_whatever_the_limit, .schedules = 500)
{
    struct one_way way;
    struct note note;
    handle_t once, dropped;
    one_way_init(&way, 0);
    SIM_CHECK_EQUAL(port_make_send_once(&way.server, way.receive, 8, &once), 0);
    SIM_CHECK_EQUAL(port_make_send_once(&way.server, way.receive, 9, &dropped), 0);
    SIM_CHECK_EQUAL(send_word(&way.server, once, 77), 0);
    SIM_CHECK_EQUAL(send_word(&way.server, once, 77), -EBADF);
    SIM_CHECK_EQUAL(handle_close(&way.server, dropped), 0);
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), 0);
    SIM_CHECK(note.word == 77 && note.badge == 8);
    SIM_CHECK_EQUAL(receive_message(&way.server, way.receive, 0, &note), 0);
    SIM_CHECK(note.word == PORT_NOTICE_SEND_ONCE_DROPPED && note.badge == 9);
    SIM_CHECK_EQUAL(port_make_send_once(&way.server, way.receive, 8, &once), 0);
    one_way_end(&way);
}

/* --- a crowd ------------------------------------------------------------------------------------------- */

#define CROWD 100000u
#define CALLER_BYTES_MAX 1024u

struct crowd {
    struct one_way way;
    struct atomic32 called, answered;
};

static void crowd_answered(void *argument)
{
    struct crowd *crowd = argument;
    struct port_thread *self = port_thread_self();
    SIM_CHECK_EQUAL(port_msg_resume(self), 0);
    SIM_CHECK_EQUAL(port_message_of(self)->words[0], 7);
    port_message_done(self);
    atomic32_add(&crowd->answered, 1);
}

static void crowd_call(void *argument)
{
    struct crowd *crowd = argument;
    struct port_thread *self = port_thread_self();
    SIM_CHECK_EQUAL(message_fill(self, &(struct outgoing){.word = atomic32_add(&crowd->called, 1)}), 0);
    struct port_request call = {.flags = PORT_SEND | PORT_CALL | PORT_PARKS, .to = crowd->way.send, .table = &crowd->way.client};
    SIM_CHECK_EQUAL(port_msg_begin(self, &call), PORT_WAITS);
    port_msg_park(self, crowd_answered, crowd);
}

static void crowd_start(struct crowd *crowd)
{
    for (uint32_t i = 0; i < CROWD; i++) {
        struct thread *thread = thread_create("crowd", NULL, crowd_call, crowd);
        thread_start(thread);
        object_unref(thread);
        while (atomic32_load(&crowd->called) < i) { /* so that few have a stack at a time */
            thread_yield();
            body_relax(0);
        }
    }
    sim_settle();
}

SIM_TEST(a_hundred_thousand_blocked_callers_cost_records, .schedules = 1, .cpus = 1, .points = 400000000)
{
    struct crowd crowd = {.called = ATOMIC_INIT(0)};
    one_way_init(&crowd.way, 0);
    uint64_t before = sim_allocated_bytes();
    crowd_start(&crowd);
    uint64_t messages;
    SIM_CHECK_EQUAL(port_count(&crowd.way.server, crowd.way.receive, &messages, NULL), 0);
    SIM_CHECK_EQUAL(messages, CROWD);
    SIM_CHECK((sim_allocated_bytes() - before) / CROWD <= CALLER_BYTES_MAX);
    for (uint32_t i = 0; i < CROWD; i++) {
        struct note note;
        SIM_CHECK_EQUAL(receive_message(&crowd.way.server, crowd.way.receive, 0, &note), 0);
        SIM_CHECK_EQUAL(note.word, i);
        SIM_CHECK_EQUAL(reply_word(&crowd.way.server, note.reply, 7), 0);
    }
    sim_settle();
    SIM_CHECK_EQUAL(atomic32_load(&crowd.answered), CROWD);
    one_way_end(&crowd.way);
}
