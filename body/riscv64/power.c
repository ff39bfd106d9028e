/*
 * Power: the SiFive test device ends the emulator with an exit status; other machines are shut down by the firmware.
 */
#include "body/riscv64/power.h"

#include "body/riscv64/csr.h"
#include "body/riscv64/machine.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/sbi.h"

enum { TEST_FAIL = 0x3333, TEST_PASS = 0x5555 };

static uintptr_t test;

void power_init(void)
{
    if (machine.test.size)
        test = kernel_map_device(machine.test.address, machine.test.size);
}

void power_off(bool failed, uint8_t status)
{
    if (test)
        device_write32(test, status ? (uint32_t)status << 16 | TEST_FAIL : TEST_PASS);
    sbi_shutdown(failed);
}
