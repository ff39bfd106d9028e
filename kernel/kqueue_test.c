/*
 * Event queues: each filter, each flag, what a change does to what is pending, and the deaths of everything involved.
 */
#include "kernel/kqueue.h"

#include "body/sim/port_testing.h"
#include "kernel/task.h"

static struct kqueue *queue_of(void)
{
    sim_calm_begin();
    struct kqueue *queue = kqueue_make();
    sim_calm_end();
    SIM_CHECK(queue != NULL);
    return queue;
}

static void queue_end(struct kqueue *queue)
{
    kqueue_close(queue);
    object_unref(queue);
}

static int change(struct kqueue *queue, uint64_t ident, int filter, uint32_t flags, uint32_t fflags, int64_t data)
{
    struct kevent event = {.ident = ident, .filter = (int16_t)filter, .flags = (uint16_t)flags, .fflags = fflags, .data = data, .udata = ident * 10};
    return kqueue_change(queue, &event, NULL);
}

/* The one event there is. */
static struct kevent take_one(struct kqueue *queue)
{
    struct kevent events[2];
    SIM_CHECK_EQUAL(kqueue_collect(queue, events, 2), 1);
    return events[0];
}

static struct kevent wait_one(struct kqueue *queue)
{
    struct kevent event;
    SIM_CHECK_EQUAL(kqueue_wait(queue, &event, 1, DEADLINE_NEVER), 1);
    return event;
}

static void expect_no_event(struct kqueue *queue)
{
    struct kevent event;
    SIM_CHECK_EQUAL(kqueue_collect(queue, &event, 1), 0);
}

/* --- arguments ----------------------------------------------------------------------------------------- */

SIM_TEST(wrong_changes_are_refused, .schedules = 100)
{
    struct kqueue *queue = queue_of();
    struct kevent_source source;
    static const struct { int filter; uint32_t flags, fflags; int64_t data; int error; } wrong[] = {
        {EVFILT_USER, EV_DELETE, 0, 0, -ENOENT},
        {EVFILT_USER, 0, NOTE_TRIGGER, 0, -ENOENT},
        {EVFILT_USER, EV_ADD | 0x100, 0, 0, -EINVAL},
        {EVFILT_USER, EV_ADD | EV_ENABLE | EV_DISABLE, 0, 0, -EINVAL},
        {EVFILT_USER, EV_ADD, 0x02000000, 0, -EINVAL},
        {EVFILT_TIMER, EV_ADD, NOTE_SECONDS | NOTE_USECONDS, 1, -EINVAL},
        {EVFILT_TIMER, EV_ADD, 0, -1, -EINVAL},
        {EVFILT_TIMER, EV_ADD, NOTE_SECONDS, INT64_MAX, -EINVAL},
        {EVFILT_READ, EV_ADD, 0, 0, -EINVAL}, /* of nothing */
        {EVFILT_PROC, EV_ADD, 0x100, 0, -EINVAL},
        {-99, EV_ADD, 0, 0, -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        SIM_CHECK_EQUAL(change(queue, 1, wrong[i].filter, wrong[i].flags, wrong[i].fflags, wrong[i].data), wrong[i].error);
    SIM_CHECK_EQUAL(kevent_source_of((struct object *)queue, EVFILT_PORT, &source), -EINVAL);
    expect_no_event(queue);
    struct kevent asked = {.ident = 3, .filter = EVFILT_USER, .udata = 8};
    struct kevent receipt = kevent_receipt(&asked, -ENOENT);
    SIM_CHECK(receipt.flags == EV_ERROR && receipt.data == ENOENT && receipt.ident == 3 && receipt.udata == 8);
    queue_end(queue);
}

/* --- user events --------------------------------------------------------------------------------------- */

SIM_TEST(a_user_event_is_told_until_it_is_cleared, .schedules = 100)
{
    struct kqueue *queue = queue_of();
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, EV_ADD, NOTE_FFCOPY | 0x5, 0), 0);
    expect_no_event(queue);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, 0, NOTE_TRIGGER | NOTE_FFOR | 0x2, 0), 0);
    struct kevent event = take_one(queue);
    SIM_CHECK(event.fflags == 7 && event.udata == 10 && event.ident == 1);
    take_one(queue);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, EV_ADD | EV_CLEAR, NOTE_FFAND | 0x3, 0), 0);
    SIM_CHECK_EQUAL(take_one(queue).fflags, 3);
    expect_no_event(queue);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, EV_DELETE, 0, 0), 0);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, 0, NOTE_TRIGGER, 0), -ENOENT);
    queue_end(queue);
}

