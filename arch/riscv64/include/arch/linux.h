/*
 * What the Linux ABI must know of RISC-V: its ELF machine, its registers' roles, what the loader tells programs
 * of the processor.
 */
#ifndef ARCH_LINUX_H
#define ARCH_LINUX_H

#include <arch/regs.h>

#define ARCH_ELF_MACHINE 243 /* EM_RISCV */
#define ARCH_PLATFORM "riscv64"
#define ARCH_AUDIT 0xc00000f3u /* AUDIT_ARCH_RISCV64 */
/* The highest user address plus one: Sv48's lower half without its last page. */
#define ARCH_USER_TOP 0x7ffffffff000u
/* clone(2)'s fourth and fifth argument: tls, then child_tid. */
#define ARCH_CLONE_TLS_FIRST 1
/* struct rt_sigframe without the FP state, its alignment and padding: for AT_MINSIGSTKSZ. */
#define ARCH_SIGNAL_FRAME_SIZE (128u + 176u + 256u + 15u)

/*
 * Where in the vDSO a signal handler returns to: RISC-V programs bring no restorer of their own. The vDSO's linker script
 * puts the code there.
 */
#define ARCH_VDSO_SIGRETURN 0x800u

static inline void arch_regs_start(struct user_regs *regs, uint64_t entry, uint64_t stack)
{
    *regs = (struct user_regs){.pc = entry, .sp = stack};
}
static inline void arch_regs_set_result(struct user_regs *regs, uint64_t value) { regs->a0 = value; }
static inline void arch_regs_set_stack(struct user_regs *regs, uint64_t stack) { regs->sp = stack; }
static inline void arch_regs_set_tls(struct user_regs *regs, uint64_t tls) { regs->tp = tls; }

/* AT_HWCAP: a bit per letter. A, C, D, F, I, M: vector and other state that the kernel does not save is not told of. */
static inline uint64_t arch_hwcap(void) { return 1u << 0 | 1u << 2 | 1u << 3 | 1u << 5 | 1u << 8 | 1u << 12; }
static inline uint64_t arch_hwcap2(void) { return 0; }

#endif
