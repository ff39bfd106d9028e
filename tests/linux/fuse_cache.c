/* What a FUSE server need not be asked twice: contents, names, attributes; and when it must be. */
#include "fuse_check.h"

static uint32_t asked(uint32_t operation) { return shared->seen[operation]; }

static void read_all(int fd)
{
    char buffer[16];
    CHECK(pread(fd, buffer, 16, 0) == 5 && !memcmp(buffer, hello, 5));
}

static void contents(void)
{
    char buffer[16];
    shared->valid = 3600;
    int fd = open("m/file", O_RDWR);
    CHECK(fd >= 0);
    read_all(fd);
    uint32_t reads = asked(FUSE_READ);
    CHECK(reads == 1);
    for (int i = 0; i < 10; i++)
        read_all(fd);
    CHECK(pread(fd, buffer, 4, 2) == 3 && !memcmp(buffer, "llo", 3) && pread(fd, buffer, 4, 5) == 0);
    CHECK(asked(FUSE_READ) == reads);
    /* written through, and seen without being read again */
    CHECK(pwrite(fd, "J", 1, 0) == 1 && shared->written[0] == 'J' && pread(fd, buffer, 5, 0) == 5 && !memcmp(buffer, "Jello", 5));
    CHECK(asked(FUSE_READ) == reads && close(fd) == 0);
    /* another open drops it, unless the server wants it kept */
    fd = open("m/file", O_RDONLY);
    read_all(fd);
    CHECK(asked(FUSE_READ) == reads + 1 && close(fd) == 0);
    shared->open_flags = FOPEN_KEEP_CACHE;
    fd = open("m/file", O_RDONLY);
    read_all(fd);
    CHECK(asked(FUSE_READ) == reads + 1 && close(fd) == 0);
    shared->open_flags = FOPEN_DIRECT_IO;
    fd = open("m/file", O_RDONLY);
    read_all(fd);
    read_all(fd);
    CHECK(asked(FUSE_READ) >= reads + 3 && close(fd) == 0);
    shared->open_flags = 0;
}

static void names(void)
{
    struct stat stat_;
    CHECK(stat("m/dir/inner", &stat_) == 0);
    uint32_t lookups = asked(FUSE_LOOKUP), attrs = asked(FUSE_GETATTR);
    for (int i = 0; i < 10; i++)
        CHECK(stat("m/dir/inner", &stat_) == 0 && access("m/dir", R_OK) == 0);
    CHECK(asked(FUSE_LOOKUP) == lookups && asked(FUSE_GETATTR) == attrs);
    shared->valid = 0;
    shared->notify = 1; /* the server takes the names of the root back after the lookup */
    CHECK_ERROR(stat("m/nothing", &stat_), ENOENT);
    AWAIT(!shared->notify);
    lookups = asked(FUSE_LOOKUP);
    CHECK(stat("m/dir/inner", &stat_) == 0 && asked(FUSE_LOOKUP) > lookups);
    lookups = asked(FUSE_LOOKUP);
    CHECK(stat("m/dir/inner", &stat_) == 0 && asked(FUSE_LOOKUP) > lookups);
}

int main(void)
{
    scratch_enter();
    fuse_start();
    contents();
    names();
    fuse_stop();
    scratch_leave();
    return 0;
}
