/*
 * The link to a file server: sending and checking, listening, and what is told by and by. See link.h.
 *
 * Two kernel threads may belong to a link. The listener takes what the server sends through the right that attach gave it (badge
 * SERVER), and the notice of the server's death (badge SELF); it never asks the server anything, so a server may wait for its reply
 * while it serves. The sender empties the outbox and ends when it is empty; closing the link kills it, for it may be waiting for a
 * server that takes nothing.
 */
#include "abi/file/file_calls.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

enum { BADGE_SERVER = 1, BADGE_SELF = 2 };
#define HANDLES_LIMIT 8192u /* one for each reply with a handle that is under way */
#define NOTIFY_QUEUE 64u
#define ERROR_LAST 133 /* of Linux's; what is beyond never reaches a program */

/* --- one message ------------------------------------------------------------------------------------- */

int64_t file_call_begin(struct file_call *call, struct file_link *link, uint32_t number, uint64_t bytes, uint32_t handles)
{
    *call = (struct file_call){.link = link, .self = port_thread_self()};
    if (file_link_dead(link))
        return -EIO;
    if (!call->self)
        return -ENOMEM;
    KASSERT(bytes <= PORT_BYTES_MAX);
    int error = port_message_prepare(call->self, (uint32_t)bytes, handles);
    if (error)
        return error;
    call->message = port_message_of(call->self);
    memset(call->message->words, 0, sizeof call->message->words);
    call->message->words[0] = number;
    return 0;
}

void file_put(struct file_call *call, const void *from, uint64_t size)
{
    KASSERT(call->at + size <= call->message->size);
    if (size)
        memcpy(call->message->bytes + call->at, from, size);
    call->at += (uint32_t)size;
}

void file_put_handle(struct file_call *call, handle_t handle)
{
    call->message->handles[0] = (struct handle_transfer){.handle = handle, .rights = RIGHT_SEND | RIGHT_COPY | RIGHT_TRANSFER, .move = true};
}

void file_take(struct file_call *call, void *to, uint64_t size)
{
    KASSERT(call->at + size <= call->message->size);
    if (size)
        memcpy(to, call->message->bytes + call->at, size);
    call->at += (uint32_t)size;
}

void file_take_handle(struct file_call *call, struct handle_value *value)
{
    *value = (struct handle_value){0};
    if (call->message->handle_count && handle_take(&call->link->table, call->message->handles[0].handle, value))
        *value = (struct handle_value){0};
}

static int64_t transport_error(struct file_link *link, int error)
{
    switch (error) {
    case -EINTR:
        return thread_killed(thread_current()) ? -EINTR : -ERESTARTSYS;
    case -EPIPE:
    case -EKEYREVOKED:
    case -EBADF:
        atomic32_store_release(&link->dead, 1);
        return -EIO;
    case -ENOMEM:
    case -EMFILE:
        return -ENOMEM;
    default: /* the reply was dropped, or too large */
        return -EIO;
    }
}

static int port_send_and(struct file_call *call, uint32_t flags, uint64_t room, uint32_t handles)
{
    struct port_request request = {
        .flags = PORT_SEND | flags, .to = call->link->server, .table = &call->link->table, .bytes_max = (uint32_t)room, .handles_max = handles,
    };
    KASSERT(call->at == call->message->size);
    int error = port_msg(call->self, &request);
    if (port_answer_of(call->self)->sent)
        atomic64_add_relaxed(&call->link->messages, 1);
    call->at = 0;
    return error;
}

/* An error comes alone, and is one that programs know. */
static int64_t result_of(const struct port_message *message)
{
    int64_t result = (int64_t)message->words[0];
    if (result < 0 && (result < -ERROR_LAST || message->size || message->handle_count))
        return -EIO;
    return result;
}

int64_t file_call_run(struct file_call *call, uint32_t flags, uint64_t room, uint32_t handles)
{
    int error = port_send_and(call, PORT_CALL | (flags & FILE_CALL_CHANGES ? PORT_KILLABLE : 0), min_u64(room, PORT_BYTES_MAX), handles);
    return error ? transport_error(call->link, error) : result_of(call->message);
}

