/*
 * The stub's conversation with the server: posting, waiting, and the two ways of a call.
 *
 * A thread is either on the fast path (entry.S, on its own small stack, the program's FP state still in
 * the CPU) or trapped (in the host's signal frame, which holds everything: handler.c). What needs the whole context
 * (signal delivery, fork, exec) asks for STUB_TRAP first, so that only one form of it exists.
 */
#include "body/linux/stub/stub.h"

#define SYS_WRITE 1
#define SYS_SCHED_YIELD 24
#define SYS_FUTEX 202

#define CHECK_OFFSET(type, member, offset) _Static_assert(offsetof(type, member) == (offset), #member)
CHECK_OFFSET(struct stub_thread, slot, T_SLOT);
CHECK_OFFSET(struct stub_thread, user_rsp, T_USER_RSP);
CHECK_OFFSET(struct stub_thread, resume, T_RESUME);
CHECK_OFFSET(struct stub_thread, eflags, T_EFLAGS);
CHECK_OFFSET(struct stub_thread, stack, T_STACK);
CHECK_OFFSET(struct stub_thread, pending, T_PENDING);
CHECK_OFFSET(struct stub_thread, scratch, T_SCRATCH);
_Static_assert(offsetof(struct call_slot, r9) == offsetof(struct call_slot, rdi) + 40, "arguments in order");
_Static_assert(CENSUS_ADDRESS == CALL_PAGES_BASE + CALL_PAGES_CENSUS, "census");
CHECK_OFFSET(struct call_pages_header, sleepers, CALL_PAGES_CENSUS + SLEEPERS_FROM_CENSUS);
CHECK_OFFSET(struct call_pages_header, census, CALL_PAGES_CENSUS);
CHECK_OFFSET(struct call_slot, kind, S_KIND);
CHECK_OFFSET(struct call_slot, rax, S_RAX);
CHECK_OFFSET(struct call_slot, rdi, S_RDI);
CHECK_OFFSET(struct call_slot, r9, S_R9);
CHECK_OFFSET(struct call_slot, rip, S_RIP);
CHECK_OFFSET(struct call_slot, r15, S_R15);
CHECK_OFFSET(struct call_slot, host_tid, S_HOST_TID);
CHECK_OFFSET(struct call_slot, process_id, S_PROCESS_ID);
CHECK_OFFSET(struct call_slot, parent_id, S_PARENT_ID);


static struct call_pages_header *const pages_header = (void *)CALL_PAGES_BASE;
static const struct kernel_page *const kernel_page = (void *)KERNEL_PAGE_BASE;

/* --- posting and waiting ----------------------------------------------------------------------------- */

static void ring(struct stub_thread *self)
{
    static const uint64_t one = 1;
    __atomic_fetch_or(&pages_header->pending[self->index / 64], 1ul << (self->index % 64), __ATOMIC_SEQ_CST);
    host_call3(SYS_WRITE, STUB_DOORBELL_FD, &one, 8);
}

void stub_post(struct stub_thread *self, struct call_slot *slot, uint32_t kind)
{
    slot->kind = kind | current_cpu_hint() << SLOT_CPU_SHIFT;
    __atomic_store_n(&slot->state, SLOT_POSTED, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&slot->polled, __ATOMIC_SEQ_CST))
        ring(self);
}

static void yield(void) { host_call3(SYS_SCHED_YIELD, 0, 0, 0); }

