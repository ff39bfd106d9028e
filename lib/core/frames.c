/*
 * See frames.h.
 */
#include "lib/core/frames.h"

static bool within(uint64_t word, uint64_t low, uint64_t high) { return word >= low && word < high; }

static bool any_taken(const struct frames *frames)
{
    bool any = false;
    for (uint32_t i = 0; i < FRAMES_MAX; i++)
        any |= atomic64_load_relaxed(&frames->frame[i].word) != 0;
    return any;
}

static void settle_gone(struct frames *frames, uint64_t mine, const struct frames_hooks *hooks)
{
    uint64_t low = 0, high = 0;
    hooks->alternate(&low, &high);
    for (uint32_t i = 0; i < FRAMES_MAX; i++) {
        struct frame *frame = &frames->frame[i];
        uint64_t life = atomic64_load(&frame->life), word = atomic64_load(&frame->word);
        /* A call at `word` cannot be alive while one begins at `mine` on the same stack, unless it lies above. */
        if (!word || word > mine || within(word, low, high) != within(mine, low, high))
            continue;
        hooks->settle(frames, i, life);
        /* A handler may have settled it meanwhile, and even used it: then the life or the word is another. */
        if (atomic64_load(&frame->life) == life)
            atomic64_cas(&frame->word, &word, 0);
    }
}

int frames_take(struct frames *frames, uint64_t where, const struct frames_hooks *hooks, uint64_t *life)
{
    if (UNLIKELY(any_taken(frames)))
        settle_gone(frames, where, hooks);
    for (uint32_t i = 0; i < FRAMES_MAX; i++) {
        uint64_t none = 0;
        if (atomic64_load(&frames->frame[i].word) || !atomic64_cas(&frames->frame[i].word, &none, where))
            continue;
        *life = atomic64_add(&frames->frame[i].life, 1) + 1;
        return (int)i;
    }
    return -1;
}

void frames_give(struct frames *frames, uint32_t index, uint64_t where) { atomic64_cas(&frames->frame[index].word, &where, 0); }

bool frames_own(const struct frames *frames, uint32_t index, uint64_t life)
{
    return atomic64_load(&frames->frame[index].life) == life && atomic64_load(&frames->frame[index].word) != 0;
}
