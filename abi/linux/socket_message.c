/*
 * The send and receive calls: message headers in and out around unix_send and unix_receive.
 */
#include "abi/linux/socket.h"

#include "abi/linux/calls.h"
#include "abi/linux/deadline.h"
#include "abi/linux/process.h"
#include "kernel/string.h"

#define MESSAGES_MAX 1024u /* of sendmmsg and recvmmsg, UIO_MAXIOV */

struct linux_mmsghdr {
    struct linux_msghdr header;
    uint32_t length, padding;
};
_Static_assert(sizeof(struct linux_mmsghdr) == 64, "struct mmsghdr");

static uint32_t file_flags(struct file *file, uint32_t flags) { return file_nonblocking(file) ? flags | MSG_DONTWAIT : flags; }

static int vectors_init(struct io *io, const struct linux_msghdr *header)
{
    if (header->vector_count > IO_VECTORS_MAX)
        return -EMSGSIZE;
    return io_init_vectors(io, header->vectors, header->vector_count);
}

/* --- sending ----------------------------------------------------------------------------------------- */

static int64_t send_one(struct file *file, struct io *io, uint32_t flags, uaddr_t name_address, int32_t name_length,
                        struct unix_sending *sending)
{
    struct linux_sockaddr_un name;

    if (name_address && name_length) {
        int error = socket_name_read(&name, name_address, name_length);
        if (error)
            return error;
        sending->name = &name;
        sending->name_length = name_length;
    }
    return unix_send(file->data, io, file_flags(file, flags), sending);
}

int64_t sys_sendto(int32_t fd, uaddr_t buffer, uint64_t size, uint32_t flags, uaddr_t name, int32_t name_length)
{
    struct unix_sending sending = {0};
    struct file *file;
    struct io io;
    int error;
    int64_t result;

    if (!socket_get(fd, &file, &error))
        return error;
    io_init_user(&io, buffer, size);
    result = send_one(file, &io, flags, name, name_length, &sending);
    file_unref(file);
    return result;
}

static int64_t send_header(struct file *file, const struct linux_msghdr *header, uint32_t flags)
{
    struct unix_sending sending = {0};
    struct io io;
    int64_t result = vectors_init(&io, header);

    if (result)
        return result;
    result = control_read(header->control, header->control_length, &sending);
    if (!result)
        result = send_one(file, &io, flags, header->name, header->name_length, &sending);
    unix_rights_drop(sending.rights);
    io_done(&io);
    return result;
}

int64_t sys_sendmsg(int32_t fd, uaddr_t header_address, uint32_t flags)
{
    struct linux_msghdr header;
    struct file *file;
    int error;
    int64_t result = -EFAULT;

    if (!socket_get(fd, &file, &error))
        return error;
    if (!user_read(&header, header_address, sizeof(header)))
        result = send_header(file, &header, flags);
    file_unref(file);
    return result;
}

/* One element of sendmmsg: 0 or an error. */
static int64_t send_element(struct file *file, uaddr_t address, uint32_t flags)
{
    struct linux_msghdr header;
    uint32_t length;
    int64_t sent;

    if (user_read(&header, address, sizeof(header)))
        return -EFAULT;
    sent = send_header(file, &header, flags);
    if (sent < 0)
        return sent;
    length = sent;
    return user_write(address + offsetof(struct linux_mmsghdr, length), &length, sizeof(length));
}

int64_t sys_sendmmsg(int32_t fd, uaddr_t headers, uint32_t count, uint32_t flags)
{
    struct file *file;
    uint32_t done = 0;
    int error;
    int64_t result = 0;

    if (!socket_get(fd, &file, &error))
        return error;
    if (count > MESSAGES_MAX)
        count = MESSAGES_MAX;
    while (done < count && !result) {
        result = send_element(file, headers + done * sizeof(struct linux_mmsghdr), flags);
        done += !result;
    }
    file_unref(file);
    return done ? (int64_t)done : result;
}

/* --- receiving --------------------------------------------------------------------------------------- */

/* The sender's name into *name; its size, 0 when the sender has none. */
static uint32_t sender_name(const struct unix_receiving *receiving, struct linux_sockaddr_un *name)
{
    return receiving->from ? unix_address_fill(receiving->from, name) : 0;
}

