/*
 * Waiting for several files. An activation sets a flag and wakes under the wait queue's lock; the waiter
 * clears the flag under it before it asks the files again, so an event between asking and sleeping is seen.
 */
#include "abi/linux/poller.h"

void poller_init(struct poller *poller)
{
    waitq_init(&poller->waiters);
    poller->triggered = false;
}

static bool entry_activate(struct knote *knote, uint32_t events)
{
    struct poller *poller = CONTAINER_OF(knote, struct poll_entry, knote)->poller;

    (void)events;
    spin_lock(&poller->waiters.lock);
    poller->triggered = true;
    if (!list_empty(&poller->waiters.waiters))
        waitq_wake_locked(&poller->waiters, LIST_ENTRY(poller->waiters.waiters.next, struct waiter, link));
    spin_unlock(&poller->waiters.lock);
    return true;
}

void poll_entry_watch(struct poller *poller, struct poll_entry *entry)
{
    struct knote_list *list = file_knotes(entry->file);

    if (!list)
        return;
    entry->poller = poller;
    entry->knote = (struct knote){.interest = entry->interest | EVENT_ERROR | EVENT_HANGUP, .activate = entry_activate};
    knote_add(list, &entry->knote);
}

void poll_entry_unwatch(struct poll_entry *entry)
{
    if (entry->poller)
        knote_remove(&entry->knote);
    entry->poller = NULL;
}

uint32_t poll_entry_ready(const struct poll_entry *entry)
{
    return file_poll(entry->file) & (entry->interest | EVENT_ERROR | EVENT_HANGUP);
}

int poller_wait(struct poller *poller, nanoseconds_t deadline)
{
    struct waiter waiter;
    bool triggered;

    waiter_init(&waiter);
    spin_lock(&poller->waiters.lock);
    triggered = poller->triggered;
    poller->triggered = false;
    if (!triggered)
        waitq_enqueue_locked(&poller->waiters, &waiter);
    spin_unlock(&poller->waiters.lock);
    if (triggered)
        return 0;
    int error = waiter_wait(&waiter, deadline, WAIT_INTERRUPTIBLE);
    spin_lock(&poller->waiters.lock);
    poller->triggered = false;
    spin_unlock(&poller->waiters.lock);
    return error;
}
