/*
 * The insides of ports, shared by port*.c: the objects, and which lock guards what (docs/ports.md has the picture).
 *
 * A thread that runs is nobody's target, so its own record needs no lock while it sends to a receiver that waits, or receives
 * from a sender that waits; only the waiting side's does. "Waits" begins where its item or receive_link is linked, or where
 * a reply right is bound to it, and ends by waiter_claim under its lock, or by an interruption that it notices itself.
 */
#ifndef KERNEL_PORT_INTERNAL_H
#define KERNEL_PORT_INTERNAL_H

#include "kernel/port.h"
#include "kernel/tree.h"

enum port_phase {
    PHASE_IDLE,
    PHASE_QUEUED,    /* its item is in a port's queue */
    PHASE_SERVED,    /* its call was taken; the reply right is bound to it */
    PHASE_RECEIVING, /* it waits in a port or a set */
    PHASE_DONE,      /* woken: sent, or received, or replied to */
    PHASE_FAILED,    /* woken: with error */
    PHASE_AGAIN,     /* woken: to look again */
};

enum port_stage { STAGE_SEND, STAGE_RECEIVE };

/* A message in a port's queue. */
struct port_item {
    struct list link;           /* under the port's lock */
    struct list blocked_link;   /* the same: senders that wait for room in the queue, not for a reply */
    struct port_thread *sender; /* it waits; NULL: a block of its own, freed when it is taken */
    uint64_t badge;
    bool call;
    bool counted;   /* one of those that the queue limit limits */
    bool revocable; /* came through a send right */
    struct port_message message;
};

struct port_thread {
    struct atomic32 references; /* its thread's, and one for each reply right bound to it */
    struct spinlock lock;       /* RANK_PORT_THREAD; guards, while it waits: */
    enum port_phase phase;
    int error;
    uint64_t call_number;       /* a reply right with another one is stale */
    struct waiter waiter;
    struct port_answer answer;
    struct port_item item;      /* the message */
    /* under the lock of what it receives from */
    struct list receive_link;
    /* the thread's own; constant while it waits */
    struct handle_table *table;
    struct port *to;            /* a reference; NULL: none, or a send-once right */
    struct object *from;        /* a reference */
    struct port_reply *reply;   /* a spare one, or, from hand-over to the end of the receive, the bound one */
    uint32_t flags;
    uint32_t bytes_max;
    uint32_t handles_max;
    uint32_t reserved;          /* slots in the table */
    uint32_t kept;              /* slots of the handles that are on their way */
    bool detached;              /* the message's handles have left the table */
    enum port_stage stage;      /* what it waits in */
    uint64_t notes[PORT_NOTES]; /* its ABI's */
    int wait_error;             /* of a wait with the stack */
};

/* A send-once right's object: to a caller, or to a port. Only the one holder of the handle changes it. */
struct port_reply {
    struct object object;
    struct port_thread *caller; /* a reference */
    uint64_t call_number;
    struct port *port;          /* a reference */
    struct port_item *block;    /* for the port: reserved */
};

/* Send rights with one badge. In the tree while there are any; under the port's lock. */
struct port_badge {
    struct tree_node node;
    uint64_t badge;
    uint64_t rights;
    bool revoked;
    struct list notices; /* struct port_notice_request.link */
};

/* A message promised for an event. On a list of the port it is about, under that port's lock. */
struct port_notice_request {
    struct list link;
    enum port_notice kind;
    uint64_t badge;
    uint64_t cookie;
    struct port *target; /* a reference */
    uint64_t target_badge;
    struct port_item *block;
};

/* Somebody goes through a port's items in steps, and lets go of the lock in between. Under the port's lock. */
struct port_walk {
    struct list link;
    struct list *next; /* the item to be looked at next; NULL: it is at its end */
    struct list *last; /* the last of those that were there when it began */
};

struct port {
    struct object object;
    struct spinlock lock; /* RANK_PORT; guards: */
    bool dead;
    struct list items;     /* struct port_item.link, oldest first */
    struct list blocked;   /* struct port_item.blocked_link */
    struct list walks;     /* struct port_walk.link */
    struct list receivers; /* struct port_thread.receive_link */
    uint32_t item_count;
    uint32_t queued;       /* items that are counted */
    uint32_t queue_limit;
    uint32_t receive_rights; /* one, or two while one moves from a message into a table */
    struct handle_table *holder; /* where the receive right is; NULL: on its way */
    struct tree badges;
    uint32_t badges_revoked;
    uint64_t send_rights;
    struct list dead_names; /* struct port_notice_request.link */
    struct list no_senders;
    uint32_t notice_count;
    struct port_set *set;   /* which unlinks it before it goes */
    /* under the set's lock, taken inside the port's */
    struct list set_link;
    struct list ready_link;
    /* under the flight lock */
    struct port *destination; /* whose queue its receive right lies in */

