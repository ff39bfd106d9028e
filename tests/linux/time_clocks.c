/* Clocks and sleeping: which clocks exist, that they move, how sleeps end and what an interrupted one tells. */
#include "signal_check.h"

#include <pthread.h>
#include <sys/time.h>
#include <sys/timex.h>

static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                                   CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
enum { CLOCKS = sizeof clocks / sizeof clocks[0], MS = 1000000 };

/* By a call, not by the vDSO. */
static int64_t call_ns(clockid_t clock)
{
    struct timespec time;
    CHECK(syscall(SYS_clock_gettime, clock, &time) == 0);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static volatile sig_atomic_t count;
static void note(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    count++;
}

static void readings(void)
{
    struct timespec spec;
    for (int i = 0; i < CLOCKS; i++) {
        int64_t before = call_ns(clocks[i]);
        CHECK(before > 0 && call_ns(clocks[i]) >= before);
        CHECK(clock_getres(clocks[i], &spec) == 0 && spec.tv_sec == 0 && spec.tv_nsec >= 1 && spec.tv_nsec <= 10 * MS);
    }
    /* Two ways to read one clock agree. */
    int64_t by_call = call_ns(CLOCK_MONOTONIC), by_vdso = now_ns(CLOCK_MONOTONIC), again = call_ns(CLOCK_MONOTONIC);
    CHECK(by_call <= by_vdso && by_vdso <= again);
    by_call = call_ns(CLOCK_REALTIME), by_vdso = now_ns(CLOCK_REALTIME), again = call_ns(CLOCK_REALTIME);
    CHECK(llabs(by_vdso - by_call) < 100 * MS && llabs(again - by_vdso) < 100 * MS);
    CHECK_ERROR(syscall(SYS_clock_gettime, 99, &spec), EINVAL);
    CHECK_ERROR(syscall(SYS_clock_getres, 12, &spec), EINVAL);
    CHECK_ERROR(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8), EFAULT);
    CHECK(clock_getres(CLOCK_MONOTONIC, NULL) == 0);
    struct timeval tv;
    struct timezone tz;
    CHECK(gettimeofday(&tv, &tz) == 0 && llabs(tv.tv_sec - time(NULL)) <= 1);
}

static void spin_until(clockid_t clock, int64_t ns)
{
    while (now_ns(clock) < ns)
        ;
}

static void cpu_clocks(void)
{
    clockid_t process, child_clock;
    int64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID), process_start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    int64_t wall_start = now_ns(CLOCK_MONOTONIC);
    spin_until(CLOCK_THREAD_CPUTIME_ID, start + 20 * MS); /* on a busy machine that takes longer */
    CHECK(now_ns(CLOCK_MONOTONIC) - wall_start >= 10 * MS);
    CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) - process_start >= 10 * MS);
    CHECK(clock_getcpuclockid(0, &process) == 0);
    CHECK(llabs(now_ns(process) - now_ns(CLOCK_PROCESS_CPUTIME_ID)) < 100 * MS);
    CHECK(pthread_getcpuclockid(pthread_self(), &process) == 0 && now_ns(process) > 0);
    pid_t pid = xfork();
    if (pid == 0)
        for (;;)
            pause();
    CHECK(clock_getcpuclockid(pid, &child_clock) == 0);
    CHECK(now_ns(child_clock) >= 0);
    kill(pid, SIGKILL);
    wait_for(pid);
}

