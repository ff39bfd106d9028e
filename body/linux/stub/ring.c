/*
 * Pipes in shared rings: the stubs of a pipe's reader and writer move its bytes themselves, in memory that both map, and wake
 * each other by the host's futex. Which descriptors of a thread have a ring, and where, is in its slot (slot->rings); the server
 * takes a ring back at any time, without asking anybody, and the call is then made in the kernel as if nothing had happened.
 *
 * All that a call does becomes true in one step, by a compare-and-swap on head (a write) or tail (a read) that fails once
 * RING_REVOKED stands there. So a call is done in the ring wholly, or not at all. Bytes in [tail, head) are never written, and
 * writers are alone (ring->writing); who meets another writer at work, or a page that is not there, goes to the kernel.
 *
 * A sleeper is not missed:
 *      sleeper                                 partner                     server (rings.c: recall)
 *   1. slot->asleep; readers_asleep++       1. moves head               1. takes the entry away
 *   2. looks for its entry                  2. reads readers_asleep     2. reads slot->asleep: interrupts it
 *   3. sleeps unless head has moved            and wakes
 * Each first step is a locked instruction. Against the partner: it reads the count of 1, or the host sees the moved head at 3.
 * Against the server, whatever partners do to the ring: it reads the mark of 1, or the entry is gone at 2.
 *
 * The memory under a place may become another ring's when nobody is in it (header->ring_users): the count goes up before the
 * entry is looked at for the last time, and the server looks at the count after it took the entries away.
 */
#include "body/linux/stub/stub.h"

#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define SYS_FUTEX 202
#define EVERYBODY 0x7fffffff
#define SPIN_CYCLES 120000u /* about 50 us: what waking a thread on another, idle CPU takes */
#define LUCK_MAX 8u
#define LUCK_PROBE 16u
#define TRIES 64 /* how often others may get in between before the kernel is asked */

static struct call_pages_header *const header = (void *)CALL_PAGES_BASE;

struct visit {
    struct stub_thread *self;
    struct ring_header *ring;
    const uint64_t *place_of_entry;
    uint64_t entry;
    char *buffer;
    uint64_t size;
};

static uint64_t load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static int is_mine(const struct visit *visit) { return load(visit->place_of_entry) == visit->entry; }
static char *data_of(struct ring_header *ring) { return (char *)ring + RING_DATA_OFFSET; }

