/*
 * Ports: messages between tasks. One object, three rights, each a handle (kernel/handle.h):
 *
 *   RIGHT_RECEIVE    takes messages and makes the other two; there is one. Its end is the port's death.
 *   RIGHT_SEND       sends and calls; carries the 64-bit badge chosen when it was made, also into copies.
 *   RIGHT_SEND_ONCE  answers once: made by a call for its receiver (a reply right), or by port_make_send_once.
 *
 * A message is 8 words, bytes, and handles that are moved or copied. It is delivered whole or not at all. A port with
 * queue limit 0 is a rendezvous: the sender waits until a receiver has the message; with a limit n up to n messages that
 * nobody waits for stay in the port. First come, first served, among all senders and callers of a port.
 *
 * A thread's part in messages is its struct port_thread: made on first use, kept until the thread ends, so that a
 * steady call and reply allocates nothing. It holds the message that goes out and then the one that came in. Use:
 *
 *     struct port_thread *self = port_thread_self();                      NULL: no memory
 *     message = port_message_of(self);
 *     error = port_message_prepare(self, bytes, handles);                 room in it; also needed when it is empty
 *     ... fill message->words, ->bytes, ->handles[i].{handle,rights,move} (one copy-in straight from the user)
 *     result = port_msg(self, &request);                                  waits on the stack; or, without a stack:
 *     result = port_msg_begin(self, &request);                            request.flags has PORT_PARKS
 *     if (result == PORT_WAITS) port_msg_park(self, continuation, argument);   does not return; in the continuation:
 *         result = port_msg_resume(self); if (result == PORT_WAITS) port_msg_park again
 *     ... when 0 and answer->received: copy out message, answer; on a fault: port_msg_reject(self)
 *     port_message_done(self);                                            always, at the end
 *
 * After PORT_WAITS exactly one port_msg_park (or, without PORT_PARKS, port_msg_wait) must follow. Nothing here touches user
 * memory; no lock is held when these functions return, and none may be held when they are called. docs/ports.md says why.
 *
 * Errors, all of them (negated):
 *   EBADF        no such handle (also one in the message); ECANCELED when it was taken away during the wait
 *                (a handle that is moved and then named again in one message is none any more)
 *   EINVAL       wrong kind of object, bad flags, a call through a send-once right, a queue limit too large
 *   EACCES       a right that the handle does not carry (RECEIVE, SEND, TRANSFER to travel, COPY to be copied)
 *   EMSGSIZE     the message is larger than PORT_BYTES_MAX, PORT_HANDLES_MAX; or than the receiver's room: it then stays
 *                queued and answer.bytes_needed, .handles_needed say what it takes (for a caller: the reply is gone)
 *   EMFILE       no room in the receiver's handle table for what it asked to be able to take; nothing was received
 *   ENOMEM       nothing happened (with SEND and RECEIVE: see answer.sent)
 *   EAGAIN       NONBLOCK and it would have to wait
 *   EINTR        interrupted or killed. answer.sent tells whether the message had been taken: if not, nothing happened
 *                and the call may be made again with the same handles
 *   EPIPE        the port is dead (its receive right is gone): the message was not taken, its handles are the sender's again
 *   ECONNRESET   the message was taken but the reply right was dropped unused
 *   EKEYREVOKED  the send right's badge was revoked; as EPIPE otherwise
 *   ELOOP        a receive right in the message would travel into its own queue, or too many queues deep
 *   EBUSY        (make_send) that badge was revoked and rights with it still exist
 *   ENOSPC       (notify) too many requests on the port
 */
#ifndef KERNEL_PORT_H
#define KERNEL_PORT_H

#include "kernel/event.h"
#include "kernel/handle.h"
#include "kernel/thread.h"

#define PORT_WORDS 8u
#define PORT_BYTES_MAX 65536u   /* of one message; more travels as a memobj */
#define PORT_HANDLES_MAX 64u    /* of one message */
#define PORT_QUEUE_MAX 1024u    /* messages; a queue is full also when all queues together hold a sixteenth of memory */
#define PORT_NESTING_MAX 64u    /* receive rights in queues of ports whose receive rights are in queues … */
#define PORT_NOTICES_MAX 4096u  /* dead-name requests on one port */

