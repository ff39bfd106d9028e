/*
 * Timers that send signals: what POSIX timers and interval timers have in common.
 *
 *   struct process_timers   all timers of a process, made when it sets its first; under its mutex
 *   struct signal_timer     one: a clock, the next expiry, an interval, and the record of the signal it sends
 *
 * A timer's expiry on the kernel's queue runs where nothing may suspend, so it only posts the timer's async work, and
 * that sends. A periodic timer is set again when its signal is taken, not when it is sent: a program that does not
 * take its signals costs nothing, and the periods that passed meanwhile are its overrun. Expiries are times of the
 * body's clock or, for CPU clocks, values of that clock, which is looked at again at estimated times.
 *
 * References: the process's list has one, the queued async work has one, the queued signal has one. Timers refer to
 * their process; timers_exit breaks the circle.
 */
#ifndef ABI_LINUX_SIGNAL_TIMER_H
#define ABI_LINUX_SIGNAL_TIMER_H

#include "abi/linux/signal_state.h"
#include "abi/linux/time.h"
#include "kernel/async.h"

enum interval_timer_which { ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF, ITIMERS };

struct process_timers {
    struct object object;
    struct mutex mutex; /* rank ABI_TIMER */
    struct signal_timer *interval[ITIMERS];
    struct list posix; /* struct signal_timer.link */
    uint32_t posix_count;
    int32_t next_id;
};

struct signal_timer {
    struct object object;
    /* constant */
    struct process_timers *timers;
    struct process *process;
    struct lthread *thread; /* the only receiver, or NULL */
    struct clock clock;
    int32_t id;
    bool silent; /* SIGEV_NONE */
    /* under timers->mutex */
    struct list link;
    bool deleted;
    bool waiting;      /* periodic: set again when its signal is taken */
    uint64_t expiry;   /* 0: disarmed */
    uint64_t interval; /* 0: once */
    uint64_t overrun;  /* periods since the signal was queued */
    int32_t last_overrun;
    uint64_t last_value; /* of a CPU clock when last looked at */
    uint32_t idle;
    struct signal_record record;
    struct timer timer;
    struct async_work work;
};

/* The current process's timers, made when there are none yet. NULL: no memory. */
struct process_timers *timers_get(void);
/* A disarmed timer with one reference; takes over the clock. info with signo and code. NULL: no memory. */
struct signal_timer *signal_timer_create(struct process_timers *timers, const struct clock *clock, struct lthread *thread,
                                         const struct linux_siginfo *info);
/* What its clock shows, in the terms of expiry. No lock held. */
uint64_t signal_timer_now(struct signal_timer *timer);
/* Arms at expiry (0: disarms), from then on every interval; forgets a signal that is still queued. timers->mutex held. */
void signal_timer_set_locked(struct signal_timer *timer, uint64_t now, uint64_t expiry, uint64_t interval);
/* Time to the next expiry, 0 when disarmed. timers->mutex held. */
uint64_t signal_timer_left_locked(struct signal_timer *timer, uint64_t now);
/* Off its list: never again. Drops the list's reference. No lock held. */
void signal_timer_delete(struct signal_timer *timer);

#endif
