/* Interval timers and POSIX timers: signals, intervals, overruns, threads as receivers, what fork and exec do. */
#include "signal_check.h"

#include <pthread.h>
#include <sys/time.h>

enum { MS = 1000000 };
static volatile sig_atomic_t count;
static volatile siginfo_t last;
static volatile pid_t receiver;

static void note(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    memcpy((void *)&last, info, sizeof last);
    receiver = gettid();
    count++;
}

static void burn_until(int n)
{
    while (count < n)
        ;
}

static void interval_timer(int which, int signal)
{
    struct itimerval often = {.it_value.tv_usec = 2000, .it_interval.tv_usec = 2000}, off = {0}, old;
    handle(signal, note, SA_RESTART);
    count = 0;
    CHECK(setitimer(which, &often, NULL) == 0);
    burn_until(3);
    CHECK(getitimer(which, &old) == 0 && old.it_interval.tv_usec >= 2000 && old.it_interval.tv_usec <= 4000);
    CHECK(old.it_value.tv_sec == 0);
    CHECK(last.si_code == SI_KERNEL && last.si_signo == signal);
    CHECK(setitimer(which, &off, &old) == 0 && old.it_interval.tv_usec >= 2000);
    CHECK(getitimer(which, &old) == 0 && old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
}

static void alarms(void)
{
    struct itimerval old;
    handle(SIGALRM, note, 0);
    CHECK(alarm(100) == 0);
    CHECK(getitimer(ITIMER_REAL, &old) == 0 && old.it_value.tv_sec >= 98 && old.it_interval.tv_sec == 0);
    CHECK(alarm(200) == 100);
    CHECK(alarm(0) == 200 && alarm(0) == 0);
    count = 0;
    CHECK(ualarm(2000, 0) == 0);
    CHECK_ERROR(pause(), EINTR);
    CHECK(count == 1);
}

static timer_t make(clockid_t clock, int signal)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal, .sigev_value.sival_int = 1234};
    timer_t timer;
    CHECK(timer_create(clock, &event, &timer) == 0);
    return timer;
}

static void arm(timer_t timer, int64_t first_ns, int64_t interval_ns)
{
    struct itimerspec setting = {.it_value = {first_ns / 1000000000, first_ns % 1000000000},
                                 .it_interval = {interval_ns / 1000000000, interval_ns % 1000000000}};
    CHECK(timer_settime(timer, 0, &setting, NULL) == 0);
}

static void one_shot(clockid_t clock)
{
    struct itimerspec setting;
    handle(SIGUSR1, note, 0);
    timer_t timer = make(clock, SIGUSR1);
    CHECK(timer_gettime(timer, &setting) == 0 && setting.it_value.tv_sec == 0 && setting.it_value.tv_nsec == 0);
    count = 0;
    arm(timer, 2 * MS, 0);
    burn_until(1);
    CHECK(last.si_code == SI_TIMER && last.si_value.sival_int == 1234 && last.si_overrun == 0);
    CHECK(timer_gettime(timer, &setting) == 0 && setting.it_value.tv_sec == 0 && setting.it_value.tv_nsec == 0);
    arm(timer, 100000000000, 7000000000);
    CHECK(timer_gettime(timer, &setting) == 0);
    CHECK(setting.it_value.tv_sec >= 98 && setting.it_value.tv_sec <= 100 && setting.it_interval.tv_sec == 7);
    struct itimerspec off = {0}, old;
    CHECK(timer_settime(timer, 0, &off, &old) == 0 && old.it_interval.tv_sec == 7);
    CHECK(timer_delete(timer) == 0);
}

static void periodic(clockid_t clock)
{
    handle(SIGUSR1, note, 0);
    timer_t timer = make(clock, SIGUSR1);
    count = 0;
    arm(timer, MS, MS);
    burn_until(5);
    CHECK(timer_delete(timer) == 0);
}

static void absolute(clockid_t clock)
{
    int64_t at = now_ns(clock) + 3 * MS;
    struct itimerspec setting = {.it_value = {at / 1000000000, at % 1000000000}};
    handle(SIGUSR1, note, 0);
    timer_t timer = make(clock, SIGUSR1);
    count = 0;
    CHECK(timer_settime(timer, TIMER_ABSTIME, &setting, NULL) == 0);
    burn_until(1);
    CHECK(now_ns(clock) >= at);
    count = 0;
    CHECK(timer_settime(timer, TIMER_ABSTIME, &setting, NULL) == 0); /* the past: at once */
    burn_until(1);
    CHECK(timer_delete(timer) == 0);
}

/* Periods that pass while the signal waits are counted, not queued. */
static void overruns(void)
{
    sigset_t set = set_of(SIGRTMIN);
    siginfo_t info;
    struct timespec none = {0};
    block(SIGRTMIN);
    timer_t timer = make(CLOCK_MONOTONIC, SIGRTMIN);
    arm(timer, MS, MS);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    while (now_ns(CLOCK_MONOTONIC) < start + 20 * MS)
        ;
    int64_t taken = now_ns(CLOCK_MONOTONIC);
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_code == SI_TIMER);
    CHECK(info.si_overrun >= 15 && timer_getoverrun(timer) == info.si_overrun);
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_overrun <= (now_ns(CLOCK_MONOTONIC) - taken) / MS + 1);
    CHECK(timer_delete(timer) == 0);
    while (sigtimedwait(&set, NULL, &none) > 0)
        ;
    unblock(SIGRTMIN);
}

