/*
 * Random calls from the generated grammar: each argument of the right kind, often with a good value, so that calls get past their first
 * check. The process makes them with three threads and must be answered always; whatever it did, the server keeps nothing of it (the
 * harness looks), and a second process finds it well. A call may wait for what only its own process could do (supply the page of a
 * memobj whose pager it is): threads that stay away are interrupted, and must come back.
 *
 *     native_fuzz [SEED [CALLS]]
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

enum grammar_kind {
    GRAMMAR_INT,
    GRAMMAR_UINT,
    GRAMMAR_DEADLINE,
    GRAMMAR_HANDLE,
    GRAMMAR_STRING,
    GRAMMAR_ADDRESS,
    GRAMMAR_BYTES_IN,
    GRAMMAR_BYTES_OUT,
    GRAMMAR_STRUCT_IN,
    GRAMMAR_STRUCT_OUT,
    GRAMMAR_STRUCT_INOUT,
    GRAMMAR_WORDS,
};
enum grammar_flags { GRAMMAR_BLOCKS = 1, GRAMMAR_RESTARTS = 2, GRAMMAR_ATTACHED = 4 };

struct grammar_argument {
    enum grammar_kind kind;
    uint32_t size; /* of a structure; of a buffer: the argument that says how much */
    const char *type;
};
struct grammar_call {
    const char *name;
    uint32_t number, flags, makes_handle, argument_count;
    struct grammar_argument arguments[6];
};

#include "grammar.h"

#define CALLS (sizeof grammar / sizeof grammar[0])
#define KEPT 64

struct fuzzer {
    uint64_t state;
    uint64_t calls;
    char memory[8192];
};

static uint32_t kept[KEPT]; /* handles that some call gave: shared, racily, on purpose */

static uint64_t draw(struct fuzzer *fuzzer)
{
    fuzzer->state ^= fuzzer->state << 13;
    fuzzer->state ^= fuzzer->state >> 7;
    return fuzzer->state ^= fuzzer->state << 17;
}

static uint64_t value(struct fuzzer *fuzzer)
{
    static const uint64_t liked[] = {0, 1, 2, 3, 4, 7, 16, 255, 4095, 4096, 8192, 65536, 65537, 1 << 20, INT32_MAX, UINT32_MAX, 1ull << 40, INT64_MAX, UINT64_MAX};
    return draw(fuzzer) % 4 ? liked[draw(fuzzer) % (sizeof liked / sizeof liked[0])] : draw(fuzzer);
}

static uint64_t handle(struct fuzzer *fuzzer) { return draw(fuzzer) % 8 ? kept[draw(fuzzer) % KEPT] : value(fuzzer); }

static uint64_t address(struct fuzzer *fuzzer)
{
    return draw(fuzzer) % 16 ? (uintptr_t)fuzzer->memory + draw(fuzzer) % 4096 / 8 * 8 : value(fuzzer);
}

static void fill_struct(struct fuzzer *fuzzer, char *at, const struct grammar_argument *argument)
{
    for (uint32_t i = 0; i < argument->size; i += 4) {
        uint32_t word = (uint32_t)(draw(fuzzer) % 3 ? value(fuzzer) % 9 : value(fuzzer));
        memcpy(at + i, &word, sizeof word);
    }
    if (!strcmp(argument->type, "msg")) { /* waits for nobody, and has its buffers mostly here */
        struct hyla_msg *msg = (void *)at;
        msg->flags = (uint32_t)(draw(fuzzer) % 16 ? draw(fuzzer) % 4 : draw(fuzzer)) | HYLA_MSG_SEND_NONBLOCK | HYLA_MSG_RECEIVE_NONBLOCK;
        msg->flags &= ~(uint32_t)HYLA_MSG_CALL;
        msg->to = (uint32_t)handle(fuzzer);
        msg->from = (uint32_t)handle(fuzzer);
        msg->send_data = address(fuzzer);
        msg->send_handles = address(fuzzer);
        msg->receive_data = address(fuzzer);
        msg->receive_handles = address(fuzzer);
        if (draw(fuzzer) % 2)
            *(uint32_t *)(void *)(fuzzer->memory + 64) = (uint32_t)handle(fuzzer);
    }
}

