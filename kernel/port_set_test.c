/*
 * Port sets, revocation of badges, and notifications.
 */
#include "body/sim/port_testing.h"

/* --- sets ---------------------------------------------------------------------------------------------- */

#define PORTS 3

struct group {
    struct handle_table server, client;
    handle_t set;
    handle_t receive[PORTS], send[PORTS];
    struct atomic32 next;
};

static void group_init(struct group *group, uint32_t queue_limit)
{
    *group = (struct group){.set = HANDLE_NONE};
    handle_table_init(&group->server, 100);
    handle_table_init(&group->client, 100);
    sim_calm_begin();
    SIM_CHECK_EQUAL(port_set_create(&group->server, &group->set), 0);
    sim_calm_end();
    for (uint32_t i = 0; i < PORTS; i++) {
        group->receive[i] = port_of(&group->server, queue_limit);
        group->send[i] = send_right(&group->server, group->receive[i], i, &group->client);
    }
}

static void group_end(struct group *group)
{
    handle_table_destroy(&group->client);
    handle_table_destroy(&group->server);
}

static void add_all(struct group *group)
{
    for (uint32_t i = 0; i < PORTS; i++)
        SIM_CHECK_EQUAL(port_set_add(&group->server, group->set, group->receive[i]), 0);
}

static void send_three(void *argument)
{
    struct group *group = argument;
    uint32_t port = atomic32_add(&group->next, 1);
    for (uint32_t i = 0; i < 3; i++)
        SIM_CHECK_EQUAL(send_word(&group->client, group->send[port], i), 0);
}

SIM_TEST(a_set_receives_from_all_its_ports, .schedules = 10000)
{
    struct group group;
    struct sim_thread *senders[PORTS];
    uint32_t seen[PORTS] = {0};
    group_init(&group, sim_random(3));
    bool early = sim_chance(2);
    if (early)
        add_all(&group);
    for (uint32_t i = 0; i < PORTS; i++)
        senders[i] = sim_spawn(send_three, &group);
    if (!early)
        add_all(&group);
    for (uint32_t i = 0; i < PORTS * 3; i++) {
        struct note note;
        SIM_CHECK_EQUAL(receive_message(&group.server, group.set, 0, &note), 0);
        SIM_CHECK_EQUAL(note.word, seen[note.badge]);
        seen[note.badge]++;
    }
    for (uint32_t i = 0; i < PORTS; i++)
        sim_join(senders[i]);
    SIM_CHECK_EQUAL(receive_message(&group.server, group.set, PORT_RECEIVE_NONBLOCK, NULL), -EAGAIN);
    group_end(&group);
}

SIM_TEST(ports_of_a_set_take_turns, .schedules = 300)
{
    struct group group;
    group_init(&group, 10);
    add_all(&group);
    for (uint32_t n = 0; n < 4; n++)
        for (uint32_t i = 0; i < PORTS; i++)
            SIM_CHECK_EQUAL(send_word(&group.client, group.send[i], n), 0);
    uint32_t seen[PORTS] = {0};
    for (uint32_t n = 1; n <= PORTS * 4; n++) {
        struct note note;
        SIM_CHECK_EQUAL(receive_message(&group.server, group.set, 0, &note), 0);
        seen[note.badge]++;
        for (uint32_t i = 0; i < PORTS; i++)
            SIM_CHECK(seen[i] <= (n + PORTS - 1) / PORTS);
    }
    group_end(&group);
}

static void receive_three(void *argument)
{
    struct group *group = argument;
    for (uint32_t i = 0; i < 3; i++)
        SIM_CHECK_EQUAL(receive_message(&group->server, group->set, 0, NULL), 0);
}