enum port_flags {
    PORT_SEND = 1 << 0,             /* the message goes to `to` */
    PORT_RECEIVE = 1 << 1,          /* then a message is received from `from` */
    PORT_CALL = 1 << 2,             /* with SEND: a reply right goes with it, and the reply is waited for. Not with RECEIVE */
    PORT_SEND_NONBLOCK = 1 << 3,    /* EAGAIN instead of waiting for a receiver or room */
    PORT_RECEIVE_NONBLOCK = 1 << 4, /* EAGAIN when there is no message */
    PORT_PARKS = 1 << 5,            /* the caller will park, see above */
    PORT_REGISTERS = 1 << 6,        /* with PARKS, without room for bytes and handles: see kernel/port_fast.h */
    PORT_KILLABLE = 1 << 7,         /* with SEND: until it is done with, only being killed ends a wait, no other interruption */
};

/* What is to be done. Read by port_msg_begin only. */
struct port_request {
    uint32_t flags;
    handle_t to;                /* SEND or SEND_ONCE right. A send-once right is used up when the answer is 0, and by an
                                   attempt to reply that reaches the port or the caller */
    handle_t from;              /* RECEIVE right of a port, or a port set */
    uint32_t bytes_max;         /* what the receiver (of a message or of a reply) has room for */
    uint32_t handles_max;
    struct handle_table *table; /* of the calling thread; NULL only for kernel threads that name no handles at all */
    /* kernel threads may name objects instead of handles: borrowed, they must live until port_msg_begin returns */
    struct port *to_port;       /* with to_badge */
    uint64_t to_badge;
    struct object *from_object; /* a port or a port set */
};

/* Where a message's bytes and handles are. All of it is the kernel's copy. */
struct port_message {
    uint64_t words[PORT_WORDS];
    uint32_t size;         /* of bytes */
    uint32_t handle_count;
    struct handle_transfer *handles; /* kernel/handle.h. Out: handle, rights, move. In: handle, rights */
    char *bytes;
    void *buffer;          /* both of them */
    uint32_t capacity;     /* of buffer, bytes */
};

struct port_answer {
    uint64_t badge;          /* of the send right it came through; 0 for a reply */
    handle_t reply;          /* a send-once right, when it is a call; else HANDLE_NONE */
    uint32_t bytes_needed;   /* with EMSGSIZE from receiving */
    uint32_t handles_needed;
    bool sent;               /* the send part is done: the message was taken, or is in the port's queue */
    bool received;           /* the message is one that came in */
};

#define PORT_WAITS 1
#define PORT_NOTES 4u /* what a continuation may have to know: port_notes_of */

struct port_thread;
/* The calling thread's. NULL: no memory. */
struct port_thread *port_thread_self(void);
struct port_message *port_message_of(struct port_thread *self);
const struct port_answer *port_answer_of(const struct port_thread *self);
/* PORT_NOTES words for who parks. They stay as they are until the end of the message. */
uint64_t *port_notes_of(struct port_thread *self);

/* Room for a message to be sent: sets size, handle_count, bytes and handles. -EMSGSIZE, -ENOMEM. */
int port_message_prepare(struct port_thread *self, uint32_t bytes, uint32_t handles);
/* 0, an error, or PORT_WAITS. */
int port_msg_begin(struct port_thread *self, const struct port_request *request);
/* Whether the calling thread is in the middle of a message: it parked, and was woken. */
bool port_msg_begun(const struct port_thread *self);
/* Whether it is to park. */
bool port_msg_parks(const struct port_thread *self);
/* After the wake: as port_msg_begin. */
int port_msg_resume(struct port_thread *self);
/* Waits with the stack. Then comes port_msg_resume. */
void port_msg_wait(struct port_thread *self);
/* Gives the stack back; continuation(argument) runs on a fresh one, and calls port_msg_resume first. */
NORETURN void port_msg_park(struct port_thread *self, thread_function *continuation, void *argument);
/* All of it, on the stack. 0 or an error. */
int port_msg(struct port_thread *self, const struct port_request *request);
/*
 * What was received cannot be handed to the program (its memory faults): the handles and the reply right are closed again, so
 * that a caller is told ECONNRESET. The message is lost.
 */
