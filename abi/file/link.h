/*
 * A kernel's link to a file server: the file protocol (protocol.tbl) over ports.
 *
 *   struct file_link   a server's send right, the port through which the server talks back, a table for both
 *   struct file_call   one message under way, filled in and taken apart by the generated functions of file_calls.h
 *   struct file_outgoing  something the server is to be told by and by
 *
 * Every call is made by the thread that wants to know, through its own record of ports, so as many are under way as there are
 * threads; nothing that is locked here is held meanwhile. What the server says is believed only as far as it was checked: sizes and
 * lengths here, meanings by who called. It may never answer: the wait ends by an interruption (by being killed where the message
 * changes something), or by the server's death, which is noticed at once and for good.
 *
 * A link holds its owner until the thread that listens to the server has ended, soon after file_link_close.
 */
#ifndef ABI_FILE_LINK_H
#define ABI_FILE_LINK_H

#include "kernel/errno.h"
#include "kernel/port.h"

#include <hyla/file_types.h>

struct file_link;

struct file_link_events {
    /* In the listening thread, which holds nothing. `recalls` has counted it before. */
    void (*invalidate)(struct object *owner, uint64_t node, uint32_t what);
    void (*invalidate_name)(struct object *owner, uint64_t directory, const char *name, uint32_t length);
    /* The link is dead, without having been closed perhaps. Once. May be NULL. */
    void (*died)(struct object *owner, struct file_link *link);
};

struct file_link {
    struct object object;
    struct handle_table table; /* all its handles, also those that replies bring */
    handle_t server, notify;
    struct object *owner; /* referenced */
    const struct file_link_events *events;
    struct atomic64 messages; /* that the server took */
    struct atomic32 recalls;  /* counts what the server has recalled: an answer may be kept if it has not changed since the question */
    struct atomic32 dead;     /* the server, or the link, has ended */
    bool told_death;          /* the listener's */
    struct spinlock lock;     /* rank FILE_LINK; guards: */
    struct list outbox;       /* struct file_outgoing.link */
    struct thread *sender;    /* empties it; NULL: there is none */
    bool closed;
};

/* First in a block of the caller's that file_link_post takes over. */
struct file_outgoing {
    struct list link;
    uint64_t node;
    uint64_t references; /* to give back; may be 0 */
    struct hyla_file_changes changes; /* to be made before; valid 0: none */
};

/*
 * A link to the port that the right, which needs COPY and is copied, sends to. The owner's reference is the caller's. -ENOMEM,
 * -EACCES. file_link_close ends it.
 */
int file_link_create(const struct handle_value *right, struct object *owner, const struct file_link_events *events, struct file_link **link);
/* The first message. The label is printable. May wait; errors as calls'; -EPROTO. */
int file_link_attach(struct file_link *link, struct hyla_file_attributes *root, char label[32]);
/* Nothing is sent any more, the server's rights end. Drops the caller's reference. */
void file_link_close(struct file_link *link);
static inline bool file_link_dead(const struct file_link *link) { return atomic32_load_acquire(&link->dead); }
/* Frees `outgoing` when it is sent, or at once when the server is dead. Never waits, any context where kfree may be called. */
void file_link_post(struct file_link *link, struct file_outgoing *outgoing);

/* --- for the generated functions --------------------------------------------------------------------- */

enum file_call_flags { FILE_CALL_CHANGES = 1 };

struct file_call {
    struct file_link *link;
    struct port_thread *self;
    struct port_message *message;
    uint32_t at; /* how far the bytes are filled in, or taken apart */
};

/* Room for a message of that many bytes and handles. 0, -EIO, -ENOMEM. After 0: _send, or _run and _end. */
int64_t file_call_begin(struct file_call *call, struct file_link *link, uint32_t number, uint64_t bytes, uint32_t handles);
void file_put(struct file_call *call, const void *from, uint64_t size);
void file_put_handle(struct file_call *call, handle_t handle);
/* The server's result, or an error of the transport: -EIO, -ERESTARTSYS, -EINTR, -ENOMEM. */
int64_t file_call_run(struct file_call *call, uint32_t flags, uint64_t room, uint32_t handles);
void file_take(struct file_call *call, void *to, uint64_t size);
/* The handle that came, out of the table: to be given to handle_value_close. Object NULL: there was none. */
void file_take_handle(struct file_call *call, struct handle_value *value);
void file_call_end(struct file_call *call);
int64_t file_call_send(struct file_call *call);

#endif
