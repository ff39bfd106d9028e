/*
 * Standing still: a thread whose process is attached, and that somebody with a handle to it has suspended (thread_suspend), is found by
 * libhyla's signal. The handler says so, with the registers that were interrupted, and waits until it may go on, perhaps with others.
 *
 * A thread has a slot for each call it can be in at once, and is asked in one of them: all are looked at. While it stands still its own
 * handlers run for no signal but libhyla's, since the process may be asked for something else (s2c.c).
 */
#include "lib/src/attached.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define LOOK_SECONDS 1 /* how often it looks whether there is a server that could let it go */

/* glibc's general registers are in the order of struct user_regs as far as rip and the flags. */
#define COPIED 18
_Static_assert(REG_R8 == 0 && REG_RDI == 8 && REG_RIP == 16 && REG_EFL == 17, "gregs and struct user_regs");

static uint64_t thread_pointer(long which)
{
    uint64_t value = 0;
    syscall(SYS_arch_prctl, which, &value);
    return value;
}

static void tell(struct attach_area *area, uint32_t serial, const ucontext_t *context)
{
    for (int i = 0; i < COPIED; i++)
        area->regs[i] = (uint64_t)context->uc_mcontext.gregs[i];
    area->regs[COPIED] = thread_pointer(0x1003);     /* ARCH_GET_FS */
    area->regs[COPIED + 1] = thread_pointer(0x1004); /* ARCH_GET_GS */
    __atomic_store_n(&area->stopped, serial, __ATOMIC_SEQ_CST);
}

static void take_registers(struct attach_area *area, ucontext_t *context)
{
    if (!__atomic_exchange_n(&area->regs_set, 0, __ATOMIC_SEQ_CST))
        return;
    for (int i = 0; i < COPIED; i++)
        context->uc_mcontext.gregs[i] = (greg_t)area->regs[i];
}

static void sleep_on(uint32_t *word, uint32_t value)
{
    const struct timespec look = {.tv_sec = LOOK_SECONDS};
    sigset_t served, before;
    sigemptyset(&served);
    sigaddset(&served, s2c_signal());
    pthread_sigmask(SIG_UNBLOCK, &served, &before);
    syscall(SYS_futex, word, FUTEX_WAIT, value, &look, NULL, 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Until nobody wants the thread to stand still in this slot. */
static void stand(uint32_t index, ucontext_t *context)
{
    struct attach_area *area = attach_area(&attachment.slots[index]);
    uint32_t serial, told = 0;
    while ((serial = __atomic_load_n(&area->stop, __ATOMIC_SEQ_CST))) {
        if (serial != told) {
            take_registers(area, context); /* it was let go meanwhile, and asked again */
            tell(area, told = serial, context);
            slot_ring(index);
        }
        sleep_on(&area->stop, serial);
        if (!server_alive())
            return;
    }
    take_registers(area, context);
}

void stop_serve(void *context)
{
    struct thread_state *self = thread_state_of_handler();
    if (!self || self->standing)
        return;
    self->standing = true;
    for (uint32_t frame = 0; frame < FRAMES_MAX; frame++)
        if (self->slots[frame] && !self->fresh[frame])
            stand(self->slots[frame], context);
    self->standing = false;
}
