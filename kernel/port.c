/*
 * The port object: its life, its rights and their counts, making and revoking them. How messages go is in port_send.c,
 * port_receive.c and port_reply.c, what dies how in port_death.c.
 *
 * Rights are counted where handles are made and closed (object_type.right_added, right_dropped), also those in messages.
 * Send rights are counted by badge, in a tree, so that all rights with one badge can be revoked, or their end be told; an
 * entry lives as long as there are rights with it, so it costs who makes the rights and is never missing when they are copied.
 * The end of the last receive right is the port's death, whoever still has references.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/port_internal.h"
#include "kernel/string.h"

#define WALK_STEPS 32u /* items looked at under one hold of a port's lock */

/* --- items and threads' records ------------------------------------------------------------------------ */

struct port_item *port_item_make(void)
{
    struct port_item *item = kzalloc(sizeof(*item));
    if (item) {
        list_init(&item->link);
        list_init(&item->blocked_link);
    }
    return item;
}

void port_item_free(struct port_item *item)
{
    if (!item)
        return;
    kfree(item->message.buffer);
    kfree(item);
}

static struct port_thread *record_make(struct thread *thread)
{
    struct port_thread *self = kzalloc(sizeof(*self));
    if (!self)
        return NULL;
    self->references = (struct atomic32)ATOMIC_INIT(1);
    spinlock_init(&self->lock, RANK_PORT_THREAD);
    list_init(&self->item.link);
    list_init(&self->item.blocked_link);
    list_init(&self->receive_link);
    self->item.sender = self;
    self->kept = HANDLES_KEPT_NONE;
    thread->ports = self;
    return self;
}

struct port_thread *port_thread_self(void)
{
    struct thread *thread = thread_current();
    KASSERT(thread);
    return thread->ports ? thread->ports : record_make(thread);
}

struct port_message *port_message_of(struct port_thread *self) { return &self->item.message; }
const struct port_answer *port_answer_of(const struct port_thread *self) { return &self->answer; }
uint64_t *port_notes_of(struct port_thread *self) { return self->notes; }

void port_thread_ref(struct port_thread *thread) { atomic32_add_relaxed(&thread->references, 1); }

void port_thread_unref(struct port_thread *thread)
{
    if (atomic32_sub(&thread->references, 1) == 1)
        kfree(thread);
}

/* What reply rights still hold is the record alone. */
void port_thread_gone(struct port_thread *self)
{
    if (!self)
        return;
    KASSERT(self->phase == PHASE_IDLE);
    if (self->reply)
        object_unref(self->reply);
    kfree(self->item.message.buffer);
    port_thread_unref(self);
}

/* --- the object ---------------------------------------------------------------------------------------- */

static void port_destroy(struct object *object)
{
    struct port *port = CONTAINER_OF(object, struct port, object);
    KASSERT(list_empty(&port->items) && list_empty(&port->receivers) && !port->badges.root && !port->set);
    KASSERT(list_empty(&port->dead_names) && list_empty(&port->no_senders));
    knote_list_close(&port->knotes);
    kfree(port);
}

struct port_badge *port_badge_find_locked(struct port *port, uint64_t badge)
{
    struct tree_node *node = port->badges.root;
    while (node) {
        struct port_badge *entry = CONTAINER_OF(node, struct port_badge, node);
        if (entry->badge == badge)
            return entry;
        node = node->child[badge > entry->badge];
    }
    return NULL;
}

static void badge_insert_locked(struct port *port, struct port_badge *entry)
{
    struct tree_node *parent = NULL, *node = port->badges.root;
    int side = 0;
    while (node) {
        parent = node;
        side = entry->badge > CONTAINER_OF(node, struct port_badge, node)->badge;
        node = node->child[side];
    }
    tree_insert(&port->badges, parent, side, &entry->node);
}

static void send_added_locked(struct port *port, uint64_t badge)
{
    struct port_badge *entry = port_badge_find_locked(port, badge);
    KASSERT(entry);
    entry->rights++;
    port->send_rights++;
}

/* Another table than before: who waited in that one no longer may. */
static void receive_added_locked(struct port *port, struct handle_table *table)
{
    port->receive_rights++;
    if (!table || table == port->holder)
        return;
    port->holder = table;
    port_set_leave_locked(port);
    port_receivers_wake_locked(&port->receivers, -ECANCELED);
}

static void port_right_added(struct object *object, struct handle_table *table, uint32_t rights, uint64_t badge)
{
    struct port *port = CONTAINER_OF(object, struct port, object);
    spin_lock(&port->lock);
    if (rights & RIGHT_SEND)
        send_added_locked(port, badge);
    if (rights & RIGHT_RECEIVE)
        receive_added_locked(port, table);
    spin_unlock(&port->lock);
}

