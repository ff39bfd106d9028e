/*
 * Control messages (cmsg(3)): SCM_RIGHTS and SCM_CREDENTIALS in both directions.
 */
#include "abi/linux/socket.h"

#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { SOL_SOCKET = 1 };
enum { SCM_RIGHTS = 1, SCM_CREDENTIALS = 2 };

struct linux_cmsghdr {
    uint64_t length; /* with this header */
    int32_t level, type;
};
_Static_assert(sizeof(struct linux_cmsghdr) == 16, "struct cmsghdr");

#define CMSG_ALIGN 8u

/* --- sending ----------------------------------------------------------------------------------------- */

static int rights_read(const uint8_t *data, size_t size, struct unix_sending *sending)
{
    uint32_t count = size / sizeof(int32_t);
    int error;

    if (!count)
        return 0;
    if (count > UNIX_RIGHTS_MAX)
        return -EINVAL;
    error = unix_rights_extend(&sending->rights, count);
    for (uint32_t i = 0; i < count && !error; i++) {
        int32_t fd;

        memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
        error = fd_get_any(fd, &sending->rights->files[sending->rights->count]);
        if (!error)
            sending->rights->count++;
    }
    return error;
}

/* A sender may only claim to be who it is, unless it is privileged. */
static int credentials_read(const uint8_t *data, size_t size, struct unix_sending *sending)
{
    const struct cred *cred = current_cred();
    struct unix_credentials said;

    if (size != sizeof(said))
        return -EINVAL;
    memcpy(&said, data, sizeof(said));
    if (said.pid != current_process()->pid && !capable(LINUX_CAP_SYS_ADMIN))
        return -EPERM;
    if (said.uid != cred->uid && said.uid != cred->euid && said.uid != cred->suid && !capable(LINUX_CAP_SETUID))
        return -EPERM;
    if (said.gid != cred->gid && said.gid != cred->egid && said.gid != cred->sgid && !capable(LINUX_CAP_SETGID))
        return -EPERM;
    if (said.pid != current_process()->pid) {
        struct process *process = process_find(said.pid);
        if (!process)
            return -ESRCH;
        object_unref(process);
    }
    sending->credentials = said;
    sending->has_credentials = true;
    return 0;
}

static int message_parse(const uint8_t *buffer, uint64_t length, struct unix_sending *sending)
{
    uint64_t offset = 0;
    int error = 0;

    while (!error && length - offset >= sizeof(struct linux_cmsghdr)) {
        const uint8_t *data = buffer + offset + sizeof(struct linux_cmsghdr);
        struct linux_cmsghdr header;

        memcpy(&header, buffer + offset, sizeof(header));
        if (header.length < sizeof(header) || header.length > length - offset)
            return -EINVAL;
        if (header.level == SOL_SOCKET && header.type == SCM_RIGHTS)
            error = rights_read(data, header.length - sizeof(header), sending);
        else if (header.level == SOL_SOCKET && header.type == SCM_CREDENTIALS)
            error = credentials_read(data, header.length - sizeof(header), sending);
        else if (header.level == SOL_SOCKET)
            error = -EINVAL;
        offset = min_u64(length, offset + round_up(header.length, CMSG_ALIGN));
    }
    return error;
}

int control_read(uaddr_t control, uint64_t length, struct unix_sending *sending)
{
    uint8_t *buffer;
    int error;

    if (!length)
        return 0;
    if (length > SOCKET_CONTROL_MAX)
        return -ENOBUFS;
    buffer = kalloc(length);
    if (!buffer)
        return -ENOBUFS;
    error = user_read(buffer, control, length) ? -EFAULT : message_parse(buffer, length, sending);
    kfree(buffer);
    return error;
}

/* --- receiving --------------------------------------------------------------------------------------- */

struct control_out {
    uaddr_t address;
    uint64_t room, used;
    uint32_t flags; /* MSG_CTRUNC */
};

/* One control message; what does not fit is cut. */
static void control_put(struct control_out *out, int type, const void *data, size_t size)
{
    struct linux_cmsghdr header = {sizeof(header) + size, SOL_SOCKET, type};
    uint64_t left = out->room - out->used;

    if (left < sizeof(header)) {
        out->flags |= MSG_CTRUNC;
        return;
    }
    if (left < header.length) {
        out->flags |= MSG_CTRUNC;
        header.length = left;
    }
    if (user_write(out->address + out->used, &header, sizeof(header)) ||
        user_write(out->address + out->used + sizeof(header), data, header.length - sizeof(header)))
        return;
    out->used += min_u64(left, round_up(header.length, CMSG_ALIGN));
}

/* A descriptor for one file, its number to `address`. 0 or an error; the file stays the caller's on failure. */
static int right_install(struct file *file, uaddr_t address, bool cloexec)
{
    int32_t fd = fd_reserve(0, cloexec ? LINUX_O_CLOEXEC : 0);

    if (fd < 0)
        return fd;
    if (user_write(address, &fd, sizeof(fd))) {
        fd_cancel(fd);
        return -EFAULT;
    }
    fd_commit(fd, file);
    return 0;
}

/* As many descriptors as there is room for, and free slots. */
static void rights_put(struct control_out *out, struct unix_rights *rights, bool cloexec)
{
    uint64_t left = out->room - out->used;
    uint32_t fit = left > sizeof(struct linux_cmsghdr) ? (left - sizeof(struct linux_cmsghdr)) / sizeof(int32_t) : 0;
    uaddr_t data = out->address + out->used + sizeof(struct linux_cmsghdr);
    uint32_t done = 0;

    while (done < rights->count && done < fit && !right_install(rights->files[done], data + done * sizeof(int32_t), cloexec))
        rights->files[done++] = NULL;
    if (done < rights->count)
        out->flags |= MSG_CTRUNC;
    if (!done)
        return;
    struct linux_cmsghdr header = {sizeof(header) + done * sizeof(int32_t), SOL_SOCKET, SCM_RIGHTS};
    if (!user_write(out->address + out->used, &header, sizeof(header)))
        out->used += min_u64(left, round_up(header.length, CMSG_ALIGN));
}

void control_write(struct unix_socket *socket, struct unix_receiving *receiving, uaddr_t control, uint64_t *length, bool cloexec)
{
    struct control_out out = {.address = control, .room = *length};

    if (receiving->has_message && atomic32_load_relaxed(&socket->pass_credentials))
        control_put(&out, SCM_CREDENTIALS, &receiving->credentials, sizeof(receiving->credentials));
    if (receiving->rights) {
        rights_put(&out, receiving->rights, cloexec);
        unix_rights_drop(receiving->rights);
        receiving->rights = NULL;
    }
    receiving->flags |= out.flags;
    *length = out.used;
}
