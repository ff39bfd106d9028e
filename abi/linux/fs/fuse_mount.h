/*
 * FUSE as the rest sees it: mounting, and the device. What is inside is in fuse.h.
 */
#ifndef ABI_LINUX_FS_FUSE_MOUNT_H
#define ABI_LINUX_FS_FUSE_MOUNT_H

#include "abi/linux/fs/fs.h"

/*
 * A file system of type "fuse", "fuse.NAME" or "fuseblk[.NAME]" from mount(2)'s data, which is cut up. fd= names an open /dev/fuse of
 * the current process that has no file system yet. One reference in *fs. -EINVAL, -ENOMEM.
 */
int fuse_mount(const char *type, char *options, struct fs **fs);
int fuse_device_open(uint32_t flags, struct file **file);

#endif
