/*
 * Micro-benchmarks of system calls. The same static program runs natively and under Hyla.
 *
 *     micro NAME [SECONDS]     prints nanoseconds per operation: the best of several rounds
 *     micro list
 *
 * Each benchmark is a function that does `count` operations; the number is raised until a round is long enough to
 * measure. Helpers (an echoing process, a partner thread) start before the measurement and end after it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 5
#define BUSY_THREADS 8

extern char **environ;

static const char *self;
static char path[] = "/tmp/hyla-bench-XXXXXX";
static int file_fd = -1;
static int there[2], back[2];
static _Atomic uint32_t turn;
static pthread_t partner;

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void check(int bad, const char *what)
{
    if (bad) {
        fprintf(stderr, "micro: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static long futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    return syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

/* --- calls that need nobody, and calls of the kernel -------------------------------------------------- */

static void getpid_many(uint64_t count)
{
    while (count--)
        getpid();
}

static void clock_many(uint64_t count)
{
    struct timespec time;
    while (count--)
        clock_gettime(CLOCK_MONOTONIC, &time);
}

/* Neither form that Hyla rewrites: the number is loaded early, and what follows is no comparison. */
static void trapping_many(uint64_t count, long number, long fd)
{
    while (count--) {
        long result = number;
        register long whence __asm__("rdx") = SEEK_CUR;
        __asm__ volatile("nop\n\tsyscall\n\tnop" : "+a"(result) : "D"(fd), "S"(0), "r"(whence) : "rcx", "r11", "memory");
    }
}

static void getpid_trapping(uint64_t count) { trapping_many(count, SYS_getpid, 0); }
static void lseek_trapping(uint64_t count) { trapping_many(count, SYS_lseek, file_fd); }

static void lseek_many(uint64_t count)
{
    while (count--)
        lseek(file_fd, 0, SEEK_CUR);
}

static void open_many(uint64_t count)
{
    while (count--) {
        int fd = open(path, O_RDONLY);
        check(fd < 0, path);
        close(fd);
    }
}

static void stat_many(uint64_t count)
{
    struct stat info;
    while (count--)
        check(stat(path, &info), path);
}

static void pread_many(uint64_t count)
{
    static char page[4096];
    while (count--)
        check(pread(file_fd, page, sizeof page, 0) != (ssize_t)sizeof page, "pread");
}

static void futex_wake_none(uint64_t count)
{
    while (count--)
        futex(&turn, FUTEX_WAKE_PRIVATE, 1);
}

static void futex_wait_other(uint64_t count)
{
    while (count--)
        futex(&turn, FUTEX_WAIT_PRIVATE, 12345);
}

/* --- two parties ----------------------------------------------------------------------------------------- */

static void pipe_start(void)
{
    check(pipe(there) || pipe(back), "pipe");
    if (fork())
        return;
    char byte;
    close(there[1]);
    close(back[0]);
    while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
        ;
    _exit(0);
}

static void pipe_many(uint64_t count)
{
    char byte = 0;
    while (count--)
        check(write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1, "pipe");
}

static void pipe_end(void)
{
    close(there[1]);
    wait(NULL);
}

static void *futex_partner(void *unused)
{
    for (;;) {
        uint32_t value;
        while ((value = atomic_load(&turn)) != 1) {
            if (value == 2)
                return unused;
            futex(&turn, FUTEX_WAIT_PRIVATE, value);
        }
        atomic_store(&turn, 0);
        futex(&turn, FUTEX_WAKE_PRIVATE, 1);
    }
}

static void futex_start(void) { check(pthread_create(&partner, NULL, futex_partner, NULL), "thread"); }

static void futex_many(uint64_t count)
{
    while (count--) {
        atomic_store(&turn, 1);
        futex(&turn, FUTEX_WAKE_PRIVATE, 1);
        while (atomic_load(&turn) == 1)
            futex(&turn, FUTEX_WAIT_PRIVATE, 1);
    }
}

static void futex_end(void)
{
    atomic_store(&turn, 2);
    futex(&turn, FUTEX_WAKE_PRIVATE, 1);
    pthread_join(partner, NULL);
}

