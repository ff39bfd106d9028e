/*
 * Sleeping: nanosleep(2) and clock_nanosleep(2).
 *
 * A relative sleep that a signal interrupts tells what is left and, when no handler ran, goes on to its first deadline
 * through restart_syscall; an absolute one is simply made again. CPU clocks are polled at estimated times.
 */
#include "abi/linux/calls.h"
#include "abi/linux/time.h"

/* 0 or -EINTR. */
static int sleep_until(nanoseconds_t deadline)
{
    struct waitq nobody;
    waitq_init(&nobody);
    int error = waitq_sleep(&nobody, NULL, deadline, WAIT_INTERRUPTIBLE);
    return error == -ETIMEDOUT ? 0 : error;
}

int cpu_clock_wait(const struct clock *clock, uint64_t ns)
{
    uint64_t last = 0;
    uint32_t idle = 0;
    for (;;) {
        uint64_t value = clock_read(clock);
        if (value >= ns)
            return 0;
        idle = value == last ? idle + 1 : 0;
        last = value;
        int error = sleep_until(cpu_clock_estimate(clock, ns - value, idle));
        if (error)
            return error;
    }
}

/* Interrupted with so much left. */
static int64_t tell_rest(uaddr_t rest, uint64_t left_ns)
{
    struct linux_timespec time = timespec_of(left_ns);
    if (rest && user_write(rest, &time, sizeof time))
        return -EFAULT;
    return -ERESTART_RESTARTBLOCK;
}

enum restart_data { RESTART_DEADLINE, RESTART_REST, RESTART_CLOCK };

static int64_t relative_restart(struct lthread *thread);

static int64_t sleep_relative(nanoseconds_t deadline, uaddr_t rest)
{
    struct lthread *thread = current_thread();
    if (!sleep_until(deadline))
        return 0;
    nanoseconds_t now = body_now();
    if (now >= deadline)
        return 0;
    thread->restart = relative_restart;
    thread->restart_data[RESTART_DEADLINE] = deadline;
    thread->restart_data[RESTART_REST] = rest;
    return tell_rest(rest, deadline - now);
}

static int64_t relative_restart(struct lthread *thread)
{
    return sleep_relative(thread->restart_data[RESTART_DEADLINE], thread->restart_data[RESTART_REST]);
}

int64_t sys_nanosleep(const struct linux_timespec *time, uaddr_t rest)
{
    if (!timespec_valid(time))
        return -EINVAL;
    return sleep_relative(deadline_after_ns(timespec_ns(time)), rest);
}

static int64_t sleep_cpu(const struct clock *clock, int32_t id, uint64_t ns, bool absolute, uaddr_t rest);

static int64_t cpu_restart(struct lthread *thread)
{
    struct clock clock;
    int32_t id = (int32_t)thread->restart_data[RESTART_CLOCK];
    uaddr_t rest = thread->restart_data[RESTART_REST];
    uint64_t until = thread->restart_data[RESTART_DEADLINE];
    int error = clock_get(id, &clock);
    if (error)
        return error;
    uint64_t now = clock_read(&clock);
    int64_t result = sleep_cpu(&clock, id, until > now ? until - now : 0, false, rest);
    clock_put(&clock);
    return result;
}

static int64_t sleep_cpu(const struct clock *clock, int32_t id, uint64_t ns, bool absolute, uaddr_t rest)
{
    struct lthread *thread = current_thread();
    if (clock->thread == thread)
        return -EINVAL;
    uint64_t until = absolute ? ns : clock_read(clock) + ns;
    if (!cpu_clock_wait(clock, until))
        return 0;
    if (absolute)
        return -ERESTARTNOHAND;
    uint64_t now = clock_read(clock);
    thread->restart = cpu_restart;
    thread->restart_data[RESTART_DEADLINE] = until;
    thread->restart_data[RESTART_REST] = rest;
    thread->restart_data[RESTART_CLOCK] = (uint64_t)(uint32_t)id;
    return tell_rest(rest, until > now ? until - now : 0);
}

static int64_t sleep_on(const struct clock *clock, int32_t id, uint32_t flags, uint64_t ns, uaddr_t rest)
{
    bool absolute = flags & LINUX_TIMER_ABSTIME;
    if (clock_is_cpu(clock))
        return sleep_cpu(clock, id, ns, absolute, rest);
    if (!absolute)
        return sleep_relative(deadline_after_ns(ns), rest);
    return sleep_until(clock_deadline(clock, ns)) ? -ERESTARTNOHAND : 0;
}

int64_t sys_clock_nanosleep(int32_t id, uint32_t flags, const struct linux_timespec *time, uaddr_t rest)
{
    struct clock clock;
    int error = clock_get(id, &clock);
    if (error)
        return error;
    int64_t result;
    if (clock.coarse || clock.raw || id == LINUX_CLOCK_THREAD_CPUTIME_ID)
        result = -EOPNOTSUPP;
    else if (clock.alarm && !capable(LINUX_CAP_WAKE_ALARM))
        result = -EPERM;
    else if (!timespec_valid(time))
        result = -EINVAL;
    else
        result = sleep_on(&clock, id, flags, timespec_ns(time), rest);
    clock_put(&clock);
    return result;
}