/* The entry, when it is to be freed. */
static struct port_badge *send_dropped_locked(struct port *port, uint64_t badge, struct list *notices)
{
    struct port_badge *entry = port_badge_find_locked(port, badge);
    KASSERT(entry && entry->rights > 0 && port->send_rights > 0);
    if (--port->send_rights == 0)
        port_notices_take_locked(port, &port->no_senders, notices);
    if (--entry->rights > 0)
        return NULL;
    port_notices_take_locked(port, &entry->notices, notices);
    port->badges_revoked -= entry->revoked;
    tree_remove(&port->badges, &entry->node);
    return entry;
}

static void send_dropped(struct port *port, uint64_t badge)
{
    struct list notices;
    list_init(&notices);
    spin_lock(&port->lock);
    struct port_badge *gone = send_dropped_locked(port, badge, &notices);
    bool dead = port->dead;
    spin_unlock(&port->lock);
    kfree(gone);
    if (dead)
        port_notices_drop(&notices); /* who asked has no receive right any more */
    else
        port_notices_fire(&notices);
}

static void receive_dropped(struct port *port)
{
    spin_lock(&port->lock);
    KASSERT(port->receive_rights > 0);
    bool last = --port->receive_rights == 0;
    spin_unlock(&port->lock);
    if (last)
        port_die(port);
}

static void port_right_dropped(struct object *object, uint32_t rights, uint64_t badge)
{
    struct port *port = CONTAINER_OF(object, struct port, object);
    if (rights & RIGHT_SEND)
        send_dropped(port, badge);
    if (rights & RIGHT_RECEIVE)
        receive_dropped(port);
}

const struct object_type port_type = {
    .name = "port",
    .destroy = port_destroy,
    .right_added = port_right_added,
    .right_dropped = port_right_dropped,
};

static struct port *port_make(uint32_t queue_limit)
{
    struct port *port = kzalloc(sizeof(*port));
    if (!port)
        return NULL;
    object_init(&port->object, &port_type);
    spinlock_init(&port->lock, RANK_PORT);
    struct list *lists[] = {&port->items,    &port->blocked,    &port->receivers,  &port->dead_names, &port->walks,
                            &port->set_link, &port->ready_link, &port->no_senders, &port->death_link};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        list_init(lists[i]);
    tree_init(&port->badges, NULL);
    knote_list_init(&port->knotes);
    port->queue_limit = queue_limit;
    return port;
}

/* --- making rights ------------------------------------------------------------------------------------- */

int port_get(struct handle_table *table, handle_t receive, struct port **port)
{
    struct handle_value value;
    int error = handle_get(table, receive, &port_type, RIGHT_RECEIVE, &value);
    if (!error)
        *port = CONTAINER_OF(value.object, struct port, object);
    return error;
}

int port_handle_make(struct handle_table *table, void *object, uint32_t rights, uint64_t badge, handle_t *handle)
{
    struct handle_value value = {.object = object, .rights = rights, .badge = badge};
    int error = handle_insert(table, &value, handle);
    if (error)
        object_unref(object);
    return error;
}

int port_create(struct handle_table *table, uint32_t queue_limit, handle_t *receive)
{
    if (queue_limit > PORT_QUEUE_MAX)
        return -EINVAL;
    struct port *port = port_make(queue_limit);
    if (!port)
        return -ENOMEM;
    port_queues_measure();
    return port_handle_make(table, port, RIGHT_RECEIVE | RIGHT_TRANSFER, 0, receive);
}

/* One right in the badge's entry, so that it is there when the handle comes to be counted. Uses *fresh when it needs one. */
static int badge_hold(struct port *port, uint64_t badge, struct port_badge **fresh)
{
    int error = 0;
    spin_lock(&port->lock);
    struct port_badge *entry = port_badge_find_locked(port, badge);
    if (port->dead) {
        error = -EPIPE;
    } else if (entry && entry->revoked) {
        error = -EBUSY;
    } else {
        if (!entry) {
            badge_insert_locked(port, *fresh);
            *fresh = NULL;
        }
        send_added_locked(port, badge);
    }
    spin_unlock(&port->lock);
    return error;
}

static int send_make(struct handle_table *table, struct port *port, uint64_t badge, uint32_t rights, handle_t *send)
{
    struct port_badge *fresh = kzalloc(sizeof(*fresh));
    if (!fresh)
        return -ENOMEM;
    fresh->badge = badge;
    list_init(&fresh->notices);
    int error = badge_hold(port, badge, &fresh);
    kfree(fresh);
    if (error)
        return error;
    error = port_handle_make(table, object_ref(port), RIGHT_SEND | rights, badge, send);
    send_dropped(port, badge);
    return error;
}

int port_make_send(struct handle_table *table, handle_t receive, uint64_t badge, uint32_t rights, handle_t *send)
{
    struct port *port;
    if (rights & ~(uint32_t)(RIGHT_SEND | RIGHT_COPY | RIGHT_TRANSFER))
        return -EINVAL;
    int error = port_get(table, receive, &port);
    if (error)
        return error;
    error = send_make(table, port, badge, rights, send);
    object_unref(port);
    return error;
}

