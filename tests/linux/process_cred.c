/* Credentials: user and group ids, capabilities, no_new_privs, limits and scheduling parameters. As root, and not. */
#include "process_check.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>

static int capabilities(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

    return (int)syscall(SYS_capget, &header, data);
}

static void ids_of_root(void)
{
    struct __user_cap_data_struct data[2];
    uid_t r, e, s;

    CHECK(setresuid(1000, 2000, 0) == 0);
    CHECK(getresuid(&r, &e, &s) == 0 && r == 1000 && e == 2000 && s == 0);
    CHECK(capabilities(data) == 0 && data[0].effective == 0 && data[0].permitted != 0);
    CHECK(setfsuid(-1) == 2000);
    CHECK(seteuid(0) == 0);
    CHECK(capabilities(data) == 0 && data[0].effective != 0);
    CHECK(setuid(1000) == 0);
    CHECK(getresuid(&r, &e, &s) == 0 && r == 1000 && e == 1000 && s == 1000);
    CHECK(capabilities(data) == 0 && data[0].effective == 0 && data[0].permitted == 0);
    CHECK_ERROR(setuid(0), EPERM);
}

static void groups_of_root(void)
{
    gid_t groups[4] = {5, 6, 7, 8};

    CHECK(setgroups(3, groups) == 0 && getgroups(0, NULL) == 3);
    memset(groups, 0, sizeof groups);
    CHECK(getgroups(4, groups) == 3 && groups[0] == 5 && groups[2] == 7);
    CHECK_ERROR(getgroups(2, groups), EINVAL);
    CHECK_ERROR(setgroups(70000, groups), EINVAL);
    CHECK(setresgid(100, 200, 300) == 0 && getgid() == 100 && getegid() == 200);
    CHECK(setgroups(0, NULL) == 0 && getgroups(0, NULL) == 0);
}

static void capabilities_stay_with_keepcaps(void)
{
    struct __user_cap_data_struct data[2];

    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && prctl(PR_GET_KEEPCAPS) == 1);
    CHECK(setuid(1000) == 0);
    CHECK(capabilities(data) == 0 && data[0].effective == 0 && data[0].permitted != 0);
    data[0].effective = 1 << CAP_KILL;
    data[0].permitted = 1 << CAP_KILL;
    data[1] = (struct __user_cap_data_struct){0};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    CHECK(syscall(SYS_capset, &header, data) == 0);
    data[0].permitted |= 1 << CAP_CHOWN;
    CHECK_ERROR(syscall(SYS_capset, &header, data), EPERM);
    header.version = 1;
    CHECK_ERROR(syscall(SYS_capget, &header, data), EINVAL);
    CHECK(header.version == _LINUX_CAPABILITY_VERSION_3);
}

static void ids_of_a_user(void)
{
    uid_t self = getuid();

    CHECK_ERROR(setuid(self + 1), EPERM);
    CHECK_ERROR(setresuid(-1, self + 1, -1), EPERM);
    CHECK_ERROR(setreuid(self + 1, -1), EPERM);
    CHECK(setuid(self) == 0 && setresuid(self, self, self) == 0 && setreuid(-1, self) == 0);
    CHECK_ERROR(setgid(getgid() + 1), EPERM);
    CHECK_ERROR(setgroups(0, NULL), EPERM);
    CHECK_ERROR(syscall(SYS_setuid, -1), EINVAL);
    CHECK((uid_t)setfsuid(self + 1) == self && (uid_t)setfsuid(-1) == self);
    CHECK_ERROR(prctl(PR_CAPBSET_DROP, CAP_KILL), EPERM);
    CHECK_ERROR(prctl(PR_SET_SECUREBITS, 1), EPERM);
    CHECK_ERROR(sethostname("x", 1), EPERM);
}

static void as_a_user(void)
{
    CHECK(setgroups(0, NULL) == 0 && setgid(1000) == 0 && setuid(1000) == 0);
    ids_of_a_user();
}

