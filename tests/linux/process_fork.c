/* fork, vfork, clone and clone3: what the child is, what is shared, which flags are refused. */
#include "process_check.h"

#include <linux/sched.h>

static volatile int shared_word;

static void fork_copies_memory(void)
{
    int *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(page != MAP_FAILED);
    shared_word = 1;
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(getppid() == parent && getpid() != parent && shared_word == 1);
        CHECK(syscall(SYS_gettid) == getpid());
        shared_word = 2;
        *page = 2;
        _exit(0);
    }
    wait_exit(pid, 0);
    CHECK(shared_word == 1 && *page == 2);
    CHECK(munmap(page, 4096) == 0);
}

static void vfork_shares_memory_and_waits(void)
{
    shared_word = 1;
    pid_t pid = vfork();
    CHECK(pid >= 0);
    if (pid == 0) {
        shared_word = 2;
        _exit(5);
    }
    CHECK(shared_word == 2);
    wait_exit(pid, 5);
}

/* The fourth and fifth argument are child_tid and tls, in the machine's order. */
static long clone_raw(unsigned long flags, int *parent_tid, int *child_tid)
{
#ifdef __x86_64__
    return syscall(SYS_clone, flags, NULL, parent_tid, child_tid, 0);
#else
    return syscall(SYS_clone, flags, NULL, parent_tid, 0, child_tid);
#endif
}

static void numbers_are_stored(void)
{
    int *tids = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(tids != MAP_FAILED);
    long pid = clone_raw(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, &tids[0], &tids[1]);
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(tids[1] == syscall(SYS_getpid) ? 0 : 1);
    CHECK(tids[0] == pid);
    wait_exit((pid_t)pid, 0);
    CHECK(tids[1] == pid);
    CHECK(munmap(tids, 4096) == 0);
}

/* The child makes no call at all, and may be hit before it runs. */
static void a_child_that_only_computes_is_killed_at_once(void)
{
    static const int fatal[] = {SIGKILL, SIGTERM, SIGUSR1};

    for (int i = 0; i < 100; i++) {
        long pid = clone_raw(SIGCHLD, NULL, NULL);
        CHECK(pid >= 0);
        if (pid == 0)
            for (;;)
                ;
        for (volatile int delay = 0; delay < i % 10 * 1000; delay++)
            ;
        CHECK(kill((pid_t)pid, fatal[i % 3]) == 0);
        int status = wait_status((pid_t)pid);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == fatal[i % 3]);
    }
}

static int exit_at_once(void *unused)
{
    (void)unused;
    return 0;
}

/* The word is for those who share the memory: alone in it, Linux leaves it. */
static void the_cleared_word_is_for_sharers(void)
{
    int *tids = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(tids != MAP_FAILED);
    tids[0] = 77;
    long pid = clone_raw(CLONE_CHILD_CLEARTID | SIGCHLD, NULL, &tids[0]);
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(0);
    wait_exit((pid_t)pid, 0);
    CHECK(tids[0] == 77);
    static char stack[16384] __attribute__((aligned(16)));
    pid = clone(exit_at_once, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, NULL, &tids[0]);
    CHECK(pid >= 0);
    wait_exit((pid_t)pid, 0);
    CHECK(tids[0] == 0);
    CHECK(munmap(tids, 4096) == 0);
}

static volatile sig_atomic_t signals_seen;

static void on_signal(int signal)
{
    (void)signal;
    signals_seen++;
}

static void signals_leave_the_result_alone(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old;
    CHECK(sigaction(SIGUSR1, &action, &old) == 0);
    pid_t parent = getpid(), sender = fork();
    CHECK(sender >= 0);
    if (sender == 0) {
        while (kill(parent, SIGUSR1) == 0)
            sched_yield();
        _exit(0);
    }
    for (int i = 0; i < 500; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            _exit(7);
        wait_exit(pid, 7);
    }
    CHECK(kill(sender, SIGKILL) == 0);
    CHECK(waitpid(sender, NULL, 0) == sender);
    CHECK(signals_seen > 0);
    CHECK(sigaction(SIGUSR1, &old, NULL) == 0);
}

static void wrong_flags_are_refused(void)
{
    CHECK_ERROR(clone_raw(CLONE_THREAD | SIGCHLD, NULL, NULL), EINVAL);
    CHECK_ERROR(clone_raw(CLONE_SIGHAND | SIGCHLD, NULL, NULL), EINVAL);
    CHECK_ERROR(clone_raw(CLONE_FS | CLONE_NEWNS | SIGCHLD, NULL, NULL), EINVAL);
    CHECK_ERROR(clone_raw(CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, NULL, NULL), EINVAL);
    CHECK_ERROR(clone_raw(CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, NULL), EINVAL);
}

