/* How thread groups end: exit_group and exec against threads in every state, orphans, subreapers, death signals. */
#include "process_check.h"
#include <linux/futex.h>

static char *self_name;
static int pipe_ends[2];

static void *spins(void *argument)
{
    (void)argument;
    for (volatile unsigned long i = 0;; i++)
        ;
    return NULL;
}

static void *reads(void *argument)
{
    char byte;

    (void)argument;
    for (;;) {
        if (read(pipe_ends[0], &byte, 1) < 0 && errno != EINTR)
            return NULL;
    }
}

static void *calls(void *argument)
{
    (void)argument;
    for (;;)
        syscall(SYS_getppid);
    return NULL;
}

static void *exits_group(void *argument)
{
    syscall(SYS_exit_group, (int)(intptr_t)argument);
    return NULL;
}

static void *executes(void *argument)
{
    char *arguments[] = {self_name, argument, NULL};

    execv(self_name, arguments);
    _exit(99);
}

static void start(void *(*function)(void *), void *argument)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, function, argument) == 0);
}

static void start_some_of_each(void)
{
    CHECK(pipe(pipe_ends) == 0);
    for (int i = 0; i < 3; i++) {
        start(spins, NULL);
        start(reads, NULL);
        start(calls, NULL);
    }
}

static void all_threads_die(void)
{
    start_some_of_each();
    exit(0);
}

static void the_last_thread_ends_the_process(void)
{
    start(exits_group, (void *)7);
    pthread_exit(NULL);
}

/* Ends after the leader, whose end clears the word. */
static void *exits_alone(void *argument)
{
    _Atomic int *word = argument;

    while (*word)
        syscall(SYS_futex, word, FUTEX_WAIT, 1, NULL, NULL, 0);
    syscall(SYS_exit, 5);
    return argument;
}

/* The leader has gone before: its status is forgotten. */
static void the_last_thread_gives_the_status(void)
{
    static _Atomic int leader_lives = 1;

    syscall(SYS_set_tid_address, &leader_lives);
    start(exits_alone, (void *)&leader_lives);
    syscall(SYS_exit, 3);
}

static void a_signal_kills_all(void)
{
    start_some_of_each();
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void many_exit_at_once(void)
{
    for (int i = 0; i < 8; i++)
        start(exits_group, (void *)(intptr_t)40);
    syscall(SYS_exit_group, 40);
}

static void exec_from_a_thread(void)
{
    start_some_of_each();
    char *argument = NULL;
    CHECK(asprintf(&argument, "pid=%d", getpid()) > 0);
    start(executes, argument);
    for (;;)
        pause();
}

static pthread_barrier_t all_are_there;

static void *executes_with_others(void *argument)
{
    pthread_barrier_wait(&all_are_there);
    return executes(argument);
}

/* All threads are made before: while one execs, clone may refuse with EAGAIN. */
static void execs_at_once(void)
{
    char *argument = NULL;

    CHECK(asprintf(&argument, "pid=%d", getpid()) > 0);
    CHECK(pthread_barrier_init(&all_are_there, NULL, 5) == 0);
    for (int i = 0; i < 4; i++)
        start(executes_with_others, argument);
    executes_with_others(argument);
}

static void exec_against_exit(void)
{
    char *argument = NULL;

    CHECK(asprintf(&argument, "pid=%d", getpid()) > 0);
    start(executes, argument);
    syscall(SYS_exit_group, 0);
}

static int run(void (*function)(void))
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        function();
        _exit(98);
    }
    return wait_status(pid);
}

/* --- orphans ----------------------------------------------------------------------------------------- */

static void orphans_go_to_the_subreaper(void)
{
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    int on = 0, ends[2];
    CHECK(prctl(PR_GET_CHILD_SUBREAPER, &on) == 0 && on == 1);
    CHECK(pipe(ends) == 0);
    pid_t self = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        pid_t grandchild = fork();
        CHECK(grandchild >= 0);
        if (grandchild == 0) {
            close(ends[1]);
            char byte;
            CHECK(read(ends[0], &byte, 1) == 0);
            _exit(getppid() == self ? 11 : 12);
        }
        _exit(0);
    }
    wait_exit(pid, 0);
    close(ends[1]);
    int status;
    CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 11);
}

static void the_parents_death_is_told(void)
{
    int ends[2];

    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        pid_t grandchild = fork();
        CHECK(grandchild >= 0);
        if (grandchild == 0) {
            CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
            CHECK(write(ends[1], "x", 1) == 1);
            for (;;)
                pause();
        }
        read_byte(ends[0]);
        _exit(0);
    }
    wait_exit(pid, 0);
    int status;
    CHECK(wait(&status) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* SIGHUP and SIGCONT reach a stopped group whose last tie was the parent that dies. */
static void a_dying_leader_frees_its_jobs(void)
{
    int ends[2];
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(setsid() > 0);
        pid_t job = fork();
        CHECK(job >= 0);
        if (job == 0) {
            CHECK(setpgid(0, 0) == 0);
            raise(SIGSTOP);
            for (;;)
                pause();
        }
        int status;
        CHECK(waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status));
        _exit(0);
    }
    wait_exit(pid, 0);
    int status;
    CHECK(wait(&status) > 0);
    if (!(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP))
        dprintf(2, "status %#x\n", status);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

int main(int argc, char **argv)
{
    char expected[32];

    self_name = argv[0];
    if (argc > 1) {
        snprintf(expected, sizeof expected, "pid=%d", getpid());
        return strcmp(argv[1], expected) || syscall(SYS_gettid) != getpid() ? 97 : 21;
    }
    for (int i = 0; i < 5; i++) {
        CHECK(run(all_threads_die) == 0);
        CHECK(run(the_last_thread_ends_the_process) == 7 << 8);
        CHECK(run(the_last_thread_gives_the_status) == 5 << 8);
        CHECK(run(a_signal_kills_all) == SIGKILL);
        CHECK(run(many_exit_at_once) == 40 << 8);
        CHECK(run(exec_from_a_thread) == 21 << 8);
        CHECK(run(execs_at_once) == 21 << 8);
        int status = run(exec_against_exit);
        CHECK(status == 0 || status == 21 << 8);
    }
    in_child(orphans_go_to_the_subreaper);
    in_child(the_parents_death_is_told);
    in_child(a_dying_leader_frees_its_jobs);
    puts("death ok");
}