SIM_TEST(disabled_dispatched_and_oneshot_events, .schedules = 100)
{
    struct kqueue *queue = queue_of();
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, EV_ADD | EV_DISABLE | EV_CLEAR, NOTE_TRIGGER, 0), 0);
    expect_no_event(queue);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, EV_ENABLE, 0, 0), 0);
    take_one(queue);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, EV_ADD | EV_DISPATCH, NOTE_TRIGGER, 0), 0);
    take_one(queue);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, 0, NOTE_TRIGGER, 0), 0);
    expect_no_event(queue);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_USER, EV_ENABLE, 0, 0), 0);
    take_one(queue);
    SIM_CHECK_EQUAL(change(queue, 2, EVFILT_USER, EV_ADD | EV_ONESHOT, NOTE_TRIGGER, 0), 0);
    SIM_CHECK_EQUAL(take_one(queue).ident, 2);
    SIM_CHECK_EQUAL(change(queue, 2, EVFILT_USER, EV_DELETE, 0, 0), -ENOENT);
    queue_end(queue);
}

struct users {
    struct kqueue *queue;
    struct atomic32 told, triggered, next;
};

#define TRIGGERS 4u

static void trigger_oneshots(void *argument)
{
    struct users *users = argument;
    for (uint32_t i = 0; i < TRIGGERS; i++) {
        uint32_t ident = atomic32_add(&users->next, 1);
        SIM_CHECK_EQUAL(change(users->queue, ident, EVFILT_USER, EV_ADD | EV_ONESHOT, 0, 0), 0);
        SIM_CHECK_EQUAL(change(users->queue, ident, EVFILT_USER, 0, NOTE_TRIGGER, 0), 0);
    }
}

static void collect_until_closed(void *argument)
{
    struct users *users = argument;
    struct kevent events[3];
    int64_t found;
    while ((found = kqueue_wait(users->queue, events, 1 + sim_random(3), DEADLINE_NEVER)) > 0)
        atomic32_add(&users->told, (uint32_t)found);
    SIM_CHECK_EQUAL(found, -EPIPE);
}

SIM_TEST(each_oneshot_is_told_to_one_of_many_waiters, .schedules = 10000)
{
    struct users users = {.queue = queue_of()};
    struct sim_thread *threads[4];
    for (int i = 0; i < 4; i++)
        threads[i] = sim_spawn(i < 2 ? collect_until_closed : trigger_oneshots, &users);
    sim_join(threads[2]);
    sim_join(threads[3]);
    if (sim_chance(2)) {
        sim_settle(); /* they have all been told without anybody closing the queue */
        SIM_CHECK_EQUAL(atomic32_load(&users.told), 2 * TRIGGERS);
    }
    kqueue_close(users.queue);
    sim_join(threads[0]);
    sim_join(threads[1]);
    SIM_CHECK(atomic32_load(&users.told) <= 2 * TRIGGERS);
    queue_end(users.queue);
}

static void take_one_and_leave(void *argument)
{
    struct users *users = argument;
    struct kevent event;
    SIM_CHECK_EQUAL(kqueue_wait(users->queue, &event, 1, DEADLINE_NEVER), 1);
    atomic32_add(&users->told, 1);
}

SIM_TEST(who_takes_one_event_leaves_the_others_to_others, .schedules = 6000)
{
    struct users users = {.queue = queue_of()};
    struct sim_thread *threads[3];
    for (uint64_t i = 0; i < 3; i++)
        SIM_CHECK_EQUAL(change(users.queue, i, EVFILT_USER, EV_ADD | EV_ONESHOT, i < 2 ? NOTE_TRIGGER : 0, 0), 0);
    for (uint64_t i = 0; i < 3; i++)
        threads[i] = sim_spawn(take_one_and_leave, &users);
    SIM_CHECK_EQUAL(change(users.queue, 2, EVFILT_USER, 0, NOTE_TRIGGER, 0), 0);
    for (uint64_t i = 0; i < 3; i++)
        sim_join(threads[i]);
    SIM_CHECK_EQUAL(atomic32_load(&users.told), 3);
    queue_end(users.queue);
}

