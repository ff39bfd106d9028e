/* Signals and threads: masks of their own, who gets a signal of the process, sigsuspend, ppoll, wide parallel traffic. */
#include "signal_check.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>

static volatile sig_atomic_t count;
static _Atomic pid_t receiver;
static sem_t ready, received, go;

static void note(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    receiver = gettid();
    count++;
    sem_post(&received);
}

static void wait_sem(sem_t *semaphore)
{
    while (sem_wait(semaphore) == -1)
        CHECK(errno == EINTR);
}

static _Atomic pid_t open_tid;
static atomic_bool finish;

static void *open_thread(void *argument)
{
    (void)argument;
    open_tid = gettid();
    unblock(SIGUSR1);
    sem_post(&ready);
    wait_sem(&go);
    return NULL;
}

/* Only one thread lets it in: it gets it. */
static void chooses_open_thread(void)
{
    pthread_t thread;
    handle(SIGUSR1, note, 0);
    block(SIGUSR1);
    CHECK(pthread_create(&thread, NULL, open_thread, NULL) == 0);
    wait_sem(&ready);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    wait_sem(&received);
    CHECK(receiver == open_tid);
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    wait_sem(&received);
    sem_post(&go);
    CHECK(pthread_join(thread, NULL) == 0);
    unblock(SIGUSR1);
}

static void *blocked_thread(void *argument)
{
    (void)argument;
    sigset_t pending;
    sem_post(&ready);
    while (!finish)
        sched_yield();
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    unblock(SIGUSR1);
    CHECK(receiver == gettid());
    return NULL;
}

/* A signal to a thread waits for that thread, although another one would take it. */
static void stays_with_thread(void)
{
    pthread_t thread;
    finish = false;
    block(SIGUSR1);
    CHECK(pthread_create(&thread, NULL, blocked_thread, NULL) == 0);
    wait_sem(&ready);
    unblock(SIGUSR1);
    count = 0;
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    CHECK(count == 0);
    finish = true;
    CHECK(pthread_join(thread, NULL) == 0 && count == 1);
    wait_sem(&received);
}

static void *spin_thread(void *argument)
{
    (void)argument;
    sem_post(&ready);
    while (!count)
        ;
    return NULL;
}

/* It reaches a thread that makes no calls. */
static void reaches_computing_thread(void)
{
    pthread_t thread;
    count = 0;
    CHECK(pthread_create(&thread, NULL, spin_thread, NULL) == 0);
    wait_sem(&ready);
    CHECK(pthread_kill(thread, SIGUSR1) == 0 && pthread_join(thread, NULL) == 0);
    wait_sem(&received);
}

static void suspends_atomically(void)
{
    sigset_t empty, now;
    sigemptyset(&empty);
    block(SIGUSR1);
    count = 0;
    CHECK(kill(getpid(), SIGUSR1) == 0 && count == 0);
    CHECK_ERROR(sigsuspend(&empty), EINTR);
    CHECK(count == 1 && sigprocmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGUSR1));
    wait_sem(&received);
    struct timespec none = {0};
    struct pollfd nothing;
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK_ERROR(ppoll(&nothing, 0, NULL, &empty), EINTR);
    CHECK(count == 2);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK_ERROR(pselect(0, NULL, NULL, NULL, NULL, &empty), EINTR);
    CHECK(count == 3);
    int epoll = epoll_create1(0);
    struct epoll_event event;
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK_ERROR(epoll_pwait(epoll, &event, 1, -1, &empty), EINTR);
    CHECK(count == 4);
    close(epoll);
    /* A wait that succeeds at once does not deliver what only its mask let in... or does: both are seen. */
    int fds[2];
    CHECK(pipe(fds) == 0 && write(fds[1], "x", 1) == 1);
    struct pollfd one = {.fd = fds[0], .events = POLLIN};
    CHECK(ppoll(&one, 1, &none, &empty) == 1 && one.revents == POLLIN);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGUSR1));
    unblock(SIGUSR1);
    close(fds[0]), close(fds[1]);
    while (sem_trywait(&received) == 0)
        ;
}

enum { SENDERS = 3, EACH = 200 };
static atomic_int queued;

static void tally(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    queued++;
}

static void *sender(void *argument)
{
    union sigval value = {0};
    (void)argument;
    block(SIGRTMIN);
    for (int i = 0; i < EACH; i++)
        while (sigqueue(getpid(), SIGRTMIN, value) == -1)
            CHECK(errno == EAGAIN);
    return NULL;
}

/* None is lost, none comes twice. */
static void parallel_senders(void)
{
    pthread_t threads[SENDERS];
    handle(SIGRTMIN, tally, SA_RESTART);
    for (int i = 0; i < SENDERS; i++)
        CHECK(pthread_create(&threads[i], NULL, sender, NULL) == 0);
    for (int i = 0; i < SENDERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    while (queued < SENDERS * EACH)
        sched_yield();
    CHECK(queued == SENDERS * EACH);
}

static pid_t main_tid;
static void *fault_thread(void *argument)
{
    (void)argument;
    *(volatile int *)8 = 1;
    return NULL;
}

static void thread_fault_kills_all(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fault_thread, NULL) == 0);
    for (;;)
        pause();
}

int main(void)
{
    sem_init(&ready, 0, 0);
    sem_init(&go, 0, 0);
    sem_init(&received, 0, 0);
    main_tid = gettid();
    chooses_open_thread();
    stays_with_thread();
    reaches_computing_thread();
    suspends_atomically();
    parallel_senders();
    int status = status_of(thread_fault_kills_all);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    return 0;
}
