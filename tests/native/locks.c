/*
 * Futexes beyond wait and wake: locks whose owner the kernel knows, condition variables on them, bits, waiting for several words; private
 * and in memory that two processes share; owners that end with the lock in their hands.
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define OWNER_DIED 0x40000000u
#define WAITERS 0x80000000u

static _Atomic uint32_t lock_word, condition, signalled;
static uint32_t own_id(void)
{
    struct hyla_ids ids;
    CHECK_IS(hyla_ids_get(&ids), 0);
    return (uint32_t)ids.thread;
}

static void take(_Atomic uint32_t *word, uint32_t flags, uint32_t self)
{
    uint32_t none = 0;
    if (!atomic_compare_exchange_strong(word, &none, self))
        CHECK_IS(hyla_futex_lock((void *)word, flags, HYLA_NEVER), 0);
    CHECK((atomic_load(word) & 0x3fffffff) == self);
}

static void give(_Atomic uint32_t *word, uint32_t flags, uint32_t self)
{
    if (!atomic_compare_exchange_strong(word, &self, 0))
        CHECK_IS(hyla_futex_unlock((void *)word, flags), 0);
}

static uint64_t guarded; /* by lock_word; not atomic */

static void *add(void *argument)
{
    uint32_t self = own_id();
    (void)argument;
    for (int i = 0; i < 2000; i++) {
        take(&lock_word, 0, self);
        guarded++;
        give(&lock_word, 0, self);
    }
    return NULL;
}

static void contended(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, add, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(guarded == 8000 && atomic_load(&lock_word) == 0);
}

static void *tries(void *argument)
{
    (void)argument;
    CHECK_IS(hyla_futex_trylock((void *)&lock_word, 0), -EAGAIN);
    CHECK_IS(hyla_futex_unlock((void *)&lock_word, 0), -EPERM);
    CHECK_IS(hyla_futex_lock((void *)&lock_word, 0, soon(2)), -ETIMEDOUT);
    return NULL;
}

static void answers(void)
{
    pthread_t other;
    uint32_t self = own_id();
    CHECK_IS(hyla_futex_trylock((void *)&lock_word, 0), 0);
    CHECK((atomic_load(&lock_word) & 0x3fffffff) == self);
    CHECK_IS(hyla_futex_lock((void *)&lock_word, 0, HYLA_NEVER), -EDEADLK);
    CHECK(pthread_create(&other, NULL, tries, NULL) == 0 && pthread_join(other, NULL) == 0);
    CHECK_IS(hyla_futex_unlock((void *)&lock_word, 0), 0);
    CHECK(atomic_load(&lock_word) == 0);
    CHECK_IS(hyla_futex_unlock((void *)&lock_word, 0), -EPERM);
    CHECK_IS(hyla_futex_lock((void *)&lock_word, 6, HYLA_NEVER), -EINVAL);
    CHECK_IS(hyla_futex_lock((char *)&lock_word + 1, 0, HYLA_NEVER), -EINVAL);
    CHECK_IS(hyla_futex_lock((void *)4096, 0, HYLA_NEVER), -EFAULT);
    atomic_store(&lock_word, 0x3ffffff0);
    CHECK_IS(hyla_futex_lock((void *)&lock_word, 0, HYLA_NEVER), -ESRCH);
    atomic_store(&lock_word, 0);
}

/* --- owners that end ----------------------------------------------------------------------------------- */

static _Atomic int held, wanted;

static void *ends_with_it(void *argument)
{
    (void)argument;
    CHECK_IS(hyla_futex_lock((void *)&lock_word, 0, HYLA_NEVER), 0);
    atomic_store(&held, 1);
    while (!(atomic_load(&lock_word) & WAITERS)) /* somebody waits for it */
        hyla_probe();
    CHECK_IS(hyla_futex_trylock((void *)&lock_word, 0), -EDEADLK); /* and is queued: this passes through the lock's own */
    return NULL;
}

static void owner_ends(void)
{
    pthread_t owner;
    CHECK(pthread_create(&owner, NULL, ends_with_it, NULL) == 0);
    while (!atomic_load(&held))
        hyla_probe();
    CHECK_IS(hyla_futex_lock((void *)&lock_word, 0, HYLA_NEVER), 0);
    CHECK((atomic_load(&lock_word) & 0x3fffffff) == own_id() && (atomic_load(&lock_word) & OWNER_DIED));
    CHECK_IS(hyla_futex_unlock((void *)&lock_word, 0), 0);
    CHECK(pthread_join(owner, NULL) == 0);
    atomic_store(&lock_word, 0);
}

/* --- condition variables ------------------------------------------------------------------------------- */

static void *waits(void *argument)
{
    uint32_t self = own_id();
    (void)argument;
    take(&lock_word, 0, self);
    while (!atomic_load(&signalled)) {
        uint32_t seen = atomic_load(&condition);
        atomic_fetch_add(&wanted, 1);
        give(&lock_word, 0, self);
        int64_t result = hyla_futex_wait_lock((void *)&condition, seen, (void *)&lock_word, 0, HYLA_NEVER);
        if (result == -EAGAIN || result == -EINTR)
            take(&lock_word, 0, self);
        else
            CHECK_IS(result, 0);
        CHECK((atomic_load(&lock_word) & 0x3fffffff) == self);
    }
    guarded++;
    give(&lock_word, 0, self);
    return NULL;
}