/* --- timers -------------------------------------------------------------------------------------------- */

SIM_TEST(a_periodic_timer_counts_what_was_missed, .schedules = 1000)
{
    struct kqueue *queue = queue_of();
    nanoseconds_t start = body_now();
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_TIMER, EV_ADD, NOTE_USECONDS, 10), 0);
    uint64_t counted = 0;
    for (int i = 0; i < 5; i++) {
        sim_advance(sim_random(50000));
        struct kevent event = wait_one(queue);
        SIM_CHECK(event.data >= 1 && event.filter == EVFILT_TIMER && event.udata == 10);
        counted += (uint64_t)event.data;
        SIM_CHECK(counted <= (body_now() - start) / 10000);
    }
    nanoseconds_t spent = body_now() - start;
    struct kevent event;
    if (kqueue_collect(queue, &event, 1))
        counted += (uint64_t)event.data;
    else
        SIM_CHECK(counted + 2 >= spent / 10000 || body_now() - start > 100000);
    queue_end(queue);
}

SIM_TEST(a_timer_fires_once_or_at_a_time, .schedules = 500)
{
    struct kqueue *queue = queue_of();
    nanoseconds_t start = body_now();
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 2), 0);
    SIM_CHECK_EQUAL(wait_one(queue).data, 1);
    SIM_CHECK(body_now() - start >= 2000000);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_TIMER, EV_DELETE, 0, 0), -ENOENT);
    int64_t wall = (int64_t)body_now() + body_wall_offset();
    SIM_CHECK_EQUAL(change(queue, 2, EVFILT_TIMER, EV_ADD, NOTE_NSECONDS | NOTE_ABSTIME, wall + 5000), 0);
    wait_one(queue);
    SIM_CHECK((int64_t)body_now() + body_wall_offset() >= wall + 5000);
    SIM_CHECK_EQUAL(change(queue, 3, EVFILT_TIMER, EV_ADD, NOTE_SECONDS | NOTE_ABSTIME, 0), 0);
    SIM_CHECK_EQUAL(wait_one(queue).ident, 3);
    queue_end(queue);
}

SIM_TEST(a_timer_that_is_set_again_forgets_what_was_pending, .schedules = 1000)
{
    struct kqueue *queue = queue_of();
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_TIMER, EV_ADD, NOTE_USECONDS, 1), 0);
    sim_advance(5000);
    sim_settle();
    sim_calm_begin(); /* the clock does not jump */
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 100), 0);
    expect_no_event(queue);
    SIM_CHECK_EQUAL(change(queue, 1, EVFILT_TIMER, EV_DELETE, 0, 0), 0);
    sim_calm_end();
    struct kevent event;
    SIM_CHECK_EQUAL(kqueue_wait(queue, &event, 1, body_now() + 1000), -ETIMEDOUT);
    queue_end(queue);
}

/* --- ports --------------------------------------------------------------------------------------------- */

struct watched {
    struct handle_table table;
    handle_t receive, send;
    struct kqueue *queue;
    struct atomic32 sent;
};

static void watched_init(struct watched *watched)
{
    *watched = (struct watched){.queue = queue_of()};
    handle_table_init(&watched->table, 100);
    watched->receive = port_of(&watched->table, 10);
    watched->send = send_right(&watched->table, watched->receive, 1, &watched->table);
}

static void watched_end(struct watched *watched)
{
    queue_end(watched->queue);
    handle_table_destroy(&watched->table);
}

static int watch_port(struct watched *watched, uint32_t flags)
{
    struct handle_value value;
    struct kevent_source source;
    SIM_CHECK_EQUAL(handle_get(&watched->table, watched->receive, &port_type, RIGHT_RECEIVE, &value), 0);
    SIM_CHECK_EQUAL(kevent_source_of(value.object, EVFILT_PORT, &source), 0);
    struct kevent event = {.ident = watched->receive, .filter = EVFILT_PORT, .flags = (uint16_t)flags};
    int error = kqueue_change(watched->queue, &event, &source);
    object_unref(value.object);
    return error;
}

static void send_some(void *argument)
{
    struct watched *watched = argument;
    for (uint32_t i = 0; i < 4; i++) {
        SIM_CHECK_EQUAL(send_word(&watched->table, watched->send, i), 0);
        atomic32_add(&watched->sent, 1);
    }
}

