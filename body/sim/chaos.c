/*
 * Injected interruptions and deaths: the outside strand strikes a thread that a test has put on the list,
 * at a moment the seed chooses.
 */
#include "body/sim/engine.h"
#include "kernel/assert.h"
#include "kernel/object.h"

#define TARGETS_MAX 32u

struct target {
    struct thread *thread; /* a reference */
    uint32_t times;
    bool kill;
};

static struct target targets[TARGETS_MAX];
static uint32_t target_count;
static uint32_t one_in;
static struct thread *struck; /* while the outside strand is at it */

void sim_chaos_reset(void)
{
    static const uint32_t rates[] = {2, 10, 50};
    target_count = 0;
    struck = NULL;
    one_in = rates[sim_random(ARRAY_SIZE(rates))];
}

static void add(struct thread *thread, uint32_t times, bool kill)
{
    KASSERT(target_count < TARGETS_MAX);
    targets[target_count++] = (struct target){.thread = thread, .times = times, .kill = kill};
}

void sim_may_interrupt(struct thread *thread, uint32_t times) { add(object_ref(thread), times, false); }
void sim_may_kill(struct thread *thread) { add(object_ref(thread), 1, true); }

static void drop(uint32_t index)
{
    struct thread *thread = targets[index].thread;
    targets[index] = targets[--target_count];
    object_unref(thread);
}

void sim_leave_alone(struct thread *thread)
{
    while (struck == thread)
        body_relax(0);
    for (uint32_t i = target_count; i-- > 0;)
        if (targets[i].thread == thread)
            drop(i);
}

bool sim_chaos_wanted(void) { return target_count > 0 && sim_chance(one_in); }

void sim_chaos_act(void)
{
    if (target_count == 0)
        return;
    struct target *target = &targets[sim_random(target_count)];
    if (target->times == 0)
        return;
    target->times--;
    bool kill = target->kill;
    struck = target->thread;
    if (kill)
        thread_kill(struck);
    else
        thread_interrupt(struck);
    atomic_fence(); /* all of it is visible before sim_leave_alone goes on */
    struck = NULL;
}

void sim_calm_begin(void) { sim.calm++; }

void sim_calm_end(void)
{
    KASSERT(sim.calm > 0);
    sim.calm--;
}
