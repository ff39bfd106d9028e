/*
 * See thread_control.h.
 *
 * thread->control is set once, under thread->lock, and never while `ending`; the thread holds a reference to it, it none to the thread:
 * control->thread is good as long as changed.lock is held and it is not NULL, since the thread's end passes through that lock.
 */
#include "kernel/thread_control.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/spin.h"
#include "kernel/thread.h"

static void control_destroy(struct object *object) { kfree(CONTAINER_OF(object, struct thread_control, object)); }
const struct object_type thread_control_type = {.name = "thread control", .destroy = control_destroy};

static struct thread_control *control_create(struct thread *thread, int32_t id)
{
    struct thread_control *control = kzalloc(sizeof *control);
    if (!control)
        return NULL;
    object_init(&control->object, &thread_control_type);
    waitq_init(&control->changed);
    waitq_init(&control->going);
    control->thread = thread;
    control->id = id;
    control->outside = body_user_stops_itself(thread);
    return control;
}

/* A reference, if there is one. *may_make: there is none, and there could be. */
static struct thread_control *control_get(struct thread *thread, struct thread_control *fresh, bool *may_make)
{
    spin_acquire(&thread->lock);
    *may_make = !thread->ending && !thread->control;
    if (*may_make && fresh)
        thread->control = fresh; /* the reference that thread_destroy drops */
    struct thread_control *control = thread->control ? object_ref(thread->control) : NULL;
    spin_release(&thread->lock);
    return control;
}

struct thread_control *thread_control_of(struct thread *thread, int32_t id)
{
    bool may_make;
    struct thread_control *control = control_get(thread, NULL, &may_make);
    if (!may_make)
        return control;
    struct thread_control *fresh = control_create(thread, id);
    if (!fresh)
        return NULL;
    control = control_get(thread, fresh, &may_make);
    if (!may_make)
        object_unref(fresh);
    return control;
}

void thread_control_end(struct thread *thread)
{
    spin_acquire(&thread->lock);
    thread->ending = true;
    struct thread_control *control = thread->control;
    spin_release(&thread->lock);
    if (!control)
        return;
    spin_lock(&control->changed.lock);
    control->thread = NULL;
    control->stopped = false;
    spin_unlock(&control->changed.lock);
    waitq_wake_all(&control->changed);
}

/* --- waiting for a change ----------------------------------------------------------------------------- */

typedef int control_check(const struct thread_control *control); /* its answer, or 1: not yet. With the lock */

static int check_end(const struct thread_control *control) { return control->thread ? 1 : 0; }

static int check_stop(const struct thread_control *control)
{
    if (!control->thread)
        return -ESRCH;
    return control->stopped ? 0 : control->suspensions ? 1 : -ECANCELED;
}

static int wait_for(struct thread_control *control, control_check *check, nanoseconds_t deadline)
{
    for (;;) {
        struct waiter waiter;
        waiter_init(&waiter);
        spin_lock(&control->changed.lock);
        int answer = check(control);
        if (answer > 0)
            waitq_enqueue_locked(&control->changed, &waiter);
        spin_unlock(&control->changed.lock);
        if (answer <= 0)
            return answer;
        answer = waiter_wait(&waiter, deadline, WAIT_INTERRUPTIBLE);
        if (answer)
            return answer;
    }
}

int thread_control_wait(struct thread_control *control, nanoseconds_t deadline) { return wait_for(control, check_end, deadline); }

/* --- suspending and resuming -------------------------------------------------------------------------- */

static int begin_locked(struct thread_control *control)
{
    if (++control->serial == 0)
        control->serial = 1;
    control->stopped = false;
    if (control->outside)
        return body_user_ask_stop(control->thread, control->serial);
    atomic32_or(&control->thread->interrupts, THREAD_STOPPING);
    return 0;
}

/* 0 or an error. *kick: a reference to a thread that is to be brought into the kernel. */
static int suspend_locked(struct thread_control *control, struct thread **kick)
{
    if (!control->thread)
        return -ESRCH;
    if (control->suspensions == THREAD_SUSPENSIONS_MAX)
        return -EOVERFLOW;
    int error = control->suspensions ? 0 : begin_locked(control);
    if (error)
        return error;
    if (!control->suspensions++ && !control->outside)
        *kick = object_ref(control->thread);
    return 0;
}

int thread_control_suspend(struct thread_control *control, nanoseconds_t deadline)
{
    struct thread *kick = NULL;
    spin_lock(&control->changed.lock);
    int error = suspend_locked(control, &kick);
    bool own = control->thread == thread_current() && !control->outside;
    spin_unlock(&control->changed.lock);
    if (kick)
        body_user_kick(kick);
    object_unref(kick);
    return error || own ? error : wait_for(control, check_stop, deadline);
}

