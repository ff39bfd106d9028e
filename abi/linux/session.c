/*
 * Numbers, groups and sessions: who one is, and which job one belongs to (credentials(7), setpgid(2), setsid(2)).
 *
 * A group is named by the number of a process, a session by that of its leader; both live on after that process.
 * All under the tree lock.
 */
#include "abi/linux/calls.h"
#include "abi/linux/process_life.h"
#include "abi/linux/tty.h"

int64_t sys_getpid(void) { return current_process()->pid; }
int64_t sys_gettid(void) { return current_thread()->tid; }

int64_t sys_getppid(void)
{
    mutex_lock(&process_tree_lock);
    struct process *parent = current_process()->parent;
    int32_t pid = parent ? parent->pid : 0;
    mutex_unlock(&process_tree_lock);
    return pid;
}

int64_t sys_set_tid_address(uaddr_t address)
{
    struct lthread *self = current_thread();

    self->clear_child_tid = address;
    return self->tid;
}

/* May the caller put `target` into the group? */
static int check_setpgid_locked(struct process *self, struct process *target, int32_t pgid)
{
    if (target->state == PROCESS_DEAD)
        return -ESRCH;
    if (target != self && target->parent != self)
        return -ESRCH;
    if (target != self && target->sid != self->sid)
        return -EPERM;
    if (target != self && target->did_exec)
        return -EACCES;
    if (target->sid == target->pid)
        return -EPERM;
    if (pgid != target->pid) {
        struct process *member = process_group_member_locked(pgid);
        if (!member || member->sid != self->sid)
            return -EPERM;
    }
    return 0;
}

int64_t sys_setpgid(int32_t pid, int32_t pgid)
{
    struct process *self = current_process();

    if (pgid < 0)
        return -EINVAL;
    struct process *target = pid ? process_find(pid) : object_ref(self);
    if (!target)
        return -ESRCH;
    if (!pgid)
        pgid = target->pid;
    mutex_lock(&process_tree_lock);
    int error = check_setpgid_locked(self, target, pgid);
    if (!error && target->pgid != pgid)
        process_set_group_locked(target, pgid, target->sid);
    mutex_unlock(&process_tree_lock);
    object_unref(target);
    return error;
}

/* Group or session of a process. */
static int64_t read_id(int32_t pid, bool session)
{
    struct process *process = pid ? process_find(pid) : object_ref(current_process());

    if (!process)
        return -ESRCH;
    mutex_lock(&process_tree_lock);
    int32_t id = session ? process->sid : process->pgid;
    mutex_unlock(&process_tree_lock);
    object_unref(process);
    return id ? id : -ESRCH;
}

int64_t sys_getpgid(int32_t pid) { return read_id(pid, false); }
int64_t sys_getsid(int32_t pid) { return read_id(pid, true); }
int64_t sys_getpgrp(void) { return read_id(0, false); }

int64_t sys_setsid(void)
{
    struct process *self = current_process();

    mutex_lock(&process_tree_lock);
    bool refused = self->sid == self->pid || process_group_member_locked(self->pid);
    if (!refused) {
        process_set_group_locked(self, self->pid, self->pid);
        tty_leave_locked(self);
    }
    mutex_unlock(&process_tree_lock);
    return refused ? -EPERM : self->pid;
}
