/*
 * The interest list: a hash table of items by (file, descriptor), a ring of items on each watched file, and
 * what happens when an item's file has news.
 *
 * News reach an epoll in its file's knote list, under that list's spinlock. The epoll's own watchers are told
 * at once when the file is no epoll (the lock ranks allow one step: KNOTE, then KNOTE_NESTED); deeper chains
 * are told by deferred work.
 */
#include "abi/linux/epoll.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"

static struct atomic32 items_total = ATOMIC_INIT(0);

/* --- the table --------------------------------------------------------------------------------------- */

static struct epoll_item **bucket_of(struct epoll *epoll, const struct file *file, int fd)
{
    uint64_t hash = ((uintptr_t)file >> 6) * 0x9e3779b97f4a7c15ull + (uint32_t)fd * 0x85ebca6bull;
    return &epoll->buckets[(hash ^ hash >> 32) & (epoll->bucket_count - 1)];
}

struct epoll_item *epoll_find(struct epoll *epoll, struct file *file, int fd)
{
    struct epoll_item *item = *bucket_of(epoll, file, fd);

    while (item && (item->file != file || item->fd != fd))
        item = item->bucket_next;
    return item;
}

static void table_insert(struct epoll *epoll, struct epoll_item *item)
{
    struct epoll_item **bucket = bucket_of(epoll, item->file, item->fd);

    item->bucket_next = *bucket;
    *bucket = item;
}

/* Twice the buckets when the chains get long; without memory the chains just stay long. */
static void table_grow(struct epoll *epoll)
{
    struct epoll_item **old = epoll->buckets, **buckets;
    uint32_t old_count = epoll->bucket_count;

    if (epoll->item_count < 2 * old_count)
        return;
    buckets = kcalloc(4 * (size_t)old_count, sizeof(*buckets));
    if (!buckets)
        return;
    epoll->buckets = buckets;
    epoll->bucket_count = 4 * old_count;
    for (uint32_t i = 0; i < old_count; i++)
        for (struct epoll_item *item = old[i], *next; item; item = next) {
            next = item->bucket_next;
            table_insert(epoll, item);
        }
    kfree(old);
}

static void table_remove(struct epoll *epoll, struct epoll_item *item)
{
    struct epoll_item **place = bucket_of(epoll, item->file, item->fd);

    while (*place != item)
        place = &(*place)->bucket_next;
    *place = item->bucket_next;
}

/* --- the file's ring --------------------------------------------------------------------------------- */

static void ring_insert(struct file *file, struct epoll_item *item)
{
    struct list *first = atomic_ptr_load_relaxed(&file->epoll_items);

    list_init(&item->file_link);
    if (first)
        list_push_back(first, &item->file_link);
    else
        atomic_ptr_store_release(&file->epoll_items, &item->file_link);
}

/* The store is a release: who dies and sees NULL finds no knote either. */
static void ring_remove(struct epoll_item *item)
{
    struct list *next = list_linked(&item->file_link) ? item->file_link.next : NULL;

    list_remove(&item->file_link);
    if (atomic_ptr_load_relaxed(&item->file->epoll_items) == &item->file_link)
        atomic_ptr_store_release(&item->file->epoll_items, next);
}

/* --- news -------------------------------------------------------------------------------------------- */

/* Tells who watches the epoll itself. `deep`: a nested knote list's lock is held. */
static void announce(struct epoll *epoll, bool deep)
{
    if (knote_list_empty(&epoll->knotes))
        return;
    if (!deep) {
        knote_notify(&epoll->knotes, EVENT_READ | EVENT_READ_NORMAL);
        return;
    }
    atomic32_add(&epoll->references, 1);
    if (!kernel_async(&epoll->announce))
        atomic32_sub(&epoll->references, 1); /* not the last: the item's epoll is alive */
}

/* Links the item and wakes one waiter. True when a waiter was found (or the news went to a watcher). */
static bool item_news(struct epoll_item *item, bool deep)
{
    struct epoll *epoll = item->epoll;
    bool waiting, watched;

    spin_lock(&epoll->ready_lock);
    if (item->disabled) {
        spin_unlock(&epoll->ready_lock);
        return false;
    }
    if (!list_linked(&item->ready_link))
        list_push_back(&epoll->ready, &item->ready_link);
    waiting = !waitq_empty(&epoll->waiters);
    watched = !knote_list_empty(&epoll->knotes);
    spin_unlock(&epoll->ready_lock);
    if (waiting)
        waiting = waitq_wake_one(&epoll->waiters) > 0;
    if (watched)
        announce(epoll, deep);
    return waiting || watched;
}

static bool item_activate(struct knote *knote, uint32_t events)
{
    struct epoll_item *item = CONTAINER_OF(knote, struct epoll_item, knote);
    bool taken;

    if (events & EVENT_CLOSED)
        return false; /* the file's own death removes the item */
    taken = item_news(item, item->nested);
    return taken || !knote->exclusive;
}

