/*
 * A watcher of processes in a libuv loop: children give their task rights to it over a port; it follows each through an event channel,
 * whose descriptor libuv polls like any other, and says how each ended.
 */
#include "examples/process-watcher/watcher.h"

#include <uv.h>

static int ended, killed;

struct uv_watch {
    uv_poll_t poll; /* first: libuv gives it back */
    struct watch watch;
};

static void on_news(uv_poll_t *poll, int status, int events)
{
    struct uv_watch *own = (struct uv_watch *)poll;
    (void)status;
    (void)events;
    if (!watch_read(&own->watch))
        return;
    ended++;
    uv_poll_stop(poll);
    watch_close(&own->watch);
}

static void on_time(uv_timer_t *timer)
{
    killed = kill_the_waiting();
    uv_timer_stop(timer);
}

int main(void)
{
    static struct uv_watch watches[CHILDREN];
    uv_timer_t timer;
    uv_loop_t *loop = uv_default_loop();
    hyla_handle_t port = start_children();
    for (int i = 0; i < CHILDREN; i++) {
        watch_open(&watches[i].watch, port);
        uv_poll_init(loop, &watches[i].poll, watches[i].watch.fd);
        uv_poll_start(&watches[i].poll, UV_READABLE, on_news);
    }
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_time, 20, 0);
    uv_run(loop, UV_RUN_DEFAULT); /* until nothing is polled any more */
    return ended != CHILDREN || killed != CHILDREN / 2;
}
