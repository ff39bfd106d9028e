/*
 * Address spaces: an ordered map of regions over memobjs. The region map is portable and is the truth
 * about what a task may see; the body's page tables (or the host process's mappings) follow it.
 *
 * All changes happen under aspace->mutex, portable map first checked, then the body told in one batch,
 * then the map committed under map_mutex, so that a failed body call leaves the map as it was.
 */
#ifndef KERNEL_ASPACE_H
#define KERNEL_ASPACE_H

#include "kernel/lock.h"
#include "kernel/memobj.h"
#include "kernel/object.h"
#include "kernel/tree.h"

enum region_prot { PROT_READ_BIT = 1, PROT_WRITE_BIT = 2, PROT_EXEC_BIT = 4 };

enum region_flags {
    REGION_SHARED = 1 << 0,     /* else private: copy on write */
    REGION_GROWS_DOWN = 1 << 1, /* the stack */
    REGION_STACK = 1 << 2,
    REGION_HEAP = 1 << 3,       /* brk */
    REGION_BODY = 1 << 4,       /* the body's own (vdso, stub): not to be changed or unmapped */
    REGION_NO_FORK = 1 << 5,    /* MADV_DONTFORK */
    REGION_WIPE_ON_FORK = 1 << 6,
    REGION_NO_RESERVE = 1 << 7, /* MAP_NORESERVE: not counted against the commit limit */
    REGION_LOCKED = 1 << 8,
    REGION_DONT_DUMP = 1 << 9,
    REGION_MAY_WRITE = 1 << 10, /* mprotect may add write: false for shared maps of read-only files */
    REGION_COMMITTED = 1 << 11, /* counted against the commit limit: once private and writable, for good */
};

struct region {
    struct list link; /* ordered by address */
    struct tree_node node; /* the same order, for searches */
    uint64_t gap;          /* free bytes between the region before and this one */
    uint64_t subtree_gap;  /* the largest gap in its subtree */
    uaddr_t start, end;
    uint32_t prot;  /* region_prot */
    uint32_t flags; /* region_flags */
    struct memobj *memobj; /* referenced; NULL: private anonymous memory of the host */
    struct list memobj_link; /* of a paged one: struct paged.regions, under its mutex */
    struct aspace *aspace;   /* of such a region: whose it is, while it is on that list */
    uint64_t offset;
    struct object *owner; /* what /proc/PID/maps names, e.g. the open file: referenced; may be NULL */
    const char *name;     /* constant text such as "[heap]", or NULL */
};

struct aspace {
    struct object object;
    struct mutex mutex; /* rank ASPACE; serialises changes, held while the body carries them out */
    /*
     * rank ASPACE_MAP; guards what follows up to `body`. Who changes holds both, so holding either is enough to look. Held for
     * no longer than a few steps: who looks at another program's map takes this one, since that program's own part of
     * a change may take as long as it likes.
     */
    struct mutex map_mutex;
    struct list regions;
    struct tree tree;   /* the same regions, indexed */
    uint32_t region_count;
    uint64_t mapped_bytes;
    uint64_t committed_bytes; /* private writable: what could become real memory */
    uint64_t data_bytes;      /* private writable and not a stack: RLIMIT_DATA */
    uint64_t locked_bytes;    /* REGION_LOCKED */
    uint64_t commit_limit;    /* UINT64_MAX: none */
    uaddr_t low, high;        /* where mappings without a fixed address go: searched from high downwards */
    uaddr_t floor, ceiling;   /* no user mapping outside, even with a fixed address; body_aspace_create may change both */
    void *body;               /* the body's part; NULL until it has one, and body_aspace_destroy is then not called */
    struct futex_table *futexes; /* private futexes: see kernel/futex.h */
};

#define ASPACE_REGIONS_MAX 65530u /* as Linux's vm.max_map_count */

/* With the body's part (body_aspace_create). NULL: no memory. May suspend. */
struct aspace *aspace_create(void);
/* Without the body's part: what body_user_clone makes a copy-on-write copy in (fork). */
struct aspace *aspace_create_bare(void);
/* For body_aspace_create: tells the map of what the body keeps there. Nothing is mapped by it. -ENOMEM, -EEXIST. */
int aspace_add_body_region(struct aspace *aspace, uaddr_t start, uint64_t size, uint32_t prot, const char *name);
/* A limit on all address spaces' committed memory together: UINT64_MAX for none. */
void aspace_set_total_commit_limit(uint64_t bytes);
uint64_t aspace_total_committed(void);
/* The same account for what is no address space's own (memobjs' pages). Without a limit there is nothing to charge. */
bool commit_limited(void);
int commit_charge(uint64_t size); /* 0 or -ENOMEM */
void commit_discharge(uint64_t size);

