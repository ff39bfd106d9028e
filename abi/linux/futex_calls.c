/*
 * futex(2), its newer siblings, and robust lists: decoding for kernel/futex.h.
 *
 * Timeouts become deadlines on the body's monotonic clock once, at entry, so an interrupted wait that is
 * restarted (by a restart block, since a relative timeout must not begin anew) ends at the first deadline.
 * A deadline on the wall clock is converted with the offset at entry: setting the clock does not move it.
 */
#include "abi/linux/calls.h"
#include "abi/linux/futex.h"
#include "abi/linux/process_life.h"
#include "abi/linux/time.h"

enum {
    OP_WAIT,
    OP_WAKE,
    OP_FD,
    OP_REQUEUE,
    OP_CMP_REQUEUE,
    OP_WAKE_OP,
    OP_LOCK_PI,
    OP_UNLOCK_PI,
    OP_TRYLOCK_PI,
    OP_WAIT_BITSET,
    OP_WAKE_BITSET,
    OP_WAIT_REQUEUE_PI,
    OP_CMP_REQUEUE_PI,
    OP_LOCK_PI2,
};
enum { OP_PRIVATE = 128, OP_CLOCK_REALTIME = 256 };

static uint32_t self_id(void) { return (uint32_t)current_thread()->tid; }

/* Linux wakes one where none, or a negative number, was asked for. */
static uint32_t wake_count(uint32_t count) { return (int32_t)count < 1 ? 1 : count; }

/* --- timeouts ---------------------------------------------------------------------------------------- */

/* An absolute time on one of two clocks. */
static int read_deadline(uaddr_t timeout, int32_t clock_id, nanoseconds_t *deadline)
{
    struct linux_timespec time;
    struct clock clock;
    int error;

    *deadline = DEADLINE_NEVER;
    if (!timeout)
        return 0;
    if (clock_id != LINUX_CLOCK_REALTIME && clock_id != LINUX_CLOCK_MONOTONIC)
        return -EINVAL;
    if (user_read(&time, timeout, sizeof(time)))
        return -EFAULT;
    if (!timespec_valid(&time))
        return -EINVAL;
    error = clock_get(clock_id, &clock);
    if (error)
        return error;
    *deadline = clock_deadline(&clock, timespec_ns(&time));
    clock_put(&clock);
    return 0;
}

static int read_relative(uaddr_t timeout, nanoseconds_t *deadline)
{
    struct linux_timespec time;

    *deadline = DEADLINE_NEVER;
    if (!timeout)
        return 0;
    if (user_read(&time, timeout, sizeof(time)))
        return -EFAULT;
    return deadline_after_timespec(&time, deadline);
}

static int op_deadline(uint32_t op, uint32_t command, uaddr_t timeout, nanoseconds_t *deadline)
{
    bool wall = (op & OP_CLOCK_REALTIME) || command == OP_LOCK_PI;

    *deadline = DEADLINE_NEVER;
    switch (command) {
    case OP_WAIT:
        return read_relative(timeout, deadline);
    case OP_LOCK_PI:
    case OP_LOCK_PI2:
    case OP_WAIT_BITSET:
    case OP_WAIT_REQUEUE_PI:
        return read_deadline(timeout, wall ? LINUX_CLOCK_REALTIME : LINUX_CLOCK_MONOTONIC, deadline);
    default:
        return 0;
    }
}

/* --- wait, with restarts ----------------------------------------------------------------------------- */

enum restart_data { RESTART_ADDRESS, RESTART_SHARED, RESTART_VALUE, RESTART_BITSET, RESTART_DEADLINE };

static int64_t wait_restart(struct lthread *thread);

