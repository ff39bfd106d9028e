/*
 * A thread that waits for one of several files: poll and select stand on it.
 *
 *   struct poller        who waits
 *   struct poll_entry    one file it looks at
 *
 * Knotes are attached before the files are asked a last time, so nothing that happens after is missed.
 */
#ifndef ABI_LINUX_POLLER_H
#define ABI_LINUX_POLLER_H

#include "abi/linux/file.h"
#include "kernel/waitq.h"

struct poller {
    struct waitq waiters; /* its lock guards `triggered` too */
    bool triggered;
};

struct poll_entry {
    struct knote knote;
    struct poller *poller;
    struct file *file;  /* referenced; NULL: not watched */
    uint32_t interest;  /* event_bits asked for; errors and hang-ups come always */
};

void poller_init(struct poller *poller);
/* Attaches the entry to its file's knotes; entry->file and interest are set. Files that never change have none. */
void poll_entry_watch(struct poller *poller, struct poll_entry *entry);
/* Detaches; safe on entries that were zeroed and never watched. */
void poll_entry_unwatch(struct poll_entry *entry);
/* The asked-for events (and errors) that are true now. */
uint32_t poll_entry_ready(const struct poll_entry *entry);
/* Until an entry was activated since the last call: 0, -ETIMEDOUT or -EINTR. */
int poller_wait(struct poller *poller, nanoseconds_t deadline);

#endif
