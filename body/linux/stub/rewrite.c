/*
 * Rewriting call sites, lazily and one at a time, so that the next call from there is a jump.
 *
 * Two forms are known. Both become `jmp *table_slot` (ff 24 25 and a 32-bit absolute address):
 *   form 1   b8 NR 0f 05                mov $nr,%eax; syscall             7 bytes
 *   form 2   0f 05 48 3d 0X f0 ff ff    syscall; cmp $-4096 or $-4095,%rax     8 bytes, the last becomes nop
 * The table lies where the third byte of every slot's address is 0x06, which is no instruction in 64-bit
 * mode: a thread that stands on the old syscall of a form 1 site faults there and is served as a trap.
 * Form 2 keeps 0x25 behind its call, a valid instruction, so a return to "after the call" is
 * moved to the thunk's tail (rewrite_resume) and a site that some jump nearby enters there is refused.
 *
 * A thunk is 64 bytes: what it stands for, then code that loads rcx (the address after the call) and r11
 * (where to go on), then, for form 2, the tail that does the comparison and goes back.
 *
 * Order of the writes, with other threads running (form 1 only): the byte on the old syscall first, then the middle, the
 * first byte last, each step made visible to all cores by membarrier(2) before the next. A form 2 site is rewritten only
 * while its address space has one thread: another one could be about to return from the host to "after the call", and
 * nothing can tell when it has.
 */
#include "body/linux/stub/stub.h"

#define SYS_MPROTECT 10
#define SYS_MEMBARRIER 324
#define MEMBARRIER_SYNC_CORE 32
#define MEMBARRIER_REGISTER_SYNC_CORE 64

#define TABLE_BYTE 0x06
#define THUNK_SIZE 64
#define THUNK_TAIL 40
#define REFUSED_SLOTS 512
#define CALLS_KNOWN 512
#define TRAP_COUNTS 1024
#define TRAPS_BEFORE_REWRITE 3

struct thunk {
    uint64_t site;
    uint16_t form, complete; /* complete: the site is a jump */
    uint32_t number; /* form 1: the call's; form 2: what is added to -4096 in the comparison */
    uint8_t code[THUNK_SIZE - 16];
};
_Static_assert(sizeof(struct thunk) == THUNK_SIZE, "thunk");
_Static_assert(SITE_TABLE_SLOTS * THUNK_SIZE <= STUB_THUNKS_SIZE, "a thunk for every slot");

static struct thunk *const thunks = (void *)STUB_THUNKS_BASE;
static uint64_t *const table = (void *)SITE_TABLE_BASE;
static uint32_t table_used;
static uint8_t trap_counts[TRAP_COUNTS]; /* by site, collisions do no harm */
static uint32_t refused_count;
static uint64_t refused[REFUSED_SLOTS];

/* Where thunks jump to, by call number; all become gate_slow when the program takes %gs. */
static void *entry_points[CALLS_KNOWN];
static void *entry_dynamic;
static void *entry_other;

void rewrite_init(void)
{
    for (int i = 0; i < CALLS_KNOWN; i++)
        entry_points[i] = fast_entry;
    entry_points[39] = local_getpid;
    entry_points[186] = local_gettid;
    entry_points[110] = local_getppid;
    entry_other = fast_entry;
    entry_dynamic = fast_entry_dynamic;
}

void rewrite_disable(void)
{
    for (int i = 0; i < CALLS_KNOWN; i++)
        __atomic_store_n(&entry_points[i], gate_slow, __ATOMIC_RELAXED);
    __atomic_store_n(&entry_other, gate_slow, __ATOMIC_RELAXED);
    __atomic_store_n(&entry_dynamic, gate_slow, __ATOMIC_RELAXED);
}

static int peek(void *to, uint64_t from, uint64_t size) { return stub_copy(to, (const void *)from, size) == 0; }