int thread_control_resume(struct thread_control *control)
{
    spin_lock(&control->changed.lock);
    int error = !control->thread ? -ESRCH : !control->suspensions ? -EINVAL : 0;
    bool last = !error && --control->suspensions == 0;
    if (last && control->outside) {
        body_user_go_on(control->thread, control->regs_set ? &control->regs : NULL);
        control->regs_set = false;
    }
    if (last)
        control->stopped = false;
    spin_unlock(&control->changed.lock);
    if (last) {
        waitq_wake_all(&control->going);
        waitq_wake_all(&control->changed); /* who waits for it to stand still hears that it need not */
    }
    return error;
}

/* --- registers ---------------------------------------------------------------------------------------- */

static int registers_locked(const struct thread_control *control)
{
    return !control->thread ? -ESRCH : control->stopped ? 0 : -EBUSY;
}

int thread_control_get_regs(struct thread_control *control, struct user_regs *regs)
{
    spin_lock(&control->changed.lock);
    int error = registers_locked(control);
    if (!error)
        *regs = control->regs;
    spin_unlock(&control->changed.lock);
    return error;
}

int thread_control_set_regs(struct thread_control *control, const struct user_regs *regs)
{
    struct user_regs wanted = *regs;
    spin_lock(&control->changed.lock);
    int error = registers_locked(control);
    if (!error && !user_regs_accept(&wanted, &control->regs))
        error = -EINVAL;
    if (!error) {
        control->regs = wanted;
        control->regs_set = true;
    }
    spin_unlock(&control->changed.lock);
    return error;
}

void thread_control_look(struct thread_control *control, struct thread_control_state *state)
{
    spin_lock(&control->changed.lock);
    *state = (struct thread_control_state){.suspensions = control->suspensions, .stopped = control->stopped, .ended = !control->thread};
    spin_unlock(&control->changed.lock);
}

void thread_control_peek(struct thread *thread, struct thread_control_state *state)
{
    bool may_make;
    struct thread_control *control = control_get(thread, NULL, &may_make);
    if (control)
        thread_control_look(control, state);
    object_unref(control);
}

/* --- standing still ----------------------------------------------------------------------------------- */

bool thread_stopping(void) { return atomic32_load_relaxed(&thread_current()->interrupts) & THREAD_STOPPING; }

/* The registers are told once: somebody may have set others since. True: it is to go on. */
static bool stand_locked(struct thread_control *control, const struct thread *self, const struct user_regs *regs, bool *told)
{
    if (!control->suspensions || thread_killed(self))
        return true;
    if (!control->stopped) { /* also when it was resumed and suspended again before it looked */
        if (!control->regs_set)
            control->regs = *regs;
        control->stopped = *told = true;
    }
    return false;
}

static void leave_locked(struct thread_control *control, struct thread *self, struct user_regs *regs)
{
    control->stopped = false;
    if (control->regs_set)
        *regs = control->regs;
    control->regs_set = false;
    atomic32_and(&self->interrupts, ~(uint32_t)THREAD_STOPPING);
}

void thread_stop_here(struct user_regs *regs)
{
    struct thread *self = thread_current();
    struct thread_control *control = self->control;
    for (bool out = false; !out;) {
        struct waiter waiter;
        bool told = false;
        waiter_init(&waiter);
        spin_lock(&control->going.lock); /* before the look: a resumption after it finds the waiter */
        waitq_enqueue_locked(&control->going, &waiter);
        spin_unlock(&control->going.lock);
        spin_lock(&control->changed.lock);
        out = stand_locked(control, self, regs, &told);
        if (out)
            leave_locked(control, self, regs);
        spin_unlock(&control->changed.lock);
        if (told)
            waitq_wake_all(&control->changed);
        if (out)
            waiter_abandon(&waiter);
        else
            waiter_wait(&waiter, DEADLINE_NEVER, WAIT_KILLABLE);
    }
}

void thread_control_stopped(struct thread *thread, uint32_t serial, const struct user_regs *regs)
{
    bool may_make;
    struct thread_control *control = control_get(thread, NULL, &may_make);
    if (!control)
        return;
    spin_lock(&control->changed.lock);
    bool news = control->thread && control->outside && control->suspensions && control->serial == serial && !control->stopped;
    if (news) {
        control->regs = *regs;
        control->stopped = true;
    }
    spin_unlock(&control->changed.lock);
    if (news)
        waitq_wake_all(&control->changed);
    object_unref(control);
}
