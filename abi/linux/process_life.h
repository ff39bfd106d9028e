/*
 * What the files that make, change and end processes share. The rules of life and death:
 *
 *   A process is in the table of ids and in its parent's list of children from process_enter_tree until it is
 *   released (waited for, or nobody will); the table holds one reference. Each lthread holds one more.
 *   A thread dies only by itself, in lthread_exit. Others only ask: thread_kill (sticky) and body_user_kick, after
 *   which it comes to the ABI's entry, whatever it was doing, and ends there.
 *   exit_group, fatal signals and a lost user side mark the process `exiting` under process->mutex: the first decides
 *   the status, nobody can add a thread afterwards, everyone in the list is killed. exec marks itself `exec_thread` and
 *   kills all others; an exit_group by one of those loses, a process_kill from outside wins.
 *   A dying thread leaves in two steps: off the list (no signal chooses it; the one that leaves last ends the process),
 *   then, when its user side is gone, off leaving_count. exec and the last thread wait for the others' second step, so
 *   an address space never goes while somebody is leaving it.
 *   The last thread closes descriptors and memory first and becomes a zombie then: who learns of a death finds
 *   everything released.
 *   Orphans go to the nearest living subreaper, else to pid 1. When pid 1 dies everything is killed, nothing new can
 *   start, and the last one out reports through process_first_exited.
 */
#ifndef ABI_LINUX_PROCESS_LIFE_H
#define ABI_LINUX_PROCESS_LIFE_H

#include "abi/linux/mm.h"
#include "abi/linux/process.h"

/* --- process_ids.c: the numbers of threads, processes, groups and sessions --------------------------- */

#define LINUX_PID_MAX 4194304
/* At most so many numbers reserved at once (threads and processes, zombies too); 0: no limit. */
void id_set_limit(uint32_t limit);
/* How many are reserved: threads and processes. */
uint32_t id_count(void);
/* A number that nothing uses: > 0, -EAGAIN, -ENOMEM. */
int32_t id_reserve(void);
/* The reservation ends; the number is used again when no group and session has it any more. */
void id_release(int32_t id);
void id_set_process(int32_t id, struct process *process);
void id_set_thread(int32_t id, struct lthread *thread);
/* Members of a group, or of a session, come and go. */
void id_group_joined(int32_t id);
void id_group_left(int32_t id);

/* --- process.c, lthread.c ---------------------------------------------------------------------------- */

/* Locks of this module; once. */
void process_system_init(void);
/* Fresh, in no table, with one reference: NULL without memory. */
struct process *process_create(void);
/* Its task, over the address space, before others can find it. -ENOMEM. */
int process_make_task(struct process *process, struct aspace *aspace);
/* As above, for a process; inherits from `creator` when not NULL. Takes a reference on process; cred's is taken too. */
struct lthread *lthread_create(struct process *process, const struct lthread *creator, struct cred *cred);
/* Ties an lthread to its kernel thread (parked, not started). -ENOMEM. */
int lthread_make_thread(struct lthread *lthread, struct task *task);
/* Into the process's list. process->mutex held. */
void process_add_thread_locked(struct process *process, struct lthread *thread);
/* Into the tree beneath parent (NULL: the first), its group and session. Tree lock held. Takes its own reference. */
void process_enter_tree_locked(struct process *process, struct process *parent);
/* Out of tree and tables, and its task's watchers are told of the reaping: drops the tree's reference. Tree lock held; the caller holds a reference. */
void process_leave_tree_locked(struct process *process);
/* The process's group or session changes; 0 leaves it out. Tree lock held. */
void process_set_group_locked(struct process *process, int32_t pgid, int32_t sid);
/* Any member of the group, borrowed. Tree lock held. */
struct process *process_group_member_locked(int32_t pgid);
/* Processes in the tree. Under the tree lock. */
extern uint32_t process_count;
/* On the first process's last thread, when its files are closed: those it served itself with may end well. */
void process_first_ends(void);
extern struct process *process_first; /* pid 1, referenced until all is over */
extern bool process_first_dying;      /* nothing may be started any more. Under the tree lock */
/* A reference to the process's mm, or NULL when it has none any more. */
struct mm *process_mm(struct process *process);
/* The leader or, when it has gone, another thread: a reference, or NULL. */
struct lthread *process_any_thread(struct process *process);
/* The credentials of a process: a reference, or NULL for one without threads. */
struct cred *process_cred(struct process *process);
/* May the current thread look into it (ptrace's rule): 0 or -EPERM. */
int process_may_access(struct process *process);

