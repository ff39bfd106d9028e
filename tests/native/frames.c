/*
 * The protocol core of interrupted calls (lib/core/frames.c) over many schedules, with a server that is a few lines: a handler may run
 * before any access to a frame's words, make calls itself, be interrupted again, and leave by siglongjmp to any place further out. Checked:
 * no two live calls share a slot, every call gets its own answer, and what was left behind is found.
 *
 *     native_frames [SEED [SCHEDULES]]
 */
#include "kernel/atomic.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

static void step(void);

/* The core's accesses, each with a chance for a handler before it. */
#define STEPPED(type, call) \
    ({ \
        step(); \
        type result_ = call; \
        result_; \
    })
#define atomic64_load(word) STEPPED(uint64_t, (atomic64_load)(word))
#define atomic64_cas(word, expected, desired) STEPPED(bool, (atomic64_cas)(word, expected, desired))
#define atomic64_add(word, value) STEPPED(uint64_t, (atomic64_add)(word, value))
#include "lib/core/frames.c"

#define DEPTH_MAX 5u

static struct frames frames;
static struct {
    uint64_t posted, answer; /* a call's number; 0: none */
    uint64_t life;           /* of the frame that posted */
} slots[FRAMES_MAX];
static sigjmp_buf places[DEPTH_MAX + 1];
static uint32_t depth, steps;
static uint64_t random_state, last_call, calls, jumps, settled, lost;
static uint64_t seed;

static uint32_t draw(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % bound;
}

static void check(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, what);
    exit(1);
}

/* The call falls silent: the server answers, now or later. */
static void settle(struct frames *all, uint32_t index, uint64_t life)
{
    while (frames_own(all, index, life) && slots[index].life == life && slots[index].posted && !slots[index].answer)
        step();
    if (frames_own(all, index, life) && slots[index].life == life) {
        slots[index].posted = slots[index].answer = 0;
        settled++;
    }
}

static void no_alternate(uint64_t *low, uint64_t *high) { *low = *high = 0; }

static const struct frames_hooks hooks = {.settle = settle, .alternate = no_alternate};

static NOINLINE void call(void)
{
    uint64_t life, id = ++last_call, where = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    int frame = frames_take(&frames, where, &hooks, &life);
    if (frame < 0)
        return; /* too deep: said, not waited for */
    check(!slots[frame].posted, "a slot is taken while the server still works in it");
    slots[frame].life = life;
    slots[frame].posted = id;
    step();
    while (frames_own(&frames, (uint32_t)frame, life) && !slots[frame].answer)
        step();
    if (!frames_own(&frames, (uint32_t)frame, life)) {
        lost++;
        check(false, "a call that was alive was taken for left behind");
    }
    check(slots[frame].answer == id, "an answer reached another call");
    slots[frame].posted = slots[frame].answer = 0;
    frames_give(&frames, (uint32_t)frame, where);
    calls++;
}

static void serve_one(void)
{
    uint32_t index = draw(FRAMES_MAX);
    if (slots[index].posted && !slots[index].answer)
        slots[index].answer = slots[index].posted;
}

static NOINLINE void handler(void)
{
    depth++;
    uint32_t mine = depth;
    if (sigsetjmp(places[mine], 0) == 0) {
        for (uint32_t i = draw(3); i > 0; i--)
            call();
        if (draw(4) == 0) {
            jumps++;
            siglongjmp(places[draw(mine)], 1);
        }
    }
    depth = mine; /* also after a jump to here */
    call();
    depth = mine - 1;
}

static void step(void)
{
    serve_one();
    if (depth < DEPTH_MAX && ++steps % 4096 && draw(24) == 0)
        handler();
}

static void schedule(void)
{
    frames = (struct frames){0};
    for (uint32_t i = 0; i < FRAMES_MAX; i++)
        slots[i].posted = slots[i].answer = slots[i].life = 0;
    volatile int turns = 0;
    sigsetjmp(places[0], 0);
    depth = 0;
    while (turns++ < 12)
        call();
    depth = DEPTH_MAX; /* no more handlers: what is left behind must be found by one more call from here */
    call();
    for (uint32_t i = 0; i < FRAMES_MAX; i++)
        check(!(atomic64_load)(&frames.frame[i].word), "a frame stays taken");
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, count = argc > 2 ? strtoull(argv[2], NULL, 0) : 20000;
    for (seed = first; seed < first + count; seed++) {
        random_state = seed * 2654435761u + 88172645463325252ull;
        schedule();
    }
    printf("%llu calls, %llu jumps, %llu calls settled\n", (unsigned long long)calls, (unsigned long long)jumps, (unsigned long long)settled);
    check(jumps > count / 100 && settled > count / 100, "hardly anything was left behind");
    return 0;
}
