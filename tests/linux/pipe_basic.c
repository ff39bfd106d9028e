/* Pipes: bytes, ends, errors, capacity, readiness, packets, resizing. */
#include "event_check.h"

static char page[65536 * 2];

static void bytes_and_ends(void)
{
    int fds[2];
    char buffer[16];
    struct stat stat;
    CHECK(pipe(fds) == 0);
    CHECK(fstat(fds[0], &stat) == 0 && S_ISFIFO(stat.st_mode) && stat.st_size == 0);
    ino_t inode = stat.st_ino;
    CHECK(fstat(fds[1], &stat) == 0 && stat.st_ino == inode);
    CHECK(write(fds[1], "hello", 5) == 5 && readable_bytes(fds[0]) == 5);
    CHECK(write(fds[1], "", 0) == 0 && read(fds[0], buffer, 0) == 0);
    CHECK(read(fds[0], buffer, 2) == 2 && !memcmp(buffer, "he", 2));
    CHECK(read(fds[0], buffer, sizeof buffer) == 3 && !memcmp(buffer, "llo", 3));
    CHECK_ERROR(read(fds[1], buffer, 1), EBADF);
    CHECK_ERROR(write(fds[0], buffer, 1), EBADF);
    CHECK_ERROR(lseek(fds[0], 0, SEEK_SET), ESPIPE);
    CHECK_ERROR(pread(fds[0], buffer, 1, 0), ESPIPE);
    CHECK(write(fds[1], "x", 1) == 1 && close(fds[1]) == 0);
    CHECK(read(fds[0], buffer, 4) == 1 && read(fds[0], buffer, 4) == 0);
    close(fds[0]);
}

static void broken(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    close(fds[0]);
    CHECK(poll_one(fds[1], POLLOUT) == (POLLOUT | POLLERR));
    on_signal(SIGPIPE, tick_count, 0);
    ticks = 0;
    CHECK_ERROR(write(fds[1], "x", 1), EPIPE);
    CHECK(ticks == 1);
    CHECK(write(fds[1], "x", 0) == 0 && ticks == 1);
    on_signal(SIGPIPE, SIG_IGN, 0);
    CHECK_ERROR(write(fds[1], "x", 1), EPIPE);
    close(fds[1]);
    pid_t child = fork();
    if (!child) {
        on_signal(SIGPIPE, SIG_DFL, 0);
        CHECK(pipe(fds) == 0);
        close(fds[0]);
        if (write(fds[1], "x", 1) < 0)
            _exit(1);
        _exit(2);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

static void capacity(void)
{
    int fds[2];
    CHECK(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
    CHECK(fcntl(fds[0], F_GETFD) == FD_CLOEXEC && (fcntl(fds[1], F_GETFL) & O_NONBLOCK));
    CHECK((fcntl(fds[0], F_GETFL) & O_ACCMODE) == O_RDONLY && (fcntl(fds[1], F_GETFL) & O_ACCMODE) == O_WRONLY);
    CHECK_ERROR(read(fds[0], page, 1), EAGAIN);
    CHECK(fcntl(fds[0], F_GETPIPE_SZ) == 65536);
    CHECK(write(fds[1], page, sizeof page) == 65536);
    CHECK_ERROR(write(fds[1], page, 1), EAGAIN);
    CHECK(poll_one(fds[1], POLLOUT) == 0 && poll_one(fds[0], POLLIN) == POLLIN);
    CHECK(read(fds[0], page, 4095) == 4095);
    CHECK_ERROR(write(fds[1], page, 1), EAGAIN); /* pages count, not bytes */
    CHECK(read(fds[0], page, 1) == 1 && poll_one(fds[1], POLLOUT) == POLLOUT);
    CHECK(write(fds[1], page, 4096) == 4096);
    CHECK_ERROR(write(fds[1], page, 1), EAGAIN);
    CHECK(readable_bytes(fds[0]) == 65536 && read(fds[0], page, sizeof page) == 65536);
    for (int i = 0; i < 65536; i++)
        CHECK(write(fds[1], "x", 1) == 1);
    CHECK_ERROR(write(fds[1], "x", 1), EAGAIN);
    close(fds[0]);
    close(fds[1]);
}

static void resizing(void)
{
    int fds[2];
    CHECK(pipe2(fds, O_NONBLOCK) == 0);
    CHECK(write(fds[1], page, 10000) == 10000);
    CHECK_ERROR(fcntl(fds[0], F_SETPIPE_SZ, 4096), EBUSY);
    CHECK(fcntl(fds[0], F_SETPIPE_SZ, 10000) == 16384 && fcntl(fds[1], F_GETPIPE_SZ) == 16384);
    CHECK(write(fds[1], page, 65536) == 4096); /* one page is free */
    CHECK(fcntl(fds[0], F_SETPIPE_SZ, 1 << 20) == 1 << 20);
    CHECK(read(fds[0], page, sizeof page) == 14096);
    CHECK(fcntl(fds[0], F_SETPIPE_SZ, 1) == 4096);
    CHECK_ERROR(fcntl(fds[0], F_SETPIPE_SZ, -1), EINVAL);
    CHECK_ERROR(fcntl(0x7fffffff, F_GETPIPE_SZ), EBADF);
    close(fds[0]);
    close(fds[1]);
}

static void packets(void)
{
    int fds[2];
    char buffer[100];
    CHECK(pipe2(fds, O_DIRECT | O_NONBLOCK) == 0);
    CHECK(fcntl(fds[1], F_GETFL) & O_DIRECT);
    CHECK(write(fds[1], "one", 3) == 3 && write(fds[1], "two", 3) == 3);
    CHECK(read(fds[0], buffer, sizeof buffer) == 3 && !memcmp(buffer, "one", 3));
    CHECK(read(fds[0], buffer, 1) == 1 && buffer[0] == 't');
    CHECK_ERROR(read(fds[0], buffer, 1), EAGAIN); /* the rest of the packet is gone */
    CHECK(write(fds[1], page, 4097) == 4097);
    CHECK(read(fds[0], page, sizeof page) == 4096 && read(fds[0], page, sizeof page) == 1);
    close(fds[0]);
    close(fds[1]);
    CHECK_ERROR(pipe2(fds, O_APPEND), EINVAL);
    CHECK_ERROR(syscall(SYS_pipe2, (void *)8, 0), EFAULT);
}

static void faults(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    CHECK_ERROR(syscall(SYS_write, fds[1], (void *)8, 5), EFAULT);
    CHECK(readable_bytes(fds[0]) == 0);
    CHECK(write(fds[1], "abc", 3) == 3);
    CHECK_ERROR(syscall(SYS_read, fds[0], (void *)8, 5), EFAULT);
    CHECK(readable_bytes(fds[0]) == 3);
    struct iovec vectors[3] = {{"x", 1}, {NULL, 0}, {"yz", 2}};
    CHECK(writev(fds[1], vectors, 3) == 3 && read(fds[0], page, 10) == 6 && !memcmp(page, "abcxyz", 6));
    close(fds[0]);
    close(fds[1]);
}

static void descriptors_limited(void)
{
    struct rlimit old, limit;
    int fds[2] = {-7, -7}, lowest = dup(0);
    close(lowest);
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    limit = (struct rlimit){lowest + 1, old.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_ERROR(pipe(fds), EMFILE);
    CHECK(fds[0] == -7 && fds[1] == -7);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    CHECK(pipe(fds) == 0 && fds[0] == lowest);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    bytes_and_ends();
    broken();
    capacity();
    resizing();
    packets();
    faults();
    descriptors_limited();
    return 0;
}
