/*
 * Requests: made, sent, waited for, ended.
 *
 *     NEW -> WAITING (pending, or background until there is room) -> SENT -> ANSWERING -> DONE
 *
 * Every step is taken under conn->lock; a request is on exactly one list in WAITING and SENT, on none else. Who takes it off its
 * list in order to end it (a reply, an abort, a withdrawal) owns its end and calls fuse_finish, once. The list's reference
 * goes with that. The reply is copied in without the lock, in ANSWERING: neither the abort nor the sender can end it then.
 *
 * The sender waits interruptibly. A signal makes it wait on, killably, while FUSE_INTERRUPT follows the request: the program
 * decides whether to answer EINTR. Killed, it withdraws a request that was not read, and abandons one that was: whatever
 * the program then does for it is undone when the reply comes (request->orphan).
 */
#include "abi/linux/fs/fuse.h"

#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

/* --- birth and death --------------------------------------------------------------------------------- */

static void header_fill(struct fuse_in_header *header, uint32_t operation, uint64_t nodeid, size_t in_size)
{
    const struct cred *cred = current_thread() ? current_cred() : NULL;

    *header = (struct fuse_in_header){.length = (uint32_t)(sizeof(*header) + in_size), .operation = operation, .nodeid = nodeid};
    if (cred) {
        header->uid = cred->fsuid;
        header->gid = cred->fsgid;
        header->pid = (uint32_t)current_process()->pid;
    }
}

struct fuse_request *fuse_request_create(struct fuse_conn *conn, uint32_t operation, uint64_t nodeid, size_t in_size, size_t out_size)
{
    size_t in_room = round_up(in_size, 8);
    struct fuse_request *request = kalloc(sizeof(*request) + in_room + out_size);

    if (!request)
        return NULL;
    memset(request, 0, sizeof(*request));
    atomic32_store_relaxed(&request->references, 1);
    request->conn = object_ref(conn);
    list_init(&request->link);
    list_init(&request->interrupt_link);
    waitq_init(&request->waiters);
    header_fill(&request->header, operation, nodeid, in_size);
    request->in = request + 1;
    request->out = (uint8_t *)request->in + in_room;
    request->in_size = (uint32_t)in_size;
    request->out_size = (uint32_t)out_size;
    memset(request->in, 0, min_u64(in_room, sizeof(struct fuse_setattr_in)));
    return request;
}

void fuse_request_ref(struct fuse_request *request) { atomic32_add(&request->references, 1); }

void fuse_request_put(struct fuse_request *request)
{
    if (!request || atomic32_sub(&request->references, 1) != 1)
        return;
    object_unref(request->file);
    object_unref(request->node);
    object_unref(request->fs);
    object_unref(request->conn);
    kfree(request);
}

int fuse_begin(struct node *node, uint32_t operation, size_t in_size, const char *name, size_t length, size_t out_size,
               struct fuse_request **request)
{
    struct fuse_conn *conn = fuse_conn_of(node);
    size_t name_size = name ? length + 1 : 0;

    *request = NULL;
    if (fuse_node_bad(node))
        return -EIO;
    if (fuse_missing(conn, operation))
        return -ENOSYS;
    *request = fuse_request_create(conn, operation, fuse_node_of(node)->nodeid, in_size + name_size, out_size);
    if (!*request)
        return -ENOMEM;
    (*request)->node = object_ref(node);
    (*request)->fs = object_ref(node->fs);
    if (name) {
        char *to = (char *)(*request)->in + in_size;
        memcpy(to, name, length);
        to[length] = 0;
    }
    return 0;
}

int fuse_call_put(struct fuse_request *request)
{
    int error = fuse_call(request);

    fuse_request_put(request);
    return error;
}

/* --- lists ------------------------------------------------------------------------------------------- */

bool fuse_background_flow_locked(struct fuse_conn *conn)
{
    bool moved = false;

    while (conn->initialised && conn->background_active < conn->max_background && !list_empty(&conn->background)) {
        struct list *link = list_pop_front(&conn->background);
        list_push_back(&conn->pending, link);
        LIST_ENTRY(link, struct fuse_request, link)->background = true;
        conn->background_active++;
        moved = true;
    }
    return moved;
}

void fuse_take_off_locked(struct fuse_request *request)
{
    list_remove(&request->link);
    list_remove(&request->interrupt_link);
    request->state = FUSE_DONE;
    request->conn->live -= !request->abandoned;
    if (request->background)
        request->conn->background_active--;
    request->background = false;
}

struct fuse_request *fuse_sent_find_locked(struct fuse_conn *conn, uint64_t unique)
{
    LIST_FOR_EACH(link, &conn->sent[unique / 2 % FUSE_BUCKETS])
    {
        struct fuse_request *request = LIST_ENTRY(link, struct fuse_request, link);
        if (request->header.unique == unique)
            return request;
    }
    return NULL;
}

/* --- the end ----------------------------------------------------------------------------------------- */