static void no_signal(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct itimerspec setting = {.it_value.tv_sec = 100}, now;
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &setting, NULL) == 0);
    CHECK(timer_gettime(timer, &now) == 0 && now.it_value.tv_sec >= 98);
    setting.it_value = (struct timespec){.tv_nsec = 1};
    CHECK(timer_settime(timer, 0, &setting, NULL) == 0);
    while (now.it_value.tv_sec || now.it_value.tv_nsec)
        CHECK(timer_gettime(timer, &now) == 0);
    CHECK(timer_delete(timer) == 0);
}

static void *receive(void *argument)
{
    (void)argument;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    timer_t timer;
    event._sigev_un._tid = gettid();
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    count = 0;
    arm(timer, MS, 0);
    burn_until(1);
    CHECK(receiver == gettid());
    CHECK(timer_delete(timer) == 0);
    return NULL;
}

static void to_thread(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, receive, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

static atomic_int called;
static void call(union sigval value) { called = value.sival_int; }

static void by_library_thread(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = call, .sigev_value.sival_int = 5};
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    arm(timer, MS, 0);
    while (!called)
        ;
    CHECK(called == 5 && timer_delete(timer) == 0);
}

static void bad_arguments(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
    struct itimerspec setting = {.it_value.tv_nsec = -1};
    int id;
    CHECK_ERROR(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), EINVAL);
    event.sigev_signo = SIGUSR1;
    event.sigev_notify = 9;
    CHECK_ERROR(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), EINVAL);
    CHECK_ERROR(syscall(SYS_timer_create, 99, NULL, &id), EINVAL);
    CHECK_ERROR(syscall(SYS_timer_create, CLOCK_MONOTONIC_RAW, NULL, &id), EOPNOTSUPP);
    CHECK_ERROR(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, 8), EFAULT);
    CHECK_ERROR(syscall(SYS_timer_delete, 12345), EINVAL);
    CHECK_ERROR(syscall(SYS_timer_gettime, 12345, &setting), EINVAL);
    CHECK_ERROR(syscall(SYS_timer_getoverrun, 12345), EINVAL);
    CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &id) == 0);
    CHECK_ERROR(syscall(SYS_timer_settime, id, 0, &setting, NULL), EINVAL);
    CHECK_ERROR(syscall(SYS_timer_settime, id, 0, NULL, NULL), EINVAL);
    CHECK(syscall(SYS_timer_delete, id) == 0);
    struct itimerval interval = {.it_value.tv_usec = 1000000};
    CHECK_ERROR(setitimer(ITIMER_REAL, &interval, NULL), EINVAL);
    CHECK_ERROR(syscall(SYS_setitimer, 3, &interval, NULL), EINVAL);
    CHECK_ERROR(syscall(SYS_getitimer, 3, &interval), EINVAL);
}

static void fork_drops(void)
{
    struct itimerspec setting;
    timer_t timer = make(CLOCK_MONOTONIC, SIGUSR1);
    alarm(100);
    pid_t pid = xfork();
    if (pid == 0) {
        struct itimerval interval;
        CHECK(getitimer(ITIMER_REAL, &interval) == 0 && interval.it_value.tv_sec == 0);
        CHECK_ERROR(syscall(SYS_timer_gettime, (int)(intptr_t)timer, &setting), EINVAL);
        _exit(0);
    }
    CHECK(wait_for(pid) == 0);
    CHECK(alarm(0) == 100 && timer_delete(timer) == 0);
}

static void exec_keeps_interval(char **argv)
{
    pid_t pid = xfork();
    if (pid == 0) {
        alarm(100);
        timer_t timer = make(CLOCK_MONOTONIC, SIGUSR1);
        (void)timer;
        execl(argv[0], argv[0], "after-exec", NULL);
        _exit(9);
    }
    CHECK(wait_for(pid) == 0);
}

static int after_exec(void)
{
    struct itimerspec setting;
    CHECK(alarm(0) >= 99);
    for (int id = 0; id < 20; id++)
        CHECK_ERROR(syscall(SYS_timer_gettime, id, &setting), EINVAL);
    return 0;
}

/* Exits with timers running and signals of theirs queued. */
static void exit_with_timers(void)
{
    block(SIGUSR1);
    for (int i = 0; i < 10; i++)
        arm(make(i % 2 ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, SIGUSR1), 1000, 1000);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    while (now_ns(CLOCK_MONOTONIC) < start + 5 * MS)
        ;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return after_exec();
    interval_timer(ITIMER_REAL, SIGALRM);
    interval_timer(ITIMER_VIRTUAL, SIGVTALRM);
    interval_timer(ITIMER_PROF, SIGPROF);
    alarms();
    one_shot(CLOCK_MONOTONIC);
    one_shot(CLOCK_REALTIME);
    one_shot(CLOCK_PROCESS_CPUTIME_ID);
    one_shot(CLOCK_THREAD_CPUTIME_ID);
    periodic(CLOCK_MONOTONIC);
    periodic(CLOCK_PROCESS_CPUTIME_ID);
    absolute(CLOCK_MONOTONIC);
    absolute(CLOCK_REALTIME);
    overruns();
    no_signal();
    to_thread();
    by_library_thread();
    bad_arguments();
    fork_drops();
    exec_keeps_interval(argv);
    CHECK(status_of(exit_with_timers) == 0);
    return 0;
}
