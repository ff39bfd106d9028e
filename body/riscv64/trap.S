/*
 * The trap entry, and user mode as a function call.
 *
 * sscratch is 0 in the kernel and the hart's record in user mode: exchanging it with tp tells where the trap came from.
 * trap_run_user saves what a callee must keep and remembers its stack in the hart's record; a trap from user mode saves the
 * program's registers and returns from that call. A trap from the kernel saves everything on the stack it finds, unless
 * that stack is used up.
 *
 * A call of words first tries the short way (fast_entry; docs/fast-path.md): what a program's thread is lost by such a call is not saved, and
 * the words stay in s2 to s9.
 */
#include "body/riscv64/fast.h"
#include "body/riscv64/layout.h"

#define CALL_GETPID 172
#define CALL_GETTID 178
#define FRAME_SIZE 288
#define FRAME_STATUS 256
#define FRAME_CAUSE 264
#define FRAME_VALUE 272

/* x1, x3 and x5 to x31 (all but sp and tp), at 8 times their number from \base, which is sp. */
.macro save_registers
    sd x1, 8(sp)
    sd x3, 24(sp)
    sd x5, 40(sp)
    sd x6, 48(sp)
    sd x7, 56(sp)
    sd x8, 64(sp)
    sd x9, 72(sp)
    sd x10, 80(sp)
    sd x11, 88(sp)
    sd x12, 96(sp)
    sd x13, 104(sp)
    sd x14, 112(sp)
    sd x15, 120(sp)
    sd x16, 128(sp)
    sd x17, 136(sp)
    sd x18, 144(sp)
    sd x19, 152(sp)
    sd x20, 160(sp)
    sd x21, 168(sp)
    sd x22, 176(sp)
    sd x23, 184(sp)
    sd x24, 192(sp)
    sd x25, 200(sp)
    sd x26, 208(sp)
    sd x27, 216(sp)
    sd x28, 224(sp)
    sd x29, 232(sp)
    sd x30, 240(sp)
    sd x31, 248(sp)
.endm

.macro load_registers
    ld x1, 8(sp)
    ld x3, 24(sp)
    ld x5, 40(sp)
    ld x6, 48(sp)
    ld x7, 56(sp)
    ld x8, 64(sp)
    ld x9, 72(sp)
    ld x10, 80(sp)
    ld x11, 88(sp)
    ld x12, 96(sp)
    ld x13, 104(sp)
    ld x14, 112(sp)
    ld x15, 120(sp)
    ld x16, 128(sp)
    ld x17, 136(sp)
    ld x18, 144(sp)
    ld x19, 152(sp)
    ld x20, 160(sp)
    ld x21, 168(sp)
    ld x22, 176(sp)
    ld x23, 184(sp)
    ld x24, 192(sp)
    ld x25, 200(sp)
    ld x26, 208(sp)
    ld x27, 216(sp)
    ld x28, 224(sp)
    ld x29, 232(sp)
    ld x30, 240(sp)
    ld x31, 248(sp)
.endm

/* Where, in what state and why the trap came; after save_registers. */
.macro save_cause
    csrr t0, sepc
    csrr t1, sstatus
    csrr t2, scause
    csrr t3, stval
    sd t0, 0(sp)
    sd t1, FRAME_STATUS(sp)
    sd t2, FRAME_CAUSE(sp)
    sd t3, FRAME_VALUE(sp)
.endm

    .text
    .balign 4
    .globl trap_entry
trap_entry:
    csrrw tp, sscratch, tp
    bnez tp, from_user
    csrr tp, sscratch
    csrw sscratch, zero

    /* From the kernel. A stack's upper half is mapped: below it the bit is clear. */
    addi sp, sp, -FRAME_SIZE
    sd t0, HART_SCRATCH(tp)
    srli t0, sp, KERNEL_STACK_SHIFT
    andi t0, t0, 1
    beqz t0, overflow
    ld t0, HART_SCRATCH(tp)
    save_registers
    addi t0, sp, FRAME_SIZE
    sd t0, 16(sp)
    sd tp, 32(sp)
    save_cause
    mv a0, sp
    call trap_from_kernel
    ld t0, 0(sp)
    ld t1, FRAME_STATUS(sp)
    csrw sepc, t0
    csrw sstatus, t1
    sc.d zero, t0, (sp)
    load_registers
    addi sp, sp, FRAME_SIZE
    sret

overflow:
    addi t0, sp, FRAME_SIZE
    ld sp, HART_EMERGENCY_SP(tp)
    addi sp, sp, -FRAME_SIZE
    sd t0, 16(sp)
    ld t0, HART_SCRATCH(tp)
    save_registers
    sd tp, 32(sp)
    save_cause
    mv a0, sp
    call trap_stack_overflow

from_user:
    sd t0, HART_T0(tp)
    srli t0, a7, 12
    addi t0, t0, -1
    beqz t0, maybe_fast /* a native call, perhaps */
    addi t0, a7, -CALL_GETPID
    beqz t0, maybe_getpid
    addi t0, a7, -CALL_GETTID
    beqz t0, maybe_gettid
