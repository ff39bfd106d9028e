/*
 * Threads of attached tasks by their ids, and the native calls about threads, whose ABI does not matter: a handle to a thread names its
 * thread_control (kernel/thread_control.h).
 *
 * A thread is in its task's list and in a table by id from its arrival to its end. Both are guarded by one spinlock, which nothing is taken
 * inside of; who finds a thread there has a reference to it, not to its native_thread.
 */
#include "abi/native/native_calls.h"
#include "abi/native/task.h"
#include "kernel/alloc.h"
#include "kernel/body.h"
#include "kernel/string.h"
#include "kernel/thread_control.h"

#define TABLE 256u

enum native_futex_state { STATE_ALIVE, STATE_EXITING };

static struct {
    struct spinlock lock; /* rank NATIVE_THREADS */
    struct list table[TABLE]; /* struct native_thread.by_id; a list that was never used has NULL for its links */
} all = {.lock = SPINLOCK_INIT(RANK_NATIVE_THREADS)};

static struct list *bucket_locked(int32_t id)
{
    struct list *list = &all.table[(uint32_t)id % TABLE];
    if (!list->next)
        list_init(list);
    return list;
}

/* --- the threads that there are ----------------------------------------------------------------------- */

struct native_thread *native_thread_create(struct task *task, struct thread *first)
{
    struct native_thread *self = kzalloc(sizeof *self);
    if (!self)
        return NULL;
    self->task = task->abi; /* the process's use keeps it: the body asks for no thread after task_leaves */
    spin_lock(&all.lock);
    const struct native_thread *other = first ? first->abi : NULL;
    if (other && other->task == self->task) {
        self->id = other->id;
        self->nested = true;
    }
    spin_unlock(&all.lock);
    if (!self->nested)
        self->id = native_next_id();
    return self;
}

void native_thread_known(struct native_thread *self, struct thread *thread)
{
    self->thread = thread;
    if (self->nested)
        return;
    spin_lock(&all.lock);
    list_push_back(&self->task->thread_list, &self->link);
    list_push_back(bucket_locked(self->id), &self->by_id);
    spin_unlock(&all.lock);
}

/* Its locks pass on while it can still be found as one that is about to end: who meets it looks again. */
void native_thread_forget(struct native_thread *self)
{
    if (!self->nested) {
        atomic32_store(&self->futex_state, STATE_EXITING);
        futex_owner_exit((uint32_t)self->id);
    }
    spin_lock(&all.lock);
    self->thread->abi = NULL;
    if (!self->nested) {
        list_remove(&self->link);
        list_remove(&self->by_id);
    }
    spin_unlock(&all.lock);
}

struct thread *native_thread_at(struct task *task, int32_t *id)
{
    const struct native_thread *found = NULL;
    native_task_lock(true);
    spin_lock(&all.lock);
    const struct native_task *native = task->abi;
    if (native)
        LIST_FOR_EACH (link, &native->thread_list) {
            const struct native_thread *thread = LIST_ENTRY(link, struct native_thread, link);
            if (thread->id >= *id && (!found || thread->id < found->id))
                found = thread;
        }
    struct thread *thread = found ? object_ref(found->thread) : NULL;
    if (found)
        *id = found->id;
    spin_unlock(&all.lock);
    native_task_lock(false);
    return thread;
}

void native_threads_visit(struct task *task, void (*visit)(struct thread *thread, int32_t id, uint64_t call, void *argument), void *argument)
{
    struct thread *thread;
    for (int32_t id = 1; (thread = native_thread_at(task, &id)) && id < INT32_MAX; id++) {
        spin_lock(&all.lock);
        const struct native_thread *native = thread->abi;
        uint64_t call = native ? atomic32_load_relaxed(&native->call) : 0;
        spin_unlock(&all.lock);
        visit(thread, id, call, argument);
        object_unref(thread);
    }
}

