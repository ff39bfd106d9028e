/*
 * Threads: their life, suspending and waking, parking and unparking, interruption.
 *
 * thread->lock guards the state. Two pairs never mix: thread_suspend / thread_wake for a thread that waits
 * with its stack, thread_park / thread_unpark for one that waits with a continuation. Each remembers the
 * other side's coming first (wake_pending, unpark_pending), so neither is lost; a wake may also be stale
 * (the thread has already seen what it waited for), so who suspends always re-checks in a loop.
 *
 * References: one is the creator's, one is the run-time's, from thread_start (or thread_create_parked) to
 * the thread's end. The end passes through thread->lock, so a waker that found the thread alive under a
 * lock of its own is out again before the memory can go.
 */
#include "kernel/thread.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/lockcheck.h"
#include "kernel/port.h"
#include "kernel/sched.h"
#include "kernel/string.h"
#include "kernel/thread_control.h"

static_assert(sizeof(struct thread) <= 1024, "a parked thread costs at most 1 KiB");

/* --- life -------------------------------------------------------------------------------------------- */

static void thread_destroy(struct object *object)
{
    struct thread *thread = (struct thread *)object;
    KASSERT(thread->state == THREAD_DEAD || thread->state == THREAD_NEW);
    KASSERT(!thread->stack && !thread->waiter);
    port_thread_gone(thread->ports);
    object_unref(thread->control);
    object_unref(thread->task);
    kfree(thread);
}

static const struct object_type thread_type = {.name = "thread", .destroy = thread_destroy};

static void thread_reap(struct async_work *work) { object_destroy(CONTAINER_OF(work, struct thread, reaper)); }

/* The run-time's reference; in a context where a destroy may not run. */
static void thread_drop(struct thread *thread)
{
    if (object_unref_last(thread))
        kernel_async(&thread->reaper);
}

struct thread *thread_create(const char *name, struct task *task, thread_function *function, void *argument)
{
    struct thread *thread = kzalloc(sizeof(*thread));
    if (!thread)
        return NULL;
    object_init(&thread->object, &thread_type);
    format(thread->name, sizeof(thread->name), "%s", name);
    thread->task = task ? object_ref(task) : NULL;
    spinlock_init(&thread->lock, RANK_THREAD);
    thread->state = THREAD_NEW;
    thread->continuation = function;
    thread->continuation_argument = argument;
    list_init(&thread->run_link);
    async_work_init(&thread->reaper, thread_reap);
    return thread;
}

void thread_start(struct thread *thread)
{
    spin_acquire(&thread->lock);
    KASSERT(thread->state == THREAD_NEW);
    object_ref(thread);
    thread->state = THREAD_READY;
    spin_release(&thread->lock);
    sched_enqueue(thread);
}

struct thread *thread_create_parked(const char *name, struct task *task, thread_function *entry, void *argument)
{
    struct thread *thread = thread_create(name, task, entry, argument);
    if (!thread)
        return NULL;
    object_ref(thread);
    thread->state = THREAD_PARKED;
    return thread;
}

void thread_main(void *argument)
{
    struct thread *thread = argument;
    sched_tail();
    thread->continuation(thread->continuation_argument);
    thread_exit();
}

void thread_exit(void)
{
    lockcheck_park(RANK_NONE);
    struct cpu *cpu = cpu_self();
    struct thread *self = cpu->current;
    thread_control_end(self);
    cpu = cpu_self();
    spin_acquire(&self->lock);
    self->state = THREAD_DEAD;
    sched_switch(cpu, TAIL_EXIT, NULL);
    panic("a dead thread ran");
}

void thread_gone(struct thread *thread)
{
    void *stack = thread->stack;
    thread->stack = NULL;
    spin_release(&thread->lock);
    stack_give(cpu_self(), stack);
    thread_drop(thread);
}

void thread_discard_parked(struct thread *thread)
{
    spin_acquire(&thread->lock);
    KASSERT(thread->state == THREAD_PARKED);
    thread->state = THREAD_DEAD;
    spin_release(&thread->lock);
    thread_drop(thread);
}

/* --- suspend and wake -------------------------------------------------------------------------------- */

void thread_suspend(void)
{
    lockcheck_suspend();
    struct cpu *cpu = cpu_self();
    struct thread *self = cpu->current;
    spin_acquire(&self->lock);
    if (self->wake_pending) {
        self->wake_pending = false;
        spin_release(&self->lock);
        return;
    }
    self->state = THREAD_BLOCKED;
    self->cpu = cpu->id;
    sched_switch(cpu, TAIL_UNLOCK, &self->lock);
}

