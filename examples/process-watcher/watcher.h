/*
 * What the two watchers share, whatever their event loop is: the children, and the exchange over an event channel. See ../README.md.
 */
#ifndef WATCHER_H
#define WATCHER_H

#include "examples/example.h"

#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#define CHILDREN 4

struct watch {
    int fd; /* the channel, for the loop to poll */
    hyla_handle_t task;
};

static pid_t pids[CHILDREN];

/* A child: gives its task right away, and ends at once or when it is killed. */
static inline int child(hyla_handle_t watcher, uint64_t number)
{
    struct hyla_msg_handle me = {.handle = (hyla_handle_t)must(hyla_task_self(), "task_self"), .rights = HYLA_RIGHT_READ | HYLA_RIGHT_TRANSFER, .move = 1};
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = watcher, .words = {number}, .send_handles = (uintptr_t)&me, .send_handle_count = 1};
    must(hyla_msg(&msg), "send");
    if (number % 2)
        pause();
    return 0;
}

/* Starts the children; the port that their task rights come to. */
static inline hyla_handle_t start_children(void)
{
    signal(SIGCHLD, SIG_IGN); /* nobody waits for them: the news comes from Hyla */
    must(hyla_start(), "no kernel of Hyla's");
    hyla_handle_t port = (hyla_handle_t)must(hyla_port_create(CHILDREN), "port_create");
    hyla_handle_t right = (hyla_handle_t)must(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY), "port_make_send");
    for (uint64_t i = 0; i < CHILDREN; i++)
        if ((pids[i] = fork()) == 0)
            _exit(child(right, i));
    return port;
}

/* How many were killed. */
static inline int kill_the_waiting(void)
{
    int killed = 0;
    for (int i = 1; i < CHILDREN; i += 2)
        killed += kill(pids[i], SIGKILL) == 0;
    return killed;
}

/* Takes the next task right from the port, and opens a channel on it. */
static inline void watch_open(struct watch *watch, hyla_handle_t port)
{
    struct hyla_msg_handle handle;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port, .receive_handles = (uintptr_t)&handle, .receive_handle_count = 1};
    must(hyla_msg(&msg), "receive");
    watch->task = handle.handle;
    watch->fd = (int)must(hyla_channel_open(handle.handle, HYLA_EVENT_EXIT, 0, msg.words[0]), "channel_open");
}

/* The descriptor is readable. True when the child has ended. */
static inline bool watch_read(struct watch *watch)
{
    struct hyla_channel_message message, request = {.kind = HYLA_CHANNEL_READ};
    if (read(watch->fd, &message, sizeof message) != sizeof message)
        exit(1);
    if (message.kind == HYLA_CHANNEL_NOTIFY) {
        if (write(watch->fd, &request, sizeof request) != sizeof request)
            exit(1);
        return false; /* the answer makes the descriptor readable again */
    }
    if (message.kind != HYLA_CHANNEL_EVENT || !(message.notes & HYLA_EVENT_EXIT))
        return false;
    printf("child %llu has ended\n", (unsigned long long)message.user);
    return true;
}

static inline void watch_close(struct watch *watch)
{
    close(watch->fd);
    hyla_handle_close(watch->task);
}

#endif
