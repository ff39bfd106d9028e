/*
 * The signal frame of x86-64: what a handler finds on its stack, and what rt_sigreturn takes back.
 *
 * The layout is Linux's struct rt_sigframe (arch/x86/include/uapi/asm/sigcontext.h describes the user's part):
 * return address, ucontext, siginfo, and above them, aligned to 64, the FP and vector state in the XSAVE form that
 * the body writes. Nothing that comes back is trusted: flags are limited to what user code may set, and an address
 * that the CPU could not return to is a fault of the program.
 */
#include "abi/linux/signal_state.h"
#include "kernel/string.h"

enum { UC_FP_XSTATE = 1, UC_SIGCONTEXT_SS = 2, UC_STRICT_RESTORE_SS = 4 };
enum { RED_ZONE = 128, FP_ALIGN = 64, USER_CS = 0x33, USER_SS = 0x2b };
enum { FLAG_CF = 1, FLAG_PF = 4, FLAG_AF = 0x10, FLAG_ZF = 0x40, FLAG_SF = 0x80, FLAG_TF = 0x100, FLAG_DF = 0x400,
       FLAG_OF = 0x800, FLAG_RF = 0x10000, FLAG_AC = 0x40000 };
#define FLAGS_RESTORED                                                                                                 \
    (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_TF | FLAG_DF | FLAG_OF | FLAG_RF | FLAG_AC)
#define USER_ADDRESS_END 0x7ffffffff000u

struct sigcontext {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp;
    uint64_t rip, eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, trap_number, old_mask, cr2;
    uint64_t fp_state;
    uint64_t reserved[8];
};
_Static_assert(sizeof(struct sigcontext) == 256, "struct sigcontext_64");
_Static_assert(offsetof(struct sigcontext, fp_state) == 184, "sigcontext.fpstate");
_Static_assert(offsetof(struct user_regs, rip) == offsetof(struct sigcontext, rip), "sigcontext begins as user_regs");

struct ucontext {
    uint64_t flags, link;
    struct linux_stack stack;
    struct sigcontext context;
    uint64_t mask;
};
_Static_assert(sizeof(struct ucontext) == 304, "struct ucontext");

struct rt_sigframe {
    uint64_t return_address;
    struct ucontext uc;
    struct linux_siginfo info;
};
_Static_assert(sizeof(struct rt_sigframe) == 440, "struct rt_sigframe");

const uint64_t signal_restart_call = 219;
const uint64_t signal_stack_least = 2048;
const uint64_t signal_action_flags = LINUX_SA_NOCLDSTOP | LINUX_SA_NOCLDWAIT | LINUX_SA_SIGINFO | LINUX_SA_EXPOSE_TAGBITS |
                                     LINUX_SA_RESTORER | LINUX_SA_ONSTACK | LINUX_SA_RESTART | LINUX_SA_NODEFER |
                                     LINUX_SA_RESETHAND;

void signal_regs_set_result(struct user_regs *regs, int64_t result) { regs->rax = (uint64_t)result; }

void signal_regs_restart(struct user_regs *regs, uint64_t number, uint64_t first_argument)
{
    (void)first_argument; /* still in its register */
    regs->rip -= 2; /* the length of `syscall` */
    regs->rax = number;
}

uint64_t signal_regs_stack(const struct user_regs *regs) { return regs->rsp; }

/* Where the frame goes; 0 when it would leave the alternate stack. */
static uaddr_t place_frame(const struct thread_signals *own, const struct user_regs *regs, uint64_t flags, uaddr_t *fp)
{
    uint64_t sp = regs->rsp - RED_ZONE;
    bool on_altstack = altstack_contains(own, regs->rsp);
    if ((flags & LINUX_SA_ONSTACK) && own->altstack_size && !on_altstack) {
        sp = own->altstack + own->altstack_size;
        on_altstack = true;
    }
    *fp = round_down(sp - body_user_fp_size(), FP_ALIGN);
    uaddr_t frame = round_down(*fp - sizeof(struct rt_sigframe), 16) - 8;
    bool inside = frame > own->altstack && frame - own->altstack <= own->altstack_size;
    return on_altstack && !inside ? 0 : frame;
}

