/*
 * Event channels of managed programs: see channel.c.
 */
#ifndef ABI_LINUX_CHANNEL_H
#define ABI_LINUX_CHANNEL_H

#include "kernel/user.h"

/* As struct abi has it: a descriptor of the current process's, closed on exec. -EMFILE, -ENOMEM, what make answers. */
int64_t linux_channel_open(user_channel_maker make, void *context);

#endif
