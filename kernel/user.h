/*
 * The boundary with user mode: what a thread enters the kernel with, and user memory.
 *
 * User memory is read once: what was checked is what is used. All copies may suspend (a page may have to
 * be waited for) unless said otherwise, so no spinlock may be held.
 */
#ifndef KERNEL_USER_H
#define KERNEL_USER_H

#include "kernel/futex.h"
#include "kernel/types.h"

struct aspace;
struct task;
struct thread;
struct user_ids;
struct abi_arrivals;
struct kqchan;
struct kqchan_link;

/* Makes an event channel on a link: kqchan_open_task, kqchan_open_port. */
typedef int (*user_channel_maker)(struct kqchan_link *link, struct kqchan **made, void *context);

/* What can be done to a task as a whole. A stop is the job-control one that waits for nobody. */
enum task_order { TASK_ORDER_KILL, TASK_ORDER_STOP, TASK_ORDER_CONTINUE };

enum user_entry_kind {
    USER_CALL,      /* a system call */
    USER_FAULT,     /* a memory fault or an exception */
    USER_INTERRUPT, /* body_user_kick reached it in user mode */
    USER_LOST,      /* its user side is gone (killed from outside): the thread must exit */
};

struct user_entry {
    enum user_entry_kind kind;
    /* USER_CALL */
    uint64_t number;
    uint64_t arguments[6];
    int64_t result; /* out: what the call returns, unless body_user_set_regs was called */
    bool (*interrupted)(struct thread *thread); /* of a body whose programs can give a call up: whether they did with this one; else NULL */
    /* USER_FAULT: as a Linux siginfo would say it */
    int32_t signal; /* the ABI-neutral fault class in Linux's numbers: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP */
    int32_t code;
    uint64_t address;
    uint64_t trap_number; /* architecture's */
    uint64_t error_code;
};

/* An ABI's entry, registered once at start. Runs in the user thread, on a kernel stack. */
struct abi {
    const char *name;
    void (*entry)(struct thread *thread, struct user_entry *entry);
    /*
     * A hint for bodies: the call reads user memory at argument *pointer (0 to 5); how much is in argument *length, or
     * unknown (a string, a struct): *length = *pointer. False: nothing worth handing over with the call. May be NULL.
     * call_writes: the same for memory that the call fills.
     */
    bool (*call_reads)(uint64_t number, uint32_t *pointer, uint32_t *length);
    bool (*call_writes)(uint64_t number, uint32_t *pointer, uint32_t *length);
    void (*ids)(struct thread *thread, struct user_ids *ids);
    /*
     * Makes a channel's socket, has `make` make the channel on it, and gives the calling thread's program the other end: its descriptor
     * there, or a negative error. May suspend.
     */
    int64_t (*channel_open)(user_channel_maker make, void *context);
    /*
     * Calls that park (user_call_return). call_parks: whether the calling thread's call may wait without its stack; not while somebody
     * on the stack waits for the call's end, as a tracer does. call_returned: what `entry` does after a call. NULL: no call parks.
     */
    bool (*call_parks)(void);
    void (*call_returned)(struct thread *thread, struct user_entry *entry);
    const struct abi_arrivals *arrivals; /* NULL: this ABI's programs are all started by it */
    /* A reference to the task's thread with the lowest id of at least *id, which becomes its id; or NULL. May suspend. */
    struct thread *(*thread_at)(struct task *task, int32_t *id);
    /* 0, -ESRCH (it has ended). May suspend. */
    int (*task_order)(struct task *task, enum task_order order);
    /* What it knows of thread ids as owners of PI futexes; NULL: not even that. */
    enum futex_owner_state (*futex_owner)(uint32_t id);
};
/* A body that hands over memory with a call or its answer hands over at most this much; copies of that size may then be free. */
#define USER_WINDOW_BYTES 240u
bool user_call_reads(uint64_t number, uint32_t *pointer, uint32_t *length);
bool user_call_writes(uint64_t number, uint32_t *pointer, uint32_t *length);
void abi_register(const struct abi *abi);

/*
 * A second set of calls, by number, that threads of any ABI may make: the native calls. The ABI whose own table does not
 * know a number asks here, so its own calls pay nothing for it.
 */
