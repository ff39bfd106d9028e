/*
 * Collecting events and waiting for them.
 *
 * Who collects holds the epoll's mutex and takes the whole ready list in hand, so that it meets each item
 * once. Items are popped before their files are asked. A level-triggered item that was reported goes to the
 * end of the ready list (others come first next time, and it is asked again then); what was not looked at
 * goes back to the front. Events go to user memory in batches; a batch that cannot be written is put back.
 *
 * Waiters sleep one per wake. Who leaves with something still ready wakes the next.
 */
#include "abi/linux/epoll.h"

#include "kernel/assert.h"
#include "kernel/user.h"

#include <arch/epoll_event.h>

#define EPOLL_BATCH 32

static void scan_begin(struct epoll *epoll, struct list *pass)
{
    list_init(pass);
    spin_lock(&epoll->ready_lock);
    list_splice_back(pass, &epoll->ready);
    epoll->scanning = !list_empty(pass);
    spin_unlock(&epoll->ready_lock);
}

/* What is left in `pass` goes back to the front. Returns whether the ready list has something for a waiter. */
static bool scan_end(struct epoll *epoll, struct list *pass)
{
    bool more;

    spin_lock(&epoll->ready_lock);
    list_splice_back(pass, &epoll->ready);
    list_splice_back(&epoll->ready, pass);
    epoll->scanning = false;
    more = !list_empty(&epoll->ready) && !waitq_empty(&epoll->waiters);
    spin_unlock(&epoll->ready_lock);
    return more;
}

static struct epoll_item *scan_pop(struct epoll *epoll, struct list *pass)
{
    struct list *first;

    spin_lock(&epoll->ready_lock);
    first = list_pop_front(pass);
    spin_unlock(&epoll->ready_lock);
    return first ? LIST_ENTRY(first, struct epoll_item, ready_link) : NULL;
}

static void scan_push_front(struct epoll *epoll, struct list *pass, struct epoll_item *item)
{
    spin_lock(&epoll->ready_lock);
    list_remove(&item->ready_link); /* news may have linked it again */
    list_push_front(pass, &item->ready_link);
    spin_unlock(&epoll->ready_lock);
}

static bool item_disabled(struct epoll_item *item)
{
    bool disabled;

    spin_lock(&item->epoll->ready_lock);
    disabled = item->disabled;
    spin_unlock(&item->epoll->ready_lock);
    return disabled;
}

bool epoll_any_ready(struct epoll *epoll)
{
    struct epoll_item *item;
    bool ready = false, wake;
    struct list pass;

    /*
     * Called with the mutexes of outer epolls held, so it may only try. When somebody is at work inside, a
     * guess is good enough: whoever comes to collect finds out.
     */
    if (!mutex_trylock(&epoll->mutex)) {
        spin_lock(&epoll->ready_lock);
        ready = epoll->scanning || !list_empty(&epoll->ready);
        spin_unlock(&epoll->ready_lock);
        return ready;
    }
    scan_begin(epoll, &pass);
    while (!ready && (item = scan_pop(epoll, &pass)))
        if (!item_disabled(item) && epoll_item_events(item)) {
            scan_push_front(epoll, &pass, item);
            ready = true;
        }
    wake = scan_end(epoll, &pass);
    mutex_unlock(&epoll->mutex);
    if (wake)
        waitq_wake_one(&epoll->waiters);
    return ready;
}

struct batch {
    int32_t count;
    struct epoll_item *items[EPOLL_BATCH];
    struct linux_epoll_event events[EPOLL_BATCH];
};

static void batch_fill(struct epoll *epoll, struct list *pass, struct batch *batch, int32_t limit)
{
    struct epoll_item *item;

    batch->count = 0;
    while (batch->count < limit && batch->count < EPOLL_BATCH && (item = scan_pop(epoll, pass))) {
        uint32_t events = item_disabled(item) ? 0 : epoll_item_events(item);

        if (!events)
            continue;
        batch->items[batch->count] = item;
        batch->events[batch->count++] = (struct linux_epoll_event){.events = events, .data = item->data};
    }
}

/* The program has the events: one-shots are off, level-triggered items queue up again. */
static void batch_commit(struct epoll *epoll, struct batch *batch)
{
    spin_lock(&epoll->ready_lock);
    for (int32_t i = 0; i < batch->count; i++) {
        struct epoll_item *item = batch->items[i];

        if (item->events & EPOLL_ONESHOT) {
            item->disabled = true;
            list_remove(&item->ready_link);
        } else if (!(item->events & EPOLL_EDGE) && !list_linked(&item->ready_link)) {
            list_push_back(&epoll->ready, &item->ready_link);
        }
    }
    spin_unlock(&epoll->ready_lock);
}

static void batch_undo(struct epoll *epoll, struct list *pass, struct batch *batch)
{
    while (batch->count > 0)
        scan_push_front(epoll, pass, batch->items[--batch->count]);
}

int64_t epoll_collect(struct epoll *epoll, uaddr_t events, int32_t limit)
{
    struct batch batch;
    int64_t total = 0;
    struct list pass;
    bool wake;

    mutex_lock(&epoll->mutex);
    scan_begin(epoll, &pass);
    do {
        batch_fill(epoll, &pass, &batch, limit - (int32_t)total);
        if (batch.count && user_write(events + (uint64_t)total * sizeof(batch.events[0]), batch.events,
                                      (size_t)batch.count * sizeof(batch.events[0]))) {
            batch_undo(epoll, &pass, &batch);
            if (!total)
                total = -EFAULT;
            break;
        }
        batch_commit(epoll, &batch);
        total += batch.count;
    } while (batch.count == EPOLL_BATCH && total < limit);
    wake = scan_end(epoll, &pass);
    mutex_unlock(&epoll->mutex);
    if (wake)
        waitq_wake_one(&epoll->waiters);
    return total;
}

/* Until something is linked ready: 0, -ETIMEDOUT, -EINTR. */
static int ready_wait(struct epoll *epoll, nanoseconds_t deadline)
{
    struct waiter waiter;
    bool empty;

    waiter_init(&waiter);
    spin_lock(&epoll->ready_lock);
    empty = list_empty(&epoll->ready); /* who scans wakes us at its end when something is left */
    if (empty) {
        spin_lock(&epoll->waiters.lock);
        waitq_enqueue_locked(&epoll->waiters, &waiter);
        spin_unlock(&epoll->waiters.lock);
    }
    spin_unlock(&epoll->ready_lock);
    return empty ? waiter_wait(&waiter, deadline, WAIT_INTERRUPTIBLE) : 0;
}

static bool ready_hint(struct epoll *epoll)
{
    bool ready;

    spin_lock(&epoll->ready_lock);
    ready = epoll->scanning || !list_empty(&epoll->ready);
    spin_unlock(&epoll->ready_lock);
    return ready;
}

int64_t epoll_wait_until(struct epoll *epoll, uaddr_t events, int32_t limit, nanoseconds_t deadline)
{
    int error = deadline ? 0 : -ETIMEDOUT;

    KASSERT(limit > 0);
    for (;;) {
        int64_t count = ready_hint(epoll) ? epoll_collect(epoll, events, limit) : 0;

        if (count)
            return count;
        if (error == -ETIMEDOUT)
            return 0;
        if (error)
            return error;
        error = ready_wait(epoll, deadline);
    }
}
