/*
 * Requeue, compare-and-requeue, and wake-op: what touches two buckets. Both locks are taken as a pair.
 *
 * A moved entry is counted at its new place before it leaves the old one, changes list, key and bucket
 * under both locks, and so is found by its own thread (futex_entry_leave) wherever it is. The caller holds
 * references on both keys' memobjs, so the entry's exchange of references never drops a last one under a
 * spinlock. A requeue within one bucket changes keys only: the walk over the list then always ends, also
 * when a word is requeued onto itself.
 */
#include "kernel/futex_internal.h"

struct key_pair {
    struct futex_key first, second;
    struct futex_bucket *first_bucket, *second_bucket;
};

static int pair_get(struct key_pair *pair, struct futex_word first, struct futex_word second)
{
    int error = futex_key_get(first, &pair->first);

    if (error)
        return error;
    error = futex_key_get(second, &pair->second);
    if (error) {
        futex_key_put(&pair->first);
        return error;
    }
    pair->first_bucket = futex_key_bucket(&pair->first);
    pair->second_bucket = futex_key_bucket(&pair->second);
    return 0;
}

static void pair_put(const struct key_pair *pair)
{
    futex_key_put(&pair->first);
    futex_key_put(&pair->second);
}

static void pair_lock(struct key_pair *pair) { spin_lock_pair(&pair->first_bucket->lock, &pair->second_bucket->lock); }
static void pair_unlock(struct key_pair *pair) { spin_unlock_pair(&pair->first_bucket->lock, &pair->second_bucket->lock); }

/* --- requeue ----------------------------------------------------------------------------------------- */

static void move_entry(struct key_pair *pair, struct futex_entry *entry)
{
    struct atomic32 *counter = futex_key_counter(&pair->second), *old_counter = entry->counter;
    struct futex_key old_key = entry->key;

    futex_count_up(counter);
    if (pair->first_bucket != pair->second_bucket) {
        list_remove(&entry->link);
        list_push_back(&pair->second_bucket->entries, &entry->link);
    }
    futex_key_ref(&pair->second);
    entry->key = pair->second;
    entry->counter = counter;
    atomic_ptr_store_release(&entry->bucket, pair->second_bucket);
    futex_count_down(old_counter);
    futex_key_put(&old_key);
}

static int64_t requeue_locked(struct key_pair *pair, int32_t wake, int32_t move)
{
    int64_t woken = 0, moved = 0;

    LIST_FOR_EACH_SAFE(node, &pair->first_bucket->entries)
    {
        struct futex_entry *entry = LIST_ENTRY(node, struct futex_entry, link);
        if (!futex_key_equal(&entry->key, &pair->first))
            continue;
        if (woken >= wake && moved >= move)
            break;
        if (entry->pi)
            return -EINVAL;
        if (woken < wake) {
            futex_entry_wake_locked(entry);
            woken++;
        } else {
            move_entry(pair, entry);
            moved++;
        }
    }
    return woken + moved;
}

/* With both locks held and, where asked for, the word checked: 0, -EAGAIN, or -EFAULT (nothing is held then). */
static int lock_and_check(struct key_pair *pair, uaddr_t address, const uint32_t *expected)
{
    uint32_t seen;
    int error;

    pair_lock(pair);
    if (!expected)
        return 0;
    error = body_peek32(futex_aspace(), address, &seen);
    if (!error && seen != *expected)
        error = -EAGAIN;
    if (error)
        pair_unlock(pair);
    return error;
}

/*
 * The rest of a requeue that woke and moved `done`: of what waits outside (body.h). What cannot be moved there, onto a
 * shared word, is woken instead, as any waiter may be.
 */
static int64_t requeue_outside(struct futex_word from, struct futex_word to, int32_t wake, int32_t move, int64_t done)
{
    int64_t woken = done < wake ? done : wake;
    uint32_t wake_left = (uint32_t)(wake - woken), move_left = (uint32_t)(move - (done - woken));

    if (from.shared || to.shared)
        return futex_wake_outside(from, wake_left + move_left, FUTEX_BITSET_ALL);
    return body_user_futex_requeue(from.address, to.address, wake_left, move_left);
}

