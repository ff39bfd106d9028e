/*
 * Native calls about ports. The message's structure is copied in and out by the wrapper; bytes and handles are moved here, once each,
 * between the program and the thread's own message.
 *
 * A restart finds in the structure what is still to be done: nothing was sent, or it was and only the receiving is left.
 *
 * A message that waits gives its stack back where that may be (kernel/user.h). What has to be known afterwards and was checked
 * is kept in the thread's notes; the rest of the structure is read again, to be written back as it is.
 */
#include "abi/native/native_calls.h"
#include "kernel/port.h"

#define SAME(inside, outside) ((uint32_t)(inside) == (uint32_t)(outside))
static_assert(SAME(PORT_SEND, HYLA_MSG_SEND) && SAME(PORT_RECEIVE, HYLA_MSG_RECEIVE) && SAME(PORT_CALL, HYLA_MSG_CALL) &&
                  SAME(PORT_SEND_NONBLOCK, HYLA_MSG_SEND_NONBLOCK) && SAME(PORT_RECEIVE_NONBLOCK, HYLA_MSG_RECEIVE_NONBLOCK),
              "flags of a message");
static_assert(SAME(PORT_NOTICE_DEAD_NAME, HYLA_NOTICE_DEAD_NAME) && SAME(PORT_NOTICE_NO_SENDERS, HYLA_NOTICE_NO_SENDERS) &&
                  SAME(PORT_NOTICE_SEND_ONCE_DROPPED, HYLA_NOTICE_SEND_ONCE_DROPPED) && SAME(PORT_NOTICE_BADGE_GONE, HYLA_NOTICE_BADGE_GONE),
              "notices");
static_assert(sizeof(((struct hyla_msg *)0)->words) == sizeof(uint64_t) * PORT_WORDS, "words of a message");

#define MSG_FLAGS (PORT_SEND | PORT_RECEIVE | PORT_CALL | PORT_SEND_NONBLOCK | PORT_RECEIVE_NONBLOCK)
#define HANDLES_AT_ONCE 16u

/* --- in ---------------------------------------------------------------------------------------------- */

static int copy_in_handles(struct port_message *message, uaddr_t from, uint32_t count)
{
    struct hyla_msg_handle some[HANDLES_AT_ONCE];
    for (uint32_t done = 0; done < count;) {
        uint32_t part = (uint32_t)min_u64(count - done, HANDLES_AT_ONCE);
        if (user_read(some, from + done * sizeof some[0], part * sizeof some[0]))
            return -EFAULT;
        for (uint32_t i = 0; i < part; i++, done++) {
            if (some[i].move > 1 || some[i].reserved)
                return -EINVAL;
            message->handles[done].handle = some[i].handle;
            message->handles[done].rights = some[i].rights;
            message->handles[done].move = some[i].move;
        }
    }
    return 0;
}

static int copy_in(struct port_thread *self, const struct hyla_msg *msg)
{
    struct port_message *message = port_message_of(self);
    int error = port_message_prepare(self, msg->send_size, msg->send_handle_count);
    if (error)
        return error;
    for (uint32_t i = 0; i < PORT_WORDS; i++)
        message->words[i] = msg->words[i];
    if (msg->send_size && user_read(message->bytes, msg->send_data, msg->send_size))
        return -EFAULT;
    return copy_in_handles(message, msg->send_handles, msg->send_handle_count);
}

/* --- out --------------------------------------------------------------------------------------------- */

static int copy_out_handles(const struct port_message *message, uaddr_t to)
{
    struct hyla_msg_handle some[HANDLES_AT_ONCE];
    for (uint32_t done = 0; done < message->handle_count;) {
        uint32_t part = (uint32_t)min_u64(message->handle_count - done, HANDLES_AT_ONCE);
        for (uint32_t i = 0; i < part; i++)
            some[i] = (struct hyla_msg_handle){.handle = message->handles[done + i].handle, .rights = message->handles[done + i].rights, .move = 1};
        if (user_write(to + done * sizeof some[0], some, part * sizeof some[0]))
            return -EFAULT;
        done += part;
    }
    return 0;
}

