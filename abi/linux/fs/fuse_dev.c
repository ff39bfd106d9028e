/*
 * /dev/fuse: where the program reads requests and writes replies, as fuse(4) tells it.
 *
 * An open device belongs to no connection until mount(2) or FUSE_DEV_IOC_CLONE gives it one. Several devices of a connection (and
 * several threads on one) share its queue; a reply comes through the device that read the request. When a device is closed, what it
 * has read is ended, and with the last one the connection.
 *
 * What goes out, in this order: interrupts; then requests and forgets in turn, so that neither starves. Forgets leave in
 * batches. A reader takes a reference for the time it copies a request out; the program may answer (guessing the number) before that is
 * over, and then has only itself to blame for what it has not read.
 *
 * What comes in is checked before it is believed: the length that the header tells is the length of the write, the number is that of
 * a request this device has read, the error is one, the size is what that operation may answer.
 */
#include "abi/linux/fs/fuse.h"

#include "abi/linux/fs/devfs.h"
#include "kernel/alloc.h"
#include "kernel/user.h"

#define FORGETS_AT_ONCE 64u
#define ERROR_LEAST (-511)

static struct fuse_device *device_of(const struct file *file) { return file->data; }
static struct fuse_conn *conn_of(const struct file *file) { return atomic_ptr_load_acquire(&device_of(file)->conn); }

/* --- what goes out ----------------------------------------------------------------------------------- */

/* What one read hands over: a request (referenced), or a message made here. */
struct outgoing {
    struct fuse_request *request;
    struct {
        struct fuse_in_header header;
        union {
            struct fuse_interrupt_in interrupt;
            struct fuse_forget_in forget;
            struct fuse_batch_forget_in batch;
        };
    } message;
    uint32_t forget_count;
    struct fuse_forget_one forgets[FORGETS_AT_ONCE];
};

static void take_interrupt_locked(struct fuse_conn *conn, struct outgoing *out)
{
    struct fuse_request *request = LIST_ENTRY(list_pop_front(&conn->interrupts), struct fuse_request, interrupt_link);

    out->message.header = (struct fuse_in_header){.length = sizeof(out->message.header) + sizeof(out->message.interrupt),
                                                  .operation = FUSE_INTERRUPT, .unique = request->header.unique | 1};
    out->message.interrupt.unique = request->header.unique;
}

static void forget_message(struct fuse_conn *conn, struct outgoing *out)
{
    struct fuse_in_header *header = &out->message.header;

    header->unique = conn->next_unique;
    conn->next_unique += 2;
    if (out->forget_count == 1) {
        header->operation = FUSE_FORGET;
        header->nodeid = out->forgets[0].nodeid;
        out->message.forget.lookups = out->forgets[0].lookups;
        header->length = sizeof(*header) + sizeof(out->message.forget);
        out->forget_count = 0;
        return;
    }
    header->operation = FUSE_BATCH_FORGET;
    out->message.batch = (struct fuse_batch_forget_in){.count = out->forget_count};
    header->length = (uint32_t)(sizeof(*header) + sizeof(out->message.batch) + out->forget_count * sizeof(out->forgets[0]));
}

static void take_forgets_locked(struct fuse_conn *conn, struct outgoing *out)
{
    uint32_t most = conn->minor >= 16 ? FORGETS_AT_ONCE : 1;

    while (out->forget_count < most && !list_empty(&conn->forgets)) {
        struct fuse_node *dead = LIST_ENTRY(list_pop_front(&conn->forgets), struct fuse_node, forget_link);
        out->forgets[out->forget_count++] = (struct fuse_forget_one){.nodeid = dead->nodeid, .lookups = dead->lookups};
        kfree(dead);
    }
    forget_message(conn, out);
}

static void take_request_locked(struct fuse_conn *conn, struct fuse_device *device, struct outgoing *out)
{
    struct fuse_request *request = LIST_ENTRY(list_pop_front(&conn->pending), struct fuse_request, link);

    request->state = FUSE_SENT;
    request->device = device;
    list_push_back(&conn->sent[request->header.unique / 2 % FUSE_BUCKETS], &request->link);
    fuse_request_ref(request);
    out->request = request;
}

