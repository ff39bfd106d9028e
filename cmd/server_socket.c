/*
 * The server's socket: where it is, making it, and getting it from a service manager.
 */
#include "cmd/command.h"
#include "cmd/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define INHERITED_FD 3 /* the first that sd_listen_fds(3) speaks of */

const char *server_socket_path(const char *given)
{
    static char standard[sizeof((struct sockaddr_un *)0)->sun_path];
    const char *folder = getenv("XDG_RUNTIME_DIR"), *path = given ? given : getenv("HYLA_SOCKET");
    if (!path && !folder) {
        complain("XDG_RUNTIME_DIR is not set: say with --socket where the socket is to be");
        return NULL;
    }
    int length = path ? snprintf(standard, sizeof standard, "%s", path) : snprintf(standard, sizeof standard, "%s/hyla.sock", folder);
    if (length >= (int)sizeof standard) {
        complain("'%s' is too long for a socket's path", path ? path : folder);
        return NULL;
    }
    return standard;
}

/* True when nobody listens there any more. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    bool refused = probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
    if (probe >= 0)
        close(probe);
    return refused;
}

static int bind_to(int fd, const struct sockaddr_un *address)
{
    mode_t old = umask(0177); /* from the first moment on: 0600 */
    int result = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int error = errno;
    umask(old);
    errno = error;
    return result;
}

int server_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    strcpy(address.sun_path, path);
    int bound = fd < 0 ? -1 : bind_to(fd, &address);
    if (fd >= 0 && bound < 0 && errno == EADDRINUSE && is_stale(&address) && unlink(path) == 0)
        bound = bind_to(fd, &address);
    if (bound < 0 || listen(fd, 128) < 0) {
        complain("cannot listen at '%s': %s", path, errno == EADDRINUSE ? "a server runs there already, or something else has that name" : strerror(errno));
        if (fd >= 0)
            close(fd);
        return -EXIT_HYLA;
    }
    return fd;
}

int server_inherited_socket(void)
{
    const char *process = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    int type = 0, listens = 0;
    socklen_t size = sizeof type;
    bool meant = process && count && atoi(process) == getpid() && atoi(count) >= 1;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    if (!meant)
        return -1;
    if (getsockopt(INHERITED_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET ||
        getsockopt(INHERITED_FD, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens) {
        complain("the socket that was passed on is no listening SEQPACKET socket");
        return -1;
    }
    fcntl(INHERITED_FD, F_SETFD, FD_CLOEXEC);
    return INHERITED_FD;
}
