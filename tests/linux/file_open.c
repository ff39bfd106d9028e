/* open, openat, openat2: what each flag makes, finds and refuses. */
#include "file_check.h"

struct how {
    uint64_t flags, mode, resolve;
};

static int openat2(int dfd, const char *name, struct how how) { return (int)syscall(SYS_openat2, dfd, name, &how, sizeof(how)); }

static void create_flags(void)
{
    int fd;
    struct stat stat;

    CHECK_ERROR(open("a", O_RDONLY), ENOENT);
    umask(027);
    CHECK((fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0666)) >= 0);
    CHECK(fstat(fd, &stat) == 0 && (stat.st_mode & 07777) == 0640 && stat.st_size == 0 && stat.st_nlink == 1);
    umask(022);
    CHECK(write(fd, "hello", 5) == 5);
    CHECK(close(fd) == 0);
    CHECK_ERROR(open("a", O_RDWR | O_CREAT | O_EXCL, 0666), EEXIST);
    CHECK((fd = open("a", O_RDWR | O_CREAT, 0666)) >= 0);
    CHECK(lseek(fd, 0, SEEK_END) == 5);
    CHECK(close(fd) == 0);
    CHECK((fd = open("a", O_WRONLY | O_TRUNC)) >= 0);
    CHECK(fstat(fd, &stat) == 0 && stat.st_size == 0);
    CHECK_ERROR(read(fd, &stat, 1), EBADF);
    CHECK(close(fd) == 0);
    CHECK_ERROR(close(fd), EBADF);
    CHECK((fd = creat("made", 0600)) >= 0 && close(fd) == 0);
    /* A mode that forbids writing does not stop the open that made the file. */
    CHECK((fd = open("readonly", O_RDWR | O_CREAT, 0444)) >= 0);
    CHECK(write(fd, "x", 1) == 1 && close(fd) == 0);
}

