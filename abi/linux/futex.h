/*
 * What the futex_*.c files of the Linux ABI share.
 */
#ifndef ABI_LINUX_FUTEX_H
#define ABI_LINUX_FUTEX_H

#include "abi/linux/process.h"
#include "kernel/futex.h"

/* struct robust_list_head: the only size that Linux accepts. */
#define FUTEX_ROBUST_HEAD_SIZE 24u

/* What PI locks ask of a thread id. */
enum futex_owner_state futex_linux_owner(uint32_t id);

#endif
