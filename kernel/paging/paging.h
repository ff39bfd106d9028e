/*
 * Demand paging, for bodies that keep page tables themselves: from the region map to single pages.
 *
 * The region map says what a program may see; translations are made when they are first needed and may be dropped at any
 * time. A fault becomes paging_fault. Copy-on-write needs no marks: a page with more than one reference (another
 * address space, a memobj, the page of zeros) is only ever translated read-only in a private region, and the first write
 * copies it.
 *
 * All of it happens under aspace->mutex: so the map stands still, and a change of the map that has told the body to drop
 * translations meets none that came back.
 */
#ifndef KERNEL_PAGING_H
#define KERNEL_PAGING_H

#include "kernel/aspace.h"
#include "kernel/waitq.h"

/*
 * `access` is one of enum region_prot. 0: it may be tried again; -EFAULT: nothing is mapped there; -EACCES: not so; -ENXIO: past
 * the end of the memobj; -EIO: the pager does not have it; -EINTR: while it was waited for, as `flags` allow; -ENOMEM. On a thread;
 * may suspend; aspace->mutex may be held by the caller, then nobody waits for a pager (-EFAULT).
 */
int paging_fault(struct aspace *aspace, uaddr_t address, enum region_prot access, enum wait_flags flags);
/* The whole range, as if each page were read (or written) now. aspace->mutex held. -ENOMEM, -EFAULT. */
int paging_populate_locked(struct aspace *aspace, uaddr_t start, uint64_t size, bool write);
/* The child has copies of the parent's regions and no translations: shares the pages of private regions. -ENOMEM. */
int paging_fork(struct aspace *child, struct aspace *parent);

/* --- what such a body provides ------------------------------------------------------------------------- */

/* Pages are known by the kernel's address of their first byte. A fresh one has one reference and any contents. NULL: none. */
void *page_alloc(void);
void page_ref(void *page);
void page_unref(void *page);
/* Whether a page's only reference is the one the caller knows of. */
bool page_is_sole(void *page);
/* The page of zeros, which has references of its own for ever: borrowed. */
void *page_of_zeros(void);

/* aspace->mutex held for all of these. The page at address, borrowed, and whether it is translated writable; or NULL. */
void *translation_get(struct aspace *aspace, uaddr_t address, bool *writable);
/*
 * Takes over a reference to the page, replaces what was there. A read-only translation is made when `writable` is false
 * whatever prot says. On return no CPU uses the old one. -ENOMEM: nothing is changed but the reference is dropped.
 */
int translation_set(struct aspace *aspace, uaddr_t address, void *page, uint32_t prot, bool writable);
/* The same page with other rights. */
void translation_set_rights(struct aspace *aspace, uaddr_t address, uint32_t prot, bool writable);
/* Pages of memobj will be translated here: memobj's body part finds them again when they are dropped. memobj->mutex held. -ENOMEM. */
int translation_attach(struct aspace *aspace, struct memobj *memobj);
/* Gives child read-only translations of all the pages in a range, and makes the parent's read-only. Both mutexes' state stable. -ENOMEM. */
int translation_share(struct aspace *child, struct aspace *parent, uaddr_t start, uaddr_t end);

#endif
