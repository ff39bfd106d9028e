/*
 * Futexes: keys, buckets, and plain wait and wake.
 *
 * No wake is lost: a waiter re-checks the word and queues itself under one bucket lock, and a waker, who
 * changed the word before, looks through the bucket under the same lock. The re-check uses the read that
 * cannot fault; when the page is not there the lock is dropped, the page brought in and all is done again,
 * so that a page that takes its time holds up nobody else. Nothing is allocated for a wait (but for the
 * array of a wait for many words), so tables never grow and need not shrink.
 */
#include "kernel/futex_internal.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/memobj.h"
#include "kernel/task.h"

#define BUCKET_INIT(i)                                                                                                 \
    {                                                                                                                  \
        .lock = SPINLOCK_INIT(RANK_FUTEX_BUCKET), .entries = {                                                         \
            &shared_table.buckets[i].entries,                                                                          \
            &shared_table.buckets[i].entries                                                                           \
        }                                                                                                              \
    }

/* Words in memobjs: one table for all. Made by the compiler, since nothing comes before the first address space. */
static struct futex_table shared_table = {
    .census = shared_table.own_census,
    .pi_mutex = {.state_lock = SPINLOCK_INIT(RANK_WAITQ),
                 .waiters = {&shared_table.pi_mutex.waiters, &shared_table.pi_mutex.waiters},
                 .rank = RANK_FUTEX_PI},
    .buckets = {FUTEX_REPEAT_64(BUCKET_INIT)},
};

/* --- tables ------------------------------------------------------------------------------------------ */

static void table_init(struct futex_table *table)
{
    mutex_init(&table->pi_mutex, RANK_FUTEX_PI);
    for (uint32_t i = 0; i < FUTEX_BUCKETS; i++) {
        spinlock_init(&table->buckets[i].lock, RANK_FUTEX_BUCKET);
        list_init(&table->buckets[i].entries);
    }
    table->census = table->own_census;
}

struct futex_table *futex_table_create(void)
{
    struct futex_table *table = kzalloc(sizeof(*table));

    if (table)
        table_init(table);
    return table;
}

void futex_table_destroy(struct futex_table *table)
{
    if (!table)
        return;
    for (uint32_t i = 0; i < FUTEX_BUCKETS; i++)
        KASSERT(list_empty(&table->buckets[i].entries));
    kfree(table);
}

const struct atomic32 *futex_census(const struct aspace *aspace) { return aspace->futexes->census; }
void futex_census_place(struct aspace *aspace, struct atomic32 *census) { aspace->futexes->census = census; }

/* --- keys -------------------------------------------------------------------------------------------- */

struct aspace *futex_aspace(void) { return thread_current()->task->aspace; }

int futex_key_get(struct futex_word word, struct futex_key *key)
{
    struct aspace *aspace = futex_aspace();
    struct memobj *memobj;
    uint64_t offset;

    if (word.address & 3)
        return -EINVAL;
    if (word.address >= aspace->ceiling)
        return -EFAULT;
    key->object = &aspace->object;
    key->place = word.address | FUTEX_KEY_PRIVATE;
    if (!word.shared)
        return 0;
    if (aspace_resolve(aspace, word.address, &memobj, &offset))
        return -EFAULT;
    key->place = word.address | FUTEX_KEY_ADDRESS;
    if (memobj) {
        key->object = &memobj->object;
        key->place = offset | FUTEX_KEY_MEMOBJ;
    }
    return 0;
}

static bool key_in_memobj(const struct futex_key *key) { return (key->place & FUTEX_KEY_KINDS) == FUTEX_KEY_MEMOBJ; }

void futex_key_ref(const struct futex_key *key)
{
    if (key_in_memobj(key))
        object_ref(key->object);
}

void futex_key_put(const struct futex_key *key)
{
    if (key_in_memobj(key))
        object_unref(key->object);
}

