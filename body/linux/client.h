/*
 * The Linux body's insides: clients, host processes and user threads.
 *
 *   struct client        one guest address space: call pages, socket, doorbell; aspace->body
 *   struct host_process  a host process in it: one, or more while a vfork child shares it
 *   struct user_thread   one guest thread's host side: its call slot; thread->user
 *
 * References: a user_thread, a host_process and the address space each hold the client. The mode word of a
 * user_thread says who owns its slot; whoever moves it to KERNEL (one compare-and-swap) serves the entry (handshake.h).
 *
 * Death: a host process's end (pidfd, or end of file on its socket) marks its threads lost and claims for them: one in
 * user mode enters the kernel with USER_LOST, one in a command gets -ESRCH. Nothing waits for the dead.
 */
#ifndef BODY_LINUX_CLIENT_H
#define BODY_LINUX_CLIENT_H

#include "body/linux/call_page.h"
#include "body/linux/handshake.h"
#include "body/linux/host.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/async.h"
#include "kernel/aspace.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/futex.h"
#include "kernel/task.h"
#include "kernel/thread.h"

#include <sched.h>

struct attached;
struct client;

struct host_process {
    struct list all_link; /* under the lock of all processes: client_knows */
    struct client *client;
    struct list link;     /* under client->lock: client->processes */
    int32_t pid;          /* as the server sees it */
    int pidfd;
    struct host_watch watch;
    struct async_work gone;
    struct atomic32 noticed;
    bool dead;            /* under client->lock */
};

struct user_thread {
    struct atomic32 references; /* thread, hot lists */
    struct thread *thread;
    struct thread *lender; /* while another thread drives it: client_borrow */
    struct client *client;
    struct host_process *process; /* NULL until its hello */
    struct call_slot *slot;
    uint32_t index;
    struct atomic32 mode;     /* enum user_mode, and above MODE_BITS how often it has been answered: see post_claim */
    struct atomic32 lost;     /* its host process is gone */
    struct atomic32 done;     /* the commands were carried out */
    struct user_regs regs;    /* valid when regs_known */
    bool regs_known, regs_set;
    bool trapped;
    bool starting;
    bool fresh;               /* its FP state is the initial one: no program has run in it */
    bool forked;              /* not started yet, in a client of its own made by a fork */
    bool main;                /* the first thread of its host process: it stays until the process goes */
    bool rewritable;
    uint32_t answer_filled;   /* of the memory that goes back with the answer: see copy.c */
    struct atomic32 polled, blocked; /* what the slot's words say, as the server left them */
    int32_t inner_tid;        /* in the sandbox's pid namespace */
    struct atomic32 outer_tid; /* in the server's: found when first needed */
    bool repeat;              /* the call is to be made again by the stub */
    /* rings.c, under its lock: what the slot's words say, as the server left them */
    uint64_t ring_entries[RING_ENTRIES];
    uint32_t ring_next;
    uint32_t rings_lent;      /* how many rings know it */
};

#define SLOTS_PER_BLOCK 64u

struct client {
    struct atomic32 references;
    struct spinlock lock; /* rank BODY; guards the next group */
    struct list processes;
    uint64_t slots_used[CLIENT_THREADS_MAX / 64];
    struct user_thread **threads[CLIENT_THREADS_MAX / SLOTS_PER_BLOCK]; /* by slot; a block is made when its first slot is taken */
    bool used_before; /* some thread has had a slot */
    bool doomed;      /* all its host processes were killed: one that says hello only now dies as well */

    struct call_pages_header *pages;
    struct call_slot *slots;
    int socket, doorbell, pages_fd;
    struct host_watch socket_watch, doorbell_watch;
    struct waitq ready;         /* waiters for the first hello */
    struct mutex rewriting;     /* one rewrite at a time in one address space */
    struct mutex passing;       /* descriptors are on their way through the socket; inside aspace->mutex, or a fork's */
    struct ring_place {
        struct body_ring *ring; /* referenced */
        bool mapped;
    } places[RING_PLACES];      /* under the lock of rings.c */
    struct atomic32 ready_pid;  /* of the first host process: 0 before its hello */
    struct atomic32 hung_up;    /* its socket's other end is gone */
    struct list pool_link;
    struct atomic32 thread_count; /* started user threads */
    struct async_work free_work;
    struct atomic32 grace_given;
    struct atomic32 hellos_due; /* processes that have to say hello still; one more than that is no honest one */
    struct atomic32 awaited;    /* the clone was made: the hello must come soon */
    struct timer hello_timer;
    struct atomic32 odd_clones; /* approved and made, but its stub says that they failed */
    struct timer grace;
    bool took_gs;
    bool paged;                /* some memory of it may be a pager's: under the address space's mutex, stays */
    /* demand.c */
    struct atomic32 revokes;   /* how many are in the list; changed under client->lock */
    struct revoke {
        uaddr_t address;
        uint64_t size, offset;
        uint32_t prot;
        bool writes_only;      /* else the placeholder takes the place */
    } *revoke_list;
    uint32_t revoke_room;
    struct mutex revoking;     /* carries them out */
    struct waitq revoked;
    /* While the address space is filled, before a thread runs in it: of who fills it. */
    struct user_thread *first; /* borrowed. Attached: slot 0, for S2C */
    struct batch *filling;     /* aspace.c: what its stub is to do still */
    struct attached *attached; /* NULL: managed */
    struct atomic32 no_vm_access; /* found out at check-in, when a client that does not keep to the protocol calls already: this one's memory cannot be reached from outside */
    uint8_t fd_tag;            /* of the last descriptor sent to an attached one: under the address space's mutex */
};

