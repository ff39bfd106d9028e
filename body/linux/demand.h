/*
 * Mapping on demand: see demand.c.
 */
#ifndef BODY_LINUX_DEMAND_H
#define BODY_LINUX_DEMAND_H

#include "body/linux/client.h"

#include <signal.h>

/* The descriptor of a file whose mappings always fault, or -errno. */
int demand_placeholder(void);
/* A fault of a client that has paged memory: true: the program may go on. False: it is a signal, which the entry says. May suspend. */
bool demand_fault(struct user_thread *user, struct user_entry *entry);
/* A copy failed at this address: true: it may be tried again. May suspend. */
bool demand_copy(struct aspace *aspace, uaddr_t address, bool write);
/* Carries out what is to be revoked in the calling thread's client. 0, or its process dies. May suspend. */
int demand_settle(struct user_thread *user);

/* The child of a fork, not started yet, is to begin with none of the pages that its parent had mapped: some may be taken back by now. */
int demand_forked(struct aspace *child);

#endif
