/*
 * Pending signals: a set of bits and a list of records with their siginfo, for a thread or for a process.
 *
 * A bit without a record is a signal whose information was lost to the limit. Standard signals have at most one
 * record of their own; a timer's record comes beside it and is never merged, which is how Linux keeps overruns exact.
 * Records are charged to a user, whose limit is RLIMIT_SIGPENDING.
 */
#include "abi/linux/signal_state.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"

/* Faults first: they concern the instruction the thread stands on. */
#define SYNCHRONOUS                                                                                                    \
    (sigset_of(LINUX_SIGSEGV) | sigset_of(LINUX_SIGBUS) | sigset_of(LINUX_SIGILL) | sigset_of(LINUX_SIGTRAP) |         \
     sigset_of(LINUX_SIGFPE) | sigset_of(LINUX_SIGSYS))

static struct list quotas = {&quotas, &quotas};
static struct spinlock quota_lock = SPINLOCK_INIT(RANK_POOL);

static struct signal_quota *quota_find_locked(uint32_t uid)
{
    LIST_FOR_EACH(node, &quotas) {
        struct signal_quota *quota = LIST_ENTRY(node, struct signal_quota, link);
        if (quota->uid == uid)
            return quota;
    }
    return NULL;
}

struct signal_quota *signal_quota_get(uint32_t uid)
{
    struct signal_quota *fresh = kzalloc(sizeof *fresh);
    spin_lock(&quota_lock);
    struct signal_quota *quota = quota_find_locked(uid);
    if (!quota && fresh) {
        quota = fresh;
        fresh = NULL;
        quota->uid = uid;
        list_push_back(&quotas, &quota->link);
    }
    if (quota)
        quota->references++;
    spin_unlock(&quota_lock);
    kfree(fresh);
    return quota;
}

static void quota_ref(struct signal_quota *quota)
{
    spin_lock(&quota_lock);
    quota->references++;
    spin_unlock(&quota_lock);
}

void signal_quota_put(struct signal_quota *quota)
{
    if (!quota)
        return;
    spin_lock(&quota_lock);
    KASSERT(quota->references > 0);
    bool last = --quota->references == 0;
    if (last)
        list_remove(&quota->link);
    spin_unlock(&quota_lock);
    if (last)
        kfree(quota);
}

/* Counts one record more, unless that passes the limit. */
static bool quota_charge(struct signal_quota *quota, uint64_t limit, bool always)
{
    uint64_t before = atomic64_add_relaxed(&quota->count, 1);
    if (always || before < limit) {
        quota_ref(quota);
        return true;
    }
    atomic64_sub(&quota->count, 1);
    return false;
}

static void quota_release(struct signal_quota *quota)
{
    if (!quota)
        return;
    atomic64_sub(&quota->count, 1);
    signal_quota_put(quota);
}

void signal_queue_init(struct signal_queue *queue)
{
    queue->pending = 0;
    list_init(&queue->infos);
}

static struct signal_record *record_create(struct process_signals *signals, int signal, const struct linux_siginfo *info)
{
    /* What the kernel or kill() sends as a standard signal is not held up by the limit, as on Linux. */
    bool always = signal < LINUX_SIGRTMIN && info->code >= 0;
    uint64_t limit = signals->process->limits[LINUX_RLIMIT_SIGPENDING].current;
    if (!quota_charge(signals->quota, limit, always))
        return NULL;
    struct signal_record *record = kalloc(sizeof *record);
    if (!record) {
        quota_release(signals->quota);
        return NULL;
    }
    *record = (struct signal_record){.info = *info, .quota = signals->quota};
    return record;
}

static void queue_push(struct signal_queue *queue, struct signal_record *record)
{
    list_push_back(&queue->infos, &record->link);
    record->queue = queue;
}

static void record_unlink(struct signal_record *record)
{
    list_remove(&record->link);
    record->queue = NULL;
}

int signal_queue_add(struct process_signals *signals, struct signal_queue *queue, int signal, const struct linux_siginfo *info)
{
    KASSERT(mutex_owned(&signals->mutex));
    if (signal < LINUX_SIGRTMIN && (queue->pending & sigset_of(signal)))
        return 0;
    struct signal_record *record = record_create(signals, signal, info);
    if (!record && signal >= LINUX_SIGRTMIN && info->code != LINUX_SI_USER)
        return -EAGAIN;
    if (record)
        queue_push(queue, record);
    queue->pending |= sigset_of(signal);
    return 0;
}

void signal_queue_add_record(struct signal_queue *queue, struct signal_record *record)
{
    KASSERT(record->timer && !record->queue);
    queue_push(queue, record);
    queue->pending |= sigset_of(record->info.signo);
}

static void record_free(struct signal_record *record)
{
    quota_release(record->quota);
    kfree(record);
}

static int next_signal(signal_set pending)
{
    if (pending & SYNCHRONOUS)
        pending &= SYNCHRONOUS;
    return pending ? __builtin_ctzll(pending) + 1 : 0;
}

/* The first record of the signal; *more: another one follows. */
static struct signal_record *queue_find(struct signal_queue *queue, int signal, bool *more)
{
    struct signal_record *first = NULL;
    *more = false;
    LIST_FOR_EACH(node, &queue->infos) {
        struct signal_record *record = LIST_ENTRY(node, struct signal_record, link);
        if (record->info.signo != signal)
            continue;
        if (first) {
            *more = true;
            break;
        }
        first = record;
    }
    return first;
}

int signal_queue_take(struct signal_queue *queue, signal_set set, struct linux_siginfo *info, struct signal_record **record)
{
    *record = NULL;
    int signal = next_signal(queue->pending & set);
    if (!signal)
        return 0;
    bool more;
    struct signal_record *found = queue_find(queue, signal, &more);
    if (!more)
        queue->pending &= ~sigset_of(signal);
    if (!found) {
        *info = (struct linux_siginfo){.signo = signal, .code = LINUX_SI_USER};
        return signal;
    }
    record_unlink(found);
    *info = found->info;
    if (found->timer)
        *record = found;
    else
        record_free(found);
    return signal;
}

static struct signal_record *queue_find_in(struct signal_queue *queue, signal_set set, bool timers)
{
    LIST_FOR_EACH(node, &queue->infos) {
        struct signal_record *record = LIST_ENTRY(node, struct signal_record, link);
        if ((set & sigset_of(record->info.signo)) && (timers || !record->timer))
            return record;
    }
    return NULL;
}

struct signal_record *signal_queue_flush(struct signal_queue *queue, signal_set set)
{
    struct signal_record *record;
    queue->pending &= ~set;
    while ((record = queue_find_in(queue, set, true))) {
        record_unlink(record);
        if (record->timer)
            return record;
        record_free(record);
    }
    return NULL;
}

void signal_queue_flush_plain(struct signal_queue *queue, signal_set set)
{
    struct signal_record *record;
    if (!(queue->pending & set))
        return;
    while ((record = queue_find_in(queue, set, false))) {
        record_unlink(record);
        record_free(record);
    }
    queue->pending &= ~set;
    LIST_FOR_EACH(node, &queue->infos)
        queue->pending |= sigset_of(LIST_ENTRY(node, struct signal_record, link)->info.signo);
}

void signal_queue_remove(struct signal_record *record)
{
    struct signal_queue *queue = record->queue;
    bool more;
    record_unlink(record);
    if (!queue_find(queue, record->info.signo, &more))
        queue->pending &= ~sigset_of(record->info.signo);
}
