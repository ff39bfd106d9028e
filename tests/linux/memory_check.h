/*
 * For the memory and futex tests: CHECK prints the failing line and ends the test; in_child runs a function in a child
 * process and fails when it fails.
 */
#ifndef TESTS_LINUX_MEMORY_CHECK_H
#define TESTS_LINUX_MEMORY_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(2, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                              \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)
#define CHECK_ERROR(call, error) CHECK((errno = 0, (long)(call) == -1) && errno == (error))
#define PAGE 4096ul
#define READ_WRITE (PROT_READ | PROT_WRITE)

static inline void in_child(void (*function)(void))
{
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        function();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline char *map_pages(size_t pages, int prot)
{
    char *memory = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

static sigjmp_buf fault_exit;
static volatile int fault_signal, fault_code;
static void *volatile fault_address;

static inline void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    fault_signal = signal;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(fault_exit, 1);
}

/* The signal that the access raises, 0 for none. */
static inline int fault_of(volatile char *address, bool write)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    if (sigsetjmp(fault_exit, 1))
        return fault_signal;
    if (write)
        *address = 1;
    else
        (void)*address;
    return 0;
}

#endif
