/* poll, ppoll, select, pselect6: readiness, timeouts, masks, restarts, bad arguments. */
#include "event_check.h"

static int fds[2];

static void readiness(void)
{
    struct pollfd list[4] = {{fds[0], POLLIN, 0}, {fds[1], POLLOUT, 0}, {-5, POLLIN, 9}, {999, POLLIN, 0}};
    CHECK(poll(list, 4, 1000) == 2);
    CHECK(list[0].revents == 0 && list[1].revents == POLLOUT && list[2].revents == 0 && list[3].revents == POLLNVAL);
    CHECK(write(fds[1], "x", 1) == 1 && poll(list, 1, -1) == 1 && list[0].revents == POLLIN);
    list[0].events = POLLIN | POLLRDNORM | POLLPRI;
    CHECK(poll(list, 1, -1) == 1 && list[0].revents == (POLLIN | POLLRDNORM));
    list[0].events = 0;
    CHECK(poll(list, 1, 0) == 0);
    CHECK(poll(NULL, 0, 0) == 0);
#ifdef SYS_poll
    CHECK_ERROR(syscall(SYS_poll, (void *)8, 1, 0), EFAULT);
    CHECK_ERROR(syscall(SYS_poll, list, 0x7fffffff, 0), EINVAL);
#endif
    int file = open("/dev/null", O_RDWR);
    CHECK(poll_one(file, POLLIN | POLLOUT) == (POLLIN | POLLOUT));
    close(file);
    char byte;
    CHECK(read(fds[0], &byte, 1) == 1);
}

static void timeouts(void)
{
    struct timespec wait = {0, 20 * 1000 * 1000};
    struct timeval left = {0, 20 * 1000};
    fd_set set;
    double start = now();
    CHECK(poll_one(fds[0], POLLIN) == 0);
    struct pollfd one = {fds[0], POLLIN, 0};
    CHECK(poll(&one, 1, 20) == 0 && now() - start >= 0.02);
    CHECK(syscall(SYS_ppoll, &one, 1, &wait, NULL, 8) == 0 && wait.tv_sec == 0 && wait.tv_nsec == 0);
    wait = (struct timespec){100, 0};
    CHECK(write(fds[1], "x", 1) == 1);
    CHECK(syscall(SYS_ppoll, &one, 1, &wait, NULL, 8) == 1 && wait.tv_sec == 99 && wait.tv_nsec > 0);
    wait.tv_nsec = 1000000000;
    CHECK_ERROR(syscall(SYS_ppoll, &one, 1, &wait, NULL, 8), EINVAL);
    wait = (struct timespec){-1, 0};
    CHECK_ERROR(syscall(SYS_ppoll, &one, 1, &wait, NULL, 8), EINVAL);
    FD_ZERO(&set);
    FD_SET(fds[0], &set);
    CHECK(select(fds[0] + 1, &set, NULL, NULL, &left) == 1 && FD_ISSET(fds[0], &set));
    char byte;
    CHECK(read(fds[0], &byte, 1) == 1);
    left = (struct timeval){0, 20 * 1000};
    CHECK(select(fds[0] + 1, &set, NULL, NULL, &left) == 0 && !FD_ISSET(fds[0], &set) && left.tv_sec == 0 && left.tv_usec == 0);
}

static void selecting(void)
{
    fd_set in, out, except;
    struct timeval zero = {0, 0};
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&except);
    FD_SET(fds[0], &in);
    FD_SET(fds[1], &out);
    FD_SET(fds[0], &except);
    CHECK(select(fds[1] + 1, &in, &out, &except, NULL) == 1);
    CHECK(!FD_ISSET(fds[0], &in) && FD_ISSET(fds[1], &out) && !FD_ISSET(fds[0], &except));
    CHECK(write(fds[1], "x", 1) == 1);
    FD_SET(fds[0], &in);
    CHECK(select(fds[1] + 1, &in, &out, NULL, &zero) == 2);
    CHECK(select(fds[0], &in, NULL, NULL, &zero) == 0); /* beyond the limit: not looked at */
    FD_ZERO(&in);
    FD_SET(fds[1] + 1, &in);
    CHECK_ERROR(select(fds[1] + 2, &in, NULL, NULL, &zero), EBADF);
    CHECK_ERROR(select(-1, NULL, NULL, NULL, &zero), EINVAL);
    zero.tv_usec = -1;
    CHECK_ERROR(select(0, NULL, NULL, NULL, &zero), EINVAL);
    int far = fcntl(fds[0], F_DUPFD, 700);
    CHECK(far >= 700);
    FD_ZERO(&in);
    FD_SET(far, &in);
    CHECK(select(1024, &in, NULL, NULL, NULL) == 1 && FD_ISSET(far, &in));
    close(far);
    char byte;
    CHECK(read(fds[0], &byte, 1) == 1);
}

