/*
 * What /proc/cpuinfo tells of an x86-64 CPU, from the cpuid instruction.
 */
#ifndef ARCH_CPUINFO_H
#define ARCH_CPUINFO_H

#include "kernel/string.h"
#include "kernel/types.h"

#include <cpuid.h>

struct arch_cpu_flag {
    uint8_t leaf, reg, bit; /* leaf: 1, 7, or 0x81 for 0x80000001; reg: a b c d as 0 to 3 */
    const char *name;
};

static const struct arch_cpu_flag arch_cpu_flags[] = {
    {1, 3, 0, "fpu"},      {1, 3, 3, "pse"},       {1, 3, 4, "tsc"},      {1, 3, 6, "pae"},       {1, 3, 8, "cx8"},
    {1, 3, 11, "sep"},     {1, 3, 13, "pge"},      {1, 3, 15, "cmov"},    {1, 3, 16, "pat"},      {1, 3, 19, "clflush"},
    {1, 3, 23, "mmx"},     {1, 3, 24, "fxsr"},     {1, 3, 25, "sse"},     {1, 3, 26, "sse2"},     {1, 3, 28, "ht"},
    {0x81, 3, 11, "syscall"}, {0x81, 3, 20, "nx"}, {0x81, 3, 26, "pdpe1gb"}, {0x81, 3, 27, "rdtscp"}, {0x81, 3, 29, "lm"},
    {1, 2, 0, "pni"},      {1, 2, 1, "pclmulqdq"}, {1, 2, 9, "ssse3"},    {1, 2, 12, "fma"},      {1, 2, 13, "cx16"},
    {1, 2, 19, "sse4_1"},  {1, 2, 20, "sse4_2"},   {1, 2, 22, "movbe"},   {1, 2, 23, "popcnt"},   {1, 2, 25, "aes"},
    {1, 2, 26, "xsave"},   {1, 2, 28, "avx"},      {1, 2, 29, "f16c"},    {1, 2, 30, "rdrand"},   {1, 2, 31, "hypervisor"},
    {0x81, 2, 0, "lahf_lm"}, {0x81, 2, 5, "abm"},  {7, 1, 0, "fsgsbase"}, {7, 1, 3, "bmi1"},      {7, 1, 5, "avx2"},
    {7, 1, 8, "bmi2"},     {7, 1, 9, "erms"},      {7, 1, 16, "avx512f"}, {7, 1, 17, "avx512dq"}, {7, 1, 18, "rdseed"},
    {7, 1, 19, "adx"},     {7, 1, 23, "clflushopt"}, {7, 1, 24, "clwb"},  {7, 1, 28, "avx512cd"}, {7, 1, 29, "sha_ni"},
    {7, 1, 30, "avx512bw"}, {7, 1, 31, "avx512vl"}, {7, 2, 9, "vaes"},    {7, 2, 10, "vpclmulqdq"}, {7, 3, 24, "amx_tile"},
};

static inline size_t arch_cpu_show_flags(char *buffer, size_t size)
{
    uint32_t one[4] = {0}, seven[4] = {0}, extended[4] = {0};
    size_t used = 0;
    __get_cpuid(1, &one[0], &one[1], &one[2], &one[3]);
    __get_cpuid_count(7, 0, &seven[0], &seven[1], &seven[2], &seven[3]);
    __get_cpuid(0x80000001, &extended[0], &extended[1], &extended[2], &extended[3]);
    for (size_t i = 0; i < ARRAY_SIZE(arch_cpu_flags) && used < size; i++) {
        const struct arch_cpu_flag *flag = &arch_cpu_flags[i];
        const uint32_t *regs = flag->leaf == 1 ? one : flag->leaf == 7 ? seven : extended;
        if (regs[flag->reg] >> flag->bit & 1)
            used += (size_t)format(buffer + used, size - used, "%s%s", used ? " " : "", flag->name);
    }
    return used;
}

/* The lines between "processor" and "cpu MHz"; at most size - 1 bytes, terminated. */
static inline void arch_cpu_show(char *buffer, size_t size)
{
    uint32_t a = 0, b = 0, c = 0, d = 0, words[13] = {0};
    char flags[600] = "";
    __get_cpuid(0, &a, &b, &c, &d);
    uint32_t vendor[4] = {b, d, c, 0};
    for (uint32_t i = 0; i < 3; i++)
        __get_cpuid(0x80000002 + i, &words[i * 4], &words[i * 4 + 1], &words[i * 4 + 2], &words[i * 4 + 3]);
    __get_cpuid(1, &a, &b, &c, &d);
    uint32_t family = a >> 8 & 15, model = a >> 4 & 15;
    if (family == 6 || family == 15)
        model |= (a >> 12 & 0xf0);
    if (family == 15)
        family += a >> 20 & 0xff;
    arch_cpu_show_flags(flags, sizeof flags);
    format(buffer, size, "vendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\nstepping\t: %u\nflags\t\t: %s\n",
           (const char *)vendor, family, model, (const char *)words, a & 15, flags);
}

#endif
