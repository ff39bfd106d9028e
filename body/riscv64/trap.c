/*
 * Traps from the kernel, and interrupts from anywhere.
 *
 * The kernel is not preemptible: an interrupt handler runs on the stack it finds, with interrupts disabled, and returns to
 * where it came from. It may wake threads, which then wait for the scheduler. The kernel itself never faults: user memory is
 * reached through the tables, not through addresses (copy.c). So an exception here is the end.
 */
#include "body/riscv64/trap.h"

#include "body/riscv64/csr.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/panic.h"
#include "body/riscv64/plic.h"
#include "kernel/assert.h"

void trap_entry(void);

void trap_init(void)
{
    csr_write("sscratch", 0);
    csr_clear("sstatus", SSTATUS_SUM | SSTATUS_FS);
    csr_write("stvec", (uint64_t)trap_entry);
}

void trap_enable(void)
{
    csr_write("sie", 1 << INTERRUPT_SOFTWARE | 1 << INTERRUPT_TIMER | 1 << INTERRUPT_EXTERNAL);
    plic_init_hart();
    csr_set("sstatus", SSTATUS_SIE);
}

void trap_interrupt(uint64_t cause)
{
    switch (cause & ~CAUSE_INTERRUPT) {
    case INTERRUPT_SOFTWARE: hart_software_interrupt(); break;
    case INTERRUPT_TIMER: hart_timer_interrupt(); break;
    case INTERRUPT_EXTERNAL: plic_interrupt(); break;
    default: panic("an interrupt of an unknown kind: %lx", (unsigned long)cause);
    }
}

void trap_from_kernel(struct trap_frame *frame)
{
    if (LIKELY(frame->cause & CAUSE_INTERRUPT))
        trap_interrupt(frame->cause);
    else
        panic_trap("a fault in the kernel", frame);
}

void trap_stack_overflow(struct trap_frame *frame) { panic_trap("a kernel stack is used up", frame); }
