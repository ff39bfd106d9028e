/*
 * clone, clone3, fork and vfork: a new thread in the process, or a new process.
 *
 * Order, the same for both: everything that may fail for lack of something is reserved; the child enters the list
 * (and the tree), where killers and signals find it though it does not run yet; the body makes its user side as a
 * copy of the caller's; only then does it start. A child that was killed before it started is started all the
 * same and kicked, so that there is one way to die. When the body fails the child leaves list and tree again.
 *
 * A signal that waits for the caller makes fork start over after its handler (ERESTARTNOINTR), checked under the
 * tree lock: so a signal to the group reaches parent and child or neither.
 *
 * fork holds the mm's mutex from the copy of the region map to the body's copy of the pages. vfork's child has
 * a struct vfork_wait, shared with the parent that sleeps in it and let go by the child's exec or exit.
 */
#include "abi/linux/calls.h"
#include "abi/linux/file.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/process_life.h"
#include "abi/linux/uapi.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#include <arch/linux.h>

#define CLONE_VM 0x100u
#define CLONE_FS 0x200u
#define CLONE_FILES 0x400u
#define CLONE_SIGHAND 0x800u
#define CLONE_PIDFD 0x1000u
#define CLONE_VFORK 0x4000u
#define CLONE_PARENT 0x8000u
#define CLONE_THREAD 0x10000u
#define CLONE_SETTLS 0x80000u
#define CLONE_PARENT_SETTID 0x100000u
#define CLONE_CHILD_CLEARTID 0x200000u
#define CLONE_DETACHED 0x400000u
#define CLONE_CHILD_SETTID 0x1000000u
#define CLONE_NEWNS 0x20000u
#define CLONE_NEWUSER 0x10000000u
#define CLONE_NEWPID 0x20000000u
/* NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: the last seven through plain clone */
#define CLONE_NAMESPACES 0x7e020000u
#define CLONE_NEWTIME 0x80u
#define CLONE_SIGNAL_MASK 0xffu
#define CLONE_CLEAR_SIGHAND 0x100000000u
#define CLONE_INTO_CGROUP 0x200000000u

struct clone_request {
    uint64_t flags; /* without the signal */
    int32_t exit_signal;
    uaddr_t pidfd, parent_tid, child_tid, stack, tls;
};

/* --- vfork ------------------------------------------------------------------------------------------- */

struct vfork_wait {
    struct object object;
    struct mutex mutex;
    bool done;
    struct waitq waiters;
};

static void vfork_wait_destroy(struct object *object) { kfree(CONTAINER_OF(object, struct vfork_wait, object)); }

static const struct object_type vfork_wait_type = {.name = "vfork wait", .destroy = vfork_wait_destroy};

static struct vfork_wait *vfork_wait_create(void)
{
    struct vfork_wait *wait = kzalloc(sizeof *wait);

    if (!wait)
        return NULL;
    object_init(&wait->object, &vfork_wait_type);
    mutex_init(&wait->mutex, RANK_PROCESS);
    waitq_init(&wait->waiters);
    return wait;
}

void vfork_release(struct lthread *thread)
{
    struct vfork_wait *wait = thread->vfork;

    if (!wait)
        return;
    thread->vfork = NULL;
    mutex_lock(&wait->mutex);
    wait->done = true;
    waitq_wake_all(&wait->waiters);
    mutex_unlock(&wait->mutex);
    object_unref(wait);
}

/* Until the child lets go, or the caller is killed. Drops the caller's reference. */
static void vfork_wait_for(struct vfork_wait *wait)
{
    int error = 0;

    mutex_lock(&wait->mutex);
    while (!wait->done && !error)
        error = waitq_sleep(&wait->waiters, &wait->mutex, DEADLINE_NEVER, WAIT_KILLABLE);
    mutex_unlock(&wait->mutex);
    object_unref(wait);
}

/* --- what both kinds share --------------------------------------------------------------------------- */

