/*
 * Many clients of one server.
 *
 *     bench_native_crowd CLIENTS [SECONDS]     prints nanoseconds per call, all clients together, and the slowest client's share
 *     bench_native_crowd blocked CLIENTS       makes them wait, for whoever looks at the kernel's memory
 *
 * The server has one port and four threads that receive. Clients are threads, in ten processes, that call without a pause. The share is of
 * what it would be if all had the same: 1 is fair, 0 means that somebody was never served.
 *
 * `blocked` prints "before" and reads a byte; then all call and nobody receives: when all their messages wait it prints "blocked" and
 * reads until the end of its input; then it serves them, and ends well when everybody has been answered.
 */
#include <hyla/hyla.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 10u
#define RECEIVERS 4
#define STACK (64ul << 10)
#define CLIENTS_MAX 10000u
#define THREADS_MAX (CLIENTS_MAX / PROCESSES)

static struct shared {
    _Atomic uint32_t ready, go, stop, failed;
    uint64_t served[CLIENTS_MAX];
} *shared;

static hyla_handle_t port, right;

static void tell_ready(void) { syscall(SYS_futex, &shared->ready, FUTEX_WAKE, 1, NULL, NULL, 0); }

static void check(int64_t result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "bench_native_crowd: %s: %s\n", what, hyla_error_text(result));
    shared->failed = 1;
    atomic_fetch_add(&shared->ready, CLIENTS_MAX); /* enough for everybody: who waits looks */
    tell_ready();
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
    tell_ready();
    while (!shared->stop) {
        check(hyla_msg(&msg), "call");
        shared->served[number] += shared->go; /* counted once all are calling */
    }
    return NULL;
}

/* All stacks of a process are one mapping: what is to be seen is what callers cost, not mappings. */
static void start_thread(void *(*function)(void *), uint64_t argument)
{
    static char *stacks;
    static uint64_t used = THREADS_MAX;
    pthread_t thread;
    pthread_attr_t attributes;
    if (used == THREADS_MAX) {
        stacks = mmap(NULL, THREADS_MAX * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        used = 0;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stacks + used++ * STACK, STACK);
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
    for (uint32_t seen; (seen = shared->ready) < clients;)
        syscall(SYS_futex, &shared->ready, FUTEX_WAIT, seen, NULL, NULL, 0);
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

static void prepare(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(hyla_start(), "no kernel");
    int64_t made = hyla_port_create(0);
    check(made, "port_create");
    port = (hyla_handle_t)made;
    made = hyla_port_make_send(port, 0, HYLA_RIGHT_COPY);
    check(made, "port_make_send");
    right = (hyla_handle_t)made;
}

static void start_all_clients(pid_t *children, uint32_t clients)
{
    for (uint32_t i = 0; i < PROCESSES; i++)
        children[i] = start_clients(i, clients);
}

static void start_receivers(void)
{
    for (uint32_t i = 0; i < RECEIVERS; i++)
        start_thread(receive, i);
}

static void throughput(pid_t *children, uint32_t clients, double seconds)
{
    start_all_clients(children, clients);
    start_receivers();
    until_ready(clients);
    uint64_t start = hyla_now();
    shared->go = 1;
    check(hyla_sleep(start + (uint64_t)(seconds * 1e9)), "sleep"); /* what is measured */
    double elapsed = (double)(hyla_now() - start);
    shared->stop = 1;
    report(clients, elapsed);
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void blocked(pid_t *children, uint32_t clients)
{
    struct hyla_port_info info = {0};
    char byte;
    shared->stop = 1; /* one call each */
    say("before");
    check(read(0, &byte, 1) == 1 ? 0 : -5, "input");
    start_all_clients(children, clients);
    while (info.messages < clients && !shared->failed) {
        usleep(1000);
        check(hyla_port_info(port, &info), "port_info");
    }
    say("blocked");
    while (read(0, &byte, 1) == 1)
        ;
    start_receivers();
    until_ready(clients);
}

int main(int argc, char **argv)
{
    bool wait = argc > 2 && strcmp(argv[1], "blocked") == 0;
    uint32_t clients = argc > 1 + wait ? (uint32_t)atoi(argv[1 + wait]) : 0;
    pid_t children[PROCESSES];
    if (clients < PROCESSES || clients > CLIENTS_MAX) {
        fprintf(stderr, "Usage: bench_native_crowd CLIENTS [SECONDS] | blocked CLIENTS\n");
        return 1;
    }
    prepare();
    if (wait)
        blocked(children, clients);
    else
        throughput(children, clients, argc > 2 ? atof(argv[2]) : 1);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    return (int)shared->failed;
}
