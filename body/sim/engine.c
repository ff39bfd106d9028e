/*
 * The seeded scheduler of the simulated machine.
 *
 * sim_point() is called wherever another CPU could interfere. It counts down to the next decision; a
 * decision lets something happen: time passes, a store in flight becomes visible, a timer comes due, or
 * another strand continues. How often, and by which strategy (at random, or by random priorities with a
 * few changes), the seed says too: rare switches find what frequent ones miss.
 *
 * A strand that spins (body_relax) always yields, one that idles is not chosen until woken. When nobody
 * can run, the clock jumps to the next timer; when there is none, the schedule has hung: a lost wake-up or a
 * deadlock, and the test has failed.
 */
#include "body/sim/engine.h"

#include <stdio.h>
#include <string.h>

#include "kernel/assert.h"
#include "kernel/async.h"
#include "kernel/atomic.h"
#include "kernel/object.h"

#define POINTS_MAX 5000000u
#define RUN_MAX 300u

struct sim sim = {.controller = NULL};

/* --- choosing ---------------------------------------------------------------------------------------- */

static bool outside_wanted(void)
{
    return sim.now >= sim.armed || (sim_failures_allowed() && sim.chaos_pending);
}

static bool runnable(const struct sim_strand *strand)
{
    if (!strand->exists || strand->done)
        return false;
    if (strand->id == SIM_OUTSIDE && strand->idle)
        return outside_wanted() || strand->woken;
    return !strand->idle || strand->woken;
}

static struct sim_strand *choose_at_random(bool must)
{
    struct sim_strand *candidates[SIM_STRANDS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < SIM_STRANDS; i++)
        if (runnable(&sim.strands[i]) && !(must && &sim.strands[i] == sim.current))
            candidates[count++] = &sim.strands[i];
    if (count == 0)
        return runnable(sim.current) ? sim.current : NULL;
    return candidates[sim_random(count)];
}

static struct sim_strand *choose_by_priority(bool must)
{
    struct sim_strand *best = NULL;
    for (uint32_t i = 0; i < SIM_STRANDS; i++) {
        struct sim_strand *strand = &sim.strands[i];
        if (runnable(strand) && !(must && strand == sim.current) && (!best || strand->priority > best->priority))
            best = strand;
    }
    if (!best)
        return runnable(sim.current) ? sim.current : NULL;
    return best;
}

static void demote(struct sim_strand *strand)
{
    uint32_t lowest = UINT32_MAX;
    for (uint32_t i = 0; i < SIM_STRANDS; i++)
        if (sim.strands[i].priority < lowest)
            lowest = sim.strands[i].priority;
    strand->priority = lowest - 1;
    strand->run = 0;
}

static struct sim_strand *choose(bool must)
{
    if (!sim.by_priority)
        return choose_at_random(must);
    if (must || ++sim.current->run > RUN_MAX || (sim.change_points && sim_chance(sim.change_points)))
        demote(sim.current);
    return choose_by_priority(must);
}

/* --- what happens by itself -------------------------------------------------------------------------- */

static void drain_somewhere(void)
{
    sim_buffer_drain_some(&sim.strands[sim_random(SIM_STRANDS)]);
}

static void drain_everywhere(void)
{
    for (uint32_t i = 0; i < SIM_STRANDS; i++)
        sim_buffer_drain(&sim.strands[i]);
}

static void pass_time(void)
{
    sim.now += sim_random(200);
    if (sim.armed != DEADLINE_NEVER && sim.now < sim.armed && sim_failures_allowed() && sim.jump_one_in &&
        sim_chance(sim.jump_one_in))
        sim.now = sim.armed;
}

static void hung(void)
{
    sim_spawn_report();
    sim_fail("nobody can run: a lost wake-up or a deadlock");
}

/* Nobody can run: what would happen in a machine whose CPUs all idle. */
static void pass_idle_time(void)
{
    drain_everywhere();
    if (sim.settler) {
        sim.strands[SIM_OUTSIDE].woken = true;
    } else if (sim.armed != DEADLINE_NEVER) {
        sim.now = sim.armed > sim.now ? sim.armed : sim.now;
    } else {
        hung();
    }
}

static void trace_switch(const struct sim_strand *to)
{
    if (sim.trace)
        fprintf(stderr, "%8llu  cpu %u -> %u  at %llu ns\n", (unsigned long long)sim.points, sim.current->id, to->id,
                (unsigned long long)sim.now);
}