void fuse_finish(struct fuse_request *request, int error)
{
    struct fuse_conn *conn = request->conn;

    spin_lock(&conn->lock);
    KASSERT(request->state == FUSE_DONE);
    bool abandoned = request->abandoned, moved = fuse_background_flow_locked(conn);
    bool last = conn->closing && conn->connected && !conn->live;
    request->error = error;
    spin_unlock(&conn->lock);
    if (last)
        fuse_conn_abort(conn, false);
    if (moved)
        fuse_conn_announce(conn);
    if (abandoned && !error && request->orphan)
        request->orphan(request);
    if (request->done)
        request->done(request);
    atomic32_store_release(&request->finished, 1);
    waitq_wake_all(&request->waiters);
    fuse_request_put(request);
}

/* --- sending ----------------------------------------------------------------------------------------- */

static void enqueue_locked(struct fuse_conn *conn, struct fuse_request *request, struct list *list)
{
    request->header.unique = request->answers;
    if (!request->answers) {
        request->header.unique = conn->next_unique;
        conn->next_unique += 2;
    }
    request->state = FUSE_WAITING;
    conn->live++;
    list_push_back(list, &request->link);
}

static bool initialised(struct fuse_conn *conn)
{
    spin_lock(&conn->lock);
    bool done = conn->initialised;
    spin_unlock(&conn->lock);
    return done;
}

/* 0, or -EINTR: killed. */
static int init_wait(struct fuse_conn *conn)
{
    while (!initialised(conn)) {
        struct waiter waiter;

        waiter_init(&waiter);
        spin_lock(&conn->init_waiters.lock);
        waitq_enqueue_locked(&conn->init_waiters, &waiter);
        spin_unlock(&conn->init_waiters.lock);
        if (initialised(conn)) {
            waiter_abandon(&waiter);
            break;
        }
        int error = waiter_wait(&waiter, DEADLINE_NEVER, WAIT_KILLABLE);
        if (error)
            return error;
    }
    return 0;
}

void fuse_send(struct fuse_request *request)
{
    struct fuse_conn *conn = request->conn;
    bool first = request->header.operation == FUSE_INIT; /* goes before all others, and does not wait for itself */

    spin_lock(&conn->lock);
    bool connected = conn->connected;
    if (connected)
        enqueue_locked(conn, request, first ? &conn->pending : &conn->background);
    else
        request->state = FUSE_DONE;
    fuse_background_flow_locked(conn);
    spin_unlock(&conn->lock);
    if (connected)
        fuse_conn_announce(conn);
    else
        fuse_finish(request, -ENOTCONN);
}

static int enqueue(struct fuse_request *request)
{
    struct fuse_conn *conn = request->conn;
    int error = 0;

    spin_lock(&conn->lock);
    if (!conn->connected)
        error = conn->refused ? -ECONNREFUSED : -ENOTCONN;
    else
        enqueue_locked(conn, request, &conn->pending);
    spin_unlock(&conn->lock);
    return error;
}

/* --- waiting ----------------------------------------------------------------------------------------- */

static int finished_wait(struct fuse_request *request, enum wait_flags flags)
{
    struct waiter waiter;

    if (atomic32_load_acquire(&request->finished))
        return 0;
    waiter_init(&waiter);
    spin_lock(&request->waiters.lock);
    waitq_enqueue_locked(&request->waiters, &waiter);
    spin_unlock(&request->waiters.lock);
    if (atomic32_load(&request->finished)) {
        waiter_abandon(&waiter);
        return 0;
    }
    return waiter_wait(&waiter, DEADLINE_NEVER, flags);
}

/* A signal came: the program is told, at once when it has the request, else right behind it. */
static void interrupt(struct fuse_request *request)
{
    struct fuse_conn *conn = request->conn;
    bool queued = false;

    spin_lock(&conn->lock);
    if (!request->interrupted && request->state == FUSE_SENT && request->copied && !fuse_missing(conn, FUSE_INTERRUPT)) {
        list_push_back(&conn->interrupts, &request->interrupt_link);
        queued = true;
    }
    request->interrupted = true;
    spin_unlock(&conn->lock);
    if (queued)
        fuse_conn_announce(conn);
}

/* The sender was killed. The request is withdrawn, or left to whoever will end it. */
static int give_up(struct fuse_request *request)
{
    struct fuse_conn *conn = request->conn;

    spin_lock(&conn->lock);
    enum fuse_state state = request->state;
    if (state == FUSE_WAITING)
        fuse_take_off_locked(request);
    else if (state != FUSE_DONE)
        conn->live--;
    if (state != FUSE_DONE)
        request->abandoned = true;
    bool last = conn->closing && !conn->live;
    spin_unlock(&conn->lock);
    if (last)
        fuse_conn_abort(conn, false);
    if (state == FUSE_WAITING)
        fuse_finish(request, -EINTR);
    else if (state == FUSE_SENT)
        interrupt(request);
    return -EINTR;
}

int fuse_call(struct fuse_request *request)
{
    int error = init_wait(request->conn);

    request->attr_version = fuse_attr_version(request->conn);
    if (!error) {
        fuse_request_ref(request); /* the list's */
        error = enqueue(request);
        if (error)
            fuse_request_put(request);
    }
    if (error)
        return error;
    fuse_conn_announce(request->conn);
    error = finished_wait(request, WAIT_INTERRUPTIBLE);
    if (error)
        interrupt(request);
    while (!atomic32_load_acquire(&request->finished)) {
        error = finished_wait(request, WAIT_KILLABLE);
        if (error && !atomic32_load_acquire(&request->finished))
            return give_up(request);
    }
    return request->error;
}
