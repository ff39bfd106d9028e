/*
 * The platform-level interrupt controller: which device's interrupt goes to which hart.
 */
#ifndef RISCV64_PLIC_H
#define RISCV64_PLIC_H

#include "kernel/types.h"

void plic_init(void);
/* On each hart: takes interrupts from now on. */
void plic_init_hart(void);
/* function runs with interrupts disabled on whatever hart took it. */
void plic_handle(uint32_t source, void (*function)(void *argument), void *argument);
/* The source interrupts no more. Any context. */
void plic_ignore(uint32_t source);
void plic_interrupt(void);

#endif
