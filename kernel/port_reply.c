/*
 * Send-once rights: to a caller (a reply right), or to a port. Whoever has taken the handle out of its table is the only one who
 * uses it, so the object needs no lock; what it races with is the caller's leaving, under the caller's lock.
 *
 * The object stays with the thread that replied, as its spare one for the next call it takes.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/port_internal.h"

/* --- to a caller --------------------------------------------------------------------------------------- */

static bool caller_claim_locked(struct port_thread *caller, const struct port_reply *reply)
{
    return caller->call_number == reply->call_number && caller->phase == PHASE_SERVED && waiter_claim(&caller->waiter);
}

static void caller_let_go(struct port_reply *reply)
{
    struct port_thread *caller = reply->caller;
    reply->caller = NULL;
    port_thread_unref(caller);
}

/* A stale right, and a caller that has no room, leave the message where it is. */
static void reply_to_caller(struct port_thread *self, struct port_reply *reply)
{
    struct port_thread *caller = reply->caller;
    self->item.call = false;
    self->item.badge = 0;
    spin_lock(&caller->lock);
    if (caller_claim_locked(caller, reply)) {
        bool fits = port_fits(caller, &self->item.message);
        if (fits)
            port_hand_over(caller, &self->item);
        caller->phase = fits ? PHASE_DONE : PHASE_FAILED;
        caller->error = -EMSGSIZE;
        waiter_resume(&caller->waiter, true);
    }
    spin_unlock(&caller->lock);
    caller_let_go(reply);
}

static void reset_caller(struct port_reply *reply)
{
    struct port_thread *caller = reply->caller;
    spin_lock(&caller->lock);
    if (caller_claim_locked(caller, reply)) {
        caller->phase = PHASE_FAILED;
        caller->error = -ECONNRESET;
        waiter_resume(&caller->waiter, false);
    }
    spin_unlock(&caller->lock);
    caller_let_go(reply);
}

/* --- to a port ----------------------------------------------------------------------------------------- */

static void post_block(struct port_reply *reply)
{
    struct port *port = reply->port;
    struct port_item *block = reply->block;
    reply->port = NULL;
    reply->block = NULL;
    if (!port_post(port, block, false)) {
        port_message_bury(&block->message);
        port_item_free(block);
    }
    object_unref(port);
}

static void reply_to_port(struct port_thread *self, struct port_reply *reply)
{
    struct port_message empty = reply->block->message;
    reply->block->message = self->item.message;
    self->item.message = empty;
    post_block(reply);
}

/* --- the object ---------------------------------------------------------------------------------------- */

static void reply_destroy(struct object *object)
{
    struct port_reply *reply = CONTAINER_OF(object, struct port_reply, object);
    KASSERT(!reply->caller);
    object_unref(reply->port);
    port_item_free(reply->block);
    kfree(reply);
}

/* Nothing is left in it when it was used. */
static void reply_no_handles(struct object *object)
{
    struct port_reply *reply = CONTAINER_OF(object, struct port_reply, object);
    if (reply->caller) {
        reset_caller(reply);
    } else if (reply->port) {
        port_notice_write(reply->block, PORT_NOTICE_SEND_ONCE_DROPPED, 0, 0, reply->block->badge);
        post_block(reply);
    }
}

const struct object_type port_reply_type = {.name = "reply", .destroy = reply_destroy, .no_handles = reply_no_handles};

struct port_reply *port_reply_make(void)
{
    struct port_reply *reply = kzalloc(sizeof(*reply));
    if (reply)
        object_init(&reply->object, &port_reply_type);
    return reply;
}

/* Another thread may just have looked the handle up, and then finds that it is gone: the object is not kept then. */
static void keep_spare(struct port_thread *self, struct port_reply *reply)
{
    if (!self->reply && atomic32_load(&reply->object.references) == 1)
        self->reply = reply;
    else
        object_unref(reply);
}

void port_reply_use(struct port_thread *self, struct handle_value *once)
{
    struct port_reply *reply = CONTAINER_OF(once->object, struct port_reply, object);
    if (reply->caller)
        reply_to_caller(self, reply);
    else if (reply->port)
        reply_to_port(self, reply);
    port_message_bury(&self->item.message);
    self->answer.sent = true;
    handle_dropped(once);
    keep_spare(self, reply);
}

static int make_once(struct handle_table *table, struct port *port, uint64_t badge, handle_t *once)
{
    struct port_reply *reply = port_reply_make();
    if (!reply)
        return -ENOMEM;
    reply->port = object_ref(port);
    reply->block = port_item_make();
    if (!reply->block) {
        object_unref(reply);
        return -ENOMEM;
    }
    reply->block->badge = badge;
    return port_handle_make(table, reply, RIGHT_SEND_ONCE | RIGHT_TRANSFER, badge, once);
}

int port_make_send_once(struct handle_table *table, handle_t receive, uint64_t badge, handle_t *once)
{
    struct port *port;
    int error = port_get(table, receive, &port);
    if (error)
        return error;
    error = make_once(table, port, badge, once);
    object_unref(port);
    return error;
}
