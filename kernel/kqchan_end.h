/*
 * The kernel's end of a channel's socket: what is the same whatever the socket is (a host's, a Linux program's own). Between a
 * struct kqchan and the four functions of a socket.
 *
 * All that comes from the socket is done by the end's work, on a kernel thread and never twice at once: it reads requests, tells the
 * channel of room and of the peer's end, and frees the end when the channel has let go of it. kqchan_end_hang_up is the one way
 * to that: for whoever finds that the peer is gone, or that nobody will ever have its end.
 */
#ifndef KERNEL_KQCHAN_END_H
#define KERNEL_KQCHAN_END_H

#include "kernel/async.h"
#include "kernel/kqchan.h"

struct kqchan_end;

/* The socket. None of them suspends for the peer. */
struct kqchan_socket {
    /* On a kernel thread. 1: a message; 0: none now, and kqchan_end_ready follows when there is; -EPIPE: the end, or not a message. */
    int (*receive)(struct kqchan_end *end, struct kqchan_message *message);
    /* With `child`, the peer's end of that goes along. 0, -EAGAIN (kqchan_end_ready follows when there is room), -EPIPE. */
    int (*send)(struct kqchan_end *end, const struct kqchan_message *message, struct kqchan_end *child);
    /* A socket for a child, ready to be told of. As kqchan_link_operations.pair. */
    int (*pair)(struct kqchan_end *end, struct kqchan *child, struct kqchan_end **made);
    /* When it has returned, nobody calls kqchan_end_ready. Once. */
    void (*unwatch)(struct kqchan_end *end);
    void (*free)(struct kqchan_end *end);
};

struct kqchan_end {
    struct kqchan_link link;
    const struct kqchan_socket *socket;
    struct kqchan *channel; /* the reference that kqchan_hung_up drops */
    struct async_work work;
    struct atomic32 hung; /* to be told to the channel */
    struct atomic32 full; /* something could not be sent */
    /* owned by the work */
    bool told;   /* the channel was told of the end */
    bool closed; /* and has let go of it */
    bool kept;   /* a request that the channel could not take yet */
    struct kqchan_message request;
};

/* Zeroed before. `channel` is set by who makes the channel, before the first kqchan_end_ready. */
void kqchan_end_init(struct kqchan_end *end, const struct kqchan_socket *socket);
/* Something may have come, room or the end too. Any context; of no use after unwatch. */
void kqchan_end_ready(struct kqchan_end *end);
/* The channel is to go, and the end with it. Any context. */
void kqchan_end_hang_up(struct kqchan_end *end);

#endif
