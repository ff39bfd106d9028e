/* memfd_create with its seals, sendfile, copy_file_range, extended attributes. */
#include "file_check.h"

static void seals(void)
{
    char buffer[8];
    struct stat stat_;
    int fd = memfd_create("name", MFD_CLOEXEC | MFD_ALLOW_SEALING), plain = memfd_create("plain", 0);

    CHECK(fd >= 0 && plain >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(plain, F_GETFD) == 0);
    CHECK(fcntl(fd, F_GET_SEALS) == 0 && fcntl(plain, F_GET_SEALS) == F_SEAL_SEAL);
    CHECK_ERROR(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW), EPERM);
    CHECK(write(fd, "content", 7) == 7 && pread(fd, buffer, 8, 0) == 7 && fstat(fd, &stat_) == 0 && stat_.st_size == 7);
    CHECK(S_ISREG(stat_.st_mode) && stat_.st_nlink == 0);
    CHECK(ftruncate(fd, 10000) == 0);
    char *map = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && !memcmp(map, "content", 7));
    map[9000] = 'm';
    CHECK(pread(fd, buffer, 1, 9000) == 1 && buffer[0] == 'm');
    CHECK_ERROR(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    CHECK(munmap(map, 10000) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    CHECK_ERROR(ftruncate(fd, 9999), EPERM);
    CHECK(ftruncate(fd, 10001) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0);
    CHECK_ERROR(ftruncate(fd, 10002), EPERM);
    CHECK_ERROR(pwrite(fd, "x", 1, 10001), EPERM);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    CHECK_ERROR(pwrite(fd, "x", 1, 0), EPERM);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
    CHECK((map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)) != MAP_FAILED && munmap(map, 4096) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) == 0 && fcntl(fd, F_GET_SEALS) == 15);
    CHECK_ERROR(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), EPERM);
    CHECK_ERROR(memfd_create("x", 0x8000), EINVAL);
    CHECK_ERROR((int)syscall(SYS_memfd_create, 8, 0), EFAULT);
    CHECK(close(fd) == 0 && close(plain) == 0);
}

static void send_file(void)
{
    char buffer[16] = "";
    off_t offset = 2;
    int from = open("from", O_RDWR | O_CREAT, 0644), to = open("to", O_RDWR | O_CREAT, 0644), pipes[2];

    CHECK(write(from, "0123456789", 10) == 10 && lseek(from, 0, SEEK_SET) == 0);
    CHECK(sendfile(to, from, &offset, 4) == 4 && offset == 6 && lseek(from, 0, SEEK_CUR) == 0);
    CHECK(sendfile(to, from, NULL, 100) == 10 && lseek(from, 0, SEEK_CUR) == 10 && sendfile(to, from, NULL, 100) == 0);
    CHECK(pread(to, buffer, 16, 0) == 14 && !memcmp(buffer, "23450123456789", 14));
    CHECK(pipe(pipes) == 0);
    offset = 0;
    CHECK(sendfile(pipes[1], from, &offset, 5) == 5 && read(pipes[0], buffer, 16) == 5 && !memcmp(buffer, "01234", 5));
    CHECK_ERROR(sendfile(to, 999, NULL, 1), EBADF);
    int reader = open("to", O_RDONLY);
    CHECK_ERROR(sendfile(reader, from, NULL, 1), EBADF);
    CHECK(close(from) == 0 && close(to) == 0 && close(reader) == 0 && close(pipes[0]) == 0 && close(pipes[1]) == 0);
}

static void copy_range(void)
{
    char buffer[16] = "";
    off_t in = 1, out = 3;
    int from = open("from", O_RDWR), to = open("copy", O_RDWR | O_CREAT, 0644), dir = open(".", O_RDONLY);

    CHECK(copy_file_range(from, &in, to, &out, 4, 0) == 4 && in == 5 && out == 7);
    CHECK(pread(to, buffer, 16, 0) == 7 && !memcmp(buffer, "\0\0\0" "1234", 7));
    CHECK(copy_file_range(from, NULL, to, NULL, 100, 0) == 10 && lseek(to, 0, SEEK_CUR) == 10 && lseek(from, 0, SEEK_CUR) == 10);
    CHECK(copy_file_range(from, NULL, to, NULL, 100, 0) == 0);
    CHECK_ERROR(copy_file_range(from, NULL, to, NULL, 1, 1), EINVAL);
    CHECK_ERROR(copy_file_range(from, NULL, dir, NULL, 1, 0), EISDIR);
    in = 0, out = 2;
    CHECK_ERROR(copy_file_range(from, &in, from, &out, 4, 0), EINVAL);
    out = 20;
    CHECK(copy_file_range(from, &in, from, &out, 4, 0) == 4 && pread(from, buffer, 4, 20) == 4 && !memcmp(buffer, "0123", 4));
    CHECK(close(from) == 0 && close(to) == 0 && close(dir) == 0);
}

static void extended_attributes(void)
{
    char buffer[64];

    if (setxattr("from", "user.one", "value", 5, 0) != 0) {
        CHECK(errno == EOPNOTSUPP);
        return;
    }
    CHECK(getxattr("from", "user.one", buffer, sizeof(buffer)) == 5 && !memcmp(buffer, "value", 5));
    CHECK(getxattr("from", "user.one", NULL, 0) == 5);
    CHECK_ERROR((int)getxattr("from", "user.one", buffer, 2), ERANGE);
    CHECK_ERROR(setxattr("from", "user.one", "x", 1, XATTR_CREATE), EEXIST);
    CHECK_ERROR(setxattr("from", "user.two", "x", 1, XATTR_REPLACE), ENODATA);
    CHECK_ERROR((int)getxattr("from", "user.two", buffer, 1), ENODATA);
    CHECK(setxattr("from", "user.one", "new", 3, XATTR_REPLACE) == 0 && setxattr("from", "user.two", "", 0, XATTR_CREATE) == 0);
    CHECK(listxattr("from", buffer, sizeof(buffer)) >= 18);
    CHECK(removexattr("from", "user.one") == 0);
    CHECK_ERROR(removexattr("from", "user.one"), ENODATA);
    CHECK_ERROR(setxattr("from", "nonsense", "x", 1, 0), EOPNOTSUPP);
    CHECK(symlink("from", "s") == 0);
    CHECK_ERROR(lsetxattr("s", "user.x", "x", 1, 0), EPERM);
}

int main(void)
{
    scratch_enter();
    seals();
    send_file();
    copy_range();
    extended_attributes();
    scratch_leave();
    return 0;
}