/* --- processes and threads -------------------------------------------------------------------------------- */

static void fork_many(uint64_t count)
{
    while (count--) {
        pid_t child = fork();
        if (!child)
            _exit(0);
        check(child < 0 || waitpid(child, NULL, 0) != child, "fork");
    }
}

static void vfork_many(uint64_t count)
{
    char *arguments[] = {(char *)self, "nothing", NULL};
    while (count--) {
        pid_t child;
        check(posix_spawn(&child, self, NULL, NULL, arguments, environ), "spawn");
        check(waitpid(child, NULL, 0) != child, "wait");
    }
}

static void *nothing(void *argument) { return argument; }

static void thread_many(uint64_t count)
{
    while (count--) {
        pthread_t thread;
        check(pthread_create(&thread, NULL, nothing, NULL), "thread");
        pthread_join(thread, NULL);
    }
}

static void *spin(void *count)
{
    for (volatile uint64_t i = 0; i < *(uint64_t *)count; i++)
        ;
    return NULL;
}

/* Pure computing on more threads than CPUs. */
static void busy_many(uint64_t count)
{
    pthread_t threads[BUSY_THREADS];
    for (int i = 0; i < BUSY_THREADS; i++)
        check(pthread_create(&threads[i], NULL, spin, &count), "thread");
    for (int i = 0; i < BUSY_THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* --- the table --------------------------------------------------------------------------------------------- */

static const struct benchmark {
    const char *name;
    void (*run)(uint64_t count);
    void (*start)(void);
    void (*end)(void);
} benchmarks[] = {
    {"getpid", getpid_many, NULL, NULL},
    {"clock_gettime", clock_many, NULL, NULL},
    {"getpid_trapping", getpid_trapping, NULL, NULL},
    {"lseek_trapping", lseek_trapping, NULL, NULL},
    {"lseek", lseek_many, NULL, NULL},
    {"open_close", open_many, NULL, NULL},
    {"stat", stat_many, NULL, NULL},
    {"pread_4k", pread_many, NULL, NULL},
    {"futex_wake_none", futex_wake_none, NULL, NULL},
    {"futex_wait_other", futex_wait_other, NULL, NULL},
    {"pipe_ping_pong", pipe_many, pipe_start, pipe_end},
    {"futex_ping_pong", futex_many, futex_start, futex_end},
    {"fork_exit_wait", fork_many, NULL, NULL},
    {"vfork_exec_wait", vfork_many, NULL, NULL},
    {"thread_create_join", thread_many, NULL, NULL},
    {"busy_threads", busy_many, NULL, NULL},
};
#define BENCHMARK_COUNT (sizeof benchmarks / sizeof benchmarks[0])

static double measure(const struct benchmark *benchmark, double seconds)
{
    double round = seconds * 1e9 / ROUNDS, best = 1e18;
    uint64_t count = 1;
    for (;;) {
        double start = now_ns();
        benchmark->run(count);
        double spent = now_ns() - start;
        if (spent > round / 2)
            break;
        count = spent < round / 100 ? count * 10 : (uint64_t)((double)count * round / spent) + 1;
    }
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_ns();
        benchmark->run(count);
        double each = (now_ns() - start) / (double)count;
        best = each < best ? each : best;
    }
    return best;
}

static void make_file(void)
{
    static char page[4096];
    file_fd = mkstemp(path);
    check(file_fd < 0 || write(file_fd, page, sizeof page) != (ssize_t)sizeof page, path);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1 && !strcmp(argv[1], "nothing"))
        return 0;
    for (size_t i = 0; i < BENCHMARK_COUNT && argc > 1; i++) {
        const struct benchmark *benchmark = &benchmarks[i];
        if (!strcmp(argv[1], "list"))
            puts(benchmark->name);
        if (strcmp(argv[1], benchmark->name))
            continue;
        make_file();
        if (benchmark->start)
            benchmark->start();
        printf("%.2f\n", measure(benchmark, argc > 2 ? atof(argv[2]) : 0.5));
        if (benchmark->end)
            benchmark->end();
        unlink(path);
        return 0;
    }
    return argc > 1 && !strcmp(argv[1], "list") ? 0 : 2;
}
