/* Default actions and job control: death by signal, stop and continue as the parent sees them, children reaped unasked. */
#include "signal_check.h"

#include <pthread.h>
#include <sched.h>

static volatile siginfo_t last;
static volatile sig_atomic_t count;

static void note(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    memcpy((void *)&last, info, sizeof last);
    count++;
}

static void pause_forever(void)
{
    for (;;)
        pause();
}

static pid_t start(void (*function)(void))
{
    pid_t pid = xfork();
    if (pid == 0) {
        function();
        _exit(0);
    }
    return pid;
}

static void deaths(void)
{
    static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGKILL, SIGUSR1, SIGSEGV, SIGPIPE, SIGALRM, SIGTERM,
                                 SIGXCPU, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSYS, SIGSTKFLT};
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++) {
        pid_t pid = start(pause_forever);
        CHECK(kill(pid, deadly[i]) == 0);
        int status = wait_for(pid);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == deadly[i]);
    }
}

static void harmless(void)
{
    raise(SIGCHLD);
    raise(SIGURG);
    raise(SIGWINCH);
    raise(SIGCONT);
}

static void killed_while_blocking_all(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    pause_forever();
}

/* The parent hears of stop and continuation, by wait and by SIGCHLD. */
static void stop_and_continue(void)
{
    int status;
    handle(SIGCHLD, note, SA_RESTART);
    pid_t pid = start(pause_forever);
    count = 0;
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    CHECK(count == 1 && last.si_code == CLD_STOPPED && last.si_pid == pid && last.si_status == SIGSTOP);
    CHECK(waitpid(pid, &status, WUNTRACED | WNOHANG) == 0); /* told once */
    CHECK(kill(pid, SIGUSR1) == 0);                         /* waits until it goes on */
    CHECK(waitpid(pid, &status, WNOHANG) == 0);
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    pid = start(pause_forever);
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(kill(pid, SIGKILL) == 0); /* needs no SIGCONT */
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    signal(SIGCHLD, SIG_DFL);
}

static void no_stop_notices(void)
{
    int status;
    handle(SIGCHLD, note, SA_RESTART | SA_NOCLDSTOP);
    count = 0;
    pid_t pid = start(pause_forever);
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(count == 0);
    CHECK(kill(pid, SIGKILL) == 0);
    wait_for(pid);
    CHECK(count == 1 && last.si_code == CLD_KILLED && last.si_status == SIGKILL);
    signal(SIGCHLD, SIG_DFL);
}

static void *spin(void *argument)
{
    volatile int *stop = argument;
    while (!*stop)
        ;
    return NULL;
}

/* All threads of a process stop: one that computes, one that sleeps. */
static void stop_with_threads_body(void)
{
    static volatile int stop;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, spin, (void *)&stop) == 0);
    pause_forever();
}

static void stop_with_threads(void)
{
    int status;
    pid_t pid = start(stop_with_threads_body);
    for (int i = 0; i < 5; i++) {
        CHECK(kill(pid, SIGSTOP) == 0);
        CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
        CHECK(kill(pid, SIGCONT) == 0);
        CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    }
    CHECK(kill(pid, SIGTERM) == 0);
    CHECK(wait_for(pid) == SIGTERM);
}

static void cont_handler_body(void)
{
    count = 0;
    handle(SIGCONT, note, 0);
    raise(SIGSTOP);
    _exit(count == 1 ? 7 : 8);
}

static void continued_with_handler(void)
{
    int status;
    pid_t pid = start(cont_handler_body);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(kill(pid, SIGCONT) == 0);
    status = wait_for(pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* Stop signals from the terminal do nothing to an orphaned group. */
static void orphaned_body(void)
{
    CHECK(setsid() == getpid());
    raise(SIGTSTP);
    raise(SIGTTIN);
    raise(SIGTTOU);
    _exit(5);
}

static void stop_and_cont_cancel(void)
{
    sigset_t pending;
    block(SIGTSTP);
    block(SIGCONT);
    CHECK(kill(getpid(), SIGTSTP) == 0);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGTSTP));
    CHECK(kill(getpid(), SIGCONT) == 0);
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGTSTP) && sigismember(&pending, SIGCONT));
    CHECK(kill(getpid(), SIGTSTP) == 0);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGTSTP) && !sigismember(&pending, SIGCONT));
    CHECK(kill(getpid(), SIGCONT) == 0);
    unblock(SIGTSTP);
    unblock(SIGCONT);
}

static void nothing(void) {}

static void children_reaped_unasked(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    start(nothing);
    CHECK_ERROR(wait(NULL), ECHILD);
    signal(SIGCHLD, SIG_IGN);
    start(nothing);
    CHECK_ERROR(wait(NULL), ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static void group(void)
{
    int status, died = 0;
    pid_t leader = start(pause_forever);
    CHECK(setpgid(leader, leader) == 0);
    pid_t member = start(pause_forever);
    CHECK(setpgid(member, leader) == 0);
    CHECK(kill(-leader, 0) == 0);
    CHECK(kill(-leader, SIGTERM) == 0);
    while (died < 2) {
        CHECK(waitpid(-leader, &status, 0) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
        died++;
    }
    CHECK_ERROR(kill(-leader, 0), ESRCH);
}

/* A zombie can be sent signals until it is waited for. */
static void zombie(void)
{
    siginfo_t info;
    pid_t pid = start(pause_forever);
    CHECK(setpgid(pid, pid) == 0 && kill(pid, SIGKILL) == 0);
    CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0 && info.si_code == CLD_KILLED);
    CHECK(kill(pid, 0) == 0 && kill(pid, SIGTERM) == 0 && kill(-pid, SIGCONT) == 0);
    CHECK(wait_for(pid) == SIGKILL);
    CHECK_ERROR(kill(pid, 0), ESRCH);
}

static void exec_keeps_ignored(char **argv)
{
    pid_t pid = xfork();
    if (pid == 0) {
        signal(SIGUSR1, SIG_IGN);
        handle(SIGUSR2, note, 0);
        block(SIGHUP);
        kill(getpid(), SIGHUP);
        execl(argv[0], argv[0], "after-exec", NULL);
        _exit(9);
    }
    CHECK(wait_for(pid) == 0);
}

static int after_exec(void)
{
    struct sigaction action;
    sigset_t set;
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
    CHECK(sigaction(SIGUSR2, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGHUP));
    CHECK(sigpending(&set) == 0 && sigismember(&set, SIGHUP));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return after_exec();
    deaths();
    CHECK(status_of(harmless) == 0);
    pid_t pid = start(killed_while_blocking_all);
    CHECK(kill(pid, SIGKILL) == 0 && wait_for(pid) == SIGKILL);
    stop_and_continue();
    no_stop_notices();
    stop_with_threads();
    continued_with_handler();
    CHECK(status_of(orphaned_body) == 5 << 8);
    stop_and_cont_cancel();
    children_reaped_unasked();
    group();
    zombie();
    exec_keeps_ignored(argv);
    return 0;
}
