/*
 * Timers that send signals: arming, expiring, overruns, and their end. See signal_timer.h.
 */
#include "abi/linux/signal_timer.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"

/* --- life -------------------------------------------------------------------------------------------- */

static void timers_destroy(struct object *object) { kfree(CONTAINER_OF(object, struct process_timers, object)); }

static const struct object_type timers_type = {.name = "process timers", .destroy = timers_destroy};

static struct process_timers *timers_create(void)
{
    struct process_timers *timers = kzalloc(sizeof *timers);
    if (!timers)
        return NULL;
    object_init(&timers->object, &timers_type);
    mutex_init(&timers->mutex, RANK_ABI_TIMER);
    list_init(&timers->posix);
    return timers;
}

struct process_timers *timers_get(void)
{
    struct process *process = current_process();
    mutex_lock(&process->mutex);
    if (!process->timers)
        process->timers = timers_create();
    struct process_timers *timers = process->timers;
    mutex_unlock(&process->mutex);
    return timers;
}

static void timer_destroy(struct object *object)
{
    struct signal_timer *timer = CONTAINER_OF(object, struct signal_timer, object);
    clock_put(&timer->clock);
    object_unref(timer->thread);
    object_unref(timer->process);
    object_unref(timer->timers);
    kfree(timer);
}

static const struct object_type timer_type = {.name = "signal timer", .destroy = timer_destroy};

static void timer_expired(struct timer *timer);
static void timer_work(struct async_work *work);

struct signal_timer *signal_timer_create(struct process_timers *timers, const struct clock *clock, struct lthread *thread,
                                         const struct linux_siginfo *info)
{
    struct signal_timer *timer = kzalloc(sizeof *timer);
    if (!timer)
        return NULL;
    object_init(&timer->object, &timer_type);
    timer->timers = object_ref(timers);
    timer->process = object_ref(current_process());
    timer->thread = thread ? object_ref(thread) : NULL;
    timer->clock = *clock;
    list_init(&timer->link);
    timer->record.info = *info;
    timer->record.timer = timer;
    list_init(&timer->record.link);
    timer_init(&timer->timer, timer_expired);
    async_work_init(&timer->work, timer_work);
    return timer;
}

/* --- running ----------------------------------------------------------------------------------------- */

uint64_t signal_timer_now(struct signal_timer *timer)
{
    return clock_is_cpu(&timer->clock) ? clock_read(&timer->clock) : body_now();
}

static void arm_locked(struct signal_timer *timer, uint64_t now)
{
    if (timer->silent || timer->deleted)
        return;
    nanoseconds_t deadline = timer->expiry;
    if (clock_is_cpu(&timer->clock))
        deadline = cpu_clock_estimate(&timer->clock, timer->expiry > now ? timer->expiry - now : 0, timer->idle);
    if (timer->expiry < NS_MAX)
        timer_set(&timer->timer, deadline);
}

/* Moves expiry past now; how many whole periods that skips. */
static uint64_t forward_locked(struct signal_timer *timer, uint64_t now)
{
    uint64_t periods = now > timer->expiry ? (now - timer->expiry) / timer->interval : 0;
    timer->expiry += (periods + 1) * timer->interval;
    return periods;
}

static void expire_locked(struct signal_timer *timer, uint64_t now)
{
    object_ref(timer); /* the queued signal's */
    enum signal_record_fate fate = signal_send_record(timer->process, timer->thread, &timer->record);
    if (fate != RECORD_QUEUED)
        object_unref(timer);
    if (fate == RECORD_WAS_QUEUED)
        timer->overrun++;
    if (!timer->interval) {
        timer->expiry = 0;
    } else if (fate == RECORD_IGNORED) {
        forward_locked(timer, now);
        arm_locked(timer, now);
    } else {
        timer->waiting = true;
    }
}

static void look_again_locked(struct signal_timer *timer, uint64_t now)
{
    timer->idle = now == timer->last_value ? timer->idle + 1 : 0;
    timer->last_value = now;
    arm_locked(timer, now);
}

