/*
 * The one entry: what a thread asks of ports, from the check of its request to its end. Everything that may fail is done first
 * (operands, slots in the table, a spare reply right, the handles' leaving the table), then the message is sent, then one is
 * received; between these steps the thread may wait, with its stack or parked.
 *
 * When a message was not taken its handles go back under the numbers they had. When it was, their slots are freed.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/port_internal.h"
#include "kernel/string.h"

#define BUFFER_KEEP 256u /* bytes of buffer that a thread keeps between messages */
#define FLAGS_ALL \
    (PORT_SEND | PORT_RECEIVE | PORT_CALL | PORT_SEND_NONBLOCK | PORT_RECEIVE_NONBLOCK | PORT_PARKS | PORT_REGISTERS | PORT_KILLABLE)

static_assert(sizeof(struct thread) + sizeof(struct port_thread) + BUFFER_KEEP <= 1400,
              "a blocked caller costs at most 1.5 KiB, with what an allocator adds");

/* --- messages ------------------------------------------------------------------------------------------ */

static int buffer_grow(struct port_message *message, size_t wanted)
{
    if (wanted <= message->capacity)
        return 0;
    size_t capacity = (size_t)round_up(wanted, 64);
    void *buffer = kalloc(capacity);
    if (!buffer)
        return -ENOMEM;
    kfree(message->buffer);
    message->buffer = buffer;
    message->capacity = (uint32_t)capacity;
    return 0;
}

int port_message_prepare(struct port_thread *self, uint32_t bytes, uint32_t handles)
{
    struct port_message *message = &self->item.message;
    KASSERT(self->phase == PHASE_IDLE);
    if (bytes > PORT_BYTES_MAX || handles > PORT_HANDLES_MAX)
        return -EMSGSIZE;
    size_t handles_size = handles * sizeof(*message->handles);
    int error = buffer_grow(message, handles_size + bytes);
    if (error)
        return error;
    message->handles = message->buffer;
    message->bytes = (char *)message->buffer + handles_size;
    message->size = bytes;
    message->handle_count = handles;
    if (handles)
        memset(message->handles, 0, handles_size);
    return 0;
}

void port_message_done(struct port_thread *self)
{
    struct port_message *message = &self->item.message;
    message->size = message->handle_count = 0;
    if (message->capacity <= BUFFER_KEEP)
        return;
    kfree(message->buffer);
    message->buffer = NULL;
    message->capacity = 0;
}

void port_msg_reject(struct port_thread *self)
{
    struct port_message *message = &self->item.message;
    if (!self->answer.received)
        return;
    for (uint32_t i = 0; i < message->handle_count; i++)
        handle_close(self->table, message->handles[i].handle);
    if (self->answer.reply != HANDLE_NONE)
        handle_close(self->table, self->answer.reply);
}

/* --- the end ------------------------------------------------------------------------------------------- */

/* The message's handles: gone with it, or back. */
static void settle_sent(struct port_thread *self)
{
    struct port_message *message = &self->item.message;
    if (!self->detached)
        return;
    self->detached = false;
    if (self->answer.sent) {
        handle_detach_commit(self->table, self->kept);
    } else {
        port_holders_return(message, self->table);
        handle_detach_abort(self->table, message->handles, message->handle_count, self->kept);
        message->handle_count = 0;
    }
}

/* Into the slots that were reserved. */
static void settle_received(struct port_thread *self)
{
    struct port_message *message = &self->item.message;
    handle_attach_reserved(self->table, message->handles, message->handle_count);
    self->reserved -= message->handle_count;
    if (self->reply && self->reply->caller) {
        struct handle_value value = {.object = &self->reply->object, .rights = RIGHT_SEND_ONCE | RIGHT_TRANSFER};
        self->reply = NULL;
        self->answer.reply = handle_insert_reserved(self->table, &value);
        self->reserved--;
    }
}

static int finish(struct port_thread *self, int result)
{
    spin_lock(&self->lock); /* from here on a reply right to this call is stale */
    self->phase = PHASE_IDLE;
    spin_unlock(&self->lock);
    settle_sent(self);
    if (self->answer.received)
        settle_received(self);
    if (self->reserved)
        handle_unreserve(self->table, self->reserved);
    self->reserved = 0;
    object_unref(self->to);
    object_unref(self->from);
    self->to = NULL;
    self->from = NULL;
    return result;
}

