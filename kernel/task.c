/*
 * Tasks: what threads share. A task holds one reference to its address space, which exec replaces; whoever
 * looks from outside takes a reference of its own under the task's spinlock, and the old one is let go
 * after the lock (its end may take other locks and time).
 */
#include "kernel/task.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/user.h"

static void task_destroy(struct object *object)
{
    struct task *task = CONTAINER_OF(object, struct task, object);

    knote_list_close(&task->life);
    handle_table_destroy(&task->handles);
    object_unref(task->aspace);
    kfree(task);
}

const struct object_type task_type = {.name = "task", .destroy = task_destroy};

/* Takes a reference on the address space, which may be NULL. NULL: no memory. */
struct task *task_create(struct aspace *aspace)
{
    struct task *task = kzalloc(sizeof(*task));

    if (!task)
        return NULL;
    object_init(&task->object, &task_type);
    spinlock_init(&task->lock, RANK_THREAD);
    handle_table_init(&task->handles, HANDLES_MAX);
    knote_list_init(&task->life);
    waitq_init(&task->end_waiters);
    task->aspace = aspace ? object_ref(aspace) : NULL;
    return task;
}

/* Takes a reference on the new one. */
void task_set_aspace(struct task *task, struct aspace *aspace)
{
    struct aspace *old;

    if (aspace)
        object_ref(aspace);
    spin_lock(&task->lock);
    old = task->aspace;
    task->aspace = aspace;
    spin_unlock(&task->lock);
    object_unref(old);
}

struct aspace *task_aspace(struct task *task)
{
    struct aspace *aspace;

    spin_lock(&task->lock);
    aspace = task->aspace ? object_ref(task->aspace) : NULL;
    spin_unlock(&task->lock);
    return aspace;
}

static void followers_attach(struct list *followers, struct task *child)
{
    struct list *link;

    while ((link = list_pop_front(followers))) {
        struct task_follower *follower = LIST_ENTRY(link, struct task_follower, link);
        follower->attach(follower, child);
    }
}

void task_post(struct task *task, const struct task_event *event)
{
    struct task_event told = *event;
    struct list followers;

    list_init(&followers);
    told.attach = &followers;
    if (event->kind == TASK_EXIT) {
        spin_lock(&task->life.lock); /* who adds a knote looks at this afterwards */
        task->ended = true;
        task->status = event->data;
        spin_unlock(&task->life.lock);
    }
    if (knote_list_empty(&task->life))
        return;
    knote_notify_with(&task->life, event->kind, &told);
    followers_attach(&followers, event->child);
}

void task_end(struct task *task, int32_t status)
{
    struct task_event exit = {.kind = TASK_EXIT, .data = status};

    KASSERT(!atomic32_load(&task->gone));
    if (!task->ended)
        task_post(task, &exit);
    abi_task_ended(task);
    handle_table_clear(&task->handles);
    task->end_status = status;
    atomic32_store(&task->gone, 1);
    waitq_wake_all(&task->end_waiters);
}

/* Enqueued before the look, so that no end is missed. */
int task_wait(struct task *task, nanoseconds_t deadline)
{
    struct waiter waiter;

    waiter_init(&waiter);
    spin_lock(&task->end_waiters.lock);
    waitq_enqueue_locked(&task->end_waiters, &waiter);
    spin_unlock(&task->end_waiters.lock);
    if (!atomic32_load(&task->gone))
        return waiter_wait(&waiter, deadline, WAIT_INTERRUPTIBLE);
    waiter_abandon(&waiter);
    return 0;
}