/* Edge or level, every message is found by who waits for events alone. */
SIM_TEST(no_message_is_missed_by_who_waits_for_events, .schedules = 10000)
{
    struct watched watched;
    watched_init(&watched);
    bool edge = sim_chance(2), dispatch = sim_chance(3);
    struct sim_thread *sender = sim_spawn(send_some, &watched);
    SIM_CHECK_EQUAL(watch_port(&watched, EV_ADD | (edge ? EV_CLEAR : 0) | (dispatch ? EV_DISPATCH : 0)), 0);
    for (uint32_t received = 0; received < 4;) {
        struct kevent event = wait_one(watched.queue);
        SIM_CHECK(event.ident == watched.receive && event.filter == EVFILT_PORT && event.data >= 1);
        if (!edge) {
            SIM_CHECK_EQUAL(receive_message(&watched.table, watched.receive, PORT_RECEIVE_NONBLOCK, NULL), 0);
            received++;
        }
        while (edge && receive_message(&watched.table, watched.receive, PORT_RECEIVE_NONBLOCK, NULL) == 0)
            received++;
        if (dispatch) {
            struct kevent enable = {.ident = watched.receive, .filter = EVFILT_PORT, .flags = EV_ENABLE};
            SIM_CHECK_EQUAL(kqueue_change(watched.queue, &enable, NULL), 0);
        }
    }
    sim_join(sender);
    watched_end(&watched);
}

static void close_port(void *argument)
{
    struct watched *watched = argument;
    SIM_CHECK_EQUAL(handle_close(&watched->table, watched->receive), 0);
}

SIM_TEST(the_death_of_a_port_is_an_event, .schedules = 5000)
{
    struct watched watched;
    watched_init(&watched);
    SIM_CHECK_EQUAL(watch_port(&watched, EV_ADD | EV_ONESHOT), 0);
    struct sim_thread *closer = sim_spawn(close_port, &watched);
    SIM_CHECK(wait_one(watched.queue).flags & EV_EOF);
    sim_join(closer);
    watched_end(&watched);
}

/* The queue goes while ports fire into it. */
SIM_TEST(a_queue_may_go_while_its_ports_fire, .schedules = 6000)
{
    struct watched watched;
    watched_init(&watched);
    SIM_CHECK_EQUAL(watch_port(&watched, EV_ADD), 0);
    struct sim_thread *sender = sim_spawn(send_some, &watched);
    kqueue_close(watched.queue);
    sim_join(sender);
    SIM_CHECK_EQUAL(watch_port(&watched, EV_ADD), -EPIPE);
    watched_end(&watched);
}

/* A queue in a queue. */
SIM_TEST(a_queue_is_an_event_of_another, .schedules = 5000)
{
    struct watched watched;
    struct kevent_source source;
    watched_init(&watched);
    struct kqueue *outer = queue_of();
    SIM_CHECK_EQUAL(watch_port(&watched, EV_ADD), 0);
    SIM_CHECK_EQUAL(kevent_source_of((struct object *)watched.queue, EVFILT_READ, &source), 0);
    struct kevent event = {.ident = 5, .filter = EVFILT_READ, .flags = EV_ADD};
    SIM_CHECK_EQUAL(kqueue_change(outer, &event, &source), 0);
    struct sim_thread *sender = sim_spawn(send_some, &watched);
    event = wait_one(outer);
    SIM_CHECK(event.ident == 5 && event.data == 1);
    SIM_CHECK_EQUAL(take_one(watched.queue).ident, watched.receive);
    sim_join(sender);
    queue_end(outer);
    watched_end(&watched);
}

/* --- tasks --------------------------------------------------------------------------------------------- */

static struct task *task_of(void)
{
    sim_calm_begin();
    struct task *task = task_create(NULL);
    sim_calm_end();
    return task;
}

static int watch_task(struct kqueue *queue, struct task *task, uint64_t ident, int filter, uint32_t fflags)
{
    struct kevent_source source = {.object = &task->object, .knotes = &task->life};
    struct kevent event = {.ident = ident, .filter = (int16_t)filter, .flags = EV_ADD, .fflags = fflags, .udata = 77};
    return kqueue_change(queue, &event, &source);
}

