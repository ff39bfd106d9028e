/* Names and connections: bind, listen, connect, accept, backlog, refusals, credentials of the peer, options. */
#include "unix_check.h"

static struct sockaddr_un name, other;
static socklen_t length, size;
static char buffer[64];

static int stream(int flags)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | flags, 0);
    CHECK(fd >= 0);
    return fd;
}

static void check_name(int fd, int (*get)(int, struct sockaddr *, socklen_t *), socklen_t expected, const void *path)
{
    size = sizeof other;
    memset(&other, 0xff, sizeof other);
    CHECK(get(fd, (void *)&other, &size) == 0 && other.sun_family == AF_UNIX && size == expected);
    if (path)
        CHECK(!memcmp(other.sun_path, path, size - 2));
}

static void refusals(void)
{
    int fd = stream(0);
    CHECK_ERROR(socket(AF_UNIX, 77, 0), EINVAL);
    CHECK_ERROR(socket(AF_UNIX, SOCK_STREAM, 99), EPROTONOSUPPORT);
    CHECK_ERROR(socket(99, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERROR(socketpair(AF_UNIX, SOCK_STREAM | 0x10, 0, (int[2]){0}), EINVAL);
    CHECK_ERROR(listen(fd, 1), EINVAL); /* no name */
    CHECK_ERROR(accept(fd, NULL, NULL), EINVAL);
    CHECK_ERROR(read(fd, buffer, 1), EINVAL);
    CHECK_ERROR(send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
    CHECK_ERROR(getpeername(fd, (void *)&other, &size), ENOTCONN);
    CHECK(poll_one(fd, POLLIN | POLLOUT) == (POLLOUT | POLLHUP));
    length = name_abstract(&name, "nobody");
    CHECK_ERROR(connect(fd, (void *)&name, length), ECONNREFUSED);
    length = name_file(&name, "/tmp/hyla-there-is-no-such-socket");
    CHECK_ERROR(connect(fd, (void *)&name, length), ENOENT);
    length = name_file(&name, "/dev/null");
    CHECK_ERROR(connect(fd, (void *)&name, length), ECONNREFUSED);
    CHECK_ERROR(connect(fd, (void *)&name, 1), EINVAL);
    CHECK_ERROR(connect(fd, (void *)&name, sizeof name + 1), EINVAL);
    name.sun_family = 77;
    CHECK_ERROR(connect(fd, (void *)&name, length), EINVAL);
    CHECK_ERROR(bind(fd, (void *)&name, length), EINVAL);
    CHECK_ERROR(bind(0x7fffffff, (void *)&name, length), EBADF);
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    CHECK_ERROR(bind(pipes[0], (void *)&name, length), ENOTSOCK);
    CHECK_ERROR(recv(pipes[0], buffer, 1, 0), ENOTSOCK);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_ERROR(listen(fd, 1), EOPNOTSUPP);
    CHECK_ERROR(accept(fd, NULL, NULL), EOPNOTSUPP);
    close(fd);
}

static void file_names(void)
{
    char directory[] = "/tmp/hyla-unix-XXXXXX", path[80];
    struct stat stat;
    int server = stream(0), again = stream(0), client = stream(0);
    CHECK(mkdtemp(directory));
    snprintf(path, sizeof path, "%.30s/socket", directory);
    length = name_file(&name, path);
    umask(027);
    CHECK(bind(server, (void *)&name, length) == 0);
    CHECK(lstat(path, &stat) == 0 && S_ISSOCK(stat.st_mode) && (stat.st_mode & 0777) == 0750);
    CHECK_ERROR(bind(again, (void *)&name, length), EADDRINUSE);
    size = name_abstract(&other, "second name");
    CHECK_ERROR(bind(server, (void *)&other, size), EINVAL);
    CHECK_ERROR(open(path, O_RDONLY), ENXIO);
    CHECK_ERROR(connect(client, (void *)&name, length), ECONNREFUSED); /* does not listen yet */
    CHECK(listen(server, 5) == 0 && connect(client, (void *)&name, length) == 0);
    check_name(server, getsockname, length, path);
    check_name(client, getpeername, length, path);
    check_name(client, getsockname, 2, NULL);
    size = sizeof other;
    int accepted = accept4(server, (void *)&other, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(accepted >= 0 && size == 2 && fcntl(accepted, F_GETFD) == FD_CLOEXEC && (fcntl(accepted, F_GETFL) & O_NONBLOCK));
    check_name(accepted, getsockname, length, path);
    check_name(accepted, getpeername, 2, NULL);
    size = 4;
    memset(&other, 0, sizeof other);
    CHECK(getsockname(server, (void *)&other, &size) == 0 && size == length && !memcmp(other.sun_path, "/t", 3)); /* cut */
    int wrong = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_ERROR(connect(wrong, (void *)&name, length), EPROTOTYPE);
    close(wrong);
    close(server);
    CHECK_ERROR(connect(again, (void *)&name, length), ECONNREFUSED); /* the node stays, nobody is behind it */
    CHECK_ERROR(bind(again, (void *)&name, length), EADDRINUSE);
    CHECK(unlink(path) == 0 && bind(again, (void *)&name, length) == 0 && unlink(path) == 0);
    CHECK(write(client, "x", 1) == 1 && read(accepted, buffer, 4) == 1);
    CHECK(rmdir(directory) == 0);
    close(again);
    close(client);
    close(accepted);
}

static void abstract_names(void)
{
    int server = stream(0), second = stream(0), client = stream(0);
    length = name_abstract(&name, "listen");
    CHECK(bind(server, (void *)&name, length) == 0 && listen(server, 5) == 0);
    CHECK_ERROR(bind(second, (void *)&name, length), EADDRINUSE);
    check_name(server, getsockname, length, name.sun_path);
    CHECK_ERROR(connect(client, (void *)&name, length - 1), ECONNREFUSED);
    CHECK(connect(client, (void *)&name, length) == 0);
    CHECK_ERROR(connect(client, (void *)&name, length), EISCONN);
    close(server);
    CHECK(bind(second, (void *)&name, length) == 0); /* free again */
    close(second);
    CHECK_ERROR(read(client, buffer, 1), ECONNRESET); /* never accepted */
    close(client);
    int automatic = stream(0);
    name.sun_family = AF_UNIX;
    CHECK(bind(automatic, (void *)&name, 2) == 0);
    size = sizeof other;
    CHECK(getsockname(automatic, (void *)&other, &size) == 0 && size == 8 && other.sun_path[0] == 0);
    close(automatic);
}

static void backlog_and_waiting(void)
{
    int server = stream(SOCK_NONBLOCK), clients[4];
    length = name_abstract(&name, "backlog");
    CHECK(bind(server, (void *)&name, length) == 0 && listen(server, 1) == 0);
    CHECK_ERROR(accept(server, NULL, NULL), EAGAIN);
    CHECK(poll_one(server, POLLIN | POLLOUT) == 0);
    for (int i = 0; i < 4; i++)
        clients[i] = stream(SOCK_NONBLOCK);
    CHECK(connect(clients[0], (void *)&name, length) == 0 && connect(clients[1], (void *)&name, length) == 0);
    CHECK_ERROR(connect(clients[2], (void *)&name, length), EAGAIN);
    CHECK(poll_one(server, POLLIN) == POLLIN);
    pid_t child = fork();
    if (!child) {
        CHECK(fcntl(clients[2], F_SETFL, 0) == 0 && connect(clients[2], (void *)&name, length) == 0);
        CHECK(write(clients[2], "c", 1) == 1);
        _exit(0);
    }
    CHECK(write(clients[0], "a", 1) == 1);
    for (int i = 0; i < 3; i++) {
        int fd;
        while ((fd = accept(server, NULL, NULL)) < 0) {
            struct pollfd one = {server, POLLIN, 0};
            CHECK(errno == EAGAIN && poll(&one, 1, -1) == 1);
        }
        if (i != 1)
            CHECK(read(fd, buffer, 4) == 1 && buffer[0] == "abc"[i]);
        close(fd);
    }
    child_done(child);
    CHECK(fcntl(server, F_SETFL, 0) == 0);
    tick_start(0);
    CHECK_ERROR(accept(server, NULL, NULL), EINTR);
    tick_stop();
    CHECK(connect(clients[3], (void *)&name, length) == 0);
    struct rlimit old, limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    limit = (struct rlimit){0, old.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_ERROR(accept(server, NULL, NULL), EMFILE);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    int fd = accept(server, NULL, NULL); /* it was not lost */
    CHECK(fd >= 0 && shutdown(server, SHUT_RD) == 0);
    CHECK_ERROR(accept(server, NULL, NULL), EINVAL);
    close(fd);
    for (int i = 0; i < 4; i++)
        close(clients[i]);
    close(server);
}

static int option(int fd, int which)
{
    int value = -1;
    socklen_t value_size = sizeof value;
    CHECK(getsockopt(fd, SOL_SOCKET, which, &value, &value_size) == 0 && value_size == sizeof value);
    return value;
}

static void options(void)
{
    int server = stream(0), client = stream(0), value = 1;
    struct ucred peer;
    length = name_abstract(&name, "options");
    CHECK(option(server, SO_TYPE) == SOCK_STREAM && option(server, SO_DOMAIN) == AF_UNIX && option(server, SO_PROTOCOL) == 0);
    CHECK(option(server, SO_ACCEPTCONN) == 0 && option(server, SO_ERROR) == 0 && option(server, SO_PASSCRED) == 0);
    CHECK(bind(server, (void *)&name, length) == 0 && listen(server, 5) == 0 && option(server, SO_ACCEPTCONN) == 1);
    pid_t child = fork();
    if (!child) {
        size = sizeof peer;
        CHECK(connect(client, (void *)&name, length) == 0);
        CHECK(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == getppid() && peer.uid == geteuid());
        CHECK(read(client, buffer, 1) == 1);
        _exit(0);
    }
    int accepted = accept(server, NULL, NULL);
    size = sizeof peer;
    CHECK(getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && size == sizeof peer);
    CHECK(peer.pid == child && peer.uid == geteuid() && peer.gid == getegid());
    CHECK(write(accepted, "x", 1) == 1);
    child_done(child);
    CHECK(setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value) == 0 && option(client, SO_REUSEADDR) == 1);
    CHECK(setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value) == 0);
    CHECK(setsockopt(client, SOL_SOCKET, SO_PASSCRED, &value, sizeof value) == 0 && option(client, SO_PASSCRED) == 1);
    value = 20000;
    CHECK(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &value, sizeof value) == 0 && option(client, SO_SNDBUF) == 40000);
    value = 1;
    CHECK(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &value, sizeof value) == 0 && option(client, SO_SNDBUF) == 4608);
    struct timeval wait = {3, 4000};
    CHECK(setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) == 0);
    wait.tv_sec = 0;
    size = sizeof wait;
    CHECK(getsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &wait, &size) == 0 && wait.tv_sec == 3 && wait.tv_usec == 4000);
    CHECK_ERROR(setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &wait, 4), EINVAL);
    CHECK_ERROR(setsockopt(client, SOL_SOCKET, SO_TYPE, &value, sizeof value), ENOPROTOOPT);
    CHECK_ERROR(setsockopt(client, SOL_SOCKET, 9999, &value, sizeof value), ENOPROTOOPT);
    CHECK_ERROR(setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &value, 3), EINVAL);
    CHECK_ERROR(setsockopt(client, 6, 1, &value, sizeof value), EOPNOTSUPP);
    close(server);
    close(client);
    close(accepted);
}

int main(void)
{
    refusals();
    file_names();
    abstract_names();
    backlog_and_waiting();
    options();
    return 0;
}
