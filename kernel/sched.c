/*
 * The scheduler: run queues, and every context switch.
 *
 * Each CPU has a queue of ready threads. A thread that suspends, parks, yields or ends switches straight to
 * the next ready one of its CPU; only when there is none, or when the devices are due for a look, does it
 * go through the CPU's scheduler context (sched_run), which steals from other queues and idles in the body.
 *
 * The thread that is to run next has a place of its own before the queue (cpu->first), which only its CPU touches: the
 * usual case, one thread made ready and then run, needs no lock of the queue at all. Other CPUs steal from the
 * queue only.
 *
 * How locks are held across a switch: kernel/sched.h. Where a thread that becomes ready goes, and which CPU
 * is woken for it: sched_set_spread in kernel/thread.h. No wake-up of an idle CPU is lost: it announces
 * itself in idle_cpus, then looks at the queues; who enqueues does so first, then looks at idle_cpus; both
 * with a full fence between (numbered below).
 */
#include "kernel/sched.h"

#include "kernel/assert.h"
#include "kernel/lockcheck.h"

#define POLL_CHECK_SWITCHES 16u
#define POLL_PERIOD_NS 50000u
#define FAVOURS_MAX 32u

static struct cpu cpus[CPUS_MAX];
static uint32_t cpu_count;
static struct atomic32 spread;
static struct atomic32 stopping;
static struct atomic64 idle_cpus;

static void cpu_init(struct cpu *cpu, uint32_t id)
{
    *cpu = (struct cpu){.id = id, .lock = SPINLOCK_INIT(RANK_RUN_QUEUE)};
    list_init(&cpu->ready);
}

int thread_system_init(uint32_t count)
{
    KASSERT(count > 0 && count <= CPUS_MAX);
    cpu_count = count;
    for (uint32_t i = 0; i < count; i++)
        cpu_init(&cpus[i], i);
    atomic32_store(&spread, 2);
    atomic32_store(&stopping, 0);
    atomic64_store(&idle_cpus, 0);
    stack_pool_init();
    timer_system_init();
    return 0;
}

void thread_system_fini(void) { stack_pool_fini(cpus, cpu_count); }

void sched_set_spread(uint32_t backlog)
{
    KASSERT(backlog > 0);
    atomic32_store(&spread, backlog);
}

/* --- run queues -------------------------------------------------------------------------------------- */

static uint32_t queue_add_locked(struct cpu *cpu, struct thread *thread, bool front)
{
    KASSERT(!list_linked(&thread->run_link));
    if (front)
        list_push_front(&cpu->ready, &thread->run_link);
    else
        list_push_back(&cpu->ready, &thread->run_link);
    uint32_t count = atomic32_load_relaxed(&cpu->ready_count) + 1;
    atomic32_store_relaxed(&cpu->ready_count, count);
    return count;
}

static struct thread *queue_take_locked(struct cpu *cpu, struct list *link)
{
    if (link == &cpu->ready)
        return NULL;
    list_remove(link);
    atomic32_store_relaxed(&cpu->ready_count, atomic32_load_relaxed(&cpu->ready_count) - 1);
    return LIST_ENTRY(link, struct thread, run_link);
}

static uint32_t queue_add(struct cpu *cpu, struct thread *thread, bool front)
{
    spin_acquire(&cpu->lock);
    uint32_t count = queue_add_locked(cpu, thread, front);
    spin_release(&cpu->lock);
    return count;
}

static struct thread *queue_take(struct cpu *cpu)
{
    if (atomic32_load_relaxed(&cpu->ready_count) == 0)
        return NULL;
    spin_acquire(&cpu->lock);
    struct thread *thread = queue_take_locked(cpu, cpu->ready.next);
    spin_release(&cpu->lock);
    return thread;
}

/* --- what a CPU runs next ---------------------------------------------------------------------------- */

/* May be out of date, except that a CPU knows its own `first`. */
static uint32_t backlog(const struct cpu *cpu)
{
    return atomic32_load_relaxed(&cpu->ready_count) + (atomic_ptr_load_relaxed(&cpu->first) != NULL);
}

/* With a spread of 1 everything may be stolen, so all goes to the queue. */
static bool first_usable(void) { return atomic32_load_relaxed(&spread) > 1; }

/*
 * From the CPU itself, after what is ready. Returns the backlog. `first` belongs to the CPU, but an interrupt on it
 * may make threads ready too.
 */
static uint32_t local_add(struct cpu *cpu, struct thread *thread)
{
    uint32_t interrupts = spin_interrupts_disable();
    bool first = backlog(cpu) == 0 && first_usable();
    if (first)
        atomic_ptr_store_relaxed(&cpu->first, thread);
    else
        queue_add(cpu, thread, false);
    spin_interrupts_restore(interrupts);
    return backlog(cpu);
}

static void local_add_first(struct cpu *cpu, struct thread *thread)
{
    uint32_t interrupts = spin_interrupts_disable();
    struct thread *displaced = thread;
    if (first_usable()) {
        displaced = atomic_ptr_load_relaxed(&cpu->first);
        atomic_ptr_store_relaxed(&cpu->first, thread);
    }
    if (displaced)
        queue_add(cpu, displaced, true);
    spin_interrupts_restore(interrupts);
}

