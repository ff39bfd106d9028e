/*
 * A program that means harm to the machine's kernel. Each attack is a child; the parent looks how it ended, and whether the kernel still
 * does an honest child's work afterwards. The fuzzer makes random calls of both tables, a bounded number from a seed.
 *
 *     hostile_machine [SEED [CALLS]]
 */
#include <errno.h>
#include <fcntl.h>
#include <hyla/hyla.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #what, strerror(errno)); \
            _exit(1); \
        } \
    } while (0)

static uint64_t state = 1, fuzz_calls = 20000;

static uint64_t draw(uint64_t *at)
{
    *at ^= *at << 13;
    *at ^= *at >> 7;
    return *at ^= *at << 17;
}

/* The kernel's addresses (body/riscv64/layout.h), the border of the program's half, and no addresses at all. */
static const uint64_t forbidden[] = {0xffff800000000000, 0xffff800080200000, 0xffffc00000000000, 0xffffffff80000000, 0xffffffff80010000, 0xfffffffffffff000,
                                     0x800000000000,     0x7ffffffff000,     0x1000000000000000, 0x8000000000000000};
#define FORBIDDEN (sizeof forbidden / sizeof forbidden[0])

/* How the child ended that ran the function; the function's end is exit status 0. */
static int ends(void (*attack)(uint64_t argument), uint64_t argument)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        setpgid(0, 0);
        attack(argument);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static void honest(uint64_t argument)
{
    int both[2];
    char byte = 1;
    char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED && pipe(both) == 0 && write(both[1], &byte, 1) == 1 && read(both[0], &byte, 1) == 1);
    memset(memory, (int)argument, 1 << 20);
    for (size_t i = 0; i < 1 << 20; i += 4096)
        CHECK(memory[i] == (char)argument);
}

static void kernel_lives(const char *after)
{
    int status = ends(honest, 7);
    printf("%s\n", after);
    fflush(stdout);
    CHECK(status == 0);
}

static bool died_of(int status, int signal) { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }

/* --- instructions and addresses ------------------------------------------------------------------------ */

static void jump(uint64_t to) { ((void (*)(void))to)(); }
static void load(uint64_t from) { (void)*(volatile char *)from; }
static void store(uint64_t to) { *(volatile char *)to = 1; }

static void execute(uint64_t instruction)
{
    uint32_t *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    code[0] = (uint32_t)instruction;
    code[1] = 0x00008067; /* ret */
    __builtin___clear_cache((char *)code, (char *)(code + 2));
    ((void (*)(void))(uintptr_t)code)();
}

static void garbage(uint64_t seed)
{
    uint64_t *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    alarm(2); /* it may have made a loop */
    for (size_t i = 0; i < 512; i++)
        code[i] = draw(&seed) & ~0x7f0000007full; /* no ecall: the fuzzer's */
    __builtin___clear_cache((char *)code, (char *)(code + 512));
    ((void (*)(void))(uintptr_t)code)();
}

static void addresses_and_instructions(void)
{
    static const uint32_t privileged[] = {0x10200073 /* sret */, 0x30200073 /* mret */, 0x12000073 /* sfence.vma */, 0x10002573 /* csrr a0, sstatus */,
                                          0x18051073 /* csrw satp, a0 */, 0x14051073 /* csrw sscratch, a0 */, 0x30002573 /* csrr a0, mstatus */, 0};
    for (size_t i = 0; i < FORBIDDEN; i++) {
        CHECK(died_of(ends(jump, forbidden[i]), SIGSEGV));
        CHECK(died_of(ends(load, forbidden[i]), SIGSEGV));
        CHECK(died_of(ends(store, forbidden[i]), SIGSEGV));
    }
    for (size_t i = 0; i < sizeof privileged / sizeof privileged[0]; i++)
        CHECK(died_of(ends(execute, privileged[i]), SIGILL));
    for (int i = 0; i < 64; i++)
        ends(garbage, draw(&state));
    kernel_lives("garbage, kernel addresses, privileged instructions");
}

static void calls_with_kernel_addresses(void)
{
    int both[2];
    CHECK(pipe(both) == 0 && write(both[1], "text", 4) == 4);
    for (size_t i = 0; i < FORBIDDEN; i++) {
        void *bad = (void *)forbidden[i];
        CHECK(write(both[1], bad, 8) == -1 && errno == EFAULT);
        CHECK(read(both[0], bad, 8) == -1 && errno == EFAULT);
        CHECK(open(bad, O_RDONLY) == -1 && errno == EFAULT);
        CHECK(syscall(SYS_clock_gettime, CLOCK_REALTIME, bad) == -1 && errno == EFAULT);
        CHECK(hyla_syscall(HYLA_CALL_MSG, (const uint64_t[6]){forbidden[i]}) == -EFAULT);
        CHECK(mmap(bad, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED || forbidden[i] < 0x800000000000);
    }
    close(both[0]);
    close(both[1]);
    kernel_lives("calls with kernel addresses");
}

/* --- using things up ----------------------------------------------------------------------------------- */

static void use_memory(uint64_t unused)
{
    (void)unused;
    for (;;) {
        char *memory = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            _exit(errno == ENOMEM ? 0 : 1);
        for (size_t i = 0; i < 64 << 20; i += 4096)
            memory[i] = 1;
    }
}

/* A page in each corner of the space: three tables for each. */
static void use_tables(uint64_t unused)
{
    (void)unused;
    for (uint64_t i = 1; i < 40000; i++) {
        char *at = mmap((void *)(i << 30 | (i * 0x9e3779b97f4a7c15ull >> 37 & 0x3ffff000)), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED)
            _exit(errno == ENOMEM ? 0 : 1);
        *at = 1;
    }
}

static void use_handles(uint64_t unused)
{
    (void)unused;
    int64_t result;
    uint64_t count = 0;
    while ((result = hyla_port_create(0)) > 0)
        count++;
    CHECK((result == -EMFILE || result == -ENOMEM) && count > 100);
}

static void use_descriptors(uint64_t unused)
{
    (void)unused;
    while (dup(1) >= 0)
        ;
    CHECK(errno == EMFILE);
}

static void *waits(void *unused)
{
    pause();
    return unused;
}

static void use_threads(uint64_t unused)
{
    (void)unused;
    pthread_attr_t small;
    pthread_t thread;
    CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 16384) == 0);
    for (int i = 0; i < 4000; i++)
        if (pthread_create(&thread, &small, waits, NULL))
            return;
}

