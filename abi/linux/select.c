/*
 * select and pselect6: bit sets in, bit sets out, on the same waiting as poll.
 *
 * The three sets (read, write, exceptional) are copied in as words; each descriptor with a bit in any of them
 * becomes one entry. Sets of up to SELECT_INLINE descriptors and few bits need no allocation.
 */
#include "abi/linux/calls.h"
#include "abi/linux/deadline.h"
#include "abi/linux/poller.h"
#include "abi/linux/process.h"
#include "abi/linux/wait_mask.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define SELECT_INLINE 256u
#define SELECT_WORDS (SELECT_INLINE / 64)
#define SELECT_ENTRIES 12u
#define SELECT_LARGEST (1 << 20) /* as many descriptors as a process may have */

enum select_kind { SELECT_READ, SELECT_WRITE, SELECT_EXCEPT, SELECT_KINDS };

/* What makes a descriptor ready in each set. */
static const uint32_t select_events[SELECT_KINDS] = {
    [SELECT_READ] = EVENT_READ | EVENT_READ_NORMAL | EVENT_READ_BAND | EVENT_HANGUP | EVENT_ERROR,
    [SELECT_WRITE] = EVENT_WRITE | EVENT_WRITE_NORMAL | EVENT_WRITE_BAND | EVENT_ERROR,
    [SELECT_EXCEPT] = EVENT_PRIORITY,
};

struct select_entry {
    struct poll_entry poll;
    int32_t fd;
    uint32_t kinds; /* bit i: asked for in set i */
};

struct select_set {
    uint32_t words; /* of each set */
    uint32_t count; /* entries */
    uint64_t *bits; /* SELECT_KINDS sets asked for, then as many results */
    struct select_entry *entries;
    struct poller poller;
    uint64_t inline_bits[2 * SELECT_KINDS * SELECT_WORDS];
    struct select_entry inline_entries[SELECT_ENTRIES];
};

static uint64_t *asked(struct select_set *set, uint32_t kind) { return set->bits + (size_t)kind * set->words; }
static uint64_t *answered(struct select_set *set, uint32_t kind) { return set->bits + (size_t)(SELECT_KINDS + kind) * set->words; }

static uint64_t any_kind(struct select_set *set, uint32_t word)
{
    return asked(set, SELECT_READ)[word] | asked(set, SELECT_WRITE)[word] | asked(set, SELECT_EXCEPT)[word];
}

static int set_copy_in(struct select_set *set, int32_t limit, const uaddr_t sets[SELECT_KINDS])
{
    set->words = ((uint32_t)limit + 63) / 64;
    set->bits = set->inline_bits;
    if (set->words > SELECT_WORDS)
        set->bits = kcalloc(2 * SELECT_KINDS * (size_t)set->words, sizeof(uint64_t));
    if (!set->bits)
        return -ENOMEM;
    for (uint32_t kind = 0; kind < SELECT_KINDS; kind++) {
        memset(asked(set, kind), 0, set->words * sizeof(uint64_t));
        if (sets[kind] && user_read(asked(set, kind), sets[kind], set->words * sizeof(uint64_t)))
            return -EFAULT;
        if (limit % 64)
            asked(set, kind)[set->words - 1] &= ((uint64_t)1 << (limit % 64)) - 1;
    }
    return 0;
}

static int entry_open(struct select_set *set, struct select_entry *entry, int32_t fd)
{
    int error;

    memset(entry, 0, sizeof(*entry));
    entry->fd = fd;
    for (uint32_t kind = 0; kind < SELECT_KINDS; kind++)
        if (asked(set, kind)[fd / 64] >> (fd % 64) & 1) {
            entry->kinds |= 1u << kind;
            entry->poll.interest |= select_events[kind];
        }
    error = fd_get(fd, &entry->poll.file);
    if (error)
        entry->poll.file = NULL;
    return error;
}

/* An entry for each descriptor with a bit. -EBADF, -ENOMEM. */
static int set_open(struct select_set *set)
{
    uint32_t needed = 0;

    for (uint32_t word = 0; word < set->words; word++)
        needed += __builtin_popcountll(any_kind(set, word));
    if (needed > SELECT_ENTRIES)
        set->entries = kcalloc(needed, sizeof(*set->entries));
    if (!set->entries)
        return -ENOMEM;
    for (uint32_t word = 0; word < set->words; word++)
        for (uint64_t bits = any_kind(set, word); bits; bits &= bits - 1)
            if (entry_open(set, &set->entries[set->count++], word * 64 + __builtin_ctzll(bits)))
                return -EBADF;
    return 0;
}

static void set_close(struct select_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        poll_entry_unwatch(&set->entries[i].poll);
        if (set->entries[i].poll.file)
            file_unref(set->entries[i].poll.file);
    }
    if (set->entries != set->inline_entries)
        kfree(set->entries);
    if (set->bits != set->inline_bits)
        kfree(set->bits);
}

