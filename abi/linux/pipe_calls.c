/*
 * pipe, pipe2, and what fcntl asks of pipes.
 */
#include "abi/linux/calls.h"
#include "abi/linux/pipe_internal.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

int pipe_open_both(uint32_t flags, struct file *ends[2])
{
    struct pipe *pipe = pipe_create(NULL);

    if (!pipe)
        return -ENOMEM;
    pipe_lock(pipe);
    ends[0] = pipe_file_create(pipe, LINUX_O_RDONLY | flags);
    ends[1] = ends[0] ? pipe_file_create(pipe, LINUX_O_WRONLY | flags) : NULL;
    mutex_unlock(&pipe->mutex);
    if (ends[1])
        return 0;
    if (ends[0])
        file_unref(ends[0]); /* the pipe dies with it */
    else
        pipe_destroy(pipe);
    return -ENOMEM;
}

int64_t sys_pipe2(uaddr_t fds, uint32_t flags)
{
    struct file *ends[2];
    int numbers[2], error;
    int32_t out[2];

    if (flags & ~(uint32_t)(LINUX_O_CLOEXEC | LINUX_O_NONBLOCK | LINUX_O_DIRECT))
        return -EINVAL;
    error = pipe_open_both(flags & ~(uint32_t)LINUX_O_CLOEXEC, ends);
    if (error)
        return error;
    error = fd_install_pair(ends[0], ends[1], flags & LINUX_O_CLOEXEC, numbers);
    if (error < 0) {
        file_unref(ends[0]);
        file_unref(ends[1]);
        return error;
    }
    out[0] = numbers[0];
    out[1] = numbers[1];
    if (!user_write(fds, out, sizeof(out)))
        return 0;
    fd_close(numbers[0]);
    fd_close(numbers[1]);
    return -EFAULT;
}

int64_t sys_pipe(uaddr_t fds) { return sys_pipe2(fds, 0); }

int64_t pipe_get_size(struct file *file)
{
    struct pipe *pipe = pipe_of(file);

    return pipe ? (int64_t)pipe->slot_count * PAGE_SIZE : -EBADF;
}

/* Moves the ring into an array of `count` slots. Mutex held; -EBUSY when it does not fit, -ENOMEM. */
static int pipe_resize_locked(struct pipe *pipe, uint32_t count)
{
    uint32_t used = pipe_used(pipe);
    struct pipe_slot *slots;

    if (used > count)
        return -EBUSY;
    if (pipe->read_claimed || pipe->write_claimed)
        return -EBUSY; /* splice counts on its slots */
    slots = kcalloc(count, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < used; i++)
        slots[i] = *pipe_slot_at(pipe, pipe->tail + i);
    kfree(pipe->slots);
    pipe->slots = slots;
    pipe->slot_count = count;
    pipe->tail = 0;
    pipe->head = used;
    pipe_announce_locked(pipe, EVENT_WRITE | EVENT_WRITE_NORMAL);
    return 0;
}

int64_t pipe_set_size(struct file *file, uint64_t size)
{
    struct pipe *pipe = pipe_of(file);
    uint64_t rounded = PAGE_SIZE;
    int error;

    if (!pipe)
        return -EBADF;
    if (size > PIPE_SIZE_LARGEST)
        return -EINVAL;
    while (rounded < size)
        rounded *= 2;
    if (rounded > PIPE_SIZE_UNPRIVILEGED && rounded > (uint64_t)pipe->slot_count * PAGE_SIZE && !capable(LINUX_CAP_SYS_RESOURCE))
        return -EPERM;
    pipe_lock(pipe);
    error = pipe_resize_locked(pipe, rounded / PAGE_SIZE);
    pipe_unlock(pipe);
    return error ? error : (int64_t)rounded;
}
