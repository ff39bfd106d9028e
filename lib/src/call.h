/*
 * libhyla's door: what every call goes through, in each of the worlds. Nothing here is seen by programs.
 *
 * The second half is what the attached world adds, declared in attached.h and made by attach.c, post.c, thread.c and s2c.c. Where
 * there is no such world (riscv64: the Linux body is for x86-64 hosts) riscv64/unattached.c stands for all of them.
 */
#ifndef LIB_SRC_CALL_H
#define LIB_SRC_CALL_H

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
/* x86_64/, riscv64/: a plain system call. */
HIDDEN int64_t raw_call(uint64_t number, const uint64_t arguments[6]);

/* --- the attached world --------------------------------------------------------------------------------- */

/* Checks in. `token` of a fork, or 0. 0 or a negated errno. Signals are blocked by the caller. */
HIDDEN int attach(const char *path, uint64_t token);
HIDDEN void detach(void);
/* In the child of a fork: what is left of the parent's attachment. */
HIDDEN void attach_drop_inherited(void);
/* An attached call. */
HIDDEN int64_t post_call(const struct hyla_plan *plan, const uint64_t arguments[6]);

#endif
