/*
 * POSIX message queues (mq_overview(7)): what mqueue.c, the queues and their files, offers mqueue_calls.c.
 *
 * A queue is found by its name until it is unlinked, and lives as long as a file of it is open. One lock guards names and
 * queues; user memory is not touched under it.
 */
#ifndef ABI_LINUX_MQUEUE_H
#define ABI_LINUX_MQUEUE_H

#include "abi/linux/file.h"
#include "abi/linux/process.h"
#include "abi/linux/signal.h"

#define MQ_NAME_MAX 255u
#define MQ_PRIORITIES 32768u

struct mq_attributes {
    int64_t flags, messages_max, size_max, messages, reserved[4];
};
_Static_assert(sizeof(struct mq_attributes) == 64, "struct mq_attr");

struct mq_message {
    struct list link;
    uint32_t priority;
    uint64_t size;
    uint8_t bytes[];
};

struct mqueue;

/* An open file of the queue with this name, made from `limits` (NULL: the usual) when flags has O_CREAT and there is none. */
int mqueue_open(const char *name, uint32_t flags, uint32_t mode, const struct mq_attributes *limits, struct file **file);
int mqueue_unlink(const char *name);
/* The file is a queue's: its queue, borrowed. -EBADF. */
int mqueue_of(struct file *file, struct mqueue **queue);
uint64_t mqueue_size_max(const struct mqueue *queue); /* of a message */
/* Takes the message over when it returns 0. -EAGAIN, -ETIMEDOUT, -ERESTARTSYS. */
int mqueue_send(struct mqueue *queue, struct mq_message *message, bool nonblock, nanoseconds_t deadline);
/* The oldest of the highest priority, now the caller's. */
int mqueue_receive(struct mqueue *queue, bool nonblock, nanoseconds_t deadline, struct mq_message **message);
void mqueue_show(struct mqueue *queue, struct mq_attributes *attributes);
/* The calling process is told of the next message that comes to the empty queue, by this signal (0: in silence). -EBUSY. */
int mqueue_notify(struct mqueue *queue, int32_t signal, uint64_t value);
/* No longer, if it was the calling process. */
void mqueue_notify_not(struct mqueue *queue, const struct process *process);
/* Once, before anything else. */
void mqueue_system_init(void);

#endif
