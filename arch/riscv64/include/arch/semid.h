/*
 * struct semid64_ds after the permissions, as 64-bit machines without a 32-bit past have it.
 */
#ifndef ARCH_SEMID_H
#define ARCH_SEMID_H

#include <stdint.h>

struct linux_semid_rest {
    int64_t operation_time, change_time;
    uint64_t count, unused[2];
};
_Static_assert(sizeof(struct linux_semid_rest) == 40, "semid64_ds");

#endif
