/*
 * Descriptors and what fcntl and ioctl do to every open file: dup, flags, owners, and the way to the file's own
 * ioctl and to locks.
 */
#include "abi/linux/calls.h"
#include "abi/linux/file_async.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/pipe.h"
#include "abi/linux/process_life.h"

/* --- dup --------------------------------------------------------------------------------------------- */

static int64_t duplicate_from(int fd, int minimum, uint32_t flags)
{
    struct file *file;
    int64_t result = fd_get_any(fd, &file);

    if (result)
        return result;
    if (minimum < 0 || (uint64_t)minimum >= rlimit(LINUX_RLIMIT_NOFILE))
        result = -EINVAL;
    else
        result = fd_install_from(file, minimum, flags);
    if (result < 0)
        file_unref(file);
    return result;
}

int64_t sys_dup(int32_t fd)
{
    struct file *file;
    int64_t result = fd_get_any(fd, &file);

    if (result)
        return result;
    result = fd_install(file, 0);
    if (result < 0)
        file_unref(file);
    return result;
}

int64_t sys_dup3(int32_t fd, int32_t new_fd, uint32_t flags)
{
    struct file *file;
    int error;

    if ((flags & ~(uint32_t)LINUX_O_CLOEXEC) || fd == new_fd)
        return -EINVAL;
    if (new_fd < 0 || (uint64_t)new_fd >= rlimit(LINUX_RLIMIT_NOFILE))
        return -EBADF;
    error = fd_get_any(fd, &file);
    if (error)
        return error;
    error = fd_replace(new_fd, file, flags);
    if (!error)
        return new_fd;
    file_unref(file);
    return error;
}

int64_t sys_dup2(int32_t fd, int32_t new_fd)
{
    struct file *file;
    int error;

    if (fd != new_fd)
        return sys_dup3(fd, new_fd, 0);
    error = fd_get_any(fd, &file);
    if (error)
        return error;
    file_unref(file);
    return fd;
}

/* --- status flags ------------------------------------------------------------------------------------ */

enum { SETTABLE_FLAGS = LINUX_O_APPEND | LINUX_O_NONBLOCK | LINUX_O_ASYNC | LINUX_O_DIRECT | LINUX_O_NOATIME };

static int flags_exchange(struct file *file, uint32_t set, uint32_t clear)
{
    uint32_t old = atomic32_load_relaxed(&file->flags), fresh;

    do {
        fresh = (old & ~clear) | set;
        if (file->ops->set_flags) {
            int error = file->ops->set_flags(file, fresh);
            if (error)
                return error;
        }
    } while (!atomic32_cas(&file->flags, &old, fresh));
    return 0;
}

static int flags_change(int fd, struct file *file, uint32_t set, uint32_t clear)
{
    bool was = atomic32_load_relaxed(&file->flags) & LINUX_O_ASYNC, is = (was || (set & LINUX_O_ASYNC)) && !(clear & LINUX_O_ASYNC);
    int error = 0;

    if (file->ops->hold)
        file->ops->hold(file, true);
    if (was != is)
        error = file_async_switch(file, fd, is);
    if (!error)
        error = flags_exchange(file, set, clear);
    if (file->ops->hold)
        file->ops->hold(file, false);
    return error;
}

static int set_status_flags(int fd, struct file *file, uint32_t flags)
{
    uint32_t old = atomic32_load_relaxed(&file->flags);

    if ((flags & ~old & LINUX_O_NOATIME) && file->node && !node_owned_by_caller(file->node))
        return -EPERM;
    return flags_change(fd, file, flags & SETTABLE_FLAGS, SETTABLE_FLAGS & ~flags);
}

/* --- owners of SIGIO --------------------------------------------------------------------------------- */

static bool owner_exists(const struct file_owner *owner)
{
    if (owner->type == FILE_OWNER_THREAD) {
        struct lthread *thread = thread_find(owner->id);
        object_unref(thread);
        return thread;
    }
    if (owner->type == FILE_OWNER_GROUP) {
        mutex_lock(&process_tree_lock);
        bool any = process_group_member_locked(owner->id) != NULL;
        mutex_unlock(&process_tree_lock);
        return any;
    }
    struct process *process = process_find(owner->id);
    object_unref(process);
    return process;
}

static int set_owner(struct file *file, struct file_owner owner)
{
    if (owner.id && !owner_exists(&owner))
        return -ESRCH;
    return file_async_set_owner(file, owner);
}

/* A negative number is a group. */
static int set_owner_number(struct file *file, int32_t number)
{
    if (number == INT32_MIN)
        return -EINVAL;
    return set_owner(file, number < 0 ? (struct file_owner){FILE_OWNER_GROUP, -number} : (struct file_owner){FILE_OWNER_PROCESS, number});
}

static int32_t get_owner_number(struct file *file)
{
    struct file_owner owner = file_async_owner(file);
    return owner.type == FILE_OWNER_GROUP ? -owner.id : owner.id;
}

static int set_owner_ex(struct file *file, uaddr_t argument)
{
    struct linux_owner_ex owner;

    if (user_read(&owner, argument, sizeof(owner)))
        return -EFAULT;
    if (owner.type < FILE_OWNER_THREAD || owner.type > FILE_OWNER_GROUP)
        return -EINVAL;
    return owner.pid < 0 ? -ESRCH : set_owner(file, (struct file_owner){owner.type, owner.pid});
}

