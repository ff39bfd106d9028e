/*
 * epoll_ctl and the four forms of epoll_wait. epoll_create is in epoll.c.
 */
#include "abi/linux/calls.h"
#include "abi/linux/deadline.h"
#include "abi/linux/epoll.h"
#include "abi/linux/wait_mask.h"

#include <arch/epoll_event.h>

enum { EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3 };

#define EXCLUSIVE_ALLOWED                                                                                              \
    (EVENT_READ | EVENT_WRITE | EVENT_ERROR | EVENT_HANGUP | EPOLL_WAKEUP | EPOLL_EXCLUSIVE | EPOLL_EDGE)

/* What epoll_ctl(2) says of EPOLLEXCLUSIVE. */
static int exclusive_check(int op, struct file *file, uint32_t events)
{
    if (op == EPOLL_CTL_DEL || !(events & EPOLL_EXCLUSIVE))
        return 0;
    if (op == EPOLL_CTL_MOD || epoll_of(file) || (events & ~(uint32_t)EXCLUSIVE_ALLOWED))
        return -EINVAL;
    return 0;
}

static int control_add(struct epoll *epoll, struct file *file, int fd, const struct linux_epoll_event *event)
{
    int error;

    mutex_lock(&epoll_tree);
    if (epoll_of(file) && epoll_nests_badly(epoll, epoll_of(file))) {
        mutex_unlock(&epoll_tree);
        return -ELOOP;
    }
    mutex_lock(&epoll->mutex);
    if (epoll_find(epoll, file, fd))
        error = -EEXIST;
    else
        error = epoll_item_add(epoll, file, fd, event->events | EVENT_ERROR | EVENT_HANGUP, event->data);
    mutex_unlock(&epoll->mutex);
    mutex_unlock(&epoll_tree);
    return error;
}

static int control_delete(struct epoll *epoll, struct file *file, int fd)
{
    struct epoll_item *item;

    mutex_lock(&epoll_tree);
    mutex_lock(&epoll->mutex);
    item = epoll_find(epoll, file, fd);
    if (item)
        epoll_item_remove(item);
    mutex_unlock(&epoll->mutex);
    mutex_unlock(&epoll_tree);
    return item ? 0 : -ENOENT;
}

static int control_change(struct epoll *epoll, struct file *file, int fd, const struct linux_epoll_event *event)
{
    struct epoll_item *item;
    int error = 0;

    mutex_lock(&epoll->mutex);
    item = epoll_find(epoll, file, fd);
    if (!item)
        error = -ENOENT;
    else if (item->events & EPOLL_EXCLUSIVE)
        error = -EINVAL;
    else
        epoll_item_change(item, event->events | EVENT_ERROR | EVENT_HANGUP, event->data);
    mutex_unlock(&epoll->mutex);
    return error;
}

static int control(struct file *epoll_file, int op, struct file *file, int fd, const struct linux_epoll_event *event)
{
    struct epoll *epoll = epoll_of(epoll_file);
    int error;

    if (!file->ops->poll)
        return -EPERM;
    if (!epoll || file == epoll_file)
        return -EINVAL;
    error = exclusive_check(op, file, event->events);
    if (error)
        return error;
    switch (op) {
    case EPOLL_CTL_ADD:
        return control_add(epoll, file, fd, event);
    case EPOLL_CTL_DEL:
        return control_delete(epoll, file, fd);
    case EPOLL_CTL_MOD:
        return control_change(epoll, file, fd, event);
    default:
        return -EINVAL;
    }
}

int64_t sys_epoll_ctl(int32_t epfd, int32_t op, int32_t fd, uaddr_t event_address)
{
    struct linux_epoll_event event = {0, 0};
    struct file *epoll_file, *file;
    int error;

    if (op != EPOLL_CTL_DEL && user_read(&event, event_address, sizeof(event)))
        return -EFAULT;
    error = fd_get(epfd, &epoll_file);
    if (error)
        return error;
    error = fd_get(fd, &file);
    if (!error) {
        error = control(epoll_file, op, file, fd, &event);
        file_unref(file);
    }
    file_unref(epoll_file);
    return error;
}

static int64_t wait_on(int32_t epfd, uaddr_t events, int32_t limit, nanoseconds_t deadline)
{
    struct file *file;
    int64_t result;

    if (limit <= 0 || limit > INT32_MAX / (int32_t)sizeof(struct linux_epoll_event))
        return -EINVAL;
    result = fd_get(epfd, &file);
    if (result)
        return result;
    result = -EINVAL;
    if (epoll_of(file))
        result = epoll_wait_until(epoll_of(file), events, limit, deadline);
    file_unref(file);
    return result;
}

static nanoseconds_t deadline_of_ms(int32_t timeout_ms) { return timeout_ms ? deadline_after_ms(timeout_ms) : 0; }

int64_t sys_epoll_wait(int32_t epfd, uaddr_t events, int32_t limit, int32_t timeout_ms)
{
    return wait_on(epfd, events, limit, deadline_of_ms(timeout_ms));
}

static int64_t wait_with_mask(int32_t epfd, uaddr_t events, int32_t limit, nanoseconds_t deadline, uaddr_t mask, uint64_t mask_size)
{
    int error = wait_mask_begin(mask, mask_size);

    return error ? error : wait_mask_end(mask, wait_on(epfd, events, limit, deadline));
}

int64_t sys_epoll_pwait(int32_t epfd, uaddr_t events, int32_t limit, int32_t timeout_ms, uaddr_t mask, uint64_t mask_size)
{
    return wait_with_mask(epfd, events, limit, deadline_of_ms(timeout_ms), mask, mask_size);
}

int64_t sys_epoll_pwait2(int32_t epfd, uaddr_t events, int32_t limit, const struct linux_timespec *timeout, uaddr_t mask,
                         uint64_t mask_size)
{
    nanoseconds_t deadline;
    int error = deadline_after_timespec(timeout, &deadline);

    if (error)
        return error;
    if (timeout && !timeout->seconds && !timeout->nanoseconds)
        deadline = 0;
    return wait_with_mask(epfd, events, limit, deadline, mask, mask_size);
}
