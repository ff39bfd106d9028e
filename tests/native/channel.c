/* Event channels in an event loop: news of a port and of tasks by a descriptor, in order, once each, children with channels of their own, and what a close leaves. */
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>

static bool readable(int fd, int wait_ms)
{
    struct pollfd poll_one = {.fd = fd, .events = POLLIN};
    return poll(&poll_one, 1, wait_ms) == 1;
}

static struct hyla_channel_message receive(int fd)
{
    struct hyla_channel_message message;
    CHECK(readable(fd, 10000));
    CHECK(read(fd, &message, sizeof message) == sizeof message);
    return message;
}

/* A notification, then what it is about. */
static struct hyla_channel_message news(int fd, uint64_t serial)
{
    struct hyla_channel_message message = receive(fd), request = {.kind = HYLA_CHANNEL_READ, .serial = serial};
    CHECK(message.kind == HYLA_CHANNEL_NOTIFY);
    CHECK(write(fd, &request, sizeof request) == sizeof request);
    message = receive(fd);
    CHECK(message.kind == HYLA_CHANNEL_EVENT && message.serial == serial);
    return message;
}

static void a_port_tells(void)
{
    hyla_handle_t port = HANDLE(hyla_port_create(8)), send = HANDLE(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY));
    CHECK_IS(hyla_channel_open(send, 0, 0, 0), -EACCES);
    CHECK_IS(hyla_channel_open(12345, 0, 0, 0), -EBADF);
    int fd = (int)hyla_channel_open(port, 0, HYLA_EVENT_CLEAR, 77);
    CHECK(fd >= 0 && !readable(fd, 0));
    for (int i = 0; i < 3; i++) {
        struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send};
        CHECK_IS(hyla_msg(&msg), 0);
        struct hyla_channel_message message = news(fd, 100 + (uint64_t)i);
        CHECK(message.ident == port && message.user == 77 && message.filter == HYLA_FILTER_PORT);
    }
    for (int i = 0; i < 3; i++) {
        struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port};
        CHECK_IS(hyla_msg(&msg), 0);
    }
    struct hyla_channel_message nothing = {.kind = HYLA_CHANNEL_READ, .serial = 9};
    CHECK(write(fd, &nothing, sizeof nothing) == sizeof nothing);
    nothing = receive(fd);
    CHECK(nothing.kind == HYLA_CHANNEL_EVENT && nothing.flags == HYLA_CHANNEL_DROP);
    CHECK(write(fd, "half", 4) == 4); /* no message: it hangs up */
    char byte;
    CHECK(readable(fd, 10000) && read(fd, &byte, 1) == 0);
    close(fd);
    CHECK_IS(hyla_handle_close(port), 0);
    CHECK_IS(hyla_handle_close(send), 0);
}

static void a_task_tells(void)
{
    hyla_handle_t port = HANDLE(hyla_port_create(1)), send = HANDLE(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY));
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct hyla_msg_handle me = {.handle = HANDLE(hyla_task_self()), .rights = HYLA_RIGHT_ALL, .move = 1};
        struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send, .send_handles = (uintptr_t)&me, .send_handle_count = 1};
        CHECK_IS(hyla_msg(&msg), 0);
        pause();
    }
    struct hyla_msg_handle handle;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port, .receive_handles = (uintptr_t)&handle, .receive_handle_count = 1};
    CHECK_IS(hyla_msg(&msg), 0);
    int fd = (int)hyla_channel_open(handle.handle, HYLA_EVENT_EXIT, 0, 5);
    CHECK(fd >= 0 && !readable(fd, 0));
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    struct hyla_channel_message message = news(fd, 1);
    CHECK(message.ident == handle.handle && (message.notes & HYLA_EVENT_EXIT) && (message.event_flags & HYLA_EVENT_EOF));
    close(fd);
    hyla_handle_close(handle.handle);
    hyla_handle_close(port);
    hyla_handle_close(send);
}

/* True when there is no room. */
static bool send_now(int fd, const struct hyla_channel_message *message)
{
    ssize_t sent = send(fd, message, sizeof *message, MSG_DONTWAIT);
    CHECK(sent == sizeof *message || (sent < 0 && errno == EAGAIN));
    return sent < 0;
}