static int get_owner_ex(struct file *file, uaddr_t argument)
{
    struct file_owner is = file_async_owner(file);
    struct linux_owner_ex owner = {.type = is.type, .pid = is.id};

    return user_write(argument, &owner, sizeof(owner));
}

/* --- leases ------------------------------------------------------------------------------------------ */

enum { LEASE_READ, LEASE_WRITE, LEASE_NONE };

/* No lease is ever granted: as where the file is open elsewhere too. There is then none to give up. */
static int set_lease(struct file *file, uint64_t type)
{
    if (type > LEASE_NONE)
        return -EINVAL;
    if (!file->node || (file->node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return -EINVAL;
    if (!node_owned_by_caller(file->node))
        return -EACCES;
    return -EAGAIN;
}

/* --- fcntl ------------------------------------------------------------------------------------------- */

enum { F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_SETOWN, F_GETOWN, F_SETSIG, F_GETSIG,
       F_SETOWN_EX = 15, F_GETOWN_EX, F_OFD_GETLK = 36, F_OFD_SETLK, F_OFD_SETLKW,
       F_SETLEASE = 1024, F_GETLEASE, F_NOTIFY, F_DUPFD_CLOEXEC = 1030, F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS };
enum { FD_CLOEXEC = 1 };

static int64_t fcntl_file(int fd, struct file *file, uint32_t command, uint64_t argument)
{
    switch (command) {
    case F_GETFL:
        return atomic32_load_relaxed(&file->flags);
    case F_SETFL:
        return set_status_flags(fd, file, (uint32_t)argument);
    case F_GETLK:
    case F_OFD_GETLK:
        return lock_get(file, argument, command == F_OFD_GETLK);
    case F_SETLK:
    case F_SETLKW:
        return lock_set(file, argument, false, command == F_SETLKW);
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return lock_set(file, argument, true, command == F_OFD_SETLKW);
    case F_SETOWN:
        return set_owner_number(file, (int32_t)argument);
    case F_GETOWN:
        return get_owner_number(file);
    case F_SETSIG:
        return argument > LINUX_SIGNALS ? -EINVAL : file_async_set_signal(file, (int32_t)argument);
    case F_GETSIG:
        return file_async_signal(file);
    case F_SETOWN_EX:
        return set_owner_ex(file, argument);
    case F_GETOWN_EX:
        return get_owner_ex(file, argument);
    case F_SETLEASE:
        return set_lease(file, argument);
    case F_GETLEASE:
        return LEASE_NONE;
    case F_SETPIPE_SZ:
        return (int32_t)argument < 0 ? -EINVAL : pipe_set_size(file, (uint32_t)argument);
    case F_GETPIPE_SZ:
        return pipe_get_size(file);
    case F_ADD_SEALS:
        return memfd_add_seals(file, (uint32_t)argument);
    case F_GET_SEALS:
        return memfd_get_seals(file);
    default:
        return -EINVAL;
    }
}

/* What O_PATH descriptors answer too. */
static int64_t fcntl_descriptor(int fd, uint32_t command, uint64_t argument, bool *handled)
{
    *handled = true;
    switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return duplicate_from(fd, (int)argument, command == F_DUPFD ? 0 : LINUX_O_CLOEXEC);
    case F_GETFD:
        return fd_cloexec(fd);
    case F_SETFD:
        return fd_set_cloexec(fd, argument & FD_CLOEXEC);
    default:
        *handled = false;
        return 0;
    }
}

int64_t sys_fcntl(int32_t fd, uint32_t command, uint64_t argument)
{
    struct file *file;
    bool handled;
    int64_t result = fcntl_descriptor(fd, command, argument, &handled);

    if (handled)
        return result;
    result = command == F_GETFL ? fd_get_any(fd, &file) : fd_get(fd, &file);
    if (result)
        return result;
    result = fcntl_file(fd, file, command, argument);
    file_unref(file);
    return result;
}

/* --- ioctl ------------------------------------------------------------------------------------------- */

enum { FIONCLEX = 0x5450, FIOCLEX = 0x5451, FIONBIO = 0x5421, FIOASYNC = 0x5452, FIOQSIZE = 0x5460 };

static int switch_flag(int fd, struct file *file, uaddr_t argument, uint32_t flag)
{
    int32_t on;

    if (user_read(&on, argument, sizeof(on)))
        return -EFAULT;
    return flags_change(fd, file, on ? flag : 0, on ? 0 : flag);
}

static int64_t ioctl_file(int fd, struct file *file, uint32_t command, uint64_t argument)
{
    switch (command) {
    case FIOCLEX:
    case FIONCLEX:
        return fd_set_cloexec(fd, command == FIOCLEX);
    case FIONBIO:
        return switch_flag(fd, file, argument, LINUX_O_NONBLOCK);
    case FIOASYNC:
        return file->ops->async ? switch_flag(fd, file, argument, LINUX_O_ASYNC) : -ENOTTY;
    default:
        return file->ops->ioctl ? file->ops->ioctl(file, command, argument) : -ENOTTY;
    }
}

int64_t sys_ioctl(int32_t fd, uint32_t command, uint64_t argument)
{
    struct file *file;
    int64_t result = fd_get(fd, &file);

    if (result)
        return result;
    result = ioctl_file(fd, file, command, argument);
    file_unref(file);
    return result;
}

/* --- flock ------------------------------------------------------------------------------------------- */

int64_t sys_flock(int32_t fd, uint32_t operation)
{
    struct file *file;
    int64_t result = fd_get(fd, &file);

    if (result)
        return result;
    result = lock_flock(file, operation);
    file_unref(file);
    return result;
}