enum aspace_map_flags {
    ASPACE_FIXED = 1 << 16,            /* replaces what is there */
    ASPACE_FIXED_NOREPLACE = 1 << 17,  /* -EEXIST when something is there */
    ASPACE_POPULATE = 1 << 18,
    ASPACE_BELOW_2G = 1 << 19,         /* MAP_32BIT */
};

struct aspace_map_request {
    uaddr_t address; /* a hint, or exact with the FIXED flags */
    uint64_t size;
    uint32_t prot;
    uint32_t flags; /* region_flags | aspace_map_flags */
    struct memobj *memobj;
    uint64_t offset;
    struct object *owner;
    const char *name;
};

/* All may suspend; all work on the calling thread's own address space, or on one whose threads wait in the kernel. */
int aspace_map(struct aspace *aspace, const struct aspace_map_request *request, uaddr_t *address);
int aspace_unmap(struct aspace *aspace, uaddr_t address, uint64_t size);
/* -ENOMEM where the range has a hole, -EACCES. */
int aspace_protect(struct aspace *aspace, uaddr_t address, uint64_t size, uint32_t prot);
/*
 * mremap(2): new_address used with may_move+fixed, where it replaces what is there. old_size 0 makes a second mapping
 * of a shared region. -EFAULT (not one region), -ENOMEM (no room, or no moving), -EINVAL.
 */
int aspace_remap(struct aspace *aspace, uaddr_t address, uint64_t old_size, uint64_t new_size, bool may_move, bool fixed,
                 bool keep_old, uaddr_t new_address, uaddr_t *result);
enum aspace_advice { ADVICE_DONT_NEED, ADVICE_FREE, ADVICE_REMOVE, ADVICE_WILL_NEED, ADVICE_POPULATE_READ, ADVICE_POPULATE_WRITE,
                     ADVICE_HUGE_PAGE, ADVICE_NO_HUGE_PAGE,
                     /* what the body's clone must do with the range by itself, until the range is mapped anew */
                     ADVICE_DONT_FORK, ADVICE_DO_FORK, ADVICE_WIPE_ON_FORK, ADVICE_KEEP_ON_FORK };
int aspace_advise(struct aspace *aspace, uaddr_t address, uint64_t size, enum aspace_advice advice);
/* Sets and clears region_flags (NO_FORK, WIPE_ON_FORK, LOCKED, DONT_DUMP) over a range without holes. */
int aspace_set_flags(struct aspace *aspace, uaddr_t address, uint64_t size, uint32_t set, uint32_t clear);
/* Lets a REGION_GROWS_DOWN region that begins less than `limit` bytes below its end grow down to address. */
bool aspace_grow_down(struct aspace *aspace, uaddr_t address, uint64_t limit);
/* Memory barriers on every CPU that runs in the address space; serialise: instruction streams too. -ENOSYS, … */
int aspace_barrier(struct aspace *aspace, bool serialise);
/* Bytes of [address, address + size) that are mapped. Takes the map mutex. */
uint64_t aspace_mapped_in(struct aspace *aspace, uaddr_t address, uint64_t size);
/* The region that holds address, or NULL. aspace->mutex or map_mutex held. */
struct region *aspace_find_locked(struct aspace *aspace, uaddr_t address);
/* The first region that ends after address, or NULL. aspace->mutex or map_mutex held. */
struct region *aspace_find_after_locked(struct aspace *aspace, uaddr_t address);
/*
 * The portable half of fork: fills `child` (fresh) with copies of the regions, flags respected. The body's half is
 * body_user_clone. aspace_wiped(child) ranges are handled by the body call. -ENOMEM.
 */
int aspace_copy_regions(struct aspace *child, struct aspace *parent);

/*
 * What a shared futex word is keyed by. Private anonymous memory: *memobj = NULL and the key is (aspace, address).
 * Takes a reference on *memobj. -EFAULT when nothing is mapped there.
 */
int aspace_resolve(struct aspace *aspace, uaddr_t address, struct memobj **memobj, uint64_t *offset);

#endif
