/*
 * Files that have no name in any file system: inode numbers and what fstat says of them.
 */
#ifndef ABI_LINUX_ANON_H
#define ABI_LINUX_ANON_H

#include "abi/linux/fs/fs.h"

/* The devices Linux shows for its nameless file systems; programs only compare them. */
enum anon_device { ANON_DEVICE_SOCKET = 8, ANON_DEVICE_PIPE = 14, ANON_DEVICE_OTHER = 15 };

/* An inode number nobody else has on these devices. Any context. */
uint64_t anon_inode_next(void);
/* Fills *stat for an object made by `uid`, `gid` at `created`. mode with type bits (none for eventfd and its like). */
void anon_stat(struct linux_stat_data *stat, enum anon_device device, uint64_t inode, uint32_t mode, uint32_t uid, uint32_t gid,
               struct file_time created);
/* fstat of the files that all share one inode: eventfd, epoll, timerfd, signalfd. A file_ops.stat. */
int anon_shared_stat(struct file *file, struct linux_stat_data *stat);

#endif
