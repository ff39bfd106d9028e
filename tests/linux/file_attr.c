/* Modes, owners, times, sizes, access, statfs. */
#include "file_check.h"

static struct stat attributes(const char *name)
{
    struct stat stat_;
    CHECK(lstat(name, &stat_) == 0);
    return stat_;
}

static void modes(void)
{
    int fd;

    put("f", "12345");
    CHECK(chmod("f", 0640) == 0 && (attributes("f").st_mode & 07777) == 0640);
    CHECK((fd = open("f", O_RDONLY)) >= 0 && fchmod(fd, 04755) == 0 && (attributes("f").st_mode & 07777) == 04755);
    CHECK(fchmodat(AT_FDCWD, "f", 0600, 0) == 0 && (attributes("f").st_mode & 07777) == 0600);
    CHECK_ERROR(chmod("missing", 0600), ENOENT);
    CHECK(chown("f", (uid_t)-1, (gid_t)-1) == 0 && chown("f", getuid(), getgid()) == 0);
    CHECK(attributes("f").st_uid == getuid() && attributes("f").st_gid == getgid());
    umask(077);
    CHECK(umask(022) == 077);
    CHECK(close(fd) == 0);
}

static void permission(void)
{
    CHECK(access("f", F_OK) == 0 && access("f", R_OK | W_OK) == 0);
    CHECK_ERROR(access("f", X_OK), EACCES);
    CHECK_ERROR(access("f", 8), EINVAL);
    CHECK_ERROR(access("missing", F_OK), ENOENT);
    CHECK(chmod("f", 0700) == 0 && access("f", X_OK) == 0 && faccessat(AT_FDCWD, "f", X_OK, AT_EACCESS) == 0);
    CHECK(symlink("missing", "s") == 0 && faccessat(AT_FDCWD, "s", F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK_ERROR(access("s", F_OK), ENOENT);
    if (getuid() == 0)
        return;
    CHECK(chmod("f", 0) == 0);
    CHECK_ERROR(open("f", O_RDONLY), EACCES);
    CHECK_ERROR(access("f", R_OK), EACCES);
    CHECK_ERROR(chown("f", 0, 0), EPERM);
    CHECK(chmod("f", 0600) == 0 && mkdir("closed", 0755) == 0);
    put("closed/in", "x");
    CHECK(chmod("closed", 0600) == 0);
    CHECK_ERROR(access("closed/in", F_OK), EACCES);
    CHECK_ERROR(open("closed/in", O_RDONLY), EACCES);
    CHECK_ERROR(chdir("closed"), EACCES);
    CHECK(chmod("closed", 0500) == 0 && access("closed/in", F_OK) == 0);
    CHECK_ERROR(unlink("closed/in"), EACCES);
    CHECK_ERROR(open("closed/new", O_CREAT | O_RDWR, 0644), EACCES);
    CHECK_ERROR(rename("closed/in", "out"), EACCES);
    CHECK(chmod("closed", 0755) == 0 && unlink("closed/in") == 0);
}

static void times(void)
{
    struct timespec set[2] = {{1000, 5}, {2000, 6}};
    struct timeval micro[2] = {{3000, 7}, {4000, 8}};
    struct stat stat_;
    time_t now = time(NULL);

    CHECK(utimensat(AT_FDCWD, "f", set, 0) == 0);
    stat_ = attributes("f");
    CHECK(stat_.st_atim.tv_sec == 1000 && stat_.st_atim.tv_nsec == 5 && stat_.st_mtim.tv_sec == 2000 && stat_.st_mtim.tv_nsec == 6);
    CHECK(stat_.st_ctim.tv_sec >= now - 2);
    set[0].tv_nsec = UTIME_OMIT;
    set[1].tv_nsec = UTIME_NOW;
    CHECK(utimensat(AT_FDCWD, "f", set, 0) == 0);
    stat_ = attributes("f");
    CHECK(stat_.st_atim.tv_sec == 1000 && stat_.st_mtim.tv_sec >= now - 2);
    CHECK(utimes("f", micro) == 0 && attributes("f").st_mtim.tv_sec == 4000 && attributes("f").st_mtim.tv_nsec == 8000);
    int fd = open("f", O_RDWR);
    CHECK(futimens(fd, NULL) == 0 && attributes("f").st_mtim.tv_sec >= now - 2);
    CHECK(utimes("f", micro) == 0 && write(fd, "1", 1) == 1 && attributes("f").st_mtim.tv_sec >= now - 2);
    set[0].tv_nsec = 1000000000;
    CHECK_ERROR(utimensat(AT_FDCWD, "f", set, 0), EINVAL);
    CHECK_ERROR(utimensat(AT_FDCWD, "missing", NULL, 0), ENOENT);
    set[0] = set[1] = (struct timespec){7, 0};
    CHECK(utimensat(AT_FDCWD, "s", set, AT_SYMLINK_NOFOLLOW) == 0 && attributes("s").st_mtim.tv_sec == 7);
    CHECK(close(fd) == 0);
}

static void sizes(void)
{
    char buffer[8];
    int fd = open("f", O_RDWR | O_TRUNC);

    CHECK(write(fd, "abcdef", 6) == 6 && ftruncate(fd, 3) == 0 && attributes("f").st_size == 3);
    CHECK(truncate("f", 5) == 0 && pread(fd, buffer, 8, 0) == 5 && !memcmp(buffer, "abc\0\0", 5));
    CHECK_ERROR(ftruncate(fd, -1), EINVAL);
    CHECK_ERROR(truncate("missing", 1), ENOENT);
    CHECK_ERROR(truncate(".", 1), EISDIR);
    CHECK(lseek(fd, 0, SEEK_CUR) == 6);
    if (fallocate(fd, 0, 0, 100) == 0) {
        CHECK(attributes("f").st_size == 100);
        CHECK(pwrite(fd, "hole", 4, 20) == 4);
        if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 50) == 0)
            CHECK(pread(fd, buffer, 4, 20) == 4 && !memcmp(buffer, "\0\0\0\0", 4) && attributes("f").st_size == 100);
    }
    CHECK_ERROR(fallocate(fd, 0, 0, 0), EINVAL);
    int reader = open("f", O_RDONLY);
    CHECK_ERROR(ftruncate(reader, 1), EINVAL);
    CHECK_ERROR(fallocate(reader, 0, 0, 10), EBADF);
    CHECK(close(fd) == 0 && close(reader) == 0);
}

