/*
 * Plain futexes under seeded schedules: no wake is lost, each wake is one waiter's, a moved waiter is found
 * wherever it is. The bugs that others had are tests of their own.
 */
#include "kernel/futex.h"

#include "body/sim/sim.h"
#include "kernel/aspace.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/memobj.h"
#include "kernel/task.h"

#define WORD_A SIM_USER_BASE
#define WORD_B (SIM_USER_BASE + 512)
#define WORD_C (SIM_USER_BASE + PAGE_SIZE + 64)

static struct futex_word private_word(uaddr_t address) { return (struct futex_word){.address = address}; }
static struct futex_word shared_word(uaddr_t address) { return (struct futex_word){.address = address, .shared = true}; }

/* One thread that waits once. */
struct wait_job {
    struct futex_word word;
    uint32_t value, bitset;
    nanoseconds_t deadline;
    int result;
    struct sim_thread *thread;
};

static void wait_run(void *argument)
{
    struct wait_job *job = argument;
    job->result = futex_wait(job->word, job->value, job->bitset, job->deadline);
}

static void wait_start(struct task *task, struct wait_job *job)
{
    if (!job->bitset)
        job->bitset = FUTEX_BITSET_ALL;
    if (!job->deadline)
        job->deadline = DEADLINE_NEVER;
    job->result = -1000;
    job->thread = sim_spawn_in(task, wait_run, job);
}

/* Runs `function` as a thread of a fresh task with two pages, and checks that nobody is counted afterwards. */
static void in_task(void (*function)(void *), void *argument)
{
    struct task *task = sim_user_task(2);
    sim_join(sim_spawn_in(task, function, argument));
    for (uint32_t i = 0; i < FUTEX_CENSUS_SIZE; i++)
        SIM_CHECK_EQUAL(atomic32_load_relaxed(&futex_census(task->aspace)[i]), 0);
    object_unref(task);
}

static struct task *own_task(void) { return thread_current()->task; }

/* --- wait and wake ----------------------------------------------------------------------------------- */

static void change_then_wake(void *argument UNUSED)
{
    struct wait_job job = {.word = private_word(WORD_A)};
    if (sim_chance(2))
        sim_user_swap(WORD_A, 0); /* else the page has to be brought in first */
    wait_start(own_task(), &job);
    sim_user_swap(WORD_A, 1);
    futex_wake(private_word(WORD_A), 1, FUTEX_BITSET_ALL);
    sim_join(job.thread);
    SIM_CHECK(job.result == 0 || job.result == -EAGAIN);
}

SIM_TEST(wake_between_check_and_enqueue_is_not_lost, .schedules = 6000) { in_task(change_then_wake, NULL); }

static void change_then_ask_census(void *argument UNUSED)
{
    struct wait_job job = {.word = private_word(WORD_A)};
    if (sim_chance(2))
        sim_user_swap(WORD_A, 0); /* else the page has to be brought in first */
    wait_start(own_task(), &job);
    sim_user_swap(WORD_A, 1);
    if (atomic32_load_relaxed(&futex_census(own_task()->aspace)[futex_census_index(WORD_A)]))
        futex_wake(private_word(WORD_A), 1, FUTEX_BITSET_ALL);
    sim_join(job.thread);
    SIM_CHECK(job.result == 0 || job.result == -EAGAIN);
}

SIM_TEST(wake_left_out_when_the_census_says_nobody, .schedules = 8000) { in_task(change_then_ask_census, NULL); }

static void first_come_first_served(void *argument UNUSED)
{
    struct wait_job jobs[3] = {0};
    for (int i = 0; i < 3; i++) {
        jobs[i].word = private_word(WORD_A);
        wait_start(own_task(), &jobs[i]);
        sim_settle();
    }
    for (int i = 0; i < 3; i++) {
        SIM_CHECK_EQUAL(futex_wake(private_word(WORD_A), 1, FUTEX_BITSET_ALL), 1);
        sim_join(jobs[i].thread);
        SIM_CHECK_EQUAL(jobs[i].result, 0);
    }
}

SIM_TEST(waiters_are_woken_in_order, .schedules = 500) { in_task(first_come_first_served, NULL); }

