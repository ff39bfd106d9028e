/*
 * struct epoll_event on x86-64: packed, unlike on other 64-bit machines.
 */
#ifndef ARCH_EPOLL_EVENT_H
#define ARCH_EPOLL_EVENT_H

#include <stdint.h>

struct linux_epoll_event {
    uint32_t events;
    uint64_t data;
} __attribute__((packed));

_Static_assert(sizeof(struct linux_epoll_event) == 12, "struct epoll_event");

#endif
