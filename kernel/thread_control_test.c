/*
 * Threads that are held: at any moment, by several, with resumptions, kills and the end anywhere in between. The held thread acts as an
 * ABI does, which looks for a suspension before each step of its "program".
 */
#include "body/sim/sim.h"
#include "kernel/atomic.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/thread.h"
#include "kernel/thread_control.h"

struct held {
    struct atomic32 steps, stop, control_known;
    struct thread *thread;
    struct thread_control *control;
    struct user_regs regs;
};

/* The way out of the kernel, and one step of the program. */
static void program(void *argument)
{
    struct held *held = argument;
    held->thread = thread_current();
    held->control = thread_control_of(held->thread, 7);
    SIM_CHECK(held->control);
    atomic32_store(&held->control_known, 1);
    while (!atomic32_load(&held->stop)) {
        if (thread_stopping())
            thread_stop_here(&held->regs);
        if (thread_killed(held->thread))
            break;
        atomic32_add(&held->steps, 1);
        thread_yield();
    }
}

static struct sim_thread *start(struct held *held)
{
    struct sim_thread *thread = sim_spawn(program, held);
    while (!atomic32_load(&held->control_known))
        thread_yield();
    return thread;
}

static void finish(struct held *held, struct sim_thread *thread)
{
    atomic32_store(&held->stop, 1);
    sim_join(thread);
    object_unref(held->control);
}

SIM_TEST(a_suspended_thread_stands_still_and_its_registers_can_be_changed, .schedules = 4000)
{
    struct held held = {0};
    struct user_regs regs;
    struct sim_thread *thread = start(&held);
    SIM_CHECK_EQUAL(thread_control_suspend(held.control, DEADLINE_NEVER), 0);
    uint32_t steps = atomic32_load(&held.steps);
    SIM_CHECK_EQUAL(thread_control_get_regs(held.control, &regs), 0);
    *(uint64_t *)&regs = 0x4710; /* whichever register comes first */
    SIM_CHECK_EQUAL(thread_control_set_regs(held.control, &regs), 0);
    for (int i = 0; i < 4; i++)
        thread_yield();
    SIM_CHECK_EQUAL(atomic32_load(&held.steps), steps);
    SIM_CHECK_EQUAL(thread_control_resume(held.control), 0);
    SIM_CHECK_EQUAL(thread_control_resume(held.control), -EINVAL);
    SIM_CHECK_EQUAL(thread_control_set_regs(held.control, &regs), -EBUSY);
    while (atomic32_load(&held.steps) == steps)
        thread_yield();
    SIM_CHECK_EQUAL(*(uint64_t *)&held.regs, 0x4710);
    finish(&held, thread);
}

static void suspend_and_resume(void *argument)
{
    struct held *held = argument;
    for (int i = 0; i < 3; i++) {
        int error = thread_control_suspend(held->control, DEADLINE_NEVER);
        SIM_CHECK_EQUAL(error, 0);
        uint32_t steps = atomic32_load(&held->steps);
        thread_yield();
        SIM_CHECK_EQUAL(atomic32_load(&held->steps), steps); /* others resume, but this suspension holds it */
        SIM_CHECK_EQUAL(thread_control_resume(held->control), 0);
    }
}

SIM_TEST(each_suspension_holds_until_it_is_taken_back, .schedules = 6000)
{
    struct held held = {0};
    struct sim_thread *thread = start(&held), *others[3];
    for (int i = 0; i < 3; i++)
        others[i] = sim_spawn(suspend_and_resume, &held);
    for (int i = 0; i < 3; i++)
        sim_join(others[i]);
    uint32_t steps = atomic32_load(&held.steps);
    while (atomic32_load(&held.steps) == steps)
        thread_yield();
    finish(&held, thread);
}

static void suspend_once(void *argument)
{
    struct held *held = argument;
    int error = thread_control_suspend(held->control, DEADLINE_NEVER);
    SIM_CHECK(error == 0 || error == -ESRCH || error == -ECANCELED);
}

SIM_TEST(who_waits_for_a_thread_to_stand_still_hears_of_its_end, .schedules = 6000)
{
    struct held held = {0};
    struct sim_thread *thread = start(&held), *other = sim_spawn(suspend_once, &held);
    thread_kill(held.thread);
    SIM_CHECK_EQUAL(thread_control_wait(held.control, DEADLINE_NEVER), 0);
    sim_join(other);
    SIM_CHECK_EQUAL(thread_control_suspend(held.control, DEADLINE_NEVER), -ESRCH);
    SIM_CHECK_EQUAL(thread_control_resume(held.control), -ESRCH);
    finish(&held, thread);
}

static void resume_once(void *argument)
{
    struct held *held = argument;
    while (thread_control_resume(held->control) == -EINVAL)
        thread_yield();
}

SIM_TEST(a_resumption_ends_the_wait_for_standing_still, .schedules = 6000)
{
    struct held held = {0};
    struct sim_thread *thread = start(&held), *suspends = sim_spawn(suspend_once, &held), *resumes = sim_spawn(resume_once, &held);
    sim_join(suspends);
    sim_join(resumes);
    finish(&held, thread);
}

SIM_TEST(a_suspension_ends_no_wait, .schedules = 3000)
{
    struct waitq queue;
    struct waiter waiter;
    struct thread_control *control = thread_control_of(thread_current(), 1);
    struct user_regs regs = {0};
    waitq_init(&queue);
    waiter_init(&waiter);
    SIM_CHECK_EQUAL(thread_control_suspend(control, DEADLINE_NEVER), 0); /* oneself: at once */
    spin_lock(&queue.lock);
    waitq_enqueue_locked(&queue, &waiter);
    spin_unlock(&queue.lock);
    SIM_CHECK_EQUAL(waiter_wait(&waiter, body_now() + 1000, WAIT_INTERRUPTIBLE), -ETIMEDOUT);
    SIM_CHECK(thread_stopping() && thread_wanted(thread_current()) && !thread_interrupted(thread_current()));
    SIM_CHECK_EQUAL(thread_control_resume(control), 0);
    thread_stop_here(&regs); /* nobody wants it any more */
    SIM_CHECK(!thread_stopping());
    object_unref(control);
}
