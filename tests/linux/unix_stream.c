/* Stream sockets: pairs, bytes, flags, shutdown, death, waiting, timeouts, the room there is. */
#include "unix_check.h"

static int pair[2];
static char buffer[1 << 20];

static void bytes(void)
{
    struct stat stat;
    pair_of(SOCK_STREAM | SOCK_CLOEXEC, pair);
    CHECK(fcntl(pair[0], F_GETFD) == FD_CLOEXEC && fstat(pair[0], &stat) == 0 && S_ISSOCK(stat.st_mode));
    CHECK(write(pair[0], "hello", 5) == 5 && write(pair[0], "world", 5) == 5);
    CHECK(readable_bytes(pair[1]) == 10 && poll_one(pair[1], POLLIN | POLLOUT) == (POLLIN | POLLOUT));
    CHECK(recv(pair[1], buffer, 7, MSG_PEEK) == 7 && !memcmp(buffer, "hellowo", 7));
    CHECK(recv(pair[1], buffer, 3, 0) == 3 && recv(pair[1], buffer, 100, 0) == 7 && !memcmp(buffer, "loworld", 7));
    CHECK_ERROR(recv(pair[1], buffer, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_ERROR(lseek(pair[0], 0, SEEK_SET), ESPIPE);
    CHECK(send(pair[0], "", 0, 0) == 0 && readable_bytes(pair[1]) == 0);
    struct iovec vectors[2] = {{"ab", 2}, {"cd", 2}};
    CHECK(writev(pair[1], vectors, 2) == 4 && read(pair[0], buffer, 10) == 4 && !memcmp(buffer, "abcd", 4));
    CHECK_ERROR(syscall(SYS_write, pair[0], (void *)8, 3), EFAULT);
    CHECK(write(pair[0], "x", 1) == 1);
    CHECK_ERROR(syscall(SYS_read, pair[1], (void *)8, 3), EFAULT);
    CHECK(read(pair[1], buffer, 2) == 1);
    struct sockaddr_un name;
    socklen_t length = sizeof name;
    CHECK(recvfrom(pair[0], buffer, 0, MSG_DONTWAIT, (void *)&name, &length) == 0 || errno == EAGAIN);
    CHECK_ERROR(sendto(pair[0], "x", 1, 0, (void *)&name, sizeof name), EISCONN);
    close(pair[0]);
    close(pair[1]);
}

static void endings(void)
{
    on_signal(SIGPIPE, tick_count, 0);
    ticks = 0;
    pair_of(SOCK_STREAM, pair);
    CHECK(write(pair[0], "abc", 3) == 3 && shutdown(pair[0], SHUT_WR) == 0);
    CHECK(read(pair[1], buffer, 10) == 3 && read(pair[1], buffer, 10) == 0 && read(pair[1], buffer, 10) == 0);
    CHECK(poll_one(pair[1], POLLIN | POLLRDHUP | POLLOUT) == (POLLIN | POLLRDHUP | POLLOUT));
    CHECK_ERROR(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK(ticks == 0);
    CHECK_ERROR(send(pair[0], "x", 1, 0), EPIPE);
    CHECK(ticks == 1);
    CHECK(write(pair[1], "y", 1) == 1 && read(pair[0], buffer, 10) == 1);
    CHECK(shutdown(pair[0], SHUT_RD) == 0);
    CHECK_ERROR(write(pair[1], "y", 1), EPIPE);
    CHECK(ticks == 2 && (poll_one(pair[1], 0) & POLLHUP) && (poll_one(pair[0], 0) & POLLHUP));
    CHECK_ERROR(shutdown(pair[0], 3), EINVAL);
    close(pair[0]);
    CHECK(read(pair[1], buffer, 10) == 0);
    CHECK_ERROR(write(pair[1], "z", 1), EPIPE);
    CHECK(poll_one(pair[1], POLLIN | POLLOUT) == (POLLIN | POLLOUT | POLLHUP));
    close(pair[1]);
    /* What was left unread resets. */
    pair_of(SOCK_STREAM, pair);
    CHECK(write(pair[0], "abc", 3) == 3 && write(pair[1], "left", 4) == 4);
    close(pair[1]);
    CHECK(poll_one(pair[0], POLLIN) == (POLLIN | POLLERR | POLLHUP));
    CHECK(read(pair[0], buffer, 10) == 4);
    CHECK_ERROR(read(pair[0], buffer, 10), ECONNRESET);
    CHECK(read(pair[0], buffer, 10) == 0);
    close(pair[0]);
    on_signal(SIGPIPE, SIG_DFL, 0);
}

static void *slow_sender(void *argument)
{
    (void)argument;
    for (int i = 0; i < 10; i++)
        CHECK(send(pair[0], "0123456789", 10, 0) == 10);
    return NULL;
}

static void waiting(void)
{
    pthread_t thread;
    pair_of(SOCK_STREAM, pair);
    CHECK(pthread_create(&thread, NULL, slow_sender, NULL) == 0);
    CHECK(recv(pair[1], buffer, 100, MSG_WAITALL) == 100);
    CHECK(pthread_join(thread, NULL) == 0);
    int low = 5;
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low) == 0);
    CHECK(write(pair[0], "abc", 3) == 3);
    pid_t child = fork();
    if (!child)
        _exit(write(pair[0], "defg", 4) != 4);
    ssize_t got = read(pair[1], buffer, 100);
    CHECK(got == 7);
    child_done(child);
    struct timeval wait = {0, 10000};
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) == 0);
    double start = now();
    CHECK_ERROR(read(pair[1], buffer, 1), EAGAIN);
    CHECK(now() - start >= 0.01);
    wait.tv_sec = 1000;
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) == 0);
    tick_start(SA_RESTART);
    CHECK_ERROR(read(pair[1], buffer, 1), EINTR); /* with a timeout it is not restarted */
    tick_stop();
    close(pair[0]);
    close(pair[1]);
}

