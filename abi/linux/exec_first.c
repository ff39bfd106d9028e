/*
 * The first process: what `hyla run` and `hyla boot` start, pid 1. And processes that serve it: file systems and file servers.
 *
 * They are made on a kernel-only thread, which has no process of its own to open files as. So while it works, that
 * thread goes by the new process's identity (thread->abi names the new lthread): paths, permissions and limits are
 * those the program will have.
 */
#include "abi/linux/exec.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/tty.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#include <arch/linux.h>

static const struct linux_rlimit64 first_limits[LINUX_RLIMITS] = {
    [LINUX_RLIMIT_CPU] = {UINT64_MAX, UINT64_MAX},
    [LINUX_RLIMIT_FSIZE] = {UINT64_MAX, UINT64_MAX},
    [LINUX_RLIMIT_DATA] = {UINT64_MAX, UINT64_MAX},
    [LINUX_RLIMIT_STACK] = {8 << 20, UINT64_MAX},
    [LINUX_RLIMIT_CORE] = {0, UINT64_MAX},
    [LINUX_RLIMIT_RSS] = {UINT64_MAX, UINT64_MAX},
    [LINUX_RLIMIT_NPROC] = {UINT64_MAX, UINT64_MAX},
    [LINUX_RLIMIT_NOFILE] = {1024, 1048576},
    [LINUX_RLIMIT_MEMLOCK] = {8 << 20, 8 << 20},
    [LINUX_RLIMIT_AS] = {UINT64_MAX, UINT64_MAX},
    [LINUX_RLIMIT_LOCKS] = {UINT64_MAX, UINT64_MAX},
    [LINUX_RLIMIT_SIGPENDING] = {15500, 15500},
    [LINUX_RLIMIT_MSGQUEUE] = {819200, 819200},
    [LINUX_RLIMIT_NICE] = {0, 0},
    [LINUX_RLIMIT_RTPRIO] = {0, 0},
    [LINUX_RLIMIT_RTTIME] = {UINT64_MAX, UINT64_MAX},
};

static uint64_t memory_limit;

uint64_t system_memory_limit(void) { return memory_limit; }

/* Takes over the files. */
static int install_stdio(struct fdtable *table, struct file *const stdio[3])
{
    int error = table ? 0 : -ENOMEM;

    for (int fd = 0; fd < 3; fd++) {
        if (stdio[fd] && !error)
            error = fdtable_install_at(table, fd, stdio[fd]);
        if (stdio[fd] && error)
            file_unref(stdio[fd]);
    }
    return error;
}

/* The process and its thread's record, in the root directory, not yet anywhere to be found. */
static int build(const struct process_start *start, struct lthread **result)
{
    struct cred *cred = cred_create(start->uid, start->gid, start->group_count, start->groups);
    struct process *process = process_create();
    struct lthread *thread = process && cred ? lthread_create(process, NULL, cred) : NULL;
    struct path *root = start->root ? path_ref(start->root) : mount_root_path();
    int error = thread && root ? 0 : -ENOMEM;

    *result = thread;
    object_unref(cred);
    if (!error) {
        memcpy(process->limits, first_limits, sizeof first_limits);
        process->fds = fdtable_create();
        process->fs = fs_context_create(root, root);
        error = process->fds && process->fs ? signals_create(process) : -ENOMEM;
    }
    path_unref(root);
    if (!error) {
        atomic32_store_relaxed(&process->fs->umask, start->umask & 0777);
        signals_set_user(process, start->uid);
    }
    object_unref(process); /* the thread's record keeps it */
    return error;
}

static int change_directory(struct process *process, const char *name)
{
    struct path *root, *cwd;
    int error = path_walk(LINUX_AT_FDCWD, name, WALK_DIRECTORY, &cwd);

    if (error)
        return error;
    root = fs_context_root(process->fs);
    struct fs_context *fs = fs_context_create(root, cwd);
    path_unref(root);
    path_unref(cwd);
    if (!fs)
        return -ENOMEM;
    atomic32_store_relaxed(&fs->umask, atomic32_load_relaxed(&process->fs->umask));
    fs_context_unref(process->fs);
    process->fs = fs;
    return 0;
}

/* Opens and loads the program as the new process. */
static int load(const struct process_start *start, struct lthread *thread, struct exec_image *image)
{
    struct process *process = thread->process;
    struct file *file;
    int error = start->cwd ? change_directory(process, start->cwd) : 0;

    if (!error)
        error = exec_args_read_kernel(&image->args, start->argv, start->envp);
    if (!error)
        error = vfs_open_exec(LINUX_AT_FDCWD, start->program, 0, &file);
    if (error)
        return error;
    char *name = kstrdup(start->program);
    if (!name) {
        file_unref(file);
        return -ENOMEM;
    }
    error = exec_prepare(image, file, name);
    return error ? error : exec_load(image);
}

