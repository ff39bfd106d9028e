/*
 * Threads that wait for private futexes in their stubs (stub/futex.c): waking and moving them from the kernel, which is asked
 * when both it and the stubs have waiters under one hash. The calling thread's stub does it, for the address space is its own.
 *
 * The counts lie in the client's memory: a client that spoils them, or answers nonsense, loses wakes of its own.
 */
#include "body/linux/client.h"

#include <linux/futex.h>
#include <sys/syscall.h>

/* The calling thread's user side when somebody may sleep under the hash, else NULL. The word was changed before. */
static struct user_thread *with_sleepers(uaddr_t address)
{
    struct user_thread *user = thread_current()->user;
    atomic_fence();
    if (!user || !__atomic_load_n(&user->client->pages->sleepers[futex_census_index(address)], __ATOMIC_RELAXED))
        return NULL;
    return user;
}

static int64_t stub_futex(struct user_thread *user, const uint64_t arguments[7], uint64_t most)
{
    int64_t result = command_one(user, STUB_HOST_CALL, arguments, 7);
    return result <= 0 ? 0 : (int64_t)min_u64((uint64_t)result, most);
}

int64_t body_user_futex_wake(uaddr_t address, uint32_t count, uint32_t bitset)
{
    struct user_thread *user = with_sleepers(address);
    uint64_t arguments[7] = {SYS_futex, address, FUTEX_WAKE_BITSET_PRIVATE, count, 0, 0, bitset};
    return user && count ? stub_futex(user, arguments, count) : 0;
}

/* As the stub does at its first requeue: see stub/futex.c. */
static void count_everywhere(struct call_pages_header *header)
{
    if (__atomic_load_n(&header->sleepers_moved, __ATOMIC_ACQUIRE))
        return;
    for (uint32_t i = 0; i < FUTEX_CENSUS_SIZE; i++)
        __atomic_fetch_add(&header->sleepers[i], 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&header->sleepers_moved, 1, __ATOMIC_RELEASE);
}

int64_t body_user_futex_requeue(uaddr_t from, uaddr_t to, uint32_t wake, uint32_t move)
{
    struct user_thread *user = with_sleepers(from);
    uint64_t arguments[7] = {SYS_futex, from, FUTEX_REQUEUE_PRIVATE, wake, move, to, 0};
    if (!user)
        return 0;
    count_everywhere(user->client->pages);
    return stub_futex(user, arguments, (uint64_t)wake + move);
}

bool body_user_asleep(struct thread *thread)
{
    struct user_thread *user = user_of(thread);
    bool asleep = user && mode_of(atomic32_load(&user->mode)) == MODE_USER && __atomic_load_n(&user->slot->asleep, __ATOMIC_RELAXED);
    if (user)
        user_thread_unref(user);
    return asleep;
}

uint32_t client_asleep(const struct client *client)
{
    uint32_t asleep = __atomic_load_n(&client->pages->asleep, __ATOMIC_RELAXED), threads = atomic32_load_relaxed(&client->thread_count);
    return asleep < threads ? asleep : threads;
}