    struct list death_link; /* of whoever buries it */
    struct knote_list knotes;
};

struct port_set {
    struct object object;
    struct spinlock lock; /* RANK_PORT_SET; guards: */
    bool dead;
    struct list members;   /* struct port.set_link */
    struct list ready;     /* struct port.ready_link: those that had messages when last looked at; the next to be served first */
    struct list receivers; /* struct port_thread.receive_link */
    struct handle_table *holder; /* of its one handle */
    struct knote_list knotes;
};

/* --- port.c: the objects ------------------------------------------------------------------------------- */

struct port_item *port_item_make(void);
/* With its message's memory, whose handles are closed already. */
void port_item_free(struct port_item *item);
void port_thread_ref(struct port_thread *thread);
void port_thread_unref(struct port_thread *thread);
struct port_badge *port_badge_find_locked(struct port *port, uint64_t badge);
/* The receive right that a handle of the table names, referenced. */
int port_get(struct handle_table *table, handle_t receive, struct port **port);
/* A handle to the object, whose reference it takes over or, on failure, drops. */
int port_handle_make(struct handle_table *table, void *object, uint32_t rights, uint64_t badge, handle_t *handle);

/* --- port_send.c --------------------------------------------------------------------------------------- */

/* 0, PORT_WAITS, or an error: the message is then still self's. */
int port_send(struct port_thread *self, struct port *port, uint64_t badge);
/* A block of the kernel's own: whatever the limit. False: the port is dead or the badge revoked, and the block is still the caller's. */
bool port_post(struct port *port, struct port_item *block, bool revocable);
/* Whether the thread has room; if not, the answer says what it takes. Its thread's own, or locked. */
bool port_fits(struct port_thread *receiver, const struct port_message *message);
/* The message changes hands; a call's reply right is bound. Both sides: locked, or the running thread's own. */
void port_hand_over(struct port_thread *receiver, struct port_item *item);
/* Takes an item off the queue. The port is locked. */
void port_item_remove_locked(struct port *port, struct port_item *item);
/* For those who walk: `block` takes the item's place. The port is locked. */
void port_walks_replace_locked(struct port *port, const struct list *item, struct list *block);
/* How much all queues together may hold. No lock. */
void port_queues_measure(void);
/* One more of those that the limits limit. The port is locked. */
void port_item_count_locked(struct port *port, struct port_item *item);
/* The item is off the queue; its sender, if it still waits, is woken with the error. */
void port_sender_fail(struct port_thread *sender, int error);
/* Somebody who waits to receive is woken with PHASE_AGAIN (error 0) or an error. The list's lock is held. */
void port_receivers_wake_locked(struct list *receivers, int error);

/* --- port_receive.c ------------------------------------------------------------------------------------ */

int port_receive(struct port_thread *self);
/* The interrupted thread leaves what it waits on. */
void port_receive_leave(struct port_thread *self);

/* --- port_reply.c -------------------------------------------------------------------------------------- */

/* The right is out of the table. self->message goes, whatever becomes of it. */
void port_reply_use(struct port_thread *self, struct handle_value *once);
struct port_reply *port_reply_make(void);

/* --- port_death.c -------------------------------------------------------------------------------------- */

void port_die(struct port *port);
/* Closes the handles of a message that will not be delivered. */
void port_message_bury(struct port_message *message);
/* A message with these handles is about to enter the queue, or has left it. The port is locked. */
int port_flight_enter(struct port *port, const struct port_message *message);
void port_flight_leave(const struct port_message *message);
/* Receive rights in the message have left their table; or are back in it. */
void port_holders_leave(const struct port_message *message);
void port_holders_return(const struct port_message *message, struct handle_table *table);

/* --- port_set.c ---------------------------------------------------------------------------------------- */

/* The port is locked, and alive or about to be dead. */
void port_ready_locked(struct port *port);
void port_set_leave_locked(struct port *port);

/* --- port_notice.c ------------------------------------------------------------------------------------- */

/* Sends what is on the list, and ends the requests. No lock. */
void port_notices_fire(struct list *requests);
void port_notices_drop(struct list *requests);
/* Moves requests to a list of the caller's. The port is locked. */
void port_notices_take_locked(struct port *port, struct list *requests, struct list *to);
/* The words of a notice. */
void port_notice_write(struct port_item *block, enum port_notice kind, uint64_t cookie, uint64_t badge, uint64_t target_badge);

#endif
