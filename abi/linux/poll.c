/*
 * poll and ppoll.
 *
 * First every file is asked once; only when none is ready are knotes attached, and then all are asked again
 * before each sleep. Up to POLL_INLINE descriptors live on the stack. A file named here stays open until the
 * call ends, as on Linux.
 */
#include "abi/linux/calls.h"
#include "abi/linux/deadline.h"
#include "abi/linux/poller.h"
#include "abi/linux/process.h"
#include "abi/linux/wait_mask.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define POLL_INLINE 12u

struct linux_pollfd {
    int32_t fd;
    int16_t events, revents;
};
_Static_assert(sizeof(struct linux_pollfd) == 8, "struct pollfd");

struct poll_set {
    uint32_t count;
    bool watched;
    struct linux_pollfd *fds;
    struct poll_entry *entries;
    struct poller poller;
    struct linux_pollfd inline_fds[POLL_INLINE];
    struct poll_entry inline_entries[POLL_INLINE];
};

static int set_allocate(struct poll_set *set, uint32_t count)
{
    set->count = count;
    set->watched = false;
    set->fds = set->inline_fds;
    set->entries = set->inline_entries;
    if (count > POLL_INLINE) {
        set->fds = kcalloc(count, sizeof(*set->fds));
        set->entries = kcalloc(count, sizeof(*set->entries));
    }
    if (set->fds && set->entries)
        return 0;
    kfree(set->fds);
    kfree(set->entries);
    return -ENOMEM;
}

static void set_open(struct poll_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct poll_entry *entry = &set->entries[i];

        entry->poller = NULL;
        entry->file = NULL;
        entry->interest = (uint16_t)set->fds[i].events;
        if (set->fds[i].fd >= 0 && fd_get(set->fds[i].fd, &entry->file))
            entry->file = NULL;
    }
}

static void set_close(struct poll_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        poll_entry_unwatch(&set->entries[i]);
        if (set->entries[i].file)
            file_unref(set->entries[i].file);
    }
    if (set->fds != set->inline_fds) {
        kfree(set->fds);
        kfree(set->entries);
    }
}

/* Fills in revents; returns how many are not zero. */
static uint32_t set_scan(struct poll_set *set)
{
    uint32_t ready = 0;

    for (uint32_t i = 0; i < set->count; i++) {
        struct linux_pollfd *fd = &set->fds[i];
        struct poll_entry *entry = &set->entries[i];

        fd->revents = 0;
        if (entry->file)
            fd->revents = poll_entry_ready(entry);
        else if (fd->fd >= 0)
            fd->revents = EVENT_INVALID;
        ready += fd->revents != 0;
    }
    return ready;
}

static void set_watch(struct poll_set *set)
{
    poller_init(&set->poller);
    for (uint32_t i = 0; i < set->count; i++)
        if (set->entries[i].file)
            poll_entry_watch(&set->poller, &set->entries[i]);
    set->watched = true;
}

/* How many are ready; 0 at the deadline; -ERESTARTNOHAND. */
static int64_t set_wait(struct poll_set *set, nanoseconds_t deadline)
{
    uint32_t ready = set_scan(set);
    int error = 0;

    if (!ready && deadline)
        set_watch(set);
    while (!ready && set->watched && !error) {
        ready = set_scan(set);
        if (!ready)
            error = poller_wait(&set->poller, deadline);
    }
    if (!ready && error)
        ready = set_scan(set);
    if (ready)
        return ready;
    return error == -EINTR || signal_pending() ? -ERESTARTNOHAND : 0;
}

static int copy_out_revents(const struct poll_set *set, uaddr_t fds)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (user_write(fds + i * sizeof(*set->fds) + offsetof(struct linux_pollfd, revents), &set->fds[i].revents,
                       sizeof(set->fds[i].revents)))
            return -EFAULT;
    return 0;
}

/* deadline 0: do not wait. */
static NOINLINE int64_t poll_until(uaddr_t fds, uint32_t count, nanoseconds_t deadline)
{
    struct poll_set set;
    int64_t result;

    if (count > rlimit(LINUX_RLIMIT_NOFILE))
        return -EINVAL;
    result = set_allocate(&set, count);
    if (result)
        return result;
    if (user_read(set.fds, fds, count * sizeof(*set.fds))) {
        set.count = 0;
        set_close(&set);
        return -EFAULT;
    }
    set_open(&set);
    result = set_wait(&set, deadline);
    if (result >= 0 && copy_out_revents(&set, fds))
        result = -EFAULT;
    set_close(&set);
    return result;
}

static int64_t poll_restart(struct lthread *thread);

/* Restarted calls wait for the first call's deadline. */
static int64_t poll_restartable(uaddr_t fds, uint32_t count, nanoseconds_t deadline)
{
    int64_t result = poll_until(fds, count, deadline);
    struct lthread *thread = current_thread();

    if (result != -ERESTARTNOHAND)
        return result;
    thread->restart = poll_restart;
    thread->restart_data[0] = fds;
    thread->restart_data[1] = count;
    thread->restart_data[2] = deadline;
    return -ERESTART_RESTARTBLOCK;
}

static int64_t poll_restart(struct lthread *thread)
{
    return poll_restartable(thread->restart_data[0], thread->restart_data[1], thread->restart_data[2]);
}

int64_t sys_poll(uaddr_t fds, uint32_t count, int32_t timeout_ms)
{
    return poll_restartable(fds, count, timeout_ms ? deadline_after_ms(timeout_ms) : 0);
}

int64_t sys_ppoll(uaddr_t fds, uint32_t count, uaddr_t timeout, uaddr_t mask, uint64_t mask_size)
{
    struct linux_timespec wait;
    nanoseconds_t deadline;
    int64_t result;

    if (timeout && user_read(&wait, timeout, sizeof(wait)))
        return -EFAULT;
    result = deadline_after_timespec(timeout ? &wait : NULL, &deadline);
    if (!result)
        result = wait_mask_begin(mask, mask_size);
    if (result)
        return result;
    if (timeout && !wait.seconds && !wait.nanoseconds)
        deadline = 0;
    result = wait_mask_end(mask, poll_until(fds, count, deadline));
    return timeout && deadline ? deadline_report(timeout, deadline, result) : result;
}