static void clone3_checks_its_structure(void)
{
    struct clone_args args = {.exit_signal = SIGCHLD};
    char big[256] = {0};

    CHECK_ERROR(syscall(SYS_clone3, &args, 63), EINVAL);
    CHECK_ERROR(syscall(SYS_clone3, &args, 5000), E2BIG);
    CHECK_ERROR(syscall(SYS_clone3, NULL, 64), EFAULT);
    memcpy(big, &args, sizeof args);
    big[200] = 1;
    CHECK_ERROR(syscall(SYS_clone3, big, sizeof big), E2BIG);
    args.exit_signal = 65;
    CHECK_ERROR(syscall(SYS_clone3, &args, sizeof args), EINVAL);
    args = (struct clone_args){.exit_signal = SIGCHLD, .stack = 4096};
    CHECK_ERROR(syscall(SYS_clone3, &args, sizeof args), EINVAL);
    args = (struct clone_args){.flags = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, .exit_signal = SIGCHLD};
    CHECK_ERROR(syscall(SYS_clone3, &args, sizeof args), EINVAL);
    args = (struct clone_args){.flags = CLONE_SIGHAND | CLONE_VM | CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
    CHECK_ERROR(syscall(SYS_clone3, &args, sizeof args), EINVAL);
}

static void clone3_gives_a_pidfd(void)
{
    int pidfd = -1;
    struct clone_args args = {.flags = CLONE_PIDFD, .exit_signal = SIGCHLD, .pidfd = (uintptr_t)&pidfd};

    long pid = syscall(SYS_clone3, &args, sizeof args);
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(4);
    struct pollfd poll_it = {.fd = pidfd, .events = POLLIN};
    CHECK(fcntl(pidfd, F_GETFD) == FD_CLOEXEC);
    CHECK(poll(&poll_it, 1, -1) == 1 && poll_it.revents == POLLIN);
    siginfo_t info;
    CHECK(waitid(P_PIDFD, pidfd, &info, WEXITED) == 0 && info.si_pid == pid && info.si_status == 4);
    CHECK_ERROR(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0), ESRCH);
    CHECK(close(pidfd) == 0);
}

static void pidfds_signal_processes(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        for (;;)
            pause();
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    CHECK(pidfd >= 0);
    struct pollfd poll_it = {.fd = pidfd, .events = POLLIN};
    CHECK(poll(&poll_it, 1, 0) == 0);
    CHECK_ERROR(syscall(SYS_pidfd_send_signal, pidfd, 65, NULL, 0), EINVAL);
    CHECK(syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0);
    CHECK(poll(&poll_it, 1, -1) == 1);
    int status = wait_status(pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_ERROR(syscall(SYS_pidfd_open, pid, 0), ESRCH);
    CHECK_ERROR(syscall(SYS_pidfd_open, -1, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_pidfd_send_signal, 0, SIGTERM, NULL, 0), EBADF);
    CHECK(close(pidfd) == 0);
}

static void descriptors_may_be_shared(void)
{
    int fd = open("/dev/null", O_RDONLY);
    CHECK(fd >= 0);
    long pid = clone_raw(CLONE_FILES | SIGCHLD, NULL, NULL);
    CHECK(pid >= 0);
    if (pid == 0)
        syscall(SYS_exit_group, close(fd));
    wait_exit((pid_t)pid, 0);
    CHECK_ERROR(close(fd), EBADF);
}

static void the_working_directory_may_be_shared(void)
{
    char name[64];

    CHECK(chdir("/") == 0);
    long pid = clone_raw(CLONE_FS | SIGCHLD, NULL, NULL);
    CHECK(pid >= 0);
    if (pid == 0)
        syscall(SYS_exit_group, chdir("/tmp"));
    wait_exit((pid_t)pid, 0);
    CHECK(getcwd(name, sizeof name) && !strcmp(name, "/tmp"));
}

int main(void)
{
    fork_copies_memory();
    vfork_shares_memory_and_waits();
    numbers_are_stored();
    a_child_that_only_computes_is_killed_at_once();
    the_cleared_word_is_for_sharers();
    signals_leave_the_result_alone();
    wrong_flags_are_refused();
    clone3_checks_its_structure();
    clone3_gives_a_pidfd();
    pidfds_signal_processes();
    descriptors_may_be_shared();
    the_working_directory_may_be_shared();
    puts("fork ok");
}
