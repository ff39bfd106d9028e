/*
 * Where small results go: whatever way a kernel below takes to bring them, they are in the program's memory when the call
 * returns, errors are told, what cannot be written is not, and the bytes around stay as they were.
 */
#include "memory_check.h"

#include <sys/stat.h>

#define ROUNDS 40
#define AREA 64

static int ends[2];

static void put(const char *bytes, size_t size) { CHECK(write(ends[1], bytes, size) == (ssize_t)size); }

static void between(char *area, size_t at, size_t size, size_t asked)
{
    char sent[AREA];
    memset(area, '#', AREA);
    for (size_t i = 0; i < size; i++)
        sent[i] = (char)('a' + i % 26);
    put(sent, size);
    CHECK(read(ends[0], area + at, asked) == (ssize_t)size);
    for (size_t i = 0; i < AREA; i++)
        CHECK(area[i] == (i >= at && i < at + size ? sent[i - at] : '#'));
}

/* Within a page, up to its end, and across into the next one. */
static void places(char *pages)
{
    for (size_t size = 1; size < 40; size++) {
        between(pages + 100, 8, size, 56);
        between(pages + PAGE - AREA, AREA - size, size, size);
        between(pages + PAGE - AREA / 2, 5, size, size);
        between(pages + PAGE - AREA / 2, 5, size, 50);
    }
}

static void not_writable(char *pages)
{
    char byte;
    CHECK(mprotect(pages, PAGE, PROT_READ) == 0);
    put("x", 1);
    CHECK_ERROR(read(ends[0], pages, 1), EFAULT);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x');
    CHECK_ERROR(read(ends[0], (char *)8, 0) ? -1 : read(-1, pages, 1), EBADF);
    CHECK_ERROR(fstat(ends[0], (struct stat *)(void *)pages), EFAULT);
    CHECK(mprotect(pages, PAGE, READ_WRITE) == 0);
    CHECK(mprotect(pages + PAGE, PAGE, PROT_NONE) == 0);
    CHECK_ERROR(fstat(ends[0], (struct stat *)(void *)(pages + PAGE - 16)), EFAULT);
    put("abcd", 4);
    ssize_t got = read(ends[0], pages + PAGE - 2, 4); /* what fits may come or may not; nothing is lost without a word */
    CHECK(got == 2 || (got == -1 && errno == EFAULT));
    char rest[4];
    CHECK(read(ends[0], rest, 4) == (got == 2 ? 2 : 4) && rest[0] == (got == 2 ? 'c' : 'a'));
    CHECK(mprotect(pages + PAGE, PAGE, READ_WRITE) == 0);
}

/* The signal's frame and the result both arrive. */
static volatile sig_atomic_t handled;
static void on_signal(int number)
{
    char filler[512];
    memset(filler, number, sizeof filler);
    handled++;
}

static void with_signals(void)
{
    struct stat info;
    char byte = 0;
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    put("s", 1);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 's');
    CHECK(fstat(ends[0], &info) == 0 && S_ISFIFO(info.st_mode));
    CHECK(handled > 0);
}

/* The page goes away, or comes, while the call waits. */
static char *moving;
static void *take_away(void *unused)
{
    CHECK(munmap(moving, PAGE) == 0);
    put("late", 4);
    return unused;
}

static void gone_meanwhile(void)
{
    pthread_t thread;
    char rest[4];
    moving = map_pages(1, READ_WRITE);
    moving[0] = 1;
    CHECK(pthread_create(&thread, NULL, take_away, NULL) == 0);
    ssize_t got = read(ends[0], moving, 4);
    CHECK(got == -1 && errno == EFAULT);
    pthread_join(thread, NULL);
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    got = read(ends[0], rest, 4); /* Linux keeps them; what had been on its way may be gone with the page */
    CHECK(got == 4 || (got == -1 && errno == EAGAIN));
    CHECK(fcntl(ends[0], F_SETFL, 0) == 0);
}

int main(void)
{
    char *pages = map_pages(2, READ_WRITE);
    CHECK(pipe(ends) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        places(pages);
        not_writable(pages);
        with_signals();
        gone_meanwhile();
    }
    return 0;
}
