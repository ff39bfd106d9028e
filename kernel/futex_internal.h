/*
 * What the futex_*.c files share: keys, entries, buckets.
 *
 * An entry is one thread's place under one key, on that thread's stack. entry->bucket says which bucket it
 * is on now and is NULL once it was taken off; whoever takes it off, under that bucket's lock, decides its
 * fate, so a wake and a timeout have one winner also after a requeue. The taker's last access to the entry
 * is the store of NULL: from then on the thread may leave.
 */
#ifndef KERNEL_FUTEX_INTERNAL_H
#define KERNEL_FUTEX_INTERNAL_H

#include "kernel/aspace.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/futex.h"
#include "kernel/list.h"
#include "kernel/thread.h"
#include "kernel/waitq.h"

/* The place of a word. `place` is the address or offset, with a kind in the two low bits (words are aligned). */
enum futex_key_kind { FUTEX_KEY_PRIVATE = 0, FUTEX_KEY_ADDRESS = 1, FUTEX_KEY_MEMOBJ = 2, FUTEX_KEY_KINDS = 3 };
struct futex_key {
    struct object *object; /* the address space (not referenced: the caller lives in it), or the memobj (referenced) */
    uint64_t place;
};

static inline bool futex_key_equal(const struct futex_key *a, const struct futex_key *b)
{
    return a->object == b->object && a->place == b->place;
}
/* 0 with a key to be put, -EINVAL (misaligned), -EFAULT. May suspend. */
int futex_key_get(struct futex_word word, struct futex_key *key);
void futex_key_ref(const struct futex_key *key);
void futex_key_put(const struct futex_key *key);
uint32_t futex_key_hash(const struct futex_key *key);
struct futex_table *futex_key_table(const struct futex_key *key);
struct futex_bucket *futex_key_bucket(const struct futex_key *key);
/* The census counter of a key, NULL when it has none. */
struct atomic32 *futex_key_counter(const struct futex_key *key);
static inline void futex_count_up(struct atomic32 *counter)
{
    if (counter)
        atomic32_add(counter, 1);
}
static inline void futex_count_down(struct atomic32 *counter)
{
    if (counter)
        atomic32_sub(counter, 1);
}

/* For tables that the compiler initialises. */
#define FUTEX_REPEAT_8(item, i)                                                                                        \
    item(i), item(i + 1), item(i + 2), item(i + 3), item(i + 4), item(i + 5), item(i + 6), item(i + 7)
#define FUTEX_REPEAT_64(item)                                                                                          \
    FUTEX_REPEAT_8(item, 0), FUTEX_REPEAT_8(item, 8), FUTEX_REPEAT_8(item, 16), FUTEX_REPEAT_8(item, 24),              \
        FUTEX_REPEAT_8(item, 32), FUTEX_REPEAT_8(item, 40), FUTEX_REPEAT_8(item, 48), FUTEX_REPEAT_8(item, 56)

struct futex_pi_waiter;

struct futex_entry {
    struct atomic_ptr bucket; /* struct futex_bucket, NULL: off; changed under the lock of the bucket it is on */
    /* under that lock */
    struct list link;
    struct futex_key key;
    struct atomic32 *counter;
    /* constant while queued */
    uint32_t bitset;
    struct waitq *sleep;         /* where its thread sleeps */
    struct futex_pi_waiter *pi;  /* it waits to be moved onto a PI lock, and only futex_cmp_requeue_pi may take it */
};

/* Queues the entry when the word has the value: 0, or an error of futex_wait's. May suspend. */
int futex_entry_queue(struct futex_entry *entry, struct futex_word word, uint32_t value);
/* Takes it off the bucket it is on now and forgets its key. True when someone had taken it off before. */
bool futex_entry_leave(struct futex_entry *entry);
/* Takes it off and wakes its thread. Its bucket's lock is held. */
void futex_entry_wake_locked(struct futex_entry *entry);
/* Takes it off without a wake. Its bucket's lock is held. */
void futex_entry_take_locked(struct futex_entry *entry);

/* Wakes up to `count` entries under the key whose bitset meets `bitset`. How many, or -EINVAL at one that waits for PI. */
int64_t futex_bucket_wake_locked(struct futex_bucket *bucket, const struct futex_key *key, uint32_t count, uint32_t bitset);

/* What a body lets wait without the kernel (body.h): the rest of a wake. No lock held; may suspend. */
int64_t futex_wake_outside(struct futex_word word, uint32_t count, uint32_t bitset);

/* The calling thread's address space. */
struct aspace *futex_aspace(void);
/* Makes the word's page present: 0, -EFAULT, or -EINTR when the thread is being killed (so that retries end). */
int futex_fault_in(uaddr_t address);
/* Reads the word, suspending if needed. 0, -EFAULT, -EINTR as above. */
int futex_read_word(uaddr_t address, uint32_t *value);
/* --- PI ---------------------------------------------------------------------------------------------- */

/* A contended PI word. Exists while somebody waits for it, or while a waiter has yet to write itself into it. */
struct futex_pi_state {
    struct list link;     /* under the graph lock: its hash chain */
    struct futex_key key; /* constant, referenced */
    uint32_t owner;       /* the owner's id: changed under the table's pi_mutex and the graph lock */
    /* under the table's pi_mutex */
    struct list waiters;  /* struct futex_pi_waiter.link: first come, first served */
    struct futex_pi_waiter *pending; /* given the lock by a dying owner, has yet to change the word */
};

struct futex_pi_waiter {
    uint32_t id;              /* constant: its thread's */
    struct futex_key target;  /* constant: the PI word it waits for, or wants to be moved onto */
    uaddr_t address;          /* constant: of that word in its thread's address space */
    /* under the table's pi_mutex (state and id_link: and the graph lock) */
    struct list link;
    struct list id_link;
    struct futex_pi_state *state; /* NULL: not yet moved onto the lock, or no longer waiting */
    bool granted, owner_died;
    struct futex_entry *entry; /* while it may be moved: its place on the plain word */
    struct waitq sleep;
};

/* True when PI waiters are queued under the key. */
bool futex_pi_present(const struct futex_key *key);
/* A fresh waiter for `target`, whose key moves into it. */
void futex_pi_waiter_init(struct futex_pi_waiter *waiter, const struct futex_key *target, uaddr_t address, uint32_t id);
/* The following want the pi_mutex of the target's table. */
enum { FUTEX_PI_MUST_WAIT = 1 };
/*
 * Tries to write `waiter` into the word at `address` (the caller's address of the target) as its owner. 0 done; FUTEX_PI_MUST_WAIT: it
 * was queued on the lock; -EBUSY: try again, after futex_pi_breathe_locked; or an error. try_only: -EAGAIN instead of
 * waiting. more: others will be queued behind it.
 */
int futex_pi_acquire_locked(struct futex_pi_waiter *waiter, uaddr_t address, bool try_only, bool more);
/* Lets others have the mutex for a moment: whatever it guards may have changed. */
void futex_pi_breathe_locked(struct mutex *mutex);
/* Sleeps until the lock was granted: 0, -ETIMEDOUT, -EINTR, -EFAULT. On error it waits no more. */
int futex_pi_sleep_locked(struct futex_pi_waiter *waiter, struct mutex *mutex, nanoseconds_t deadline);
/* What follows a grant: 0, or -EFAULT when a dead owner's word cannot be changed (the lock then goes on). */
int futex_pi_granted_locked(struct futex_pi_waiter *waiter);
/* Takes a waiter that was queued off its lock. */
void futex_pi_cancel_locked(struct futex_pi_waiter *waiter);

#endif
