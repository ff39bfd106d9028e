/*
 * What a microthread switch saves in the simulator: as on x86-64 Linux, with what the sanitizer must know.
 */
#ifndef BODY_CONTEXT_H
#define BODY_CONTEXT_H

#include "kernel/types.h"

#define BODY_STACK_SIZE (64u * 1024)

/* Simulated: a held spinlock must keep interrupts off, and timers come as interrupts. */
#define BODY_HAS_INTERRUPTS 1

struct body_context {
    void *stack_pointer;
    void *stack_low;
    size_t stack_size;
    void *fake_stack; /* AddressSanitizer's, while switched away */
    void (*function)(void *argument);
    void *argument;
};

#endif
