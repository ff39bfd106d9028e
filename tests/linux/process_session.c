/* Process groups and sessions: setpgid, setsid and their refusals. */
#include "process_check.h"

static void own_group(void)
{
    CHECK(setpgid(0, 0) == 0 && getpgrp() == getpid());
    CHECK(getpgid(0) == getpid() && getsid(0) == getsid(getpid()));
    CHECK_ERROR(setpgid(0, -1), EINVAL);
    CHECK_ERROR(setpgid(1 << 21, 0), ESRCH);
    CHECK_ERROR(setpgid(getppid(), 0), ESRCH);
    CHECK_ERROR(setpgid(0, 1 << 21), EPERM);
    CHECK_ERROR(getpgid(1 << 21), ESRCH);
    CHECK_ERROR(getsid(1 << 21), ESRCH);
    CHECK_ERROR(setsid(), EPERM);
}

static void own_session(void)
{
    pid_t self = getpid();

    CHECK(setsid() == self && getsid(0) == self && getpgrp() == self);
    CHECK_ERROR(setsid(), EPERM);
    CHECK_ERROR(setpgid(0, 0), EPERM);
}

static void groups_of_children(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t first = fork();
    CHECK(first >= 0);
    if (first == 0) {
        read_byte(ends[0]);
        _exit(0);
    }
    pid_t second = fork();
    CHECK(second >= 0);
    if (second == 0) {
        read_byte(ends[0]);
        _exit(0);
    }
    CHECK(setpgid(first, 0) == 0 && getpgid(first) == first);
    CHECK(setpgid(second, first) == 0 && getpgid(second) == first);
    CHECK(write(ends[1], "xx", 2) == 2);
    wait_exit(second, 0);
    /* The group lives on as long as the zombie, and its number as long as the group. */
    siginfo_t info;
    CHECK(waitid(P_PID, first, &info, WEXITED | WNOWAIT) == 0);
    CHECK(setpgid(first, 0) == 0);
    CHECK(kill(-first, 0) == 0);
    wait_exit(first, 0);
    CHECK_ERROR(kill(-first, 0), ESRCH);
}

static void children_after_exec_and_in_other_sessions(void)
{
    int ends[2];
    char *arguments[] = {"cat", NULL};

    CHECK(pipe(ends) == 0);
    pid_t pid = vfork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(ends[0], 0);
        close(ends[1]);
        execvp("cat", arguments);
        _exit(127);
    }
    CHECK_ERROR(setpgid(pid, 0), EACCES);
    close(ends[1]);
    wait_exit(pid, 0);
    int told[2];
    CHECK(pipe(told) == 0 && pipe(ends) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(setsid() == getpid());
        CHECK(write(told[1], "x", 1) == 1);
        read_byte(ends[0]);
        _exit(0);
    }
    read_byte(told[0]);
    CHECK_ERROR(setpgid(pid, 0), EPERM);
    CHECK(getsid(pid) == pid);
    CHECK(write(ends[1], "x", 1) == 1);
    wait_exit(pid, 0);
}

int main(void)
{
    in_child(own_group);
    in_child(own_session);
    in_child(groups_of_children);
    in_child(children_after_exec_and_in_other_sessions);
    puts("session ok");
}