static void many(void)
{
    struct pollfd list[200];
    for (int i = 0; i < 200; i++)
        list[i] = (struct pollfd){i % 2 ? fds[1] : fds[0], i % 2 ? POLLOUT : POLLIN, 0};
    CHECK(poll(list, 200, 0) == 100);
    for (int i = 0; i < 200; i++)
        list[i].fd = fds[0], list[i].events = POLLIN;
    pid_t child = fork();
    if (!child)
        _exit(write(fds[1], "x", 1) != 1);
    CHECK(poll(list, 200, -1) > 0); /* the write may come in the middle of the look */
    child_done(child);
    CHECK(poll(list, 200, -1) == 200);
    char byte;
    CHECK(read(fds[0], &byte, 1) == 1);
}

static void signals_and_masks(void)
{
    struct pollfd one = {fds[0], POLLIN, 0};
    struct timespec wait = {1000, 0}, zero = {0, 0};
    struct { const void *mask; size_t size; } argument;
    sigset_t alarm, none;
    sigemptyset(&none);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    tick_start(SA_RESTART);
    CHECK_ERROR(poll(&one, 1, -1), EINTR);
    CHECK_ERROR(poll(&one, 1, 100000), EINTR);
    CHECK_ERROR(select(0, NULL, NULL, NULL, NULL), EINTR);
    CHECK_ERROR(syscall(SYS_ppoll, &one, 1, &wait, NULL, 8), EINTR);
    CHECK(wait.tv_sec == 999);
    CHECK(sigprocmask(SIG_BLOCK, &alarm, NULL) == 0);
    int before = ticks;
    CHECK(poll(&one, 1, 5) == 0 && ticks == before);
    CHECK_ERROR(syscall(SYS_ppoll, &one, 1, NULL, &none, 8), EINTR); /* lets it in for the wait */
    CHECK(ticks > before);
    argument.mask = &none, argument.size = 8;
    CHECK_ERROR(syscall(SYS_pselect6, 0, NULL, NULL, NULL, NULL, &argument), EINTR);
    argument.size = 4;
    CHECK_ERROR(syscall(SYS_pselect6, 0, NULL, NULL, NULL, NULL, &argument), EINVAL);
    CHECK_ERROR(syscall(SYS_ppoll, &one, 1, NULL, &none, 4), EINVAL);
    tick_stop();
    /* A signal that is pending ends even a wait of no length; one that is not wanted for long stays blocked. */
    CHECK(raise(SIGALRM) == 0);
    before = ticks;
    CHECK(syscall(SYS_ppoll, &one, 1, &zero, &alarm, 8) == 0 && ticks == before);
    CHECK_ERROR(syscall(SYS_ppoll, &one, 1, &zero, &none, 8), EINTR);
    CHECK(ticks == before + 1);
    CHECK(raise(SIGALRM) == 0 && write(fds[1], "x", 1) == 1);
    CHECK(syscall(SYS_ppoll, &one, 1, &zero, &none, 8) == 1 && ticks == before + 1);
    char byte;
    CHECK(read(fds[0], &byte, 1) == 1);
    CHECK(sigprocmask(SIG_UNBLOCK, &alarm, NULL) == 0 && ticks == before + 2);
}

static void *stopper(void *argument)
{
    pid_t child = *(pid_t *)argument;
    int status;
    for (int i = 0; i < 20; i++) {
        CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        CHECK(kill(child, SIGCONT) == 0);
    }
    CHECK(write(fds[1], "x", 1) == 1);
    return NULL;
}

/* Without a handler a stopped wait goes on: poll with its first deadline, the others with what is left. */
static void stopped(void)
{
    pthread_t thread;
    pid_t child = fork();
    if (!child) {
        struct pollfd one = {fds[0], POLLIN, 0};
        struct timespec wait = {1000, 0};
        CHECK(poll(&one, 1, 1000000) == 1);
        CHECK(syscall(SYS_ppoll, &one, 1, &wait, NULL, 8) == 1);
        _exit(0);
    }
    CHECK(pthread_create(&thread, NULL, stopper, &child) == 0 && pthread_join(thread, NULL) == 0);
    child_done(child);
    char byte;
    CHECK(read(fds[0], &byte, 1) == 1);
}

int main(void)
{
    CHECK(pipe(fds) == 0);
    readiness();
    timeouts();
    selecting();
    many();
    signals_and_masks();
    stopped();
    return 0;
}
