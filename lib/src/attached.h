/*
 * The attached world's insides: a process that has checked in to a server, its threads and their call slots.
 */
#ifndef LIB_SRC_ATTACHED_H
#define LIB_SRC_ATTACHED_H

#include "body/linux/attach_page.h"
#include "lib/core/frames.h"
#include "lib/src/call.h"

/* attach.c */
struct attachment {
    int socket, doorbell;
    struct call_pages_header *pages;
    struct call_slot *slots;
    struct kernel_page *kernel_page; /* read-only */
    void *window;
    uint64_t window_size;
    uint32_t epoch; /* counts attachments of this process and its parents: what a thread knows of an older one is void */
    _Atomic bool open;
};
extern HIDDEN struct attachment attachment;
/* False when the server has ended, or cut this process off. */
HIDDEN bool server_alive(void);

/* post.c */
/* Posts what stands in the slot. */
HIDDEN void slot_ring(uint32_t index);
HIDDEN void slot_post(uint32_t index, uint32_t kind, bool ring_always);
HIDDEN extern const struct frames_hooks post_hooks;

/* thread.c */
struct thread_state {
    struct frames frames;
    uint32_t slots[FRAMES_MAX];   /* of each frame: 0 until it is first needed */
    uint32_t epoch;
    bool fresh[FRAMES_MAX];       /* the slot's first post must ring */
    bool closes[FRAMES_MAX];      /* its call's result is a handle */
    bool interruptible;
    uint32_t no_yields;           /* as slot_stand_in_line has it */
    bool standing;                /* in stop_serve */
};
HIDDEN struct thread_state *thread_self(void);
/* A slot for the frame: its index, or 0 when all are taken. */
HIDDEN uint32_t thread_slot(struct thread_state *self, uint32_t frame);
/* At check-in: no slot is anybody's. */
HIDDEN void slots_reset(void);

/* In a signal handler: the thread's, if it has made calls in this attachment; else NULL. */
HIDDEN struct thread_state *thread_state_of_handler(void);

/* stop.c: in libhyla's signal handler, with the context that was interrupted. */
HIDDEN void stop_serve(void *context);

/* s2c.c */
/* Carries out the commands in a slot. */
HIDDEN void commands_carry_out(struct call_slot *slot);
/* Serves slot 0 when something stands there. */
HIDDEN void s2c_serve(void);
/* Before check-in: the signal, whose handler serves. Its number, or a negated errno. */
HIDDEN int s2c_signal(void);

#endif
