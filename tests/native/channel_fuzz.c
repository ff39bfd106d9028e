/*
 * What passes over an event channel, at random: requests that are whole, half, too long or nonsense, in any order and number, peers that
 * close at any moment and peers that never read, while news comes. Beside them an honest channel, which misses nothing; and nothing is kept
 * (the harness looks).
 *
 *     native_channel_fuzz [SEED [ROUNDS]]
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>

static uint64_t random_state;

static uint32_t draw(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % bound;
}

static hyla_handle_t port, send_right, honest_port, honest_send;
static int honest;

static void post(hyla_handle_t right)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_SEND_NONBLOCK, .to = right};
    int64_t result = hyla_msg(&msg);
    CHECK(result == 0 || result == -EAGAIN);
}

static void take(hyla_handle_t from)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE | HYLA_MSG_RECEIVE_NONBLOCK, .from = from};
    int64_t result = hyla_msg(&msg);
    CHECK(result == 0 || result == -EAGAIN);
}

static void fill(struct hyla_channel_message *message)
{
    uint8_t *bytes = (uint8_t *)message;
    for (size_t i = 0; i < sizeof *message; i++)
        bytes[i] = (uint8_t)draw(draw(4) ? 4 : 256);
    if (draw(4))
        message->kind = draw(2) ? HYLA_CHANNEL_READ : HYLA_CHANNEL_MODIFY;
    if (draw(2))
        message->flags = 0;
}

static void throw_at(int fd)
{
    struct hyla_channel_message messages[3];
    for (int i = 0; i < 3; i++)
        fill(&messages[i]);
    size_t size = draw(8) ? sizeof messages[0] : draw(sizeof messages + 1);
    send(fd, messages, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void read_some(int fd)
{
    char buffer[256];
    recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
}

/* The honest one is told of each message, and can say so. */
static void honest_round(void)
{
    struct hyla_channel_message message, request = {.kind = HYLA_CHANNEL_READ, .serial = random_state};
    struct pollfd wait = {.fd = honest, .events = POLLIN};
    post(honest_send);
    CHECK(poll(&wait, 1, 20000) == 1);
    CHECK(read(honest, &message, sizeof message) == sizeof message && message.kind == HYLA_CHANNEL_NOTIFY);
    CHECK(write(honest, &request, sizeof request) == sizeof request);
    CHECK(poll(&wait, 1, 20000) == 1);
    CHECK(read(honest, &message, sizeof message) == sizeof message && message.kind == HYLA_CHANNEL_EVENT);
    CHECK(message.serial == request.serial && message.filter == HYLA_FILTER_PORT && !(message.flags & HYLA_CHANNEL_DROP));
    take(honest_port);
}

static int open_some(hyla_handle_t task)
{
    int64_t fd = draw(2) ? hyla_channel_open(port, draw(3) ? 0 : draw(8), draw(2) ? HYLA_EVENT_CLEAR : draw(2) ? 0 : draw(65536), draw(100))
                         : hyla_channel_open(task, draw(2) ? HYLA_EVENT_FORK | HYLA_EVENT_EXIT | HYLA_EVENT_TRACK : draw(UINT32_MAX), 0, 1);
    CHECK(fd >= 0 || fd == -EINVAL);
    return (int)fd;
}

static void children(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK(pid > 0 && waitpid(pid, NULL, 0) == pid);
}

/* A peer that never reads, and does not stop asking, until its socket is full. */
static void never_reads(void)
{
    struct hyla_channel_message request = {.kind = HYLA_CHANNEL_READ};
    int fd = (int)HANDLE(hyla_channel_open(port, 0, 0, 0));
    for (int i = 0; i < 20000; i++) {
        if (send(fd, &request, sizeof request, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            break;
        if (i % 64 == 0)
            post(send_right);
    }
    honest_round();
    close(fd);
}

int main(int argc, char **argv)
{
    random_state = (argc > 1 ? strtoull(argv[1], NULL, 0) : 1) * 2654435761u + 88172645463325252ull;
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 0) : 1500;
    int fds[8];
    start_or_fail();
    port = HANDLE(hyla_port_create(4));
    send_right = HANDLE(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY));
    honest_port = HANDLE(hyla_port_create(4));
    honest_send = HANDLE(hyla_port_make_send(honest_port, 0, HYLA_RIGHT_COPY));
    honest = (int)HANDLE(hyla_channel_open(honest_port, 0, HYLA_EVENT_CLEAR, 0));
    hyla_handle_t task = HANDLE(hyla_task_self());
    memset(fds, -1, sizeof fds);
    for (uint64_t round = 0; round < rounds; round++) {
        int *fd = &fds[draw(8)];
        if (*fd < 0)
            *fd = open_some(task);
        for (uint32_t turn = draw(6); turn > 0 && *fd >= 0; turn--) {
            switch (draw(5)) {
            case 0: post(send_right); break;
            case 1: take(port); break;
            case 2: read_some(*fd); break;
            default: throw_at(*fd); break;
            }
        }
        if (*fd >= 0 && draw(6) == 0) {
            close(*fd);
            *fd = -1;
        }
        if (round % 128 == 0)
            children();
        if (round % 16 == 0)
            honest_round();
    }
    never_reads();
    honest_round();
    return 0;
}
