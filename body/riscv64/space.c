/*
 * Page tables of programs, and the paging code's operations on them.
 *
 * When a translation is taken away or loses rights, the order is: change the entry, make every hart in space->harts forget,
 * only then let the page go. A hart enters itself in space->harts before it loads the table, with a full fence between
 * (space_activate, steps 1 and 2; fence_range, steps 3 and 4): so either it is told or it never saw the old entry.
 * Firmware does the telling: it reaches harts that have interrupts disabled, so it is safe under any lock.
 *
 * Accessed and dirty bits are set from the start, since not every hart sets them by itself and nobody reads them.
 */
#include "body/riscv64/space.h"

#include "body/riscv64/csr.h"
#include "body/riscv64/frames.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/table.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/paging/paging.h"
#include "kernel/spin.h"
#include "kernel/string.h"

#define ASIDS_MAX 65536u
#define BATCH 64u
#define USER_END ((uaddr_t)1 << 47)

static struct {
    struct spinlock lock;
    uint32_t count; /* that the harts have */
    uint32_t next;
    uint64_t used[ASIDS_MAX / 64];
} asids = {.lock = SPINLOCK_INIT(RANK_BODY)};
static void *zeros;

/* --- identifiers --------------------------------------------------------------------------------------- */

static uint32_t asid_take(void)
{
    uint32_t found = 0;
    spin_lock(&asids.lock);
    for (uint32_t i = 0; i < asids.count && !found; i++) {
        uint32_t asid = asids.next++ % asids.count;
        if (asid && !(asids.used[asid / 64] >> asid % 64 & 1))
            found = asid;
    }
    asids.used[found / 64] |= (uint64_t)1 << found % 64;
    spin_unlock(&asids.lock);
    return found;
}

static void asid_give(uint32_t asid)
{
    spin_lock(&asids.lock);
    asids.used[asid / 64] &= ~((uint64_t)1 << asid % 64);
    spin_unlock(&asids.lock);
}

/* The bits of the field that the hart keeps. */
static uint32_t count_asids(void)
{
    csr_write("satp", kernel_map_satp() | (uint64_t)(ASIDS_MAX - 1) << 44);
    uint32_t kept = csr_read("satp") >> 44 & (ASIDS_MAX - 1);
    csr_write("satp", kernel_map_satp());
    __asm__ volatile("sfence.vma" ::: "memory");
    return kept + 1;
}

void space_init(void)
{
    asids.count = count_asids();
    if (asids.count == 1)
        asids.count = 0;
    zeros = page_alloc();
    if (!zeros)
        panic("no memory for a page of zeros");
    memset(zeros, 0, PAGE_SIZE);
    page_ref(zeros);
}

/* --- pages --------------------------------------------------------------------------------------------- */

static struct frame *frame_at(const void *page) { return frame_of(frame_of_address(page)); }

void *page_alloc(void)
{
    uint64_t number = frame_alloc(0, FRAME_PAGE);
    if (!number)
        return NULL;
    struct frame *frame = frame_of(number);
    atomic32_store_relaxed(&frame->references, 1);
    frame->used = 0;
    return frame_address(number);
}

void page_ref(void *page) { atomic32_add(&frame_at(page)->references, 1); }

void page_unref(void *page)
{
    if (atomic32_sub(&frame_at(page)->references, 1) == 1)
        frame_free(frame_of_address(page));
}

bool page_is_sole(void *page) { return atomic32_load_acquire(&frame_at(page)->references) == 1; }
void *page_of_zeros(void) { return zeros; }

/* --- tables -------------------------------------------------------------------------------------------- */

static uint32_t index_at(uaddr_t address, uint32_t level) { return address >> (PAGE_SHIFT + 9 * level) & (TABLE_ENTRIES - 1); }

/* The last-level entry, with tables made when `make`; NULL when there is none. space->lock held. */
static uint64_t *entry_locked(struct space *space, uaddr_t address, bool make)
{
    uint64_t *table = space->root;
    for (uint32_t level = TABLE_LEVELS - 1; level > 0; level--) {
        uint64_t *entry = &table[index_at(address, level)];
        if (!(*entry & PTE_VALID)) {
            uint64_t *below = make ? table_alloc() : NULL;
            if (!below)
                return NULL;
            atomic_fence(); /* the zeros before the pointer, also for the table walk of another hart */
            *entry = PTE_OF_FRAME(frame_of_address(below)) | PTE_VALID;
        }
        table = frame_address(PTE_FRAME(*entry));
    }
    return &table[index_at(address, 0)];
}

