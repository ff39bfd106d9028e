/*
 * Signals between the host and the guest.
 *
 * The forwarded ones are blocked in every thread of the server and read from a signalfd in the event loop. What reads
 * it runs in no thread's context, so it only queues work; the work, on a kernel thread, passes them on. Who asks twice
 * for the end gets it, whatever the program makes of the first time.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include "body/linux/host.h"
#include "body/linux/stdio.h"
#include "kernel/async.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP};

static void (*deliver)(int signal);
static bool terminal;
static bool asked_to_end[2]; /* SIGTERM and SIGINT were passed on once; the work's own */
static struct async_work forward_work;
static struct host_watch watch = {.fd = -1};

static void forwarded_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0]; i++)
        sigaddset(set, forwarded[i]);
}

int run_signals_block(void)
{
    sigset_t set;
    forwarded_set(&set);
    return sigprocmask(SIG_BLOCK, &set, NULL) ? -errno : 0;
}

/* The same request to end once more. Under a terminal SIGINT is what its key makes, and no such request. */
static bool insists(int signal)
{
    bool *asked = &asked_to_end[signal == SIGINT];
    if (signal != SIGTERM && (signal != SIGINT || terminal))
        return false;
    bool again = *asked;
    *asked = true;
    return again;
}

static void forward(struct async_work *work)
{
    struct signalfd_siginfo info;
    (void)work;
    while (read(watch.fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (stdio_console_signal((int)info.ssi_signo))
            continue;
        if (insists((int)info.ssi_signo))
            host_stop((int)info.ssi_signo);
        else
            deliver((int)info.ssi_signo);
    }
}

static void on_ready(struct host_watch *ready, uint32_t events)
{
    (void)ready;
    (void)events;
    kernel_async(&forward_work);
}

int run_signals_forward(void (*to)(int signal), bool on_terminal)
{
    sigset_t set;
    forwarded_set(&set);
    deliver = to;
    terminal = on_terminal;
    async_work_init(&forward_work, forward);
    watch.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (watch.fd < 0)
        return -errno;
    watch.ready = on_ready;
    int error = host_watch_add(&watch, EPOLLIN);
    if (!error)
        kernel_async(&forward_work); /* what came before */
    return error;
}
