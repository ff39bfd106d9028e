/* Event queues: user events, timers, ports, tasks that fork and end. */
#include "check.h"

#include <signal.h>
#include <sys/wait.h>

static int64_t change(hyla_handle_t queue, uint64_t ident, int16_t filter, uint16_t flags, uint32_t notes, int64_t data)
{
    struct hyla_event event = {.ident = ident, .filter = filter, .flags = flags, .notes = notes, .data = data, .user = ident * 3};
    return hyla_queue_change(queue, &event);
}

static int64_t wait_one(hyla_handle_t queue, struct hyla_event *event, uint64_t deadline)
{
    return hyla_queue_wait(queue, event, sizeof *event, deadline);
}

/* All units come to the same: the timer is due at once or in a moment, and never in an hour. */
static void units(void)
{
    static const struct { uint32_t notes; int64_t soon, late; } unit[] = {
        {0, 1, 3600000}, {HYLA_EVENT_MSECONDS, 1, 3600000}, {HYLA_EVENT_SECONDS, 0, 3600},
        {HYLA_EVENT_USECONDS, 1000, 3600000000}, {HYLA_EVENT_NSECONDS, 1000000, 3600000000000},
    };
    struct hyla_event event;
    hyla_handle_t queue = HANDLE(hyla_queue_create());
    for (size_t i = 0; i < sizeof unit / sizeof unit[0]; i++) {
        CHECK_IS(change(queue, 1, HYLA_FILTER_TIMER, HYLA_EVENT_ADD | HYLA_EVENT_ONESHOT, unit[i].notes, unit[i].soon), 0);
        CHECK_IS(change(queue, 2, HYLA_FILTER_TIMER, HYLA_EVENT_ADD | HYLA_EVENT_ONESHOT, unit[i].notes, unit[i].late), 0);
        CHECK_IS(wait_one(queue, &event, HYLA_NEVER), 1);
        CHECK(event.ident == 1 && event.data == 1);
        CHECK_IS(wait_one(queue, &event, 1), -ETIMEDOUT);
    }
    CHECK_IS(change(queue, 1, HYLA_FILTER_TIMER, HYLA_EVENT_ADD, HYLA_EVENT_SECONDS | HYLA_EVENT_USECONDS, 1), -EINVAL);
    uint64_t wall;
    CHECK_IS(hyla_clock_get(HYLA_CLOCK_WALL, &wall), 0);
    CHECK_IS(change(queue, 3, HYLA_FILTER_TIMER, HYLA_EVENT_ADD, HYLA_EVENT_NSECONDS | HYLA_EVENT_ABSTIME, (int64_t)wall + 1000000), 0);
    CHECK_IS(wait_one(queue, &event, HYLA_NEVER), 1);
    CHECK(event.ident == 3);
    CHECK_IS(change(queue, 4, HYLA_FILTER_TIMER, HYLA_EVENT_ADD, HYLA_EVENT_USECONDS, 100), 0); /* periodic: what nobody took is counted */
    CHECK_IS(hyla_sleep(soon(3)), 0);
    CHECK_IS(wait_one(queue, &event, HYLA_NEVER), 1);
    CHECK(event.ident == 4 && event.data >= 20);
    CHECK_IS(hyla_handle_close(queue), 0);
}

static void changes_and_events_at_once(void)
{
    struct hyla_event changes[3] = {{.ident = 1, .filter = HYLA_FILTER_USER, .flags = HYLA_EVENT_ADD | HYLA_EVENT_RECEIPT},
                                    {.ident = 9, .filter = HYLA_FILTER_USER, .flags = HYLA_EVENT_DELETE},
                                    {.ident = 2, .filter = HYLA_FILTER_USER, .flags = HYLA_EVENT_ADD | HYLA_EVENT_DISPATCH}};
    struct hyla_event events[4];
    hyla_handle_t queue = HANDLE(hyla_queue_create());
    CHECK_IS(hyla_kevent(queue, changes, 3, events, 4, HYLA_NEVER), 2);
    CHECK(events[0].ident == 1 && events[0].flags == HYLA_EVENT_ERROR && events[0].data == 0);
    CHECK(events[1].ident == 9 && events[1].flags == HYLA_EVENT_ERROR && events[1].data == ENOENT);
    CHECK_IS(hyla_kevent(queue, &changes[1], 1, NULL, 0, 0), -ENOENT);
    CHECK_IS(hyla_kevent(queue, NULL, 0, events, 4, 1), 0);
    struct hyla_event trigger = {.ident = 2, .filter = HYLA_FILTER_USER, .notes = HYLA_EVENT_TRIGGER};
    CHECK_IS(hyla_kevent(queue, &trigger, 1, events, 4, HYLA_NEVER), 1);
    CHECK(events[0].ident == 2);
    CHECK_IS(hyla_kevent(queue, &trigger, 1, events, 4, 1), 0); /* told once: then it is disabled */
    struct hyla_event enable = {.ident = 2, .filter = HYLA_FILTER_USER, .flags = HYLA_EVENT_ENABLE};
    CHECK_IS(hyla_kevent(queue, &enable, 1, events, 4, HYLA_NEVER), 1);
    struct hyla_event disable = {.ident = 1, .filter = HYLA_FILTER_USER, .flags = HYLA_EVENT_DISABLE};
    trigger.ident = 1;
    CHECK_IS(hyla_kevent(queue, &disable, 1, NULL, 0, 0), 0);
    CHECK_IS(hyla_kevent(queue, &trigger, 1, events, 4, 1), 0);
    enable.ident = 1;
    CHECK_IS(hyla_kevent(queue, &enable, 1, events, 4, HYLA_NEVER), 1);
    CHECK(events[0].ident == 1);
    CHECK_IS(hyla_handle_close(queue), 0);
}

