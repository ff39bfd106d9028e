/*
 * What a body must provide: the complete list of what the kernel asks of the world. Bound at link time.
 * A body decides no policy and no semantics.
 *
 * Each function says whether it may suspend the calling thread (then it must be called on a thread, with
 * no spinlock held) and in what context it may be called. "Any context" includes spinlocks and timers.
 */
#ifndef KERNEL_BODY_H
#define KERNEL_BODY_H

#include "kernel/types.h"
#include "kernel/user.h"

#include <arch/regs.h> /* struct user_regs: the architecture's user registers */
#include <body/context.h>

struct aspace;
struct kqchan;
struct kqchan_link;
struct memobj;
struct region;
struct thread;

/* --- execution --------------------------------------------------------------------------------------- */

/* A guarded kernel stack of BODY_STACK_SIZE bytes: its lowest usable address, or NULL. Any context but spinlocks. */
void *body_stack_alloc(void);
void body_stack_free(void *stack);
/* Prepares a context that starts function(argument) on the stack; function never returns. */
void body_context_init(struct body_context *context, void *stack, void (*function)(void *), void *argument);
/* Saves into `from`, resumes `to`. Called by the scheduler with the thread lock rules of kernel/sched.c. */
void body_context_switch(struct body_context *from, struct body_context *to);
/* The context's stack is given up and never resumed: lets sanitizers forget it. */
void body_context_leave(struct body_context *from, struct body_context *to);

/* The scheduler's record of the CPU this code runs on; NULL on a host thread that is no CPU. A real call, never cached across a switch. */
void *body_cpu_local(void);
void body_cpu_set_local(void *local);
uint32_t body_cpu_count(void);
/*
 * Waits for work on this CPU: returns when there may be some. Scheduler stack. The body polls its devices in it.
 * Also called while there is work, to have the devices polled: it must not wait while sched_work_available(cpu).
 */
void body_idle(uint32_t cpu);
/* Makes body_idle on that CPU return soon; one that is entered only afterwards, too. Any context. */
void body_cpu_wake(uint32_t cpu);
/* Any context; nests by the returned value. Empty on Linux. */
uint32_t body_interrupts_disable(void);
void body_interrupts_restore(uint32_t state);
/* One turn of a spin loop: pause, and let whoever holds the lock run when it lasts. */
void body_relax(uint32_t turn);

/* --- time -------------------------------------------------------------------------------------------- */

nanoseconds_t body_now(void);
/* Wall-clock time minus monotonic time, in ns. */
int64_t body_wall_offset(void);
/* timer_queue_run is called at or after the deadline. DEADLINE_NEVER disarms. Any context. */
void body_timer_arm(nanoseconds_t deadline);

/* --- kernel memory ----------------------------------------------------------------------------------- */

/* Real memory of the machine, in bytes. */
uint64_t body_memory_size(void);
void *body_alloc(size_t size); /* NULL: none. Any context. */
void *body_realloc(void *block, size_t size);
void body_free(void *block);

/* --- memobjs ----------------------------------------------------------------------------------------- */

/* The body's part of an anonymous memobj of MEMOBJ_SIZE_MAX pages to be. -ENOMEM. */
int body_memobj_create(struct memobj *memobj);
void body_memobj_destroy(struct memobj *memobj);
/* The kernel's address of one page (zeroed when new), stable until punched. NULL: no memory. */
void *body_memobj_page(struct memobj *memobj, uint64_t index);
/* True when the page exists already. */
bool body_memobj_present(struct memobj *memobj, uint64_t index);
/* How many pages of a range body_memobj_page gave out; others that only programs touched may be counted or not. */
uint64_t body_memobj_made(struct memobj *memobj, uint64_t first, uint64_t count);
/* Drops pages; user mappings of them see zeros afterwards. */
void body_memobj_punch(struct memobj *memobj, uint64_t first, uint64_t count);
/*
 * A paged memobj is about to be mapped for the first time. Its pages may get other kernel addresses, this once. memobj->mutex held.
 * -ENOMEM, …
 */
int body_memobj_mappable(struct memobj *memobj);
/*
 * Pages of a paged memobj that programs may have mapped: true: none reaches them without a fault any more (writes_only: none writes
 * them). False: some program keeps them; its own loss. The memobj's regions say who may have. Not with memobj->mutex; the pages stay
 * meanwhile. May suspend.
 */
bool body_memobj_revoke(struct memobj *memobj, uint64_t first, uint64_t count, bool writes_only);
/* Transfers with a host file; may suspend. Bytes or -EIO, -EROFS, … */
int64_t body_memobj_file_read(struct memobj *memobj, void *buffer, uint64_t offset, size_t size);
int64_t body_memobj_file_write(struct memobj *memobj, const void *buffer, uint64_t offset, size_t size);

/* --- address spaces ---------------------------------------------------------------------------------- */

/* May suspend. An empty user address space that only body regions occupy; they are added to the map. */
int body_aspace_create(struct aspace *aspace);
void body_aspace_destroy(struct aspace *aspace);

