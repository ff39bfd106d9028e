/*
 * Where things are in the kernel's half of a Sv48 address space. Also included by assembly.
 *
 *   DIRECT_BASE + physical   all memory and the devices in use: never executable; kernel text and constants read-only
 *   STACKS_BASE              kernel stacks: slots of twice a stack's size, the lower half not mapped
 *   IMAGE_BASE               the kernel's image: text executable, constants read-only, data writable
 *
 * The upper 256 entries of every root table are the same: the tables beneath those three are made at boot.
 */
#ifndef RISCV64_LAYOUT_H
#define RISCV64_LAYOUT_H

#define DIRECT_BASE 0xffff800000000000
#define STACKS_BASE 0xffffc00000000000
#define IMAGE_BASE 0xffffffff80000000
#define SATP_SV48 9

#define KERNEL_STACK_SIZE 32768
#define KERNEL_STACK_SHIFT 15 /* a stack pointer with this bit clear has left its stack */

/* struct hart_start, for assembly; checked in hart.c. */
#define HART_START_SATP 0
#define HART_START_ID 32
#define HART_START_SIZE 40
#define HART_STARTS 8

/* struct hart, for assembly; checked in hart.h. */
#define HART_SCRATCH 0
#define HART_USER_REGS 8
#define HART_KERNEL_SP 16
#define HART_EMERGENCY_SP 24
#define HART_T0 32

/* struct user_thread, whose registers come first; checked in user.h. */
#define USER_PROCESS_ID 256
#define USER_THREAD_ID 260

#endif
