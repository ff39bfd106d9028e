/* Datagram and seqpacket sockets: boundaries, names, default destinations, limits, endings. */
#include "unix_check.h"

static struct sockaddr_un name_a, name_b, from;
static socklen_t length_a, length_b, size;
static char buffer[300000];

static int datagram(int flags)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | flags, 0);
    CHECK(fd >= 0);
    return fd;
}

static void boundaries(int type)
{
    int pair[2];
    pair_of(type, pair);
    CHECK(send(pair[0], "hello", 5, 0) == 5 && send(pair[0], "you", 3, 0) == 3);
    CHECK(readable_bytes(pair[1]) == (type == SOCK_DGRAM ? 5 : 8));
    CHECK(recv(pair[1], buffer, 3, MSG_PEEK) == 3 && recv(pair[1], buffer, 3, MSG_PEEK | MSG_TRUNC) == 5);
    struct iovec vector = {buffer, 2};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    CHECK(recvmsg(pair[1], &message, 0) == 2 && (message.msg_flags & MSG_TRUNC)); /* the rest is gone */
    CHECK(recv(pair[1], buffer, 100, 0) == 3 && !memcmp(buffer, "you", 3));
    CHECK_ERROR(recv(pair[1], buffer, 100, MSG_DONTWAIT), EAGAIN);
    CHECK_ERROR(send(pair[0], buffer, sizeof buffer, 0), EMSGSIZE);
    CHECK(send(pair[0], buffer, 100000, 0) == 100000 && recv(pair[1], buffer, sizeof buffer, 0) == 100000);
    close(pair[0]);
    close(pair[1]);
}

static void names(void)
{
    int a = datagram(0), b = datagram(0), c = datagram(0);
    length_a = name_abstract(&name_a, "a");
    length_b = name_abstract(&name_b, "b");
    CHECK(bind(a, (void *)&name_a, length_a) == 0 && bind(b, (void *)&name_b, length_b) == 0);
    CHECK_ERROR(send(a, "x", 1, 0), ENOTCONN);
    CHECK(sendto(a, "to b", 4, 0, (void *)&name_b, length_b) == 4);
    size = sizeof from;
    CHECK(recvfrom(b, buffer, 100, 0, (void *)&from, &size) == 4 && size == length_a && !memcmp(&from, &name_a, size));
    CHECK(sendto(c, "", 0, 0, (void *)&name_b, length_b) == 0);
    size = sizeof from;
    CHECK(recvfrom(b, buffer, 100, 0, (void *)&from, &size) == 0 && size == 0); /* nameless */
    CHECK(connect(a, (void *)&name_b, length_b) == 0 && send(a, "x", 1, 0) == 1 && recv(b, buffer, 9, 0) == 1);
    CHECK(sendto(b, "y", 1, 0, (void *)&name_a, length_a) == 1 && recv(a, buffer, 9, 0) == 1);
    CHECK_ERROR(sendto(c, "z", 1, 0, (void *)&name_a, length_a), EPERM); /* a listens to b alone */
    CHECK_ERROR(connect(c, (void *)&name_a, length_a), EPERM);
    size = sizeof from;
    CHECK(getpeername(a, (void *)&from, &size) == 0 && size == length_b);
    from.sun_family = AF_UNSPEC;
    CHECK(connect(a, (void *)&from, sizeof from) == 0);
    CHECK_ERROR(getpeername(a, (void *)&from, &size), ENOTCONN);
    CHECK(sendto(c, "z", 1, 0, (void *)&name_a, length_a) == 1 && recv(a, buffer, 9, 0) == 1);
    CHECK(connect(a, (void *)&name_b, length_b) == 0);
    close(b);
    CHECK_ERROR(send(a, "x", 1, 0), ECONNREFUSED);
    CHECK_ERROR(send(a, "x", 1, 0), ENOTCONN);
    CHECK_ERROR(sendto(a, "x", 1, 0, (void *)&name_b, length_b), ECONNREFUSED);
    close(a);
    close(c);
}

