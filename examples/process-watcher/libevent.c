/*
 * The watcher of libuv.c in a libevent loop.
 */
#include "examples/process-watcher/watcher.h"

#include <event2/event.h>

static int ended, killed;

struct event_watch {
    struct event *event;
    struct watch watch;
};

static void on_news(evutil_socket_t fd, short what, void *argument)
{
    struct event_watch *own = argument;
    (void)fd;
    (void)what;
    if (!watch_read(&own->watch))
        return;
    ended++;
    event_free(own->event);
    watch_close(&own->watch);
}

static void on_time(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    (void)argument;
    killed = kill_the_waiting();
}

int main(void)
{
    static struct event_watch watches[CHILDREN];
    struct timeval soon = {.tv_usec = 20000};
    struct event_base *base = event_base_new();
    hyla_handle_t port = start_children();
    for (int i = 0; i < CHILDREN; i++) {
        struct event_watch *own = &watches[i];
        watch_open(&own->watch, port);
        own->event = event_new(base, own->watch.fd, EV_READ | EV_PERSIST, on_news, own);
        event_add(own->event, NULL);
    }
    event_base_once(base, -1, EV_TIMEOUT, on_time, NULL, &soon);
    event_base_dispatch(base); /* until nothing is polled any more */
    event_base_free(base);
    return ended != CHILDREN || killed != CHILDREN / 2;
}
