/*
 * What libhyla and the server share beyond body/linux/call_page.h: the check-in messages, and the part of a call slot that only
 * attached threads use. docs/attached.md tells the story.
 *
 * A slot is a thread's when the thread has taken it; slot 0 belongs to nobody and carries what the server asks of the process
 * while no call of its own is under way (S2C). As everywhere, what a client writes is believed by nobody.
 */
#ifndef BODY_LINUX_ATTACH_PAGE_H
#define BODY_LINUX_ATTACH_PAGE_H

#include "body/linux/handshake.h"

/* More states of a slot. */
enum {
    ATTACH_SLOT_FREE = SLOT_USER,   /* nobody's, or its commands are being carried out */
    ATTACH_SLOT_GONE = 7,           /* the server has ended, or has cut the process off */
};

/* One more command: takes the descriptor with the number in [1] from the socket, and keeps it. Result: the descriptor. */
#define ATTACH_TAKE_FD 64

/* In an attached thread's slot the first half of `data` carries pieces of memory, the second this. */
#define ATTACH_COPY_BYTES 2048u
#define ATTACH_OUT_BYTES 1024u
#define ATTACH_REGS 20u
struct attach_area {
    /* Written by the client. */
    uint64_t sequence; /* of the call in the slot */
    uint64_t cancel;   /* a sequence: that call is to be given up */
    uint64_t out_address; /* what the server would copy to [out_address, + out_size) it may put into `out` instead */
    uint32_t out_size;
    int32_t tid; /* the thread's, as it sees itself */
    uint32_t first;   /* the slot of the call that this thread's other calls are nested in: another one's first call is what it is for the kernel */
    uint32_t stopped; /* the last `stop` that the thread stands still for */
    /* Written by the server. */
    uint64_t cancel_seen __attribute__((aligned(64))); /* the last `cancel` that has been acted on: it has no effect any more */
    uint32_t out_filled; /* of `out`, from its start */
    uint32_t stop;       /* not 0: the thread is to stand still, and to say so with this number; a futex */
    uint32_t regs_set;   /* with `stop` 0 again: the thread is to go on with `regs` */
    /* Written by the thread when it has come to stand still; by the server before it is let go. In the order of struct user_regs. */
    uint64_t regs[ATTACH_REGS] __attribute__((aligned(64)));
    uint8_t out[ATTACH_OUT_BYTES] __attribute__((aligned(64)));
};
_Static_assert(sizeof(struct attach_area) <= 4096 - ATTACH_COPY_BYTES, "the area fits its half of the page");

static inline struct attach_area *attach_area(struct call_slot *slot) { return (struct attach_area *)(void *)(slot->data + ATTACH_COPY_BYTES); }

static inline struct cancel_words attach_cancel_words(struct call_slot *slot)
{
    struct attach_area *area = attach_area(slot);
    return (struct cancel_words){(struct atomic64 *)(void *)&area->sequence, (struct atomic64 *)(void *)&area->cancel,
                                 (struct atomic64 *)(void *)&area->cancel_seen};
}

/* --- check-in, over a SEQPACKET socket ---------------------------------------------------------------- */

#define ATTACH_VERSION 2u

enum attach_tag {
    ATTACH_HELLO = 0x48594c01, /* client: I want to attach */
    ATTACH_WELCOME,            /* server: with three descriptors (call pages, doorbell, kernel page), or an error */
    ATTACH_READY,              /* client: mapped; here is a word to read */
    ATTACH_GO,                 /* server: calls may be made */
    ATTACH_LOOK,               /* client: show me something; text comes in messages until the server closes */
};

struct attach_hello {
    uint32_t tag, version;
    int32_t pid;      /* as the client sees itself */
    uint32_t signal;  /* what interrupts it for S2C */
    uint64_t window_start, window_size; /* set aside for mappings */
    uint64_t token;   /* of a fork, or 0 */
};

struct attach_welcome {
    uint32_t tag;
    int32_t error;    /* negated errno; then no descriptors came along */
    int32_t server_pid;
    uint32_t version;
    uint64_t pages_size;
};

struct attach_ready {
    uint32_t tag, reserved;
    uint64_t address, value; /* a word of the client's memory, and what it holds */
};

struct attach_go {
    uint32_t tag;
    uint32_t copies_remotely; /* 1: the server reaches the client's memory by itself */
};

enum attach_look_at { ATTACH_LOOK_TASKS = 1, ATTACH_LOOK_PORTS = 2 };
struct attach_look {
    uint32_t tag, what;
};

#endif
