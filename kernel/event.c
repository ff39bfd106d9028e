/*
 * Knotes and the lists they hang on: see kernel/event.h.
 *
 * Whose death comes first is not known: the object's (knote_list_close) or the watcher's (knote_remove), so
 * neither may follow a pointer to the other without holding it fast. knote->list is guarded by a lock
 * that belongs to neither, one of a few chosen by the knote's address (the owner lock). Who holds it and
 * sees knote->list set knows that the list lives: closing needs the same lock for each knote it detaches.
 *
 * Order: owner lock, then the list's. Closing therefore looks at its first knote's address, lets the list
 * go, takes the owner lock, and looks again.
 */
#include "kernel/event.h"

#include "kernel/assert.h"

#define OWNER_LOCKS 16u
#define EVENTS_ALWAYS (EVENT_ERROR | EVENT_HANGUP | EVENT_CLOSED)

#define LOCK SPINLOCK_INIT(RANK_KNOTE_OWNER)
static struct spinlock owner_locks[OWNER_LOCKS] = {LOCK, LOCK, LOCK, LOCK, LOCK, LOCK, LOCK, LOCK,
                                                   LOCK, LOCK, LOCK, LOCK, LOCK, LOCK, LOCK, LOCK};
#undef LOCK

static struct spinlock *owner_lock(const struct knote *knote)
{
    return &owner_locks[((uintptr_t)knote >> 6) % OWNER_LOCKS];
}

void knote_list_init(struct knote_list *list)
{
    spinlock_init(&list->lock, RANK_KNOTE);
    list_init(&list->knotes);
    list->detail = NULL;
}

void knote_add(struct knote_list *list, struct knote *knote)
{
    struct spinlock *owner = owner_lock(knote);
    spin_lock(owner);
    spin_lock(&list->lock);
    knote->list = list;
    if (knote->exclusive)
        list_push_back(&list->knotes, &knote->link);
    else
        list_push_front(&list->knotes, &knote->link); /* all of these come before the exclusive ones */
    spin_unlock(&list->lock);
    spin_unlock(owner);
}

void knote_remove(struct knote *knote)
{
    struct spinlock *owner = owner_lock(knote);
    spin_lock(owner);
    struct knote_list *list = knote->list;
    if (list) {
        spin_lock(&list->lock);
        list_remove(&knote->link);
        knote->list = NULL;
        spin_unlock(&list->lock);
    }
    spin_unlock(owner);
}

void knote_notify(struct knote_list *list, uint32_t events) { knote_notify_with(list, events, NULL); }

void knote_notify_with(struct knote_list *list, uint32_t events, const void *detail)
{
    spin_lock(&list->lock);
    bool taken = false;
    list->detail = detail;
    LIST_FOR_EACH (link, &list->knotes) {
        struct knote *knote = LIST_ENTRY(link, struct knote, link);
        if (!(events & (knote->interest | EVENTS_ALWAYS)) || (knote->exclusive && taken))
            continue;
        bool accepted = knote->activate(knote, events);
        taken = taken || (accepted && knote->exclusive);
    }
    list->detail = NULL;
    spin_unlock(&list->lock);
}

static struct knote *first_locked(struct knote_list *list)
{
    return list_empty(&list->knotes) ? NULL : LIST_ENTRY(list->knotes.next, struct knote, link);
}

static struct knote *first_of(struct knote_list *list)
{
    spin_lock(&list->lock);
    struct knote *first = first_locked(list);
    spin_unlock(&list->lock);
    return first;
}

/* `knote` is an address only, until it is seen on the list again under both locks. */
static void close_one(struct knote_list *list, struct knote *knote)
{
    struct spinlock *owner = owner_lock(knote);
    spin_lock(owner);
    spin_lock(&list->lock);
    if (first_locked(list) == knote) {
        list_remove(&knote->link);
        knote->list = NULL;
        knote->activate(knote, EVENT_CLOSED);
    }
    spin_unlock(&list->lock);
    spin_unlock(owner);
}

void knote_list_close(struct knote_list *list)
{
    struct knote *knote;
    while ((knote = first_of(list)))
        close_one(list, knote);
}
