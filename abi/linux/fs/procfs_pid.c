/*
 * /proc/PID and /proc/PID/task/TID: which names there are, and the links to program, directory and root.
 */
#include "abi/linux/fs/procfs.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

/* --- whom a node speaks of --------------------------------------------------------------------------- */

struct process *proc_process(const struct proc_node *node) { return process_find(node->pid); }

struct lthread *proc_thread(const struct proc_node *node)
{
    if (node->tid)
        return thread_find(node->tid);
    struct process *process = proc_process(node);
    struct lthread *thread = process ? process_any_thread(process) : NULL;
    object_unref(process);
    return thread;
}

int proc_process_checked(const struct proc_node *node, struct process **process)
{
    *process = proc_process(node);
    if (!*process)
        return -ESRCH;
    if (*process == current_process() || !process_may_access(*process))
        return 0;
    object_unref(*process);
    return -EACCES;
}

int64_t proc_number(const char *name, size_t length)
{
    int64_t number = 0;
    if (!length || length > 10 || (name[0] == '0' && length > 1))
        return -1;
    for (size_t i = 0; i < length; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        number = number * 10 + (name[i] - '0');
    }
    return number <= INT32_MAX ? number : -1;
}

int proc_root_find(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child)
{
    int64_t number = proc_number(name, length);
    (void)dir;
    struct process *process = number > 0 ? process_find((int32_t)number) : NULL;
    if (!process) { /* a thread's number leads to its process, though it is not listed */
        struct lthread *thread = number > 0 ? thread_find((int32_t)number) : NULL;
        process = thread && thread->process ? object_ref(thread->process) : NULL;
        object_unref(thread);
    }
    if (!process)
        return -ENOENT;
    *child = (struct proc_node){.entry = &proc_pid_entry, .pid = process->pid};
    object_unref(process);
    return 0;
}

bool proc_root_next(const struct proc_node *dir, int64_t *at, char name[24], struct proc_node *child)
{
    (void)dir;
    int32_t pid = process_next_pid((int32_t)(*at > 0 ? *at - 1 : 0));
    if (!pid)
        return false;
    *at = pid;
    *child = (struct proc_node){.entry = &proc_pid_entry, .pid = pid};
    format(name, 24, "%d", pid);
    return true;
}

/* --- task/ ------------------------------------------------------------------------------------------- */

static int task_find(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child)
{
    int64_t number = proc_number(name, length);
    struct lthread *thread = number > 0 ? thread_find((int32_t)number) : NULL;
    bool ours = thread && thread->process && thread->process->pid == dir->pid;
    object_unref(thread);
    if (!ours)
        return -ENOENT;
    *child = (struct proc_node){.entry = &proc_tid_entry, .pid = dir->pid, .tid = (int32_t)number};
    return 0;
}

static int32_t next_thread(struct process *process, int32_t from)
{
    int32_t found = 0;
    mutex_lock(&process->mutex);
    LIST_FOR_EACH (link, &process->threads) {
        int32_t tid = LIST_ENTRY(link, struct lthread, process_link)->tid;
        if (tid >= from && (!found || tid < found))
            found = tid;
    }
    mutex_unlock(&process->mutex);
    return found;
}

static bool task_next(const struct proc_node *dir, int64_t *at, char name[24], struct proc_node *child)
{
    struct process *process = proc_process(dir);
    if (!process)
        return false;
    int32_t tid = next_thread(process, (int32_t)*at);
    object_unref(process);
    if (!tid)
        return false;
    *at = tid;
    *child = (struct proc_node){.entry = &proc_tid_entry, .pid = dir->pid, .tid = tid};
    format(name, 24, "%d", tid);
    return true;
}

/* --- links ------------------------------------------------------------------------------------------- */

static int follow_exe(const struct proc_node *node, struct path **path, struct file **file)
{
    struct process *process;
    *file = NULL;
    int error = proc_process_checked(node, &process);
    if (error)
        return error;
    struct mm *mm = process_mm(process);
    *path = mm && mm->exe && mm->exe->path ? path_ref(mm->exe->path) : NULL;
    object_unref(mm);
    object_unref(process);
    return *path ? 0 : -ENOENT;
}

