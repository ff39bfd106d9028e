/*
 * Rewriting call sites, lazily and one at a time, so that the next call from there is a jump.
 *
 * Two forms are known. Both become a jump through a table in low memory:
 *   form 1   b8 NR 0f 05                mov $nr,%eax; syscall               7 bytes
 *       ->   ff 24 25 S0 S1 06 00       jmp *slot
 *   form 2   0f 05 48 3d 0X f0 ff ff    syscall; cmp $-4096 or $-4095,%rax  8 bytes
 *       ->   48 ff 24 25 06 S1 S2 00    jmp *slot, with an idle prefix
 * 0x06 is no instruction in 64-bit mode. It stands where a thread goes on that was in the old instructions: on the call of
 * form 1, which is then served as a trap; and two bytes behind the end of form 2's call, where a thread that returns
 * from the host's handler arrives after `and $0x25,%al` (24 25). What that spoilt, al and the flags, is known: the result is
 * what the handler returned with, the flags are what the comparison makes of it.
 *
 * A thunk is 64 bytes: what it stands for, then code that loads rcx (the address after the call) and r11
 * (where to go on), then, for form 2, the tail that does the comparison and goes back.
 *
 * Other threads may be running in the site. Each byte is written so that all states in between are right, and each step is
 * made visible to all cores by membarrier(2) before the next: write_site has the steps. A process that is forked in
 * between keeps a half-written site, which goes on trapping.
 */
#include "body/linux/stub/stub.h"

#define SYS_MPROTECT 10
#define SYS_MEMBARRIER 324
#define MEMBARRIER_SYNC_CORE 32
#define MEMBARRIER_REGISTER_SYNC_CORE 64

#define TABLE_BYTE 0x06 /* no instruction in 64-bit mode */
#define THUNK_SIZE 64
#define THUNK_TAIL 40
#define REFUSED_SLOTS 512
#define CALLS_KNOWN 512
#define TRAP_COUNTS 1024
#define TRAPS_BEFORE_REWRITE 3

struct thunk {
    uint64_t site;
    uint16_t form, complete; /* complete: the site is a jump, and whatever stands in it has been written by us */
    uint32_t number; /* form 1: the call's; form 2: what is added to -4096 in the comparison */
    uint8_t code[THUNK_SIZE - 16];
};
_Static_assert(sizeof(struct thunk) == THUNK_SIZE, "thunk");
_Static_assert((SITE_TABLE_SLOTS_1 + SITE_TABLE_SLOTS_2) * THUNK_SIZE <= STUB_THUNKS_SIZE, "a thunk for every slot");

/* By form: where its slots are, and its thunks, in the same order. */
static struct table {
    const uint64_t base, stride;
    const uint32_t slots;
    uint32_t used;
    struct thunk *const thunks;
} tables[3] = {
    [1] = {SITE_TABLE_BASE, 8, SITE_TABLE_SLOTS_1, 0, (void *)STUB_THUNKS_BASE},
    [2] = {SITE_TABLE_BASE_2 + TABLE_BYTE, 256, SITE_TABLE_SLOTS_2, 0, (void *)(STUB_THUNKS_BASE + SITE_TABLE_SLOTS_1 * THUNK_SIZE)},
};
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
    if (!page->rewrite || entry_other == (void *)gate_slow || is_refused(call))
        return 0;
    int form = form_of(call);
    return tables[form].used < tables[form].slots ? form : 0;
}

/*
 * A jump from the neighbourhood to `target`: looked for at every byte, so too often found rather than missed. That refuses about
 * one site of form 2 in fifteen for nothing (256 places a short jump could be at, 17 of 256 first bytes, 1 of 256 distances), and no
 * more can be had safely: which bytes before the site are instructions could only be told by decoding from a place that is
 * known to be one, and there is none; code decoded from a wrong place usually falls into step before it gets here, so that does
 * not tell real ones apart either. A site refused for nothing costs a trap a call; one that is jumped into runs wild.
 */
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

static void write_form_1(uint64_t site, const uint8_t *bytes, int concurrent)
{
    store_byte(site + 5, bytes[5]); /* the old call traps as an invalid instruction */
    synchronise(concurrent);
    for (uint64_t i = 1; i < 7; i++)
        store_byte(site + i, bytes[i]);
    synchronise(concurrent);
    store_byte(site, bytes[0]);
    synchronise(concurrent);
}

/*
 *   1. behind the call an invalid instruction: who arrives there is settled (rewrite_caught)
 *   2. the rest of the comparison, where nobody is any more
 *   3. the call itself an invalid instruction: who enters is served as a trap
 *   4. the jump but for its first byte: who arrives behind the call goes on to the invalid instruction of 2
 *   5. the first byte
 */
static void write_form_2(uint64_t site, const uint8_t *bytes, int concurrent)
{
    store_byte(site + 2, TABLE_BYTE);
    synchronise(concurrent);
    for (uint64_t i = 3; i < 8; i++)
        store_byte(site + i, bytes[i]);
    store_byte(site, TABLE_BYTE);
    synchronise(concurrent);
    store_byte(site + 1, bytes[1]);
    store_byte(site + 2, bytes[2]);
    synchronise(concurrent);
    store_byte(site, bytes[0]);
    synchronise(concurrent);
}

static void write_site(uint64_t site, uint32_t slot, int form, int concurrent)
{
    uint8_t bytes[8] = {0x48, 0xff, 0x24, 0x25, (uint8_t)slot, (uint8_t)(slot >> 8), (uint8_t)(slot >> 16), (uint8_t)(slot >> 24)};
    if (form == 1)
        write_form_1(site, bytes + 1, concurrent);
    else
        write_form_2(site, bytes, concurrent);
}

