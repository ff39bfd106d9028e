/*
 * How much memory the host has: what programs see as the machine's when the sandbox has no limit.
 */
#include "kernel/body.h"

#include <sys/sysinfo.h>

uint64_t body_memory_size(void)
{
    struct sysinfo info;

    return sysinfo(&info) ? 0 : (uint64_t)info.totalram * info.mem_unit;
}
