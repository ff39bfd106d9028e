/* Users of a FUSE server that is silent, is killed in every state, or is cut off; signals to users; the device by itself. */
#include "fuse_check.h"

static pid_t user_start(void (*use)(void))
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        use();
        _exit(0);
    }
    return pid;
}

/* 0, or why not. */
static int user_end(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void use_stat(void)
{
    struct stat stat_;
    if (fuse_fd >= 0)
        close(fuse_fd);
    _exit(stat("m/file", &stat_) ? errno : 0);
}

static void silent_about(uint32_t operation)
{
    shared->held = 0;
    shared->lie_about = operation;
    shared->lie = LIE_SILENT;
}

static void killed_with_a_request(void)
{
    fuse_start();
    silent_about(FUSE_LOOKUP);
    pid_t user = user_start(use_stat);
    AWAIT(shared->held);
    server_kill();
    CHECK(user_end(user) == ECONNABORTED);
    CHECK(user_end(user_start(use_stat)) == ENOTCONN);
    CHECK(umount("m") == 0);
}

static void killed_before_init(void)
{
    fuse_start();
    server_kill();
    CHECK(user_end(user_start(use_stat)) == ENOTCONN && umount("m") == 0);
    mount_only();
    pid_t user = user_start(use_stat);
    close(fuse_fd); /* nobody has read anything */
    int result = user_end(user);
    CHECK((result == 0 || result == ENOTCONN || result == ECONNABORTED) && umount("m") == 0);
}

static void killed_with_open_files(void)
{
    char buffer[8];
    fuse_start();
    int fd = open("m/file", O_RDWR), dir = open("m/dir", O_RDONLY);
    CHECK(fd >= 0 && dir >= 0);
    server_kill();
    CHECK_ERROR(pread(fd, buffer, 5, 0), ENOTCONN);
    CHECK_ERROR(pwrite(fd, buffer, 5, 0), ENOTCONN);
    CHECK_ERROR(umount("m"), EBUSY);
    close(fd);
    CHECK(close(dir) == 0 && umount("m") == 0);
}

static void answered_by_dying(void)
{
    fuse_start();
    CHECK(user_end(user_start(use_stat)) == 0);
    shared->lie = LIE_DIE;
    int result = user_end(user_start(use_stat));
    CHECK(result == ECONNABORTED || result == ENOTCONN);
    server_wait();
    CHECK(umount("m") == 0);
}

/* A killed user never waits for a server that does not answer. (On Linux it does, once the server has read the request.) */
static void user_killed(void)
{
    struct stat stat_;
    fuse_start();
    CHECK(stat("m/dir", &stat_) == 0);
    silent_about(FUSE_LOOKUP);
    pid_t user = user_start(use_stat), second = user_start(use_stat);
    AWAIT(shared->held);
    if (under_hyla()) {
        CHECK(kill(user, SIGKILL) == 0 && kill(second, SIGKILL) == 0);
        CHECK(user_end(user) == 1000 + SIGKILL && user_end(second) == 1000 + SIGKILL);
        shared->lie = LIE_NONE;
        CHECK(user_end(user_start(use_stat)) == 0);
        fuse_stop();
        return;
    }
    server_kill();
    int one = user_end(user), two = user_end(second);
    CHECK((one == ECONNABORTED || one == ENOTCONN) && (two == ECONNABORTED || two == ENOTCONN) && umount("m") == 0);
}

static void on_signal(int signal) { (void)signal; }

static void use_read_interrupted(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    char buffer[8];
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    int fd = open("m/file", O_RDONLY);
    CHECK(fd >= 0);
    _exit(read(fd, buffer, 5) < 0 ? errno : 0);
}

static void interrupted(void)
{
    fuse_start();
    shared->answer_interrupts = true;
    shared->open_flags = FOPEN_DIRECT_IO; /* who waits for a cached page waits for it whatever signals come */
    silent_about(FUSE_READ);
    pid_t user = user_start(use_read_interrupted);
    AWAIT(shared->held);
    CHECK(kill(user, SIGUSR1) == 0);
    CHECK(user_end(user) == EINTR);
    CHECK(shared->interrupted == shared->held);
    shared->lie = LIE_NONE;
    CHECK(user_end(user_start(use_read_interrupted)) == 0);
    fuse_stop();
}

static void cut_off(void)
{
    fuse_start();
    silent_about(FUSE_LOOKUP);
    pid_t user = user_start(use_stat);
    AWAIT(shared->held);
    if (umount2("m", MNT_FORCE) < 0)
        CHECK(errno == EBUSY);
    CHECK(user_end(user) == ECONNABORTED);
    umount("m");
    server_wait();
    CHECK_ERROR(umount("m"), EINVAL);
}

static void detached(void)
{
    char buffer[8];
    fuse_start();
    int fd = open("m/file", O_RDONLY);
    CHECK(fd >= 0);
    CHECK_ERROR(umount("m"), EBUSY);
    CHECK(umount2("m", MNT_DETACH) == 0 && access("m/file", F_OK) == -1);
    CHECK(read(fd, buffer, 8) == 5 && close(fd) == 0);
    server_wait();
}

static void device_alone(void)
{
    static char buffer[1 << 20];
    int fd = open("/dev/fuse", O_RDWR);
    struct pollfd poll_ = {.fd = fd, .events = POLLIN | POLLOUT};
    CHECK(fd >= 0);
    CHECK_ERROR(read(fd, buffer, sizeof(buffer)), EPERM);
    CHECK_ERROR(write(fd, buffer, 16), EPERM);
    CHECK(poll(&poll_, 1, 0) == 1 && poll_.revents == POLLERR);
    CHECK(close(fd) == 0);
    mount_only();
    poll_.fd = fuse_fd;
    CHECK(poll(&poll_, 1, 0) == 1 && poll_.revents == (POLLIN | POLLOUT));
    CHECK_ERROR(read(fuse_fd, buffer, 100), EINVAL);
    CHECK(fcntl(fuse_fd, F_SETFL, O_RDWR | O_NONBLOCK) == 0 && read(fuse_fd, buffer, sizeof(buffer)) > 0);
    CHECK_ERROR(read(fuse_fd, buffer, sizeof(buffer)), EAGAIN);
    CHECK(poll(&poll_, 1, 0) == 1 && poll_.revents == POLLOUT);
    CHECK_ERROR(write(fuse_fd, buffer, 3), EINVAL);
    CHECK(mount_device("m") == -1); /* it has one */
    int clone = open("/dev/fuse", O_RDWR);
    uint32_t original = (uint32_t)fuse_fd;
    CHECK(ioctl(clone, FUSE_DEV_IOC_CLONE, &original) == 0);
    CHECK_ERROR(ioctl(clone, FUSE_DEV_IOC_CLONE, &original), EINVAL);
    CHECK(umount("m") == 0);
    CHECK_ERROR(read(fuse_fd, buffer, sizeof(buffer)), ENODEV);
    CHECK_ERROR(read(clone, buffer, sizeof(buffer)), ENODEV);
    CHECK(close(clone) == 0 && close(fuse_fd) == 0);
}

static void options(void)
{
    static const char *const wrong[] = {"", "fd=0,rootmode=40000,user_id=0,group_id=0", "rootmode=40000,user_id=0,group_id=0",
                                        "fd=999,rootmode=40000,user_id=0,group_id=0", "fd=x,rootmode=40000,user_id=0,group_id=0"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        CHECK_ERROR(mount("test", "m", "fuse", 0, wrong[i]), EINVAL);
    CHECK_ERROR(mount("test", "m", "no such type", 0, NULL), ENODEV);
    CHECK_ERROR(mount("test", "missing", "fuse", 0, NULL), ENOENT);
}

int main(void)
{
    scratch_enter();
    fuse_start();
    fuse_stop();
    device_alone();
    options();
    killed_with_a_request();
    killed_before_init();
    killed_with_open_files();
    answered_by_dying();
    user_killed();
    interrupted();
    cut_off();
    detached();
    scratch_leave();
    return 0;
}
