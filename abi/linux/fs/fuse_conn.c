/*
 * A connection: birth, INIT, abort, death.
 *
 * It is `connected` from its mount to its abort. Requests sent before INIT was answered wait for the answer, because it decides
 * how they are laid out. The abort has three causes, all the same to those who wait: the last device was closed (the program
 * died), the last mount and what was under way is gone, MNT_FORCE. It ends every request in every state; one whose reply is being copied in
 * is ended by the copying thread.
 */
#include "abi/linux/fs/fuse.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/string.h"

/* What this side can do. */
#define FLAGS_OFFERED                                                                                                  \
    (FUSE_INIT_ASYNC_READ | FUSE_INIT_BIG_WRITES | FUSE_INIT_SPLICE | FUSE_INIT_IOCTL_DIR | FUSE_INIT_NO_OPEN | FUSE_INIT_NO_OPENDIR |    \
     FUSE_INIT_ABORT_ERROR | FUSE_INIT_MAX_PAGES | FUSE_INIT_AUTO_INVAL_DATA |    \
     FUSE_INIT_READDIRPLUS | FUSE_INIT_READDIRPLUS_AUTO)

static void conn_destroy(struct object *object)
{
    struct fuse_conn *conn = CONTAINER_OF(object, struct fuse_conn, object);
    struct list *link;

    KASSERT(list_empty(&conn->pending) && list_empty(&conn->devices));
    while ((link = list_pop_front(&conn->forgets)))
        kfree(LIST_ENTRY(link, struct fuse_node, forget_link));
    kfree(conn->table);
    kfree(conn);
}

static const struct object_type conn_type = {.name = "fuse_conn", .destroy = conn_destroy};

static void lists_init(struct fuse_conn *conn)
{
    list_init(&conn->devices);
    list_init(&conn->pending);
    list_init(&conn->background);
    list_init(&conn->interrupts);
    list_init(&conn->forgets);
    list_init(&conn->polls);
    for (uint32_t i = 0; i < FUSE_BUCKETS; i++)
        list_init(&conn->sent[i]);
    for (uint32_t i = 0; i < FUSE_TABLE_BUCKETS; i++)
        list_init(&conn->table[i]);
}

struct fuse_conn *fuse_conn_create(const struct fuse_options *options)
{
    struct fuse_conn *conn = kzalloc(sizeof(*conn));

    if (!conn)
        return NULL;
    conn->table = kalloc(FUSE_TABLE_BUCKETS * sizeof(*conn->table));
    if (!conn->table) {
        kfree(conn);
        return NULL;
    }
    object_init(&conn->object, &conn_type);
    conn->options = *options;
    spinlock_init(&conn->lock, RANK_FUSE);
    spinlock_init(&conn->table_lock, RANK_NODE_TABLE);
    lists_init(conn);
    waitq_init(&conn->readers);
    waitq_init(&conn->init_waiters);
    gate_init(&conn->rename_gate);
    body_random(&conn->key, sizeof(conn->key));
    conn->next_unique = 2;
    conn->next_poll = 1;
    conn->max_background = FUSE_BACKGROUND_DEFAULT;
    return conn;
}

void fuse_conn_announce(struct fuse_conn *conn)
{
    spin_lock(&conn->lock);
    LIST_FOR_EACH(link, &conn->devices)
    {
        struct fuse_device *device = LIST_ENTRY(link, struct fuse_device, link);
        if (!knote_list_empty(&device->knotes))
            knote_notify(&device->knotes, EVENT_READ | EVENT_READ_NORMAL);
    }
    spin_unlock(&conn->lock);
    waitq_wake_one(&conn->readers);
}

/* --- INIT -------------------------------------------------------------------------------------------- */

static uint32_t within(uint32_t value, uint32_t least, uint32_t most) { return value < least ? least : value > most ? most : value; }

static bool init_acceptable(const struct fuse_request *request, const struct fuse_init_out *out)
{
    return !request->error && request->out_length >= FUSE_INIT_OUT_LEAST && out->major == FUSE_MAJOR && out->minor >= FUSE_MINOR_LEAST;
}

static void init_take_locked(struct fuse_conn *conn, const struct fuse_init_out *out)
{
    uint32_t pages = out->flags & FUSE_INIT_MAX_PAGES ? within(out->max_pages, 1, FUSE_PAGES_MAX) : FUSE_PAGES_MAX;
    uint32_t bytes = pages * (uint32_t)PAGE_SIZE;

    conn->minor = out->minor < FUSE_MINOR ? out->minor : FUSE_MINOR;
    conn->flags = out->flags & FLAGS_OFFERED;
    conn->max_write = within(out->max_write, PAGE_SIZE, bytes);
    conn->max_read = conn->options.max_read ? within(conn->options.max_read, PAGE_SIZE, bytes) : bytes;
    if (out->max_background)
        conn->max_background = within(out->max_background, 1, FUSE_BACKGROUND_MAX);
}

static void init_done(struct fuse_request *request)
{
    struct fuse_conn *conn = request->conn;
    struct fuse_init_out out = {.major = 0};

    memcpy(&out, request->out, min_u64(request->out_length, sizeof(out)));
    bool good = init_acceptable(request, &out);
    spin_lock(&conn->lock);
    if (good)
        init_take_locked(conn, &out);
    conn->initialised = true;
    conn->refused = !good && conn->connected; /* not: cut off before there was an answer */
    bool moved = fuse_background_flow_locked(conn);
    spin_unlock(&conn->lock);
    waitq_wake_all(&conn->init_waiters);
    if (!good)
        fuse_conn_abort(conn, false);
    else if (moved)
        fuse_conn_announce(conn);
}

