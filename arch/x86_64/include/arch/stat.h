/*
 * struct stat as x86-64 programs know it. Other architectures have another order.
 */
#ifndef ARCH_STAT_H
#define ARCH_STAT_H

#include <stdint.h>

struct linux_stat {
    uint64_t device, inode, link_count;
    uint32_t mode, uid, gid, pad;
    uint64_t rdev;
    int64_t size, block_size, blocks;
    uint64_t access_seconds, access_nanoseconds, modify_seconds, modify_nanoseconds, change_seconds, change_nanoseconds;
    int64_t unused[3];
};
_Static_assert(sizeof(struct linux_stat) == 144, "struct stat");

#endif
