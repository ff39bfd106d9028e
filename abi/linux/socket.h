/*
 * What the socket calls share: descriptors to sockets, names to and from user memory, control messages.
 */
#ifndef ABI_LINUX_SOCKET_H
#define ABI_LINUX_SOCKET_H

#include "abi/linux/unix_socket.h"

#define SOCKET_CONTROL_MAX 65536u

struct linux_msghdr {
    uint64_t name;
    int32_t name_length;
    uint32_t padding1;
    uint64_t vectors, vector_count;
    uint64_t control, control_length;
    uint32_t flags, padding2;
};
_Static_assert(sizeof(struct linux_msghdr) == 56, "struct msghdr");

/* The socket behind a descriptor, with a reference on *file; NULL with *error -EBADF or -ENOTSOCK. */
struct unix_socket *socket_get(int fd, struct file **file, int *error);
/* A user's socket address. -EINVAL (length), -EFAULT. */
int socket_name_read(struct linux_sockaddr_un *name, uaddr_t address, int32_t length);
/* `size` bytes of name to the user, cut to *length_address; the full size there. */
int socket_name_write(const struct linux_sockaddr_un *name, uint32_t size, uaddr_t address, uaddr_t length_address);

/* Control messages of a send: fills in credentials and rights. The rights are the caller's, also on failure. */
int control_read(uaddr_t control, uint64_t length, struct unix_sending *sending);
/*
 * Control messages of a receive into `control`: *length becomes what was written, MSG_CTRUNC comes into receiving->flags
 * when something had no room. The rights are used up (what cannot be installed is let go).
 */
void control_write(struct unix_socket *socket, struct unix_receiving *receiving, uaddr_t control, uint64_t *length, bool cloexec);

#endif
