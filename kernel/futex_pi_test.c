/*
 * PI futexes under seeded schedules: the lock excludes, every way out of a wait leaves word and record
 * right, a dead owner's lock goes on, and plain operations keep off.
 *
 * Threads have made-up ids here; what the kernel asks about them is answered from a small table.
 */
#include "kernel/futex.h"

#include "body/sim/sim.h"
#include "kernel/aspace.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/task.h"

#define LOCK SIM_USER_BASE
#define LOCK_2 (SIM_USER_BASE + 256)
#define CONDITION (SIM_USER_BASE + PAGE_SIZE)
#define COUNTER (SIM_USER_BASE + PAGE_SIZE + 512)
#define ID_MAX 8u

static struct atomic32 owners[ID_MAX]; /* enum futex_owner_state */

static enum futex_owner_state owner_of(uint32_t id)
{
    return id < ID_MAX ? (enum futex_owner_state)atomic32_load(&owners[id]) : FUTEX_OWNER_GONE;
}

static struct futex_word word_at(uaddr_t address) { return (struct futex_word){.address = address}; }
static struct task *own_task(void) { return thread_current()->task; }

static void in_task(void (*function)(void *), void *argument)
{
    struct task *task = sim_user_task(2);
    futex_owner_register(owner_of);
    for (uint32_t id = 0; id < ID_MAX; id++)
        atomic32_store(&owners[id], id ? FUTEX_OWNER_ALIVE : FUTEX_OWNER_GONE);
    sim_join(sim_spawn_in(task, function, argument));
    object_unref(task);
}

/* What a C library does: a compare-and-swap, and the kernel only when somebody else has it. */
static int lock_fast(uaddr_t word, uint32_t id, nanoseconds_t deadline)
{
    uint32_t expected = 0;
    return sim_user_cas(word, &expected, id) ? 0 : futex_lock_pi(word_at(word), id, deadline, false);
}

static int unlock_fast(uaddr_t word, uint32_t id)
{
    uint32_t expected = id;
    return sim_user_cas(word, &expected, 0) ? 0 : futex_unlock_pi(word_at(word), id);
}

struct lock_job {
    uaddr_t word;
    uint32_t id;
    nanoseconds_t deadline;
    int result;
    struct sim_thread *thread;
};

static void lock_run(void *argument)
{
    struct lock_job *job = argument;
    job->result = futex_lock_pi(word_at(job->word), job->id, job->deadline, false);
}

static void lock_start(struct lock_job *job, uaddr_t word, uint32_t id, nanoseconds_t deadline)
{
    *job = (struct lock_job){.word = word, .id = id, .deadline = deadline, .result = -1000};
    job->thread = sim_spawn_in(own_task(), lock_run, job);
}

/* --- exclusion --------------------------------------------------------------------------------------- */

struct worker {
    uint32_t id;
    uint32_t done;
    struct sim_thread *thread;
};

static void work(void *argument)
{
    struct worker *self = argument;
    for (int turn = 0; turn < 3; turn++) {
        nanoseconds_t deadline = sim_chance(2) ? body_now() + 1 + sim_random(3000) : DEADLINE_NEVER;
        int error = lock_fast(LOCK, self->id, deadline);
        if (error) {
            SIM_CHECK(error == -ETIMEDOUT || error == -EINTR);
            continue;
        }
        SIM_CHECK_EQUAL(sim_user_load(LOCK) & FUTEX_WORD_OWNER, self->id);
        uint32_t seen = sim_user_load(COUNTER);
        sim_point();
        sim_user_store(COUNTER, seen + 1);
        self->done++;
        SIM_CHECK_EQUAL(unlock_fast(LOCK, self->id), 0);
    }
}

static void crowd(void *argument UNUSED)
{
    struct worker workers[3] = {0};
    uint32_t done = 0;
    for (uint32_t i = 0; i < 3; i++) {
        workers[i].id = i + 1;
        workers[i].thread = sim_spawn_in(own_task(), work, &workers[i]);
        sim_may_interrupt(sim_kernel_thread(workers[i].thread), 1);
    }
    for (int i = 0; i < 3; i++) {
        sim_settle();
        sim_leave_alone(sim_kernel_thread(workers[i].thread));
        sim_join(workers[i].thread);
        done += workers[i].done;
    }
    SIM_CHECK_EQUAL(sim_user_load(COUNTER), done);
    SIM_CHECK_EQUAL(sim_user_load(LOCK) & FUTEX_WORD_OWNER, 0);
}

SIM_TEST(pi_lock_excludes_over_timeouts_and_interruptions, .schedules = 8000) { in_task(crowd, NULL); }