/* Hand-overs go first, but not for ever. */
static bool favour_queue(struct cpu *cpu)
{
    if (LIKELY(atomic32_load_relaxed(&cpu->ready_count) == 0) || ++cpu->favours < FAVOURS_MAX)
        return false;
    cpu->favours = 0;
    return true;
}

static struct thread *local_take(struct cpu *cpu)
{
    uint32_t interrupts = spin_interrupts_disable();
    struct thread *thread = atomic_ptr_load_relaxed(&cpu->first);
    if (thread && !favour_queue(cpu))
        atomic_ptr_store_relaxed(&cpu->first, NULL);
    else
        thread = queue_take(cpu);
    spin_interrupts_restore(interrupts);
    return thread;
}

/* True when this caller is the one to wake it. */
static bool idle_claim(uint32_t id)
{
    uint64_t bit = (uint64_t)1 << id;
    return atomic64_load_relaxed(&idle_cpus) & bit && atomic64_and(&idle_cpus, ~bit) & bit;
}

static void wake_some_idle_cpu(void)
{
    for (uint64_t idle = atomic64_load_relaxed(&idle_cpus); idle; idle &= idle - 1) {
        uint32_t id = (uint32_t)__builtin_ctzll(idle);
        if (idle_claim(id)) {
            body_cpu_wake(id);
            return;
        }
    }
}

static void enqueue_remote(struct thread *thread)
{
    struct cpu *cpu = &cpus[thread->cpu];
    queue_add(cpu, thread, false); /* 1 */
    atomic_fence();
    if (idle_claim(cpu->id)) /* 2: rival is poll_devices(), steps 3 and 4 */
        body_cpu_wake(cpu->id);
    else if (backlog(cpu) >= atomic32_load_relaxed(&spread))
        wake_some_idle_cpu();
}

void sched_enqueue(struct thread *thread)
{
    struct cpu *cpu = cpu_self();
    if (!cpu) {
        enqueue_remote(thread);
    } else if (local_add(cpu, thread) >= atomic32_load_relaxed(&spread)) { /* 1 */
        atomic_fence();
        wake_some_idle_cpu(); /* 2 */
    }
}

void sched_enqueue_here(struct thread *thread)
{
    struct cpu *cpu = cpu_self();
    if (cpu)
        local_add_first(cpu, thread);
    else
        enqueue_remote(thread);
}

static bool may_steal_from(const struct cpu *victim)
{
    return atomic32_load_relaxed(&victim->ready_count) > 0 && backlog(victim) >= atomic32_load_relaxed(&spread);
}

/* The youngest thread of a queue that is long enough to share. */
static struct thread *steal_from(struct cpu *victim)
{
    if (!may_steal_from(victim) || !spin_try_acquire(&victim->lock))
        return NULL;
    struct thread *thread = may_steal_from(victim) ? queue_take_locked(victim, victim->ready.prev) : NULL;
    spin_release(&victim->lock);
    return thread;
}

static struct thread *steal(struct cpu *cpu)
{
    for (uint32_t i = 1; i < cpu_count; i++) {
        struct thread *thread = steal_from(&cpus[(cpu->id + i) % cpu_count]);
        if (thread)
            return thread;
    }
    return NULL;
}

/* Sequentially consistent loads: in body_idle they come after the announcement (3), here is step 4. */
bool sched_work_available(uint32_t id)
{
    if (atomic_ptr_load_relaxed(&cpus[id].first) || atomic32_load(&cpus[id].ready_count) > 0)
        return true;
    for (uint32_t i = 0; i < cpu_count; i++)
        if (i != id && atomic32_load(&cpus[i].ready_count) > 0 && may_steal_from(&cpus[i]))
            return true;
    return false;
}

/* --- switching --------------------------------------------------------------------------------------- */

/* Every so many switches, by the clock: body_now costs as much as a switch does. */
static bool poll_due(struct cpu *cpu)
{
    if (LIKELY(++cpu->switches % POLL_CHECK_SWITCHES != 0))
        return false;
    nanoseconds_t now = body_now();
    if (cpu->polled == 0)
        cpu->polled = now;
    return now - cpu->polled >= POLL_PERIOD_NS;
}

static void give_stack(struct thread *thread, void *stack)
{
    thread->stack = stack;
    body_context_init(&thread->context, stack, thread_main, thread);
}

static bool has_stack(struct cpu *cpu, struct thread *thread)
{
    if (LIKELY(thread->stack != NULL))
        return true;
    void *stack = stack_take(cpu);
    if (stack)
        give_stack(thread, stack);
    return stack;
}

/* Who runs next without a detour, or NULL: the scheduler context decides. */
static struct thread *pick_direct(struct cpu *cpu)
{
    struct thread *next = local_take(cpu);
    if (next && UNLIKELY(!has_stack(cpu, next))) {
        local_add_first(cpu, next);
        return NULL;
    }
    return next;
}

