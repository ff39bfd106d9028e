/*
 * signalfd: pending signals as bytes to be read (signalfd(2)).
 *
 * The file holds only a mask; whose signals it shows is decided by who reads or polls it, as on Linux. A program that
 * blocks the signals it reads this way has them stay pending until the read takes them.
 */
#include "abi/linux/anon.h"
#include "abi/linux/calls.h"
#include "abi/linux/signal_state.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

struct signalfd_info {
    uint32_t signo;
    int32_t error, code;
    uint32_t pid, uid;
    int32_t fd;
    uint32_t timer, band, overrun, trap_number;
    int32_t status, value;
    uint64_t pointer, utime, stime, address;
    uint16_t address_lsb, pad2;
    int32_t call;
    uint64_t call_address;
    uint32_t arch;
    uint8_t pad[28];
};
_Static_assert(sizeof(struct signalfd_info) == 128, "struct signalfd_siginfo");

struct signalfd {
    struct atomic64 mask;
};

static void fill_sent(struct signalfd_info *out, const struct linux_siginfo *info)
{
    out->pid = (uint32_t)info->rt.pid;
    out->uid = info->rt.uid;
    out->pointer = info->rt.value;
    out->value = (int32_t)info->rt.value;
}

static void fill_from_kernel(struct signalfd_info *out, const struct linux_siginfo *info)
{
    switch (info->signo) {
    case LINUX_SIGCHLD:
        out->pid = (uint32_t)info->child.pid;
        out->uid = info->child.uid;
        out->status = info->child.status;
        out->utime = (uint64_t)info->child.utime;
        out->stime = (uint64_t)info->child.stime;
        break;
    case LINUX_SIGIO:
        out->band = (uint32_t)info->poll.band;
        out->fd = info->poll.fd;
        break;
    case LINUX_SIGILL:
    case LINUX_SIGFPE:
    case LINUX_SIGSEGV:
    case LINUX_SIGBUS:
    case LINUX_SIGTRAP:
        out->address = info->fault.address;
        break;
    case LINUX_SIGSYS:
        out->call = info->sys.call;
        out->call_address = info->sys.call_address;
        out->arch = info->sys.arch;
        break;
    }
}

static void fill(struct signalfd_info *out, const struct linux_siginfo *info)
{
    memset(out, 0, sizeof *out);
    out->signo = (uint32_t)info->signo;
    out->error = info->errno_;
    out->code = info->code;
    if (info->code == LINUX_SI_TIMER) {
        out->timer = (uint32_t)info->timer.timer;
        out->overrun = (uint32_t)info->timer.overrun;
        out->pointer = info->timer.value;
        out->value = (int32_t)info->timer.value;
    } else if (info->code <= 0) {
        fill_sent(out, info);
    } else if (info->code != LINUX_SI_KERNEL) {
        fill_from_kernel(out, info);
    }
}

/* One signal. Waits for it only when `wait`. Its number, -EAGAIN, -EINTR. */
static int64_t next(struct signalfd *sfd, bool wait, struct linux_siginfo *info)
{
    return signal_wait_in(atomic64_load_relaxed(&sfd->mask), wait ? DEADLINE_NEVER : 0, info);
}

static int64_t signalfd_read(struct file *file, struct io *io, int64_t *position)
{
    bool wait = !file_nonblocking(file) && !(io->flags & IO_NONBLOCK);
    int64_t total = 0;
    (void)position;
    if (io_left(io) < sizeof(struct signalfd_info))
        return -EINVAL;
    while (io_left(io) >= sizeof(struct signalfd_info)) {
        struct linux_siginfo info;
        struct signalfd_info out;
        int64_t signal = next(file->data, wait && !total, &info);
        if (signal < 0)
            return total ? total : signal == -EINTR ? -ERESTARTSYS : signal;
        fill(&out, &info);
        if (io_put(io, &out, sizeof out) != sizeof out)
            return total ? total : -EFAULT;
        total += sizeof out;
    }
    return total;
}

static uint32_t signalfd_poll(struct file *file)
{
    struct signalfd *sfd = file->data;
    return signal_pending_set() & atomic64_load_relaxed(&sfd->mask) ? EVENT_READ | EVENT_READ_NORMAL : 0;
}

static struct knote_list *signalfd_knotes(struct file *file)
{
    struct process *process = current_process();
    (void)file;
    return process ? signal_knotes(process) : NULL;
}

static void signalfd_show(struct file *file, char *buffer, size_t size)
{
    struct signalfd *sfd = file->data;
    format(buffer, size, "sigmask:\t%016llx\n", (unsigned long long)atomic64_load_relaxed(&sfd->mask));
}

static void signalfd_release(struct file *file) { kfree(file->data); }

static const struct file_ops signalfd_ops = {
    .kind = "signalfd",
    .seek_to_nowhere = true,
    .read = signalfd_read,
    .poll = signalfd_poll,
    .knotes = signalfd_knotes,
    .stat = anon_shared_stat,
    .show_fdinfo = signalfd_show,
    .release = signalfd_release,
};

static int64_t create(signal_set mask, uint32_t flags)
{
    struct signalfd *sfd = kzalloc(sizeof *sfd);
    struct file *file = sfd ? file_create(&signalfd_ops, LINUX_O_RDWR | (flags & LINUX_O_NONBLOCK), sfd) : NULL;
    if (!file) {
        kfree(sfd);
        return -ENOMEM;
    }
    atomic64_store(&sfd->mask, mask);
    int fd = fd_install(file, flags & LINUX_O_CLOEXEC);
    if (fd < 0)
        file_unref(file);
    return fd;
}

static int64_t change(int32_t fd, signal_set mask)
{
    struct file *file;
    int error = fd_get(fd, &file);
    if (error)
        return error;
    bool ours = file->ops == &signalfd_ops;
    if (ours) {
        struct signalfd *sfd = file->data;
        atomic64_store(&sfd->mask, mask);
        waitq_wake_all(&current_process()->signals->arrivals);
        knote_notify(signal_knotes(current_process()), EVENT_READ | EVENT_READ_NORMAL);
    }
    file_unref(file);
    return ours ? fd : -EINVAL;
}

int64_t sys_signalfd4(int32_t fd, uaddr_t set, uint64_t set_size, uint32_t flags)
{
    signal_set mask;
    if (set_size != sizeof mask)
        return -EINVAL;
    if (user_read(&mask, set, sizeof mask))
        return -EFAULT;
    if (flags & ~(uint32_t)(LINUX_O_CLOEXEC | LINUX_O_NONBLOCK))
        return -EINVAL;
    mask &= ~SIGNAL_KERNEL_ONLY;
    return fd == -1 ? create(mask, flags) : change(fd, mask);
}

int64_t sys_signalfd(int32_t fd, uaddr_t set, uint64_t set_size) { return sys_signalfd4(fd, set, set_size, 0); }
