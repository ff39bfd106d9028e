/*
 * An attached call: a frame, its slot, the post, the wait, the answer.
 *
 * Waiting is adaptive: a few turns while the server says that a CPU is to spare, then sleep on the slot's state word. A sleeper
 * wakes now and then to see whether there is a server still, since nobody else would tell. While it waits, a thread also does for the
 * server what its process is asked for (slot 0).
 */
#include "lib/src/attached.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOK_SECONDS 1 /* how often a sleeper looks whether the server lives */

void slot_ring(uint32_t index)
{
    static const uint64_t one = 1;
    __atomic_fetch_or(&attachment.pages->pending[index / 64], 1ull << (index % 64), __ATOMIC_SEQ_CST);
    if (write(attachment.doorbell, &one, sizeof one) < 0)
        return; /* full: it has been rung often enough */
}

void slot_post(uint32_t index, uint32_t kind, bool ring_always)
{
    struct call_slot *slot = &attachment.slots[index];
    slot->kind = kind | current_cpu_hint() << SLOT_CPU_SHIFT;
    __atomic_store_n(&slot->state, SLOT_POSTED, __ATOMIC_SEQ_CST);
    if (ring_always || !__atomic_load_n(&slot->polled, __ATOMIC_SEQ_CST))
        slot_ring(index);
}

static bool is_settled(uint32_t state) { return !state_is_posted(state); }

/* One sleep. False when there is no server any more. *interrupted: a signal handler may have run. */
static bool sleep_on(struct call_slot *slot, bool *interrupted)
{
    uint32_t state = SLOT_POSTED;
    const struct timespec look = {.tv_sec = LOOK_SECONDS};
    slot_falls_asleep(slot);
    if (!__atomic_compare_exchange_n(&slot->state, &state, SLOT_POSTED_SLEEPING, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) && is_settled(state))
        return true;
    s2c_serve(); /* what was put into slot 0 before the line above is seen here; who puts it there later wakes a sleeper */
    int saved = errno;
    long result = syscall(SYS_futex, &slot->state, FUTEX_WAIT, SLOT_POSTED_SLEEPING, &look, NULL, 0);
    int error = result < 0 ? errno : 0;
    errno = saved;
    slot_woke_up(slot);
    *interrupted = error == EINTR;
    return error != ETIMEDOUT || server_alive();
}

static void cancel(uint32_t index)
{
    struct cancel_words words = attach_cancel_words(&attachment.slots[index]);
    cancel_ask(&words);
    slot_ring(index);
}

static void yield(void) { syscall(SYS_sched_yield); }

/* A post's answer: ANSWERED, COMMAND, or GONE. */
static uint32_t wait_answer(uint32_t index, bool interruptible, bool *gave_up)
{
    struct call_slot *slot = &attachment.slots[index];
    slot_stand_in_line(slot, &thread_self()->no_yields, yield);
    for (uint32_t turn = slot_spin_turns(slot, attachment.kernel_page); turn > 0; turn--) {
        uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
        if (is_settled(state))
            return state;
        if (state == SLOT_POSTED_SLEEPING || __atomic_load_n(&slot->blocked, __ATOMIC_RELAXED))
            break;
        __builtin_ia32_pause();
    }
    for (;;) {
        bool interrupted = false;
        uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
        if (is_settled(state))
            return state;
        if (!sleep_on(slot, &interrupted))
            return ATTACH_SLOT_GONE;
        if (interrupted && interruptible && !*gave_up) {
            *gave_up = true;
            cancel(index);
        }
    }
}

/* Until the call itself is answered. False: the server is gone. */
static bool wait_call(uint32_t index, bool interruptible, bool *gave_up)
{
    for (;;) {
        uint32_t state = wait_answer(index, interruptible, gave_up);
        if (state == SLOT_ANSWERED || state == SLOT_CONTEXT)
            return true;
        if (state != SLOT_COMMAND)
            return false;
        commands_carry_out(&attachment.slots[index]);
        slot_post(index, SLOT_KIND_DONE, false);
    }
}

/* --- frames that were left behind -------------------------------------------------------------------- */

static void where_alternate(uint64_t *low, uint64_t *high)
{
    stack_t stack;
    if (sigaltstack(NULL, &stack) == 0 && !(stack.ss_flags & SS_DISABLE)) {
        *low = (uint64_t)(uintptr_t)stack.ss_sp;
        *high = *low + stack.ss_size;
    }
}

/* The call is over and the server has acted on the cancellation: neither will touch the slot again. */
static bool is_silent(uint32_t index)
{
    struct call_slot *slot = &attachment.slots[index];
    struct cancel_words words = attach_cancel_words(slot);
    return cancel_is_over(&words, (struct atomic32 *)(void *)&slot->state);
}

