/*
 * struct epoll_event: naturally aligned, as everywhere but on x86-64.
 */
#ifndef ARCH_EPOLL_EVENT_H
#define ARCH_EPOLL_EVENT_H

#include <stdint.h>

struct linux_epoll_event {
    uint32_t events;
    uint32_t pad;
    uint64_t data;
};

_Static_assert(sizeof(struct linux_epoll_event) == 16, "struct epoll_event");

#endif
