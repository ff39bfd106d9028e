/*
 * Harts: see hart.h.
 *
 * Waking: body_cpu_wake sets `woken`, then interrupts the hart. body_idle disables interrupts, looks at `woken` and for work,
 * and only then waits; an interrupt that comes in between is pending and ends the wait at once.
 *
 * Timers: each hart has one compare register for two deadlines, the kernel's timer queue (armed from here) and the end of
 * the running thread's slice. An old deadline that is still armed on another hart is harmless.
 */
#include "body/riscv64/hart.h"

#include "body/riscv64/csr.h"
#include "body/riscv64/frames.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/sbi.h"
#include "body/riscv64/trap.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/spin.h"
#include "kernel/thread.h"
#include "kernel/timer.h"

#define SLICE_NS 10000000u
/* What no deadline is programmed as. Not the largest count: an emulator that turns ticks into ns would find it in the past. */
#define FAR_NS ((nanoseconds_t)INT64_MAX / 2)
#define HALT_TURNS 100000000u

struct hart harts[MACHINE_HARTS_MAX];
uint32_t hart_count = 1;

/* What hart_start_entry (boot.S) finds at its argument. */
struct hart_start {
    uint64_t satp, entry, stack, hart, id;
};
_Static_assert(offsetof(struct hart_start, satp) == HART_START_SATP && offsetof(struct hart_start, id) == HART_START_ID &&
                   sizeof(struct hart_start) == HART_START_SIZE, "layout.h");
struct hart_start hart_starts[MACHINE_HARTS_MAX]; /* boot.S looks through it too */
_Static_assert(MACHINE_HARTS_MAX == HART_STARTS, "layout.h");

extern char image_start[];
void hart_start_entry(void);
void hart_start_upper(void);
NORETURN void hart_main(struct hart *hart);

/* --- coming up ----------------------------------------------------------------------------------------- */

void hart_init_first(uint64_t id)
{
    static char stack[4096] __attribute__((aligned(16)));
    struct hart *hart = &harts[0];
    hart->id = id;
    hart->emergency_sp = (uint64_t)stack + sizeof stack;
    __asm__ volatile("mv tp, %0" ::"r"(hart));
    hart->timer_deadline = hart->slice_deadline = hart->programmed = DEADLINE_NEVER;
    atomic32_store(&hart->online, 1);
}

static uint64_t make_stack(void)
{
    char *stack = body_stack_alloc();
    if (!stack)
        panic("no memory for a hart's stack");
    return (uint64_t)stack + KERNEL_STACK_SIZE;
}

void harts_prepare(uint32_t limit)
{
    for (uint32_t i = 0; i < machine.hart_count && hart_count < limit; i++)
        if (machine.hart_ids[i] != harts[0].id)
            harts[hart_count++].id = machine.hart_ids[i];
    for (uint32_t i = 0; i < hart_count; i++) {
        struct hart *hart = &harts[i];
        hart->index = i;
        hart->timer_deadline = hart->slice_deadline = hart->programmed = DEADLINE_NEVER;
        hart->emergency_sp = make_stack();
        hart_starts[i] = (struct hart_start){kernel_map_satp(), (uint64_t)hart_start_upper, make_stack(), (uint64_t)hart, hart->id};
    }
}

static uint64_t physical(const void *image_address, uint64_t load) { return load + (uint64_t)((const char *)image_address - image_start); }

void harts_start(uint64_t load)
{
    for (uint32_t i = 1; i < hart_count; i++) {
        uint64_t entry = physical((const void *)(uintptr_t)hart_start_entry, load);
        atomic_fence();
        int64_t error = sbi_hart_start(harts[i].id, entry, physical(&hart_starts[i], load));
        if (error)
            panic("hart %lu does not start: firmware error %ld", (unsigned long)harts[i].id, (long)error);
    }
}

void hart_run(void)
{
    struct hart *hart = hart_self();
    atomic32_store(&hart->online, 1);
    trap_enable();
    sched_run(hart->index);
    panic("the scheduler ended");
}

void hart_main(UNUSED struct hart *hart)
{
    trap_init();
    hart_run();
}

/* --- the contract -------------------------------------------------------------------------------------- */

NOINLINE void *body_cpu_local(void) { return hart_self()->local; }
NOINLINE void body_cpu_set_local(void *local) { hart_self()->local = local; }
uint32_t body_cpu_count(void) { return hart_count; }

uint32_t body_interrupts_disable(void)
{
    uint64_t old;
    __asm__ volatile("csrrci %0, sstatus, 2" : "=r"(old)::"memory");
    return (uint32_t)(old >> 1 & 1);
}

void body_interrupts_restore(uint32_t state)
{
    if (state)
        csr_set("sstatus", SSTATUS_SIE);
}

void body_relax(UNUSED uint32_t turn)
{
    __asm__ volatile(".4byte 0x0100000f" ::: "memory"); /* pause */
    hart_check_halt();
}

void body_idle(uint32_t cpu)
{
    struct hart *hart = &harts[cpu];
    uint32_t interrupts = body_interrupts_disable();
    if (!atomic32_swap(&hart->woken, 0) && !sched_work_available(cpu))
        wait_for_interrupt();
    body_interrupts_restore(interrupts);
}

void body_cpu_wake(uint32_t cpu)
{
    atomic32_store(&harts[cpu].woken, 1);
    if (hart_self() != &harts[cpu])
        hart_interrupt(cpu);
}