/*
 * The next held entry at or after *address and before end; *address moves there, or to end. Absent tables are skipped
 * whole. space->lock held.
 */
static uint64_t *next_locked(struct space *space, uaddr_t *address, uaddr_t end)
{
    while (*address < end) {
        uint64_t *table = space->root;
        uint32_t level = TABLE_LEVELS - 1;
        for (; level > 0 && (table[index_at(*address, level)] & PTE_VALID); level--)
            table = frame_address(PTE_FRAME(table[index_at(*address, level)]));
        if (level == 0 && (table[index_at(*address, 0)] & PTE_HELD))
            return &table[index_at(*address, 0)];
        uint64_t span = (uint64_t)PAGE_SIZE << 9 * level;
        *address = round_down(*address, span) + span;
    }
    *address = end;
    return NULL;
}

static uint64_t rights(uint32_t prot, bool writable)
{
    uint64_t bits = 0;
    if (prot & (PROT_READ_BIT | PROT_WRITE_BIT))
        bits |= PTE_READ;
    if ((prot & PROT_WRITE_BIT) && writable)
        bits |= PTE_WRITE;
    if (prot & PROT_EXEC_BIT)
        bits |= PTE_EXECUTE;
    return bits ? bits | PTE_VALID : 0;
}

static uint64_t make_entry(const void *page, uint32_t prot, bool writable)
{
    return PTE_OF_FRAME(frame_of_address(page)) | PTE_HELD | PTE_USER | PTE_ACCESSED | PTE_DIRTY | rights(prot, writable);
}

static void *page_of(uint64_t entry) { return frame_address(PTE_FRAME(entry)); }

/* Makes harts forget: 3, the entries were changed before; 4, who may know them. */
static void fence_range(struct space *space, uaddr_t address, uint64_t size)
{
    atomic_fence();
    harts_fence_asid(atomic64_load(&space->harts), address, size, space->asid);
}

/* Only the calling hart: enough for an entry that has become more than it was. Others fault once more. */
static void fence_here(const struct space *space, uaddr_t address)
{
    __asm__ volatile("sfence.vma %0, %1" ::"r"(address), "r"((uint64_t)space->asid) : "memory");
}

/* --- life ---------------------------------------------------------------------------------------------- */

struct space *space_create(void)
{
    struct space *space = kzalloc(sizeof *space);
    uint64_t *root = space ? table_alloc() : NULL;
    if (!root) {
        kfree(space);
        return NULL;
    }
    memcpy(root + TABLE_ENTRIES / 2, kernel_map_root() + TABLE_ENTRIES / 2, PAGE_SIZE / 2);
    space->root = root;
    space->asid = asid_take();
    space->satp = (uint64_t)SATP_SV48 << 60 | (uint64_t)space->asid << 44 | frame_of_address(root);
    atomic32_store_relaxed(&space->references, 1);
    spinlock_init(&space->lock, RANK_BODY - 4);
    list_init(&space->attachments);
    return space;
}

void space_ref(struct space *space) { atomic32_add(&space->references, 1); }

static void free_tables(uint64_t *table, uint32_t level, uint32_t count)
{
    for (uint32_t i = 0; i < count && level > 0; i++)
        if (table[i] & PTE_VALID)
            free_tables(frame_address(PTE_FRAME(table[i])), level - 1, TABLE_ENTRIES);
    frame_free(frame_of_address(table));
}

/* Nobody runs in it, no page is left; its identifier may be another's now, once everybody has forgotten it. */
void space_unref(struct space *space)
{
    if (!space || atomic32_sub(&space->references, 1) != 1)
        return;
    fence_range(space, 0, UINT64_MAX);
    free_tables(space->root, TABLE_LEVELS - 1, TABLE_ENTRIES / 2);
    if (space->asid)
        asid_give(space->asid);
    kfree(space);
}

