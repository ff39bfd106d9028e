/*
 * POSIX timers: timer_create(2) and its relatives. A process has them in a list by id; exec and exit delete them.
 */
#include "abi/linux/calls.h"
#include "abi/linux/signal_timer.h"

enum { SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 4 };

struct sigevent {
    uint64_t value;
    int32_t signal, notify, thread;
    int32_t pad[11];
};
_Static_assert(sizeof(struct sigevent) == 64, "struct sigevent");

/* The thread that is to get the signals: *thread referenced or NULL. -EINVAL. */
static int check_event(const struct sigevent *event, struct lthread **thread)
{
    *thread = NULL;
    bool known = event->notify == SIGEV_SIGNAL || event->notify == SIGEV_NONE || event->notify == SIGEV_THREAD ||
                 event->notify == SIGEV_THREAD_ID;
    if (!known || (event->notify != SIGEV_NONE && !signal_valid(event->signal)))
        return -EINVAL;
    if (event->notify != SIGEV_THREAD_ID)
        return 0;
    *thread = thread_find(event->thread);
    if (*thread && (*thread)->process == current_process())
        return 0;
    object_unref(*thread);
    *thread = NULL;
    return -EINVAL;
}

static int check_clock(const struct clock *clock)
{
    if (clock->coarse || clock->raw)
        return -EOPNOTSUPP;
    return clock->alarm && !capable(LINUX_CAP_WAKE_ALARM) ? -EPERM : 0;
}

static struct signal_timer *find_locked(struct process_timers *timers, int32_t id)
{
    LIST_FOR_EACH(node, &timers->posix) {
        struct signal_timer *timer = LIST_ENTRY(node, struct signal_timer, link);
        if (timer->id == id)
            return timer;
    }
    return NULL;
}

/* Gives it a number and lists it. */
static int enter(struct process_timers *timers, struct signal_timer *timer, bool own_value)
{
    int error = 0;
    uint64_t limit = rlimit(LINUX_RLIMIT_SIGPENDING); /* before: it takes a lock that comes before the timers' */
    mutex_lock(&timers->mutex);
    if (timers->posix_count >= limit)
        error = -EAGAIN;
    if (!error) {
        while (find_locked(timers, timers->next_id))
            timers->next_id = (timers->next_id + 1) & INT32_MAX;
        timer->id = timers->next_id;
        timers->next_id = (timers->next_id + 1) & INT32_MAX;
        timer->record.info.timer.timer = timer->id;
        if (!own_value)
            timer->record.info.timer.value = (uint64_t)timer->id;
        list_push_back(&timers->posix, &timer->link);
        timers->posix_count++;
    }
    mutex_unlock(&timers->mutex);
    return error;
}

/* The timer of the current process, referenced, or NULL. */
static struct signal_timer *get(int32_t id)
{
    struct process_timers *timers = current_process()->timers;
    if (!timers)
        return NULL;
    mutex_lock(&timers->mutex);
    struct signal_timer *timer = find_locked(timers, id);
    if (timer)
        object_ref(timer);
    mutex_unlock(&timers->mutex);
    return timer;
}

static int create(const struct clock *clock, const struct sigevent *event, bool own_value, struct lthread *thread, int32_t *id)
{
    struct linux_siginfo info = {.signo = event->signal, .code = LINUX_SI_TIMER, .timer.value = event->value};
    struct process_timers *timers = timers_get();
    struct signal_timer *timer = timers ? signal_timer_create(timers, clock, thread, &info) : NULL;
    if (!timer)
        return -ENOMEM;
    if (clock->process) /* the timer keeps its own reference to what the clock shows */
        object_ref(clock->process);
    if (clock->thread)
        object_ref(clock->thread);
    timer->silent = event->notify == SIGEV_NONE;
    int error = enter(timers, timer, own_value);
    *id = timer->id;
    if (error)
        object_unref(timer);
    return error;
}

int64_t sys_timer_create(int32_t clock_id, uaddr_t event_address, uaddr_t id_address)
{
    struct sigevent event = {.signal = LINUX_SIGALRM, .notify = SIGEV_SIGNAL};
    struct lthread *thread;
    struct clock clock;
    int32_t id;
    if (event_address && user_read(&event, event_address, sizeof event))
        return -EFAULT;
    int error = clock_get(clock_id, &clock);
    if (error)
        return error;
    error = check_clock(&clock);
    if (!error)
        error = check_event(&event, &thread);
    if (!error) {
        error = create(&clock, &event, event_address != 0, thread, &id);
        object_unref(thread);
    }
    clock_put(&clock);
    if (!error && user_write(id_address, &id, sizeof id)) {
        sys_timer_delete(id);
        return -EFAULT;
    }
    return error;
}

static void tell_locked(struct signal_timer *timer, uint64_t now, struct linux_itimerspec *setting)
{
    setting->interval = timespec_of(timer->interval);
    setting->value = timespec_of(signal_timer_left_locked(timer, now));
}

int64_t sys_timer_gettime(int32_t id, struct linux_itimerspec *setting)
{
    struct signal_timer *timer = get(id);
    if (!timer)
        return -EINVAL;
    uint64_t now = signal_timer_now(timer);
    mutex_lock(&timer->timers->mutex);
    tell_locked(timer, now, setting);
    mutex_unlock(&timer->timers->mutex);
    object_unref(timer);
    return 0;
}

/* When it is to expire, in the terms of signal_timer.expiry; 0: never set. */
static uint64_t first_expiry(struct signal_timer *timer, uint32_t flags, uint64_t value, uint64_t now)
{
    if (!value)
        return 0;
    if (!(flags & LINUX_TIMER_ABSTIME))
        return value >= NS_MAX - now ? NS_MAX : now + value;
    if (clock_is_cpu(&timer->clock))
        return value;
    return max_u64(1, min_u64(NS_MAX, clock_deadline(&timer->clock, value)));
}

int64_t sys_timer_settime(int32_t id, uint32_t flags, const struct linux_itimerspec *setting, struct linux_itimerspec *old)
{
    if (!setting || !timespec_valid(&setting->value) || !timespec_valid(&setting->interval))
        return -EINVAL;
    struct signal_timer *timer = get(id);
    if (!timer)
        return -EINVAL;
    uint64_t now = signal_timer_now(timer);
    uint64_t expiry = first_expiry(timer, flags, timespec_ns(&setting->value), now);
    mutex_lock(&timer->timers->mutex);
    if (old)
        tell_locked(timer, now, old);
    if (!timer->deleted)
        signal_timer_set_locked(timer, now, expiry, timespec_ns(&setting->interval));
    mutex_unlock(&timer->timers->mutex);
    object_unref(timer);
    return 0;
}

int64_t sys_timer_getoverrun(int32_t id)
{
    struct signal_timer *timer = get(id);
    if (!timer)
        return -EINVAL;
    mutex_lock(&timer->timers->mutex);
    int32_t overrun = timer->last_overrun;
    mutex_unlock(&timer->timers->mutex);
    object_unref(timer);
    return overrun;
}

/* Who takes it off the list deletes it. */
int64_t sys_timer_delete(int32_t id)
{
    struct process_timers *timers = current_process()->timers;
    if (!timers)
        return -EINVAL;
    mutex_lock(&timers->mutex);
    struct signal_timer *timer = find_locked(timers, id);
    if (timer) {
        list_remove(&timer->link);
        timers->posix_count--;
    }
    mutex_unlock(&timers->mutex);
    if (!timer)
        return -EINVAL;
    signal_timer_delete(timer);
    return 0;
}