static int is_refused(uint64_t site)
{
    for (uint32_t i = (uint32_t)(site >> 1) % REFUSED_SLOTS, n = 0; n < 8; n++, i = (i + 1) % REFUSED_SLOTS)
        if (refused[i] == site)
            return 1;
    return 0;
}

void rewrite_refuse(uint64_t site)
{
    uint32_t first = (uint32_t)(site >> 1) % REFUSED_SLOTS;
    for (uint32_t i = first, n = 0; n < 8; n++, i = (i + 1) % REFUSED_SLOTS)
        if (refused[i] == 0) {
            refused[i] = site;
            return;
        }
    refused[(first + refused_count++ % 8) % REFUSED_SLOTS] = site;
}

static int form_of(uint64_t call)
{
    uint8_t bytes[13]; /* five before the call, eight from it */
    if (!peek(bytes + 5, call, 2) || bytes[5] != 0x0f || bytes[6] != 0x05)
        return 0;
    if (peek(bytes, call - 5, 5) && bytes[0] == 0xb8 && bytes[3] == 0 && bytes[4] == 0)
        return 1;
    static const uint8_t compare[6] = {0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff};
    if (!peek(bytes + 7, call + 2, 6) || bytes[9] > 1)
        return 0;
    for (int i = 0; i < 6; i++)
        if (i != 2 && bytes[7 + i] != compare[i])
            return 0;
    return 2;
}

int rewrite_form(uint64_t call_end)
{
    const struct kernel_page *page = (void *)KERNEL_PAGE_BASE;
    uint64_t call = call_end - 2;
    /* A site that traps once or twice in a short-lived child is not worth the copied page. */
    uint8_t *count = &trap_counts[(call >> 1 ^ call >> 11) % TRAP_COUNTS];
    if (*count < TRAPS_BEFORE_REWRITE) {
        ++*count;
        return 0;
    }
    if (!page->rewrite || entry_other == (void *)gate_slow || table_used >= SITE_TABLE_SLOTS || is_refused(call))
        return 0;
    int form = form_of(call);
    const struct call_pages_header *header = (void *)CALL_PAGES_BASE;
    return form == 2 && header->threads > 1 ? 0 : form;
}

/* A jump from the neighbourhood to `target`: looked for at every byte, so too often found rather than missed. */
static int entered_nearby(uint64_t target)
{
    uint8_t window[512];
    uint64_t begin = target - 0x8000, end = target + 0x8000;
    for (uint64_t at = begin; at < end; at += sizeof window - 8) {
        if (!peek(window, at, sizeof window))
            continue;
        for (uint32_t i = 0; i + 6 <= sizeof window; i++) {
            uint64_t address = at + i;
            if (window[i] == 0xeb || (window[i] & 0xf0) == 0x70) {
                if (address + 2 + (uint64_t)(int64_t)(int8_t)window[i + 1] == target)
                    return 1;
            }
            uint32_t skip = window[i] == 0xe9 ? 1 : window[i] == 0x0f && (window[i + 1] & 0xf0) == 0x80 ? 2 : 0;
            if (skip) {
                int32_t relative = (int32_t)(window[i + skip] | window[i + skip + 1] << 8 | window[i + skip + 2] << 16 |
                                             (uint32_t)window[i + skip + 3] << 24);
                if (address + skip + 4 + (uint64_t)(int64_t)relative == target)
                    return 1;
            }
        }
    }
    return 0;
}

static uint8_t *put(uint8_t *at, uint64_t bytes, int count)
{
    for (int i = 0; i < count; i++)
        *at++ = (uint8_t)(bytes >> (8 * i));
    return at;
}

static uint8_t *put_jump_through(uint8_t *at, void **pointer)
{
    at = put(at, 0x25ff, 2);
    return put(at, (uint64_t)pointer - ((uint64_t)at + 4), 4);
}