void space_activate(struct space *space)
{
    struct hart *hart = hart_self();
    struct space *old = hart->active;
    if (old == space)
        return;
    uint64_t satp = kernel_map_satp();
    if (space) {
        space_ref(space);
        atomic64_or(&space->harts, (uint64_t)1 << hart->index); /* 1 */
        satp = space->satp;
    }
    atomic_fence(); /* 2 */
    hart->active = space;
    csr_write("satp", satp);
    if (!space || !space->asid)
        __asm__ volatile("sfence.vma" ::: "memory");
    space_unref(old);
}

/* --- ranges -------------------------------------------------------------------------------------------- */

/* Takes up to BATCH entries out of [*at, end). Whether there may be more. */
static bool take_batch(struct space *space, uaddr_t *at, uaddr_t end, bool condemned, void **pages, uint32_t *count)
{
    uint64_t *entry;
    *count = 0;
    spin_lock(&space->lock);
    while (*count < BATCH && (entry = next_locked(space, at, end))) {
        void *page = page_of(*entry);
        if (!condemned || frame_at(page)->used == FRAME_CONDEMNED) {
            *entry = 0;
            pages[(*count)++] = page;
        }
        *at += PAGE_SIZE;
    }
    spin_unlock(&space->lock);
    return *at < end;
}

static void unmap(struct space *space, uaddr_t start, uaddr_t end, bool condemned)
{
    void *pages[BATCH];
    uint32_t count;
    bool more = true;
    end = min_u64(end, USER_END);
    while (more) {
        uaddr_t first = start;
        more = take_batch(space, &start, end, condemned, pages, &count);
        if (count)
            fence_range(space, first, start - first);
        for (uint32_t i = 0; i < count; i++)
            page_unref(pages[i]);
    }
}

void space_unmap(struct space *space, uaddr_t start, uaddr_t end) { unmap(space, start, end, false); }
void space_unmap_condemned(struct space *space) { unmap(space, 0, USER_END, true); }

void space_protect(struct space *space, uaddr_t start, uaddr_t end, uint32_t prot)
{
    uaddr_t at = start;
    uint64_t *entry;
    spin_lock(&space->lock);
    for (; (entry = next_locked(space, &at, end)); at += PAGE_SIZE)
        *entry = make_entry(page_of(*entry), prot, *entry & PTE_WRITE);
    spin_unlock(&space->lock);
    fence_range(space, start, end - start);
}

void space_protect_marked(struct space *space)
{
    uaddr_t at = 0;
    uint64_t *entry;
    spin_lock(&space->lock);
    for (; (entry = next_locked(space, &at, USER_END)); at += PAGE_SIZE)
        if (frame_at(page_of(*entry))->used == FRAME_READ_ONLY)
            *entry &= ~(uint64_t)PTE_WRITE;
    spin_unlock(&space->lock);
    fence_range(space, 0, UINT64_MAX);
}

static bool move_one(struct space *space, uaddr_t from, uaddr_t to)
{
    bool moved = true;
    spin_lock(&space->lock);
    uint64_t *old = entry_locked(space, from, false);
    if (old && (*old & PTE_HELD)) {
        uint64_t *new = entry_locked(space, to, true);
        moved = new;
        if (new) {
            *new = *old;
            *old = 0;
        }
    }
    spin_unlock(&space->lock);
    return moved;
}

int space_move(struct space *space, uaddr_t from, uaddr_t to, uint64_t size)
{
    int error = 0;
    for (uaddr_t at = from; at < from + size && !error; at += PAGE_SIZE) {
        spin_lock(&space->lock);
        next_locked(space, &at, from + size);
        spin_unlock(&space->lock);
        if (at < from + size && !move_one(space, at, to + (at - from)))
            error = -ENOMEM;
    }
    fence_range(space, from, size);
    return error;
}

/* --- for the paging code ------------------------------------------------------------------------------- */

void *translation_get(struct aspace *aspace, uaddr_t address, bool *writable)
{
    struct space *space = aspace->body;
    void *page = NULL;
    spin_lock(&space->lock);
    uint64_t *entry = entry_locked(space, address, false);
    if (entry && (*entry & PTE_HELD)) {
        page = page_of(*entry);
        *writable = *entry & PTE_WRITE;
    }
    spin_unlock(&space->lock);
    return page;
}

