/*
 * The first instructions of each hart.
 *
 * The first one comes from the firmware with translation off: a0 is its id, a1 the device tree. It runs at physical
 * addresses, clears .bss, has boot_map (boot_map.c) build tables in which this very code is mapped twice, turns them on and
 * goes on in the upper half. The others are started by hart.c with a1 pointing at their own struct hart_start, and use the
 * tables the kernel has made by then: for the two instructions that still run at physical addresses, they borrow the
 * fault on turning translation on, whose handler address is already an upper one.
 *
 * A started hart may all the same come in at _start: OpenSBI 1.1 marks a hart as started before it notes the address, and a hart
 * that looks in between goes where the first one went. Whoever finds `taken` set is such a one, and looks for its record itself.
 */
#include "body/riscv64/layout.h"

    .section .text.boot, "ax"
    .globl _start
_start:
    csrw sie, zero
    csrw sscratch, zero
    la t0, taken
    li t1, 1
    amoswap.w.aqrl t1, t1, (t0)
    bnez t1, lost
    mv s3, a0
    mv s1, a1
    rdtime s4
    la t0, bss_start
    la t1, image_end
1:  bgeu t0, t1, 2f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
2:  la sp, boot_stack_end
    la a0, _start
    call boot_map
    /* a0 is the value for satp; this code is mapped at its physical address too. */
    sfence.vma
    csrw satp, a0
    sfence.vma
    csrr t0, satp
    bne t0, a0, no_sv48
    la t1, _start
    li t2, IMAGE_BASE
    sub t2, t2, t1
    la t0, upper
    add t0, t0, t2
    jr t0
upper:
    la sp, boot_stack_end
    mv tp, zero
    mv fp, zero
    mv a0, s3
    mv a1, s1
    mv a2, t1
    mv a3, s4
    call kernel_boot
3:  wfi
    j 3b

no_sv48:
    csrw satp, zero
    la s2, no_sv48_text
4:  lbu a0, 0(s2)
    beqz a0, 5f
    li a7, 1 /* legacy console_putchar: every firmware has it */
    ecall
    addi s2, s2, 1
    j 4b
5:  li a7, 8 /* legacy shutdown */
    ecall
    j 3b

    /* Hart a0 finds its struct hart_start; the records were complete before it was started. */
lost:
    fence rw, rw
    la a1, hart_starts
    addi t1, a1, HART_STARTS * HART_START_SIZE
8:  bgeu a1, t1, 9f
    ld t0, HART_START_ID(a1)
    ld t2, HART_START_SATP(a1)
    addi a1, a1, HART_START_SIZE
    beqz t2, 8b
    bne t0, a0, 8b
    addi a1, a1, -HART_START_SIZE
    j hart_start_entry
9:  wfi
    j 9b

    /* struct hart_start at a1, a physical address: satp, where to go on, stack, hart. */
    .globl hart_start_entry
hart_start_entry:
    csrw sie, zero
    csrw sscratch, zero
    ld t0, HART_START_SATP(a1)
    ld t1, 8(a1)
    ld sp, 16(a1)
    ld tp, 24(a1)
    csrw stvec, t1
    sfence.vma
    csrw satp, t0 /* the next fetch faults, and goes on at t1 */
    nop
6:  j 6b

    .balign 4
    .globl hart_start_upper
hart_start_upper:
    mv fp, zero
    mv a0, tp
    call hart_main
7:  wfi
    j 7b

    .section .rodata
no_sv48_text:
    .asciz "hyla: this machine's harts have no Sv48 translation, which this kernel needs\n"

    .section .data
    .balign 4
taken:
    .word 0

    .section .bss
    .balign 16
boot_stack:
    .skip 16384
boot_stack_end:
