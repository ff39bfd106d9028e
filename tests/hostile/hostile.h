/*
 * A guest that means harm: what the attacks share. See hostile.c for the arrangement.
 */
#ifndef TESTS_HOSTILE_HOSTILE_H
#define TESTS_HOSTILE_HOSTILE_H

#include "body/linux/call_page.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What a mode is given on its command line. */
struct attack {
    uint64_t seed;
    unsigned seconds; /* how long the repeating attacks go on */
    char **extra;     /* further words, NULL-terminated */
};

/* Ends the attacking process with 1: something that must hold did not. */
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(2, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                              \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

/* xorshift: the same seed gives the same attack. */
uint64_t random_next(uint64_t *state);
/* A number that a system call may take seriously: small, a flag, an edge, an address of any quality, or noise. */
uint64_t random_argument(uint64_t *state);
uint64_t clock_ms(void);

/* The process ends within that time by itself (true), or is killed; that it then goes at once is checked. Its wait status. */
bool end_within(pid_t pid, unsigned milliseconds, int *status);

/* --- the stub, as a guest sees it (gate.c) ----------------------------------------------------------- */

#define GATES_MAX 64
/* The addresses of the stub's host call instructions. */
unsigned gates_find(uint64_t gates[GATES_MAX]);
/* Through the stub's own host call, so past the address check of the filter. The host's answer. */
long gate_call(long number, long a, long b, long c, long d, long e, long f);
/* Goes to the address with these: rax rbx rcx rdx rsi rdi rbp r8 to r15; the stack holds `stack_words` of noise. */
__attribute__((noreturn)) void jump_to(uint64_t address, const uint64_t registers[15], uint64_t *stack);
/* Host signal frame for rt_sigreturn through a gate: goes on at `to` with these signals blocked. */
__attribute__((noreturn)) void gate_sigreturn(void (*to)(void), uint64_t blocked);

/* --- the attacks: what they return is the attacking process's exit code ------------------------------ */

int attack_reach(const struct attack *attack);
int attack_gates(const struct attack *attack);
int attack_clone(const struct attack *attack);
int attack_block(const struct attack *attack);
int attack_swallow(const struct attack *attack);
int attack_garbage(const struct attack *attack);
int attack_calls(const struct attack *attack);
int attack_flood(const struct attack *attack);
int attack_legacy(const struct attack *attack);
int attack_scribble(const struct attack *attack);
int attack_map_over(const struct attack *attack);
int attack_tear_down(const struct attack *attack);
int attack_unmap(const struct attack *attack);
int attack_memory(const struct attack *attack);
int attack_gate_memory(const struct attack *attack);
int attack_fork(const struct attack *attack);
int attack_stolen_forks(const struct attack *attack);
int attack_rings(const struct attack *attack);
int attack_elf(const struct attack *attack);

#endif
