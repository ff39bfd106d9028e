/*
 * The vDSO's code: where signal handlers return to, and the calls that Linux's vDSO offers, made as calls.
 *
 * Debuggers and unwinders know a signal frame by the two instructions of rt_sigreturn; vdso.ld keeps them at
 * ARCH_VDSO_SIGRETURN (arch/linux.h).
 */
.macro call_function name, number
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
    li a7, \number
    ecall
    ret
    .cfi_endproc
    .size \name, . - \name
.endm

    .section .text.sigreturn, "ax"
    .globl __vdso_rt_sigreturn
    .type __vdso_rt_sigreturn, @function
__vdso_rt_sigreturn:
    .cfi_startproc
    .cfi_signal_frame
    li a7, 139
    ecall
    .cfi_endproc
    .size __vdso_rt_sigreturn, . - __vdso_rt_sigreturn

    .text
    call_function __vdso_clock_gettime, 113
    call_function __vdso_clock_getres, 114
    call_function __vdso_gettimeofday, 169
    call_function __vdso_getcpu, 168
    call_function __vdso_flush_icache, 259
