/*
 * execve and execveat. (exec_first.c starts the first process with the same parts.)
 *
 * The point of no return is process_become_single: from there on the other threads are gone, and a failure
 * kills (SIGSEGV where the program's file is to blame, SIGKILL where the kernel is). What is prepared before
 * it is private to the caller, so an error leaves no trace.
 *
 * The order of the change-over: futexes of the old memory, then the new address space for the body, the task and
 * the process, then whoever waits in vfork (whose memory is no longer in use), descriptors, signals, timers,
 * credentials, the name. A thread that is not the leader takes the leader's number.
 */
#include "abi/linux/calls.h"
#include "abi/linux/exec.h"
#include "abi/linux/fs/fs.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#include <arch/linux.h>

#define AT_SYMLINK_NOFOLLOW 0x100u
#define AT_EMPTY_PATH 0x1000u

/* --- taking over ------------------------------------------------------------------------------------- */

/* The only thread becomes the leader, if it is not. */
static void take_leader_id(struct lthread *self)
{
    struct process *process = self->process;
    int32_t old = self->tid;

    if (old == process->pid)
        return;
    id_release(old);
    self->tid = process->pid;
    id_set_thread(self->tid, self);
}

/* The old user side's time counts on; nobody looks at it (under the mutex) while it is exchanged. */
static int switch_user_side(struct lthread *self, struct exec_image *image)
{
    struct process *process = self->process;
    uint64_t user_ns, system_ns;

    mutex_lock(&process->mutex);
    lthread_cpu_time(self, &user_ns, &system_ns);
    int error = body_user_exec(image->aspace);
    if (!error) {
        atomic64_add_relaxed(&process->dead_user_ns, user_ns);
        atomic64_add_relaxed(&process->dead_system_ns, system_ns);
    }
    mutex_unlock(&process->mutex);
    return error;
}

static void switch_memory(struct lthread *self, struct exec_image *image)
{
    struct process *process = self->process;

    mutex_lock(&process->mutex);
    struct mm *old = process->mm;
    process->mm = object_ref(image->mm);
    memcpy(self->name, image->comm, sizeof self->name);
    mutex_unlock(&process->mutex);
    task_set_aspace(process->task, image->aspace);
    object_unref(old);
}

static void note_in_tree(struct process *process, bool secure)
{
    mutex_lock(&process_tree_lock);
    process->did_exec = true;
    process->exit_signal = LINUX_SIGCHLD;
    if (secure)
        process->parent_death_signal = 0;
    process_publish_ids(process);
    mutex_unlock(&process_tree_lock);
}

static void end_exec(struct process *process)
{
    mutex_lock(&process->mutex);
    process->exec_thread = NULL;
    mutex_unlock(&process->mutex);
}

/* Everything after the point of no return. 0, or the signal to die by. */
static int change_over(struct lthread *self, struct exec_image *image)
{
    struct process *process = self->process;
    struct user_regs regs;

    take_leader_id(self);
    if (exec_load(image))
        return LINUX_SIGSEGV;
    futex_thread_exit(self);
    self->rseq = NULL;
    if (switch_user_side(self, image))
        return LINUX_SIGKILL;
    switch_memory(self, image);
    if (fdtable_exec(process) || signals_exec(process))
        return LINUX_SIGKILL;
    timers_exec(process);
    cred_commit(object_ref(image->cred));
    if (image->secure)
        self->personality &= ~(uint32_t)LINUX_PERSONALITY_NO_RANDOMIZE;
    note_in_tree(process, image->secure);
    task_post(process->watched, &(struct task_event){.kind = TASK_EXEC});
    vfork_release(self); /* the parent goes on, and finds everything done that it can see */
    arch_regs_start(&regs, image->entry, image->stack);
    body_user_set_regs(self->thread, &regs);
    body_user_fp_reset(self->thread);
    self->regs_changed = true;
    self->restart = NULL;
    end_exec(process);
    return 0;
}

/* Takes over everything in the image. */
static int64_t run(struct exec_image *image)
{
    struct lthread *self = current_thread();
    int error = process_become_single(self);
    int signal = error ? 0 : change_over(self, image);

    exec_image_done(image);
    kfree(image);
    if (signal)
        process_exit_group(signal);
    return error;
}

/* --- the calls --------------------------------------------------------------------------------------- */

static struct exec_image *image_create(uint64_t stack_limit, uint32_t personality)
{
    struct exec_image *image = kzalloc(sizeof *image);

    if (!image)
        return NULL;
    exec_args_init(&image->args, stack_limit);
    image->stack_limit = stack_limit;
    image->personality = personality;
    return image;
}

/* What the program is told it was started as. */
static char *exec_name(int dfd, const char *path)
{
    size_t size = strlen(path) + 32;

    if (dfd == LINUX_AT_FDCWD || path[0] == '/')
        return kstrdup(path);
    char *name = kalloc(size);
    if (name)
        format(name, size, "/dev/fd/%d%s%s", dfd, path[0] ? "/" : "", path);
    return name;
}

static int64_t do_exec(int dfd, const char *path, uaddr_t argv, uaddr_t envp, uint32_t walk_flags)
{
    struct file *file;
    int error = vfs_open_exec(dfd, path, walk_flags, &file);

    if (error)
        return error;
    char *name = exec_name(dfd, path);
    struct exec_image *image = image_create(rlimit(LINUX_RLIMIT_STACK), current_thread()->personality);
    if (!name || !image) {
        kfree(name);
        kfree(image);
        file_unref(file);
        return -ENOMEM;
    }
    error = exec_args_read_user(&image->args, argv, envp);
    if (error) {
        kfree(name);
        file_unref(file);
    } else {
        error = exec_prepare(image, file, name);
    }
    if (!error)
        return run(image);
    exec_image_done(image);
    kfree(image);
    return error;
}

int64_t sys_execve(const char *path, uaddr_t argv, uaddr_t envp) { return do_exec(LINUX_AT_FDCWD, path, argv, envp, 0); }

int64_t sys_execveat(int32_t dfd, const char *path, uaddr_t argv, uaddr_t envp, uint32_t flags)
{
    uint32_t walk_flags = (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0) | (flags & AT_SYMLINK_NOFOLLOW ? WALK_NOFOLLOW : 0);

    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    return do_exec(dfd, path, argv, envp, walk_flags);
}
