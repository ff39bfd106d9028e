/*
 * The event loop: workers, waiting for work, host descriptors, wake-ups, the timer.
 *
 * Every idle worker waits in epoll_wait on one set; the host wakes one of them per event (all descriptors are
 * edge-triggered), and the one that wakes serves what it was woken for: leader and followers without a hand-over.
 *
 * Before a worker sleeps it may spin for a while on the slots it has just answered, if a CPU is to spare:
 * threads in user mode + busy workers + other spinners < CPUs. So a sleeping program costs nothing, and
 * spinners never take a CPU from work.
 *
 * Sleeping and waking: a worker sets sleeping, fences, looks for work once more, waits. A waker makes the work
 * visible, fences, reads sleeping, and rings the wake eventfd.
 */
#include "body/linux/client.h"
#include "body/linux/context.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define WORKERS_MAX 64u
#define EVENTS 16
#define SPIN_NS 50000u
#define SHORT_SPIN_NS 8000u
#define LUCK_MAX 8u
#define LUCK_PROBE 16u
#define CROWDED_MAX 4u
#define YIELDS_MAX 16u
#define YIELD_SHORT_NS 700u    /* nobody ran meanwhile */
#define YIELD_LONG_NS 200000u
#define YIELD_PAUSE 64u

uint32_t loop_workers, loop_cpus;
struct atomic32 users_running;
struct host_statistics statistics;
struct host_options host_options;

struct worker {
    struct atomic32 sleeping;
    struct atomic32 woken; /* a wake-up that came before the sleep counts */
    /* owned by the worker */
    uint32_t luck;   /* how well short spins have paid off */
    uint32_t denied; /* sleeps without one */
    uint32_t crowded;   /* how often in a row it met its only caller on its own CPU */
    uint32_t no_yields; /* sleeps to come before the CPU is offered again: somebody kept it */
} __attribute__((aligned(64)));

static struct {
    int epoll, wake, timer;
    struct host_watch wake_watch, timer_watch;
    struct worker workers[WORKERS_MAX];
    struct atomic32 busy, spinners; /* workers that run threads, or spin */
    struct atomic32 stopping;
    int status;
    pthread_t threads[WORKERS_MAX];
} loop;

static _Thread_local void *cpu_local;

/* --- CPUs -------------------------------------------------------------------------------------------- */

NOINLINE void *body_cpu_local(void)
{
    __asm__ volatile("");
    return cpu_local;
}

NOINLINE void body_cpu_set_local(void *local)
{
    cpu_local = local;
    __asm__ volatile("");
}

uint32_t body_cpu_count(void) { return loop_cpus; }
uint32_t body_interrupts_disable(void) { return 0; }
void body_interrupts_restore(UNUSED uint32_t state) {}

void body_relax(uint32_t turn)
{
    if (loop_cpus == 1 || turn > 200)
        sched_yield();
    else
        __builtin_ia32_pause();
}

/* --- watches ----------------------------------------------------------------------------------------- */

/*
 * What epoll hands out is a slot and a generation, never a pointer, since an event may be fetched by one worker
 * while another removes its watch. A slot's word is generation << 32 | handlers under way: a handler enters by a
 * compare-and-swap on both, so that after the generation has moved on none enters, and removal waits for those inside.
 */
#define WATCHES_MAX (1u << 18)

struct watch_slot {
    struct atomic64 word;
    struct host_watch *watch;
    uint32_t next_free;
};

static struct watch_slot *watch_slots;
static struct spinlock watch_lock = SPINLOCK_INIT(RANK_BODY); /* guards the next two */
static uint32_t watch_free, watch_fresh = 1;

static uint32_t watch_slot_take(void)
{
    spin_lock(&watch_lock);
    uint32_t index = watch_free;
    if (index)
        watch_free = watch_slots[index].next_free;
    else if (watch_fresh < WATCHES_MAX)
        index = watch_fresh++;
    spin_unlock(&watch_lock);
    return index;
}

static void watch_slot_give(uint32_t index)
{
    spin_lock(&watch_lock);
    watch_slots[index].next_free = watch_free;
    watch_free = index;
    spin_unlock(&watch_lock);
}

int host_watch_add(struct host_watch *watch, uint32_t epoll_events)
{
    uint32_t index = watch_slot_take();
    if (!index)
        return -ENOSPC;
    struct watch_slot *slot = &watch_slots[index];
    slot->watch = watch;
    watch->slot = index;
    uint64_t generation = atomic64_load(&slot->word) >> 32;
    struct epoll_event event = {.events = epoll_events | EPOLLET, .data.u64 = generation << 32 | index};
    watch->registered = true; /* before: another worker may see the first event, remove the watch and free it at once */
    if (epoll_ctl(loop.epoll, EPOLL_CTL_ADD, watch->fd, &event) < 0) {
        int error = -errno;
        watch->registered = false;
        watch_slot_give(index);
        return error;
    }
    return 0;
}

