/*
 * What a microthread costs, measured inside the server with one worker: a switch, and a parked thread's memory.
 */
#include "body/linux/host.h"
#include "kernel/alloc.h"
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