/* --- the beginning ------------------------------------------------------------------------------------- */

static int check(const struct port_request *request)
{
    uint32_t flags = request->flags;
    if (flags & ~(uint32_t)FLAGS_ALL || !(flags & (PORT_SEND | PORT_RECEIVE)))
        return -EINVAL;
    if (flags & PORT_CALL && (flags & PORT_RECEIVE || !(flags & PORT_SEND)))
        return -EINVAL;
    bool names = (flags & PORT_RECEIVE) || (flags & PORT_SEND && !request->to_port) || (flags & PORT_CALL && request->handles_max);
    return names && !request->table ? -EINVAL : 0;
}

static void record_request(struct port_thread *self, const struct port_request *request)
{
    KASSERT(self == thread_current()->ports && self->phase == PHASE_IDLE);
    self->answer = (struct port_answer){.reply = HANDLE_NONE};
    self->flags = request->flags;
    self->table = request->table;
    self->bytes_max = request->bytes_max;
    self->handles_max = (uint32_t)min_u64(request->handles_max, PORT_HANDLES_MAX);
}

static int source_get(struct port_thread *self, const struct port_request *request)
{
    struct handle_value value;
    if (request->from_object) {
        self->from = object_ref(request->from_object);
        return 0;
    }
    int error = handle_get(request->table, request->from, NULL, RIGHT_RECEIVE, &value);
    if (!error)
        self->from = value.object;
    return error;
}

/* The slots that taking a message could need. */
static int reserve(struct port_thread *self)
{
    uint32_t slots = self->handles_max + (self->flags & PORT_RECEIVE ? 1 : 0);
    int error = slots ? handle_reserve(self->table, slots) : 0;
    if (!error)
        self->reserved = slots;
    return error;
}

static int prepare_receive(struct port_thread *self, const struct port_request *request)
{
    if (self->flags & PORT_CALL)
        return reserve(self);
    if (!(self->flags & PORT_RECEIVE))
        return 0;
    int error = source_get(self, request);
    if (!error && self->from->type != &port_type && self->from->type != &port_set_type)
        error = -EINVAL;
    return error ? error : reserve(self);
}

/* --- the send part ------------------------------------------------------------------------------------- */

static int handles_leave(struct port_thread *self)
{
    struct port_message *message = &self->item.message;
    if (message->handle_count == 0)
        return 0;
    if (!self->table)
        return -EINVAL;
    int error = handle_detach(self->table, message->handles, message->handle_count, &self->kept);
    if (error) {
        message->handle_count = 0;
        return error;
    }
    self->detached = true;
    port_holders_leave(message);
    return 0;
}

static int send_to_port(struct port_thread *self, struct port *port, uint64_t badge)
{
    int error = handles_leave(self);
    if (error)
        return error;
    self->stage = STAGE_SEND;
    return port_send(self, port, badge);
}

static int send_once(struct port_thread *self, handle_t to)
{
    struct handle_value once;
    if (self->flags & PORT_CALL)
        return -EINVAL;
    int error = handles_leave(self);
    if (!error)
        error = handle_take_if(self->table, to, &port_reply_type, RIGHT_SEND_ONCE, &once); /* it may be in its own message */
    if (error)
        return error;
    port_reply_use(self, &once);
    return 0;
}

/* Takes over the value's reference. */
static int send_by_value(struct port_thread *self, handle_t to, const struct handle_value *value)
{
    struct object *object = value->object;
    if (object->type == &port_type && value->rights & RIGHT_SEND) {
        self->to = CONTAINER_OF(object, struct port, object);
        return send_to_port(self, self->to, value->badge);
    }
    const struct object_type *type = object->type;
    object_unref(object); /* a reply right that only its handle holds can be kept for the next call */
    if (type == &port_reply_type && value->rights & RIGHT_SEND_ONCE)
        return send_once(self, to);
    return type == &port_type || type == &port_reply_type ? -EACCES : -EINVAL;
}

