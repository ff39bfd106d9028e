/*
 * Control and status registers, their bits, and the barriers that have no C of their own.
 */
#ifndef RISCV64_CSR_H
#define RISCV64_CSR_H

#include <stdint.h>

#define csr_read(name)                                                                                                 \
    ({                                                                                                                 \
        uint64_t csr_value_;                                                                                           \
        __asm__ volatile("csrr %0, " name : "=r"(csr_value_)::"memory");                                               \
        csr_value_;                                                                                                    \
    })
#define csr_write(name, value) __asm__ volatile("csrw " name ", %0" ::"rK"((uint64_t)(value)) : "memory")
#define csr_set(name, bits) __asm__ volatile("csrs " name ", %0" ::"rK"((uint64_t)(bits)) : "memory")
#define csr_clear(name, bits) __asm__ volatile("csrc " name ", %0" ::"rK"((uint64_t)(bits)) : "memory")

enum sstatus_bits {
    SSTATUS_SIE = 1 << 1,
    SSTATUS_SPIE = 1 << 5,
    SSTATUS_SPP = 1 << 8,
    SSTATUS_FS_INITIAL = 1 << 13,
    SSTATUS_FS_CLEAN = 2 << 13,
    SSTATUS_FS_DIRTY = 3 << 13,
    SSTATUS_FS = 3 << 13,
    SSTATUS_SUM = 1 << 18,
};

/* sie, sip and scause of an interrupt */
enum { INTERRUPT_SOFTWARE = 1, INTERRUPT_TIMER = 5, INTERRUPT_EXTERNAL = 9 };
#define CAUSE_INTERRUPT ((uint64_t)1 << 63)
enum trap_cause {
    CAUSE_FETCH_MISALIGNED = 0,
    CAUSE_FETCH_ACCESS = 1,
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAKPOINT = 3,
    CAUSE_LOAD_MISALIGNED = 4,
    CAUSE_LOAD_ACCESS = 5,
    CAUSE_STORE_MISALIGNED = 6,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_USER_CALL = 8,
    CAUSE_FETCH_PAGE = 12,
    CAUSE_LOAD_PAGE = 13,
    CAUSE_STORE_PAGE = 15,
};

static inline void fence_instructions(void) { __asm__ volatile("fence.i" ::: "memory"); }
static inline void wait_for_interrupt(void) { __asm__ volatile("wfi" ::: "memory"); }

/* Device registers: in program order with each other and with memory. */
static inline uint8_t device_read8(uintptr_t address)
{
    uint8_t value = *(volatile uint8_t *)address;
    __asm__ volatile("fence i, ior" ::: "memory");
    return value;
}
static inline uint32_t device_read32(uintptr_t address)
{
    uint32_t value = *(volatile uint32_t *)address;
    __asm__ volatile("fence i, ior" ::: "memory");
    return value;
}
static inline void device_write8(uintptr_t address, uint8_t value)
{
    __asm__ volatile("fence iow, o" ::: "memory");
    *(volatile uint8_t *)address = value;
}
static inline void device_write32(uintptr_t address, uint32_t value)
{
    __asm__ volatile("fence iow, o" ::: "memory");
    *(volatile uint32_t *)address = value;
}

#endif