static struct fs_context *context_of(struct process *process)
{
    mutex_lock(&process->mutex);
    struct fs_context *context = process->fs ? fs_context_ref(process->fs) : NULL;
    mutex_unlock(&process->mutex);
    return context;
}

static int follow_directory(const struct proc_node *node, struct path **path, struct path *(*which)(struct fs_context *))
{
    struct process *process;
    int error = proc_process_checked(node, &process);
    if (error)
        return error;
    struct fs_context *context = context_of(process);
    *path = context ? which(context) : NULL;
    if (context)
        fs_context_unref(context);
    object_unref(process);
    return *path ? 0 : -ENOENT;
}

static int follow_cwd(const struct proc_node *node, struct path **path, struct file **file)
{
    *file = NULL;
    return follow_directory(node, path, fs_context_cwd);
}

static int follow_root(const struct proc_node *node, struct path **path, struct file **file)
{
    *file = NULL;
    return follow_directory(node, path, fs_context_root);
}

static int64_t link_followed(const struct proc_node *node, char *target, size_t size)
{
    struct path *path;
    struct file *file;
    int64_t length = node->entry->follow(node, &path, &file);
    if (length)
        return length;
    char *name = kalloc(PATH_LENGTH_MAX);
    length = name ? path_name(path, name, PATH_LENGTH_MAX) : -ENOMEM;
    if (length > 0) {
        length = (int64_t)min_u64((uint64_t)length, size);
        memcpy(target, name, (size_t)length);
    }
    kfree(name);
    path_unref(path);
    return length;
}

/* --- small files ------------------------------------------------------------------------------------- */

static int show_comm(const struct proc_node *node, struct proc_text *text)
{
    struct lthread *thread = proc_thread(node);
    if (!thread)
        return -ESRCH;
    proc_add(text, "%.15s\n", thread->name);
    object_unref(thread);
    return 0;
}

/* Only one's own threads may be renamed. */
static int store_comm(const struct proc_node *node, const char *name, size_t length)
{
    struct lthread *thread = proc_thread(node);
    if (!thread)
        return -ESRCH;
    bool ours = thread->process == current_process();
    if (length > sizeof thread->name - 1)
        length = sizeof thread->name - 1;
    if (ours) {
        memcpy(thread->name, name, length);
        memset(thread->name + length, 0, sizeof thread->name - length);
    }
    object_unref(thread);
    return ours ? 0 : -EINVAL;
}

static int show_wchan(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    proc_add(text, "0");
    return 0;
}

/* No autogroups: everybody is in the first. */
static int show_autogroup(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    proc_add(text, "/autogroup-1 nice 0\n");
    return 0;
}

static int show_cgroup(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    proc_add(text, "0::/\n");
    return 0;
}

static int show_identity_map(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    proc_add(text, "         0          0 4294967295\n");
    return 0;
}

static int show_login(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    proc_add(text, "4294967295");
    return 0;
}

static int show_personality(const struct proc_node *node, struct proc_text *text)
{
    struct lthread *thread = proc_thread(node);
    if (!thread)
        return -ESRCH;
    proc_add(text, "%08x\n", thread->personality);
    object_unref(thread);
    return 0;
}

static int show_oom_score_adj(const struct proc_node *node, struct proc_text *text)
{
    struct process *process = proc_process(node);
    if (!process)
        return -ESRCH;
    proc_add(text, "%lld\n", (long long)(int64_t)process->oom_score_adjust);
    object_unref(process);
    return 0;
}

static int show_oom_score(const struct proc_node *node, struct proc_text *text)
{
    struct process *process = proc_process(node);
    if (!process)
        return -ESRCH;
    int64_t score = 666 + (int64_t)process->oom_score_adjust * 2 / 3;
    proc_add(text, "%lld\n", (long long)(score < 0 ? 0 : score));
    object_unref(process);
    return 0;
}

