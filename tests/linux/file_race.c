/*
 * Many threads make, open, link, rename and remove the same few names at once. Each step may fail in the ways the
 * others cause, and in no other; afterwards names, link counts and contents agree.
 */
#include "file_check.h"

#include <pthread.h>

enum { THREADS = 4, STEPS = 3000, NAMES = 4, DIRECTORIES = 3 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

static void name_of(char *name, size_t size, uint32_t number)
{
    snprintf(name, size, "d%u/n%u", number / NAMES % DIRECTORIES, number % NAMES);
}

/* One of the errors that another thread's step explains. */
static void expect(int result, int a, int b, int c)
{
    CHECK(result >= 0 || errno == a || errno == b || errno == c);
}

static void write_and_read(const char *name)
{
    char buffer[8];
    int fd = open(name, O_RDWR | O_CREAT, 0644);

    expect(fd, EISDIR, ENOENT, ENOENT);
    if (fd < 0)
        return;
    CHECK(write(fd, "content", 7) == 7);
    CHECK(pread(fd, buffer, 8, 0) == 7 && !memcmp(buffer, "content", 7));
    CHECK(close(fd) == 0);
}

static void one_step(const char *name, const char *other, uint32_t what)
{
    struct stat stat_;

    switch (what % 8) {
    case 0:
    case 1:
        write_and_read(name);
        break;
    case 2:
        expect(rename(name, other), ENOENT, EISDIR, ENOTDIR);
        break;
    case 3:
        expect(unlink(name), ENOENT, EISDIR, EISDIR);
        break;
    case 4:
        expect(link(name, other), ENOENT, EEXIST, EPERM);
        break;
    case 5:
        expect(mkdir(name, 0755), EEXIST, EEXIST, EEXIST);
        expect(rmdir(name), ENOENT, ENOTDIR, ENOTEMPTY);
        break;
    case 6:
        expect(lstat(name, &stat_), ENOENT, ENOENT, ENOENT);
        break;
    default:
        expect((int)syscall(SYS_renameat2, AT_FDCWD, name, AT_FDCWD, other, 2), ENOENT, ENOENT, ENOENT);
    }
}

static void *run(void *argument)
{
    uint32_t state = (uint32_t)(uintptr_t)argument;
    char name[16], other[16];

    for (int i = 0; i < STEPS; i++) {
        name_of(name, sizeof(name), next_random(&state));
        name_of(other, sizeof(other), next_random(&state));
        one_step(name, other, next_random(&state));
    }
    return NULL;
}

/* What readdir lists and what lstat finds are the same names; each file has as many links as it has names. */
static void check_tree(void)
{
    struct {
        ino_t inode;
        nlink_t links, names;
    } files[NAMES * DIRECTORIES];
    int count = 0;

    for (uint32_t i = 0; i < NAMES * DIRECTORIES; i++) {
        char name[16];
        struct stat stat_;
        int at = 0;
        name_of(name, sizeof(name), i);
        if (lstat(name, &stat_) != 0) {
            CHECK(errno == ENOENT);
            continue;
        }
        if (S_ISDIR(stat_.st_mode))
            continue;
        CHECK(stat_.st_size == 0 || holds(name, "content"));
        while (at < count && files[at].inode != stat_.st_ino)
            at++;
        if (at == count) {
            files[count].inode = stat_.st_ino;
            files[count].links = stat_.st_nlink;
            files[count++].names = 0;
        }
        files[at].names++;
    }
    for (int i = 0; i < count; i++)
        CHECK(files[i].links == files[i].names);
}

static void check_listing(uint32_t number)
{
    char name[16];
    struct dirent *entry;
    struct stat stat_;
    int listed = 0, found = 0;

    snprintf(name, sizeof(name), "d%u", number);
    DIR *dir = opendir(name);
    CHECK(dir);
    while ((entry = readdir(dir)))
        listed += entry->d_name[0] == 'n';
    CHECK(closedir(dir) == 0);
    for (uint32_t i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "d%u/n%u", number, i);
        found += lstat(name, &stat_) == 0;
    }
    CHECK(listed == found);
}

int main(void)
{
    pthread_t threads[THREADS];
    char name[16];

    scratch_enter();
    for (int i = 0; i < DIRECTORIES; i++) {
        snprintf(name, sizeof(name), "d%d", i);
        CHECK(mkdir(name, 0755) == 0);
    }
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, run, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    check_tree();
    for (uint32_t i = 0; i < DIRECTORIES; i++)
        check_listing(i);
    scratch_leave();
    return 0;
}