enum map_op_kind {
    MAP_OP_MAP,     /* replaces what is there */
    MAP_OP_UNMAP,   /* holes are fine */
    MAP_OP_PROTECT,
    MAP_OP_MOVE,    /* replaces what is at new_address; address == new_address: grows in place; flags: MAP_OP_KEEP_OLD */
    MAP_OP_ADVISE,
    MAP_OP_BARRIER, /* membarrier(2) for the calling thread's address space; flags 1: instruction streams too */
};
enum { MAP_OP_KEEP_OLD = 1 }; /* MOVE: the old range stays mapped, empty (MREMAP_DONTUNMAP) */
struct map_op {
    enum map_op_kind kind;
    uaddr_t address;
    uint64_t size;
    uint32_t prot;         /* MAP, PROTECT */
    uint32_t flags;        /* MAP: region_flags */
    struct memobj *memobj; /* MAP: NULL for private anonymous */
    uint64_t offset;       /* MAP */
    uaddr_t new_address;   /* MOVE */
    uint64_t new_size;     /* MOVE */
    int advice;            /* ADVISE: enum aspace_advice */
};
/* Carries out a batch, in order; stops at the first failure and returns its error, *done tells how many. May suspend. */
int body_aspace_apply(struct aspace *aspace, const struct map_op *ops, size_t count, size_t *done);

/* --- user memory ------------------------------------------------------------------------------------- */

/* Bytes moved before the first that faults. May suspend. */
size_t body_copy_in(struct aspace *aspace, void *to, uaddr_t from, size_t size);
size_t body_copy_out(struct aspace *aspace, uaddr_t to, const void *from, size_t size);
/* Reads an aligned user word without suspending: allowed under a spinlock. -EFAULT when the page is not there. */
int body_peek32(struct aspace *aspace, uaddr_t address, uint32_t *value);
/*
 * Compare-and-swap on a user word of the calling thread's own address space, by its stub or directly.
 * May suspend. 0 with *previous (success when *previous == expected) or -EFAULT.
 */
int body_cas32(uaddr_t address, uint32_t expected, uint32_t desired, uint32_t *previous);

/* --- user threads ------------------------------------------------------------------------------------ */

/*
 * The function a user thread is created parked in (thread_create_parked): the body's side of an entry from user mode,
 * for thread_current(). It ends in user_enter and a park. The argument is not used.
 */
void body_user_entry(void *argument);
/*
 * The end of an entry of thread_current() that gave its stack back in the middle of a call: user_returned in place of
 * user_enter, and then back to user mode as body_user_entry goes.
 */
NORETURN void body_user_return(struct user_entry *entry);
/* The first user thread of a fresh address space: `thread` gets a user side, its registers to be set. May suspend. */
int body_user_create(struct thread *thread, struct aspace *aspace);
enum user_clone_kind {
    USER_CLONE_THREAD, /* same address space */
    USER_CLONE_FORK,   /* child_aspace is a copy-on-write copy, made here in one go with the thread */
    USER_CLONE_VFORK,  /* same address space object, another task: CLONE_VM without CLONE_THREAD */
};
struct user_word {
    uaddr_t address;
    uint32_t value;
};
/*
 * The calling thread makes a user side for `child` (created parked), as a copy of its own: registers, FP state.
 * body_user_regs/set_regs work on the child then; body_user_start lets it go. `word`, for a fork only and NULL for none, is
 * stored in the child's memory before it starts, if the address allows; its parent's does not see it. (Reaching into the
 * child's memory from outside would have to wait until the host has it.) May suspend. -ENOMEM, -EAGAIN.
 */
int body_user_clone(struct thread *child, struct aspace *child_aspace, enum user_clone_kind kind, const struct user_word *word);
/* Moves the calling thread to a fresh address space (body_aspace_create'd); the old user side dies. May suspend. */
int body_user_exec(struct aspace *aspace);
/* Starts a thread made by create or clone. */
void body_user_start(struct thread *thread);
/* Registers of the calling thread, or of one that has not started. */
void body_user_get_regs(struct thread *thread, struct user_regs *regs);
/* The thread resumes with exactly these (the entry's result is then ignored). */
void body_user_set_regs(struct thread *thread, const struct user_regs *regs);
/* The size of the FP and vector state in a signal frame, and its alignment in bytes. */
size_t body_user_fp_size(void);
/* Writes the calling thread's state to user memory in the platform's signal-frame form; restores it. -EFAULT, -EINVAL. May suspend. */
int body_user_fp_save(uaddr_t to);
int body_user_fp_load(uaddr_t from);
/* Resets the state to its initial value at the next return to user mode (exec, signal entry). */
void body_user_fp_reset(struct thread *thread);
/*
 * If the thread is in user mode it enters the kernel soon with USER_INTERRUPT. Idempotent. Any context without spinlocks.
 * No effect on a thread that has no user side yet or any more, or has not been started.
 */
void body_user_kick(struct thread *thread);
/*
 * Holding threads (kernel/thread_control.h). True: the thread's own process makes it stand still when asked, and says so with
 * thread_control_stopped; false: the ABI holds it on its way out, after body_user_kick. The same for a thread's whole life.
 */
