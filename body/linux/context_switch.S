/*
 * Microthread switch: callee-saved registers on the stack, the stack pointer in the context. The x87
 * control word and mxcsr are the same everywhere in the server, so they need no saving.
 *
 * void context_swap(void **save, void *load)
 */
    .text
    .globl context_swap
    .type context_swap, @function
context_swap:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size context_swap, . - context_swap

/* Where a new context begins: rbx function, r12 argument. */
    .globl context_begin
    .type context_begin, @function
context_begin:
    mov %r12, %rdi
    xor %ebp, %ebp
    call *%rbx
    ud2
    .size context_begin, . - context_begin
    .section .note.GNU-stack, "", @progbits
