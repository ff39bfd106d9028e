/*
 * Native calls about futexes and tasks.
 */
#include "abi/native/native_calls.h"
#include "abi/native/task.h"
#include "kernel/aspace.h"
#include "kernel/futex.h"

static bool flags_good(uint32_t flags) { return (flags & ~(uint32_t)HYLA_FUTEX_SHARED) == 0; }
static struct futex_word word_at(uaddr_t address, uint32_t flags) { return (struct futex_word){address, flags & HYLA_FUTEX_SHARED}; }

int64_t native_futex_wait(uaddr_t word, uint32_t value, uint32_t flags, nanoseconds_t deadline)
{
    return flags_good(flags) ? futex_wait(word_at(word, flags), value, FUTEX_BITSET_ALL, deadline) : -EINVAL;
}

int64_t native_futex_wake(uaddr_t word, uint32_t count, uint32_t flags)
{
    if (!flags_good(flags) || count > INT32_MAX)
        return -EINVAL;
    return count ? futex_wake(word_at(word, flags), count, FUTEX_BITSET_ALL) : 0;
}

int64_t native_futex_requeue(uaddr_t word, uaddr_t other, uint32_t wake, uint32_t move, uint32_t value, uint32_t flags)
{
    if (!flags_good(flags) || wake > INT32_MAX || move > INT32_MAX)
        return -EINVAL;
    return futex_requeue(word_at(word, flags), word_at(other, flags), (int32_t)wake, (int32_t)move, &value);
}

int64_t native_futex_wait_bits(uaddr_t word, uint32_t value, uint32_t bits, uint32_t flags, nanoseconds_t deadline)
{
    return flags_good(flags) ? futex_wait(word_at(word, flags), value, bits, deadline) : -EINVAL;
}

int64_t native_futex_wake_bits(uaddr_t word, uint32_t count, uint32_t bits, uint32_t flags)
{
    if (!flags_good(flags) || count > INT32_MAX || !bits)
        return -EINVAL;
    return count ? futex_wake(word_at(word, flags), count, bits) : 0;
}

int64_t native_futex_wait_any(uaddr_t items, uint64_t size, nanoseconds_t deadline)
{
    struct futex_wait_item wanted[FUTEX_WAITERS_MAX_AT_ONCE];
    uint64_t count = size / sizeof(struct hyla_futex_item);
    if (!count || count > FUTEX_WAITERS_MAX_AT_ONCE || size % sizeof(struct hyla_futex_item))
        return -EINVAL;
    for (uint64_t i = 0; i < count; i++) {
        struct hyla_futex_item item;
        if (user_read(&item, items + i * sizeof item, sizeof item))
            return -EFAULT;
        if (!flags_good(item.flags))
            return -EINVAL;
        wanted[i] = (struct futex_wait_item){word_at(item.address, item.flags), item.value};
    }
    return futex_wait_any(wanted, (uint32_t)count, deadline);
}

/* --- locks whose owner is known ---------------------------------------------------------------------- */

/* As the word has it: a managed thread's is its thread id, which Linux calls on the same word know it by too. */
static uint32_t own_id(void)
{
    struct user_ids ids;
    user_ids_get(&ids);
    return (uint32_t)ids.thread;
}

int64_t native_futex_lock(uaddr_t word, uint32_t flags, nanoseconds_t deadline)
{
    return flags_good(flags) ? futex_lock_pi(word_at(word, flags), own_id(), deadline, false) : -EINVAL;
}

int64_t native_futex_trylock(uaddr_t word, uint32_t flags)
{
    return flags_good(flags) ? futex_lock_pi(word_at(word, flags), own_id(), DEADLINE_NEVER, true) : -EINVAL;
}

int64_t native_futex_unlock(uaddr_t word, uint32_t flags) { return flags_good(flags) ? futex_unlock_pi(word_at(word, flags), own_id()) : -EINVAL; }

int64_t native_futex_wait_lock(uaddr_t word, uint32_t value, uaddr_t lock, uint32_t flags, nanoseconds_t deadline)
{
    if (!flags_good(flags))
        return -EINVAL;
    return futex_wait_requeue_pi(word_at(word, flags), value, FUTEX_BITSET_ALL, word_at(lock, flags), own_id(), deadline);
}

int64_t native_futex_requeue_lock(uaddr_t word, uaddr_t lock, uint32_t move, uint32_t value, uint32_t flags)
{
    if (!flags_good(flags) || move > INT32_MAX)
        return -EINVAL;
    return futex_cmp_requeue_pi(word_at(word, flags), word_at(lock, flags), 1, (int32_t)move, value);
}

/* --- tasks ------------------------------------------------------------------------------------------- */

int64_t native_task_self(void)
{
    return native_handle_new(object_ref(native_task_current()), RIGHT_READ | RIGHT_MANAGE | RIGHT_COPY | RIGHT_TRANSFER);
}

int64_t native_task_info(struct task *task, struct hyla_task_info *info)
{
    struct aspace *aspace = task_aspace(task);
    if (aspace) {
        mutex_lock(&aspace->map_mutex);
        info->mapped = aspace->mapped_bytes;
        mutex_unlock(&aspace->map_mutex);
    }
    object_unref(aspace);
    mutex_lock(&task->handles.mutex);
    info->handles = task->handles.used;
    mutex_unlock(&task->handles.mutex);
    info->ended = atomic32_load(&task->gone);
    info->status = info->ended ? (uint32_t)task->end_status : 0;
    native_task_describe(task, info);
    return 0;
}

int64_t native_task_wait(struct task *task, nanoseconds_t deadline) { return task_wait(task, deadline); }
