/*
 * Clocks by their clockid_t: the fixed ones, and CPU clocks of processes and threads encoded in negative ids.
 *
 * Three sources stand behind all of them: the body's monotonic clock, that plus the wall-clock offset, and the CPU
 * time of a process or thread. BOOTTIME is the monotonic clock, TAI is wall time: no body suspends or knows leap
 * seconds. A CPU clock cannot be waited for; who needs one looks again at an estimated time.
 */
#include "abi/linux/time.h"
#include "kernel/assert.h"

enum { CPU_CLOCK_WHICH_MASK = 3, CPU_CLOCK_THREAD = 4 };
enum { ESTIMATE_LEAST_NS = 50 * 1000, ESTIMATE_IDLE_NS = 1000 * 1000, ESTIMATE_IDLE_SHIFTS = 7 };

static void get_process_cpu(struct clock *clock, struct process *process)
{
    clock->kind = CLOCK_KIND_PROCESS_CPU;
    clock->process = object_ref(process);
}

static void get_thread_cpu(struct clock *clock, struct lthread *thread)
{
    clock->kind = CLOCK_KIND_THREAD_CPU;
    clock->thread = object_ref(thread);
    clock->process = object_ref(thread->process);
}

static int get_other_process(struct clock *clock, int32_t pid)
{
    struct process *process = process_find(pid);
    if (!process)
        return -EINVAL;
    clock->kind = CLOCK_KIND_PROCESS_CPU;
    clock->process = process;
    return 0;
}

/* Only threads of the own process. */
static int get_other_thread(struct clock *clock, int32_t tid)
{
    struct lthread *thread = thread_find(tid);
    bool own = thread && thread->process == current_process();
    if (own)
        get_thread_cpu(clock, thread);
    object_unref(thread);
    return own ? 0 : -EINVAL;
}

static int get_cpu_clock(struct clock *clock, int32_t id)
{
    int32_t number = ~(id >> 3);
    if ((id & CPU_CLOCK_WHICH_MASK) == 3)
        return -EINVAL;
    clock->which = (enum cpu_clock_which)(id & CPU_CLOCK_WHICH_MASK);
    if (id & CPU_CLOCK_THREAD)
        return get_other_thread(clock, number ? number : current_thread()->tid);
    return get_other_process(clock, number ? number : current_process()->pid);
}

int clock_get(int32_t id, struct clock *clock)
{
    *clock = (struct clock){.kind = CLOCK_KIND_MONOTONIC, .which = CPU_CLOCK_SCHED};
    if (id < 0)
        return get_cpu_clock(clock, id);
    switch (id) {
    case LINUX_CLOCK_REALTIME_ALARM:
    case LINUX_CLOCK_BOOTTIME_ALARM:
        clock->alarm = true;
        break;
    case LINUX_CLOCK_REALTIME_COARSE:
    case LINUX_CLOCK_MONOTONIC_COARSE:
        clock->coarse = true;
        break;
    case LINUX_CLOCK_MONOTONIC_RAW:
        clock->raw = true;
        break;
    case LINUX_CLOCK_PROCESS_CPUTIME_ID:
        get_process_cpu(clock, current_process());
        return 0;
    case LINUX_CLOCK_THREAD_CPUTIME_ID:
        get_thread_cpu(clock, current_thread());
        return 0;
    case LINUX_CLOCK_REALTIME:
    case LINUX_CLOCK_MONOTONIC:
    case LINUX_CLOCK_BOOTTIME:
    case LINUX_CLOCK_TAI:
        break;
    default:
        return -EINVAL;
    }
    if (id == LINUX_CLOCK_REALTIME || id == LINUX_CLOCK_REALTIME_ALARM || id == LINUX_CLOCK_REALTIME_COARSE || id == LINUX_CLOCK_TAI)
        clock->kind = CLOCK_KIND_WALL;
    return 0;
}

void clock_put(struct clock *clock)
{
    object_unref(clock->thread);
    object_unref(clock->process);
    clock->thread = NULL;
    clock->process = NULL;
}

uint64_t clock_read(const struct clock *clock)
{
    uint64_t user_ns, system_ns;
    switch (clock->kind) {
    case CLOCK_KIND_MONOTONIC:
        return body_now();
    case CLOCK_KIND_WALL:
        return body_now() + (uint64_t)body_wall_offset();
    case CLOCK_KIND_PROCESS_CPU:
        process_cpu_time(clock->process, &user_ns, &system_ns);
        break;
    case CLOCK_KIND_THREAD_CPU:
        lthread_cpu_time(clock->thread, &user_ns, &system_ns);
        break;
    }
    return clock->which == CPU_CLOCK_VIRT ? user_ns : user_ns + system_ns;
}

nanoseconds_t clock_deadline(const struct clock *clock, uint64_t ns)
{
    KASSERT(!clock_is_cpu(clock));
    if (ns >= NS_MAX)
        return DEADLINE_NEVER;
    if (clock->kind == CLOCK_KIND_MONOTONIC)
        return ns;
    int64_t deadline = (int64_t)ns - body_wall_offset();
    return deadline > 0 ? (nanoseconds_t)deadline : 0;
}

nanoseconds_t cpu_clock_estimate(const struct clock *clock, uint64_t left_ns, uint32_t idle)
{
    uint64_t threads = clock->kind == CLOCK_KIND_THREAD_CPU ? 1 : clock->process->thread_count;
    uint64_t wait = left_ns / max_u64(1, min_u64(threads, body_cpu_count()));
    wait = max_u64(wait, ESTIMATE_LEAST_NS);
    if (idle)
        wait = max_u64(wait, (uint64_t)ESTIMATE_IDLE_NS << min_u64(idle, ESTIMATE_IDLE_SHIFTS));
    return deadline_after_ns(wait);
}