static void post(struct task *task, enum task_event_kind kind, int64_t data)
{
    task_post(task, &(struct task_event){.kind = kind, .data = data});
}

SIM_TEST(a_tasks_life_is_told, .schedules = 200)
{
    struct kqueue *queue = queue_of();
    struct task *task = task_of();
    SIM_CHECK_EQUAL(watch_task(queue, task, 5, EVFILT_PROC, NOTE_EXEC | NOTE_EXIT | NOTE_SIGNAL | NOTE_REAP), 0);
    SIM_CHECK_EQUAL(watch_task(queue, task, 15, EVFILT_SIGNAL, 0), 0);
    post(task, TASK_EXEC, 0);
    SIM_CHECK_EQUAL(take_one(queue).fflags, NOTE_EXEC);
    post(task, TASK_SIGNAL, 9);
    SIM_CHECK_EQUAL(take_one(queue).data, 9);
    post(task, TASK_SIGNAL, 15);
    post(task, TASK_SIGNAL, 15);
    struct kevent events[3];
    SIM_CHECK_EQUAL(kqueue_collect(queue, events, 3), 2);
    struct kevent *proc = &events[events[0].filter == EVFILT_SIGNAL], *signal = &events[events[0].filter == EVFILT_PROC];
    SIM_CHECK(proc->filter == EVFILT_PROC && proc->data == 15);
    SIM_CHECK(signal->filter == EVFILT_SIGNAL && signal->data == 2 && signal->ident == 15);
    post(task, TASK_EXIT, 0x300);
    struct kevent event = take_one(queue);
    SIM_CHECK(event.fflags == NOTE_EXIT && event.data == 0x300 && event.flags & EV_EOF && event.udata == 77);
    post(task, TASK_REAP, 0);
    SIM_CHECK_EQUAL(take_one(queue).fflags, NOTE_REAP);
    SIM_CHECK_EQUAL(change(queue, 5, EVFILT_PROC, EV_DELETE, 0, 0), -ENOENT);
    SIM_CHECK_EQUAL(watch_task(queue, task, 6, EVFILT_PROC, NOTE_EXIT), 0);
    SIM_CHECK_EQUAL(take_one(queue).data, 0x300);
    queue_end(queue);
    object_unref(task);
}

/* Flags that are no longer asked for are no longer pending. */
SIM_TEST(a_change_drops_what_is_no_longer_asked_for, .schedules = 200)
{
    struct kqueue *queue = queue_of();
    struct task *task = task_of();
    SIM_CHECK_EQUAL(watch_task(queue, task, 5, EVFILT_PROC, NOTE_EXEC | NOTE_SIGNAL), 0);
    post(task, TASK_EXEC, 0);
    post(task, TASK_SIGNAL, 4);
    SIM_CHECK_EQUAL(watch_task(queue, task, 5, EVFILT_PROC, NOTE_SIGNAL), 0);
    SIM_CHECK_EQUAL(take_one(queue).fflags, NOTE_SIGNAL);
    post(task, TASK_SIGNAL, 4);
    SIM_CHECK_EQUAL(watch_task(queue, task, 5, EVFILT_PROC, NOTE_EXEC), 0);
    expect_no_event(queue);
    queue_end(queue);
    object_unref(task);
}

struct exiting {
    struct task *task;
    struct kqueue *queue;
};

static void exit_task(void *argument)
{
    struct exiting *exiting = argument;
    post(exiting->task, TASK_EXIT, 4);
    object_unref(exiting->task);
}

SIM_TEST(an_exit_is_told_however_late_it_is_asked_for, .schedules = 20000)
{
    struct task *task = task_of();
    struct exiting exiting = {.task = object_ref(task), .queue = queue_of()};
    struct sim_thread *thread = sim_spawn(exit_task, &exiting);
    SIM_CHECK_EQUAL(watch_task(exiting.queue, task, 5, EVFILT_PROC, NOTE_EXIT), 0);
    object_unref(task);
    struct kevent event = wait_one(exiting.queue);
    SIM_CHECK(event.fflags == NOTE_EXIT && event.data == 4);
    sim_join(thread);
    expect_no_event(exiting.queue);
    queue_end(exiting.queue);
}

/* --- following forks ----------------------------------------------------------------------------------- */

