/*
 * Simulated user address spaces: what is mapped is a list of extents; private pages are frames of the
 * address space, shared ones frames of their memobj. A frame comes into being when it is touched.
 *
 * Each CPU keeps a few translations, and a change reaches the CPUs one after the other: until
 * body_aspace_apply returns, some still use the old page. A kernel that lets go of a page too early, or
 * trusts a peeked word without its own lock, is found that way.
 *
 * An access is translated and made in one step, as the hardware does; the points are before it.
 */
#include "body/sim/user.h"

#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/memobj.h"
#include "kernel/string.h"
#include "kernel/task.h"

struct extent {
    struct extent *next; /* in no order; extents do not overlap */
    uaddr_t start, end;
    uint32_t prot;
    uint32_t flags;
    struct memobj *memobj;
    uint64_t offset;
};

struct sim_aspace {
    struct extent *extents;
    struct sim_frame *frames; /* private pages, by page number */
};

/* --- extents ----------------------------------------------------------------------------------------- */

static struct extent *extent_find(struct sim_aspace *space, uaddr_t address)
{
    struct extent *extent = space->extents;
    while (extent && !(address >= extent->start && address < extent->end))
        extent = extent->next;
    return extent;
}

/* Makes `address` a boundary of extents, with *spare for the second half if one is needed. */
static void extent_split(struct sim_aspace *space, uaddr_t address, struct extent **spare)
{
    struct extent *extent = extent_find(space, address);
    if (!extent || extent->start == address)
        return;
    struct extent *upper = *spare;
    *spare = NULL;
    *upper = *extent;
    upper->start = address;
    upper->offset += address - extent->start;
    extent->end = address;
    upper->next = space->extents;
    space->extents = upper;
}

static void extents_remove(struct sim_aspace *space, uaddr_t start, uaddr_t end)
{
    for (struct extent **link = &space->extents; *link;) {
        struct extent *extent = *link;
        if (extent->start >= start && extent->end <= end) {
            *link = extent->next;
            kfree(extent);
        } else {
            link = &extent->next;
        }
    }
}

/* --- translations ------------------------------------------------------------------------------------ */

static void tlb_flush(struct aspace *aspace, uaddr_t start, uint64_t size)
{
    for (uint32_t s = 0; s < SIM_STRANDS; s++) {
        sim_point(); /* that CPU has not heard of it yet */
        sim_buffer_drain(&sim.strands[s]);
        for (uint32_t i = 0; i < SIM_TLB_ENTRIES; i++) {
            struct sim_tlb_entry *entry = &sim.strands[s].tlb[i];
            if (entry->aspace == aspace && entry->page - start / PAGE_SIZE < size / PAGE_SIZE)
                entry->frame = NULL;
        }
    }
}

static struct sim_frame *tlb_find(struct aspace *aspace, uint64_t page, uint32_t prot)
{
    for (uint32_t i = 0; i < SIM_TLB_ENTRIES; i++) {
        struct sim_tlb_entry *entry = &sim.current->tlb[i];
        if (entry->frame && entry->aspace == aspace && entry->page == page && (entry->prot & prot) == prot)
            return entry->frame;
    }
    return NULL;
}

static void tlb_fill(struct aspace *aspace, uint64_t page, struct sim_frame *frame, uint32_t prot)
{
    uint32_t place = sim_random(SIM_TLB_ENTRIES);
    for (uint32_t i = 0; i < SIM_TLB_ENTRIES; i++)
        if (sim.current->tlb[i].aspace == aspace && sim.current->tlb[i].page == page)
            place = i;
    sim.current->tlb[place] = (struct sim_tlb_entry){.aspace = aspace, .page = page, .frame = frame, .prot = prot};
}

static struct sim_frame *shared_frame(const struct extent *extent, uint64_t page)
{
    uint64_t offset = extent->offset + (page * PAGE_SIZE - extent->start);
    return offset < extent->memobj->size ? sim_memobj_frame(extent->memobj, offset / PAGE_SIZE) : NULL;
}

