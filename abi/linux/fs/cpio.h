/*
 * Unpacking a cpio archive (the "newc" format of initramfs) into a file system.
 */
#ifndef ABI_LINUX_FS_CPIO_H
#define ABI_LINUX_FS_CPIO_H

#include "abi/linux/fs/fs.h"

/*
 * Everything in the archive, beneath the root of a fresh file system that nobody uses yet. Folders that no member names are
 * made. Several archives may follow each other. -EINVAL: damaged, or not newc; -ENOMEM, … A part may have been unpacked.
 */
int cpio_unpack(struct fs *fs, const void *archive, uint64_t size);

#endif