static void close_abandoned(struct thread_state *self, uint32_t frame, uint32_t index)
{
    struct call_slot *slot = &attachment.slots[index];
    uint64_t handle = slot->rax;
    if (!self->closes[frame] || (int64_t)handle <= 0)
        return;
    self->closes[frame] = false;
    slot->rax = HYLA_CALL_HANDLE_CLOSE;
    slot->rdi = handle;
    slot->window_size = 0;
    attach_area(slot)->sequence++;
    slot_post(index, SLOT_KIND_CALL, false);
    bool gave_up = false;
    wait_call(index, false, &gave_up);
}

static void settle(struct frames *frames, uint32_t frame, uint64_t life)
{
    struct thread_state *self = CONTAINER_OF(frames, struct thread_state, frames);
    uint32_t index = self->slots[frame];
    bool first = true;
    while (index && frames_own(frames, frame, life) && !is_silent(index)) {
        uint32_t state = __atomic_load_n(&attachment.slots[index].state, __ATOMIC_ACQUIRE);
        bool interrupted;
        if (state == ATTACH_SLOT_FREE && !self->fresh[frame]) /* it never was posted */
            break;
        if (first)
            cancel(index);
        first = false;
        if (state == SLOT_COMMAND) {
            commands_carry_out(&attachment.slots[index]);
            slot_post(index, SLOT_KIND_DONE, false);
        } else if (is_settled(state)) {
            syscall(SYS_sched_yield); /* answered; the cancellation is about to be seen */
            if (!server_alive())
                break;
        } else if (!sleep_on(&attachment.slots[index], &interrupted)) {
            break;
        }
    }
    if (index && frames_own(frames, frame, life) && __atomic_load_n(&attachment.slots[index].state, __ATOMIC_ACQUIRE) == SLOT_ANSWERED)
        close_abandoned(self, frame, index);
}

const struct frames_hooks post_hooks = {.settle = settle, .alternate = where_alternate};

/* --- a call ------------------------------------------------------------------------------------------ */

static void fill(struct call_slot *slot, const struct hyla_plan *plan, const uint64_t arguments[6])
{
    struct attach_area *area = attach_area(slot);
    slot->rax = plan->number;
    slot->rdi = arguments[0];
    slot->rsi = arguments[1];
    slot->rdx = arguments[2];
    slot->r10 = arguments[3];
    slot->r8 = arguments[4];
    slot->r9 = arguments[5];
    slot->window_size = 0;
    if (plan->in && plan->in_size <= CALL_WINDOW_BYTES) {
        memcpy(slot->window, plan->in, plan->in_size);
        slot->window_address = (uint64_t)(uintptr_t)plan->in;
        slot->window_size = (uint32_t)plan->in_size;
    }
    area->out_filled = 0;
    area->out_address = (uint64_t)(uintptr_t)plan->out;
    area->out_size = plan->out && plan->out_size <= ATTACH_OUT_BYTES ? (uint32_t)plan->out_size : 0;
    area->sequence++;
}

static int64_t take_answer(struct call_slot *slot, const struct hyla_plan *plan)
{
    const struct attach_area *area = attach_area(slot);
    uint32_t filled = area->out_filled;
    if (plan->out && filled && filled <= ATTACH_OUT_BYTES && filled <= plan->out_size)
        memcpy(plan->out, area->out, filled);
    return (int64_t)slot->rax;
}

static int64_t call_in(struct thread_state *self, uint32_t frame, uint64_t life, const struct hyla_plan *plan, const uint64_t arguments[6])
{
    uint32_t index = thread_slot(self, frame);
    if (!index)
        return -EAGAIN;
    struct call_slot *slot = &attachment.slots[index];
    bool gave_up = false, fresh = self->fresh[frame];
    fill(slot, plan, arguments);
    self->closes[frame] = plan->flags & HYLA_PLAN_HANDLE;
    self->fresh[frame] = false;
    slot_post(index, SLOT_KIND_CALL, fresh);
    if (!wait_call(index, self->interruptible, &gave_up))
        return -ENOTCONN;
    if (!frames_own(&self->frames, frame, life))
        return -EINTR; /* taken for left behind: its answer is lost, and no other's is taken */
    int64_t result = take_answer(slot, plan);
    self->closes[frame] = false;
    while (gave_up && !is_silent(index) && server_alive()) /* a cancellation that came too late must not meet the next call */
        syscall(SYS_sched_yield);
    return result;
}

int64_t post_call(const struct hyla_plan *plan, const uint64_t arguments[6])
{
    struct thread_state *self = thread_self();
    uint64_t where = (uint64_t)(uintptr_t)__builtin_frame_address(0), life;
    if (!attachment.open)
        return -ENOTCONN;
    int frame = frames_take(&self->frames, where, &post_hooks, &life);
    if (frame < 0)
        return -EAGAIN;
    int64_t result = call_in(self, (uint32_t)frame, life, plan, arguments);
    frames_give(&self->frames, (uint32_t)frame, where);
    return result;
}
