/* read, write and their kind: positions, ends, holes, faults, vectors, limits. */
#include "file_check.h"

/* Bad arguments that the compiler must not see through. */
static void *volatile nowhere = (void *)16;
static volatile int minus_one = -1, too_many = 1025;

static void positions(void)
{
    char buffer[16];
    int fd = open("f", O_RDWR | O_CREAT, 0644);

    CHECK(fd >= 0);
    CHECK(read(fd, buffer, sizeof(buffer)) == 0);
    CHECK(write(fd, "0123456789", 10) == 10);
    CHECK(lseek(fd, 0, SEEK_CUR) == 10);
    CHECK(pread(fd, buffer, 3, 4) == 3 && !memcmp(buffer, "456", 3));
    CHECK(pwrite(fd, "AB", 2, 1) == 2);
    CHECK(lseek(fd, 0, SEEK_CUR) == 10);
    CHECK(lseek(fd, -4, SEEK_END) == 6);
    CHECK(read(fd, buffer, sizeof(buffer)) == 4 && !memcmp(buffer, "6789", 4));
    CHECK(read(fd, buffer, sizeof(buffer)) == 0);
    CHECK(pread(fd, buffer, 1, 10) == 0 && pread(fd, buffer, 1, 1000000) == 0);
    CHECK_ERROR(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK_ERROR(lseek(fd, 0, 17), EINVAL);
    CHECK_ERROR(pread(fd, buffer, 1, -1), EINVAL);
    CHECK_ERROR(pwrite(fd, buffer, 1, -1), EINVAL);
    CHECK(lseek(fd, 100, SEEK_SET) == 100);
    CHECK(write(fd, "end", 3) == 3);
    CHECK(pread(fd, buffer, 4, 50) == 4 && !memcmp(buffer, "\0\0\0\0", 4));
    CHECK(read(fd, buffer, 0) == 0 && write(fd, buffer, 0) == 0);
    CHECK(lseek(fd, 0, SEEK_DATA) == 0);
    CHECK(lseek(fd, 0, SEEK_HOLE) >= 0);
    CHECK_ERROR(lseek(fd, 103, SEEK_DATA), ENXIO);
    CHECK_ERROR(lseek(fd, 103, SEEK_HOLE), ENXIO);
    CHECK(close(fd) == 0);
    CHECK(holds("f", "") == false);
}

static void append(void)
{
    char buffer[16] = "";
    int fd = open("append", O_RDWR | O_CREAT | O_APPEND, 0644), other = open("append", O_WRONLY);

    CHECK(fd >= 0 && other >= 0);
    CHECK(write(fd, "one", 3) == 3);
    CHECK(pwrite(other, "two", 3, 3) == 3);
    CHECK(write(fd, "three", 5) == 5);
    CHECK(lseek(fd, 0, SEEK_CUR) == 11);
    CHECK(pwrite(fd, "!", 1, 0) == 1); /* appends all the same */
    CHECK(pread(fd, buffer, 16, 0) == 12 && !memcmp(buffer, "onetwothree!", 12));
    CHECK(close(fd) == 0 && close(other) == 0);
}

static void vectors(void)
{
    char a[4] = "", b[4] = "", c[16] = "";
    struct iovec out[] = {{"ab", 2}, {"", 0}, {"cdef", 4}}, in[] = {{a, 3}, {NULL, 0}, {b, 2}, {c, 16}};
    int fd = open("v", O_RDWR | O_CREAT, 0644);

    CHECK(writev(fd, out, 3) == 6);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(readv(fd, in, 4) == 6 && !memcmp(a, "abc", 3) && !memcmp(b, "de", 2) && c[0] == 'f');
    CHECK(pwritev(fd, out, 3, 6) == 6 && preadv(fd, in, 2, 6) == 3 && !memcmp(a, "abc", 3));
    CHECK(readv(fd, in, 0) == 0);
    CHECK_ERROR(readv(fd, in, minus_one), EINVAL);
    CHECK_ERROR(readv(fd, in, too_many), EINVAL);
    in[0].iov_len = (size_t)-1;
    CHECK_ERROR(readv(fd, in, 1), EINVAL);
    CHECK_ERROR(readv(fd, (struct iovec *)nowhere, 2), EFAULT);
    CHECK(preadv2(fd, &in[2], 1, 1, 0) == 2 && !memcmp(b, "bc", 2));
    CHECK(lseek(fd, 3, SEEK_SET) == 3 && preadv2(fd, &in[2], 1, -1, 0) == 2 && !memcmp(b, "de", 2));
    CHECK(pwritev2(fd, out, 1, 0, RWF_APPEND) == 2 && lseek(fd, 0, SEEK_END) == 14);
    CHECK_ERROR(preadv2(fd, &in[2], 1, 0, 1 << 30), EOPNOTSUPP);
    struct iovec many[100];
    for (int i = 0; i < 100; i++)
        many[i] = (struct iovec){"x", 1};
    CHECK(pwritev(fd, many, 100, 0) == 100 && lseek(fd, 0, SEEK_END) == 100);
    CHECK(close(fd) == 0);
}

static void faults(void)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char buffer[8];
    int fd = open("faults", O_RDWR | O_CREAT, 0644);

    CHECK(page != MAP_FAILED && munmap(page + 4096, 4096) == 0);
    memcpy(page + 4092, "last", 4);
    CHECK_ERROR(write(fd, nowhere, 8), EFAULT);
    CHECK(lseek(fd, 0, SEEK_CUR) == 0);
    ssize_t written = write(fd, page + 4092, 8);
    CHECK(written == 4 || (written == -1 && errno == EFAULT));
    CHECK(pwrite(fd, "12345678", 8, 0) == 8);
    CHECK_ERROR(pread(fd, nowhere, 8, 0), EFAULT);
    CHECK(pread(fd, page + 4092, 8, 0) == 4 && !memcmp(page + 4092, "1234", 4));
    CHECK(read(fd, nowhere, 0) == 0);
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    CHECK_ERROR(lseek(pipes[0], 0, SEEK_SET), ESPIPE);
    CHECK_ERROR(pread(pipes[0], buffer, 1, 0), ESPIPE);
    CHECK_ERROR(pwrite(pipes[1], buffer, 1, 0), ESPIPE);
    CHECK_ERROR(read(pipes[1], buffer, 1), EBADF);
    CHECK_ERROR(write(pipes[0], buffer, 1), EBADF);
    CHECK_ERROR(read(-1, buffer, 1), EBADF);
    CHECK_ERROR(read(99, buffer, 1), EBADF);
    CHECK_ERROR(fsync(pipes[0]), EINVAL);
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
    CHECK(close(fd) == 0 && close(pipes[0]) == 0 && close(pipes[1]) == 0);
}

