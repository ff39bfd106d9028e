/*
 * What a process's death, stop and continuation do to others: the parent is told, children find another
 * parent, job control groups that are left alone are woken, pid 1 takes everything with it.
 *
 * Everything here happens under the tree lock, signals to the parent included, so that a parent that learns of
 * the change by wait4 has its SIGCHLD already.
 *
 * The parent's choice decides what remains: with SIGCHLD ignored or SA_NOCLDWAIT nothing does. A process whose
 * parent is gone as well (pid 1 is dying) leaves nothing either.
 */
#include "abi/linux/process_life.h"
#include "kernel/assert.h"
#include "kernel/async.h"

#define NS_PER_TICK 10000000
#define SERVERS_WAIT_NS ((nanoseconds_t)10 * 1000000000u)

static void fill_child_info(struct process *child, int code, int status, struct linux_siginfo *info)
{
    *info = (struct linux_siginfo){.signo = LINUX_SIGCHLD, .code = code};
    info->child.pid = child->pid;
    info->child.uid = child->exit_uid;
    info->child.status = status;
    info->child.utime = atomic64_load_relaxed(&child->dead_user_ns) / NS_PER_TICK;
    info->child.stime = atomic64_load_relaxed(&child->dead_system_ns) / NS_PER_TICK;
}

static void fill_death_info(struct process *child, struct linux_siginfo *info)
{
    int32_t status = child->exit_status;

    if (!(status & 0x7f))
        fill_child_info(child, LINUX_CLD_EXITED, status >> 8 & 0xff, info);
    else
        fill_child_info(child, status & 0x80 ? LINUX_CLD_DUMPED : LINUX_CLD_KILLED, status & 0x7f, info);
    info->signo = child->exit_signal;
}

/* Tells the parent of a zombie. True when nobody will wait for it. */
static bool announce_death_locked(struct process *child)
{
    struct process *parent = child->parent;
    struct linux_siginfo info;

    if (!parent)
        return true;
    bool reap = child->exit_signal == LINUX_SIGCHLD && signals_autoreap(parent);
    if (child->exit_signal) {
        fill_death_info(child, &info);
        signal_send_process(parent, child->exit_signal, &info);
    }
    waitq_wake_all(&parent->child_events);
    return reap;
}

/* --- orphans ----------------------------------------------------------------------------------------- */

static bool living(const struct process *process) { return process->state == PROCESS_ALIVE || process->state == PROCESS_STOPPED; }

static struct process *find_reaper_locked(struct process *process)
{
    for (struct process *up = process->parent; up; up = up->parent) {
        if (up->child_subreaper && living(up) && up->thread_count)
            return up;
    }
    return process_first_dying || process == process_first ? NULL : process_first;
}

static void send_death_signal_locked(struct process *child)
{
    if (child->parent_death_signal && living(child))
        signal_send_process(child, child->parent_death_signal, NULL);
}

static void adopt_locked(struct process *child, struct process *reaper)
{
    list_remove(&child->sibling);
    child->parent = reaper;
    child->parent_tid = reaper ? reaper->pid : 0;
    child->exit_signal = LINUX_SIGCHLD;
    if (reaper)
        list_push_back(&reaper->children, &child->sibling);
    process_publish_ids(child);
    if (child->state == PROCESS_ZOMBIE && announce_death_locked(child))
        process_leave_tree_locked(child);
}

void process_orphan_children(struct process *process, int32_t tid)
{
    mutex_lock(&process_tree_lock);
    LIST_FOR_EACH(node, &process->children) {
        struct process *child = LIST_ENTRY(node, struct process, sibling);
        if (tid && child->parent_tid != tid)
            continue;
        send_death_signal_locked(child);
        child->parent_tid = process->pid;
    }
    mutex_unlock(&process_tree_lock);
}

/* --- groups that are left alone ---------------------------------------------------------------------- */

static bool group_orphaned_locked(int32_t pgid)
{
    LIST_FOR_EACH(node, &process_all) {
        struct process *member = LIST_ENTRY(node, struct process, all_link);
        struct process *parent = member->parent;
        if (member->pgid == pgid && living(member) && parent && parent->pgid != pgid && parent->sid == member->sid)
            return false;
    }
    return true;
}

bool process_group_orphaned(int32_t pgid)
{
    mutex_lock(&process_tree_lock);
    bool orphaned = group_orphaned_locked(pgid);
    mutex_unlock(&process_tree_lock);
    return orphaned;
}

static bool group_has_stopped_locked(int32_t pgid)
{
    LIST_FOR_EACH(node, &process_all) {
        struct process *member = LIST_ENTRY(node, struct process, all_link);
        if (member->pgid == pgid && member->state == PROCESS_STOPPED)
            return true;
    }
    return false;
}

static void wake_group_locked(int32_t pgid)
{
    LIST_FOR_EACH(node, &process_all) {
        struct process *member = LIST_ENTRY(node, struct process, all_link);
        if (member->pgid != pgid || !living(member))
            continue;
        signal_send_process(member, LINUX_SIGHUP, NULL);
        signal_send_process(member, LINUX_SIGCONT, NULL);
    }
}

/* `process` no longer ties the group to the session's other groups: stopped members would never be continued. */
static void check_group_locked(int32_t pgid)
{
    if (group_has_stopped_locked(pgid) && group_orphaned_locked(pgid))
        wake_group_locked(pgid);
}