/* `call` is the address of the syscall instruction. The server has made sure that the page is private. */
long rewrite_site(uint64_t call, int concurrent)
{
    int form = form_of(call);
    uint64_t site = form == 1 ? call - 5 : call;
    uint64_t first_page = site & ~0xffful, last_page = (site + 7) & ~0xffful;
    struct table *table = &tables[form];
    /* One at a time per process: concurrent requests of several threads are serialised by the server. */
    uint32_t index = table->used;
    if (form == 0 || index >= table->slots || (form == 2 && entered_nearby(call + 2))) {
        rewrite_refuse(call);
        return -22;
    }
    uint32_t number = 0;
    if (form == 1)
        peek(&number, site + 1, 4);
    else
        peek(&number, site + 4, 1);
    struct thunk *thunk = &table->thunks[index];
    uint64_t slot = table->base + index * table->stride;
    make_thunk(thunk, site, form, number);
    __atomic_store_n((uint64_t *)slot, (uint64_t)thunk->code, __ATOMIC_RELEASE);
    uint64_t size = last_page - first_page + 0x1000;
    if (host_call3(SYS_MPROTECT, first_page, size, 7) < 0) {
        rewrite_refuse(call);
        return -13;
    }
    __atomic_store_n(&table->used, index + 1, __ATOMIC_RELEASE);
    write_site(site, (uint32_t)slot, form, concurrent);
    __atomic_store_n(&thunk->complete, 1, __ATOMIC_RELEASE);
    host_call3(SYS_MPROTECT, first_page, size, 5);
    return 0;
}

/* The thunk of a site, the youngest first, or NULL. */
static struct thunk *thunk_of_site(uint64_t site, int form)
{
    struct table *table = &tables[form];
    for (uint32_t i = __atomic_load_n(&table->used, __ATOMIC_ACQUIRE); i-- > 0;)
        if (table->thunks[i].site == site)
            return &table->thunks[i];
    return 0;
}

/* The thunk whose memory this is, or NULL. */
static struct thunk *thunk_at(uint64_t address)
{
    for (int form = 1; form <= 2; form++) {
        uint64_t index = (address - (uint64_t)tables[form].thunks) / THUNK_SIZE;
        if (address >= (uint64_t)tables[form].thunks && index < tables[form].used)
            return &tables[form].thunks[index];
    }
    return 0;
}

/* What the tail's comparison would do. */
static void settle_tail(struct host_context *context, const struct thunk *thunk)
{
    uint64_t flags, limit = (uint64_t)-4096 + thunk->number;
    __asm__("cmp %2, %1\n\tpushfq\n\tpop %0" : "=r"(flags) : "r"(context->rax), "r"(limit) : "cc");
    context->eflags = (context->eflags & ~0x8d5ul) | (flags & 0x8d5ul);
    context->rip = thunk->site + 8;
}

/*
 * A form 2 site that is being, or has been, rewritten: the context stands behind its call, or at the invalid instruction
 * there, after `and $0x25,%al`. What does not fit the last result came here by ways of its own, and stays where it is.
 */
static int settle_behind_call(struct host_context *context, uint64_t result)
{
    uint8_t byte;
    if (tables[2].used == 0 || !peek(&byte, context->rip, 1) || (byte != TABLE_BYTE && byte != 0x24))
        return 0;
    struct thunk *thunk = thunk_of_site(context->rip - 2, 2);
    if (!thunk && byte == TABLE_BYTE && context->rax == (result & ~0xdaul) && (thunk = thunk_of_site(context->rip - 4, 2)))
        context->rax = result;
    if (thunk)
        settle_tail(context, thunk);
    return thunk != 0;
}

/* Entered from a thunk: begin again at the site. r11 says which: form 1 goes on behind the site, form 2 in the tail. */
static void settle_entry(struct host_context *context)
{
    uint64_t rip = context->rip;
    struct thunk *thunk = thunk_at(context->r11);
    if (thunk) {
        if (rip != (uint64_t)fast_entry && rip >= (uint64_t)local_getpid)
            context->rax = rip >= (uint64_t)local_futex ? 202 : rip >= (uint64_t)local_gettid ? 186 : 39;
    } else {
        thunk = thunk_of_site(context->r11 - 7, 1);
    }
    if (thunk)
        context->rip = thunk->site;
}

void rewrite_settle(struct host_context *context, uint64_t result)
{
    uint64_t rip = context->rip;
    if ((rip >= (uint64_t)local_begin && rip < (uint64_t)local_end) || rip == (uint64_t)fast_entry) {
        settle_entry(context);
        return;
    }
    struct thunk *thunk = thunk_at(rip);
    uint64_t offset = (rip - STUB_THUNKS_BASE) % THUNK_SIZE;
    if (!thunk)
        settle_behind_call(context, result);
    else if (thunk->form == 2 && offset == THUNK_TAIL)
        settle_tail(context, thunk);
    else if (thunk->form == 2 && offset > THUNK_TAIL)
        context->rip = thunk->site + 8;
    else
        context->rip = thunk->site;
}

enum rewrite_caught rewrite_caught(struct host_context *context, uint64_t result)
{
    struct thunk *thunk = thunk_of_site(context->rip - 5, 1);
    if (thunk) {
        if (!__atomic_load_n(&thunk->complete, __ATOMIC_ACQUIRE))
            context->rax = thunk->number; /* what was moved into eax may have been half written */
        return REWRITE_CALL;
    }
    if (thunk_of_site(context->rip, 2))
        return REWRITE_CALL;
    return settle_behind_call(context, result) ? REWRITE_SETTLED : REWRITE_NONE;
}