/* Handles that nobody took are closed; those that were taken are stale by now. */
void file_call_end(struct file_call *call)
{
    if (call->message->handle_count)
        port_msg_reject(call->self);
    port_message_done(call->self);
}

int64_t file_call_send(struct file_call *call)
{
    int error = port_send_and(call, PORT_KILLABLE, 0, 0);
    port_message_done(call->self);
    return error ? transport_error(call->link, error) : 0;
}

/* --- what the server says ---------------------------------------------------------------------------- */

static int64_t heard_name(struct file_link *link, const struct port_message *message)
{
    uint64_t length = message->words[2];
    if (!length || length > HYLA_FILE_NAME_MAX || message->size != length)
        return -EPROTO;
    atomic32_add(&link->recalls, 1);
    link->events->invalidate_name(link->owner, message->words[1], message->bytes, (uint32_t)length);
    return 0;
}

static int64_t heard(struct file_link *link, const struct port_message *message)
{
    switch (message->words[0]) {
    case HYLA_FILE_INVALIDATE:
        atomic32_add(&link->recalls, 1);
        link->events->invalidate(link->owner, message->words[1], (uint32_t)message->words[2]);
        return 0;
    case HYLA_FILE_INVALIDATE_NAME:
        return heard_name(link, message);
    default:
        return -EPROTO;
    }
}

/* In the listener. */
static void die(struct file_link *link)
{
    bool first = !link->told_death;

    link->told_death = true;
    atomic32_store_release(&link->dead, 1);
    if (first && link->events->died)
        link->events->died(link->owner, link);
}

/* The answer to what was heard stands in the thread's message; *reply: to whom. */
static void hear(struct file_link *link, struct port_thread *self, handle_t *reply)
{
    const struct port_answer *answer = port_answer_of(self);
    struct port_message *message = port_message_of(self);
    int64_t result = 0;

    if (answer->badge == BADGE_SELF)
        die(link);
    else
        result = heard(link, message);
    *reply = answer->reply;
    port_message_done(self);
    if (port_message_prepare(self, 0, 0) == 0)
        message->words[0] = (uint64_t)result;
}

static int listen_once(struct file_link *link, struct port_thread *self, handle_t reply)
{
    struct port_request request = {
        .flags = PORT_RECEIVE | (reply != HANDLE_NONE ? PORT_SEND : 0), .to = reply, .from = link->notify, .table = &link->table,
        .bytes_max = HYLA_FILE_NAME_MAX, .handles_max = 0,
    };
    return port_msg(self, &request);
}

/* A message too large for the listener would stay in front of all others: a server that sends one is not listened to any more. */
static void listener(void *argument)
{
    struct file_link *link = argument;
    struct port_thread *self = port_thread_self();
    handle_t reply = HANDLE_NONE;

    while (self && listen_once(link, self, reply) == 0)
        hear(link, self, &reply);
    die(link);
    handle_close(&link->table, link->notify);
    object_unref(link);
}

/* --- what the server is told by and by --------------------------------------------------------------- */

static struct file_outgoing *outgoing_next(struct file_link *link)
{
    struct file_outgoing *outgoing = NULL;

    spin_lock(&link->lock);
    if (!list_empty(&link->outbox))
        outgoing = LIST_ENTRY(list_pop_front(&link->outbox), struct file_outgoing, link);
    else
        link->sender = NULL;
    spin_unlock(&link->lock);
    return outgoing;
}

static void sender(void *argument)
{
    struct file_link *link = argument;
    struct file_outgoing *outgoing;
    struct hyla_file_attributes ignored;

    while ((outgoing = outgoing_next(link))) {
        if (outgoing->changes.valid && !file_link_dead(link))
            file_call_set_attributes(link, outgoing->node, &outgoing->changes, &ignored);
        if (outgoing->references && !file_link_dead(link))
            file_call_forget(link, outgoing->node, outgoing->references);
        kfree(outgoing);
    }
    object_unref(link);
}

/* The thread, to be started; NULL: there is one, or no memory, and then the next that is posted tries again. */
static struct thread *sender_make_locked(struct file_link *link)
{
    if (link->sender)
        return NULL;
    link->sender = thread_create("file-sender", NULL, sender, link);
    if (link->sender)
        object_ref(link);
    return link->sender;
}