static void give_away_children_locked(struct process *process)
{
    struct process *reaper = find_reaper_locked(process);

    while (!list_empty(&process->children)) {
        struct process *child = LIST_ENTRY(process->children.next, struct process, sibling);
        int32_t pgid = child->pgid;
        bool tied = pgid != process->pgid && child->sid == process->sid;
        object_ref(child);
        adopt_locked(child, reaper);
        if (tied)
            check_group_locked(pgid);
        object_unref(child);
    }
}

/* --- the end ----------------------------------------------------------------------------------------- */

static void first_has_died_locked(void)
{
    process_first_dying = true;
    LIST_FOR_EACH(node, &process_all)
        process_kill(LIST_ENTRY(node, struct process, all_link), LINUX_SIGKILL);
}

static struct waitq server_ends = WAITQ_INIT(server_ends);

static bool servers_live(void)
{
    bool live = false;

    mutex_lock(&process_tree_lock);
    LIST_FOR_EACH(node, &process_all)
    {
        struct process *process = LIST_ENTRY(node, struct process, all_link);
        live |= process->server && living(process);
    }
    mutex_unlock(&process_tree_lock);
    return live;
}

/* Their files may be closed long before they have ended, so it is the processes that count. */
static void servers_wait(nanoseconds_t deadline)
{
    int error = 0;

    while (!error && servers_live()) {
        struct waiter waiter;

        waiter_init(&waiter);
        spin_lock(&server_ends.lock);
        waitq_enqueue_locked(&server_ends, &waiter);
        spin_unlock(&server_ends.lock);
        if (!servers_live())
            waiter_abandon(&waiter);
        else
            error = waiter_wait(&waiter, deadline, WAIT_UNINTERRUPTIBLE);
    }
}

void process_first_ends(void)
{
    if (!process_first_ending)
        return;
    mutex_lock(&process_tree_lock);
    process_first_dying = true;
    LIST_FOR_EACH(node, &process_all)
    {
        struct process *process = LIST_ENTRY(node, struct process, all_link);
        if (process != process_first && !process->server && !process->file_server)
            process_kill(process, LINUX_SIGKILL);
    }
    mutex_unlock(&process_tree_lock);
    process_first_ending();
    servers_wait(body_now() + SERVERS_WAIT_NS);
}

int32_t process_ended(struct process *process)
{
    mutex_lock(&process_tree_lock);
    int32_t status = process->state >= PROCESS_ZOMBIE ? process->exit_status : -1;
    mutex_unlock(&process_tree_lock);
    return status;
}

static void report_end(struct async_work *work)
{
    int32_t status = process_first->exit_status;

    (void)work;
    object_unref(process_first);
    process_first = NULL;
    if (process_first_exited)
        process_first_exited(status);
}

static void report_end_soon(void)
{
    static struct async_work work;

    async_work_init(&work, report_end);
    kernel_async(&work);
}

void process_become_zombie(struct process *process)
{
    mutex_lock(&process_tree_lock);
    struct process *parent = process->parent;
    bool tied = parent && parent->pgid != process->pgid && parent->sid == process->sid;
    int32_t pgid = process->pgid;
    process->state = PROCESS_ZOMBIE;
    if (process == process_first)
        first_has_died_locked();
    give_away_children_locked(process);
    knote_notify(&process->pidfd_knotes, EVENT_READ | EVENT_READ_NORMAL);
    if (announce_death_locked(process))
        process_leave_tree_locked(process);
    if (tied)
        check_group_locked(pgid);
    bool over = process_first_dying && process_count == 0;
    bool server = process->server;
    mutex_unlock(&process_tree_lock);
    if (server)
        waitq_wake_all(&server_ends);
    if (over)
        report_end_soon();
}

/* --- job control ------------------------------------------------------------------------------------- */

static void announce_change_locked(struct process *child, int code, int status)
{
    struct process *parent = child->parent;
    struct linux_siginfo info;

    if (!parent)
        return;
    if (signals_stop_wanted(parent)) {
        fill_child_info(child, code, status, &info);
        info.child.uid = current_cred()->uid;
        signal_send_process(parent, LINUX_SIGCHLD, &info);
    }
    waitq_wake_all(&parent->child_events);
}

void process_report_stopped(struct process *process, int signal)
{
    mutex_lock(&process_tree_lock);
    if (living(process)) {
        process->state = PROCESS_STOPPED;
        process->stop_signal = signal;
        process->stop_reported = process->was_continued = false;
        announce_change_locked(process, LINUX_CLD_STOPPED, signal);
    }
    mutex_unlock(&process_tree_lock);
}

void process_report_continued(struct process *process)
{
    mutex_lock(&process_tree_lock);
    if (living(process)) {
        process->state = PROCESS_ALIVE;
        process->was_continued = true;
        process->continue_reported = false;
        announce_change_locked(process, LINUX_CLD_CONTINUED, LINUX_SIGCONT);
    }
    mutex_unlock(&process_tree_lock);
}

void process_signal_first(int signal)
{
    mutex_lock(&process_tree_lock);
    if (process_first)
        signal_send_process(process_first, signal, NULL);
    mutex_unlock(&process_tree_lock);
}
