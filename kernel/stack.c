/*
 * Pooled kernel stacks. Each CPU keeps a few for itself, without a lock; the rest is a shared pool of
 * bounded size; beyond that they go back to the body. A user thread's call takes a stack and gives it
 * back, so the steady state never leaves the CPU's own cache.
 */
#include "kernel/sched.h"

#define POOL_STACKS 64u

static struct {
    struct spinlock lock; /* rank POOL */
    uint32_t count;
    void *stacks[POOL_STACKS];
} pool;

void stack_pool_init(void)
{
    pool.lock = (struct spinlock)SPINLOCK_INIT(RANK_POOL);
    pool.count = 0;
}

void *stack_take(struct cpu *cpu)
{
    if (LIKELY(cpu->stack_count > 0))
        return cpu->stacks[--cpu->stack_count];
    spin_acquire(&pool.lock);
    void *stack = pool.count > 0 ? pool.stacks[--pool.count] : NULL;
    spin_release(&pool.lock);
    return stack;
}

void *stack_make(struct cpu *cpu)
{
    void *stack = stack_take(cpu);
    return stack ? stack : body_stack_alloc();
}

static bool pool_put(void *stack)
{
    spin_acquire(&pool.lock);
    bool put = pool.count < POOL_STACKS;
    if (put)
        pool.stacks[pool.count++] = stack;
    spin_release(&pool.lock);
    return put;
}

void stack_give(struct cpu *cpu, void *stack)
{
    if (LIKELY(cpu->stack_count < CPU_STACKS))
        cpu->stacks[cpu->stack_count++] = stack;
    else if (!pool_put(stack))
        body_stack_free(stack);
}

void stack_pool_fini(struct cpu *cpus, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        while (cpus[i].stack_count > 0)
            body_stack_free(cpus[i].stacks[--cpus[i].stack_count]);
    while (pool.count > 0)
        body_stack_free(pool.stacks[--pool.count]);
}
