/*
 * Sending: to a receiver that waits, into the queue, or as a blocked sender at its end; and what takes items off it again.
 *
 * Where receivers wait there are no items, and the other way round, but for a receive right that is on its way: its port keeps
 * both apart until the right has arrived, or is back.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/port_internal.h"

#define NEEDS_BLOCK 2
#define QUEUES_SHARE 16u /* all queues together hold at most this part of the machine's memory */

static struct atomic64 queued_bytes;
static struct atomic64 queues_room; /* bytes */

bool port_fits(struct port_thread *receiver, const struct port_message *message)
{
    if (message->size <= receiver->bytes_max && message->handle_count <= receiver->handles_max)
        return true;
    receiver->answer.bytes_needed = message->size;
    receiver->answer.handles_needed = message->handle_count;
    return false;
}

static void bind_reply(struct port_thread *receiver, struct port_thread *caller)
{
    struct port_reply *reply = receiver->reply;
    KASSERT(reply && !reply->caller && !reply->port);
    port_thread_ref(caller);
    reply->caller = caller;
    reply->call_number = caller->call_number;
    caller->phase = PHASE_SERVED;
}

void port_hand_over(struct port_thread *receiver, struct port_item *item)
{
    struct port_message empty = receiver->item.message;
    receiver->item.message = item->message;
    receiver->answer.badge = item->badge;
    receiver->answer.received = true;
    empty.size = empty.handle_count = 0;
    item->message = empty;
    if (item->sender)
        item->sender->answer.sent = true;
    if (item->call)
        bind_reply(receiver, item->sender);
}

/* --- to receivers -------------------------------------------------------------------------------------- */

/* False: it was interrupted, or has no room and was told. */
static bool offer_one(struct port_thread *receiver, struct port_item *item)
{
    bool taken = false;
    spin_lock(&receiver->lock);
    if (waiter_claim(&receiver->waiter)) {
        taken = port_fits(receiver, &item->message);
        if (taken)
            port_hand_over(receiver, item);
        receiver->phase = taken ? PHASE_DONE : PHASE_FAILED;
        receiver->error = -EMSGSIZE;
        waiter_resume(&receiver->waiter, true);
    }
    spin_unlock(&receiver->lock);
    return taken;
}

static bool offer_to_locked(struct list *receivers, struct port_item *item)
{
    struct list *link;
    while ((link = list_pop_front(receivers)))
        if (offer_one(LIST_ENTRY(link, struct port_thread, receive_link), item))
            return true;
    return false;
}

/* The item's own side is the running thread's. */
static bool offer_locked(struct port *port, struct port_item *item)
{
    if (!list_empty(&port->items) || !port->holder)
        return false;
    if (offer_to_locked(&port->receivers, item))
        return true;
    if (!port->set)
        return false;
    spin_lock(&port->set->lock);
    bool taken = offer_to_locked(&port->set->receivers, item);
    spin_unlock(&port->set->lock);
    return taken;
}

void port_receivers_wake_locked(struct list *receivers, int error)
{
    struct list *link;
    while ((link = list_pop_front(receivers))) {
        struct port_thread *receiver = LIST_ENTRY(link, struct port_thread, receive_link);
        spin_lock(&receiver->lock);
        if (waiter_claim(&receiver->waiter)) {
            receiver->phase = error ? PHASE_FAILED : PHASE_AGAIN;
            receiver->error = error;
            waiter_resume(&receiver->waiter, false);
        }
        spin_unlock(&receiver->lock);
    }
}

/* --- the queue ----------------------------------------------------------------------------------------- */

static uint64_t item_charge(const struct port_item *item) { return sizeof(*item) + item->message.capacity; }

void port_item_count_locked(struct port *port, struct port_item *item)
{
    port->queued++;
    atomic64_add_relaxed(&queued_bytes, item_charge(item));
}

/* Asking the body may take a while: not for each message. */
void port_queues_measure(void) { atomic64_store_relaxed(&queues_room, body_memory_size() / QUEUES_SHARE); }

/* A hint for all queues together: senders that come at the same time may each see the last room. */
static bool room_locked(struct port *port)
{
    return port->queued < port->queue_limit && atomic64_load_relaxed(&queued_bytes) < atomic64_load_relaxed(&queues_room);
}

static void enqueue_locked(struct port *port, struct port_item *item)
{
    list_push_back(&port->items, &item->link);
    port->item_count++;
    if (item->counted)
        port_item_count_locked(port, item);
    port_ready_locked(port);
}

void port_walks_replace_locked(struct port *port, const struct list *item, struct list *block)
{
    LIST_FOR_EACH (link, &port->walks) {
        struct port_walk *walk = LIST_ENTRY(link, struct port_walk, link);
        walk->next = walk->next == item ? block : walk->next;
        walk->last = walk->last == item ? block : walk->last;
    }
}

