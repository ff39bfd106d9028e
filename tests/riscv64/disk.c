/*
 * Block devices, from inside: /dev/vda can be written, /dev/vdb only read; the sector at N begins with the number N.
 *
 * What is written: bytes 700 to 4999 become 'x', the last sector 'y'. The harness looks at the image afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what)                                                                                                                        \
    do {                                                                                                                                   \
        if (!(what)) {                                                                                                                     \
            printf("%d: %s, errno %d\n", __LINE__, #what, errno);                                                                          \
            exit(1);                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

static uint64_t size;

static void describe(int a, int b)
{
    struct stat stat;
    uint64_t other;
    unsigned long sectors;
    int number;
    CHECK(fstat(a, &stat) == 0 && S_ISBLK(stat.st_mode));
    CHECK(ioctl(a, BLKGETSIZE64, &size) == 0 && ioctl(b, BLKGETSIZE64, &other) == 0 && size == other);
    CHECK(ioctl(a, BLKGETSIZE, &sectors) == 0 && sectors * 512 == size);
    CHECK(ioctl(a, BLKSSZGET, &number) == 0 && number == 512);
    CHECK(ioctl(a, BLKROGET, &number) == 0 && number == 0 && ioctl(b, BLKROGET, &number) == 0 && number == 1);
    CHECK(ioctl(a, BLKFLSBUF, 0) == 0 && ioctl(a, 0x1234, &number) == -1 && errno == ENOTTY);
    CHECK(lseek(a, 0, SEEK_END) == (off_t)size && lseek(a, -1, SEEK_SET) == -1 && errno == EINVAL);
}

static void check_sectors(const char *bytes, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number;
        memcpy(&number, bytes + i * 512, sizeof number);
        CHECK(number == first + i);
    }
}

static void reads(int fd)
{
    char *bytes = malloc(size + 1);
    CHECK(pread(fd, bytes, size + 1, 0) == (ssize_t)size);
    check_sectors(bytes, 0, size / 512);
    CHECK(pread(fd, bytes, 512, (off_t)size) == 0);
    CHECK(pread(fd, bytes, 8, 511) == 8 && memcmp(bytes + 1, "\1\0\0\0\0\0\0", 7) == 0);
    CHECK(pread(fd, (void *)8, 512, 0) == -1 && errno == EFAULT);
    free(bytes);
}

static void direct(void)
{
    void *bytes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/dev/vdb", O_RDONLY | O_DIRECT);
    CHECK(fd >= 0 && pread(fd, bytes, 4096, 8192) == 4096);
    check_sectors(bytes, 16, 8);
    CHECK(pread(fd, bytes, 100, 0) == -1 && errno == EINVAL);
    close(fd);
}

/* Several at once, each its own bytes of sectors they share. */
static void writes(int fd)
{
    char bytes[4300];
    memset(bytes, 'x', sizeof bytes);
    for (int i = 0; i < 43; i++)
        if (fork() == 0)
            _exit(pwrite(fd, bytes, 100, 700 + i * 100) != 100);
    for (int i = 0, status; i < 43; i++)
        CHECK(wait(&status) > 0 && status == 0);
    memset(bytes, 'y', 512);
    CHECK(pwrite(fd, bytes, 1024, (off_t)size - 512) == 512);
    CHECK(pwrite(fd, bytes, 1, (off_t)size) == -1 && errno == ENOSPC);
    CHECK(fsync(fd) == 0);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENODEV);
}

int main(void)
{
    int a = open("/dev/vda", O_RDWR), b = open("/dev/vdb", O_RDWR);
    CHECK(a >= 0 && b >= 0);
    CHECK(open("/dev/vdc", O_RDONLY) == -1 && errno == ENOENT);
    describe(a, b);
    reads(a);
    reads(b);
    direct();
    writes(a);
    CHECK(pwrite(b, "z", 1, 0) == -1 && errno == EPERM);
    return 0;
}