static void use_processes(uint64_t unused)
{
    (void)unused;
    for (int i = 0; i < 500; i++) {
        pid_t child = fork();
        if (child < 0)
            break;
        if (child == 0) {
            pause();
            _exit(0);
        }
    }
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    while (wait(NULL) > 0)
        ;
}

static void exhaustion(void)
{
    static const struct {
        void (*attack)(uint64_t);
        const char *name;
    } attacks[] = {{use_tables, "page tables"}, {use_handles, "handles"}, {use_descriptors, "descriptors"}, {use_threads, "threads"},
                   {use_processes, "processes"}, {use_memory, "memory"}};
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
        int status = ends(attacks[i].attack, 0);
        CHECK(status == 0 || died_of(status, SIGKILL));
        kernel_lives(attacks[i].name);
    }
}

/* --- random calls -------------------------------------------------------------------------------------- */

static char scratch[65536];

/* Those that would be somebody else's end, or the fuzzer's own. */
static bool spared(uint64_t number)
{
    static const uint16_t list[] = {SYS_exit, SYS_exit_group, SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_send_signal,
                                    SYS_reboot, SYS_rt_sigreturn, SYS_clone, 435 /* clone3 */, SYS_execve, SYS_execveat, SYS_munmap, SYS_mprotect, SYS_mremap,
                                    SYS_setpgid, SYS_setsid, SYS_prlimit64, SYS_setitimer, SYS_brk, SYS_sync, HYLA_CALL_MEMORY_UNMAP, HYLA_CALL_MEMORY_PROTECT};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (list[i] == number)
            return true;
    return false;
}

static uint64_t value(uint64_t *at)
{
    static const uint64_t liked[] = {0, 1, 2, 3, 4, 8, 16, 64, 4095, 4096, 65536, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, (uint64_t)-100};
    switch (draw(at) % 8) {
    case 0: return draw(at);
    case 1: return forbidden[draw(at) % FORBIDDEN];
    case 2:
    case 3: return (uint64_t)(uintptr_t)scratch + draw(at) % sizeof scratch / 2;
    default: return liked[draw(at) % (sizeof liked / sizeof liked[0])];
    }
}

static void *hammer(void *seed)
{
    uint64_t at = (uint64_t)(uintptr_t)seed;
    for (uint64_t i = 0; i < fuzz_calls; i++) {
        uint64_t number = draw(&at) % 3 ? draw(&at) % 460 : HYLA_CALL_FIRST + draw(&at) % 200;
        uint64_t a[6];
        for (int k = 0; k < 6; k++)
            a[k] = value(&at);
        if (spared(number) || (number == SYS_mmap && a[3] & MAP_FIXED))
            continue;
        *(volatile uint64_t *)(scratch + draw(&at) % (sizeof scratch / 8) * 8) = value(&at);
        syscall((long)number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    return NULL;
}

static void on_alarm(int signal) { (void)signal; }

/* Four threads; whoever waits is interrupted, and the whole of it is ended when it takes too long: nothing is expected of it. */
static void fuzz(uint64_t seed)
{
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval often = {{0, 2000}, {0, 2000}};
    pthread_t threads[4];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (uint64_t i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, hammer, (void *)(uintptr_t)(seed + i + 1)))
            _exit(0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

static void fuzz_for_a_while(uint64_t seed)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        setpgid(0, 0);
        int nowhere = open("/dev/null", O_RDWR);
        for (int i = 0; i < 3; i++)
            dup2(nowhere, i);
        fuzz(seed);
        _exit(0);
    }
    for (int turns = 0; turns < 30; turns++) {
        struct timespec moment = {0, 100000000};
        if (waitpid(child, &status, WNOHANG) == child)
            return;
        nanosleep(&moment, NULL);
    }
    kill(child, SIGKILL);
    CHECK(waitpid(child, &status, 0) == child);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    if (argc > 2)
        fuzz_calls = strtoull(argv[2], NULL, 0);
    addresses_and_instructions();
    calls_with_kernel_addresses();
    for (int i = 0; i < 3; i++) {
        fuzz_for_a_while(draw(&state));
        kernel_lives("random calls");
    }
    exhaustion();
    return 0;
}