/* A private page: its own frame, or until it is written its memobj's. */
static struct sim_frame *private_frame(struct aspace *aspace, const struct extent *extent, uint64_t page, bool write)
{
    struct sim_aspace *space = aspace->body;
    struct sim_frame *frame = sim_frame_find(space->frames, page);
    if (frame)
        return frame;
    struct sim_frame *source = extent->memobj ? shared_frame(extent, page) : NULL;
    if (extent->memobj && (!source || !write))
        return source;
    frame = sim_frame_add(&space->frames, page);
    if (frame && source) {
        memcpy(frame->bytes, source->bytes, PAGE_SIZE);
        tlb_flush(aspace, page * PAGE_SIZE, PAGE_SIZE);
    }
    return frame;
}

/* A page of a paged memobj, as memobj_page_locked allows it to be mapped. False: it faults. */
static bool fault_in_paged(struct aspace *aspace, const struct extent *extent, uaddr_t address, bool write)
{
    struct memobj *memobj = object_ref(extent->memobj);
    uint64_t index = (extent->offset + (address - extent->start)) / PAGE_SIZE;
    bool shared = extent->flags & REGION_SHARED, writable = false;
    uint32_t prot = extent->prot;
    int error;

    do {
        void *page;
        mutex_lock(&memobj->mutex);
        error = memobj_page_locked(memobj, index, write && shared, &page, &writable);
        extent = extent_find(aspace->body, address);
        if (!error && extent && extent->memobj == memobj && extent->prot == prot)
            tlb_fill(aspace, address / PAGE_SIZE, sim_memobj_frame(memobj, index),
                     shared && writable ? prot : prot & ~(uint32_t)PROT_WRITE_BIT);
        mutex_unlock(&memobj->mutex);
        memobj_told(memobj);
        if (error == -EAGAIN && !(error = memobj_page_wait(memobj, index, write && shared, WAIT_INTERRUPTIBLE)))
            error = -EAGAIN;
    } while (error == -EAGAIN);
    object_unref(memobj);
    return !error;
}

/* The slow way, which may bring the page into being. False: it faults. */
static bool fault_in(struct aspace *aspace, uaddr_t address, uint32_t prot)
{
    uint64_t page = address / PAGE_SIZE;
    struct extent *extent = extent_find(aspace->body, address);
    if (!extent || (extent->prot & prot) != prot)
        return false;
    if (extent->memobj && extent->memobj->paged)
        return fault_in_paged(aspace, extent, address, prot & PROT_WRITE_BIT);
    bool shared = extent->memobj && extent->flags & REGION_SHARED;
    struct sim_frame *frame =
        shared ? shared_frame(extent, page) : private_frame(aspace, extent, page, prot & PROT_WRITE_BIT);
    /* it may have changed meanwhile */
    extent = extent_find(aspace->body, address);
    if (!frame || !extent || (extent->prot & prot) != prot)
        return false;
    bool own = shared || !extent->memobj || (prot & PROT_WRITE_BIT);
    tlb_fill(aspace, page, frame, own ? extent->prot : extent->prot & ~(uint32_t)PROT_WRITE_BIT);
    return true;
}

/* The kernel's address of a user byte, valid until the next point; NULL: it faults. */
static char *translate(struct aspace *aspace, uaddr_t address, uint32_t prot)
{
    struct sim_frame *frame = tlb_find(aspace, address / PAGE_SIZE, prot);
    for (int attempt = 0; !frame && attempt < 100; attempt++) {
        if (!fault_in(aspace, address, prot))
            return NULL;
        frame = tlb_find(aspace, address / PAGE_SIZE, prot);
    }
    return frame ? frame->bytes + address % PAGE_SIZE : NULL;
}

/* --- address spaces ---------------------------------------------------------------------------------- */

int body_aspace_create(struct aspace *aspace)
{
    aspace->body = kzalloc(sizeof(struct sim_aspace));
    return aspace->body ? 0 : -ENOMEM;
}

void body_aspace_destroy(struct aspace *aspace)
{
    struct sim_aspace *space = aspace->body;
    extents_remove(space, 0, UINT64_MAX);
    sim_frames_remove(&space->frames, 0, UINT64_MAX);
    tlb_flush(aspace, 0, UINT64_MAX);
    kfree(space);
    aspace->body = NULL;
}

static void drop_pages(struct aspace *aspace, uaddr_t address, uint64_t size)
{
    struct sim_aspace *space = aspace->body;
    tlb_flush(aspace, address, size);
    sim_frames_remove(&space->frames, address / PAGE_SIZE, size / PAGE_SIZE);
}

