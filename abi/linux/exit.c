/*
 * How threads end, alone or all together: exit, exit_group, killing from outside, and exec's killing of the
 * other threads. process_life.h has the rules; process_end.c has what a process's death does to others.
 *
 * Who meets whom, all under process->mutex:
 *   exit_group against exit_group, or a kill     the first sets `exiting` and the status; the rest just die
 *   exit_group against exec                      exec_thread set first: exit_group ends its own thread only
 *   a kill against exec                          the kill marks exec's thread too: its wait for the others ends
 *   clone against any of them                    clone refuses (EINTR to be restarted, never seen) once marked
 */
#include "abi/linux/calls.h"
#include "abi/linux/file.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/process_life.h"
#include "abi/linux/sysv_ipc.h"
#include "abi/linux/trace.h"
#include "abi/linux/tty.h"
#include "kernel/assert.h"

/* --- asking threads to die --------------------------------------------------------------------------- */

void process_kill_threads_locked(struct process *process, struct lthread *but)
{
    KASSERT(mutex_owned(&process->mutex));
    LIST_FOR_EACH(node, &process->threads) {
        struct lthread *thread = LIST_ENTRY(node, struct lthread, process_link);
        if (thread == but)
            continue;
        thread_kill(thread->thread);
        body_user_kick(thread->thread);
    }
}

void process_kill(struct process *process, int32_t wait_status)
{
    mutex_lock(&process->mutex);
    if (!process->exiting && process->thread_count) {
        process->exiting = true;
        process->exit_status = wait_status;
        process_kill_threads_locked(process, NULL);
    }
    mutex_unlock(&process->mutex);
}

void process_kill_all(void)
{
    mutex_lock(&process_tree_lock);
    LIST_FOR_EACH(node, &process_all)
        process_kill(LIST_ENTRY(node, struct process, all_link), LINUX_SIGKILL);
    mutex_unlock(&process_tree_lock);
}

NORETURN void process_exit_group(int32_t wait_status)
{
    struct lthread *self = current_thread();
    struct process *process = self->process;

    mutex_lock(&process->mutex);
    bool exec_won = process->exec_thread && process->exec_thread != self;
    if (!process->exiting && !exec_won) {
        process->exiting = true;
        process->exit_status = wait_status;
        process_kill_threads_locked(process, self);
    }
    mutex_unlock(&process->mutex);
    lthread_exit(wait_status);
}

int process_become_single(struct lthread *self)
{
    struct process *process = self->process;
    int error = 0;

    mutex_lock(&process->mutex);
    if (process->exiting || process->exec_thread)
        error = -EAGAIN;
    else
        process->exec_thread = self;
    if (!error)
        process_kill_threads_locked(process, self);
    while (!error && (process->thread_count > 1 || process->leaving_count))
        error = waitq_sleep(&process->thread_gone, &process->mutex, DEADLINE_NEVER, WAIT_KILLABLE);
    mutex_unlock(&process->mutex);
    return error;
}

/* --- a thread's own end ------------------------------------------------------------------------------ */

/*
 * Without exit_group a process's status is that of the thread that began to end last. It is settled before anybody
 * can learn that the thread ends (the cleared thread id), so that who then ends too is later.
 */
static void leave_status(struct process *process, int32_t wait_status)
{
    mutex_lock(&process->mutex);
    if (!process->exiting)
        process->exit_status = wait_status;
    mutex_unlock(&process->mutex);
}

/* First step: off the list, where no signal finds it. True for the one that leaves last. */
static bool leave_list(struct lthread *self)
{
    struct process *process = self->process;
    uint64_t user_ns, system_ns;

    lthread_cpu_time(self, &user_ns, &system_ns);
    mutex_lock(&process->mutex);
    atomic64_add_relaxed(&process->dead_user_ns, user_ns);
    atomic64_add_relaxed(&process->dead_system_ns, system_ns);
    list_remove(&self->process_link);
    process->thread_count--;
    process->leaving_count++;
    bool last = process->thread_count == 0;
    mutex_unlock(&process->mutex);
    return last;
}

/* Second step: nothing of it is in the address space any more. */
static void left(struct process *process)
{
    mutex_lock(&process->mutex);
    process->leaving_count--;
    waitq_wake_all(&process->thread_gone);
    mutex_unlock(&process->mutex);
}

static void wait_for_leavers(struct process *process)
{
    mutex_lock(&process->mutex);
    while (process->leaving_count > 1)
        waitq_sleep(&process->thread_gone, &process->mutex, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
    mutex_unlock(&process->mutex);
}

/* The last thread gives up what the process holds; others may look at it under the mutex meanwhile. */
void process_release_resources(struct process *process)
{
    mutex_lock(&process->mutex);
    struct fdtable *fds = process->fds;
    struct fs_context *fs = process->fs;
    process->fds = NULL;
    process->fs = NULL;
    mutex_unlock(&process->mutex);
    if (fds)
        fdtable_unref(fds, process);
    if (fs)
        fs_context_unref(fs);
}

static void release_memory(struct process *process)
{
    mutex_lock(&process->mutex);
    struct mm *mm = process->mm;
    struct task *task = process->task;
    process->mm = NULL;
    process->task = NULL;
    mutex_unlock(&process->mutex);
    task_set_aspace(task, NULL); /* now, not when the last thread's record goes: a program's file may be written again */
    object_unref(mm);
    if (task)
        task_end(task, process->exit_status);
    object_unref(task);
}

/* Nobody else's threads run in it: a hint for the body, which may then drop the whole at once. */
static bool memory_is_own(struct process *process)
{
    return process->mm && atomic32_load_relaxed(&process->mm->object.references) == 1;
}

static void end_process(struct lthread *self, struct process *process)
{
    wait_for_leavers(process);
    trace_process_end(process->exit_status); /* after the lines of the other threads */
    timers_exit(process);
    cpu_limit_exit(process);
    sysv_sem_exit(process);
    if (process->sid == process->pid)
        tty_session_leader_exit(process);
    process_release_resources(process);
    if (process == process_first)
        process_first_ends();
    process->exit_uid = self->cred->uid;
    body_user_exit(memory_is_own(process));
    left(process);
    release_memory(process);
    process_become_zombie(process);
}

void lthread_forget(struct lthread *thread)
{
    struct process *process = thread->process;

    if (thread->tid != process->pid)
        id_release(thread->tid);
    thread->thread->abi = NULL;
    object_unref(thread);
}

NORETURN void lthread_exit(int32_t wait_status)
{
    struct lthread *self = current_thread();
    struct process *process = object_ref(self->process);

    leave_status(process, wait_status);
    futex_thread_exit(self);
    vfork_release(self);
    bool last = leave_list(self);
    id_set_thread(self->tid, NULL);
    thread_signals_exit(self);
    process_orphan_children(process, last ? 0 : self->tid);
    if (last) {
        end_process(self, process);
    } else {
        trace_thread_end();
        body_user_exit(false);
        left(process);
    }
    lthread_forget(self);
    object_unref(process);
    thread_exit();
}

/* --- the calls --------------------------------------------------------------------------------------- */

int64_t sys_exit(int32_t status) { lthread_exit((status & 0xff) << 8); }

int64_t sys_exit_group(int32_t status) { process_exit_group((status & 0xff) << 8); }