void sim_reschedule(bool must)
{
    struct sim_strand *next;
    while (!(next = choose(must)))
        pass_idle_time();
    sim.quantum = 1 + sim_random(2 * sim.quantum_mean);
    if (next != sim.current)
        trace_switch(next);
    sim_strand_switch(next);
}

static void serve_timers(void)
{
    sim.armed = DEADLINE_NEVER;
    timer_queue_run();
}

/* A timer interrupt on this CPU, on top of whatever it runs. */
static void interrupt_here(void)
{
    struct sim_strand *strand = sim.current;
    if (strand->interrupts_off || strand->in_interrupt || strand->id == SIM_OUTSIDE)
        return;
    strand->in_interrupt = true;
    serve_timers();
    KASSERT(strand == sim.current && !strand->interrupts_off);
    strand->in_interrupt = false;
}

static NOINLINE void decide(void)
{
    pass_time();
    if (sim.memory != SIM_MEMORY_SC)
        drain_somewhere();
    if (sim_failures_allowed() && !sim.chaos_pending)
        sim.chaos_pending = sim_chaos_wanted();
    if (sim.points > sim.points_max)
        hung();
    sim_reschedule(false);
    if (sim.interrupts_on_cpus && sim.now >= sim.armed)
        interrupt_here();
}

void sim_point(void)
{
    if (!sim.running)
        return;
    sim.points++;
    if (UNLIKELY(--sim.quantum == 0))
        decide();
}

/* --- the body's execution functions ------------------------------------------------------------------ */

void *body_cpu_local(void) { return sim.running ? sim.current->local : NULL; }
void body_cpu_set_local(void *local) { sim.current->local = local; }
uint32_t body_cpu_count(void) { return sim.cpus; }

uint32_t body_interrupts_disable(void)
{
    if (!sim.running)
        return 0;
    bool off = sim.current->interrupts_off;
    sim.current->interrupts_off = true;
    return off;
}

void body_interrupts_restore(uint32_t state)
{
    if (sim.running)
        sim.current->interrupts_off = state;
}

void body_relax(uint32_t turn UNUSED)
{
    if (!sim.running)
        return;
    sim.points++;
    for (uint32_t i = 0; i < SIM_STRANDS; i++)
        sim_buffer_drain_some(&sim.strands[i]);
    if (sim.points > sim.points_max)
        hung();
    pass_time();
    sim_reschedule(true);
}

void body_cpu_wake(uint32_t cpu)
{
    sim_point();
    sim.strands[cpu].woken = true;
}

static void idle_until_woken(struct sim_strand *strand)
{
    strand->idle = true;
    if (!strand->woken && sim_random(16) != 0) /* now and then for nothing */
        sim_reschedule(true);
    strand->idle = strand->woken = false;
}

void body_idle(uint32_t cpu)
{
    struct sim_strand *strand = &sim.strands[cpu];
    KASSERT(strand == sim.current && !thread_current() && !strand->interrupts_off);
    sim_point();
    if (sim.now >= sim.armed && sim_chance(2))
        serve_timers();
    uint32_t interrupts = body_interrupts_disable(); /* or one might bring work between the look and the sleep */
    if (!sched_work_available(cpu)) {
        sim_point();
        idle_until_woken(strand);
    }
    body_interrupts_restore(interrupts);
}

/* --- time -------------------------------------------------------------------------------------------- */

nanoseconds_t body_now(void)
{
    sim_point();
    return sim.now;
}

int64_t body_wall_offset(void) { return 1000000000; }

void body_timer_arm(nanoseconds_t deadline)
{
    sim_point();
    sim.armed = deadline;
}

void sim_advance(nanoseconds_t nanoseconds)
{
    sim.now += nanoseconds;
    sim_point();
}

/* --- strands ----------------------------------------------------------------------------------------- */

/* `settled`: nobody else could run. */
static void outside_turn(bool settled)
{
    if (sim.now >= sim.armed) {
        serve_timers();
    } else if (settled && sim.settler) {
        struct thread *settler = sim.settler;
        sim.settler = NULL;
        thread_wake(settler);
    } else if (sim.chaos_pending) {
        sim_chaos_act();
        sim.chaos_pending = false;
    }
}

static bool cpus_done(void)
{
    for (uint32_t i = 0; i < sim.cpus; i++)
        if (!sim.strands[i].done)
            return false;
    return true;
}

