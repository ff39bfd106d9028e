/*
 * The blocking pool: a few host threads for host calls that may wait (a cold read, a directory on a slow
 * disk), so that no worker is ever stuck in one. Started one by one as they are needed, at most POOL_MAX.
 *
 * The microthread suspends; the pool's thread puts the finished job on a list and rings an eventfd; a
 * worker then wakes the microthread, since the scheduler is called only from workers.
 */
#include "body/linux/client.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define POOL_MAX 16u

struct job {
    struct list link;
    int64_t (*function)(void *argument);
    void *argument;
    int64_t result;
    struct thread *thread;
    struct atomic32 done;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct list jobs, finished;
    uint32_t threads, idle;
    struct host_watch watch;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .watch.fd = -1};

static void finished_ready(struct host_watch *watch, UNUSED uint32_t events)
{
    struct list finished;
    uint64_t count;
    list_init(&finished);
    if (read(watch->fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return;
    pthread_mutex_lock(&pool.mutex);
    list_splice_back(&finished, &pool.finished);
    pthread_mutex_unlock(&pool.mutex);
    for (struct list *node; (node = list_pop_front(&finished));) {
        struct job *job = LIST_ENTRY(node, struct job, link);
        struct thread *thread = job->thread;
        atomic32_store(&job->done, 1); /* the job may be gone from here on */
        thread_wake(thread);
        object_unref(thread);
    }
}

static void *pool_thread(UNUSED void *argument)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&pool.mutex);
    for (;;) {
        while (list_empty(&pool.jobs)) {
            pool.idle++;
            pthread_cond_wait(&pool.work, &pool.mutex);
            pool.idle--;
        }
        struct job *job = LIST_ENTRY(list_pop_front(&pool.jobs), struct job, link);
        pthread_mutex_unlock(&pool.mutex);
        job->result = job->function(job->argument);
        pthread_mutex_lock(&pool.mutex);
        list_push_back(&pool.finished, &job->link);
        uint64_t one = 1;
        if (write(pool.watch.fd, &one, sizeof one) < 0)
            KASSERT(errno == EAGAIN);
    }
    return NULL;
}

static bool pool_start_locked(void)
{
    if (pool.watch.fd < 0) {
        list_init(&pool.jobs);
        list_init(&pool.finished);
        pool.watch = (struct host_watch){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = finished_ready};
        if (pool.watch.fd < 0 || host_watch_add(&pool.watch, EPOLLIN) < 0)
            return false;
    }
    pthread_t thread;
    if (pool.idle == 0 && pool.threads < POOL_MAX && pthread_create(&thread, NULL, pool_thread, NULL) == 0) {
        pthread_detach(thread);
        pool.threads++;
    }
    return pool.threads > 0;
}

int64_t host_call(int64_t (*function)(void *argument), void *argument)
{
    struct thread *thread = thread_current();
    if (!thread)
        return function(argument);
    struct job job = {.function = function, .argument = argument, .thread = object_ref(thread)};
    list_init(&job.link);
    pthread_mutex_lock(&pool.mutex);
    bool started = pool_start_locked();
    if (started) {
        list_push_back(&pool.jobs, &job.link);
        pthread_cond_signal(&pool.work);
    }
    pthread_mutex_unlock(&pool.mutex);
    if (!started) { /* no thread to be had: better slow than wrong */
        object_unref(thread);
        return function(argument);
    }
    STATISTIC(host_calls_pooled, 1);
    while (!atomic32_load(&job.done))
        thread_suspend();
    return job.result;
}
