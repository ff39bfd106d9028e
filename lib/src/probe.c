/*
 * Which world is this? A native call made as a plain system call tells: Hyla answers it, bare Linux says ENOSYS. Then there is
 * a server to attach to, or nothing.
 *
 * The answer is kept in one word. Finding it out holds a mutex with all signals blocked, so that a handler of the same thread
 * never waits for it. The fork handlers take the same mutex: no fork happens in the middle of a check-in.
 */
#include "lib/src/call.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint32_t world; /* enum hyla_world; BARE: not known, or none */
static _Atomic bool stopped;
static const char *chosen_path;
static bool fork_handlers;
static struct {
    sigset_t signals;
    uint64_t token;
} forking; /* under the mutex, from before a fork until after it */

static void block_signals(sigset_t *old)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, old);
}

/* --- fork -------------------------------------------------------------------------------------------- */

static void before_fork(void)
{
    sigset_t signals;
    block_signals(&signals);
    pthread_mutex_lock(&mutex);
    forking.signals = signals;
    forking.token = 0;
    if (atomic_load(&world) == HYLA_WORLD_ATTACHED && hyla_fork_prepare(&forking.token) < 0)
        forking.token = 0;
}

static void after_fork(void)
{
    sigset_t signals = forking.signals;
    pthread_mutex_unlock(&mutex);
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
}

/* The child checks in at once, as a child; when it cannot, its first call says why. */
static void in_child(void)
{
    if (atomic_load(&world) == HYLA_WORLD_ATTACHED) {
        attach_drop_inherited();
        atomic_store(&world, HYLA_WORLD_BARE);
        if (forking.token && attach(chosen_path, forking.token) == 0)
            atomic_store(&world, HYLA_WORLD_ATTACHED);
    }
    after_fork();
}

/* --- starting ---------------------------------------------------------------------------------------- */

static int find_out_locked(const char *path)
{
    const uint64_t nothing[6] = {0};
    if (atomic_load(&world) != HYLA_WORLD_BARE)
        return 0;
    if (raw_call(HYLA_CALL_PROBE, nothing) > 0) {
        atomic_store(&world, HYLA_WORLD_MANAGED);
        return 0;
    }
    int error = attach(path, 0);
    if (error)
        return error;
    if (!fork_handlers && pthread_atfork(before_fork, after_fork, in_child) == 0)
        fork_handlers = true;
    chosen_path = path;
    atomic_store(&world, HYLA_WORLD_ATTACHED);
    return 0;
}

static int start_at(const char *path)
{
    sigset_t signals;
    block_signals(&signals);
    pthread_mutex_lock(&mutex);
    int error = find_out_locked(path);
    pthread_mutex_unlock(&mutex);
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
    return error;
}

int hyla_start_at(const char *path)
{
    if (atomic_load(&world) != HYLA_WORLD_BARE)
        return -EALREADY;
    char *copy = path ? strdup(path) : NULL;
    if (path && !copy)
        return -ENOMEM;
    atomic_store(&stopped, false);
    int error = start_at(copy);
    if (error)
        free(copy);
    return error;
}

int hyla_start(void)
{
    atomic_store(&stopped, false);
    return start_at(NULL);
}

void hyla_stop(void)
{
    sigset_t signals;
    block_signals(&signals);
    pthread_mutex_lock(&mutex);
    atomic_store(&stopped, true);
    if (atomic_load(&world) == HYLA_WORLD_ATTACHED) {
        atomic_store(&world, HYLA_WORLD_BARE);
        detach();
    }
    pthread_mutex_unlock(&mutex);
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
}

enum hyla_world world_now(int *error)
{
    *error = 0;
    uint32_t now = atomic_load_explicit(&world, memory_order_acquire);
    if (__builtin_expect(now == HYLA_WORLD_BARE, 0)) {
        *error = atomic_load(&stopped) ? -ENOTCONN : start_at(NULL);
        now = atomic_load(&world);
    }
    return (enum hyla_world)now;
}

int hyla_world(void)
{
    int error;
    return world_now(&error);
}

/* --- the door ---------------------------------------------------------------------------------------- */

int64_t hyla_call(const struct hyla_plan *plan, const uint64_t arguments[6])
{
    int error;
    switch (world_now(&error)) {
    case HYLA_WORLD_MANAGED: return raw_call(plan->number, arguments);
    case HYLA_WORLD_ATTACHED: return post_call(plan, arguments);
    default: return error ? error : -ENOSYS;
    }
}

int64_t hyla_syscall(uint64_t number, const uint64_t arguments[6])
{
    const struct hyla_plan plan = {.number = number < UINT32_MAX ? (uint32_t)number : UINT32_MAX};
    return hyla_call(&plan, arguments);
}

uint64_t hyla_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const char *hyla_error_text(int64_t error) { return strerror(error < 0 && error > -4096 ? (int)-error : 0); }
