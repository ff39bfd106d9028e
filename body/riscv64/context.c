/*
 * Kernel stacks and switching between contexts.
 *
 * Stacks lie in slots of twice their size whose lower half is never mapped: running over the end faults, and the trap
 * entry (trap.S) tells by one bit of the stack pointer. A slot, once it has memory, keeps it: free stacks wait in a
 * list, so no translation of a stack is ever taken away and no other hart need be told.
 */
#include "body/riscv64/fp.h"
#include "body/riscv64/frames.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/table.h"
#include "kernel/body.h"
#include "kernel/lock.h"

_Static_assert(BODY_STACK_SIZE == KERNEL_STACK_SIZE && KERNEL_STACK_SIZE == 1 << KERNEL_STACK_SHIFT, "one size of stacks");
#define STACKS_MAX ((uint64_t)1 << 20)

void context_swap(struct body_context *from, struct body_context *to);
NORETURN void context_resume(void *unused, struct body_context *to);
void context_begin(void);

static struct {
    struct spinlock lock;
    void *free; /* linked through their first words */
    uint64_t made;
} stacks = {.lock = SPINLOCK_INIT(RANK_BODY - 2)};

static void *slot_address(uint64_t slot) { return (void *)(STACKS_BASE + slot * 2 * KERNEL_STACK_SIZE + KERNEL_STACK_SIZE); }

static void *make_locked(void)
{
    uint32_t order = KERNEL_STACK_SHIFT - PAGE_SHIFT;
    uint64_t number = stacks.made < STACKS_MAX ? frame_alloc(order, FRAME_STACK) : 0;
    void *stack = slot_address(stacks.made);
    if (!number)
        return NULL;
    if (!kernel_map_add((uint64_t)stack, number << PAGE_SHIFT, KERNEL_STACK_SIZE, PTE_READ | PTE_WRITE)) {
        frame_free(number);
        return NULL;
    }
    stacks.made++;
    return stack;
}

void *body_stack_alloc(void)
{
    spin_lock(&stacks.lock);
    void **stack = stacks.free;
    bool made = !stack;
    if (stack)
        stacks.free = *stack;
    else
        stack = make_locked();
    spin_unlock(&stacks.lock);
    if (made && stack) /* harts may remember that nothing was there */
        harts_fence_kernel((uint64_t)stack, KERNEL_STACK_SIZE);
    return stack;
}

void body_stack_free(void *stack)
{
    spin_lock(&stacks.lock);
    *(void **)stack = stacks.free;
    stacks.free = stack;
    spin_unlock(&stacks.lock);
}

void body_context_init(struct body_context *context, void *stack, void (*function)(void *), void *argument)
{
    *context = (struct body_context){
        .ra = (uint64_t)context_begin,
        .sp = (uint64_t)stack + KERNEL_STACK_SIZE,
        .s = {0, (uint64_t)function, (uint64_t)argument},
    };
}

void body_context_switch(struct body_context *from, struct body_context *to)
{
    fp_leave();
    context_swap(from, to);
}

void body_context_leave(UNUSED struct body_context *from, struct body_context *to)
{
    fp_leave();
    context_resume(NULL, to);
}
