/*
 * The call page: what the server and the stub of a managed client share.
 *
 * Each client (an address space with one or more host processes in it) has one sealed memfd, mapped by
 * the server and, at CALL_PAGES_BASE, by the client. It begins with a header and goes on with one slot
 * per user thread. The client owns a slot's words while the thread is in user mode, the server while the
 * state says POSTED. A client can write all of it at any time: the server reads each word once, believes
 * nothing, and keeps what matters (who owns a slot, which thread it is) in its own memory.
 *
 *      client                               server
 *      fill registers; kind
 *      state := POSTED (fence)
 *      polled == 0: pending bit, doorbell
 *                                           claim (server's own word); read registers
 *                                           ... serve, maybe COMMAND and back to POSTED any number of times
 *                                           rax := result; state := ANSWERED (swap)
 *                                           old state POSTED_SLEEPING: futex wake
 *      state >= ANSWERED: go on
 */
#ifndef BODY_LINUX_CALL_PAGE_H
#define BODY_LINUX_CALL_PAGE_H

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stdint.h>
#endif

/* --- where the stub lives in a client's address space ------------------------------------------------ */

#define STUB_REGION_BASE 0x6ff000000000ul /* nothing of the program's is ever mapped in [BASE, END) */
#define STUB_REGION_END 0x700000000000ul
#define STUB_IMAGE_BASE 0x6ff800000000ul /* text first: see stub.ld */
#define STUB_TEXT_SIZE 0x10000ul /* the filter lets host calls start here only */
#define STUB_THUNKS_BASE 0x6ff810000000ul /* within 2 GiB of the image */
#define STUB_THUNKS_SIZE (1ul << 20)
#define STUB_AREAS_BASE 0x6ffa00000000ul
#define STUB_AREA_SIZE (64ul << 10)
#define CALL_PAGES_BASE 0x6ffc00000000ul
#define STUB_RINGS_BASE 0x6ffd00000000ul  /* pipes that the stubs read and write by themselves */
#define KERNEL_PAGE_BASE 0x6ffe00000000ul /* read-only, shared by all clients */

/*
 * The tables of rewritten sites, by form (stub/rewrite.c). A byte of each slot's address is 0x06, an invalid opcode in 64-bit
 * mode: the third of form 1's, so that they fill 64 KiB, and the first of form 2's, so that they are 256 bytes apart.
 */
#define SITE_TABLE_BASE 0x60000ul
#define SITE_TABLE_SLOTS_1 (0x10000ul / 8)
#define SITE_TABLE_BASE_2 0x70000ul
#define SITE_TABLE_SLOTS_2 (0x90000ul / 256)
#define SITE_TABLE_SIZE 0xa0000ul

#define CLIENT_THREADS_MAX 4096u
#define CALL_SLOT_SIZE 8192u
#define CALL_PAGES_HEADER_SIZE 4096u
#define CALL_PAGES_CENSUS 1024
#define CALL_PAGES_SIZE (CALL_PAGES_HEADER_SIZE + (uint64_t)CLIENT_THREADS_MAX * CALL_SLOT_SIZE)

/* The host signal that brings a running thread into the kernel: SIGURG, whose default is to be ignored. */
#define STUB_INTERRUPT_SIGNAL 23

/* Descriptors a stub process has. */
#define STUB_SOCKET_FD 3
#define STUB_DOORBELL_FD 4
#define ZYGOTE_CONTROL_FD 7 /* the zygote's only one */

enum slot_state {
    SLOT_USER = 0,
    SLOT_POSTED = 1,
    SLOT_POSTED_SLEEPING = 2, /* the client waits on the state word's futex */
    SLOT_ANSWERED = 3,        /* return to user mode with rax */
    SLOT_CONTEXT = 4,         /* return with all registers from the slot (trapped entries only) */
    SLOT_COMMAND = 5,         /* carry out the commands, then post SLOT_KIND_DONE */
};

enum slot_kind {
    SLOT_KIND_CALL = 1,
    SLOT_KIND_FAULT = 2,
    SLOT_KIND_INTERRUPT = 3,
    SLOT_KIND_DONE = 4,
};