int64_t futex_requeue(struct futex_word from, struct futex_word to, int32_t wake, int32_t move, const uint32_t *expected)
{
    struct key_pair pair;
    int64_t result;
    int error;

    if (wake < 0 || move < 0)
        return -EINVAL;
    error = pair_get(&pair, from, to);
    if (error)
        return error;
    if (futex_pi_present(&pair.first)) {
        pair_put(&pair);
        return -EINVAL;
    }
    while ((error = lock_and_check(&pair, from.address, expected)) == -EFAULT) {
        error = futex_fault_in(from.address);
        if (error)
            break;
    }
    result = error;
    if (!error) {
        result = requeue_locked(&pair, wake, move);
        pair_unlock(&pair);
    }
    pair_put(&pair);
    return result < 0 ? result : result + requeue_outside(from, to, wake, move, result);
}

/* --- wake-op ----------------------------------------------------------------------------------------- */

enum { OP_SET, OP_ADD, OP_OR, OP_ANDN, OP_XOR, OP_COUNT, OP_SHIFT = 8 };
enum { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_COUNT };

struct wake_op {
    uint32_t op, cmp;
    int32_t operand, compare;
};

static int32_t sign_extend_12(uint32_t value) { return (int32_t)(value << 20) >> 20; }

static int decode_op(uint32_t code, struct wake_op *op)
{
    op->op = code >> 28 & 7;
    op->cmp = code >> 24 & 15;
    op->operand = sign_extend_12(code >> 12 & 0xfff);
    op->compare = sign_extend_12(code & 0xfff);
    if (code >> 28 & OP_SHIFT)
        op->operand = (int32_t)(1u << (op->operand & 31));
    return op->op < OP_COUNT && op->cmp < CMP_COUNT ? 0 : -ENOSYS;
}

static uint32_t apply_op(const struct wake_op *op, uint32_t value)
{
    uint32_t operand = (uint32_t)op->operand;

    switch (op->op) {
    case OP_SET:
        return operand;
    case OP_ADD:
        return value + operand;
    case OP_OR:
        return value | operand;
    case OP_ANDN:
        return value & ~operand;
    default:
        return value ^ operand;
    }
}

static bool compares(const struct wake_op *op, int32_t value)
{
    switch (op->cmp) {
    case CMP_EQ:
        return value == op->compare;
    case CMP_NE:
        return value != op->compare;
    case CMP_LT:
        return value < op->compare;
    case CMP_LE:
        return value <= op->compare;
    case CMP_GT:
        return value > op->compare;
    default:
        return value >= op->compare;
    }
}

/* The operation, atomically; *old is what was there. */
static int change_word(uaddr_t address, const struct wake_op *op, uint32_t *old)
{
    int error = futex_read_word(address, old);

    while (!error) {
        uint32_t previous;
        error = body_cas32(address, *old, apply_op(op, *old), &previous);
        if (!error && previous == *old)
            return 0;
        if (!error)
            error = thread_killed(thread_current()) ? -EINTR : 0;
        *old = previous;
    }
    return error;
}

/*
 * The word is changed before the locks are taken, since changing it may suspend. That is enough: who queued
 * before the change is found by the wakes that follow, who comes after it has seen the new value. Both
 * wakes then happen under both locks, so that nobody sees the one without the other.
 */
int64_t futex_wake_op(struct futex_word first, struct futex_word second, uint32_t wake_first, uint32_t wake_second,
                      uint32_t operation)
{
    struct key_pair pair;
    struct wake_op op;
    int64_t woken, more = 0;
    uint32_t old;
    int error = decode_op(operation, &op);

    if (!error)
        error = pair_get(&pair, first, second);
    if (error)
        return error;
    if (futex_pi_present(&pair.first) || futex_pi_present(&pair.second))
        error = -EINVAL;
    if (!error)
        error = change_word(second.address, &op, &old);
    if (error) {
        pair_put(&pair);
        return error;
    }
    pair_lock(&pair);
    woken = futex_bucket_wake_locked(pair.first_bucket, &pair.first, wake_first, FUTEX_BITSET_ALL);
    if (woken >= 0 && compares(&op, (int32_t)old))
        more = futex_bucket_wake_locked(pair.second_bucket, &pair.second, wake_second, FUTEX_BITSET_ALL);
    pair_unlock(&pair);
    pair_put(&pair);
    if (woken < 0 || more < 0)
        return woken < 0 ? woken : more;
    woken += futex_wake_outside(first, (uint32_t)(wake_first - woken), FUTEX_BITSET_ALL);
    if (compares(&op, (int32_t)old))
        woken += more + futex_wake_outside(second, (uint32_t)(wake_second - more), FUTEX_BITSET_ALL);
    return woken;
}
