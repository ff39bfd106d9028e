/*
 * The guardian: what stands behind the sandbox where the host gives no pid namespace.
 *
 * With a pid namespace the zygote is its init, and the host itself kills the rest when it goes. Without, a small
 * process between the server and the zygote does it: it is the subreaper of everything below, holds one end of a
 * socket pair whose other end only the server has, and when that ends, or the zygote does, kills the zygote's process
 * group. No stub can leave that group, since the filter allows neither setpgid nor setsid. The zygote dies with the guardian
 * (parent-death signal). What is not covered: somebody kills the server and the guardian in the same instant.
 */
#include "body/linux/guardian.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void kill_all(pid_t zygote)
{
    kill(-zygote, SIGKILL);
    kill(zygote, SIGKILL);
    while (wait(NULL) > 0 || errno == EINTR)
        ;
}

static _Noreturn void watch(int life, pid_t zygote)
{
    struct pollfd ends[2] = {{.fd = life, .events = POLLIN}, {.fd = (int)syscall(SYS_pidfd_open, zygote, 0), .events = POLLIN}};
    while (poll(ends, 2, -1) <= 0)
        ;
    kill_all(zygote);
    _exit(0);
}

/* Keeps only what the watch needs: a descriptor of the server's held here would hide the server's end from others. */
static void close_all_but(int keep)
{
    for (int fd = 3; fd < 1024; fd++)
        if (fd != keep)
            close(fd);
}

pid_t guardian_start(void (*become_zygote)(void *argument), void *argument, int *life)
{
    int ends[2];
    pid_t zygote = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    pid_t guardian = fork();
    if (guardian == 0) {
        close(ends[0]);
        setsid();
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        pid_t self = getpid();
        zygote = fork();
        if (zygote == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
            if (getppid() != self)
                _exit(1);
            setpgid(0, 0);
            become_zygote(argument);
            _exit(99);
        }
        if (zygote < 0 || write(ends[1], &zygote, sizeof zygote) != sizeof zygote)
            _exit(1);
        close_all_but(ends[1]);
        watch(ends[1], zygote);
    }
    close(ends[1]);
    if (guardian < 0 || read(ends[0], &zygote, sizeof zygote) != sizeof zygote) {
        close(ends[0]);
        return -1;
    }
    *life = ends[0];
    return zygote;
}