/* --- ways out of a wait ------------------------------------------------------------------------------ */

static void owner_after_timeout(void *argument UNUSED)
{
    struct lock_job job;
    SIM_CHECK_EQUAL(lock_fast(LOCK, 1, DEADLINE_NEVER), 0);
    lock_start(&job, LOCK, 2, body_now() + 500);
    sim_join(job.thread);
    SIM_CHECK_EQUAL(job.result, -ETIMEDOUT);
    SIM_CHECK_EQUAL(sim_user_load(LOCK), 1 | FUTEX_WORD_WAITERS);
    SIM_CHECK_EQUAL(futex_unlock_pi(word_at(LOCK), 2), -EPERM);
    SIM_CHECK_EQUAL(unlock_fast(LOCK, 1), 0);
    SIM_CHECK_EQUAL(sim_user_load(LOCK), 0);
}

SIM_TEST(owner_stays_right_after_a_waiters_timeout, .schedules = 1000) { in_task(owner_after_timeout, NULL); }

/* The unlock races the waiter's timeout: either it has the lock, or nobody has. */
static void timeout_against_unlock(void *argument UNUSED)
{
    struct lock_job job;
    SIM_CHECK_EQUAL(lock_fast(LOCK, 1, DEADLINE_NEVER), 0);
    lock_start(&job, LOCK, 2, body_now() + 1 + sim_random(3000));
    sim_may_interrupt(sim_kernel_thread(job.thread), 1);
    SIM_CHECK_EQUAL(unlock_fast(LOCK, 1), 0);
    sim_settle();
    sim_leave_alone(sim_kernel_thread(job.thread));
    sim_join(job.thread);
    SIM_CHECK_EQUAL(sim_user_load(LOCK) & FUTEX_WORD_OWNER, job.result ? 0 : 2);
}

SIM_TEST(timeout_and_unlock_have_one_winner, .schedules = 4000) { in_task(timeout_against_unlock, NULL); }

static void refusals(void *argument UNUSED)
{
    SIM_CHECK_EQUAL(futex_lock_pi(word_at(LOCK), 1, DEADLINE_NEVER, true), 0);
    SIM_CHECK_EQUAL(futex_lock_pi(word_at(LOCK), 1, DEADLINE_NEVER, false), -EDEADLK);
    SIM_CHECK_EQUAL(futex_lock_pi(word_at(LOCK), 2, DEADLINE_NEVER, true), -EAGAIN);
    SIM_CHECK_EQUAL(futex_lock_pi(word_at(LOCK + 2), 2, DEADLINE_NEVER, false), -EINVAL);
    SIM_CHECK_EQUAL(futex_lock_pi(word_at(LOCK + 64 * PAGE_SIZE), 2, DEADLINE_NEVER, false), -EFAULT);
    sim_user_swap(LOCK, ID_MAX + 5);
    SIM_CHECK_EQUAL(futex_lock_pi(word_at(LOCK), 1, DEADLINE_NEVER, false), -ESRCH);
    SIM_CHECK_EQUAL(futex_unlock_pi(word_at(LOCK), 1), -EPERM);
    sim_user_swap(LOCK, FUTEX_WORD_OWNER_DIED);
    SIM_CHECK_EQUAL(futex_lock_pi(word_at(LOCK), 1, DEADLINE_NEVER, false), 0);
    SIM_CHECK_EQUAL(sim_user_load(LOCK), 1 | FUTEX_WORD_OWNER_DIED);
}

SIM_TEST(bad_owners_are_refused, .schedules = 200) { in_task(refusals, NULL); }

static int protect(uint32_t prot) { return aspace_protect(own_task()->aspace, LOCK, PAGE_SIZE, prot); }

static void unwritable(void *argument UNUSED)
{
    struct lock_job job;
    sim_calm_begin();
    SIM_CHECK_EQUAL(lock_fast(LOCK, 1, DEADLINE_NEVER), 0);
    SIM_CHECK_EQUAL(protect(PROT_READ_BIT), 0);
    SIM_CHECK_EQUAL(futex_lock_pi(word_at(LOCK), 2, DEADLINE_NEVER, false), -EFAULT);
    SIM_CHECK_EQUAL(futex_unlock_pi(word_at(LOCK), 1), -EFAULT);
    SIM_CHECK_EQUAL(protect(PROT_READ_BIT | PROT_WRITE_BIT), 0);
    lock_start(&job, LOCK, 2, DEADLINE_NEVER);
    sim_settle();
    SIM_CHECK_EQUAL(protect(PROT_READ_BIT), 0);
    SIM_CHECK_EQUAL(futex_unlock_pi(word_at(LOCK), 1), -EFAULT); /* and the waiter is still served in turn */
    SIM_CHECK_EQUAL(job.result, -1000);
    SIM_CHECK_EQUAL(protect(PROT_READ_BIT | PROT_WRITE_BIT), 0);
    SIM_CHECK_EQUAL(futex_unlock_pi(word_at(LOCK), 1), 0);
    sim_calm_end();
    sim_join(job.thread);
    SIM_CHECK_EQUAL(job.result, 0);
    SIM_CHECK_EQUAL(sim_user_load(LOCK), 2 | FUTEX_WORD_WAITERS);
}