static void room(void)
{
    int size, queued;
    socklen_t length = sizeof size;
    pair_of(SOCK_STREAM | SOCK_NONBLOCK, pair);
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size >= 4608);
    ssize_t total = 0, sent;
    while ((sent = write(pair[0], buffer, 1000)) > 0)
        total += sent;
    CHECK(sent == -1 && errno == EAGAIN && total > size / 4 && total < 4 * size);
    CHECK(poll_one(pair[0], POLLOUT) == 0 && readable_bytes(pair[1]) == total);
    CHECK(ioctl(pair[0], SIOCOUTQ, &queued) == 0 && queued >= total);
    while (total > 0) {
        ssize_t got = read(pair[1], buffer, 5000);
        CHECK(got > 0);
        total -= got;
    }
    CHECK(poll_one(pair[0], POLLOUT) == POLLOUT && ioctl(pair[0], SIOCOUTQ, &queued) == 0);
    struct timeval wait = {0, 10000};
    CHECK(fcntl(pair[0], F_SETFL, 0) == 0 && setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) == 0);
    sent = write(pair[0], buffer, sizeof buffer);
    CHECK(sent > 0 && sent < (ssize_t)sizeof buffer);
    CHECK_ERROR(write(pair[0], buffer, 1), EAGAIN);
    close(pair[0]);
    close(pair[1]);
}

/* Large amounts both ways, with the ends in different processes. */
static void volume(void)
{
    static unsigned char chunk[7919];
    uint32_t sum = 0, expected = 0;
    pair_of(SOCK_STREAM, pair);
    pid_t child = fork();
    if (!child) {
        close(pair[0]);
        for (int i = 0; i < 500; i++) {
            memset(chunk, i, sizeof chunk);
            CHECK(write(pair[1], chunk, sizeof chunk) == sizeof chunk);
        }
        _exit(0);
    }
    close(pair[1]);
    ssize_t got, total = 0;
    while ((got = read(pair[0], buffer, 100000)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            sum += (unsigned char)buffer[i];
        total += got;
    }
    for (int i = 0; i < 500; i++)
        expected += (i & 255) * sizeof chunk;
    CHECK(got == 0 && total == 500 * (ssize_t)sizeof chunk && sum == expected);
    child_done(child);
    close(pair[0]);
}

int main(void)
{
    bytes();
    endings();
    waiting();
    room();
    volume();
    return 0;
}
