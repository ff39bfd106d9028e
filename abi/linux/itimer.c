/*
 * Interval timers: setitimer(2), getitimer(2), alarm(2). One of each kind in a process, made when first set; they
 * survive exec.
 */
#include "abi/linux/calls.h"
#include "abi/linux/signal_timer.h"

static const int signal_of[ITIMERS] = {LINUX_SIGALRM, LINUX_SIGVTALRM, LINUX_SIGPROF};

static struct signal_timer *make(struct process_timers *timers, int32_t which)
{
    struct linux_siginfo info = {.signo = signal_of[which], .code = LINUX_SI_KERNEL};
    struct clock clock = {.kind = CLOCK_KIND_MONOTONIC};
    if (which != ITIMER_REAL) {
        clock.kind = CLOCK_KIND_PROCESS_CPU;
        clock.which = which == ITIMER_VIRTUAL ? CPU_CLOCK_VIRT : CPU_CLOCK_PROF;
        clock.process = object_ref(current_process());
    }
    struct signal_timer *timer = signal_timer_create(timers, &clock, NULL, &info);
    if (!timer)
        clock_put(&clock);
    return timer;
}

/* Borrowed: it lives as long as the process. NULL: no memory. */
static struct signal_timer *get_or_make(int32_t which)
{
    struct process_timers *timers = timers_get();
    if (!timers)
        return NULL;
    mutex_lock(&timers->mutex);
    struct signal_timer *timer = timers->interval[which];
    mutex_unlock(&timers->mutex);
    if (timer)
        return timer;
    struct signal_timer *fresh = make(timers, which);
    mutex_lock(&timers->mutex);
    if (!timers->interval[which]) {
        timers->interval[which] = fresh;
        fresh = NULL;
    }
    timer = timers->interval[which];
    mutex_unlock(&timers->mutex);
    object_unref(fresh);
    return timer;
}

static void set(struct signal_timer *timer, uint64_t value, uint64_t interval, uint64_t *old_value, uint64_t *old_interval)
{
    uint64_t now = signal_timer_now(timer);
    uint64_t expiry = value >= NS_MAX - now ? NS_MAX : now + value;
    mutex_lock(&timer->timers->mutex);
    *old_value = signal_timer_left_locked(timer, now);
    *old_interval = timer->interval;
    signal_timer_set_locked(timer, now, value ? expiry : 0, interval);
    mutex_unlock(&timer->timers->mutex);
}

int64_t sys_setitimer(int32_t which, const struct linux_itimerval *setting, struct linux_itimerval *old)
{
    static const struct linux_itimerval off;
    uint64_t old_value, old_interval;
    if (!setting)
        setting = &off;
    if (!timeval_valid(&setting->value) || !timeval_valid(&setting->interval) || which < 0 || which >= ITIMERS)
        return -EINVAL;
    struct signal_timer *timer = get_or_make(which);
    if (!timer)
        return -ENOMEM;
    set(timer, timeval_ns(&setting->value), timeval_ns(&setting->interval), &old_value, &old_interval);
    if (old)
        *old = (struct linux_itimerval){.interval = timeval_of(old_interval), .value = timeval_of(old_value)};
    return 0;
}

int64_t sys_getitimer(int32_t which, struct linux_itimerval *setting)
{
    struct process_timers *timers = current_process()->timers;
    if (which < 0 || which >= ITIMERS)
        return -EINVAL;
    *setting = (struct linux_itimerval){0};
    struct signal_timer *timer = timers ? timers->interval[which] : NULL;
    if (!timer)
        return 0;
    uint64_t now = signal_timer_now(timer);
    mutex_lock(&timers->mutex);
    setting->value = timeval_of(signal_timer_left_locked(timer, now));
    setting->interval = timeval_of(timer->interval);
    mutex_unlock(&timers->mutex);
    return 0;
}

/* The seconds that were left, rounded to the nearest but never to none. */
int64_t sys_alarm(uint32_t seconds)
{
    uint64_t left, interval;
    struct signal_timer *timer = get_or_make(ITIMER_REAL);
    if (!timer)
        return 0;
    set(timer, (uint64_t)seconds * NS_PER_SECOND, 0, &left, &interval);
    uint64_t rounded = (left + NS_PER_SECOND / 2) / NS_PER_SECOND;
    return (int64_t)(left && !rounded ? 1 : rounded);
}
