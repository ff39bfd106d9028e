/*
 * O_ASYNC: signals when a file becomes ready. Owners (process, thread, group), F_SETSIG with its details, what each kind of file
 * says, the queue that is full, who may be sent one, and what never sends.
 */
#include "event_check.h"

#include <sys/inotify.h>
#include <sys/socket.h>

static sigset_t both;
static siginfo_t info;

/* The next of SIGIO and SIGRTMIN, which are blocked; 0 when none waits and there is nothing to wait for. */
static int taken(void) { return sigwaitinfo(&both, &info); }

static int none_waits(void)
{
    struct timespec zero = {0, 0};
    return sigtimedwait(&both, &info, &zero) == -1 && errno == EAGAIN;
}

static void want(int fd, int signal)
{
    CHECK(fcntl(fd, F_SETOWN, getpid()) == 0 && fcntl(fd, F_SETSIG, signal) == 0);
    CHECK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC) == 0);
}

static void plain(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    CHECK(fcntl(fds[0], F_GETOWN) == 0 && fcntl(fds[0], F_GETSIG) == 0);
    want(fds[0], 0);
    CHECK(fcntl(fds[0], F_GETFL) & O_ASYNC);
    CHECK(write(fds[1], "x", 1) == 1);
    CHECK(taken() == SIGIO && info.si_code == SI_KERNEL);
    CHECK(write(fds[1], "x", 1) == 1 && taken() == SIGIO); /* though it was readable already */
    CHECK(fcntl(fds[0], F_SETFL, 0) == 0);
    CHECK(write(fds[1], "x", 1) == 1 && none_waits());
    int on = 1;
    CHECK(ioctl(fds[0], FIOASYNC, &on) == 0);
    close(fds[1]); /* the end is something to read */
    CHECK(taken() == SIGIO);
    close(fds[0]);
    int event = eventfd(0, 0);
    CHECK_ERROR(ioctl(event, FIOASYNC, &on), ENOTTY);
    close(event);
}

static void with_details(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    want(fds[0], SIGRTMIN);
    CHECK(fcntl(fds[0], F_GETSIG) == SIGRTMIN && fcntl(fds[0], F_GETOWN) == getpid());
    CHECK(write(fds[1], "x", 1) == 1);
    CHECK(taken() == SIGRTMIN && info.si_fd == fds[0] && info.si_code == POLL_IN && info.si_band == (POLLIN | POLLRDNORM));
    int again = dup(fds[0]); /* it is the file that sends, by the number that turned it on */
    close(fds[0]);
    CHECK(write(fds[1], "x", 1) == 1);
    CHECK(taken() == SIGRTMIN && info.si_fd == fds[0]);
    close(again);
    close(fds[1]);
    CHECK(none_waits());
    CHECK(pipe(fds) == 0);
    want(fds[1], SIGRTMIN);
    static char full[65536]; /* some kernels tell the writer of each read, all of the one that makes room */
    CHECK(write(fds[1], full, sizeof full) == sizeof full && read(fds[0], full, sizeof full) == sizeof full);
    CHECK(taken() == SIGRTMIN && info.si_fd == fds[1] && info.si_code == POLL_OUT);
    CHECK((info.si_band & (POLLOUT | POLLWRNORM)) == (POLLOUT | POLLWRNORM));
    close(fds[0]), close(fds[1]);
    while (!none_waits())
        ;
}

static void of_sockets(void)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    want(fds[0], SIGRTMIN);
    CHECK(write(fds[1], "x", 1) == 1);
    do
        CHECK(taken() == SIGRTMIN && info.si_fd == fds[0]);
    while (info.si_code != POLL_IN);
    close(fds[1]);
    do
        CHECK(taken() == SIGRTMIN && info.si_fd == fds[0]);
    while (info.si_code != POLL_HUP && info.si_code != POLL_IN);
    close(fds[0]);
    while (!none_waits())
        ;
}

static void of_watches(void)
{
    int fd = inotify_init1(0);
    char name[] = "/tmp/hyla-async-XXXXXX";
    CHECK(mkdtemp(name) && inotify_add_watch(fd, name, IN_DELETE_SELF) == 1);
    want(fd, SIGRTMIN);
    CHECK(rmdir(name) == 0);
    CHECK(taken() == SIGRTMIN && info.si_fd == fd && info.si_code == POLL_IN);
    close(fd);
    while (!none_waits())
        ;
}

static int thread_pipe[2];
static pid_t thread_id;

static void *take_it(void *unused)
{
    struct f_owner_ex owner = {F_OWNER_TID, syscall(SYS_gettid)}, is;
    thread_id = owner.pid;
    CHECK(fcntl(thread_pipe[0], F_SETOWN_EX, &owner) == 0);
    CHECK(fcntl(thread_pipe[0], F_GETOWN_EX, &is) == 0 && is.type == F_OWNER_TID && is.pid == owner.pid);
    CHECK(fcntl(thread_pipe[0], F_SETFL, O_ASYNC) == 0);
    CHECK(write(thread_pipe[1], "x", 1) == 1);
    CHECK(taken() == SIGIO);
    return unused;
}

