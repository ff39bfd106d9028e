/*
 * struct semid64_ds on x86-64, after the permissions: words between the times, left over from 32 bits.
 */
#ifndef ARCH_SEMID_H
#define ARCH_SEMID_H

#include <stdint.h>

struct linux_semid_rest {
    int64_t operation_time, unused1, change_time, unused2;
    uint64_t count, unused[2];
};
_Static_assert(sizeof(struct linux_semid_rest) == 56, "semid64_ds");

#endif
