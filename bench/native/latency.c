/*
 * From an event to the return of another process's epoll_wait.
 *
 *     bench_native_latency channel|eventfd [ROUNDS]     prints the median in nanoseconds
 *
 *     channel   a message comes into a port; the other process has an event channel on it
 *     eventfd   a write to an eventfd (bare Linux)
 *
 * Each event comes when the other process has been asleep in epoll_wait for a while. What it does after its return (reading the
 * news, taking the message) is not counted.
 */
#include <hyla/hyla.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE_NS 200000u
#define ROUNDS_MAX 100000

static struct shared {
    volatile uint64_t happened;
    uint64_t latency[ROUNDS_MAX];
} *shared;

static int asleep[2], event_fd = -1; /* asleep: the watcher is about to wait */
static hyla_handle_t port, right;

static void check(int64_t result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "bench_native_latency: %s: %s\n", what, hyla_error_text(result));
    exit(1);
}

static void must(int done, const char *what) { check(done ? 0 : -5, what); }

/* --- the watcher ------------------------------------------------------------------------------------- */

static void take_event(int fd) { must(read(fd, &(uint64_t){0}, 8) == 8, "eventfd"); }

/* The notification is read already; asks, and takes the message: the port is empty then. */
static void take_news(int fd)
{
    struct hyla_channel_message message, request = {.kind = HYLA_CHANNEL_READ};
    must(read(fd, &message, sizeof message) == sizeof message && message.kind == HYLA_CHANNEL_NOTIFY, "notification");
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port};
    check(hyla_msg(&msg), "receive");
    must(write(fd, &request, sizeof request) == sizeof request, "request");
    must(read(fd, &message, sizeof message) == sizeof message && message.kind == HYLA_CHANNEL_EVENT, "answer");
}

static void watch(int channel, int rounds)
{
    int fd = event_fd, epoll = epoll_create1(0);
    if (channel) {
        int64_t opened = hyla_channel_open(port, 0, HYLA_EVENT_CLEAR, 0);
        check(opened, "channel_open");
        fd = (int)opened;
    }
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN}) == 0, "epoll_ctl");
    for (int i = 0; i < rounds; i++) {
        struct epoll_event event;
        must(write(asleep[1], "", 1) == 1, "pipe");
        must(epoll_wait(epoll, &event, 1, 10000) == 1, "epoll_wait");
        shared->latency[i] = hyla_now() - shared->happened;
        (channel ? take_news : take_event)(fd);
    }
}

/* --- who makes the events ---------------------------------------------------------------------------- */

static void happen(int channel, int rounds)
{
    char byte;
    for (int i = 0; i < rounds; i++) {
        must(read(asleep[0], &byte, 1) == 1, "pipe");
        for (uint64_t until = hyla_now() + PAUSE_NS; hyla_now() < until;)
            ;
        struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = right};
        shared->happened = hyla_now();
        if (channel)
            check(hyla_msg(&msg), "send");
        else
            must(write(event_fd, &(uint64_t){1}, 8) == 8, "eventfd");
    }
}

static int earlier(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 1000, channel = argc > 1 && strcmp(argv[1], "channel") == 0, status;
    if (argc < 2 || (!channel && strcmp(argv[1], "eventfd")) || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "Usage: bench_native_latency channel|eventfd [ROUNDS]\n");
        return 1;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(pipe(asleep) == 0, "pipe");
    if (channel) {
        check(hyla_start(), "no kernel");
        port = (hyla_handle_t)hyla_port_create(4);
        right = (hyla_handle_t)hyla_port_make_send(port, 0, HYLA_RIGHT_COPY);
    } else {
        event_fd = eventfd(0, 0);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(asleep[1]);
        happen(channel, rounds);
        _exit(0);
    }
    close(asleep[0]);
    watch(channel, rounds); /* the receive right is this process's */
    must(waitpid(pid, &status, 0) == pid && status == 0, "who makes the events");
    qsort(shared->latency, (size_t)rounds, sizeof shared->latency[0], earlier);
    printf("%llu\n", (unsigned long long)shared->latency[rounds / 2]);
    return 0;
}
