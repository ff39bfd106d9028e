/*
 * The PLIC (RISC-V Platform-Level Interrupt Controller Specification 1.0.0).
 *
 * Every source in use has priority 1 and is enabled for the supervisor context of every hart; the first hart that claims an
 * interrupt serves it. A source is not delivered again before its completion.
 */
#include "body/riscv64/plic.h"

#include "body/riscv64/csr.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/memory.h"
#include "kernel/assert.h"
#include "kernel/lock.h"

#define SOURCES_MAX 128u
#define PRIORITY(source) (4u * (source))
#define ENABLE(context, source) (0x2000u + 0x80u * (context) + (source) / 32 * 4)
#define THRESHOLD(context) (0x200000u + 0x1000u * (context))
#define CLAIM(context) (0x200004u + 0x1000u * (context))

static struct {
    void (*function)(void *argument);
    void *argument;
} handlers[SOURCES_MAX];
static uintptr_t base;
static struct spinlock lock = SPINLOCK_INIT(RANK_BODY); /* guards the enable words */

void plic_init(void)
{
    if (machine.plic.size)
        base = kernel_map_device(machine.plic.address, machine.plic.size);
}

/* The index in the machine's list: hart 0 is the one that booted, wherever it stands there. */
static uint32_t context_of(const struct hart *hart)
{
    for (uint32_t i = 0; i < machine.hart_count; i++)
        if (machine.hart_ids[i] == hart->id)
            return machine.plic_contexts[i];
    panic("hart %lu is not in the device tree", (unsigned long)hart->id);
}

void plic_init_hart(void)
{
    if (!base)
        return;
    device_write32(base + THRESHOLD(context_of(hart_self())), 0);
}

void plic_handle(uint32_t source, void (*function)(void *argument), void *argument)
{
    if (!base || !source || source >= SOURCES_MAX || source > machine.plic_sources)
        panic("interrupt source %u cannot be served", source);
    spin_lock(&lock);
    handlers[source].function = function;
    handlers[source].argument = argument;
    device_write32(base + PRIORITY(source), 1);
    for (uint32_t i = 0; i < hart_count; i++) {
        uintptr_t word = base + ENABLE(context_of(&harts[i]), source);
        device_write32(word, device_read32(word) | 1u << source % 32);
    }
    spin_unlock(&lock);
}

void plic_ignore(uint32_t source) { device_write32(base + PRIORITY(source), 0); }

void plic_interrupt(void)
{
    uint32_t context = context_of(hart_self()), source;
    while ((source = device_read32(base + CLAIM(context)))) {
        if (source < SOURCES_MAX && handlers[source].function)
            handlers[source].function(handlers[source].argument);
        device_write32(base + CLAIM(context), source);
    }
}
