/*
 * O_ASYNC: signals for files that become ready. abi/linux/file_async.c.
 */
#ifndef ABI_LINUX_FILE_ASYNC_H
#define ABI_LINUX_FILE_ASYNC_H

#include "abi/linux/file.h"

/* F_OWNER_TID and its kind. id 0: nobody. */
enum file_owner_type { FILE_OWNER_THREAD, FILE_OWNER_PROCESS, FILE_OWNER_GROUP };
struct file_owner {
    int32_t type, id;
};

/*
 * From now on, or no more, each event of the file sends its owner a signal; si_fd is then `fd`. Nothing for files that know no
 * such events (file_ops.async). 0, -ENOMEM.
 */
int file_async_switch(struct file *file, int fd, bool on);
/* Also who it was that named the owner, whose rights count when a signal is sent. 0, -ENOMEM. */
int file_async_set_owner(struct file *file, struct file_owner owner);
struct file_owner file_async_owner(struct file *file);
/* 0: SIGIO without details. 0, -ENOMEM. */
int file_async_set_signal(struct file *file, int32_t signal);
int32_t file_async_signal(struct file *file);

#endif
