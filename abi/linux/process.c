/*
 * struct process: making it, finding it, its place in the tree, and who may do what to it.
 *
 * The rules of life are in process_life.h. The tree lock guards kinship, groups, sessions and states; a
 * process's own mutex guards its threads and what exec and exit replace. The tree's reference on a process
 * ends when it is released, so a pointer found under the tree lock is good until the lock is dropped.
 */
#include "abi/linux/file.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/process_life.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"

struct mutex process_tree_lock;
struct list process_all;
uint32_t process_count;
struct process *process_first;
bool process_first_dying;
void (*process_first_exited)(int32_t wait_status);
void (*process_first_ending)(void);

static void process_destroy(struct object *object)
{
    struct process *process = CONTAINER_OF(object, struct process, object);

    KASSERT(list_empty(&process->threads) && !process->fds);
    object_unref(process->mm);
    if (process->fs)
        fs_context_unref(process->fs);
    if (process->signals)
        signals_destroy(process);
    object_unref(process->tty);
    object_unref(process->task);
    object_unref(process->watched);
    kfree(process);
}

static const struct object_type process_type = {.name = "process", .destroy = process_destroy};

void process_system_init(void)
{
    mutex_init(&process_tree_lock, RANK_PROCESS_TREE);
    list_init(&process_all);
}

struct process *process_create(void)
{
    struct process *process = kzalloc(sizeof *process);

    if (!process)
        return NULL;
    object_init(&process->object, &process_type);
    list_init(&process->children);
    list_init(&process->sibling);
    list_init(&process->all_link);
    list_init(&process->threads);
    mutex_init(&process->mutex, RANK_PROCESS);
    waitq_init(&process->child_events);
    waitq_init(&process->thread_gone);
    knote_list_init(&process->pidfd_knotes);
    process->start_time = body_now();
    process->exit_signal = LINUX_SIGCHLD;
    return process;
}

int process_make_task(struct process *process, struct aspace *aspace)
{
    process->task = task_create(aspace);
    if (!process->task)
        return -ENOMEM;
    process->task->abi = process;
    process->watched = object_ref(process->task);
    return 0;
}

void process_add_thread_locked(struct process *process, struct lthread *thread)
{
    KASSERT(mutex_owned(&process->mutex));
    list_push_back(&process->threads, &thread->process_link);
    process->thread_count++;
    object_ref(thread);
}

void process_remove_thread(struct process *process, struct lthread *thread)
{
    mutex_lock(&process->mutex);
    list_remove(&thread->process_link);
    process->thread_count--;
    waitq_wake_all(&process->thread_gone);
    mutex_unlock(&process->mutex);
}

/* --- the tree ---------------------------------------------------------------------------------------- */

void process_set_group_locked(struct process *process, int32_t pgid, int32_t sid)
{
    int32_t old_pgid = process->pgid, old_sid = process->sid;

    if (pgid) {
        id_group_joined(pgid);
        id_group_joined(sid);
    }
    process->pgid = pgid;
    process->sid = sid;
    if (old_pgid) {
        id_group_left(old_pgid);
        id_group_left(old_sid);
    }
}

void process_enter_tree_locked(struct process *process, struct process *parent)
{
    KASSERT(mutex_owned(&process_tree_lock));
    object_ref(process);
    process->parent = parent;
    list_push_back(&process_all, &process->all_link);
    process_count++;
    if (parent)
        list_push_back(&parent->children, &process->sibling);
    if (parent)
        process_set_group_locked(process, parent->pgid, parent->sid);
    else
        process_set_group_locked(process, process->pid, process->pid);
    id_set_process(process->pid, process);
}

void process_leave_tree_locked(struct process *process)
{
    KASSERT(mutex_owned(&process_tree_lock));
    bool ended = process->state == PROCESS_ZOMBIE; /* else it never ran */
    process->state = PROCESS_DEAD;
    list_remove(&process->all_link);
    list_remove(&process->sibling);
    process->parent = NULL;
    process_set_group_locked(process, 0, 0);
    id_release(process->pid);
    process_count--;
    if (ended)
        task_post(process->watched, &(struct task_event){.kind = TASK_REAP});
    object_unref(process);
}

struct process *process_group_member_locked(int32_t pgid)
{
    LIST_FOR_EACH(node, &process_all) {
        struct process *process = LIST_ENTRY(node, struct process, all_link);
        if (process->pgid == pgid)
            return process;
    }
    return NULL;
}

