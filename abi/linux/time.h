/*
 * Clocks, and what time looks like to programs: conversions that saturate, deadlines on the body's clock.
 *
 * The body has one monotonic clock; wall time is that plus body_wall_offset. CPU clocks count what threads used; a wait
 * for one is a poll with an estimate, since no body can say when so much CPU time will have been used.
 */
#ifndef ABI_LINUX_TIME_H
#define ABI_LINUX_TIME_H

#include "abi/linux/deadline.h"
#include "abi/linux/process.h"

enum { LINUX_CLOCK_REALTIME, LINUX_CLOCK_MONOTONIC, LINUX_CLOCK_PROCESS_CPUTIME_ID, LINUX_CLOCK_THREAD_CPUTIME_ID,
       LINUX_CLOCK_MONOTONIC_RAW, LINUX_CLOCK_REALTIME_COARSE, LINUX_CLOCK_MONOTONIC_COARSE, LINUX_CLOCK_BOOTTIME,
       LINUX_CLOCK_REALTIME_ALARM, LINUX_CLOCK_BOOTTIME_ALARM, LINUX_CLOCK_TAI = 11 };
#define LINUX_TIMER_ABSTIME 1u
enum { LINUX_CAP_WAKE_ALARM = 35 };

#define NS_MAX ((uint64_t)INT64_MAX) /* the longest time: later is never */

static inline bool timespec_valid(const struct linux_timespec *time)
{
    return time->seconds >= 0 && (uint64_t)time->nanoseconds < NS_PER_SECOND;
}

/* Of a valid timespec; saturates. */
static inline uint64_t timespec_ns(const struct linux_timespec *time)
{
    if ((uint64_t)time->seconds >= NS_MAX / NS_PER_SECOND)
        return NS_MAX;
    return (uint64_t)time->seconds * NS_PER_SECOND + (uint64_t)time->nanoseconds;
}

static inline struct linux_timespec timespec_of(uint64_t ns)
{
    return (struct linux_timespec){(int64_t)(ns / NS_PER_SECOND), (int64_t)(ns % NS_PER_SECOND)};
}

static inline bool timeval_valid(const struct linux_timeval *time)
{
    return time->seconds >= 0 && (uint64_t)time->microseconds < 1000000;
}

static inline uint64_t timeval_ns(const struct linux_timeval *time)
{
    struct linux_timespec spec = {time->seconds, time->microseconds * 1000};
    return timespec_ns(&spec);
}

/* Rounded up: time that is left does not become none. */
static inline struct linux_timeval timeval_of(uint64_t ns)
{
    uint64_t us = ns / 1000 + (ns % 1000 != 0);
    return (struct linux_timeval){(int64_t)(us / 1000000), (int64_t)(us % 1000000)};
}

/* --- clocks ------------------------------------------------------------------------------------------ */

enum clock_kind { CLOCK_KIND_MONOTONIC, CLOCK_KIND_WALL, CLOCK_KIND_PROCESS_CPU, CLOCK_KIND_THREAD_CPU };
enum cpu_clock_which { CPU_CLOCK_PROF, CPU_CLOCK_VIRT, CPU_CLOCK_SCHED }; /* user and system, user, both exactly */

struct clock {
    enum clock_kind kind;
    bool coarse, alarm, raw;
    enum cpu_clock_which which;
    struct process *process; /* CPU clocks: referenced */
    struct lthread *thread;  /* CLOCK_KIND_THREAD_CPU: referenced */
};

/* The clock behind a clockid_t. -EINVAL. clock_put after. */
int clock_get(int32_t id, struct clock *clock);
void clock_put(struct clock *clock);
static inline bool clock_is_cpu(const struct clock *clock) { return clock->kind >= CLOCK_KIND_PROCESS_CPU; }
/* What it shows, in ns. May suspend for CPU clocks. */
uint64_t clock_read(const struct clock *clock);
/* The body's time at which a clock that is not a CPU clock shows `ns`. */
nanoseconds_t clock_deadline(const struct clock *clock, uint64_t ns);
/*
 * When to look again whether a CPU clock has moved on by left_ns: the earliest time it can have. `idle` counts the looks in
 * a row at which it had not moved: the longer it rests, the later the next look.
 */
nanoseconds_t cpu_clock_estimate(const struct clock *clock, uint64_t left_ns, uint32_t idle);
/* Waits until a CPU clock shows `ns`: 0 or -EINTR. */
int cpu_clock_wait(const struct clock *clock, uint64_t ns);

#endif
