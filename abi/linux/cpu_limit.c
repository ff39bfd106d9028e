/*
 * RLIMIT_CPU: a process that has used its soft limit of CPU time gets SIGXCPU, and again each second after it; at the hard limit
 * it is killed (getrlimit(2)).
 *
 * The CPU clock is the host's, so nobody tells when it passes a value: it is looked at when it can have done so at the earliest,
 * and later when the process rests. The record is made with the first finite limit and ends with the process, which breaks the
 * circle of references. Its timer is armed under process->mutex only while the process has it.
 */
#include "abi/linux/process_life.h"
#include "abi/linux/time.h"
#include "kernel/alloc.h"
#include "kernel/async.h"

struct cpu_limit {
    struct object object;
    struct process *process; /* referenced */
    struct timer timer;
    struct async_work work;
    /* of the work */
    uint64_t last_ns;
    uint32_t idle;
};

static void limit_destroy(struct object *object)
{
    struct cpu_limit *limit = CONTAINER_OF(object, struct cpu_limit, object);

    object_unref(limit->process);
    kfree(limit);
}

static const struct object_type limit_type = {.name = "CPU limit", .destroy = limit_destroy};

static void look_soon(struct cpu_limit *limit)
{
    object_ref(limit); /* the work's */
    if (!kernel_async(&limit->work))
        object_unref(limit);
}

/* The process has a reference while the timer may be armed, so the one taken here is not the last. */
static void limit_timer(struct timer *timer) { look_soon(CONTAINER_OF(timer, struct cpu_limit, timer)); }

static uint64_t seconds_ns(uint64_t seconds) { return seconds >= NS_MAX / NS_PER_SECOND ? NS_MAX : seconds * NS_PER_SECOND; }

/* What is due now: a signal, or 0. A soft limit that was passed moves on by a second. */
static int due_locked(struct linux_rlimit64 *limit, uint64_t used_ns)
{
    if (used_ns >= seconds_ns(limit->maximum))
        return LINUX_SIGKILL;
    if (used_ns < seconds_ns(limit->current))
        return 0;
    limit->current++;
    return LINUX_SIGXCPU;
}

static void arm_locked(struct cpu_limit *limit, uint64_t used_ns)
{
    const struct linux_rlimit64 *bounds = &limit->process->limits[LINUX_RLIMIT_CPU];
    struct clock clock = {.kind = CLOCK_KIND_PROCESS_CPU, .process = limit->process};
    uint64_t next = seconds_ns(min_u64(bounds->current, bounds->maximum));

    limit->idle = used_ns == limit->last_ns ? limit->idle + 1 : 0;
    limit->last_ns = used_ns;
    if (next < NS_MAX)
        timer_set(&limit->timer, cpu_clock_estimate(&clock, next > used_ns ? next - used_ns : 0, limit->idle));
}

static void limit_work(struct async_work *work)
{
    struct cpu_limit *limit = CONTAINER_OF(work, struct cpu_limit, work);
    struct process *process = limit->process;
    struct linux_siginfo info = {.code = LINUX_SI_KERNEL};
    uint64_t user_ns, system_ns;

    process_cpu_time(process, &user_ns, &system_ns);
    mutex_lock(&process->mutex);
    bool current = process->cpu_limit == limit && !process->exiting;
    if (current)
        info.signo = due_locked(&process->limits[LINUX_RLIMIT_CPU], user_ns + system_ns);
    if (current && info.signo != LINUX_SIGKILL)
        arm_locked(limit, user_ns + system_ns);
    mutex_unlock(&process->mutex);
    if (info.signo)
        signal_send_process(process, info.signo, &info);
    object_unref(limit);
}

static struct cpu_limit *limit_create(struct process *process)
{
    struct cpu_limit *limit = kzalloc(sizeof *limit);

    if (!limit)
        return NULL;
    object_init(&limit->object, &limit_type);
    limit->process = object_ref(process);
    timer_init(&limit->timer, limit_timer);
    async_work_init(&limit->work, limit_work);
    return limit;
}

int cpu_limit_prepare(struct process *process)
{
    struct cpu_limit *limit = limit_create(process);

    if (!limit)
        return -ENOMEM;
    mutex_lock(&process->mutex);
    if (!process->cpu_limit && process->thread_count) {
        process->cpu_limit = limit;
        limit = NULL;
    }
    mutex_unlock(&process->mutex);
    object_unref(limit);
    return 0;
}

void cpu_limit_changed(struct process *process)
{
    mutex_lock(&process->mutex);
    struct cpu_limit *limit = process->cpu_limit ? object_ref(process->cpu_limit) : NULL;
    mutex_unlock(&process->mutex);
    if (limit)
        look_soon(limit);
    object_unref(limit);
}

void cpu_limit_exit(struct process *process)
{
    mutex_lock(&process->mutex);
    struct cpu_limit *limit = process->cpu_limit;
    process->cpu_limit = NULL;
    mutex_unlock(&process->mutex);
    if (!limit)
        return;
    timer_cancel_sync(&limit->timer);
    object_unref(limit);
}
