/*
 * Rings: pipes whose bytes the stubs move by themselves (stub/ring.c has their side and the races, docs/pipe-rings.md the whole).
 *
 *   struct body_ring    one sealed memfd: a header page and the bytes; alive until it is recalled, never used again after that
 *   client->places      where an address space has rings mapped: the memory of a dead one stays until its place is needed
 *   user->ring_entries  which descriptors of a thread are lent, in which place; a copy for its stub in slot->rings
 *
 * The server waits for nobody: a recall takes the entries away, sets RING_REVOKED, wakes who sleeps and reads what is between tail
 * and head, through the descriptor, so that nothing a client does to the memory can make the server fault. All words in the
 * ring are a client's to spoil; those that decide who may use it (slot->rings) are in memory that the pipe's other clients cannot
 * reach.
 *
 * References: the pipe's, each place's, who maps it just now. The descriptor and the server's mapping go with the recall, or
 * when the last who is sending the descriptor is done.
 */
#include "body/linux/client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RINGS_MAX 64u /* alive at a time: each costs a descriptor */
#define LENT_MAX 16u  /* threads that one is lent to */

_Static_assert(RING_BYTES == BODY_RING_BYTES, "one size");

struct body_ring {
    struct atomic32 references;
    struct atomic32 descriptor_users; /* 0: closed */
    int fd;
    struct ring_header *header;
    uint64_t start; /* of the contents, once recalled */
    /* under the lock */
    bool recalled;
    uint32_t lent_count;
    struct user_thread *lent[LENT_MAX];
};

static struct spinlock lock = SPINLOCK_INIT(RANK_BODY);
static struct body_ring *alive[RINGS_MAX]; /* under it */

/* --- life -------------------------------------------------------------------------------------------- */

