/*
 * Calls whose message is eight words in registers, the long way: what `msg` does, for words alone. docs/fast-path.md.
 *
 * Where the body can make a call anew (body_user_again) the thread parks, unless somebody watches calls and wants to see them return.
 * Then the handler begins again at its top, and finds that its thread is in the middle of a message.
 */
#include "abi/native/native_calls.h"
#include "kernel/body.h"
#include "kernel/port.h"

static int64_t begin(struct port_thread *self, struct port_request *request)
{
    struct port_message *message = port_message_of(self);
    bool parks = body_user_again() && !user_calls_watched();
    request->flags |= parks ? PORT_PARKS | PORT_REGISTERS : 0;
    int error = port_message_prepare(self, 0, 0);
    if (!error && !body_user_words(message->words))
        error = -ENOSYS;
    return error ? error : port_msg_begin(self, request);
}

/* Does not return when the thread parks. */
static int64_t exchange(struct port_thread *self, struct port_request *request)
{
    int64_t result = port_msg_begun(self) ? port_msg_resume(self) : begin(self, request);
    while (result == PORT_WAITS) {
        if (body_user_again() && port_msg_parks(self))
            port_msg_park(self, body_user_again(), NULL);
        port_msg_wait(self);
        result = port_msg_resume(self);
    }
    return result;
}

static int64_t finish(struct port_thread *self, int64_t result)
{
    const struct port_answer *answer = port_answer_of(self);
    if (result == 0 && answer->received) {
        result = answer->reply;
        body_user_set_words(port_message_of(self)->words, result, answer->badge);
    }
    port_message_done(self);
    return result;
}

int64_t native_word_call(handle_t to)
{
    struct port_request request = {.flags = PORT_SEND | PORT_CALL, .to = to, .table = native_handles()};
    struct port_thread *self = port_thread_self();
    if (!self)
        return -ENOMEM;
    int64_t result = finish(self, exchange(self, &request));
    return result == -EINTR && port_answer_of(self)->sent ? NATIVE_FINAL_EINTR : result;
}

/* A reply that was sent is not sent again: what is left to do is to wait. */
int64_t native_word_reply_wait(handle_t from, handle_t reply)
{
    struct port_request request = {.flags = PORT_RECEIVE | (reply ? PORT_SEND : 0), .to = reply, .from = from, .table = native_handles()};
    struct port_thread *self = port_thread_self();
    if (!self)
        return -ENOMEM;
    int64_t result = finish(self, exchange(self, &request));
    if (result == -EINTR && port_answer_of(self)->sent)
        body_user_set_second(0);
    return result;
}