static int copy_out(struct port_thread *self, struct hyla_msg *msg)
{
    const struct port_message *message = port_message_of(self);
    const struct port_answer *answer = port_answer_of(self);
    if (message->size && user_write(msg->receive_data, message->bytes, message->size))
        return -EFAULT;
    if (copy_out_handles(message, msg->receive_handles))
        return -EFAULT;
    for (uint32_t i = 0; i < PORT_WORDS; i++)
        msg->words[i] = message->words[i];
    msg->receive_size = message->size;
    msg->receive_handle_count = message->handle_count;
    msg->badge = answer->badge;
    msg->reply = answer->reply;
    return 0;
}

/* --- the call ---------------------------------------------------------------------------------------- */

static int64_t interrupted(struct hyla_msg *msg, const struct port_answer *answer)
{
    if (!answer->sent || !(msg->flags & PORT_SEND))
        return -EINTR; /* nothing has happened */
    if (msg->flags & PORT_CALL)
        return NATIVE_FINAL_EINTR;
    msg->flags &= ~(uint32_t)(PORT_SEND | PORT_SEND_NONBLOCK); /* what is left to do */
    return -EINTR;
}

static int64_t finish(struct port_thread *self, struct hyla_msg *msg, int64_t result)
{
    const struct port_answer *answer = port_answer_of(self);
    if (result == 0 && answer->received && copy_out(self, msg)) {
        port_msg_reject(self);
        result = -EFAULT;
    }
    msg->done = (answer->sent ? HYLA_MSG_SENT : 0) | (answer->received ? HYLA_MSG_RECEIVED : 0);
    if (result == -EMSGSIZE && (answer->bytes_needed || answer->handles_needed)) { /* from receiving */
        msg->receive_size = answer->bytes_needed;
        msg->receive_handle_count = answer->handles_needed;
    }
    return result == -EINTR ? interrupted(msg, answer) : result;
}

/* --- without a stack ----------------------------------------------------------------------------------- */

enum { NOTE_WHERE, NOTE_FLAGS, NOTE_DATA, NOTE_HANDLES };
static_assert(NOTE_HANDLES < PORT_NOTES, "notes");

static void take_notes(struct port_thread *self, const struct hyla_msg *msg, uaddr_t where)
{
    uint64_t *notes = port_notes_of(self);
    notes[NOTE_WHERE] = where;
    notes[NOTE_FLAGS] = msg->flags;
    notes[NOTE_DATA] = msg->receive_data;
    notes[NOTE_HANDLES] = msg->receive_handles;
}

static int64_t finish_noted(struct port_thread *self, int64_t result)
{
    const uint64_t *notes = port_notes_of(self);
    struct hyla_msg msg;
    if (user_read(&msg, notes[NOTE_WHERE], sizeof msg)) {
        port_msg_reject(self);
        return -EFAULT;
    }
    msg.flags = (uint32_t)notes[NOTE_FLAGS];
    msg.receive_data = notes[NOTE_DATA];
    msg.receive_handles = notes[NOTE_HANDLES];
    msg.reply = 0;
    result = finish(self, &msg, result);
    return result != -EFAULT && user_write(notes[NOTE_WHERE], &msg, sizeof msg) ? -EFAULT : result;
}

static void resumed(UNUSED void *argument)
{
    struct port_thread *self = port_thread_self();
    int result = port_msg_resume(self);
    if (result == PORT_WAITS)
        port_msg_park(self, resumed, NULL);
    uint64_t where = port_notes_of(self)[NOTE_WHERE];
    struct user_entry entry = {.kind = USER_CALL, .number = HYLA_CALL_MSG, .arguments = {where}, .result = finish_noted(self, result)};
    port_message_done(self);
    entry.result = native_restart(entry.result);
    user_call_return(&entry);
}