void port_msg_reject(struct port_thread *self);
/* The message is done with: what was received is in the handle table already. A large buffer is freed. */
void port_message_done(struct port_thread *self);

/* --- making and managing; `table` is the caller's ----------------------------------------------------- */

/* A port, and the handle of its receive right (RECEIVE, TRANSFER). -EINVAL, -ENOMEM, -EMFILE. */
int port_create(struct handle_table *table, uint32_t queue_limit, handle_t *receive);
/* A send right: SEND and, of COPY and TRANSFER, those in `rights`. -EBADF, -EINVAL, -EACCES, -EPIPE, -EBUSY, -ENOMEM, -EMFILE. */
int port_make_send(struct handle_table *table, handle_t receive, uint64_t badge, uint32_t rights, handle_t *send);
/*
 * A send-once right to the port (SEND_ONCE, TRANSFER): its message goes into the queue whatever the limit, so that using it
 * never waits. Dropped unused it sends an empty message with words[0] == PORT_NOTICE_SEND_ONCE_DROPPED.
 */
int port_make_send_once(struct handle_table *table, handle_t receive, uint64_t badge, handle_t *once);
/* Messages that are in the queue stay, also beyond a lower limit. */
int port_set_queue_limit(struct handle_table *table, handle_t receive, uint32_t queue_limit);
/*
 * All send rights with this badge are void from now on, wherever they are: their messages that nobody has received are
 * given back (EKEYREVOKED). Answers how many rights there were, or an error. Calls being served are not touched.
 */
int64_t port_revoke(struct handle_table *table, handle_t receive, uint64_t badge);
/* How many messages wait, of senders and in the queue, and how many send rights there are. Either may be NULL. */
int port_count(struct handle_table *table, handle_t receive, uint64_t *messages, uint64_t *send_rights);

enum port_notice {
    PORT_NOTICE_DEAD_NAME = 1,         /* asked on a send right: its port died */
    PORT_NOTICE_NO_SENDERS = 2,        /* asked on a receive right: no send right is left; at once when there is none now */
    PORT_NOTICE_SEND_ONCE_DROPPED = 3,
    PORT_NOTICE_BADGE_GONE = 4,        /* asked on a receive right: no send right with that badge is left */
};
/*
 * Asks for one message through `target`, a send right: words[0] the kind, words[1] the cookie, words[2] the badge
 * (BADGE_GONE). Its memory is reserved now, so it always comes, whatever the target's queue limit. Asked again with the
 * same kind, target, badge and cookie before it has come: one message. Comes at once when it is true already.
 */
int port_notify(struct handle_table *table, handle_t handle, enum port_notice kind, uint64_t badge, handle_t target, uint64_t cookie);
/* -ENOENT: there is no such request; its message may have come. */
int port_notify_cancel(struct handle_table *table, handle_t handle, enum port_notice kind, uint64_t badge, handle_t target,
                       uint64_t cookie);

/*
 * Port sets: receive from many ports through one handle (RECEIVE; it does not travel). Ports with messages take turns. A
 * port is in at most one set (-EBUSY), leaves it when its receive right is moved or closed, and may still be received from directly.
 */
int port_set_create(struct handle_table *table, handle_t *set);
int port_set_add(struct handle_table *table, handle_t set, handle_t receive);
int port_set_remove(struct handle_table *table, handle_t set, handle_t receive); /* -ENOENT */

/* --- for the kernel itself ---------------------------------------------------------------------------- */

extern const struct object_type port_type;
extern const struct object_type port_set_type;
extern const struct object_type port_reply_type; /* a send-once right's object */

/*
 * Readiness, for event queues: EVENT_READ when a message waits, EVENT_CLOSED at death. `object` is a port or a set.
 * port_events answers now.
 */
struct knote_list *port_knotes(struct object *object);
uint32_t port_events(struct object *object);
/* How many messages wait in a port; of a set: 1 when there may be some. */
uint64_t port_messages(struct object *object);

/* thread.c: the thread is gone. NULL is fine. */
void port_thread_gone(struct port_thread *self);

#endif
