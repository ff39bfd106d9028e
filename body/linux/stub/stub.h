/*
 * The stub: the little program that lives beside the guest's in every managed process.
 *
 * It is no authority: guest code can jump anywhere in it, and write all its memory. What holds the guest
 * is the seccomp filter (any host call below, with any argument, harms the guest alone) and the
 * descriptors in the process. It has no C library, uses general registers only, and keeps one area per
 * thread: the host's alternate signal stack, a stack for the fast path, and struct stub_thread at the top.
 */
#ifndef BODY_LINUX_STUB_H
#define BODY_LINUX_STUB_H

#define AREA_ALTSTACK_SIZE 0xa000
#define AREA_THREAD 0xf000 /* struct stub_thread; the fast stack ends here and grows down */

/* Offsets in struct stub_thread, for assembly (checked in stub.c). */
#define T_SELF 0
#define T_SLOT 8
#define T_USER_RSP 16
#define T_RESUME 24
#define T_EFLAGS 32
#define T_STACK 40
#define T_PENDING 48
#define T_SCRATCH 56

/* Offsets in struct call_slot (checked in stub.c). */
/* Where the census of futex waiters is (CALL_PAGES_BASE + CALL_PAGES_CENSUS). */
#define CENSUS_ADDRESS 0x6ffc00000400
#define SLEEPERS_FROM_CENSUS 1024

#define S_KIND 4
#define S_RAX 8
#define S_RDI 16
#define S_RSI 24
#define S_RDX 32
#define S_R10 40
#define S_R8 48
#define S_R9 56
#define S_RIP 128
#define S_RSP 136
#define S_EFLAGS 144
#define S_RBX 152
#define S_RBP 160
#define S_R12 168
#define S_R13 176
#define S_R14 184
#define S_R15 192
#define S_HOST_TID 256
#define S_PROCESS_ID 260
#define S_THREAD_ID 264
#define S_PARENT_ID 268

#ifndef __ASSEMBLER__
#include "body/linux/call_page.h"
#include <stdbool.h>
#include <stddef.h>

/* A compiler barrier is not enough between the state word and what it guards; these are. */
static inline uint32_t word_load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

/* How well spinning has paid off; sleeps without it since. */
struct spin_luck {
    uint32_t luck, denied;
};

struct stub_thread {
    struct stub_thread *self;
    struct call_slot *slot;
    uint64_t user_rsp, resume, eflags;
    void *stack;
    uint32_t pending; /* an interrupt arrived while in the stub */
    uint32_t index;
    uint64_t scratch;
    uint64_t result; /* rax as the last handler returned with: see rewrite.c */
    struct spin_luck ring_luck, futex_luck;
    uint32_t no_yields; /* waits to come before the CPU is offered again: somebody kept it */
    uint32_t hello; /* this thread is a new host process and has to say so */
    int fds[STUB_FD_REGISTERS];
    uint32_t fd_count;
};

/* What the host puts on a signal stack, as the x86-64 Linux ABI lays it out. */
struct host_context {
    uint64_t flags, link;
    struct {
        void *base;
        int flags;
        uint64_t size;
    } stack;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error_code, trap_number, old_mask, cr2;
    uint8_t *fp_state;
    uint64_t reserved[8];
    uint64_t signal_mask;
};
_Static_assert(offsetof(struct host_context, r8) == 40 && offsetof(struct host_context, signal_mask) == 296, "ucontext");

struct host_siginfo {
    int32_t signo, errno_, code, padding;
    union {
        uint64_t address;
        struct {
            uint64_t call_address;
            int32_t call;
            uint32_t architecture;
        };
    };
};

long host_call6(long number, long a, long b, long c, long d, long e, long f);
#define host_call3(number, a, b, c) host_call6(number, (long)(a), (long)(b), (long)(c), 0, 0, 0)
long host_clone(long flags, void *stack, void *child_tid, long nonce, void (*entry)(void *), void *argument);
_Noreturn void host_sigreturn(struct host_context *context);
/* 0, or -EFAULT: the only stub code that touches memory which may not be there. */
long stub_copy(void *to, const void *from, uint64_t size);
long stub_probe(void *byte);

/* 0, or -EINTR at once when an interrupt is pending, or a host error: a futex(2) wait that no interrupt gets past. */
long stub_futex_wait(void *word, uint32_t operation, uint32_t value, void *timeout, struct stub_thread *self, uint32_t bitset);

/* 1 when it stored `desired` over `expected`, 0 when another value stood there; or -EFAULT. */
long stub_cas(uint32_t *word, uint32_t expected, uint32_t desired);

