/* /dev: null, zero, full, random, tty, links to one's own descriptors, shared memory's directory. */
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "tty_check.h"

static int open_device(const char *name, unsigned major, unsigned minor)
{
    struct stat stat;
    int fd = open(name, O_RDWR);
    CHECK(fd >= 0);
    CHECK(fstat(fd, &stat) == 0 && S_ISCHR(stat.st_mode) && stat.st_rdev == makedev(major, minor));
    return fd;
}

static void null_and_zero(void)
{
    char buffer[5000];
    int fd = open_device("/dev/null", 1, 3);
    CHECK(read(fd, buffer, sizeof buffer) == 0);
    CHECK(write(fd, buffer, sizeof buffer) == sizeof buffer);
    CHECK(write(fd, (void *)8, 100) == 100); /* never looked at */
    CHECK(lseek(fd, 100, SEEK_SET) == 0);
    CHECK(ftruncate(fd, 0) == -1 && errno == EINVAL);
    CHECK(ready(fd) == (POLLIN | POLLOUT));
    close(fd);
    fd = open_device("/dev/zero", 1, 5);
    memset(buffer, 7, sizeof buffer);
    CHECK(read(fd, buffer, sizeof buffer) == sizeof buffer);
    for (size_t i = 0; i < sizeof buffer; i++)
        CHECK(!buffer[i]);
    CHECK_ERROR(read(fd, (void *)8, 10), EFAULT);
    CHECK(write(fd, buffer, 10) == 10);
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED && !map[4096]);
    map[4096] = 1;
    CHECK(munmap(map, 8192) == 0);
    close(fd);
    CHECK((fd = open("/dev/null", O_WRONLY | O_TRUNC | O_CREAT | O_APPEND, 0600)) >= 0);
    close(fd);
}

static void full_and_random(void)
{
    char a[64], b[64];
    int fd = open_device("/dev/full", 1, 7);
    CHECK_ERROR(write(fd, "x", 1), ENOSPC);
    CHECK(read(fd, a, sizeof a) == sizeof a && !a[0]);
    close(fd);
    fd = open_device("/dev/urandom", 1, 9);
    CHECK(read(fd, a, sizeof a) == sizeof a && read(fd, b, sizeof b) == sizeof b && memcmp(a, b, sizeof a));
    close(fd);
    fd = open("/dev/random", O_RDONLY);
    CHECK(fd >= 0 && read(fd, a, 1) == 1);
    close(fd);
}

static void own_descriptors(void)
{
    char buffer[8];
    int fds[2];
    CHECK(pipe(fds) == 0 && dup2(fds[0], 0) == 0);
    put(fds[1], "abc");
    int in = open("/dev/stdin", O_RDONLY);
    CHECK(in >= 0 && read(in, buffer, 3) == 3 && !memcmp(buffer, "abc", 3));
    close(in), close(fds[0]), close(fds[1]);
    CHECK(open("/dev/fd/99", O_RDONLY) == -1 && errno == ENOENT);
}

static void shared_memory(void)
{
    struct stat stat;
    int fd = shm_open("/dev_nodes_test", O_CREAT | O_EXCL | O_RDWR, 0600);
    CHECK(fd >= 0 && ftruncate(fd, 10000) == 0);
    int *map = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    pid_t child = fork();
    if (!child) {
        map[1000] = 77;
        _exit(0);
    }
    CHECK(waitpid(child, NULL, 0) == child && map[1000] == 77);
    int value;
    CHECK(pread(fd, &value, sizeof value, 4000) == sizeof value && value == 77);
    CHECK(fstat(fd, &stat) == 0 && stat.st_size == 10000);
    CHECK(shm_unlink("/dev_nodes_test") == 0);
    CHECK_ERROR(shm_open("/dev_nodes_test", O_RDWR, 0), ENOENT);
}

int main(void)
{
    alarm(30);
    null_and_zero();
    full_and_random();
    own_descriptors();
    shared_memory();
    return 0;
}
