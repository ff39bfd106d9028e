/*
 * Structures that Linux programs and the kernel exchange, as Linux lays them out on 64-bit machines.
 */
#ifndef ABI_LINUX_UAPI_H
#define ABI_LINUX_UAPI_H

#include "kernel/types.h"

struct linux_timespec {
    int64_t seconds;
    int64_t nanoseconds;
};

struct linux_timeval {
    int64_t seconds;
    int64_t microseconds;
};

#endif
