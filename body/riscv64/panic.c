/*
 * Panic: registers, hart, thread and a backtrace with names; then the machine ends with a failure.
 *
 * Everything here works without allocation, locks and interrupts. The backtrace follows frame pointers (each frame keeps
 * the return address at -8 and the caller's frame pointer at -16) as long as they stay within one kernel stack and rise.
 */
#include "body/riscv64/panic.h"

#include "body/riscv64/console.h"
#include "body/riscv64/csr.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/power.h"
#include "kernel/body.h"
#include "kernel/string.h"
#include "kernel/thread.h"

#define FRAMES_MAX 32u

extern char image_start[], text_end[];

static void say(const char *text, ...) PRINTF_LIKE(1, 2);
static void say(const char *text, ...)
{
    char line[256];
    va_list args;
    va_start(args, text);
    int length = format_va(line, sizeof line, text, args);
    va_end(args);
    console_emergency(line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

/* The function that holds the address: the last one that begins at or below it. */
static const struct symbol *find_symbol(uint64_t address)
{
    uint32_t low = 0, high = symbol_count;
    if (address < (uint64_t)image_start || address >= (uint64_t)text_end)
        return NULL;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (symbols[middle].offset <= address - (uint64_t)image_start)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &symbols[low - 1] : NULL;
}

static void say_address(uint64_t address)
{
    const struct symbol *symbol = find_symbol(address);
    if (symbol)
        say("  %016lx %s+0x%lx\n", (unsigned long)address, symbol_names + symbol->name,
            (unsigned long)(address - (uint64_t)image_start - symbol->offset));
    else
        say("  %016lx\n", (unsigned long)address);
}

static bool plausible_frame(uint64_t frame, uint64_t last)
{
    bool stack = frame >= STACKS_BASE && frame < STACKS_BASE + ((uint64_t)1 << 38) && (frame - 1) >> KERNEL_STACK_SHIFT & 1;
    bool boot = frame >= (uint64_t)image_start && frame < (uint64_t)image_start + (64u << 20);
    return !(frame & 7) && frame > last && (stack || boot);
}

static void backtrace(uint64_t pc, uint64_t frame)
{
    uint64_t last = 0;
    say("backtrace:\n");
    if (pc)
        say_address(pc);
    for (uint32_t i = 0; i < FRAMES_MAX && plausible_frame(frame, last); i++) {
        uint64_t address = ((const uint64_t *)frame)[-1];
        last = frame;
        frame = ((const uint64_t *)frame)[-2];
        if (!address)
            break;
        say_address(address);
    }
}

static void say_registers(const struct trap_frame *frame)
{
    static const char names[][4] = {"pc", "ra", "sp", "gp", "tp", "t0", "t1",  "t2",  "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
                                    "a6", "a7", "s2", "s3", "s4", "s5", "s6",  "s7",  "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
    const uint64_t *values = &frame->regs.pc;
    for (uint32_t i = 0; i < ARRAY_SIZE(names); i++)
        say("%4s %016lx%s", names[i], (unsigned long)values[i], i % 4 == 3 ? "\n" : "");
    say("status %016lx cause %lu value %016lx\n", (unsigned long)frame->status, (unsigned long)frame->cause, (unsigned long)frame->value);
}

static void say_where(void)
{
    struct hart *hart = hart_self();
    struct thread *thread = hart->local ? thread_current() : NULL;
    say("hart %u, thread %s\n", hart->index, thread ? thread->name : "none");
}

static void begin(const char *text)
{
    body_interrupts_disable();
    harts_halt_others();
    console_emergency_begin();
    say("hyla: panic: %s\n", text);
    say_where();
}

void panic_trap(const char *text, const struct trap_frame *frame)
{
    begin(text);
    say_registers(frame);
    backtrace(frame->regs.pc, frame->regs.s0);
    power_off(true, 125);
}

void body_panic(const char *text)
{
    begin(text);
    backtrace(0, (uint64_t)__builtin_frame_address(0));
    power_off(true, 125);
}