static void file_size_limit(void)
{
    struct rlimit limit = {.rlim_cur = 10, .rlim_max = RLIM_INFINITY};
    int fd = open("limited", O_RDWR | O_CREAT, 0644);

    signal(SIGXFSZ, SIG_IGN);
    limit.rlim_max = 1000;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(write(fd, "0123456", 7) == 7);
    CHECK(write(fd, "789abcdef", 9) == 3);
    CHECK_ERROR(write(fd, "x", 1), EFBIG);
    CHECK_ERROR(ftruncate(fd, 11), EFBIG);
    CHECK(ftruncate(fd, 5) == 0);
}

static void unlinked_lives_on(void)
{
    char buffer[8];
    struct stat stat;
    int fd = open("gone", O_RDWR | O_CREAT, 0644);

    CHECK(write(fd, "still", 5) == 5 && unlink("gone") == 0);
    CHECK(fstat(fd, &stat) == 0 && stat.st_nlink == 0 && stat.st_size == 5);
    CHECK(pread(fd, buffer, 8, 0) == 5 && !memcmp(buffer, "still", 5));
    int fresh = open("gone", O_RDWR | O_CREAT | O_EXCL, 0644);
    CHECK(fresh >= 0 && read(fresh, buffer, 8) == 0);
    CHECK(close(fd) == 0 && close(fresh) == 0);
}

int main(void)
{
    scratch_enter();
    positions();
    append();
    vectors();
    faults();
    in_child(file_size_limit);
    unlinked_lives_on();
    scratch_leave();
    return 0;
}
