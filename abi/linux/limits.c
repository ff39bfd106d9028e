/*
 * Resource limits (getrlimit(2)): a process's table, read and changed under its mutex. Who enforces which:
 * descriptors (fdtable), stack and data and address space (mm), processes (clone), pending signals (signals), CPU time
 * (cpu_limit).
 */
#include "abi/linux/calls.h"
#include "abi/linux/process_life.h"

#define OPEN_FILES_MAX 1048576u

uint64_t rlimit(int which)
{
    struct process *process = current_process();

    mutex_lock(&process->mutex);
    uint64_t limit = process->limits[which].current;
    mutex_unlock(&process->mutex);
    return limit;
}

static int check_new(int which, const struct linux_rlimit64 *old, const struct linux_rlimit64 *new)
{
    if (new->current > new->maximum)
        return -EINVAL;
    if (which == LINUX_RLIMIT_NOFILE && new->maximum > OPEN_FILES_MAX)
        return -EPERM;
    if (new->maximum > old->maximum && !capable(LINUX_CAP_SYS_RESOURCE))
        return -EPERM;
    return 0;
}

/* Either may be NULL. */
static int change_limit(struct process *process, uint32_t which, const struct linux_rlimit64 *new, struct linux_rlimit64 *old)
{
    int error = 0;

    if (which >= LINUX_RLIMITS)
        return -EINVAL;
    bool watched = which == LINUX_RLIMIT_CPU && new && new->current != UINT64_MAX;
    if (watched)
        error = cpu_limit_prepare(process);
    if (error)
        return error;
    mutex_lock(&process->mutex);
    if (old)
        *old = process->limits[which];
    if (new)
        error = check_new(which, &process->limits[which], new);
    if (new && !error)
        process->limits[which] = *new;
    mutex_unlock(&process->mutex);
    if (watched && !error)
        cpu_limit_changed(process);
    return error;
}

int64_t sys_getrlimit(uint32_t which, struct linux_rlimit64 *limit) { return change_limit(current_process(), which, NULL, limit); }

int64_t sys_setrlimit(uint32_t which, const struct linux_rlimit64 *limit)
{
    return change_limit(current_process(), which, limit, NULL);
}

/* prlimit's rule: the same user in every respect, or the capability. */
static int check_access(struct process *process)
{
    const struct cred *own = current_cred();
    struct cred *target = process_cred(process);

    if (!target)
        return -ESRCH;
    bool same = own->uid == target->euid && own->uid == target->suid && own->uid == target->uid && own->gid == target->egid &&
                own->gid == target->sgid && own->gid == target->gid;
    object_unref(target);
    return same || capable(LINUX_CAP_SYS_RESOURCE) ? 0 : -EPERM;
}

/* By thread number. */
static struct process *process_of(int32_t tid)
{
    struct lthread *thread = tid ? thread_find(tid) : NULL;

    if (!tid)
        return object_ref(current_process());
    if (!thread)
        return process_find(tid);
    struct process *process = object_ref(thread->process);
    object_unref(thread);
    return process;
}

int64_t sys_prlimit64(int32_t pid, uint32_t which, const struct linux_rlimit64 *new, uaddr_t old_address)
{
    struct linux_rlimit64 old;

    if (which >= LINUX_RLIMITS)
        return -EINVAL;
    struct process *process = process_of(pid);
    if (!process)
        return -ESRCH;
    int error = process == current_process() ? 0 : check_access(process);
    if (!error)
        error = change_limit(process, which, new, &old);
    object_unref(process);
    if (!error && old_address)
        error = user_write(old_address, &old, sizeof old);
    return error;
}