void host_watch_remove(struct host_watch *watch)
{
    if (!watch->registered)
        return;
    epoll_ctl(loop.epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->registered = false;
    struct watch_slot *slot = &watch_slots[watch->slot];
    atomic64_add(&slot->word, (uint64_t)1 << 32);
    for (uint32_t turn = 0; (uint32_t)atomic64_load(&slot->word); turn++)
        body_relax(turn);
    watch_slot_give(watch->slot);
}

static void handle_event(const struct epoll_event *event)
{
    uint32_t index = (uint32_t)event->data.u64, generation = (uint32_t)(event->data.u64 >> 32);
    struct watch_slot *slot = &watch_slots[index];
    uint64_t word = atomic64_load(&slot->word);
    do {
        if (word >> 32 != generation)
            return;
    } while (!atomic64_cas(&slot->word, &word, word + 1));
    slot->watch->ready(slot->watch, event->events);
    atomic64_sub(&slot->word, 1);
}

static bool handle_events(int timeout)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(loop.epoll, events, EVENTS, timeout);
    for (int i = 0; i < count; i++)
        handle_event(&events[i]);
    return count > 0;
}

/* --- idle -------------------------------------------------------------------------------------------- */

static bool spare_cpu(void)
{
    uint32_t used = atomic32_load_relaxed(&users_running) + atomic32_load_relaxed(&loop.busy) + atomic32_load_relaxed(&loop.spinners);
    return used < loop_cpus || used - hot_asleep() < loop_cpus;
}

/*
 * Whether to spin, and for how long. With a CPU to spare, SPIN_NS. With none, a thread that has just been answered or woken
 * is often about to make a call that blocks and so frees one (two programs that answer each other): a worker whose
 * short spins have been paying off lately may try again, for less than a sleep and a wake-up would cost.
 */
static nanoseconds_t spin_time(struct worker *self, bool *spare)
{
    *spare = spare_cpu();
    if (*spare)
        return SPIN_NS;
    if (self->luck > 0 || ++self->denied % LUCK_PROBE == 0)
        return SHORT_SPIN_NS;
    return 0;
}

static void count_luck(struct worker *self, bool found)
{
    if (found)
        self->luck = self->luck < LUCK_MAX ? self->luck + 1 : LUCK_MAX;
    else
        self->luck = self->luck > 2 ? self->luck - 2 : 0;
}

/*
 * A stub of this worker's own CPU has been woken, and will soon post again or sleep: the worker offers the CPU and looks
 * at its slots whenever it gets it back, which saves the doorbell, a sleep and a wake-up. It ends when nobody
 * wanted the CPU, and for a while when somebody kept it: who sleeps is preferred when it is woken, who waits in line is not.
 */
static bool offer_cpu(struct worker *self, uint32_t cpu)
{
    if (self->no_yields > 0) {
        self->no_yields--;
        return false;
    }
    nanoseconds_t before = body_now();
    for (uint32_t turn = 0; turn < YIELDS_MAX; turn++) {
        sched_yield();
        nanoseconds_t now = body_now(), away = now - before;
        before = now;
        if (away > YIELD_LONG_NS)
            self->no_yields = YIELD_PAUSE;
        if (hot_poll() || sched_work_available(cpu))
            return true;
        if (away > YIELD_LONG_NS || away < YIELD_SHORT_NS || timer_queue_next() <= now)
            return false;
    }
    return false;
}

/*
 * A caller that wakes nobody else is served best from another CPU, by a worker that spins there. When both meet on one again
 * and again, and there is a CPU to spare, the worker moves away; it is free to come back at once. False: stay and sleep.
 */
static bool leave_caller(struct worker *self)
{
    cpu_set_t set, others;
    if (++self->crowded < CROWDED_MAX || !spare_cpu())
        return false;
    self->crowded = 0;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return false;
    others = set;
    CPU_CLR(current_cpu_hint(), &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) < 0)
        return false;
    sched_setaffinity(0, sizeof set, &set);
    return true;
}

/* True when there may be something to do; false: to sleep. */
static bool spin(uint32_t cpu)
{
    struct worker *self = &loop.workers[cpu];
    bool spare, found = false;
    enum hot_wake woke_here = hot_woke_here();
    if (woke_here == HOT_WOKE_OTHER || (woke_here == HOT_WOKE_CALLER && loop_cpus == 1))
        return offer_cpu(self, cpu);
    if (woke_here == HOT_WOKE_CALLER && !leave_caller(self))
        return false;
    nanoseconds_t time = loop_cpus > 1 && hot_worth_spinning() ? spin_time(self, &spare) : 0;
    if (time == 0)
        return false;
    atomic32_add(&loop.spinners, 1);
    if (atomic32_load_relaxed(&users_running) + 1 >= loop_cpus) /* a program may want the CPU that a waiting stub spins on */
        hot_mark_blocked();
    nanoseconds_t end = body_now() + time;
    for (uint32_t turn = 1; !found; turn++) {
        found = hot_poll() || sched_work_available(cpu);
        __builtin_ia32_pause();
        if (turn % 32 == 0 && !found) {
            nanoseconds_t now = body_now();
            found = handle_events(0);
            if (found || now >= end || now >= timer_queue_next())
                break;
            if (spare && atomic32_load_relaxed(&users_running) + atomic32_load_relaxed(&loop.busy) >= loop_cpus)
                break;
        }
        if (turn % 4 == 0 && !spare)
            hot_mark_blocked();
    }
    atomic32_sub(&loop.spinners, 1);
    if (found) /* who posted runs on another CPU */
        self->crowded = 0;
    if (!spare)
        count_luck(self, found);
    return found;
}

