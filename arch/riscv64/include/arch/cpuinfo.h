/*
 * What /proc/cpuinfo tells of a RISC-V hart: what programs may use, which is what the kernel saves.
 */
#ifndef ARCH_CPUINFO_H
#define ARCH_CPUINFO_H

#include "kernel/string.h"
#include "kernel/types.h"

/* The lines between "processor" and "cpu MHz"; at most size - 1 bytes, terminated. */
static inline void arch_cpu_show(char *buffer, size_t size)
{
    format(buffer, size, "isa\t\t: rv64imafdc_zicsr_zifencei\nmmu\t\t: sv48\n");
}

#endif
