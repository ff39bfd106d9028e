/*
 * The sweep: host processes of the sandbox that nobody answers for.
 *
 * Every process made by an approved clone says hello, and is then known by its pidfd. A hostile program can let another of
 * its threads make the clone that was approved for its stub, so that a process comes to be which never says hello and which
 * the kernel does not count. When a hello is overdue, or cannot come any more, the sweep looks through /proc for processes
 * of the sandbox that are not known and older than a hello may take, and kills them. An honest process that is that slow
 * dies too: its program sees a lost child, as after a kill from outside.
 */
#include "body/linux/client.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OVERDUE_SECONDS 2.0

static struct {
    struct async_work work;
    struct timer timer;
    struct atomic32 asked;
    int32_t zygote;
    bool own_pid_namespace;
} sweep;

static bool read_file(const char *name, char *text, size_t size)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
    return got > 0;
}

/* Process group and age of a process. */
static bool look_at(int32_t pid, int32_t *group, double *age)
{
    char name[32], text[1024], uptime[64];
    unsigned long long start;
    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    if (!read_file(name, text, sizeof text) || !read_file("/proc/uptime", uptime, sizeof uptime))
        return false;
    const char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 1, " %*c %*d %d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", group, &start) != 2)
        return false;
    *age = strtod(uptime, NULL) - (double)start / (double)sysconf(_SC_CLK_TCK);
    return true;
}

static bool same_namespace(int32_t pid)
{
    char name[32], own[64], other[64];
    snprintf(name, sizeof name, "/proc/%d/ns/pid", sweep.zygote);
    ssize_t own_length = readlink(name, own, sizeof own);
    snprintf(name, sizeof name, "/proc/%d/ns/pid", pid);
    ssize_t length = readlink(name, other, sizeof other);
    return length > 0 && length == own_length && memcmp(own, other, (size_t)length) == 0;
}

static void kill_if_unknown(int32_t pid)
{
    int32_t group;
    double age;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* first, so that all that follows is about this very process */
    if (pidfd < 0)
        return;
    bool ours = look_at(pid, &group, &age) && (sweep.own_pid_namespace ? same_namespace(pid) : group == sweep.zygote);
    if (ours && age > OVERDUE_SECONDS && !client_knows(pid))
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    close(pidfd);
}

static int64_t look_through(UNUSED void *argument)
{
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int32_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;
        if (pid > 0 && pid != sweep.zygote)
            kill_if_unknown(pid);
    }
    if (dir)
        closedir(dir);
    return 0;
}

static void sweep_now(UNUSED struct async_work *work)
{
    atomic32_store(&sweep.asked, 0);
    host_call(look_through, NULL);
}

static void sweep_due(UNUSED struct timer *timer) { kernel_async(&sweep.work); }

void sweep_init(int32_t zygote, bool own_pid_namespace)
{
    sweep.zygote = zygote;
    sweep.own_pid_namespace = own_pid_namespace;
    async_work_init(&sweep.work, sweep_now);
    timer_init(&sweep.timer, sweep_due);
}

void sweep_ask(void)
{
    if (!atomic32_swap(&sweep.asked, 1))
        timer_set(&sweep.timer, body_now() + (nanoseconds_t)(OVERDUE_SECONDS * 1.25e9));
}