/* Or'ed to the kind, so that the hot line says it all. */
enum slot_flags {
    SLOT_KIND_MASK = 0xff,
    SLOT_TRAPPED = 0x100,    /* the thread is in a host signal handler (or has not started): all registers can be set */
    SLOT_REWRITABLE = 0x200, /* the call came from a site whose form could be rewritten */
    SLOT_CPU_SHIFT = 16,     /* the CPU that the client posted on: a hint */
};

enum slot_base_changes { SLOT_SET_FS = 1, SLOT_SET_GS = 2 };

enum stub_operation {
    STUB_HOST_CALL = 1, /* arguments: number, six arguments; result */
    STUB_RECEIVE_FDS,   /* one message from the socket: its descriptors take the place of those in the fd registers */
    STUB_CLOSE_FDS,     /* closes the fd registers */
    STUB_MAP_FD,        /* mmap: addr, size, prot, flags, fd register, offset */
    STUB_FP_SAVE,       /* [0] to, [1] most bytes: copies the frame's FP state to user memory; result: bytes */
    STUB_FP_LOAD,       /* [0] from, [1] bytes */
    STUB_FP_RESET,
    STUB_COPY_IN,        /* [0] from, [1] bytes: user memory into the slot's data; result: bytes until the first fault */
    STUB_COPY_OUT,       /* [0] to, [1] bytes, [2] where in the slot's data: the other way */
    STUB_CAS32,         /* [0] address, [1] expected, [2] desired; result: previous value, or -EFAULT */
    STUB_TRAP,          /* leave the fast path: become a trapped entry, then go on with the next command */
    STUB_CLONE_THREAD,  /* [0] index of the new slot, [1] nonce; result: inner thread id */
    STUB_CLONE_VFORK,   /* the same, another host process in this address space */
    STUB_FORK,          /* [0] nonce, [1] address or 0, [2] word: fd registers hold the child's socket, doorbell and call pages */
    STUB_REWRITE,       /* [0] address of the site, [1] 1: other threads may be running */
    STUB_REFUSE_SITE,    /* [0] address of the call instruction: never ask for it again */
    STUB_EXIT_THREAD,
    STUB_EXIT_PROCESS,
    STUB_DISABLE_REWRITING, /* the program wants %gs for itself */
};

struct stub_command {
    uint32_t operation, padding;
    int64_t result;
    uint64_t arguments[7];
};

#define STUB_COMMANDS_MAX 32
#define CALL_WINDOW_BYTES 240
#define SLOT_QUICK 4u
#define SLOT_QUICK_CYCLES 250000u /* about 100 us: a few times what waking an idle CPU costs */
#define STUB_FD_REGISTERS 16

/* --- rings (docs/pipe-rings.md) ------------------------------------------------------------------------ */

#define RING_BYTES 65536u
#define RING_DATA_OFFSET 4096u
#define RING_SIZE (RING_DATA_OFFSET + RING_BYTES)
#define RING_STRIDE (128ul << 10)
#define RING_PLACES 16u /* where a client has rings: STUB_RINGS_BASE + place * RING_STRIDE */
#define RING_ENTRIES 4u /* a thread's */
#define RING_ATOMIC 4096u /* PIPE_BUF: a write of so many bytes is whole */

/* An entry: the descriptor and 1, what may be done to it, in which place its ring is. */
#define RING_ENTRY_WRITES (1ul << 32)
#define RING_ENTRY_KEY 0x1fffffffful
#define RING_ENTRY_PLACE_SHIFT 40
#define RING_REVOKED 1ul /* in head and tail, which count bytes in steps of RING_STEP */
#define RING_STEP 2ul

/* What anybody who has the pipe can write, whichever end it has. The data follow at RING_DATA_OFFSET. */
struct ring_header {
    uint64_t head; /* written so far; readers sleep on its low half */
    uint32_t readers_asleep;
    uint32_t writer_cpu; /* where the last writer ran, + 1: a hint */
    uint64_t tail __attribute__((aligned(64))); /* read so far; writers sleep on its low half */
    uint32_t writers_asleep;
    uint32_t reader_cpu;
    uint32_t writing __attribute__((aligned(64))); /* a writer is at work */
};
_Static_assert(sizeof(struct ring_header) <= RING_DATA_OFFSET, "the header is one page");