static int store_oom_score_adj(const struct proc_node *node, const char *text, size_t length)
{
    bool negative = length && text[0] == '-';
    size_t end = length && text[length - 1] == '\n' ? length - 1 : length;
    int64_t value = proc_number(text + negative, end - negative);
    if (value < 0 || value > 1000)
        return -EINVAL;
    value = negative ? -value : value;
    struct process *process;
    int error = proc_process_checked(node, &process);
    if (error)
        return error;
    if (value < (int64_t)process->oom_score_adjust && !capable(LINUX_CAP_SYS_RESOURCE))
        error = -EACCES;
    else
        process->oom_score_adjust = (uint64_t)value;
    object_unref(process);
    return error;
}

static int show_timer_slack(const struct proc_node *node, struct proc_text *text)
{
    struct lthread *thread = proc_thread(node);
    if (!thread)
        return -ESRCH;
    proc_add(text, "%llu\n", (unsigned long long)thread->timer_slack_ns);
    object_unref(thread);
    return 0;
}

/* --- the tables -------------------------------------------------------------------------------------- */

#define LINK(name_, follow_) {.name = (name_), .mode = LINUX_S_IFLNK | 0777, .link = link_followed, .follow = (follow_)}
#define SHARED_ENTRIES                                                                                                 \
    PROC_FILE("stat", 0444, proc_show_stat), PROC_FILE("statm", 0444, proc_show_statm), PROC_FILE("status", 0444, proc_show_status),      \
        PROC_FILE("cmdline", 0444, proc_show_cmdline), PROC_FILE("environ", 0400, proc_show_environ),                  \
        {.name = "comm", .mode = LINUX_S_IFREG | 0644, .show = show_comm, .store = store_comm},                        \
        PROC_FILE("maps", 0444, proc_show_maps), PROC_FILE("smaps", 0444, proc_show_smaps), LINK("exe", follow_exe),   \
        LINK("cwd", follow_cwd), LINK("root", follow_root), PROC_FILE("limits", 0444, proc_show_limits),               \
        PROC_FILE("mounts", 0444, proc_show_mounts), PROC_FILE("mountinfo", 0444, proc_show_mountinfo),                \
        PROC_FILE("mountstats", 0400, proc_show_mountstats),                                                           \
        PROC_FILE("auxv", 0400, proc_show_auxv), PROC_FILE("io", 0400, proc_show_io), PROC_FILE("wchan", 0444, show_wchan),               \
        PROC_FILE("cgroup", 0444, show_cgroup), PROC_FILE("oom_score", 0444, show_oom_score),                          \
        {.name = "oom_score_adj", .mode = LINUX_S_IFREG | 0644, .show = show_oom_score_adj, .store = store_oom_score_adj},                \
        PROC_FILE("personality", 0400, show_personality), PROC_FILE("loginuid", 0644, show_login),                     \
        PROC_FILE("sessionid", 0444, show_login), PROC_FILE("uid_map", 0644, show_identity_map),                       \
        PROC_FILE("gid_map", 0644, show_identity_map), PROC_FILE("schedstat", 0444, proc_show_schedstat)

#define DESCRIPTOR_ENTRIES                                                                                             \
    {.name = "fd", .mode = LINUX_S_IFDIR | 0500, .find = proc_fd_find, .next = proc_fd_next},                          \
        {.name = "fdinfo", .mode = LINUX_S_IFDIR | 0555, .find = proc_fdinfo_find, .next = proc_fdinfo_next}

static const struct proc_entry tid_entries[] = {
    SHARED_ENTRIES,
    DESCRIPTOR_ENTRIES,
};

static const struct proc_entry pid_entries[] = {
    SHARED_ENTRIES,
    DESCRIPTOR_ENTRIES,
    {.name = "task", .mode = LINUX_S_IFDIR | 0555, .find = task_find, .next = task_next},
    PROC_FILE("sched_autogroup", 0644, show_autogroup),
    PROC_FILE("timerslack_ns", 0666, show_timer_slack),
};

const struct proc_entry proc_tid_entry = {.name = "", .mode = LINUX_S_IFDIR | 0555, .children = tid_entries,
                                          .child_count = ARRAY_SIZE(tid_entries)};
const struct proc_entry proc_pid_entry = {.name = "", .mode = LINUX_S_IFDIR | 0555, .children = pid_entries,
                                          .child_count = ARRAY_SIZE(pid_entries)};
