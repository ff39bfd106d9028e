/*
 * Event channels against a simulated socket with little room, and peers that read, read twice, do not read, and go.
 *
 * What is checked each time: one notification at a time, an answer before what comes after it, no event lost, and everything
 * released when the peer goes.
 */
#include "kernel/kqchan.h"

#include "body/sim/port_testing.h"
#include "kernel/task.h"

/* --- a socket ------------------------------------------------------------------------------------------ */

#define ROOM_MAX 3u
#define SOCKETS_MAX 64u

struct peer;

struct socket {
    struct kqchan_link link;
    struct peer *peer;
    struct kqchan *channel;
    struct kqchan_message queue[ROOM_MAX];
    struct socket *children[ROOM_MAX];
    uint32_t count;
    uint32_t room;
    bool wants_room;
    bool taken;      /* the peer has its end */
    bool closed;     /* by the kernel */
    bool notified;
    uint64_t reads, answers, notifications;
};

/* A process with an event loop over all its sockets. */
struct peer {
    struct spinlock lock; /* guards the sockets' queues */
    struct waitq news;
    struct socket *sockets[SOCKETS_MAX];
    uint32_t socket_count; /* those it has an end of */
    uint32_t room;
    bool refuses_children;
    bool reads_twice;
    bool gone;
    struct atomic32 losing;
};

static const struct kqchan_link_operations operations;

static void peer_init(struct peer *peer, uint32_t room)
{
    *peer = (struct peer){.room = room, .reads_twice = sim_chance(2)};
    spinlock_init(&peer->lock, RANK_BODY);
    waitq_init(&peer->news);
}

static struct socket *socket_make(struct peer *peer)
{
    struct socket *socket = kzalloc(sizeof(*socket));
    if (!socket)
        return NULL;
    socket->link.operations = &operations;
    socket->peer = peer;
    socket->room = peer->room;
    return socket;
}

static struct socket *socket_of(struct kqchan_link *link) { return CONTAINER_OF(link, struct socket, link); }

static int socket_put_locked(struct socket *socket, const struct kqchan_message *message, struct kqchan_link *child)
{
    if (socket->peer->gone)
        return -EPIPE;
    if (socket->count == socket->room) {
        socket->wants_room = true;
        return -EAGAIN;
    }
    socket->queue[socket->count] = *message;
    socket->children[socket->count++] = child ? socket_of(child) : NULL;
    return 0;
}

/* The peer's end of a child's channel that the peer will never see. */
struct lost {
    struct async_work work;
    struct socket *child;
};

static void child_lost(struct async_work *work)
{
    struct lost *lost = CONTAINER_OF(work, struct lost, work);
    struct peer *peer = lost->child->peer;
    kqchan_hung_up(lost->child->channel);
    kfree(lost);
    atomic32_sub(&peer->losing, 1);
}

/* The caller may hold a channel's mutex. */
static void child_lose(struct kqchan_link *child)
{
    sim_calm_begin();
    struct lost *lost = kzalloc(sizeof(*lost));
    sim_calm_end();
    lost->child = socket_of(child);
    atomic32_add(&lost->child->peer->losing, 1);
    async_work_init(&lost->work, child_lost);
    kernel_async(&lost->work);
}

static int socket_send(struct kqchan_link *link, const struct kqchan_message *message, struct kqchan_link *child)
{
    struct peer *peer = socket_of(link)->peer;
    spin_lock(&peer->lock);
    int error = socket_put_locked(socket_of(link), message, child);
    spin_unlock(&peer->lock);
    if (!error)
        waitq_wake_all(&peer->news);
    if (error == -EPIPE && child)
        child_lose(child);
    return error;
}

static int socket_pair(struct kqchan_link *link, struct kqchan *child, struct kqchan_link **made)
{
    struct peer *peer = socket_of(link)->peer;
    struct socket *socket = peer->refuses_children && sim_chance(2) ? NULL : socket_make(peer);
    if (!socket)
        return -ENOMEM;
    socket->channel = child;
    *made = &socket->link;
    return 0;
}

static void socket_close(struct kqchan_link *link) { kfree(socket_of(link)); }

static const struct kqchan_link_operations operations = {
    .send = socket_send,
    .pair = socket_pair,
    .abandon = child_lose,
    .close = socket_close,
};

