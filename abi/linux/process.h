/*
 * Linux processes and threads on top of tasks and threads.
 *
 *   struct process   a thread group: one task, its threads, parents and children, group, session, limits
 *   struct lthread   one Linux thread: its kernel thread, signal mask, clear-child-tid, robust list
 *   struct cred      immutable, reference-counted credentials; replaced, never changed
 *
 * "Current" means the user thread whose call is being served. A system call's handler may use
 * current_thread() and current_process() freely; kernel-only threads have neither (NULL).
 */
#ifndef ABI_LINUX_PROCESS_H
#define ABI_LINUX_PROCESS_H

#include "abi/linux/signal.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/event.h"
#include "kernel/object.h"
#include "kernel/task.h"
#include "kernel/thread.h"
#include "kernel/user.h"

struct fdtable;
struct fs_context;
struct file;
struct process;
struct tty;

#define LINUX_NGROUPS_MAX 65536

struct cred {
    struct object object;
    uint32_t uid, euid, suid, fsuid;
    uint32_t gid, egid, sgid, fsgid;
    uint64_t cap_effective, cap_permitted, cap_inheritable, cap_bounding, cap_ambient;
    uint32_t securebits;
    uint32_t group_count;
    uint32_t *groups;
};

enum { LINUX_CAP_CHOWN = 0, LINUX_CAP_DAC_OVERRIDE = 1, LINUX_CAP_DAC_READ_SEARCH = 2, LINUX_CAP_FOWNER = 3,
       LINUX_CAP_FSETID = 4, LINUX_CAP_KILL = 5, LINUX_CAP_SETGID = 6, LINUX_CAP_SETUID = 7, LINUX_CAP_SETPCAP = 8,
       LINUX_CAP_NET_BIND_SERVICE = 10, LINUX_CAP_NET_ADMIN = 12, LINUX_CAP_NET_RAW = 13, LINUX_CAP_IPC_LOCK = 14, LINUX_CAP_IPC_OWNER = 15,
       LINUX_CAP_SYS_CHROOT = 18, LINUX_CAP_SYS_PTRACE = 19, LINUX_CAP_SYS_ADMIN = 21, LINUX_CAP_SYS_BOOT = 22,
       LINUX_CAP_SYS_NICE = 23, LINUX_CAP_SYS_RESOURCE = 24, LINUX_CAP_SYS_TIME = 25, LINUX_CAP_SYS_TTY_CONFIG = 26,
       LINUX_CAP_MKNOD = 27 };

enum { LINUX_RLIMIT_CPU, LINUX_RLIMIT_FSIZE, LINUX_RLIMIT_DATA, LINUX_RLIMIT_STACK, LINUX_RLIMIT_CORE, LINUX_RLIMIT_RSS,
       LINUX_RLIMIT_NPROC, LINUX_RLIMIT_NOFILE, LINUX_RLIMIT_MEMLOCK, LINUX_RLIMIT_AS, LINUX_RLIMIT_LOCKS,
       LINUX_RLIMIT_SIGPENDING, LINUX_RLIMIT_MSGQUEUE, LINUX_RLIMIT_NICE, LINUX_RLIMIT_RTPRIO, LINUX_RLIMIT_RTTIME,
       LINUX_RLIMITS };
struct linux_rlimit64 {
    uint64_t current, maximum;
};

/* The Linux side of one address space: what brk and /proc/PID need. Shared by CLONE_VM processes. */
struct mm {
    struct object object;
    struct mutex mutex; /* rank MM */
    struct aspace *aspace;
    uaddr_t brk_start, brk_end;
    uaddr_t stack_top, arg_start, arg_end, env_start, env_end;
    uaddr_t vdso;
    struct file *exe;     /* what /proc/PID/exe names */
    uint8_t auxv[512];
    uint32_t auxv_size;
    bool dumpable;
    uint32_t lock_future; /* mlockall: MCL_FUTURE, MCL_ONFAULT */
    struct atomic32 barriers; /* membarrier: what was registered */
    uint64_t count_stamp;     /* under the process tree lock: seen by the walk with this number (abi/linux/sysv_shm.c) */
};

