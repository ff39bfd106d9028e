/*
 * What the Linux ABI must know of x86-64: its ELF machine, its registers' roles, what the loader tells programs
 * of the processor.
 */
#ifndef ARCH_LINUX_H
#define ARCH_LINUX_H

#include <arch/regs.h>

#define ARCH_ELF_MACHINE 62 /* EM_X86_64 */
#define ARCH_PLATFORM "x86_64"
#define ARCH_AUDIT 0xc000003eu /* AUDIT_ARCH_X86_64 */
/* The highest user address plus one that a 47-bit program sees. */
#define ARCH_USER_TOP 0x7ffffffff000u
/* clone(2)'s fourth and fifth argument: child_tid, then tls. */
#define ARCH_CLONE_TLS_FIRST 0
/* struct rt_sigframe without the FP state, its alignment and padding: for AT_MINSIGSTKSZ. */
#define ARCH_SIGNAL_FRAME_SIZE (440u + 16u + 63u)

static inline void arch_regs_start(struct user_regs *regs, uint64_t entry, uint64_t stack)
{
    *regs = (struct user_regs){.rip = entry, .rsp = stack, .eflags = 0x202};
}
static inline void arch_regs_set_result(struct user_regs *regs, uint64_t value) { regs->rax = value; }
static inline void arch_regs_set_stack(struct user_regs *regs, uint64_t stack) { regs->rsp = stack; }
static inline void arch_regs_set_tls(struct user_regs *regs, uint64_t tls) { regs->fs_base = tls; }

/* AT_HWCAP: CPUID leaf 1's EDX, asked once (the instruction may trap to a hypervisor). */
static inline uint64_t arch_hwcap(void)
{
    static uint32_t known;
    uint32_t a = 1, b, c = 0, d;

    d = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!d) {
        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        __atomic_store_n(&known, d, __ATOMIC_RELAXED);
    }
    return d;
}
/* AT_HWCAP2: no bit 1, so that programs leave the FSGSBASE instructions alone; bit 0 (ring 3 MWAIT) neither. */
static inline uint64_t arch_hwcap2(void) { return 0; }

#endif
