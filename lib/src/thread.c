/*
 * Threads and their slots. A thread registers by nothing but its first post in a slot of its own; slots are taken from a bitmap
 * in this process's own memory. When a thread ends, it says so in each of its slots, and the server frees them: a slot whose
 * state word is not back at FREE is nobody's yet.
 */
#include "lib/src/attached.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static __thread struct thread_state state __attribute__((tls_model("initial-exec")));
static _Atomic uint64_t used[CLIENT_THREADS_MAX / 64];
static pthread_key_t end_key;
static pthread_once_t end_once = PTHREAD_ONCE_INIT;

static void slot_give(uint32_t slot) { atomic_fetch_and(&used[slot / 64], ~(1ull << (slot % 64))); }

void slots_reset(void)
{
    for (uint32_t i = 0; i < CLIENT_THREADS_MAX / 64; i++)
        atomic_store(&used[i], 0);
}

static void leave(uint32_t slot)
{
    struct call_slot *call = &attachment.slots[slot];
    call->rax = HYLA_CALL_THREAD_LEAVE;
    call->window_size = 0;
    slot_post(slot, SLOT_KIND_CALL, true);
}

static void thread_ends(void *argument)
{
    struct thread_state *self = argument;
    if (attachment.open && self->epoch == attachment.epoch) {
        for (uint32_t frame = 0; frame < FRAMES_MAX; frame++) {
            if (!self->slots[frame] || atomic64_load(&self->frames.frame[frame].word))
                continue; /* a call that pthread_exit left: the server finds out that the thread is gone */
            leave(self->slots[frame]);
            slot_give(self->slots[frame]);
        }
    }
    memset(self, 0, sizeof *self);
}

static void make_key(void) { pthread_key_create(&end_key, thread_ends); }

struct thread_state *thread_state_of_handler(void) { return state.epoch == attachment.epoch ? &state : NULL; }

struct thread_state *thread_self(void)
{
    struct thread_state *self = &state;
    if (__builtin_expect(self->epoch != attachment.epoch, 0)) {
        bool interruptible = self->interruptible;
        memset(self, 0, sizeof *self);
        self->interruptible = interruptible;
        self->epoch = attachment.epoch;
        pthread_once(&end_once, make_key);
        pthread_setspecific(end_key, self);
    }
    return self;
}

static bool take(uint32_t slot)
{
    uint64_t bit = 1ull << (slot % 64);
    if (atomic_fetch_or(&used[slot / 64], bit) & bit)
        return false;
    if (__atomic_load_n(&attachment.slots[slot].state, __ATOMIC_ACQUIRE) == ATTACH_SLOT_FREE)
        return true;
    slot_give(slot); /* its last thread has left, but the server has not seen it yet */
    return false;
}

uint32_t thread_slot(struct thread_state *self, uint32_t frame)
{
    if (self->slots[frame])
        return self->slots[frame];
    for (uint32_t slot = 1; slot < CLIENT_THREADS_MAX; slot++) {
        if ((atomic_load_explicit(&used[slot / 64], memory_order_relaxed) & 1ull << (slot % 64)) || !take(slot))
            continue;
        attachment.slots[slot].host_tid = 0;
        attach_area(&attachment.slots[slot])->tid = (int32_t)syscall(SYS_gettid);
        attach_area(&attachment.slots[slot])->first = frame ? self->slots[0] : 0;
        attach_area(&attachment.slots[slot])->stop = attach_area(&attachment.slots[slot])->stopped = 0; /* of who had the slot before */
        self->fresh[frame] = true;
        self->slots[frame] = slot;
        return slot;
    }
    return 0;
}

int hyla_set_interruptible(int on)
{
    struct thread_state *self = thread_self();
    int before = self->interruptible;
    self->interruptible = on != 0;
    return before;
}