/* Comes back when the message is over, unless it parks. */
static int64_t exchange(struct port_thread *self, struct hyla_msg *msg, struct port_request *request, uaddr_t where)
{
    request->flags |= user_call_parks() ? PORT_PARKS : 0;
    int result = port_msg_begin(self, request);
    if (result == PORT_WAITS && request->flags & PORT_PARKS) {
        take_notes(self, msg, where);
        port_msg_park(self, resumed, NULL);
    }
    while (result == PORT_WAITS) {
        port_msg_wait(self);
        result = port_msg_resume(self);
    }
    return finish(self, msg, result);
}

int64_t native_msg(struct hyla_msg *msg, const uint64_t *registers)
{
    struct port_request request = {
        .flags = msg->flags, .to = msg->to, .from = msg->from, .bytes_max = (uint32_t)min_u64(msg->receive_size, PORT_BYTES_MAX),
        .handles_max = (uint32_t)min_u64(msg->receive_handle_count, PORT_HANDLES_MAX), .table = native_handles(),
    };
    if ((msg->flags & ~(uint32_t)MSG_FLAGS) || !(msg->flags & (PORT_SEND | PORT_RECEIVE)))
        return -EINVAL;
    struct port_thread *self = port_thread_self();
    if (!self)
        return -ENOMEM;
    msg->done = msg->reply = 0;
    int64_t result = msg->flags & PORT_SEND ? copy_in(self, msg) : 0;
    if (result == 0)
        result = exchange(self, msg, &request, registers[0]);
    port_message_done(self);
    return result;
}

/* --- rights ------------------------------------------------------------------------------------------ */

static int64_t made(int error, handle_t handle) { return error ? error : (int64_t)handle; }

int64_t native_port_create(uint32_t queue_limit)
{
    handle_t handle = HANDLE_NONE;
    int error = port_create(native_handles(), queue_limit, &handle);
    return made(error, handle);
}

int64_t native_port_make_send(handle_t receive, uint64_t badge, uint32_t rights)
{
    handle_t handle = HANDLE_NONE;
    int error = port_make_send(native_handles(), receive, badge, rights, &handle);
    return made(error, handle);
}

int64_t native_port_make_send_once(handle_t receive, uint64_t badge)
{
    handle_t handle = HANDLE_NONE;
    int error = port_make_send_once(native_handles(), receive, badge, &handle);
    return made(error, handle);
}

int64_t native_port_set_limit(handle_t receive, uint32_t limit) { return port_set_queue_limit(native_handles(), receive, limit); }
int64_t native_port_revoke(handle_t receive, uint64_t badge) { return port_revoke(native_handles(), receive, badge); }

int64_t native_port_info(handle_t receive, struct hyla_port_info *info)
{
    return port_count(native_handles(), receive, &info->messages, &info->send_rights);
}

int64_t native_port_notify(handle_t handle, uint32_t kind, uint64_t badge, handle_t target, uint64_t cookie)
{
    return port_notify(native_handles(), handle, (enum port_notice)kind, badge, target, cookie);
}

int64_t native_port_notify_cancel(handle_t handle, uint32_t kind, uint64_t badge, handle_t target, uint64_t cookie)
{
    return port_notify_cancel(native_handles(), handle, (enum port_notice)kind, badge, target, cookie);
}

/* --- sets -------------------------------------------------------------------------------------------- */

int64_t native_port_set_create(void)
{
    handle_t handle = HANDLE_NONE;
    int error = port_set_create(native_handles(), &handle);
    return made(error, handle);
}

int64_t native_port_set_add(handle_t set, handle_t receive) { return port_set_add(native_handles(), set, receive); }
int64_t native_port_set_remove(handle_t set, handle_t receive) { return port_set_remove(native_handles(), set, receive); }
