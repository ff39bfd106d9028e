/* Handlers: EINTR and SA_RESTART, nesting, masks while a handler runs, SA_RESETHAND, SA_NODEFER, siginfo of kill and sigqueue. */
#include "signal_check.h"

#include <poll.h>
#include <sched.h>

static volatile sig_atomic_t count, depth, deepest, order[8], orders;
static volatile siginfo_t last;

static void note(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    memcpy((void *)&last, info, sizeof last);
    count++;
}

static int go_fd = -1;
static void note_and_go(int signal, siginfo_t *info, void *context)
{
    note(signal, info, context);
    CHECK(write(go_fd, "g", 1) == 1);
}

static char state_of(pid_t pid)
{
    char path[64], line[512] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    CHECK(file && fgets(line, sizeof line, file));
    fclose(file);
    return strrchr(line, ')')[2];
}

/* Once the parent sleeps in its read: a signal, and when its handler has run, a byte. */
static void disturb(pid_t parent, int go, int out)
{
    char byte;
    while (state_of(parent) != 'S')
        sched_yield();
    CHECK(kill(parent, SIGUSR1) == 0);
    CHECK(read(go, &byte, 1) == 1);
    CHECK(write(out, "x", 1) == 1);
}

static void read_under_signal(int flags, ssize_t expected)
{
    int fds[2], go[2];
    char byte = 0;
    CHECK(pipe(fds) == 0 && pipe(go) == 0);
    count = 0;
    go_fd = go[1];
    handle(SIGUSR1, note_and_go, flags);
    pid_t parent = getpid(), pid = xfork();
    if (pid == 0) {
        disturb(parent, go[0], fds[1]);
        _exit(0);
    }
    close(fds[1]), close(go[0]);
    errno = 0;
    CHECK(read(fds[0], &byte, 1) == expected && count == 1);
    CHECK(expected == 1 ? byte == 'x' : errno == EINTR);
    CHECK(wait_for(pid) == 0);
    close(fds[0]), close(go[1]);
}

static void nest(int signal, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    order[orders++] = signal;
    if (++depth > deepest)
        deepest = depth;
    if (signal == SIGUSR1) {
        raise(SIGUSR1); /* masked until this returns */
        raise(SIGUSR2); /* runs at once */
        order[orders++] = -signal;
    }
    if (count++ > 2)
        handle(SIGUSR1, note, 0);
    depth--;
}

static void nested_handlers(void)
{
    count = depth = deepest = orders = 0;
    handle(SIGUSR1, nest, 0);
    handle(SIGUSR2, nest, 0);
    raise(SIGUSR1);
    CHECK(deepest == 2);
    CHECK(order[0] == SIGUSR1 && order[1] == SIGUSR2 && order[2] == -SIGUSR1 && order[3] == SIGUSR1);
}

static void again(int signal, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    if (++depth > deepest)
        deepest = depth;
    if (depth < 3)
        raise(signal);
    depth--;
}

static void no_defer(void)
{
    depth = deepest = 0;
    handle(SIGUSR1, again, SA_NODEFER);
    raise(SIGUSR1);
    CHECK(deepest == 3);
}

static void reset_hand(void)
{
    struct sigaction action;
    count = 0;
    handle(SIGUSR1, note, SA_RESETHAND);
    raise(SIGUSR1);
    CHECK(count == 1);
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
}

static sigset_t mask_in_handler;
static void read_mask(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    sigprocmask(SIG_BLOCK, NULL, &mask_in_handler);
}

static void mask_while_handling(void)
{
    struct sigaction action = {.sa_sigaction = read_mask, .sa_flags = SA_SIGINFO};
    sigset_t after;
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaddset(&action.sa_mask, SIGKILL);
    block(SIGHUP);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    raise(SIGUSR1);
    CHECK(sigismember(&mask_in_handler, SIGUSR1) && sigismember(&mask_in_handler, SIGUSR2));
    CHECK(sigismember(&mask_in_handler, SIGHUP) && !sigismember(&mask_in_handler, SIGKILL));
    CHECK(sigprocmask(SIG_BLOCK, NULL, &after) == 0);
    CHECK(!sigismember(&after, SIGUSR1) && !sigismember(&after, SIGUSR2) && sigismember(&after, SIGHUP));
    unblock(SIGHUP);
}

/* What the handler writes into the saved mask holds afterwards. */
static void close_hup(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGHUP);
}

static void mask_from_frame(void)
{
    sigset_t after;
    handle(SIGUSR1, close_hup, 0);
    raise(SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &after) == 0 && sigismember(&after, SIGHUP));
    unblock(SIGHUP);
}

static void info_of_senders(void)
{
    union sigval value = {.sival_ptr = (void *)0x123456789abcdef0};
    handle(SIGUSR1, note, 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(last.si_signo == SIGUSR1 && last.si_code == SI_USER && last.si_pid == getpid() && last.si_uid == getuid());
    CHECK(sigqueue(getpid(), SIGUSR1, value) == 0);
    CHECK(last.si_code == SI_QUEUE && last.si_pid == getpid() && last.si_value.sival_ptr == value.sival_ptr);
    CHECK(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1) == 0);
    CHECK(last.si_code == SI_TKILL && last.si_pid == getpid());
}

static void never_restarted(void)
{
    struct pollfd none;
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec soon = {.it_value.tv_nsec = 5000000};
    handle(SIGUSR1, note, SA_RESTART);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    count = 0;
    CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
    CHECK_ERROR(poll(&none, 0, -1), EINTR);
    CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
    CHECK_ERROR(pause(), EINTR);
    CHECK(count == 2);
    CHECK(timer_delete(timer) == 0);
}

static void bad_arguments(void)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    CHECK_ERROR(sigaction(SIGKILL, &action, NULL), EINVAL);
    CHECK_ERROR(sigaction(SIGSTOP, &action, NULL), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, 0, &action, NULL, 8), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, 65, &action, NULL, 8), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 16), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigaction, SIGUSR1, 8, NULL, 8), EFAULT);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, 3, &action, NULL, 8), EINVAL);
    CHECK_ERROR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8, NULL, 8), EFAULT);
    CHECK_ERROR(kill(getpid(), 65), EINVAL);
    CHECK_ERROR(kill(0x3ffffff, 0), ESRCH);
    CHECK_ERROR(syscall(SYS_tgkill, getpid() + 1, gettid(), 0), ESRCH);
    CHECK_ERROR(syscall(SYS_tgkill, 0, gettid(), 0), EINVAL);
    CHECK(kill(getpid(), 0) == 0);
}

int main(void)
{
    read_under_signal(0, -1);
    read_under_signal(SA_RESTART, 1);
    nested_handlers();
    no_defer();
    reset_hand();
    mask_while_handling();
    mask_from_frame();
    info_of_senders();
    never_restarted();
    bad_arguments();
    return 0;
}
