/*
 * O_ASYNC: who wants a signal when an open file becomes ready (fcntl(2), F_SETOWN, F_SETSIG).
 *
 * A file that wants it has a knote on what it is a file of, like anything else that waits for readiness. The knote runs in
 * no place where a signal could be sent, so it counts what came, one counter per kind, and queues work; the work sends as
 * many signals as were counted. A signal that finds the queue full becomes a plain SIGIO, and the rest of the count is
 * dropped, as it could only do the same.
 *
 * Life: the record belongs to the file and comes with the first F_SETOWN, F_SETSIG or O_ASYNC. Work under way holds a
 * reference, and knows nothing of the file; who closes the file takes the knote away and sets `ended`.
 */
#include "abi/linux/file_async.h"

#include "abi/linux/process_life.h"
#include "kernel/alloc.h"
#include "kernel/async.h"

/* As in siginfo: POLL_IN and its kind. */
enum async_kind { ASYNC_IN, ASYNC_OUT, ASYNC_MESSAGE, ASYNC_ERROR, ASYNC_PRIORITY, ASYNC_HANGUP, ASYNC_KINDS };
#define SEND_MAX 65536u /* of one kind at a time: more than any queue of signals holds */

/* Small codes mean something else in these. */
#define SIGNALS_WITH_CODES                                                                                                               \
    (sigset_of(LINUX_SIGILL) | sigset_of(LINUX_SIGTRAP) | sigset_of(LINUX_SIGBUS) | sigset_of(LINUX_SIGFPE) | sigset_of(LINUX_SIGSEGV) | \
     sigset_of(LINUX_SIGCHLD) | sigset_of(LINUX_SIGSYS))

static const struct {
    uint32_t events; /* any of these */
    uint32_t band;   /* si_band */
} kinds[ASYNC_KINDS] = {
    [ASYNC_IN] = {EVENT_READ, EVENT_READ | EVENT_READ_NORMAL},
    [ASYNC_OUT] = {EVENT_WRITE, EVENT_WRITE | EVENT_WRITE_NORMAL | EVENT_WRITE_BAND},
    [ASYNC_MESSAGE] = {0, EVENT_READ | EVENT_READ_NORMAL | 0x400},
    [ASYNC_ERROR] = {EVENT_ERROR, EVENT_ERROR},
    [ASYNC_PRIORITY] = {EVENT_PRIORITY, EVENT_PRIORITY | EVENT_READ_BAND},
    [ASYNC_HANGUP] = {EVENT_HANGUP, EVENT_HANGUP | EVENT_ERROR},
};

struct file_async {
    struct object object;
    struct knote knote;
    bool on;               /* under the file's mutex: the knote is where it belongs */
    struct async_work work;
    struct atomic32 counts[ASYNC_KINDS];
    struct atomic32 ended;
    struct mutex mutex;    /* rank EVENT_FILE: what follows */
    struct file_owner owner;
    uint32_t uid, euid;    /* of who named the owner */
    int32_t signal;        /* 0: SIGIO without details */
    int32_t fd;            /* by which it was turned on */
};

static void async_destroy(struct object *object) { kfree(CONTAINER_OF(object, struct file_async, object)); }
static const struct object_type async_type = {.name = "async", .destroy = async_destroy};

/* --- sending ----------------------------------------------------------------------------------------- */

struct shot {
    struct file_owner owner;
    uint32_t uid, euid;
    int32_t signal, fd;
};

static bool may_send(const struct shot *shot, struct process *process)
{
    struct cred *target = process_cred(process);
    bool may = target && (!shot->euid || shot->euid == target->suid || shot->euid == target->uid || shot->uid == target->suid ||
                          shot->uid == target->uid);

    object_unref(target);
    return may;
}

static int send_to(struct process *process, struct lthread *thread, int signal, const struct linux_siginfo *info)
{
    return thread ? signal_send_thread(thread, signal, info) : signal_send_process(process, signal, info);
}

/* False: the queue of signals was full. */
static bool send_one(const struct shot *shot, enum async_kind kind, struct process *process, struct lthread *thread)
{
    bool codes_taken = shot->signal && (SIGNALS_WITH_CODES & sigset_of(shot->signal));
    struct linux_siginfo info = {.code = codes_taken ? LINUX_SI_SIGIO : (int32_t)kind + 1};

    if (!process->signals || !may_send(shot, process))
        return true;
    info.poll.band = kinds[kind].band;
    info.poll.fd = shot->fd;
    if (shot->signal && !send_to(process, thread, shot->signal, &info))
        return true;
    send_to(process, thread, LINUX_SIGIO, NULL);
    return !shot->signal;
}

static bool send_to_group(const struct shot *shot, enum async_kind kind)
{
    bool room = true;

    mutex_lock(&process_tree_lock);
    LIST_FOR_EACH (node, &process_all) {
        struct process *process = LIST_ENTRY(node, struct process, all_link);
        if (process->pgid == shot->owner.id && process->signals)
            room &= send_one(shot, kind, process, NULL);
    }
    mutex_unlock(&process_tree_lock);
    return room;
}