/* client.c, client_process.c, client_hello.c, client_thread.c */
struct client *client_create(int remote[3]);    /* NULL: no memory, no descriptors; the three are the other ends, to be sent */
void client_close_remote(const int remote[3]);
/* For a process that came by itself: takes over its socket, whose events are the caller's. remote: call pages, doorbell. */
struct client *client_create_attached(int socket, int remote[2]);
/* Its host process, told apart by a pidfd from now on. -ESRCH, -ENOMEM. */
int client_adopt_process(struct client *client, int32_t pid);
void client_forget_processes(struct client *client);
/* All of its threads are lost. */
void client_lost(struct client *client);
/* A bit for each slot that has a thread now. */
void client_slots_used(struct client *client, uint64_t slots[CLIENT_THREADS_MAX / 64]);
/* Its slots say so, and sleepers wake. */
void client_tell_gone(struct client *client);
void client_ref(struct client *client);
void client_unref(struct client *client);
/* Waits for the first hello. 0, -EIO (it died), -EINTR (killed). */
int client_wait_ready(struct client *client);
/* A live host process's pid for remote memory access, or 0. */
int32_t client_pid(struct client *client);
/* Kills every host process in it, also those still to come. True when one was known. */
bool client_kill(struct client *client);
/* True when a host process with this pid has said hello and is not known to be gone. */
bool client_knows(int32_t pid);
/* An approved clone has been made for it: from now on its hello is awaited. */
void client_expect_hello(struct client *client);
/* An ordered clone was made by somebody, and the stub that was to make it says it could not: now and then, or too often. */
void client_odd_clone(struct client *client);
/* The thread was killed and is out of the kernel, or in a command: its host process has a bounded time to let it in. */
void client_expect_end(struct user_thread *user);
/* The thread in a slot, or NULL. client->lock held. */
struct user_thread *client_thread_at_locked(const struct client *client, uint32_t index);
struct user_thread *client_add_thread(struct client *client, struct thread *thread); /* NULL: no slot or memory */
struct user_thread *client_add_thread_at(struct client *client, struct thread *thread, uint32_t index);
void client_remove_thread(struct user_thread *user);
/*
 * The waiting stub of a client that no thread runs in yet, driven by the calling thread. It goes back with client_return;
 * body_user_create takes the same slot later.
 */
int client_borrow(struct client *client, struct thread *thread, struct user_thread **user);
void client_return(struct user_thread *user);
void client_doorbell(struct host_watch *watch, uint32_t events);

/* user_thread references */
void user_thread_ref(struct user_thread *user);
void user_thread_unref(struct user_thread *user);

/* post.c */
/* Serves the slot if something is posted there: claims it and makes the thread ready on this CPU. True when claimed. */
bool post_claim(struct user_thread *user);
/* For a lost host process: claims on behalf of the dead. */
void post_lost(struct user_thread *user);
/* KERNEL to ANSWERING and back: only by the thread itself. */
void mode_begin_answer(struct user_thread *user);
void mode_stay_in_kernel(struct user_thread *user);
/* The mode after it: USER, COMMAND, or KERNEL when the slot is given up. */
void post_answer(struct user_thread *user, uint32_t state, enum user_mode mode);
/* The worker's list of slots to look at while it spins. */
void hot_add(struct user_thread *user);
bool hot_poll(void);
void hot_leave(void); /* before sleeping: stops polling; may claim */
bool hot_worth_spinning(void); /* something is on the list */
/* Since last asked: a stub was woken that needs this worker's CPU to run, the one that had called, or another. */
enum hot_wake { HOT_WOKE_NOBODY, HOT_WOKE_CALLER, HOT_WOKE_OTHER };
enum hot_wake hot_woke_here(void);
/* Of the threads in user mode, how many of the listed threads' clients are asleep there. A hint. */
uint32_t hot_asleep(void);
void hot_mark_blocked(void); /* tells the stubs of listed threads whose calls wait to sleep at once */

