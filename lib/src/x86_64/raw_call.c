/*
 * A system call as it is, on x86-64.
 */
#include "lib/src/call.h"

/* The comparison says nothing here: followed by it the call site is of a form that Hyla rewrites into a jump (docs/call-page.md). */
int64_t raw_call(uint64_t number, const uint64_t a[6])
{
    register uint64_t r10 __asm__("r10") = a[3];
    register uint64_t r8 __asm__("r8") = a[4];
    register uint64_t r9 __asm__("r9") = a[5];
    int64_t result;
    __asm__ volatile("syscall\n\tcmpq $-4096, %%rax"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "cc", "memory");
    return result;
}