struct lthread {
    struct object object;
    struct thread *thread;
    struct process *process;
    int32_t tid;
    struct list process_link;       /* under process->mutex: process->threads */
    struct thread_signals signals;  /* abi/linux/signal.h */
    uaddr_t clear_child_tid;        /* own */
    uaddr_t robust_list;            /* own */
    uint64_t robust_list_size;      /* own */
    struct atomic32 futex_state;    /* enum futex_owner_state, as 0 alive, 1 exiting, 2 gone: abi/linux/futex_exit.c */
    struct cred *cred;              /* own to write; under process->mutex for others to read */
    char name[16];                  /* comm */
    /* what to do on return to user mode; owned by the thread */
    int64_t (*restart)(struct lthread *thread); /* restart_syscall */
    uint64_t restart_data[6];
    uint64_t call_number;           /* of the call being served, for restarts and traces */
    bool regs_changed;
    uint64_t timer_slack_ns;
    struct atomic64 voluntary_switches;
    void *rseq;

    struct vfork_wait *vfork;       /* own: whom its exec or exit releases: abi/linux/clone.c */
    bool no_new_privs;              /* own */
    bool reset_on_fork;             /* scheduling, under process->mutex, as the next four */
    int32_t policy, priority, nice; /* sched_setscheduler, setpriority */
    uint32_t io_priority;
    uint32_t personality;           /* own */
    uint64_t affinity[];            /* scheduling: lthread_cpu_words() of them */
};
#define LTHREAD_CPU_WORDS_MAX 16u
uint32_t lthread_cpu_words(void);

enum process_state { PROCESS_ALIVE, PROCESS_STOPPED, PROCESS_ZOMBIE, PROCESS_DEAD };

struct process {
    struct object object;
    int32_t pid; /* constant */

    /* under the process tree lock (process_tree_lock) */
    struct process *parent;
    struct list children;       /* struct process.sibling */
    struct list sibling;
    int32_t pgid, sid;
    struct list all_link;
    enum process_state state;
    int32_t exit_status;        /* as wait4 reports it; until it is a zombie under process->mutex */
    int32_t stop_signal;        /* while stopped */
    uint32_t exit_uid;          /* of a zombie: the real user id it had */
    bool stop_reported, continue_reported, was_continued;
    bool child_subreaper;
    bool did_exec;
    bool server; /* or a child of one: process_start_server */
    bool file_server; /* or a child of one: process_start_file_server */
    int32_t exit_signal;        /* what the parent gets, SIGCHLD usually */
    int32_t parent_death_signal;
    struct tty *tty;            /* the session's controlling terminal: referenced */
    struct waitq child_events;  /* waiters in wait4 of this process */
    struct knote_list pidfd_knotes;

    struct mutex mutex;         /* rank PROCESS; guards the next group */
    struct list threads;        /* struct lthread.process_link */
    uint32_t thread_count;
    uint32_t leaving_count;     /* off the list, but not yet gone from the address space */
    struct linux_rlimit64 limits[LINUX_RLIMITS];
    struct cpu_limit *cpu_limit; /* who watches RLIMIT_CPU: made with the first finite one (abi/linux/cpu_limit.c) */
    bool exiting;               /* exit_group or a fatal signal has begun */
    struct lthread *exec_thread; /* the one that is doing exec and kills the others */
    struct waitq thread_gone;

    struct task *watched; /* constant, referenced: the task, also after its end, for who watches its life (kernel/task.h) */

    /* replaced under mutex, used by its own threads without */
    struct task *task;
    struct mm *mm;
    struct fdtable *fds;        /* may be shared (CLONE_FILES) */
    struct fs_context *fs;      /* may be shared (CLONE_FS) */
    struct process_signals *signals; /* dispositions and process-wide pending */
    void *timers;               /* POSIX timers and interval timers */

    int32_t parent_tid;           /* the thread that created it; under the tree lock */
    uint64_t oom_score_adjust;    /* /proc/PID/oom_score_adj keeps it here */

    nanoseconds_t start_time;
    struct atomic64 dead_user_ns, dead_system_ns;         /* of its threads that ended */
    struct atomic64 children_user_ns, children_system_ns; /* of waited-for children */
};

struct lthread *current_thread(void);
struct process *current_process(void);
/* The current thread's credentials: borrowed, valid during the call unless it replaces them. */
const struct cred *current_cred(void);
bool capable(int capability);
/* The current process's limit. */
uint64_t rlimit(int which);