static void cut(struct aspace *aspace, uaddr_t address, uint64_t size, struct extent **spares)
{
    struct sim_aspace *space = aspace->body;
    extent_split(space, address, &spares[0]);
    extent_split(space, address + size, &spares[1]);
}

static void apply_unmap(struct aspace *aspace, uaddr_t address, uint64_t size, struct extent **spares)
{
    cut(aspace, address, size, spares);
    extents_remove(aspace->body, address, address + size);
    drop_pages(aspace, address, size);
}

static void apply_map(struct aspace *aspace, const struct map_op *op, struct extent **spares)
{
    struct sim_aspace *space = aspace->body;
    apply_unmap(aspace, op->address, op->size, spares);
    struct extent *extent = spares[2];
    spares[2] = NULL;
    *extent = (struct extent){.next = space->extents,
                              .start = op->address,
                              .end = op->address + op->size,
                              .prot = op->prot,
                              .flags = op->flags,
                              .memobj = op->memobj,
                              .offset = op->offset};
    space->extents = extent;
}

static void apply_protect(struct aspace *aspace, const struct map_op *op, struct extent **spares)
{
    struct sim_aspace *space = aspace->body;
    cut(aspace, op->address, op->size, spares);
    for (struct extent *extent = space->extents; extent; extent = extent->next)
        if (extent->start >= op->address && extent->end <= op->address + op->size)
            extent->prot = op->prot;
    tlb_flush(aspace, op->address, op->size);
}

static void apply_advise(struct aspace *aspace, const struct map_op *op)
{
    if (op->advice == ADVICE_DONT_NEED || op->advice == ADVICE_FREE)
        drop_pages(aspace, op->address, op->size);
}

static void apply_barrier(void)
{
    for (uint32_t s = 0; s < SIM_STRANDS; s++)
        sim_buffer_drain(&sim.strands[s]);
}

static int apply_with(struct aspace *aspace, const struct map_op *op, struct extent **spares)
{
    switch (op->kind) {
    case MAP_OP_MAP:
        apply_map(aspace, op, spares);
        return 0;
    case MAP_OP_UNMAP:
        apply_unmap(aspace, op->address, op->size, spares);
        return 0;
    case MAP_OP_PROTECT:
        apply_protect(aspace, op, spares);
        return 0;
    case MAP_OP_ADVISE:
        apply_advise(aspace, op);
        return 0;
    case MAP_OP_BARRIER:
        apply_barrier();
        return 0;
    case MAP_OP_MOVE:
        return -ENOSYS; /* not simulated */
    }
    return -EINVAL;
}

static int apply_one(struct aspace *aspace, const struct map_op *op)
{
    struct extent *spares[3];
    bool all = true;
    for (int i = 0; i < 3; i++) {
        spares[i] = kzalloc(sizeof(struct extent));
        all = all && spares[i];
    }
    int error = all ? apply_with(aspace, op, spares) : -ENOMEM;
    for (int i = 0; i < 3; i++)
        kfree(spares[i]);
    return error;
}

/* Other threads may run while the body is at it. */
static void may_suspend(void)
{
    if (sim_chance(3))
        thread_yield();
    else
        sim_point();
}

int body_aspace_apply(struct aspace *aspace, const struct map_op *ops, size_t count, size_t *done)
{
    for (*done = 0; *done < count; (*done)++) {
        may_suspend();
        int error = apply_one(aspace, &ops[*done]);
        if (error)
            return error;
    }
    return 0;
}

/* --- the kernel's accesses --------------------------------------------------------------------------- */

static size_t copy(struct aspace *aspace, uaddr_t user, char *kernel, size_t size, bool out)
{
    size_t moved = 0;
    while (moved < size) {
        may_suspend();
        size_t chunk = min_u64(size - moved, PAGE_SIZE - (user + moved) % PAGE_SIZE);
        char *bytes = translate(aspace, user + moved, out ? PROT_WRITE_BIT : PROT_READ_BIT);
        if (!bytes)
            break;
        sim_buffer_drain(sim.current);
        if (out)
            memcpy(bytes, kernel + moved, chunk);
        else
            memcpy(kernel + moved, bytes, chunk);
        moved += chunk;
    }
    return moved;
}

