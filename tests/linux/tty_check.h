/*
 * For the tests of terminals: CHECK, and a pair with its slave open in raw or canonical mode.
 */
#ifndef TESTS_LINUX_TTY_CHECK_H
#define TESTS_LINUX_TTY_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
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

/* Natively input reaches the line discipline a moment after the master's write returns. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        for (int turn_ = 0; turn_ < 100000 && !(condition); turn_++)                                                   \
            sched_yield();                                                                                             \
        CHECK(condition);                                                                                              \
    } while (0)

static int master, slave;

static inline void pair_open(void)
{
    master = posix_openpt(O_RDWR | O_NOCTTY);
    CHECK(master >= 0);
    CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
}

static inline void pair_close(void)
{
    close(slave);
    close(master);
}

static inline struct termios settings(void)
{
    struct termios termios;
    CHECK(tcgetattr(slave, &termios) == 0);
    return termios;
}

static inline void set_raw(uint8_t min, uint8_t time)
{
    struct termios termios = settings();
    cfmakeraw(&termios);
    termios.c_cc[VMIN] = min;
    termios.c_cc[VTIME] = time;
    CHECK(tcsetattr(slave, TCSANOW, &termios) == 0);
}

static inline void set_flags(tcflag_t lflag_off, tcflag_t oflag_off)
{
    struct termios termios = settings();
    termios.c_lflag &= ~lflag_off;
    termios.c_oflag &= ~oflag_off;
    CHECK(tcsetattr(slave, TCSANOW, &termios) == 0);
}

static inline void put(int fd, const char *text) { CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text)); }

/* Reads until as many bytes as `text` has have come, and compares. */
static inline void expect(int fd, const char *text)
{
    char buffer[512];
    size_t size = strlen(text), at = 0;
    while (at < size) {
        ssize_t got = read(fd, buffer + at, size - at);
        CHECK(got > 0);
        at += (size_t)got;
    }
    if (memcmp(buffer, text, size))
        dprintf(2, "expected '%s', got '%.*s'\n", text, (int)size, buffer);
    CHECK(!memcmp(buffer, text, size));
}

static inline short ready(int fd)
{
    struct pollfd entry = {fd, POLLIN | POLLOUT | POLLPRI, 0};
    CHECK(poll(&entry, 1, 0) >= 0);
    return entry.revents;
}

/* Runs a test in a process that leads no session, so that no terminal becomes its controlling one. */
static inline void in_child(void (*test)(void))
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        test();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline int queued(int fd)
{
    int count = -1;
    CHECK(ioctl(fd, FIONREAD, &count) == 0);
    return count;
}

#endif