static int check_flags(const struct clone_request *request)
{
    uint64_t flags = request->flags;

    if ((flags & CLONE_FS) && (flags & (CLONE_NEWNS | CLONE_NEWUSER)))
        return -EINVAL;
    if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
        return -EINVAL;
    if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))
        return -EINVAL;
    if ((flags & CLONE_SIGHAND) && (flags & CLONE_CLEAR_SIGHAND))
        return -EINVAL;
    if ((flags & CLONE_PIDFD) && (flags & (CLONE_DETACHED | CLONE_THREAD)))
        return -EINVAL;
    if ((flags & CLONE_THREAD) && (flags & (CLONE_NEWUSER | CLONE_NEWPID)))
        return -EINVAL;
    /* Descriptors and directories belong to the process here. */
    if ((flags & CLONE_THREAD) && (flags & (CLONE_FS | CLONE_FILES)) != (CLONE_FS | CLONE_FILES))
        return -EINVAL;
    if (flags & (CLONE_NAMESPACES | CLONE_NEWTIME))
        return -EPERM;
    return 0;
}

/* The child's registers, its numbers in user memory. The child exists for the body, but does not run yet. */
static void prepare_start(const struct clone_request *request, struct lthread *child, struct aspace *aspace)
{
    struct user_regs regs;

    body_user_get_regs(child->thread, &regs);
    arch_regs_set_result(&regs, 0);
    if (request->stack)
        arch_regs_set_stack(&regs, request->stack);
    if (request->flags & CLONE_SETTLS)
        arch_regs_set_tls(&regs, request->tls);
    body_user_set_regs(child->thread, &regs);
    if (request->flags & CLONE_CHILD_CLEARTID)
        child->clear_child_tid = request->child_tid;
    /* As on Linux, an address that does not work is the program's own business. */
    if (request->flags & CLONE_PARENT_SETTID)
        user_write(request->parent_tid, &child->tid, sizeof child->tid);
    if ((request->flags & CLONE_CHILD_SETTID) && (request->flags & CLONE_VM)) /* a fork has it stored already */
        body_copy_out(aspace, request->child_tid, &child->tid, sizeof child->tid);
}

/* It runs; what came before it could be reached, reaches it now. */
static void start(struct lthread *child)
{
    body_user_start(child->thread);
    signal_thread_started(child);
    if (thread_killed(child->thread))
        body_user_kick(child->thread);
}

/* The lthread of a child that stays unstarted and is in no list. */
static void discard(struct lthread *child)
{
    if (child->thread) {
        child->thread->abi = NULL;
        thread_discard_parked(child->thread);
    }
    object_unref(child->vfork);
    object_unref(child);
}

/* --- a thread ---------------------------------------------------------------------------------------- */

/* -ERESTARTNOINTR stands for "the process is ending": the caller dies before it could be restarted. */
static int enter_thread(struct process *process, struct lthread *child)
{
    int error = 0;

    mutex_lock(&process->mutex);
    if (process->exiting || process->exec_thread || thread_killed(thread_current()))
        error = -ERESTARTNOINTR;
    else
        process_add_thread_locked(process, child);
    mutex_unlock(&process->mutex);
    return error;
}

static int64_t clone_thread(const struct clone_request *request, struct vfork_wait *wait)
{
    struct lthread *self = current_thread();
    struct process *process = self->process;
    struct lthread *child = lthread_create(process, self, self->cred);
    int32_t tid = child ? id_reserve() : -ENOMEM;
    int error = tid < 0 ? tid : 0;

    if (!error) {
        child->tid = tid;
        child->vfork = wait ? object_ref(wait) : NULL;
        error = lthread_make_thread(child, process->task);
    }
    if (!error)
        error = enter_thread(process, child);
    if (error) {
        if (tid > 0)
            id_release(tid);
        if (child)
            discard(child);
        return error;
    }
    thread_signals_init(child, self, false);
    id_set_thread(tid, child);
    error = body_user_clone(child->thread, process->mm->aspace, USER_CLONE_THREAD, NULL);
    if (error) {
        process_remove_thread(process, child);
        id_set_thread(tid, NULL);
        thread_signals_exit(child);
        thread_discard_parked(child->thread);
        vfork_release(child);
        lthread_forget(child);
        object_unref(child);
        return error;
    }
    body_user_publish_ids(child->thread, process->pid, tid, process->parent ? process->parent->pid : 0);
    prepare_start(request, child, process->mm->aspace);
    start(child);
    object_unref(child);
    return tid;
}

