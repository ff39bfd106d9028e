/*
 * A watcher of processes in a libuv loop: children give their task rights to it over a port; it follows each through an event channel,
 * whose descriptor libuv polls like any other, and says how each ended. See ../README.md.
 */
#include "examples/example.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define CHILDREN 4

static hyla_handle_t port;
static int ended, killed;

struct watch {
    uv_poll_t poll; /* first: libuv gives it back */
    int fd;
    hyla_handle_t task;
};

static void read_news(struct watch *watch)
{
    struct hyla_channel_message message, request = {.kind = HYLA_CHANNEL_READ};
    if (read(watch->fd, &message, sizeof message) != sizeof message)
        exit(1);
    if (message.kind == HYLA_CHANNEL_NOTIFY) {
        if (write(watch->fd, &request, sizeof request) != sizeof request)
            exit(1);
        return; /* the answer makes the descriptor readable again */
    }
    if (message.kind != HYLA_CHANNEL_EVENT || !(message.notes & HYLA_EVENT_EXIT))
        return;
    printf("child %llu has ended\n", (unsigned long long)message.user);
    ended++;
    uv_poll_stop(&watch->poll);
    close(watch->fd);
    hyla_handle_close(watch->task);
}

static void on_news(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    read_news((struct watch *)poll);
}

static void follow(uv_loop_t *loop, struct watch *watch)
{
    struct hyla_msg_handle handle;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port, .receive_handles = (uintptr_t)&handle, .receive_handle_count = 1};
    must(hyla_msg(&msg), "receive");
    watch->task = handle.handle;
    watch->fd = (int)must(hyla_channel_open(handle.handle, HYLA_EVENT_EXIT, 0, msg.words[0]), "channel_open");
    uv_poll_init(loop, &watch->poll, watch->fd);
    uv_poll_start(&watch->poll, UV_READABLE, on_news);
}

static int child(hyla_handle_t watcher, uint64_t number)
{
    struct hyla_msg_handle me = {.handle = (hyla_handle_t)must(hyla_task_self(), "task_self"), .rights = HYLA_RIGHT_READ | HYLA_RIGHT_TRANSFER, .move = 1};
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = watcher, .words = {number}, .send_handles = (uintptr_t)&me, .send_handle_count = 1};
    must(hyla_msg(&msg), "send");
    if (number % 2)
        pause(); /* until it is killed */
    return 0;
}

static pid_t pids[CHILDREN];

static void on_time(uv_timer_t *timer)
{
    for (int i = 1; i < CHILDREN; i += 2)
        killed += kill(pids[i], SIGKILL) == 0;
    uv_timer_stop(timer);
}

int main(void)
{
    static struct watch watches[CHILDREN];
    uv_timer_t timer;
    uv_loop_t *loop = uv_default_loop();
    signal(SIGCHLD, SIG_IGN); /* the host reaps; the news comes from Hyla */
    must(hyla_start(), "no kernel of Hyla's");
    port = (hyla_handle_t)must(hyla_port_create(CHILDREN), "port_create");
    hyla_handle_t right = (hyla_handle_t)must(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY), "port_make_send");
    for (uint64_t i = 0; i < CHILDREN; i++)
        if ((pids[i] = fork()) == 0)
            _exit(child(right, i));
    for (int i = 0; i < CHILDREN; i++)
        follow(loop, &watches[i]);
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_time, 20, 0);
    uv_run(loop, UV_RUN_DEFAULT); /* until nothing is polled any more */
    return ended != CHILDREN || killed != CHILDREN / 2;
}