static void fill_context(struct sigcontext *context, const struct thread_signals *own, const struct user_regs *regs, uaddr_t fp)
{
    memcpy(context, regs, offsetof(struct sigcontext, cs));
    context->cs = USER_CS;
    context->ss = USER_SS;
    context->error = own->trap_error;
    context->trap_number = own->trap_number;
    context->cr2 = own->trap_address;
    context->fp_state = fp;
}

static void fill_frame(struct rt_sigframe *out, const struct thread_signals *own, const struct user_regs *regs,
                       const struct signal_frame *frame, uaddr_t fp)
{
    memset(out, 0, sizeof *out);
    out->return_address = frame->action->restorer;
    out->uc.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    out->uc.stack = (struct linux_stack){
        .sp = own->altstack, .flags = (int32_t)own->altstack_flags, .size = own->altstack_size};
    fill_context(&out->uc.context, own, regs, fp);
    out->uc.context.old_mask = frame->mask;
    out->uc.mask = frame->mask;
    out->info = *frame->info;
}

static void point_at_handler(struct user_regs *regs, const struct signal_frame *frame, uaddr_t sp)
{
    regs->rdi = (uint64_t)frame->signal;
    regs->rsi = sp + offsetof(struct rt_sigframe, info);
    regs->rdx = sp + offsetof(struct rt_sigframe, uc);
    regs->rax = 0; /* for handlers without a prototype */
    regs->rsp = sp;
    regs->rip = frame->action->handler;
    regs->eflags &= ~(uint64_t)(FLAG_DF | FLAG_RF | FLAG_TF);
}

int signal_frame_push(struct lthread *thread, struct user_regs *regs, const struct signal_frame *frame)
{
    struct rt_sigframe out;
    uaddr_t fp;
    uaddr_t sp = place_frame(&thread->signals, regs, frame->action->flags, &fp);
    if (!sp || !(frame->action->flags & LINUX_SA_RESTORER) || frame->action->handler >= USER_ADDRESS_END)
        return -EFAULT;
    fill_frame(&out, &thread->signals, regs, frame, fp);
    if (body_user_fp_save(fp) || user_write(sp, &out, sizeof out))
        return -EFAULT;
    point_at_handler(regs, frame, sp);
    return 0;
}

static int restore_fp(struct lthread *thread, uaddr_t fp)
{
    if (fp)
        return body_user_fp_load(fp);
    body_user_fp_reset(thread->thread);
    return 0;
}

static void restore_regs(struct user_regs *regs, const struct sigcontext *context)
{
    uint64_t flags = regs->eflags;
    memcpy(regs, context, offsetof(struct sigcontext, cs));
    regs->eflags = (flags & ~(uint64_t)FLAGS_RESTORED) | (context->eflags & FLAGS_RESTORED);
}

int signal_frame_pop(struct lthread *thread, struct user_regs *regs, signal_set *mask)
{
    struct rt_sigframe in;
    if (user_read(&in, regs->rsp - sizeof in.return_address, sizeof in))
        return -EFAULT;
    if (in.uc.context.rip >= USER_ADDRESS_END || restore_fp(thread, in.uc.context.fp_state))
        return -EFAULT;
    /* Before the stack pointer changes, and whatever comes of it, as on Linux. */
    altstack_set(&thread->signals, &in.uc.stack, regs->rsp);
    restore_regs(regs, &in.uc.context);
    *mask = in.uc.mask;
    return 0;
}

struct user_action {
    uint64_t handler, flags, restorer, mask;
};

int signal_action_copy_in(struct signal_action *action, uaddr_t from)
{
    struct user_action in;
    if (user_read(&in, from, sizeof in))
        return -EFAULT;
    *action = (struct signal_action){.handler = in.handler, .flags = in.flags, .restorer = in.restorer, .mask = in.mask};
    return 0;
}

int signal_action_copy_out(uaddr_t to, const struct signal_action *action)
{
    struct user_action out = {action->handler, action->flags, action->restorer, action->mask};
    return user_write(to, &out, sizeof out);
}
