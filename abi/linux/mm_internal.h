/*
 * What the mm_*.c files share: Linux's numbers for memory calls, the limits, and checked ranges.
 */
#ifndef ABI_LINUX_MM_INTERNAL_H
#define ABI_LINUX_MM_INTERNAL_H

#include "abi/linux/calls.h"
#include "abi/linux/file.h"
#include "abi/linux/mm.h"
#include "kernel/alloc.h"
#include "kernel/errno.h"
#include "kernel/string.h"

enum { LINUX_PROT_SEM = 8, LINUX_PROT_GROWSDOWN = 0x01000000, LINUX_PROT_GROWSUP = 0x02000000 };
enum {
    LINUX_MAP_SHARED = 1,
    LINUX_MAP_PRIVATE = 2,
    LINUX_MAP_SHARED_VALIDATE = 3,
    LINUX_MAP_TYPE = 0xf,
    LINUX_MAP_FIXED = 0x10,
    LINUX_MAP_ANONYMOUS = 0x20,
    LINUX_MAP_32BIT = 0x40,
    LINUX_MAP_GROWSDOWN = 0x100,
    LINUX_MAP_DENYWRITE = 0x800,
    LINUX_MAP_EXECUTABLE = 0x1000,
    LINUX_MAP_LOCKED = 0x2000,
    LINUX_MAP_NORESERVE = 0x4000,
    LINUX_MAP_POPULATE = 0x8000,
    LINUX_MAP_NONBLOCK = 0x10000,
    LINUX_MAP_STACK = 0x20000,
    LINUX_MAP_HUGETLB = 0x40000,
    LINUX_MAP_FIXED_NOREPLACE = 0x100000,
    LINUX_MAP_ABOVE_4G = 0x80,
    LINUX_MAP_UNINITIALIZED = 0x4000000,
    LINUX_MAP_HUGE_SIZES = 21 << 26 | 30 << 26,
};
enum { LINUX_MCL_CURRENT = 1, LINUX_MCL_FUTURE = 2, LINUX_MCL_ONFAULT = 4 };

/* The calling process's. */
static inline struct mm *current_mm(void) { return current_process()->mm; }

/* The calling process's limits, read before mm->mutex is taken (they have a lock of their own that comes first). */
struct mm_limits {
    uint64_t mapped, data, locked;
    bool privileged; /* CAP_IPC_LOCK: no limit on locked memory */
};
struct mm_limits mm_limits_read(void);
/* RLIMIT_AS and RLIMIT_DATA allow `size` more bytes, `freed` of the old ones going. mm->mutex held. */
bool mm_may_expand(struct mm *mm, const struct mm_limits *limits, uint64_t size, uint64_t freed, bool data);
/* RLIMIT_MEMLOCK allows `size` more locked bytes. mm->mutex held. */
bool mm_may_lock(struct mm *mm, const struct mm_limits *limits, uint64_t size);
/* A mapping in the calling process, within its limits. */
int mm_map_request(struct aspace_map_request *request, uaddr_t *address);
/* Of the range rounded up to pages: false when it wraps round. */
bool mm_round(uint64_t *size);

#endif
