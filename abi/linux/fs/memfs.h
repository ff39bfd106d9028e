/*
 * The in-memory file system, for those who build on it: devfs fills one, the overlay uses one as its upper layer.
 */
#ifndef ABI_LINUX_FS_MEMFS_H
#define ABI_LINUX_FS_MEMFS_H

#include "abi/linux/fs/fs.h"

/* memfs_create under another name in /proc/mounts; constant text. */
struct fs *memfs_create_named(const char *name);
/* Puts a node with operations of its own (of the same fs) into a memfs directory; takes no reference of the caller's. -ENOMEM, -EEXIST. */
int memfs_adopt(struct node *dir, const char *name, struct node *child);
/* A fresh inode number of this memfs. */
uint64_t memfs_inode(struct fs *fs);
/* Opens a device of the guest by number; type bits in mode. -ENXIO. abi/linux/fs/devfs.c */
int device_open(uint32_t mode, uint64_t rdev, uint32_t flags, struct file **file);
/* What stat says of the node in /dev with this number, for files that were not opened by name. -ENOENT. */
int device_stat(uint64_t rdev, struct linux_stat_data *stat);

/* Whether a remembered access time is due for an update, as relatime says. */
bool access_time_due(const struct file_time *access, const struct file_time *modify, const struct file_time *change,
                     const struct file_time *now);

#endif
