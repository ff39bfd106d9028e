/*
 * A system call as it is, on RISC-V.
 */
#include "lib/src/call.h"

int64_t raw_call(uint64_t number, const uint64_t a[6])
{
    register uint64_t a0 __asm__("a0") = a[0];
    register uint64_t a1 __asm__("a1") = a[1];
    register uint64_t a2 __asm__("a2") = a[2];
    register uint64_t a3 __asm__("a3") = a[3];
    register uint64_t a4 __asm__("a4") = a[4];
    register uint64_t a5 __asm__("a5") = a[5];
    register uint64_t a7 __asm__("a7") = number;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
    return (int64_t)a0;
}