static void sleeps(void)
{
    struct timespec ms = {.tv_nsec = 3 * MS}, bad = {.tv_nsec = 1000000000}, negative = {.tv_sec = -1}, past = {0}, rest;
    static const clockid_t sleeping[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI};
    for (size_t i = 0; i < sizeof sleeping / sizeof sleeping[0]; i++) {
        int64_t start = now_ns(CLOCK_MONOTONIC);
        CHECK(clock_nanosleep(sleeping[i], 0, &ms, NULL) == 0 && now_ns(CLOCK_MONOTONIC) - start >= 3 * MS);
        int64_t until = call_ns(sleeping[i]) + 3 * MS;
        struct timespec at = {until / 1000000000, until % 1000000000};
        CHECK(clock_nanosleep(sleeping[i], TIMER_ABSTIME, &at, NULL) == 0 && call_ns(sleeping[i]) >= until);
        CHECK(clock_nanosleep(sleeping[i], TIMER_ABSTIME, &past, NULL) == 0);
    }
    CHECK_ERROR(nanosleep(&bad, NULL), EINVAL);
    CHECK_ERROR(nanosleep(&negative, NULL), EINVAL);
    CHECK(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ms, &rest) == EINVAL);
    CHECK_ERROR(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &ms, NULL), EOPNOTSUPP);
    CHECK_ERROR(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &ms, NULL), EOPNOTSUPP);
    CHECK(nanosleep(&past, NULL) == 0);
}

static timer_t timer;
static void signal_soon(int signal)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    struct itimerspec soon = {.it_value.tv_nsec = 3 * MS};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &soon, NULL) == 0);
}

static void interrupted_sleeps(void)
{
    struct timespec hour = {.tv_sec = 3600}, rest = {0};
    int64_t until = now_ns(CLOCK_MONOTONIC) + 3600000000000;
    struct timespec at = {until / 1000000000, until % 1000000000};
    handle(SIGUSR1, note, SA_RESTART);
    signal_soon(SIGUSR1);
    CHECK_ERROR(nanosleep(&hour, &rest), EINTR);
    CHECK(rest.tv_sec == 3599 && rest.tv_nsec > 0 && count == 1);
    CHECK(timer_delete(timer) == 0);
    signal_soon(SIGUSR1);
    rest = (struct timespec){1, 1};
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, &rest) == EINTR);
    CHECK(rest.tv_sec == 1 && count == 2);
    CHECK(timer_delete(timer) == 0);
}

/* A stop and continuation in its middle does not end a sleep, nor make it longer. */
static void stopped_sleep(void)
{
    int status;
    pid_t pid = xfork();
    if (pid == 0) {
        struct timespec some = {.tv_nsec = 30 * MS};
        int64_t start = now_ns(CLOCK_MONOTONIC);
        CHECK(nanosleep(&some, NULL) == 0);
        CHECK(now_ns(CLOCK_MONOTONIC) - start >= 30 * MS);
        _exit(0);
    }
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(kill(pid, SIGCONT) == 0 && wait_for(pid) == 0);
}

static void *burn(void *argument)
{
    while (!*(volatile int *)argument)
        ;
    return NULL;
}

/* A sleep until the process has used CPU time, which another thread uses. */
static void cpu_sleep(void)
{
    static volatile int stop;
    struct timespec some = {.tv_nsec = 10 * MS};
    pthread_t thread;
    int64_t start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    CHECK(pthread_create(&thread, NULL, burn, (void *)&stop) == 0);
    CHECK(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &some, NULL) == 0);
    CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) - start >= 10 * MS);
    stop = 1;
    CHECK(pthread_join(thread, NULL) == 0);
}

static void setting_as_nobody(void)
{
    struct timespec time = {.tv_sec = 1};
    struct timeval tv = {.tv_sec = 1};
    struct timex timex = {.modes = ADJ_FREQUENCY};
    if (getuid() == 0)
        CHECK(setuid(65534) == 0);
    CHECK_ERROR(clock_settime(CLOCK_REALTIME, &time), EPERM);
    CHECK_ERROR(clock_settime(CLOCK_MONOTONIC, &time), EINVAL);
    CHECK_ERROR(settimeofday(&tv, NULL), EPERM);
    CHECK_ERROR(adjtimex(&timex), EPERM);
    timex.modes = 0;
    CHECK(adjtimex(&timex) >= 0 && timex.time.tv_sec > 1000000000);
}

int main(void)
{
    readings();
    cpu_clocks();
    sleeps();
    interrupted_sleeps();
    stopped_sleep();
    cpu_sleep();
    CHECK(status_of(setting_as_nobody) == 0);
    return 0;
}