enum futex_owner_state native_futex_owner(uint32_t id)
{
    enum futex_owner_state state = FUTEX_OWNER_GONE;
    spin_lock(&all.lock);
    LIST_FOR_EACH (link, bucket_locked((int32_t)id)) {
        const struct native_thread *thread = LIST_ENTRY(link, struct native_thread, by_id);
        if ((uint32_t)thread->id == id)
            state = atomic32_load(&thread->futex_state) == STATE_ALIVE ? FUTEX_OWNER_ALIVE : FUTEX_OWNER_EXITING;
    }
    spin_unlock(&all.lock);
    return state;
}

/* --- handles to threads ------------------------------------------------------------------------------- */

#define THREAD_RIGHTS (RIGHT_READ | RIGHT_MANAGE | RIGHT_COPY | RIGHT_TRANSFER)

int64_t native_thread_open(struct task *task, int32_t id)
{
    int32_t found = id;
    struct thread *thread = id > 0 ? user_thread_at(task, &found) : NULL;
    bool right = thread && found == id;
    struct thread_control *control = right ? thread_control_of(thread, id) : NULL;
    object_unref(thread);
    return right ? native_handle_new((struct object *)control, THREAD_RIGHTS) : -ESRCH;
}

int64_t native_thread_self(void)
{
    struct user_ids ids;
    user_ids_get(&ids);
    return native_thread_open(native_task_current(), ids.thread);
}

int64_t native_thread_next(struct task *task, int32_t after)
{
    if (after == INT32_MAX)
        return 0;
    int32_t id = after < 0 ? 1 : after + 1;
    struct thread *thread = user_thread_at(task, &id);
    object_unref(thread);
    return thread ? id : 0;
}

int64_t native_thread_info(struct thread_control *control, struct hyla_thread_info *info)
{
    struct thread_control_state state;
    thread_control_look(control, &state);
    *info = (struct hyla_thread_info){.thread = control->id, .suspensions = state.suspensions,
                                      .state = state.ended     ? HYLA_THREAD_STATE_ENDED
                                               : state.stopped ? HYLA_THREAD_STATE_STOPPED
                                               : state.suspensions ? HYLA_THREAD_STATE_STOPPING
                                                                   : HYLA_THREAD_STATE_RUNNING};
    return 0;
}

int64_t native_thread_suspend(struct thread_control *control, nanoseconds_t deadline) { return thread_control_suspend(control, deadline); }
int64_t native_thread_resume(struct thread_control *control) { return thread_control_resume(control); }
int64_t native_thread_wait(struct thread_control *control, nanoseconds_t deadline) { return thread_control_wait(control, deadline); }

static_assert(sizeof(struct user_regs) <= sizeof(((struct hyla_registers *)0)->values), "registers of every architecture fit");
#define REGISTERS (sizeof(struct user_regs) / sizeof(uint64_t))

int64_t native_thread_get_registers(struct thread_control *control, struct hyla_registers *registers)
{
    struct user_regs regs;
    int error = thread_control_get_regs(control, &regs);
    if (error)
        return error;
    *registers = (struct hyla_registers){.machine = USER_REGS_MACHINE, .count = REGISTERS};
    memcpy(registers->values, &regs, sizeof regs);
    return 0;
}

int64_t native_thread_set_registers(struct thread_control *control, const struct hyla_registers *registers)
{
    struct user_regs regs;
    if (registers->machine != USER_REGS_MACHINE || registers->count != REGISTERS)
        return -EINVAL;
    memcpy(&regs, registers->values, sizeof regs);
    return thread_control_set_regs(control, &regs);
}

/* --- tasks as a whole --------------------------------------------------------------------------------- */

int64_t native_task_end(struct task *task) { return user_task_order(task, TASK_ORDER_KILL); }
int64_t native_task_stop(struct task *task) { return user_task_order(task, TASK_ORDER_STOP); }
int64_t native_task_continue(struct task *task) { return user_task_order(task, TASK_ORDER_CONTINUE); }
