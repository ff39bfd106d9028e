/*
 * What the search for unreachable sockets shares with the counting of descriptors in flight.
 */
#ifndef ABI_LINUX_UNIX_GC_H
#define ABI_LINUX_UNIX_GC_H

#include "kernel/list.h"

/* Sockets that some message carries, by flight_link; under unix_flight_mutex. */
extern struct list unix_flight_sockets;

#endif