static bool make_memory(struct body_ring *ring)
{
    ring->fd = memfd_create("hyla ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (ring->fd < 0 || ftruncate(ring->fd, RING_SIZE) < 0 || fcntl(ring->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return false;
    ring->header = mmap(NULL, RING_DATA_OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, 0);
    return ring->header != MAP_FAILED;
}

static bool enlist(struct body_ring *ring)
{
    uint32_t i = 0;
    spin_lock(&lock);
    while (i < RINGS_MAX && alive[i])
        i++;
    if (i < RINGS_MAX)
        alive[i] = ring;
    spin_unlock(&lock);
    return i < RINGS_MAX;
}

struct body_ring *body_ring_create(void)
{
    if (host_options.no_local_waits || host_options.no_rewrite)
        return NULL;
    struct body_ring *ring = kzalloc(sizeof *ring);
    if (!ring)
        return NULL;
    atomic32_store_relaxed(&ring->references, 1);
    atomic32_store_relaxed(&ring->descriptor_users, 1);
    if (make_memory(ring) && enlist(ring)) {
        STATISTIC(rings, 1);
        return ring;
    }
    if (ring->header && ring->header != MAP_FAILED)
        munmap(ring->header, RING_DATA_OFFSET);
    if (ring->fd >= 0)
        close(ring->fd);
    kfree(ring);
    return NULL;
}

static bool descriptor_hold(struct body_ring *ring)
{
    uint32_t users = atomic32_load(&ring->descriptor_users);
    while (users && !atomic32_cas(&ring->descriptor_users, &users, users + 1))
        ;
    return users;
}

static void descriptor_drop(struct body_ring *ring)
{
    if (atomic32_sub(&ring->descriptor_users, 1) == 1)
        close(ring->fd);
}

struct body_ring *body_ring_ref(struct body_ring *ring)
{
    atomic32_add(&ring->references, 1);
    return ring;
}

void body_ring_unref(struct body_ring *ring)
{
    if (!ring || atomic32_sub(&ring->references, 1) != 1)
        return;
    KASSERT(ring->recalled && !ring->lent_count);
    descriptor_drop(ring);
    kfree(ring);
}

/* --- places ------------------------------------------------------------------------------------------ */

/* Where the client has it, or -1. */
static int place_of_locked(const struct client *client, const struct body_ring *ring)
{
    for (uint32_t i = 0; i < RING_PLACES; i++)
        if (client->places[i].ring == ring && client->places[i].mapped)
            return (int)i;
    return -1;
}

static int place_of(const struct client *client, const struct body_ring *ring)
{
    spin_lock(&lock);
    int place = place_of_locked(client, ring);
    spin_unlock(&lock);
    return place;
}

/* A dead ring's place is free when no thread is in it: what the client says of that concerns itself alone. */
static bool place_free_locked(struct client *client, uint32_t i)
{
    const struct ring_place *place = &client->places[i];
    return !place->ring || (place->ring->recalled && !__atomic_load_n(&client->pages->ring_users[i], __ATOMIC_SEQ_CST));
}

/* A place for the ring, not yet mapped; the one that was there is *old. -1: none. aspace->mutex held. */
static int place_take(struct client *client, struct body_ring *ring, struct body_ring **old)
{
    int found = -1;
    spin_lock(&lock);
    for (uint32_t i = 0; i < RING_PLACES && found < 0; i++)
        if (place_free_locked(client, i))
            found = (int)i;
    if (found >= 0) {
        *old = client->places[found].ring;
        client->places[found] = (struct ring_place){.ring = body_ring_ref(ring)};
    }
    spin_unlock(&lock);
    return found;
}

static void place_done(struct client *client, int place, bool mapped)
{
    struct body_ring *ring = NULL;
    spin_lock(&lock);
    client->places[place].mapped = mapped;
    if (!mapped) {
        ring = client->places[place].ring;
        client->places[place].ring = NULL;
    }
    spin_unlock(&lock);
    body_ring_unref(ring);
}

static bool map_at(struct user_thread *user, const struct body_ring *ring, int place)
{
    uint64_t address = STUB_RINGS_BASE + (uint64_t)place * RING_STRIDE;
    if (sandbox_send_fds(user->client->socket, ZYGOTE_SPAWN, &ring->fd, 1))
        return false;
    command_at(user, 0, STUB_RECEIVE_FDS);
    const uint64_t map[6] = {address, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, 0, 0};
    memcpy(command_at(user, 1, STUB_MAP_FD)->arguments, map, sizeof map);
    const uint64_t advise[4] = {SYS_madvise, address, RING_SIZE, MADV_DONTFORK};
    memcpy(command_at(user, 2, STUB_HOST_CALL)->arguments, advise, sizeof advise);
    command_at(user, 3, STUB_CLOSE_FDS);
    return commands_run(user, 4) == 0 && (uint64_t)command_result(user, 1) == address && command_result(user, 2) == 0;
}

static bool map(struct user_thread *user, struct body_ring *ring)
{
    struct body_ring *old = NULL;
    if (place_of(user->client, ring) >= 0)
        return true;
    int place = place_take(user->client, ring, &old);
    body_ring_unref(old);
    if (place < 0)
        return false;
    mutex_lock(&user->client->passing);
    bool mapped = map_at(user, ring, place);
    mutex_unlock(&user->client->passing);
    place_done(user->client, place, mapped);
    return mapped;
}

bool body_ring_map(struct body_ring *ring)
{
    struct user_thread *user = thread_current()->user;
    struct aspace *aspace = thread_current()->task->aspace;
    if (place_of(user->client, ring) >= 0)
        return true;
    if (!descriptor_hold(ring))
        return false;
    mutex_lock(&aspace->mutex); /* its batches send descriptors too */
    bool mapped = map(user, ring);
    mutex_unlock(&aspace->mutex);
    descriptor_drop(ring);
    return mapped;
}

void rings_free_client(struct client *client)
{
    for (uint32_t i = 0; i < RING_PLACES; i++)
        body_ring_unref(client->places[i].ring);
}

/* --- lending ----------------------------------------------------------------------------------------- */

bool body_ring_possible(void)
{
    const struct user_thread *user = thread_current()->user;
    return user && !user->trapped && !user->client->attached;
}

static bool knows_locked(const struct body_ring *ring, const struct user_thread *user)
{
    for (uint32_t i = 0; i < ring->lent_count; i++)
        if (ring->lent[i] == user)
            return true;
    return false;
}

static void entry_write(struct user_thread *user, uint32_t i, uint64_t entry)
{
    user->ring_entries[i] = entry;
    __atomic_store_n(&user->slot->rings[i], entry, __ATOMIC_SEQ_CST);
}

static bool lend_locked(struct body_ring *ring, struct user_thread *user, uint64_t entry)
{
    uint32_t at = user->ring_next % RING_ENTRIES;
    bool known = knows_locked(ring, user);
    if (ring->recalled || (!known && ring->lent_count == LENT_MAX))
        return false;
    for (uint32_t i = 0; i < RING_ENTRIES; i++) {
        if (user->ring_entries[i] == entry)
            return false;
        /* One that has the same descriptor is of another time, when it meant something else. */
        if (((user->ring_entries[i] ^ entry) & RING_ENTRY_KEY) == 0 || !user->ring_entries[i])
            at = i;
    }
    if (!known) {
        ring->lent[ring->lent_count++] = user;
        user->rings_lent++;
    }
    user->ring_next = at + 1;
    entry_write(user, at, entry);
    return true;
}

bool body_ring_lend(struct body_ring *ring, int fd, bool writes)
{
    struct user_thread *user = thread_current()->user;
    if (user->trapped || thread_interrupted(user->thread))
        return false;
    spin_lock(&lock);
    int place = place_of_locked(user->client, ring);
    uint64_t entry = (uint64_t)((uint32_t)fd + 1) | (writes ? RING_ENTRY_WRITES : 0) | (uint64_t)place << RING_ENTRY_PLACE_SHIFT;
    bool lent = place >= 0 && fd >= 0 && lend_locked(ring, user, entry);
    spin_unlock(&lock);
    return lent;
}

void rings_begin(struct user_thread *user)
{
    for (uint32_t i = 0; i < RING_ENTRIES; i++)
        entry_write(user, i, 0);
    user->slot->repeat = 0;
}

static void forget_locked(struct body_ring *ring, const struct user_thread *user)
{
    for (uint32_t i = 0; i < ring->lent_count; i++)
        if (ring->lent[i] == user)
            ring->lent[i--] = ring->lent[--ring->lent_count];
}

void rings_leave(struct user_thread *user)
{
    spin_lock(&lock);
    for (uint32_t i = 0; i < RINGS_MAX && user->rings_lent; i++)
        if (alive[i])
            forget_locked(alive[i], user);
    user->rings_lent = 0;
    spin_unlock(&lock);
}

/* --- recall ------------------------------------------------------------------------------------------ */

/* The thread's entries for that place go: true when its stub may be asleep in it. The order: see stub/ring.c. */
static bool entries_take_locked(struct user_thread *user, int place)
{
    for (uint32_t i = 0; i < RING_ENTRIES; i++)
        if (user->ring_entries[i] && (int)(user->ring_entries[i] >> RING_ENTRY_PLACE_SHIFT) == place)
            entry_write(user, i, 0);
    return __atomic_load_n(&user->slot->asleep, __ATOMIC_SEQ_CST);
}

/* From everybody. Who may be asleep in it is in sleepers, referenced; how many. */
static uint32_t take_back(struct body_ring *ring, struct thread *sleepers[LENT_MAX])
{
    uint32_t count = 0;
    spin_lock(&lock);
    for (uint32_t i = 0; i < ring->lent_count; i++) {
        struct user_thread *user = ring->lent[i];
        user->rings_lent--;
        if (entries_take_locked(user, place_of_locked(user->client, ring)))
            sleepers[count++] = object_ref(user->thread);
    }
    ring->lent_count = 0;
    ring->recalled = true;
    for (uint32_t i = 0; i < RINGS_MAX; i++)
        if (alive[i] == ring)
            alive[i] = NULL;
    spin_unlock(&lock);
    return count;
}

static void wake(uint64_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0); }