static int child_channel(int fd, struct hyla_channel_message *message)
{
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec vector = {message, sizeof *message};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK(readable(fd, 10000) && recvmsg(fd, &header, MSG_CMSG_CLOEXEC) == sizeof *message);
    struct cmsghdr *part = CMSG_FIRSTHDR(&header);
    if (!part)
        return -1;
    CHECK(part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS);
    int child;
    memcpy(&child, CMSG_DATA(part), sizeof child);
    return child;
}

/* Asks until the channel has nothing more; the children's channels come into `children`. */
static int drain(int fd, int *children, int have)
{
    struct hyla_channel_message message, request = {.kind = HYLA_CHANNEL_READ, .serial = 1};
    do {
        CHECK(write(fd, &request, sizeof request) == sizeof request);
        int child;
        do
            child = child_channel(fd, &message);
        while (message.kind == HYLA_CHANNEL_NOTIFY);
        CHECK(message.kind == HYLA_CHANNEL_EVENT && (child >= 0) == !!(message.flags & HYLA_CHANNEL_CHILD));
        if (child >= 0) {
            CHECK(message.notes == HYLA_EVENT_CHILD && message.ident);
            children[have++] = child;
        }
    } while (!(message.flags & HYLA_CHANNEL_DROP));
    return have;
}

#define CHILDREN 5

/* A channel on the own task, and forks: each child has a channel, which tells its end and no more. */
static void children_are_followed(void)
{
    int fd = (int)hyla_channel_open(HANDLE(hyla_task_self()), HYLA_EVENT_TRACK, 0, 0), hold[2], children[CHILDREN], have = 0, status;
    CHECK(fd >= 0 && pipe(hold) == 0);
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            char byte;
            hyla_ids_get(&(struct hyla_ids){0}); /* there */
            close(hold[1]);
            CHECK(read(hold[0], &byte, 1) == 0);
            _exit(0);
        }
    }
    while (have < CHILDREN) {
        CHECK(readable(fd, 10000));
        have = drain(fd, children, have);
    }
    close(hold[1]);
    for (int i = 0; i < CHILDREN; i++)
        CHECK(wait(&status) > 0 && status == 0);
    for (int i = 0; i < CHILDREN; i++) {
        struct hyla_channel_message nothing = {.kind = HYLA_CHANNEL_READ, .serial = 2};
        CHECK(write(children[i], &nothing, sizeof nothing) == sizeof nothing);
        CHECK(receive(children[i]).flags == HYLA_CHANNEL_DROP); /* EXIT was not asked for */
        close(children[i]);
    }
    close(fd);
}

#define REQUESTS_MAX 4000u

/* Requests until there is no room for more, none of whose answers is read; then all of them, in order. */
static void answers_wait(void)
{
    hyla_handle_t port = HANDLE(hyla_port_create(1)), send = HANDLE(hyla_port_make_send(port, 0, 0));
    int fd = (int)hyla_channel_open(port, 0, 0, 0);
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send};
    CHECK(fd >= 0);
    CHECK_IS(hyla_msg(&msg), 0);
    uint64_t sent = 0, answered = 0;
    for (; sent < REQUESTS_MAX; sent++) {
        struct hyla_channel_message request = {.kind = HYLA_CHANNEL_READ, .serial = sent};
        if (send_now(fd, &request))
            break;
    }
    CHECK(sent > 10);
    while (answered < sent) {
        struct hyla_channel_message message = receive(fd);
        if (message.kind == HYLA_CHANNEL_NOTIFY)
            continue;
        CHECK(message.kind == HYLA_CHANNEL_EVENT && message.serial == answered && message.ident == port);
        answered++;
    }
    close(fd);
    hyla_handle_close(port);
    hyla_handle_close(send);
}

/* Nobody reads, and the process ends with all of them open. */
static void many_are_left(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 50; i++) {
            hyla_handle_t port = HANDLE(hyla_port_create(2)), send = HANDLE(hyla_port_make_send(port, 0, 0));
            CHECK(hyla_channel_open(port, 0, 0, 0) >= 0);
            struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send};
            CHECK_IS(hyla_msg(&msg), 0);
        }
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void)
{
    start_or_fail();
    a_port_tells();
    a_task_tells();
    children_are_followed();
    answers_wait();
    many_are_left();
    return 0;
}
