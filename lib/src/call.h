/*
 * libhyla's insides: what its files share. Nothing here is seen by programs.
 */
#ifndef LIB_SRC_CALL_H
#define LIB_SRC_CALL_H

#include "body/linux/attach_page.h"
#include "lib/core/frames.h"

#include <hyla/hyla.h>
#include <stdbool.h>
#include <stdint.h>

#define HIDDEN __attribute__((visibility("hidden")))

enum hyla_plan_flags { HYLA_PLAN_RESTARTS = 1, HYLA_PLAN_HANDLE = 2 /* the result is one */ };

/* What a generated stub knows of its call: where its memory is, so that small pieces can travel in the call page. */
struct hyla_plan {
    uint32_t number, flags;
    const void *in; /* read by the call, or NULL */
    uint64_t in_size;
    void *out; /* filled in by the call, or NULL */
    uint64_t out_size;
};

/* probe.c: the one door. */
HIDDEN int64_t hyla_call(const struct hyla_plan *plan, const uint64_t arguments[6]);
/* The world that this process is in, found out if need be: an enum hyla_world; bare: *error says why. */
HIDDEN enum hyla_world world_now(int *error);
HIDDEN int64_t raw_call(uint64_t number, const uint64_t arguments[6]);

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
/* Checks in. `token` of a fork, or 0. 0 or a negated errno. Signals are blocked by the caller. */
HIDDEN int attach(const char *path, uint64_t token);
HIDDEN void detach(void);
/* In the child of a fork: what is left of the parent's attachment. */
HIDDEN void attach_drop_inherited(void);
/* False when the server has ended, or cut this process off. */
HIDDEN bool server_alive(void);

/* post.c: an attached call. */
HIDDEN int64_t post_call(const struct hyla_plan *plan, const uint64_t arguments[6]);
/* Posts what stands in the slot. */
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
};
HIDDEN struct thread_state *thread_self(void);
/* A slot for the frame: its index, or 0 when all are taken. */
HIDDEN uint32_t thread_slot(struct thread_state *self, uint32_t frame);
/* At check-in: no slot is anybody's. */
HIDDEN void slots_reset(void);

/* s2c.c */
/* Carries out the commands in a slot. */
HIDDEN void commands_carry_out(struct call_slot *slot);
/* Serves slot 0 when something stands there. */
HIDDEN void s2c_serve(void);
/* Before check-in: the signal, whose handler serves. Its number, or a negated errno. */
HIDDEN int s2c_signal(void);

#endif