static void outside_run(struct sim_strand *self)
{
    while (!cpus_done()) {
        self->idle = true;
        sim_reschedule(true);
        bool settled = self->woken;
        self->idle = self->woken = false;
        if (!cpus_done())
            outside_turn(settled);
    }
}

static void strand_run(void)
{
    sim_strand_started();
    struct sim_strand *self = sim.current;
    if (self->id == SIM_OUTSIDE)
        outside_run(self);
    else
        sched_run(self->id);
    self->done = true;
    if (self->id == SIM_OUTSIDE) {
        drain_everywhere();
        sim_leave();
    }
    if (cpus_done())
        sim.strands[SIM_OUTSIDE].woken = true;
    sim_reschedule(true);
    panic("a strand that ended ran again");
}

static void strand_init(uint32_t id)
{
    struct sim_strand *strand = &sim.strands[id];
    void *stack = sim_stack_of_strand(id);
    strand->id = id;
    strand->exists = id < sim.cpus || id == SIM_OUTSIDE;
    strand->done = strand->idle = strand->woken = strand->interrupts_off = strand->in_interrupt = false;
    strand->priority = 1000000 + sim_random(1000);
    strand->run = 0;
    strand->local = NULL;
    strand->store_count = 0;
    strand->stack_low = stack;
    strand->stack_size = SIM_STRAND_STACK;
    memset(strand->tlb, 0, sizeof(strand->tlb));
    sim_context_make(&strand->stack_pointer, stack, SIM_STRAND_STACK, strand_run);
}

/* --- a schedule -------------------------------------------------------------------------------------- */

static void choose_behaviour(const struct sim_test *test)
{
    static const uint32_t means[] = {1, 3, 8, 20, 60, 200};
    static const uint32_t failures[] = {0, 2, 5, 20, 100};
    static const uint32_t jumps[] = {0, 4, 30, 200};
    sim.cpus = test->cpus ? test->cpus : 1 + sim_random(SIM_CPUS_MAX);
    sim.by_priority = sim_chance(4);
    sim.change_points = sim.by_priority ? 20 + sim_random(200) : 0;
    sim.quantum_mean = sim.by_priority ? 2 : means[sim_random(ARRAY_SIZE(means))];
    sim.memory = (enum sim_memory)sim_random(3);
    sim.fail_one_in = test->fail_allocations ? failures[sim_random(ARRAY_SIZE(failures))] : 0;
    sim.jump_one_in = jumps[sim_random(ARRAY_SIZE(jumps))];
    sim.interrupts_on_cpus = sim_chance(3);
}

static void main_thread(void *argument)
{
    const struct sim_test *test = argument;
    if (async_init() != 0)
        sim_fail("async_init failed");
    sim_calm_end();
    test->run();
    sim_calm_begin();
    async_stop();
    sched_stop();
}

static void machine_init(const struct sim_test *test, uint64_t seed)
{
    sim.test = test;
    sim.seed = seed;
    sim_random_seed(seed);
    choose_behaviour(test);
    sim.points = 0;
    sim.points_max = test->points ? test->points : POINTS_MAX;
    sim.quantum = 1 + sim_random(2 * sim.quantum_mean);
    sim.now = 1000 + sim_random(1000000);
    sim.armed = DEADLINE_NEVER;
    sim.settler = NULL;
    sim.chaos_pending = false;
    sim.calm = 1;
    sim_memory_reset();
    sim_chaos_reset();
    for (uint32_t id = 0; id < SIM_STRANDS; id++)
        strand_init(id);
}

static void check_nothing_left(uint64_t objects_before)
{
    int64_t objects = (int64_t)(object_live_count() - objects_before);
    if (objects != 0)
        sim_fail("%lld objects left over", (long long)objects);
    if (sim_memory_live() != 0)
        sim_fail("%llu blocks of memory left over", (unsigned long long)sim_memory_live());
    if (sim_stacks_out() != 0)
        sim_fail("%u stacks left over", sim_stacks_out());
}

void sim_run_schedule(const struct sim_test *test, uint64_t seed)
{
    uint64_t objects = object_live_count();
    machine_init(test, seed);
    thread_system_init(sim.cpus);
    sched_set_spread(1 + sim_random(2));
    struct thread *thread = thread_create("test", NULL, main_thread, (void *)test);
    thread_start(thread);
    sim.running = true;
    sim_enter(&sim.strands[0]);
    sim.running = false;
    object_unref(thread);
    thread_system_fini();
    check_nothing_left(objects);
}
