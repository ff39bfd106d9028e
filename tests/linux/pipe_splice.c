/* splice, tee, vmsplice: which bytes go where, positions, errors. */
#include "event_check.h"

#include <sys/socket.h>

static char buffer[20000];

static void file_to_pipe_and_back(void)
{
    char name[] = "/tmp/hyla-splice-XXXXXX";
    int file = mkstemp(name), fds[2];
    loff_t offset = 2;
    CHECK(file >= 0 && unlink(name) == 0 && pipe(fds) == 0);
    CHECK(write(file, "0123456789", 10) == 10 && lseek(file, 1, SEEK_SET) == 1);
    CHECK(splice(file, NULL, fds[1], NULL, 3, 0) == 3 && lseek(file, 0, SEEK_CUR) == 4);
    CHECK(splice(file, &offset, fds[1], NULL, 2, 0) == 2 && offset == 4 && lseek(file, 0, SEEK_CUR) == 4);
    CHECK(readable_bytes(fds[0]) == 5);
    offset = 100;
    CHECK(splice(file, &offset, fds[1], NULL, 5, 0) == 0);
    CHECK(splice(fds[0], NULL, file, NULL, 4, 0) == 4 && lseek(file, 0, SEEK_CUR) == 8);
    CHECK(pread(file, buffer, 20, 0) == 10 && !memcmp(buffer, "0123123289", 10));
    offset = 8;
    CHECK(splice(fds[0], NULL, file, &offset, 100, 0) == 1 && offset == 9);
    CHECK(pread(file, buffer, 20, 0) == 10 && !memcmp(buffer, "0123123239", 10));
    CHECK_ERROR(splice(fds[0], NULL, file, NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_ERROR(splice(fds[0], &offset, file, NULL, 1, 0), ESPIPE);
    CHECK_ERROR(splice(file, NULL, file, NULL, 1, 0), EINVAL);
    CHECK_ERROR(splice(fds[1], NULL, file, NULL, 1, 0), EBADF);
    CHECK_ERROR(splice(fds[0], NULL, fds[1], NULL, 1, 0), EINVAL);
    CHECK_ERROR(splice(fds[0], NULL, file, NULL, 1, 0x100), EINVAL);
    CHECK(splice(fds[0], NULL, file, NULL, 0, 0) == 0);
    close(fds[1]);
    CHECK(splice(fds[0], NULL, file, NULL, 1, 0) == 0);
    close(fds[0]);
    close(file);
}

static void pipe_to_pipe(void)
{
    int a[2], b[2];
    CHECK(pipe(a) == 0 && pipe(b) == 0);
    CHECK(write(a[1], "hello world", 11) == 11);
    CHECK(tee(a[0], b[1], 5, 0) == 5 && readable_bytes(a[0]) == 11 && readable_bytes(b[0]) == 5);
    CHECK(read(b[0], buffer, 20) == 5 && !memcmp(buffer, "hello", 5));
    CHECK(splice(a[0], NULL, b[1], NULL, 6, 0) == 6 && readable_bytes(a[0]) == 5);
    CHECK(splice(a[0], NULL, b[1], NULL, 100, 0) == 5 && readable_bytes(a[0]) == 0);
    CHECK(read(b[0], buffer, 20) == 11 && !memcmp(buffer, "hello world", 11));
    CHECK_ERROR(tee(a[0], b[1], 5, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_ERROR(tee(a[0], a[1], 5, 0), EINVAL);
    CHECK(fcntl(b[1], F_SETPIPE_SZ, 4096) == 4096 && write(b[1], buffer, 4096) == 4096 && write(a[1], "x", 1) == 1);
    CHECK_ERROR(splice(a[0], NULL, b[1], NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    close(b[0]);
    on_signal(SIGPIPE, SIG_IGN, 0);
    CHECK_ERROR(splice(a[0], NULL, b[1], NULL, 1, 0), EPIPE);
    close(a[1]);
    close(a[0]);
    close(b[1]);
}

static void through_sockets(void)
{
    int fds[2], pair[2];
    CHECK(pipe(fds) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(write(fds[1], "abc", 3) == 3 && splice(fds[0], NULL, pair[0], NULL, 100, 0) == 3);
    CHECK(splice(pair[1], NULL, fds[1], NULL, 100, 0) == 3 && read(fds[0], buffer, 10) == 3 && !memcmp(buffer, "abc", 3));
    close(pair[0]);
    CHECK(splice(pair[1], NULL, fds[1], NULL, 100, 0) == 0);
    close(pair[1]);
    close(fds[0]);
    close(fds[1]);
}

static void memory(void)
{
    int fds[2];
    struct iovec vectors[2] = {{"ab", 2}, {"cde", 3}};
    CHECK(pipe(fds) == 0);
    CHECK(vmsplice(fds[1], vectors, 2, 0) == 5 && read(fds[0], buffer, 10) == 5 && !memcmp(buffer, "abcde", 5));
    CHECK_ERROR(vmsplice(0, vectors, 2, 0x100), EINVAL);
    CHECK(fcntl(fds[1], F_SETPIPE_SZ, 4096) == 4096);
    vectors[0] = (struct iovec){buffer, sizeof buffer};
    ssize_t spliced = vmsplice(fds[1], vectors, 1, SPLICE_F_NONBLOCK);
    CHECK(spliced > 0 && spliced <= 4096);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    file_to_pipe_and_back();
    pipe_to_pipe();
    through_sockets();
    memory();
    return 0;
}
