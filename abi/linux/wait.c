/*
 * wait4 and waitid: a parent takes note of its children's deaths, stops and continuations.
 *
 * All under the tree lock: looking, choosing, marking as reported, releasing a zombie. What is found is copied to
 * user memory afterwards. The sleep is on the parent's child_events with the tree lock as its mutex, and whoever
 * changes a child wakes it under the same lock, so nothing is missed. Any thread may wait for any child of its
 * process, unless __WNOTHREAD says otherwise.
 */
#include "abi/linux/calls.h"
#include "abi/linux/process_life.h"
#include "abi/linux/uapi.h"
#include "kernel/assert.h"
#include "kernel/string.h"

#define WNOHANG 1u
#define WUNTRACED 2u
#define WSTOPPED 2u
#define WEXITED 4u
#define WCONTINUED 8u
#define WNOWAIT 0x01000000u
#define WNOTHREAD 0x20000000u
#define WALL 0x40000000u
#define WCLONE 0x80000000u

enum { P_ALL = 0, P_PID = 1, P_PGID = 2, P_PIDFD = 3 };

struct wait_request {
    int kind; /* P_* without P_PIDFD */
    int32_t id;
    uint32_t options;
};

struct wait_result {
    int32_t pid;
    uint32_t uid;
    int code;         /* CLD_* */
    int status;       /* exit status or signal, as siginfo has it */
    int32_t wait_status;
    struct linux_rusage usage;
};

/* --- which children ---------------------------------------------------------------------------------- */

static bool eligible(const struct wait_request *request, const struct process *child)
{
    if (request->kind == P_PID && child->pid != request->id)
        return false;
    if (request->kind == P_PGID && child->pgid != request->id)
        return false;
    if ((request->options & WNOTHREAD) && child->parent_tid != current_thread()->tid)
        return false;
    if (request->options & WALL)
        return true;
    return (child->exit_signal != LINUX_SIGCHLD) == !!(request->options & WCLONE);
}

static void describe(struct process *child, int code, int status, int32_t wait_status, struct wait_result *result)
{
    result->pid = child->pid;
    result->uid = child->exit_uid;
    result->code = code;
    result->status = status;
    result->wait_status = wait_status;
    rusage_of(child, LINUX_RUSAGE_BOTH, &result->usage);
}

/* --- what happened to one ---------------------------------------------------------------------------- */

static void add_child_times(struct process *parent, struct process *child)
{
    atomic64_add_relaxed(&parent->children_user_ns,
                         atomic64_load_relaxed(&child->dead_user_ns) + atomic64_load_relaxed(&child->children_user_ns));
    atomic64_add_relaxed(&parent->children_system_ns,
                         atomic64_load_relaxed(&child->dead_system_ns) + atomic64_load_relaxed(&child->children_system_ns));
}

static bool take_zombie_locked(const struct wait_request *request, struct process *child, struct wait_result *result)
{
    int32_t status = child->exit_status;

    if (child->state != PROCESS_ZOMBIE || !(request->options & WEXITED))
        return false;
    if (!(status & 0x7f))
        describe(child, LINUX_CLD_EXITED, status >> 8 & 0xff, status, result);
    else
        describe(child, status & 0x80 ? LINUX_CLD_DUMPED : LINUX_CLD_KILLED, status & 0x7f, status, result);
    if (!(request->options & WNOWAIT)) {
        add_child_times(child->parent, child);
        process_leave_tree_locked(child);
    }
    return true;
}

static bool take_stop_locked(const struct wait_request *request, struct process *child, struct wait_result *result)
{
    if (child->state != PROCESS_STOPPED || child->stop_reported || !(request->options & WSTOPPED))
        return false;
    describe(child, LINUX_CLD_STOPPED, child->stop_signal, child->stop_signal << 8 | 0x7f, result);
    if (!(request->options & WNOWAIT))
        child->stop_reported = true;
    return true;
}

static bool take_continue_locked(const struct wait_request *request, struct process *child, struct wait_result *result)
{
    if (child->state != PROCESS_ALIVE || !child->was_continued || !(request->options & WCONTINUED))
        return false;
    describe(child, LINUX_CLD_CONTINUED, LINUX_SIGCONT, 0xffff, result);
    if (!(request->options & WNOWAIT))
        child->was_continued = false;
    return true;
}

/* 1: found. 0: there are such children, but nothing to tell. -ECHILD. */
static int look_locked(const struct wait_request *request, struct wait_result *result)
{
    struct process *self = current_process();
    int answer = -ECHILD;

    LIST_FOR_EACH(node, &self->children) {
        struct process *child = LIST_ENTRY(node, struct process, sibling);
        if (!eligible(request, child))
            continue;
        answer = 0;
        object_ref(child);
        bool found = take_zombie_locked(request, child, result) || take_stop_locked(request, child, result) ||
                     take_continue_locked(request, child, result);
        object_unref(child);
        if (found)
            return 1;
    }
    return answer;
}

