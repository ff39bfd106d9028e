/*
 * Devices: those of memory (what a number of major 1 opens), and those that the body brings.
 */
#ifndef ABI_LINUX_FS_DEVFS_H
#define ABI_LINUX_FS_DEVFS_H

#include "abi/linux/file.h"

/* null, zero, full, random, urandom, kmsg's place: -ENXIO for others. devfs_memory.c */
int memory_device_open(uint32_t minor, uint32_t flags, struct file **file);

struct device_entry {
    const char *name;  /* in /dev; stays */
    uint32_t mode;     /* with its type: LINUX_S_IFCHR or LINUX_S_IFBLK */
    uint32_t major, minor, gid;
    int (*open)(void *data, uint32_t flags, struct file **file);
    void *data;
};
/* A device that is there for ever. While the body starts, before devfs_create, by one thread. -ENOSPC. */
int device_register(const struct device_entry *entry);

#endif
