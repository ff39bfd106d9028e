/* Gates: a word that is swapped, and a queue for those who found it taken. */
#include "abi/linux/gate.h"

#include "kernel/errno.h"

void gate_init(struct gate *gate)
{
    atomic32_store_relaxed(&gate->busy, 0);
    waitq_init(&gate->waiters);
}

static int gate_wait(struct gate *gate)
{
    int error = 0;

    while (!error && atomic32_swap(&gate->busy, 2) != 0) {
        struct waiter waiter;

        waiter_init(&waiter);
        spin_lock(&gate->waiters.lock);
        waitq_enqueue_locked(&gate->waiters, &waiter);
        spin_unlock(&gate->waiters.lock);
        /* Who leaves either sees our 2 after we are enqueued, or we see its 0 here. */
        if (atomic32_swap(&gate->busy, 2) == 0) {
            waiter_abandon(&waiter);
            return 0;
        }
        error = waiter_wait(&waiter, DEADLINE_NEVER, WAIT_KILLABLE);
    }
    return error;
}

int gate_enter(struct gate *gate)
{
    uint32_t expected = 0;

    return atomic32_cas(&gate->busy, &expected, 1) ? 0 : gate_wait(gate);
}

void gate_leave(struct gate *gate)
{
    if (atomic32_swap(&gate->busy, 0) == 2)
        waitq_wake_all(&gate->waiters);
}

int gate_enter_pair(struct gate *a, struct gate *b)
{
    struct gate *first = a < b ? a : b, *second = a < b ? b : a;
    int error = gate_enter(first);

    if (error || first == second)
        return error;
    error = gate_enter(second);
    if (error)
        gate_leave(first);
    return error;
}

void gate_leave_pair(struct gate *a, struct gate *b)
{
    gate_leave(a);
    if (a != b)
        gate_leave(b);
}
