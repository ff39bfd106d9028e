/*
 * The protocol core of a call slot: how a client's post becomes one entry of one kernel thread, how its answer comes back, and how a call is
 * given up. Both sides of the Linux body use it (post.c, attach_life.c; lib/src/post.c), and so does the simulator
 * (handshake_test.c), which proves over schedules that no answer and no interruption reaches another call.
 *
 * Words: `state` stands in the page and says where the post is (call_page.h); `mode` is the server's own and says who may touch the slot:
 *
 *      USER ----------> KERNEL     a post was claimed, or the host process was lost
 *      KERNEL --------> ANSWERING  the answer is about to be published; the old post still stands in the slot
 *      ANSWERING -----> USER       it is published: a post found from now on is a new one
 *      ANSWERING -----> COMMAND    the same; the microthread waits for commands to be carried out
 *      COMMAND -------> KERNEL     they were
 *
 * and above MODE_BITS how often it has been answered, so that a post that was seen belongs to the very stay in user mode in which it is
 * claimed, however long the claimer was held up in between.
 *
 * Giving up a call (attached clients): the client writes the call's sequence number to `cancel` and rings. Whoever serves the doorbell claims
 * the post first, if it was not, then serves the cancellation, and writes `cancel_seen` last. A call that begins clears old marks and then
 * looks at `cancel` itself. The client posts nothing in the slot before it has seen both the answer and cancel_seen. So
 *      1. a mark that is set before the call is answered ends that call's wait, or is cleared by the next call's beginning;
 *      2. no mark is set after cancel_seen, and the next post comes after that: no mark can meet another call.
 */
#ifndef BODY_LINUX_HANDSHAKE_H
#define BODY_LINUX_HANDSHAKE_H

#include "body/linux/call_page.h"
#include "kernel/atomic.h"

enum user_mode {
    MODE_KERNEL,
    MODE_USER,
    MODE_COMMAND,
    MODE_ANSWERING, /* on the way to USER or COMMAND: what stands in the slot is still the old post */
};

#define MODE_BITS 2
static inline enum user_mode mode_of(uint32_t word) { return (enum user_mode)(word & ((1u << MODE_BITS) - 1)); }
static inline uint32_t mode_with(uint32_t word, enum user_mode mode) { return (word & ~((1u << MODE_BITS) - 1)) | (uint32_t)mode; }

static inline bool state_is_posted(uint32_t state) { return state == SLOT_POSTED || state == SLOT_POSTED_SLEEPING; }

/* --- the server: posts and answers --------------------------------------------------------------------- */

/* Moves `word`, as it was read, to KERNEL. True: the entry, or the command, is the caller's to serve. */
static inline bool handshake_claim(struct atomic32 *mode, uint32_t word)
{
    return atomic32_cas(mode, &word, mode_with(word, MODE_KERNEL));
}

/* Whether something may be claimed: the mode, read before the post, in *word. */
static inline bool handshake_look(const struct atomic32 *mode, const struct atomic32 *state, uint32_t *word)
{
    *word = atomic32_load(mode);
    if (mode_of(*word) != MODE_USER && mode_of(*word) != MODE_COMMAND)
        return false;
    return state_is_posted(atomic32_load_acquire(state));
}

/* KERNEL to ANSWERING and back: only by the thread itself. */
static inline void handshake_begin_answer(struct atomic32 *mode)
{
    atomic32_store(mode, mode_with(atomic32_load_relaxed(mode) + (1u << MODE_BITS), MODE_ANSWERING));
}
static inline void handshake_stay(struct atomic32 *mode) { atomic32_store(mode, mode_with(atomic32_load_relaxed(mode), MODE_KERNEL)); }

/*
 * The answer is visible, then the mode moves on. In that order: as long as the old post stands in the slot nobody may claim it again. What
 * is posted in between, and could not be claimed by who noticed it, the answerer looks for afterwards. The state before it.
 */
static inline uint32_t handshake_publish(struct atomic32 *state, uint32_t answer) { return atomic32_swap(state, answer); }
static inline void handshake_move_on(struct atomic32 *mode, enum user_mode next)
{
    atomic32_store(mode, mode_with(atomic32_load_relaxed(mode), next));
}

/* --- giving up ------------------------------------------------------------------------------------------ */

struct cancel_words {
    struct atomic64 *sequence, *cancel; /* the client's */
    struct atomic64 *seen;              /* the server's */
};

/* The client, before it rings. */
static inline void cancel_ask(const struct cancel_words *words) { atomic64_store(words->cancel, atomic64_load_relaxed(words->sequence)); }

/* The client: the call in the slot is over, and nothing that was asked for can have an effect any more. */
static inline bool cancel_is_over(const struct cancel_words *words, const struct atomic32 *state)
{
    uint32_t now = atomic32_load_acquire(state);
    if (state_is_posted(now) || now == SLOT_COMMAND)
        return false;
    uint64_t sequence = atomic64_load_relaxed(words->sequence);
    return atomic64_load_relaxed(words->cancel) != sequence || atomic64_load_acquire(words->seen) == sequence;
}

/*
 * The server, when the doorbell has rung and the post was claimed; one at a time for a slot, or one that was held up would strike, or take
 * cancel_seen back, when the slot has another call already. Strikes the thread if that very call is in the kernel. mode: NULL for no thread.
 */
static inline void cancel_serve(const struct cancel_words *words, const struct atomic32 *mode, void (*strike)(void *context), void *context)
{
    uint64_t wanted = atomic64_load(words->cancel);
    if (wanted == atomic64_load_relaxed(words->seen))
        return;
    if (mode && mode_of(atomic32_load(mode)) != MODE_USER && wanted == atomic64_load_relaxed(words->sequence))
        strike(context);
    atomic64_store(words->seen, wanted);
}

/* The server, when a call begins and old marks are cleared. */
static inline bool cancel_given_up(const struct cancel_words *words)
{
    return atomic64_load(words->cancel) == atomic64_load_relaxed(words->sequence);
}

#endif
