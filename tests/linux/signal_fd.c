/* signalfd: reads take pending signals, poll and epoll see them, the mask can be changed, blocking reads wake. */
#include "signal_check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

static struct signalfd_siginfo info[4];

static void reads(void)
{
    sigset_t set = set_of(SIGUSR1);
    union sigval value = {.sival_int = 5};
    sigaddset(&set, SIGRTMIN);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK_ERROR(read(fd, info, sizeof info), EAGAIN);
    CHECK_ERROR(read(fd, info, 100), EINVAL);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    CHECK(poll(&poll_fd, 1, 0) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0 && sigqueue(getpid(), SIGRTMIN, value) == 0);
    CHECK(poll(&poll_fd, 1, -1) == 1 && poll_fd.revents == POLLIN);
    CHECK(read(fd, info, sizeof info) == 2 * sizeof info[0]);
    CHECK(info[0].ssi_signo == SIGUSR1 && info[0].ssi_code == SI_USER && info[0].ssi_pid == (uint32_t)getpid());
    CHECK(info[1].ssi_signo == (uint32_t)SIGRTMIN && info[1].ssi_code == SI_QUEUE && info[1].ssi_int == 5);
    CHECK(poll(&poll_fd, 1, 0) == 0);
    set = set_of(SIGUSR2);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && kill(getpid(), SIGUSR2) == 0);
    CHECK(poll(&poll_fd, 1, 0) == 0);
    CHECK(signalfd(fd, &set, 0) == fd);
    CHECK(read(fd, info, sizeof info) == sizeof info[0] && info[0].ssi_signo == SIGUSR2);
    close(fd);
}

static void waits(void)
{
    sigset_t set = set_of(SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    int fd = signalfd(-1, &set, 0);
    pid_t pid = xfork();
    if (pid == 0)
        _exit(3);
    CHECK(read(fd, info, sizeof info) == sizeof info[0]);
    CHECK(info[0].ssi_signo == SIGCHLD && info[0].ssi_code == CLD_EXITED && info[0].ssi_pid == (uint32_t)pid &&
          info[0].ssi_status == 3);
    CHECK(wait_for(pid) == 3 << 8);
    close(fd);
}

static void wakes_epoll(void)
{
    sigset_t set = set_of(SIGRTMIN);
    int fd = signalfd(-1, &set, SFD_NONBLOCK), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    struct sigevent when = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 9};
    struct itimerspec soon = {.it_value.tv_nsec = 1000000};
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &when, &timer) == 0 && timer_settime(timer, 0, &soon, NULL) == 0);
    event.data.u64 = 0;
    CHECK(epoll_wait(epoll, &event, 1, -1) == 1 && event.data.u64 == 77 && event.events == EPOLLIN);
    CHECK(read(fd, info, sizeof info) == sizeof info[0]);
    CHECK(info[0].ssi_code == SI_TIMER && info[0].ssi_int == 9 && info[0].ssi_overrun == 0);
    CHECK(timer_delete(timer) == 0);
    close(fd), close(epoll);
}

static void bad_arguments(void)
{
    sigset_t set = set_of(SIGUSR1);
    CHECK_ERROR(signalfd(-1, &set, 1), EINVAL);
    CHECK_ERROR(signalfd(0x7ffffff, &set, 0), EBADF);
    int fds[2];
    CHECK(pipe(fds) == 0);
    CHECK_ERROR(signalfd(fds[0], &set, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_signalfd4, -1, &set, 4, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_signalfd4, -1, 8, 8, 0), EFAULT);
}

int main(void)
{
    reads();
    waits();
    wakes_epoll();
    bad_arguments();
    return 0;
}
