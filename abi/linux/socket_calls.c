/*
 * The calls that make, name and connect sockets. Only UNIX-domain sockets exist so far; other families answer
 * EAFNOSUPPORT.
 */
#include "abi/linux/socket.h"

#include "abi/linux/calls.h"
#include "abi/linux/process.h"
#include "kernel/string.h"

enum { SOCK_CLOEXEC = LINUX_O_CLOEXEC, SOCK_NONBLOCK = LINUX_O_NONBLOCK };

struct unix_socket *socket_get(int fd, struct file **file, int *error)
{
    struct unix_socket *socket;

    *error = fd_get(fd, file);
    if (*error)
        return NULL;
    socket = unix_of(*file);
    if (!socket) {
        file_unref(*file);
        *error = -ENOTSOCK;
    }
    return socket;
}

int socket_name_read(struct linux_sockaddr_un *name, uaddr_t address, int32_t length)
{
    if (length < 0 || length > 128)
        return -EINVAL;
    memset(name, 0, sizeof(*name));
    if (user_read(name, address, min_u64(length, sizeof(*name))))
        return -EFAULT;
    return 0;
}

int socket_name_write(const struct linux_sockaddr_un *name, uint32_t size, uaddr_t address, uaddr_t length_address)
{
    int32_t length;

    if (user_read(&length, length_address, sizeof(length)))
        return -EFAULT;
    if (length < 0)
        return -EINVAL;
    if (user_write(address, name, min_u64((uint32_t)length, min_u64(size, sizeof(*name)))))
        return -EFAULT;
    length = size;
    return user_write(length_address, &length, sizeof(length));
}

/* --- making them ------------------------------------------------------------------------------------- */