static bool work_waits_locked(const struct fuse_conn *conn)
{
    return !list_empty(&conn->pending) || !list_empty(&conn->interrupts) || !list_empty(&conn->forgets);
}

/* 1: taken; 0: nothing there; or why there never will be. */
static int take_locked(struct fuse_conn *conn, struct fuse_device *device, struct outgoing *out)
{
    if (!conn->connected)
        return conn->aborted && (conn->flags & FUSE_INIT_ABORT_ERROR) ? -ECONNABORTED : -ENODEV;
    if (!list_empty(&conn->interrupts)) {
        take_interrupt_locked(conn, out);
        return 1;
    }
    if (!list_empty(&conn->forgets) && (conn->forget_turn || list_empty(&conn->pending))) {
        conn->forget_turn = false;
        take_forgets_locked(conn, out);
        return 1;
    }
    if (list_empty(&conn->pending))
        return 0;
    conn->forget_turn = true;
    take_request_locked(conn, device, out);
    return 1;
}

/* As take_locked, waiting for something to take. */
static int take(struct fuse_conn *conn, struct fuse_device *device, bool nonblock, struct outgoing *out)
{
    for (;;) {
        struct waiter waiter;

        spin_lock(&conn->lock);
        int result = take_locked(conn, device, out);
        if (!result && !nonblock) {
            waiter_init(&waiter);
            spin_lock(&conn->readers.lock);
            waitq_enqueue_locked(&conn->readers, &waiter);
            spin_unlock(&conn->readers.lock);
        }
        bool more = result > 0 && work_waits_locked(conn);
        spin_unlock(&conn->lock);
        if (more)
            waitq_wake_one(&conn->readers);
        if (result)
            return result;
        if (nonblock)
            return -EAGAIN;
        if (waiter_wait(&waiter, DEADLINE_NEVER, WAIT_INTERRUPTIBLE))
            return -ERESTARTSYS;
    }
}

/* The request is with the program now, whole: an interrupt that came meanwhile follows. */
static void copied_out(struct fuse_request *request)
{
    struct fuse_conn *conn = request->conn;
    bool interrupted = false;

    spin_lock(&conn->lock);
    request->copied = true;
    if (request->state == FUSE_SENT && request->interrupted && !fuse_missing(conn, FUSE_INTERRUPT)) {
        list_push_back(&conn->interrupts, &request->interrupt_link);
        interrupted = true;
    }
    spin_unlock(&conn->lock);
    if (interrupted)
        fuse_conn_announce(conn);
}

/* It cannot be handed over: it ends, unless somebody was faster. */
static void fail_sent(struct fuse_request *request, int error)
{
    spin_lock(&request->conn->lock);
    bool mine = request->state == FUSE_SENT;
    if (mine)
        fuse_take_off_locked(request);
    spin_unlock(&request->conn->lock);
    if (mine)
        fuse_finish(request, error);
}

static int64_t put_request(struct fuse_request *request, struct io *io)
{
    uint32_t length = request->header.length;

    if (io_left(io) < length) {
        fail_sent(request, request->header.operation == FUSE_SETXATTR ? -E2BIG : -EIO);
        return 0;
    }
    if (io_put(io, &request->header, sizeof(request->header)) < sizeof(request->header) ||
        io_put(io, request->in, request->in_size) < request->in_size) {
        fail_sent(request, -EIO);
        return -EFAULT;
    }
    copied_out(request);
    if (request->header.operation == FUSE_NOTIFY_REPLY)
        fail_sent(request, 0); /* an answer itself: it ends here */
    return length;
}

static int64_t put_message(const struct outgoing *out, struct io *io)
{
    size_t forgets = out->forget_count * sizeof(out->forgets[0]), head = out->message.header.length - forgets;

    if (io_put(io, &out->message, head) < head || io_put(io, out->forgets, forgets) < forgets)
        return -EFAULT;
    return out->message.header.length;
}

static size_t buffer_least(struct fuse_conn *conn)
{
    size_t writes = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in) + conn->max_write;

    return writes > FUSE_READ_BUFFER_LEAST ? writes : FUSE_READ_BUFFER_LEAST;
}