static void bitsets(void *argument UNUSED)
{
    struct wait_job one = {.word = private_word(WORD_A), .bitset = 1}, two = {.word = private_word(WORD_A), .bitset = 2};
    wait_start(own_task(), &one);
    wait_start(own_task(), &two);
    sim_settle();
    SIM_CHECK_EQUAL(futex_wake(private_word(WORD_A), 10, 4), 0);
    SIM_CHECK_EQUAL(futex_wake(private_word(WORD_A), 10, 2), 1);
    sim_join(two.thread);
    SIM_CHECK_EQUAL(futex_wake(private_word(WORD_A), 10, 0), -EINVAL);
    SIM_CHECK_EQUAL(futex_wake(shared_word(WORD_A), 10, FUTEX_BITSET_ALL), 0);
    SIM_CHECK_EQUAL(futex_wake(private_word(WORD_A), 10, FUTEX_BITSET_ALL), 1);
    sim_join(one.thread);
}

SIM_TEST(bitsets_choose_who_wakes, .schedules = 500) { in_task(bitsets, NULL); }

static void refusals(void *argument UNUSED)
{
    uaddr_t nowhere = SIM_USER_BASE + 64 * PAGE_SIZE;
    SIM_CHECK_EQUAL(futex_wait(private_word(WORD_A + 1), 0, 1, DEADLINE_NEVER), -EINVAL);
    SIM_CHECK_EQUAL(futex_wait(private_word(WORD_A), 0, 0, DEADLINE_NEVER), -EINVAL);
    SIM_CHECK_EQUAL(futex_wait(private_word(WORD_A), 1, 1, DEADLINE_NEVER), -EAGAIN);
    SIM_CHECK_EQUAL(futex_wait(private_word(nowhere), 0, 1, DEADLINE_NEVER), -EFAULT);
    SIM_CHECK_EQUAL(futex_wait(shared_word(nowhere), 0, 1, DEADLINE_NEVER), -EFAULT);
    SIM_CHECK_EQUAL(futex_wake(private_word(nowhere), 1, 1), 0);
    SIM_CHECK_EQUAL(futex_wait(private_word(WORD_A), 0, 1, body_now() + 1000), -ETIMEDOUT);
    SIM_CHECK_EQUAL(futex_requeue(private_word(WORD_A), private_word(WORD_B), -1, 1, NULL), -EINVAL);
    SIM_CHECK_EQUAL(futex_requeue(private_word(WORD_A), private_word(WORD_B), 1, -1, NULL), -EINVAL);
    SIM_CHECK_EQUAL(futex_requeue(private_word(WORD_A), private_word(WORD_B), 1, INT_MIN, NULL), -EINVAL);
    SIM_CHECK_EQUAL(futex_wake_op(private_word(WORD_A), private_word(nowhere), 1, 1, 0), -EFAULT);
    SIM_CHECK_EQUAL(futex_wake_op(private_word(WORD_A), private_word(WORD_B), 1, 1, 7u << 28), -ENOSYS);
}

SIM_TEST(negative_counts_bad_places_and_empty_sets_are_refused, .schedules = 300) { in_task(refusals, NULL); }

/* --- conservation: every counted wake is exactly one waiter's success -------------------------------- */

/* Wakes, moves to and fro, and wakes again, while waiters time out, are interrupted or killed. */
static void move_about(void *argument)
{
    bool shared = argument;
    struct futex_word a = shared ? shared_word(WORD_A) : private_word(WORD_A), b = shared ? shared_word(WORD_B) : private_word(WORD_B);
    struct wait_job jobs[4] = {0};
    int64_t woken = 0, succeeded = 0;
    for (int i = 0; i < 4; i++) {
        jobs[i].word = sim_chance(2) ? a : b;
        jobs[i].deadline = sim_chance(2) ? body_now() + 1 + sim_random(20000) : DEADLINE_NEVER;
        wait_start(own_task(), &jobs[i]);
        if (jobs[i].deadline == DEADLINE_NEVER || sim_chance(2))
            sim_may_interrupt(sim_kernel_thread(jobs[i].thread), 1);
    }
    for (int turn = 0; turn < 4; turn++) {
        int64_t first = futex_requeue(a, b, (int32_t)sim_random(2), 0, NULL);
        int64_t moved = futex_requeue(sim_chance(2) ? a : b, sim_chance(2) ? b : a, 0, 2, NULL);
        SIM_CHECK(first >= 0 && moved >= 0);
        woken += first;
    }
    /* Everyone who still waits is on one of the two. */
    while (succeeded < 4) {
        woken += futex_wake(a, 10, FUTEX_BITSET_ALL);
        woken += futex_wake(b, 10, FUTEX_BITSET_ALL);
        succeeded = 0;
        sim_settle();
        for (int i = 0; i < 4; i++)
            succeeded += jobs[i].result != -1000;
    }
    succeeded = 0;
    for (int i = 0; i < 4; i++) {
        sim_leave_alone(sim_kernel_thread(jobs[i].thread));
        sim_join(jobs[i].thread);
        SIM_CHECK(jobs[i].result == 0 || jobs[i].result == -ETIMEDOUT || jobs[i].result == -EINTR);
        succeeded += jobs[i].result == 0;
    }
    SIM_CHECK_EQUAL(woken, succeeded);
}