/*
 * The lock that a parking thread gave away goes first, for once thread->lock is free the thread may run, end, and take
 * the memory of that lock with it. thread->lock was taken inside it, so they exchange the interrupt state to go back to.
 */
static void release_given(struct spinlock *given, struct spinlock *inner)
{
    uint8_t interrupts = inner->interrupts;
    inner->interrupts = given->interrupts;
    given->interrupts = interrupts;
    spin_release(given);
}

void sched_tail(void)
{
    struct cpu *cpu = cpu_self();
    enum tail_kind kind = cpu->tail;
    struct thread *thread = cpu->tail_thread;
    struct spinlock *lock = cpu->tail_lock;
    cpu->tail = TAIL_NONE;
    if (kind == TAIL_UNLOCK) {
        spin_release(lock);
    } else if (kind == TAIL_YIELD) {
        if (lock)
            spin_release(lock);
        spin_interrupts_restore(cpu->tail_interrupts);
    } else if (kind == TAIL_PARK) {
        if (lock)
            release_given(lock, &thread->lock);
        thread_parked(thread);
    } else if (kind == TAIL_EXIT) {
        thread_gone(thread);
    }
}

static void switch_to(struct cpu *cpu, struct thread *next, enum tail_kind kind, struct spinlock *lock)
{
    struct thread *self = cpu->current;
    cpu->tail = kind;
    cpu->tail_thread = self;
    cpu->tail_lock = lock;
    cpu->current = next;
    struct body_context *to = next ? &next->context : &cpu->context;
    if (kind == TAIL_PARK || kind == TAIL_EXIT) {
        body_context_leave(&self->context, to);
        panic("a context that was left ran again");
    }
    body_context_switch(&self->context, to);
    sched_tail();
}

void sched_switch(struct cpu *cpu, enum tail_kind kind, struct spinlock *lock)
{
    switch_to(cpu, poll_due(cpu) ? NULL : pick_direct(cpu), kind, lock);
}

/* Nobody else takes `first`, so the thread may be there before it is suspended; on the queue it may not. */
static void yield_to(struct cpu *cpu, struct thread *next, uint32_t interrupts)
{
    cpu->tail_interrupts = interrupts;
    if (LIKELY(backlog(cpu) == 0 && first_usable())) {
        atomic_ptr_store_relaxed(&cpu->first, cpu->current);
        switch_to(cpu, next, TAIL_YIELD, NULL);
    } else {
        spin_acquire(&cpu->lock);
        queue_add_locked(cpu, cpu->current, false);
        switch_to(cpu, next, TAIL_YIELD, &cpu->lock);
    }
}

void thread_yield(void)
{
    lockcheck_suspend();
    struct cpu *cpu = cpu_self();
    bool poll = poll_due(cpu);
    if (!poll && backlog(cpu) == 0)
        return;
    uint32_t interrupts = spin_interrupts_disable();
    yield_to(cpu, poll ? NULL : pick_direct(cpu), interrupts);
}

struct thread *thread_current(void)
{
    struct cpu *cpu = cpu_self();
    return cpu ? cpu->current : NULL;
}

/* --- a CPU's life ------------------------------------------------------------------------------------ */

/*
 * The body may wait in here whenever it finds no work, so the CPU announces itself each time, also when it came for the
 * devices' sake: the work that it had may have been stolen, and who enqueues from outside wakes only CPUs that are announced.
 */
static void poll_devices(struct cpu *cpu)
{
    uint64_t bit = (uint64_t)1 << cpu->id;
    atomic64_or(&idle_cpus, bit); /* 3 */
    if (!atomic32_load(&stopping))
        body_idle(cpu->id); /* 4: looks at the queues before it waits; the rival is who enqueues, steps 1 and 2 */
    atomic64_and(&idle_cpus, ~bit);
    cpu->switches = 0;
    cpu->polled = 0;
}

static void run(struct cpu *cpu, struct thread *thread)
{
    cpu->current = thread;
    body_context_switch(&cpu->context, &thread->context);
    sched_tail();
}

/* No stack to be had: it stays ready, until one comes back. */
static void run_stackless(struct cpu *cpu, struct thread *thread)
{
    void *stack = stack_make(cpu);
    if (stack) {
        give_stack(thread, stack);
        run(cpu, thread);
        return;
    }
    queue_add(cpu, thread, false);
    poll_devices(cpu);
    body_relax(cpu->switches);
}

void sched_run(uint32_t id)
{
    struct cpu *cpu = &cpus[id];
    body_cpu_set_local(cpu);
    while (!atomic32_load_acquire(&stopping)) {
        if (cpu->polled != 0 && body_now() - cpu->polled >= POLL_PERIOD_NS)
            poll_devices(cpu);
        struct thread *thread = local_take(cpu);
        if (!thread)
            thread = steal(cpu);
        if (!thread)
            poll_devices(cpu);
        else if (thread->stack)
            run(cpu, thread);
        else
            run_stackless(cpu, thread);
    }
}

void sched_stop(void)
{
    atomic32_store(&stopping, 1);
    for (uint32_t i = 0; i < cpu_count; i++)
        body_cpu_wake(i);
}
