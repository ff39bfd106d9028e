/*
 * Reading clocks: clock_gettime(2), gettimeofday(2) and relatives. Most programs get these answered without a call;
 * here are the same answers for those that call.
 *
 * Setting is refused: the clocks are the body's, shared with everything outside, and no capability inside reaches
 * there. adjtimex(2) shows a clock that nobody steers.
 */
#include "abi/linux/calls.h"
#include "abi/linux/time.h"

enum { COARSE_RESOLUTION_NS = 4000000 };

int64_t sys_clock_gettime(int32_t id, struct linux_timespec *time)
{
    struct clock clock;
    int error = clock_get(id, &clock);
    if (error)
        return error;
    *time = timespec_of(clock_read(&clock));
    clock_put(&clock);
    return 0;
}

int64_t sys_clock_getres(int32_t id, struct linux_timespec *resolution)
{
    struct clock clock;
    int error = clock_get(id, &clock);
    if (error)
        return error;
    if (resolution)
        *resolution = timespec_of(clock.coarse ? COARSE_RESOLUTION_NS : 1);
    clock_put(&clock);
    return 0;
}

int64_t sys_clock_settime(int32_t id, const struct linux_timespec *time)
{
    if (id != LINUX_CLOCK_REALTIME)
        return -EINVAL;
    return timespec_valid(time) ? -EPERM : -EINVAL;
}

static uint64_t wall_ns(void) { return body_now() + (uint64_t)body_wall_offset(); }

int64_t sys_gettimeofday(struct linux_timeval *time, struct linux_timezone *zone)
{
    uint64_t us = wall_ns() / 1000;
    if (time)
        *time = (struct linux_timeval){(int64_t)(us / 1000000), (int64_t)(us % 1000000)};
    if (zone)
        *zone = (struct linux_timezone){0, 0};
    return 0;
}

int64_t sys_settimeofday(const struct linux_timeval *time, const struct linux_timezone *zone)
{
    if (time && !timeval_valid(time))
        return -EINVAL;
    (void)zone;
    return -EPERM;
}

int64_t sys_time(uaddr_t result)
{
    int64_t seconds = (int64_t)(wall_ns() / NS_PER_SECOND);
    if (result && user_write(result, &seconds, sizeof seconds))
        return -EFAULT;
    return seconds;
}

enum { ADJ_OFFSET_READ = 0xa001, STATUS_UNSYNCHRONISED = 0x40, TIME_ERROR = 5 };

static int64_t adjust(struct linux_timex *timex)
{
    if (timex->modes && timex->modes != ADJ_OFFSET_READ)
        return -EPERM;
    uint64_t us = wall_ns() / 1000;
    *timex = (struct linux_timex){
        .modes = timex->modes,
        .max_error = 16000000,
        .estimated_error = 16000000,
        .status = STATUS_UNSYNCHRONISED,
        .constant = 2,
        .precision = 1,
        .tolerance = 32768000,
        .time = {(int64_t)(us / 1000000), (int64_t)(us % 1000000)},
        .tick = 10000,
    };
    return TIME_ERROR;
}

int64_t sys_adjtimex(struct linux_timex *timex) { return adjust(timex); }

int64_t sys_clock_adjtime(int32_t id, struct linux_timex *timex)
{
    struct clock clock;
    int error = clock_get(id, &clock);
    if (error)
        return error;
    clock_put(&clock);
    return id == LINUX_CLOCK_REALTIME ? adjust(timex) : -EOPNOTSUPP;
}