static void limits(void)
{
    struct rlimit limit, old;

    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    limit = (struct rlimit){64, old.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_ERROR(dup2(0, 64), EBADF);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 64);
    limit.rlim_cur = limit.rlim_max + 1;
    CHECK_ERROR(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
    CHECK_ERROR(getrlimit(99, &limit), EINVAL);
    CHECK_ERROR(prlimit(1 << 21, RLIMIT_CORE, NULL, &limit), ESRCH);
    limit = (struct rlimit){10, 20};
    CHECK(prlimit(getpid(), RLIMIT_MSGQUEUE, &limit, &old) == 0);
    CHECK(prlimit(0, RLIMIT_MSGQUEUE, NULL, &old) == 0 && old.rlim_cur == 10 && old.rlim_max == 20);
    CHECK(fork() == 0 ? (getrlimit(RLIMIT_MSGQUEUE, &old), _exit(old.rlim_cur != 10), 0) : 1);
    int status;
    CHECK(wait(&status) > 0 && status == 0);
}

static void limits_of_a_user(void)
{
    struct rlimit limit = {10, 20};

    CHECK(setgid(1000) == 0 && setuid(1000) == 0);
    CHECK(setrlimit(RLIMIT_MSGQUEUE, &limit) == 0);
    limit.rlim_max = 30;
    CHECK_ERROR(setrlimit(RLIMIT_MSGQUEUE, &limit), EPERM);
    CHECK_ERROR(nice(-5), EPERM);
    CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0 && getpriority(PRIO_PROCESS, 0) == 5);
    CHECK_ERROR(setpriority(PRIO_PROCESS, 0, 4), EACCES);
    struct sched_param param = {.sched_priority = 1};
    CHECK_ERROR(sched_setscheduler(0, SCHED_FIFO, &param), EPERM);
    limit = (struct rlimit){0, 0};
    CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
    CHECK_ERROR(fork(), EAGAIN);
}

static void switches(void)
{
    char name[16];
    int value;

    CHECK(prctl(PR_SET_NAME, "a name that is too long") == 0);
    CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "a name that is "));
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
    CHECK_ERROR(prctl(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0), EINVAL);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0 && prctl(PR_GET_PDEATHSIG, &value) == 0 && value == SIGUSR1);
    CHECK_ERROR(prctl(PR_SET_PDEATHSIG, 65), EINVAL);
    CHECK(prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0);
    CHECK(prctl(PR_SET_TIMERSLACK, 1234) == 0 && prctl(PR_GET_TIMERSLACK) == 1234);
    CHECK_ERROR(prctl(12345, 0, 0, 0, 0), EINVAL);
    CHECK(prctl(PR_CAPBSET_READ, CAP_KILL) >= 0);
    CHECK_ERROR(prctl(PR_CAPBSET_READ, 64), EINVAL);
}

static void scheduling(void)
{
    cpu_set_t set, other;
    struct sched_param param = {.sched_priority = 0};

    CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) >= 1);
    CHECK_ERROR(sched_getaffinity(0, 0, &set), EINVAL);
    CHECK_ERROR(sched_getaffinity(1 << 21, sizeof set, &set), ESRCH);
    CPU_ZERO(&other);
    CHECK_ERROR(sched_setaffinity(0, sizeof other, &other), EINVAL);
    CPU_SET(0, &other);
    CHECK(sched_setaffinity(0, sizeof other, &other) == 0 && sched_getaffinity(0, sizeof set, &set) == 0);
    CHECK(CPU_EQUAL(&set, &other));
    CHECK(sched_getscheduler(0) == SCHED_OTHER && sched_getparam(0, &param) == 0 && param.sched_priority == 0);
    CHECK(sched_setscheduler(0, SCHED_BATCH, &param) == 0 && sched_getscheduler(0) == SCHED_BATCH);
    param.sched_priority = 1;
    CHECK_ERROR(sched_setscheduler(0, SCHED_OTHER, &param), EINVAL);
    CHECK_ERROR(sched_setscheduler(0, 77, &param), EINVAL);
    CHECK_ERROR(sched_getscheduler(-1), EINVAL);
    CHECK(sched_get_priority_max(SCHED_RR) == 99 && sched_get_priority_min(SCHED_FIFO) == 1);
    CHECK_ERROR(sched_get_priority_max(77), EINVAL);
    CHECK(sched_yield() == 0 && sched_getcpu() >= 0);
    CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0 && getpriority(PRIO_PROCESS, 0) == 7);
    CHECK_ERROR(setpriority(9, 0, 0), EINVAL);
    CHECK_ERROR(setpriority(PRIO_PROCESS, 1 << 21, 0), ESRCH);
    errno = 0;
    CHECK(getpriority(PRIO_PGRP, 0) <= 7 && errno == 0);
}

int main(void)
{
    if (getuid() == 0) {
        in_child(ids_of_root);
        in_child(groups_of_root);
        in_child(capabilities_stay_with_keepcaps);
        in_child(as_a_user);
        in_child(limits_of_a_user);
    } else {
        in_child(ids_of_a_user);
    }
    in_child(limits);
    in_child(switches);
    in_child(scheduling);
    puts("cred ok");
}
