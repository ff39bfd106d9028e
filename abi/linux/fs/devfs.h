/*
 * The character devices of memory: what a number of major 1 opens.
 */
#ifndef ABI_LINUX_FS_DEVFS_H
#define ABI_LINUX_FS_DEVFS_H

#include "abi/linux/file.h"

/* null, zero, full, random, urandom, kmsg's place: -ENXIO for others. devfs_memory.c */
int memory_device_open(uint32_t minor, uint32_t flags, struct file **file);

#endif
