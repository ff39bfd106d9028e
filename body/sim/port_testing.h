/*
 * What the tests of ports share: a task is a handle table, and the usual requests are functions.
 */
#ifndef BODY_SIM_PORT_TESTING_H
#define BODY_SIM_PORT_TESTING_H

#include "body/sim/sim.h"
#include "kernel/alloc.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/port.h"
#include "kernel/string.h"

/* An object to travel in messages, that knows how many of it there are. */
struct token {
    struct object object;
};

static inline void token_destroy(struct object *object) { kfree(CONTAINER_OF(object, struct token, object)); }
static const struct object_type token_type = {.name = "token", .destroy = token_destroy};

#define TOKEN_RIGHTS (RIGHT_READ | RIGHT_WRITE | RIGHT_COPY | RIGHT_TRANSFER)

static inline handle_t token_make(struct handle_table *table)
{
    handle_t handle = HANDLE_NONE;
    sim_calm_begin();
    struct token *token = kzalloc(sizeof(*token));
    object_init(&token->object, &token_type);
    struct handle_value value = {.object = &token->object, .rights = TOKEN_RIGHTS};
    SIM_CHECK_EQUAL(handle_insert(table, &value, &handle), 0);
    sim_calm_end();
    return handle;
}

static inline bool names_token(struct handle_table *table, handle_t handle)
{
    struct handle_value value;
    if (handle_get(table, handle, &token_type, 0, &value) != 0)
        return false;
    object_unref(value.object);
    return true;
}

static inline struct port_thread *self_made(void)
{
    sim_calm_begin();
    struct port_thread *self = port_thread_self();
    sim_calm_end();
    return self;
}

static inline handle_t port_of(struct handle_table *table, uint32_t queue_limit)
{
    handle_t receive = HANDLE_NONE;
    sim_calm_begin();
    SIM_CHECK_EQUAL(port_create(table, queue_limit, &receive), 0);
    sim_calm_end();
    return receive;
}

#define SEND_RIGHTS (RIGHT_COPY | RIGHT_TRANSFER)

/* A send right in another table than the receive right's. */
static inline handle_t send_right(struct handle_table *owner, handle_t receive, uint64_t badge, struct handle_table *to)
{
    handle_t send, moved = HANDLE_NONE;
    struct handle_value value;
    sim_calm_begin();
    SIM_CHECK_EQUAL(port_make_send(owner, receive, badge, SEND_RIGHTS, &send), 0);
    if (owner == to) {
        moved = send;
    } else {
        SIM_CHECK_EQUAL(handle_take(owner, send, &value), 0);
        SIM_CHECK_EQUAL(handle_insert(to, &value, &moved), 0);
        handle_dropped(&value);
    }
    sim_calm_end();
    return moved;
}

/* What came in, or went out, in short. */
struct note {
    uint64_t word;
    uint64_t badge;
    handle_t reply;
    uint32_t size;
    uint32_t handle_count;
    handle_t handles[4];
    bool sent, received;
    uint32_t bytes_needed, handles_needed;
};

static inline void note_take(struct port_thread *self, struct note *note)
{
    const struct port_message *message = port_message_of(self);
    const struct port_answer *answer = port_answer_of(self);
    *note = (struct note){.sent = answer->sent,
                          .received = answer->received,
                          .badge = answer->badge,
                          .reply = answer->reply,
                          .bytes_needed = answer->bytes_needed,
                          .handles_needed = answer->handles_needed};
    if (!answer->received)
        return;
    note->word = message->words[0];
    note->size = message->size;
    note->handle_count = message->handle_count;
    for (uint32_t i = 0; i < message->handle_count && i < 4; i++)
        note->handles[i] = message->handles[i].handle;
    for (uint32_t i = 0; i < message->size; i++)
        SIM_CHECK_EQUAL((uint8_t)message->bytes[i], (uint8_t)(message->words[0] + i));
}

/* A message: a word, bytes made from it, and perhaps one handle. */
struct outgoing {
    uint64_t word;
    uint32_t size;
    handle_t handle;
    bool copy;
};

static inline int message_fill(struct port_thread *self, const struct outgoing *outgoing)
{
    int error = port_message_prepare(self, outgoing->size, outgoing->handle != HANDLE_NONE);
    if (error)
        return error;
    struct port_message *message = port_message_of(self);
    memset(message->words, 0, sizeof(message->words));
    message->words[0] = outgoing->word;
    for (uint32_t i = 0; i < outgoing->size; i++)
        message->bytes[i] = (char)(outgoing->word + i);
    if (outgoing->handle != HANDLE_NONE)
        message->handles[0] = (struct handle_transfer){.handle = outgoing->handle, .rights = UINT32_MAX, .move = !outgoing->copy};
    return 0;
}

static inline int request(const struct port_request *request, const struct outgoing *outgoing, struct note *note)
{
    struct port_thread *self = self_made();
    struct note ignored;
    int error = message_fill(self, outgoing);
    if (!error)
        error = port_msg(self, request);
    note_take(self, note ? note : &ignored);
    port_message_done(self);
    return error;
}

#define ROOM .bytes_max = 200, .handles_max = 1

static inline int send_message(struct handle_table *table, handle_t to, const struct outgoing *outgoing, uint32_t flags, struct note *note)
{
    return request(&(struct port_request){.flags = PORT_SEND | flags, .to = to, .table = table}, outgoing, note);
}

static inline int send_word(struct handle_table *table, handle_t to, uint64_t word)
{
    return send_message(table, to, &(struct outgoing){.word = word}, 0, NULL);
}

static inline int call_message(struct handle_table *table, handle_t to, const struct outgoing *outgoing, struct note *note)
{
    return request(&(struct port_request){.flags = PORT_SEND | PORT_CALL, .to = to, .table = table, ROOM}, outgoing, note);
}

static inline int receive_message(struct handle_table *table, handle_t from, uint32_t flags, struct note *note)
{
    struct outgoing none = {.word = 0};
    return request(&(struct port_request){.flags = PORT_RECEIVE | flags, .from = from, .table = table, ROOM}, &none, note);
}

static inline int reply_word(struct handle_table *table, handle_t reply, uint64_t word)
{
    return send_word(table, reply, word);
}

static inline int reply_and_wait(struct handle_table *table, handle_t reply, const struct outgoing *outgoing, handle_t from,
                                 struct note *note)
{
    return request(&(struct port_request){.flags = PORT_SEND | PORT_RECEIVE, .to = reply, .from = from, .table = table, ROOM},
                   outgoing, note);
}

#endif
