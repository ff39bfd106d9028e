/*
 * Attached tasks and threads: ids, counting, the end.
 *
 * A process has a use of its task, and so has each of its threads; who gives up the last one ends the task (handles
 * closed, names forgotten, waiters told), on a kernel thread, since a watch or a timer may be where that happens. task->abi points to the
 * native_task until then; the lock of all tasks guards that too, for those who come with a handle to a task.
 */
#include "abi/native/task.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/thread_control.h"

static struct {
    struct spinlock lock; /* rank NATIVE_TASKS */
    struct list tasks;    /* struct native_task.link */
    struct atomic32 last_id;
} all = {.lock = SPINLOCK_INIT(RANK_NATIVE_TASKS), .tasks = {&all.tasks, &all.tasks}};

/* Tasks and threads have one range of ids, as processes and threads do elsewhere. Never 0; used again after 2^31 of them. */
int32_t native_next_id(void)
{
    int32_t id;
    do
        id = (int32_t)((atomic32_add(&all.last_id, 1) + 1) & INT32_MAX);
    while (id == 0);
    return id;
}

void native_task_lock(bool take)
{
    if (take)
        spin_lock(&all.lock);
    else
        spin_unlock(&all.lock);
}

static void end_task(struct async_work *work)
{
    struct native_task *native = CONTAINER_OF(work, struct native_task, end_work);
    struct task *task = native->task;

    spin_lock(&all.lock);
    list_remove(&native->link);
    task->abi = NULL;
    spin_unlock(&all.lock);
    native_fork_forget(task);
    task_set_aspace(task, NULL);
    task_end(task, 0);
    object_unref(task);
    kfree(native);
}

static void task_unuse(struct native_task *native)
{
    if (atomic32_sub(&native->users, 1) == 1)
        kernel_async(&native->end_work);
}

static struct native_task *native_task_create(struct task *task, int32_t parent_id)
{
    struct native_task *native = kzalloc(sizeof *native);
    if (!native)
        return NULL;
    async_work_init(&native->end_work, end_task);
    native->task = task;
    native->id = native_next_id();
    list_init(&native->thread_list);
    native->parent_id = parent_id;
    atomic32_store_relaxed(&native->users, 1);
    return native;
}

/* A reference to a fresh task over a bare address space. */
static struct task *fresh_task(void)
{
    struct aspace *aspace = aspace_create_bare();
    struct task *task = aspace ? task_create(aspace) : NULL;
    object_unref(aspace);
    return task;
}

static int32_t parent_of(const struct task *copy) { return copy->end_status; } /* fork.c keeps it there until the child comes */

static struct task *task_arrives(uint64_t token)
{
    struct task *parent = NULL, *task = token ? native_fork_claim(token, &parent) : fresh_task();
    if (!task)
        return NULL;
    struct native_task *native = native_task_create(task, token ? parent_of(task) : 0);
    if (!native) {
        object_unref(parent);
        object_unref(task);
        return NULL;
    }
    task->end_status = 0;
    object_ref(task); /* native->task */
    spin_lock(&all.lock);
    task->abi = native;
    list_push_back(&all.tasks, &native->link);
    spin_unlock(&all.lock);
    if (parent)
        task_post(parent, &(struct task_event){.kind = TASK_FORK, .data = native->parent_id, .child = task, .child_ident = (uint64_t)native->id});
    object_unref(parent);
    return task;
}

static struct thread *thread_arrives(struct task *task, struct thread *first)
{
    struct native_thread *self = native_thread_create(task, first);
    struct thread *thread = self ? thread_create_parked("attached", task, body_user_entry, NULL) : NULL;
    if (!thread) {
        kfree(self);
        return NULL;
    }
    atomic32_add(&self->task->users, 1);
    atomic32_add(&self->task->threads, !self->nested);
    thread->abi = self;
    native_thread_known(self, thread);
    return thread;
}

static void thread_refused(struct thread *thread)
{
    struct native_thread *self = thread->abi;
    struct native_task *native = self->task;

    native_thread_forget(self);
    atomic32_sub(&native->threads, !self->nested);
    kfree(self);
    thread_control_end(thread);
    thread_discard_parked(thread);
    object_unref(thread);
    task_unuse(native);
}

static void task_leaves(struct task *task) { task_unuse(task->abi); }

const struct abi_arrivals native_arrivals = {.task_arrives = task_arrives, .thread_arrives = thread_arrives, .thread_refused = thread_refused,
                                             .task_leaves = task_leaves};

NORETURN void native_thread_exit(void)
{
    struct thread *thread = thread_current();
    struct native_thread *self = thread->abi;
    struct native_task *native = self->task;

    native_thread_forget(self);
    body_user_exit(false);
    atomic32_sub(&native->threads, !self->nested);
    kfree(self);
    task_unuse(native);
    object_unref(thread); /* thread_arrives gave it; the run-time has its own */
    thread_exit();
}

/* --- looking at tasks -------------------------------------------------------------------------------- */

void native_task_describe(struct task *task, struct hyla_task_info *info)
{
    if (!user_arrivals_known())
        return;
    spin_lock(&all.lock);
    const struct native_task *native = task->abi;
    if (native) {
        info->task = native->id;
        info->threads = atomic32_load(&native->threads);
    }
    spin_unlock(&all.lock);
}

/* The first task with an id above ids->task, with a reference; its ids. */
static struct task *task_after(struct native_ids *ids)
{
    const struct native_task *found = NULL;
    spin_lock(&all.lock);
    LIST_FOR_EACH (link, &all.tasks) {
        const struct native_task *native = LIST_ENTRY(link, struct native_task, link);
        if (native->id > ids->task && (!found || native->id < found->id))
            found = native;
    }
    if (found)
        *ids = (struct native_ids){found->id, found->parent_id};
    struct task *task = found ? object_ref(found->task) : NULL;
    spin_unlock(&all.lock);
    return task;
}

void native_tasks_visit(void (*visit)(struct task *task, struct native_ids ids, void *argument), void *argument)
{
    struct native_ids ids = {0};
    struct task *task;
    while ((task = task_after(&ids))) {
        visit(task, ids, argument);
        object_unref(task);
    }
}
