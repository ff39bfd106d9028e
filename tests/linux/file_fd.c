/* Descriptors: numbers, dup, close-on-exec, fcntl, close_range, ioctl. */
#include "file_check.h"

static void numbers(void)
{
    int a = dup(0), b, c;

    CHECK(a >= 0 && (b = dup(0)) == a + 1 && (c = dup(0)) == a + 2);
    CHECK(close(b) == 0 && dup(0) == b && close(a) == 0 && close(c) == 0 && dup(0) == a);
    CHECK(dup2(b, a) == a && dup2(b, b) == b && dup2(b, a + 100) == a + 100);
    CHECK(fcntl(b, F_DUPFD, a + 50) == a + 50 && fcntl(b, F_DUPFD, a + 50) == a + 51);
    CHECK(fcntl(b, F_DUPFD_CLOEXEC, a + 50) == a + 52 && fcntl(a + 52, F_GETFD) == FD_CLOEXEC);
    CHECK_ERROR(dup(999), EBADF);
    CHECK_ERROR(dup(-1), EBADF);
    CHECK_ERROR(dup2(999, a), EBADF);
    CHECK_ERROR(dup2(999, 999), EBADF);
    CHECK_ERROR(dup2(b, -1), EBADF);
    CHECK_ERROR(dup3(b, b, 0), EINVAL);
    CHECK_ERROR(dup3(b, a, O_NONBLOCK), EINVAL);
    CHECK(dup3(b, a, O_CLOEXEC) == a && fcntl(a, F_GETFD) == FD_CLOEXEC);
    CHECK(dup2(b, a) == a && fcntl(a, F_GETFD) == 0);
    CHECK_ERROR(fcntl(b, F_DUPFD, -1), EINVAL);
    CHECK(syscall(SYS_close_range, a, ~0u, 0) == 0);
    CHECK_ERROR(fcntl(a, F_GETFD), EBADF);
    CHECK_ERROR(fcntl(a + 100, F_GETFD), EBADF);
    CHECK_ERROR(syscall(SYS_close_range, 5, 4, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_close_range, 5, 6, 64), EINVAL);
    CHECK(dup2(0, a) == a && dup2(0, a + 1) == a + 1 && syscall(SYS_close_range, a, a, 4) == 0);
    CHECK(fcntl(a, F_GETFD) == FD_CLOEXEC && fcntl(a + 1, F_GETFD) == 0);
    CHECK(close(a) == 0 && close(a + 1) == 0);
    for (int i = 0; i < 300; i++)
        CHECK(dup(0) == a + i);
    CHECK(syscall(SYS_close_range, a, a + 299, 0) == 0);
}

/* Two descriptors of one open file share position and flags; two opens do not. */
static void shared_description(void)
{
    int a = open("f", O_RDWR | O_CREAT, 0644), b = dup(a), c = open("f", O_RDONLY);

    CHECK(write(a, "abcdef", 6) == 6 && lseek(b, 0, SEEK_CUR) == 6 && lseek(c, 0, SEEK_CUR) == 0);
    CHECK(fcntl(a, F_SETFL, O_NONBLOCK | O_APPEND) == 0);
    CHECK((fcntl(b, F_GETFL) & (O_NONBLOCK | O_APPEND)) == (O_NONBLOCK | O_APPEND));
    CHECK((fcntl(c, F_GETFL) & (O_NONBLOCK | O_APPEND)) == 0);
    CHECK((fcntl(a, F_GETFL) & O_ACCMODE) == O_RDWR && (fcntl(c, F_GETFL) & O_ACCMODE) == O_RDONLY);
    CHECK((fcntl(a, F_GETFL) & (O_CREAT | O_TRUNC | O_EXCL)) == 0);
    CHECK(fcntl(a, F_SETFL, 0) == 0 && (fcntl(b, F_GETFL) & (O_NONBLOCK | O_APPEND)) == 0);
    CHECK(fcntl(a, F_SETFD, FD_CLOEXEC) == 0 && fcntl(b, F_GETFD) == 0 && fcntl(a, F_GETFD) == FD_CLOEXEC);
    int on = 1;
    CHECK(ioctl(a, 0x5421, &on) == 0 && (fcntl(b, F_GETFL) & O_NONBLOCK));
    CHECK(ioctl(b, 0x5451) == 0 && fcntl(b, F_GETFD) == FD_CLOEXEC);
    CHECK(ioctl(b, 0x5450) == 0 && fcntl(b, F_GETFD) == 0);
    CHECK(lseek(c, 2, SEEK_SET) == 2 && ioctl(c, 0x541b, &on) == 0 && on == 4);
    CHECK_ERROR(ioctl(a, 0x5401, &on), ENOTTY);
    CHECK_ERROR(ioctl(999, 0x5451), EBADF);
    CHECK(close(a) == 0 && close(b) == 0 && close(c) == 0);
}

static void owners(void)
{
    int fd = open("f", O_RDWR), pipes[2];

    CHECK(fcntl(fd, F_GETOWN) == 0 && fcntl(fd, F_SETOWN, getpid()) == 0 && fcntl(fd, F_GETOWN) == getpid());
    CHECK_ERROR(fcntl(fd, F_SETSIG, 65), EINVAL);
    CHECK(fcntl(fd, F_SETSIG, SIGUSR1) == 0 && fcntl(fd, F_GETSIG) == SIGUSR1);
    CHECK_ERROR(fcntl(fd, 12345), EINVAL);
    CHECK_ERROR(fcntl(fd, F_GETPIPE_SZ), EBADF);
    CHECK_ERROR(fcntl(fd, F_GET_SEALS), EINVAL);
    CHECK(pipe(pipes) == 0 && fcntl(pipes[0], F_GETPIPE_SZ) == 65536);
    CHECK(close(fd) == 0 && close(pipes[0]) == 0 && close(pipes[1]) == 0);
}

/* /proc/self/fd opens the same file again, with a position of its own. */
static void reopening(void)
{
    char name[64], buffer[4];
    int fd = open("f", O_RDWR), again;

    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    if (access(name, F_OK) == 0) {
        CHECK(read(fd, buffer, 4) == 4);
        CHECK(unlink("f") == 0);
        CHECK((again = open(name, O_RDONLY)) >= 0);
        CHECK(read(again, buffer, 4) == 4 && !memcmp(buffer, "abcd", 4));
        CHECK(close(again) == 0);
        CHECK((again = open("/dev/fd/0", O_PATH)) >= 0 && close(again) == 0);
    }
    CHECK(close(fd) == 0);
}

int main(void)
{
    scratch_enter();
    in_child(numbers);
    shared_description();
    owners();
    reopening();
    scratch_leave();
    return 0;
}