SIM_TEST(moved_waiters_that_leave_lose_no_wake, .schedules = 10000) { in_task(move_about, NULL); }
SIM_TEST(moved_waiters_on_shared_names_lose_no_wake, .schedules = 3000) { in_task(move_about, (void *)1); }

static void requeue_self(void *argument UNUSED)
{
    struct wait_job jobs[3] = {0};
    for (int i = 0; i < 3; i++) {
        jobs[i].word = private_word(WORD_A);
        wait_start(own_task(), &jobs[i]);
    }
    sim_settle();
    SIM_CHECK_EQUAL(futex_requeue(private_word(WORD_A), private_word(WORD_A), 0, INT_MAX, NULL), 3);
    SIM_CHECK_EQUAL(futex_requeue(private_word(WORD_A), private_word(WORD_A), 1, INT_MAX, NULL), 3);
    SIM_CHECK_EQUAL(futex_wake(private_word(WORD_A), 10, FUTEX_BITSET_ALL), 2);
    for (int i = 0; i < 3; i++)
        sim_join(jobs[i].thread);
}

SIM_TEST(requeue_onto_itself_ends, .schedules = 500) { in_task(requeue_self, NULL); }

static void compare_requeue(void *argument UNUSED)
{
    struct wait_job job = {.word = private_word(WORD_A)};
    uint32_t right = 0, wrong = 1;
    wait_start(own_task(), &job);
    sim_settle();
    SIM_CHECK_EQUAL(futex_requeue(private_word(WORD_A), private_word(WORD_C), 0, 5, &wrong), -EAGAIN);
    SIM_CHECK_EQUAL(futex_requeue(private_word(WORD_A), private_word(WORD_C), 0, 5, &right), 1);
    SIM_CHECK_EQUAL(futex_wake(private_word(WORD_A), 5, FUTEX_BITSET_ALL), 0);
    SIM_CHECK(atomic32_load_relaxed(&futex_census(own_task()->aspace)[futex_census_index(WORD_C)]) == 1);
    SIM_CHECK_EQUAL(futex_wake(private_word(WORD_C), 5, FUTEX_BITSET_ALL), 1);
    sim_join(job.thread);
    SIM_CHECK_EQUAL(job.result, 0);
}

SIM_TEST(compare_requeue_checks_the_word_and_moves_the_census, .schedules = 500) { in_task(compare_requeue, NULL); }

/* --- wake-op ----------------------------------------------------------------------------------------- */

struct op_job {
    struct futex_word first, second;
    int64_t result;
};

static void op_run(void *argument)
{
    struct op_job *job = argument;
    /* FUTEX_OP_ADD 1, compared GE 0: always wakes both */
    job->result = futex_wake_op(job->first, job->second, 1, 1, 1u << 28 | 5u << 24 | 1u << 12);
}

/* Two at once, in opposite order: neither the buckets' locks nor the words get in each other's way. */
static void crossing_ops(void *argument UNUSED)
{
    struct wait_job waits[2] = {{.word = private_word(WORD_A)}, {.word = private_word(WORD_C)}};
    struct op_job ops[2] = {{private_word(WORD_A), private_word(WORD_C), 0}, {private_word(WORD_C), private_word(WORD_A), 0}};
    struct sim_thread *threads[2];
    int64_t woken = 0, succeeded = 0;
    for (int i = 0; i < 2; i++)
        wait_start(own_task(), &waits[i]);
    for (int i = 0; i < 2; i++)
        threads[i] = sim_spawn_in(own_task(), op_run, &ops[i]);
    for (int i = 0; i < 2; i++) {
        sim_join(threads[i]);
        SIM_CHECK(ops[i].result >= 0);
        woken += ops[i].result;
    }
    for (int i = 0; i < 2; i++) {
        sim_join(waits[i].thread);
        succeeded += waits[i].result == 0;
        SIM_CHECK(waits[i].result == 0 || waits[i].result == -EAGAIN);
    }
    SIM_CHECK_EQUAL(woken, succeeded);
    SIM_CHECK_EQUAL(sim_user_load(WORD_A), 1);
    SIM_CHECK_EQUAL(sim_user_load(WORD_C), 1);
}

