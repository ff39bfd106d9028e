/*
 * The Linux side of memory: one struct mm (abi/linux/process.h) per address space, and what exec, fork,
 * fault handling and /proc ask of it. mm->mutex serialises every change to the map, so whoever holds it
 * (fork, around mm_fork and body_user_clone) sees a map that agrees with the body's.
 */
#ifndef ABI_LINUX_MM_H
#define ABI_LINUX_MM_H

#include "abi/linux/process.h"

/* A fresh record with one reference; takes a reference on the address space. NULL: no memory. */
struct mm *mm_create(struct aspace *aspace);
/*
 * fork: the child's record over `child` (aspace_create_bare), whose region map becomes a copy of the parent's.
 * parent->mutex held by the caller until body_user_clone is done. NULL: no memory.
 */
struct mm *mm_fork(struct mm *parent, struct aspace *child);
/* The ELF loader: where the heap starts (rounded up to a page); nothing is mapped yet. */
void mm_set_brk(struct mm *mm, uaddr_t start);
/* The program's file, for /proc/PID/exe: takes a reference (NULL is fine). */
void mm_set_exe(struct mm *mm, struct file *exe);
/*
 * A fault at an address that nothing maps: true when a MAP_GROWSDOWN region (the stack) grew to hold it and the
 * instruction is to be tried again. Called on the faulting thread.
 */
bool mm_grow_stack(struct mm *mm, uaddr_t address);

/*
 * Text of /proc/PID/maps: whole lines for the regions from *cursor (0 at first) on, as many as fit; *cursor moves on.
 * Bytes written, 0 at the end, -ENOMEM. size >= MM_MAPS_LINE_MAX.
 */
#define MM_MAPS_LINE_MAX (4096u + 128u)
int64_t mm_show_maps(struct mm *mm, uaddr_t *cursor, char *buffer, size_t size);
/* The same regions as /proc/PID/smaps shows them (sizes by commitment: the kernel does not see private pages). */
int64_t mm_show_smaps(struct mm *mm, uaddr_t *cursor, char *buffer, size_t size);

/* For /proc/PID/status and statm; bytes. */
struct mm_usage {
    uint64_t mapped, data, stack, executable, locked, shared;
};
void mm_usage(struct mm *mm, struct mm_usage *usage);

#endif