/* --- a process --------------------------------------------------------------------------------------- */

static void copy_limits(struct process *child, struct process *parent)
{
    mutex_lock(&parent->mutex);
    memcpy(child->limits, parent->limits, sizeof child->limits);
    mutex_unlock(&parent->mutex);
}

/* Everything but memory and kinship. What succeeded is undone by the process's end. */
static int copy_process_parts(const struct clone_request *request, struct process *child, struct process *parent)
{
    bool share = request->flags & CLONE_SIGHAND;

    copy_limits(child, parent);
    child->oom_score_adjust = parent->oom_score_adjust;
    child->fds = request->flags & CLONE_FILES ? fdtable_ref(parent->fds) : fdtable_copy(parent->fds);
    if (!child->fds)
        return -ENOMEM;
    child->fs = request->flags & CLONE_FS ? fs_context_ref(parent->fs) : fs_context_copy(parent->fs);
    if (!child->fs)
        return -ENOMEM;
    return signals_fork(child, parent, share, request->flags & CLONE_CLEAR_SIGHAND);
}

static uint64_t processes_of_user_locked(uint32_t uid)
{
    uint64_t count = 0;

    LIST_FOR_EACH(node, &process_all) {
        struct process *process = LIST_ENTRY(node, struct process, all_link);
        struct cred *cred = process_cred(process);
        if (cred && cred->uid == uid)
            count += process->thread_count;
        object_unref(cred);
    }
    return count;
}

static bool over_user_limit_locked(void)
{
    uint64_t limit = rlimit(LINUX_RLIMIT_NPROC);
    uint32_t uid = current_cred()->uid;

    if (limit == UINT64_MAX || uid == 0 || capable(LINUX_CAP_SYS_RESOURCE) || capable(LINUX_CAP_SYS_ADMIN))
        return false;
    return processes_of_user_locked(uid) >= limit;
}

/* Into tree and list; from now on others find it. */
static int enter_process(const struct clone_request *request, struct lthread *child)
{
    struct lthread *self = current_thread();
    struct process *process = child->process;
    struct process *parent = self->process;
    int error = 0;

    mutex_lock(&process_tree_lock);
    if (request->flags & CLONE_PARENT) {
        process->exit_signal = parent->exit_signal;
        process->parent_tid = parent->parent_tid;
        parent = parent->parent;
    } else {
        process->exit_signal = request->exit_signal;
        process->parent_tid = self->tid;
    }
    if (!parent)
        error = -EINVAL;
    else if (process_first_dying)
        error = -ENOMEM;
    else if (over_user_limit_locked())
        error = -EAGAIN;
    else if (signal_pending() || thread_killed(self->thread))
        error = -ERESTARTNOINTR;
    if (!error) {
        mutex_lock(&process->mutex);
        process_add_thread_locked(process, child);
        mutex_unlock(&process->mutex);
        process->server = self->process->server;
        process->file_server = self->process->file_server;
        process_enter_tree_locked(process, parent);
        process_set_group_locked(process, self->process->pgid, self->process->sid);
        process->tty = self->process->tty ? object_ref(self->process->tty) : NULL;
        id_set_thread(child->tid, child);
        thread_signals_init(child, self, (request->flags & (CLONE_VM | CLONE_VFORK)) != CLONE_VM);
    }
    mutex_unlock(&process_tree_lock);
    return error;
}

static void leave_again(struct lthread *child)
{
    struct process *process = child->process;

    process_remove_thread(process, child);
    id_set_thread(child->tid, NULL);
    thread_signals_exit(child);
    mutex_lock(&process_tree_lock);
    if (process->parent)
        waitq_wake_all(&process->parent->child_events);
    process_leave_tree_locked(process);
    mutex_unlock(&process_tree_lock);
    object_unref(child); /* the list's */
}