void body_idle(uint32_t cpu)
{
    struct worker *self = &loop.workers[cpu];
    if (hot_poll())
        return;
    sandbox_prepare();
    atomic32_sub(&loop.busy, 1);
    if (!spin(cpu)) {
        hot_leave();
        atomic32_store(&self->sleeping, 1);
        atomic_fence();
        bool work = atomic32_load(&self->woken) || sched_work_available(cpu) || atomic32_load(&loop.stopping);
        handle_events(work ? 0 : -1);
        atomic32_store(&self->sleeping, 0);
        atomic32_store_relaxed(&self->woken, 0);
    }
    if (timer_queue_next() <= body_now())
        timer_queue_run();
    atomic32_add(&loop.busy, 1);
}

static void wake_one(void)
{
    static const uint64_t one = 1;
    if (write(loop.wake, &one, sizeof one) < 0)
        KASSERT(errno == EAGAIN || errno == EINTR);
}

void body_cpu_wake(uint32_t cpu)
{
    atomic32_store(&loop.workers[cpu].woken, 1);
    if (atomic32_load(&loop.workers[cpu].sleeping))
        wake_one();
}

/* Edge-triggered: each write is an event of its own, and the count needs no reading. */
static void wake_ready(UNUSED struct host_watch *watch, UNUSED uint32_t events) {}

/* --- time -------------------------------------------------------------------------------------------- */

nanoseconds_t body_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t body_wall_offset(void)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec - (int64_t)body_now();
}

void body_timer_arm(nanoseconds_t deadline)
{
    struct itimerspec when = {{0, 0}, {0, 0}};
    if (deadline != DEADLINE_NEVER) {
        when.it_value.tv_sec = (time_t)(deadline / 1000000000u);
        when.it_value.tv_nsec = (long)(deadline % 1000000000u);
        if (deadline == 0)
            when.it_value.tv_nsec = 1;
    }
    timerfd_settime(loop.timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void timer_ready(UNUSED struct host_watch *watch, UNUSED uint32_t events) { timer_queue_run(); }

/* --- life -------------------------------------------------------------------------------------------- */

int loop_init(uint32_t workers, const char **why)
{
    cpu_set_t set;
    loop_cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    loop_workers = workers ? workers : loop_cpus;
    if (loop_workers > WORKERS_MAX)
        loop_workers = WORKERS_MAX;
    watch_slots = mmap(NULL, WATCHES_MAX * sizeof *watch_slots, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    loop.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (watch_slots == MAP_FAILED || loop.epoll < 0 || loop.wake < 0 || loop.timer < 0) {
        *why = "cannot make the event loop";
        return -errno;
    }
    loop.wake_watch = (struct host_watch){.fd = loop.wake, .ready = wake_ready};
    loop.timer_watch = (struct host_watch){.fd = loop.timer, .ready = timer_ready};
    host_watch_add(&loop.wake_watch, EPOLLIN);
    host_watch_add(&loop.timer_watch, EPOLLIN);
    return 0;
}

static void *worker_main(void *argument)
{
    uint32_t cpu = (uint32_t)(uintptr_t)argument;
    context_note_worker();
    atomic32_add(&loop.busy, 1);
    sched_run(cpu);
    hot_leave();
    wake_one(); /* the end is passed on from one sleeper to the next */
    return NULL;
}

void host_stop(int status)
{
    uint32_t running = 0;
    if (!atomic32_cas(&loop.stopping, &running, 1))
        return;
    loop.status = status;
    sched_stop();
    wake_one();
}

struct first {
    void (*function)(void *argument);
    void *argument;
};

int host_run(void (*function)(void *argument), void *argument)
{
    struct thread *first = thread_create("first", NULL, function, argument);
    if (!first)
        return 125;
    thread_start(first);
    object_unref(first);
    for (uint32_t i = 1; i < loop_workers; i++)
        if (pthread_create(&loop.threads[i], NULL, worker_main, (void *)(uintptr_t)i) != 0)
            panic("cannot start worker %u", i);
    worker_main(NULL);
    for (uint32_t i = 1; i < loop_workers; i++)
        pthread_join(loop.threads[i], NULL);
    sandbox_stop();
    return loop.status;
}

int host_init(const struct host_options *options, const char **why)
{
    host_options = *options;
    int error = loop_init(options->workers, why);
    if (error)
        return error;
    error = thread_system_init(loop_workers);
    if (!error)
        error = async_init();
    if (error) {
        *why = "cannot start the kernel's threads";
        return error;
    }
    return options->no_sandbox ? 0 : sandbox_start(why);
}

void host_statistics_read(struct host_statistics *out) { *out = statistics; }
