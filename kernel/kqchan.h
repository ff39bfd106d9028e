/*
 * Event channels (kqchan): news of a port or a task, for somebody else's event loop. The peer holds the other end of a socket
 * that becomes readable; what passes over it are whole messages (struct kqchan_message).
 *
 *     kernel -> peer   NOTIFY                there is something; one at a time: the next comes only after a READ
 *     peer -> kernel   READ, MODIFY          each is answered, in order
 *     kernel -> peer   EVENT, MODIFIED       with the request's serial
 *
 * Order: an answer comes before a notification of what happened while the request was answered, and nothing that happened is
 * lost: it is in the answer, or notified afterwards. A READ with nothing to tell is answered with KQCHAN_DROP, so a peer that reads
 * twice is told to drop the second.
 *
 * Bounded against a peer that never reads: what happens to one task is or'ed into one event; children that are followed (NOTE_TRACK)
 * and were not told yet are at most KQCHAN_UNTOLD_MAX in one family of channels, and the next fork is NOTE_TRACKERR in its
 * parent's. When the socket is full nothing more is taken from the peer until it has room.
 *
 * A followed child gets a channel of its own, which the EVENT that tells it (NOTE_CHILD, in the parent's channel) brings along.
 * What happens to the child before is kept in it.
 *
 * MODIFY replaces interest, flags and udata, as EV_ADD does in a kqueue: pending fflags that are no longer asked for are dropped, with
 * the last of them the event; the notification that may be out then leads to a READ that is told to drop. Children that
 * wait to be told stay, with the interest they were born with.
 *
 * A channel carries news and nothing else: the message in a port is received by who holds its receive right, with a call of
 * its own, into its own handles; passing the channel on passes no right.
 */
#ifndef KERNEL_KQCHAN_H
#define KERNEL_KQCHAN_H

#include "kernel/kqueue.h"

struct task;

#define KQCHAN_UNTOLD_MAX 64u

enum kqchan_kind { KQCHAN_NOTIFY = 1, KQCHAN_READ = 2, KQCHAN_EVENT = 3, KQCHAN_MODIFY = 4, KQCHAN_MODIFIED = 5 };
enum kqchan_flags {
    KQCHAN_DROP = 1,  /* EVENT: there is nothing; event is empty */
    KQCHAN_CHILD = 2, /* EVENT: the child's channel comes with it */
};

/* On the wire. */
struct kqchan_message {
    uint32_t kind;
    uint32_t flags;
    uint64_t serial;     /* of a request: the peer's choice; of its answer: the same */
    int64_t error;       /* MODIFIED: 0 or a negative code */
    struct kevent event; /* EVENT. MODIFY: flags (EV_CLEAR), fflags, udata */
};
static_assert(sizeof(struct kqchan_message) == 56, "shared with programs");

struct kqchan;
struct kqchan_link;

/* The socket end, by the body. Called in a thread, with the channel's mutex (RANK_KQUEUE) held; never suspends for the peer. */
struct kqchan_link_operations {
    /*
     * `child`: a link made by pair, whose other end goes with the message. -EAGAIN: no room: kqchan_writable is called when there
     * is, and the child is still the channel's. -EPIPE: the peer is gone, the child's with it: for both kqchan_hung_up is called.
     */
    int (*send)(struct kqchan_link *link, const struct kqchan_message *message, struct kqchan_link *child);
    /* Another socket, for a child's channel; it takes over the caller's reference on the child on success. -EMFILE, -ENOMEM. */
    int (*pair)(struct kqchan_link *link, struct kqchan *child, struct kqchan_link **made);
    /* A child's link whose other end was never sent: it goes, and kqchan_hung_up is called for the child. */
    void (*abandon)(struct kqchan_link *child);
    /* The channel lets go of it: no more calls from here. The body closes the socket, and reports no hang-up any more. */
    void (*close)(struct kqchan_link *link);
};

struct kqchan_link {
    const struct kqchan_link_operations *operations;
};

/*
 * A channel. On success the link holds the one reference, until kqchan_hung_up; on failure the link is still the caller's.
 * A task: `fflags` as for EVFILT_PROC. A port or a port set: EV_CLEAR in flags means one notification for what comes after a
 * READ; without it there is another as long as messages wait. -EINVAL, -ENOMEM.
 */
int kqchan_open_task(struct task *task, uint64_t ident, uint32_t fflags, uint64_t udata, struct kqchan_link *link, struct kqchan **made);
int kqchan_open_port(struct object *port, uint64_t ident, uint32_t flags, uint64_t udata, struct kqchan_link *link, struct kqchan **made);

/* --- what the body tells a channel: in a thread, with no lock; the caller has a reference ----------------- */

/* A message from the peer. -EAGAIN: keep it, and what follows, until kqchan_writable. -EINVAL: no such request: hang up. -EPIPE: over. */
int kqchan_received(struct kqchan *channel, const struct kqchan_message *message);
/* The socket has room again. Then messages that were kept may be given to kqchan_received. */
void kqchan_writable(struct kqchan *channel);
/* The peer is gone, or the body wants it so: everything is released at once. Drops the link's reference; once. */
void kqchan_hung_up(struct kqchan *channel);

#endif