static int send_part(struct port_thread *self, const struct port_request *request)
{
    struct handle_value value;
    if (request->to_port) {
        self->to = object_ref(request->to_port);
        return send_to_port(self, self->to, request->to_badge);
    }
    bool plain = self->item.message.handle_count == 0 && !(self->flags & PORT_CALL);
    if (plain && handle_take_if(self->table, request->to, &port_reply_type, RIGHT_SEND_ONCE, &value) == 0) {
        port_reply_use(self, &value); /* the usual reply: one look at the table */
        return 0;
    }
    int error = handle_get(self->table, request->to, NULL, 0, &value);
    return error ? error : send_by_value(self, request->to, &value);
}

/* --- the steps ----------------------------------------------------------------------------------------- */

/* The reply that was just sent left its right here: so the spare one is looked for only now. */
static int receive_part(struct port_thread *self)
{
    self->stage = STAGE_RECEIVE;
    if (!self->reply && !(self->reply = port_reply_make()))
        return finish(self, -ENOMEM);
    int result = port_receive(self);
    return result == PORT_WAITS ? PORT_WAITS : finish(self, result);
}

/* A call that was answered has what it wants; else comes the receive part, if there is one. */
static int after_send(struct port_thread *self)
{
    if (!(self->flags & PORT_RECEIVE))
        return finish(self, 0);
    settle_sent(self);
    return receive_part(self);
}

int port_msg_begin(struct port_thread *self, const struct port_request *request)
{
    record_request(self, request);
    int result = check(request);
    if (!result)
        result = prepare_receive(self, request);
    if (!result && !(self->flags & PORT_SEND))
        return receive_part(self);
    if (!result)
        result = send_part(self, request);
    if (result == PORT_WAITS)
        return PORT_WAITS;
    return result ? finish(self, result) : after_send(self);
}

static int woken(struct port_thread *self)
{
    switch (self->phase) {
    case PHASE_AGAIN:
        return receive_part(self);
    case PHASE_FAILED:
        return finish(self, self->error);
    case PHASE_DONE:
        return self->stage == STAGE_SEND ? after_send(self) : finish(self, 0);
    default:
        panic("a thread was woken in phase %d of a message", self->phase);
    }
}

/* Nobody can claim the wait any more. A message that was not taken is withdrawn. */
static int interrupted(struct port_thread *self)
{
    if (self->stage == STAGE_RECEIVE) {
        port_receive_leave(self);
        return finish(self, -EINTR);
    }
    if (self->to) { /* else it was handed over by the short way (port_fast.h), and never lay in a queue */
        spin_lock(&self->to->lock);
        if (list_linked(&self->item.link))
            port_item_remove_locked(self->to, &self->item);
        spin_unlock(&self->to->lock);
    }
    return finish(self, -EINTR);
}

bool port_msg_begun(const struct port_thread *self) { return self->phase != PHASE_IDLE; }
bool port_msg_parks(const struct port_thread *self) { return self->flags & PORT_PARKS; }

int port_msg_resume(struct port_thread *self)
{
    int error = self->flags & PORT_PARKS ? waiter_unparked(&self->waiter) : self->wait_error;
    spin_lock(&self->lock); /* whoever ended the wait is done with it */
    spin_unlock(&self->lock);
    return error ? interrupted(self) : woken(self);
}

static enum wait_flags wait_flags(const struct port_thread *self)
{
    return self->flags & PORT_KILLABLE && self->stage == STAGE_SEND ? WAIT_KILLABLE : WAIT_INTERRUPTIBLE;
}

void port_msg_wait(struct port_thread *self)
{
    KASSERT(!(self->flags & PORT_PARKS));
    self->wait_error = waiter_wait(&self->waiter, DEADLINE_NEVER, wait_flags(self));
}

void port_msg_park(struct port_thread *self, thread_function *continuation, void *argument)
{
    KASSERT(self->flags & PORT_PARKS);
    waiter_park(&self->waiter, wait_flags(self), continuation, argument);
}

int port_msg(struct port_thread *self, const struct port_request *request)
{
    struct port_request with_stack = *request;
    with_stack.flags &= ~(uint32_t)PORT_PARKS;
    int result = port_msg_begin(self, &with_stack);
    while (result == PORT_WAITS) {
        port_msg_wait(self);
        result = port_msg_resume(self);
    }
    return result;
}