/* command.c: may suspend */
struct stub_command *command_at(struct user_thread *user, uint32_t index, uint32_t operation);
/* Runs commands[0..count) in the calling thread's stub. 0, or -ESRCH: the process is gone. Results are read with command_result. */
int commands_run(struct user_thread *user, uint32_t count);
int64_t command_result(struct user_thread *user, uint32_t index);
int64_t command_one(struct user_thread *user, uint32_t operation, const uint64_t *arguments, uint32_t count);
/*
 * Puts STUB_TRAP before the commands of a thread on the fast path: the stub carries the rest out as a trapped entry. How many
 * commands that took, 0 or 1; once they have run the thread is trapped.
 */
uint32_t command_trap(struct user_thread *user);
int user_make_trapped(struct user_thread *user);

/* copy.c */
/* A place in the client's pages for what the call fills: [address, + size) as the client says; at most `capacity` bytes of data. */
struct answer_place {
    uint64_t address, size;
    uint8_t *data;
    uint32_t capacity, *filled;
};
/* Puts the bytes there if they are the next ones: false if not. For the calling thread's own slot. */
bool answer_put(struct user_thread *user, const struct answer_place *place, uaddr_t to, const void *from, size_t size);

/* user.c, user_life.c, user_host.c */
/* If it is in user mode it enters the kernel soon. */
void user_kick(struct user_thread *user);
/* Changes thread->user; who looks at another thread's goes through user_of. */
void user_attach(struct thread *thread, struct user_thread *user);
struct user_thread *user_of(struct thread *thread); /* a reference, or NULL */
/* Narrows the thread's host affinity to one CPU of those in it, which go to *before: false if that cannot be. And back. */
bool user_place(struct user_thread *user, uint32_t cpu, cpu_set_t *before);
void user_place_back(struct user_thread *user, const cpu_set_t *before);
void user_started(struct user_thread *user); /* an attached thread that is in user mode already */
void user_learn_fp_size(const struct client *client);

/* sleepers.c */
/* How many of its threads wait without the kernel, as the client says: a hint. */
uint32_t client_asleep(const struct client *client);

/* rings.c */
/* The thread's user side goes, or begins: it has no descriptors in rings. */
void rings_leave(struct user_thread *user);
void rings_begin(struct user_thread *user);
void rings_free_client(struct client *client);

/* sandbox.c */
int sandbox_start(const char **why);
void sandbox_stop(void);
/* Takes a ready process, or has one made; may suspend. */
int sandbox_take(struct client **client);
/* For a fork: as client_create, made ahead if there has been a fork before. */
struct client *sandbox_take_spare(int remote[3]);
/* The next idle worker is to make one ahead: said when the one that was taken runs. */
void sandbox_want_process(void);
void sandbox_want_spare(void);
/* Makes what is wanted. By a worker with nothing else to do. */
void sandbox_prepare(void);
/* A clone the server has asked for: the filter's listener lets one with this nonce and these flags through. 0: table full. */
uint64_t sandbox_expect_clone(uint64_t flags);
bool sandbox_forget_clone(uint64_t nonce); /* false: it was used */

/* sweep.c */
void sweep_init(int32_t zygote, bool own_pid_namespace);
/* Looks, soon, for host processes of the sandbox that nobody answers for. Any context. */
void sweep_ask(void);

/* sandbox.c again */
int sandbox_send_fds(int socket, char tag, const int *fds, uint32_t count);
extern struct kernel_page *kernel_page;
#define CLIENT_SPIN_TURNS 400u /* about 18 us: what a waiting stub may spin with a CPU to spare */

/* aspace.c */
/* Gathers a copy for an address space that is being filled. False: it has to be made at once. */
bool aspace_copy_later(struct client *client, uaddr_t to, const void *from, size_t size);
/* Carries out what was gathered; the first error there was. May suspend. */
int aspace_settle(struct client *client);

/* loop.c */
int loop_init(uint32_t workers, const char **why);
extern uint32_t loop_workers, loop_cpus;
extern struct atomic32 users_running; /* threads in user mode */
extern struct host_statistics statistics;
extern struct host_options host_options;
#define STATISTIC(field, n) __atomic_fetch_add(&statistics.field, (n), __ATOMIC_RELAXED)

/* memory.c: a descriptor of the memobj to send for mapping, with the access given; -errno. *close_it when it was made for this. */
int memobj_host_fd(struct memobj *memobj, bool shared_write, bool *close_it);

#endif
