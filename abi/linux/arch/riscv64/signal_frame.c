/*
 * The signal frame of RISC-V: what a handler finds on its stack, and what rt_sigreturn takes back.
 *
 * The layout is Linux's struct rt_sigframe: siginfo, then ucontext with the registers and, behind them, the FP state that the
 * body writes. Programs bring no restorer: the handler returns into the vDSO. Nothing that comes back is trusted; there
 * are no privileged bits among it.
 */
#include "abi/linux/process.h"
#include "abi/linux/signal_state.h"
#include "kernel/string.h"

#include <arch/linux.h>

struct ucontext {
    uint64_t flags, link;
    struct linux_stack stack;
    uint64_t mask;
    uint64_t reserved[16]; /* room for a longer mask, and the alignment of the rest */
    struct user_regs regs;
    /* the FP state follows: body_user_fp_size() bytes */
};
_Static_assert(offsetof(struct ucontext, mask) == 40, "struct ucontext");
_Static_assert(offsetof(struct ucontext, regs) == 176, "ucontext.uc_mcontext");
_Static_assert(sizeof(struct ucontext) == 176 + 256, "ucontext.uc_mcontext.sc_fpregs");

struct rt_sigframe {
    struct linux_siginfo info;
    struct ucontext uc;
};
_Static_assert(sizeof(struct rt_sigframe) == 128 + 176 + 256, "struct rt_sigframe");

const uint64_t signal_restart_call = 128;
const uint64_t signal_stack_least = 2048;
const uint64_t signal_action_flags = LINUX_SA_NOCLDSTOP | LINUX_SA_NOCLDWAIT | LINUX_SA_SIGINFO | LINUX_SA_EXPOSE_TAGBITS |
                                     LINUX_SA_ONSTACK | LINUX_SA_RESTART | LINUX_SA_NODEFER | LINUX_SA_RESETHAND;

void signal_regs_set_result(struct user_regs *regs, int64_t result) { regs->a0 = (uint64_t)result; }

void signal_regs_restart(struct user_regs *regs, uint64_t number, uint64_t first_argument)
{
    regs->pc -= 4; /* the length of `ecall` */
    regs->a7 = number;
    regs->a0 = first_argument;
}

uint64_t signal_regs_stack(const struct user_regs *regs) { return regs->sp; }

/* Where the frame goes; 0 when it would leave the alternate stack. */
static uaddr_t place_frame(const struct thread_signals *own, const struct user_regs *regs, uint64_t flags)
{
    uint64_t sp = regs->sp;
    bool on_altstack = altstack_contains(own, sp);
    if ((flags & LINUX_SA_ONSTACK) && own->altstack_size && !on_altstack) {
        sp = own->altstack + own->altstack_size;
        on_altstack = true;
    }
    uaddr_t frame = round_down(sp - sizeof(struct rt_sigframe) - body_user_fp_size(), 16);
    bool inside = frame > own->altstack && frame - own->altstack <= own->altstack_size;
    return on_altstack && !inside ? 0 : frame;
}

static void fill_frame(struct rt_sigframe *out, const struct thread_signals *own, const struct user_regs *regs,
                       const struct signal_frame *frame)
{
    memset(out, 0, sizeof *out);
    out->info = *frame->info;
    out->uc.stack = (struct linux_stack){
        .sp = own->altstack, .flags = (int32_t)own->altstack_flags, .size = own->altstack_size};
    out->uc.mask = frame->mask;
    out->uc.regs = *regs;
}

static void point_at_handler(struct user_regs *regs, const struct signal_frame *frame, uaddr_t sp, uaddr_t vdso)
{
    regs->ra = vdso + ARCH_VDSO_SIGRETURN;
    regs->a0 = (uint64_t)frame->signal;
    regs->a1 = sp + offsetof(struct rt_sigframe, info);
    regs->a2 = sp + offsetof(struct rt_sigframe, uc);
    regs->sp = sp;
    regs->pc = frame->action->handler;
}

int signal_frame_push(struct lthread *thread, struct user_regs *regs, const struct signal_frame *frame)
{
    struct rt_sigframe out;
    uaddr_t vdso = thread->process->mm->vdso;
    uaddr_t sp = place_frame(&thread->signals, regs, frame->action->flags);
    if (!sp || !vdso || frame->action->handler >= ARCH_USER_TOP)
        return -EFAULT;
    fill_frame(&out, &thread->signals, regs, frame);
    if (body_user_fp_save(sp + sizeof out) || user_write(sp, &out, sizeof out))
        return -EFAULT;
    point_at_handler(regs, frame, sp, vdso);
    return 0;
}

int signal_frame_pop(struct lthread *thread, struct user_regs *regs, signal_set *mask)
{
    struct rt_sigframe in;
    if (user_read(&in, regs->sp, sizeof in))
        return -EFAULT;
    if (in.uc.regs.pc >= ARCH_USER_TOP || body_user_fp_load(regs->sp + sizeof in))
        return -EFAULT;
    /* Before the stack pointer changes, and whatever comes of it, as on Linux. */
    altstack_set(&thread->signals, &in.uc.stack, regs->sp);
    *regs = in.uc.regs;
    *mask = in.uc.mask;
    return 0;
}

struct user_action {
    uint64_t handler, flags, mask;
};

int signal_action_copy_in(struct signal_action *action, uaddr_t from)
{
    struct user_action in;
    if (user_read(&in, from, sizeof in))
        return -EFAULT;
    *action = (struct signal_action){.handler = in.handler, .flags = in.flags, .mask = in.mask};
    return 0;
}

int signal_action_copy_out(uaddr_t to, const struct signal_action *action)
{
    struct user_action out = {action->handler, action->flags, action->mask};
    return user_write(to, &out, sizeof out);
}
