/* epoll: adding and removing, level and edge, one-shot, limits, fairness, masks, death of a watched file. */
#include "event_check.h"

static int ep, fds[2];

static void control(int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {events, {.u64 = data}};
    CHECK(epoll_ctl(ep, op, fd, &event) == 0);
}

static int wait_events(struct epoll_event *events, int limit) { return epoll_wait(ep, events, limit, 0); }

/* The events of the only ready item, or 0. */
static uint32_t one(uint64_t data)
{
    struct epoll_event events[4];
    int count = wait_events(events, 4);
    CHECK(count >= 0 && count <= 1);
    CHECK(!count || events[0].data.u64 == data);
    return count ? events[0].events : 0;
}

static void put(void) { CHECK(write(fds[1], "x", 1) == 1); }
static void get(void)
{
    char byte;
    CHECK(read(fds[0], &byte, 1) == 1);
}

static void errors(void)
{
    struct epoll_event event = {EPOLLIN, {0}};
    int file = open("/tmp", O_RDONLY | O_DIRECTORY), regular = open("/proc/self/exe", O_RDONLY);
    CHECK_ERROR(epoll_create(0), EINVAL);
    CHECK_ERROR(epoll_create1(1), EINVAL);
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_ADD, 999, &event), EBADF);
    CHECK_ERROR(epoll_ctl(999, EPOLL_CTL_ADD, fds[0], &event), EBADF);
    CHECK_ERROR(epoll_ctl(fds[0], EPOLL_CTL_ADD, fds[1], &event), EINVAL);
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &event), EINVAL);
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_ADD, file, &event), EPERM);
    CHECK(regular < 0 || (epoll_ctl(ep, EPOLL_CTL_ADD, regular, &event) == -1 && errno == EPERM));
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &event), ENOENT);
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], NULL), ENOENT);
    CHECK_ERROR(epoll_ctl(ep, 9, fds[0], &event), EINVAL);
    CHECK_ERROR(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, fds[0], (void *)8), EFAULT);
    CHECK_ERROR(epoll_wait(ep, &event, 0, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_epoll_pwait, ep, &event, -1, 0, NULL, 8), EINVAL);
    CHECK_ERROR(epoll_wait(fds[0], &event, 1, 0), EINVAL);
    CHECK_ERROR(epoll_wait(999, &event, 1, 0), EBADF);
    close(file);
    close(regular);
}

static void level(void)
{
    control(EPOLL_CTL_ADD, fds[0], EPOLLIN, 7);
    struct epoll_event event = {EPOLLIN, {0}};
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event), EEXIST);
    CHECK(one(7) == 0);
    put();
    CHECK(one(7) == EPOLLIN && one(7) == EPOLLIN && poll_one(ep, POLLIN) == POLLIN);
    get();
    CHECK(poll_one(ep, POLLIN) == 0 && one(7) == 0);
    control(EPOLL_CTL_MOD, fds[0], EPOLLOUT, 8);
    put();
    CHECK(one(8) == 0);
    control(EPOLL_CTL_MOD, fds[0], EPOLLIN, 9);
    CHECK(one(9) == EPOLLIN);
    get();
    control(EPOLL_CTL_DEL, fds[0], 0, 0);
    put();
    CHECK(one(0) == 0);
    get();
}

static void edge(void)
{
    control(EPOLL_CTL_ADD, fds[0], EPOLLIN | EPOLLET, 1);
    put();
    CHECK(one(1) == EPOLLIN && one(1) == 0);
    put();
    CHECK(one(1) == EPOLLIN && one(1) == 0);
    get();
    CHECK(one(1) == 0);
    control(EPOLL_CTL_MOD, fds[0], EPOLLIN | EPOLLET, 2); /* looks anew */
    CHECK(one(2) == EPOLLIN && one(2) == 0);
    get();
    control(EPOLL_CTL_DEL, fds[0], 0, 0);
}

static void one_shot(void)
{
    control(EPOLL_CTL_ADD, fds[0], EPOLLIN | EPOLLONESHOT, 1);
    put();
    CHECK(one(1) == EPOLLIN && one(1) == 0);
    put();
    CHECK(one(1) == 0 && poll_one(ep, POLLIN) == 0);
    control(EPOLL_CTL_MOD, fds[0], EPOLLIN | EPOLLONESHOT, 2);
    CHECK(one(2) == EPOLLIN && one(2) == 0);
    get();
    get();
    control(EPOLL_CTL_DEL, fds[0], 0, 0);
}

static void hang_up(void)
{
    int pair[2];
    CHECK(pipe(pair) == 0);
    control(EPOLL_CTL_ADD, pair[0], 0, 3); /* errors and hang-ups come unasked */
    CHECK(one(3) == 0);
    close(pair[1]);
    CHECK(one(3) == EPOLLHUP);
    close(pair[0]);
    CHECK(one(3) == 0);
    CHECK(pipe(pair) == 0);
    control(EPOLL_CTL_ADD, pair[1], EPOLLOUT, 4);
    CHECK(one(4) == EPOLLOUT);
    close(pair[0]);
    CHECK(one(4) == (EPOLLOUT | EPOLLERR));
    close(pair[1]);
}