static uint64_t make_argument(struct fuzzer *fuzzer, const struct grammar_argument *argument)
{
    char *place = fuzzer->memory + draw(fuzzer) % 64 * 64;
    switch (argument->kind) {
    case GRAMMAR_HANDLE: return handle(fuzzer);
    case GRAMMAR_DEADLINE: return draw(fuzzer) % 2 ? 1 : hyla_now() + draw(fuzzer) % 100000;
    case GRAMMAR_STRING:
        snprintf(place, 32, "fuzz.%u", (unsigned)(draw(fuzzer) % 8));
        return draw(fuzzer) % 16 ? (uintptr_t)place : address(fuzzer);
    case GRAMMAR_STRUCT_IN:
    case GRAMMAR_STRUCT_INOUT: fill_struct(fuzzer, place, argument); return draw(fuzzer) % 32 ? (uintptr_t)place : value(fuzzer);
    case GRAMMAR_STRUCT_OUT:
    case GRAMMAR_ADDRESS:
    case GRAMMAR_BYTES_IN:
    case GRAMMAR_BYTES_OUT: return address(fuzzer);
    default: return value(fuzzer);
    }
}

/* Sizes that reach past the memory here would overwrite what is not ours. */
static void tame(struct fuzzer *fuzzer, const struct grammar_call *call, uint64_t arguments[6])
{
    for (uint32_t i = 0; i < call->argument_count; i++) {
        bool here = arguments[i] - (uintptr_t)fuzzer->memory < sizeof fuzzer->memory;
        if (call->arguments[i].kind == GRAMMAR_BYTES_OUT)
            arguments[call->arguments[i].size] %= 4096;
        if (call->arguments[i].kind == GRAMMAR_STRUCT_INOUT && !strcmp(call->arguments[i].type, "msg") && here) {
            struct hyla_msg *msg = (void *)(uintptr_t)arguments[i];
            msg->receive_size %= 2048;
            msg->receive_handle_count %= 64;
        }
        if (call->arguments[i].kind == GRAMMAR_STRUCT_INOUT && !strcmp(call->arguments[i].type, "map") && here)
            ((struct hyla_map *)(uintptr_t)arguments[i])->flags &= ~(uint32_t)HYLA_MAP_FIXED; /* not over this program */
    }
}

static bool harmless(const struct grammar_call *call)
{
    /* What would change or stop this very program: the tests of threads and of hostile clients have those. */
    static const char *const left_out[] = {"thread_leave", "memory_unmap", "memory_protect", "task_unmap", "task_protect",
                                           "task_end", "task_stop", "thread_suspend", "word_call", "word_reply_wait"};
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
        if (!strcmp(call->name, left_out[i]))
            return false;
    return true;
}

static int64_t make_call(uint64_t number, const uint64_t a[6]);

static void *fuzz(void *argument)
{
    struct fuzzer *fuzzer = argument;
    hyla_set_interruptible(1);
    for (uint64_t i = 0; i < fuzzer->calls; i++) {
        const struct grammar_call *call = &grammar[draw(fuzzer) % CALLS];
        uint64_t arguments[6] = {0};
        if (!harmless(call))
            continue;
        for (uint32_t k = 0; k < call->argument_count; k++)
            arguments[k] = make_argument(fuzzer, &call->arguments[k]);
        tame(fuzzer, call, arguments);
        int64_t result = make_call(call->number, arguments);
        CHECK(result >= 0 || result > -4096);
        if (result > 0 && call->makes_handle)
            kept[draw(fuzzer) % KEPT] = (uint32_t)result;
    }
    return NULL;
}

static int64_t make_call(uint64_t number, const uint64_t a[6]) { return hyla_syscall(number, a); }

static void interrupted(int number) { (void)number; }

/* Until the thread has ended; every tenth of a second all are interrupted. */
static void join(const pthread_t *threads, int count, int which)
{
    struct timespec until;
    do {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        for (int i = which; i < count; i++)
            pthread_kill(threads[i], SIGUSR1);
    } while (pthread_timedjoin_np(threads[which], NULL, &until) == ETIMEDOUT);
}

static void run(uint64_t seed, uint64_t calls)
{
    static struct fuzzer fuzzers[3];
    pthread_t threads[3];
    struct sigaction action = {.sa_handler = interrupted};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        fuzzers[i].state = (seed * 3 + (uint64_t)i) * 2654435761u + 88172645463325252ull;
        fuzzers[i].calls = calls;
    }
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, fuzz, &fuzzers[i]) == 0);
    for (int i = 0; i < 3; i++)
        join(threads, 3, i);
    for (int i = 0; i < KEPT; i++) /* one of them may be the receive right of a port that others wait at */
        hyla_handle_close(kept[i]);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, calls = argc > 2 ? strtoull(argv[2], NULL, 0) : 10000;
    start_or_fail();
    for (uint64_t i = 0; i < 6; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            run(seed + i, calls);
            _exit(0);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CHECK(hyla_probe() > 0);
    }
    return 0;
}
