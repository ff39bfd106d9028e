/* timerfd: counts of expiries, absolute times, poll and epoll, settings read back, errors. */
#include "signal_check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

enum { MS = 1000000 };

static void arm(int fd, int flags, int64_t first_ns, int64_t interval_ns)
{
    struct itimerspec setting = {.it_value = {first_ns / 1000000000, first_ns % 1000000000},
                                 .it_interval = {interval_ns / 1000000000, interval_ns % 1000000000}};
    CHECK(timerfd_settime(fd, flags, &setting, NULL) == 0);
}

static void counts(void)
{
    uint64_t ticks = 0;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_NONBLOCK));
    CHECK_ERROR(read(fd, &ticks, 8), EAGAIN);
    arm(fd, 0, 2 * MS, MS);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    while (now_ns(CLOCK_MONOTONIC) < start + 12 * MS)
        ;
    CHECK(read(fd, &ticks, 8) == 8 && ticks >= 10 && ticks < 100000);
    CHECK_ERROR(read(fd, &ticks, 7), EINVAL);
    arm(fd, 0, 0, 0);
    CHECK_ERROR(read(fd, &ticks, 8), EAGAIN);
    close(fd);
}

static void waits(clockid_t clock)
{
    uint64_t ticks = 0;
    int fd = timerfd_create(clock, 0);
    int64_t start = now_ns(clock);
    arm(fd, 0, 3 * MS, 0);
    CHECK(read(fd, &ticks, 8) == 8 && ticks == 1 && now_ns(clock) - start >= 3 * MS);
    int64_t at = now_ns(clock) + 3 * MS;
    arm(fd, TFD_TIMER_ABSTIME, at, 0);
    CHECK(read(fd, &ticks, 8) == 8 && ticks == 1 && now_ns(clock) >= at);
    arm(fd, TFD_TIMER_ABSTIME, 1, 0); /* long ago */
    CHECK(read(fd, &ticks, 8) == 8 && ticks == 1);
    close(fd);
}

static void polls(void)
{
    uint64_t ticks;
    int fd = timerfd_create(CLOCK_MONOTONIC, 0), epoll = epoll_create1(0);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    CHECK(poll(&poll_fd, 1, 0) == 0);
    arm(fd, 0, 2 * MS, 0);
    CHECK(poll(&poll_fd, 1, -1) == 1 && poll_fd.revents == POLLIN);
    CHECK(read(fd, &ticks, 8) == 8 && poll(&poll_fd, 1, 0) == 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 && epoll_wait(epoll, &event, 1, 0) == 0);
    for (int i = 0; i < 3; i++) {
        arm(fd, 0, MS, 0);
        CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
        CHECK(epoll_wait(epoll, &event, 1, 0) == 0); /* edge: told once */
    }
    close(fd), close(epoll);
}

static void reads_back(void)
{
    struct itimerspec now, old;
    int fd = timerfd_create(CLOCK_REALTIME, 0);
    CHECK(timerfd_gettime(fd, &now) == 0 && now.it_value.tv_sec == 0 && now.it_value.tv_nsec == 0);
    arm(fd, 0, 100000000000, 5000000000);
    CHECK(timerfd_gettime(fd, &now) == 0 && now.it_value.tv_sec >= 98 && now.it_interval.tv_sec == 5);
    struct itimerspec off = {0};
    CHECK(timerfd_settime(fd, 0, &off, &old) == 0 && old.it_value.tv_sec >= 98 && old.it_interval.tv_sec == 5);
    CHECK(timerfd_gettime(fd, &now) == 0 && now.it_value.tv_sec == 0 && now.it_interval.tv_sec == 0);
    int64_t at = now_ns(CLOCK_REALTIME) + 100000000000;
    arm(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, at, 0);
    CHECK(timerfd_gettime(fd, &now) == 0 && now.it_value.tv_sec >= 98 && now.it_value.tv_sec <= 100);
    close(fd);
}

static void interrupted(void)
{
    uint64_t ticks;
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec soon = {.it_value.tv_nsec = 2 * MS};
    struct sigaction action = {.sa_handler = (void (*)(int))(void (*)(void))tzset};
    timer_t timer;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &soon, NULL) == 0);
    CHECK_ERROR(read(fd, &ticks, 8), EINTR);
    CHECK(timer_delete(timer) == 0);
    close(fd);
}

static void bad_arguments(void)
{
    struct itimerspec setting = {0}, bad = {.it_value.tv_nsec = 1000000000};
    int fd = timerfd_create(CLOCK_MONOTONIC, 0), fds[2];
    CHECK(pipe(fds) == 0);
    CHECK_ERROR(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
    CHECK_ERROR(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
    CHECK_ERROR(timerfd_settime(fds[0], 0, &setting, NULL), EINVAL);
    CHECK_ERROR(timerfd_settime(0x7ffffff, 0, &setting, NULL), EBADF);
    CHECK_ERROR(timerfd_settime(fd, 4, &setting, NULL), EINVAL);
    CHECK_ERROR(timerfd_settime(fd, 0, &bad, NULL), EINVAL);
    CHECK_ERROR(timerfd_gettime(fds[0], &setting), EINVAL);
    CHECK_ERROR(write(fd, "12345678", 8), EINVAL);
}

int main(void)
{
    counts();
    waits(CLOCK_MONOTONIC);
    waits(CLOCK_REALTIME);
    waits(CLOCK_BOOTTIME);
    polls();
    reads_back();
    interrupted();
    bad_arguments();
    return 0;
}
