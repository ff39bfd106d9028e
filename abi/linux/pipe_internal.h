/*
 * The pipe object, for pipe.c, fifo.c and splice.c.
 *
 * A pipe is a ring of slots, each a page or a part of one; head and tail run freely. Who reads or writes
 * holds the mutex, also while user memory is copied. splice moves data between a pipe and a file that may
 * block: it *claims* the pipe's reading (or writing) end, drops the mutex, and others wait meanwhile.
 *
 * A busy pipe's contents may be in a ring that programs use without the kernel (pipe_ring.c). All that looks at the pipe begins with
 * pipe_lock, which takes the ring back; only a plain read or write begins with pipe_enter, which may leave it.
 */
#ifndef ABI_LINUX_PIPE_INTERNAL_H
#define ABI_LINUX_PIPE_INTERNAL_H

#include "abi/linux/anon.h"
#include "abi/linux/pipe.h"
#include "kernel/waitq.h"

#define PIPE_SLOTS_DEFAULT 16u
#define PIPE_SIZE_UNPRIVILEGED (1u << 20) /* /proc/sys/fs/pipe-max-size */
#define PIPE_SIZE_LARGEST (1u << 31)
#define PIPE_SPARES 2u

enum { PIPE_SLOT_PACKET = 1 /* read alone, its rest dropped */ };

struct pipe_slot {
    uint8_t *page;
    uint32_t offset, length;
    uint32_t flags;
};

struct pipe {
    struct mutex mutex; /* rank PIPE; guards everything below except the queues' own insides */
    struct pipe_slot *slots;
    uint32_t slot_count; /* a power of two */
    uint32_t head, tail; /* written and read so far, in slots */
    uint8_t *spares[PIPE_SPARES]; /* empty pages kept, so that small messages allocate nothing */
    uint32_t readers, writers;           /* open files that can */
    uint32_t reader_opens, writer_opens; /* so many there ever were: for fifo_open */
    uint32_t files;                      /* open files and openings under way: the pipe dies with the last */
    bool read_claimed, write_claimed;    /* by splice */
    struct body_ring *ring; /* the contents are there, and nobody waits or watches here; else NULL */
    uint8_t *ring_pages[PIPE_SLOTS_DEFAULT]; /* with a ring: room for what comes back from it */
    uint32_t quiet, quiet_wanted; /* plain calls in a row; how many make a ring worth while */
    uint32_t held;                /* no ring now: see file_ops.hold */
    struct waitq read_waiters, write_waiters, open_waiters;
    struct knote_list knotes;

    /* constant */
    struct node *node; /* a FIFO's, referenced; NULL for a pipe */
    uint64_t inode;
    uint32_t uid, gid;
    struct file_time created;
};

static inline uint32_t pipe_used(const struct pipe *pipe) { return pipe->head - pipe->tail; }
static inline bool pipe_empty(const struct pipe *pipe) { return pipe->head == pipe->tail; }
static inline bool pipe_full(const struct pipe *pipe) { return pipe_used(pipe) >= pipe->slot_count; }
static inline struct pipe_slot *pipe_slot_at(struct pipe *pipe, uint32_t index) { return &pipe->slots[index & (pipe->slot_count - 1)]; }

/* No files yet. node is referenced when not NULL. NULL: no memory. */
struct pipe *pipe_create(struct node *node);
void pipe_destroy(struct pipe *pipe);
/* An open file over the pipe; counts itself in. The access mode in flags. pipe->mutex held. NULL: no memory. */
struct file *pipe_file_create(struct pipe *pipe, uint32_t flags);
void pipe_count_in_locked(struct pipe *pipe, uint32_t flags);
/* The other way; wakes whom it concerns. True when it was the last. */
bool pipe_count_out_locked(struct pipe *pipe, uint32_t flags);

/* Locks, with the contents in the kernel: whatever else uses the pipe comes first through here. */
void pipe_lock(struct pipe *pipe);
void pipe_lock_pair(struct pipe *one, struct pipe *other);
/* The same with the mutex held already, after it was dropped with nothing claimed. */
void pipe_recall_locked(struct pipe *pipe);
/* For a read or write: as pipe_lock, and 0; or it is to be done in the ring: unlocked, what the call returns. May suspend. */
int pipe_enter(struct pipe *pipe, struct file *file, const struct io *io, bool writes);
void pipe_hold(struct file *file, bool on);
void pipe_ring_init(struct pipe *pipe);

/* Unlocks, then wakes one reader and one writer that can go on now. */
void pipe_unlock(struct pipe *pipe);
/* Tells pollers. Mutex held. */
void pipe_announce_locked(struct pipe *pipe, uint32_t events);
/*
 * Waits until there is something to read (or room to write) and nobody has claimed that end: 1; 0 at end of file;
 * -EAGAIN, -ERESTARTSYS, -EPIPE (no reader; no signal sent). Mutex held.
 */
int pipe_wait_readable_locked(struct pipe *pipe, bool nonblock);
int pipe_wait_writable_locked(struct pipe *pipe, bool nonblock);
/* A page from the spares or fresh, and back. NULL: no memory. Mutex held. */
uint8_t *pipe_page_get_locked(struct pipe *pipe);
void pipe_page_put_locked(struct pipe *pipe, uint8_t *page);
/* Appends a page; there is room. Mutex held. */
void pipe_push_locked(struct pipe *pipe, uint8_t *page, uint32_t length, uint32_t flags);
/* Drops `size` bytes at the front of the first slot. Mutex held. */
void pipe_consume_locked(struct pipe *pipe, uint32_t size);
void pipe_send_sigpipe(void);

#endif
