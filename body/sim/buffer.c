/*
 * Store buffers: what makes the simulated memory weaker than the host's.
 *
 * Each strand has a few stores in flight that only it sees. On a TSO machine they become visible in
 * order; on a weak one in any order that keeps stores to one word in order and every store before a later
 * release store. A read-modify-write, a sequentially consistent store and a fence wait until all are
 * visible. On an SC machine there is no buffer.
 *
 * Not simulated: loads are never early, and plain stores are never late. So a test that looks for a missing barrier
 * keeps its data in atomic words, accessed relaxed. Stores to the stack the strand runs on are never late
 * either: such a word may be gone, and its place reused by plain stores, before its store is visible.
 */
#include "body/sim/engine.h"
#include "kernel/assert.h"
#include "kernel/atomic.h"

static uint64_t read_word(const void *word, uint32_t size)
{
    return size == 4 ? *(const uint32_t *)word : *(const uint64_t *)word;
}

static void write_word(void *word, uint32_t size, uint64_t value)
{
    if (size == 4)
        *(uint32_t *)word = (uint32_t)value;
    else
        *(uint64_t *)word = value;
}

/* --- draining ---------------------------------------------------------------------------------------- */

static void drain_at(struct sim_strand *strand, uint32_t index)
{
    struct sim_store *store = &strand->stores[index];
    write_word(store->address, store->size, store->value);
    strand->store_count--;
    for (uint32_t i = index; i < strand->store_count; i++)
        strand->stores[i] = strand->stores[i + 1];
}

void sim_buffer_drain(struct sim_strand *strand)
{
    while (strand->store_count > 0)
        drain_at(strand, 0);
}

static bool may_drain(const struct sim_strand *strand, uint32_t index)
{
    if (index == 0)
        return true;
    if (sim.memory == SIM_MEMORY_TSO || strand->stores[index].release)
        return false;
    for (uint32_t i = 0; i < index; i++)
        if (strand->stores[i].address == strand->stores[index].address)
            return false;
    return true;
}

void sim_buffer_drain_some(struct sim_strand *strand)
{
    if (strand->store_count == 0)
        return;
    uint32_t index = sim_random(strand->store_count);
    drain_at(strand, may_drain(strand, index) ? index : 0);
}

static bool covers(const void *block, size_t size, const void *address)
{
    return (uintptr_t)address - (uintptr_t)block < size;
}

void sim_buffer_forget(void *block, size_t size)
{
    if (!sim.running)
        return;
    sim_buffer_drain(sim.current); /* an allocator's own lock does that */
    for (uint32_t s = 0; s < SIM_STRANDS; s++)
        for (uint32_t i = 0; i < sim.strands[s].store_count; i++)
            if (covers(block, size, sim.strands[s].stores[i].address))
                sim_fail("memory freed while CPU %u has a store to it in flight, %zu bytes into it", s,
                         (size_t)((char *)sim.strands[s].stores[i].address - (char *)block));
}

/* --- accesses ---------------------------------------------------------------------------------------- */

static struct sim_store *newest_store(struct sim_strand *strand, const void *word)
{
    for (uint32_t i = strand->store_count; i-- > 0;)
        if (strand->stores[i].address == word)
            return &strand->stores[i];
    return NULL;
}

uint64_t sim_load_now(const void *word, uint32_t size)
{
    struct sim_store *store = sim.running ? newest_store(sim.current, word) : NULL;
    return store ? store->value : read_word(word, size);
}

uint64_t sim_atomic_load(const void *word, uint32_t size)
{
    sim_point();
    return sim_load_now(word, size);
}

static void buffer_store(struct sim_strand *strand, void *word, uint32_t size, uint64_t value, bool release)
{
    if (strand->store_count == SIM_BUFFER_MAX)
        sim_buffer_drain_some(strand);
    strand->stores[strand->store_count++] =
        (struct sim_store){.address = word, .size = size, .value = value, .release = release};
}

static bool stores_at_once(const struct sim_strand *strand, const void *word)
{
    return sim.memory == SIM_MEMORY_SC || covers(strand->stack_low, strand->stack_size, word);
}

void sim_store_now(void *word, uint32_t size, uint64_t value, enum sim_order order)
{
    struct sim_strand *strand = sim.current;
    bool at_once = !sim.running || stores_at_once(strand, word);
    if (sim.running && (order == SIM_FULL || (at_once && newest_store(strand, word))))
        sim_buffer_drain(strand);
    if (at_once || order == SIM_FULL)
        write_word(word, size, value);
    else
        buffer_store(strand, word, size, value, order == SIM_RELEASE);
}

void sim_atomic_store(void *word, uint32_t size, uint64_t value, enum sim_order order)
{
    sim_point();
    sim_store_now(word, size, value, order);
}

static void before_rmw(const void *word, bool relaxed)
{
    if (sim.running && !(relaxed && sim.memory == SIM_MEMORY_WEAK && !newest_store(sim.current, word)))
        sim_buffer_drain(sim.current);
}

static uint64_t apply(enum sim_rmw operation, uint64_t old, uint64_t value)
{
    switch (operation) {
    case SIM_SWAP:
        return value;
    case SIM_ADD:
    case SIM_ADD_RELAXED:
        return old + value;
    case SIM_SUB:
        return old - value;
    case SIM_OR:
        return old | value;
    case SIM_AND:
        return old & value;
    }
    panic("no such operation");
}

uint64_t sim_rmw_now(void *word, uint32_t size, uint64_t value, enum sim_rmw operation)
{
    before_rmw(word, operation == SIM_ADD_RELAXED);
    uint64_t old = read_word(word, size);
    write_word(word, size, apply(operation, old, value));
    return old;
}

uint64_t sim_atomic_rmw(void *word, uint32_t size, uint64_t value, enum sim_rmw operation)
{
    sim_point();
    return sim_rmw_now(word, size, value, operation);
}

bool sim_cas_now(void *word, uint32_t size, uint64_t *expected, uint64_t desired)
{
    before_rmw(word, false);
    uint64_t old = read_word(word, size);
    bool same = old == *expected;
    if (same)
        write_word(word, size, desired);
    *expected = old;
    return same;
}

bool sim_atomic_cas(void *word, uint32_t size, uint64_t *expected, uint64_t desired)
{
    sim_point();
    return sim_cas_now(word, size, expected, desired);
}

void atomic_fence(void)
{
    sim_point();
    if (sim.running)
        sim_buffer_drain(sim.current);
}