/* The file's death removes it, not the descriptor's. */
static void closing(void)
{
    struct epoll_event event;
    int copy = dup(fds[0]);
    control(EPOLL_CTL_ADD, copy, EPOLLIN, 5);
    control(EPOLL_CTL_ADD, fds[0], EPOLLIN, 6); /* another descriptor: another item */
    put();
    struct epoll_event events[4];
    CHECK(wait_events(events, 4) == 2);
    close(copy);
    CHECK(wait_events(events, 4) == 2); /* the file lives on */
    CHECK_ERROR(epoll_ctl(ep, EPOLL_CTL_DEL, copy, &event), EBADF);
    control(EPOLL_CTL_DEL, fds[0], 0, 0);
    get();
    close(fds[0]);
    close(fds[1]);
    CHECK(wait_events(events, 4) == 0);
    CHECK(pipe(fds) == 0);
}

static void fairness(void)
{
    struct epoll_event event;
    int many[8];
    bool seen[8] = {false};
    for (int i = 0; i < 8; i++) {
        many[i] = eventfd(1, 0);
        control(EPOLL_CTL_ADD, many[i], EPOLLIN, i);
    }
    for (int i = 0; i < 8; i++) {
        CHECK(epoll_wait(ep, &event, 1, 0) == 1 && !seen[event.data.u64]);
        seen[event.data.u64] = true;
    }
    struct epoll_event events[16];
    CHECK(epoll_wait(ep, events, 16, 0) == 8 && epoll_wait(ep, events, 3, -1) == 3);
    CHECK_ERROR(syscall(SYS_epoll_pwait, ep, (void *)8, 4, 0, NULL, 8), EFAULT);
    CHECK(epoll_wait(ep, events, 16, 0) == 8); /* none was lost to the fault */
    for (int i = 0; i < 8; i++)
        close(many[i]);
    CHECK(epoll_wait(ep, events, 16, 0) == 0);
}

static void many_items(void)
{
    static struct epoll_event events[600];
    static int all[300];
    bool seen[300] = {false};
    for (int i = 0; i < 300; i++) {
        all[i] = eventfd(i % 3 != 0, 0);
        control(EPOLL_CTL_ADD, all[i], EPOLLIN, i);
    }
    CHECK(epoll_wait(ep, events, 600, 0) == 200);
    for (int i = 0; i < 200; i++) {
        CHECK(events[i].data.u64 % 3 && !seen[events[i].data.u64]);
        seen[events[i].data.u64] = true;
    }
    for (int i = 0; i < 300; i += 2)
        control(EPOLL_CTL_DEL, all[i], 0, 0);
    CHECK(epoll_wait(ep, events, 600, 0) == 100);
    for (int i = 0; i < 300; i++)
        close(all[i]);
}

static void timeouts_and_signals(void)
{
    struct epoll_event event;
    struct timespec wait = {0, 10 * 1000 * 1000};
    sigset_t alarm, none;
    double start = now();
    CHECK(epoll_wait(ep, &event, 1, 10) == 0 && now() - start >= 0.01);
    start = now();
    CHECK(syscall(SYS_epoll_pwait2, ep, &event, 1, &wait, NULL, 8) == 0 && now() - start >= 0.01);
    wait.tv_nsec = -1;
    CHECK_ERROR(syscall(SYS_epoll_pwait2, ep, &event, 1, &wait, NULL, 8), EINVAL);
    tick_start(SA_RESTART);
    CHECK_ERROR(epoll_wait(ep, &event, 1, -1), EINTR);
    sigemptyset(&none);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    CHECK(sigprocmask(SIG_BLOCK, &alarm, NULL) == 0);
    int before = ticks;
    CHECK(epoll_wait(ep, &event, 1, 5) == 0 && ticks == before);
    CHECK_ERROR(epoll_pwait(ep, &event, 1, -1, &none), EINTR);
    CHECK(ticks > before);
    CHECK_ERROR(syscall(SYS_epoll_pwait, ep, &event, 1, -1, &none, 4), EINVAL);
    tick_stop();
    CHECK(sigprocmask(SIG_UNBLOCK, &alarm, NULL) == 0);
}

int main(void)
{
    ep = epoll_create1(EPOLL_CLOEXEC);
    CHECK(ep >= 0 && fcntl(ep, F_GETFD) == FD_CLOEXEC && pipe(fds) == 0);
    errors();
    level();
    edge();
    one_shot();
    hang_up();
    closing();
    fairness();
    many_items();
    timeouts_and_signals();
    return 0;
}
