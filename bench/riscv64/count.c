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

static hyla_handle_t to;
static void call_once(void)
{
    struct hyla_words message = {.word = {1, 2, 3, 4, 5, 6, 7, 8}};
    must(hyla_word_call(to, &message) == 0 && message.word[7] == 9, "word_call");
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
    hyla_handle_t port = (hyla_handle_t)hyla_port_create(0);
    to = (hyla_handle_t)hyla_port_make_send(port, 1, HYLA_RIGHT_COPY);
    pid_t client = fork();
    if (client == 0) {
        double instructions = count(call_once, 2000);
        must(write(ends[1], &instructions, sizeof instructions) == sizeof instructions, "write");
        syscall(SYS_exit_group, 0);
    }
    struct hyla_words message;
    int64_t reply = 0;
    double instructions;
    for (uint64_t calls = 0; calls < ROUNDS * 2000 + 1; calls++) {
        reply = hyla_word_reply_wait(port, (hyla_handle_t)reply, &message);
        must(reply > 0, "word_reply_wait");
        message.word[7]++;
    }
    struct hyla_msg last = {.flags = HYLA_MSG_SEND, .to = (hyla_handle_t)reply};
    memcpy(last.words, message.word, sizeof last.words);
    must(hyla_msg(&last) == 0 && read(ends[0], &instructions, sizeof instructions) == sizeof instructions, "the last call");
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
        printf("call %.0f\n", count_call() - empty);
    return 0;
}