/* Ports come and go while others wait; each message is received by one of three. */
SIM_TEST(ports_join_and_leave_a_set_that_is_in_use, .schedules = 8000)
{
    struct group group;
    struct sim_thread *senders[PORTS], *receivers[PORTS];
    group_init(&group, sim_random(2));
    for (uint32_t i = 0; i < PORTS; i++) {
        receivers[i] = sim_spawn(receive_three, &group);
        senders[i] = sim_spawn(send_three, &group);
    }
    for (uint32_t i = 0; i < 6; i++) {
        handle_t receive = group.receive[sim_random(PORTS)];
        int error = sim_chance(2) ? port_set_add(&group.server, group.set, receive) : port_set_remove(&group.server, group.set, receive);
        SIM_CHECK(error == 0 || error == -EBUSY || error == -ENOENT);
        sim_point();
    }
    for (uint32_t i = 0; i < PORTS; i++) {
        int error = port_set_add(&group.server, group.set, group.receive[i]);
        SIM_CHECK(error == 0 || error == -EBUSY);
    }
    for (uint32_t i = 0; i < PORTS; i++) {
        sim_join(senders[i]);
        sim_join(receivers[i]);
    }
    group_end(&group);
}

static void receive_until_closed(void *argument)
{
    struct group *group = argument;
    int error;
    while ((error = receive_message(&group->server, group->set, 0, NULL)) == 0)
        ;
    SIM_CHECK(error == -EPIPE || error == -EBADF);
}

SIM_TEST(a_closed_set_lets_its_receivers_and_ports_go, .schedules = 5000)
{
    struct group group;
    group_init(&group, 3);
    add_all(&group);
    struct sim_thread *receivers[2] = {sim_spawn(receive_until_closed, &group), sim_spawn(receive_until_closed, &group)};
    SIM_CHECK_EQUAL(send_word(&group.client, group.send[0], 1), 0);
    SIM_CHECK_EQUAL(handle_close(&group.server, group.set), 0);
    sim_join(receivers[0]);
    sim_join(receivers[1]);
    handle_t set;
    SIM_CHECK_EQUAL(port_set_create(&group.server, &set), 0);
    group.set = set;
    add_all(&group);
    SIM_CHECK_EQUAL(port_set_add(&group.server, set, group.receive[0]), -EBUSY);
    SIM_CHECK_EQUAL(handle_close(&group.server, group.receive[0]), 0);
    SIM_CHECK_EQUAL(port_set_remove(&group.server, set, group.receive[0]), -EBADF);
    group_end(&group);
}

/* --- revocation ---------------------------------------------------------------------------------------- */

static void send_until_revoked(void *argument)
{
    struct group *group = argument;
    int error;
    struct note note;
    struct outgoing outgoing = {.handle = token_make(&group->client)};
    while ((error = send_message(&group->client, group->send[0], &outgoing, 0, &note)) == 0)
        outgoing.handle = token_make(&group->client);
    SIM_CHECK_EQUAL(error, -EKEYREVOKED);
    SIM_CHECK(!note.sent && names_token(&group->client, outgoing.handle));
}

SIM_TEST(a_revoked_badge_sends_no_more, .schedules = 6000)
{
    struct group group;
    struct note note;
    handle_t again;
    group_init(&group, sim_random(3));
    struct sim_thread *senders[2] = {sim_spawn(send_until_revoked, &group), sim_spawn(send_until_revoked, &group)};
    for (uint32_t i = sim_random(4); i > 0; i--)
        SIM_CHECK_EQUAL(receive_message(&group.server, group.receive[0], 0, &note), 0);
    handle_t other = send_right(&group.server, group.receive[0], 55, &group.client);
    SIM_CHECK_EQUAL(port_revoke(&group.server, group.receive[0], 0), 1);
    SIM_CHECK_EQUAL(receive_message(&group.server, group.receive[0], PORT_RECEIVE_NONBLOCK, &note), -EAGAIN);
    sim_join(senders[0]);
    sim_join(senders[1]);
    SIM_CHECK_EQUAL(port_make_send(&group.server, group.receive[0], 0, 0, &again), -EBUSY);
    SIM_CHECK_EQUAL(port_revoke(&group.server, group.receive[0], 0), 1);
    SIM_CHECK_EQUAL(handle_close(&group.client, group.send[0]), 0);
    SIM_CHECK_EQUAL(port_revoke(&group.server, group.receive[0], 0), 0);
    SIM_CHECK_EQUAL(port_make_send(&group.server, group.receive[0], 0, 0, &again), 0);
    SIM_CHECK_EQUAL(send_message(&group.client, other, &(struct outgoing){.word = 1}, PORT_SEND_NONBLOCK, NULL) == -EAGAIN ||
                        receive_message(&group.server, group.receive[0], 0, NULL) == 0,
                    true);
    group_end(&group);
}