static void owners(void)
{
    pthread_t thread;
    int fds[2];
    struct f_owner_ex owner = {F_OWNER_PID, 999999};
    CHECK(pipe(thread_pipe) == 0 && pthread_create(&thread, NULL, take_it, NULL) == 0);
    pthread_join(thread, NULL);
    CHECK(none_waits());
    CHECK(write(thread_pipe[1], "x", 1) == 1 && none_waits()); /* it is gone */
    CHECK_ERROR(fcntl(thread_pipe[0], F_SETOWN_EX, &owner), ESRCH);
    CHECK_ERROR(fcntl(thread_pipe[0], F_SETOWN, 999999), ESRCH);
    owner.type = 77;
    CHECK_ERROR(fcntl(thread_pipe[0], F_SETOWN_EX, &owner), EINVAL);
    CHECK_ERROR(fcntl(thread_pipe[0], F_SETSIG, 65), EINVAL);
    close(thread_pipe[0]), close(thread_pipe[1]);
    /* A group of two: each gets one. */
    CHECK(pipe(fds) == 0);
    pid_t child = fork();
    if (!child) {
        CHECK(taken() == SIGIO);
        _exit(0);
    }
    CHECK(fcntl(fds[0], F_SETOWN, -getpgrp()) == 0 && fcntl(fds[0], F_SETFL, O_ASYNC) == 0);
    owner = (struct f_owner_ex){0, 0};
    CHECK(fcntl(fds[0], F_GETOWN_EX, &owner) == 0 && owner.type == F_OWNER_PGRP && owner.pid == getpgrp());
    CHECK(write(fds[1], "x", 1) == 1 && taken() == SIGIO);
    child_done(child);
    close(fds[0]), close(fds[1]);
}

/* Past the limit of queued signals a plain SIGIO says that some were lost. */
static void queue_full(void)
{
    struct rlimit few = {4, 4};
    int fds[2], queued = 0;
    CHECK(pipe(fds) == 0);
    want(fds[0], SIGRTMIN);
    CHECK(setrlimit(RLIMIT_SIGPENDING, &few) == 0);
    for (int i = 0; i < 20; i++)
        CHECK(write(fds[1], "x", 1) == 1);
    sigset_t io;
    sigemptyset(&io);
    sigaddset(&io, SIGIO);
    CHECK(sigwaitinfo(&io, &info) == SIGIO && info.si_code == SI_KERNEL);
    while (!none_waits())
        queued += info.si_signo == SIGRTMIN;
    CHECK(queued <= 20);
    _exit(0);
}

/* Nobody who could not be sent a signal gets one. */
static void may_not(void)
{
    int fds[2];
    if (geteuid())
        return;
    CHECK(pipe(fds) == 0);
    pid_t child = fork();
    if (!child) {
        CHECK(setresuid(65534, 65534, 65534) == 0);
        want(fds[0], 0);
        CHECK(fcntl(fds[0], F_SETOWN, getppid()) == 0);
        CHECK(write(fds[1], "x", 1) == 1);
        CHECK(fcntl(fds[0], F_SETOWN, getpid()) == 0 && write(fds[1], "x", 1) == 1 && taken() == SIGIO);
        _exit(0);
    }
    child_done(child);
    CHECK(none_waits());
    close(fds[0]), close(fds[1]);
}

/* Readers and writers that are busy already: a pipe that is used without the kernel sends signals as well. */
static void busy(void)
{
    int fds[2], back[2];
    char byte = 1;
    CHECK(pipe(fds) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (!child) {
        close(fds[1]);
        while (read(fds[0], &byte, 1) == 1)
            CHECK(write(back[1], &byte, 1) == 1);
        _exit(0);
    }
    for (int i = 0; i < 300; i++)
        CHECK(write(fds[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1);
    want(back[0], 0);
    for (int i = 0; i < 300; i++) {
        CHECK(write(fds[1], &byte, 1) == 1 && taken() == SIGIO && read(back[0], &byte, 1) == 1);
    }
    close(fds[1]);
    child_done(child);
    while (!none_waits())
        ;
    close(fds[0]), close(back[0]), close(back[1]);
}

int main(void)
{
    sigemptyset(&both);
    sigaddset(&both, SIGIO);
    sigaddset(&both, SIGRTMIN);
    setpgid(0, 0);
    CHECK(sigprocmask(SIG_BLOCK, &both, NULL) == 0);
    plain();
    with_details();
    of_sockets();
    of_watches();
    owners();
    may_not();
    busy();
    pid_t child = fork();
    if (!child)
        queue_full();
    child_done(child);
    return 0;
}
