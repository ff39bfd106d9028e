/* mkdir, rmdir, unlink, link, symlink, rename: what they do, and the error of each wrong use. */
#include "file_check.h"

static void make_and_remove(void)
{
    struct stat stat;
    char longest[257];

    CHECK(mkdir("d", 0777) == 0 && lstat("d", &stat) == 0 && (stat.st_mode & 0777) == 0755);
    CHECK_ERROR(mkdir("d", 0777), EEXIST);
    CHECK_ERROR(mkdir("d/", 0777), EEXIST);
    CHECK_ERROR(mkdir(".", 0777), EEXIST);
    CHECK_ERROR(mkdir("..", 0777), EEXIST);
    CHECK_ERROR(mkdir("/", 0777), EEXIST);
    CHECK_ERROR(mkdir("missing/x", 0777), ENOENT);
    CHECK_ERROR(mkdir("", 0777), ENOENT);
    CHECK(mkdir("e/", 0777) == 0);
    put("f", "text");
    CHECK_ERROR(mkdir("f/x", 0777), ENOTDIR);
    CHECK_ERROR(rmdir("f"), ENOTDIR);
    CHECK_ERROR(rmdir("missing"), ENOENT);
    CHECK_ERROR(rmdir("d/."), EINVAL);
    CHECK_ERROR(rmdir("d/.."), ENOTEMPTY);
    CHECK_ERROR(unlink("missing"), ENOENT);
    CHECK_ERROR(unlink("d"), EISDIR);
    CHECK_ERROR(unlink("d/"), EISDIR);
    CHECK_ERROR(unlink("f/"), ENOTDIR);
    CHECK_ERROR(unlink("."), EISDIR);
    CHECK_ERROR(unlinkat(AT_FDCWD, "d", 0x40), EINVAL);
    put("d/in", "x");
    CHECK_ERROR(rmdir("d"), ENOTEMPTY);
    CHECK(unlink("d/in") == 0 && rmdir("d/") == 0 && rmdir("e") == 0);
    CHECK_ERROR(access("d", F_OK), ENOENT);
    memset(longest, 'n', 256);
    longest[256] = 0;
    CHECK_ERROR(mkdir(longest, 0777), ENAMETOOLONG);
    CHECK_ERROR(access(longest, F_OK), ENAMETOOLONG);
    longest[255] = 0;
    CHECK(mkdir(longest, 0777) == 0 && rmdir(longest) == 0);
}

static void path_too_long(void)
{
    char *name = malloc(5000);

    memset(name, '/', 4999);
    name[0] = '.';
    name[4999] = 0;
    CHECK_ERROR(access(name, F_OK), ENAMETOOLONG);
    name[4096] = 0;
    CHECK_ERROR(access(name, F_OK), ENAMETOOLONG);
    name[4095] = 0;
    CHECK(access(name, F_OK) == 0);
    CHECK_ERROR(access((char *)8, F_OK), EFAULT);
    free(name);
}

static void links(void)
{
    struct stat one, two;
    char buffer[16];

    CHECK(link("f", "g") == 0);
    CHECK(stat("f", &one) == 0 && stat("g", &two) == 0 && one.st_ino == two.st_ino && two.st_nlink == 2);
    CHECK_ERROR(link("f", "g"), EEXIST);
    CHECK_ERROR(link("missing", "h"), ENOENT);
    CHECK_ERROR(link("f", "new/"), ENOENT);
    CHECK(mkdir("d", 0755) == 0);
    CHECK_ERROR(link("d", "h"), EPERM);
    CHECK(symlink("f", "s") == 0);
    CHECK(link("s", "s2") == 0 && lstat("s2", &one) == 0 && S_ISLNK(one.st_mode));
    CHECK(linkat(AT_FDCWD, "s", AT_FDCWD, "h", AT_SYMLINK_FOLLOW) == 0 && lstat("h", &one) == 0 && S_ISREG(one.st_mode));
    CHECK(unlink("f") == 0 && stat("g", &two) == 0 && two.st_nlink == 2 && holds("g", "text"));
    CHECK_ERROR(stat("s", &one), ENOENT);
    CHECK(rename("g", "f") == 0);
    CHECK(readlink("s", buffer, sizeof(buffer)) == 1 && buffer[0] == 'f');
    CHECK_ERROR(readlink("f", buffer, sizeof(buffer)), EINVAL);
    CHECK_ERROR(readlink("s", buffer, 0), EINVAL);
    CHECK_ERROR(readlink("missing", buffer, 1), ENOENT);
    CHECK_ERROR(symlink("x", "s"), EEXIST);
    CHECK_ERROR(symlink("", "empty"), ENOENT);
    CHECK(unlink("s") == 0 && unlink("s2") == 0 && unlink("h") == 0 && rmdir("d") == 0);
}

