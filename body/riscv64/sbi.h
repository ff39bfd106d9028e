/*
 * Calls to the firmware (RISC-V Supervisor Binary Interface 1.0).
 */
#ifndef RISCV64_SBI_H
#define RISCV64_SBI_H

#include "kernel/types.h"

/* Each: 0 or a negative SBI error. */
bool sbi_has_extension(uint32_t extension);
void sbi_console_put(char c);
int64_t sbi_set_timer(uint64_t ticks);
int64_t sbi_hart_start(uint64_t id, uint64_t physical_entry, uint64_t argument);
void sbi_send_interrupt(uint64_t hart_id);
/* On the harts of the mask, from hart `base` on: returns when it is done everywhere, whatever those harts do. */
void sbi_remote_fence_asid(uint64_t mask, uint64_t base, uint64_t start, uint64_t size, uint64_t asid);
void sbi_remote_fence(uint64_t mask, uint64_t base, uint64_t start, uint64_t size);
NORETURN void sbi_shutdown(bool failed);

enum { SBI_TIMER = 0x54494d45, SBI_INTERRUPT = 0x735049, SBI_FENCE = 0x52464e43, SBI_HARTS = 0x48534d, SBI_RESET = 0x53525354 };

#endif
