/*
 * Pipes and FIFOs: what other files may use of them. The object itself is in pipe.c.
 */
#ifndef ABI_LINUX_PIPE_H
#define ABI_LINUX_PIPE_H

#include "abi/linux/file.h"

struct pipe;

/*
 * Opens a FIFO (node->fifo), with the blocking rules of fifo(7): may wait interruptibly (-ERESTARTSYS); -ENXIO for
 * O_WRONLY | O_NONBLOCK without a reader. Permission has been checked. *file has neither node nor path: the caller
 * sets them (the pipe holds a reference of its own on the node).
 */
int fifo_open(struct node *node, uint32_t flags, struct file **file);

/* A new pipe's reading and writing end, flags beyond the access mode as pipe2(2) has them. -ENOMEM, and nothing is left over. */
int pipe_open_both(uint32_t flags, struct file *ends[2]);

/* fcntl F_GETPIPE_SZ and F_SETPIPE_SZ: the size in bytes, or -EBADF (no pipe), -EINVAL, -EPERM, -EBUSY, -ENOMEM. */
int64_t pipe_get_size(struct file *file);
int64_t pipe_set_size(struct file *file, uint64_t size);

/* The pipe behind a file, or NULL: for splice and its kind. */
struct pipe *pipe_of(struct file *file);

#endif