static void make_thunk(struct thunk *thunk, uint64_t site, int form, uint32_t number)
{
    uint8_t *at = thunk->code;
    thunk->site = site;
    thunk->form = (uint16_t)form;
    thunk->complete = 0;
    thunk->number = number;
    if (form == 1) {
        at = put(put(at, 0xb8, 1), number, 4);         /* mov $number, %eax */
        at = put(put(at, 0xb948, 2), site + 7, 8);     /* mov $end, %rcx */
        at = put(at, 0xcb8949, 3);                     /* mov %rcx, %r11 */
        put_jump_through(at, number < CALLS_KNOWN ? &entry_points[number] : &entry_other);
        return;
    }
    uint8_t *tail = (uint8_t *)thunk + THUNK_TAIL;
    at = put(put(at, 0xb948, 2), site + 2, 8);         /* mov $after, %rcx */
    at = put(at, 0x1d8d4c, 3);                         /* lea tail(%rip), %r11 */
    at = put(at, (uint64_t)tail - ((uint64_t)at + 4), 4);
    put_jump_through(at, &entry_dynamic);
    tail = put(tail, 0xfffff0003d48 | (uint64_t)number << 16, 6); /* cmp $-4096 (or -4095), %rax */
    tail = put(put(tail, 0xb948, 2), site + 8, 8);     /* mov $end, %rcx */
    put(tail, 0xe1ff, 2);                              /* jmp *%rcx */
}

static void synchronise(int concurrent)
{
    if (concurrent && host_call3(SYS_MEMBARRIER, MEMBARRIER_SYNC_CORE, 0, 0) == -1) {
        host_call3(SYS_MEMBARRIER, MEMBARRIER_REGISTER_SYNC_CORE, 0, 0);
        host_call3(SYS_MEMBARRIER, MEMBARRIER_SYNC_CORE, 0, 0);
    }
}

static void store_byte(uint64_t at, uint8_t byte) { __atomic_store_n((uint8_t *)at, byte, __ATOMIC_SEQ_CST); }

static void write_site(uint64_t site, uint32_t slot_address, int form, int concurrent)
{
    uint8_t bytes[8] = {0xff, 0x24, 0x25, (uint8_t)slot_address, (uint8_t)(slot_address >> 8), (uint8_t)(slot_address >> 16),
                        (uint8_t)(slot_address >> 24), 0x90};
    if (form == 1) {
        store_byte(site + 5, bytes[5]);
        synchronise(concurrent);
        for (int i = 1; i < 7; i++)
            store_byte(site + (uint64_t)i, bytes[i]);
        synchronise(concurrent);
        store_byte(site, bytes[0]);
        synchronise(concurrent);
    } else {
        for (int i = 7; i >= 0; i--)
            store_byte(site + (uint64_t)i, bytes[i]);
    }
}

/* `call` is the address of the syscall instruction. The server has made sure that the page is private. */
long rewrite_site(uint64_t call, int concurrent)
{
    int form = form_of(call);
    uint64_t site = form == 1 ? call - 5 : call;
    uint64_t first_page = site & ~0xffful, last_page = (site + 7) & ~0xffful;
    /* One at a time per process: concurrent requests of several threads are serialised by the server. */
    if (form == 2 && concurrent)
        return -16;
    if (form == 0 || table_used >= SITE_TABLE_SLOTS || (form == 2 && entered_nearby(call + 2))) {
        rewrite_refuse(call);
        return -22;
    }
    uint32_t number = 0;
    if (form == 1)
        peek(&number, site + 1, 4);
    else
        peek(&number, site + 4, 1);
    uint32_t slot = table_used;
    make_thunk(&thunks[slot], site, form, number);
    __atomic_store_n(&table[slot], (uint64_t)thunks[slot].code, __ATOMIC_RELEASE);
    uint64_t size = last_page - first_page + 0x1000;
    if (host_call3(SYS_MPROTECT, first_page, size, 7) < 0) {
        rewrite_refuse(call);
        return -13;
    }
    table_used = slot + 1;
    write_site(site, (uint32_t)(uint64_t)&table[slot], form, concurrent);
    __atomic_store_n(&thunks[slot].complete, 1, __ATOMIC_RELEASE);
    host_call3(SYS_MPROTECT, first_page, size, 5);
    return 0;
}