struct abi_calls {
    uint64_t first, end;
    /* May suspend. Restart codes (kernel/errno.h) are the ABI's to resolve, as for its own calls. */
    int64_t (*call)(uint64_t number, const uint64_t arguments[6]);
    /* As in struct abi. */
    bool (*call_reads)(uint64_t number, uint32_t *pointer, uint32_t *length);
    bool (*call_writes)(uint64_t number, uint32_t *pointer, uint32_t *length);
    /* For tracers: the call as text ("name(…"), before it, or what it filled in (", …"), after it. Length. May suspend. */
    size_t (*show)(uint64_t number, const uint64_t arguments[6], bool after, char *text, size_t size);
    /* A task ends (task_end): what the calls keep in its name goes. May suspend. */
    void (*task_ended)(const struct task *task);
};
void abi_register_calls(const struct abi_calls *calls);
void abi_task_ended(const struct task *task);
/* The set that has the number, or NULL. */
const struct abi_calls *abi_calls_of(uint64_t number);

/* Every call is to be seen by the ABI's dispatch, from now on: tracing, statistics. No body may answer one before it. */
void user_calls_watch(void);
bool user_calls_watched(void);

/* Ids as the ABI of the calling thread gives them. */
struct user_ids {
    int32_t task, thread, parent;
};
void user_ids_get(struct user_ids *ids);
/* As struct abi has them. */
struct thread *user_thread_at(struct task *task, int32_t *id);
int user_task_order(struct task *task, enum task_order order);
/* As the ABI of the calling thread has it, or -ENOSYS. */
int64_t user_channel_open(user_channel_maker make, void *context);

/*
 * For bodies where programs come by themselves (attached processes): what the ABI makes of them. All of them NULL otherwise.
 */
struct abi_arrivals {
    /*
     * A task for a process that came; its address space is bare, or the copy of another's that `token` (not 0) stands for. A
     * reference. NULL: no memory, or no such token. May suspend.
     */
    struct task *(*task_arrives)(uint64_t token);
    /*
     * A thread of it, created parked in body_user_entry: one reference. With `first` it is that thread once more, in a call that is
     * nested in another. NULL: no memory. Any context.
     */
    struct thread *(*thread_arrives)(struct task *task, struct thread *first);
    /* One that arrived has nowhere to go after all: it never ran. Any context. */
    void (*thread_refused)(struct thread *thread);
    /* The process is gone, or has cut itself off. What threads it still has are lost by themselves. Any context. */
    void (*task_leaves)(struct task *task);
};
const struct abi_arrivals *abi_arrivals(void);
/* Whether the ABI's programs come by themselves. */
bool user_arrivals_known(void);
/* Whether another thread than the task's own may change its address space: only where bodies can have the task do it. */
bool user_may_change(const struct task *task);
/* For bodies: hands an entry to the ABI. On return the body resumes user mode. */
void user_enter(struct thread *thread, struct user_entry *entry);
/* For bodies: the same for a call that parked and is over now (body_user_return). */
void user_returned(struct thread *thread, struct user_entry *entry);

/*
 * A call that waits for long gives its stack back: when user_call_parks says that it may, its handler parks the thread with a
 * continuation, which ends with user_call_return. The entry says what cannot be known here: number, the first argument, result (with
 * restart codes). What the handler's callers would have done after its return is the continuation's to do.
 */
bool user_call_parks(void);
NORETURN void user_call_return(struct user_entry *entry);

/* The calling thread's own address space. 0 or -EFAULT; a failed copy may have moved a part. */
int user_read(void *to, uaddr_t from, size_t size);
int user_write(uaddr_t to, const void *from, size_t size);
/* How many bytes could be moved. */
size_t user_read_some(void *to, uaddr_t from, size_t size);
size_t user_write_some(uaddr_t to, const void *from, size_t size);
/* Length without the terminator, -EFAULT, or -ENAMETOOLONG when `size` bytes hold no terminator. */
int64_t user_read_string(char *to, uaddr_t from, size_t size);
int user_zero(uaddr_t to, size_t size);

#endif
