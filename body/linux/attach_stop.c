/*
 * Threads of attached processes that are to stand still, and what is done to a process as a whole.
 *
 * A thread's registers are in its own process, and only it can give them: so it is asked, by a number in its slot's page and libhyla's signal,
 * whose handler writes the registers beside the number, rings, and waits on the number until it is 0 again (lib/src/stop.c). It is asked
 * in the slot of its first call; the handler looks at all slots of its thread. What it says is believed by nobody: a thread that only
 * claims to stand still harms its own process, one that never answers keeps its suspender waiting as long as that wanted to.
 */
#include "body/linux/attach.h"
#include "kernel/thread_control.h"

#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct user_regs) == ATTACH_REGS * sizeof(uint64_t), "the page's registers are struct user_regs");

/* Of a user_thread that its thread keeps: the lock of what it stands under is held, and the thread's end passes through that. */
bool body_user_stops_itself(struct thread *thread)
{
    struct user_thread *user = user_of(thread);
    bool outside = user && user->client->attached;
    if (user)
        user_thread_unref(user);
    return outside;
}

static int signal_thread(const struct user_thread *user)
{
    int32_t tid = (int32_t)atomic32_load(&user->outer_tid);
    if (tid <= 0)
        return -EOPNOTSUPP;
    /* A failure other than the thread's end is a full queue of signals: then one of ours is in it already. */
    syscall(SYS_tgkill, user->client->attached->pid, tid, user->client->attached->signal);
    return 0;
}

int body_user_ask_stop(struct thread *thread, uint32_t serial)
{
    struct user_thread *user = user_of(thread);
    if (!user)
        return -ESRCH;
    int error = (int32_t)atomic32_load(&user->outer_tid) > 0 ? 0 : -EOPNOTSUPP;
    if (!error) {
        __atomic_store_n(&attach_area(user->slot)->stop, serial, __ATOMIC_SEQ_CST);
        error = signal_thread(user);
    }
    user_thread_unref(user);
    return error;
}

void body_user_go_on(struct thread *thread, const struct user_regs *regs)
{
    struct user_thread *user = user_of(thread);
    if (!user)
        return;
    struct attach_area *area = attach_area(user->slot);
    if (regs)
        memcpy(area->regs, regs, sizeof *regs);
    __atomic_store_n(&area->regs_set, regs != NULL, __ATOMIC_RELAXED);
    __atomic_store_n(&area->stop, 0, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &area->stop, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    user_thread_unref(user);
}

void attach_look_for_stop(struct client *client, uint32_t index)
{
    struct attach_area *area = attach_area(&client->slots[index]);
    uint32_t stopped = __atomic_load_n(&area->stopped, __ATOMIC_ACQUIRE);
    if (!stopped || stopped != __atomic_load_n(&area->stop, __ATOMIC_RELAXED))
        return;
    spin_lock(&client->lock);
    struct user_thread *user = client_thread_at_locked(client, index);
    struct thread *thread = user && user != client->first && user->thread ? object_ref(user->thread) : NULL;
    spin_unlock(&client->lock);
    struct user_regs regs;
    memcpy(&regs, area->regs, sizeof regs);
    if (thread)
        thread_control_stopped(thread, stopped, &regs);
    object_unref(thread);
}

/* --- the process --------------------------------------------------------------------------------------- */

struct order {
    const struct task *task;
    int signal, result;
};

static void carry_out(const struct attached *attached, void *context)
{
    struct order *order = context;
    if (attached->task != order->task)
        return;
    spin_lock(&attached->client->lock);
    LIST_FOR_EACH (node, &attached->client->processes) {
        struct host_process *process = LIST_ENTRY(node, struct host_process, link);
        if (!process->dead && syscall(SYS_pidfd_send_signal, process->pidfd, order->signal, NULL, 0) == 0)
            order->result = 0;
    }
    spin_unlock(&attached->client->lock);
}

int body_task_order(struct task *task, enum task_order what)
{
    static const int signals[] = {[TASK_ORDER_KILL] = SIGKILL, [TASK_ORDER_STOP] = SIGSTOP, [TASK_ORDER_CONTINUE] = SIGCONT};
    struct order order = {.task = task, .signal = signals[what], .result = -ESRCH};
    if (!atomic32_load(&task->gone))
        attach_visit(carry_out, &order);
    return order.result;
}
