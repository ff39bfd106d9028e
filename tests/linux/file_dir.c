/* Reading directories, and where a process is. */
#include "file_check.h"

enum { FILES = 300 };

static void entries(void)
{
    char name[32];
    bool seen[FILES] = {false};
    int count = 0, dots = 0;
    struct dirent *entry;

    CHECK(mkdir("d", 0755) == 0);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "d/file-number-%d", i);
        put(name, "");
    }
    CHECK(mkdir("d/sub", 0755) == 0 && symlink("x", "d/link") == 0);
    DIR *dir = opendir("d");
    CHECK(dir);
    while ((entry = readdir(dir))) {
        int number;
        struct stat stat_;
        CHECK(fstatat(dirfd(dir), entry->d_name, &stat_, AT_SYMLINK_NOFOLLOW) == 0);
        CHECK(entry->d_type == DT_UNKNOWN || entry->d_type == (stat_.st_mode & S_IFMT) >> 12);
        if (sscanf(entry->d_name, "file-number-%d", &number) == 1) {
            CHECK(!seen[number]);
            CHECK(entry->d_ino == stat_.st_ino);
            seen[number] = true;
            count++;
        } else if (entry->d_name[0] == '.') {
            dots++;
        }
    }
    CHECK(count == FILES && dots == 2);
    rewinddir(dir);
    CHECK(readdir(dir));
    CHECK(closedir(dir) == 0);
}

static void seeking(void)
{
    DIR *dir = opendir("d");
    struct dirent *entry;
    char name[256];

    for (int i = 0; i < 50; i++)
        CHECK(readdir(dir));
    long place = telldir(dir);
    CHECK((entry = readdir(dir)));
    strcpy(name, entry->d_name);
    for (int i = 0; i < 50; i++)
        CHECK(readdir(dir));
    seekdir(dir, place);
    CHECK((entry = readdir(dir)) && strcmp(entry->d_name, name) == 0);
    CHECK(closedir(dir) == 0);
}

static void removing_while_reading(void)
{
    DIR *dir = opendir("d");
    struct dirent *entry;

    while ((entry = readdir(dir)))
        if (entry->d_type != DT_DIR)
            CHECK(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
    CHECK(closedir(dir) == 0 && rmdir("d/sub") == 0 && rmdir("d") == 0);
}

static void small_buffers(void)
{
    char buffer[1024];
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    long total = 0, length;

    put("a-name-that-needs-some-room", "");
    CHECK_ERROR(syscall(SYS_getdents64, fd, buffer, 1), EINVAL);
    while ((length = syscall(SYS_getdents64, fd, buffer, 64)) > 0)
        total += length;
    CHECK(length == 0 && total > 0);
    CHECK(syscall(SYS_getdents64, fd, buffer, 64) == 0);
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && syscall(SYS_getdents64, fd, buffer, sizeof(buffer)) == total);
    int file = open("a-name-that-needs-some-room", O_RDONLY);
    CHECK_ERROR(syscall(SYS_getdents64, file, buffer, sizeof(buffer)), ENOTDIR);
    CHECK(close(fd) == 0 && close(file) == 0);
}

static void where(void)
{
    char cwd[PATH_MAX], expected[PATH_MAX];
    int fd;

    CHECK(mkdir("one", 0755) == 0 && mkdir("one/two", 0755) == 0 && symlink("one/two", "short") == 0);
    CHECK(chdir("short") == 0 && getcwd(cwd, sizeof(cwd)));
    snprintf(expected, sizeof(expected), "%s/one/two", scratch);
    CHECK(strcmp(cwd, expected) == 0);
    CHECK(syscall(SYS_getcwd, cwd, sizeof(cwd)) == (long)strlen(expected) + 1);
    CHECK_ERROR(syscall(SYS_getcwd, cwd, strlen(expected)), ERANGE);
    CHECK((fd = open("..", O_RDONLY | O_DIRECTORY)) >= 0 && chdir("/") == 0 && getcwd(cwd, sizeof(cwd)));
    CHECK(strcmp(cwd, "/") == 0 && chdir("..") == 0 && getcwd(cwd, sizeof(cwd)) && strcmp(cwd, "/") == 0);
    CHECK(fchdir(fd) == 0 && access("two", F_OK) == 0 && close(fd) == 0);
    CHECK_ERROR(chdir("missing"), ENOENT);
    CHECK_ERROR(fchdir(999), EBADF);
    CHECK(chdir(scratch) == 0);
    put("f", "");
    CHECK_ERROR(chdir("f"), ENOTDIR);
}

int main(void)
{
    scratch_enter();
    entries();
    seeking();
    removing_while_reading();
    small_buffers();
    where();
    scratch_leave();
    return 0;
}