/* Sets the result bits; returns how many. */
static uint32_t set_scan(struct select_set *set)
{
    uint32_t ready = 0;

    memset(answered(set, 0), 0, SELECT_KINDS * (size_t)set->words * sizeof(uint64_t));
    for (uint32_t i = 0; i < set->count; i++) {
        struct select_entry *entry = &set->entries[i];
        uint32_t events = poll_entry_ready(&entry->poll);

        for (uint32_t kind = 0; kind < SELECT_KINDS; kind++)
            if ((entry->kinds >> kind & 1) && (events & select_events[kind])) {
                answered(set, kind)[entry->fd / 64] |= (uint64_t)1 << (entry->fd % 64);
                ready++;
            }
    }
    return ready;
}

/* How many bits; 0 at the deadline; -ERESTARTNOHAND. */
static int64_t set_wait(struct select_set *set, nanoseconds_t deadline)
{
    uint32_t ready = set_scan(set);
    int error = 0;

    if (!ready && deadline) {
        poller_init(&set->poller);
        for (uint32_t i = 0; i < set->count; i++)
            poll_entry_watch(&set->poller, &set->entries[i].poll);
        while (!(ready = set_scan(set)) && !error)
            error = poller_wait(&set->poller, deadline);
    }
    if (ready)
        return ready;
    return error == -EINTR || signal_pending() ? -ERESTARTNOHAND : 0;
}

static int set_copy_out(struct select_set *set, const uaddr_t sets[SELECT_KINDS])
{
    for (uint32_t kind = 0; kind < SELECT_KINDS; kind++)
        if (sets[kind] && user_write(sets[kind], answered(set, kind), set->words * sizeof(uint64_t)))
            return -EFAULT;
    return 0;
}

/* deadline 0: do not wait. */
static NOINLINE int64_t select_until(int32_t limit, const uaddr_t sets[SELECT_KINDS], nanoseconds_t deadline)
{
    struct select_set set;
    int64_t result;

    if (limit < 0)
        return -EINVAL;
    if (limit > SELECT_LARGEST)
        limit = SELECT_LARGEST;
    set.count = 0;
    set.entries = set.inline_entries;
    result = set_copy_in(&set, limit, sets);
    if (!result)
        result = set_open(&set);
    if (!result)
        result = set_wait(&set, deadline);
    if (result >= 0 && set_copy_out(&set, sets))
        result = -EFAULT;
    set_close(&set);
    return result;
}

static int deadline_after_timeval(const struct linux_timeval *wait, nanoseconds_t *deadline)
{
    struct linux_timespec exact;

    if (wait->seconds < 0 || wait->microseconds < 0)
        return -EINVAL;
    exact.seconds = (int64_t)min_u64((uint64_t)wait->seconds + (uint64_t)wait->microseconds / 1000000, INT64_MAX);
    exact.nanoseconds = wait->microseconds % 1000000 * 1000;
    if (!exact.seconds && !exact.nanoseconds) {
        *deadline = 0;
        return 0;
    }
    return deadline_after_timespec(&exact, deadline);
}

/* deadline_report, in microseconds. */
static int64_t report_timeval(uaddr_t timeout, nanoseconds_t deadline, int64_t result)
{
    struct linux_timespec left = deadline_remaining(deadline);
    struct linux_timeval value = {left.seconds, left.nanoseconds / 1000};

    if (user_write(timeout, &value, sizeof(value)) && result == -ERESTARTNOHAND)
        return -EINTR;
    return result;
}

int64_t sys_select(int32_t limit, uaddr_t read, uaddr_t write, uaddr_t except, uaddr_t timeout)
{
    const uaddr_t sets[SELECT_KINDS] = {read, write, except};
    nanoseconds_t deadline = DEADLINE_NEVER;
    struct linux_timeval wait;
    int64_t result;

    if (timeout && user_read(&wait, timeout, sizeof(wait)))
        return -EFAULT;
    if (timeout && (result = deadline_after_timeval(&wait, &deadline)))
        return result;
    result = select_until(limit, sets, deadline);
    return timeout && deadline ? report_timeval(timeout, deadline, result) : result;
}

int64_t sys_pselect6(int32_t limit, uaddr_t read, uaddr_t write, uaddr_t except, uaddr_t timeout, uaddr_t mask_argument)
{
    const uaddr_t sets[SELECT_KINDS] = {read, write, except};
    struct { uint64_t mask, size; } argument = {0, 0};
    struct linux_timespec wait;
    nanoseconds_t deadline;
    int64_t result;

    if (mask_argument && user_read(&argument, mask_argument, sizeof(argument)))
        return -EFAULT;
    if (timeout && user_read(&wait, timeout, sizeof(wait)))
        return -EFAULT;
    result = deadline_after_timespec(timeout ? &wait : NULL, &deadline);
    if (!result)
        result = wait_mask_begin(argument.mask, argument.size);
    if (result)
        return result;
    if (timeout && !wait.seconds && !wait.nanoseconds)
        deadline = 0;
    result = wait_mask_end(argument.mask, select_until(limit, sets, deadline));
    return timeout && deadline ? deadline_report(timeout, deadline, result) : result;
}
