/*
 * The host signal handler: catches calls at sites that are not rewritten, faults, interrupts and the gates of entry.S. What
 * the host put on the signal stack is the thread's whole context; it goes to the server in the slot, and comes back changed.
 */
#include "body/linux/stub/stub.h"

#define SYS_ARCH_PRCTL 158
#define SYS_EXIT_GROUP 231
#define SIG_ILL 4
#define SIG_SYS 31

#define ROBUST_HEAD_SIZE 24

uint64_t frame_fp_size(const struct host_context *context)
{
    if (!context || !context->fp_state)
        return 0;
    return *(const uint32_t *)(context->fp_state + 464) == 0x46505853 ? *(const uint32_t *)(context->fp_state + 468) : 512;
}

/* --- registers --------------------------------------------------------------------------------------- */

void frame_store(struct call_slot *slot, const struct host_context *context)
{
    slot->rax = context->rax;
    slot->rdi = context->rdi;
    slot->rsi = context->rsi;
    slot->rdx = context->rdx;
    slot->r10 = context->r10;
    slot->r8 = context->r8;
    slot->r9 = context->r9;
    slot->rip = context->rip;
    slot->rsp = context->rsp;
    slot->eflags = context->eflags;
    slot->rbx = context->rbx;
    slot->rbp = context->rbp;
    slot->r12 = context->r12;
    slot->r13 = context->r13;
    slot->r14 = context->r14;
    slot->r15 = context->r15;
    slot->rcx = context->rcx;
    slot->r11 = context->r11;
    slot->fp_size = frame_fp_size(context);
}

void frame_load(struct host_context *context, struct call_slot *slot)
{
    context->rax = slot->rax;
    context->rdi = slot->rdi;
    context->rsi = slot->rsi;
    context->rdx = slot->rdx;
    context->r10 = slot->r10;
    context->r8 = slot->r8;
    context->r9 = slot->r9;
    context->rip = slot->rip;
    context->rsp = slot->rsp;
    context->eflags = slot->eflags;
    context->rbx = slot->rbx;
    context->rbp = slot->rbp;
    context->r12 = slot->r12;
    context->r13 = slot->r13;
    context->r14 = slot->r14;
    context->r15 = slot->r15;
    context->rcx = slot->rcx;
    context->r11 = slot->r11;
    if (slot->base_changes & SLOT_SET_FS)
        host_call3(SYS_ARCH_PRCTL, 0x1002 /* ARCH_SET_FS */, slot->fs_base, 0);
    if (slot->base_changes & SLOT_SET_GS)
        host_call3(SYS_ARCH_PRCTL, 0x1001 /* ARCH_SET_GS */, slot->gs_base, 0);
    slot->base_changes = 0;
}

/* --- calls, interrupts, faults ----------------------------------------------------------------------- */

static void trapped_call(struct stub_thread *self, struct host_context *context, uint32_t flags)
{
    struct call_slot *slot = self->slot;
    frame_store(slot, context);
    stub_fill_windows(slot);
    stub_post(self, slot, SLOT_KIND_CALL | SLOT_TRAPPED | flags);
    stub_serve(self, context);
}

static void trapped(struct stub_thread *self, struct host_context *context, uint32_t kind)
{
    frame_store(self->slot, context);
    stub_drop_window(self->slot);
    stub_post(self, self->slot, kind | SLOT_TRAPPED);
    stub_serve(self, context);
}

/* After STUB_TRAP: the commands that follow it want the context that is there now. */
static void trapped_command(struct stub_thread *self, struct host_context *context)
{
    frame_store(self->slot, context);
    stub_drop_window(self->slot);
    self->slot->commands[0].result = 0;
    stub_carry_out(1, self, self->slot, context);
    stub_post(self, self->slot, SLOT_KIND_DONE | SLOT_TRAPPED);
    stub_serve(self, context);
}

static int in_range(uint64_t rip, const char *begin, const char *end) { return rip >= (uint64_t)begin && rip < (uint64_t)end; }
static int in_stub(uint64_t rip) { return rip >= STUB_IMAGE_BASE && rip < STUB_IMAGE_BASE + STUB_TEXT_SIZE; }

/* The private futex calls that do not sleep: interrupts are blocked here. */
static int local_futex_trapped(struct host_context *context)
{
    struct futex_call call = {context->rdi, (uint32_t)context->rsi, context->rdx, context->r10, context->r8, context->r9, &context->rax};
    if (futex_call_local(0, &call))
        return 1;
    if (call.operation != 128 || call.timeout || !futex_word_differs(call.address, (uint32_t)call.value))
        return 0;
    context->rax = (uint64_t)-11;
    return 1;
}

