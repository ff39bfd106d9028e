/*
 * Switching stacks: of microthreads (body_context_switch) within a CPU, and of whole CPUs (strands).
 *
 * Both are the same few instructions: push the registers a C function must keep, exchange stack pointers,
 * pop. AddressSanitizer is told before and after, so that it knows which stack is the current one.
 */
#include "body/sim/engine.h"
#include "kernel/assert.h"

#ifdef SIM_ADDRESS_SANITIZER
void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *saved, const void **old_bottom, size_t *old_size);
#else
static void __sanitizer_start_switch_fiber(void **save UNUSED, const void *bottom UNUSED, size_t size UNUSED) {}
static void __sanitizer_finish_switch_fiber(void *saved UNUSED, const void **old UNUSED, size_t *size UNUSED) {}
#endif

void sim_switch_stacks(void **save, void *load);
__asm__(".text\n"
        ".globl sim_switch_stacks\n"
        ".type sim_switch_stacks, @function\n"
        "sim_switch_stacks:\n"
        "    push %rbp\n    push %rbx\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbx\n    pop %rbp\n"
        "    ret\n"
        ".size sim_switch_stacks, . - sim_switch_stacks\n");

/* A stack that, when switched to, runs entry(). */
void sim_context_make(void **stack_pointer, void *stack, size_t size, void (*entry)(void))
{
    uint64_t *top = (uint64_t *)((char *)stack + size);
    *--top = 0; /* entry's return address: none. The stack is aligned as after a call. */
    *--top = (uintptr_t)entry;
    for (int i = 0; i < 6; i++)
        *--top = 0;
    *stack_pointer = top;
}

/* --- microthreads ------------------------------------------------------------------------------------ */

static struct body_context *starting;

static void context_entry(void)
{
    struct body_context *context = starting;
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
    context->function(context->argument);
    panic("a context's function returned");
}

void body_context_init(struct body_context *context, void *stack, void (*function)(void *), void *argument)
{
    *context = (struct body_context){
        .stack_low = stack, .stack_size = BODY_STACK_SIZE, .function = function, .argument = argument};
    sim_context_make(&context->stack_pointer, stack, BODY_STACK_SIZE, context_entry);
}

static void switch_contexts(struct body_context *from, struct body_context *to, void **fake_stack)
{
    struct sim_strand *strand = sim.current;
    from->stack_low = strand->stack_low;
    from->stack_size = strand->stack_size;
    strand->stack_low = to->stack_low;
    strand->stack_size = to->stack_size;
    starting = to;
    __sanitizer_start_switch_fiber(fake_stack, to->stack_low, to->stack_size);
    sim_switch_stacks(&from->stack_pointer, to->stack_pointer);
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
}

void body_context_switch(struct body_context *from, struct body_context *to)
{
    sim_point();
    switch_contexts(from, to, &from->fake_stack);
}

void body_context_leave(struct body_context *from, struct body_context *to)
{
    sim_point();
    switch_contexts(from, to, NULL);
}

/* --- strands ----------------------------------------------------------------------------------------- */

void sim_strand_switch(struct sim_strand *to)
{
    struct sim_strand *from = sim.current;
    if (to == from)
        return;
    sim.current = to;
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack_low, to->stack_size);
    sim_switch_stacks(&from->stack_pointer, to->stack_pointer);
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
}

/* What a fresh strand calls first. */
void sim_strand_started(void)
{
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
    if (!sim.controller_stack) {
        sim.controller_stack = bottom;
        sim.controller_stack_size = size;
    }
}

void sim_enter(struct sim_strand *first)
{
    sim.controller_stack = NULL;
    sim.current = first;
    __sanitizer_start_switch_fiber(&sim.controller_fake_stack, first->stack_low, first->stack_size);
    sim_switch_stacks(&sim.controller, first->stack_pointer);
    __sanitizer_finish_switch_fiber(sim.controller_fake_stack, NULL, NULL);
}

void sim_leave(void)
{
    void *ignored;
    __sanitizer_start_switch_fiber(NULL, sim.controller_stack, sim.controller_stack_size);
    sim_switch_stacks(&ignored, sim.controller);
    __builtin_unreachable();
}
