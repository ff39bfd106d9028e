/* A FUSE server that lies: wrong lengths, numbers, errors, types, sizes, names, trees. Its users get EIO, and it is told. */
#include "fuse_check.h"

static void told(enum lie what, uint32_t about)
{
    shared->result_count = 0;
    shared->lie_about = about;
    shared->lie = what;
}

/* What the server's nth odd write came to: it may still be about to note it. */
static int result(int nth)
{
    AWAIT(shared->result_count > nth);
    return shared->results[nth];
}

static void truth(void)
{
    char buffer[16];
    struct stat stat_;
    told(LIE_NONE, 0);
    CHECK(stat("m/file", &stat_) == 0 && S_ISREG(stat_.st_mode) && stat_.st_size == 5 && (stat_.st_ino == 2 || stat_.st_ino == 6));
    int fd = open("m/file", O_RDWR);
    CHECK(fd >= 0 && read(fd, buffer, 16) == 5 && !memcmp(buffer, hello, 5));
    CHECK(pread(fd, buffer, 2, 3) == 2 && !memcmp(buffer, "lo", 2) && write(fd, "bytes", 5) == 5);
    CHECK(!memcmp((void *)(uintptr_t)shared->written, "bytes", 5) && close(fd) == 0);
    CHECK(stat("m/dir/inner", &stat_) == 0 && stat_.st_ino == 4 && readlink("m/link", buffer, 16) == 4 && holds("m/link", hello));
    CHECK_ERROR(stat("m/nothing", &stat_), ENOENT);
    CHECK_ERROR(mkdir("m/new", 0755), ENOSYS);
    DIR *dir = opendir("m");
    CHECK(dir && !strcmp(readdir(dir)->d_name, "file") && !readdir(dir) && closedir(dir) == 0);
}

static void lengths(void)
{
    struct stat stat_;
    told(LIE_SHORT, FUSE_LOOKUP);
    CHECK_ERROR(stat("m/file", &stat_), EIO);
    CHECK(result(0) == EINVAL);
    told(LIE_LONG, FUSE_LOOKUP);
    CHECK_ERROR(stat("m/file", &stat_), EIO);
    CHECK(result(0) == EINVAL);
    told(LIE_SHORT, FUSE_GETATTR);
    CHECK_ERROR(stat("m/file", &stat_), EIO);
    told(LIE_HEADER, FUSE_LOOKUP);
    CHECK(stat("m/file", &stat_) == 0 && result(0) == EINVAL);
}

static void numbers(void)
{
    struct stat stat_;
    told(LIE_OTHER_NUMBER, FUSE_LOOKUP);
    CHECK(stat("m/file", &stat_) == 0 && result(0) == ENOENT);
    told(LIE_TWICE, FUSE_LOOKUP);
    CHECK(stat("m/file", &stat_) == 0);
    CHECK(result(0) == 0 && result(1) == ENOENT);
    told(LIE_ERROR, FUSE_LOOKUP);
    CHECK(stat("m/file", &stat_) == 0 && result(0) == EINVAL && result(1) == EINVAL);
}

static void entries(void)
{
    struct stat stat_;
    told(LIE_NO_TYPE, 0);
    CHECK_ERROR(stat("m/file", &stat_), EIO);
    told(LIE_HUGE, 0);
    CHECK_ERROR(stat("m/file", &stat_), EIO);
    told(LIE_ROOT, 0);
    CHECK_ERROR(stat("m/dir", &stat_), EIO);
    told(LIE_NONE, 0);
    CHECK(stat("m/dir", &stat_) == 0);
    told(LIE_LOOP, 0);
    CHECK_ERROR(stat("m/dir/dir", &stat_), ELOOP);
    told(LIE_NONE, 0);
    int fd = open("m/file", O_RDONLY);
    CHECK(fd >= 0);
    told(LIE_TYPE_CHANGES, 0);
    CHECK_ERROR(fstat(fd, &stat_), EIO);
    told(LIE_NONE, 0);
    CHECK_ERROR(fstat(fd, &stat_), EIO);
    close(fd); /* EIO, too */
    if (under_hyla()) /* Linux holds it against the number */
        CHECK(stat("m/file", &stat_) == 0);
    shared->other_file = 6;
}

static int names_read(void)
{
    DIR *dir = opendir("m");
    CHECK(dir);
    errno = 0;
    struct dirent *entry = readdir(dir);
    int error = entry ? 0 : errno;
    closedir(dir);
    return error;
}

static void directories(void)
{
    told(LIE_SLASH, 0);
    CHECK(names_read() == EIO);
    told(LIE_NAMELESS, 0);
    CHECK(names_read() == EIO);
    told(LIE_NONE, 0);
    CHECK(names_read() == 0);
}

static void transfers(void)
{
    char buffer[8];
    int fd = open("m/file", O_RDWR);
    CHECK(fd >= 0);
    told(LIE_WROTE_MORE, 0);
    CHECK_ERROR(write(fd, "x", 1), EIO);
    told(LIE_LONG, FUSE_READ);
    CHECK_ERROR(pread(fd, buffer, 5, 0), EIO);
    CHECK(result(0) == EINVAL);
    told(LIE_NONE, 0);
    CHECK(pread(fd, buffer, 5, 0) == 5 && close(fd) == 0);
}

/* Lookups are counted and given back in full when the name is gone. */
static void forgets(void)
{
    uint64_t node = shared->other_file ? shared->other_file : 2;
    struct stat stat_;
    told(LIE_ABSENT, 0);
    CHECK_ERROR(stat("m/file", &stat_), ENOENT);
    AWAIT(shared->forgotten[node] == shared->looked_up[node]);
    told(LIE_NONE, 0);
    for (int i = 0; i < 3; i++)
        CHECK(stat("m/file", &stat_) == 0);
    uint64_t before = shared->forgotten[node];
    told(LIE_ABSENT, 0);
    CHECK_ERROR(stat("m/file", &stat_), ENOENT);
    AWAIT(shared->forgotten[node] == shared->looked_up[node]);
    CHECK(shared->forgotten[node] == before + 3);
    told(LIE_NONE, 0);
}

int main(void)
{
    scratch_enter();
    fuse_start();
    shared->open_flags = FOPEN_DIRECT_IO;
    truth();
    lengths();
    numbers();
    entries();
    directories();
    transfers();
    forgets();
    truth();
    fuse_stop();
    scratch_leave();
    return 0;
}