int64_t sys_recvfrom(int32_t fd, uaddr_t buffer, uint64_t size, uint32_t flags, uaddr_t name_address, uaddr_t length_address)
{
    struct unix_receiving receiving = {0};
    struct linux_sockaddr_un name;
    struct file *file;
    struct io io;
    int error;
    int64_t result;

    if (!socket_get(fd, &file, &error))
        return error;
    io_init_user(&io, buffer, size);
    result = unix_receive(file->data, &io, file_flags(file, flags), &receiving);
    if (result >= 0 && name_address) {
        error = socket_name_write(&name, sender_name(&receiving, &name), name_address, length_address);
        if (error)
            result = error;
    }
    unix_rights_drop(receiving.rights);
    object_unref(receiving.from);
    file_unref(file);
    return result;
}

/* What recvmsg changes in the header. */
static int header_write(uaddr_t address, const struct linux_msghdr *header)
{
    if (user_write(address + offsetof(struct linux_msghdr, flags), &header->flags, sizeof(header->flags)) ||
        user_write(address + offsetof(struct linux_msghdr, control_length), &header->control_length, sizeof(header->control_length)))
        return -EFAULT;
    if (!header->name)
        return 0;
    return user_write(address + offsetof(struct linux_msghdr, name_length), &header->name_length, sizeof(header->name_length));
}

static int receive_finish(struct file *file, struct linux_msghdr *header, uint32_t flags, struct unix_receiving *receiving)
{
    struct linux_sockaddr_un name;
    uint32_t size = sender_name(receiving, &name);

    if (header->name) {
        if (header->name_length < 0)
            return -EINVAL;
        if (user_write(header->name, &name, min_u64((uint32_t)header->name_length, size)))
            return -EFAULT;
        header->name_length = size;
    }
    if (!header->control)
        header->control_length = 0;
    control_write(file->data, receiving, header->control, &header->control_length, flags & MSG_CMSG_CLOEXEC);
    header->flags = receiving->flags | (flags & MSG_CMSG_CLOEXEC);
    return 0;
}

static int64_t receive_header(struct file *file, uaddr_t address, uint32_t flags)
{
    struct unix_receiving receiving = {0};
    struct linux_msghdr header;
    struct io io;
    int64_t result;
    int error;

    if (user_read(&header, address, sizeof(header)))
        return -EFAULT;
    result = vectors_init(&io, &header);
    if (result)
        return result;
    result = unix_receive(file->data, &io, file_flags(file, flags), &receiving);
    io_done(&io);
    error = result < 0 ? 0 : receive_finish(file, &header, flags, &receiving);
    if (result >= 0 && !error)
        error = header_write(address, &header);
    unix_rights_drop(receiving.rights);
    object_unref(receiving.from);
    return error ? error : result;
}

int64_t sys_recvmsg(int32_t fd, uaddr_t header, uint32_t flags)
{
    struct file *file;
    int error;
    int64_t result;

    if (!socket_get(fd, &file, &error))
        return error;
    result = receive_header(file, header, flags);
    file_unref(file);
    return result;
}

/* One element of recvmmsg: 0 or an error. */
static int64_t receive_element(struct file *file, uaddr_t address, uint32_t flags)
{
    int64_t received = receive_header(file, address, flags);
    uint32_t length = received;

    if (received < 0)
        return received;
    return user_write(address + offsetof(struct linux_mmsghdr, length), &length, sizeof(length));
}

/* Until `count` came, an error, or, checked after each message as recvmmsg(2) says, the deadline. */
static int64_t receive_many(struct file *file, uaddr_t headers, uint32_t count, uint32_t flags, nanoseconds_t deadline)
{
    uint32_t done = 0;
    int64_t result = 0;

    while (done < count) {
        result = receive_element(file, headers + done * sizeof(struct linux_mmsghdr), flags & ~(uint32_t)MSG_WAITFORONE);
        if (result)
            break;
        done++;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (deadline != DEADLINE_NEVER && body_now() >= deadline)
            break;
    }
    return done ? (int64_t)done : result;
}

int64_t sys_recvmmsg(int32_t fd, uaddr_t headers, uint32_t count, uint32_t flags, uaddr_t timeout)
{
    struct linux_timespec wait;
    nanoseconds_t deadline;
    struct file *file;
    int error;
    int64_t result;

    if (timeout && user_read(&wait, timeout, sizeof(wait)))
        return -EFAULT;
    error = deadline_after_timespec(timeout ? &wait : NULL, &deadline);
    if (error)
        return error;
    if (!socket_get(fd, &file, &error))
        return error;
    result = receive_many(file, headers, min_u64(count, MESSAGES_MAX), flags, deadline);
    file_unref(file);
    return timeout && result >= 0 ? deadline_report(timeout, deadline, result) : result;
}