SIM_TEST(unwritable_word_changes_nothing, .schedules = 500) { in_task(unwritable, NULL); }

/* --- deadlock ---------------------------------------------------------------------------------------- */

struct cross_job {
    uint32_t id;
    uaddr_t first, second;
    int result;
};

static void cross_run(void *argument)
{
    struct cross_job *job = argument;
    SIM_CHECK_EQUAL(lock_fast(job->first, job->id, DEADLINE_NEVER), 0);
    job->result = lock_fast(job->second, job->id, DEADLINE_NEVER);
    if (!job->result)
        SIM_CHECK_EQUAL(unlock_fast(job->second, job->id), 0);
    SIM_CHECK_EQUAL(unlock_fast(job->first, job->id), 0);
}

static void crosswise(void *argument UNUSED)
{
    struct cross_job jobs[2] = {{1, LOCK, LOCK_2, 0}, {2, LOCK_2, LOCK, 0}};
    struct sim_thread *threads[2];
    for (int i = 0; i < 2; i++)
        threads[i] = sim_spawn_in(own_task(), cross_run, &jobs[i]);
    for (int i = 0; i < 2; i++) {
        sim_join(threads[i]);
        SIM_CHECK(jobs[i].result == 0 || jobs[i].result == -EDEADLK);
    }
    SIM_CHECK(jobs[0].result == 0 || jobs[1].result == 0);
    SIM_CHECK_EQUAL((sim_user_load(LOCK) | sim_user_load(LOCK_2)) & FUTEX_WORD_OWNER, 0);
}

SIM_TEST(locking_crosswise_is_a_deadlock_for_one, .schedules = 4000) { in_task(crosswise, NULL); }

/* --- death of the owner ------------------------------------------------------------------------------ */

static void owner_dies(uint32_t id)
{
    atomic32_store(&owners[id], FUTEX_OWNER_EXITING);
    futex_owner_exit(id);
    atomic32_store(&owners[id], FUTEX_OWNER_GONE);
}

static void death_against_waiters(void *argument UNUSED)
{
    struct lock_job jobs[2];
    int got = 0;
    SIM_CHECK_EQUAL(lock_fast(LOCK, 1, DEADLINE_NEVER), 0);
    for (uint32_t i = 0; i < 2; i++)
        lock_start(&jobs[i], LOCK, i + 2, sim_chance(2) ? DEADLINE_NEVER : body_now() + 1 + sim_random(3000));
    owner_dies(1);
    for (int turn = 0; turn < 2; turn++) {
        sim_settle();
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t value = sim_user_load(LOCK);
            if ((value & FUTEX_WORD_OWNER) != jobs[i].id)
                continue;
            if (!got++)
                SIM_CHECK(value & FUTEX_WORD_OWNER_DIED);
            SIM_CHECK_EQUAL(futex_unlock_pi(word_at(LOCK), jobs[i].id), 0);
        }
    }
    for (int i = 0; i < 2; i++) {
        sim_join(jobs[i].thread);
        SIM_CHECK(jobs[i].result == 0 || jobs[i].result == -ETIMEDOUT || jobs[i].result == -ESRCH);
    }
}

SIM_TEST(a_dead_owners_lock_goes_on, .schedules = 6000) { in_task(death_against_waiters, NULL); }

/* --- waiting on a condition -------------------------------------------------------------------------- */

struct condition_job {
    uint32_t id;
    nanoseconds_t deadline;
    uaddr_t target;
    int result;
    struct sim_thread *thread;
};

static void condition_run(void *argument)
{
    struct condition_job *job = argument;
    job->result = futex_wait_requeue_pi(word_at(CONDITION), 0, FUTEX_BITSET_ALL, word_at(job->target), job->id, job->deadline);
    if (!job->result) {
        SIM_CHECK_EQUAL(sim_user_load(LOCK) & FUTEX_WORD_OWNER, job->id);
        SIM_CHECK_EQUAL(unlock_fast(LOCK, job->id), 0);
    }
}

