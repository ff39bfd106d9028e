/*
 * Making threads that others hold: a thread of the C library's, with a handle to it, that stands still until it is resumed if that is
 * wanted. The library makes it, since only the library can give it a stack and its thread-local memory; so it is the same in all worlds.
 */
#include "lib/src/call.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

struct creation {
    void *(*function)(void *);
    void *argument;
    bool stopped;
    int64_t self; /* the thread's handle to itself, or why there is none */
    sem_t told, taken;
};

static void sem_wait_through(sem_t *sem)
{
    while (sem_wait(sem) < 0 && errno == EINTR)
        ;
}

static void *begin(void *argument)
{
    struct creation *creation = argument;
    void *(*function)(void *) = creation->function, *given = creation->argument;
    bool stopped = creation->stopped;
    int64_t self = creation->self = hyla_thread_self();
    sem_post(&creation->told);
    sem_wait_through(&creation->taken); /* the creator has seen it: what it stands in may go when the next line has run */
    sem_post(&creation->told);
    if (self < 0)
        return NULL;
    if (stopped)
        hyla_thread_suspend((hyla_handle_t)self, HYLA_NEVER);
    return function(given);
}

/* Until the thread stands still by its own suspension, which is then the only one. It makes it without waiting for anybody. */
static int64_t await_stop(hyla_handle_t thread)
{
    struct hyla_thread_info info = {0};
    int64_t error;
    do {
        error = hyla_thread_suspend(thread, HYLA_NEVER);
        if (!error)
            error = hyla_thread_info(thread, &info);
        if (!error)
            error = hyla_thread_resume(thread);
    } while (!error && info.suspensions < 2);
    return error;
}

int64_t hyla_thread_create(void *(*function)(void *), void *argument, uint32_t flags)
{
    struct creation creation = {.function = function, .argument = argument, .stopped = flags & HYLA_THREAD_STOPPED};
    pthread_attr_t attributes;
    pthread_t thread;
    if (flags & ~(uint32_t)HYLA_THREAD_STOPPED)
        return -EINVAL;
    sem_init(&creation.told, 0, 0);
    sem_init(&creation.taken, 0, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attributes, begin, &creation);
    pthread_attr_destroy(&attributes);
    if (error)
        return -error;
    sem_wait_through(&creation.told);
    int64_t result = creation.self;
    sem_post(&creation.taken);
    sem_wait_through(&creation.told);
    int64_t stopped = result > 0 && creation.stopped ? await_stop((hyla_handle_t)result) : 0;
    return stopped ? stopped : result;
}