uint32_t epoll_item_events(const struct epoll_item *item)
{
    return file_poll(item->file) & item->events & EPOLL_EVENT_MASK;
}

/* Attaches the knote and looks: what was ready before counts as news. */
static void item_watch(struct epoll_item *item)
{
    struct knote_list *list = file_knotes(item->file);

    item->knote.interest = item->events & EPOLL_EVENT_MASK;
    item->knote.exclusive = item->events & EPOLL_EXCLUSIVE;
    item->knote.activate = item_activate;
    if (list)
        knote_add(list, &item->knote);
    if (epoll_item_events(item))
        item_news(item, false);
}

/* --- adding, changing, removing ---------------------------------------------------------------------- */

int epoll_item_add(struct epoll *epoll, struct file *file, int fd, uint32_t events, uint64_t data)
{
    struct epoll_item *item;

    if (atomic32_add(&items_total, 1) >= EPOLL_ITEMS_MAX) {
        atomic32_sub(&items_total, 1);
        return -ENOSPC;
    }
    item = kzalloc(sizeof(*item));
    if (!item) {
        atomic32_sub(&items_total, 1);
        return -ENOMEM;
    }
    list_init(&item->ready_link);
    list_init(&item->knote.link);
    item->epoll = epoll;
    item->file = file;
    item->fd = fd;
    item->nested = epoll_of(file) != NULL;
    item->events = events;
    item->data = data;
    table_grow(epoll);
    table_insert(epoll, item);
    epoll->item_count++;
    ring_insert(file, item);
    item_watch(item);
    return 0;
}

void epoll_item_change(struct epoll_item *item, uint32_t events, uint64_t data)
{
    knote_remove(&item->knote);
    spin_lock(&item->epoll->ready_lock);
    item->disabled = false;
    spin_unlock(&item->epoll->ready_lock);
    item->events = events;
    item->data = data;
    item_watch(item);
}

void epoll_item_remove(struct epoll_item *item)
{
    struct epoll *epoll = item->epoll;

    KASSERT(mutex_owned(&epoll_tree) && mutex_owned(&epoll->mutex));
    knote_remove(&item->knote);
    spin_lock(&epoll->ready_lock);
    list_remove(&item->ready_link);
    spin_unlock(&epoll->ready_lock);
    table_remove(epoll, item);
    epoll->item_count--;
    ring_remove(item);
    kfree(item);
    atomic32_sub(&items_total, 1);
}

void epoll_items_remove_all(struct epoll *epoll)
{
    for (uint32_t i = 0; i < epoll->bucket_count; i++)
        while (epoll->buckets[i])
            epoll_item_remove(epoll->buckets[i]);
}

/* --- nesting ----------------------------------------------------------------------------------------- */

/*
 * The graph of epolls never has a loop and no chain longer than EPOLL_DEPTH_MAX, so the walks need no other bound;
 * each visits an epoll once.
 */
static uint64_t walks; /* under epoll_tree */

/* The longest chain of epolls from this one down, itself included; UINT32_MAX when it meets `forbidden`. */
static uint32_t depth_below(struct epoll *epoll, const struct epoll *forbidden)
{
    uint32_t deepest = 0;

    if (epoll == forbidden)
        return UINT32_MAX;
    if (epoll->visit == walks)
        return epoll->depth;
    for (uint32_t i = 0; i < epoll->bucket_count; i++)
        for (struct epoll_item *item = epoll->buckets[i]; item; item = item->bucket_next) {
            uint32_t depth = item->nested ? depth_below(item->file->data, forbidden) : 0;
            if (depth == UINT32_MAX)
                return UINT32_MAX;
            deepest = depth > deepest ? depth : deepest;
        }
    epoll->visit = walks;
    return epoll->depth = deepest + 1;
}

/* The longest chain of epolls from this one up, itself included. */
static uint32_t depth_above(struct epoll *epoll)
{
    struct list *first = atomic_ptr_load_relaxed(&epoll->file->epoll_items), *link = first;
    uint32_t highest = 0;

    if (epoll->visit == walks)
        return epoll->depth;
    while (link) {
        uint32_t depth = depth_above(LIST_ENTRY(link, struct epoll_item, file_link)->epoll);
        highest = depth > highest ? depth : highest;
        link = link->next == first ? NULL : link->next;
    }
    epoll->visit = walks;
    return epoll->depth = highest + 1;
}

bool epoll_nests_badly(struct epoll *epoll, struct epoll *below)
{
    uint32_t depth;

    KASSERT(mutex_owned(&epoll_tree));
    walks++;
    depth = depth_below(below, epoll);
    if (depth == UINT32_MAX)
        return true;
    walks++;
    return depth_above(epoll) + depth > EPOLL_DEPTH_MAX;
}
