/*
 * Receiving, from a port or a set: the first item of a queue, or a wait.
 *
 * What may fail (slots in the handle table, the reply right) is reserved before (port_msg.c), and whether the message fits is
 * looked at before it leaves the queue.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/port_internal.h"

#define NOTHING 2

/* --- taking an item ------------------------------------------------------------------------------------ */

/* A blocked sender's message moves into the block that became free, in its place of the queue. False: it was interrupted. */
static bool refill_from_locked(struct port *port, struct port_item *block, struct port_thread *sender)
{
    spin_lock(&sender->lock);
    bool waits = waiter_claim(&sender->waiter);
    if (waits) {
        struct port_item *item = &sender->item;
        struct port_message empty = block->message;
        block->message = item->message;
        block->badge = item->badge;
        block->counted = block->revocable = true;
        list_insert_between(&block->link, item->link.prev, &item->link);
        port_walks_replace_locked(port, &item->link, &block->link);
        list_remove(&item->link);
        item->message = empty;
        port_item_count_locked(port, block);
        sender->answer.sent = true;
        sender->phase = PHASE_DONE;
        waiter_resume(&sender->waiter, false);
    }
    spin_unlock(&sender->lock);
    return waits;
}

/* There is room for one more in the queue, and a block for it. The block comes back when nobody wants it. */
static struct port_item *refill_locked(struct port *port, struct port_item *block)
{
    struct list *link;
    if (port->queued >= port->queue_limit)
        return block;
    while ((link = list_pop_front(&port->blocked))) {
        struct port_item *item = LIST_ENTRY(link, struct port_item, blocked_link);
        if (refill_from_locked(port, block, item->sender))
            return NULL;
    }
    return block;
}

/* False: its sender was interrupted. */
static bool take_from_sender(struct port_thread *self, struct port_thread *sender)
{
    spin_lock(&sender->lock);
    bool call = sender->item.call;
    bool waits = call ? !waiter_ended(&sender->waiter) : waiter_claim(&sender->waiter);
    if (waits)
        port_hand_over(self, &sender->item);
    if (waits && !call) {
        sender->phase = PHASE_DONE;
        waiter_resume(&sender->waiter, false);
    }
    spin_unlock(&sender->lock);
    return waits;
}

static bool take_locked(struct port_thread *self, struct port *port, struct port_item *item, struct port_item **spare)
{
    port_item_remove_locked(port, item);
    if (item->sender)
        return take_from_sender(self, item->sender);
    port_hand_over(self, item);
    *spare = refill_locked(port, item);
    return true;
}

static int take_first_locked(struct port_thread *self, struct port *port, struct port_item **spare)
{
    if (port->dead)
        return -EPIPE;
    if (port->holder != self->table)
        return port->holder ? -ECANCELED : NOTHING;
    while (!list_empty(&port->items)) {
        struct port_item *item = LIST_ENTRY(port->items.next, struct port_item, link);
        if (!port_fits(self, &item->message))
            return -EMSGSIZE;
        if (take_locked(self, port, item, spare))
            return 0;
    }
    return NOTHING;
}

/* --- waiting ------------------------------------------------------------------------------------------- */

static int wait_in_locked(struct port_thread *self, struct list *receivers)
{
    if (self->flags & PORT_RECEIVE_NONBLOCK)
        return -EAGAIN;
    waiter_init(&self->waiter);
    self->waiter.parks = self->flags & PORT_PARKS;
    self->phase = PHASE_RECEIVING;
    list_push_back(receivers, &self->receive_link);
    return PORT_WAITS;
}

static int receive_from_port(struct port_thread *self, struct port *port)
{
    struct port_item *spare = NULL;
    spin_lock(&port->lock);
    int result = take_first_locked(self, port, &spare);
    if (result == NOTHING)
        result = wait_in_locked(self, &port->receivers);
    spin_unlock(&port->lock);
    port_item_free(spare);
    return result;
}

/* --- sets ---------------------------------------------------------------------------------------------- */

/* The port whose turn it is, referenced; it goes to the end. NULL: *result says how the receive ends. */
static struct port *next_of_set(struct port_thread *self, struct port_set *set, int *result)
{
    struct port *port = NULL;
    spin_lock(&set->lock);
    if (set->dead) {
        *result = -EPIPE;
    } else if (list_empty(&set->ready)) {
        *result = wait_in_locked(self, &set->receivers);
    } else {
        struct list *link = list_pop_front(&set->ready);
        list_push_back(&set->ready, link);
        port = object_ref(LIST_ENTRY(link, struct port, ready_link)); /* dead ports leave before they go */
    }
    spin_unlock(&set->lock);
    return port;
}

static void unready_locked(struct port *port, struct port_set *set)
{
    spin_lock(&set->lock);
    if (port->set == set)
        list_remove(&port->ready_link);
    spin_unlock(&set->lock);
}

static int receive_from_member(struct port_thread *self, struct port_set *set, struct port *port)
{
    struct port_item *spare = NULL;
    spin_lock(&port->lock);
    int result = port->set == set ? take_first_locked(self, port, &spare) : NOTHING;
    if (result == -EPIPE || result == -ECANCELED)
        result = NOTHING;
    if (result == NOTHING || (result == 0 && list_empty(&port->items)))
        unready_locked(port, set);
    spin_unlock(&port->lock);
    port_item_free(spare);
    return result;
}

static int receive_from_set(struct port_thread *self, struct port_set *set)
{
    int result = NOTHING;
    while (result == NOTHING) {
        struct port *port = next_of_set(self, set, &result);
        if (!port)
            break;
        result = receive_from_member(self, set, port);
        object_unref(port);
    }
    return result;
}

/* --- both ---------------------------------------------------------------------------------------------- */

int port_receive(struct port_thread *self)
{
    if (self->from->type == &port_set_type)
        return receive_from_set(self, CONTAINER_OF(self->from, struct port_set, object));
    return receive_from_port(self, CONTAINER_OF(self->from, struct port, object));
}

void port_receive_leave(struct port_thread *self)
{
    struct spinlock *lock = self->from->type == &port_set_type ? &CONTAINER_OF(self->from, struct port_set, object)->lock
                                                               : &CONTAINER_OF(self->from, struct port, object)->lock;
    spin_lock(lock);
    list_remove(&self->receive_link);
    spin_unlock(lock);
}