static int64_t device_read(struct file *file, struct io *io, int64_t *position)
{
    bool nonblock = file_nonblocking(file) || (io->flags & IO_NONBLOCK);
    struct fuse_conn *conn = conn_of(file);
    int64_t result = 0;

    (void)position;
    if (!conn)
        return -EPERM;
    if (io_left(io) < buffer_least(conn))
        return -EINVAL;
    while (!result) {
        struct outgoing out = {.request = NULL};
        result = take(conn, device_of(file), nonblock, &out);
        if (result < 0)
            return result;
        result = out.request ? put_request(out.request, io) : put_message(&out, io);
        fuse_request_put(out.request);
    }
    return result;
}

/* --- what comes in ----------------------------------------------------------------------------------- */

/* The answer to an interrupt: the program does not know them, or wants it again later. */
static int answer_interrupt(struct fuse_conn *conn, const struct fuse_out_header *header)
{
    struct fuse_request *request;
    int error = 0;

    if (header->error == -ENOSYS)
        fuse_mark_missing(conn, FUSE_INTERRUPT);
    spin_lock(&conn->lock);
    request = fuse_sent_find_locked(conn, header->unique & ~(uint64_t)1);
    if (!request)
        error = -ENOENT;
    else if (header->error == -EAGAIN && !list_linked(&request->interrupt_link))
        list_push_back(&conn->interrupts, &request->interrupt_link);
    spin_unlock(&conn->lock);
    if (!error && header->error == -EAGAIN)
        fuse_conn_announce(conn);
    return error;
}

/* Off the list, so that nobody else answers or ends it: a reference (the list's), or NULL. */
static struct fuse_request *answer_begin(struct fuse_conn *conn, struct fuse_device *device, uint64_t unique)
{
    struct fuse_request *request;

    spin_lock(&conn->lock);
    request = fuse_sent_find_locked(conn, unique);
    if (request && request->device != device)
        request = NULL;
    if (request) {
        list_remove(&request->link);
        list_remove(&request->interrupt_link);
        request->state = FUSE_ANSWERING;
    }
    spin_unlock(&conn->lock);
    return request;
}

static void answer_end(struct fuse_request *request, int error)
{
    spin_lock(&request->conn->lock);
    fuse_take_off_locked(request);
    spin_unlock(&request->conn->lock);
    fuse_finish(request, error);
}

/* The reply's own part, as the operation may answer. */
static int answer_copy(struct fuse_request *request, struct io *io, size_t size)
{
    if (size > request->out_size || (size < request->out_size && !request->out_variable))
        return -EINVAL;
    if (io_get(io, request->out, size) < size)
        return -EFAULT;
    request->out_length = (uint32_t)size;
    return 0;
}

static int64_t answer(struct fuse_conn *conn, struct fuse_device *device, const struct fuse_out_header *header, struct io *io)
{
    struct fuse_request *request;
    size_t size = header->length - sizeof(*header);
    int error;

    if (header->error < ERROR_LEAST || header->error > 0 || (header->error && size))
        return -EINVAL;
    if (header->unique & 1)
        return answer_interrupt(conn, header);
    request = answer_begin(conn, device, header->unique);
    if (!request)
        return -ENOENT;
    error = header->error ? 0 : answer_copy(request, io, size);
    if (header->error == -ENOSYS && request->header.operation != FUSE_INIT)
        fuse_mark_missing(conn, request->header.operation);
    answer_end(request, error ? -EIO : header->error);
    return error;
}

static int64_t device_write(struct file *file, struct io *io, int64_t *position)
{
    struct fuse_conn *conn = conn_of(file);
    size_t total = io_left(io);
    struct fuse_out_header header;
    int64_t error;

    (void)position;
    if (!conn)
        return -EPERM;
    if (total < sizeof(header))
        return -EINVAL;
    if (io_get(io, &header, sizeof(header)) < sizeof(header))
        return -EFAULT;
    if (header.length != total)
        return -EINVAL;
    if (header.unique)
        error = answer(conn, device_of(file), &header, io);
    else
        error = fuse_notify(conn, (uint32_t)header.error, io, total - sizeof(header));
    return error ? error : (int64_t)total;
}

