/* POSIX, OFD and flock locks: who is kept out, what a lock covers, when it ends. */
#include "file_check.h"

static struct flock range(short type, off_t start, off_t length)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

static int set(int fd, int command, short type, off_t start, off_t length)
{
    struct flock lock = range(type, start, length);
    return fcntl(fd, command, &lock);
}

/* What a child sees of the file's locks: the type of the first that is in its way. */
static struct flock seen;
static int seen_fd;

static void look(void)
{
    struct flock lock = seen;
    int fd = open("f", O_RDWR);
    CHECK(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0);
    CHECK(lock.l_type == seen_fd);
    if (lock.l_type != F_UNLCK)
        CHECK(lock.l_pid == getppid());
}

static void child_sees(off_t start, off_t length, short type)
{
    seen = range(F_WRLCK, start, length);
    seen_fd = type;
    in_child(look);
}

static void record_locks(void)
{
    int fd = open("f", O_RDWR);

    CHECK(set(fd, F_SETLK, F_WRLCK, 10, 10) == 0);
    child_sees(0, 10, F_UNLCK);
    child_sees(0, 11, F_WRLCK);
    child_sees(19, 1, F_WRLCK);
    child_sees(20, 0, F_UNLCK);
    CHECK(set(fd, F_SETLK, F_RDLCK, 13, 2) == 0); /* splits */
    child_sees(13, 2, F_RDLCK);
    child_sees(12, 1, F_WRLCK);
    child_sees(15, 1, F_WRLCK);
    CHECK(set(fd, F_SETLK, F_UNLCK, 11, 3) == 0);
    child_sees(11, 3, F_UNLCK);
    child_sees(14, 1, F_RDLCK);
    CHECK(set(fd, F_SETLK, F_WRLCK, 0, 0) == 0); /* swallows the rest */
    child_sees(1000000, 1, F_WRLCK);
    CHECK(set(fd, F_SETLK, F_UNLCK, 100, 0) == 0);
    child_sees(100, 0, F_UNLCK);
    child_sees(99, 1, F_WRLCK);
    struct flock end = {.l_type = F_UNLCK, .l_whence = SEEK_END, .l_start = -5, .l_len = 5};
    CHECK(fcntl(fd, F_SETLK, &end) == 0);
    child_sees(95, 5, F_UNLCK);
    struct flock back = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 95, .l_len = -5};
    CHECK(fcntl(fd, F_SETLK, &back) == 0);
    child_sees(90, 5, F_UNLCK);
    child_sees(89, 1, F_WRLCK);
    CHECK_ERROR(set(fd, F_SETLK, 7, 0, 1), EINVAL);
    CHECK_ERROR(set(fd, F_SETLK, F_WRLCK, -1, 1), EINVAL);
    CHECK_ERROR(fcntl(fd, F_SETLK, (struct flock *)8), EFAULT);
    int reader = open("f", O_RDONLY);
    CHECK_ERROR(set(reader, F_SETLK, F_WRLCK, 0, 1), EBADF);
    CHECK(close(reader) == 0); /* closing any descriptor of the file ends the process's locks on it */
    child_sees(0, 0, F_UNLCK);
    CHECK(close(fd) == 0);
}

static void try_write_lock(void)
{
    int fd = open("f", O_RDWR);
    CHECK_ERROR(set(fd, F_SETLK, F_WRLCK, 0, 1), EAGAIN);
    CHECK_ERROR(set(fd, F_SETLK, F_RDLCK, 0, 1), EAGAIN);
    CHECK_ERROR(set(fd, F_OFD_SETLK, F_WRLCK, 0, 1), EAGAIN);
    CHECK(set(fd, F_SETLK, F_WRLCK, 1, 1) == 0);
}