/* stub.c: the conversation. kind: SLOT_KIND_*, SLOT_TRAPPED, SLOT_REWRITABLE. */
void stub_post(struct stub_thread *self, struct call_slot *slot, uint32_t kind);
/* Takes along what the call will read, and offers to bring back what it fills; or neither. */
void stub_fill_windows(struct call_slot *slot);
void stub_drop_window(struct call_slot *slot);
/* Trapped: after the post, until the server lets the program go on. */
void stub_serve(struct stub_thread *self, struct host_context *context);

/* command.c */
/* Carries out the slot's commands from `first` on. context: NULL on the fast path. */
void stub_carry_out(uint32_t first, struct stub_thread *self, struct call_slot *slot, struct host_context *context);
void stub_close_fds(struct stub_thread *self);
/* One datagram with at most `count` descriptors: how many came, or a host error. */
long stub_receive_fds(int socket, int *fds, uint32_t count, char *tag);

/* spawn.c: a child's id, or a host error. context: what it goes on from; NULL is refused. */
long stub_clone(uint32_t index, uint64_t nonce, int vfork, struct host_context *context);
long stub_fork(struct stub_thread *self, const struct stub_command *command, struct host_context *context);
/* A new host process tells the server who it is: the socket adds its credentials. */
void stub_say_hello(struct stub_thread *self);
/* A program's signal stack is the kernel's affair: the host's is the area's. */
void frame_set_stack(struct host_context *context, uint32_t index);

/* A process for the zygote, whose call pages, socket and doorbell these are. */
long stub_spawn(int *fds);

/* handler.c: the size of the FP state in the host's frame, 0 when there is none; all registers, to and from the slot. */
uint64_t frame_fp_size(const struct host_context *context);
void frame_store(struct call_slot *slot, const struct host_context *context);
void frame_load(struct host_context *context, struct call_slot *slot);

/* futex.c */
struct futex_call {
    uint64_t address;
    uint32_t operation;
    uint64_t value, timeout, second, value3;
    uint64_t *result;
};
/* 1 when answered, in *call->result. self: NULL when it must not sleep. */
int futex_call_local(struct stub_thread *self, const struct futex_call *call);
int futex_word_differs(uint64_t address, uint32_t value);
/*
 * Waits without sleeping for a word to differ, for as long as a wake-up from another CPU takes, when that has been paying off lately,
 * and else now and then. True: it differs. An interrupt ends it. ring.c
 */
int stub_spin(struct stub_thread *self, struct spin_luck *luck, uint64_t address, uint32_t value);

/* ring.c: 1 when a read or write was done in a ring, its result in the slot. May sleep. */
int ring_call(struct stub_thread *self, struct call_slot *slot);

/* The thread's record: its area holds the stack this runs on. */
static inline struct stub_thread *stub_self(void)
{
    uint64_t sp = (uint64_t)__builtin_frame_address(0);
    return (struct stub_thread *)((sp & ~(STUB_AREA_SIZE - 1)) + AREA_THREAD);
}

/* rewrite.c */
long rewrite_site(uint64_t site, int concurrent);
int rewrite_form(uint64_t call_end); /* 0: cannot be rewritten */
/*
 * Moves a context that stands in a thunk, a local answer or behind a rewritten site's call to where a program's would be.
 * result: what the thread last went back to the program with.
 */
void rewrite_settle(struct host_context *context, uint64_t result);
/* An invalid instruction in the middle of a rewritten site: what to do. */
enum rewrite_caught {
    REWRITE_NONE,    /* it is the program's own */
    REWRITE_CALL,    /* a call that begins at this instruction, two bytes long */
    REWRITE_SETTLED, /* go on: the context has been moved behind the site */
};
enum rewrite_caught rewrite_caught(struct host_context *context, uint64_t result);
void rewrite_refuse(uint64_t site);
void rewrite_disable(void);
void rewrite_init(void);

extern char stub_text[], stub_cas_begin[], stub_cas_end[], stub_copy_begin[], stub_copy_end[], stub_copy_failed[];
extern char stub_exit_begin[], stub_exit_end[], gate_trap[], gate_interrupt[], gate_slow[], gate_start[];
extern char local_begin[], local_end[], local_getpid[], local_gettid[], local_getppid[], local_futex[], local_futex_word[];
extern char fast_entry[], fast_entry_dynamic[];
extern char stub_futex_wait_begin[], stub_futex_wait_end[], stub_futex_wait_interrupted[];
#endif
#endif