static void rename_files(void)
{
    put("a", "A");
    put("b", "B");
    CHECK(rename("a", "b") == 0 && holds("b", "A"));
    CHECK_ERROR(access("a", F_OK), ENOENT);
    CHECK_ERROR(rename("a", "b"), ENOENT);
    CHECK(rename("b", "b") == 0 && link("b", "c") == 0 && rename("b", "c") == 0);
    CHECK(access("b", F_OK) == 0 && access("c", F_OK) == 0); /* two names of one file: nothing happens */
    CHECK(unlink("c") == 0);
    CHECK_ERROR(rename("b", "missing/b"), ENOENT);
    CHECK_ERROR(rename("b", "f/x"), ENOTDIR);
    CHECK_ERROR(rename("b/", "x"), ENOTDIR);
    CHECK_ERROR(rename("b", "x/"), ENOTDIR);
    CHECK_ERROR(rename(".", "x"), EBUSY);
    CHECK_ERROR(rename("b", ".."), EBUSY);
    put("c", "C");
    CHECK_ERROR(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", 1), EEXIST);
    CHECK(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", 2) == 0 && holds("b", "C") && holds("c", "A"));
    CHECK_ERROR(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "missing", 2), ENOENT);
    CHECK_ERROR(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", 3), EINVAL);
    CHECK(unlink("b") == 0 && unlink("c") == 0);
}

static void rename_directories(void)
{
    char cwd[PATH_MAX], expected[PATH_MAX];

    CHECK(mkdir("p", 0755) == 0 && mkdir("p/q", 0755) == 0 && mkdir("other", 0755) == 0);
    put("p/q/file", "deep");
    CHECK_ERROR(rename("p", "p/q/r"), EINVAL);
    CHECK_ERROR(rename("p/q", "p"), ENOTEMPTY);
    CHECK_ERROR(rename("other", "f"), ENOTDIR);
    CHECK_ERROR(rename("f", "other"), EISDIR);
    CHECK_ERROR(rename("other", "p"), ENOTEMPTY);
    CHECK(chdir("p/q") == 0);
    CHECK(rename("../../p", "../../other") == 0); /* an empty directory may be replaced */
    CHECK(getcwd(cwd, sizeof(cwd)));
    snprintf(expected, sizeof(expected), "%s/other/q", scratch);
    CHECK(strcmp(cwd, expected) == 0);
    CHECK(chdir("../..") == 0 && holds("other/q/file", "deep"));
    CHECK_ERROR(access("p", F_OK), ENOENT);
    CHECK(rename("other/q", "a-name-that-is-too-long-to-be-kept-in-the-short-form") == 0);
    CHECK(holds("a-name-that-is-too-long-to-be-kept-in-the-short-form/file", "deep"));
    CHECK(rename("a-name-that-is-too-long-to-be-kept-in-the-short-form", "other/q/") == 0 && holds("other/q/file", "deep"));
    CHECK(mkdir("n", 0755) == 0);
    CHECK(syscall(SYS_renameat2, AT_FDCWD, "n", AT_FDCWD, "other/q", 2) == 0 && holds("n/file", "deep"));
    CHECK(unlink("n/file") == 0 && rmdir("n") == 0 && rmdir("other/q") == 0 && rmdir("other") == 0);
}

static void removed_directory(void)
{
    char cwd[PATH_MAX];
    struct stat stat_;

    CHECK(mkdir("doomed", 0755) == 0 && chdir("doomed") == 0);
    CHECK(rmdir("../doomed") == 0);
    CHECK_ERROR(syscall(SYS_getcwd, cwd, sizeof(cwd)), ENOENT);
    CHECK_ERROR(open("x", O_CREAT | O_RDWR, 0644), ENOENT);
    CHECK_ERROR(mkdir("x", 0755), ENOENT);
    CHECK(stat(".", &stat_) == 0 && S_ISDIR(stat_.st_mode));
    CHECK(chdir("..") == 0 && access("f", F_OK) == 0);
}

static void special_files(void)
{
    struct stat stat_;

    CHECK(mknod("fifo", S_IFIFO | 0600, 0) == 0 && lstat("fifo", &stat_) == 0 && S_ISFIFO(stat_.st_mode));
    CHECK(mknod("plain", 0600, 0) == 0 && lstat("plain", &stat_) == 0 && S_ISREG(stat_.st_mode));
    CHECK(mknod("socket", S_IFSOCK | 0600, 0) == 0);
    CHECK_ERROR(open("socket", O_RDONLY), ENXIO);
    CHECK_ERROR(mknod("dir", S_IFDIR | 0700, 0), EPERM);
    CHECK_ERROR(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
    CHECK(unlink("fifo") == 0 && unlink("plain") == 0 && unlink("socket") == 0);
}

int main(void)
{
    umask(022);
    scratch_enter();
    make_and_remove();
    path_too_long();
    links();
    rename_files();
    rename_directories();
    removed_directory();
    special_files();
    scratch_leave();
    return 0;
}