/* The parent's lock is waited for; the parent gives it up by closing. */
static void waiting(void)
{
    int fd = open("f", O_RDWR), pipes[2], status;
    char byte;

    CHECK(pipe(pipes) == 0 && set(fd, F_SETLK, F_WRLCK, 0, 1) == 0);
    in_child(try_write_lock);
    pid_t child = fork();
    if (child == 0) {
        int mine = open("f", O_RDWR);
        CHECK(write(pipes[1], "r", 1) == 1);
        CHECK(set(mine, F_SETLKW, F_WRLCK, 0, 1) == 0);
        _exit(0);
    }
    CHECK(read(pipes[0], &byte, 1) == 1);
    CHECK(close(fd) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(close(pipes[0]) == 0 && close(pipes[1]) == 0);
}

static void on_alarm(int signal) { (void)signal; }

/* Parent holds 0 and wants 1, the child holds 1 and wants 0: one of them is told. */
static void deadlock(void)
{
    int fd = open("f", O_RDWR), to_child[2], to_parent[2], status;
    char byte;

    CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0 && set(fd, F_SETLK, F_WRLCK, 0, 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(set(fd, F_SETLK, F_WRLCK, 1, 1) == 0 && write(to_parent[1], "l", 1) == 1);
        int result = set(fd, F_SETLKW, F_WRLCK, 0, 1);
        _exit(result == 0 ? 10 : errno == EDEADLK ? 11 : 12);
    }
    CHECK(read(to_parent[0], &byte, 1) == 1);
    int result = set(fd, F_SETLKW, F_WRLCK, 1, 1), error = errno;
    CHECK(set(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK((result == 0 && WEXITSTATUS(status) == 11) || (result == -1 && error == EDEADLK && WEXITSTATUS(status) == 10));
    for (int i = 0; i < 2; i++)
        CHECK(close(to_child[i]) == 0 && close(to_parent[i]) == 0);
    CHECK(close(fd) == 0);
}

static void interrupted(void)
{
    int fd = open("f", O_RDWR);
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval soon = {.it_value = {.tv_usec = 20000}, .it_interval = {.tv_usec = 20000}};

    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &soon, NULL) == 0);
    CHECK_ERROR(set(fd, F_SETLKW, F_WRLCK, 0, 1), EINTR);
    CHECK_ERROR(flock(fd, LOCK_EX), EINTR);
}

static void waits_end_with_signals(void)
{
    int fd = open("f", O_RDWR);

    CHECK(set(fd, F_SETLK, F_WRLCK, 0, 1) == 0 && flock(fd, LOCK_SH) == 0);
    in_child(interrupted);
    CHECK(close(fd) == 0);
}

static void open_file_locks(void)
{
    int a = open("f", O_RDWR), b = open("f", O_RDWR), c = dup(a);
    struct flock lock = range(F_WRLCK, 0, 0);

    CHECK(set(a, F_OFD_SETLK, F_WRLCK, 0, 10) == 0);
    CHECK_ERROR(set(b, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
    CHECK_ERROR(set(b, F_SETLK, F_RDLCK, 5, 1), EAGAIN); /* even the process itself */
    CHECK(set(c, F_OFD_SETLK, F_RDLCK, 5, 1) == 0);
    CHECK(fcntl(b, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_WRLCK && lock.l_pid == -1 && lock.l_start == 0 && lock.l_len == 5);
    lock.l_pid = 1;
    CHECK_ERROR(fcntl(b, F_OFD_SETLK, &lock), EINVAL);
    CHECK(close(a) == 0);
    CHECK_ERROR(set(b, F_OFD_SETLK, F_WRLCK, 0, 10), EAGAIN); /* c still holds the file open */
    CHECK(close(c) == 0);
    CHECK(set(b, F_OFD_SETLK, F_WRLCK, 0, 10) == 0 && close(b) == 0);
}

static void whole_file_locks(void)
{
    int a = open("f", O_RDWR), b = open("f", O_RDONLY), c = dup(a);

    CHECK(flock(a, LOCK_SH) == 0 && flock(b, LOCK_SH | LOCK_NB) == 0);
    CHECK_ERROR(flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK); /* and a's lock is gone now */
    CHECK(flock(b, LOCK_EX | LOCK_NB) == 0);
    CHECK_ERROR(flock(a, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    CHECK(flock(b, LOCK_UN) == 0 && flock(a, LOCK_EX | LOCK_NB) == 0 && flock(c, LOCK_EX | LOCK_NB) == 0);
    CHECK(set(b, F_SETLK, F_RDLCK, 0, 0) == 0); /* the two kinds do not see each other */
    CHECK(close(a) == 0);
    CHECK_ERROR(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    CHECK(close(c) == 0 && flock(b, LOCK_EX | LOCK_NB) == 0);
    CHECK_ERROR(flock(b, 0), EINVAL);
    CHECK_ERROR(flock(999, LOCK_SH), EBADF);
    CHECK(close(b) == 0);
}

int main(void)
{
    char text[101];

    scratch_enter();
    memset(text, 'x', 100);
    text[100] = 0;
    put("f", text);
    record_locks();
    waiting();
    deadlock();
    waits_end_with_signals();
    open_file_locks();
    whole_file_locks();
    scratch_leave();
    return 0;
}
