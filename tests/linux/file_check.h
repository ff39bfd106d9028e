/*
 * For the file tests: CHECK prints the failing line and ends the test; scratch_enter makes an empty directory the
 * current one, scratch_leave removes it with what is in it.
 */
#ifndef TESTS_LINUX_FILE_CHECK_H
#define TESTS_LINUX_FILE_CHECK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(2, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                              \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)
#define CHECK_ERROR(call, error) CHECK((errno = 0, (call) == -1) && errno == (error))

static char scratch[64];

static inline void scratch_enter(void)
{
    strcpy(scratch, "/tmp/hyla-file-XXXXXX");
    CHECK(mkdtemp(scratch));
    CHECK(chdir(scratch) == 0);
}

static inline int scratch_remove(const char *name, const struct stat *stat, int kind, struct FTW *where)
{
    (void)stat, (void)where;
    return kind == FTW_DP || kind == FTW_DNR ? rmdir(name) : unlink(name);
}

static inline void scratch_leave(void)
{
    CHECK(chdir("/") == 0);
    CHECK(nftw(scratch, scratch_remove, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

/* A file with these contents. */
static inline void put(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(close(fd) == 0);
}

static inline bool holds(const char *name, const char *text)
{
    char buffer[4096];
    int fd = open(name, O_RDONLY);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, buffer, sizeof(buffer));
    close(fd);
    return length == (ssize_t)strlen(text) && !memcmp(buffer, text, strlen(text));
}

/* Runs the function in a child and expects its status 0. */
static inline void in_child(void (*function)(void))
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        function();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

#endif
