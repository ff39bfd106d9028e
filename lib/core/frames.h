/*
 * Whose call is whose, in one thread: the protocol core of interrupted calls.
 *
 * A thread's calls nest: a signal handler that runs in the middle of a call makes calls of its own, and a handler of that
 * one too. Each call has a *frame* for as long as it lasts, and each frame its own slot, so an outer call stays as it is:
 * half filled in, waiting, or answered already with its answer untouched, and goes on when the handler returns. So no
 * answer can reach another call.
 *
 * A handler may also leave by siglongjmp. The frames between are then nobody's. They are found by where they stand: stacks grow
 * down, so a call that begins at or above a frame's address, on the same stack, proves that the frame's function is gone. Such a
 * frame is *settled* (the server gives the call up, or has answered; either way its slot falls silent) and is free again.
 *
 * One word is the whole state of a frame: 0, or where it stands. It moves by compare-and-swap, since a handler may run between
 * any two instructions of frames_take and settle the very frame that is looked at. Only one thread ever touches its frames.
 * `life` counts how often a frame has been taken, so that a call whose frame was settled by mistake (by a program that switches
 * stacks in handlers) finds out, and does not take another's answer.
 */
#ifndef LIB_CORE_FRAMES_H
#define LIB_CORE_FRAMES_H

#include "kernel/atomic.h"

#define FRAMES_MAX 16u

struct frame {
    struct atomic64 word; /* 0: free; else the address of the call's stack frame */
    struct atomic64 life;
};

struct frames {
    struct frame frame[FRAMES_MAX];
};

struct frames_hooks {
    /* Makes a frame's call fall silent: afterwards nothing is written to its slot. Called again for a frame when it is itself interrupted. */
    void (*settle)(struct frames *frames, uint32_t index, uint64_t life);
    /* Where the thread's alternate signal stack is: [*low, *high), or 0 and 0. Asked only when another call is under way. */
    void (*alternate)(uint64_t *low, uint64_t *high);
};

/*
 * A frame for a call at `where`, not 0. Settles the frames that the new one proves to be gone. Its index, with its life; or -1:
 * FRAMES_MAX calls are nested already.
 */
int frames_take(struct frames *frames, uint64_t where, const struct frames_hooks *hooks, uint64_t *life);
/* The call is over: its answer has been taken out. */
void frames_give(struct frames *frames, uint32_t index, uint64_t where);
/* Whether the frame is still this call's. */
bool frames_own(const struct frames *frames, uint32_t index, uint64_t life);

#endif
