/*
 * Clocks: the machine's time counter, and its real-time clock for the wall's time.
 */
#include "body/riscv64/csr.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/memory.h"
#include "kernel/assert.h"
#include "kernel/body.h"

#define SECOND 1000000000u
enum { CLOCK_LOW = 0, CLOCK_HIGH = 4 }; /* goldfish: reading the low word latches the high one */

static uint64_t tick_ns; /* when a tick is a whole number of ns: that number */
static int64_t wall_offset;

nanoseconds_t time_of_ticks(uint64_t ticks)
{
    uint64_t hz = machine.timebase_hz;
    if (LIKELY(tick_ns))
        return ticks * tick_ns;
    return ticks / hz * SECOND + ticks % hz * SECOND / hz;
}

nanoseconds_t body_now(void) { return time_of_ticks(csr_read("time")); }

uint64_t time_ticks(nanoseconds_t time)
{
    uint64_t hz = machine.timebase_hz;
    return time / SECOND * hz + (time % SECOND * hz + SECOND - 1) / SECOND;
}

int64_t body_wall_offset(void) { return wall_offset; }

void time_init(void)
{
    if (!machine.timebase_hz)
        panic("the device tree gives no timebase-frequency");
    tick_ns = SECOND % machine.timebase_hz ? 0 : SECOND / machine.timebase_hz;
    if (!machine.clock.size)
        return;
    uintptr_t clock = kernel_map_device(machine.clock.address, machine.clock.size);
    uint64_t low = device_read32(clock + CLOCK_LOW), high = device_read32(clock + CLOCK_HIGH);
    wall_offset = (int64_t)(high << 32 | low) - (int64_t)body_now();
}
