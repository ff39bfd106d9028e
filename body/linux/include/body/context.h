/*
 * What a microthread switch saves on x86-64 Linux: the callee-saved registers live on the stack, so the
 * stack pointer is all; the rest tells the sanitizers which stack is which.
 */
#ifndef BODY_CONTEXT_H
#define BODY_CONTEXT_H

#include "kernel/types.h"

#define BODY_STACK_SIZE (64u * 1024)

/* Spinlocks need not disable interrupts: there are none. */
#define BODY_HAS_INTERRUPTS 0

struct body_context {
    void *stack_pointer;
    void *stack_low;    /* for AddressSanitizer */
    size_t stack_size;
    void *fake_stack;   /* AddressSanitizer's, while switched away */
    void *fiber;        /* ThreadSanitizer's */
};

#endif
