/* wait4 and waitid: statuses, options, who is waited for, stops and continuations, children nobody waits for. */
#include "process_check.h"

static pid_t child_exits(int code)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0)
        _exit(code);
    return pid;
}

static pid_t child_pauses(void)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static void statuses(void)
{
    wait_exit(child_exits(0), 0);
    wait_exit(child_exits(255), 255);
    wait_exit(child_exits(256 + 3), 3);
    pid_t pid = child_pauses();
    CHECK(kill(pid, SIGTERM) == 0);
    int status = wait_status(pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void nobody_to_wait_for(void)
{
    int status;

    CHECK_ERROR(wait(&status), ECHILD);
    CHECK_ERROR(waitpid(getpid(), &status, 0), ECHILD);
    CHECK_ERROR(waitpid(-getpid() - 100000, &status, WNOHANG), ECHILD);
    CHECK_ERROR(waitpid(INT_MIN, &status, 0), ESRCH);
    CHECK_ERROR(waitpid(-1, &status, 0x100), EINVAL);
    CHECK_ERROR(waitid(P_ALL, 0, NULL, 0), EINVAL);
    CHECK_ERROR(waitid(P_PID, 0, NULL, WEXITED), EINVAL);
    CHECK_ERROR(waitid(7, 0, NULL, WEXITED), EINVAL);
}

static void not_yet(void)
{
    pid_t pid = child_pauses();
    siginfo_t info;

    CHECK(waitpid(pid, NULL, WNOHANG) == 0);
    memset(&info, 0x55, sizeof info);
    CHECK(waitid(P_PID, pid, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0 && info.si_signo == 0);
    CHECK(kill(pid, SIGKILL) == 0);
    wait_status(pid);
}

static void left_waitable(void)
{
    pid_t pid = child_exits(9);
    siginfo_t info;

    for (int i = 0; i < 2; i++) {
        CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0);
        CHECK(info.si_pid == pid && info.si_signo == SIGCHLD && info.si_code == CLD_EXITED && info.si_status == 9);
        CHECK(info.si_uid == getuid());
    }
    wait_exit(pid, 9);
    CHECK_ERROR(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), ECHILD);
}

static void stops_and_continues(void)
{
    pid_t pid = child_pauses();
    siginfo_t info;
    int status;

    /* In a group of its own, which the parent ties to the session: else stop signals of terminals do nothing. */
    CHECK(setpgid(pid, pid) == 0);

    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    CHECK(waitpid(pid, &status, WUNTRACED | WNOHANG) == 0);
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    CHECK(kill(pid, SIGTSTP) == 0);
    CHECK(waitid(P_PID, pid, &info, WSTOPPED) == 0 && info.si_code == CLD_STOPPED && info.si_status == SIGTSTP);
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK(waitid(P_PID, pid, &info, WCONTINUED) == 0 && info.si_code == CLD_CONTINUED && info.si_status == SIGCONT);
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid);
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitid(P_PID, pid, &info, WEXITED) == 0 && info.si_code == CLD_KILLED && info.si_status == SIGKILL);
}

static void by_group(void)
{
    pid_t other = child_exits(1), pid = fork();
    int status;

    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(setpgid(0, 0) == 0);
        _exit(2);
    }
    setpgid(pid, pid);
    CHECK(waitpid(-pid, &status, 0) == pid && WEXITSTATUS(status) == 2);
    CHECK_ERROR(waitpid(-pid, &status, 0), ECHILD);
    CHECK(waitpid(0, &status, 0) == other);
}

static void clone_children(void)
{
    signal(SIGUSR1, SIG_IGN);
    long pid = syscall(SYS_clone, SIGUSR1, NULL, NULL, NULL, 0);
    int status;

    CHECK(pid >= 0);
    if (pid == 0)
        _exit(3);
    CHECK_ERROR(waitpid((pid_t)pid, &status, 0), ECHILD);
    CHECK(waitpid((pid_t)pid, &status, __WCLONE) == pid && WEXITSTATUS(status) == 3);
    pid = syscall(SYS_clone, 0, NULL, NULL, NULL, 0);
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(3);
    CHECK(waitpid(-1, &status, __WALL) == pid);
}

static volatile sig_atomic_t signals_seen;
static void count_signal(int signal) { signals_seen += signal == SIGCHLD; }

static void the_signal_comes_first(void)
{
    sigset_t set, pending;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    signal(SIGCHLD, count_signal);
    for (int i = 0; i < 20; i++) {
        wait_exit(child_exits(0), 0);
        CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGCHLD) == 1);
        siginfo_t info;
        CHECK(sigwaitinfo(&set, &info) == SIGCHLD && info.si_code == CLD_EXITED);
    }
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
    signal(SIGCHLD, SIG_DFL);
}

static void ignored_children_vanish(void)
{
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = child_exits(0);
    int status;
    CHECK_ERROR(waitpid(pid, &status, 0), ECHILD);
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    pid = child_exits(0);
    CHECK_ERROR(waitpid(pid, &status, 0), ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static void *waits_for(void *argument)
{
    wait_exit((pid_t)(intptr_t)argument, 6);
    return NULL;
}

static void other_threads_may_wait(void)
{
    pthread_t thread;
    pid_t pid = child_exits(6);

    CHECK(pthread_create(&thread, NULL, waits_for, (void *)(intptr_t)pid) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void times_are_added(void)
{
    struct rusage usage, before;
    int status;

    CHECK(getrusage(RUSAGE_CHILDREN, &before) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct timespec start, now;
        clock_gettime(CLOCK_MONOTONIC, &start);
        do
            clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec < 200000000);
        _exit(0);
    }
    CHECK(wait4(pid, &status, 0, &usage) == pid);
    long spent = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    CHECK(spent >= 20000);
    CHECK(getrusage(RUSAGE_CHILDREN, &usage) == 0);
    CHECK(usage.ru_utime.tv_usec + usage.ru_utime.tv_sec * 1000000L + usage.ru_stime.tv_usec + usage.ru_stime.tv_sec * 1000000L >=
          before.ru_utime.tv_usec + before.ru_utime.tv_sec * 1000000L + 20000);
}

int main(void)
{
    statuses();
    nobody_to_wait_for();
    not_yet();
    left_waitable();
    stops_and_continues();
    by_group();
    clone_children();
    the_signal_comes_first();
    ignored_children_vanish();
    other_threads_may_wait();
    times_are_added();
    puts("wait ok");
}
