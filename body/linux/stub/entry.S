/*
 * The stub's assembly: start, the fast path of a rewritten call site, its way back, gates, host calls.
 *
 * A thunk (rewrite.c) enters with rcx = the address after the call in the program's eyes and r11 = where
 * to go on; both are dead to the program, as after a real syscall instruction. Everything else is the
 * program's. An interrupt that finds the thread between stub_exit_begin and stub_exit_end rewinds it to
 * stub_exit_begin: until the last jump nothing there is lost.
 */
#include "body/linux/stub/stub.h"

    .section .text.entry, "ax"
    .globl stub_text, stub_start
stub_text:
stub_start:
    mov %rsp, %rdi
    and $-16, %rsp
    call zygote_main
    ud2

/* The program's registers back; rip in rcx. All of it from memory, so that it can be done again from the start. */
.macro restore_all
    mov %gs:T_SLOT, %r11
    mov S_RDI(%r11), %rdi
    mov S_RSI(%r11), %rsi
    mov S_RDX(%r11), %rdx
    mov S_R10(%r11), %r10
    mov S_R8(%r11), %r8
    mov S_R9(%r11), %r9
    mov S_RAX(%r11), %rax
    mov S_RIP(%r11), %rcx
    pushq %gs:T_EFLAGS
    popfq
    mov %gs:T_USER_RSP, %rsp
.endm

    .text
    .globl fast_entry
fast_entry:
    mov %rsp, %gs:T_USER_RSP
    mov %r11, %gs:T_RESUME
    mov %gs:T_STACK, %rsp
    pushfq
    popq %gs:T_EFLAGS
    cld
    mov %gs:T_SLOT, %r11
    mov %rax, S_RAX(%r11)
    mov %rdi, S_RDI(%r11)
    mov %rsi, S_RSI(%r11)
    mov %rdx, S_RDX(%r11)
    mov %r10, S_R10(%r11)
    mov %r8, S_R8(%r11)
    mov %r9, S_R9(%r11)
    mov %rcx, S_RIP(%r11)
    mov %gs:T_USER_RSP, %rcx
    mov %rcx, S_RSP(%r11)
    mov %gs:T_EFLAGS, %rcx
    mov %rcx, S_EFLAGS(%r11)
    mov %rbx, S_RBX(%r11)
    mov %rbp, S_RBP(%r11)
    mov %r12, S_R12(%r11)
    mov %r13, S_R13(%r11)
    mov %r14, S_R14(%r11)
    mov %r15, S_R15(%r11)
    mov %r11, %rdi
    call stub_fast_call
    test %eax, %eax
    jnz fast_trap
    .globl stub_exit_begin, stub_exit_end
stub_exit_begin:
    cmpl $0, %gs:T_PENDING
    jne fast_interrupted
    restore_all
    jmp *%gs:T_RESUME
stub_exit_end:

/* Both: then an invalid instruction, which saves all of it. */
fast_trap:
    restore_all
    .globl gate_trap
gate_trap:
    ud2
fast_interrupted:
    restore_all
    .globl gate_interrupt
gate_interrupt:
    ud2

/* Where calls go when the program has taken %gs for itself: all registers survive an exception. */
    .globl gate_slow
gate_slow:
    ud2

/* Form 2 sites: the comparison that follows makes the flags dead, so the number can be looked at. */
    .globl fast_entry_dynamic, local_begin
local_begin:
fast_entry_dynamic:
    cmp $39, %eax
    je local_getpid
    cmp $202, %eax
    je local_futex
    cmp $186, %eax
    je local_gettid
    jmp fast_entry

/* Calls that need nobody. They use rax, rcx and r11 only and keep the flags. */
    .globl local_end, local_getpid, local_gettid, local_getppid, local_futex, local_futex_word
local_getpid:
    mov %gs:T_SLOT, %rax
    mov S_PROCESS_ID(%rax), %eax
    jmp *%r11
local_gettid:
    mov %gs:T_SLOT, %rax
    mov S_THREAD_ID(%rax), %eax
    jmp *%r11
local_getppid:
    mov %gs:T_SLOT, %rax
    mov S_PARENT_ID(%rax), %eax
    jmp *%r11
/*
 * Private futex calls that end at once (from form 2 sites only: flags are dead). A wait whose word differs: EAGAIN. A
 * wake while neither the kernel's census nor the stub (futex.c) knows a waiter: 0; the fence orders the program's store
 * before the look.
 */
