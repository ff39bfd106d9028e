/*
 * Pipes between programs that do nothing but read and write for a while, and then something else: what a kernel may do to make
 * the first quick must not be seen in the second. Each test begins with enough plain calls (warm) on fresh pipes.
 *
 * to/from are the pipes to a partner process (or thread) that carries out orders: each byte it reads is one.
 */
#ifndef TESTS_LINUX_PIPE_RING_CHECK_H
#define TESTS_LINUX_PIPE_RING_CHECK_H

#include "event_check.h"

#include <sched.h>

/*
 * Call sites of the tests' own, whose form is always the same: what a kernel makes of a call may depend on the code around it.
 */
static __attribute__((noinline, unused)) ssize_t plain_read(int fd, void *to, size_t size)
{
    ssize_t result;
    __asm__ volatile("mov $0, %%eax\n\tsyscall" : "=a"(result) : "D"(fd), "S"(to), "d"(size) : "rcx", "r11", "memory");
    errno = result < 0 ? (int)-result : errno;
    return result < 0 ? -1 : result;
}

static __attribute__((noinline, unused)) ssize_t plain_write(int fd, const void *from, size_t size)
{
    ssize_t result;
    __asm__ volatile("mov $1, %%eax\n\tsyscall" : "=a"(result) : "D"(fd), "S"(from), "d"(size) : "rcx", "r11", "memory");
    errno = result < 0 ? (int)-result : errno;
    return result < 0 ? -1 : result;
}
#define read plain_read
#define write plain_write

#define WARM 120
enum { FILL = 255, MOST = 200 };

static int to[2], from[2];
static pid_t partner;
static char block[4096];

/* --- the partner: each byte it reads is an order ------------------------------------------------------- */

/* Writes until that fails: exits with the errno, or 100 + signals when it was interrupted. */
static inline void fill(void)
{
    for (;;) {
        ssize_t put = write(from[1], block, 1000);
        if (put < 0)
            _exit(errno == EINTR && ticks ? 100 + ticks : errno);
        CHECK(put == 1000);
    }
}

static inline void serve(void)
{
    unsigned char order;
    char bytes[MOST];
    ssize_t got;
    while ((got = read(to[0], &order, 1)) == 1) {
        if (order == FILL)
            fill();
        memset(bytes, order, sizeof bytes);
        if (write(from[1], bytes, order) != order)
            _exit(90);
    }
    _exit(got == 0 ? 0 : errno == EINTR ? 100 + ticks : 91);
}

static inline void order(unsigned char bytes) { CHECK(write(to[1], &bytes, 1) == 1); }

static inline void round_trip(unsigned char bytes)
{
    char got[MOST];
    size_t have = 0;
    order(bytes);
    while (have < bytes) {
        ssize_t part = read(from[0], got + have, bytes - have);
        CHECK(part > 0);
        have += part;
    }
    for (size_t i = 0; i < have; i++)
        CHECK((unsigned char)got[i] == bytes);
}

static inline void warm(void)
{
    for (int i = 0; i < WARM; i++)
        round_trip(1 + i % MOST);
}

static inline void begin_with(void (*prepare)(void))
{
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    partner = fork();
    CHECK(partner >= 0);
    if (!partner) {
        close(to[1]);
        close(from[0]);
        if (prepare)
            prepare();
        serve();
    }
    close(to[0]);
    close(from[1]);
    warm();
}

static inline void begin(void) { begin_with(NULL); }

static inline int partner_status(void)
{
    int status;
    CHECK(waitpid(partner, &status, 0) == partner);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline void end(void)
{
    close(to[1]);
    CHECK(partner_status() == 0);
    CHECK(read(from[0], block, 1) == 0);
    close(from[0]);
}

static inline char state_of(pid_t pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strrchr(text, ')')[2];
}

/* It has carried out what it was told and waits. Twice, for a state seen once may be a passing one. */
static inline void wait_asleep(pid_t pid)
{
    for (int seen = 0; seen < 2;) {
        sched_yield();
        seen = state_of(pid) == 'S' ? seen + 1 : 0;
    }
}

static inline void order_done(unsigned char bytes)
{
    order(bytes);
    wait_asleep(partner);
}

#endif
