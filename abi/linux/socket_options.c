/*
 * getsockopt and setsockopt. For UNIX-domain sockets only the level SOL_SOCKET has any; options that mean
 * nothing here are remembered and told back, as on Linux.
 */
#include "abi/linux/socket.h"

#include "abi/linux/calls.h"
#include "abi/linux/deadline.h"
#include "abi/linux/process.h"

enum { SOL_SOCKET = 1 };
enum { SO_DEBUG = 1, SO_REUSEADDR = 2, SO_TYPE = 3, SO_ERROR = 4, SO_DONTROUTE = 5, SO_BROADCAST = 6, SO_SNDBUF = 7, SO_RCVBUF = 8,
       SO_KEEPALIVE = 9, SO_OOBINLINE = 10, SO_NO_CHECK = 11, SO_PRIORITY = 12, SO_LINGER = 13, SO_REUSEPORT = 15, SO_PASSCRED = 16,
       SO_PEERCRED = 17, SO_RCVLOWAT = 18, SO_SNDLOWAT = 19, SO_RCVTIMEO = 20, SO_SNDTIMEO = 21, SO_TIMESTAMP = 29,
       SO_ACCEPTCONN = 30, SO_SNDBUFFORCE = 32, SO_RCVBUFFORCE = 33, SO_PROTOCOL = 38, SO_DOMAIN = 39 };

struct linger {
    int32_t on, seconds;
};

/* --- setting ----------------------------------------------------------------------------------------- */

static void buffer_set(struct atomic32 *buffer, int32_t value, uint32_t minimum, bool force)
{
    uint32_t limit = force ? (uint32_t)INT32_MAX / 2 : UNIX_BUFFER_DEFAULT;
    uint32_t size = min_u64((uint32_t)value, limit); /* negative: the largest, as Linux has it */

    atomic32_store_relaxed(buffer, max_u64((uint64_t)size * 2, minimum));
}

/* A struct timeval; zero means no timeout. -EDOM as socket(7) has it for bad microseconds. */
static int timeout_set(struct atomic64 *timeout, uaddr_t value, uint32_t length)
{
    struct linux_timeval wait;
    uint64_t ns = 0;

    if (length < sizeof(wait))
        return -EINVAL;
    if (user_read(&wait, value, sizeof(wait)))
        return -EFAULT;
    if (wait.microseconds < 0 || wait.microseconds >= 1000000)
        return -EDOM;
    if (wait.seconds < 0)
        ns = 1; /* gone by at once */
    else if ((uint64_t)wait.seconds < INT64_MAX / NS_PER_SECOND)
        ns = (uint64_t)wait.seconds * NS_PER_SECOND + (uint64_t)wait.microseconds * 1000;
    atomic64_store_relaxed(timeout, ns);
    return 0;
}

static bool option_is_flag(int option)
{
    switch (option) {
    case SO_DEBUG: case SO_REUSEADDR: case SO_DONTROUTE: case SO_BROADCAST: case SO_KEEPALIVE: case SO_OOBINLINE: case SO_NO_CHECK:
    case SO_TIMESTAMP:
        return true;
    default:
        return false;
    }
}

static void flag_set(struct unix_socket *socket, int option, bool on)
{
    if (on)
        atomic32_or(&socket->flags, 1u << option);
    else
        atomic32_and(&socket->flags, ~(1u << option));
}

static int option_set_int(struct unix_socket *socket, int option, int32_t value)
{
    if (option_is_flag(option)) {
        if (option == SO_DEBUG && value && !capable(LINUX_CAP_NET_ADMIN))
            return -EACCES;
        flag_set(socket, option, value);
        return 0;
    }
    switch (option) {
    case SO_SNDBUFFORCE: case SO_RCVBUFFORCE:
        if (!capable(LINUX_CAP_NET_ADMIN))
            return -EPERM;
        if (option == SO_SNDBUFFORCE)
            buffer_set(&socket->send_buffer, value, UNIX_BUFFER_SEND_MIN, true);
        else
            buffer_set(&socket->receive_buffer, value, UNIX_BUFFER_RECEIVE_MIN, true);
        return 0;
    case SO_SNDBUF:
        buffer_set(&socket->send_buffer, value, UNIX_BUFFER_SEND_MIN, false);
        return 0;
    case SO_RCVBUF:
        buffer_set(&socket->receive_buffer, value, UNIX_BUFFER_RECEIVE_MIN, false);
        return 0;
    case SO_PASSCRED:
        atomic32_store_relaxed(&socket->pass_credentials, value != 0);
        return 0;
    case SO_RCVLOWAT:
        atomic32_store_relaxed(&socket->receive_low, value < 0 ? INT32_MAX : value ? value : 1);
        return 0;
    case SO_PRIORITY: /* accepted, and without effect on local sockets */
        return value >= 0 && value <= 6 ? 0 : -EPERM;
    case SO_REUSEPORT:
        return value ? -EOPNOTSUPP : 0;
    default:
        return -ENOPROTOOPT; /* SO_TYPE and its like cannot be set either */
    }
}