SIM_TEST(wake_op_over_two_buckets_crosswise, .schedules = 5000) { in_task(crossing_ops, NULL); }

/* --- many words -------------------------------------------------------------------------------------- */

struct any_job {
    struct futex_wait_item items[3];
    int result;
};

static void any_run(void *argument)
{
    struct any_job *job = argument;
    job->result = futex_wait_any(job->items, 3, DEADLINE_NEVER);
}

static void wait_any(void *argument UNUSED)
{
    struct any_job job = {.items = {{private_word(WORD_A), 0}, {shared_word(WORD_B), 0}, {private_word(WORD_C), 0}}, .result = -1000};
    struct sim_thread *thread = sim_spawn_in(own_task(), any_run, &job);
    int64_t woken;
    sim_user_swap(WORD_C, 7);
    woken = futex_wake(private_word(WORD_C), 1, FUTEX_BITSET_ALL);
    sim_join(thread);
    if (woken || (job.result != -EAGAIN && job.result != -ENOMEM && job.result != -EFAULT)) /* the page may not be had */
        SIM_CHECK_EQUAL(job.result, 2);
}

SIM_TEST(wait_for_any_of_three, .schedules = 4000) { in_task(wait_any, NULL); }
SIM_TEST(wait_for_any_without_memory, .schedules = 1000, .fail_allocations = true) { in_task(wait_any, NULL); }

/* --- shared words ------------------------------------------------------------------------------------ */

static uaddr_t map_shared(struct task *task, struct memobj *memobj)
{
    struct aspace_map_request request = {
        .size = PAGE_SIZE, .prot = PROT_READ_BIT | PROT_WRITE_BIT, .flags = REGION_SHARED | REGION_MAY_WRITE, .memobj = memobj};
    uaddr_t address = 0;
    SIM_CHECK_EQUAL(aspace_map(task->aspace, &request, &address), 0);
    return address;
}

struct other_job {
    struct memobj *memobj;
    int64_t woken;
    int waited;
    struct atomic32 mapped;
};

static void other_waiter(void *argument)
{
    struct other_job *job = argument;
    uaddr_t address;
    sim_calm_begin();
    address = map_shared(own_task(), job->memobj);
    sim_calm_end();
    job->waited = futex_wait(shared_word(address + 8), 0, FUTEX_BITSET_ALL, DEADLINE_NEVER);
}

static void other_waker(void *argument)
{
    struct other_job *job = argument;
    uaddr_t address;
    sim_calm_begin();
    address = map_shared(own_task(), job->memobj);
    sim_calm_end();
    sim_user_swap(address + 8, 1);
    job->woken = futex_wake(shared_word(address + 8), 1, FUTEX_BITSET_ALL);
}

SIM_TEST(shared_words_meet_over_two_address_spaces, .schedules = 3000)
{
    struct task *tasks[2] = {sim_user_task(1), sim_user_task(3)};
    struct sim_thread *threads[2];
    struct other_job job = {0};
    sim_calm_begin();
    job.memobj = memobj_create(PAGE_SIZE);
    sim_calm_end();
    SIM_CHECK(job.memobj);
    threads[0] = sim_spawn_in(tasks[0], other_waiter, &job);
    threads[1] = sim_spawn_in(tasks[1], other_waker, &job);
    for (int i = 0; i < 2; i++)
        sim_join(threads[i]);
    SIM_CHECK(job.woken ? job.waited == 0 : job.waited == -EAGAIN);
    object_unref(job.memobj);
    for (int i = 0; i < 2; i++)
        object_unref(tasks[i]);
}