static int64_t wait_for(struct futex_word word, uint32_t value, uint32_t bitset, nanoseconds_t deadline)
{
    struct lthread *thread = current_thread();
    int error = futex_wait(word, value, bitset, deadline);

    if (error != -EINTR)
        return error;
    if (deadline == DEADLINE_NEVER)
        return -ERESTARTSYS;
    thread->restart = wait_restart;
    thread->restart_data[RESTART_ADDRESS] = word.address;
    thread->restart_data[RESTART_SHARED] = word.shared;
    thread->restart_data[RESTART_VALUE] = value;
    thread->restart_data[RESTART_BITSET] = bitset;
    thread->restart_data[RESTART_DEADLINE] = deadline;
    return -ERESTART_RESTARTBLOCK;
}

static int64_t wait_restart(struct lthread *thread)
{
    struct futex_word word = {thread->restart_data[RESTART_ADDRESS], thread->restart_data[RESTART_SHARED]};

    return wait_for(word, (uint32_t)thread->restart_data[RESTART_VALUE], (uint32_t)thread->restart_data[RESTART_BITSET],
                    thread->restart_data[RESTART_DEADLINE]);
}

/* A PI wait is made again whatever the handler's SA_RESTART says. */
static int64_t pi_result(int64_t result) { return result == -EINTR ? -ERESTARTNOINTR : result; }

/* --- futex(2) ---------------------------------------------------------------------------------------- */

int64_t sys_futex(uaddr_t address, uint32_t op, uint32_t value, uaddr_t timeout, uaddr_t second, uint32_t value3)
{
    uint32_t command = op & ~(uint32_t)(OP_PRIVATE | OP_CLOCK_REALTIME), value2 = (uint32_t)timeout;
    struct futex_word word = {address, !(op & OP_PRIVATE)}, other = {second, !(op & OP_PRIVATE)};
    nanoseconds_t deadline;
    int error = op_deadline(op, command, timeout, &deadline);

    if (error)
        return error;
    if ((op & OP_CLOCK_REALTIME) && command != OP_WAIT_BITSET && command != OP_WAIT_REQUEUE_PI && command != OP_LOCK_PI2)
        return -ENOSYS;
    switch (command) {
    case OP_WAIT:
        return wait_for(word, value, FUTEX_BITSET_ALL, deadline);
    case OP_WAIT_BITSET:
        return wait_for(word, value, value3, deadline);
    case OP_WAKE:
        return futex_wake(word, wake_count(value), FUTEX_BITSET_ALL);
    case OP_WAKE_BITSET:
        return futex_wake(word, wake_count(value), value3);
    case OP_REQUEUE:
        return futex_requeue(word, other, (int32_t)value, (int32_t)value2, NULL);
    case OP_CMP_REQUEUE:
        return futex_requeue(word, other, (int32_t)value, (int32_t)value2, &value3);
    case OP_WAKE_OP:
        return futex_wake_op(word, other, wake_count(value), wake_count(value2), value3);
    case OP_LOCK_PI:
    case OP_LOCK_PI2:
        return pi_result(futex_lock_pi(word, self_id(), deadline, false));
    case OP_TRYLOCK_PI:
        return pi_result(futex_lock_pi(word, self_id(), DEADLINE_NEVER, true));
    case OP_UNLOCK_PI:
        return pi_result(futex_unlock_pi(word, self_id()));
    case OP_WAIT_REQUEUE_PI:
        return pi_result(futex_wait_requeue_pi(word, value, FUTEX_BITSET_ALL, other, self_id(), deadline));
    case OP_CMP_REQUEUE_PI:
        return pi_result(futex_cmp_requeue_pi(word, other, (int32_t)value, (int32_t)value2, value3));
    default:
        return -ENOSYS;
    }
}

/* --- the newer calls --------------------------------------------------------------------------------- */

enum { FUTEX2_SIZE_32 = 2, FUTEX2_PRIVATE = 128 };

static bool futex2_flags_good(uint32_t flags) { return (flags & ~(uint32_t)FUTEX2_PRIVATE) == FUTEX2_SIZE_32; }