/* The thunk behind a rewritten site, or NULL. */
static struct thunk *thunk_at(uint64_t site, uint32_t form)
{
    uint8_t bytes[7];
    if (!peek(bytes, site, sizeof bytes) || bytes[1] != 0x24 || bytes[2] != 0x25 || bytes[5] != TABLE_BYTE || bytes[6] != 0)
        return 0;
    uint32_t address = bytes[3] | (uint32_t)bytes[4] << 8 | (uint32_t)bytes[5] << 16;
    uint32_t slot = (address - SITE_TABLE_BASE) / 8;
    if (address % 8 || slot >= table_used || thunks[slot].site != site || thunks[slot].form != form)
        return 0;
    return &thunks[slot];
}

/* What the tail's comparison would do. */
static void settle_tail(struct host_context *context, const struct thunk *thunk)
{
    uint64_t flags, limit = (uint64_t)-4096 + thunk->number;
    __asm__("cmp %2, %1\n\tpushfq\n\tpop %0" : "=r"(flags) : "r"(context->rax), "r"(limit) : "cc");
    context->eflags = (context->eflags & ~0x8d5ul) | (flags & 0x8d5ul);
    context->rip = thunk->site + 8;
}

/* Before going back to the program: "after the call" of a form 2 site is in its thunk now. */
void rewrite_resume(struct host_context *context)
{
    uint8_t first;
    if (table_used == 0 || !peek(&first, context->rip, 1) || first != 0x25)
        return;
    struct thunk *thunk = thunk_at(context->rip - 2, 2);
    if (thunk)
        settle_tail(context, thunk);
}

void rewrite_settle(struct host_context *context)
{
    uint64_t rip = context->rip;
    if ((rip >= (uint64_t)local_begin && rip < (uint64_t)local_end) || rip == (uint64_t)fast_entry) {
        /* Entered from a thunk: begin again at the site. r11 says which: form 1 goes on behind the site, form 2 in the tail. */
        uint64_t resume = context->r11;
        if (resume >= STUB_THUNKS_BASE && resume < STUB_THUNKS_BASE + (uint64_t)table_used * THUNK_SIZE) {
            context->rip = thunks[(resume - STUB_THUNKS_BASE) / THUNK_SIZE].site;
            if (rip != (uint64_t)fast_entry && rip >= (uint64_t)local_getpid)
                context->rax = rip >= (uint64_t)local_futex ? 202 : rip >= (uint64_t)local_gettid ? 186 : 39;
        } else if (thunk_at(resume - 7, 1)) {
            context->rip = resume - 7;
        }
        return;
    }
    if (rip < STUB_THUNKS_BASE || rip >= STUB_THUNKS_BASE + (uint64_t)table_used * THUNK_SIZE)
        return;
    struct thunk *thunk = &thunks[(rip - STUB_THUNKS_BASE) / THUNK_SIZE];
    uint64_t offset = (rip - STUB_THUNKS_BASE) % THUNK_SIZE;
    if (thunk->form == 2 && offset == THUNK_TAIL)
        settle_tail(context, thunk);
    else if (thunk->form == 2 && offset > THUNK_TAIL)
        context->rip = thunk->site + 8;
    else
        context->rip = thunk->site;
}

/* A fault on a site whose first writes have just been made by another thread, or on a rewritten form 1 site's old call. */
int rewrite_caught_between(struct host_context *context)
{
    for (uint32_t i = table_used; i-- > 0;) {
        struct thunk *thunk = &thunks[i];
        if (thunk->form != 1 || thunk->site + 5 != context->rip)
            continue;
        if (!__atomic_load_n(&thunk->complete, __ATOMIC_ACQUIRE))
            context->rax = thunk->number; /* what was moved into eax may have been half written */
        return 1;
    }
    return 0;
}