static bool send_to_owner(const struct shot *shot, enum async_kind kind)
{
    bool room = true;

    if (shot->owner.type == FILE_OWNER_GROUP)
        return send_to_group(shot, kind);
    if (shot->owner.type == FILE_OWNER_THREAD) {
        struct lthread *thread = thread_find(shot->owner.id);
        if (thread)
            room = send_one(shot, kind, thread->process, thread);
        object_unref(thread);
    } else {
        struct process *process = process_find(shot->owner.id);
        if (process)
            room = send_one(shot, kind, process, NULL);
        object_unref(process);
    }
    return room;
}

static void send_all(struct async_work *work)
{
    struct file_async *async = CONTAINER_OF(work, struct file_async, work);
    struct shot shot;

    mutex_lock(&async->mutex);
    shot = (struct shot){.owner = async->owner, .uid = async->uid, .euid = async->euid, .signal = async->signal, .fd = async->fd};
    mutex_unlock(&async->mutex);
    for (uint32_t kind = 0; kind < ASYNC_KINDS; kind++) {
        uint32_t count = atomic32_swap(&async->counts[kind], 0);
        bool room = shot.owner.id && !atomic32_load_acquire(&async->ended);
        for (uint32_t i = 0; room && i < count && i < SEND_MAX; i++)
            room = send_to_owner(&shot, (enum async_kind)kind);
    }
    object_unref(async);
}

/* List lock held. */
static bool activate(struct knote *knote, uint32_t events)
{
    struct file_async *async = CONTAINER_OF(knote, struct file_async, knote);
    bool any = false;

    for (uint32_t kind = 0; kind < ASYNC_KINDS; kind++) {
        if (!(events & kinds[kind].events))
            continue;
        atomic32_add(&async->counts[kind], 1);
        any = true;
    }
    if (!any)
        return false;
    object_ref(async);
    if (!kernel_async(&async->work))
        object_unref(async); /* it runs once, and holds a reference: this was not the last */
    return true;
}

/* --- a file's record --------------------------------------------------------------------------------- */

static struct file_async *record_of(struct file *file) { return atomic_ptr_load_acquire(&file->async); }

/* The record, made when there is none; file->mutex held. NULL: no memory. */
static struct file_async *record_make_locked(struct file *file)
{
    struct file_async *async = record_of(file);

    if (async)
        return async;
    async = kzalloc(sizeof(*async));
    if (!async)
        return NULL;
    object_init(&async->object, &async_type);
    mutex_init(&async->mutex, RANK_EVENT_FILE);
    async_work_init(&async->work, send_all);
    list_init(&async->knote.link);
    async->knote.activate = activate;
    atomic_ptr_store_release(&file->async, async);
    return async;
}

/* Which events are those of this end. */
static uint32_t interest_of(struct file *file)
{
    return (file_readable(file) ? EVENT_READ | EVENT_PRIORITY : 0) | (file_writable(file) ? EVENT_WRITE : 0);
}

int file_async_switch(struct file *file, int fd, bool on)
{
    struct knote_list *knotes = file->ops->async ? file_knotes(file) : NULL;
    struct file_async *async;
    bool was;

    if (!knotes || (!on && !record_of(file)))
        return 0;
    mutex_lock(&file->mutex);
    async = record_make_locked(file);
    if (!async) {
        mutex_unlock(&file->mutex);
        return -ENOMEM;
    }
    mutex_lock(&async->mutex);
    async->fd = fd;
    mutex_unlock(&async->mutex);
    was = async->on;
    async->on = on;
    async->knote.interest = was ? async->knote.interest : interest_of(file);
    if (on && !was)
        knote_add(knotes, &async->knote);
    else if (!on && was)
        knote_remove(&async->knote);
    mutex_unlock(&file->mutex);
    return 0;
}

int file_async_set_owner(struct file *file, struct file_owner owner)
{
    const struct cred *cred = current_cred();
    struct file_async *async;

    mutex_lock(&file->mutex);
    async = record_make_locked(file);
    mutex_unlock(&file->mutex);
    if (!async)
        return -ENOMEM;
    mutex_lock(&async->mutex);
    async->owner = owner;
    async->uid = cred ? cred->uid : 0;
    async->euid = cred ? cred->euid : 0;
    mutex_unlock(&async->mutex);
    return 0;
}

struct file_owner file_async_owner(struct file *file)
{
    struct file_async *async = record_of(file);
    struct file_owner owner = {.type = FILE_OWNER_PROCESS};

    if (!async)
        return owner;
    mutex_lock(&async->mutex);
    if (async->owner.id)
        owner = async->owner;
    mutex_unlock(&async->mutex);
    return owner;
}

int file_async_set_signal(struct file *file, int32_t signal)
{
    struct file_async *async;

    mutex_lock(&file->mutex);
    async = record_make_locked(file);
    mutex_unlock(&file->mutex);
    if (!async)
        return -ENOMEM;
    mutex_lock(&async->mutex);
    async->signal = signal;
    mutex_unlock(&async->mutex);
    return 0;
}

int32_t file_async_signal(struct file *file)
{
    struct file_async *async = record_of(file);
    int32_t signal;

    if (!async)
        return 0;
    mutex_lock(&async->mutex);
    signal = async->signal;
    mutex_unlock(&async->mutex);
    return signal;
}

void file_async_gone(struct file *file)
{
    struct file_async *async = record_of(file);

    knote_remove(&async->knote);
    atomic32_store(&async->ended, 1);
    object_unref(async);
}
