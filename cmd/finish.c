/*
 * The end: this process ends as the program did, by the same exit code or the same signal, without a core of its own.
 */
#include "cmd/command.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

int finish_as(int wait_status)
{
    int number = wait_status & 0x7f;
    if (!number)
        return wait_status >> 8 & 0xff;
    struct rlimit no_core = {0, 0};
    sigset_t set;
    setrlimit(RLIMIT_CORE, &no_core);
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), number);
    return 128 + number; /* a signal whose default is harmless here */
}