/* Instructions that were written through other addresses: every hart fetches anew before it next runs a program. */
static void instructions_changed(uint32_t prot)
{
    if (!(prot & PROT_EXEC_BIT))
        return;
    atomic_fence();
    for (uint32_t i = 0; i < hart_count; i++)
        atomic64_store(&harts[i].instructions_stale, 1);
}

int translation_set(struct aspace *aspace, uaddr_t address, void *page, uint32_t prot, bool writable)
{
    struct space *space = aspace->body;
    uint64_t old = 0;
    spin_lock(&space->lock);
    uint64_t *entry = entry_locked(space, address, true);
    if (entry) {
        old = *entry;
        atomic_fence(); /* the page's contents first */
        *entry = make_entry(page, prot, writable);
    }
    spin_unlock(&space->lock);
    if (!entry) {
        page_unref(page);
        return -ENOMEM;
    }
    instructions_changed(prot);
    if (old & PTE_VALID)
        fence_range(space, address, PAGE_SIZE);
    else
        fence_here(space, address);
    if (old & PTE_HELD)
        page_unref(page_of(old));
    return 0;
}

void translation_set_rights(struct aspace *aspace, uaddr_t address, uint32_t prot, bool writable)
{
    struct space *space = aspace->body;
    spin_lock(&space->lock);
    uint64_t *entry = entry_locked(space, address, false);
    KASSERT(entry && (*entry & PTE_HELD));
    bool executable_before = *entry & PTE_EXECUTE;
    *entry = make_entry(page_of(*entry), prot, writable);
    spin_unlock(&space->lock);
    if (!executable_before)
        instructions_changed(prot);
    fence_here(space, address);
}

/* Both tables under one lock each, never both: the entry is copied in between, and nobody else changes either. */
static int share_one(struct space *child, struct space *parent, uaddr_t address)
{
    spin_lock(&parent->lock);
    uint64_t *from = entry_locked(parent, address, false), copy = 0;
    if (from && (*from & PTE_HELD)) {
        *from &= ~(uint64_t)PTE_WRITE;
        copy = *from;
        page_ref(page_of(copy));
    }
    spin_unlock(&parent->lock);
    if (!copy)
        return 0;
    spin_lock(&child->lock);
    uint64_t *to = entry_locked(child, address, true);
    if (to)
        *to = copy;
    spin_unlock(&child->lock);
    if (to)
        return 0;
    page_unref(page_of(copy));
    return -ENOMEM;
}

int translation_share(struct aspace *child, struct aspace *parent, uaddr_t start, uaddr_t end)
{
    struct space *from = parent->body;
    int error = 0;
    for (uaddr_t at = start; at < end && !error; at += PAGE_SIZE) {
        spin_lock(&from->lock);
        next_locked(from, &at, end);
        spin_unlock(&from->lock);
        if (at < end)
            error = share_one(child->body, from, at);
    }
    fence_range(from, start, end - start);
    return error;
}

/* --- looking through the tables ------------------------------------------------------------------------ */

/* The kernel's address of a user byte, when the translation allows it. space->lock held. */
static void *look_locked(struct space *space, uaddr_t user, bool write)
{
    uint64_t *entry = user < USER_END ? entry_locked(space, user, false) : NULL;
    uint64_t needed = PTE_VALID | PTE_HELD | (write ? PTE_WRITE : PTE_READ);
    if (!entry || (*entry & needed) != needed)
        return NULL;
    return (char *)page_of(*entry) + (user & (PAGE_SIZE - 1));
}

bool space_copy(struct space *space, void *kernel, uaddr_t user, size_t size, bool write)
{
    spin_lock(&space->lock);
    void *at = look_locked(space, user, write);
    if (at && write)
        memcpy(at, kernel, size);
    else if (at)
        memcpy(kernel, at, size);
    spin_unlock(&space->lock);
    return at;
}

bool space_cas32(struct space *space, uaddr_t user, uint32_t expected, uint32_t desired, uint32_t *previous)
{
    spin_lock(&space->lock);
    struct atomic32 *word = look_locked(space, user, true);
    if (word) {
        *previous = expected;
        atomic32_cas(word, previous, desired);
    }
    spin_unlock(&space->lock);
    return word;
}