/* --- looking at another process ---------------------------------------------------------------------- */

struct mm *process_mm(struct process *process)
{
    mutex_lock(&process->mutex);
    struct mm *mm = process->mm ? object_ref(process->mm) : NULL;
    mutex_unlock(&process->mutex);
    return mm;
}

static struct lthread *any_thread_locked(struct process *process)
{
    LIST_FOR_EACH(node, &process->threads) {
        struct lthread *thread = LIST_ENTRY(node, struct lthread, process_link);
        if (thread->tid == process->pid)
            return thread;
    }
    return list_empty(&process->threads) ? NULL : LIST_ENTRY(process->threads.next, struct lthread, process_link);
}

struct lthread *process_any_thread(struct process *process)
{
    mutex_lock(&process->mutex);
    struct lthread *thread = any_thread_locked(process);
    if (thread)
        object_ref(thread);
    mutex_unlock(&process->mutex);
    return thread;
}

struct cred *process_cred(struct process *process)
{
    mutex_lock(&process->mutex);
    struct lthread *thread = any_thread_locked(process);
    struct cred *cred = thread ? object_ref(thread->cred) : NULL;
    mutex_unlock(&process->mutex);
    return cred;
}

static bool may_signal_as(const struct cred *own, const struct cred *target)
{
    return own->euid == target->suid || own->euid == target->uid || own->uid == target->suid || own->uid == target->uid ||
           cred_has(own, LINUX_CAP_KILL);
}

static bool same_session(struct process *process)
{
    mutex_lock(&process_tree_lock);
    bool same = process->sid == current_process()->sid;
    mutex_unlock(&process_tree_lock);
    return same;
}

bool process_may_signal(struct process *process, int signal)
{
    if (process == current_process())
        return true;
    struct cred *target = process_cred(process);
    if (!target) /* a zombie: its credentials are gone with its threads, and nothing can happen to it */
        return true;
    bool may = may_signal_as(current_cred(), target);
    object_unref(target);
    if (!may && signal == LINUX_SIGCONT) {
        /* The tree lock is the outermost; a caller that holds it already is in the middle of a group. */
        may = mutex_owned(&process_tree_lock) ? process->sid == current_process()->sid : same_session(process);
    }
    return may;
}

int process_may_access(struct process *process)
{
    const struct cred *own = current_cred();

    if (process == current_process() || cred_has(own, LINUX_CAP_SYS_PTRACE))
        return 0;
    struct cred *target = process_cred(process);
    if (!target)
        return -EPERM;
    bool same = own->uid == target->euid && own->uid == target->suid && own->uid == target->uid && own->gid == target->egid &&
                own->gid == target->sgid && own->gid == target->gid && !(target->cap_permitted & ~own->cap_permitted);
    object_unref(target);
    struct mm *mm = process_mm(process);
    bool dumpable = mm && mm->dumpable;
    object_unref(mm);
    return same && dumpable ? 0 : -EPERM;
}

static void publish_locked(struct process *process, int32_t parent_id)
{
    LIST_FOR_EACH(node, &process->threads) {
        struct lthread *thread = LIST_ENTRY(node, struct lthread, process_link);
        if (thread->thread->user)
            body_user_publish_ids(thread->thread, process->pid, thread->tid, parent_id);
    }
}

void process_publish_ids(struct process *process)
{
    KASSERT(mutex_owned(&process_tree_lock));
    mutex_lock(&process->mutex);
    publish_locked(process, process->parent ? process->parent->pid : 0);
    mutex_unlock(&process->mutex);
}

/* --- times ------------------------------------------------------------------------------------------- */

void process_cpu_time(struct process *process, uint64_t *user_ns, uint64_t *system_ns)
{
    mutex_lock(&process->mutex);
    *user_ns = atomic64_load_relaxed(&process->dead_user_ns);
    *system_ns = atomic64_load_relaxed(&process->dead_system_ns);
    LIST_FOR_EACH(node, &process->threads) {
        uint64_t user = 0, system = 0;
        lthread_cpu_time(LIST_ENTRY(node, struct lthread, process_link), &user, &system);
        *user_ns += user;
        *system_ns += system;
    }
    mutex_unlock(&process->mutex);
}
