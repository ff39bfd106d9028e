/*
 * Descriptors in flight: files that wait in messages (SCM_RIGHTS, unix(7)).
 *
 * While they fly, the files are counted against the sender's RLIMIT_NOFILE, and a socket among them knows how
 * many messages carry it: what the search for unreachable sockets (unix_gc.c) needs. Files are let go one after
 * the other: a socket that dies so may hold messages with more sockets, to any depth, and that must not become
 * recursion, so what a thread drops while it is dropping waits for its turn.
 */
#include "abi/linux/unix_gc.h"
#include "abi/linux/unix_socket.h"

#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"

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

struct dropper { /* a thread that is letting go, on its stack */
    struct list link;
    struct thread *thread;
    struct list rights; /* struct unix_rights.link */
};

static struct spinlock drop_lock = SPINLOCK_INIT(RANK_POOL); /* guards the droppers and their lists */
static struct list droppers = {&droppers, &droppers};

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
    bool user = current_process(); /* else the kernel itself, for an event channel */
    bool privileged = !user || capable(LINUX_CAP_SYS_RESOURCE) || capable(LINUX_CAP_SYS_ADMIN);
    uint64_t limit = privileged ? UINT64_MAX : rlimit(LINUX_RLIMIT_NOFILE);
    uint32_t uid = user ? current_cred()->uid : 0;
    struct flyer *flyer;
    int error = 0;

    mutex_lock(&unix_flight_mutex);
    flyer = flyer_find(uid);
    if (!flyer)
        error = -ENOMEM;
    else if (flyer->files > limit)
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

static struct dropper *dropper_find_locked(struct thread *thread)
{
    LIST_FOR_EACH(link, &droppers) {
        struct dropper *dropper = LIST_ENTRY(link, struct dropper, link);
        if (dropper->thread == thread)
            return dropper;
    }
    return NULL;
}

/* The next of this thread's, or NULL: then it drops no more. */
static struct unix_rights *drop_next(struct dropper *dropper)
{
    struct list *link;

    spin_lock(&drop_lock);
    link = list_pop_front(&dropper->rights);
    if (!link)
        list_remove(&dropper->link);
    spin_unlock(&drop_lock);
    return link ? LIST_ENTRY(link, struct unix_rights, link) : NULL;
}

static void rights_free(struct unix_rights *rights)
{
    unix_rights_land(rights);
    for (uint32_t i = 0; i < rights->count; i++)
        if (rights->files[i])
            file_unref(rights->files[i]);
    kfree(rights);
}

void unix_rights_drop(struct unix_rights *rights)
{
    struct dropper self = {.thread = thread_current()}, *outer;

    if (!rights)
        return;
    list_init(&self.rights);
    spin_lock(&drop_lock);
    outer = dropper_find_locked(self.thread);
    list_push_back(outer ? &outer->rights : &self.rights, &rights->link);
    if (!outer)
        list_push_back(&droppers, &self.link);
    spin_unlock(&drop_lock);
    while (!outer && (rights = drop_next(&self)))
        rights_free(rights);
}
