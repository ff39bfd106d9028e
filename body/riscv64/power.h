/*
 * The end of the machine, with a status where it has a device for that.
 */
#ifndef RISCV64_POWER_H
#define RISCV64_POWER_H

#include "kernel/types.h"

void power_init(void);
NORETURN void power_off(bool failed, uint8_t status);

#endif
