/*
 * Instruction counts on a machine whose time passes by instructions (QEMU's -icount shift=0: one a nanosecond), so that the time
 * counter, which any program may read on any kernel, counts them. Runs on Hyla and on Linux alike; the native call on Hyla only.
 *
 *     count [NAME…]      a line for each: NAME INSTRUCTIONS
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hyla/hyla.h>

#define TICK_INSTRUCTIONS 100 /* 10 MHz */
#define ROUNDS 5

static uint64_t now(void)
{
    uint64_t ticks;
    __asm__ volatile("rdtime %0" : "=r"(ticks));
    return ticks;
}

static void must(int good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

static void getpid_once(void) { syscall(SYS_getpid); }

static int ends[2];
static void pipe_once(void)
{
    char byte = 0;
    must(write(ends[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1, "pipe");
}

/* Exits without libc's ceremony, which is no kernel's. */
static void fork_once(void)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        syscall(SYS_exit_group, 0);
    must(child > 0 && waitpid(child, &status, 0) == child, "fork");
}

/* Calls as a program of few instructions makes them: the rest is the kernel's. The last word is counted up by the server. */
#define CALL_INSTRUCTIONS 6  /* of call_many's loop */
#define SERVE_INSTRUCTIONS 8 /* of serve_many's */
#define LOST "a1", "a2", "a3", "a4", "a5", "a6", "a7", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "memory"

static uint64_t call_many(hyla_handle_t to, uint64_t calls)
{
    register uint64_t s9 __asm__("s9") = 0;
    register int64_t a0 __asm__("a0");
    __asm__ volatile("1: li a7, 4172; mv a0, %3; ecall; addi %2, %2, -1; bnez %2, 1b" /* li: two */
                     : "=&r"(a0), "+r"(s9), "+r"(calls) : "r"((uint64_t)to) : LOST);
    return a0 == 0 ? s9 : 0;
}

static int64_t serve_many(hyla_handle_t port, uint64_t calls)
{
    register int64_t a0 __asm__("a0") = 0;
    __asm__ volatile("1: addi s9, s9, 1; mv a1, a0; li a7, 4173; mv a0, %2; ecall; addi %1, %1, -1; bgtz %1, 1b"
                     : "+&r"(a0), "+r"(calls) : "r"((uint64_t)port) : "s9", LOST);
    return a0;
}

static void nothing(void) {}

/* The least of a few rounds, per turn: the timer's ticks are in some of them. */
static double count(void (*once)(void), uint64_t turns)
{
    uint64_t best = UINT64_MAX;
    once();
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = now();
        for (uint64_t i = 0; i < turns; i++)
            once();
        uint64_t spent = now() - start;
        if (spent < best)
            best = spent;
    }
    return (double)best * TICK_INSTRUCTIONS / (double)turns;
}

static double count_faults(void)
{
    const size_t pages = 2000, size = pages * 4096;
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(memory != MAP_FAILED, "mmap");
        madvise(memory, size, MADV_NOHUGEPAGE); /* one fault a page, also where there are larger ones */
        uint64_t start = now();
        for (size_t i = 0; i < pages; i++)
            *(volatile char *)(memory + i * 4096) = 1;
        uint64_t spent = now() - start;
        if (spent < best)
            best = spent;
        munmap(memory, size);
    }
    return (double)best * TICK_INSTRUCTIONS / (double)pages;
}

static double count_call(void)
{
    const uint64_t calls = 20000;
    hyla_handle_t port = (hyla_handle_t)hyla_port_create(0), to = (hyla_handle_t)hyla_port_make_send(port, 1, HYLA_RIGHT_COPY);
    pid_t client = fork();
    if (client == 0) {
        must(call_many(to, 100) == 100, "word_call");
        uint64_t start = now();
        must(call_many(to, calls - 101) == calls - 101, "word_call");
        double instructions = (double)(now() - start) * TICK_INSTRUCTIONS / (double)(calls - 101) - CALL_INSTRUCTIONS - SERVE_INSTRUCTIONS;
        must(write(ends[1], &instructions, sizeof instructions) == sizeof instructions, "write");
        call_many(to, 1);
        syscall(SYS_exit_group, 0);
    }
    double instructions;
    int64_t reply = serve_many(port, calls);
    must(reply > 0 && hyla_handle_close((hyla_handle_t)reply) == 0, "word_reply_wait");
    must(read(ends[0], &instructions, sizeof instructions) == sizeof instructions, "the client");
    waitpid(client, NULL, 0);
    return instructions;
}

static int wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], name))
            return 1;
    return argc == 1;
}

int main(int argc, char **argv)
{
    uint64_t start = now();
    if (wanted("start", argc, argv)) /* since the reset */
        printf("start %llu\n", (unsigned long long)start * TICK_INSTRUCTIONS);
    must(pipe(ends) == 0, "pipe");
    double empty = count(nothing, 10000);
    if (wanted("getpid", argc, argv))
        printf("getpid %.0f\n", count(getpid_once, 10000) - empty);
    if (wanted("pipe", argc, argv))
        printf("pipe %.0f\n", count(pipe_once, 2000) - empty);
    if (wanted("fault", argc, argv))
        printf("fault %.0f\n", count_faults() - empty);
    if (wanted("fork", argc, argv))
        printf("fork %.0f\n", count(fork_once, 20));
    if (wanted("call", argc, argv) && hyla_world() == HYLA_WORLD_MANAGED)
        printf("call %.0f\n", count_call());
    return 0;
}
