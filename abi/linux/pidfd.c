/*
 * pidfds: open files that stand for a process, also after its number has gone.
 *
 * The file holds a reference to the process. It becomes readable when the process has died, for good; nothing can
 * be read from it.
 */
#include "abi/linux/calls.h"
#include "abi/linux/file.h"
#include "abi/linux/process_life.h"
#include "kernel/string.h"

#define PIDFD_NONBLOCK LINUX_O_NONBLOCK

static uint32_t pidfd_poll(struct file *file)
{
    const struct process *process = file->data;

    return process->state >= PROCESS_ZOMBIE ? EVENT_READ | EVENT_READ_NORMAL : 0;
}

static struct knote_list *pidfd_knotes(struct file *file) { return &((struct process *)file->data)->pidfd_knotes; }

static void pidfd_show(struct file *file, char *buffer, size_t size)
{
    const struct process *process = file->data;
    int32_t pid = process->state == PROCESS_DEAD ? -1 : process->pid;

    format(buffer, size, "Pid:\t%d\nNSpid:\t%d\n", pid, pid);
}

static int64_t pidfd_refuse(struct file *file, struct io *io, int64_t *position)
{
    (void)file, (void)io, (void)position;
    return -EINVAL;
}

static void pidfd_release(struct file *file) { object_unref(file->data); }

static const struct file_ops pidfd_ops = {
    .kind = "pidfd",
    .read = pidfd_refuse,
    .write = pidfd_refuse,
    .poll = pidfd_poll,
    .knotes = pidfd_knotes,
    .show_fdinfo = pidfd_show,
    .release = pidfd_release,
};

struct file *pidfd_create(struct process *process, uint32_t flags)
{
    struct file *file = file_create(&pidfd_ops, flags, object_ref(process));

    if (!file)
        object_unref(process);
    return file;
}

int pidfd_process(int fd, struct process **process)
{
    struct file *file;
    int error = fd_get(fd, &file);

    if (error)
        return error;
    if (file->ops == &pidfd_ops)
        *process = object_ref(file->data);
    else
        error = -EBADF;
    file_unref(file);
    return error;
}

/* --- the calls --------------------------------------------------------------------------------------- */

int64_t sys_pidfd_open(int32_t pid, uint32_t flags)
{
    if ((flags & ~PIDFD_NONBLOCK) || pid <= 0)
        return -EINVAL;
    struct process *process = process_find(pid);
    if (!process) {
        struct lthread *thread = thread_find(pid);
        object_unref(thread);
        return thread ? -EINVAL : -ESRCH; /* a thread that is no leader */
    }
    struct file *file = pidfd_create(process, LINUX_O_RDWR | (flags & PIDFD_NONBLOCK));
    object_unref(process);
    if (!file)
        return -ENOMEM;
    int fd = fd_install(file, LINUX_O_CLOEXEC);
    if (fd < 0)
        file_unref(file);
    return fd;
}

static int read_signal_info(uaddr_t address, int signal, const struct process *target, struct linux_siginfo *info)
{
    if (!address) {
        *info = (struct linux_siginfo){.signo = signal, .code = LINUX_SI_USER};
        info->rt.pid = current_process()->pid;
        info->rt.uid = current_cred()->uid;
        return 0;
    }
    if (user_read(info, address, sizeof *info))
        return -EFAULT;
    if (info->signo != signal)
        return -EINVAL;
    if (target != current_process() && (info->code >= 0 || info->code == LINUX_SI_TKILL))
        return -EPERM;
    return 0;
}

int64_t sys_pidfd_send_signal(int32_t fd, int32_t signal, uaddr_t info_address, uint32_t flags)
{
    struct linux_siginfo info;
    struct process *process;

    if (flags)
        return -EINVAL;
    int error = pidfd_process(fd, &process);
    if (error)
        return error;
    error = read_signal_info(info_address, signal, process, &info);
    if (!error && (signal < 0 || signal > LINUX_SIGNALS))
        error = -EINVAL;
    if (!error && process->state == PROCESS_DEAD)
        error = -ESRCH;
    if (!error && !process_may_signal(process, signal))
        error = -EPERM;
    if (!error && signal)
        error = signal_send_process(process, signal, &info);
    object_unref(process);
    return error;
}

int64_t sys_pidfd_getfd(int32_t fd, int32_t target_fd, uint32_t flags)
{
    struct process *process;
    struct file *file = NULL;

    if (flags)
        return -EINVAL;
    int error = pidfd_process(fd, &process);
    if (error)
        return error;
    error = process->state >= PROCESS_ZOMBIE ? -ESRCH : process_may_access(process);
    if (!error) {
        mutex_lock(&process->mutex);
        file = process->fds ? fdtable_peek(process->fds, target_fd) : NULL;
        mutex_unlock(&process->mutex);
        error = file ? fd_install(file, LINUX_O_CLOEXEC) : -EBADF;
        if (file && error < 0)
            file_unref(file);
    }
    object_unref(process);
    return error;
}
