/*
 * Simulated user memory: what memobj.c and user.c share.
 */
#ifndef BODY_SIM_USER_H
#define BODY_SIM_USER_H

#include "body/sim/engine.h"

/* A page of memory: an allocation of its own, so that use after free is seen. */
struct sim_frame {
    struct sim_frame *next; /* in its owner's list */
    uint64_t index;         /* page of the memobj, or of the address space */
    char *bytes;
};

struct sim_frame *sim_frame_find(struct sim_frame *list, uint64_t index);
/* Zeroed and put on the list, or NULL. */
struct sim_frame *sim_frame_add(struct sim_frame **list, uint64_t index);
/* Takes the frames in [first, first + count) off the list, makes every CPU forget them, frees them. */
void sim_frames_remove(struct sim_frame **list, uint64_t first, uint64_t count);

struct memobj;
struct sim_frame *sim_memobj_frame(struct memobj *memobj, uint64_t index);

#endif
