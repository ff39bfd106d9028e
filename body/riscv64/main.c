/*
 * From the first C function to the scheduler.
 *
 * The order is forced: the device tree says what memory there is, memory makes tables and stacks possible, a stack of the
 * right shape makes traps safe, then clocks, interrupts and the kernel's threads; the other harts last.
 */
#include "body/riscv64/console.h"
#include "body/riscv64/fdt.h"
#include "body/riscv64/first.h"
#include "body/riscv64/frames.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/machine.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/plic.h"
#include "body/riscv64/power.h"
#include "body/riscv64/random.h"
#include "body/riscv64/space.h"
#include "body/riscv64/trap.h"
#include "body/riscv64/vdso.h"
#include "kernel/assert.h"
#include "kernel/async.h"
#include "kernel/body.h"
#include "kernel/thread.h"

extern char image_start[], image_end[];

NORETURN void kernel_boot(uint64_t hart_id, uint64_t tree, uint64_t load, uint64_t ticks);
static uint64_t image_load, handed_over;

static uint32_t hart_limit(void)
{
    const char *value;
    int32_t length = machine_argument("hyla.cpus", &value);
    uint32_t limit = 0;
    for (int32_t i = 0; i < length && value[i] >= '0' && value[i] <= '9' && limit < MACHINE_HARTS_MAX; i++)
        limit = limit * 10 + (uint32_t)(value[i] - '0');
    return limit ? limit : MACHINE_HARTS_MAX;
}

static void describe(void)
{
    const char *value;
    if (machine_argument("hyla.verbose", &value) >= 0)
        log_line("%s: %u harts, %lu MiB, timebase %u Hz%s", machine.model, hart_count, (unsigned long)(frames_total() >> 8), machine.timebase_hz,
                 machine.sstc ? ", sstc" : "");
    if (machine_argument("hyla.verbose", &value) >= 0)
        log_line("the firmware handed over at tick %lu", (unsigned long)handed_over);
}

/* On a stack with a guard, traps in place. */
NORETURN static void go_on(void *argument)
{
    (void)argument;
    time_init();
    power_init();
    plic_init();
    console_init();
    describe();
    random_init();
    memobj_init();
    space_init();
    vdso_init();
    if (thread_system_init(hart_count) || async_init())
        panic("no memory for the kernel's threads");
    sched_set_spread(1);
    struct thread *first = thread_create("first", NULL, first_thread, NULL);
    if (!first)
        panic("no memory for the first thread");
    thread_start(first);
    object_unref(first);
    harts_start(image_load);
    hart_run();
}

void kernel_boot(uint64_t hart_id, uint64_t tree, uint64_t load, uint64_t ticks)
{
    hart_init_first(hart_id);
    console_line("Hello world.");
    trap_init();
    image_load = load;
    handed_over = ticks;
    if (!machine_read((const void *)(DIRECT_BASE + tree), tree))
        panic("the firmware gives no device tree");
    if (!machine.memory_count || !machine.hart_count)
        panic("the device tree tells of no memory or no harts");
    frames_init(load, (uint64_t)(image_end - image_start));
    slab_init();
    kernel_map_init(load);
    harts_prepare(hart_limit());
    struct body_context start;
    char *stack = body_stack_alloc();
    if (!stack)
        panic("no memory for a stack");
    body_context_init(&start, stack, go_on, NULL);
    body_context_leave(NULL, &start);
    panic("the boot stack ran again");
}
