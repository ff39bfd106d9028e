/* POSIX message queues: names, priorities, limits, waiting and its ends, readiness, being told. */
#include "process_check.h"

#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/time.h>

static char name[64];

static mqd_t make(int flags, long count, long size)
{
    struct mq_attr attr = {.mq_maxmsg = count, .mq_msgsize = size};
    mqd_t queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR | flags, 0600, &attr);

    CHECK(queue != (mqd_t)-1);
    return queue;
}

static void drop(mqd_t queue) { CHECK(mq_close(queue) == 0 && mq_unlink(name) == 0); }

static bool take(mqd_t queue, const char *wanted, unsigned wanted_priority)
{
    char bytes[64];
    unsigned priority = 99;
    ssize_t size = mq_receive(queue, bytes, sizeof bytes, &priority);

    return size == (ssize_t)strlen(wanted) && !memcmp(bytes, wanted, (size_t)size) && priority == wanted_priority;
}

static int put(mqd_t queue, const char *bytes, unsigned priority) { return mq_send(queue, bytes, strlen(bytes), priority); }

static void names_find_queues(void)
{
    struct mq_attr wrong = {.mq_maxmsg = 0, .mq_msgsize = 1};
    mqd_t queue = make(0, 3, 64), other = mq_open(name, O_WRONLY);

    CHECK(other != (mqd_t)-1 && fcntl(other, F_GETFD) == FD_CLOEXEC);
    CHECK_ERROR(mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL), EEXIST);
    CHECK(put(other, "hello", 0) == 0 && take(queue, "hello", 0));
    char bytes[64];
    CHECK_ERROR(mq_receive(other, bytes, sizeof bytes, NULL), EBADF);
    CHECK(mq_close(other) == 0);
    CHECK(mq_unlink(name) == 0);
    CHECK_ERROR(mq_open(name, O_RDWR), ENOENT);
    CHECK_ERROR(mq_unlink(name), ENOENT);
    CHECK(put(queue, "still", 1) == 0 && take(queue, "still", 1) && mq_close(queue) == 0);
    CHECK_ERROR(mq_open(name, O_CREAT | O_RDWR, 0600, &wrong), EINVAL);
    CHECK_ERROR(mq_open("/a/b", O_CREAT | O_RDWR, 0600, NULL), EACCES);
    CHECK_ERROR(mq_send((mqd_t)0, "x", 1, 0), EBADF);
}

static void priorities_order(void)
{
    mqd_t queue = make(O_NONBLOCK, 6, 64);
    char bytes[64];
    struct mq_attr attr;

    CHECK(put(queue, "low", 1) == 0 && put(queue, "high", 32767) == 0 && put(queue, "mid", 5) == 0 && put(queue, "mid2", 5) == 0);
    CHECK(mq_getattr(queue, &attr) == 0 && attr.mq_curmsgs == 4 && attr.mq_maxmsg == 6 && attr.mq_msgsize == 64 && attr.mq_flags == O_NONBLOCK);
    CHECK_ERROR(put(queue, "x", 32768), EINVAL);
    CHECK_ERROR(mq_receive(queue, bytes, 63, NULL), EMSGSIZE);
    CHECK(take(queue, "high", 32767) && take(queue, "mid", 5) && take(queue, "mid2", 5) && take(queue, "low", 1));
    CHECK_ERROR(mq_receive(queue, bytes, sizeof bytes, NULL), EAGAIN);
    CHECK(mq_send(queue, bytes, 0, 0) == 0 && take(queue, "", 0));
    CHECK_ERROR(mq_send(queue, name, 65, 0), EMSGSIZE);
    attr.mq_flags = 0;
    CHECK(mq_setattr(queue, &attr, NULL) == 0 && (fcntl(queue, F_GETFL) & O_NONBLOCK) == 0);
    drop(queue);
}

static void on_signal(int signal) { (void)signal; }

static void waits_end(void)
{
    mqd_t queue = make(0, 1, 64);
    struct timespec past = {1, 0}, wrong = {0, -1};
    char bytes[64];

    CHECK_ERROR(mq_timedreceive(queue, bytes, sizeof bytes, NULL, &past), ETIMEDOUT);
    CHECK_ERROR(mq_timedreceive(queue, bytes, sizeof bytes, NULL, &wrong), EINVAL);
    CHECK(put(queue, "full", 0) == 0);
    CHECK_ERROR(mq_timedsend(queue, "x", 1, 0, &past), ETIMEDOUT);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(put(queue, "second", 0) == 0 && put(queue, "third", 0) == 0);
        _exit(0);
    }
    CHECK(take(queue, "full", 0) && take(queue, "second", 0) && take(queue, "third", 0));
    wait_exit(pid, 0);
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval soon = {.it_value = {0, 20000}, .it_interval = {0, 20000}}, off = {0};
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    CHECK_ERROR(mq_receive(queue, bytes, sizeof bytes, NULL), EINTR);
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    drop(queue);
}

static short ready(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN | POLLOUT};

    CHECK(poll(&entry, 1, 0) >= 0);
    return entry.revents;
}

static void readiness_is_seen(void)
{
    mqd_t queue = make(0, 1, 64);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};

    CHECK(ready(queue) == POLLOUT && epoll_ctl(epoll, EPOLL_CTL_ADD, queue, &event) == 0 && epoll_wait(epoll, &event, 1, 0) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(put(queue, "x", 0));
    CHECK(epoll_wait(epoll, &event, 1, -1) == 1 && ready(queue) == POLLIN);
    wait_exit(pid, 0);
    CHECK(take(queue, "x", 0) && ready(queue) == POLLOUT && close(epoll) == 0);
    drop(queue);
}

static volatile sig_atomic_t told;
static volatile int told_code, told_pid, told_value;

static void on_message(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    told_code = info->si_code;
    told_pid = info->si_pid;
    told_value = info->si_value.sival_int;
    told++;
}

static void the_next_message_is_told(void)
{
    mqd_t queue = make(0, 4, 64);
    struct sigaction action = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 4711};
    char text[128] = "";

    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && mq_notify(queue, &event) == 0);
    CHECK_ERROR(mq_notify(queue, &event), EBUSY);
    CHECK(read(queue, text, sizeof text - 1) == 60 && !strncmp(text, "QSIZE:0          NOTIFY:0     SIGNO:10    NOTIFY_PID:", 53));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(put(queue, "x", 0));
    wait_exit(pid, 0);
    CHECK(told == 1 && told_code == SI_MESGQ && told_pid == pid && told_value == 4711);
    CHECK(mq_notify(queue, &event) == 0 && put(queue, "not empty", 0) == 0 && told == 1);
    CHECK(take(queue, "x", 0) && take(queue, "not empty", 0) && put(queue, "y", 0) == 0 && told == 2);
    CHECK(take(queue, "y", 0) && mq_notify(queue, &event) == 0 && mq_notify(queue, NULL) == 0);
    CHECK(put(queue, "z", 0) == 0 && told == 2);
    event.sigev_notify = 77;
    CHECK_ERROR(mq_notify(queue, &event), EINVAL);
    drop(queue);
}

int main(void)
{
    snprintf(name, sizeof name, "/hyla-test-%d", getpid());
    names_find_queues();
    priorities_order();
    waits_end();
    readiness_is_seen();
    the_next_message_is_told();
    puts("mqueue ok");
}