/* Spins while a CPU is to spare and the server says it will be quick; then sleeps on the state word. */
static uint32_t wait_answer(struct stub_thread *self, struct call_slot *slot)
{
    if (slot_stand_in_line(slot, &self->no_yields, yield))
        return word_load(&slot->state);
    for (uint32_t turn = slot_spin_turns(slot, kernel_page); turn > 0; turn--) {
        uint32_t state = word_load(&slot->state);
        if (state >= SLOT_ANSWERED)
            return state;
        if (state == SLOT_POSTED_SLEEPING || __atomic_load_n(&slot->blocked, __ATOMIC_RELAXED))
            break;
        __builtin_ia32_pause();
    }
    slot_falls_asleep(slot);
    for (;;) {
        uint32_t state = SLOT_POSTED;
        __atomic_compare_exchange_n(&slot->state, &state, SLOT_POSTED_SLEEPING, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        if (state >= SLOT_ANSWERED) {
            slot_woke_up(slot);
            return state;
        }
        host_call6(SYS_FUTEX, (long)&slot->state, 0 /* FUTEX_WAIT */, SLOT_POSTED_SLEEPING, 0, 0, 0);
    }
}

static uint64_t window_size(const struct call_slot *slot, uint32_t pointer, uint32_t length)
{
    const uint64_t *arguments = &slot->rdi;
    uint64_t size = CALL_WINDOW_BYTES, in_page = 4096 - (arguments[pointer % 6] & 4095);
    if (length != pointer && arguments[length % 6] < size)
        size = arguments[length % 6];
    return size < in_page ? size : in_page;
}

/* Takes along what the call will read, as far as it is there: the rest of its page at most. */
static void fill_window(struct call_slot *slot, const struct call_window *window)
{
    const uint64_t *arguments = &slot->rdi;
    uint32_t pointer = window->pointer - 1u, length = window->length - 1u;
    uint64_t address = arguments[pointer % 6], size = window_size(slot, pointer, length);
    if (length != pointer && arguments[length % 6] > CALL_WINDOW_BYTES)
        size = 0; /* it will be copied in one go, not from here */
    slot->window_address = address;
    slot->window_size = size && stub_copy(slot->window, (const void *)address, size) == 0 ? (uint32_t)size : 0;
}

/* Offers to bring back what the call fills: memory that can be written now, in one page. */
static void offer_answer(struct call_slot *slot, const struct call_window *window)
{
    uint32_t pointer = window->answer_pointer - 1u;
    uint64_t address = (&slot->rdi)[pointer % 6], size = window_size(slot, pointer, window->answer_length - 1u);
    slot->answer_filled = 0;
    slot->answer_address = address;
    slot->answer_size = size && stub_probe((void *)address) == 0 ? (uint32_t)size : 0;
}

void stub_drop_window(struct call_slot *slot)
{
    if (slot->window_size)
        slot->window_size = 0;
    if (slot->answer_size)
        slot->answer_size = 0;
}

void stub_fill_windows(struct call_slot *slot)
{
    uint32_t index = call_window(slot->rax);
    stub_drop_window(slot);
    if (index >= CALL_WINDOWS)
        return;
    const struct call_window *window = &kernel_page->windows[index];
    if (window->pointer)
        fill_window(slot, window);
    if (window->answer_pointer)
        offer_answer(slot, window);
}

/* Before anything else happens to the program's memory. It was there when the call began: who took it away meanwhile gets EFAULT. */
static void take_answer(struct call_slot *slot)
{
    uint32_t filled = slot->answer_filled;
    if (!slot->answer_size || !filled)
        return;
    if (filled <= slot->answer_size && filled <= CALL_WINDOW_BYTES && stub_copy((void *)slot->answer_address, slot->answer, filled))
        slot->rax = (uint64_t)-14;
    slot->answer_size = 0;
}

/* --- the two ways of a call -------------------------------------------------------------------------- */

/* Trapped: after the post, until the server lets the program go on. */
void stub_serve(struct stub_thread *self, struct host_context *context)
{
    struct call_slot *slot = self->slot;
    for (;;) {
        uint32_t state = wait_answer(self, slot);
        take_answer(slot);
        if (state == SLOT_COMMAND) {
            stub_carry_out(0, self, slot, context);
            stub_post(self, slot, SLOT_KIND_DONE | SLOT_TRAPPED);
            continue;
        }
        if (state == SLOT_CONTEXT)
            frame_load(context, slot);
        else
            context->rax = slot->rax;
        self->result = context->rax;
        return;
    }
}

/* From entry.S: 0 to return to the program, 1 to become a trapped entry first. */
int stub_fast_call(struct call_slot *slot)
{
    struct stub_thread *self = stub_self();
    if (slot->rax == SYS_FUTEX) {
        struct futex_call call = {slot->rdi, (uint32_t)slot->rsi, slot->rdx, slot->r10, slot->r8, slot->r9, &slot->rax};
        if (futex_call_local(self, &call))
            return 0;
    }
    if (slot->rax <= SYS_WRITE && ring_call(self, slot))
        return 0;
    stub_fill_windows(slot);
    stub_post(self, slot, SLOT_KIND_CALL);
    for (;;) {
        uint32_t state = wait_answer(self, slot);
        take_answer(slot);
        if (state != SLOT_COMMAND && slot->repeat) {
            slot->repeat = 0;
            if (slot->rax <= SYS_WRITE && ring_call(self, slot))
                return 0;
            stub_fill_windows(slot);
            stub_post(self, slot, SLOT_KIND_CALL);
            continue;
        }
        if (state != SLOT_COMMAND)
            return 0;
        if (slot->commands[0].operation == STUB_TRAP)
            return 1;
        stub_carry_out(0, self, slot, 0);
        stub_post(self, slot, SLOT_KIND_DONE);
    }
}