/* --- the peer ------------------------------------------------------------------------------------------ */

static void peer_adopt(struct peer *peer, struct socket *socket)
{
    SIM_CHECK(peer->socket_count < SOCKETS_MAX);
    socket->taken = true;
    peer->sockets[peer->socket_count++] = socket;
}

/* The oldest message of a socket. */
static bool peer_take(struct socket *socket, struct kqchan_message *message)
{
    struct peer *peer = socket->peer;
    struct socket *child = NULL;
    spin_lock(&peer->lock);
    bool some = socket->count > 0, room = some && socket->wants_room;
    if (some) {
        *message = socket->queue[0];
        child = socket->children[0];
        socket->count--;
        socket->wants_room = false;
        for (uint32_t i = 0; i < socket->count; i++) {
            socket->queue[i] = socket->queue[i + 1];
            socket->children[i] = socket->children[i + 1];
        }
    }
    spin_unlock(&peer->lock);
    if (!some)
        return false;
    SIM_CHECK_EQUAL(child != NULL, (message->flags & KQCHAN_CHILD) != 0);
    if (child)
        peer_adopt(peer, child);
    if (room)
        kqchan_writable(socket->channel);
    return true;
}

/* What the protocol promises, message by message. True: it is an event. */
static bool peer_check(struct socket *socket, const struct kqchan_message *message)
{
    if (message->kind == KQCHAN_NOTIFY) {
        SIM_CHECK(++socket->notifications <= socket->reads + 1);
        if (!socket->peer->reads_twice) { /* else it may have crossed the second READ */
            SIM_CHECK(!socket->notified);
            SIM_CHECK_EQUAL(socket->answers, socket->reads); /* an answer comes before what happened meanwhile */
        }
        socket->notified = true;
        return false;
    }
    if (message->kind == KQCHAN_MODIFIED)
        return false;
    SIM_CHECK_EQUAL(message->kind, KQCHAN_EVENT);
    SIM_CHECK_EQUAL(message->serial, ++socket->answers);
    return !(message->flags & KQCHAN_DROP);
}

typedef void event_function(void *argument, struct socket *socket, const struct kevent *event);

static bool peer_serve(struct socket *socket, event_function *function, void *argument)
{
    struct kqchan_message message;
    if (!peer_take(socket, &message))
        return false;
    if (peer_check(socket, &message))
        function(argument, socket, &message.event);
    return true;
}

static void peer_request(struct socket *socket, const struct kqchan_message *request, event_function *function, void *argument)
{
    int error;
    while ((error = kqchan_received(socket->channel, request)) == -EAGAIN)
        SIM_CHECK(peer_serve(socket, function, argument));
    SIM_CHECK_EQUAL(error, 0);
}

/* Reads what a notification promised; sometimes twice. */
static void peer_read(struct socket *socket, event_function *function, void *argument)
{
    for (uint32_t i = socket->peer->reads_twice && sim_chance(3) ? 2 : 1; i > 0; i--) {
        struct kqchan_message request = {.kind = KQCHAN_READ, .serial = ++socket->reads};
        socket->notified = false;
        peer_request(socket, &request, function, argument);
        while (socket->answers < socket->reads)
            SIM_CHECK(peer_serve(socket, function, argument));
    }
}

/* One turn over all sockets. False: nothing had come. */
static bool peer_turn(struct peer *peer, event_function *function, void *argument)
{
    bool some = false;
    for (uint32_t i = 0; i < peer->socket_count; i++) {
        struct socket *socket = peer->sockets[i];
        while (peer_serve(socket, function, argument))
            some = true;
        if (socket->notified) {
            peer_read(socket, function, argument);
            some = true;
        }
    }
    return some;
}

static bool peer_news_locked(struct peer *peer)
{
    for (uint32_t i = 0; i < peer->socket_count; i++)
        if (peer->sockets[i]->count > 0)
            return true;
    return false;
}

