/*
 * timerfd: expiries of a timer, counted behind a descriptor (timerfd_create(2)).
 *
 * The kernel's timer only marks the file expired and wakes; how many periods have passed is computed by the read that
 * takes them, which also arms the timer again. So a timer nobody reads fires once. The timer's function runs where
 * nothing may suspend: all it touches is the atomic mark, the wait queue and the knotes. Times are those of the
 * body's clock; the wall clock's steps are not seen, so TFD_TIMER_CANCEL_ON_SET never has a reason to cancel.
 */
#include "abi/linux/anon.h"
#include "abi/linux/calls.h"
#include "abi/linux/time.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { TFD_TIMER_ABSTIME = 1, TFD_TIMER_CANCEL_ON_SET = 2 };

struct timerfd {
    int32_t clock_id; /* constant */
    struct atomic32 expired;
    struct timer timer;
    struct waitq readers;
    struct knote_list knotes;
    struct mutex mutex; /* rank EVENT_FILE; guards the rest */
    nanoseconds_t expiry; /* the next expiry that is not taken yet; 0: disarmed */
    uint64_t interval;
    uint32_t set_flags;
};

static void timerfd_expired(struct timer *timer)
{
    struct timerfd *tfd = CONTAINER_OF(timer, struct timerfd, timer);
    atomic32_store(&tfd->expired, 1);
    waitq_wake_all(&tfd->readers);
    knote_notify(&tfd->knotes, EVENT_READ | EVENT_READ_NORMAL);
}

static void arm(struct timerfd *tfd)
{
    if (tfd->expiry && tfd->expiry < NS_MAX)
        timer_set(&tfd->timer, tfd->expiry);
}

/* The expiries since the last one that was taken; the next one is set. Mutex held, expired. */
static uint64_t take_ticks(struct timerfd *tfd)
{
    uint64_t ticks = 1;
    nanoseconds_t now = body_now();
    atomic32_store(&tfd->expired, 0);
    if (!tfd->interval) {
        tfd->expiry = 0;
        return ticks;
    }
    if (now > tfd->expiry)
        ticks += (now - tfd->expiry) / tfd->interval;
    tfd->expiry += ticks * tfd->interval;
    arm(tfd);
    return ticks;
}

static int64_t timerfd_read(struct file *file, struct io *io, int64_t *position)
{
    struct timerfd *tfd = file->data;
    bool nonblock = file_nonblocking(file) || (io->flags & IO_NONBLOCK);
    uint64_t ticks = 0;
    int error = 0;
    (void)position;
    if (io_left(io) < sizeof ticks)
        return -EINVAL;
    mutex_lock(&tfd->mutex);
    while (!atomic32_load(&tfd->expired) && !error) {
        if (nonblock)
            error = -EAGAIN;
        else if (waitq_sleep(&tfd->readers, &tfd->mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE))
            error = -ERESTARTSYS;
    }
    if (!error)
        ticks = take_ticks(tfd);
    mutex_unlock(&tfd->mutex);
    if (error)
        return error;
    return io_put(io, &ticks, sizeof ticks) == sizeof ticks ? (int64_t)sizeof ticks : -EFAULT;
}

static uint32_t timerfd_poll(struct file *file)
{
    struct timerfd *tfd = file->data;
    return atomic32_load(&tfd->expired) ? EVENT_READ | EVENT_READ_NORMAL : 0;
}

static struct knote_list *timerfd_knotes(struct file *file) { return &((struct timerfd *)file->data)->knotes; }

static void tell_locked(struct timerfd *tfd, struct linux_itimerspec *setting)
{
    nanoseconds_t now = body_now();
    uint64_t left = 0;
    if (tfd->expiry > now)
        left = tfd->expiry - now;
    else if (tfd->expiry && tfd->interval)
        left = tfd->interval - (now - tfd->expiry) % tfd->interval;
    setting->interval = timespec_of(tfd->interval);
    setting->value = timespec_of(left);
}

static void timerfd_show(struct file *file, char *buffer, size_t size)
{
    struct timerfd *tfd = file->data;
    struct linux_itimerspec setting;
    mutex_lock(&tfd->mutex);
    tell_locked(tfd, &setting);
    mutex_unlock(&tfd->mutex);
    format(buffer, size, "clockid: %d\nticks: %u\nsettime flags: 0%o\nit_value: (%lld, %lld)\nit_interval: (%lld, %lld)\n",
           tfd->clock_id, atomic32_load(&tfd->expired), tfd->set_flags, (long long)setting.value.seconds,
           (long long)setting.value.nanoseconds, (long long)setting.interval.seconds, (long long)setting.interval.nanoseconds);
}

