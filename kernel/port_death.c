/*
 * What dies how: a port, a message; and the rule that keeps receive rights from travelling into their own queues.
 *
 * Deaths do not recurse. A message that is buried may hold the receive right of a port, whose queue then holds another's: such
 * ports wait on a list of the one function that buries, however long the chain is.
 *
 * Flights: a receive right in a queue knows the port whose queue that is (destination). Since there is one receive right of
 * a port, the way from a port up through destinations is a chain; a message may enter a queue only when the chain from there
 * meets none of its own receive rights and has an end within PORT_NESTING_MAX steps. One lock for all, so no two such messages can
 * close a ring between them.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/port_internal.h"

static struct spinlock flight_lock = SPINLOCK_INIT(RANK_PORT_FLIGHT);

/* The port whose receive right this is, or NULL. */
static struct port *receive_right(const struct handle_value *value)
{
    if (value->object->type != &port_type || !(value->rights & RIGHT_RECEIVE))
        return NULL;
    return CONTAINER_OF(value->object, struct port, object);
}

/* --- flights ------------------------------------------------------------------------------------------- */

static int flight_check_locked(const struct port *port, const struct port *destination)
{
    uint32_t steps = 0;
    for (; destination; destination = destination->destination)
        if (destination == port || ++steps > PORT_NESTING_MAX)
            return -ELOOP;
    return 0;
}

static void flight_clear_locked(const struct port_message *message, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct port *port = receive_right(&message->handles[i].value);
        if (port)
            port->destination = NULL;
    }
}

static int flight_enter_locked(struct port *destination, const struct port_message *message)
{
    int error = 0;
    uint32_t done = 0;
    for (; done < message->handle_count && !error; done++) {
        struct port *port = receive_right(&message->handles[done].value);
        if (!port)
            continue;
        error = flight_check_locked(port, destination);
        if (!error)
            port->destination = destination;
    }
    if (error)
        flight_clear_locked(message, done);
    return error;
}

static bool carries_receive_right(const struct port_message *message)
{
    for (uint32_t i = 0; i < message->handle_count; i++)
        if (receive_right(&message->handles[i].value))
            return true;
    return false;
}

int port_flight_enter(struct port *port, const struct port_message *message)
{
    if (!carries_receive_right(message))
        return 0;
    spin_lock(&flight_lock);
    int error = flight_enter_locked(port, message);
    spin_unlock(&flight_lock);
    return error;
}

void port_flight_leave(const struct port_message *message)
{
    if (!carries_receive_right(message))
        return;
    spin_lock(&flight_lock);
    flight_clear_locked(message, message->handle_count);
    spin_unlock(&flight_lock);
}

void port_holders_leave(const struct port_message *message)
{
    for (uint32_t i = 0; i < message->handle_count; i++) {
        struct port *port = receive_right(&message->handles[i].value);
        if (!port)
            continue;
        spin_lock(&port->lock);
        port->holder = NULL;
        spin_unlock(&port->lock);
    }
}

/* Messages may have come meanwhile, and nobody took them. */
static void holder_return_locked(struct port *port, struct handle_table *table)
{
    port->holder = table;
    if (list_empty(&port->items))
        return;
    port_ready_locked(port);
    port_receivers_wake_locked(&port->receivers, 0);
}

void port_holders_return(const struct port_message *message, struct handle_table *table)
{
    for (uint32_t i = 0; i < message->handle_count; i++) {
        struct port *port = receive_right(&message->handles[i].value);
        if (!port)
            continue;
        spin_lock(&port->lock);
        holder_return_locked(port, table);
        spin_unlock(&port->lock);
    }
}

/* --- burying ------------------------------------------------------------------------------------------- */

/* A receive right's port joins the dying, with the reference that the message had. */
static void value_bury(const struct handle_value *value, struct list *dying)
{
    struct port *port = receive_right(value);
    if (!port) {
        handle_value_close(value);
        return;
    }
    atomic32_sub(&port->object.handles, 1);
    list_push_back(dying, &port->death_link);
}

static void message_bury(struct port_message *message, struct list *dying)
{
    for (uint32_t i = 0; i < message->handle_count; i++)
        value_bury(&message->handles[i].value, dying);
    message->handle_count = message->size = 0;
}

/* Nobody sends, receives or waits here any more. */
static void close_port(struct port *port, struct list *dead_names)
{
    spin_lock(&port->lock);
    KASSERT(!port->dead);
    port->dead = true;
    port_set_leave_locked(port);
    port_receivers_wake_locked(&port->receivers, -EPIPE);
    port_notices_take_locked(port, &port->dead_names, dead_names);
    spin_unlock(&port->lock);
    knote_notify(&port->knotes, EVENT_HANGUP);
}

/* The first item; a blocked sender is told. *block: there is one to bury. */
static bool take_item(struct port *port, struct port_item **block)
{
    *block = NULL;
    spin_lock(&port->lock);
    bool some = !list_empty(&port->items);
    if (some) {
        struct port_item *item = LIST_ENTRY(port->items.next, struct port_item, link);
        port_item_remove_locked(port, item);
        if (item->sender)
            port_sender_fail(item->sender, -EPIPE);
        else
            *block = item;
    }
    spin_unlock(&port->lock);
    return some;
}

static void port_bury(struct port *port, struct list *dying)
{
    struct list dead_names;
    struct port_item *block;
    list_init(&dead_names);
    close_port(port, &dead_names);
    while (take_item(port, &block)) {
        if (!block)
            continue;
        message_bury(&block->message, dying);
        port_item_free(block);
    }
    port_notices_fire(&dead_names);
}

static void bury_all(struct list *dying)
{
    struct list *link;
    while ((link = list_pop_front(dying))) {
        struct port *port = LIST_ENTRY(link, struct port, death_link);
        port_bury(port, dying);
        object_unref(port);
    }
}

void port_die(struct port *port)
{
    struct list dying;
    list_init(&dying);
    object_ref(port);
    list_push_back(&dying, &port->death_link);
    bury_all(&dying);
}

void port_message_bury(struct port_message *message)
{
    struct list dying;
    list_init(&dying);
    message_bury(message, &dying);
    bury_all(&dying);
}