/* The last other references to both memobjs go while a waiter sleeps on one and is moved to the other. */
static void unmapped_while_moved(void *argument UNUSED)
{
    struct memobj *memobjs[2];
    struct wait_job job = {0};
    uaddr_t address[2];
    sim_calm_begin();
    for (int i = 0; i < 2; i++) {
        memobjs[i] = memobj_create(PAGE_SIZE);
        address[i] = map_shared(own_task(), memobjs[i]);
        object_unref(memobjs[i]);
    }
    sim_calm_end();
    job.word = shared_word(address[0]);
    job.deadline = body_now() + 40000;
    wait_start(own_task(), &job);
    sim_may_interrupt(sim_kernel_thread(job.thread), 1);
    futex_requeue(shared_word(address[0]), shared_word(address[1]), 0, 1, NULL);
    sim_calm_begin();
    SIM_CHECK_EQUAL(aspace_unmap(own_task()->aspace, address[0], PAGE_SIZE), 0);
    SIM_CHECK_EQUAL(aspace_unmap(own_task()->aspace, address[1], PAGE_SIZE), 0);
    sim_calm_end();
    sim_leave_alone(sim_kernel_thread(job.thread));
    sim_join(job.thread);
    SIM_CHECK(job.result == -ETIMEDOUT || job.result == -EINTR || job.result == -EFAULT);
}

SIM_TEST(memory_of_a_moved_waiter_lives_until_it_leaves, .schedules = 4000) { in_task(unmapped_while_moved, NULL); }

/* --- robust lists ------------------------------------------------------------------------------------ */

/* At HEAD: first, offset, pending; entries point to the next one and have their word 8 bytes after. */
#define HEAD (SIM_USER_BASE + 1024)
#define ENTRY(n) (SIM_USER_BASE + 2048 + (uaddr_t)(n)*32)

static void put64(uaddr_t address, uint64_t value)
{
    SIM_CHECK_EQUAL(body_copy_out(own_task()->aspace, address, &value, sizeof(value)), sizeof(value));
}

static void robust_list(void *argument UNUSED)
{
    struct wait_job job = {.word = shared_word(ENTRY(0) + 8), .value = FUTEX_WORD_WAITERS | 7};
    sim_calm_begin();
    put64(HEAD, ENTRY(0));
    put64(HEAD + 8, 8);
    put64(HEAD + 16, ENTRY(2));
    put64(ENTRY(0), ENTRY(1));
    put64(ENTRY(0) + 8, FUTEX_WORD_WAITERS | 7);
    put64(ENTRY(1), HEAD);
    put64(ENTRY(1) + 8, 9); /* somebody else's */
    put64(ENTRY(2) + 8, 7); /* being locked */
    sim_calm_end();
    wait_start(own_task(), &job);
    sim_settle();
    futex_robust_exit(HEAD, 7);
    sim_join(job.thread);
    SIM_CHECK_EQUAL(job.result, 0);
    SIM_CHECK_EQUAL(sim_user_load(ENTRY(0) + 8), FUTEX_WORD_WAITERS | FUTEX_WORD_OWNER_DIED);
    SIM_CHECK_EQUAL(sim_user_load(ENTRY(1) + 8), 9);
    SIM_CHECK_EQUAL(sim_user_load(ENTRY(2) + 8), FUTEX_WORD_OWNER_DIED);
}

SIM_TEST(robust_locks_are_marked_and_a_waiter_woken, .schedules = 500) { in_task(robust_list, NULL); }

static void robust_garbage(void *argument UNUSED)
{
    sim_calm_begin();
    futex_robust_exit(0, 7);
    futex_robust_exit(3, 7);
    put64(HEAD, ENTRY(0));
    put64(HEAD + 8, 8);
    put64(HEAD + 16, UINT64_MAX);
    put64(ENTRY(0) + 8, 7);
    put64(ENTRY(0), ENTRY(0)); /* loops onto itself */
    futex_robust_exit(HEAD, 7);
    SIM_CHECK_EQUAL(sim_user_load(ENTRY(0) + 8), FUTEX_WORD_OWNER_DIED);
    put64(ENTRY(0), UINT64_MAX - 7); /* nowhere */
    put64(ENTRY(0) + 8, 7);
    futex_robust_exit(HEAD, 7);
    SIM_CHECK_EQUAL(sim_user_load(ENTRY(0) + 8), FUTEX_WORD_OWNER_DIED);
    put64(HEAD + 8, 1); /* misaligned words */
    futex_robust_exit(HEAD, 7);
    sim_calm_end();
}

SIM_TEST(robust_lists_may_be_garbage_or_loop, .schedules = 20) { in_task(robust_garbage, NULL); }
