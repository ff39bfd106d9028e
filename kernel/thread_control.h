/*
 * Holding a thread from outside: suspending and resuming it, its registers while it stands still, waiting for its end.
 *
 * A thread_control is what a handle to a thread names. It is made when somebody first asks for one, and outlives the thread.
 * Suspensions are counted. A thread stands still in one of two ways, as its body says (body_user_stops_itself):
 *
 *   held      The ABI holds it on its way out of the kernel, in thread_stop_here. A call that it is in goes on, and is not
 *             interrupted: the thread stands still when the call is over. Managed programs, on every body.
 *   outside   Its own process does it: asked with a serial number, it says when it stands still (thread_control_stopped), with its
 *             registers. Attached programs, also in the middle of a call.
 *
 * Locks: changed.lock guards everything; body_user_ask_stop and body_user_go_on are called with it held, so that what they write
 * comes in the order of what was decided. What dies how: the thread's end is an answer to everyone who waits here (-ESRCH, or 0
 * for thread_control_wait); a suspender that dies leaves its suspension, as it leaves whatever else it did, for others with a handle to take back.
 */
#ifndef KERNEL_THREAD_CONTROL_H
#define KERNEL_THREAD_CONTROL_H

#include "kernel/object.h"
#include "kernel/waitq.h"

#include <arch/regs.h>

struct thread;

#define THREAD_SUSPENSIONS_MAX 127u

struct thread_control {
    struct object object;
    struct waitq changed; /* who waits for it to stand still, or to end */
    struct waitq going;   /* the thread itself, while it is held */
    /* under changed.lock */
    struct thread *thread; /* not referenced; NULL once it has ended */
    int32_t id;            /* constant: as its ABI calls it */
    uint32_t suspensions;
    uint32_t serial;       /* of the present suspension: never 0 */
    bool outside;
    bool stopped, regs_set;
    struct user_regs regs; /* while it stands still */
};

extern const struct object_type thread_control_type;

/* A reference to the thread's, made with this id if there is none. NULL: no memory, or the thread is ending. */
struct thread_control *thread_control_of(struct thread *thread, int32_t id);
/*
 * One suspension more, and waits until the thread stands still. 0; -ESRCH it has ended; -EOVERFLOW; -EOPNOTSUPP its body cannot ask it;
 * -ECANCELED it was resumed meanwhile. -ETIMEDOUT, -EINTR: it does not yet, but the suspension holds.
 * Suspending oneself, held: answers 0 at once, and the call's end is where it stands still.
 */
int thread_control_suspend(struct thread_control *control, nanoseconds_t deadline);
/* One less; at none the thread goes on. -ESRCH, -EINVAL (there is none). */
int thread_control_resume(struct thread_control *control);
/* -ESRCH, -EBUSY: it does not stand still. set: -EINVAL, not what a program could have. */
int thread_control_get_regs(struct thread_control *control, struct user_regs *regs);
int thread_control_set_regs(struct thread_control *control, const struct user_regs *regs);
/* Waits for the thread's end. 0, -ETIMEDOUT, -EINTR. */
int thread_control_wait(struct thread_control *control, nanoseconds_t deadline);

struct thread_control_state {
    uint32_t suspensions;
    bool stopped, ended;
};
/* Of a thread that may have no control: then nothing holds it. */
void thread_control_peek(struct thread *thread, struct thread_control_state *state);
void thread_control_look(struct thread_control *control, struct thread_control_state *state);

/* --- for ABIs, bodies and thread.c -------------------------------------------------------------------- */

/* The calling thread is to stand still: thread_stop_here, on the way to user mode, when nothing else is left to do. One load. */
bool thread_stopping(void);
/* Stands still, with these registers, until it may go on with what they are then; or is killed. No lock held; may suspend. */
void thread_stop_here(struct user_regs *regs);
/* An outside thread says that it stands still since it was asked with this serial. Any context. */
void thread_control_stopped(struct thread *thread, uint32_t serial, const struct user_regs *regs);
/* The thread ends: no control is made for it from now on. Once, by itself. */
void thread_control_end(struct thread *thread);

#endif
