/*
 * The calls of POSIX message queues. The C library takes the name's leading slash away.
 */
#include "abi/linux/calls.h"
#include "abi/linux/deadline.h"
#include "abi/linux/mqueue.h"
#include "abi/linux/time.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD };

struct sigevent {
    uint64_t value;
    int32_t signal, notify;
    int32_t rest[12];
};
_Static_assert(sizeof(struct sigevent) == 64, "struct sigevent");

static int check_name(const char *name)
{
    size_t length = strlen(name);

    if (!length)
        return -ENOENT;
    return memchr(name, '/', length) ? -EACCES : length > MQ_NAME_MAX ? -ENAMETOOLONG : 0;
}

int64_t sys_mq_open(const char *name, uint32_t flags, uint32_t mode, uaddr_t attributes)
{
    struct mq_attributes limits;
    struct file *file;
    int error = check_name(name);

    if (!error && (flags & LINUX_O_ACCMODE) == LINUX_O_ACCMODE)
        error = -EINVAL;
    if (!error && attributes && user_read(&limits, attributes, sizeof limits))
        error = -EFAULT;
    if (!error)
        error = mqueue_open(name, flags, mode, attributes ? &limits : NULL, &file);
    if (error)
        return error;
    int fd = fd_install(file, LINUX_O_CLOEXEC);
    if (fd < 0)
        file_unref(file);
    return fd;
}

int64_t sys_mq_unlink(const char *name)
{
    int error = check_name(name);

    return error ? error : mqueue_unlink(name);
}

/* NULL: never. */
static int absolute_deadline(const struct linux_timespec *time, nanoseconds_t *deadline)
{
    struct clock wall = {.kind = CLOCK_KIND_WALL};

    *deadline = DEADLINE_NEVER;
    if (time && !timespec_valid(time))
        return -EINVAL;
    if (time)
        *deadline = clock_deadline(&wall, timespec_ns(time));
    return 0;
}

/* The file behind a descriptor and its queue; the caller drops the file. */
static int get_queue(int32_t fd, struct file **file, struct mqueue **queue)
{
    int error = fd_get(fd, file);

    if (error)
        return error;
    error = mqueue_of(*file, queue);
    if (error)
        file_unref(*file);
    return error;
}

static int64_t send(struct file *file, struct mqueue *queue, uaddr_t bytes, uint64_t size, uint32_t priority, nanoseconds_t deadline)
{
    if (!file_writable(file))
        return -EBADF;
    if (size > mqueue_size_max(queue))
        return -EMSGSIZE;
    struct mq_message *message = kalloc(sizeof *message + size);
    if (!message)
        return -ENOMEM;
    list_init(&message->link);
    message->priority = priority;
    message->size = size;
    int error = size && user_read(message->bytes, bytes, size) ? -EFAULT : mqueue_send(queue, message, file_nonblocking(file), deadline);
    if (error)
        kfree(message);
    return error;
}

int64_t sys_mq_timedsend(int32_t fd, uaddr_t bytes, uint64_t size, uint32_t priority, const struct linux_timespec *timeout)
{
    nanoseconds_t deadline;
    struct mqueue *queue;
    struct file *file;
    int64_t result = absolute_deadline(timeout, &deadline);

    if (!result && priority >= MQ_PRIORITIES)
        result = -EINVAL;
    if (!result)
        result = get_queue(fd, &file, &queue);
    if (result)
        return result;
    result = send(file, queue, bytes, size, priority, deadline);
    file_unref(file);
    return result;
}

static int64_t receive(struct file *file, struct mqueue *queue, uaddr_t buffer, uint64_t size, uaddr_t priority, nanoseconds_t deadline)
{
    struct mq_message *message;

    if (!file_readable(file))
        return -EBADF;
    if (size < mqueue_size_max(queue))
        return -EMSGSIZE;
    int error = mqueue_receive(queue, file_nonblocking(file), deadline, &message);
    if (error)
        return error;
    int64_t result = (int64_t)message->size;
    if ((priority && user_write(priority, &message->priority, sizeof message->priority)) ||
        (message->size && user_write(buffer, message->bytes, message->size)))
        result = -EFAULT;
    kfree(message);
    return result;
}

int64_t sys_mq_timedreceive(int32_t fd, uaddr_t buffer, uint64_t size, uaddr_t priority, const struct linux_timespec *timeout)
{
    nanoseconds_t deadline;
    struct mqueue *queue;
    struct file *file;
    int64_t result = absolute_deadline(timeout, &deadline);

    if (!result)
        result = get_queue(fd, &file, &queue);
    if (result)
        return result;
    result = receive(file, queue, buffer, size, priority, deadline);
    file_unref(file);
    return result;
}

/* A thread is told through a netlink socket, and there are none here. */
static int check_event(const struct sigevent *event)
{
    if (event->notify == SIGEV_THREAD)
        return -EBADF;
    if (event->notify != SIGEV_SIGNAL && event->notify != SIGEV_NONE)
        return -EINVAL;
    return event->notify == SIGEV_SIGNAL && (event->signal < 0 || event->signal > LINUX_SIGNALS) ? -EINVAL : 0;
}

int64_t sys_mq_notify(int32_t fd, uaddr_t address)
{
    struct sigevent event = {0};
    struct mqueue *queue;
    struct file *file;
    int error = address && user_read(&event, address, sizeof event) ? -EFAULT : address ? check_event(&event) : 0;

    if (!error)
        error = get_queue(fd, &file, &queue);
    if (error)
        return error;
    if (address)
        error = mqueue_notify(queue, event.notify == SIGEV_SIGNAL ? event.signal : 0, event.value);
    else
        mqueue_notify_not(queue, current_process());
    file_unref(file);
    return error;
}

int64_t sys_mq_getsetattr(int32_t fd, uaddr_t new_address, uaddr_t old_address)
{
    struct mq_attributes new, old;
    struct mqueue *queue;
    struct file *file;

    if (new_address && user_read(&new, new_address, sizeof new))
        return -EFAULT;
    if (new_address && (new.flags & ~(int64_t)LINUX_O_NONBLOCK))
        return -EINVAL;
    int error = get_queue(fd, &file, &queue);
    if (error)
        return error;
    mqueue_show(queue, &old);
    old.flags = file_nonblocking(file) ? LINUX_O_NONBLOCK : 0;
    if (new_address && (new.flags & LINUX_O_NONBLOCK))
        atomic32_or(&file->flags, LINUX_O_NONBLOCK);
    else if (new_address)
        atomic32_and(&file->flags, ~(uint32_t)LINUX_O_NONBLOCK);
    file_unref(file);
    return old_address && user_write(old_address, &old, sizeof old) ? -EFAULT : 0;
}
