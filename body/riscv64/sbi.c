/*
 * The firmware's calls.
 */
#include "body/riscv64/sbi.h"

enum { BASE = 0x10, BASE_PROBE = 3, LEGACY_PUT = 1, LEGACY_SHUTDOWN = 8 };
enum { FENCE_ALL = 1, FENCE_ASID = 2 };

struct sbi_result {
    int64_t error, value;
};

static struct sbi_result call(uint32_t extension, uint32_t function, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
    register uint64_t a0 __asm__("a0") = a;
    register uint64_t a1 __asm__("a1") = b;
    register uint64_t a2 __asm__("a2") = c;
    register uint64_t a3 __asm__("a3") = d;
    register uint64_t a4 __asm__("a4") = e;
    register uint64_t a6 __asm__("a6") = function;
    register uint64_t a7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7) : "memory");
    return (struct sbi_result){(int64_t)a0, (int64_t)a1};
}

bool sbi_has_extension(uint32_t extension)
{
    struct sbi_result result = call(BASE, BASE_PROBE, extension, 0, 0, 0, 0);
    return !result.error && result.value;
}

void sbi_console_put(char c) { call(LEGACY_PUT, 0, (uint8_t)c, 0, 0, 0, 0); }
int64_t sbi_set_timer(uint64_t ticks) { return call(SBI_TIMER, 0, ticks, 0, 0, 0, 0).error; }
void sbi_send_interrupt(uint64_t hart_id) { call(SBI_INTERRUPT, 0, 1, hart_id, 0, 0, 0); }

int64_t sbi_hart_start(uint64_t id, uint64_t physical_entry, uint64_t argument)
{
    return call(SBI_HARTS, 0, id, physical_entry, argument, 0, 0).error;
}

void sbi_remote_fence_asid(uint64_t mask, uint64_t base, uint64_t start, uint64_t size, uint64_t asid)
{
    call(SBI_FENCE, FENCE_ASID, mask, base, start, size, asid);
}

void sbi_remote_fence(uint64_t mask, uint64_t base, uint64_t start, uint64_t size)
{
    call(SBI_FENCE, FENCE_ALL, mask, base, start, size, 0);
}

void sbi_shutdown(bool failed)
{
    call(SBI_RESET, 0, 0, failed, 0, 0, 0);
    call(LEGACY_SHUTDOWN, 0, 0, 0, 0, 0, 0);
    for (;;)
        __asm__ volatile("wfi");
}