uint32_t futex_key_hash(const struct futex_key *key)
{
    uint64_t mixed = (key->place >> 2) * 0x9e3779b97f4a7c15u;

    if (key_in_memobj(key))
        mixed ^= ((uint64_t)(uintptr_t)key->object >> 4) * 0xc2b2ae3d27d4eb4fu;
    return (uint32_t)(mixed >> 32);
}

struct futex_table *futex_key_table(const struct futex_key *key)
{
    if (key_in_memobj(key))
        return &shared_table;
    return CONTAINER_OF(key->object, struct aspace, object)->futexes;
}

struct futex_bucket *futex_key_bucket(const struct futex_key *key)
{
    return &futex_key_table(key)->buckets[futex_key_hash(key) % FUTEX_BUCKETS];
}

struct atomic32 *futex_key_counter(const struct futex_key *key)
{
    if (key_in_memobj(key))
        return NULL;
    return &futex_key_table(key)->census[futex_census_index(key->place)];
}

/* --- user words -------------------------------------------------------------------------------------- */

int futex_read_word(uaddr_t address, uint32_t *value)
{
    if (thread_killed(thread_current()))
        return -EINTR;
    return body_copy_in(futex_aspace(), value, address, sizeof(*value)) == sizeof(*value) ? 0 : -EFAULT;
}

int futex_fault_in(uaddr_t address)
{
    uint32_t value;

    return futex_read_word(address, &value);
}

/* --- entries ----------------------------------------------------------------------------------------- */

void futex_entry_take_locked(struct futex_entry *entry)
{
    list_remove(&entry->link);
    futex_count_down(entry->counter);
    atomic_ptr_store_release(&entry->bucket, NULL);
}

void futex_entry_wake_locked(struct futex_entry *entry)
{
    list_remove(&entry->link);
    futex_count_down(entry->counter);
    waitq_wake_all(entry->sleep);
    atomic_ptr_store_release(&entry->bucket, NULL);
}

/* One try under the bucket's lock: 0 queued, -EAGAIN, or -EFAULT when the word's page is to be brought in. */
static int check_and_queue(struct futex_entry *entry, struct futex_bucket *bucket, uaddr_t address, uint32_t value)
{
    uint32_t seen;
    int error;

    spin_lock(&bucket->lock);
    error = body_peek32(futex_aspace(), address, &seen);
    if (!error && seen != value)
        error = -EAGAIN;
    if (!error) {
        list_push_back(&bucket->entries, &entry->link);
        atomic_ptr_store_release(&entry->bucket, bucket);
    }
    spin_unlock(&bucket->lock);
    return error;
}

int futex_entry_queue(struct futex_entry *entry, struct futex_word word, uint32_t value)
{
    struct futex_bucket *bucket;
    int error = futex_key_get(word, &entry->key);

    if (error)
        return error;
    atomic_ptr_store_relaxed(&entry->bucket, NULL);
    list_init(&entry->link);
    bucket = futex_key_bucket(&entry->key);
    entry->counter = futex_key_counter(&entry->key);
    futex_count_up(entry->counter); /* before the re-check: see the census in futex.h */
    while ((error = check_and_queue(entry, bucket, word.address, value)) == -EFAULT) {
        error = futex_fault_in(word.address);
        if (error)
            break;
    }
    if (error) {
        futex_count_down(entry->counter);
        futex_key_put(&entry->key);
    }
    return error;
}

bool futex_entry_leave(struct futex_entry *entry)
{
    struct futex_bucket *bucket;
    bool taken = true;

    while ((bucket = atomic_ptr_load_acquire(&entry->bucket))) {
        spin_lock(&bucket->lock);
        if (atomic_ptr_load_relaxed(&entry->bucket) == bucket) { /* else it was moved or woken meanwhile */
            futex_entry_take_locked(entry);
            taken = false;
        }
        spin_unlock(&bucket->lock);
    }
    futex_key_put(&entry->key);
    return taken;
}