static void directories(void)
{
    int fd;

    CHECK(mkdir("dir", 0755) == 0);
    CHECK_ERROR(open("dir", O_WRONLY), EISDIR);
    CHECK_ERROR(open("dir", O_RDWR), EISDIR);
    CHECK_ERROR(open("dir", O_RDONLY | O_CREAT, 0666), EISDIR);
    CHECK_ERROR(open("new/", O_RDWR | O_CREAT, 0666), EISDIR);
    CHECK_ERROR(open("a", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_ERROR(open("a/b", O_RDONLY), ENOTDIR);
    CHECK_ERROR(open("a/", O_RDONLY), ENOTDIR);
    CHECK_ERROR(open("", O_RDONLY), ENOENT);
    CHECK((fd = open("dir//.///", O_RDONLY | O_DIRECTORY)) >= 0);
    CHECK_ERROR(read(fd, &fd, sizeof(fd)), EISDIR);
    int inside = openat(fd, "in", O_CREAT | O_RDWR, 0644);
    CHECK(inside >= 0 && close(inside) == 0);
    CHECK(access("dir/in", F_OK) == 0);
    CHECK((inside = openat(fd, "../dir/../a", O_RDONLY)) >= 0 && close(inside) == 0);
    CHECK(close(fd) == 0);
    CHECK_ERROR(openat(fd, "in", O_RDONLY), EBADF);
    CHECK((fd = open("a", O_RDONLY)) >= 0);
    CHECK_ERROR(openat(fd, "in", O_RDONLY), ENOTDIR);
    CHECK(close(fd) == 0);
}

static void links(void)
{
    int fd;

    CHECK(symlink("target", "dangling") == 0);
    CHECK_ERROR(open("dangling", O_RDONLY), ENOENT);
    CHECK_ERROR(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0666), EEXIST);
    CHECK((fd = open("dangling", O_RDWR | O_CREAT, 0666)) >= 0 && close(fd) == 0);
    CHECK(access("target", F_OK) == 0);
    CHECK_ERROR(open("dangling", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK(symlink("loop", "loop") == 0);
    CHECK_ERROR(open("loop", O_RDONLY), ELOOP);
    CHECK_ERROR(open("loop", O_RDWR | O_CREAT, 0666), ELOOP);
    CHECK(symlink("dir", "to-dir") == 0);
    CHECK((fd = open("to-dir/in", O_RDONLY)) >= 0 && close(fd) == 0);
    CHECK((fd = open("to-dir/", O_RDONLY | O_NOFOLLOW)) >= 0 && close(fd) == 0);
    CHECK_ERROR(open("to-dir", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), ENOTDIR);
    CHECK(symlink("to-dir/../to-dir/in", "chain") == 0);
    CHECK((fd = open("chain", O_RDONLY)) >= 0 && close(fd) == 0);
    char name[16], previous[16] = "a";
    for (int i = 0; i < 41; i++) {
        snprintf(name, sizeof(name), "l%d", i);
        CHECK(symlink(previous, name) == 0);
        strcpy(previous, name);
    }
    CHECK((fd = open("l39", O_RDONLY)) >= 0 && close(fd) == 0);
    CHECK_ERROR(open("l40", O_RDONLY), ELOOP);
}

static void path_only(void)
{
    char buffer[8];
    struct stat stat;
    int fd = open("a", O_PATH), again;

    CHECK(fd >= 0);
    CHECK((fcntl(fd, F_GETFL) & O_PATH) == O_PATH);
    CHECK_ERROR(read(fd, buffer, 1), EBADF);
    CHECK_ERROR(write(fd, buffer, 1), EBADF);
    CHECK_ERROR(fchmod(fd, 0600), EBADF);
    CHECK(fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode));
    CHECK((again = dup(fd)) >= 0 && close(again) == 0);
    CHECK(close(fd) == 0);
    CHECK((fd = open("loop", O_PATH | O_NOFOLLOW)) >= 0);
    CHECK(fstat(fd, &stat) == 0 && S_ISLNK(stat.st_mode));
    CHECK(readlinkat(fd, "", buffer, sizeof(buffer)) == 4 && !memcmp(buffer, "loop", 4));
    CHECK(close(fd) == 0);
}

static void temporary(void)
{
    struct stat stat;
    char name[64];
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);

    if (fd < 0 && errno == EOPNOTSUPP)
        return;
    CHECK(fd >= 0);
    CHECK(fstat(fd, &stat) == 0 && stat.st_nlink == 0);
    CHECK(write(fd, "temporary", 9) == 9);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    if (access("/proc/self/fd", F_OK) == 0) {
        CHECK(linkat(AT_FDCWD, name, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW) == 0);
        CHECK(holds("linked", "temporary"));
        CHECK(unlink("linked") == 0);
    }
    CHECK(close(fd) == 0);
    CHECK_ERROR(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
}

static void rules(void)
{
    int dir = open("dir", O_RDONLY | O_DIRECTORY), fd;

    CHECK(dir >= 0);
    CHECK(symlink("/a", "dir/absolute") == 0 && symlink("../a", "dir/up") == 0);
    CHECK((fd = openat2(dir, "in", (struct how){.flags = O_RDONLY, .resolve = 8})) >= 0 && close(fd) == 0);
    CHECK_ERROR(openat2(dir, "../a", (struct how){.flags = O_RDONLY, .resolve = 8}), EXDEV);
    CHECK_ERROR(openat2(dir, "up", (struct how){.flags = O_RDONLY, .resolve = 8}), EXDEV);
    CHECK_ERROR(openat2(dir, "absolute", (struct how){.flags = O_RDONLY, .resolve = 8}), EXDEV);
    CHECK_ERROR(openat2(dir, "/in", (struct how){.flags = O_RDONLY, .resolve = 8}), EXDEV);
    CHECK((fd = openat2(dir, "/in", (struct how){.flags = O_RDONLY, .resolve = 16})) >= 0 && close(fd) == 0);
    CHECK((fd = openat2(dir, "../../in", (struct how){.flags = O_RDONLY, .resolve = 16})) >= 0 && close(fd) == 0);
    CHECK_ERROR(openat2(dir, "absolute", (struct how){.flags = O_RDONLY, .resolve = 16}), ENOENT);
    CHECK_ERROR(openat2(dir, "up", (struct how){.flags = O_RDONLY, .resolve = 4}), ELOOP);
    CHECK_ERROR(openat2(dir, "in", (struct how){.flags = O_RDONLY, .mode = 0600}), EINVAL);
    CHECK_ERROR(openat2(dir, "in", (struct how){.flags = UINT64_C(1) << 40}), EINVAL);
    CHECK_ERROR(openat2(dir, "in", (struct how){.flags = O_RDONLY, .resolve = 1 << 20}), EINVAL);
    CHECK_ERROR(syscall(SYS_openat2, dir, "in", &(struct how){.flags = 0}, 8), EINVAL);
    CHECK(close(dir) == 0);
}

static void full_table(void)
{
    struct rlimit limit;
    int fd = dup(0);

    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = (rlim_t)fd;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_ERROR(open("never", O_RDWR | O_CREAT, 0666), EMFILE);
    CHECK_ERROR(access("never", F_OK), ENOENT);
    CHECK_ERROR(dup(0), EMFILE);
    CHECK_ERROR(dup2(0, fd), EBADF);
    CHECK_ERROR(fcntl(0, F_DUPFD, fd), EINVAL);
}

int main(void)
{
    scratch_enter();
    create_flags();
    directories();
    links();
    path_only();
    temporary();
    rules();
    in_child(full_table);
    scratch_leave();
    return 0;
}