struct family {
    struct kqueue *queue;
    struct atomic32 next, forks;
};

struct member {
    struct family *family;
    struct task *task;
    uint64_t ident;
    uint32_t depth;
};

static void live(struct family *family, struct task *task, uint64_t ident, uint32_t depth);

static void live_thread(void *argument)
{
    struct member *member = argument;
    live(member->family, member->task, member->ident, member->depth);
    kfree(member);
}

/* Forks twice when young, then ends. Takes over the reference. */
static void live(struct family *family, struct task *task, uint64_t ident, uint32_t depth)
{
    struct sim_thread *children[2];
    for (uint32_t i = 0; i < 2 && depth > 0; i++) {
        struct task *child = task_of();
        sim_calm_begin();
        struct member *member = kzalloc(sizeof(*member));
        sim_calm_end();
        *member = (struct member){.family = family, .task = child, .ident = atomic32_add(&family->next, 1), .depth = depth - 1};
        task_post(task, &(struct task_event){.kind = TASK_FORK, .child = child, .child_ident = member->ident});
        atomic32_add(&family->forks, 1);
        children[i] = sim_spawn(live_thread, member);
    }
    post(task, TASK_EXIT, (int64_t)ident);
    for (uint32_t i = 0; i < 2 && depth > 0; i++)
        sim_join(children[i]);
    object_unref(task);
}

struct census {
    uint32_t born, ended, errors;
};

static void census_take(struct census *census, const struct kevent *event)
{
    SIM_CHECK(event->filter == EVFILT_PROC && event->udata == 77);
    census->born += (event->fflags & NOTE_CHILD) != 0;
    census->errors += (event->fflags & NOTE_TRACKERR) != 0;
    if (!(event->fflags & NOTE_EXIT)) {
        SIM_CHECK(!(event->fflags & NOTE_CHILD) || event->data < (int64_t)event->ident);
        return;
    }
    SIM_CHECK_EQUAL(event->data, event->ident);
    census->ended++;
}

#define FAMILY 7u /* a root that forks twice, and so do its children */

static struct sim_thread *family_start(struct family *family)
{
    sim_calm_begin();
    *family = (struct family){.queue = queue_of(), .next = ATOMIC_INIT(101)};
    struct task *task = task_of();
    struct member *member = kzalloc(sizeof(*member));
    SIM_CHECK_EQUAL(watch_task(family->queue, task, 100, EVFILT_PROC, NOTE_TRACK | NOTE_EXIT | NOTE_FORK), 0);
    *member = (struct member){.family = family, .task = task, .ident = 100, .depth = 2};
    sim_calm_end();
    return sim_spawn(live_thread, member);
}

SIM_TEST(a_family_is_followed, .schedules = 8000)
{
    struct family family;
    struct census census = {.born = 1};
    struct sim_thread *thread = family_start(&family);
    while (census.ended < FAMILY) {
        struct kevent event = wait_one(family.queue);
        census_take(&census, &event);
    }
    SIM_CHECK(census.born == FAMILY && census.errors == 0);
    sim_join(thread);
    expect_no_event(family.queue);
    queue_end(family.queue);
}

/* Each fork is followed, and then its end is told; or it is told as an error of its parent. */
SIM_TEST(a_family_is_followed_without_memory, .schedules = 8000, .fail_allocations = true)
{
    struct family family;
    struct census census = {.born = 1};
    struct kevent event;
    struct sim_thread *thread = family_start(&family);
    for (uint32_t i = sim_random(4); i > 0; i--)
        if (kqueue_collect(family.queue, &event, 1))
            census_take(&census, &event);
    sim_join(thread);
    while (kqueue_collect(family.queue, &event, 1))
        census_take(&census, &event);
    SIM_CHECK(census.errors || census.born == FAMILY);
    SIM_CHECK(census.born == census.ended && census.born <= FAMILY);
    queue_end(family.queue);
}

SIM_TEST(a_queue_may_go_while_a_family_grows, .schedules = 8000)
{
    struct family family;
    struct kevent event;
    struct sim_thread *thread = family_start(&family);
    for (uint32_t i = sim_random(4); i > 0; i--) {
        kqueue_collect(family.queue, &event, 1);
        sim_point();
    }
    kqueue_close(family.queue);
    sim_join(thread);
    queue_end(family.queue);
}