static int publish(uint64_t *word, uint64_t old, uint64_t bytes)
{
    return __atomic_compare_exchange_n(word, &old, old + bytes * RING_STEP, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void wake(uint64_t *word, const uint32_t *asleep)
{
    if (__atomic_load_n(asleep, __ATOMIC_SEQ_CST))
        host_call6(SYS_FUTEX, (long)word, FUTEX_WAKE, EVERYBODY, 0, 0, 0);
}

int stub_spin(struct stub_thread *self, struct spin_luck *luck, uint64_t address, uint32_t value)
{
    if (luck->luck == 0 && ++luck->denied < LUCK_PROBE)
        return 0;
    luck->denied = 0;
    for (uint64_t begin = __builtin_ia32_rdtsc(); __builtin_ia32_rdtsc() - begin < SPIN_CYCLES && !self->pending;) {
        for (int turn = 0; turn < 16; turn++) {
            if (futex_word_differs(address, value)) {
                luck->luck = luck->luck < LUCK_MAX ? luck->luck + 1 : LUCK_MAX;
                return 1;
            }
            __builtin_ia32_pause();
        }
    }
    luck->luck = luck->luck > 2 ? luck->luck - 2 : 0;
    return 0;
}

/*
 * A partner that runs on another CPU may answer sooner than this thread could be woken: so it is waited for, by threads that
 * have been lucky with that. The host compares the lower half of the word as well.
 */
static int spin_on(struct stub_thread *self, const uint64_t *word, uint64_t value, uint32_t partner_cpu)
{
    if (partner_cpu == 0 || partner_cpu == current_cpu_hint() + 1)
        return 0;
    return stub_spin(self, &self->ring_luck, (uint64_t)word, (uint32_t)value);
}

/* Until the word has moved on from what it was. 0, or the kernel is to be asked. */
static int sleep_on(const struct visit *visit, uint64_t *word, uint64_t value, uint32_t *asleep, uint32_t partner_cpu)
{
    struct stub_thread *self = visit->self;
    long result = -4;
    if (spin_on(self, word, value, partner_cpu))
        return 0;
    __atomic_store_n(&self->slot->asleep, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&header->asleep, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(asleep, 1, __ATOMIC_SEQ_CST);
    if (is_mine(visit))
        result = stub_futex_wait(word, FUTEX_WAIT, (uint32_t)value, 0, self, 0);
    __atomic_fetch_sub(asleep, 1, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&header->asleep, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&self->slot->asleep, 0, __ATOMIC_RELAXED);
    if (result == 0 || result == -11)
        return 0;
    self->pending = 0; /* the kernel is entered now: it sees what an interrupt was for */
    return -1;
}

/* Between the ring, from a position on, and the program: 0 or -EFAULT. */
static long copy(const struct visit *visit, uint64_t position, uint64_t size, int to_ring)
{
    uint64_t at = position / RING_STEP % RING_BYTES, first = RING_BYTES - at < size ? RING_BYTES - at : size;
    char *data = data_of(visit->ring);
    if (to_ring)
        return stub_copy(data + at, visit->buffer, first) || stub_copy(data, visit->buffer + first, size - first);
    return stub_copy(visit->buffer, data + at, first) || stub_copy(visit->buffer + first, data, size - first);
}

static void note_cpu(uint32_t *place)
{
    uint32_t cpu = current_cpu_hint() + 1;
    if (*place != cpu)
        *place = cpu;
}

/* Bytes, or -1: the kernel is to be asked. */
static long read_ring(const struct visit *visit)
{
    struct ring_header *ring = visit->ring;
    for (int tries = 0; tries < TRIES; tries++) {
        uint64_t tail = load(&ring->tail), head = load(&ring->head), there = (head - tail) / RING_STEP;
        if (((head | tail) & RING_REVOKED) || !is_mine(visit))
            return -1;
        if (there == 0) {
            tries = 0;
            if (sleep_on(visit, &ring->head, head, &ring->readers_asleep, ring->writer_cpu))
                return -1;
            continue;
        }
        uint64_t size = there < visit->size ? there : visit->size;
        if (there > RING_BYTES) /* others were quicker since tail was read, or it is garbage */
            continue;
        if (copy(visit, tail, size, 0))
            return -1;
        if (!publish(&ring->tail, tail, size))
            continue;
        note_cpu(&ring->reader_cpu);
        if ((load(&ring->head) - tail) / RING_STEP - size <= RING_BYTES - RING_ATOMIC)
            wake(&ring->tail, &ring->writers_asleep);
        return (long)size;
    }
    return -1;
}

static int begin_writing(struct ring_header *ring)
{
    for (int tries = 0; tries < TRIES; tries++) {
        uint32_t none = 0;
        if (__atomic_compare_exchange_n(&ring->writing, &none, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return 1;
        __builtin_ia32_pause();
    }
    return 0;
}

/* Alone: bytes, 0 (no room; *seen is where the tail was then), or -1. */
static long write_alone(const struct visit *visit, uint64_t *seen)
{
    struct ring_header *ring = visit->ring;
    uint64_t tail = load(&ring->tail), head = load(&ring->head), there = (head - tail) / RING_STEP;
    *seen = tail;
    if (((head | tail) & RING_REVOKED) || there > RING_BYTES || !is_mine(visit))
        return -1;
    if (RING_BYTES - there < visit->size)
        return 0;
    if (copy(visit, head, visit->size, 1) || !publish(&ring->head, head, visit->size))
        return -1;
    return (long)visit->size;
}

static long write_ring(const struct visit *visit)
{
    struct ring_header *ring = visit->ring;
    for (;;) {
        uint64_t tail = 0;
        if (!begin_writing(ring))
            return -1;
        long written = write_alone(visit, &tail);
        __atomic_store_n(&ring->writing, 0, __ATOMIC_SEQ_CST);
        if (written > 0)
            note_cpu(&ring->writer_cpu);
        if (written > 0)
            wake(&ring->head, &ring->readers_asleep);
        if (written)
            return written;
        if (visit->size > RING_ATOMIC || sleep_on(visit, &ring->tail, tail, &ring->writers_asleep, ring->reader_cpu))
            return -1;
    }
}

static long enter(struct visit *visit, int writes)
{
    uint32_t place = (uint32_t)(visit->entry >> RING_ENTRY_PLACE_SHIFT) % RING_PLACES, *users = &header->ring_users[place];
    long result = -1;
    visit->ring = (void *)(STUB_RINGS_BASE + place * RING_STRIDE);
    __atomic_fetch_add(users, 1, __ATOMIC_SEQ_CST);
    if (is_mine(visit))
        result = writes ? write_ring(visit) : read_ring(visit);
    __atomic_fetch_sub(users, 1, __ATOMIC_SEQ_CST);
    return result;
}

int ring_call(struct stub_thread *self, struct call_slot *slot)
{
    int writes = slot->rax == 1;
    uint32_t fd = (uint32_t)slot->rdi + 1;
    uint64_t key = fd | (writes ? RING_ENTRY_WRITES : 0);
    struct visit visit = {.self = self, .buffer = (char *)slot->rsi, .size = slot->rdx};
    if (fd == 0 || visit.size == 0 || (writes && visit.size > RING_BYTES))
        return 0;
    for (uint32_t i = 0; i < RING_ENTRIES; i++) {
        visit.entry = load(&slot->rings[i]);
        visit.place_of_entry = &slot->rings[i];
        if ((visit.entry & RING_ENTRY_KEY) != key)
            continue;
        long result = enter(&visit, writes);
        if (result > 0)
            slot->rax = (uint64_t)result;
        return result > 0;
    }
    return 0;
}
