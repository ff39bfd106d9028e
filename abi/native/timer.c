/*
 * Timers that a program holds by a handle: a kernel timer, how often it has expired, and who waits.
 *
 * The timer's function runs in no thread's context; under the wait queue's spinlock it counts, and arms again. It looks at the deadline
 * itself, since timer_set may have changed the setting while the function was on its way: then nothing is due.
 */
#include "abi/native/native_calls.h"
#include "kernel/alloc.h"
#include "kernel/body.h"
#include "kernel/timer.h"
#include "kernel/waitq.h"

#define INTERVAL_MIN 1000u /* ns: shorter ones would keep a CPU busy with nothing else */

struct timer_object {
    struct object object;
    struct waitq waiters; /* its lock guards the next group */
    uint64_t expirations; /* that nobody has been told of */
    nanoseconds_t deadline, interval; /* deadline 0: disarmed; the interval is less than INT64_MAX */
    struct timer timer;
};

static void timer_destroy(struct object *object)
{
    struct timer_object *timer = CONTAINER_OF(object, struct timer_object, object);
    spin_lock(&timer->waiters.lock);
    timer->deadline = 0;
    spin_unlock(&timer->waiters.lock);
    timer_cancel_sync(&timer->timer);
    kfree(timer);
}

const struct object_type timer_object_type = {.name = "timer", .destroy = timer_destroy};

/* The count since the deadline, and the next deadline after now; one that cannot be told any more never comes. */
static void expire_locked(struct timer_object *timer, nanoseconds_t now)
{
    uint64_t count = timer->interval ? (now - timer->deadline) / timer->interval + 1 : 1;
    uint64_t step = count * timer->interval;
    timer->deadline = timer->interval && step < DEADLINE_NEVER - timer->deadline ? timer->deadline + step : 0;
    timer->expirations += count;
}

static void timer_expired(struct timer *kernel_timer)
{
    struct timer_object *timer = CONTAINER_OF(kernel_timer, struct timer_object, timer);
    nanoseconds_t now = body_now(), next;

    spin_lock(&timer->waiters.lock);
    bool due = timer->deadline && timer->deadline <= now;
    if (due)
        expire_locked(timer, now);
    next = timer->deadline;
    if (next)
        timer_set(kernel_timer, next);
    spin_unlock(&timer->waiters.lock);
    if (due)
        waitq_wake_one(&timer->waiters);
}

int64_t native_timer_create(void)
{
    struct timer_object *timer = kzalloc(sizeof *timer);
    if (!timer)
        return -ENOMEM;
    object_init(&timer->object, &timer_object_type);
    waitq_init(&timer->waiters);
    timer_init(&timer->timer, timer_expired);
    return native_handle_new(&timer->object, RIGHT_READ | RIGHT_WRITE | RIGHT_COPY | RIGHT_TRANSFER);
}

int64_t native_timer_set(struct timer_object *timer, const struct hyla_timer_setting *setting)
{
    if ((setting->interval && setting->interval < INTERVAL_MIN) || setting->interval > INT64_MAX)
        return -EINVAL;
    spin_lock(&timer->waiters.lock);
    timer->deadline = setting->deadline == DEADLINE_NEVER ? 0 : setting->deadline;
    timer->interval = setting->interval;
    timer->expirations = 0;
    if (timer->deadline)
        timer_set(&timer->timer, timer->deadline);
    else
        timer_cancel(&timer->timer);
    spin_unlock(&timer->waiters.lock);
    return 0;
}

static int64_t take(struct timer_object *timer)
{
    spin_lock(&timer->waiters.lock);
    uint64_t count = timer->expirations;
    timer->expirations = 0;
    spin_unlock(&timer->waiters.lock);
    return (int64_t)min_u64(count, INT64_MAX);
}

/* Enqueued before the look, so no expiration is missed. */
int64_t native_timer_wait(struct timer_object *timer, nanoseconds_t deadline)
{
    int error = 0;
    for (;;) {
        struct waiter waiter;
        waiter_init(&waiter);
        spin_lock(&timer->waiters.lock);
        waitq_enqueue_locked(&timer->waiters, &waiter);
        spin_unlock(&timer->waiters.lock);
        int64_t count = take(timer);
        if (count || error) {
            if (waiter_abandon(&waiter) && !count)
                waitq_wake_one(&timer->waiters); /* the wake was for somebody who can use it */
            return count ? count : error;
        }
        error = waiter_wait(&waiter, deadline, WAIT_INTERRUPTIBLE);
    }
}
