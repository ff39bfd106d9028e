/*
 * The calls that send signals: kill(2), tgkill(2), rt_sigqueueinfo(2) and their relatives.
 *
 * Several targets are found under the process tree's lock; one target by its id. Signal 0 only asks.
 */
#include "abi/linux/calls.h"
#include "abi/linux/signal_state.h"

static struct linux_siginfo sender_info(int signal, int code)
{
    return (struct linux_siginfo){
        .signo = signal, .code = code, .rt = {.pid = current_process()->pid, .uid = current_cred()->uid}};
}

static int send_checked(struct process *process, int signal, const struct linux_siginfo *info)
{
    if (!process_may_signal(process, signal))
        return -EPERM;
    if (!signal || !process->signals)
        return 0;
    return signal_send_process(process, signal, info);
}

/* The process that pid, or the thread pid, belongs to: a reference or NULL. */
static struct process *find_process(int32_t pid)
{
    struct process *process = process_find(pid);
    if (process)
        return process;
    struct lthread *thread = thread_find(pid);
    if (!thread)
        return NULL;
    process = object_ref(thread->process);
    object_unref(thread);
    return process;
}

static int kill_one(int32_t pid, int signal, const struct linux_siginfo *info)
{
    struct process *process = find_process(pid);
    if (!process)
        return -ESRCH;
    int error = send_checked(process, signal, info);
    if (signal == LINUX_SIGCONT && process->signals)
        signal_report(process);
    object_unref(process);
    return error;
}

/* Success when any of them could be sent to. */
static int kill_group(int32_t pgid, int signal, const struct linux_siginfo *info)
{
    int result = -ESRCH;
    mutex_lock(&process_tree_lock);
    LIST_FOR_EACH(node, &process_all) {
        struct process *process = LIST_ENTRY(node, struct process, all_link);
        if (process->pgid != pgid)
            continue;
        int error = send_checked(process, signal, info);
        result = result == 0 ? 0 : error;
    }
    mutex_unlock(&process_tree_lock);
    return result;
}

/* Every process but the first and the caller's. */
static int kill_everyone(int signal, const struct linux_siginfo *info)
{
    int result = -ESRCH;
    mutex_lock(&process_tree_lock);
    LIST_FOR_EACH(node, &process_all) {
        struct process *process = LIST_ENTRY(node, struct process, all_link);
        if (process->pid == 1 || process == current_process())
            continue;
        int error = send_checked(process, signal, info);
        if (error != -EPERM || result == -ESRCH)
            result = error;
    }
    mutex_unlock(&process_tree_lock);
    return result;
}

int64_t sys_kill(int32_t pid, int32_t signal)
{
    if (signal && !signal_valid(signal))
        return -EINVAL;
    struct linux_siginfo info = sender_info(signal, LINUX_SI_USER);
    if (pid > 0)
        return kill_one(pid, signal, &info);
    if (pid == INT32_MIN)
        return -ESRCH;
    if (pid == -1)
        return kill_everyone(signal, &info);
    return kill_group(pid ? -pid : current_process()->pgid, signal, &info);
}

static int send_thread_checked(struct lthread *thread, int signal, const struct linux_siginfo *info)
{
    if (!process_may_signal(thread->process, signal))
        return -EPERM;
    return signal ? signal_send_thread(thread, signal, info) : 0;
}

/* tgid 0: any. */
static int kill_thread(int32_t tgid, int32_t tid, int signal, const struct linux_siginfo *info)
{
    struct lthread *thread = thread_find(tid);
    if (!thread)
        return -ESRCH;
    int error = -ESRCH;
    if (!tgid || thread->process->pid == tgid)
        error = send_thread_checked(thread, signal, info);
    if (signal == LINUX_SIGCONT)
        signal_report(thread->process);
    object_unref(thread);
    return error;
}

int64_t sys_tgkill(int32_t tgid, int32_t tid, int32_t signal)
{
    if (tgid <= 0 || tid <= 0 || (signal && !signal_valid(signal)))
        return -EINVAL;
    struct linux_siginfo info = sender_info(signal, LINUX_SI_TKILL);
    return kill_thread(tgid, tid, signal, &info);
}

int64_t sys_tkill(int32_t tid, int32_t signal)
{
    if (tid <= 0 || (signal && !signal_valid(signal)))
        return -EINVAL;
    struct linux_siginfo info = sender_info(signal, LINUX_SI_TKILL);
    return kill_thread(0, tid, signal, &info);
}

/* Nobody may pretend to be the kernel or kill(2) to others. */
static int read_info(uaddr_t from, int32_t pid, int signal, struct linux_siginfo *info)
{
    if (user_read(info, from, sizeof *info))
        return -EFAULT;
    info->signo = signal;
    bool forged = info->code >= 0 || info->code == LINUX_SI_TKILL;
    return forged && pid != current_process()->pid && pid != current_thread()->tid ? -EPERM : 0;
}

int64_t sys_rt_sigqueueinfo(int32_t pid, int32_t signal, uaddr_t from)
{
    struct linux_siginfo info;
    int error = read_info(from, pid, signal, &info);
    if (error)
        return error;
    if (signal && !signal_valid(signal))
        return -EINVAL;
    return kill_one(pid, signal, &info);
}

int64_t sys_rt_tgsigqueueinfo(int32_t tgid, int32_t tid, int32_t signal, uaddr_t from)
{
    struct linux_siginfo info;
    if (tgid <= 0 || tid <= 0)
        return -EINVAL;
    int error = read_info(from, tgid, signal, &info);
    if (error)
        return error;
    if (signal && !signal_valid(signal))
        return -EINVAL;
    return kill_thread(tgid, tid, signal, &info);
}
