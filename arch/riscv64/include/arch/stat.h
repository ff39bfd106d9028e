/*
 * struct stat as RISC-V programs know it: the generic one of newer architectures.
 */
#ifndef ARCH_STAT_H
#define ARCH_STAT_H

#include <stdint.h>

struct linux_stat {
    uint64_t device, inode;
    uint32_t mode, link_count, uid, gid;
    uint64_t rdev, pad;
    int64_t size;
    int32_t block_size, pad2;
    int64_t blocks;
    uint64_t access_seconds, access_nanoseconds, modify_seconds, modify_nanoseconds, change_seconds, change_nanoseconds;
    uint32_t unused[2];
};
_Static_assert(sizeof(struct linux_stat) == 128, "struct stat");

#endif
