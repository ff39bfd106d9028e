/*
 * Pipes: the object, reading and writing, as pipe(7) tells it.
 *
 * A small write goes into the last page when it fits there whole, else into a page of its own; so a write of
 * up to PIPE_BUF (one page) is never split. Pages that were read empty are kept as spares: a steady exchange
 * of small messages allocates nothing and takes one mutex per call.
 *
 * Readers sleep only while the pipe is empty, writers only while it is full. Each change wakes one of those
 * who can now go on, and each who leaves wakes the next while there is still something to do (pipe_unlock), so
 * no wake is lost and no herd runs. Death of the last reader or writer wakes everybody.
 */
#include "abi/linux/pipe_internal.h"

#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

#define FIONREAD 0x541Bu
#define READ_EVENTS (EVENT_READ | EVENT_READ_NORMAL)
#define WRITE_EVENTS (EVENT_WRITE | EVENT_WRITE_NORMAL)

struct pipe *pipe_create(struct node *node)
{
    struct pipe *pipe = kzalloc(sizeof(*pipe));

    if (!pipe)
        return NULL;
    pipe->slots = kcalloc(PIPE_SLOTS_DEFAULT, sizeof(*pipe->slots));
    if (!pipe->slots) {
        kfree(pipe);
        return NULL;
    }
    pipe->slot_count = PIPE_SLOTS_DEFAULT;
    mutex_init(&pipe->mutex, RANK_PIPE);
    waitq_init(&pipe->read_waiters);
    waitq_init(&pipe->write_waiters);
    waitq_init(&pipe->open_waiters);
    knote_list_init(&pipe->knotes);
    pipe_ring_init(pipe);
    pipe->node = node ? object_ref(node) : NULL;
    pipe->inode = anon_inode_next();
    if (current_thread()) {
        pipe->uid = current_cred()->fsuid;
        pipe->gid = current_cred()->fsgid;
    }
    pipe->created = wall_time();
    return pipe;
}

void pipe_destroy(struct pipe *pipe)
{
    knote_list_close(&pipe->knotes);
    for (; !pipe_empty(pipe); pipe->tail++)
        kfree(pipe_slot_at(pipe, pipe->tail)->page);
    for (uint32_t i = 0; i < PIPE_SPARES; i++)
        kfree(pipe->spares[i]);
    kfree(pipe->slots);
    object_unref(pipe->node);
    kfree(pipe);
}

/* --- pages ------------------------------------------------------------------------------------------- */

uint8_t *pipe_page_get_locked(struct pipe *pipe)
{
    for (uint32_t i = 0; i < PIPE_SPARES; i++) {
        uint8_t *page = pipe->spares[i];
        if (page) {
            pipe->spares[i] = NULL;
            return page;
        }
    }
    return kalloc(PAGE_SIZE);
}

void pipe_page_put_locked(struct pipe *pipe, uint8_t *page)
{
    for (uint32_t i = 0; i < PIPE_SPARES; i++)
        if (!pipe->spares[i]) {
            pipe->spares[i] = page;
            return;
        }
    kfree(page);
}

void pipe_push_locked(struct pipe *pipe, uint8_t *page, uint32_t length, uint32_t flags)
{
    KASSERT(!pipe_full(pipe));
    *pipe_slot_at(pipe, pipe->head) = (struct pipe_slot){.page = page, .offset = 0, .length = length, .flags = flags};
    pipe->head++;
}

void pipe_consume_locked(struct pipe *pipe, uint32_t size)
{
    struct pipe_slot *slot = pipe_slot_at(pipe, pipe->tail);

    KASSERT(!pipe_empty(pipe) && size <= slot->length);
    slot->offset += size;
    slot->length -= size;
    if (slot->length)
        return;
    pipe_page_put_locked(pipe, slot->page);
    slot->page = NULL;
    pipe->tail++;
}

/* --- waking and waiting ------------------------------------------------------------------------------ */

void pipe_announce_locked(struct pipe *pipe, uint32_t events)
{
    if (!knote_list_empty(&pipe->knotes))
        knote_notify(&pipe->knotes, events);
}

static bool reader_can_go(const struct pipe *pipe) { return !pipe->read_claimed && (!pipe_empty(pipe) || !pipe->writers); }
static bool writer_can_go(const struct pipe *pipe) { return !pipe->write_claimed && (!pipe_full(pipe) || !pipe->readers); }

void pipe_unlock(struct pipe *pipe)
{
    /* Who sleeps here got onto the queue with the mutex held, so the hint is exact. */
    bool wake_reader = !waitq_empty(&pipe->read_waiters) && reader_can_go(pipe);
    bool wake_writer = !waitq_empty(&pipe->write_waiters) && writer_can_go(pipe);

    mutex_unlock(&pipe->mutex);
    if (wake_reader)
        waitq_wake_one(&pipe->read_waiters);
    if (wake_writer)
        waitq_wake_one(&pipe->write_waiters);
}