local_futex:
    test $3, %dil
    jnz fast_entry
    cmp $129, %esi
    je 1f
    test %r10, %r10
    jnz fast_entry
    cmp $128, %esi
    je local_futex_word
    test %r9d, %r9d
    jz fast_entry
    cmp $137, %esi
    je local_futex_word
    cmp $393, %esi
    jne fast_entry
local_futex_word:
    cmp %edx, (%rdi)
    je fast_entry
    mov $-11, %rax
    jmp *%r11
1:  mov %rdi, %rax
    shr $47, %rax
    mov $202, %eax
    jnz fast_entry
    lock orq $0, %gs:T_SCRATCH
    mov %rcx, %gs:T_SCRATCH
    mov %rdi, %rax
    mov %rdi, %rcx
    shr $2, %rax
    shr $10, %rcx
    xor %rcx, %rax
    shr $8, %rcx
    xor %rcx, %rax
    movzbl %al, %eax
    movabs $CENSUS_ADDRESS, %rcx
    cmpl $0, (%rcx, %rax, 4)
    jne 2f
    cmpl $0, SLEEPERS_FROM_CENSUS(%rcx, %rax, 4)
2:  mov %gs:T_SCRATCH, %rcx
    mov $202, %eax
    jne fast_entry
    xor %eax, %eax
    jmp *%r11
local_end:

/* Signal handler entry: the C function gets the host's three arguments; its return goes to the restorer. */
    .globl stub_restorer
stub_restorer:
    mov $15, %eax
    syscall
    ud2

    .globl host_call6
host_call6:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    syscall
    ret

/* long host_clone(flags, stack, child_tid, nonce, entry, argument); the child calls entry(argument) on its stack. */
    .globl host_clone
host_clone:
    push %r12
    push %r13
    mov %r8, %r12
    mov %r9, %r13
    mov %rdx, %r10
    mov %rcx, %r9
    xor %edx, %edx
    xor %r8d, %r8d
    mov $56, %eax
    syscall
    test %rax, %rax
    jnz 1f
    test %r12, %r12
    jz 1f
    xor %ebp, %ebp
    mov %r13, %rdi
    call *%r12
    ud2
1:  pop %r13
    pop %r12
    ret

    .globl host_sigreturn
host_sigreturn:
    mov %rdi, %rsp
    mov $15, %eax
    syscall
    ud2

/* 0, or -EFAULT, as stub_copy: can the byte be written? Nobody sees a difference. */
    .globl stub_probe
    .globl stub_copy, stub_copy_begin, stub_copy_end, stub_copy_failed
stub_copy:
    mov %rdx, %rcx
stub_copy_begin:
    rep movsb
    jmp stub_copy_end
stub_probe:
    lock orb $0, (%rdi)
stub_copy_end:
    xor %eax, %eax
    ret
stub_copy_failed:
    mov $-14, %rax
    ret

    .globl stub_cas, stub_cas_begin, stub_cas_end
/* long stub_cas(word, expected, desired): the old value, or -EFAULT */
stub_cas:
    mov %esi, %eax
stub_cas_begin:
    lock cmpxchg %edx, (%rdi)
stub_cas_end:
    mov %eax, %eax
    ret

/*
 * long stub_futex_wait(word, operation, value, timeout, self, bitset). An interrupt between the look for an earlier one and
 * the call itself is moved to stub_futex_wait_interrupted; one that comes later ends the call.
 */
    .globl stub_futex_wait, stub_futex_wait_begin, stub_futex_wait_end, stub_futex_wait_interrupted
stub_futex_wait:
    mov %rcx, %r10
stub_futex_wait_begin:
    cmpl $0, T_PENDING(%r8)
    jne stub_futex_wait_interrupted
    mov $202, %eax
    syscall
stub_futex_wait_end:
    ret
stub_futex_wait_interrupted:
    mov $-4, %rax
    ret

/* What the compiler may call for structures. */
    .globl memcpy, memset
memcpy:
    mov %rdi, %rax
    mov %rdx, %rcx
    rep movsb
    ret
memset:
    mov %rdi, %r8
    mov %esi, %eax
    mov %rdx, %rcx
    rep stosb
    mov %r8, %rax
    ret

    .globl switch_stack_and_call
/* (stack, function, argument) */
switch_stack_and_call:
    mov %rdi, %rsp
    mov %rdx, %rdi
    xor %ebp, %ebp
    call *%rsi
    ud2
    .section .note.GNU-stack, "", @progbits
