/*
 * Waiting on a plain word and being moved onto a PI lock: how a condition variable hands its waiters to a
 * priority-inheritance mutex without waking them all.
 *
 * Such a waiter is in a bucket like any other, with entry.pi set: plain wakes and requeues refuse it, and it
 * leaves the bucket only under the pi_mutex of its target, by its own thread or by futex_cmp_requeue_pi. So
 * the requeuer, who holds that mutex, may drop the bucket's lock to change the PI word and still find the
 * waiter there. A waiter that is granted the lock at once is woken; one that was moved sleeps on, in the
 * same sleep, and its timeout, signal or death take it off wherever it is.
 */
#include "kernel/futex_internal.h"

static struct mutex *target_mutex(const struct futex_key *target) { return &futex_key_table(target)->pi_mutex; }

/* --- the waiter -------------------------------------------------------------------------------------- */

static int wait_locked(struct futex_pi_waiter *waiter, struct futex_word word, uint32_t value, uint32_t bitset,
                       nanoseconds_t deadline)
{
    struct futex_entry entry = {.bitset = bitset, .sleep = &waiter->sleep, .pi = waiter};
    int error;

    waiter->entry = &entry;
    error = futex_entry_queue(&entry, word, value);
    if (error)
        return error;
    error = futex_pi_sleep_locked(waiter, target_mutex(&waiter->target), deadline);
    /* Off the plain word by the requeuer: a restart would find another value there, so an interruption says that now. */
    if (futex_entry_leave(&entry) && error == -EINTR)
        error = -EAGAIN;
    return error;
}

int futex_wait_requeue_pi(struct futex_word word, uint32_t value, uint32_t bitset, struct futex_word target, uint32_t self,
                          nanoseconds_t deadline)
{
    struct futex_pi_waiter waiter;
    struct futex_key key, target_key;
    int error;

    if (!bitset)
        return -EINVAL;
    error = futex_key_get(target, &target_key);
    if (error)
        return error;
    error = futex_key_get(word, &key);
    if (!error) {
        if (futex_key_equal(&key, &target_key))
            error = -EINVAL;
        futex_key_put(&key);
    }
    if (!error) {
        futex_pi_waiter_init(&waiter, &target_key, target.address, self);
        mutex_lock(target_mutex(&target_key));
        error = wait_locked(&waiter, word, value, bitset, deadline);
        mutex_unlock(target_mutex(&target_key));
    }
    futex_key_put(&target_key);
    return error;
}

/* --- the requeuer ------------------------------------------------------------------------------------ */

/* The first entry under the key: *waiter, NULL when there is none. -EINVAL when it wants something else than `target`. */
static int first_waiter(struct futex_bucket *bucket, const struct futex_key *key, const struct futex_key *target,
                        struct futex_pi_waiter **waiter)
{
    *waiter = NULL;
    LIST_FOR_EACH(node, &bucket->entries)
    {
        struct futex_entry *entry = LIST_ENTRY(node, struct futex_entry, link);
        if (!futex_key_equal(&entry->key, key))
            continue;
        if (!entry->pi || !futex_key_equal(&entry->pi->target, target))
            return -EINVAL;
        *waiter = entry->pi;
        return 0;
    }
    return 0;
}

static void take_entry(struct futex_bucket *bucket, struct futex_pi_waiter *waiter)
{
    spin_lock(&bucket->lock);
    futex_entry_take_locked(waiter->entry);
    spin_unlock(&bucket->lock);
}

/* Compares the word, with the bucket locked: 0 (locked still), -EAGAIN, -EFAULT, -EINTR. */
static int lock_and_check(struct futex_bucket *bucket, uaddr_t address, uint32_t expected)
{
    for (;;) {
        uint32_t seen;
        int error;
        spin_lock(&bucket->lock);
        error = body_peek32(futex_aspace(), address, &seen);
        if (!error && seen == expected)
            return 0;
        spin_unlock(&bucket->lock);
        if (!error)
            return -EAGAIN;
        error = futex_fault_in(address);
        if (error)
            return error;
    }
}

/* Gives the lock to the waiter or moves it there. 0, or an error after which it waits where it was (-EBUSY: once more). */
static int hand_over(struct futex_bucket *bucket, struct futex_pi_waiter *waiter, uaddr_t target_address, bool more)
{
    int error = futex_pi_acquire_locked(waiter, target_address, false, more);

    if (error < 0)
        return error;
    take_entry(bucket, waiter);
    if (error == FUTEX_PI_MUST_WAIT)
        return 0;
    waiter->granted = true;
    waitq_wake_all(&waiter->sleep);
    return 0;
}

static int64_t requeue_locked(const struct futex_key *key, struct futex_word from, const struct futex_key *target_key,
                              struct futex_word target, int32_t move, uint32_t expected)
{
    struct futex_bucket *bucket = futex_key_bucket(key);
    int64_t done = 0;
    int error = lock_and_check(bucket, from.address, expected);

    if (error)
        return error;
    for (;;) {
        struct futex_pi_waiter *waiter;
        error = first_waiter(bucket, key, target_key, &waiter);
        spin_unlock(&bucket->lock);
        if (error || !waiter)
            break;
        error = hand_over(bucket, waiter, target.address, move > 0);
        if (error == -EBUSY)
            futex_pi_breathe_locked(target_mutex(target_key)); /* the waiter may go meanwhile: it is looked for again */
        else if (error || ++done - 1 >= move)
            break;
        spin_lock(&bucket->lock);
    }
    return error ? error : done;
}

int64_t futex_cmp_requeue_pi(struct futex_word from, struct futex_word target, int32_t wake, int32_t move, uint32_t expected)
{
    struct futex_key key, target_key;
    int64_t result;

    if (wake != 1 || move < 0)
        return -EINVAL;
    result = futex_key_get(from, &key);
    if (result)
        return result;
    result = futex_key_get(target, &target_key);
    if (!result) {
        if (futex_key_equal(&key, &target_key)) {
            result = -EINVAL;
        } else {
            mutex_lock(target_mutex(&target_key));
            result = requeue_locked(&key, from, &target_key, target, move, expected);
            mutex_unlock(target_mutex(&target_key));
        }
        futex_key_put(&target_key);
    }
    futex_key_put(&key);
    return result;
}
