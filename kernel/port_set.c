/*
 * Port sets: receive from many ports through one handle.
 *
 * A port knows its set, the set lists its members and, among them, those that had messages: whoever receives serves the first
 * of these and puts it last, so that no port starves another. The lock of a set is taken inside a port's; who goes the other
 * way (a receiver, the set's end) takes a reference on the port, lets the set go, and looks again.
 *
 * A set has one handle, that cannot be copied or moved. When it is closed the members are let go.
 */
#include "kernel/port.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/port_internal.h"

/* --- what ports tell their set ------------------------------------------------------------------------- */

static void ready_in_set_locked(struct port *port, struct port_set *set)
{
    spin_lock(&set->lock);
    if (!list_linked(&port->ready_link))
        list_push_back(&set->ready, &port->ready_link);
    port_receivers_wake_locked(&set->receivers, 0); /* none, but for a port that came or came back with messages */
    spin_unlock(&set->lock);
    if (!knote_list_empty(&set->knotes))
        knote_notify(&set->knotes, EVENT_READ);
}

void port_ready_locked(struct port *port)
{
    if (port->set)
        ready_in_set_locked(port, port->set);
    if (!knote_list_empty(&port->knotes))
        knote_notify(&port->knotes, EVENT_READ);
}

void port_set_leave_locked(struct port *port)
{
    struct port_set *set = port->set;
    if (!set)
        return;
    spin_lock(&set->lock);
    list_remove(&port->set_link);
    list_remove(&port->ready_link);
    port->set = NULL;
    spin_unlock(&set->lock);
}

/* --- the object ---------------------------------------------------------------------------------------- */

static void set_destroy(struct object *object)
{
    struct port_set *set = CONTAINER_OF(object, struct port_set, object);
    KASSERT(list_empty(&set->members) && list_empty(&set->ready) && list_empty(&set->receivers));
    knote_list_close(&set->knotes);
    kfree(set);
}

/* A member, referenced: it is not dead, for it would have left before. */
static struct port *first_member(struct port_set *set)
{
    spin_lock(&set->lock);
    struct port *port = list_empty(&set->members) ? NULL : object_ref(LIST_ENTRY(set->members.next, struct port, set_link));
    spin_unlock(&set->lock);
    return port;
}

static bool leave_set(struct port *port, struct port_set *set)
{
    spin_lock(&port->lock);
    bool member = port->set == set;
    if (member)
        port_set_leave_locked(port);
    spin_unlock(&port->lock);
    return member;
}

static void set_no_handles(struct object *object)
{
    struct port_set *set = CONTAINER_OF(object, struct port_set, object);
    struct port *port;
    spin_lock(&set->lock);
    set->dead = true;
    port_receivers_wake_locked(&set->receivers, -EPIPE);
    spin_unlock(&set->lock);
    while ((port = first_member(set))) {
        leave_set(port, set);
        object_unref(port);
    }
    knote_notify(&set->knotes, EVENT_HANGUP);
}

const struct object_type port_set_type = {.name = "port set", .destroy = set_destroy, .no_handles = set_no_handles};

int port_set_create(struct handle_table *table, handle_t *handle)
{
    struct port_set *set = kzalloc(sizeof(*set));
    if (!set)
        return -ENOMEM;
    object_init(&set->object, &port_set_type);
    spinlock_init(&set->lock, RANK_PORT_SET);
    list_init(&set->members);
    list_init(&set->ready);
    list_init(&set->receivers);
    knote_list_init(&set->knotes);
    return port_handle_make(table, set, RIGHT_RECEIVE, 0, handle);
}

/* --- members ------------------------------------------------------------------------------------------- */

static int add_locked(struct port_set *set, struct port *port, struct handle_table *table)
{
    if (port->dead)
        return -EPIPE;
    if (port->holder != table)
        return -EBADF; /* it was moved while we came here */
    if (port->set)
        return -EBUSY;
    spin_lock(&set->lock);
    bool dead = set->dead;
    if (!dead) {
        port->set = set;
        list_push_back(&set->members, &port->set_link);
    }
    spin_unlock(&set->lock);
    if (!dead && !list_empty(&port->items))
        port_ready_locked(port);
    return dead ? -EPIPE : 0;
}

static int get_both(struct handle_table *table, handle_t handle, handle_t receive, struct port_set **set, struct port **port)
{
    struct handle_value value;
    int error = handle_get(table, handle, &port_set_type, RIGHT_RECEIVE, &value);
    if (error)
        return error;
    *set = CONTAINER_OF(value.object, struct port_set, object);
    error = port_get(table, receive, port);
    if (error)
        object_unref(*set);
    return error;
}

int port_set_add(struct handle_table *table, handle_t handle, handle_t receive)
{
    struct port_set *set;
    struct port *port;
    int error = get_both(table, handle, receive, &set, &port);
    if (error)
        return error;
    spin_lock(&port->lock);
    error = add_locked(set, port, table);
    spin_unlock(&port->lock);
    object_unref(port);
    object_unref(set);
    return error;
}

int port_set_remove(struct handle_table *table, handle_t handle, handle_t receive)
{
    struct port_set *set;
    struct port *port;
    int error = get_both(table, handle, receive, &set, &port);
    if (error)
        return error;
    bool member = leave_set(port, set);
    object_unref(port);
    object_unref(set);
    return member ? 0 : -ENOENT;
}
