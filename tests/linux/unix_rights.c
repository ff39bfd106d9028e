/* Descriptors and credentials in messages: arrival, order, truncation, limits, peeking, unreachable sockets. */
#include "unix_check.h"

static int pair[2], fds[2];
static char byte;

static bool same_file(int a, int b)
{
    struct stat first, second;
    CHECK(fstat(a, &first) == 0 && fstat(b, &second) == 0);
    return first.st_ino == second.st_ino && first.st_dev == second.st_dev;
}

static void arrival(int type)
{
    pair_of(type, pair);
    CHECK(pipe(fds) == 0 && send_fds(pair[0], "two", fds, 2) == 3);
    close(fds[1]);
    struct received got = receive(pair[1], 4096, MSG_CMSG_CLOEXEC);
    CHECK(got.size == 3 && got.count == 2 && got.fds[0] != fds[0] && same_file(got.fds[0], fds[0]));
    CHECK((got.flags & ~MSG_CMSG_CLOEXEC) == 0 && fcntl(got.fds[0], F_GETFD) == FD_CLOEXEC);
    CHECK(write(got.fds[1], "x", 1) == 1 && read(fds[0], &byte, 1) == 1);
    close(got.fds[1]);
    CHECK(read(fds[0], &byte, 1) == 0); /* the last writer is gone */
    close(got.fds[0]);
    CHECK_ERROR(send_fds(pair[0], "bad", (int[]){999}, 1), EBADF);
    static int many[254];
    for (int i = 0; i < 254; i++)
        many[i] = fds[0];
    CHECK_ERROR(send_fds(pair[0], "many", many, 254), EINVAL);
    CHECK(send_fds(pair[0], "many", many, 253) == 4);
    got = receive(pair[1], 4096, 0);
    CHECK(got.count == 253);
    for (int i = 0; i < got.count; i++)
        close(got.fds[i]);
    close(fds[0]);
    close(pair[0]);
    close(pair[1]);
}

/* A receive ends with the message that carries descriptors. */
static void stream_order(void)
{
    pair_of(SOCK_STREAM, pair);
    CHECK(pipe(fds) == 0);
    CHECK(write(pair[0], "ab", 2) == 2 && send_fds(pair[0], "cd", fds, 1) == 2 && write(pair[0], "ef", 2) == 2);
    struct received got = receive(pair[1], 4096, 0);
    CHECK(got.size == 4 && got.count == 1 && !memcmp(got.text, "abcd", 4));
    close(got.fds[0]);
    got = receive(pair[1], 4096, 0);
    CHECK(got.size == 2 && got.count == 0);
    CHECK(send_fds(pair[0], "xyz", fds, 1) == 3 && read(pair[1], &byte, 1) == 1); /* read drops them */
    got = receive(pair[1], 4096, 0);
    CHECK(got.size == 2 && got.count == 0);
    close(fds[0]);
    close(fds[1]);
    close(pair[0]);
    close(pair[1]);
}

static void truncation(void)
{
    pair_of(SOCK_STREAM, pair);
    CHECK(pipe(fds) == 0);
    CHECK(send_fds(pair[0], "t", (int[]){fds[1], fds[1], fds[1]}, 3) == 1);
    struct received got = receive(pair[1], CMSG_LEN(2 * sizeof(int)), 0);
    CHECK(got.count == 2 && (got.flags & MSG_CTRUNC));
    close(got.fds[0]);
    close(got.fds[1]);
    CHECK(send_fds(pair[0], "t", &fds[1], 1) == 1);
    got = receive(pair[1], 0, 0);
    CHECK(got.size == 1 && got.count == 0 && (got.flags & MSG_CTRUNC));
    close(fds[1]);
    CHECK(read(fds[0], &byte, 1) == 0); /* nothing was left behind */
    struct rlimit old, limit;
    int lowest = dup(0);
    close(lowest);
    CHECK(send_fds(pair[0], "t", (int[]){fds[0], fds[0]}, 2) == 1);
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    limit = (struct rlimit){lowest + 1, old.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    got = receive(pair[1], 4096, 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    CHECK(got.count == 1 && got.fds[0] == lowest && (got.flags & MSG_CTRUNC));
    close(got.fds[0]);
    close(fds[0]);
    close(pair[0]);
    close(pair[1]);
}

static void peeking(void)
{
    pair_of(SOCK_DGRAM, pair);
    CHECK(pipe(fds) == 0 && send_fds(pair[0], "p", &fds[1], 1) == 1);
    struct received first = receive(pair[1], 4096, MSG_PEEK), second = receive(pair[1], 4096, 0);
    CHECK(first.count == 1 && second.count == 1 && same_file(first.fds[0], second.fds[0]) && first.fds[0] != second.fds[0]);
    close(first.fds[0]);
    close(second.fds[0]);
    close(fds[1]);
    CHECK(read(fds[0], &byte, 1) == 0);
    close(fds[0]);
    close(pair[0]);
    close(pair[1]);
}

static ssize_t send_credentials(int fd, struct ucred said)
{
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(struct ucred))]; } control;
    struct iovec vector = {"c", 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof said), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS};
    memcpy(CMSG_DATA(header), &said, sizeof said);
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void credentials(int type)
{
    int on = 1;
    struct ucred self = {getpid(), geteuid(), getegid()};
    pair_of(type, pair);
    CHECK(write(pair[0], "n", 1) == 1);
    struct received got = receive(pair[1], 4096, 0);
    CHECK(!got.has_credentials);
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    CHECK(write(pair[0], "n", 1) == 1);
    got = receive(pair[1], 4096, 0);
    CHECK(got.has_credentials && got.credentials.pid == self.pid && got.credentials.uid == getuid());
    CHECK(send_credentials(pair[0], self) == 1);
    got = receive(pair[1], 4096, 0);
    CHECK(got.has_credentials && got.credentials.pid == self.pid && got.credentials.gid == self.gid);
    pid_t child = fork();
    if (!child)
        _exit(write(pair[0], "k", 1) != 1);
    child_done(child);
    CHECK(write(pair[0], "p", 1) == 1);
    got = receive(pair[1], 4096, 0); /* two senders are not mixed */
    CHECK(got.size == 1 && got.text[0] == 'k' && got.credentials.pid == child);
    got = receive(pair[1], 4096, 0);
    CHECK(got.size == 1 && got.text[0] == 'p' && got.credentials.pid == self.pid);
    child = fork();
    if (!child) {
        CHECK(setresgid(60000, 60000, 60000) == 0 || errno == EPERM);
        CHECK(setresuid(60000, 60000, 60000) == 0 || errno == EPERM);
        struct ucred lie = {getppid(), geteuid(), getegid()};
        CHECK_ERROR(send_credentials(pair[0], lie), EPERM);
        lie = (struct ucred){getpid(), geteuid() + 1, getegid()};
        CHECK_ERROR(send_credentials(pair[0], lie), EPERM);
        _exit(0);
    }
    child_done(child);
    close(pair[0]);
    close(pair[1]);
}