/* 1 with a result, 0 when WNOHANG found nothing, or an error. */
static int wait_for_child(const struct wait_request *request, struct wait_result *result)
{
    struct process *self = current_process();
    int answer;

    memset(result, 0, sizeof *result);
    mutex_lock(&process_tree_lock);
    while ((answer = look_locked(request, result)) == 0 && !(request->options & WNOHANG)) {
        answer = waitq_sleep(&self->child_events, &process_tree_lock, DEADLINE_NEVER, WAIT_INTERRUPTIBLE);
        if (answer)
            break;
    }
    mutex_unlock(&process_tree_lock);
    return answer == -EINTR ? -ERESTARTSYS : answer;
}

/* --- resources used ---------------------------------------------------------------------------------- */

static struct linux_timeval timeval_of(uint64_t ns)
{
    return (struct linux_timeval){.seconds = ns / 1000000000, .microseconds = ns % 1000000000 / 1000};
}

void rusage_of(struct process *process, int who, struct linux_rusage *usage)
{
    uint64_t user_ns = 0, system_ns = 0;

    memset(usage, 0, sizeof *usage);
    if (who == LINUX_RUSAGE_THREAD)
        lthread_cpu_time(current_thread(), &user_ns, &system_ns);
    else if (who != LINUX_RUSAGE_CHILDREN)
        process_cpu_time(process, &user_ns, &system_ns);
    if (who == LINUX_RUSAGE_CHILDREN || who == LINUX_RUSAGE_BOTH) {
        user_ns += atomic64_load_relaxed(&process->children_user_ns);
        system_ns += atomic64_load_relaxed(&process->children_system_ns);
    }
    usage->user_time = timeval_of(user_ns);
    usage->system_time = timeval_of(system_ns);
}

int64_t sys_getrusage(int32_t who, struct linux_rusage *usage)
{
    if (who != LINUX_RUSAGE_SELF && who != LINUX_RUSAGE_CHILDREN && who != LINUX_RUSAGE_THREAD)
        return -EINVAL;
    rusage_of(current_process(), who, usage);
    return 0;
}

int64_t sys_times(uaddr_t buffer)
{
    struct process *process = current_process();
    const uint64_t tick = 10000000;
    uint64_t user_ns, system_ns;

    process_cpu_time(process, &user_ns, &system_ns);
    struct linux_tms times = {
        .user = user_ns / tick,
        .system = system_ns / tick,
        .children_user = atomic64_load_relaxed(&process->children_user_ns) / tick,
        .children_system = atomic64_load_relaxed(&process->children_system_ns) / tick,
    };
    if (buffer && user_write(buffer, &times, sizeof times))
        return -EFAULT;
    return body_now() / tick;
}

/* --- the calls --------------------------------------------------------------------------------------- */

int64_t sys_wait4(int32_t pid, uaddr_t status, uint32_t options, uaddr_t usage)
{
    struct wait_request request = {.options = options | WEXITED};
    struct wait_result result;

    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WCLONE | WALL))
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    request.kind = pid == -1 ? P_ALL : pid > 0 ? P_PID : P_PGID;
    request.id = pid > 0 ? pid : pid ? -pid : current_process()->pgid;
    int found = wait_for_child(&request, &result);
    if (found <= 0)
        return found;
    if (status && user_write(status, &result.wait_status, sizeof result.wait_status))
        return -EFAULT;
    if (usage && user_write(usage, &result.usage, sizeof result.usage))
        return -EFAULT;
    return result.pid;
}

static int decode_waitid(int32_t type, int32_t id, struct wait_request *request)
{
    struct process *process;
    int error;

    request->kind = type;
    request->id = id;
    switch (type) {
    case P_ALL:
        return 0;
    case P_PID:
        return id > 0 ? 0 : -EINVAL;
    case P_PGID:
        if (id == 0)
            request->id = current_process()->pgid;
        return id >= 0 ? 0 : -EINVAL;
    case P_PIDFD:
        if (id < 0)
            return -EINVAL;
        error = pidfd_process(id, &process);
        if (error)
            return error;
        request->kind = P_PID;
        request->id = process->pid;
        object_unref(process);
        return 0;
    default:
        return -EINVAL;
    }
}

static int write_child_info(uaddr_t address, const struct wait_result *result, bool found)
{
    struct linux_siginfo info = {0};

    if (found) {
        info.signo = LINUX_SIGCHLD;
        info.code = result->code;
        info.child.pid = result->pid;
        info.child.uid = result->uid;
        info.child.status = result->status;
    }
    /* Linux fills these fields only. */
    return user_write(address, &info, offsetof(struct linux_siginfo, child.utime));
}

int64_t sys_waitid(int32_t type, int32_t id, uaddr_t info, uint32_t options, uaddr_t usage)
{
    struct wait_request request = {.options = options};
    struct wait_result result;

    if (options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WNOTHREAD | WCLONE | WALL))
        return -EINVAL;
    if (!(options & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    int error = decode_waitid(type, id, &request);
    if (error)
        return error;
    int found = wait_for_child(&request, &result);
    if (found < 0)
        return found;
    if (found && usage && user_write(usage, &result.usage, sizeof result.usage))
        return -EFAULT;
    if (info && write_child_info(info, &result, found))
        return -EFAULT;
    return 0;
}
