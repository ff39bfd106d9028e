/*
 * The stub's conversation with the server: posting, waiting, commands; and the host signal handler that
 * catches calls, faults and interrupts.
 *
 * A thread is either on the fast path (entry.S, on its own small stack, the program's FP state still in
 * the CPU) or trapped (in the host's signal frame, which holds everything). What needs the whole context
 * (signal delivery, fork, exec) asks for STUB_TRAP first, so that only one form of it exists.
 */
#include "body/linux/stub/stub.h"

#define SYS_WRITE 1
#define SYS_MMAP 9
#define SYS_CLOSE 3
#define SYS_DUP2 33
#define SYS_EXIT 60
#define SYS_RECVMSG 47
#define SYS_FUTEX 202
#define SYS_SCHED_YIELD 24
#define SYS_MADVISE 28
#define SYS_ARCH_PRCTL 158
#define SYS_EXIT_GROUP 231

#define ROBUST_HEAD_SIZE 24

#define SIG_ILL 4
#define SIG_TRAP 5
#define SIG_BUS 7
#define SIG_FPE 8
#define SIG_SEGV 11
#define SIG_SYS 31

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

extern char stub_cas_begin[], stub_cas_end[];
long stub_cas(uint32_t *word, uint32_t expected, uint32_t desired);

#define YIELDS_MAX 3u
#define YIELD_LONG_CYCLES 500000u /* about 200 us */
#define YIELD_PAUSE 64u

static struct call_pages_header *const pages_header = (void *)CALL_PAGES_BASE;
static const struct kernel_page *const kernel_page = (void *)KERNEL_PAGE_BASE;

/* --- posting and waiting ----------------------------------------------------------------------------- */

static void ring(struct stub_thread *self)
{
    static const uint64_t one = 1;
    __atomic_fetch_or(&pages_header->pending[self->index / 64], 1ul << (self->index % 64), __ATOMIC_SEQ_CST);
    host_call3(SYS_WRITE, STUB_DOORBELL_FD, &one, 8);
}

static void post(struct stub_thread *self, struct call_slot *slot, uint32_t kind)
{
    slot->kind = kind | current_cpu_hint() << SLOT_CPU_SHIFT;
    __atomic_store_n(&slot->state, SLOT_POSTED, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&slot->polled, __ATOMIC_SEQ_CST))
        ring(self);
}

/*
 * The worker that looks at this slot does so on our own CPU: so it stands in line for the CPU, and to let it run is cheaper than
 * to sleep and be woken. A line in which somebody else keeps the CPU for long is left for a while: who sleeps is preferred later.
 * True when the answer is there.
 */
static bool offer_cpu(struct stub_thread *self, const struct call_slot *slot)
{
    if (self->no_yields > 0) {
        self->no_yields--;
        return false;
    }
    uint64_t before = __builtin_ia32_rdtsc();
    for (uint32_t turn = 0; turn < YIELDS_MAX; turn++) {
        if (!slot_polled_here(slot) || __atomic_load_n(&slot->blocked, __ATOMIC_RELAXED))
            return false;
        host_call3(SYS_SCHED_YIELD, 0, 0, 0);
        uint64_t now = __builtin_ia32_rdtsc();
        if (now - before > YIELD_LONG_CYCLES)
            self->no_yields = YIELD_PAUSE;
        if (word_load(&slot->state) >= SLOT_ANSWERED)
            return true;
        if (now - before > YIELD_LONG_CYCLES)
            return false;
        before = now;
    }
    return false;
}

