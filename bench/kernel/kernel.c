/*
 * What a microthread costs, measured inside the server with one worker: a switch, a parked thread's memory, a call
 * through a port with its reply.
 */
#include "body/linux/host.h"
#include "kernel/alloc.h"
#include "kernel/port.h"
#include "kernel/thread.h"
#include "kernel/waitq.h"

#include <malloc.h>
#include <stdio.h>
#include <time.h>

#define SWITCHES 2000000u
#define PARKED 10000u

static struct waitq done;
static struct atomic32 running;

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void yield_many(void *unused)
{
    (void)unused;
    for (uint32_t i = 0; i < SWITCHES; i++)
        thread_yield();
    atomic32_sub(&running, 1);
    waitq_wake_all(&done);
}

/* Two threads that hand the CPU to and fro: each yield is one switch. */
static double switch_time(void)
{
    atomic32_store(&running, 2);
    struct thread *threads[2];
    for (int i = 0; i < 2; i++)
        threads[i] = thread_create("yield", NULL, yield_many, NULL);
    double start = now_ns();
    for (int i = 0; i < 2; i++)
        thread_start(threads[i]);
    while (atomic32_load(&running))
        waitq_sleep(&done, NULL, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
    double spent = now_ns() - start;
    for (int i = 0; i < 2; i++)
        object_unref(threads[i]);
    return spent / (2.0 * SWITCHES);
}

static void never(void *unused) { (void)unused; }

static double parked_size(void)
{
    struct thread **threads = kcalloc(PARKED, sizeof *threads);
    if (!threads)
        return -1;
    size_t before = mallinfo2().uordblks;
    for (uint32_t i = 0; i < PARKED; i++)
        threads[i] = thread_create_parked("parked", NULL, never, NULL);
    size_t after = mallinfo2().uordblks;
    for (uint32_t i = 0; i < PARKED; i++) {
        thread_discard_parked(threads[i]);
        object_unref(threads[i]);
    }
    kfree(threads);
    return (double)(after - before) / PARKED;
}

/* --- a call and its reply --------------------------------------------------------------------------- */

static struct handle_table server_table, client_table;
static handle_t receive, send;

static int message_prepare(struct port_thread *self, uint32_t size, uint64_t word)
{
    int error = port_message_prepare(self, size, 0);
    if (!error)
        port_message_of(self)->words[0] = word;
    return error;
}

/* Replies and waits, until a message has no reply right. */
static void serve(void *unused)
{
    (void)unused;
    struct port_thread *self = port_thread_self();
    struct port_request request = {.flags = PORT_RECEIVE, .from = receive, .table = &server_table, .bytes_max = 4096};
    while (self && port_msg(self, &request) == 0 && port_answer_of(self)->reply != HANDLE_NONE) {
        request.flags = PORT_SEND | PORT_RECEIVE;
        request.to = port_answer_of(self)->reply;
        if (message_prepare(self, port_message_of(self)->size, 1) != 0)
            break;
    }
    atomic32_sub(&running, 1);
    waitq_wake_all(&done);
}

static double calls(uint32_t size, uint32_t count)
{
    struct port_thread *self = port_thread_self();
    struct port_request request = {.flags = PORT_SEND | PORT_CALL, .to = send, .table = &client_table, .bytes_max = 4096};
    double start = now_ns();
    for (uint32_t i = 0; i < count; i++)
        if (!self || message_prepare(self, size, i) != 0 || port_msg(self, &request) != 0)
            return -1;
    return (now_ns() - start) / count;
}

static void end_server(void)
{
    struct port_thread *self = port_thread_self();
    struct port_request request = {.flags = PORT_SEND, .to = send, .table = &client_table};
    if (message_prepare(self, 0, 0) == 0)
        port_msg(self, &request);
    while (atomic32_load(&running))
        waitq_sleep(&done, NULL, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
}

/* Nanoseconds of a call with its reply: two switches, two messages. */
static void call_time(double *empty, double *small)
{
    struct handle_value value;
    handle_table_init(&server_table, 100);
    handle_table_init(&client_table, 100);
    if (port_create(&server_table, 0, &receive) != 0 || port_make_send(&server_table, receive, 1, 0, &send) != 0)
        return;
    if (handle_take(&server_table, send, &value) != 0 || handle_insert(&client_table, &value, &send) != 0)
        return;
    handle_dropped(&value);
    atomic32_store(&running, 1);
    struct thread *server = thread_create("server", NULL, serve, NULL);
    if (!server)
        return;
    thread_start(server);
    for (int i = 0; i < 5; i++) {
        double one = calls(0, SWITCHES / 10), two = calls(100, SWITCHES / 10);
        *empty = one < *empty ? one : *empty;
        *small = two < *small ? two : *small;
    }
    end_server();
    object_unref(server);
    handle_table_destroy(&client_table);
    handle_table_destroy(&server_table);
}

static void first(void *unused)
{
    (void)unused;
    waitq_init(&done);
    double best = switch_time();
    for (int i = 0; i < 4; i++) {
        double again = switch_time();
        best = again < best ? again : best;
    }
    printf("microthread switch %.2f\n", best);
    printf("parked thread %.0f\n", parked_size());
    double empty = 1e9, small = 1e9;
    call_time(&empty, &small);
    printf("call and reply %.1f\n", empty);
    printf("call and reply with 100 bytes %.1f\n", small);
    fflush(stdout);
    host_stop(0);
}

int main(void)
{
    const char *why = "";
    struct host_options options = {.workers = 1};
    int error = host_init(&options, &why);
    if (error) {
        fprintf(stderr, "bench_kernel: %s\n", why);
        return 1;
    }
    return host_run(first, NULL);
}
