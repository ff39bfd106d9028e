/*
 * Futexes: waiting for a user word to change. What the ABI decodes ends here.
 *
 * A futex has no existence of its own: there is a key for the word's place, and the threads that wait
 * under that key. Private words are keyed by (address space, address) in the address space's own table,
 * shared ones by (memobj, offset) in one global table. A word in private memory that is named by a shared
 * operation is keyed by its address too, but apart from the private ones, as Linux does.
 *
 *   futex.c          keys, buckets, wait and wake
 *   futex_requeue.c  requeue, compare-and-requeue, wake-op
 *   futex_pi.c       locks whose owner the kernel knows: lock, unlock, the owner's death
 *   futex_pi_wait.c  waiting on a plain word and being moved onto a PI lock
 *
 * Errors are negative. Deadlines are absolute monotonic times. Interruptions return -EINTR: the ABI
 * decides what is restarted. All calls work on the calling thread's own address space and may suspend.
 */
#ifndef KERNEL_FUTEX_H
#define KERNEL_FUTEX_H

#include "kernel/atomic.h"
#include "kernel/lock.h"
#include "kernel/types.h"

struct aspace;
struct thread;

struct futex_word {
    uaddr_t address;
    bool shared;
};

#define FUTEX_BITSET_ALL 0xffffffffu
#define FUTEX_WAITERS_MAX_AT_ONCE 128

/* --- plain futexes ----------------------------------------------------------------------------------- */

/* 0 woken; -EAGAIN (another value), -ETIMEDOUT, -EINTR, -EFAULT, -EINVAL (misaligned, empty bitset). */
int futex_wait(struct futex_word word, uint32_t value, uint32_t bitset, nanoseconds_t deadline);
struct futex_wait_item {
    struct futex_word word;
    uint32_t value;
};
/* Waits for any of up to 128 words: the index of one that was woken. Also -ENOMEM. */
int futex_wait_any(const struct futex_wait_item *items, uint32_t count, nanoseconds_t deadline);
/* How many were woken, at most `count`. -EINVAL when PI waiters are there. */
int64_t futex_wake(struct futex_word word, uint32_t count, uint32_t bitset);
/*
 * Wakes up to `wake` waiters of `from`, moves up to `move` of the rest to `to`. How many both were.
 * -EAGAIN when *expected is not the word's value (expected may be NULL: no check).
 */
int64_t futex_requeue(struct futex_word from, struct futex_word to, int32_t wake, int32_t move, const uint32_t *expected);
/* Linux's encoded operation on `second`, then a wake of `first` and, when the old value compares, of `second`. */
int64_t futex_wake_op(struct futex_word first, struct futex_word second, uint32_t wake_first, uint32_t wake_second,
                      uint32_t operation);

/* --- PI futexes -------------------------------------------------------------------------------------- */

/* The bits of a PI word. */
#define FUTEX_WORD_WAITERS 0x80000000u
#define FUTEX_WORD_OWNER_DIED 0x40000000u
#define FUTEX_WORD_OWNER 0x3fffffffu

enum futex_owner_state {
    FUTEX_OWNER_GONE,    /* no such thread, or its exit has finished with futexes */
    FUTEX_OWNER_EXITING, /* futex_owner_exit is still to come: look again */
    FUTEX_OWNER_ALIVE,
    FUTEX_OWNER_FOREIGN, /* exists, may not be waited for */
};
/* What the ABI knows of its thread ids; before the first PI call. Called with a mutex of rank FUTEX_PI held. */
void futex_owner_register(enum futex_owner_state (*state)(uint32_t id));

/* `self` is the calling thread's id. -EDEADLK, -ESRCH, -EPERM, -EAGAIN (try only), -EINVAL, -EFAULT, -ETIMEDOUT, -EINTR, -ENOMEM. */
int futex_lock_pi(struct futex_word word, uint32_t self, nanoseconds_t deadline, bool try_only);
int futex_unlock_pi(struct futex_word word, uint32_t self);
/* Also -EAGAIN: another value, or interrupted after it had been moved. */
int futex_wait_requeue_pi(struct futex_word word, uint32_t value, uint32_t bitset, struct futex_word target, uint32_t self,
                          nanoseconds_t deadline);
/* How many acquired the lock or were moved. */
int64_t futex_cmp_requeue_pi(struct futex_word from, struct futex_word target, int32_t wake, int32_t move, uint32_t expected);
/*
 * The thread with this id is going: its PI locks pass to their first waiters, with FUTEX_WORD_OWNER_DIED. After the
 * ABI made its owner state EXITING or GONE. Needs no user memory of the dying thread.
 */
void futex_owner_exit(uint32_t id);

/* --- death ------------------------------------------------------------------------------------------- */

/* At most so many entries of a robust list are looked at, as Linux does. */
#define FUTEX_ROBUST_MAX 2048u
/*
 * The calling thread's robust list (get_robust_list(2) describes its layout): each lock in it that `id` owns is marked as
 * its owner having died, and a waiter is woken. Garbage ends the walk, loops end at the limit.
 */
void futex_robust_exit(uaddr_t head, uint32_t id);

/* --- tables and the census --------------------------------------------------------------------------- */

/*
 * The census: how many threads wait in an address space's own table, counted by a hash of the address, in
 * an array that user space may read. A thread that changed a word and then reads 0 at the word's index may
 * leave out the wake, for this reason:
 *
 *   waiter, in the kernel            waker, in user mode
 *   1. census[i]++                   a. changes the word
 *   2. reads the word (re-check)     b. full barrier
 *   3. queues itself or leaves       c. reads census[i]
 *
 * The increment is a sequentially consistent read-modify-write, so 1 is visible before 2 reads. With b
 * between a and c, either c sees 1's count (and the waker calls the kernel), or 2 sees a's value (and the
 * waiter does not sleep unless the program wants exactly that value). A moved waiter is counted at its new
 * index before it is taken from the old one. The count falls only after the waiter has left its queue. A contended PI
 * word counts as one waiter, since a plain wake of it is an error.
 * On x86-64 an atomic exchange of the word is itself barrier b; after a plain store the reader adds one.
 */
#define FUTEX_CENSUS_SIZE 256u

static inline uint32_t futex_census_index(uaddr_t address)
{
    return (uint32_t)((address >> 2) ^ (address >> 10) ^ (address >> 18)) & (FUTEX_CENSUS_SIZE - 1);
}

#define FUTEX_BUCKETS 64u

struct futex_bucket {
    struct spinlock lock; /* rank FUTEX_BUCKET */
    struct list entries;  /* struct futex_entry.link: first come, first served */
};

struct futex_table {
    struct atomic32 *census; /* FUTEX_CENSUS_SIZE counters: own_census, or memory of the body's */
    struct mutex pi_mutex;   /* rank FUTEX_PI: the PI locks of this table */
    struct futex_bucket buckets[FUTEX_BUCKETS];
    struct atomic32 own_census[FUTEX_CENSUS_SIZE];
};

/* NULL: no memory. */
struct futex_table *futex_table_create(void);
/* Nobody waits any more. NULL is fine. */
void futex_table_destroy(struct futex_table *table);
/* The census array of an address space, FUTEX_CENSUS_SIZE long. */
const struct atomic32 *futex_census(const struct aspace *aspace);
/*
 * The body supplies the memory (zeroed, outliving the address space's threads) that user space can read. Before the address
 * space's first thread starts.
 */
void futex_census_place(struct aspace *aspace, struct atomic32 *census);

#endif
