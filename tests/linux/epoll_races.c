/* epoll under concurrency: no edge is lost, one-shots fire once, files and epolls may die meanwhile. */
#include "event_check.h"

#define ROUNDS 20000

static int ep, fds[2];
static _Atomic uint64_t sent, received;

static void *edge_writer(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        ssize_t done = write(fds[1], "abc", 1 + i % 3);
        CHECK(done == 1 + i % 3);
        sent += done;
    }
    close(fds[1]);
    return NULL;
}

/* The reader sleeps after each drain: a lost edge would leave it there for ever. */
static void edges(void)
{
    pthread_t thread;
    struct epoll_event event = {EPOLLIN | EPOLLET, {0}};
    char buffer[64];
    bool end = false;
    CHECK(pipe(fds) == 0 && fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    ep = epoll_create1(0);
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event) == 0);
    CHECK(pthread_create(&thread, NULL, edge_writer, NULL) == 0);
    while (!end) {
        ssize_t part;
        CHECK(epoll_wait(ep, &event, 1, -1) == 1);
        while ((part = read(fds[0], buffer, sizeof buffer)) > 0)
            received += part;
        CHECK(part == 0 || errno == EAGAIN);
        end = part == 0;
    }
    CHECK(pthread_join(thread, NULL) == 0 && sent == received);
    close(fds[0]);
    close(ep);
}

static int counter;
static _Atomic int taken, busy;

static void *one_shot_worker(void *argument)
{
    (void)argument;
    for (;;) {
        struct epoll_event event;
        uint64_t value;
        CHECK(epoll_wait(ep, &event, 1, -1) == 1);
        if (event.data.fd != counter)
            return NULL;
        CHECK(++busy == 1); /* armed again only below */
        CHECK(read(counter, &value, 8) == 8);
        taken += value;
        busy--;
        event = (struct epoll_event){EPOLLIN | EPOLLONESHOT, {.fd = counter}};
        CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, counter, &event) == 0);
    }
}

static void one_shots(void)
{
    pthread_t threads[3];
    int stop = eventfd(0, 0);
    uint64_t value = 1;
    struct epoll_event event = {EPOLLIN | EPOLLONESHOT, {.fd = 0}};
    ep = epoll_create1(0);
    counter = eventfd(0, 0);
    event.data.fd = counter;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, counter, &event) == 0);
    event = (struct epoll_event){EPOLLIN, {.fd = stop}};
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, stop, &event) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, one_shot_worker, NULL) == 0);
    for (int i = 0; i < 3000; i++)
        CHECK(write(counter, &value, 8) == 8);
    while (taken < 3000)
        sched_yield();
    CHECK(write(stop, &value, 8) == 8);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    close(ep);
    close(counter);
    close(stop);
}

static _Atomic bool stop_churn;

static void *churn(void *argument)
{
    (void)argument;
    while (!stop_churn) {
        struct epoll_event event = {EPOLLIN | EPOLLET, {.fd = -1}};
        int fd = eventfd(1, EFD_NONBLOCK), copy = dup(fd);
        CHECK(fd >= 0 && copy >= 0);
        CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) == 0 && epoll_ctl(ep, EPOLL_CTL_ADD, copy, &event) == 0);
        CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, copy, NULL) == 0);
        close(copy);
        close(fd);
    }
    return NULL;
}

/* Files come and go while others collect, and epolls that watch the same file come and go. */
static void deaths(void)
{
    pthread_t threads[2];
    struct epoll_event events[8], event = {EPOLLIN, {.fd = 5}};
    int lasting = eventfd(1, 0);
    ep = epoll_create1(0);
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, lasting, &event) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    for (int i = 0; i < 2000; i++) {
        int other = epoll_create1(0);
        CHECK(epoll_ctl(other, EPOLL_CTL_ADD, lasting, &event) == 0);
        CHECK(epoll_ctl(other, EPOLL_CTL_ADD, ep, &event) == 0);
        CHECK(epoll_wait(ep, events, 8, -1) >= 1 && epoll_wait(other, events, 8, -1) >= 1);
        close(other);
    }
    stop_churn = true;
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(epoll_wait(ep, events, 8, 0) == 1 && events[0].data.fd == 5);
    close(lasting);
    close(ep);
}

int main(void)
{
    edges();
    one_shots();
    deaths();
    return 0;
}