static void condition_variable(void)
{
    pthread_t threads[3];
    uint32_t self = own_id();
    guarded = 0;
    atomic_store(&wanted, 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, waits, NULL) == 0);
    while (atomic_load(&wanted) < 3)
        hyla_probe();
    take(&lock_word, 0, self);
    atomic_store(&signalled, 1);
    uint32_t now = atomic_fetch_add(&condition, 1) + 1;
    int64_t moved = hyla_futex_requeue_lock((void *)&condition, (void *)&lock_word, INT32_MAX, now, 0);
    CHECK(moved >= 0 && moved <= 3);
    CHECK_IS(hyla_futex_requeue_lock((void *)&condition, (void *)&lock_word, 1, now + 1, 0), -EAGAIN);
    give(&lock_word, 0, self);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(guarded == 3);
}

/* --- bits, several words --------------------------------------------------------------------------------- */

static _Atomic uint32_t words[3];
static _Atomic int64_t woken;

static void *waits_for_bits(void *argument)
{
    (void)argument;
    atomic_store(&woken, hyla_futex_wait_bits((void *)&words[0], 0, 6, 0, HYLA_NEVER));
    return NULL;
}

static void *waits_for_any(void *argument)
{
    struct hyla_futex_item items[3] = {{(uintptr_t)&words[0], 0, 0}, {(uintptr_t)&words[1], 0, 0}, {(uintptr_t)&words[2], 0, 0}};
    (void)argument;
    atomic_store(&woken, hyla_futex_wait_any(items, sizeof items, HYLA_NEVER));
    return NULL;
}

static void bits_and_several(void)
{
    pthread_t thread;
    struct hyla_futex_item item = {(uintptr_t)&words[0], 1, 0};
    atomic_store(&woken, -1);
    CHECK(pthread_create(&thread, NULL, waits_for_bits, NULL) == 0);
    while (hyla_futex_wake_bits((void *)&words[0], 1, 4, 0) == 0)
        CHECK_IS(hyla_futex_wake_bits((void *)&words[0], 1, 8 | 1, 0), 0);
    CHECK(pthread_join(thread, NULL) == 0 && atomic_load(&woken) == 0);
    CHECK(pthread_create(&thread, NULL, waits_for_any, NULL) == 0);
    while (hyla_futex_wake((void *)&words[2], 1, 0) == 0)
        ;
    CHECK(pthread_join(thread, NULL) == 0 && atomic_load(&woken) == 2);
    CHECK_IS(hyla_futex_wait_any(&item, sizeof item, HYLA_NEVER), -EAGAIN);
    item.value = 0;
    CHECK_IS(hyla_futex_wait_any(&item, sizeof item, soon(1)), -ETIMEDOUT);
    CHECK_IS(hyla_futex_wait_any(&item, sizeof item - 1, 0), -EINVAL);
    CHECK_IS(hyla_futex_wait_any(&item, 129 * sizeof item, 0), -EINVAL);
    CHECK_IS(hyla_futex_wait_any((void *)16, sizeof item, 0), -EFAULT);
    CHECK_IS(hyla_futex_wait_bits((void *)&words[0], 0, 0, 0, 0), -EINVAL);
    CHECK_IS(hyla_futex_wake_bits((void *)&words[0], 1, 0, 0), -EINVAL);
}

/* --- between processes ----------------------------------------------------------------------------------- */

static void shared_lock(void)
{
    hyla_handle_t memobj = HANDLE(hyla_memobj_create(4096));
    struct hyla_map map = {.size = 4096, .protection = HYLA_PROT_READ | HYLA_PROT_WRITE, .flags = HYLA_MAP_SHARED};
    CHECK_IS(hyla_memobj_map(memobj, &map), 0);
    _Atomic uint32_t *word = (void *)(uintptr_t)map.address, *turn = word + 1, *done = word + 2;
    uint64_t *count = (void *)(uintptr_t)(map.address + 64);
    pid_t pid = fork();
    CHECK(pid >= 0);
    uint32_t self = own_id();
    for (int i = 0; i < 500; i++) {
        take(word, HYLA_FUTEX_SHARED, self);
        ++*count;
        give(word, HYLA_FUTEX_SHARED, self);
    }
    if (pid == 0) { /* and ends with the lock, once the parent is through */
        while (!atomic_load(done))
            hyla_futex_wait((void *)done, 0, HYLA_FUTEX_SHARED, HYLA_NEVER);
        take(word, HYLA_FUTEX_SHARED, self);
        atomic_store(turn, 1);
        while (!(atomic_load(word) & WAITERS))
            hyla_probe();
        CHECK_IS(hyla_futex_trylock((void *)word, HYLA_FUTEX_SHARED), -EDEADLK);
        _exit(0);
    }
    atomic_store(done, 1);
    hyla_futex_wake((void *)done, 1, HYLA_FUTEX_SHARED);
    while (!atomic_load(turn))
        hyla_probe();
    CHECK_IS(hyla_futex_lock((void *)word, HYLA_FUTEX_SHARED, HYLA_NEVER), 0);
    CHECK((atomic_load(word) & OWNER_DIED) && (atomic_load(word) & 0x3fffffff) == self);
    CHECK(*count == 1000);
    CHECK_IS(hyla_futex_unlock((void *)word, HYLA_FUTEX_SHARED), 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK_IS(hyla_memory_unmap(map.address, 4096), 0);
    hyla_handle_close(memobj);
}

int main(void)
{
    start_or_fail();
    answers();
    contended();
    owner_ends();
    condition_variable();
    bits_and_several();
    shared_lock();
    return 0;
}