/* The address space and the user side in it. */
static int clone_memory(const struct clone_request *request, struct lthread *child, struct aspace *aspace)
{
    struct process *process = child->process;
    struct mm *parent_mm = current_process()->mm;
    struct mm *mm;
    int error;

    if (request->flags & CLONE_VM) {
        mm = object_ref(parent_mm);
        error = body_user_clone(child->thread, aspace, USER_CLONE_VFORK, NULL);
    } else {
        struct user_word tid = {request->child_tid, (uint32_t)child->tid};
        bool set_tid = request->flags & CLONE_CHILD_SETTID;
        mutex_lock(&parent_mm->mutex);
        mm = mm_fork(parent_mm, aspace);
        error = mm ? body_user_clone(child->thread, aspace, USER_CLONE_FORK, set_tid ? &tid : NULL) : -ENOMEM;
        mutex_unlock(&parent_mm->mutex);
    }
    mutex_lock(&process->mutex);
    process->mm = mm;
    mutex_unlock(&process->mutex);
    return error;
}

/* All that can be had without anyone seeing it: process, numbers, descriptors, thread. */
static int build_process(const struct clone_request *request, struct lthread **result, struct aspace **aspace)
{
    struct lthread *self = current_thread();
    struct process *process = process_create();
    struct lthread *child = process ? lthread_create(process, self, self->cred) : NULL;
    bool share = request->flags & CLONE_VM;

    object_unref(child ? process : NULL); /* the lthread keeps it */
    *result = child;
    if (!child) {
        object_unref(process);
        return -ENOMEM;
    }
    *aspace = share ? object_ref(self->process->mm->aspace) : aspace_create_bare();
    int error = *aspace ? process_make_task(process, *aspace) : -ENOMEM;
    if (!error)
        error = copy_process_parts(request, process, self->process);
    if (!error)
        error = handle_table_clone(&process->task->handles, &self->process->task->handles);
    if (!error)
        error = lthread_make_thread(child, process->task);
    if (error)
        return error;
    process->pid = id_reserve();
    if (process->pid < 0)
        return process->pid;
    child->tid = process->pid;
    return 0;
}

static void undo_process(struct lthread *child, bool entered)
{
    struct process *process = object_ref(child->process);

    if (entered)
        leave_again(child);
    else if (process->pid > 0)
        id_release(process->pid);
    process_release_resources(process);
    discard(child);
    object_unref(process);
}

/* A child has its parent's limit of CPU time. Without memory for the watch it goes without, as it could not be undone here. */
static void watch_limit(struct process *process)
{
    if (process->limits[LINUX_RLIMIT_CPU].current != UINT64_MAX && !cpu_limit_prepare(process))
        cpu_limit_changed(process);
}

/* It is there for good, and does not run yet: who follows its parent is its watcher before anything happens to it. */
static void announce_fork(struct process *child)
{
    struct process *parent = current_process();

    task_post(parent->watched,
              &(struct task_event){.kind = TASK_FORK, .data = parent->pid, .child = child->watched, .child_ident = (uint64_t)child->pid});
}

static int64_t clone_process(const struct clone_request *request, struct vfork_wait *wait)
{
    struct lthread *child = NULL;
    struct aspace *aspace = NULL;
    bool entered = false;
    int pidfd = -1;
    struct file *file = NULL;
    int error = build_process(request, &child, &aspace);

    if (!error && (request->flags & CLONE_PIDFD)) {
        pidfd = fd_reserve(0, LINUX_O_CLOEXEC);
        file = pidfd >= 0 ? pidfd_create(child->process, LINUX_O_RDWR) : NULL;
        error = pidfd < 0 ? pidfd : !file ? -ENOMEM : user_write(request->pidfd, &pidfd, sizeof pidfd);
    }
    if (!error) {
        child->vfork = wait ? object_ref(wait) : NULL;
        error = enter_process(request, child);
        entered = !error;
    }
    if (!error)
        error = clone_memory(request, child, aspace);
    if (error) {
        if (pidfd >= 0)
            fd_cancel(pidfd);
        object_unref(file);
        if (child)
            undo_process(child, entered);
        object_unref(aspace);
        return error;
    }
    if (pidfd >= 0)
        fd_commit(pidfd, file);
    mutex_lock(&process_tree_lock);
    process_publish_ids(child->process);
    mutex_unlock(&process_tree_lock);
    prepare_start(request, child, aspace);
    object_unref(aspace);
    int32_t pid = child->tid;
    watch_limit(child->process);
    announce_fork(child->process);
    start(child);
    object_unref(child);
    return pid;
}