/* --- wait -------------------------------------------------------------------------------------------- */

/* The thread is on its sleep queue before any entry can be found, so a wake that comes at once is kept. */
static void sleep_prepare(struct waitq *sleep, struct waiter *waiter)
{
    waitq_init(sleep);
    waiter_init(waiter);
    spin_lock(&sleep->lock);
    waitq_enqueue_locked(sleep, waiter);
    spin_unlock(&sleep->lock);
}

static int wait_entries(struct futex_entry *entries, const struct futex_wait_item *items, uint32_t count, uint32_t bitset,
                        nanoseconds_t deadline)
{
    struct waitq sleep;
    struct waiter waiter;
    uint32_t queued;
    int error = 0, woken = -1;

    sleep_prepare(&sleep, &waiter);
    for (queued = 0; queued < count; queued++) {
        struct futex_entry *entry = &entries[queued];
        entry->bitset = bitset;
        entry->sleep = &sleep;
        entry->pi = NULL;
        error = futex_entry_queue(entry, items[queued].word, items[queued].value);
        if (error)
            break;
    }
    if (error)
        waiter_abandon(&waiter);
    else
        error = waiter_wait(&waiter, deadline, WAIT_INTERRUPTIBLE);
    for (uint32_t i = 0; i < queued; i++)
        if (futex_entry_leave(&entries[i]))
            woken = (int)i;
    if (woken >= 0) /* a wake was counted for us: it must not be lost, whatever else happened */
        return woken;
    KASSERT(error);
    return error;
}

int futex_wait(struct futex_word word, uint32_t value, uint32_t bitset, nanoseconds_t deadline)
{
    struct futex_wait_item item = {.word = word, .value = value};
    struct futex_entry entry;

    if (!bitset)
        return -EINVAL;
    return wait_entries(&entry, &item, 1, bitset, deadline);
}

int futex_wait_any(const struct futex_wait_item *items, uint32_t count, nanoseconds_t deadline)
{
    struct futex_entry *entries;
    int result;

    if (!count || count > FUTEX_WAITERS_MAX_AT_ONCE)
        return -EINVAL;
    entries = kcalloc(count, sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    result = wait_entries(entries, items, count, FUTEX_BITSET_ALL, deadline);
    kfree(entries);
    return result;
}

/* --- wake -------------------------------------------------------------------------------------------- */

int64_t futex_bucket_wake_locked(struct futex_bucket *bucket, const struct futex_key *key, uint32_t count, uint32_t bitset)
{
    int64_t woken = 0;

    LIST_FOR_EACH_SAFE(node, &bucket->entries)
    {
        struct futex_entry *entry = LIST_ENTRY(node, struct futex_entry, link);
        if (woken >= count)
            break;
        if (!futex_key_equal(&entry->key, key))
            continue;
        if (entry->pi)
            return -EINVAL;
        if (!(entry->bitset & bitset))
            continue;
        futex_entry_wake_locked(entry);
        woken++;
    }
    return woken;
}

int64_t futex_wake_outside(struct futex_word word, uint32_t count, uint32_t bitset)
{
    return word.shared || !count ? 0 : body_user_futex_wake(word.address, count, bitset);
}

int64_t futex_wake(struct futex_word word, uint32_t count, uint32_t bitset)
{
    struct futex_bucket *bucket;
    struct futex_key key;
    int64_t woken;
    int error = bitset ? futex_key_get(word, &key) : -EINVAL;

    if (error)
        return error;
    if (futex_pi_present(&key)) {
        woken = -EINVAL;
    } else {
        bucket = futex_key_bucket(&key);
        spin_lock(&bucket->lock);
        woken = futex_bucket_wake_locked(bucket, &key, count, bitset);
        spin_unlock(&bucket->lock);
    }
    futex_key_put(&key);
    return woken < 0 ? woken : woken + futex_wake_outside(word, (uint32_t)(count - woken), bitset);
}
