/*
 * The life of a managed process, as a queue tells it: fork, with the child followed, exec, signals, the end, the reaping.
 * The process does one thing for each byte it is sent.
 */
#include "check.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#define SECOND "second life"

static void obey(int commands, char expected)
{
    char command;
    CHECK(read(commands, &command, 1) == 1 && command == expected);
}

static void order(int commands, char command) { CHECK(write(commands, &command, 1) == 1); }

/* After exec. */
static int second_life(void)
{
    pause();
    return 1;
}

static void first_life(hyla_handle_t send, int commands, int child_commands)
{
    struct hyla_msg_handle me = {.handle = HANDLE(hyla_task_self()), .rights = HYLA_RIGHT_ALL, .move = 1};
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send, .send_handles = (uintptr_t)&me, .send_handle_count = 1};
    CHECK_IS(hyla_msg(&msg), 0);
    obey(commands, 'f');
    pid_t child = fork();
    if (child == 0) {
        obey(child_commands, 'e');
        _exit(7);
    }
    obey(commands, 'w');
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 7 << 8);
    obey(commands, 'x');
    execl("/proc/self/exe", "life", SECOND, NULL);
    CHECK(false);
}

static struct hyla_event next(hyla_handle_t queue)
{
    struct hyla_event event;
    CHECK_IS(hyla_queue_wait(queue, &event, sizeof event, soon(20000)), 1);
    return event;
}

/* Until all of `notes` were told of `ident`, and of nothing else. The last event. */
static struct hyla_event until(hyla_handle_t queue, uint64_t ident, uint32_t notes)
{
    struct hyla_event event;
    while (notes) {
        event = next(queue);
        CHECK(event.filter == HYLA_FILTER_PROC && event.ident == ident && (event.notes & notes));
        notes &= ~event.notes;
    }
    return event;
}

/* The fork is two pieces of news, in any order. Returns the child's id. */
static uint64_t a_fork(hyla_handle_t queue, uint64_t parent)
{
    uint64_t child = 0;
    for (int i = 0; i < 2; i++) {
        struct hyla_event event = next(queue);
        if (event.ident == parent) {
            CHECK(event.notes == HYLA_EVENT_FORK);
            continue;
        }
        CHECK(!child && event.notes == HYLA_EVENT_CHILD && event.data == (int64_t)parent);
        child = event.ident;
    }
    CHECK(child);
    return child;
}

static void watch(hyla_handle_t queue, hyla_handle_t task)
{
    struct hyla_event event = {.ident = task, .filter = HYLA_FILTER_PROC, .flags = HYLA_EVENT_ADD};
    event.notes = HYLA_EVENT_FORK | HYLA_EVENT_EXEC | HYLA_EVENT_SIGNAL | HYLA_EVENT_EXIT | HYLA_EVENT_REAP | HYLA_EVENT_TRACK;
    CHECK_IS(hyla_queue_change(queue, &event), 0);
}

static void another_is_watched(void)
{
    hyla_handle_t port = HANDLE(hyla_port_create(1)), send = HANDLE(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY));
    int commands[2], child_commands[2], status;
    CHECK(pipe(commands) == 0 && pipe(child_commands) == 0);
    pid_t pid = fork();
    if (pid == 0)
        first_life(send, commands[0], child_commands[0]);
    struct hyla_msg_handle task;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port, .receive_handles = (uintptr_t)&task, .receive_handle_count = 1};
    CHECK_IS(hyla_msg(&msg), 0);
    hyla_handle_t queue = HANDLE(hyla_queue_create());
    watch(queue, task.handle);
    order(commands[1], 'f');
    uint64_t child = a_fork(queue, task.handle);
    order(child_commands[1], 'e');
    struct hyla_event event = until(queue, child, HYLA_EVENT_EXIT);
    CHECK(event.data == 7 << 8 && (event.flags & HYLA_EVENT_EOF));
    CHECK(until(queue, task.handle, HYLA_EVENT_SIGNAL).data == SIGCHLD);
    order(commands[1], 'w');
    until(queue, child, HYLA_EVENT_REAP);
    order(commands[1], 'x');
    until(queue, task.handle, HYLA_EVENT_EXEC);
    CHECK(kill(pid, SIGURG) == 0); /* ignored, and told all the same */
    CHECK(until(queue, task.handle, HYLA_EVENT_SIGNAL).data == SIGURG);
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(until(queue, task.handle, HYLA_EVENT_SIGNAL | HYLA_EVENT_EXIT).data == SIGKILL);
    CHECK(kill(pid, SIGURG) == 0); /* a zombie gets none */
    CHECK(waitpid(pid, &status, 0) == pid && status == SIGKILL);
    until(queue, task.handle, HYLA_EVENT_REAP);
    CHECK_IS(hyla_queue_wait(queue, &event, sizeof event, 1), -ETIMEDOUT);
    CHECK_IS(hyla_handle_close(queue), 0);
}

static void own_signals_are_counted(void)
{
    hyla_handle_t queue = HANDLE(hyla_queue_create());
    struct hyla_event event = {.ident = SIGUSR1, .filter = HYLA_FILTER_SIGNAL, .flags = HYLA_EVENT_ADD, .user = 5};
    signal(SIGUSR1, SIG_IGN);
    CHECK_IS(hyla_queue_change(queue, &event), 0);
    CHECK(raise(SIGURG) == 0 && raise(SIGUSR1) == 0 && kill(getpid(), SIGUSR1) == 0);
    event = next(queue);
    CHECK(event.ident == SIGUSR1 && event.filter == HYLA_FILTER_SIGNAL && event.data == 2 && event.user == 5);
    CHECK_IS(hyla_handle_close(queue), 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], SECOND) == 0)
        return second_life();
    start_or_fail();
    another_is_watched();
    own_signals_are_counted();
    return 0;
}