struct call_slot {
    /* The hot line: everything an ordinary call moves. */
    uint32_t state;
    uint32_t kind;
    uint64_t rax;
    uint64_t rdi, rsi, rdx, r10, r8, r9;
    /* Written by the server, read by the client. */
    uint32_t polled __attribute__((aligned(64))); /* the server looks at state by itself, on this CPU (+ 1): no doorbell needed */
    uint32_t blocked;                              /* the call will take long: do not spin */
    uint32_t command_count;
    uint32_t repeat; /* with SLOT_ANSWERED: the call is to be made again, from its beginning in the stub */
    uint64_t rings[RING_ENTRIES]; /* descriptors that may be used in a ring, 0: none; the server takes them away at any time */
    /* Written by the client. */
    uint64_t rip __attribute__((aligned(64)));
    uint64_t rsp, eflags;
    uint64_t rbx, rbp, r12, r13, r14, r15, rcx, r11;
    /* SLOT_KIND_FAULT */
    int32_t signal, code;
    uint64_t fault_address, trap_number, error_code;
    uint64_t fp_size; /* of the frame's FP state, when trapped */
    /* Zeroed by the host when the thread's host thread is gone (clear-child-tid). */
    uint32_t host_tid;
    /* Read by the stub instead of asking. */
    int32_t process_id, thread_id, parent_id;
    /* Written by the server: with SLOT_CONTEXT, set these too. */
    uint32_t base_changes; /* SLOT_SET_FS | SLOT_SET_GS */
    uint64_t fs_base, gs_base;
    /* Written by the client: set_robust_list, which it answers itself when it comes as a trap. */
    uint64_t robust_list;
    uint32_t robust_set;
    uint32_t asleep; /* written by the client: it waits without the kernel, see sleepers */
    /* Memory that the call reads, handed over with it: a copy of [window_address, + window_size). */
    uint64_t window_address __attribute__((aligned(64)));
    uint32_t window_size;
    uint32_t cpu; /* where the client went to sleep: a hint */
    uint32_t quick; /* how often in a row it was awake for a short time only before it slept again, at most SLOT_QUICK: a hint */
    uint64_t woken_at; /* the client's: time stamp counter */
    uint8_t window[CALL_WINDOW_BYTES];
    /* Memory that the call fills: what the server would copy to [answer_address, + answer_size) it may put into `answer` instead. */
    uint64_t answer_address;
    uint32_t answer_size;
    uint32_t answer_filled; /* written by the server: of `answer`, from its start */
    uint8_t answer[CALL_WINDOW_BYTES];
    struct stub_command commands[STUB_COMMANDS_MAX] __attribute__((aligned(64)));
    uint8_t data[4096] __attribute__((aligned(4096)));
};
_Static_assert(sizeof(struct call_slot) == CALL_SLOT_SIZE, "a slot is two pages");

struct call_pages_header {
    uint64_t pending[CLIENT_THREADS_MAX / 64]; /* slots posted since the doorbell was last answered */
    uint8_t padding[CALL_PAGES_CENSUS - CLIENT_THREADS_MAX / 8];
    uint32_t census[256]; /* waiters of private futexes, by hash: kernel/futex.h says why a zero here means nobody */
    /* Written by the client: threads that wait for private futexes without the kernel (stub/futex.c), by the same hash; all. */
    uint32_t sleepers[256];
    uint32_t asleep, sleepers_moved;
    /* Written by the client: the CPUs, each + 1 in 8 bits, of the last wake of a private futex and of the one before, by hash: hints. */
    uint16_t wakers[256];
    uint32_t ring_users[RING_PLACES]; /* written by the client: threads that are in the ring there */
};
_Static_assert(sizeof(struct call_pages_header) <= CALL_PAGES_HEADER_SIZE, "the header is one page");

/* Calls by number, those of the first ABI and those above CALL_SECOND_FIRST. */
#define CALL_WINDOWS_FIRST 512u
#define CALL_SECOND_FIRST 4096u
#define CALL_WINDOWS (CALL_WINDOWS_FIRST + 448) /* as many as the kernel page has room for */