int fuse_conn_start(struct fuse_conn *conn)
{
    struct fuse_request *request = fuse_request_create(conn, FUSE_INIT, 0, sizeof(struct fuse_init_in), sizeof(struct fuse_init_out));
    struct fuse_init_in *in;

    if (!request)
        return -ENOMEM;
    in = request->in;
    *in = (struct fuse_init_in){.major = FUSE_MAJOR, .minor = FUSE_MINOR, .flags = FLAGS_OFFERED,
                                .max_readahead = FUSE_PAGES_MAX * PAGE_SIZE};
    request->out_variable = true;
    request->done = init_done;
    spin_lock(&conn->lock);
    conn->connected = true;
    spin_unlock(&conn->lock);
    fuse_send(request);
    return 0;
}

/* --- the end ----------------------------------------------------------------------------------------- */

/* One request that is to end, taken off its list, or NULL. The caller has the list's reference now. */
static struct fuse_request *victim_locked(struct fuse_conn *conn)
{
    struct fuse_request *victim = NULL;

    if (!list_empty(&conn->pending))
        victim = LIST_ENTRY(conn->pending.next, struct fuse_request, link);
    else if (!list_empty(&conn->background))
        victim = LIST_ENTRY(conn->background.next, struct fuse_request, link);
    for (uint32_t i = 0; i < FUSE_BUCKETS && !victim; i++)
        if (!list_empty(&conn->sent[i]))
            victim = LIST_ENTRY(conn->sent[i].next, struct fuse_request, link);
    if (victim)
        fuse_take_off_locked(victim);
    return victim;
}

static void requests_fail(struct fuse_conn *conn)
{
    struct fuse_request *victim;

    do {
        spin_lock(&conn->lock);
        victim = victim_locked(conn);
        spin_unlock(&conn->lock);
        if (victim)
            fuse_finish(victim, -ECONNABORTED);
    } while (victim);
}

static void forgets_drop(struct fuse_conn *conn)
{
    struct list *link;

    do {
        spin_lock(&conn->lock);
        link = list_pop_front(&conn->forgets);
        spin_unlock(&conn->lock);
        if (link)
            kfree(LIST_ENTRY(link, struct fuse_node, forget_link));
    } while (link);
}

/* Who polls a file of it sees an error. */
static void polls_announce(struct fuse_conn *conn)
{
    spin_lock(&conn->lock);
    LIST_FOR_EACH(link, &conn->polls)
        knote_notify(&LIST_ENTRY(link, struct fuse_handle, poll_link)->knotes, EVENT_ERROR);
    LIST_FOR_EACH(link, &conn->devices)
        knote_notify(&LIST_ENTRY(link, struct fuse_device, link)->knotes, EVENT_ERROR | EVENT_READ);
    spin_unlock(&conn->lock);
}

void fuse_conn_abort(struct fuse_conn *conn, bool forced)
{
    spin_lock(&conn->lock);
    bool was_connected = conn->connected;
    conn->connected = false;
    conn->initialised = true;
    if (was_connected)
        conn->aborted = forced;
    spin_unlock(&conn->lock);
    waitq_wake_all(&conn->init_waiters);
    waitq_wake_all(&conn->readers);
    requests_fail(conn);
    forgets_drop(conn);
    polls_announce(conn);
}

void fuse_conn_close(struct fuse_conn *conn)
{
    spin_lock(&conn->lock);
    conn->closing = true;
    bool now = !conn->live;
    spin_unlock(&conn->lock);
    if (now)
        fuse_conn_abort(conn, false);
}

/* --- what a program does not know -------------------------------------------------------------------- */

/* What may be missing from a whole program; other operations it may refuse one file and not another. */
static const uint64_t optional_operations =
    (uint64_t)1 << FUSE_FSYNC | (uint64_t)1 << FUSE_FSYNCDIR | (uint64_t)1 << FUSE_SETXATTR | (uint64_t)1 << FUSE_GETXATTR |
    (uint64_t)1 << FUSE_LISTXATTR | (uint64_t)1 << FUSE_REMOVEXATTR | (uint64_t)1 << FUSE_FLUSH | (uint64_t)1 << FUSE_GETLK |
    (uint64_t)1 << FUSE_SETLK | (uint64_t)1 << FUSE_SETLKW | (uint64_t)1 << FUSE_ACCESS | (uint64_t)1 << FUSE_CREATE |
    (uint64_t)1 << FUSE_INTERRUPT | (uint64_t)1 << FUSE_POLL | (uint64_t)1 << FUSE_FALLOCATE | (uint64_t)1 << FUSE_RENAME2 |
    (uint64_t)1 << FUSE_LSEEK | (uint64_t)1 << FUSE_COPY_FILE_RANGE | (uint64_t)1 << FUSE_OPEN | (uint64_t)1 << FUSE_OPENDIR |
    (uint64_t)1 << FUSE_READDIRPLUS | (uint64_t)1 << FUSE_SYNCFS;

bool fuse_missing(struct fuse_conn *conn, uint32_t operation)
{
    return atomic64_load_relaxed(&conn->missing) >> (operation % FUSE_OPERATIONS) & 1;
}

void fuse_mark_missing(struct fuse_conn *conn, uint32_t operation)
{
    atomic64_or(&conn->missing, optional_operations & (uint64_t)1 << (operation % FUSE_OPERATIONS));
}