/* True: the caller enqueues the thread once it has released the lock. */
static bool wake_locked(struct thread *thread)
{
    if (thread->state != THREAD_BLOCKED) {
        thread->wake_pending = true;
        return false;
    }
    thread->state = THREAD_READY;
    return true;
}

void thread_wake(struct thread *thread)
{
    spin_acquire(&thread->lock);
    bool ready = wake_locked(thread);
    spin_release(&thread->lock);
    if (ready)
        sched_enqueue(thread);
}

void thread_wake_here(struct thread *thread)
{
    spin_acquire(&thread->lock);
    bool ready = wake_locked(thread);
    spin_release(&thread->lock);
    if (ready)
        sched_enqueue_here(thread);
}

/* --- park and unpark --------------------------------------------------------------------------------- */

void thread_park_unlock(thread_function *continuation, void *argument, struct spinlock *lock)
{
    lockcheck_park(lock ? lock->rank : RANK_NONE);
    struct cpu *cpu = cpu_self();
    struct thread *self = cpu->current;
    spin_acquire(&self->lock);
    self->continuation = continuation;
    self->continuation_argument = argument;
    self->state = THREAD_PARKED;
    self->cpu = cpu->id;
    sched_switch(cpu, TAIL_PARK, lock);
    panic("a parked thread ran on its old stack");
}

void thread_park(thread_function *continuation, void *argument) { thread_park_unlock(continuation, argument, NULL); }

void thread_parked(struct thread *thread)
{
    void *stack = thread->stack;
    thread->stack = NULL;
    bool again = thread->unpark_pending;
    if (again) {
        thread->unpark_pending = false;
        thread->state = THREAD_READY;
    }
    spin_release(&thread->lock);
    if (again)
        sched_enqueue_here(thread);
    stack_give(cpu_self(), stack);
}

/* True: the caller enqueues the thread, once it has released the lock. */
static bool unpark_locked(struct thread *thread)
{
    bool ready = thread->state == THREAD_PARKED;
    if (ready)
        thread->state = THREAD_READY;
    else
        thread->unpark_pending = true;
    return ready;
}

static bool unpark(struct thread *thread)
{
    spin_acquire(&thread->lock);
    bool ready = unpark_locked(thread);
    spin_release(&thread->lock);
    return ready;
}

void thread_unpark(struct thread *thread)
{
    if (unpark(thread))
        sched_enqueue(thread);
}

void thread_unpark_here(struct thread *thread)
{
    if (unpark(thread))
        sched_enqueue_here(thread);
}

/* --- interruption ------------------------------------------------------------------------------------ */

static bool waiter_heeds(const struct waiter *waiter, uint32_t interrupts)
{
    if (waiter->flags == WAIT_INTERRUPTIBLE)
        return interrupts & (THREAD_INTERRUPTED | THREAD_KILLED);
    return waiter->flags == WAIT_KILLABLE && interrupts & THREAD_KILLED;
}

/*
 * The bit and the look at the waiter are one step, under thread->lock. The rival, waiter_wait, publishes its waiter under
 * the lock and then looks at the bits: one of the two sees the other. And a waiter that was published after the bit
 * had been seen and cleared is not struck by it.
 */
static void interrupt(struct thread *thread, uint32_t bit)
{
    spin_acquire(&thread->lock);
    atomic32_or(&thread->interrupts, bit);
    struct waiter *waiter = thread->waiter;
    uint32_t expected = WAITER_WAITING;
    bool ready = waiter && waiter_heeds(waiter, bit) && atomic32_cas(&waiter->state, &expected, WAITER_INTERRUPTED) &&
                 (waiter->parks ? unpark_locked(thread) : wake_locked(thread));
    spin_release(&thread->lock);
    if (ready)
        sched_enqueue(thread);
}

void thread_interrupt(struct thread *thread) { interrupt(thread, THREAD_INTERRUPTED); }
void thread_kill(struct thread *thread) { interrupt(thread, THREAD_KILLED); }
void thread_interrupt_clear(struct thread *thread) { atomic32_and(&thread->interrupts, ~(uint32_t)THREAD_INTERRUPTED); }
bool thread_interrupted(const struct thread *thread) 
{
    return atomic32_load_relaxed(&thread->interrupts) & (THREAD_INTERRUPTED | THREAD_KILLED);
}
bool thread_wanted(const struct thread *thread) { return atomic32_load_relaxed(&thread->interrupts) != 0; }
bool thread_killed(const struct thread *thread) { return atomic32_load_relaxed(&thread->interrupts) & THREAD_KILLED; }

bool thread_waits(struct thread *thread, uint32_t *cpu)
{
    spin_acquire(&thread->lock);
    bool waits = thread->state == THREAD_BLOCKED || thread->waiter;
    *cpu = thread->cpu;
    spin_release(&thread->lock);
    return waits;
}