bool body_user_stops_itself(struct thread *thread);
/* Asks such a thread; and lets it go on, with other registers unless NULL. With a spinlock held. -EOPNOTSUPP, -ESRCH. */
int body_user_ask_stop(struct thread *thread, uint32_t serial);
void body_user_go_on(struct thread *thread, const struct user_regs *regs);
/*
 * A body may answer set_robust_list(2) itself: true when it has since the thread was made or body_user_robust_forget, with the
 * head that was given. The kernel's own answer to such a call forgets the body's.
 */
bool body_user_robust_list(struct thread *thread, uaddr_t *head);
void body_user_robust_forget(struct thread *thread); /* of the calling thread */
/* The calling thread's user side ends; it will not return to user mode. `last`: the address space goes with it. */
void body_user_exit(bool last);
/*
 * A body may let threads of one address space wait for private futex words, and wake each other, without the kernel: it
 * must have the waits that an interruption ends come to the kernel. These reach such waiters of the calling thread's
 * address space: up to `count` whose bitset meets `bitset` are woken; up to `wake` are woken and up to `move` of the rest
 * moved. How many they were; 0 in a body that has none. May suspend.
 */
int64_t body_user_futex_wake(uaddr_t address, uint32_t count, uint32_t bitset);
int64_t body_user_futex_requeue(uaddr_t from, uaddr_t to, uint32_t wake, uint32_t move);
/* The thread waits in such a way, as far as can be told. */
bool body_user_asleep(struct thread *thread);
/*
 * The calling thread's user side makes the call it is in again, from its beginning, with the same arguments: what the entry
 * returns is not seen. If it is interrupted before it is in user mode the call is made in the kernel once more. False: it cannot.
 */
bool body_user_repeat(struct thread *thread);
/*
 * Calls whose message is in registers (abi/native/word_calls.c). False: this body's calls carry no such words. set: what the calling
 * thread finds when it returns, result and badge included. second: its call's second argument, should the call be made again.
 * again: the continuation of a thread that parks in a call, which makes it anew in the kernel; NULL: threads here wait with their stack.
 */
bool body_user_words(uint64_t words[8]);
void body_user_set_words(const uint64_t words[8], int64_t result, uint64_t badge);
void body_user_set_second(uint64_t argument);
void (*body_user_again(void))(void *argument);
/* Interval CPU time the user side has used, ns: user and system as the host counts them. */
void body_user_cpu_time(struct thread *thread, uint64_t *user_ns, uint64_t *system_ns);
/* Tells the body values that programs may read without a call. */
void body_user_publish_ids(struct thread *thread, int32_t process_id, int32_t thread_id, int32_t parent_id);

/* --- event channels ---------------------------------------------------------------------------------- */

/* As struct abi has task_order, for attached programs: to the process. -ENOSYS where there are none. */
int body_task_order(struct task *task, enum task_order order);
/* As struct abi has channel_open (kernel/user.h), for attached programs: with a socket of the body's. -ENOSYS where there are none. */
int64_t body_channel_open(user_channel_maker make, void *context);

/* --- rings ------------------------------------------------------------------------------------------- */

/*
 * Bytes that programs pass to each other without the kernel: a body may let threads read and write a descriptor in memory that
 * they share. The ring begins and ends empty-handed in the kernel's eyes: it is lent, thread by thread, and taken back whole. What
 * programs do in it is as in a pipe of BODY_RING_BYTES with one exception: nobody can wait for it in the kernel, so it must
 * be recalled before anything but a read(2) or write(2) by those it is lent to. Any of them can spoil or lose the contents.
 */
#define BODY_RING_BYTES 65536u
struct body_ring;
/* The calling thread could use one, in this very call. */
bool body_ring_possible(void);
/* Empty, with one reference; NULL: none here, or too many. Does not suspend. */
struct body_ring *body_ring_create(void);
struct body_ring *body_ring_ref(struct body_ring *ring);
void body_ring_unref(struct body_ring *ring);
/* Puts it where the calling thread's program can reach it. May suspend, for as long as the program likes: no locks held. */
bool body_ring_map(struct body_ring *ring);
/*
 * From now on the calling thread does its reads (or writes) of descriptor `fd` in the ring, beginning with the call it is in,
 * which must end with body_user_repeat. False: it cannot, or it was lent this already and came to the kernel all the same.
 */
bool body_ring_lend(struct body_ring *ring, int fd, bool writes);
/* Takes it back from everybody: how many bytes are in it, at most BODY_RING_BYTES. Who slept in it comes to the kernel. Once. */
uint32_t body_ring_recall(struct body_ring *ring);
/* After the recall: bytes of its contents. Does not suspend. */
void body_ring_read(struct body_ring *ring, uint32_t offset, void *to, uint32_t size);

/* --- the body's devices ------------------------------------------------------------------------------ */

void body_random(void *buffer, size_t size);
void body_log(const char *text, size_t length);
NORETURN void body_panic(const char *text);

#endif