/* One of futex_waitv's: 0 or -EINVAL. */
static int decode_item(const struct linux_futex_waitv *from, struct futex_wait_item *item)
{
    if (!futex2_flags_good(from->flags) || from->reserved)
        return -EINVAL;
    item->word = (struct futex_word){from->address, !(from->flags & FUTEX2_PRIVATE)};
    item->value = (uint32_t)from->value;
    return 0;
}

static int read_items(uaddr_t from, struct futex_wait_item *items, uint32_t count)
{
    int error = 0;

    for (uint32_t i = 0; !error && i < count; i++) {
        struct linux_futex_waitv raw;
        error = user_read(&raw, from + i * sizeof(raw), sizeof(raw));
        if (!error)
            error = decode_item(&raw, &items[i]);
    }
    return error;
}

int64_t sys_futex_waitv(uaddr_t waiters, uint32_t count, uint32_t flags, uaddr_t timeout, int32_t clock)
{
    struct futex_wait_item items[FUTEX_WAITERS_MAX_AT_ONCE];
    nanoseconds_t deadline;
    int result;

    if (flags || !count || count > FUTEX_WAITERS_MAX_AT_ONCE || !waiters)
        return -EINVAL;
    result = read_deadline(timeout, clock, &deadline);
    if (!result)
        result = read_items(waiters, items, count);
    if (!result)
        result = futex_wait_any(items, count, deadline);
    return result == -EINTR ? -ERESTARTSYS : result;
}

int64_t sys_futex_wake(uaddr_t address, uint64_t mask, int32_t count, uint32_t flags)
{
    struct futex_word word = {address, !(flags & FUTEX2_PRIVATE)};

    if (!futex2_flags_good(flags) || mask > UINT32_MAX || !mask)
        return -EINVAL;
    if (address & 3)
        return -EINVAL;
    return count ? futex_wake(word, wake_count((uint32_t)count), (uint32_t)mask) : 0;
}

int64_t sys_futex_wait(uaddr_t address, uint64_t value, uint64_t mask, uint32_t flags, uaddr_t timeout, int32_t clock)
{
    struct futex_word word = {address, !(flags & FUTEX2_PRIVATE)};
    nanoseconds_t deadline;
    int error;

    if (!futex2_flags_good(flags) || value > UINT32_MAX || mask > UINT32_MAX)
        return -EINVAL;
    error = read_deadline(timeout, clock, &deadline);
    if (error)
        return error;
    error = futex_wait(word, (uint32_t)value, (uint32_t)mask, deadline);
    return error == -EINTR ? -ERESTARTSYS : error;
}

int64_t sys_futex_requeue(uaddr_t waiters, uint32_t flags, int32_t wake, int32_t move)
{
    struct futex_wait_item items[2];
    int error;

    if (flags || !waiters)
        return -EINVAL;
    error = read_items(waiters, items, 2);
    if (error)
        return error;
    return futex_requeue(items[0].word, items[1].word, wake, move, &items[0].value);
}

/* --- robust lists ------------------------------------------------------------------------------------ */

int64_t sys_set_robust_list(uaddr_t head, uint64_t size)
{
    struct lthread *thread = current_thread();

    if (size != FUTEX_ROBUST_HEAD_SIZE)
        return -EINVAL;
    thread->robust_list = head;
    thread->robust_list_size = size;
    body_user_robust_forget(thread->thread);
    return 0;
}

int64_t sys_get_robust_list(int32_t tid, uaddr_t head, uaddr_t size)
{
    struct lthread *thread = tid ? thread_find(tid) : object_ref(current_thread());
    uint64_t list, length = FUTEX_ROBUST_HEAD_SIZE;
    int error;

    if (!thread)
        return -ESRCH;
    error = process_may_access(thread->process);
    if (!body_user_robust_list(thread->thread, &list))
        list = thread->robust_list;
    object_unref(thread);
    if (error)
        return error;
    if (user_write(size, &length, sizeof(length)))
        return -EFAULT;
    return user_write(head, &list, sizeof(list));
}
