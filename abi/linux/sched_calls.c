/*
 * Scheduling parameters: affinity, policies, priorities, nice values (sched(7)).
 *
 * They are checked, kept per thread and given back, under process->mutex. The kernel's own scheduler treats all
 * threads alike, and the body's host is not told; so a program sees its settings, and no effect.
 */
#include "abi/linux/calls.h"
#include "abi/linux/process_life.h"
#include "abi/linux/uapi.h"
#include "kernel/string.h"

enum { SCHED_NORMAL = 0, SCHED_FIFO = 1, SCHED_RR = 2, SCHED_BATCH = 3, SCHED_IDLE = 5 };
#define SCHED_RESET_ON_FORK 0x40000000
enum { ATTR_RESET_ON_FORK = 1, ATTR_KEEP_POLICY = 8, ATTR_KEEP_PARAMS = 16 };
#define ATTR_SIZE_MIN 48u
enum { PRIO_PROCESS = 0, PRIO_PGRP = 1, PRIO_USER = 2 };

/* A reference to a thread; 0: the caller. */
static struct lthread *target(int32_t tid) { return tid ? thread_find(tid) : object_ref(current_thread()); }

static bool real_time(int32_t policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }

static bool policy_valid(int32_t policy)
{
    return policy == SCHED_NORMAL || real_time(policy) || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

/* The owner or CAP_SYS_NICE. process->mutex held. */
static bool may_change_locked(const struct lthread *thread)
{
    const struct cred *own = current_cred();

    return own->euid == thread->cred->euid || own->euid == thread->cred->uid || capable(LINUX_CAP_SYS_NICE);
}

/* --- affinity ---------------------------------------------------------------------------------------- */

static uint64_t present_word(uint32_t word)
{
    uint32_t cpus = body_cpu_count(), first = word * 64;

    if (cpus <= first)
        return 0;
    return cpus - first >= 64 ? UINT64_MAX : ((uint64_t)1 << (cpus - first)) - 1;
}

static uint32_t mask_bytes(void) { return lthread_cpu_words() * 8; }

int64_t sys_sched_setaffinity(int32_t tid, uint64_t size, uaddr_t mask)
{
    uint64_t words[LTHREAD_CPU_WORDS_MAX] = {0}, any = 0;

    if (user_read(words, mask, min_u64(size, sizeof words)))
        return -EFAULT;
    struct lthread *thread = target(tid);
    if (!thread)
        return -ESRCH;
    for (uint32_t i = 0; i < lthread_cpu_words(); i++)
        any |= words[i] &= present_word(i);
    mutex_lock(&thread->process->mutex);
    int error = !may_change_locked(thread) ? -EPERM : !any ? -EINVAL : 0;
    if (!error)
        memcpy(thread->affinity, words, lthread_cpu_words() * sizeof words[0]);
    mutex_unlock(&thread->process->mutex);
    object_unref(thread);
    return error;
}

int64_t sys_sched_getaffinity(int32_t tid, uint64_t size, uaddr_t mask)
{
    uint64_t words[LTHREAD_CPU_WORDS_MAX] = {0};

    if (size > UINT32_MAX || size * 8 < body_cpu_count() || size % 8)
        return -EINVAL;
    struct lthread *thread = target(tid);
    if (!thread)
        return -ESRCH;
    mutex_lock(&thread->process->mutex);
    memcpy(words, thread->affinity, lthread_cpu_words() * sizeof words[0]);
    mutex_unlock(&thread->process->mutex);
    object_unref(thread);
    uint64_t bytes = min_u64(size, mask_bytes());
    return user_write(mask, words, bytes) ? -EFAULT : (int64_t)bytes;
}

/* --- policies ---------------------------------------------------------------------------------------- */

struct setting {
    int32_t policy, priority, nice;
    bool reset_on_fork, keep_nice;
};

static int check_setting(const struct setting *setting)
{
    if (!policy_valid(setting->policy) || setting->priority < 0 || setting->priority > 99)
        return -EINVAL;
    return real_time(setting->policy) == (setting->priority != 0) ? 0 : -EINVAL;
}

/* What the caller may do without CAP_SYS_NICE. process->mutex held. */
static int check_privilege_locked(const struct lthread *thread, const struct setting *setting)
{
    const struct linux_rlimit64 *limits = thread->process->limits;

    if (capable(LINUX_CAP_SYS_NICE))
        return 0;
    if (!may_change_locked(thread))
        return -EPERM;
    if (!setting->keep_nice && setting->nice < thread->nice && (uint64_t)(20 - setting->nice) > limits[LINUX_RLIMIT_NICE].current)
        return -EPERM;
    if (real_time(setting->policy)) {
        uint64_t limit = limits[LINUX_RLIMIT_RTPRIO].current;
        if (setting->policy != thread->policy && !limit)
            return -EPERM;
        if (setting->priority > thread->priority && (uint64_t)setting->priority > limit)
            return -EPERM;
    }
    return thread->reset_on_fork && !setting->reset_on_fork ? -EPERM : 0;
}

static int apply(int32_t tid, const struct setting *setting, bool keep_policy)
{
    struct setting wanted = *setting;
    struct lthread *thread = target(tid);

    if (!thread)
        return -ESRCH;
    mutex_lock(&thread->process->mutex);
    if (keep_policy) {
        wanted.policy = thread->policy;
        wanted.reset_on_fork = wanted.reset_on_fork || thread->reset_on_fork;
    }
    int error = check_setting(&wanted);
    if (!error)
        error = check_privilege_locked(thread, &wanted);
    if (!error) {
        thread->policy = wanted.policy;
        thread->priority = wanted.priority;
        thread->reset_on_fork = wanted.reset_on_fork;
        if (!wanted.keep_nice)
            thread->nice = wanted.nice;
    }
    mutex_unlock(&thread->process->mutex);
    object_unref(thread);
    return error;
}

int64_t sys_sched_setscheduler(int32_t tid, int32_t policy, const struct linux_sched_param *param)
{
    struct setting setting = {.policy = policy & ~SCHED_RESET_ON_FORK,
                              .priority = param->priority,
                              .reset_on_fork = policy & SCHED_RESET_ON_FORK,
                              .keep_nice = true};

    return tid < 0 || policy < 0 ? -EINVAL : apply(tid, &setting, false);
}

int64_t sys_sched_setparam(int32_t tid, const struct linux_sched_param *param)
{
    struct setting setting = {.priority = param->priority, .keep_nice = true};

    return tid < 0 ? -EINVAL : apply(tid, &setting, true);
}

int64_t sys_sched_getscheduler(int32_t tid)
{
    struct lthread *thread = tid < 0 ? NULL : target(tid);

    if (!thread)
        return tid < 0 ? -EINVAL : -ESRCH;
    int64_t policy = thread->policy | (thread->reset_on_fork ? SCHED_RESET_ON_FORK : 0);
    object_unref(thread);
    return policy;
}

int64_t sys_sched_getparam(int32_t tid, struct linux_sched_param *param)
{
    struct lthread *thread = tid < 0 ? NULL : target(tid);

    if (!thread)
        return tid < 0 ? -EINVAL : -ESRCH;
    param->priority = thread->priority;
    object_unref(thread);
    return 0;
}

/* The part of the structure that the caller knows; what is beyond ours must be zero. */
static int read_attr(uaddr_t address, struct linux_sched_attr *attr)
{
    uint32_t size, ours = sizeof *attr;
    uint8_t byte;

    memset(attr, 0, sizeof *attr);
    if (user_read(&size, address, sizeof size))
        return -EFAULT;
    size = size ? size : ATTR_SIZE_MIN;
    if (size < ATTR_SIZE_MIN || size > PAGE_SIZE) {
        user_write(address, &ours, sizeof ours);
        return -E2BIG;
    }
    if (user_read(attr, address, min_u64(size, sizeof *attr)))
        return -EFAULT;
    for (uint32_t at = sizeof *attr; at < size; at++) {
        if (user_read(&byte, address + at, 1))
            return -EFAULT;
        if (byte)
            return -E2BIG;
    }
    return 0;
}

int64_t sys_sched_setattr(int32_t tid, uaddr_t address, uint32_t flags)
{
    struct linux_sched_attr attr;

    if (!address || tid < 0 || flags)
        return -EINVAL;
    int error = read_attr(address, &attr);
    if (error)
        return error;
    if ((int32_t)attr.policy < 0 || (attr.flags & ~(uint64_t)(ATTR_RESET_ON_FORK | ATTR_KEEP_POLICY | ATTR_KEEP_PARAMS)))
        return -EINVAL;
    struct setting setting = {.policy = (int32_t)attr.policy,
                              .priority = (int32_t)min_u64(attr.priority, 100),
                              .nice = attr.nice < -20 ? -20 : attr.nice > 19 ? 19 : attr.nice,
                              .reset_on_fork = attr.flags & ATTR_RESET_ON_FORK,
                              .keep_nice = real_time((int32_t)attr.policy) || (attr.flags & ATTR_KEEP_PARAMS)};
    return apply(tid, &setting, attr.flags & ATTR_KEEP_POLICY);
}

int64_t sys_sched_getattr(int32_t tid, uaddr_t address, uint32_t size, uint32_t flags)
{
    if (!address || tid < 0 || size > PAGE_SIZE || size < ATTR_SIZE_MIN || flags)
        return -EINVAL;
    struct lthread *thread = target(tid);
    if (!thread)
        return -ESRCH;
    struct linux_sched_attr attr = {.size = (uint32_t)min_u64(size, sizeof attr),
                                    .policy = thread->policy,
                                    .flags = thread->reset_on_fork ? ATTR_RESET_ON_FORK : 0,
                                    .nice = real_time(thread->policy) ? 0 : thread->nice,
                                    .priority = thread->priority};
    object_unref(thread);
    return user_write(address, &attr, attr.size);
}

int64_t sys_sched_get_priority_max(int32_t policy) { return real_time(policy) ? 99 : policy_valid(policy) || policy == 6 ? 0 : -EINVAL; }
int64_t sys_sched_get_priority_min(int32_t policy) { return real_time(policy) ? 1 : policy_valid(policy) || policy == 6 ? 0 : -EINVAL; }

int64_t sys_sched_rr_get_interval(int32_t tid, struct linux_timespec *interval)
{
    struct lthread *thread = tid < 0 ? NULL : target(tid);

    if (!thread)
        return tid < 0 ? -EINVAL : -ESRCH;
    *interval = (struct linux_timespec){.nanoseconds = thread->policy == SCHED_RR ? 100000000 : 0};
    object_unref(thread);
    return 0;
}

int64_t sys_sched_yield(void)
{
    thread_yield();
    return 0;
}

int64_t sys_getcpu(uaddr_t cpu_address, uaddr_t node_address)
{
    uint32_t cpu = thread_current()->cpu, node = 0;

    if (cpu_address && user_write(cpu_address, &cpu, sizeof cpu))
        return -EFAULT;
    if (node_address && user_write(node_address, &node, sizeof node))
        return -EFAULT;
    return 0;
}

/* --- nice values ------------------------------------------------------------------------------------- */

struct nice_request {
    bool set;
    int32_t nice; /* to set, or the lowest found */
    bool found;
    int error;
};

/* process->mutex held. */
static void visit_thread_locked(struct lthread *thread, struct nice_request *request)
{
    uint64_t limit = thread->process->limits[LINUX_RLIMIT_NICE].current;

    if (!request->set) {
        request->nice = !request->found || thread->nice < request->nice ? thread->nice : request->nice;
        request->found = true;
        return;
    }
    request->found = true;
    if (!may_change_locked(thread))
        request->error = -EPERM;
    else if (request->nice < thread->nice && (uint64_t)(20 - request->nice) > limit && !capable(LINUX_CAP_SYS_NICE))
        request->error = -EACCES;
    else
        thread->nice = request->nice;
}

static bool process_chosen(struct process *process, int32_t which, int32_t who)
{
    if (which == PRIO_PGRP)
        return process->pgid == (who ? who : current_process()->pgid);
    struct cred *cred = process_cred(process);
    bool chosen = cred && cred->uid == (who ? (uint32_t)who : current_cred()->uid);
    object_unref(cred);
    return chosen;
}

static void visit_process(struct process *process, struct nice_request *request)
{
    mutex_lock(&process->mutex);
    LIST_FOR_EACH(node, &process->threads)
        visit_thread_locked(LIST_ENTRY(node, struct lthread, process_link), request);
    mutex_unlock(&process->mutex);
}

static int visit(int32_t which, int32_t who, struct nice_request *request)
{
    if (which == PRIO_PROCESS) {
        struct lthread *thread = target(who);
        if (!thread)
            return -ESRCH;
        mutex_lock(&thread->process->mutex);
        visit_thread_locked(thread, request);
        mutex_unlock(&thread->process->mutex);
        object_unref(thread);
        return request->error;
    }
    if (which != PRIO_PGRP && which != PRIO_USER)
        return -EINVAL;
    mutex_lock(&process_tree_lock);
    LIST_FOR_EACH(node, &process_all) {
        struct process *process = LIST_ENTRY(node, struct process, all_link);
        if (process_chosen(process, which, who))
            visit_process(process, request);
    }
    mutex_unlock(&process_tree_lock);
    return request->found ? request->error : -ESRCH;
}

int64_t sys_getpriority(int32_t which, int32_t who)
{
    struct nice_request request = {.set = false};
    int error = visit(which, who, &request);

    return error ? error : 20 - request.nice;
}

int64_t sys_setpriority(int32_t which, int32_t who, int32_t nice)
{
    struct nice_request request = {.set = true, .nice = nice < -20 ? -20 : nice > 19 ? 19 : nice};

    return visit(which, who, &request);
}