#define LONG_QUEUE 100u

struct drain {
    struct group *group;
    struct atomic32 revoked;
    uint64_t kept; /* words of the badge that stays, in order */
};

/* Takes messages while the queue is walked, and all that is left afterwards. */
static void drain(void *argument)
{
    struct drain *drain = argument;
    struct note note;
    for (;;) {
        bool revoked = atomic32_load(&drain->revoked);
        int error = receive_message(&drain->group->server, drain->group->receive[0], PORT_RECEIVE_NONBLOCK, &note);
        if (error == -EAGAIN && revoked)
            return;
        if (error == -EAGAIN) {
            thread_yield();
            continue;
        }
        SIM_CHECK_EQUAL(error, 0);
        SIM_CHECK(note.badge == 55 || !revoked);
        if (note.badge == 55)
            SIM_CHECK_EQUAL(note.word, drain->kept++);
    }
}

static void send_on(void *argument)
{
    struct group *group = argument;
    int error;
    while ((error = send_word(&group->client, group->send[0], 0)) == 0)
        ;
    SIM_CHECK_EQUAL(error, -EKEYREVOKED);
}

/* Longer than what is looked at under one hold of the lock; one sender is blocked, and gets into the queue when there is room. */
SIM_TEST(a_long_queue_is_revoked_while_it_is_drained, .schedules = 3000)
{
    struct group group;
    struct sim_thread *threads[2];
    group_init(&group, LONG_QUEUE);
    handle_t other = send_right(&group.server, group.receive[0], 55, &group.client);
    struct drain state = {.group = &group, .revoked = ATOMIC_INIT(0)};
    for (uint64_t i = 0; i < LONG_QUEUE / 2; i++) {
        SIM_CHECK_EQUAL(send_word(&group.client, group.send[0], i), 0);
        SIM_CHECK_EQUAL(send_word(&group.client, other, i), 0);
    }
    threads[0] = sim_spawn(send_on, &group);
    threads[1] = sim_spawn(drain, &state);
    SIM_CHECK_EQUAL(port_revoke(&group.server, group.receive[0], 0), 1);
    atomic32_store(&state.revoked, 1);
    sim_join(threads[0]);
    sim_join(threads[1]);
    SIM_CHECK_EQUAL(state.kept, LONG_QUEUE / 2);
    group_end(&group);
}

/* --- notifications ------------------------------------------------------------------------------------- */

/* Port 1 tells of port 0, through badge 1. */
static void expect_notice(struct group *group, uint64_t kind, uint64_t cookie)
{
    struct note note;
    struct port_thread *self = self_made();
    SIM_CHECK_EQUAL(message_fill(self, &(struct outgoing){.word = 0}), 0);
    struct port_request receive = {.flags = PORT_RECEIVE, .from = group->receive[1], .table = &group->server};
    SIM_CHECK_EQUAL(port_msg(self, &receive), 0);
    note_take(self, &note);
    SIM_CHECK(note.word == kind && port_message_of(self)->words[1] == cookie && note.badge == 1);
    port_message_done(self);
}

static void expect_none(struct group *group)
{
    SIM_CHECK_EQUAL(receive_message(&group->server, group->receive[1], PORT_RECEIVE_NONBLOCK, NULL), -EAGAIN);
}

static void close_send(void *argument)
{
    struct group *group = argument;
    SIM_CHECK_EQUAL(handle_close(&group->client, group->send[0]), 0);
}

