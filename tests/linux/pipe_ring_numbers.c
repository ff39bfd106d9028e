/* Pipes in use (see pipe_ring_check.h) whose descriptors come to mean something else, or go to others. */
#include "pipe_ring_check.h"

#include <spawn.h>
#include <sys/socket.h>

static void replaced(void)
{
    int other[2], keep;
    CHECK(pipe(other) == 0);
    begin();
    keep = dup(to[1]);
    CHECK(dup2(other[1], to[1]) == to[1]);
    CHECK(write(to[1], "other", 5) == 5 && read(other[0], block, 100) == 5);
    CHECK(dup2(keep, to[1]) == to[1]);
    close(keep);
    warm();
    keep = dup(from[0]);
    close(from[0]);
    CHECK_ERROR(read(from[0], block, 1), EBADF);
    int file = open("/proc/self/stat", O_RDONLY);
    CHECK(file == from[0] && read(file, block, 1) == 1 && block[0] >= '0' && block[0] <= '9');
    CHECK(dup2(keep, file) == file);
    close(keep);
    close(other[0]);
    close(other[1]);
    warm();
    CHECK(syscall(SYS_close_range, to[1], to[1], 0) == 0);
    CHECK_ERROR(write(to[1], "x", 1), EBADF);
    CHECK(partner_status() == 0);
    close(from[0]);
}

static void handed_on(void)
{
    char path[64], byte = 0;
    int sockets[2];
    begin();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.header), &from[0], sizeof(int));
    CHECK(sendmsg(sockets[0], &message, 0) == 1 && recvmsg(sockets[1], &message, 0) == 1);
    int received;
    memcpy(&received, CMSG_DATA(&control.header), sizeof received);
    order(30);
    CHECK(read(received, block, sizeof block) == 30);
    close(received);
    warm();
    snprintf(path, sizeof path, "/proc/self/fd/%d", from[0]);
    int again = open(path, O_RDONLY);
    CHECK(again >= 0);
    order(31);
    CHECK(read(again, block, sizeof block) == 31);
    close(again);
    close(sockets[0]);
    close(sockets[1]);
    warm();
    end();
}

static void forked(void)
{
    begin();
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (!child) {
            round_trip(50);
            warm();
            _exit(0);
        }
        child_done(child);
        round_trip(60);
    }
    warm();
    end();
}

extern char **environ;
static const char *program;

static void executed(void)
{
    char first[16], second[16], *arguments[] = {(char *)program, "go-on", first, second, NULL};
    pid_t child;
    begin();
    snprintf(first, sizeof first, "%d", to[1]);
    snprintf(second, sizeof second, "%d", from[0]);
    for (int i = 0; i < 5; i++) {
        CHECK(posix_spawn(&child, program, NULL, NULL, arguments, environ) == 0);
        child_done(child);
        warm();
    }
    child = fork();
    if (!child) {
        warm();
        CHECK(fcntl(to[1], F_SETFD, 0) == 0);
        execv(program, arguments);
        _exit(1);
    }
    child_done(child);
    warm();
    end();
}

static int shared_fd, ready[2], gone[2];

static void *write_by_number(void *unused)
{
    char byte;
    (void)unused;
    for (int i = 0; i < WARM; i++)
        CHECK(write(shared_fd, "\1", 1) == 1 && read(from[0], &byte, 1) == 1);
    CHECK(write(ready[1], "r", 1) == 1 && read(gone[0], &byte, 1) == 1);
    CHECK(write(shared_fd, "xyz", 3) == 3);
    return NULL;
}

/* One thread has used a number for long, another makes it mean something else. */
static void closed_by_another(void)
{
    pthread_t thread;
    int other[2];
    begin();
    CHECK(pipe(ready) == 0 && pipe(gone) == 0 && pipe(other) == 0);
    shared_fd = to[1];
    CHECK(pthread_create(&thread, NULL, write_by_number, NULL) == 0);
    CHECK(read(ready[0], block, 1) == 1);
    CHECK(close(shared_fd) == 0 && dup(other[1]) == shared_fd);
    CHECK(write(gone[1], "g", 1) == 1);
    pthread_join(thread, NULL);
    CHECK(readable_bytes(other[0]) == 3);
    CHECK(partner_status() == 0 && read(from[0], block, 1) == 0);
    close(shared_fd), close(from[0]), close(other[0]), close(other[1]);
    close(ready[0]), close(ready[1]), close(gone[0]), close(gone[1]);
}

static int go_on(char **argv)
{
    to[1] = atoi(argv[2]);
    from[0] = atoi(argv[3]);
    warm();
    return 0;
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc > 3)
        return go_on(argv);
    replaced();
    handed_on();
    forked();
    executed();
    closed_by_another();
    return 0;
}