/* What the server publishes to all clients, read-only there. */
struct kernel_page {
    uint32_t spin; /* how many turns a waiting client may spin before it sleeps: 0 with no CPU to spare */
    uint32_t rewrite;
    uint32_t local_waits; /* waits for private futexes need not come to the kernel */
    /*
     * By call_window: the argument that points to what the call reads, and the one that says how much (the same: unknown);
     * and to what it fills.
     */
    struct call_window {
        uint8_t pointer, length, answer_pointer, answer_length; /* 1 to 6; 0: none */
    } windows[CALL_WINDOWS];
};
#ifndef __ASSEMBLER__
_Static_assert(sizeof(struct kernel_page) <= 4096, "the kernel page is one page");

/* CALL_WINDOWS: the call has none. */
static inline uint32_t call_window(uint64_t number)
{
    if (number < CALL_WINDOWS_FIRST)
        return (uint32_t)number;
    number -= CALL_SECOND_FIRST;
    return number < CALL_WINDOWS - CALL_WINDOWS_FIRST ? (uint32_t)number + CALL_WINDOWS_FIRST : CALL_WINDOWS;
}
#endif

/* The CPU this runs on, as the host's vdso finds it out: in the limit of a segment that every process has. */
static inline uint32_t current_cpu_hint(void)
{
    uint32_t limit;
    __asm__ volatile("lsl %1, %0" : "=r"(limit) : "r"(0x7b) : "cc");
    return limit & 0xfff;
}

#ifndef __ASSEMBLER__
/* The worker that looks at this slot was on the CPU of the caller when it last said so. */
static inline bool slot_polled_here(const struct call_slot *slot)
{
    return __atomic_load_n(&slot->polled, __ATOMIC_RELAXED) == current_cpu_hint() + 1;
}

/* How many turns a client may spin for its answer: none while its spinning is what keeps the server from running. */
static inline uint32_t slot_spin_turns(const struct call_slot *slot, const struct kernel_page *page)
{
    return slot_polled_here(slot) ? 0 : page->spin;
}

#define SLOT_YIELDS_MAX 2u
#define SLOT_YIELD_PAUSE 64u

/*
 * When the worker that looks at this slot does so on the client's own CPU, it stands in line for the CPU, and to let it run is cheaper
 * than to sleep and be woken. If the answer is not there when the CPU comes back, somebody else ran (who sleeps is preferred
 * later) or the call waits for somebody: then it is left for a while (*no_yields: waits to come before it is tried again). True when
 * the answer is there.
 */
static inline int slot_stand_in_line(const struct call_slot *slot, uint32_t *no_yields, void (*yield)(void))
{
    if (!slot_polled_here(slot) || __atomic_load_n(&slot->blocked, __ATOMIC_RELAXED))
        return 0;
    if (*no_yields > 0) {
        --*no_yields;
        return 0;
    }
    for (uint32_t turn = 0; turn < SLOT_YIELDS_MAX; turn++) {
        yield();
        if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) >= SLOT_ANSWERED)
            return 1;
    }
    *no_yields = SLOT_YIELD_PAUSE;
    return 0;
}

/*
 * Around a client's sleep, for placement: who is awake for a short time only, again and again, does best on the CPU of whoever
 * causes its wake (post.c).
 */
static inline void slot_falls_asleep(struct call_slot *slot)
{
    uint32_t quick = slot->quick;
    if (__builtin_ia32_rdtsc() - slot->woken_at > SLOT_QUICK_CYCLES)
        quick = 0;
    else if (quick < SLOT_QUICK)
        quick++;
    slot->quick = quick;
    slot->cpu = current_cpu_hint();
}
static inline void slot_woke_up(struct call_slot *slot) { slot->woken_at = __builtin_ia32_rdtsc(); }
#endif

/* Zygote protocol, on its control socket. */
#define ZYGOTE_LISTENER 'L' /* to the server: two words, this and the number of the seccomp listener's descriptor */
#define ZYGOTE_SPAWN 'S'    /* to the zygote: socket, doorbell, call pages */
#define STUB_HELLO 'H'      /* a new host process to the server, on its own socket: 'H' and its slot index */

#endif
