/*
 * Pipes in rings: when a pipe is lent to the programs at its ends, and when it comes back.
 *
 * Between two programs that only read and write, a body can move the bytes without the kernel (body.h, "rings"; docs/pipe-rings.md).
 * While pipe->ring is there the contents are in it, and here nobody waits, nothing is claimed, no knote was polled: so whoever
 * uses the ring need not think of anybody here. Everything but a plain read or write takes the ring back first (pipe_lock),
 * and whatever does not suit a ring keeps it away; then the pipe is an ordinary one, and the programs come to the kernel.
 *
 * It is made at a read that finds the pipe empty, after a number of plain calls in a row. Each time it has to come back that
 * number doubles, so that a pipe whose use is mixed is soon left alone. Who comes to a pipe with a ring and has none of it
 * yet is lent it, and begins the call again; who has it and comes all the same could not do the call there.
 */
#include "abi/linux/pipe_internal.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"

#define QUIET_FIRST 32u
#define QUIET_MOST 1024u
#define RING_WRITE_MOST PAGE_SIZE /* larger writes are no reason to make one */

_Static_assert(BODY_RING_BYTES == PIPE_SLOTS_DEFAULT * PAGE_SIZE, "what is in a ring fits the slots");

void pipe_ring_init(struct pipe *pipe) { pipe->quiet_wanted = QUIET_FIRST; }

/* --- coming back ------------------------------------------------------------------------------------- */

static void ring_pages_free(struct pipe *pipe)
{
    for (uint32_t i = 0; i < PIPE_SLOTS_DEFAULT; i++) {
        kfree(pipe->ring_pages[i]);
        pipe->ring_pages[i] = NULL;
    }
}

static void contents_take(struct pipe *pipe, uint32_t size)
{
    uint32_t length;

    for (uint32_t done = 0; done < size; done += length) {
        uint8_t **page = &pipe->ring_pages[done / PAGE_SIZE];
        length = (uint32_t)min_u64(size - done, PAGE_SIZE);
        body_ring_read(pipe->ring, done, *page, length);
        pipe_push_locked(pipe, *page, length, 0);
        *page = NULL;
    }
}

void pipe_recall_locked(struct pipe *pipe)
{
    if (LIKELY(!pipe->ring))
        return;
    KASSERT(pipe_empty(pipe));
    contents_take(pipe, body_ring_recall(pipe->ring));
    body_ring_unref(pipe->ring);
    pipe->ring = NULL;
    ring_pages_free(pipe);
    pipe->quiet_wanted = (uint32_t)min_u64(pipe->quiet_wanted * 2, QUIET_MOST);
}

static void not_quiet(struct pipe *pipe)
{
    pipe_recall_locked(pipe);
    pipe->quiet = 0;
}

void pipe_lock(struct pipe *pipe)
{
    mutex_lock(&pipe->mutex);
    not_quiet(pipe);
}

void pipe_lock_pair(struct pipe *one, struct pipe *other)
{
    mutex_lock_pair(&one->mutex, &other->mutex);
    not_quiet(one);
    not_quiet(other);
}

void pipe_hold(struct file *file, bool on)
{
    struct pipe *pipe = file->data;

    pipe_lock(pipe);
    pipe->held += on ? 1 : -1u;
    mutex_unlock(&pipe->mutex);
}

/* --- lending ----------------------------------------------------------------------------------------- */

/* A call that the ring serves, by who could make it there. */
static bool suits(struct file *file, const struct io *io, bool writes)
{
    uint32_t flags = atomic32_load_relaxed(&file->flags);

    return io->fd >= 0 && !(flags & (LINUX_O_NONBLOCK | LINUX_O_DIRECT | LINUX_O_ASYNC)) &&
           (!writes || io_left(io) <= BODY_RING_BYTES) && body_ring_possible() && !thread_interrupted(thread_current());
}

static bool may_have_ring_locked(struct pipe *pipe)
{
    return !pipe->node && !pipe->held && pipe->readers && pipe->writers && pipe->slot_count == PIPE_SLOTS_DEFAULT &&
           !pipe->read_claimed && !pipe->write_claimed && waitq_empty(&pipe->read_waiters) && waitq_empty(&pipe->write_waiters) &&
           knote_list_empty(&pipe->knotes);
}

static void ring_make_locked(struct pipe *pipe)
{
    uint32_t pages = 0;

    while (pages < PIPE_SLOTS_DEFAULT && (pipe->ring_pages[pages] = kalloc(PAGE_SIZE)))
        pages++;
    if (pages == PIPE_SLOTS_DEFAULT)
        pipe->ring = body_ring_create();
    if (!pipe->ring) {
        ring_pages_free(pipe);
        pipe->quiet = 0;
    }
}

/* The ring may have gone, and another come, while it was being mapped: the mutex is not held for what may take long. */
static bool lend_locked(struct pipe *pipe, struct file *file, const struct io *io, bool writes)
{
    struct body_ring *ring = body_ring_ref(pipe->ring);

    mutex_unlock(&pipe->mutex);
    bool lent = body_ring_map(ring);
    mutex_lock(&pipe->mutex);
    lent = lent && pipe->ring == ring && suits(file, io, writes) && body_ring_lend(ring, io->fd, writes);
    body_ring_unref(ring);
    return lent;
}

int pipe_enter(struct pipe *pipe, struct file *file, const struct io *io, bool writes)
{
    mutex_lock(&pipe->mutex);
    if (!suits(file, io, writes)) {
        not_quiet(pipe);
        return 0;
    }
    if (!pipe->ring && writes && io_left(io) > RING_WRITE_MOST)
        pipe->quiet = 0;
    else if (!pipe->ring && ++pipe->quiet > pipe->quiet_wanted && !writes && pipe_empty(pipe) && may_have_ring_locked(pipe))
        ring_make_locked(pipe);
    if (!pipe->ring)
        return 0;
    if (lend_locked(pipe, file, io, writes)) {
        mutex_unlock(&pipe->mutex);
        return -ERESTARTNOINTR; /* made again by the program: see signal_deliver */
    }
    not_quiet(pipe);
    return 0;
}
