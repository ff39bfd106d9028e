/*
 * A program's half of the page tables: the body's part of an address space.
 *
 * Two things keep a space alive: the struct aspace, until body_aspace_destroy empties it, and each user thread and hart that
 * still has it as its own. Translations change under space->lock, a spinlock, so that who may not suspend can look; the
 * region map's mutex is the paging code's affair.
 */
#ifndef RISCV64_SPACE_H
#define RISCV64_SPACE_H

#include "kernel/aspace.h"
#include "kernel/atomic.h"

struct space {
    struct atomic32 references;
    uint64_t *root;
    uint64_t satp;
    uint32_t asid;         /* 0: the hart has none to spare; then every activation forgets all translations */
    struct atomic64 harts; /* indices of those that may remember translations */
    struct spinlock lock;  /* guards the tables */
    struct list attachments; /* memobj.c: memobjs with pages here */
};

/* Once: how many address space identifiers the harts have; the vDSO's and the zeros' pages. */
void space_init(void);
struct space *space_create(void);
void space_ref(struct space *space);
void space_unref(struct space *space);
/* The calling hart's user half becomes this one, or nothing (NULL). Interrupts disabled. */
void space_activate(struct space *space);

/* Drops translations, on all harts, and then the pages. */
void space_unmap(struct space *space, uaddr_t start, uaddr_t end);
/* Takes rights away, on all harts; those that are added come by faults. */
void space_protect(struct space *space, uaddr_t start, uaddr_t end, uint32_t prot);
/* Nothing is mapped at the target. -ENOMEM: a part has moved. */
int space_move(struct space *space, uaddr_t from, uaddr_t to, uint64_t size);
/* Takes the right to write from translations of frames marked read-only (frames.h). */
void space_protect_marked(struct space *space);
/* Drops translations of frames marked condemned (frames.h). */
void space_unmap_condemned(struct space *space);

/*
 * Copies between kernel memory and one page's worth of user memory. False when the page is not there or not so: a fault is to
 * be taken. Never suspends.
 */
bool space_copy(struct space *space, void *kernel, uaddr_t user, size_t size, bool write);
/* Compare-and-swap; false as above. */
bool space_cas32(struct space *space, uaddr_t user, uint32_t expected, uint32_t desired, uint32_t *previous);

/* memobj.c. Once. */
void memobj_init(void);
/* The space is empty, and is in no memobj's list any more. */
void memobj_detach_all(struct space *space);
/* The same memobjs for the copy. -ENOMEM. */
int memobj_attach_all(struct space *child, struct space *parent);

#endif