/* Every wave makes sockets that only each other's messages name; a pipe inside tells when they are gone. */
static void unreachable(void)
{
    for (int wave = 0; wave < 50; wave++) {
        int a[2], b[2];
        CHECK(pipe(fds) == 0);
        struct pollfd end = {fds[0], POLLIN, 0};
        pair_of(SOCK_STREAM, a);
        pair_of(SOCK_DGRAM, b);
        CHECK(send_fds(a[0], "x", &a[1], 1) == 1);               /* itself */
        CHECK(send_fds(a[0], "x", (int[]){b[0], b[1]}, 2) == 1); /* and others, which carry it and the pipe */
        CHECK(send_fds(b[0], "x", (int[]){a[1], fds[1]}, 2) == 1);
        CHECK(send_fds(b[1], "x", &a[0], 1) == 1);
        close(a[0]), close(a[1]), close(b[0]), close(b[1]), close(fds[1]);
        do { /* the death of any socket starts a search */
            pair_of(SOCK_STREAM, pair);
            close(pair[0]);
            close(pair[1]);
            CHECK(poll(&end, 1, 20) >= 0);
        } while (!(end.revents & POLLHUP));
        close(fds[0]);
    }
}

/* What can still be reached is not taken for garbage. */
static void reachable(void)
{
    int a[2], hold[2];
    pair_of(SOCK_STREAM, a);
    pair_of(SOCK_STREAM, hold);
    CHECK(send_fds(a[0], "self", &a[1], 1) == 4 && send_fds(hold[0], "hold", a, 2) == 4);
    close(a[0]);
    close(a[1]);
    for (int i = 0; i < 20; i++) { /* searches run now */
        pair_of(SOCK_STREAM, pair);
        CHECK(send_fds(pair[0], "x", &pair[1], 1) == 1);
        close(pair[0]);
        close(pair[1]);
    }
    struct received got = receive(hold[1], 4096, 0);
    CHECK(got.size == 4 && got.count == 2);
    struct received inner = receive(got.fds[1], 4096, 0);
    CHECK(inner.size == 4 && inner.count == 1 && !memcmp(inner.text, "self", 4));
    CHECK(write(got.fds[0], "y", 1) == 1 && read(inner.fds[0], &byte, 1) == 1);
    close(inner.fds[0]);
    close(got.fds[0]);
    close(got.fds[1]);
    close(hold[0]);
    close(hold[1]);
}

/* A long chain of sockets, each in the message of the next, is let go without trouble. */
static void long_chain(void)
{
    int last;
    CHECK(pipe(fds) == 0);
    last = fds[1];
    for (int i = 0; i < 3000; i++) {
        pair_of(SOCK_STREAM, pair);
        if (send_fds(pair[0], "x", (int[]){last, pair[0]}, 2) != 1)
            CHECK(errno == ETOOMANYREFS);
        close(last);
        close(pair[0]);
        last = pair[1];
    }
    close(last);
    CHECK(read(fds[0], &byte, 1) == 0);
    close(fds[0]);
}

int main(void)
{
    arrival(SOCK_STREAM);
    arrival(SOCK_SEQPACKET);
    stream_order();
    truncation();
    peeking();
    credentials(SOCK_STREAM);
    credentials(SOCK_DGRAM);
    unreachable();
    reachable();
    long_chain();
    return 0;
}
