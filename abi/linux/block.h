/*
 * Block devices: what a driver provides, and the files of /dev that open them.
 *
 * A driver moves whole sectors of BLOCK_SECTOR bytes between the device and kernel memory, many requests at a time, and says when
 * each is done. There is no cache in between: a read is a request, a write has reached the device when it returns, fsync(2)
 * empties the device's own cache. Who needs caching (a file system) knows better what to keep.
 */
#ifndef ABI_LINUX_BLOCK_H
#define ABI_LINUX_BLOCK_H

#include "kernel/list.h"
#include "kernel/lock.h"
#include "kernel/types.h"
#include "kernel/waitq.h"

#define BLOCK_SECTOR 512u
#define BLOCK_REQUEST_BYTES 65536u /* the largest request */

struct block_device;
enum block_kind { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH };

struct block_request {
    enum block_kind kind;
    uint64_t sector;
    uint32_t sectors; /* 0 for a flush */
    void *buffer;     /* kalloc'ed */
    int status;       /* when it is done: 0, -EIO, -ENOTSUP */
    void (*done)(struct block_request *request); /* any context, no lock held; the request is then its owner's again */
    struct list link; /* the driver's while it has it */
};

struct block_device {
    char name[8];
    uint64_t sectors;
    bool read_only, flushes;
    uint32_t physical_sector; /* bytes */
    /* Takes the request; `done` is called exactly once, perhaps before this returns. Any context, no spinlock held. */
    void (*submit)(struct block_device *device, struct block_request *request);
    void *driver;

    struct mutex mutex; /* rank NODE; guards who writes: many that write whole sectors, or one that does not */
    uint32_t whole_writers, part_waiters;
    bool part_writer;
    struct waitq writers;
};

/*
 * Puts it into /dev as "vda", "vdb", … in the order of the calls; before devfs_create, and it stays for ever. The fields above the
 * line are the caller's. -ENOSPC, -ENOMEM.
 */
int block_register(struct block_device *device);

#endif