/* --- exit.c ------------------------------------------------------------------------------------------ */

/* Kills every thread but `but`. process->mutex held. */
void process_kill_threads_locked(struct process *process, struct lthread *but);
/* Waits until the thread is the only one. 0, or -EAGAIN when the process is ending or another one does exec, or -EINTR. */
int process_become_single(struct lthread *self);
/* Its number is free and its kernel thread no longer knows it; drops the list's reference. The last of a thread's end. */
void lthread_forget(struct lthread *thread);
/* Closes what descriptors and directories the process holds. */
void process_release_resources(struct process *process);
/* Takes a thread that never started out of the list again. */
void process_remove_thread(struct process *process, struct lthread *thread);
/* All user-readable copies of the process's numbers, after its parent or pid changed. */
void process_publish_ids(struct process *process);

/* --- process_end.c ----------------------------------------------------------------------------------- */

/* Children that `tid` made (0: all) find another parent or thread; their parent-death signals are sent. */
void process_orphan_children(struct process *process, int32_t tid);
/* Everything is released: becomes a zombie, or goes at once when nobody will wait. */
void process_become_zombie(struct process *process);

/* --- cpu_limit.c ------------------------------------------------------------------------------------- */

/* Before a finite RLIMIT_CPU is set for a process that runs: what watches it. -ENOMEM. */
int cpu_limit_prepare(struct process *process);
/* The limit was set. */
void cpu_limit_changed(struct process *process);
/* At the process's end, on its last thread. */
void cpu_limit_exit(struct process *process);

/* --- clone.c ----------------------------------------------------------------------------------------- */

/* Releases whoever waits in vfork for this thread. */
void vfork_release(struct lthread *thread);

/* --- sysinfo.c --------------------------------------------------------------------------------------- */

void system_set_hostname(const char *name);
/* What process_start said; 0: no limit. */
uint64_t system_memory_limit(void);

/* --- entry.c ----------------------------------------------------------------------------------------- */

void linux_abi_init(void);

/* --- cred.c ------------------------------------------------------------------------------------------ */

#define CAPABILITIES_ALL (((uint64_t)1 << 41) - 1)
/* A copy to be changed before anyone sees it. NULL: no memory. */
struct cred *cred_copy(const struct cred *cred);
struct cred *cred_create(uint32_t uid, uint32_t gid, uint32_t group_count, const uint32_t *groups);
/* The current thread's from now on; takes over the reference. */
void cred_commit(struct cred *cred);
static inline bool cred_has(const struct cred *cred, int capability) { return cred->cap_effective >> capability & 1; }

/* --- wait.c ------------------------------------------------------------------------------------------ */

struct linux_rusage;
enum { LINUX_RUSAGE_SELF = 0, LINUX_RUSAGE_CHILDREN = -1, LINUX_RUSAGE_BOTH = -2, LINUX_RUSAGE_THREAD = 1 };
/* Fills what the kernel knows. */
void rusage_of(struct process *process, int who, struct linux_rusage *usage);

/* --- pidfd.c ----------------------------------------------------------------------------------------- */

/* A new file for the process: NULL without memory. */
struct file *pidfd_create(struct process *process, uint32_t flags);
/* The process behind a descriptor: a reference. -EBADF. */
int pidfd_process(int fd, struct process **process);

/* --- exec_*.c, elf.c --------------------------------------------------------------------------------- */

enum { LINUX_PERSONALITY_NO_RANDOMIZE = 0x0040000 };

#endif