static void timerfd_release(struct file *file)
{
    struct timerfd *tfd = file->data;
    timer_cancel_sync(&tfd->timer);
    knote_list_close(&tfd->knotes);
    kfree(tfd);
}

static const struct file_ops timerfd_ops = {
    .kind = "timerfd",
    .seek_to_nowhere = true,
    .read = timerfd_read,
    .poll = timerfd_poll,
    .knotes = timerfd_knotes,
    .stat = anon_shared_stat,
    .show_fdinfo = timerfd_show,
    .release = timerfd_release,
};

static struct timerfd *create(int32_t clock_id)
{
    struct timerfd *tfd = kzalloc(sizeof *tfd);
    if (!tfd)
        return NULL;
    tfd->clock_id = clock_id;
    timer_init(&tfd->timer, timerfd_expired);
    waitq_init(&tfd->readers);
    knote_list_init(&tfd->knotes);
    mutex_init(&tfd->mutex, RANK_EVENT_FILE);
    return tfd;
}

static int check_clock(int32_t id)
{
    switch (id) {
    case LINUX_CLOCK_REALTIME:
    case LINUX_CLOCK_MONOTONIC:
    case LINUX_CLOCK_BOOTTIME:
        return 0;
    case LINUX_CLOCK_REALTIME_ALARM:
    case LINUX_CLOCK_BOOTTIME_ALARM:
        return capable(LINUX_CAP_WAKE_ALARM) ? 0 : -EPERM;
    default:
        return -EINVAL;
    }
}

int64_t sys_timerfd_create(int32_t clock_id, uint32_t flags)
{
    if (flags & ~(uint32_t)(LINUX_O_CLOEXEC | LINUX_O_NONBLOCK))
        return -EINVAL;
    int error = check_clock(clock_id);
    if (error)
        return error;
    struct timerfd *tfd = create(clock_id);
    struct file *file = tfd ? file_create(&timerfd_ops, LINUX_O_RDWR | (flags & LINUX_O_NONBLOCK), tfd) : NULL;
    if (!file) {
        kfree(tfd);
        return -ENOMEM;
    }
    int fd = fd_install(file, flags & LINUX_O_CLOEXEC);
    if (fd < 0)
        file_unref(file);
    return fd;
}

/* The file, referenced, when it is a timerfd. */
static int get_timerfd(int32_t fd, struct file **file)
{
    int error = fd_get(fd, file);
    if (error)
        return error;
    if ((*file)->ops == &timerfd_ops)
        return 0;
    file_unref(*file);
    return -EINVAL;
}

static nanoseconds_t first_expiry(struct timerfd *tfd, uint32_t flags, uint64_t value)
{
    if (!value)
        return 0;
    if (!(flags & TFD_TIMER_ABSTIME))
        return min_u64(NS_MAX, deadline_after_ns(value));
    struct clock clock;
    clock_get(tfd->clock_id, &clock); /* checked when it was created; not a CPU clock: nothing to put */
    return max_u64(1, min_u64(NS_MAX, clock_deadline(&clock, value)));
}

/* The timer's function does not take the mutex, so it may be waited for with the mutex held. */
static void set_locked(struct timerfd *tfd, uint32_t flags, const struct linux_itimerspec *setting)
{
    timer_cancel_sync(&tfd->timer);
    atomic32_store(&tfd->expired, 0);
    tfd->set_flags = flags;
    tfd->interval = timespec_ns(&setting->interval);
    tfd->expiry = first_expiry(tfd, flags, timespec_ns(&setting->value));
    arm(tfd);
}

int64_t sys_timerfd_settime(int32_t fd, uint32_t flags, const struct linux_itimerspec *setting, struct linux_itimerspec *old)
{
    struct file *file;
    if ((flags & ~(uint32_t)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) || !timespec_valid(&setting->value) ||
        !timespec_valid(&setting->interval))
        return -EINVAL;
    int error = get_timerfd(fd, &file);
    if (error)
        return error;
    struct timerfd *tfd = file->data;
    mutex_lock(&tfd->mutex);
    if (old)
        tell_locked(tfd, old);
    set_locked(tfd, flags, setting);
    mutex_unlock(&tfd->mutex);
    file_unref(file);
    return 0;
}

int64_t sys_timerfd_gettime(int32_t fd, struct linux_itimerspec *setting)
{
    struct file *file;
    int error = get_timerfd(fd, &file);
    if (error)
        return error;
    struct timerfd *tfd = file->data;
    mutex_lock(&tfd->mutex);
    tell_locked(tfd, setting);
    mutex_unlock(&tfd->mutex);
    file_unref(file);
    return 0;
}
