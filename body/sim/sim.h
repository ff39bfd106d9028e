/*
 * The simulation body, as its tests see it. A test is a function that runs on a kernel thread of a small
 * simulated machine, over many schedules: each has a seed that decides when CPUs are switched, when stores
 * become visible, when timers fire, which allocations fail and when threads are interrupted or killed.
 *
 *     SIM_TEST(wake_beats_timeout, .schedules = 5000)
 *     {
 *         struct sim_thread *other = sim_spawn(other_side, &state);
 *         ...
 *         SIM_CHECK(state.woken == 1);
 *         sim_join(other);
 *     }
 *
 * When the test's function returns, every thread it spawned must have been joined and every object and
 * every allocation must be gone: what is left is reported as a leak. See body/sim/README.md.
 */
#ifndef BODY_SIM_SIM_H
#define BODY_SIM_SIM_H

#include "kernel/thread.h"
#include "kernel/types.h"

struct aspace;
struct task;

/* --- tests ------------------------------------------------------------------------------------------- */

struct sim_test {
    const char *name;
    const char *file;
    void (*run)(void);
    uint32_t schedules;    /* how many seeds; 0: 1000 */
    bool fail_allocations; /* in most schedules, some allocations fail */
    uint32_t cpus;         /* 0: one to four, by the seed */
    uint32_t points;       /* so many points may a schedule take until it counts as hung; 0: 5 million */
    const char *panics;    /* it must end in a panic or failed assertion with this in its text */
};

#define SIM_TEST(name_, ...)                                                                                           \
    static void name_(void);                                                                                           \
    static const struct sim_test name_##_test = {.name = #name_, .file = __FILE__, .run = name_, ##__VA_ARGS__};       \
    static const struct sim_test *const name_##_entry __attribute__((used, section("sim_tests"))) = &name_##_test;     \
    static void name_(void)

/* Ends the run with the seed and this text. */
NORETURN void sim_fail(const char *text, ...) PRINTF_LIKE(1, 2);
#define SIM_CHECK(condition)                                                                                           \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            sim_fail("%s:%d: check failed: %s", __FILE__, __LINE__, #condition);                                       \
    } while (0)
/* The same for two integers, with their values. */
#define SIM_CHECK_EQUAL(a, b)                                                                                          \
    do {                                                                                                               \
        int64_t sim_a_ = (int64_t)(a), sim_b_ = (int64_t)(b);                                                          \
        if (sim_a_ != sim_b_)                                                                                          \
            sim_fail("%s:%d: %s is %lld, %s is %lld", __FILE__, __LINE__, #a, (long long)sim_a_, #b,                   \
                     (long long)sim_b_);                                                                               \
    } while (0)

/* --- choices, by the seed ---------------------------------------------------------------------------- */

/* 0 … bound - 1. */
uint32_t sim_random(uint32_t bound);
/* True once in `n` times on average. */
static inline bool sim_chance(uint32_t n) { return sim_random(n) == 0; }
/* A place where the CPU may be switched. Every atomic access, lock and body call is one already. */
void sim_point(void);

/* --- threads ----------------------------------------------------------------------------------------- */

struct sim_thread;
/* A kernel-only thread that runs function(argument). Never fails. */
struct sim_thread *sim_spawn(thread_function *function, void *argument);
/* The same as a thread of a task (see below), so that the user memory functions work on it. */
struct sim_thread *sim_spawn_in(struct task *task, thread_function *function, void *argument);
/* Waits until it has ended and is gone. */
void sim_join(struct sim_thread *thread);
/* Valid until joined. */
struct thread *sim_kernel_thread(struct sim_thread *thread);
/*
 * Waits until nothing else can run: every other thread waits, no store is in flight. For "once they all sleep". Timers
 * that are armed do not count, and do not fire because of it. One thread at a time.
 */
void sim_settle(void);

/* --- time, failures, interruptions ------------------------------------------------------------------- */

/* Time passes by itself, a little at a time or in jumps to the next timer. body_now() tells it. */
void sim_advance(nanoseconds_t nanoseconds);
/* Between these, which nest, no allocation fails and nothing is injected: for setting up. */
void sim_calm_begin(void);
void sim_calm_end(void);
/* How many blocks, and how many bytes, were allocated so far, of whatever became of them. */
uint64_t sim_allocations(void);
uint64_t sim_allocated_bytes(void);
/*
 * Lets the simulator interrupt (thread_interrupt) or kill the thread at any moment: up to `times` in all. Until
 * sim_leave_alone, which must come before the thread ends.
 */
void sim_may_interrupt(struct thread *thread, uint32_t times);
void sim_may_kill(struct thread *thread);
void sim_leave_alone(struct thread *thread);

/* --- user memory ------------------------------------------------------------------------------------- */

/*
 * A task with `pages` readable and writable private pages from SIM_USER_BASE on, made through the kernel's own aspace and
 * task functions; drop it with object_unref. Never fails.
 */
#define SIM_USER_BASE ((uaddr_t)0x10000)
struct task *sim_user_task(uint32_t pages);
/* What a program's own instructions would do, on the calling thread's task. They fail the test when they would fault. */
uint32_t sim_user_load(uaddr_t address);
void sim_user_store(uaddr_t address, uint32_t value); /* may be delayed in the CPU's store buffer */
uint32_t sim_user_swap(uaddr_t address, uint32_t value);
uint32_t sim_user_add(uaddr_t address, uint32_t value); /* the old value */
bool sim_user_cas(uaddr_t address, uint32_t *expected, uint32_t desired);

#endif