/* Its kernel thread and user side. */
static int make_user_side(struct lthread *thread, struct exec_image *image)
{
    struct process *process = thread->process;
    struct user_regs regs;

    int error = process_make_task(process, image->aspace);
    if (error)
        return error;
    process->mm = object_ref(image->mm);
    memcpy(thread->name, image->comm, sizeof thread->name);
    object_unref(thread->cred);
    thread->cred = object_ref(image->cred);
    error = lthread_make_thread(thread, process->task);
    if (!error)
        error = body_user_create(thread->thread, image->aspace);
    if (error)
        return error;
    arch_regs_start(&regs, image->entry, image->stack);
    body_user_set_regs(thread->thread, &regs);
    body_user_fp_reset(thread->thread);
    return 0;
}

enum start_kind { START_FIRST, START_SERVER /* process->server */, START_FILE_SERVER };

/* The first process's number, kept for it when a server was started before. */
static int32_t first_id;

static int32_t reserve_id(bool first)
{
    if (!first_id)
        first_id = id_reserve();
    return first || first_id < 0 ? first_id : id_reserve();
}

static int enter_tree(const struct process_start *start, struct lthread *thread, enum start_kind kind)
{
    struct process *process = thread->process;
    int32_t pid = reserve_id(kind == START_FIRST);

    if (pid < 0)
        return pid;
    process->server = kind == START_SERVER;
    process->file_server = kind == START_FILE_SERVER;
    process->pid = thread->tid = pid;
    process->did_exec = true;
    mutex_lock(&process_tree_lock);
    mutex_lock(&process->mutex);
    process_add_thread_locked(process, thread);
    mutex_unlock(&process->mutex);
    process_enter_tree_locked(process, NULL);
    if (start->tty)
        tty_take_locked(start->tty, process);
    if (kind == START_FIRST)
        process_first = object_ref(process);
    id_set_thread(pid, thread);
    thread_signals_init(thread, NULL, false);
    process_publish_ids(process);
    mutex_unlock(&process_tree_lock);
    return 0;
}

static void set_limits(const struct process_start *start)
{
    id_set_limit(start->process_limit);
    memory_limit = start->memory_limit;
    if (start->memory_limit)
        aspace_set_total_commit_limit(start->memory_limit);
    if (start->hostname)
        system_set_hostname(start->hostname);
}

static void undo(struct lthread *thread)
{
    if (!thread)
        return;
    process_release_resources(thread->process);
    if (thread->thread) {
        thread->thread->abi = NULL;
        thread_discard_parked(thread->thread);
    }
    object_unref(thread);
}

/* The right that a server begins with moves into its table, where it is the first. */
static int move_handle(const struct process_start *start, struct task *task)
{
    struct handle_value value;
    handle_t number;

    if (!start->handles)
        return 0;
    int error = handle_take(start->handles, start->handle, &value);
    if (error)
        return error;
    error = handle_insert(&task->handles, &value, &number);
    if (error) {
        handle_value_close(&value);
        return error;
    }
    handle_dropped(&value); /* the one it came from */
    return number == start->handle ? 0 : -EINVAL;
}

static int install_source(struct fdtable *table, struct file *source)
{
    int error = !source ? 0 : table ? fdtable_install_at(table, 3, source) : -ENOMEM;

    if (error)
        file_unref(source);
    return error;
}

static int install_files(struct lthread *thread, const struct process_start *start)
{
    struct fdtable *table = thread ? thread->process->fds : NULL;
    int stdio_error = install_stdio(table, start->stdio), error = install_source(table, start->source);

    return stdio_error ? stdio_error : error;
}

static int start_process(const struct process_start *start, struct exec_image *image, enum start_kind kind, struct lthread **thread)
{
    int error = build(start, thread), files_error = install_files(*thread, start);

    error = error ? error : files_error;
    if (!error) {
        thread_current()->abi = *thread;
        error = load(start, *thread, image);
        thread_current()->abi = NULL;
    }
    if (!error)
        error = make_user_side(*thread, image);
    if (!error)
        error = move_handle(start, (*thread)->process->task);
    return error ? error : enter_tree(start, *thread, kind);
}

static void init_once(void)
{
    static bool done;

    if (!done)
        linux_abi_init();
    done = true;
}

static int start_any(const struct process_start *start, enum start_kind kind, struct process **process)
{
    struct lthread *thread = NULL;
    struct exec_image *image = kzalloc(sizeof *image);
    int error = -ENOMEM;

    init_once();
    if (kind != START_FILE_SERVER)
        set_limits(start);
    if (image) {
        exec_args_init(&image->args, first_limits[LINUX_RLIMIT_STACK].current);
        image->stack_limit = first_limits[LINUX_RLIMIT_STACK].current;
        error = start_process(start, image, kind, &thread);
        exec_image_done(image);
    } else {
        install_files(NULL, start);
    }
    kfree(image);
    object_unref(start->tty);
    if (error) {
        undo(thread);
        return error;
    }
    if (process)
        *process = object_ref(thread->process);
    body_user_start(thread->thread);
    signal_thread_started(thread);
    object_unref(thread);
    return 0;
}

int process_start_first(const struct process_start *start) { return start_any(start, START_FIRST, NULL); }

int process_start_server(const struct process_start *start, struct process **process) { return start_any(start, START_SERVER, process); }

int process_start_file_server(const struct process_start *start) { return start_any(start, START_FILE_SERVER, NULL); }
