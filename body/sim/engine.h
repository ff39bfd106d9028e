/*
 * The simulated machine's insides, shared by the files of body/sim.
 *
 * A *strand* is what a CPU of the machine is to the simulator: an execution that can be stopped at any
 * point and another resumed. There is one per CPU, and one more, the outside strand, which is no CPU: it stands for
 * other host threads and for interrupting hardware, and runs timers and injected interruptions.
 *
 * Everything happens in one host thread, so the simulator's own data needs no lock.
 */
#ifndef BODY_SIM_ENGINE_H
#define BODY_SIM_ENGINE_H

#include "body/sim/sim.h"
#include "kernel/atomic.h"
#include "kernel/body.h"

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ADDRESS_SANITIZER 1
#endif
#endif

#define SIM_CPUS_MAX 4u
#define SIM_OUTSIDE SIM_CPUS_MAX /* the outside strand's index */
#define SIM_STRANDS (SIM_CPUS_MAX + 1)
#define SIM_BUFFER_MAX 8u
#define SIM_TLB_ENTRIES 4u
#define SIM_STRAND_STACK (256u * 1024)

enum sim_memory { SIM_MEMORY_SC, SIM_MEMORY_TSO, SIM_MEMORY_WEAK };

struct sim_store {
    void *address;
    uint64_t value;
    uint32_t size;
    bool release;
};

struct sim_frame;
struct sim_tlb_entry {
    struct aspace *aspace;
    uint64_t page;
    struct sim_frame *frame;
    uint32_t prot;
};

struct sim_strand {
    uint32_t id;
    bool exists, done;
    bool idle;  /* in body_idle, until woken */
    bool woken;
    uint32_t priority; /* of the strategy by priorities */
    uint32_t run;      /* decisions in a row */
    bool interrupts_off;
    bool in_interrupt;
    void *local; /* body_cpu_local */
    /* its execution, while another strand runs; the bounds of the stack it is on now */
    void *stack_pointer;
    void *stack_low;
    size_t stack_size;
    void *fake_stack;
    uint32_t store_count;
    struct sim_store stores[SIM_BUFFER_MAX];
    struct sim_tlb_entry tlb[SIM_TLB_ENTRIES];
};

struct sim {
    bool running;  /* within a schedule */
    bool trace;
    uint64_t seed;
    uint64_t random_state;
    const struct sim_test *test;
    struct sim_strand *current;
    struct sim_strand strands[SIM_STRANDS];
    uint32_t cpus;
    void *controller; /* the harness's own stack pointer, while a schedule runs */
    void *controller_fake_stack;
    const void *controller_stack;
    size_t controller_stack_size;

    /* how this schedule behaves */
    uint32_t quantum;      /* points until the next decision */
    uint32_t quantum_mean;
    uint64_t points;
    uint64_t points_max;
    bool by_priority;
    uint32_t change_points;
    enum sim_memory memory;
    uint32_t fail_one_in;  /* allocations; 0: none */
    uint32_t jump_one_in;  /* decisions that jump to the next timer; 0: none */
    uint32_t calm;
    bool interrupts_on_cpus; /* timers interrupt running CPUs, as on a bare machine */

    nanoseconds_t now;
    nanoseconds_t armed;
    struct thread *settler;
    bool chaos_pending;
};

extern struct sim sim;

/* engine.c */
/* Runs one schedule of the test; returns when all CPUs have stopped. */
void sim_run_schedule(const struct sim_test *test, uint64_t seed);
/* Gives the CPU away until it is chosen again; `must`: to another strand when there is one. */
void sim_reschedule(bool must);
/* random.c */
uint64_t sim_random64(void);
void sim_random_seed(uint64_t seed);
/* buffer.c */
void sim_buffer_drain(struct sim_strand *strand);
/* One store that may become visible now, if there is one. */
void sim_buffer_drain_some(struct sim_strand *strand);
/* The accesses themselves, without a point before: the caller has just done something that belongs to the access. */
uint64_t sim_load_now(const void *word, uint32_t size);
void sim_store_now(void *word, uint32_t size, uint64_t value, enum sim_order order);
uint64_t sim_rmw_now(void *word, uint32_t size, uint64_t value, enum sim_rmw operation);
bool sim_cas_now(void *word, uint32_t size, uint64_t *expected, uint64_t desired);
/* The block's memory goes. */
void sim_buffer_forget(void *block, size_t size);
/* context.c */
void sim_context_make(void **stack_pointer, void *stack, size_t size, void (*entry)(void));
void sim_strand_switch(struct sim_strand *to);
/* The outermost: from the harness into the first strand, and back from the last. */
void sim_enter(struct sim_strand *first);
NORETURN void sim_leave(void);
void sim_strand_started(void);
/* memory.c */
void sim_memory_reset(void);
uint64_t sim_memory_live(void);
void *sim_stack_of_strand(uint32_t id);
uint32_t sim_stacks_out(void);
/* chaos.c */
void sim_chaos_reset(void);
bool sim_chaos_wanted(void);
void sim_chaos_act(void);
/* spawn.c */
void sim_spawn_report(void);

static inline bool sim_failures_allowed(void) { return sim.calm == 0; }

#endif