static int end_sleep(struct pipe *pipe, struct waitq *waiters)
{
    int error = waitq_sleep(waiters, &pipe->mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE) ? -ERESTARTSYS : 0;

    pipe_recall_locked(pipe); /* made after this thread was taken off the queue and before it had the mutex */
    return error;
}

int pipe_wait_readable_locked(struct pipe *pipe, bool nonblock)
{
    while (pipe->read_claimed || pipe_empty(pipe)) {
        int error;

        if (!pipe->read_claimed && !pipe->writers)
            return 0;
        if (nonblock)
            return -EAGAIN;
        error = end_sleep(pipe, &pipe->read_waiters);
        if (error)
            return error;
    }
    return 1;
}

int pipe_wait_writable_locked(struct pipe *pipe, bool nonblock)
{
    while (pipe->readers && (pipe->write_claimed || pipe_full(pipe))) {
        int error;

        if (nonblock)
            return -EAGAIN;
        if (!waitq_empty(&pipe->read_waiters) && reader_can_go(pipe))
            waitq_wake_one(&pipe->read_waiters);
        error = end_sleep(pipe, &pipe->write_waiters);
        if (error)
            return error;
    }
    return pipe->readers ? 1 : -EPIPE;
}

void pipe_send_sigpipe(void)
{
    struct lthread *thread = current_thread();
    struct linux_siginfo info = {.signo = LINUX_SIGPIPE, .code = LINUX_SI_USER};

    if (!thread)
        return;
    info.rt.pid = thread->process->pid;
    info.rt.uid = current_cred()->uid;
    signal_send_thread(thread, LINUX_SIGPIPE, &info);
}

/* --- reading ----------------------------------------------------------------------------------------- */

/* Moves what is there, up to what was asked for; one packet alone. */
static int64_t pipe_take_locked(struct pipe *pipe, struct io *io)
{
    bool was_full = pipe_full(pipe);
    int64_t total = 0;

    while (io_left(io) && !pipe_empty(pipe)) {
        struct pipe_slot *slot = pipe_slot_at(pipe, pipe->tail);
        bool packet = slot->flags & PIPE_SLOT_PACKET;
        size_t wanted = min_u64(slot->length, io_left(io));
        size_t moved = io_put(io, slot->page + slot->offset, wanted);

        total += moved;
        if (moved < wanted) {
            pipe_consume_locked(pipe, moved);
            if (!total)
                total = -EFAULT;
            break;
        }
        pipe_consume_locked(pipe, packet ? slot->length : moved);
        if (packet)
            break;
    }
    if (was_full && !pipe_full(pipe))
        pipe_announce_locked(pipe, WRITE_EVENTS);
    return total;
}

static int64_t pipe_read(struct file *file, struct io *io, int64_t *position)
{
    struct pipe *pipe = file->data;
    int64_t result;

    (void)position;
    if (!io_left(io))
        return 0;
    result = pipe_enter(pipe, file, io, false);
    if (result)
        return result;
    result = pipe_wait_readable_locked(pipe, file_nonblocking(file) || (io->flags & IO_NONBLOCK));
    if (result > 0)
        result = pipe_take_locked(pipe, io);
    pipe_unlock(pipe);
    return result;
}

/* --- writing ----------------------------------------------------------------------------------------- */

/* The odd bytes of a write go into the last page when they fit there whole. Bytes or -EFAULT. */
static int64_t pipe_merge_locked(struct pipe *pipe, struct io *io)
{
    uint32_t size = io_left(io) & (PAGE_SIZE - 1);
    struct pipe_slot *slot;

    if (!size || pipe_empty(pipe) || pipe->write_claimed)
        return 0;
    slot = pipe_slot_at(pipe, pipe->head - 1);
    if ((slot->flags & PIPE_SLOT_PACKET) || slot->offset + slot->length + size > PAGE_SIZE)
        return 0;
    if (io_get(io, slot->page + slot->offset + slot->length, size) < size)
        return -EFAULT;
    slot->length += size;
    return size;
}

/* One page more; there is room. Bytes, -EFAULT or -ENOMEM. */
static int64_t pipe_put_page_locked(struct pipe *pipe, struct io *io, uint32_t flags)
{
    size_t size = min_u64(io_left(io), PAGE_SIZE);
    uint8_t *page = pipe_page_get_locked(pipe);

    if (!page)
        return -ENOMEM;
    if (io_get(io, page, size) < size) {
        pipe_page_put_locked(pipe, page);
        return -EFAULT;
    }
    pipe_push_locked(pipe, page, size, flags);
    return size;
}

static int64_t pipe_write_locked(struct pipe *pipe, struct io *io, bool nonblock, bool packet)
{
    int64_t total = 0, result = 0;

    if (!pipe->readers)
        return -EPIPE;
    if (!packet)
        result = total = pipe_merge_locked(pipe, io);
    while (result >= 0 && io_left(io)) {
        if (total)
            pipe_announce_locked(pipe, READ_EVENTS);
        result = pipe_wait_writable_locked(pipe, nonblock);
        if (result > 0)
            result = pipe_put_page_locked(pipe, io, packet ? PIPE_SLOT_PACKET : 0);
        if (result > 0)
            total += result;
    }
    if (total > 0)
        pipe_announce_locked(pipe, READ_EVENTS);
    return total > 0 ? total : result;
}