SIM_TEST(no_senders_is_told_once, .schedules = 4000)
{
    struct group group;
    handle_t extra;
    group_init(&group, 0);
    handle_t target = send_right(&group.server, group.receive[1], 1, &group.server);
    SIM_CHECK_EQUAL(handle_copy(&group.client, group.send[0], UINT32_MAX, &extra), 0);
    struct sim_thread *closer = sim_spawn(close_send, &group);
    SIM_CHECK_EQUAL(port_notify(&group.server, group.receive[0], PORT_NOTICE_NO_SENDERS, 0, target, 5), 0);
    SIM_CHECK_EQUAL(port_notify(&group.server, group.receive[0], PORT_NOTICE_NO_SENDERS, 0, target, 5), 0);
    expect_none(&group);
    SIM_CHECK_EQUAL(handle_close(&group.client, extra), 0);
    expect_notice(&group, PORT_NOTICE_NO_SENDERS, 5);
    sim_join(closer);
    expect_none(&group);
    SIM_CHECK_EQUAL(port_notify(&group.server, group.receive[0], PORT_NOTICE_NO_SENDERS, 0, target, 6), 0);
    expect_notice(&group, PORT_NOTICE_NO_SENDERS, 6);
    group_end(&group);
}

SIM_TEST(the_end_of_a_badge_is_told, .schedules = 2000)
{
    struct group group;
    group_init(&group, 0);
    handle_t target = send_right(&group.server, group.receive[1], 1, &group.server);
    handle_t other = send_right(&group.server, group.receive[0], 70, &group.client);
    SIM_CHECK_EQUAL(port_notify(&group.server, group.receive[0], PORT_NOTICE_BADGE_GONE, 0, target, 5), 0);
    SIM_CHECK_EQUAL(handle_close(&group.client, other), 0);
    expect_none(&group);
    SIM_CHECK_EQUAL(port_notify_cancel(&group.server, group.receive[0], PORT_NOTICE_BADGE_GONE, 0, target, 4), -ENOENT);
    SIM_CHECK_EQUAL(port_notify_cancel(&group.server, group.receive[0], PORT_NOTICE_BADGE_GONE, 0, target, 5), 0);
    SIM_CHECK_EQUAL(port_notify(&group.server, group.receive[0], PORT_NOTICE_BADGE_GONE, 0, target, 6), 0);
    SIM_CHECK_EQUAL(handle_close(&group.client, group.send[0]), 0);
    expect_notice(&group, PORT_NOTICE_BADGE_GONE, 6);
    expect_none(&group);
    group_end(&group);
}

static void close_port_zero(void *argument)
{
    struct group *group = argument;
    SIM_CHECK_EQUAL(handle_close(&group->server, group->receive[0]), 0);
}

SIM_TEST(a_dead_name_is_told_before_and_after, .schedules = 4000)
{
    struct group group;
    group_init(&group, 0);
    handle_t target = send_right(&group.server, group.receive[1], 1, &group.client);
    struct sim_thread *closer = sim_spawn(close_port_zero, &group);
    SIM_CHECK_EQUAL(port_notify(&group.client, group.send[0], PORT_NOTICE_DEAD_NAME, 0, target, 3), 0);
    expect_notice(&group, PORT_NOTICE_DEAD_NAME, 3);
    sim_join(closer);
    SIM_CHECK_EQUAL(send_word(&group.client, group.send[0], 1), -EPIPE);
    expect_none(&group);
    group_end(&group);
}

SIM_TEST(what_is_asked_of_notifications_is_checked, .schedules = 300, .fail_allocations = true)
{
    struct group group;
    group_init(&group, 0);
    handle_t target = send_right(&group.server, group.receive[1], 1, &group.server);
    SIM_CHECK_EQUAL(port_notify(&group.server, group.receive[0], PORT_NOTICE_DEAD_NAME, 0, target, 3), -EACCES);
    SIM_CHECK_EQUAL(port_notify(&group.server, group.receive[0], PORT_NOTICE_NO_SENDERS, 0, group.receive[1], 3), -EACCES);
    SIM_CHECK_EQUAL(port_notify(&group.server, group.receive[0], (enum port_notice)9, 0, target, 3), -EINVAL);
    int error = port_notify(&group.server, group.receive[0], PORT_NOTICE_NO_SENDERS, 0, target, 3);
    SIM_CHECK(error == 0 || error == -ENOMEM);
    group_end(&group);
}
