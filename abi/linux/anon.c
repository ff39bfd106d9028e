/*
 * Nameless files. Pipes and sockets have an inode each; the files that are only descriptors (eventfd, epoll
 * and their kind) share one, as on Linux, with no file type in the mode.
 */
#include "abi/linux/anon.h"

#include "kernel/atomic.h"
#include "kernel/string.h"

static struct atomic64 last_inode = ATOMIC_INIT(1023);

uint64_t anon_inode_next(void) { return atomic64_add_relaxed(&last_inode, 1) + 1; }

void anon_stat(struct linux_stat_data *stat, enum anon_device device, uint64_t inode, uint32_t mode, uint32_t uid, uint32_t gid,
               struct file_time created)
{
    memset(stat, 0, sizeof(*stat));
    stat->device = device;
    stat->inode = inode;
    stat->link_count = 1;
    stat->mode = mode;
    stat->uid = uid;
    stat->gid = gid;
    stat->block_size = PAGE_SIZE;
    stat->access = stat->modify = stat->change = created;
}

int anon_shared_stat(struct file *file, struct linux_stat_data *stat)
{
    (void)file;
    anon_stat(stat, ANON_DEVICE_OTHER, 1023, 0600, 0, 0, (struct file_time){0, 0});
    return 0;
}