static int64_t pipe_write(struct file *file, struct io *io, int64_t *position)
{
    struct pipe *pipe = file->data;
    bool packet = atomic32_load_relaxed(&file->flags) & LINUX_O_DIRECT;
    int64_t result;
    bool dead;

    (void)position;
    if (!io_left(io))
        return 0;
    result = pipe_enter(pipe, file, io, true);
    if (result)
        return result;
    result = pipe_write_locked(pipe, io, file_nonblocking(file) || (io->flags & IO_NONBLOCK), packet);
    dead = !pipe->readers;
    pipe_unlock(pipe);
    /* Also after a part was written: the rest met a pipe without readers. */
    if (result == -EPIPE || (dead && io_left(io)))
        pipe_send_sigpipe();
    return result;
}

/* --- the other operations ---------------------------------------------------------------------------- */

static uint32_t pipe_poll(struct file *file)
{
    struct pipe *pipe = file->data;
    uint32_t events = 0;

    pipe_lock(pipe);
    if (file_readable(file)) {
        if (!pipe_empty(pipe))
            events |= READ_EVENTS;
        /* A FIFO's reader that came first sees no hang-up before a writer has come: fifo_open keeps the count here. */
        if (!pipe->writers && file->position != (int64_t)pipe->writer_opens)
            events |= EVENT_HANGUP;
    }
    if (file_writable(file)) {
        if (!pipe_full(pipe))
            events |= WRITE_EVENTS;
        if (!pipe->readers)
            events |= EVENT_ERROR;
    }
    mutex_unlock(&pipe->mutex);
    return events;
}

static struct knote_list *pipe_knotes(struct file *file)
{
    struct pipe *pipe = file->data;
    return &pipe->knotes;
}

static int64_t pipe_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    struct pipe *pipe = file->data;
    int32_t bytes = 0;

    if (command != FIONREAD)
        return -ENOTTY;
    pipe_lock(pipe);
    for (uint32_t i = pipe->tail; i != pipe->head; i++)
        bytes += pipe_slot_at(pipe, i)->length;
    mutex_unlock(&pipe->mutex);
    return user_write(argument, &bytes, sizeof(bytes));
}

static int pipe_stat(struct file *file, struct linux_stat_data *stat)
{
    struct pipe *pipe = file->data;

    anon_stat(stat, ANON_DEVICE_PIPE, pipe->inode, LINUX_S_IFIFO | 0600, pipe->uid, pipe->gid, pipe->created);
    return 0;
}

void pipe_count_in_locked(struct pipe *pipe, uint32_t flags)
{
    uint32_t access = flags & LINUX_O_ACCMODE;

    pipe->files++;
    if (access != LINUX_O_WRONLY) {
        pipe->readers++;
        pipe->reader_opens++;
    }
    if (access != LINUX_O_RDONLY) {
        pipe->writers++;
        pipe->writer_opens++;
    }
    waitq_wake_all(&pipe->open_waiters);
}

bool pipe_count_out_locked(struct pipe *pipe, uint32_t flags)
{
    uint32_t access = flags & LINUX_O_ACCMODE;

    if (access != LINUX_O_WRONLY && --pipe->readers == 0) {
        waitq_wake_all(&pipe->write_waiters);
        pipe_announce_locked(pipe, EVENT_ERROR | WRITE_EVENTS);
    }
    if (access != LINUX_O_RDONLY && --pipe->writers == 0) {
        waitq_wake_all(&pipe->read_waiters);
        pipe_announce_locked(pipe, EVENT_HANGUP | READ_EVENTS);
    }
    return --pipe->files == 0;
}

/* A FIFO is forgotten under its node's mutex, so that fifo_open meets it alive or not at all. */
static void pipe_release(struct file *file)
{
    struct pipe *pipe = file->data;
    struct node *node = pipe->node;
    bool last;

    if (node)
        mutex_lock(&node->mutex);
    pipe_lock(pipe);
    last = pipe_count_out_locked(pipe, atomic32_load_relaxed(&file->flags));
    mutex_unlock(&pipe->mutex);
    if (last && node)
        node->fifo = NULL;
    if (node)
        mutex_unlock(&node->mutex);
    if (last)
        pipe_destroy(pipe);
}

static const struct file_ops pipe_file_ops = {
    .kind = "pipe",
    .async = true,
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .knotes = pipe_knotes,
    .ioctl = pipe_ioctl,
    .stat = pipe_stat,
    .hold = pipe_hold,
    .release = pipe_release,
};

struct file *pipe_file_create(struct pipe *pipe, uint32_t flags)
{
    struct file *file = file_create(&pipe_file_ops, flags, pipe);

    if (file)
        pipe_count_in_locked(pipe, flags);
    return file;
}

struct pipe *pipe_of(struct file *file) { return file->ops == &pipe_file_ops ? file->data : NULL; }
