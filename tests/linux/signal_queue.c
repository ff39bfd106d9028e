/* Pending signals: coalescing, order and values of queued ones, limits, sigtimedwait, sigpending, ignoring drops. */
#include "signal_check.h"

#include <sys/resource.h>

static int values[64], signals[64];
static volatile sig_atomic_t count;

static void note(int signal, siginfo_t *info, void *context)
{
    (void)context;
    signals[count] = signal;
    values[count++] = info->si_value.sival_int;
}

static void queue(int signal, int value)
{
    union sigval v = {.sival_int = value};
    CHECK(sigqueue(getpid(), signal, v) == 0);
}

static void standard_signals_merge(void)
{
    count = 0;
    handle(SIGUSR1, note, 0);
    block(SIGUSR1);
    for (int i = 0; i < 5; i++)
        queue(SIGUSR1, i);
    unblock(SIGUSR1);
    CHECK(count == 1 && values[0] == 0);
}

static void real_time_signals_queue(void)
{
    count = 0;
    handle(SIGRTMIN + 1, note, 0);
    block(SIGRTMIN + 1);
    for (int i = 0; i < 10; i++)
        queue(SIGRTMIN + 1, i);
    unblock(SIGRTMIN + 1);
    CHECK(count == 10);
    for (int i = 0; i < 10; i++)
        CHECK(values[i] == i);
}

/* The lowest number first; with sa_mask closed to the others they run in that order. */
static void lowest_first(void)
{
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    sigset_t all;
    count = 0;
    sigfillset(&action.sa_mask);
    for (int i = 0; i < 4; i++)
        CHECK(sigaction(SIGRTMIN + i, &action, NULL) == 0);
    sigfillset(&all);
    CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
    for (int i = 3; i >= 0; i--)
        queue(SIGRTMIN + i, i);
    CHECK(sigprocmask(SIG_UNBLOCK, &all, NULL) == 0);
    CHECK(count == 4);
    for (int i = 0; i < 4; i++)
        CHECK(signals[i] == SIGRTMIN + i);
}

static void waiting_takes(void)
{
    sigset_t set = set_of(SIGRTMIN), pending;
    struct timespec none = {0}, some = {.tv_nsec = 2000000};
    siginfo_t info;
    sigaddset(&set, SIGUSR1);
    block(SIGRTMIN);
    block(SIGUSR1);
    CHECK_ERROR(sigtimedwait(&set, &info, &none), EAGAIN);
    int64_t before = now_ns(CLOCK_MONOTONIC);
    CHECK_ERROR(sigtimedwait(&set, &info, &some), EAGAIN);
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 2000000);
    queue(SIGRTMIN, 7);
    queue(SIGUSR1, 8);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGRTMIN) && sigismember(&pending, SIGUSR1));
    CHECK(sigtimedwait(&set, &info, &none) == SIGUSR1 && info.si_value.sival_int == 8);
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == 7 && info.si_code == SI_QUEUE);
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGRTMIN) && !sigismember(&pending, SIGUSR1));
    some.tv_nsec = 1000000000;
    CHECK_ERROR(sigtimedwait(&set, &info, &some), EINVAL);
}

static void waiting_sleeps_until_sent(void)
{
    sigset_t set = set_of(SIGRTMIN);
    siginfo_t info;
    pid_t parent = getpid(), pid = xfork();
    if (pid == 0) {
        union sigval v = {.sival_int = 99};
        CHECK(sigqueue(parent, SIGRTMIN, v) == 0);
        _exit(0);
    }
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == 99 && info.si_pid == pid);
    CHECK(wait_for(pid) == 0);
}

static void waiting_is_interrupted(void)
{
    sigset_t set = set_of(SIGRTMIN);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    struct itimerspec soon = {.it_value.tv_nsec = 2000000};
    timer_t timer;
    count = 0;
    handle(SIGUSR2, note, SA_RESTART);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &soon, NULL) == 0);
    CHECK_ERROR(sigwaitinfo(&set, NULL), EINTR);
    CHECK(count == 1 && timer_delete(timer) == 0);
}

static void ignoring_drops(void)
{
    sigset_t pending;
    block(SIGUSR2);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    signal(SIGUSR2, SIG_IGN);
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR2));
    CHECK(kill(getpid(), SIGUSR2) == 0); /* blocked: pending although ignored */
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR2));
    unblock(SIGUSR2);
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR2));
}

static void limit(void)
{
    struct rlimit few = {8, 8};
    union sigval v = {0};
    int sent = 0;
    CHECK(setrlimit(RLIMIT_SIGPENDING, &few) == 0);
    block(SIGRTMIN + 5);
    block(SIGRTMIN + 6);
    while (sent < 1000 && sigqueue(getpid(), SIGRTMIN + 5, v) == 0)
        sent++;
    CHECK(sent <= 8 && errno == EAGAIN);
    CHECK(kill(getpid(), SIGRTMIN + 6) == 0); /* pending without its information */
    block(SIGHUP);
    CHECK(kill(getpid(), SIGHUP) == 0);
}

static void not_inherited(void)
{
    block(SIGUSR1);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    pid_t pid = xfork();
    if (pid == 0) {
        sigset_t pending, blocked;
        CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR1));
        CHECK(sigprocmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGUSR1));
        _exit(0);
    }
    CHECK(wait_for(pid) == 0);
    signal(SIGUSR1, SIG_IGN);
    unblock(SIGUSR1);
}

static void forging(void)
{
    siginfo_t info = {.si_code = SI_USER};
    pid_t pid = xfork();
    if (pid == 0)
        for (;;)
            pause();
    CHECK_ERROR(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info), EPERM);
    info.si_code = SI_TKILL;
    CHECK_ERROR(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info), EPERM);
    info.si_code = SI_QUEUE;
    CHECK(syscall(SYS_rt_sigqueueinfo, pid, SIGTERM, &info) == 0);
    int status = wait_for(pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

int main(void)
{
    standard_signals_merge();
    real_time_signals_queue();
    lowest_first();
    waiting_takes();
    waiting_sleeps_until_sent();
    waiting_is_interrupted();
    ignoring_drops();
    not_inherited();
    forging();
    CHECK(status_of(limit) == 0);
    return 0;
}
