/*
 * Many clients of one server.
 *
 *     bench_native_crowd CLIENTS [SECONDS]     prints nanoseconds per call, all clients together, and the slowest client's share
 *
 * The server has one port and four threads that receive. Clients are threads, in ten processes, that call without a pause. The share is of what it would be if all had the same: 1 is fair, 0 means that somebody was never served.
 */
#include <hyla/hyla.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 10u
#define RECEIVERS 4
#define STACK (64 << 10)
#define CLIENTS_MAX 10000u

static struct shared {
    _Atomic uint32_t ready, go, stop, failed;
    uint64_t served[CLIENTS_MAX];
} *shared;

static hyla_handle_t port, right;

static void check(int64_t result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "bench_native_crowd: %s: %s\n", what, hyla_error_text(result));
    shared->failed = 1;
    _exit(1);
}

static void *receive(void *unused)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port};
    for (;;) {
        check(hyla_msg(&msg), "reply and wait");
        msg.flags = HYLA_MSG_SEND | HYLA_MSG_RECEIVE;
        msg.to = msg.reply;
    }
    return unused;
}

static void *client(void *argument)
{
    uint64_t number = (uintptr_t)argument;
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = right};
    check(hyla_msg(&msg), "first call");
    atomic_fetch_add(&shared->ready, 1);
    while (!shared->stop) {
        check(hyla_msg(&msg), "call");
        shared->served[number] += shared->go; /* counted once all are calling */
    }
    return NULL;
}

static void start_thread(void *(*function)(void *), uint64_t argument)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    check(-pthread_create(&thread, &attributes, function, (void *)(uintptr_t)argument), "pthread_create");
}

static pid_t start_clients(uint32_t first, uint32_t clients)
{
    pid_t pid = fork();
    check(pid, "fork");
    if (pid)
        return pid;
    for (uint32_t i = first; i < clients; i += PROCESSES)
        start_thread(client, i);
    for (;;)
        pause();
}

static void until_ready(uint32_t clients)
{
    while (shared->ready < clients && !shared->failed)
        usleep(1000);
    if (shared->failed)
        exit(1);
}

static void report(uint32_t clients, double elapsed)
{
    uint64_t total = 0, least = UINT64_MAX;
    for (uint32_t i = 0; i < clients; i++) {
        total += shared->served[i];
        least = shared->served[i] < least ? shared->served[i] : least;
    }
    printf("%.1f %.3f\n", elapsed / (double)total, (double)least * clients / (double)total);
}

int main(int argc, char **argv)
{
    uint32_t clients = argc > 1 ? (uint32_t)atoi(argv[1]) : 0;
    double seconds = argc > 2 ? atof(argv[2]) : 1;
    pid_t children[PROCESSES];
    if (clients < PROCESSES || clients > CLIENTS_MAX) {
        fprintf(stderr, "Usage: bench_native_crowd CLIENTS [SECONDS]\n");
        return 1;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(hyla_start(), "no kernel");
    int64_t made = hyla_port_create(0);
    check(made, "port_create");
    port = (hyla_handle_t)made;
    made = hyla_port_make_send(port, 0, HYLA_RIGHT_COPY);
    check(made, "port_make_send");
    right = (hyla_handle_t)made;
    for (uint32_t i = 0; i < PROCESSES; i++)
        children[i] = start_clients(i, clients);
    for (uint32_t i = 0; i < RECEIVERS; i++)
        start_thread(receive, i);
    until_ready(clients);
    uint64_t start = hyla_now();
    shared->go = 1;
    usleep((useconds_t)(seconds * 1e6));
    double elapsed = (double)(hyla_now() - start);
    shared->stop = 1;
    report(clients, elapsed);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    return shared->failed;
}