void file_link_post(struct file_link *link, struct file_outgoing *outgoing)
{
    struct thread *fresh = NULL;

    spin_lock(&link->lock);
    bool closed = link->closed || file_link_dead(link);
    if (!closed) {
        list_push_back(&link->outbox, &outgoing->link);
        fresh = sender_make_locked(link);
    }
    spin_unlock(&link->lock);
    if (closed)
        kfree(outgoing);
    if (fresh) {
        thread_start(fresh);
        object_unref(fresh);
    }
}

/* --- birth and death --------------------------------------------------------------------------------- */

static void link_destroy(struct object *object)
{
    struct file_link *link = CONTAINER_OF(object, struct file_link, object);

    handle_table_destroy(&link->table);
    while (!list_empty(&link->outbox))
        kfree(LIST_ENTRY(list_pop_front(&link->outbox), struct file_outgoing, link));
    object_unref(link->owner);
    kfree(link);
}

static const struct object_type link_type = {.name = "file link", .destroy = link_destroy};

/* Notice of the server's death, to the link's own port. */
static int watch_death(struct file_link *link)
{
    handle_t self;
    int error = port_make_send(&link->table, link->notify, BADGE_SELF, RIGHT_COPY, &self);

    if (!error) {
        error = port_notify(&link->table, link->server, PORT_NOTICE_DEAD_NAME, 0, self, 0);
        handle_close(&link->table, self);
    }
    return error == -EPIPE ? -EIO : error;
}

static int link_open(struct file_link *link, const struct handle_value *right)
{
    struct handle_value copy = {.object = object_ref(right->object), .badge = right->badge, .rights = RIGHT_SEND};
    int error = handle_insert(&link->table, &copy, &link->server);
    struct thread *thread;

    if (error) {
        object_unref(right->object);
        return error;
    }
    error = port_create(&link->table, NOTIFY_QUEUE, &link->notify);
    if (!error)
        error = watch_death(link);
    if (error)
        return error;
    thread = thread_create("file-listener", NULL, listener, link);
    if (!thread)
        return -ENOMEM;
    object_ref(link);
    thread_start(thread);
    object_unref(thread);
    return 0;
}

int file_link_create(const struct handle_value *right, struct object *owner, const struct file_link_events *events, struct file_link **result)
{
    struct file_link *link;
    int error;

    if (right->object->type != &port_type || (right->rights & (RIGHT_SEND | RIGHT_COPY)) != (RIGHT_SEND | RIGHT_COPY))
        return -EACCES;
    link = kzalloc(sizeof *link);
    if (!link)
        return -ENOMEM;
    object_init(&link->object, &link_type);
    handle_table_init(&link->table, HANDLES_LIMIT);
    spinlock_init(&link->lock, RANK_FILE_LINK);
    list_init(&link->outbox);
    link->events = events;
    link->owner = object_ref(owner);
    error = link_open(link, right);
    if (error)
        object_unref(link);
    else
        *result = link;
    return error == -EMFILE ? -ENOMEM : error;
}

static bool label_printable(const char *label)
{
    for (; *label; label++)
        if (*label <= ' ' || *label > '~' || *label == '\\')
            return false;
    return true;
}

int file_link_attach(struct file_link *link, struct hyla_file_attributes *root, char label[32])
{
    handle_t notify;
    int error = port_make_send(&link->table, link->notify, BADGE_SERVER, RIGHT_COPY | RIGHT_TRANSFER, &notify);

    if (error)
        return error;
    error = (int)file_call_attach(link, HYLA_FILE_VERSION, notify, root, label);
    if (error)
        handle_close(&link->table, notify); /* where it was not taken */
    if (!error && !label_printable(label))
        error = -EIO;
    return error;
}

void file_link_close(struct file_link *link)
{
    atomic32_store_release(&link->dead, 1);
    spin_lock(&link->lock);
    link->closed = true;
    if (link->sender)
        thread_kill(link->sender);
    spin_unlock(&link->lock);
    handle_table_clear(&link->table);
    object_unref(link);
}
