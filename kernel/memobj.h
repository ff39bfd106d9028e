/*
 * Memory objects: sparse arrays of pages that can be read, written, resized and mapped.
 *
 * An anonymous memobj's pages belong to the body (a sealed memfd on Linux, physical pages on RISC-V) and
 * come into being zeroed when first touched. A file-backed memobj's contents come from the body's own
 * file system. A paged memobj's come from a pager (kernel/pager.h): an access may have to wait for a page, and waits
 * interruptibly.
 */
#ifndef KERNEL_MEMOBJ_H
#define KERNEL_MEMOBJ_H

#include "kernel/lock.h"
#include "kernel/object.h"
#include "kernel/waitq.h"

struct memobj;

struct paged;

enum memobj_kind { MEMOBJ_ANONYMOUS, MEMOBJ_HOST_FILE, MEMOBJ_PAGED };

struct memobj {
    struct object object;
    enum memobj_kind kind;
    struct mutex mutex; /* rank MEMOBJ; guards size and the page population */
    uint64_t size;      /* bytes; pages beyond it do not exist */
    uint64_t pages;     /* that the kernel itself brought into being */
    uint64_t charged;   /* of those, outside the mapped range, counted against the total commit limit */
    uint64_t mapped_first, mapped_end; /* pages that programs may make by shared mappings, all charged; grows only */
    struct atomic32 mapped_shared; /* some address space has had it mapped writable and shared: pages come unseen */
    uint32_t seals;     /* memobj_seals: only added to */
    void *body;         /* the body's part */
    struct paged *paged; /* of MEMOBJ_PAGED: what is known of its pages and its pager, guarded by the mutex (kernel/pager_internal.h) */
};

enum memobj_seals { SEAL_SHRINK = 1, SEAL_GROW = 2, SEAL_WRITE = 4, SEAL_SEAL = 8, SEAL_ALL = 15 };

extern const struct object_type memobj_type;

#define MEMOBJ_SIZE_MAX ((uint64_t)1 << 40)

/* NULL: no memory. */
struct memobj *memobj_create(uint64_t size);
/* Wraps a file of the body; takes over `body_file` (freed by body_memobj_destroy). */
struct memobj *memobj_create_host_file(void *body_file, uint64_t size);
/* Bytes moved (short at the end of the object), or -EINTR, -EIO (or what the pager says), -ENOMEM. May suspend. */
int64_t memobj_read(struct memobj *memobj, void *buffer, uint64_t offset, size_t size);
/* Grows the object when the range reaches past its end. -EFBIG, -ENOMEM, -EROFS (host file opened read-only), -EPERM (seals). */
int64_t memobj_write(struct memobj *memobj, const void *buffer, uint64_t offset, size_t size);
/* Pages past the new end are dropped and their bytes read as zero if it grows again. -EFBIG, -EINVAL (host file), -EPERM (seals). */
int memobj_resize(struct memobj *memobj, uint64_t size);
/*
 * Waits until what was dirty in the range when it was called is stored by the pager; nothing to do for others. -EINTR, -EIO: the pager
 * is gone, or what it could not store since the last sync. May suspend.
 */
int memobj_sync(struct memobj *memobj, uint64_t offset, uint64_t size);
/* Adds seals. -EPERM: sealed against that; -EBUSY: sealed against writing while a program may write by a mapping; -EINVAL. */
int memobj_seal(struct memobj *memobj, uint32_t seals);
/* Makes a range a hole: reads as zeros. -EPERM: sealed against writing. */
int memobj_punch(struct memobj *memobj, uint64_t offset, uint64_t size);
/* Bytes that really have pages (st_blocks * 512); all of them once it was mapped shared. */
uint64_t memobj_resident(struct memobj *memobj);
/*
 * Before a range (page-aligned) is mapped shared and writable: programs may make any page of it from now on, unseen. With a
 * total commit limit the smallest range around all that was ever mapped is charged, until the memobj goes. -ENOMEM; -EPERM: sealed
 * against writing.
 */
int memobj_share(struct memobj *memobj, uint64_t offset, uint64_t size);
/*
 * A kernel address for the bytes from `offset` to the end of its page (anonymous memobjs only), present and
 * stable while the memobj lives and is not resized below it. NULL: no memory, or no such page.
 */
void *memobj_address(struct memobj *memobj, uint64_t offset);
/* The same with memobj->mutex held: while it is, the page stays. */
void *memobj_address_locked(struct memobj *memobj, uint64_t offset);

/* --- paged memobjs in address spaces: for bodies and the region map -------------------------------------- */

struct aspace;
struct region;
/*
 * A page for a mapping: it may be mapped until body_memobj_revoke, writable only if *writable. `write`: a shared mapping is about to be
 * written, the page is dirty from now on (afterwards, without the mutex, comes memobj_told). memobj->mutex held. -EAGAIN: wait and
 * look again; -ENXIO: beyond the end; -EIO: nobody could store it; -ENOMEM.
 */
int memobj_page_locked(struct memobj *memobj, uint64_t index, bool write, void **page, bool *writable);
/* Waits as `flags` allow, no lock held: 0 (look again), -EINTR, or what the pager says. */
int memobj_page_wait(struct memobj *memobj, uint64_t index, bool write, enum wait_flags flags);
/*
 * Before a region over a paged memobj is made: the body may give the pages other kernel addresses, so nobody may have any locked: that is
 * waited for, interruptibly. 0, -EINTR, -ENOMEM. No lock held.
 */
int memobj_mappable(struct memobj *memobj);
/* The pager hears of first writes. No lock held. */
void memobj_told(struct memobj *memobj);
/* The address spaces with such regions, each once, referenced: the caller frees the list. -ENOMEM. */
int memobj_aspaces(struct memobj *memobj, struct aspace ***list, uint32_t *count);
/* A region over a paged memobj is in an address space's map; leaves it. map_mutex held. */
void memobj_mapped(struct aspace *aspace, struct region *region);
void memobj_unmapped(struct region *region);

#endif
