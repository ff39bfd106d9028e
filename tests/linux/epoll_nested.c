/* epoll in epoll: readiness through several levels, loops, depth; exclusive waiting. */
#include "event_check.h"

static int add(int ep, int fd, uint32_t events)
{
    struct epoll_event event = {events, {.fd = fd}};
    return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) ? errno : 0;
}

static void levels(void)
{
    struct epoll_event event;
    int chain[4], fd = eventfd(0, 0);
    uint64_t value = 1;
    for (int i = 0; i < 4; i++)
        CHECK((chain[i] = epoll_create1(0)) >= 0);
    CHECK(add(chain[3], fd, EPOLLIN) == 0);
    for (int i = 2; i >= 0; i--)
        CHECK(add(chain[i], chain[i + 1], EPOLLIN) == 0);
    CHECK(epoll_wait(chain[0], &event, 1, 0) == 0 && poll_one(chain[0], POLLIN) == 0);
    pid_t child = fork();
    if (!child)
        _exit(write(fd, &value, 8) != 8);
    CHECK(epoll_wait(chain[0], &event, 1, -1) == 1 && event.data.fd == chain[1]);
    for (int i = 0; i < 4; i++)
        CHECK(poll_one(chain[i], POLLIN) == POLLIN);
    child_done(child);
    CHECK(read(fd, &value, 8) == 8);
    for (int i = 0; i < 4; i++)
        CHECK(poll_one(chain[i], POLLIN) == 0);
    child = fork();
    if (!child)
        _exit(write(fd, &value, 8) != 8);
    struct pollfd one = {chain[0], POLLIN, 0};
    CHECK(poll(&one, 1, -1) == 1);
    child_done(child);
    CHECK(epoll_wait(chain[3], &event, 1, 0) == 1 && event.data.fd == fd);
    close(chain[1]);
    CHECK(epoll_wait(chain[0], &event, 1, 0) == 0);
    close(chain[0]);
    close(chain[2]);
    close(chain[3]);
    close(fd);
}

static void loops_and_depth(void)
{
    int eps[8];
    for (int i = 0; i < 8; i++)
        CHECK((eps[i] = epoll_create1(0)) >= 0);
    for (int i = 0; i < 4; i++)
        CHECK(add(eps[i], eps[i + 1], EPOLLIN) == 0);
    CHECK(add(eps[4], eps[5], EPOLLIN) == ELOOP);
    CHECK(add(eps[5], eps[0], EPOLLIN) == ELOOP);
    CHECK(add(eps[4], eps[0], EPOLLIN) == ELOOP && add(eps[1], eps[0], EPOLLIN) == ELOOP);
    CHECK(add(eps[5], eps[6], EPOLLIN) == 0 && add(eps[6], eps[5], EPOLLIN) == ELOOP);
    CHECK(add(eps[5], eps[2], EPOLLIN) == 0); /* a diamond is no loop */
    CHECK(add(eps[6], eps[2], EPOLLIN) == 0);
    CHECK(add(eps[3], eps[5], EPOLLIN) == ELOOP);
    for (int i = 0; i < 8; i++)
        close(eps[i]);
}

static int shared, source;
static _Atomic int woken;

static void *waiter(void *argument)
{
    struct epoll_event event;
    int ep = argument ? epoll_create1(0) : shared;
    if (argument)
        CHECK(add(ep, source, EPOLLIN | EPOLLEXCLUSIVE) == 0);
    CHECK(epoll_wait(ep, &event, 1, -1) == 1);
    woken++;
    uint64_t value;
    CHECK(read(source, &value, 8) == 8);
    if (argument)
        close(ep);
    return NULL;
}

/* However many threads wait, each gets its event. */
static void all_served(bool own)
{
    pthread_t threads[6];
    uint64_t value = 1;
    woken = 0;
    source = eventfd(0, EFD_SEMAPHORE);
    shared = epoll_create1(0);
    CHECK(add(shared, source, EPOLLIN) == 0);
    for (int i = 0; i < 6; i++)
        CHECK(pthread_create(&threads[i], NULL, waiter, own ? &own : NULL) == 0);
    for (int i = 0; i < 6; i++)
        CHECK(write(source, &value, 8) == 8);
    for (int i = 0; i < 6; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(woken == 6);
    close(source);
    close(shared);
}

static void exclusive_rules(void)
{
    int ep = epoll_create1(0), inner = epoll_create1(0), fd = eventfd(0, 0);
    struct epoll_event event = {EPOLLIN | EPOLLEXCLUSIVE, {0}};
    CHECK(add(ep, inner, EPOLLIN | EPOLLEXCLUSIVE) == EINVAL);
    CHECK(add(ep, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT) == EINVAL);
    CHECK(add(ep, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET | EPOLLWAKEUP) == 0);
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event), EINVAL);
    event.events = EPOLLIN;
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event), EINVAL);
    CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL) == 0);
    close(ep);
    close(inner);
    close(fd);
}

int main(void)
{
    levels();
    loops_and_depth();
    all_served(false);
    all_served(true);
    exclusive_rules();
    return 0;
}