static void status(void)
{
    struct statx statx_;
    struct statfs statfs_;
    struct stat stat_ = attributes("f");

    CHECK(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &statx_) == 0);
    CHECK(statx_.stx_ino == stat_.st_ino && statx_.stx_size == (uint64_t)stat_.st_size && statx_.stx_mode == stat_.st_mode);
    CHECK_ERROR(statx(AT_FDCWD, "f", 0, 0x80000000, &statx_), EINVAL);
    CHECK_ERROR(statx(AT_FDCWD, "", 0, 0, &statx_), ENOENT);
    int fd = open("f", O_RDONLY);
    CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &statx_) == 0 && statx_.stx_ino == stat_.st_ino);
    CHECK(statfs("f", &statfs_) == 0 && statfs_.f_bsize > 0 && statfs_.f_namelen > 0 && fstatfs(fd, &statfs_) == 0);
    CHECK(fstatat(fd, "", &stat_, AT_EMPTY_PATH) == 0);
    CHECK_ERROR(fstatat(AT_FDCWD, "f", &stat_, 0x8000), EINVAL);
    CHECK_ERROR(stat("f", (struct stat *)8), EFAULT);
    CHECK(attributes(".").st_nlink >= 1 && S_ISDIR(attributes(".").st_mode));
    CHECK(close(fd) == 0);
}

int main(void)
{
    umask(022);
    scratch_enter();
    modes();
    permission();
    times();
    sizes();
    status();
    scratch_leave();
    return 0;
}
