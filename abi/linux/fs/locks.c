/*
 * File locks: fcntl's records, owned by a descriptor table (POSIX) or by an open file (OFD), and flock's whole-file
 * locks, owned by an open file. The semantics are those of fcntl_locking(2) and flock(2).
 *
 * A node's locks hang on the node (files without a node have their own). POSIX and OFD records see each other, flock
 * sees only flock. One mutex guards everything, which keeps the search for deadlocks simple: a wait notes whom it
 * waits for, and before it begins the chain of those notes is followed. OFD and flock waits are not searched, as in
 * Linux.
 *
 * Death: closing a descriptor ends its table's POSIX records on that node, the file's end ends the rest; both wake
 * the waiters, who look again.
 */
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "abi/linux/uapi.h"
#include "kernel/alloc.h"

enum lock_kind { LOCK_POSIX, LOCK_OFD, LOCK_FLOCK };
enum { F_RDLCK, F_WRLCK, F_UNLCK };
enum { RECORDS_MAX = 1 << 20, CHAIN_MAX = 64 };

struct record {
    struct list link; /* struct lock_table.records, by start */
    enum lock_kind kind;
    int type;
    void *owner;
    int32_t pid;
    int64_t start, end; /* both inclusive */
};

struct lock_table {
    struct list records;
    struct waitq waiters;
};

/* A POSIX wait, on its thread's stack. */
struct lock_wait {
    struct list link;
    void *owner, *blocker;
};

static struct mutex locks_mutex; /* guards everything below and every table */
static struct list waits = {&waits, &waits};
static uint32_t record_count;

void locks_init(void) { mutex_init(&locks_mutex, RANK_FILE_LOCKS); }

/* --- tables ------------------------------------------------------------------------------------------ */

static void **table_slot(struct file *file) { return file->node ? &file->node->locks : &file->locks; }

/* The table of the file's locks, made when it is the first. */
static struct lock_table *table_get(struct file *file)
{
    void **slot = table_slot(file);
    struct lock_table *table;

    if (*slot)
        return *slot;
    table = kzalloc(sizeof(*table));
    if (!table)
        return NULL;
    list_init(&table->records);
    waitq_init(&table->waiters);
    *slot = table;
    return table;
}

static void record_free(struct record *record)
{
    list_remove(&record->link);
    record_count--;
    kfree(record);
}

void locks_destroy(void *locks)
{
    struct lock_table *table = locks;

    if (!table)
        return;
    mutex_lock(&locks_mutex);
    LIST_FOR_EACH_SAFE(link, &table->records)
        record_free(LIST_ENTRY(link, struct record, link));
    mutex_unlock(&locks_mutex);
    kfree(table);
}

/* --- conflicts --------------------------------------------------------------------------------------- */

static bool conflicts(const struct record *held, const struct record *wanted)
{
    if ((held->kind == LOCK_FLOCK) != (wanted->kind == LOCK_FLOCK))
        return false;
    if (held->kind == wanted->kind && held->owner == wanted->owner)
        return false;
    if (held->type != F_WRLCK && wanted->type != F_WRLCK)
        return false;
    return held->start <= wanted->end && wanted->start <= held->end;
}

static struct record *conflict_find(struct lock_table *table, const struct record *wanted)
{
    LIST_FOR_EACH(link, &table->records)
    {
        struct record *held = LIST_ENTRY(link, struct record, link);
        if (conflicts(held, wanted))
            return held;
    }
    return NULL;
}

static struct lock_wait *wait_of(void *owner)
{
    LIST_FOR_EACH(link, &waits)
    {
        struct lock_wait *wait = LIST_ENTRY(link, struct lock_wait, link);
        if (wait->owner == owner)
            return wait;
    }
    return NULL;
}

/* Would waiting for `blocker` close a circle? */
static bool deadlocks(void *owner, void *blocker)
{
    for (int i = 0; i < CHAIN_MAX && blocker; i++) {
        struct lock_wait *wait = wait_of(blocker);
        if (blocker == owner)
            return true;
        blocker = wait ? wait->blocker : NULL;
    }
    return false;
}

static int conflict_wait(struct lock_table *table, const struct record *wanted, const struct record *held)
{
    struct lock_wait wait = {.owner = wanted->owner, .blocker = held->kind == LOCK_POSIX ? held->owner : NULL};
    bool searched = wanted->kind == LOCK_POSIX;
    int error;

    if (searched && deadlocks(wait.owner, wait.blocker))
        return -EDEADLK;
    if (searched)
        list_push_back(&waits, &wait.link);
    error = waitq_sleep(&table->waiters, &locks_mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE);
    if (searched)
        list_remove(&wait.link);
    return error ? -ERESTARTSYS : 0;
}