static void condition_start(struct condition_job *job, uint32_t id, nanoseconds_t deadline)
{
    *job = (struct condition_job){.id = id, .deadline = deadline, .target = LOCK, .result = -1000};
    job->thread = sim_spawn_in(own_task(), condition_run, job);
}

static void broadcast(void *argument UNUSED)
{
    struct condition_job jobs[3];
    for (uint32_t i = 0; i < 3; i++)
        condition_start(&jobs[i], i + 2, DEADLINE_NEVER);
    sim_settle();
    SIM_CHECK_EQUAL(futex_wake(word_at(CONDITION), 1, FUTEX_BITSET_ALL), -EINVAL);
    SIM_CHECK_EQUAL(futex_requeue(word_at(CONDITION), word_at(LOCK), 1, 1, NULL), -EINVAL);
    SIM_CHECK_EQUAL(futex_cmp_requeue_pi(word_at(CONDITION), word_at(LOCK_2), 1, 5, 0), -EINVAL);
    SIM_CHECK_EQUAL(futex_cmp_requeue_pi(word_at(CONDITION), word_at(CONDITION), 1, 5, 0), -EINVAL);
    SIM_CHECK_EQUAL(futex_cmp_requeue_pi(word_at(CONDITION), word_at(LOCK), 2, 5, 0), -EINVAL);
    SIM_CHECK_EQUAL(futex_cmp_requeue_pi(word_at(CONDITION), word_at(LOCK), 1, -5, 0), -EINVAL);
    SIM_CHECK_EQUAL(futex_cmp_requeue_pi(word_at(CONDITION), word_at(LOCK), 1, 5, 1), -EAGAIN);
    SIM_CHECK_EQUAL(lock_fast(LOCK, 1, DEADLINE_NEVER), 0);
    SIM_CHECK_EQUAL(futex_cmp_requeue_pi(word_at(CONDITION), word_at(LOCK), 1, 5, 0), 3);
    SIM_CHECK_EQUAL(futex_wake(word_at(LOCK), 1, FUTEX_BITSET_ALL), -EINVAL);
    SIM_CHECK_EQUAL(futex_requeue(word_at(LOCK), word_at(CONDITION), 1, 1, NULL), -EINVAL);
    SIM_CHECK_EQUAL(unlock_fast(LOCK, 1), 0);
    for (int i = 0; i < 3; i++) {
        sim_join(jobs[i].thread);
        SIM_CHECK_EQUAL(jobs[i].result, 0);
    }
    SIM_CHECK_EQUAL(sim_user_load(LOCK), 0);
}

SIM_TEST(broadcast_moves_waiters_onto_the_lock, .schedules = 1500) { in_task(broadcast, NULL); }

/* Waiters come, go by timeout and interruption, and are moved, all at once. */
static void condition_storm(void *argument UNUSED)
{
    struct condition_job jobs[3];
    int64_t moved = 0, got = 0;
    for (uint32_t i = 0; i < 3; i++) {
        condition_start(&jobs[i], i + 2, sim_chance(2) ? DEADLINE_NEVER : body_now() + 1 + sim_random(20000));
        sim_may_interrupt(sim_kernel_thread(jobs[i].thread), 1);
    }
    for (int turn = 0; turn < 2; turn++) {
        int64_t result;
        SIM_CHECK_EQUAL(lock_fast(LOCK, 1, DEADLINE_NEVER), 0);
        result = futex_cmp_requeue_pi(word_at(CONDITION), word_at(LOCK), 1, (int32_t)sim_random(3), 0);
        SIM_CHECK(result >= 0);
        moved += result;
        SIM_CHECK_EQUAL(unlock_fast(LOCK, 1), 0);
    }
    sim_settle();
    for (int i = 0; i < 3; i++)
        sim_leave_alone(sim_kernel_thread(jobs[i].thread));
    moved += futex_cmp_requeue_pi(word_at(CONDITION), word_at(LOCK), 1, 10, 0);
    for (int i = 0; i < 3; i++) {
        sim_join(jobs[i].thread);
        got += jobs[i].result == 0;
        SIM_CHECK(jobs[i].result == 0 || jobs[i].result == -ETIMEDOUT || jobs[i].result == -EINTR || jobs[i].result == -EAGAIN);
    }
    SIM_CHECK(got <= moved);
    SIM_CHECK_EQUAL(sim_user_load(LOCK) & FUTEX_WORD_OWNER, 0);
}

SIM_TEST(waiters_leave_from_wherever_they_were_moved, .schedules = 8000) { in_task(condition_storm, NULL); }