static void peer_wait(struct peer *peer)
{
    struct waiter waiter;
    waiter_init(&waiter);
    spin_lock(&peer->news.lock);
    waitq_enqueue_locked(&peer->news, &waiter);
    spin_unlock(&peer->news.lock);
    spin_lock(&peer->lock);
    bool news = peer_news_locked(peer);
    spin_unlock(&peer->lock);
    if (news)
        waiter_abandon(&waiter);
    else
        waiter_wait(&waiter, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
}

/* All its ends are closed: those it has, and those in messages it has not read. */
static void peer_go(struct peer *peer)
{
    struct kqchan *channels[SOCKETS_MAX];
    uint32_t count = 0;
    spin_lock(&peer->lock);
    peer->gone = true;
    for (uint32_t i = 0; i < peer->socket_count; i++) {
        struct socket *socket = peer->sockets[i];
        channels[count++] = socket->channel;
        for (uint32_t j = 0; j < socket->count; j++)
            if (socket->children[j] && peer->socket_count < SOCKETS_MAX)
                peer->sockets[peer->socket_count++] = socket->children[j];
    }
    spin_unlock(&peer->lock);
    for (uint32_t i = 0; i < count; i++)
        kqchan_hung_up(channels[i]);
    while (atomic32_load(&peer->losing) > 0) {
        thread_yield();
        body_relax(0);
    }
    waitq_quiesce(&peer->news);
}

/* --- one task ------------------------------------------------------------------------------------------ */

static struct task *task_of(void)
{
    sim_calm_begin();
    struct task *task = task_create(NULL);
    sim_calm_end();
    return task;
}

static void post(struct task *task, enum task_event_kind kind, int64_t data)
{
    task_post(task, &(struct task_event){.kind = kind, .data = data});
}

static struct socket *watch_task(struct peer *peer, struct task *task, uint32_t fflags)
{
    sim_calm_begin();
    struct socket *socket = socket_make(peer);
    peer_adopt(peer, socket);
    SIM_CHECK_EQUAL(kqchan_open_task(task, 100, fflags, 77, &socket->link, &socket->channel), 0);
    sim_calm_end();
    return socket;
}

static void live_alone(void *argument)
{
    struct task *task = argument;
    post(task, TASK_EXEC, 0);
    post(task, TASK_SIGNAL, 9);
    post(task, TASK_SIGNAL, 10);
    post(task, TASK_EXIT, 3);
    object_unref(task);
}

static void note_fflags(void *argument, struct socket *socket, const struct kevent *event)
{
    uint32_t *seen = argument;
    (void)socket;
    SIM_CHECK(event->ident == 100 && event->filter == EVFILT_PROC && event->udata == 77);
    SIM_CHECK(!(event->fflags & NOTE_EXIT) || event->data == 3);
    *seen |= event->fflags;
}

SIM_TEST(nothing_of_a_tasks_life_is_lost, .schedules = 12000)
{
    struct peer peer;
    struct task *task = task_of();
    uint32_t seen = 0;
    peer_init(&peer, 1 + sim_random(ROOM_MAX));
    watch_task(&peer, task, NOTE_EXEC | NOTE_SIGNAL | NOTE_EXIT);
    struct sim_thread *thread = sim_spawn(live_alone, object_ref(task));
    while (!(seen & NOTE_EXIT))
        if (!peer_turn(&peer, note_fflags, &seen))
            peer_wait(&peer);
    SIM_CHECK_EQUAL(seen, NOTE_EXEC | NOTE_SIGNAL | NOTE_EXIT);
    sim_join(thread);
    sim_settle();
    peer_turn(&peer, note_fflags, &seen);
    peer_go(&peer);
    object_unref(task);
}

static void exit_only(void *argument)
{
    post(argument, TASK_EXIT, 3);
    object_unref(argument);
}

static void count_exits(void *argument, struct socket *socket, const struct kevent *event)
{
    (void)socket;
    SIM_CHECK_EQUAL(event->fflags, NOTE_EXIT);
    ++*(uint32_t *)argument;
}

SIM_TEST(an_exit_is_told_once_however_late_the_channel_comes, .schedules = 8000)
{
    struct peer peer;
    struct task *task = task_of();
    uint32_t exits = 0;
    peer_init(&peer, 1 + sim_random(ROOM_MAX));
    struct sim_thread *thread = sim_spawn(exit_only, object_ref(task));
    watch_task(&peer, task, NOTE_EXIT);
    while (exits == 0)
        if (!peer_turn(&peer, count_exits, &exits))
            peer_wait(&peer);
    sim_join(thread);
    do
        sim_settle();
    while (peer_turn(&peer, count_exits, &exits));
    SIM_CHECK_EQUAL(exits, 1);
    peer_go(&peer);
    object_unref(task);
}

SIM_TEST(one_notification_is_out_until_it_is_read, .schedules = 2000)
{
    struct peer peer;
    struct task *task = task_of();
    struct kqchan_message message;
    peer_init(&peer, ROOM_MAX);
    struct socket *socket = watch_task(&peer, task, NOTE_EXEC | NOTE_SIGNAL);
    for (int i = 0; i < 5; i++) {
        post(task, i % 2 ? TASK_EXEC : TASK_SIGNAL, 1);
        if (sim_chance(2))
            sim_settle();
    }
    sim_settle();
    SIM_CHECK_EQUAL(socket->count, 1);
    SIM_CHECK(peer_take(socket, &message) && message.kind == KQCHAN_NOTIFY);
    struct kqchan_message read = {.kind = KQCHAN_READ, .serial = 5};
    SIM_CHECK_EQUAL(kqchan_received(socket->channel, &read), 0);
    read.serial = 6;
    SIM_CHECK_EQUAL(kqchan_received(socket->channel, &read), 0);
    SIM_CHECK(peer_take(socket, &message) && message.kind == KQCHAN_EVENT && message.serial == 5);
    SIM_CHECK_EQUAL(message.event.fflags, NOTE_EXEC | NOTE_SIGNAL);
    SIM_CHECK(peer_take(socket, &message) && message.kind == KQCHAN_EVENT && message.serial == 6 && message.flags == KQCHAN_DROP);
    SIM_CHECK(!peer_take(socket, &message));
    SIM_CHECK_EQUAL(kqchan_received(socket->channel, &(struct kqchan_message){.kind = KQCHAN_EVENT}), -EINVAL);
    peer_go(&peer);
    object_unref(task);
}

SIM_TEST(a_modification_drops_what_is_no_longer_asked_for, .schedules = 2000)
{
    struct peer peer;
    struct task *task = task_of();
    struct kqchan_message message;
    peer_init(&peer, ROOM_MAX);
    struct socket *socket = watch_task(&peer, task, NOTE_EXEC | NOTE_SIGNAL);
    post(task, TASK_EXEC, 0);
    sim_settle();
    struct kqchan_message modify = {.kind = KQCHAN_MODIFY, .serial = 1, .event = {.fflags = 0x100}};
    SIM_CHECK_EQUAL(kqchan_received(socket->channel, &modify), 0);
    modify.event = (struct kevent){.fflags = NOTE_SIGNAL, .udata = 5};
    SIM_CHECK_EQUAL(kqchan_received(socket->channel, &modify), 0);
    SIM_CHECK(peer_take(socket, &message) && message.kind == KQCHAN_NOTIFY);
    SIM_CHECK(peer_take(socket, &message) && message.kind == KQCHAN_MODIFIED && message.error == -EINVAL);
    SIM_CHECK(peer_take(socket, &message) && message.kind == KQCHAN_MODIFIED && message.error == 0);
    struct kqchan_message read = {.kind = KQCHAN_READ, .serial = 2};
    SIM_CHECK_EQUAL(kqchan_received(socket->channel, &read), 0);
    SIM_CHECK(peer_take(socket, &message) && message.flags == KQCHAN_DROP);
    post(task, TASK_SIGNAL, 4);
    sim_settle();
    SIM_CHECK(peer_take(socket, &message) && message.kind == KQCHAN_NOTIFY);
    SIM_CHECK_EQUAL(kqchan_received(socket->channel, &read), 0);
    SIM_CHECK(peer_take(socket, &message) && message.event.fflags == NOTE_SIGNAL && message.event.udata == 5);
    peer_go(&peer);
    object_unref(task);
}

/* --- a family ------------------------------------------------------------------------------------------ */

#define FAMILY 7u /* a root that forks twice, and so do its children */

struct family {
    struct peer peer;
    struct atomic32 next;
};

struct member {
    struct family *family;
    struct task *task;
    uint64_t ident;
    uint32_t depth;
};

static void live(void *argument);

static struct sim_thread *bear(struct member *parent)
{
    sim_calm_begin();
    struct member *member = kzalloc(sizeof(*member));
    *member = (struct member){.family = parent->family,
                              .task = task_of(),
                              .ident = atomic32_add(&parent->family->next, 1),
                              .depth = parent->depth - 1};
    sim_calm_end();
    task_post(parent->task, &(struct task_event){.kind = TASK_FORK, .child = member->task, .child_ident = member->ident});
    return sim_spawn(live, member);
}

static void live(void *argument)
{
    struct member *member = argument;
    struct sim_thread *children[2];
    for (uint32_t i = 0; i < 2 && member->depth > 0; i++)
        children[i] = bear(member);
    post(member->task, TASK_EXIT, (int64_t)member->ident);
    for (uint32_t i = 0; i < 2 && member->depth > 0; i++)
        sim_join(children[i]);
    object_unref(member->task);
    kfree(member);
}

static struct sim_thread *family_start(struct family *family, uint32_t room)
{
    peer_init(&family->peer, room);
    family->next = (struct atomic32)ATOMIC_INIT(101);
    sim_calm_begin();
    struct member *member = kzalloc(sizeof(*member));
    *member = (struct member){.family = family, .task = task_of(), .ident = 100, .depth = 2};
    watch_task(&family->peer, member->task, NOTE_TRACK | NOTE_EXIT | NOTE_FORK);
    sim_calm_end();
    return sim_spawn(live, member);
}

struct census {
    uint32_t born, ended, errors;
};

static void census_take(void *argument, struct socket *socket, const struct kevent *event)
{
    struct census *census = argument;
    (void)socket;
    SIM_CHECK(event->filter == EVFILT_PROC && event->udata == 77);
    census->errors += (event->fflags & NOTE_TRACKERR) != 0;
    if (event->fflags & NOTE_CHILD) {
        census->born++;
        SIM_CHECK(event->data < (int64_t)event->ident);
    } else if (event->fflags & NOTE_EXIT) {
        census->ended++;
        SIM_CHECK_EQUAL(event->data, event->ident);
    }
}

SIM_TEST(a_family_is_followed_through_channels, .schedules = 10000)
{
    struct family family;
    struct census census = {.born = 1};
    struct sim_thread *thread = family_start(&family, 1 + sim_random(ROOM_MAX));
    while (census.ended < FAMILY)
        if (!peer_turn(&family.peer, census_take, &census))
            peer_wait(&family.peer);
    SIM_CHECK(census.born == FAMILY && census.errors == 0 && family.peer.socket_count == FAMILY);
    sim_join(thread);
    peer_go(&family.peer);
}

SIM_TEST(a_family_is_followed_through_channels_without_memory, .schedules = 10000, .fail_allocations = true)
{
    struct family family;
    struct census census = {.born = 1};
    struct sim_thread *thread = family_start(&family, 1 + sim_random(ROOM_MAX));
    family.peer.refuses_children = sim_chance(2);
    for (uint32_t i = sim_random(4); i > 0; i--)
        peer_turn(&family.peer, census_take, &census);
    sim_join(thread);
    do
        sim_settle();
    while (peer_turn(&family.peer, census_take, &census));
    SIM_CHECK(census.errors || census.born == FAMILY);
    SIM_CHECK_EQUAL(census.born, census.ended);
    SIM_CHECK_EQUAL(family.peer.socket_count, census.born);
    peer_go(&family.peer);
}

SIM_TEST(a_peer_that_goes_releases_everything, .schedules = 12000)
{
    struct family family;
    struct census census = {.born = 1};
    struct sim_thread *thread = family_start(&family, 1 + sim_random(ROOM_MAX));
    for (uint32_t i = sim_random(6); i > 0; i--) {
        peer_turn(&family.peer, census_take, &census);
        sim_point();
    }
    struct kqchan_message read = {.kind = KQCHAN_READ}; /* whose answer, with a child perhaps, finds no room or no reader */
    for (uint32_t i = sim_random(3); i > 0; i--)
        kqchan_received(family.peer.sockets[0]->channel, &read);
    peer_go(&family.peer);
    sim_join(thread);
}

/* Two hundred forks that nobody reads: so many are kept, the others are one TRACKERR, and memory stays where it was. */
SIM_TEST(a_peer_that_never_reads_is_bounded, .schedules = 100)
{
    struct peer peer;
    struct task *task = task_of();
    struct census census = {.born = 0};
    peer_init(&peer, 1);
    peer.reads_twice = true; /* it reads without having been notified */
    struct socket *socket = watch_task(&peer, task, NOTE_TRACK | NOTE_FORK);
    for (uint32_t i = 0; i < 200; i++) {
        struct task *child = task_of();
        task_post(task, &(struct task_event){.kind = TASK_FORK, .child = child, .child_ident = 200 + i});
        post(child, TASK_EXIT, 1);
        object_unref(child);
    }
    sim_settle();
    SIM_CHECK_EQUAL(socket->count, 1);
    if (sim_chance(2)) {
        peer.refuses_children = true;
        for (uint32_t i = 0; i < KQCHAN_UNTOLD_MAX / 2; i++)
            peer_read(socket, census_take, &census);
        SIM_CHECK(census.born + census.errors >= KQCHAN_UNTOLD_MAX / 2);
    }
    peer_go(&peer);
    object_unref(task);
}

/* --- ports --------------------------------------------------------------------------------------------- */

struct watched {
    struct peer peer;
    struct handle_table table;
    handle_t receive, send;
    uint32_t received;
    bool ended;
};

static void watched_init(struct watched *watched, uint32_t flags)
{
    struct handle_value value;
    *watched = (struct watched){.received = 0};
    peer_init(&watched->peer, 1 + sim_random(ROOM_MAX));
    handle_table_init(&watched->table, 100);
    watched->receive = port_of(&watched->table, 10);
    watched->send = send_right(&watched->table, watched->receive, 1, &watched->table);
    struct socket *socket = socket_make(&watched->peer);
    peer_adopt(&watched->peer, socket);
    SIM_CHECK_EQUAL(handle_get(&watched->table, watched->receive, &port_type, RIGHT_RECEIVE, &value), 0);
    SIM_CHECK_EQUAL(kqchan_open_port(value.object, watched->receive, 0x100, 1, &socket->link, &socket->channel), -EINVAL);
    SIM_CHECK_EQUAL(kqchan_open_port(value.object, watched->receive, flags, 1, &socket->link, &socket->channel), 0);
    object_unref(value.object);
}

static void send_then_close(void *argument)
{
    struct watched *watched = argument;
    for (uint32_t i = 0; i < 4; i++)
        SIM_CHECK_EQUAL(send_word(&watched->table, watched->send, i), 0);
}

/* With EV_CLEAR it takes all there is; else one at a time. */
static void receive_some(void *argument, struct socket *socket, const struct kevent *event)
{
    struct watched *watched = argument;
    (void)socket;
    SIM_CHECK(event->ident == watched->receive && event->filter == EVFILT_PORT);
    watched->ended |= (event->flags & EV_EOF) != 0;
    while (receive_message(&watched->table, watched->receive, PORT_RECEIVE_NONBLOCK, NULL) == 0)
        watched->received++;
}

static void receive_one(void *argument, struct socket *socket, const struct kevent *event)
{
    struct watched *watched = argument;
    (void)socket;
    watched->ended |= (event->flags & EV_EOF) != 0;
    if (receive_message(&watched->table, watched->receive, PORT_RECEIVE_NONBLOCK, NULL) == 0)
        watched->received++;
}

SIM_TEST(no_message_is_missed_by_who_waits_on_a_channel, .schedules = 12000)
{
    struct watched watched;
    bool edge = sim_chance(2);
    watched_init(&watched, edge ? EV_CLEAR : 0);
    struct sim_thread *sender = sim_spawn(send_then_close, &watched);
    while (watched.received < 4)
        if (!peer_turn(&watched.peer, edge ? receive_some : receive_one, &watched))
            peer_wait(&watched.peer);
    sim_join(sender);
    SIM_CHECK_EQUAL(handle_close(&watched.table, watched.receive), 0);
    while (!watched.ended)
        if (!peer_turn(&watched.peer, receive_some, &watched))
            peer_wait(&watched.peer);
    SIM_CHECK_EQUAL(watched.received, 4);
    peer_go(&watched.peer);
    handle_table_destroy(&watched.table);
}