static void timer_work(struct async_work *work)
{
    struct signal_timer *timer = CONTAINER_OF(work, struct signal_timer, work);
    uint64_t now = signal_timer_now(timer);
    mutex_lock(&timer->timers->mutex);
    if (!timer->deleted && timer->expiry && !timer->waiting) {
        if (now >= timer->expiry)
            expire_locked(timer, now);
        else
            look_again_locked(timer, now);
    }
    mutex_unlock(&timer->timers->mutex);
    object_unref(timer);
}

static void timer_expired(struct timer *kernel_timer)
{
    struct signal_timer *timer = CONTAINER_OF(kernel_timer, struct signal_timer, timer);
    object_ref(timer); /* the work's; not the last one, since the timer is on its process's list while it is armed */
    if (!kernel_async(&timer->work))
        object_unref(timer);
}

void signal_timer_set_locked(struct signal_timer *timer, uint64_t now, uint64_t expiry, uint64_t interval)
{
    timer_cancel(&timer->timer);
    bool queued = signal_unqueue_record(timer->process, &timer->record);
    timer->waiting = false;
    timer->overrun = 0;
    timer->idle = 0;
    timer->last_value = 0;
    timer->expiry = expiry;
    timer->interval = interval;
    if (expiry)
        arm_locked(timer, now);
    if (queued)
        object_unref(timer); /* the list has another */
}

uint64_t signal_timer_left_locked(struct signal_timer *timer, uint64_t now)
{
    if (!timer->expiry)
        return 0;
    if (timer->expiry > now)
        return timer->expiry - now;
    if (timer->interval)
        return timer->interval - (now - timer->expiry) % timer->interval;
    return timer->silent ? 0 : 1; /* about to expire */
}

void signal_timer_delete(struct signal_timer *timer)
{
    mutex_lock(&timer->timers->mutex);
    timer->deleted = true;
    list_remove(&timer->link);
    mutex_unlock(&timer->timers->mutex);
    timer_cancel_sync(&timer->timer);
    if (signal_unqueue_record(timer->process, &timer->record))
        object_unref(timer);
    object_unref(timer);
}

/* --- its signal was taken or dropped ------------------------------------------------------------------ */

static void rearm_locked(struct signal_timer *timer, uint64_t now)
{
    if (!timer->waiting || timer->deleted)
        return;
    timer->waiting = false;
    timer->overrun += forward_locked(timer, now);
    arm_locked(timer, now);
}

void signal_timer_taken(struct signal_record *record, struct linux_siginfo *info)
{
    struct signal_timer *timer = record->timer;
    uint64_t now = signal_timer_now(timer);
    mutex_lock(&timer->timers->mutex);
    rearm_locked(timer, now);
    timer->last_overrun = (int32_t)min_u64(timer->overrun, INT32_MAX);
    timer->overrun = 0;
    if (info->code == LINUX_SI_TIMER)
        info->timer.overrun = timer->last_overrun;
    mutex_unlock(&timer->timers->mutex);
    object_unref(timer);
}

void signal_timer_dropped(struct signal_record *record)
{
    struct signal_timer *timer = record->timer;
    uint64_t now = signal_timer_now(timer);
    mutex_lock(&timer->timers->mutex);
    rearm_locked(timer, now);
    mutex_unlock(&timer->timers->mutex);
    object_unref(timer);
}

/* --- exec and exit ----------------------------------------------------------------------------------- */

/* A timer of the list, referenced, or NULL. */
static struct signal_timer *first_posix(struct process_timers *timers)
{
    mutex_lock(&timers->mutex);
    struct signal_timer *timer = NULL;
    if (!list_empty(&timers->posix)) {
        timer = LIST_ENTRY(timers->posix.next, struct signal_timer, link);
        list_remove(&timer->link);
        timers->posix_count--;
    }
    mutex_unlock(&timers->mutex);
    return timer;
}

void timers_exec(struct process *process)
{
    struct process_timers *timers = process->timers;
    struct signal_timer *timer;
    while (timers && (timer = first_posix(timers)))
        signal_timer_delete(timer);
}

void timers_exit(struct process *process)
{
    struct process_timers *timers = process->timers;
    if (!timers)
        return;
    timers_exec(process);
    for (int which = 0; which < ITIMERS; which++)
        if (timers->interval[which])
            signal_timer_delete(timers->interval[which]);
    process->timers = NULL;
    object_unref(timers);
}
