/*
 * Runs the tests: each in a process of its own, over its seeds. What fails prints its seed, and
 *     sim_test --test NAME --seed N
 * runs exactly that schedule again. The last line is "N passed, N failed, N skipped".
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "body/sim/engine.h"
#include "kernel/assert.h"

extern const struct sim_test *const __start_sim_tests[], *const __stop_sim_tests[];

enum { EXIT_FAILED = 1, EXIT_PANICKED_AS_WANTED = 42 };

static struct {
    const char *only; /* a test's name, or a part of it */
    bool one_seed;
    uint64_t seed;
    double scale;
    bool list;
    bool stop; /* at the first failure */
} options = {.scale = 1};

/* Told to the parent through shared memory: which seed a child is at, and how many it has done. */
static struct progress {
    uint64_t seed;
    uint64_t schedules;
    uint64_t points;
} *progress;

/* --- failing ----------------------------------------------------------------------------------------- */

void sim_fail(const char *text, ...)
{
    char line[512];
    va_list args;
    va_start(args, text);
    vsnprintf(line, sizeof(line), text, args);
    va_end(args);
    fprintf(stderr, "%s: %s\n", sim.test ? sim.test->name : "sim", line);
    _exit(EXIT_FAILED);
}

void body_panic(const char *text)
{
    if (sim.test && sim.test->panics && strstr(text, sim.test->panics))
        _exit(EXIT_PANICKED_AS_WANTED);
    fprintf(stderr, "%s: panic: %s\n", sim.test ? sim.test->name : "sim", text);
    abort(); /* AddressSanitizer prints the stack */
}

void body_log(const char *text, size_t length) { fprintf(stderr, "log: %.*s\n", (int)length, text); }

/* --- one test ---------------------------------------------------------------------------------------- */

static uint32_t schedules_of(const struct sim_test *test)
{
    if (options.one_seed)
        return 1;
    double count = (test->schedules ? test->schedules : 1000) * options.scale;
    return count < 1 ? 1 : (uint32_t)count;
}

static void run_schedules(const struct sim_test *test)
{
    uint32_t count = schedules_of(test);
    for (uint32_t i = 0; i < count; i++) {
        progress->seed = options.seed + i;
        progress->schedules++;
        sim_run_schedule(test, progress->seed);
        progress->points += sim.points;
    }
}

static bool ended_well(const struct sim_test *test, int status)
{
    int wanted = test->panics ? EXIT_PANICKED_AS_WANTED : 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == wanted;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool run_test(const struct sim_test *test, const char *program)
{
    *progress = (struct progress){.seed = options.seed};
    double start = seconds_now();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        run_schedules(test);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("sim: fork");
        exit(2);
    }
    bool passed = ended_well(test, status);
    printf("%s %s: %llu schedules, %.2f s, %llu points\n", passed ? "ok  " : "FAIL", test->name,
           (unsigned long long)progress->schedules, seconds_now() - start, (unsigned long long)progress->points);
    if (!passed)
        printf("     seed %llu; again: %s --test %s --seed %llu\n", (unsigned long long)progress->seed, program, test->name,
               (unsigned long long)progress->seed);
    return passed;
}

/* --- all --------------------------------------------------------------------------------------------- */

static bool selected(const struct sim_test *test)
{
    if (!options.only)
        return true;
    return options.one_seed ? strcmp(test->name, options.only) == 0 : strstr(test->name, options.only) != NULL;
}

static void usage(void)
{
    fprintf(stderr, "usage: sim_test [--list] [--test NAME] [--seed N] [--from N] [--scale FACTOR] [--stop] [--trace]\n"
                    "  --test NAME    only tests with this in their name\n"
                    "  --seed N       one schedule, of exactly the named test\n"
                    "  --from N       the first seed (0)\n"
                    "  --scale F      so many times the usual number of schedules\n"
                    "  --stop         at the first failure\n"
                    "  --trace        print every switch of CPUs\n");
    exit(2);
}

static const char *argument_after(char **argv, int *index)
{
    if (!argv[*index + 1])
        usage();
    return argv[++*index];
}

static void parse_options(char **argv)
{
    for (int i = 1; argv[i]; i++) {
        if (strcmp(argv[i], "--list") == 0)
            options.list = true;
        else if (strcmp(argv[i], "--stop") == 0)
            options.stop = true;
        else if (strcmp(argv[i], "--trace") == 0)
            sim.trace = true;
        else if (strcmp(argv[i], "--test") == 0)
            options.only = argument_after(argv, &i);
        else if (strcmp(argv[i], "--scale") == 0)
            options.scale = atof(argument_after(argv, &i));
        else if (strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--from") == 0) {
            options.one_seed = options.one_seed || strcmp(argv[i], "--seed") == 0;
            options.seed = strtoull(argument_after(argv, &i), NULL, 0);
        } else
            usage();
    }
}

int main(int argc UNUSED, char **argv)
{
    parse_options(argv);
    progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t schedules = 0, points = 0;
    unsigned passed = 0, failed = 0;
    double start = seconds_now();
    for (const struct sim_test *const *entry = __start_sim_tests; entry < __stop_sim_tests; entry++) {
        if (!selected(*entry))
            continue;
        if (options.list) {
            printf("%s\n", (*entry)->name);
            continue;
        }
        if (run_test(*entry, argv[0]))
            passed++;
        else
            failed++;
        schedules += progress->schedules;
        points += progress->points;
        if (failed && options.stop)
            break;
    }
    if (options.list)
        return 0;
    printf("%llu schedules, %llu points in %.1f s\n", (unsigned long long)schedules, (unsigned long long)points,
           seconds_now() - start);
    printf("%u passed, %u failed, 0 skipped\n", passed, failed);
    return failed > 0 || passed == 0;
}