/* Spins while a CPU is to spare and the server says it will be quick; then sleeps on the state word. */
static uint32_t wait_answer(struct stub_thread *self, struct call_slot *slot)
{
    if (slot_polled_here(slot) && offer_cpu(self, slot))
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

static void drop_window(struct call_slot *slot)
{
    if (slot->window_size)
        slot->window_size = 0;
    if (slot->answer_size)
        slot->answer_size = 0;
}

static void fill_windows(struct call_slot *slot)
{
    uint32_t index = call_window(slot->rax);
    drop_window(slot);
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

/* --- commands ---------------------------------------------------------------------------------------- */

static void close_fds(struct stub_thread *self)
{
    for (uint32_t i = 0; i < self->fd_count && i < STUB_FD_REGISTERS; i++)
        host_call3(SYS_CLOSE, self->fds[i], 0, 0);
    self->fd_count = 0;
}

struct host_message {
    void *name;
    uint32_t name_length, padding;
    struct {
        void *base;
        uint64_t length;
    } *vector;
    uint64_t vector_count;
    void *control;
    uint64_t control_length;
    int flags;
};

/* One datagram with `count` descriptors. */
static long receive_fds(struct stub_thread *self, int socket, int *fds, uint32_t count, char *tag)
{
    (void)self;
    struct {
        uint64_t length;
        int level, type;
        int fds[STUB_FD_REGISTERS];
    } control;
    struct {
        void *base;
        uint64_t length;
    } vector = {tag, 1};
    struct host_message message = {.vector = (void *)&vector, .vector_count = 1, .control = &control, .control_length = sizeof control};
    long got;
    do
        got = host_call3(SYS_RECVMSG, socket, &message, 0x40000000 /* MSG_CMSG_CLOEXEC */);
    while (got == -4);
    if (got <= 0)
        return got < 0 ? got : -107;
    uint64_t received = message.control_length >= 16 ? (control.length - 16) / 4 : 0;
    for (uint32_t i = 0; i < count; i++)
        fds[i] = i < received ? control.fds[i] : -1;
    return (long)received;
}

static void thread_init(uint32_t index)
{
    uint64_t area = STUB_AREAS_BASE + index * STUB_AREA_SIZE;
    struct stub_thread *thread = (void *)(area + AREA_THREAD);
    thread->self = thread;
    thread->slot = (void *)(CALL_PAGES_BASE + CALL_PAGES_HEADER_SIZE + (uint64_t)index * CALL_SLOT_SIZE);
    thread->stack = thread;
    thread->index = index;
    thread->pending = 0;
    thread->fd_count = 0;
}

static void set_gs(struct stub_thread *self) { host_call3(SYS_ARCH_PRCTL, 0x1001 /* ARCH_SET_GS */, self, 0); }

/* A program's signal stack is the kernel's affair: the host's is the area's. */
static void set_host_stack(struct host_context *context, uint32_t index)
{
    context->stack.base = (void *)(STUB_AREAS_BASE + index * STUB_AREA_SIZE);
    context->stack.size = AREA_ALTSTACK_SIZE;
    context->stack.flags = 0;
}

/* The new thread's frame stands at the bottom of its area: a copy of the parent's with FP state. */
static struct host_context *copy_frame(uint32_t index, const struct host_context *from)
{
    uint64_t area = STUB_AREAS_BASE + index * STUB_AREA_SIZE;
    struct host_context *copy = (void *)area;
    stub_copy(copy, from, sizeof *copy);
    if (from->fp_state) {
        copy->fp_state = (void *)(area + 1024);
        stub_copy(copy->fp_state, from->fp_state, from->fp_state ? *(uint32_t *)(from->fp_state + 464 + 4) : 0);
    }
    set_host_stack(copy, index);
    copy->signal_mask = 0;
    return copy;
}

static void serve(struct stub_thread *self, struct host_context *context);

/* A new host process tells the server who it is: the socket adds its credentials. */
static void say_hello(struct stub_thread *self)
{
    struct {
        uint32_t tag, index;
    } hello = {STUB_HELLO, self->index};
    if (host_call3(SYS_WRITE, STUB_SOCKET_FD, &hello, sizeof hello) != sizeof hello)
        host_call3(SYS_EXIT_GROUP, 1, 0, 0); /* nobody is there to answer */
}

static void new_thread(void *argument)
{
    struct host_context *context = argument;
    struct stub_thread *self = stub_self();
    set_gs(self);
    if (self->hello)
        say_hello(self);
    serve(self, context);
    host_sigreturn(context);
}

static long clone_thread(uint32_t index, uint64_t nonce, int vfork, struct host_context *context)
{
    if (!context || index >= CLIENT_THREADS_MAX)
        return -22;
    thread_init(index);
    struct stub_thread *thread = (void *)(STUB_AREAS_BASE + index * STUB_AREA_SIZE + AREA_THREAD);
    thread->hello = vfork;
    struct host_context *frame = copy_frame(index, context);
    /* CHILD_SETTID | CHILD_CLEARTID | VM, and for a thread FS FILES SIGHAND THREAD SYSVSEM, else SIGCHLD */
    long flags = 0x01000000 | 0x00200000 | 0x100 | (vfork ? 17 : 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000);
    return host_clone(flags, (char *)thread - 64, &thread->slot->host_tid, (long)nonce, new_thread, frame);
}

/* In the child of a fork (or of the zygote): its own descriptors and call pages. */
static void become_client(const int fds[3])
{
    host_call6(SYS_MMAP, CALL_PAGES_BASE, CALL_PAGES_SIZE, 3, 0x11 /* SHARED | FIXED */, fds[2], 0);
    host_call3(SYS_MADVISE, CALL_PAGES_BASE, CALL_PAGES_SIZE, 10 /* DONTFORK */);
    enum { ASIDE = 32 }; /* past anything that is open here: the two may be where the other is to go */
    host_call3(SYS_DUP2, fds[1], ASIDE, 0);
    host_call3(SYS_DUP2, fds[0], STUB_SOCKET_FD, 0);
    host_call3(SYS_DUP2, ASIDE, STUB_DOORBELL_FD, 0);
    host_call3(SYS_CLOSE, ASIDE, 0, 0);
    for (int i = 0; i < 3; i++)
        if (fds[i] != STUB_SOCKET_FD && fds[i] != STUB_DOORBELL_FD)
            host_call3(SYS_CLOSE, fds[i], 0, 0);
}

static long fork_process(struct stub_thread *self, const struct stub_command *command, struct host_context *context)
{
    uint64_t nonce = command->arguments[0], address = command->arguments[1];
    uint32_t word = (uint32_t)command->arguments[2];
    if (!context || self->fd_count != 3)
        return -22;
    long pid = host_clone(17, 0, 0, (long)nonce, 0, 0);
    if (pid == 0) {
        self->fd_count = 0;
        become_client(self->fds);
        say_hello(self);
        if (address)
            stub_copy((void *)address, &word, sizeof word);
        serve(self, context);
        host_sigreturn(context);
    }
    close_fds(self);
    return pid;
}

static uint64_t fp_size(const struct host_context *context)
{
    if (!context || !context->fp_state)
        return 0;
    return *(const uint32_t *)(context->fp_state + 464) == 0x46505853 ? *(const uint32_t *)(context->fp_state + 468) : 512;
}

static long save_fp(struct host_context *context, void *to, uint64_t most)
{
    uint64_t size = fp_size(context);
    if (size == 0 || size > most)
        return -22;
    long error = stub_copy(to, context->fp_state, size);
    return error ? error : (long)size;
}

static long load_fp(struct host_context *context, const void *from, uint64_t size)
{
    uint64_t have = fp_size(context);
    if (have == 0 || size > have)
        return -22;
    return stub_copy(context->fp_state, from, size);
}

/* A page of the program's at a time, so that the count stops at the first that faults. */
static long copy_data(struct call_slot *slot, char *program, uint64_t size, uint64_t offset, int out)
{
    uint64_t moved = 0;
    if (size > sizeof slot->data || offset > sizeof slot->data - size)
        return -22;
    while (moved < size) {
        uint64_t piece = 4096 - ((uint64_t)(program + moved) & 4095);
        if (piece > size - moved)
            piece = size - moved;
        uint8_t *data = slot->data + offset + moved;
        if (out ? stub_copy(program + moved, data, piece) : stub_copy(data, program + moved, piece))
            break;
        moved += piece;
    }
    return (long)moved;
}

static long carry_out(struct stub_thread *self, struct stub_command *command, struct host_context *context)
{
    uint64_t *a = command->arguments;
    switch (command->operation) {
    case STUB_HOST_CALL: return host_call6((long)a[0], (long)a[1], (long)a[2], (long)a[3], (long)a[4], (long)a[5], (long)a[6]);
    case STUB_RECEIVE_FDS: {
        char tag;
        close_fds(self);
        long got = receive_fds(self, STUB_SOCKET_FD, self->fds, STUB_FD_REGISTERS, &tag);
        self->fd_count = got > 0 ? (uint32_t)got : 0;
        return got;
    }
    case STUB_CLOSE_FDS: close_fds(self); return 0;
    case STUB_MAP_FD:
        if (a[4] >= self->fd_count)
            return -9;
        return host_call6(SYS_MMAP, (long)a[0], (long)a[1], (long)a[2], (long)a[3], self->fds[a[4]], (long)a[5]);
    case STUB_FP_SAVE: return save_fp(context, (void *)a[0], a[1]);
    case STUB_FP_LOAD: return load_fp(context, (const void *)a[0], a[1]);
    case STUB_FP_RESET:
        if (!context)
            return -22;
        if (fp_size(context) > 576) { /* components in their initial state: XSTATE_BV empty */
            *(uint16_t *)context->fp_state = 0x37f;
            *(uint32_t *)(context->fp_state + 24) = 0x1f80;
            *(uint64_t *)(context->fp_state + 512) = 0;
        }
        return 0;
    case STUB_COPY_IN: return copy_data(self->slot, (char *)a[0], a[1], 0, 0);
    case STUB_COPY_OUT: return copy_data(self->slot, (char *)a[0], a[1], a[2], 1);
    case STUB_CAS32: return stub_cas((uint32_t *)a[0], (uint32_t)a[1], (uint32_t)a[2]);
    case STUB_TRAP: return 0;
    case STUB_CLONE_THREAD: return clone_thread((uint32_t)a[0], a[1], 0, context);
    case STUB_CLONE_VFORK: return clone_thread((uint32_t)a[0], a[1], 1, context);
    case STUB_FORK: return fork_process(self, command, context);
    case STUB_REWRITE: return rewrite_site(a[0], (int)a[1]);
    case STUB_REFUSE_SITE: rewrite_refuse(a[0]); return 0;
    case STUB_EXIT_THREAD: return host_call3(SYS_EXIT, 0, 0, 0);
    case STUB_EXIT_PROCESS: return host_call3(SYS_EXIT_GROUP, 0, 0, 0);
    case STUB_DISABLE_REWRITING: rewrite_disable(); return 0;
    }
    return -38;
}

/* Stops at the first that fails, but descriptors that were sent for the rest are taken out of the socket and closed. */
static void carry_out_from(uint32_t first, struct stub_thread *self, struct call_slot *slot, struct host_context *context)
{
    int failed = 0;
    uint32_t count = slot->command_count;
    for (uint32_t i = first; i < count && i < STUB_COMMANDS_MAX; i++) {
        struct stub_command *command = &slot->commands[i];
        if (failed && command->operation != STUB_RECEIVE_FDS && command->operation != STUB_CLOSE_FDS)
            continue;
        command->result = carry_out(self, command, context);
        failed |= command->result < 0 && command->result > -4096;
    }
}

static void carry_out_all(struct stub_thread *self, struct call_slot *slot, struct host_context *context)
{
    carry_out_from(0, self, slot, context);
}

/* --- registers --------------------------------------------------------------------------------------- */

static void store_registers(struct call_slot *slot, const struct host_context *context)
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
    slot->fp_size = fp_size(context);
}

static void load_registers(struct host_context *context, struct call_slot *slot)
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

/* --- the two ways of a call -------------------------------------------------------------------------- */

/* Trapped: after the post, until the server lets the program go on. */
static void serve(struct stub_thread *self, struct host_context *context)
{
    struct call_slot *slot = self->slot;
    for (;;) {
        uint32_t state = wait_answer(self, slot);
        take_answer(slot);
        if (state == SLOT_COMMAND) {
            carry_out_all(self, slot, context);
            post(self, slot, SLOT_KIND_DONE | SLOT_TRAPPED);
            continue;
        }
        if (state == SLOT_CONTEXT)
            load_registers(context, slot);
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
    fill_windows(slot);
    post(self, slot, SLOT_KIND_CALL);
    for (;;) {
        uint32_t state = wait_answer(self, slot);
        take_answer(slot);
        if (state != SLOT_COMMAND && slot->repeat) {
            slot->repeat = 0;
            if (slot->rax <= SYS_WRITE && ring_call(self, slot))
                return 0;
            fill_windows(slot);
            post(self, slot, SLOT_KIND_CALL);
            continue;
        }
        if (state != SLOT_COMMAND)
            return 0;
        if (slot->commands[0].operation == STUB_TRAP)
            return 1;
        carry_out_all(self, slot, 0);
        post(self, slot, SLOT_KIND_DONE);
    }
}

static void trapped_call(struct stub_thread *self, struct host_context *context, uint32_t flags)
{
    struct call_slot *slot = self->slot;
    store_registers(slot, context);
    fill_windows(slot);
    post(self, slot, SLOT_KIND_CALL | SLOT_TRAPPED | flags);
    serve(self, context);
}

static void trapped(struct stub_thread *self, struct host_context *context, uint32_t kind)
{
    store_registers(self->slot, context);
    drop_window(self->slot);
    post(self, self->slot, kind | SLOT_TRAPPED);
    serve(self, context);
}

/* After STUB_TRAP: the commands that follow it want the context that is there now. */
static void trapped_command(struct stub_thread *self, struct host_context *context)
{
    store_registers(self->slot, context);
    drop_window(self->slot);
    self->slot->commands[0].result = 0;
    carry_out_from(1, self, self->slot, context);
    post(self, self->slot, SLOT_KIND_DONE | SLOT_TRAPPED);
    serve(self, context);
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
        set_host_stack(context, self->index);
        self->slot->fp_size = fp_size(context);
        say_hello(self);
        serve(self, context);
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

/* --- start ------------------------------------------------------------------------------------------- */

/* The first thread of a process made by the zygote: waits for its program. */
static void first_thread(void *argument)
{
    const int *fds = argument;
    int copy[3] = {fds[0], fds[1], fds[2]};
    struct stub_thread *self = stub_self();
    host_call3(SYS_CLOSE, ZYGOTE_CONTROL_FD, 0, 0);
    set_gs(self);
    become_client(copy);
    __asm__ volatile("gate_start: ud2"); /* so that the host makes a signal frame with the initial FP state */
    __builtin_unreachable();
}

/* Called by the zygote for each request. */
long stub_spawn(int *fds)
{
    thread_init(0);
    return host_clone(17, (void *)(STUB_AREAS_BASE + AREA_THREAD - 64), 0, 0, first_thread, fds);
}

long zygote_receive(int socket, int *fds, char *tag) { return receive_fds(0, socket, fds, STUB_FD_REGISTERS, tag); }