uint32_t body_ring_recall(struct body_ring *ring)
{
    struct thread *sleepers[LENT_MAX];
    uint32_t count = take_back(ring, sleepers);
    uint64_t head = __atomic_fetch_or(&ring->header->head, RING_REVOKED, __ATOMIC_SEQ_CST);
    uint64_t tail = __atomic_fetch_or(&ring->header->tail, RING_REVOKED, __ATOMIC_SEQ_CST);
    wake(&ring->header->head);
    wake(&ring->header->tail);
    for (uint32_t i = 0; i < count; i++) {
        if (sleepers[i] != thread_current())
            body_user_kick(sleepers[i]); /* a partner could have put the words back before it looked */
        object_unref(sleepers[i]);
    }
    munmap(ring->header, RING_DATA_OFFSET);
    ring->header = NULL;
    ring->start = tail / RING_STEP;
    uint64_t size = head / RING_STEP - tail / RING_STEP;
    return size <= RING_BYTES ? (uint32_t)size : 0;
}

void body_ring_read(struct body_ring *ring, uint32_t offset, void *to, uint32_t size)
{
    uint64_t at = (ring->start + offset) % RING_BYTES, first = min_u64(RING_BYTES - at, size);
    bool whole = pread(ring->fd, to, first, (off_t)(RING_DATA_OFFSET + at)) == (ssize_t)first &&
                 pread(ring->fd, (char *)to + first, size - first, RING_DATA_OFFSET) == (ssize_t)(size - first);
    if (!whole)
        memset(to, 0, size);
}