static int conflicts_settle(struct lock_table *table, const struct record *wanted, bool wait)
{
    struct record *held;
    int error = 0;

    while (!error && wanted->type != F_UNLCK && (held = conflict_find(table, wanted)))
        error = wait ? conflict_wait(table, wanted, held) : -EAGAIN;
    return error;
}

/* --- records ----------------------------------------------------------------------------------------- */

static struct record *record_create(const struct record *from)
{
    struct record *record = record_count < RECORDS_MAX ? kalloc(sizeof(*record)) : NULL;

    if (!record)
        return NULL;
    *record = *from;
    list_init(&record->link);
    record_count++;
    return record;
}

static void record_insert(struct lock_table *table, struct record *record)
{
    struct list *before = table->records.next;

    while (before != &table->records && LIST_ENTRY(before, struct record, link)->start < record->start)
        before = before->next;
    list_insert_between(&record->link, before->prev, before);
}

/* Takes `range` out of an own record: what is left to the right of it goes into *spare. */
static void record_cut(struct lock_table *table, struct record *record, const struct record *range, struct record **spare)
{
    int64_t end = record->end;

    if (record->start >= range->start && end <= range->end) {
        record_free(record);
    } else if (record->start >= range->start) {
        list_remove(&record->link);
        record->start = range->end + 1;
        record_insert(table, record);
    } else {
        record->end = range->start - 1;
        if (end > range->end) {
            (*spare)->start = range->end + 1;
            (*spare)->end = end;
            (*spare)->type = record->type;
            record_insert(table, *spare);
            *spare = NULL;
        }
    }
}

static bool touches(const struct record *a, const struct record *b)
{
    return (a->start == 0 || a->start - 1 <= b->end) && (b->start == 0 || b->start - 1 <= a->end);
}

/* Own records that touch `fresh` and are of its type become part of it; the others are cut. Cannot fail. */
static void records_apply(struct lock_table *table, struct record *fresh, struct record **spare)
{
    LIST_FOR_EACH_SAFE(link, &table->records)
    {
        struct record *record = LIST_ENTRY(link, struct record, link);
        if (record->kind != fresh->kind || record->owner != fresh->owner)
            continue;
        if (record->type == fresh->type && touches(record, fresh)) {
            fresh->start = record->start < fresh->start ? record->start : fresh->start;
            fresh->end = record->end > fresh->end ? record->end : fresh->end;
            record_free(record);
        } else if (record->start <= fresh->end && fresh->start <= record->end) {
            record_cut(table, record, fresh, spare);
        }
    }
}

static int lock_change(struct lock_table *table, const struct record *wanted)
{
    struct record *fresh = record_create(wanted), *spare = record_create(wanted);
    int error = fresh && spare ? 0 : -ENOLCK;

    if (!error) {
        records_apply(table, fresh, &spare);
        if (fresh->type != F_UNLCK) {
            record_insert(table, fresh);
            fresh = NULL;
        }
        waitq_wake_all(&table->waiters);
    }
    if (fresh)
        record_free(fresh);
    if (spare)
        record_free(spare);
    return error;
}

static int lock_apply(struct file *file, const struct record *wanted, bool wait)
{
    struct lock_table *table;
    int error = -ENOLCK;

    mutex_lock(&locks_mutex);
    table = table_get(file);
    if (table)
        error = conflicts_settle(table, wanted, wait);
    if (!error)
        error = lock_change(table, wanted);
    mutex_unlock(&locks_mutex);
    return error;
}

/* --- fcntl ------------------------------------------------------------------------------------------- */

static int lock_base(struct file *file, int whence, int64_t *base)
{
    struct linux_stat_data stat = {.size = 0};
    int error = 0;

    *base = 0;
    if (whence == 1)
        *base = file->position;
    else if (whence == 2) {
        error = file_stat(file, &stat);
        *base = (int64_t)stat.size;
    } else if (whence != 0)
        error = -EINVAL;
    return error;
}

static int lock_range(struct file *file, const struct linux_flock *flock, struct record *record)
{
    int64_t base;
    int error = lock_base(file, flock->whence, &base);

    if (error)
        return error;
    if (__builtin_add_overflow(base, flock->start, &record->start))
        return -EOVERFLOW;
    if (record->start < 0)
        return -EINVAL;
    record->end = INT64_MAX;
    if (flock->length > 0 && __builtin_add_overflow(record->start, flock->length - 1, &record->end))
        return -EOVERFLOW;
    if (flock->length < 0) {
        record->end = record->start - 1;
        if (record->start + flock->length < 0)
            return -EINVAL;
        record->start += flock->length;
    }
    return 0;
}