int port_set_queue_limit(struct handle_table *table, handle_t receive, uint32_t queue_limit)
{
    struct port *port;
    if (queue_limit > PORT_QUEUE_MAX)
        return -EINVAL;
    int error = port_get(table, receive, &port);
    if (error)
        return error;
    spin_lock(&port->lock);
    port->queue_limit = queue_limit;
    spin_unlock(&port->lock);
    object_unref(port);
    return 0;
}

int port_count(struct handle_table *table, handle_t receive, uint64_t *messages, uint64_t *send_rights)
{
    struct port *port;
    int error = port_get(table, receive, &port);
    if (error)
        return error;
    spin_lock(&port->lock);
    if (messages)
        *messages = port->item_count;
    if (send_rights)
        *send_rights = port->send_rights;
    spin_unlock(&port->lock);
    object_unref(port);
    return 0;
}

/* --- revoking ------------------------------------------------------------------------------------------ */

/* False: there are no rights with that badge. */
static bool revoke_badge_locked(struct port *port, uint64_t badge, uint64_t *rights)
{
    struct port_badge *entry = port_badge_find_locked(port, badge);
    if (!entry)
        return false;
    *rights = entry->rights;
    port->badges_revoked += !entry->revoked;
    entry->revoked = true; /* nothing more comes through them */
    return true;
}

static void walk_begin_locked(struct port *port, struct port_walk *walk)
{
    walk->next = list_empty(&port->items) ? NULL : port->items.next;
    walk->last = port->items.prev;
    list_push_back(&port->walks, &walk->link);
}

static void give_back_locked(struct port *port, struct port_item *item, struct list *blocks)
{
    port_item_remove_locked(port, item);
    if (item->sender)
        port_sender_fail(item->sender, -EKEYREVOKED);
    else
        list_push_back(blocks, &item->link);
}

/* A bounded number of items, so that the lock is never held for long. False: that was the last step. */
static bool walk_locked(struct port *port, struct port_walk *walk, uint64_t badge, struct list *blocks)
{
    for (uint32_t step = 0; step < WALK_STEPS && walk->next; step++) {
        struct port_item *item = LIST_ENTRY(walk->next, struct port_item, link);
        walk->next = walk->next == walk->last ? NULL : item->link.next;
        if (item->revocable && item->badge == badge)
            give_back_locked(port, item, blocks);
    }
    if (!walk->next)
        list_remove(&walk->link);
    return walk->next;
}

static void bury_blocks(struct list *blocks)
{
    struct list *link;
    while ((link = list_pop_front(blocks))) {
        struct port_item *block = LIST_ENTRY(link, struct port_item, link);
        port_message_bury(&block->message);
        port_item_free(block);
    }
}

int64_t port_revoke(struct handle_table *table, handle_t receive, uint64_t badge)
{
    struct port *port;
    struct port_walk walk;
    struct list blocks;
    uint64_t rights = 0;
    int error = port_get(table, receive, &port);
    if (error)
        return error;
    list_init(&walk.link);
    list_init(&blocks);
    spin_lock(&port->lock);
    bool more = revoke_badge_locked(port, badge, &rights);
    if (more)
        walk_begin_locked(port, &walk);
    while (more) {
        more = walk_locked(port, &walk, badge, &blocks);
        spin_unlock(&port->lock);
        bury_blocks(&blocks);
        spin_lock(&port->lock);
    }
    spin_unlock(&port->lock);
    object_unref(port);
    return (int64_t)rights;
}

/* --- readiness ----------------------------------------------------------------------------------------- */

struct knote_list *port_knotes(struct object *object)
{
    if (object->type == &port_set_type)
        return &CONTAINER_OF(object, struct port_set, object)->knotes;
    KASSERT(object->type == &port_type);
    return &CONTAINER_OF(object, struct port, object)->knotes;
}

static uint32_t set_events(struct port_set *set)
{
    spin_lock(&set->lock);
    uint32_t events = (list_empty(&set->ready) ? 0 : EVENT_READ) | (set->dead ? EVENT_HANGUP : 0);
    spin_unlock(&set->lock);
    return events;
}

uint32_t port_events(struct object *object)
{
    if (object->type == &port_set_type)
        return set_events(CONTAINER_OF(object, struct port_set, object));
    KASSERT(object->type == &port_type);
    struct port *port = CONTAINER_OF(object, struct port, object);
    spin_lock(&port->lock);
    uint32_t events = (list_empty(&port->items) ? 0 : EVENT_READ) | (port->dead ? EVENT_HANGUP : 0);
    spin_unlock(&port->lock);
    return events;
}

uint64_t port_messages(struct object *object)
{
    if (object->type == &port_set_type)
        return port_events(object) & EVENT_READ ? 1 : 0;
    KASSERT(object->type == &port_type);
    struct port *port = CONTAINER_OF(object, struct port, object);
    spin_lock(&port->lock);
    uint64_t messages = port->item_count;
    spin_unlock(&port->lock);
    return messages;
}