/* --- the calls --------------------------------------------------------------------------------------- */

static int64_t do_clone(const struct clone_request *request)
{
    struct vfork_wait *wait = NULL;
    int64_t result = check_flags(request);

    if (result)
        return result;
    if (request->flags & CLONE_VFORK) {
        wait = vfork_wait_create();
        if (!wait)
            return -ENOMEM;
    }
    if (request->flags & CLONE_THREAD)
        result = clone_thread(request, wait);
    else
        result = clone_process(request, wait);
    if (wait && result > 0)
        vfork_wait_for(wait);
    else
        object_unref(wait);
    return result;
}

int64_t sys_clone(uint64_t flags, uaddr_t stack, uaddr_t parent_tid, uint64_t fourth, uint64_t fifth)
{
    struct clone_request request = {
        .flags = (uint32_t)flags & ~CLONE_SIGNAL_MASK,
        .exit_signal = flags & CLONE_SIGNAL_MASK,
        .pidfd = parent_tid,
        .parent_tid = parent_tid,
        .stack = stack,
        .child_tid = ARCH_CLONE_TLS_FIRST ? fifth : fourth,
        .tls = ARCH_CLONE_TLS_FIRST ? fourth : fifth,
    };

    if ((flags & CLONE_PIDFD) && (flags & CLONE_PARENT_SETTID))
        return -EINVAL;
    if (request.exit_signal > LINUX_SIGNALS)
        request.exit_signal = 0;
    return do_clone(&request);
}

int64_t sys_fork(void)
{
    struct clone_request request = {.exit_signal = LINUX_SIGCHLD};

    return do_clone(&request);
}

int64_t sys_vfork(void)
{
    struct clone_request request = {.flags = CLONE_VFORK | CLONE_VM, .exit_signal = LINUX_SIGCHLD};

    return do_clone(&request);
}

/* A structure that may be longer than ours when what is beyond is zero. */
static int read_clone_args(struct linux_clone_args *args, uaddr_t address, uint64_t size)
{
    uint8_t rest[64];

    memset(args, 0, sizeof *args);
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (size < 64)
        return -EINVAL;
    if (user_read(args, address, size < sizeof *args ? size : sizeof *args))
        return -EFAULT;
    for (uint64_t at = sizeof *args; at < size; at += sizeof rest) {
        uint64_t part = min_u64(size - at, sizeof rest);
        if (user_read(rest, address + at, part))
            return -EFAULT;
        for (uint64_t i = 0; i < part; i++) {
            if (rest[i])
                return -E2BIG;
        }
    }
    return 0;
}

static int check_clone_args(const struct linux_clone_args *args)
{
    uint64_t valid = (uint64_t)UINT32_MAX | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;

    if ((args->flags & ~valid) || (args->flags & (CLONE_DETACHED | (CLONE_SIGNAL_MASK & ~CLONE_NEWTIME))))
        return -EINVAL;
    if (args->exit_signal > LINUX_SIGNALS)
        return -EINVAL;
    if ((args->flags & (CLONE_THREAD | CLONE_PARENT)) && args->exit_signal)
        return -EINVAL;
    if (!args->stack != !args->stack_size)
        return -EINVAL;
    if (!args->set_tid != !args->set_tid_size || args->set_tid_size > 32)
        return -EINVAL;
    if (args->set_tid_size)
        return -EPERM;
    if (args->flags & CLONE_INTO_CGROUP)
        return -EINVAL;
    return 0;
}

int64_t sys_clone3(uaddr_t address, uint64_t size)
{
    struct linux_clone_args args;
    int error = read_clone_args(&args, address, size);

    if (!error)
        error = check_clone_args(&args);
    if (error)
        return error;
    struct clone_request request = {
        .flags = args.flags,
        .exit_signal = (int32_t)args.exit_signal,
        .pidfd = args.pidfd,
        .parent_tid = args.parent_tid,
        .child_tid = args.child_tid,
        .stack = args.stack ? args.stack + args.stack_size : 0,
        .tls = args.tls,
    };
    return do_clone(&request);
}