static int option_set(struct unix_socket *socket, int level, int option, uaddr_t value, uint32_t length)
{
    struct linger linger;
    int32_t number;

    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    if (length < sizeof(number))
        return -EINVAL;
    if (user_read(&number, value, sizeof(number)))
        return -EFAULT;
    switch (option) {
    case SO_RCVTIMEO:
        return timeout_set(&socket->receive_timeout, value, length);
    case SO_SNDTIMEO:
        return timeout_set(&socket->send_timeout, value, length);
    case SO_LINGER: /* without effect on local sockets: nothing is ever unsent */
        if (length < sizeof(linger))
            return -EINVAL;
        if (user_read(&linger, value, sizeof(linger)))
            return -EFAULT;
        flag_set(socket, option, linger.on);
        return 0;
    default:
        return option_set_int(socket, option, number);
    }
}

int64_t sys_setsockopt(int32_t fd, int32_t level, int32_t option, uaddr_t value, int32_t length)
{
    struct file *file;
    int error;
    struct unix_socket *socket;

    if (length < 0)
        return -EINVAL;
    socket = socket_get(fd, &file, &error);
    if (!socket)
        return error;
    error = option_set(socket, level, option, value, length);
    file_unref(file);
    return error;
}

/* --- getting ----------------------------------------------------------------------------------------- */

static int32_t error_take(struct unix_socket *socket)
{
    int32_t error;

    mutex_lock(&socket->mutex);
    error = socket->error;
    socket->error = 0;
    mutex_unlock(&socket->mutex);
    return error;
}

static int option_get_int(struct unix_socket *socket, int option, int32_t *value)
{
    if (option_is_flag(option)) {
        *value = atomic32_load_relaxed(&socket->flags) >> option & 1;
        return 0;
    }
    switch (option) {
    case SO_TYPE: *value = socket->type; return 0;
    case SO_DOMAIN: *value = LINUX_AF_UNIX; return 0;
    case SO_PROTOCOL: case SO_PRIORITY: case SO_REUSEPORT: *value = 0; return 0;
    case SO_ERROR: *value = error_take(socket); return 0;
    case SO_ACCEPTCONN: *value = socket->state == UNIX_LISTENING; return 0;
    case SO_SNDBUF: *value = atomic32_load_relaxed(&socket->send_buffer); return 0;
    case SO_RCVBUF: *value = atomic32_load_relaxed(&socket->receive_buffer); return 0;
    case SO_PASSCRED: *value = atomic32_load_relaxed(&socket->pass_credentials); return 0;
    case SO_RCVLOWAT: *value = atomic32_load_relaxed(&socket->receive_low); return 0;
    case SO_SNDLOWAT: *value = 1; return 0;
    default: return -ENOPROTOOPT;
    }
}

static struct linux_timeval timeout_get(const struct atomic64 *timeout)
{
    uint64_t ns = atomic64_load_relaxed(timeout);

    return (struct linux_timeval){(int64_t)(ns / NS_PER_SECOND), (int64_t)(ns % NS_PER_SECOND / 1000)};
}

union option_value {
    int32_t number;
    struct linger linger;
    struct linux_timeval time;
    struct unix_credentials credentials;
};

/* The size of the answer, or an error. */
static int option_get(struct unix_socket *socket, int level, int option, union option_value *value)
{
    int error;

    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    switch (option) {
    case SO_RCVTIMEO:
        value->time = timeout_get(&socket->receive_timeout);
        return sizeof(value->time);
    case SO_SNDTIMEO:
        value->time = timeout_get(&socket->send_timeout);
        return sizeof(value->time);
    case SO_PEERCRED:
        mutex_lock(&socket->mutex);
        value->credentials = socket->peer_credentials;
        mutex_unlock(&socket->mutex);
        return sizeof(value->credentials);
    case SO_LINGER:
        value->linger = (struct linger){atomic32_load_relaxed(&socket->flags) >> SO_LINGER & 1, 0};
        return sizeof(value->linger);
    default:
        error = option_get_int(socket, option, &value->number);
        return error ? error : (int)sizeof(value->number);
    }
}

int64_t sys_getsockopt(int32_t fd, int32_t level, int32_t option, uaddr_t value, uaddr_t length_address)
{
    union option_value answer;
    struct unix_socket *socket;
    struct file *file;
    int32_t length;
    int result;

    socket = socket_get(fd, &file, &result);
    if (!socket)
        return result;
    result = 0;
    if (user_read(&length, length_address, sizeof(length)))
        result = -EFAULT;
    else if (length < 0)
        result = -EINVAL;
    if (!result)
        result = option_get(socket, level, option, &answer);
    file_unref(file);
    if (result < 0)
        return result;
    length = length < result ? length : result;
    if (user_write(value, &answer, length) || user_write(length_address, &length, sizeof(length)))
        return -EFAULT;
    return 0;
}
