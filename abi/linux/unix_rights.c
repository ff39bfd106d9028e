/*
 * Descriptors in flight: files that wait in messages (SCM_RIGHTS, unix(7)).
 *
 * While they fly, the files are counted against the sender's RLIMIT_NOFILE, and a socket among them knows how
 * many messages carry it: what the search for unreachable sockets (unix_gc.c) needs. Files are let go by
 * deferred work, one after the other: a socket that dies so may hold messages with more sockets, to any depth,
 * and that must not become recursion.
 */
#include "abi/linux/unix_gc.h"
#include "abi/linux/unix_socket.h"

#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/async.h"

struct flyer { /* how many files one user has in flight */
    struct list link;
    uint32_t uid;
    uint64_t files;
};

struct mutex unix_flight_mutex = {
    .state_lock = SPINLOCK_INIT(RANK_WAITQ),
    .waiters = {&unix_flight_mutex.waiters, &unix_flight_mutex.waiters},
    .rank = RANK_SOCKET_FLIGHT,
};
struct list unix_flight_sockets = {&unix_flight_sockets, &unix_flight_sockets};

static struct list flyers = {&flyers, &flyers}; /* under unix_flight_mutex */

static struct spinlock drop_lock = SPINLOCK_INIT(RANK_POOL); /* guards drop_list */
static struct list drop_list = {&drop_list, &drop_list};
static void drop_run(struct async_work *work);
static struct async_work drop_work = {.link = {&drop_work.link, &drop_work.link}, .function = drop_run};

static size_t rights_size(uint32_t count) { return offsetof(struct unix_rights, files) + count * sizeof(struct file *); }

int unix_rights_extend(struct unix_rights **rights, uint32_t count)
{
    uint32_t old = *rights ? (*rights)->count : 0;
    struct unix_rights *larger;

    if (count > UNIX_RIGHTS_MAX || old + count > UNIX_RIGHTS_MAX)
        return -EINVAL;
    larger = krealloc(*rights, rights_size(old + count));
    if (!larger)
        return -ENOMEM;
    if (!*rights)
        larger->count = 0;
    list_init(&larger->link);
    larger->flying = false;
    *rights = larger;
    return 0;
}

/* --- counting ---------------------------------------------------------------------------------------- */

static struct flyer *flyer_find(uint32_t uid)
{
    struct flyer *flyer;

    LIST_FOR_EACH(link, &flyers) {
        flyer = LIST_ENTRY(link, struct flyer, link);
        if (flyer->uid == uid)
            return flyer;
    }
    flyer = kzalloc(sizeof(*flyer));
    if (!flyer)
        return NULL;
    flyer->uid = uid;
    list_push_back(&flyers, &flyer->link);
    return flyer;
}

static void flyer_count(uint32_t uid, int64_t change)
{
    struct flyer *flyer = flyer_find(uid);

    KASSERT(flyer);
    flyer->files += change;
    if (!flyer->files) {
        list_remove(&flyer->link);
        kfree(flyer);
    }
}

static void socket_flies(struct unix_socket *socket)
{
    if (socket->in_flight++ == 0)
        list_push_back(&unix_flight_sockets, &socket->flight_link);
}

static void socket_lands(struct unix_socket *socket)
{
    KASSERT(socket->in_flight > 0);
    if (--socket->in_flight == 0)
        list_remove(&socket->flight_link);
}

int unix_rights_fly(struct unix_rights *rights)
{
    uint32_t uid = current_cred()->uid;
    struct flyer *flyer;
    int error = 0;

    mutex_lock(&unix_flight_mutex);
    flyer = flyer_find(uid);
    if (!flyer)
        error = -ENOMEM;
    else if (flyer->files > rlimit(LINUX_RLIMIT_NOFILE) && !capable(LINUX_CAP_SYS_RESOURCE) && !capable(LINUX_CAP_SYS_ADMIN))
        error = -ETOOMANYREFS;
    if (!error) {
        rights->uid = uid;
        rights->flying = true;
        flyer->files += rights->count;
        for (uint32_t i = 0; i < rights->count; i++)
            if (unix_of(rights->files[i]))
                socket_flies(unix_of(rights->files[i]));
    }
    mutex_unlock(&unix_flight_mutex);
    return error;
}

void unix_rights_land(struct unix_rights *rights)
{
    if (!rights->flying)
        return;
    mutex_lock(&unix_flight_mutex);
    rights->flying = false;
    flyer_count(rights->uid, -(int64_t)rights->count);
    for (uint32_t i = 0; i < rights->count; i++)
        if (unix_of(rights->files[i]))
            socket_lands(unix_of(rights->files[i]));
    mutex_unlock(&unix_flight_mutex);
}

struct unix_rights *unix_rights_copy(const struct unix_rights *rights)
{
    struct unix_rights *copy = kalloc(rights_size(rights->count));

    if (!copy)
        return NULL;
    list_init(&copy->link);
    copy->count = rights->count;
    copy->flying = false;
    for (uint32_t i = 0; i < rights->count; i++)
        copy->files[i] = file_ref(rights->files[i]);
    return copy;
}

void unix_flight_barrier(void)
{
    mutex_lock(&unix_flight_mutex);
    mutex_unlock(&unix_flight_mutex);
}

/* --- letting go -------------------------------------------------------------------------------------- */

static struct unix_rights *drop_next(void)
{
    struct list *link;

    spin_lock(&drop_lock);
    link = list_pop_front(&drop_list);
    spin_unlock(&drop_lock);
    return link ? LIST_ENTRY(link, struct unix_rights, link) : NULL;
}

static void drop_run(struct async_work *work)
{
    struct unix_rights *rights;

    (void)work;
    while ((rights = drop_next())) {
        unix_rights_land(rights);
        for (uint32_t i = 0; i < rights->count; i++)
            if (rights->files[i])
                file_unref(rights->files[i]);
        kfree(rights);
    }
}

void unix_rights_drop(struct unix_rights *rights)
{
    if (!rights)
        return;
    spin_lock(&drop_lock);
    list_push_back(&drop_list, &rights->link);
    spin_unlock(&drop_lock);
    kernel_async(&drop_work);
}