int main(void)
{
    struct hyla_event event, many[16];
    start_or_fail();
    units();
    changes_and_events_at_once();
    hyla_handle_t queue = HANDLE(hyla_queue_create());
    CHECK_IS(wait_one(queue, &event, soon(2)), -ETIMEDOUT);
    CHECK_IS(hyla_queue_wait(queue, &event, 7, 1), -EINVAL);
    CHECK_IS(change(queue, 1, HYLA_FILTER_USER, HYLA_EVENT_DELETE, 0, 0), -ENOENT);
    CHECK_IS(change(queue, 1, HYLA_FILTER_USER, HYLA_EVENT_ADD | HYLA_EVENT_CLEAR, 0, 0), 0);
    CHECK_IS(change(queue, 1, HYLA_FILTER_USER, 0, HYLA_EVENT_TRIGGER, 0), 0);
    CHECK_IS(wait_one(queue, &event, HYLA_NEVER), 1);
    CHECK(event.ident == 1 && event.filter == HYLA_FILTER_USER && event.user == 3);

    CHECK_IS(change(queue, 2, HYLA_FILTER_TIMER, HYLA_EVENT_ADD | HYLA_EVENT_ONESHOT, 0, 3), 0);
    CHECK_IS(wait_one(queue, &event, HYLA_NEVER), 1);
    CHECK(event.ident == 2 && event.data == 1);

    hyla_handle_t port = HANDLE(hyla_port_create(4)), send = HANDLE(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY));
    CHECK_IS(change(queue, send, HYLA_FILTER_PORT, HYLA_EVENT_ADD, 0, 0), -EACCES);
    CHECK_IS(change(queue, port, HYLA_FILTER_PORT, HYLA_EVENT_ADD, 0, 0), 0);
    CHECK_IS(wait_one(queue, &event, soon(1)), -ETIMEDOUT);
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK_IS(hyla_queue_wait(queue, many, sizeof many, HYLA_NEVER), 1);
    CHECK(many[0].ident == port && many[0].data == 1);

    struct hyla_msg_handle handle = {.handle = 0};
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        handle = (struct hyla_msg_handle){.handle = HANDLE(hyla_task_self()), .rights = HYLA_RIGHT_ALL, .move = 1};
        msg = (struct hyla_msg){.flags = HYLA_MSG_SEND, .to = send, .send_handles = (uintptr_t)&handle, .send_handle_count = 1};
        CHECK_IS(hyla_msg(&msg), 0);
        uint32_t word = 0;
        hyla_futex_wait(&word, 0, 0, HYLA_NEVER);
        _exit(0);
    }
    msg = (struct hyla_msg){.flags = HYLA_MSG_RECEIVE, .from = port, .receive_handles = (uintptr_t)&handle, .receive_handle_count = 1};
    CHECK_IS(hyla_msg(&msg), 0); /* the one from above */
    msg = (struct hyla_msg){.flags = HYLA_MSG_RECEIVE, .from = port, .receive_handles = (uintptr_t)&handle, .receive_handle_count = 1};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK_IS(change(queue, handle.handle, HYLA_FILTER_PROC, HYLA_EVENT_ADD, HYLA_EVENT_EXIT, 0), 0);
    CHECK(kill(pid, 9) == 0 && waitpid(pid, &status, 0) == pid);
    do
        CHECK_IS(wait_one(queue, &event, soon(10000)), 1);
    while (event.filter != HYLA_FILTER_PROC);
    CHECK(event.ident == handle.handle && (event.notes & HYLA_EVENT_EXIT));

    hyla_handle_t outer = HANDLE(hyla_queue_create());
    CHECK_IS(change(outer, queue, HYLA_FILTER_READ, HYLA_EVENT_ADD, 0, 0), 0);
    CHECK_IS(change(queue, 1, HYLA_FILTER_USER, 0, HYLA_EVENT_TRIGGER, 0), 0);
    CHECK_IS(wait_one(outer, &event, HYLA_NEVER), 1);
    CHECK(event.ident == queue);
    CHECK_IS(hyla_handle_close(outer), 0);
    CHECK_IS(hyla_handle_close(queue), 0);
    return 0;
}