/* The type without its flags, or an error. */
static int type_check(int32_t domain, uint32_t type, int32_t protocol)
{
    uint32_t kind = type & LINUX_SOCK_TYPE_MASK;

    if (type & ~(uint32_t)(LINUX_SOCK_TYPE_MASK | SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    if (domain != LINUX_AF_UNIX)
        return -EAFNOSUPPORT;
    if (protocol && protocol != LINUX_AF_UNIX)
        return -EPROTONOSUPPORT;
    if (kind == LINUX_SOCK_RAW)
        return LINUX_SOCK_DGRAM;
    if (kind != LINUX_SOCK_STREAM && kind != LINUX_SOCK_DGRAM && kind != LINUX_SOCK_SEQPACKET)
        return kind > 10 ? -EINVAL : -ESOCKTNOSUPPORT;
    return kind;
}

int64_t sys_socket(int32_t domain, uint32_t type, int32_t protocol)
{
    int kind = type_check(domain, type, protocol), error, fd;
    struct unix_socket *socket;
    struct file *file;

    if (kind < 0)
        return kind;
    error = unix_make(kind, type & SOCK_NONBLOCK, &file, &socket);
    if (error)
        return error;
    fd = fd_install(file, type & SOCK_CLOEXEC);
    if (fd < 0)
        file_unref(file);
    return fd;
}

int64_t sys_socketpair(int32_t domain, uint32_t type, int32_t protocol, uaddr_t fds)
{
    int kind = type_check(domain, type, protocol), error, numbers[2];
    struct file *files[2];
    int32_t out[2];

    if (kind < 0)
        return kind;
    error = unix_pair_make(kind, type & SOCK_NONBLOCK, files);
    if (error)
        return error;
    error = fd_install_pair(files[0], files[1], type & SOCK_CLOEXEC, numbers);
    if (error < 0) {
        file_unref(files[0]);
        file_unref(files[1]);
        return error;
    }
    out[0] = numbers[0];
    out[1] = numbers[1];
    if (!user_write(fds, out, sizeof(out)))
        return 0;
    fd_close(numbers[0]);
    fd_close(numbers[1]);
    return -EFAULT;
}

/* --- naming and connecting --------------------------------------------------------------------------- */

int64_t sys_bind(int32_t fd, uaddr_t address, int32_t length)
{
    struct linux_sockaddr_un name;
    struct unix_socket *socket;
    struct file *file;
    int error;

    socket = socket_get(fd, &file, &error);
    if (!socket)
        return error;
    error = socket_name_read(&name, address, length);
    if (!error)
        error = unix_bind(socket, &name, length);
    file_unref(file);
    return error;
}

int64_t sys_connect(int32_t fd, uaddr_t address, int32_t length)
{
    struct linux_sockaddr_un name;
    struct unix_socket *socket;
    struct file *file;
    int error;

    socket = socket_get(fd, &file, &error);
    if (!socket)
        return error;
    error = socket_name_read(&name, address, length);
    if (!error)
        error = unix_connect(socket, &name, length, file_nonblocking(file));
    file_unref(file);
    return error;
}

int64_t sys_listen(int32_t fd, int32_t backlog)
{
    struct unix_socket *socket;
    struct file *file;
    int error;

    socket = socket_get(fd, &file, &error);
    if (!socket)
        return error;
    error = unix_listen(socket, backlog);
    file_unref(file);
    return error;
}

int64_t sys_shutdown(int32_t fd, int32_t how)
{
    struct unix_socket *socket;
    struct file *file;
    int error;

    socket = socket_get(fd, &file, &error);
    if (!socket)
        return error;
    error = unix_shutdown(socket, how);
    file_unref(file);
    return error;
}

static struct unix_address *address_get(struct unix_socket *socket)
{
    struct unix_address *address;

    mutex_lock(&socket->mutex);
    address = socket->address ? object_ref(socket->address) : NULL;
    mutex_unlock(&socket->mutex);
    return address;
}

static int own_name_write(struct unix_socket *socket, uaddr_t name_address, uaddr_t length_address)
{
    struct unix_address *address = address_get(socket);
    struct linux_sockaddr_un name;
    uint32_t size = unix_address_fill(address, &name);

    object_unref(address);
    return socket_name_write(&name, size, name_address, length_address);
}

static int peer_name_write(struct unix_socket *socket, uaddr_t name_address, uaddr_t length_address)
{
    struct unix_socket *peer = unix_peer_get(socket);
    int error;

    if (!peer)
        return -ENOTCONN;
    error = own_name_write(peer, name_address, length_address);
    object_unref(peer);
    return error;
}

int64_t sys_getsockname(int32_t fd, uaddr_t address, uaddr_t length_address)
{
    struct unix_socket *socket;
    struct file *file;
    int error;

    socket = socket_get(fd, &file, &error);
    if (!socket)
        return error;
    error = own_name_write(socket, address, length_address);
    file_unref(file);
    return error;
}

int64_t sys_getpeername(int32_t fd, uaddr_t address, uaddr_t length_address)
{
    struct unix_socket *socket;
    struct file *file;
    int error;

    socket = socket_get(fd, &file, &error);
    if (!socket)
        return error;
    error = peer_name_write(socket, address, length_address);
    file_unref(file);
    return error;
}

/* --- accept ------------------------------------------------------------------------------------------ */

/* The next connection as a file. */
static int accept_file(struct unix_socket *listener, bool nonblock, uint32_t flags, struct file **file)
{
    struct unix_socket *accepted;
    int error = unix_accept(listener, nonblock, &accepted);

    if (error)
        return error;
    *file = unix_file_create(accepted, flags & SOCK_NONBLOCK);
    if (*file)
        return 0;
    unix_close(accepted, true);
    return -ENOMEM;
}

/* A descriptor is set aside first: without one, no connection is taken. */
static int accept_on(struct unix_socket *listener, bool nonblock, uint32_t flags, uaddr_t address, uaddr_t length_address)
{
    int fd = fd_reserve(0, flags & SOCK_CLOEXEC), error;
    struct file *file;

    if (fd < 0)
        return fd;
    error = accept_file(listener, nonblock, flags, &file);
    if (error) {
        fd_cancel(fd);
        return error;
    }
    if (address) {
        error = peer_name_write(file->data, address, length_address);
        if (error == -ENOTCONN)
            error = -ECONNABORTED;
    }
    if (error) {
        fd_cancel(fd);
        file_unref(file);
        return error;
    }
    fd_commit(fd, file);
    return fd;
}

int64_t sys_accept4(int32_t fd, uaddr_t address, uaddr_t length_address, uint32_t flags)
{
    struct unix_socket *socket;
    struct file *file;
    int result;

    if (flags & ~(uint32_t)(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    socket = socket_get(fd, &file, &result);
    if (!socket)
        return result;
    result = accept_on(socket, file_nonblocking(file), flags, address, length_address);
    file_unref(file);
    return result;
}

int64_t sys_accept(int32_t fd, uaddr_t address, uaddr_t length_address) { return sys_accept4(fd, address, length_address, 0); }