static int lock_decode(struct file *file, uaddr_t argument, bool ofd, struct linux_flock *flock, struct record *record)
{
    struct process *process = current_process();

    if (user_read(flock, argument, sizeof(*flock)))
        return -EFAULT;
    if (ofd && flock->pid)
        return -EINVAL;
    *record = (struct record){.kind = ofd ? LOCK_OFD : LOCK_POSIX,
                              .type = flock->type,
                              .owner = ofd ? (void *)file : (void *)process->fds,
                              .pid = ofd ? -1 : process->pid};
    return lock_range(file, flock, record);
}

int64_t lock_get(struct file *file, uaddr_t argument, bool ofd)
{
    struct linux_flock flock;
    struct record wanted, *held;
    struct lock_table *table;
    int error = lock_decode(file, argument, ofd, &flock, &wanted);

    if (error)
        return error;
    if (flock.type != F_RDLCK && flock.type != F_WRLCK)
        return -EINVAL;
    mutex_lock(&locks_mutex);
    table = *table_slot(file);
    held = table ? conflict_find(table, &wanted) : NULL;
    flock.type = F_UNLCK;
    if (held) {
        flock = (struct linux_flock){.type = (int16_t)held->type, .start = held->start, .pid = held->pid};
        flock.length = held->end == INT64_MAX ? 0 : held->end - held->start + 1;
    }
    mutex_unlock(&locks_mutex);
    return user_write(argument, &flock, sizeof(flock));
}

int64_t lock_set(struct file *file, uaddr_t argument, bool ofd, bool wait)
{
    struct linux_flock flock;
    struct record wanted;
    int error = lock_decode(file, argument, ofd, &flock, &wanted);

    if (error)
        return error;
    switch (flock.type) {
    case F_RDLCK:
        return file_readable(file) ? lock_apply(file, &wanted, wait) : -EBADF;
    case F_WRLCK:
        return file_writable(file) ? lock_apply(file, &wanted, wait) : -EBADF;
    case F_UNLCK:
        return lock_apply(file, &wanted, false);
    default:
        return -EINVAL;
    }
}

/* --- flock ------------------------------------------------------------------------------------------- */

enum { FLOCK_SHARED = 1, FLOCK_EXCLUSIVE = 2, FLOCK_NO_WAIT = 4, FLOCK_UNLOCK = 8 };

static void records_drop(void *locks, enum lock_kind kind, void *owner)
{
    struct lock_table *table = locks;
    bool dropped = false;

    LIST_FOR_EACH_SAFE(link, &table->records)
    {
        struct record *record = LIST_ENTRY(link, struct record, link);
        if (record->kind == kind && record->owner == owner) {
            record_free(record);
            dropped = true;
        }
    }
    if (dropped)
        waitq_wake_all(&table->waiters);
}

static bool flock_held(struct file *file, int type)
{
    struct lock_table *table = *table_slot(file);

    if (!table)
        return false;
    LIST_FOR_EACH(link, &table->records)
    {
        struct record *record = LIST_ENTRY(link, struct record, link);
        if (record->kind == LOCK_FLOCK && record->owner == file)
            return record->type == type;
    }
    return false;
}

/* Changing a lock's type gives the old one up first, whether or not the new one can be had: as Linux does. */
int64_t lock_flock(struct file *file, uint32_t operation)
{
    uint32_t kind = operation & ~(uint32_t)FLOCK_NO_WAIT;
    struct record wanted = {.kind = LOCK_FLOCK, .owner = file, .start = 0, .end = INT64_MAX};
    bool held;

    if (kind != FLOCK_SHARED && kind != FLOCK_EXCLUSIVE && kind != FLOCK_UNLOCK)
        return -EINVAL;
    wanted.type = kind == FLOCK_SHARED ? F_RDLCK : kind == FLOCK_EXCLUSIVE ? F_WRLCK : F_UNLCK;
    mutex_lock(&locks_mutex);
    held = flock_held(file, wanted.type);
    if (!held && *table_slot(file))
        records_drop(*table_slot(file), LOCK_FLOCK, file);
    mutex_unlock(&locks_mutex);
    if (held || wanted.type == F_UNLCK)
        return 0;
    return lock_apply(file, &wanted, !(operation & FLOCK_NO_WAIT));
}

/* --- death ------------------------------------------------------------------------------------------- */

void locks_release_posix(struct file *file, struct fdtable *table)
{
    mutex_lock(&locks_mutex);
    if (*table_slot(file))
        records_drop(*table_slot(file), LOCK_POSIX, table);
    mutex_unlock(&locks_mutex);
}

void locks_release_file(struct file *file)
{
    void *own = file->locks;

    if (file->node && file->node->locks) {
        mutex_lock(&locks_mutex);
        records_drop(file->node->locks, LOCK_OFD, file);
        records_drop(file->node->locks, LOCK_FLOCK, file);
        mutex_unlock(&locks_mutex);
    }
    file->locks = NULL;
    locks_destroy(own);
}
