/*
 * What a switch saves on RISC-V: the callee-saved integer registers. Floating-point registers belong to programs: see fp.h.
 */
#ifndef BODY_CONTEXT_H
#define BODY_CONTEXT_H

#include "kernel/types.h"

#define BODY_STACK_SIZE (32u * 1024)

/* Spinlocks disable the hart's interrupts. */
#define BODY_HAS_INTERRUPTS 1

struct body_context {
    uint64_t ra, sp, s[12]; /* context_switch.S knows the offsets */
};

#endif
