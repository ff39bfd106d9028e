/*
 * Robust lists: what a thread held when it ended.
 *
 * The list is in user memory and may say anything. Every pointer is read once, by a copy that reports
 * faults; a fault ends the walk; a list that loops ends at FUTEX_ROBUST_MAX; words that another thread
 * keeps changing are given up after a number of tries. The dying thread may already be killed, so nothing
 * here waits for anything but the copies themselves.
 */
#include "kernel/futex_internal.h"

#define WORD_TRIES_MAX 64u

/* The head, as the program laid it out. */
struct robust_head {
    uint64_t first;
    int64_t word_offset;
    uint64_t pending; /* being locked or unlocked: may or may not be in the list */
};

/* A pointer whose lowest bit says that the lock is a PI lock. */
struct robust_entry {
    uaddr_t address;
    bool pi;
};

static struct robust_entry decode_entry(uint64_t raw)
{
    return (struct robust_entry){.address = raw & ~(uint64_t)1, .pi = raw & 1};
}

static bool read_user(void *to, uaddr_t from, size_t size) { return body_copy_in(futex_aspace(), to, from, size) == size; }

/* Replaces the owner by the mark of its death. *value is what was there; false when the word cannot be changed. */
static bool mark_dead(uaddr_t address, uint32_t id, uint32_t *value)
{
    for (uint32_t turn = 0; turn < WORD_TRIES_MAX; turn++) {
        uint32_t previous, dead = (*value & FUTEX_WORD_WAITERS) | FUTEX_WORD_OWNER_DIED;
        if ((*value & FUTEX_WORD_OWNER) != id)
            return true;
        if (body_cas32(address, *value, dead, &previous))
            return false;
        if (previous == *value)
            return true;
        *value = previous;
    }
    return false;
}

/* False: the walk ends. */
static bool release_word(uaddr_t address, uint32_t id, bool pi, bool pending)
{
    struct futex_word word = {.address = address, .shared = true};
    uint32_t value;

    if ((address & 3) || !read_user(&value, address, sizeof(value)))
        return false;
    /* Died between unlocking in user space and waking: the wake is made up for. */
    if (pending && !pi && !value) {
        futex_wake(word, 1, FUTEX_BITSET_ALL);
        return true;
    }
    if ((value & FUTEX_WORD_OWNER) != id)
        return true;
    if (!mark_dead(address, id, &value))
        return false;
    /* PI waiters are served by futex_owner_exit. */
    if (!pi && (value & FUTEX_WORD_OWNER) == id && (value & FUTEX_WORD_WAITERS))
        futex_wake(word, 1, FUTEX_BITSET_ALL);
    return true;
}

void futex_robust_exit(uaddr_t head_address, uint32_t id)
{
    struct robust_entry entry, pending;
    struct robust_head head;
    uint32_t left = FUTEX_ROBUST_MAX;
    bool good = true;

    if (!head_address || !read_user(&head, head_address, sizeof(head)))
        return;
    pending = decode_entry(head.pending);
    entry = decode_entry(head.first);
    while (good && entry.address != head_address && left--) {
        uint64_t next;
        /* Before the lock is released: another thread may free it then. */
        good = read_user(&next, entry.address, sizeof(next));
        if (entry.address != pending.address && !release_word(entry.address + head.word_offset, id, entry.pi, false))
            return;
        if (good)
            entry = decode_entry(next);
    }
    if (good && pending.address)
        release_word(pending.address + head.word_offset, id, pending.pi, true);
}