/* By virtual id, a reference or NULL. */
struct process *process_find(int32_t pid);
struct lthread *thread_find(int32_t tid);
extern struct mutex process_tree_lock;
/* Ends the current process with a wait status (WEXITSTATUS << 8, or a signal number | 0x80 core). Does not return. */
NORETURN void process_exit_group(int32_t wait_status);
NORETURN void lthread_exit(int32_t wait_status);
/*
 * Begins the end of any process from outside, as by an uncatchable signal: all its threads are killed and brought into the
 * kernel, where each ends. wait_status as for process_exit_group. May suspend; may be called with process_tree_lock held.
 */
void process_kill(struct process *process, int32_t wait_status);
/* Job control: its last running thread has stopped, or it goes on. Sets the state, tells the parent. No lock held. */
void process_report_stopped(struct process *process, int signal);
void process_report_continued(struct process *process);
/* Every process, by struct process.all_link, under process_tree_lock. */
extern struct list process_all;
/* True when no member has a parent in another group of the same session: stop signals from the terminal do nothing then. */
bool process_group_orphaned(int32_t pgid);
/* True when the current thread may send the signal to the process (kill(2)). signal 0 too. */
bool process_may_signal(struct process *process, int signal);
/*
 * The futex calls' part of a thread's end and of exec, on the thread, while its user memory is still there: walks the robust
 * list, gives up PI locks, clears clear_child_tid and wakes it; the three fields are zero afterwards.
 */
void futex_thread_exit(struct lthread *thread);
/* CPU time of all its threads, dead ones too. */
void process_cpu_time(struct process *process, uint64_t *user_ns, uint64_t *system_ns);
void lthread_cpu_time(struct lthread *thread, uint64_t *user_ns, uint64_t *system_ns);
/* The names that uname shows. Copies; 65 bytes. */
void system_hostname(char name[65]);
void system_domainname(char name[65]);
/* The sandbox's memory in bytes, for sysinfo and /proc/meminfo. */
void system_memory(uint64_t *total, uint64_t *available);
/* Iterates over all processes with a reference for each visit; for /proc. Returns the next pid > after, or 0. */
int32_t process_next_pid(int32_t after);

/* What `hyla run` and `hyla boot` start: the first process, pid 1. */
struct process_start {
    const char *program; /* a path, already searched for */
    char *const *argv;   /* NULL-terminated */
    char *const *envp;
    const char *cwd;
    uint32_t uid, gid;
    uint32_t umask;
    uint32_t group_count;
    const uint32_t *groups;
    struct file *stdio[3]; /* NULL: closed. References taken over, also on failure. */
    struct tty *tty;       /* becomes the controlling terminal, or NULL. The reference is taken over. */
    uint64_t memory_limit; /* bytes for the whole sandbox, 0: none */
    uint32_t process_limit; /* 0: none */
    const char *hostname;
    /* process_start_file_server only: */
    struct path *root;     /* its root directory, borrowed; NULL: the root of everything */
    struct file *source;   /* descriptor 3, or NULL. The reference is taken over, also on failure. */
    struct handle_table *handles; /* where `handle` is taken from; the process begins with it, under the same number. NULL: none */
    uint32_t handle;
};
/* Runs on a kernel-only thread. 0, or the error execve would have given. */
int process_start_first(const struct process_start *start);
/*
 * Starts a program that serves the first one, before it: nobody's child, not pid 1. When the first process ends, it is not killed with the
 * others: it, and what it started, has ten seconds after process_first_ending to end by itself. *process: a reference.
 */
int process_start_server(const struct process_start *start, struct process **process);
/* Its wait status when it has ended, else -1. */
int32_t process_ended(struct process *process);
/* When pid 1 has ended, on its last thread: tells the servers to end. Set by the command, or NULL. */
extern void (*process_first_ending)(void);
/*
 * A file server: nobody's child, there for the first process and its servers until both have ended, when it is killed. Limits, host
 * name and terminal are not taken from `start`.
 */
int process_start_file_server(const struct process_start *start);
/* Called by the ABI in any thread when pid 1 has ended and every process is gone; set by the command. */
extern void (*process_first_exited)(int32_t wait_status);
/* The command asks for a signal to the first process (forwarded from the host). */
void process_signal_first(int signal);
/* Kills everything: the server is to stop. */
void process_kill_all(void);

#endif