size_t body_copy_in(struct aspace *aspace, void *to, uaddr_t from, size_t size)
{
    return copy(aspace, from, to, size, false);
}

size_t body_copy_out(struct aspace *aspace, uaddr_t to, const void *from, size_t size)
{
    return copy(aspace, to, (char *)from, size, true);
}

/* The page is there, or it faults: nothing is brought in. */
int body_peek32(struct aspace *aspace, uaddr_t address, uint32_t *value)
{
    KASSERT(address % sizeof(*value) == 0);
    sim_point();
    struct sim_aspace *space = aspace->body;
    struct sim_frame *frame = tlb_find(aspace, address / PAGE_SIZE, PROT_READ_BIT);
    struct extent *extent = extent_find(space, address);
    if (!frame && extent && extent->prot & PROT_READ_BIT) {
        uint64_t index = (extent->offset + (address - extent->start)) / PAGE_SIZE;
        frame = sim_frame_find(space->frames, address / PAGE_SIZE);
        if (!frame && extent->memobj && body_memobj_present(extent->memobj, index))
            frame = sim_memobj_frame(extent->memobj, index);
    }
    if (!frame)
        return -EFAULT;
    *value = (uint32_t)sim_load_now(frame->bytes + address % PAGE_SIZE, sizeof(*value));
    return 0;
}

static struct aspace *own_aspace(void)
{
    struct thread *thread = thread_current();
    KASSERT(thread && thread->task);
    return thread->task->aspace;
}

int body_cas32(uaddr_t address, uint32_t expected, uint32_t desired, uint32_t *previous)
{
    KASSERT(address % sizeof(expected) == 0);
    may_suspend();
    char *word = translate(own_aspace(), address, PROT_READ_BIT | PROT_WRITE_BIT);
    if (!word)
        return -EFAULT;
    uint64_t seen = expected;
    sim_cas_now(word, sizeof(expected), &seen, desired);
    *previous = (uint32_t)seen;
    return 0;
}

/* --- a program's accesses ---------------------------------------------------------------------------- */

static char *program_word(uaddr_t address, uint32_t prot)
{
    sim_calm_begin();
    sim_point();
    char *word = translate(own_aspace(), address, prot);
    sim_calm_end();
    if (!word)
        sim_fail("the program faults at 0x%llx", (unsigned long long)address);
    return word;
}

uint32_t sim_user_load(uaddr_t address) { return (uint32_t)sim_load_now(program_word(address, PROT_READ_BIT), 4); }

void sim_user_store(uaddr_t address, uint32_t value)
{
    sim_store_now(program_word(address, PROT_WRITE_BIT), 4, value, SIM_RELEASE);
}

uint32_t sim_user_swap(uaddr_t address, uint32_t value)
{
    return (uint32_t)sim_rmw_now(program_word(address, PROT_WRITE_BIT), 4, value, SIM_SWAP);
}

uint32_t sim_user_add(uaddr_t address, uint32_t value)
{
    return (uint32_t)sim_rmw_now(program_word(address, PROT_WRITE_BIT), 4, value, SIM_ADD);
}

bool sim_user_cas(uaddr_t address, uint32_t *expected, uint32_t desired)
{
    uint64_t seen = *expected;
    bool swapped = sim_cas_now(program_word(address, PROT_WRITE_BIT), 4, &seen, desired);
    *expected = (uint32_t)seen;
    return swapped;
}

struct task *sim_user_task(uint32_t pages)
{
    sim_calm_begin();
    struct aspace *aspace = aspace_create();
    struct aspace_map_request request = {.address = SIM_USER_BASE,
                                         .size = (uint64_t)pages * PAGE_SIZE,
                                         .prot = PROT_READ_BIT | PROT_WRITE_BIT,
                                         .flags = ASPACE_FIXED | REGION_MAY_WRITE};
    uaddr_t address;
    int error = aspace ? aspace_map(aspace, &request, &address) : -ENOMEM;
    struct task *task = error ? NULL : task_create(aspace);
    object_unref(aspace);
    sim_calm_end();
    if (!task)
        sim_fail("no user task: error %d", error);
    return task;
}