from_user_slow:
    ld t0, HART_T0(tp)
    sd sp, HART_SCRATCH(tp)
    ld sp, HART_USER_REGS(tp)
    save_registers
    ld t0, HART_SCRATCH(tp)
    csrr t1, sscratch
    csrr t2, sepc
    csrw sscratch, zero
    sd t0, 16(sp)
    sd t1, 32(sp)
    sd t2, 0(sp)
    ld sp, HART_KERNEL_SP(tp)
    csrr a0, scause
run_user_returns:
    ld ra, 0(sp)
    ld s0, 8(sp)
    ld s1, 16(sp)
    ld s2, 24(sp)
    ld s3, 32(sp)
    ld s4, 40(sp)
    ld s5, 48(sp)
    ld s6, 56(sp)
    ld s7, 64(sp)
    ld s8, 72(sp)
    ld s9, 80(sp)
    ld s10, 88(sp)
    ld s11, 96(sp)
    addi sp, sp, 112
    ret

.macro answer_id offset
    csrr t0, scause
    addi t0, t0, -8
    bnez t0, from_user_slow
    ld t0, HART_USER_REGS(tp)
    lw t0, \offset(t0)
    blez t0, from_user_slow
    mv a0, t0
    csrr t0, sepc
    addi t0, t0, 4
    csrw sepc, t0
    ld t0, HART_T0(tp)
    csrrw tp, sscratch, tp
    sret
.endm
maybe_getpid:
    answer_id USER_PROCESS_ID
maybe_gettid:
    answer_id USER_THREAD_ID

maybe_fast:
    csrr t0, scause
    addi t0, t0, -8
    bnez t0, from_user_slow
    li t0, -FAST_CALL_FIRST
    add t0, t0, a7
    srli t0, t0, 1
    bnez t0, from_user_slow
    andi a2, a7, 1 /* 0: a call, 1: a reply */

    /* Lost by such a call: all a and t registers. Kept: pc and those below. */
    ld t0, HART_USER_REGS(tp)
    csrr t1, sepc
    csrr t2, sscratch
    addi t1, t1, 4
    csrw sscratch, zero
    sd t1, 0(t0)
    sd ra, 8(t0)
    sd sp, 16(t0)
    sd gp, 24(t0)
    sd t2, 32(t0)
    sd s0, 64(t0)
    sd s1, 72(t0)
    sd a0, 80(t0)
    sd a1, 88(t0)
    sd a7, 136(t0)
    sd s10, 208(t0)
    sd s11, 216(t0)
    ld sp, HART_KERNEL_SP(tp)
    call fast_exchange
    li t0, 1 /* FAST_NOT_TO_USER */
    bgeu t0, a1, not_fast

    ld t0, 0(a1)
    csrw sepc, t0
    csrw sscratch, tp
    sc.d zero, t0, (a1)
    ld ra, 8(a1)
    ld sp, 16(a1)
    ld gp, 24(a1)
    ld tp, 32(a1)
    ld s0, 64(a1)
    ld s1, 72(a1)
    ld s10, 208(a1)
    ld s11, 216(a1)
    ld a1, 88(a1)
    .irp register, a2,a3,a4,a5,a6,a7,t0,t1,t2,t3,t4,t5,t6
    li \register, 0
    .endr
    sret

    /* What is lost is cleared: the kernel's own values are in it. The words go where registers go. */
not_fast:
    ld t1, HART_USER_REGS(tp)
    .irp offset, 40,48,56,96,104,112,120,128,224,232,240,248
    sd zero, \offset(t1)
    .endr
    sd s2, 144(t1)
    sd s3, 152(t1)
    sd s4, 160(t1)
    sd s5, 168(t1)
    sd s6, 176(t1)
    sd s7, 184(t1)
    sd s8, 192(t1)
    sd s9, 200(t1)
    bnez a1, not_to_user /* the registers are another thread's, and it has them */
    ld t2, 0(t1)
    addi t2, t2, -4
    sd t2, 0(t1)
    li a0, 8
    j run_user_returns
not_to_user:
    li a0, FAST_CAUSE
    j run_user_returns

    .globl trap_run_user
trap_run_user:
    addi sp, sp, -112
    sd ra, 0(sp)
    sd s0, 8(sp)
    sd s1, 16(sp)
    sd s2, 24(sp)
    sd s3, 32(sp)
    sd s4, 40(sp)
    sd s5, 48(sp)
    sd s6, 56(sp)
    sd s7, 64(sp)
    sd s8, 72(sp)
    sd s9, 80(sp)
    sd s10, 88(sp)
    sd s11, 96(sp)
    sd sp, HART_KERNEL_SP(tp)
    sd a0, HART_USER_REGS(tp)
    csrw sscratch, tp
    mv sp, a0
    ld t0, 0(sp)
    csrw sepc, t0
    sc.d zero, t0, (sp) /* a reservation of other code must not outlive it; stores what is there */
    load_registers
    ld tp, 32(sp)
    ld sp, 16(sp)
    sret