/* An item leaves. What is to be walked lies between next and last, both included. */
static void walks_leave_locked(struct port *port, const struct list *item)
{
    LIST_FOR_EACH (link, &port->walks) {
        struct port_walk *walk = LIST_ENTRY(link, struct port_walk, link);
        if (walk->next == item)
            walk->next = walk->last == item ? NULL : item->next;
        else if (walk->last == item)
            walk->last = item->prev;
    }
}

void port_item_remove_locked(struct port *port, struct port_item *item)
{
    walks_leave_locked(port, &item->link);
    list_remove(&item->link);
    list_remove(&item->blocked_link);
    port->item_count--;
    if (item->counted) {
        port->queued--;
        atomic64_sub(&queued_bytes, item_charge(item));
    }
    port_flight_leave(&item->message);
}

void port_sender_fail(struct port_thread *sender, int error)
{
    spin_lock(&sender->lock);
    if (waiter_claim(&sender->waiter)) {
        sender->phase = PHASE_FAILED;
        sender->error = error;
        waiter_resume(&sender->waiter, false);
    }
    spin_unlock(&sender->lock);
}

static int sendable_locked(struct port *port, uint64_t badge, bool revocable)
{
    if (port->dead)
        return -EPIPE;
    if (!revocable || port->badges_revoked == 0)
        return 0;
    struct port_badge *entry = port_badge_find_locked(port, badge);
    return entry && entry->revoked ? -EKEYREVOKED : 0;
}

static int queue_block_locked(struct port_thread *self, struct port *port, struct port_item **block)
{
    struct port_item *item = *block;
    if (!item)
        return NEEDS_BLOCK;
    int error = port_flight_enter(port, &self->item.message);
    if (error)
        return error;
    struct port_message empty = item->message;
    item->message = self->item.message;
    self->item.message = empty;
    item->badge = self->item.badge;
    item->counted = item->revocable = true;
    enqueue_locked(port, item);
    *block = NULL;
    self->answer.sent = true;
    return 0;
}

static int block_locked(struct port_thread *self, struct port *port)
{
    if (self->flags & PORT_SEND_NONBLOCK)
        return -EAGAIN;
    int error = port_flight_enter(port, &self->item.message);
    if (error)
        return error;
    self->phase = PHASE_QUEUED;
    enqueue_locked(port, &self->item);
    if (!self->item.call)
        list_push_back(&port->blocked, &self->item.blocked_link);
    return PORT_WAITS;
}

static int try_send_locked(struct port_thread *self, struct port *port, struct port_item **block)
{
    int error = sendable_locked(port, self->item.badge, true);
    if (error)
        return error;
    if (offer_locked(port, &self->item))
        return self->item.call ? PORT_WAITS : 0;
    if (!self->item.call && room_locked(port))
        return queue_block_locked(self, port, block);
    return block_locked(self, port);
}

static int try_send(struct port_thread *self, struct port *port, struct port_item **block)
{
    spin_lock(&port->lock);
    int result = try_send_locked(self, port, block);
    spin_unlock(&port->lock);
    return result;
}

/* From here on a reply right to an earlier call finds another number. */
static void sender_init(struct port_thread *self, uint64_t badge)
{
    spin_lock(&self->lock);
    self->call_number++;
    self->phase = PHASE_IDLE;
    waiter_init(&self->waiter);
    self->waiter.parks = self->flags & PORT_PARKS;
    spin_unlock(&self->lock);
    self->item.badge = badge;
    self->item.call = self->flags & PORT_CALL;
    self->item.counted = false;
    self->item.revocable = true;
}

int port_send(struct port_thread *self, struct port *port, uint64_t badge)
{
    struct port_item *block = NULL;
    int result;
    sender_init(self, badge);
    while ((result = try_send(self, port, &block)) == NEEDS_BLOCK)
        if (!(block = port_item_make()))
            return -ENOMEM;
    port_item_free(block);
    return result;
}

/* True: a receiver has it already, and the block is the caller's to free. */
static bool post_locked(struct port *port, struct port_item *block, bool *taken)
{
    *taken = offer_locked(port, block);
    if (*taken)
        return true;
    if (port_flight_enter(port, &block->message) != 0)
        return false;
    enqueue_locked(port, block);
    return true;
}

bool port_post(struct port *port, struct port_item *block, bool revocable)
{
    bool taken = false;
    block->revocable = revocable;
    spin_lock(&port->lock);
    bool posted = sendable_locked(port, block->badge, revocable) == 0 && post_locked(port, block, &taken);
    spin_unlock(&port->lock);
    if (taken)
        port_item_free(block);
    return posted;
}