/* The receiver's queue is short; a connected sender's poll tells of it. */
static void queue_limit(void)
{
    int a = datagram(SOCK_NONBLOCK), b = datagram(0), count = 0;
    CHECK(bind(b, (void *)&name_b, length_b) == 0 && connect(a, (void *)&name_b, length_b) == 0);
    CHECK(poll_one(a, POLLOUT) == POLLOUT);
    while (send(a, "x", 1, 0) == 1)
        count++;
    CHECK(errno == EAGAIN && count >= 1 && poll_one(a, POLLOUT) == 0);
    pid_t child = fork();
    if (!child) {
        struct pollfd one = {a, POLLOUT, 0};
        CHECK(poll(&one, 1, -1) == 1 && one.revents == POLLOUT && send(a, "y", 1, 0) == 1);
        CHECK(fcntl(a, F_SETFL, 0) == 0 && send(a, "z", 1, 0) == 1);
        _exit(0);
    }
    for (int i = 0; i < count; i++)
        CHECK(recv(b, buffer, 9, 0) == 1 && buffer[0] == 'x');
    CHECK(recv(b, buffer, 9, 0) == 1 && buffer[0] == 'y' && recv(b, buffer, 9, 0) == 1 && buffer[0] == 'z');
    child_done(child);
    close(a);
    close(b);
}

static void endings(void)
{
    int pair[2];
    on_signal(SIGPIPE, tick_count, 0);
    ticks = 0;
    pair_of(SOCK_SEQPACKET, pair);
    CHECK(send(pair[0], "", 0, 0) == 0 && recv(pair[1], buffer, 9, 0) == 0);
    CHECK(send(pair[0], "last", 4, 0) == 4 && close(pair[0]) == 0);
    CHECK(recv(pair[1], buffer, 9, 0) == 4 && recv(pair[1], buffer, 9, 0) == 0);
    CHECK_ERROR(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    close(pair[1]);
    pair_of(SOCK_SEQPACKET, pair);
    CHECK(send(pair[0], "lost", 4, 0) == 4 && close(pair[1]) == 0);
    CHECK_ERROR(recv(pair[0], buffer, 9, 0), ECONNRESET);
    CHECK(recv(pair[0], buffer, 9, 0) == 0);
    close(pair[0]);
    pair_of(SOCK_DGRAM, pair);
    CHECK(shutdown(pair[0], SHUT_WR) == 0);
    CHECK_ERROR(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK(shutdown(pair[0], SHUT_RD) == 0);
    CHECK_ERROR(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK(recv(pair[0], buffer, 1, 0) == 0);
    close(pair[0]);
    CHECK_ERROR(send(pair[1], "x", 1, MSG_NOSIGNAL), ECONNREFUSED);
    close(pair[1]);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    CHECK_ERROR(recv(fd, buffer, 1, 0), ENOTCONN);
    CHECK_ERROR(send(fd, buffer, 1, MSG_NOSIGNAL), ENOTCONN);
    close(fd);
}

static void several(void)
{
    int pair[2];
    char texts[3][8];
    struct iovec vectors[3];
    struct mmsghdr list[3];
    pair_of(SOCK_DGRAM, pair);
    memset(list, 0, sizeof list);
    for (int i = 0; i < 3; i++) {
        vectors[i] = (struct iovec){texts[i], 1 + i};
        memset(texts[i], 'a' + i, 8);
        list[i].msg_hdr.msg_iov = &vectors[i];
        list[i].msg_hdr.msg_iovlen = 1;
    }
    CHECK(sendmmsg(pair[0], list, 3, 0) == 3 && list[0].msg_len == 1 && list[2].msg_len == 3);
    for (int i = 0; i < 3; i++)
        vectors[i].iov_len = 8;
    CHECK(recvmmsg(pair[1], list, 2, 0, NULL) == 2 && list[0].msg_len == 1 && list[1].msg_len == 2 && texts[1][1] == 'b');
    CHECK(recvmmsg(pair[1], list, 3, MSG_WAITFORONE, NULL) == 1 && list[0].msg_len == 3);
    CHECK_ERROR(recvmmsg(pair[1], list, 3, MSG_DONTWAIT, NULL), EAGAIN);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    boundaries(SOCK_DGRAM);
    boundaries(SOCK_SEQPACKET);
    names();
    queue_limit();
    endings();
    several();
    return 0;
}