/* --- the file ---------------------------------------------------------------------------------------- */

static uint32_t device_poll(struct file *file)
{
    struct fuse_conn *conn = conn_of(file);
    uint32_t events = EVENT_WRITE | EVENT_WRITE_NORMAL;

    if (!conn)
        return EVENT_ERROR;
    spin_lock(&conn->lock);
    if (!conn->connected)
        events = EVENT_ERROR;
    else if (work_waits_locked(conn))
        events |= EVENT_READ | EVENT_READ_NORMAL;
    spin_unlock(&conn->lock);
    return events;
}

static struct knote_list *device_knotes(struct file *file) { return &device_of(file)->knotes; }

static const struct file_ops device_ops;

int fuse_device_bind(struct file *file, struct fuse_conn *conn)
{
    struct fuse_device *device = file->data;
    void *none = NULL;

    if (file->ops != &device_ops)
        return -EINVAL;
    spin_lock(&conn->lock);
    bool bound = atomic_ptr_cas(&device->conn, &none, conn);
    if (bound) {
        object_ref(conn);
        list_push_back(&conn->devices, &device->link);
    }
    spin_unlock(&conn->lock);
    if (bound)
        knote_notify(&device->knotes, EVENT_WRITE | EVENT_WRITE_NORMAL);
    return bound ? 0 : -EBUSY;
}

static int64_t device_clone(struct file *file, uaddr_t argument)
{
    struct file *other;
    struct fuse_conn *conn;
    uint32_t fd;
    int error = user_read(&fd, argument, sizeof(fd));

    if (!error)
        error = fd_get((int)fd, &other);
    if (error)
        return error;
    conn = other->ops == &device_ops ? conn_of(other) : NULL;
    error = conn ? fuse_device_bind(file, conn) : -EINVAL;
    file_unref(other);
    return error == -EBUSY ? -EINVAL : error;
}

static int64_t device_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    return command == FUSE_DEVICE_CLONE ? device_clone(file, argument) : -ENOTTY;
}

/* What the device has read and not answered, one by one; NULL: no more. */
static struct fuse_request *left_locked(struct fuse_conn *conn, struct fuse_device *device)
{
    for (uint32_t i = 0; i < FUSE_BUCKETS; i++) {
        LIST_FOR_EACH(link, &conn->sent[i])
        {
            struct fuse_request *request = LIST_ENTRY(link, struct fuse_request, link);
            if (request->device == device)
                return request;
        }
    }
    return NULL;
}

static void requests_left(struct fuse_conn *conn, struct fuse_device *device)
{
    struct fuse_request *request;

    do {
        spin_lock(&conn->lock);
        request = left_locked(conn, device);
        if (request)
            fuse_take_off_locked(request);
        spin_unlock(&conn->lock);
        if (request)
            fuse_finish(request, -ECONNABORTED);
    } while (request);
}

static void device_release(struct file *file)
{
    struct fuse_device *device = file->data;
    struct fuse_conn *conn = conn_of(file);

    if (conn) {
        spin_lock(&conn->lock);
        list_remove(&device->link);
        bool last = list_empty(&conn->devices);
        spin_unlock(&conn->lock);
        if (last)
            fuse_conn_abort(conn, false);
        else
            requests_left(conn, device);
    }
    knote_list_close(&device->knotes);
    kfree(device);
    object_unref(conn);
}

static const struct file_ops device_ops = {
    .kind = "fuse",
    .messages = true,
    .read = device_read,
    .write = device_write,
    .poll = device_poll,
    .knotes = device_knotes,
    .ioctl = device_ioctl,
    .release = device_release,
};

int fuse_device_open(uint32_t flags, struct file **file)
{
    struct fuse_device *device = kzalloc(sizeof(*device));

    if (!device)
        return -ENOMEM;
    list_init(&device->link);
    knote_list_init(&device->knotes);
    *file = file_create(&device_ops, flags, device);
    if (!*file)
        kfree(device);
    return *file ? 0 : -ENOMEM;
}