/* The first call of a forked child: what the kernel will want to know is left where it looks. */
static uint64_t set_robust_list(struct call_slot *slot, uint64_t head)
{
    slot->robust_list = head;
    __atomic_store_n(&slot->robust_set, 1, __ATOMIC_RELEASE);
    return 0;
}

static void on_call(struct stub_thread *self, const struct host_siginfo *info, struct host_context *context)
{
    if (info->architecture != 0xc000003e) { /* int 0x80: the 32-bit table is not here */
        context->rax = (uint64_t)-38;
        return;
    }
    context->rax = (uint32_t)info->call;
    uint32_t flags = rewrite_form(context->rip) ? SLOT_REWRITABLE : 0;
    if (!flags && info->call == 39) /* calls that need nobody */
        context->rax = (uint64_t)(int64_t)self->slot->process_id;
    else if (!flags && info->call == 186)
        context->rax = (uint64_t)(int64_t)self->slot->thread_id;
    else if (!flags && info->call == 273 && context->rsi == ROBUST_HEAD_SIZE)
        context->rax = set_robust_list(self->slot, context->rdi);
    else if (!flags && info->call == 202 && local_futex_trapped(context))
        return;
    else
        trapped_call(self, context, flags);
}

static void on_interrupt(struct stub_thread *self, struct host_context *context)
{
    if (in_range(context->rip, stub_exit_begin, stub_exit_end)) {
        context->rip = (uint64_t)stub_exit_begin;
        context->rsp = (uint64_t)self->stack;
        self->pending = 1;
        return;
    }
    if (in_range(context->rip, stub_futex_wait_begin, stub_futex_wait_end)) {
        context->rip = (uint64_t)stub_futex_wait_interrupted;
        self->pending = 1;
        return;
    }
    if (in_stub(context->rip) && !in_range(context->rip, local_begin, local_end) && context->rip != (uint64_t)fast_entry) {
        self->pending = 1;
        return;
    }
    rewrite_settle(context, self->result);
    trapped(self, context, SLOT_KIND_INTERRUPT);
}

static void on_fault(struct stub_thread *self, int signal, const struct host_siginfo *info, struct host_context *context)
{
    uint64_t rip = context->rip;
    if (in_range(rip, stub_copy_begin, stub_copy_end) || in_range(rip, stub_cas_begin, stub_cas_end)) {
        context->rip = (uint64_t)stub_copy_failed;
        return;
    }
    if (rip == (uint64_t)local_futex_word) { /* no such word: the kernel says it better */
        context->rip = (uint64_t)fast_entry;
        return;
    }
    if (signal == SIG_ILL && (rip == (uint64_t)gate_trap || rip == (uint64_t)gate_interrupt || rip == (uint64_t)gate_slow)) {
        context->rip = context->rcx;
        self->pending = 0;
        if (rip == (uint64_t)gate_slow)
            trapped_call(self, context, 0);
        else if (rip == (uint64_t)gate_trap)
            trapped_command(self, context);
        else
            trapped(self, context, SLOT_KIND_INTERRUPT);
        return;
    }
    if (signal == SIG_ILL && rip == (uint64_t)gate_start) {
        frame_set_stack(context, self->index);
        self->slot->fp_size = frame_fp_size(context);
        stub_say_hello(self);
        stub_serve(self, context);
        return;
    }
    enum rewrite_caught caught = signal == SIG_ILL ? rewrite_caught(context, self->result) : REWRITE_NONE;
    if (caught == REWRITE_CALL) {
        context->rip += 2;
        trapped_call(self, context, 0);
    }
    if (caught != REWRITE_NONE)
        return;
    if (in_stub(rip)) /* somebody jumped here with made-up registers, or tore the stub's memory down */
        host_call3(SYS_EXIT_GROUP, 128 + signal, 0, 0);
    struct call_slot *slot = self->slot;
    slot->signal = signal;
    slot->code = info->code;
    slot->fault_address = info->address;
    slot->trap_number = context->trap_number;
    slot->error_code = context->error_code;
    trapped(self, context, SLOT_KIND_FAULT);
}

void stub_signal(int signal, const struct host_siginfo *info, struct host_context *context)
{
    struct stub_thread *self = stub_self();
    if (signal == SIG_SYS && info->code == 1 /* SYS_SECCOMP */)
        on_call(self, info, context);
    else if (signal == STUB_INTERRUPT_SIGNAL)
        on_interrupt(self, context);
    else if (info->code > 0)
        on_fault(self, signal, info, context);
    self->result = context->rax;
}