void hart_interrupt(uint32_t index) { sbi_send_interrupt(harts[index].id); }

/* --- timers -------------------------------------------------------------------------------------------- */

static void program(struct hart *hart)
{
    nanoseconds_t deadline = min_u64(hart->timer_deadline, hart->slice_deadline);
    if (deadline == hart->programmed)
        return;
    hart->programmed = deadline;
    uint64_t ticks = time_ticks(deadline < FAR_NS ? deadline : FAR_NS);
    if (machine.sstc)
        csr_write("0x14d", ticks); /* stimecmp */
    else
        sbi_set_timer(ticks);
}

void body_timer_arm(nanoseconds_t deadline)
{
    uint32_t interrupts = body_interrupts_disable();
    struct hart *hart = hart_self();
    hart->timer_deadline = deadline;
    program(hart);
    body_interrupts_restore(interrupts);
}

void hart_timer_interrupt(void)
{
    struct hart *hart = hart_self();
    nanoseconds_t now = body_now();
    if (hart->slice_deadline <= now) {
        hart->slice_deadline = DEADLINE_NEVER;
        hart->slice_over = true;
    }
    if (hart->timer_deadline <= now) {
        hart->timer_deadline = DEADLINE_NEVER;
        timer_queue_run();
    }
    hart->programmed = 0; /* whatever it was, it is over */
    program(hart);
}

void hart_slice_begin(void)
{
    struct hart *hart = hart_self();
    if (hart->slice_deadline != DEADLINE_NEVER)
        return;
    hart->slice_deadline = body_now() + SLICE_NS;
    program(hart);
}

bool hart_slice_over(void)
{
    struct hart *hart = hart_self();
    bool over = hart->slice_over;
    hart->slice_over = false;
    return over;
}

/* --- asking other harts -------------------------------------------------------------------------------- */

struct hart_call {
    void (*function)(void *argument);
    void *argument;
    struct atomic32 pending;
};

static struct atomic32 halted;
static struct mutex call_mutex = {.state_lock = SPINLOCK_INIT(RANK_WAITQ), .waiters = {&call_mutex.waiters, &call_mutex.waiters}, .rank = RANK_BODY_SLEEPING};

void hart_software_interrupt(void)
{
    struct hart *hart = hart_self();
    csr_clear("sip", 1 << INTERRUPT_SOFTWARE);
    hart_check_halt();
    struct hart_call *call = atomic_ptr_swap(&hart->call, NULL);
    if (!call)
        return;
    call->function(call->argument);
    atomic32_sub(&call->pending, 1);
}

void harts_call(uint64_t mask, void (*function)(void *argument), void *argument)
{
    struct hart_call call = {.function = function, .argument = argument};
    mutex_lock(&call_mutex);
    uint32_t self = hart_self()->index;
    for (uint32_t i = 0; i < hart_count; i++) {
        if (i == self || !(mask >> i & 1) || !atomic32_load(&harts[i].online))
            continue;
        atomic32_add(&call.pending, 1);
        atomic_ptr_swap(&harts[i].call, &call);
        hart_interrupt(i);
    }
    for (uint32_t turn = 0; atomic32_load(&call.pending); turn++)
        body_relax(turn);
    mutex_unlock(&call_mutex);
}

static uint64_t id_mask(uint64_t indices)
{
    uint64_t mask = 0;
    for (uint32_t i = 0; i < hart_count; i++)
        if (indices >> i & 1 && harts[i].id < 64)
            mask |= (uint64_t)1 << harts[i].id;
    return mask;
}

void harts_fence_kernel(uint64_t address, uint64_t size)
{
    if (hart_count > 1)
        sbi_remote_fence(id_mask(((uint64_t)1 << hart_count) - 1), 0, address, size);
    __asm__ volatile("sfence.vma" ::: "memory");
}

void harts_fence_asid(uint64_t mask, uint64_t address, uint64_t size, uint32_t asid)
{
    uint64_t others = mask & ~((uint64_t)1 << hart_self()->index);
    if (mask != others) {
        if (size == PAGE_SIZE)
            __asm__ volatile("sfence.vma %0, %1" ::"r"(address), "r"((uint64_t)asid) : "memory");
        else
            __asm__ volatile("sfence.vma zero, %0" ::"r"((uint64_t)asid) : "memory");
    }
    if (others)
        sbi_remote_fence_asid(id_mask(others), 0, address, size, asid);
}

/* --- the end ------------------------------------------------------------------------------------------- */

void hart_check_halt(void)
{
    if (LIKELY(!atomic32_load_relaxed(&halted)) || atomic32_load(&halted) == hart_self()->index + 1)
        return;
    atomic32_store(&hart_self()->online, 0);
    body_interrupts_disable();
    for (;;)
        wait_for_interrupt();
}

void harts_halt_others(void)
{
    uint32_t nobody = 0, self = hart_self()->index;
    if (!atomic32_cas(&halted, &nobody, self + 1))
        hart_check_halt();
    for (uint32_t i = 0; i < hart_count; i++)
        if (i != self && atomic32_load(&harts[i].online))
            hart_interrupt(i);
    for (uint32_t i = 0, turn = 0; i < hart_count; i++)
        while (i != self && atomic32_load(&harts[i].online) && turn++ < HALT_TURNS / 1000)
            body_relax(turn);
}
