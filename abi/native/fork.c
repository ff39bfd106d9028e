/*
 * fork of an attached process: a copy of the task is made while the parent stands still, and waits here for the child to
 * name it when it checks in. A copy is a task like any other but for the process: handles that may be copied, the region map.
 *
 * The token is a random number that only parent and child know. Copies that nobody claims go after a time, or for newer
 * ones: a fork that failed, or a child that never came, would else keep every object of the parent alive.
 */
#include "abi/native/native_calls.h"
#include "abi/native/task.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/async.h"
#include "kernel/body.h"
#include "kernel/timer.h"

#define COPIES_PER_TASK 16u
#define COPY_NS 10000000000u

struct fork_copy {
    struct list link; /* oldest first */
    uint64_t token;
    struct task *parent; /* referenced, to be told */
    struct task *task;
    nanoseconds_t made;
};

static struct mutex lock = {.state_lock = SPINLOCK_INIT(RANK_WAITQ), .waiters = {&lock.waiters, &lock.waiters}, .rank = RANK_NATIVE_FORK};
static struct list copies = {&copies, &copies};
static void forget_old(struct async_work *work);
static void time_is_up(struct timer *timer);
static struct async_work old_work = {.function = forget_old};
static struct timer old_timer = {.function = time_is_up};

static void drop(struct list *dead)
{
    for (struct list *node; (node = list_pop_front(dead));) {
        struct fork_copy *copy = LIST_ENTRY(node, struct fork_copy, link);
        handle_table_clear(&copy->task->handles);
        object_unref(copy->task);
        object_unref(copy->parent);
        kfree(copy);
    }
}

/* Moves to `dead`: copies of the parent that are too many (leaving `keep`), or all that are too old. */
static void collect_locked(struct list *dead, const struct task *parent, uint32_t keep, nanoseconds_t now)
{
    uint32_t have = 0;
    LIST_FOR_EACH (node, &copies)
        have += LIST_ENTRY(node, struct fork_copy, link)->parent == parent;
    for (struct list *node = copies.next, *next; node != &copies; node = next) {
        struct fork_copy *copy = LIST_ENTRY(node, struct fork_copy, link);
        next = node->next;
        bool too_many = parent && copy->parent == parent && have > keep;
        have -= too_many;
        if (too_many || now - copy->made >= COPY_NS) {
            list_remove(node);
            list_push_back(dead, node);
        }
    }
}

static void forget(const struct task *parent, uint32_t keep)
{
    struct list dead;
    list_init(&dead);
    mutex_lock(&lock);
    collect_locked(&dead, parent, keep, body_now());
    if (!list_empty(&copies))
        timer_set(&old_timer, LIST_ENTRY(copies.next, struct fork_copy, link)->made + COPY_NS);
    mutex_unlock(&lock);
    drop(&dead);
}

static void forget_old(struct async_work *work)
{
    (void)work;
    forget(NULL, 0);
}

static void time_is_up(struct timer *timer)
{
    (void)timer;
    kernel_async(&old_work);
}

void native_fork_forget(const struct task *parent) { forget(parent, 0); }

static struct task *copy_task(struct task *parent, int *error)
{
    struct aspace *from = task_aspace(parent), *aspace = aspace_create_bare();
    struct task *task = aspace ? task_create(aspace) : NULL;
    *error = task ? 0 : -ENOMEM;
    if (!*error && from)
        *error = aspace_copy_regions(aspace, from);
    if (!*error)
        *error = handle_table_clone(&task->handles, &parent->handles);
    object_unref(from);
    object_unref(aspace);
    if (*error) {
        object_unref(task);
        return NULL;
    }
    return task;
}

int64_t native_fork_prepare(uint64_t *token)
{
    struct task *parent = native_task_current();
    struct user_ids ids;
    int error;

    if (!user_arrivals_known())
        return -ENOSYS;
    struct fork_copy *copy = kzalloc(sizeof *copy);
    struct task *task = copy ? copy_task(parent, &error) : NULL;
    if (!task) {
        kfree(copy);
        return copy ? error : -ENOMEM;
    }
    user_ids_get(&ids);
    task->end_status = ids.task; /* the child's parent id: nobody else looks there before the task has ended */
    do
        body_random(&copy->token, sizeof copy->token);
    while (!copy->token);
    copy->parent = object_ref(parent);
    copy->task = task;
    copy->made = body_now();
    *token = copy->token;
    mutex_lock(&lock);
    list_push_back(&copies, &copy->link);
    mutex_unlock(&lock);
    forget(parent, COPIES_PER_TASK);
    return 0;
}

struct task *native_fork_claim(uint64_t token, struct task **parent)
{
    struct task *task = NULL;
    mutex_lock(&lock);
    LIST_FOR_EACH (node, &copies) {
        struct fork_copy *copy = LIST_ENTRY(node, struct fork_copy, link);
        if (copy->token != token)
            continue;
        task = copy->task;
        *parent = copy->parent;
        list_remove(node);
        kfree(copy);
        break;
    }
    mutex_unlock(&lock);
    return task;
}
