/* Attacks that ordinary system calls make: wild arguments, floods, the old ways in, processes without end. */
#include "hostile.h"

/* --- calls: every number, any arguments -------------------------------------------------------------- */

#define CALL_LIMIT 470

/* Signals to others would hit the companion, by right; ends would only end the attack early. */
static bool is_skipped(long number)
{
    static const long skipped[] = {SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_send_signal,
                                   SYS_exit, SYS_exit_group, SYS_vfork};
    for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++)
        if (skipped[i] == number)
            return true;
    return false;
}

static void call_wildly(uint64_t seed)
{
    pid_t self = getpid();
    for (unsigned i = 0; i < 400; i++) {
        uint64_t a[6];
        long number = (long)(random_next(&seed) % CALL_LIMIT);
        for (int j = 0; j < 6; j++)
            a[j] = random_argument(&seed);
        if (is_skipped(number))
            continue;
        struct itimerval limit = {.it_value.tv_usec = 20000};
        setitimer(ITIMER_REAL, &limit, NULL); /* a call that waits is interrupted, or the process dies of it */
        syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        if (syscall(SYS_getpid) != self)
            _exit(0);
    }
}

static void nothing(int number) { (void)number; }

int attack_calls(const struct attack *attack)
{
    uint64_t seed = attack->seed, until = clock_ms() + attack->seconds * 1000;
    int status;
    while (clock_ms() < until) {
        uint64_t own = random_next(&seed);
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            struct sigaction action = {.sa_handler = nothing};
            sigaction(SIGALRM, &action, NULL);
            setsid();
            for (int fd = 0; fd < 64; fd++) /* the supervisor's ends of its pipes, and its output */
                close(fd);
            call_wildly(own);
            _exit(0);
        }
        end_within(pid, 1000, &status);
    }
    return 0;
}

/* --- flood: more calls than anybody can serve -------------------------------------------------------- */

static uint64_t flood_until;

static void *flood(void *argument)
{
    uint64_t one = 1;
    for (unsigned i = 0; i % 256 || clock_ms() < flood_until; i++) {
        syscall(SYS_getppid);
        if (argument)
            gate_call(SYS_write, STUB_DOORBELL_FD, (long)&one, 8, 0, 0, 0);
        if (i % 16 == 0)
            syscall(SYS_sched_yield);
    }
    return NULL;
}

int attack_flood(const struct attack *attack)
{
    pthread_t threads[16];
    flood_until = clock_ms() + attack->seconds * 1000;
    for (size_t i = 0; i < 16; i++)
        MUST(pthread_create(&threads[i], NULL, flood, i % 2 ? &threads[i] : NULL) == 0);
    for (size_t i = 0; i < 16; i++)
        MUST(pthread_join(threads[i], NULL) == 0);
    return 0;
}

/* --- legacy: the other doors of the processor -------------------------------------------------------- */

static long old_interrupt(long number, long a, long b)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

/* In a child: the page may not be there. */
static void call_old_page(void)
{
    struct timeval now = {0};
    int status;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        int (*gettimeofday_there)(struct timeval *, void *) = (int (*)(struct timeval *, void *))0xffffffffff600000;
        int result = gettimeofday_there(&now, NULL);
        _exit(result == 0 && now.tv_sec > 1000000000 ? 0 : 1);
    }
    MUST(end_within(pid, 2000, &status));
    MUST(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV));
}

int attack_legacy(const struct attack *attack)
{
    (void)attack;
    for (long number = 0; number < 460; number++) {
        if (number == 1 || number == 252)
            continue; /* if they worked, the loop would end here */
        MUST(old_interrupt(number, (long)"/etc/passwd", 0) == -ENOSYS);
        errno = 0;
        MUST(syscall(0x40000000 + number, "/etc/passwd", 0, 0, 0, 0, 0) == -1 && errno == ENOSYS);
    }
    for (long number = 512; number < 548; number++)
        MUST(syscall(0x40000000 + number, 0, 0, 0, 0, 0, 0) == -1 && errno == ENOSYS);
    static const long none[] = {-1, 0x7fffffff, 0x3fffffff, 100000, 500};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        MUST(syscall(none[i], 0, 0, 0, 0, 0, 0) == -1 && errno == ENOSYS);
    call_old_page();
    return 0;
}

/* --- fork: children that have children --------------------------------------------------------------- */

int attack_fork(const struct attack *attack)
{
    uint64_t until = clock_ms() + attack->seconds * 1000;
    while (clock_ms() < until)
        fork();
    return 0;
}
