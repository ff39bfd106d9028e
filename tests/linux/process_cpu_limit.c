/* RLIMIT_CPU: SIGXCPU at the soft limit, again each second, SIGKILL at the hard one; children have limits of their own. */
#include "process_check.h"

static volatile sig_atomic_t passed;

static void on_passed(int signal)
{
    (void)signal;
    passed++;
}

static void burn(void)
{
    for (volatile unsigned turn = 0;; turn++)
        ;
}

static void limit(rlim_t soft, rlim_t hard)
{
    struct rlimit new = {soft, hard};

    CHECK(setrlimit(RLIMIT_CPU, &new) == 0);
}

static pid_t start(void (*function)(void))
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0)
        function();
    return pid;
}

static void ends_by_default(void)
{
    limit(1, RLIM_INFINITY);
    burn();
}

static void is_told_and_goes_on(void)
{
    struct rlimit now;

    CHECK(signal(SIGXCPU, on_passed) != SIG_ERR);
    limit(1, 2);
    while (!passed)
        ;
    CHECK(getrlimit(RLIMIT_CPU, &now) == 0 && now.rlim_cur == 2 && now.rlim_max == 2);
    burn();
}

/* The parent uses none of it up for the child, and the limit is inherited. */
static void its_child_ends(void)
{
    limit(1, RLIM_INFINITY);
    pid_t pid = start(burn);
    CHECK(WTERMSIG(wait_status(pid)) == SIGXCPU);
    _exit(0);
}

int main(void)
{
    struct rlimit now;

    pid_t first = start(ends_by_default), second = start(is_told_and_goes_on), third = start(its_child_ends);
    int status = wait_status(first);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
    status = wait_status(second);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    wait_exit(third, 0);
    limit(1000, 2000); /* far away: nothing happens */
    CHECK(getrlimit(RLIMIT_CPU, &now) == 0 && now.rlim_cur == 1000);
    puts("cpu limit ok");
}
