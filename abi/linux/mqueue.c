/*
 * POSIX message queues: names, messages by priority, waiting, notification, and the files through which they are reached.
 *
 * Whoever waits looks again after every change of the queue. A process that has asked to be told is told once, when a message
 * comes to an empty queue that nobody waits to receive from (mq_notify(3)); the request ends when it closes a descriptor of the
 * queue, as on Linux.
 */
#include "abi/linux/mqueue.h"
#include "abi/linux/anon.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process_life.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define QUEUES_MAX 256u
#define MESSAGES_DEFAULT 10
#define SIZE_DEFAULT 8192
#define MESSAGES_HARD_MAX 65536
#define SIZE_HARD_MAX (16 << 20)
#define OVERHEAD 96u /* what a message counts for besides its bytes, as on Linux */
#define STATUS_SIZE 80

struct mqueue {
    struct object object;
    uint64_t inode, size_max, messages_max; /* constant */
    uint32_t uid, gid, mode;
    struct file_time created;
    /* under mq_lock */
    struct list link;     /* names */
    struct list all_link; /* living: named or still open somewhere */
    char *name;           /* constant */
    struct list messages; /* highest priority first, older first */
    uint64_t count, bytes;
    uint32_t receiving; /* threads that wait for a message */
    struct waitq senders, receivers;
    struct knote_list knotes;
    const struct process *notified; /* only compared; a reference is not needed, its end closes its files */
    struct process *target;         /* the same, referenced */
    int32_t notify_signal;
    uint64_t notify_value;
};

static struct mutex mq_lock; /* rank EVENT_FILE */
static struct list names;    /* struct mqueue.link */
static struct list living;   /* struct mqueue.all_link */
static uint32_t living_count;

void mqueue_system_init(void)
{
    mutex_init(&mq_lock, RANK_EVENT_FILE);
    list_init(&names);
    list_init(&living);
}

/* --- life -------------------------------------------------------------------------------------------- */

static void mqueue_destroy(struct object *object)
{
    struct mqueue *queue = CONTAINER_OF(object, struct mqueue, object);

    mutex_lock(&mq_lock);
    if (list_linked(&queue->all_link)) {
        list_remove(&queue->all_link);
        living_count--;
    }
    mutex_unlock(&mq_lock);
    for (struct list *node; (node = list_pop_front(&queue->messages));)
        kfree(LIST_ENTRY(node, struct mq_message, link));
    knote_list_close(&queue->knotes);
    object_unref(queue->target);
    kfree(queue->name);
    kfree(queue);
}

static const struct object_type mqueue_type = {.name = "posix message queue", .destroy = mqueue_destroy};

static struct mqueue *mqueue_create(const char *name, uint32_t mode, const struct mq_attributes *limits)
{
    struct mqueue *queue = kzalloc(sizeof *queue);

    if (!queue)
        return NULL;
    object_init(&queue->object, &mqueue_type);
    list_init(&queue->link);
    list_init(&queue->all_link);
    list_init(&queue->messages);
    waitq_init(&queue->senders);
    waitq_init(&queue->receivers);
    knote_list_init(&queue->knotes);
    queue->name = kstrdup(name);
    if (!queue->name) {
        object_unref(queue);
        return NULL;
    }
    queue->inode = anon_inode_next();
    queue->uid = current_cred()->fsuid;
    queue->gid = current_cred()->fsgid;
    queue->mode = mode;
    queue->created = wall_time();
    queue->messages_max = limits ? (uint64_t)limits->messages_max : MESSAGES_DEFAULT;
    queue->size_max = limits ? (uint64_t)limits->size_max : SIZE_DEFAULT;
    return queue;
}

uint64_t mqueue_size_max(const struct mqueue *queue) { return queue->size_max; }

/* --- waiting, sending, receiving --------------------------------------------------------------------- */

static int wait_locked(struct waitq *waitq, bool nonblock, nanoseconds_t deadline)
{
    if (nonblock)
        return -EAGAIN;
    int error = waitq_sleep(waitq, &mq_lock, deadline, WAIT_INTERRUPTIBLE);
    return error == -EINTR ? -ERESTARTSYS : error;
}

static void forget_request_locked(struct mqueue *queue, struct process **target)
{
    *target = queue->target;
    queue->target = NULL;
    queue->notified = NULL;
}

/* A message has come to the empty queue: the process to tell and how, or NULL. Its reference is the caller's. */
static struct process *tell_locked(struct mqueue *queue, struct linux_siginfo *info)
{
    struct process *target = NULL;

    if (!queue->notified || queue->receiving)
        return NULL;
    *info = (struct linux_siginfo){.signo = queue->notify_signal, .code = LINUX_SI_MESGQ};
    info->rt.pid = current_process()->pid;
    info->rt.uid = current_cred()->uid;
    info->rt.value = queue->notify_value;
    forget_request_locked(queue, &target);
    return target;
}

static void insert_locked(struct mqueue *queue, struct mq_message *message)
{
    struct list *after = queue->messages.prev;

    while (after != &queue->messages && LIST_ENTRY(after, struct mq_message, link)->priority < message->priority)
        after = after->prev;
    list_push_front(after, &message->link); /* behind `after`: a list's head is a link like any other */
    queue->count++;
    queue->bytes += message->size;
}

int mqueue_send(struct mqueue *queue, struct mq_message *message, bool nonblock, nanoseconds_t deadline)
{
    struct process *target = NULL;
    struct linux_siginfo info;
    int error = 0;

    mutex_lock(&mq_lock);
    while (queue->count >= queue->messages_max && !error)
        error = wait_locked(&queue->senders, nonblock, deadline);
    if (!error) {
        if (queue->count == 0)
            target = tell_locked(queue, &info);
        insert_locked(queue, message);
        waitq_wake_one(&queue->receivers);
        knote_notify(&queue->knotes, EVENT_READ | EVENT_READ_NORMAL);
    } else if (queue->count < queue->messages_max) {
        waitq_wake_one(&queue->senders); /* the wake-up that came with the room may have been ours */
    }
    mutex_unlock(&mq_lock);
    if (target && info.signo)
        signal_send_process(target, info.signo, &info);
    object_unref(target);
    return error;
}

int mqueue_receive(struct mqueue *queue, bool nonblock, nanoseconds_t deadline, struct mq_message **message)
{
    int error = 0;

    mutex_lock(&mq_lock);
    queue->receiving++;
    while (list_empty(&queue->messages) && !error)
        error = wait_locked(&queue->receivers, nonblock, deadline);
    queue->receiving--;
    if (!error) {
        *message = LIST_ENTRY(list_pop_front(&queue->messages), struct mq_message, link);
        queue->count--;
        queue->bytes -= (*message)->size;
        waitq_wake_one(&queue->senders);
        knote_notify(&queue->knotes, EVENT_WRITE | EVENT_WRITE_NORMAL);
    } else if (!list_empty(&queue->messages)) {
        waitq_wake_one(&queue->receivers); /* the wake-up that came with it may have been ours */
    }
    mutex_unlock(&mq_lock);
    return error;
}

/* --- being told -------------------------------------------------------------------------------------- */

int mqueue_notify(struct mqueue *queue, int32_t signal, uint64_t value)
{
    struct process *process = current_process();
    int error = 0;

    mutex_lock(&mq_lock);
    if (queue->notified)
        error = -EBUSY;
    if (!error) {
        queue->notified = process;
        queue->target = object_ref(process);
        queue->notify_signal = signal;
        queue->notify_value = value;
    }
    mutex_unlock(&mq_lock);
    return error;
}

void mqueue_notify_not(struct mqueue *queue, const struct process *process)
{
    struct process *target = NULL;

    mutex_lock(&mq_lock);
    if (queue->notified == process)
        forget_request_locked(queue, &target);
    mutex_unlock(&mq_lock);
    object_unref(target);
}

/* --- files ------------------------------------------------------------------------------------------- */

static int64_t mqueue_read(struct file *file, struct io *io, int64_t *position)
{
    struct mqueue *queue = file->data;
    char text[STATUS_SIZE + 16];

    mutex_lock(&mq_lock);
    format(text, sizeof text, "QSIZE:%-10llu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", (unsigned long long)queue->bytes,
           queue->target && !queue->notify_signal ? 1 : 0, queue->target ? queue->notify_signal : 0, queue->target ? queue->target->pid : 0);
    mutex_unlock(&mq_lock);
    uint64_t length = strlen(text), at = min_u64((uint64_t)*position, length), size = min_u64(length - at, io_left(io));
    size_t moved = size ? io_put(io, text + at, size) : 0;
    if (moved < size)
        return -EFAULT;
    *position += (int64_t)moved;
    return (int64_t)moved;
}

static int64_t mqueue_seek(struct file *file, int64_t offset, int whence)
{
    int64_t base = whence == 0 ? 0 : whence == 1 ? file->position : whence == 2 ? STATUS_SIZE : -1;

    if (base < 0 || base + offset < 0)
        return -EINVAL;
    file->position = base + offset;
    return file->position;
}

static uint32_t mqueue_poll(struct file *file)
{
    struct mqueue *queue = file->data;

    mutex_lock(&mq_lock);
    uint32_t events = queue->count ? EVENT_READ | EVENT_READ_NORMAL : 0;
    if (queue->count < queue->messages_max)
        events |= EVENT_WRITE | EVENT_WRITE_NORMAL;
    mutex_unlock(&mq_lock);
    return events;
}

static struct knote_list *mqueue_knotes(struct file *file)
{
    struct mqueue *queue = file->data;
    return &queue->knotes;
}

static int mqueue_stat(struct file *file, struct linux_stat_data *stat)
{
    struct mqueue *queue = file->data;

    anon_stat(stat, ANON_DEVICE_OTHER, queue->inode, LINUX_S_IFREG | queue->mode, queue->uid, queue->gid, queue->created);
    stat->size = STATUS_SIZE;
    return 0;
}

static int mqueue_flush(struct file *file, struct process *process)
{
    mqueue_notify_not(file->data, process);
    return 0;
}

static void mqueue_release(struct file *file) { object_unref(file->data); }

static const struct file_ops mqueue_ops = {
    .kind = "mqueue",
    .read = mqueue_read,
    .seek = mqueue_seek,
    .poll = mqueue_poll,
    .knotes = mqueue_knotes,
    .stat = mqueue_stat,
    .flush = mqueue_flush,
    .release = mqueue_release,
};

int mqueue_of(struct file *file, struct mqueue **queue)
{
    if (file->ops != &mqueue_ops)
        return -EBADF;
    *queue = file->data;
    return 0;
}

void mqueue_show(struct mqueue *queue, struct mq_attributes *attributes)
{
    mutex_lock(&mq_lock);
    *attributes = (struct mq_attributes){.messages_max = (int64_t)queue->messages_max, .size_max = (int64_t)queue->size_max,
                                         .messages = (int64_t)queue->count};
    mutex_unlock(&mq_lock);
}

/* --- names ------------------------------------------------------------------------------------------- */

static struct mqueue *find_locked(const char *name)
{
    LIST_FOR_EACH(node, &names) {
        struct mqueue *queue = LIST_ENTRY(node, struct mqueue, link);
        if (!strcmp(queue->name, name))
            return queue;
    }
    return NULL;
}

static int check_access(const struct mqueue *queue, uint32_t flags)
{
    static const uint32_t wanted_of[] = {4, 2, 6};
    const struct cred *cred = current_cred();
    uint32_t wanted = wanted_of[flags & LINUX_O_ACCMODE], granted = queue->mode;

    if (cred->fsuid == queue->uid)
        granted >>= 6;
    else if (cred_in_group(cred, queue->gid))
        granted >>= 3;
    return (wanted & ~granted) && !capable(LINUX_CAP_DAC_OVERRIDE) ? -EACCES : 0;
}

static int check_limits(const struct mq_attributes *limits)
{
    bool privileged = capable(LINUX_CAP_SYS_RESOURCE);

    if (!limits)
        return 0;
    if (limits->messages_max <= 0 || limits->size_max <= 0)
        return -EINVAL;
    if (limits->messages_max > (privileged ? MESSAGES_HARD_MAX : MESSAGES_DEFAULT))
        return -EINVAL;
    return limits->size_max > (privileged ? SIZE_HARD_MAX : SIZE_DEFAULT) ? -EINVAL : 0;
}

static uint64_t charge(const struct mqueue *queue) { return queue->messages_max * (queue->size_max + OVERHEAD); }

/* RLIMIT_MSGQUEUE is for all queues of a user that live, for all that they could hold. */
static int check_room_locked(const struct mqueue *fresh, uint64_t limit)
{
    uint64_t used = charge(fresh);

    if (living_count >= QUEUES_MAX && !capable(LINUX_CAP_SYS_RESOURCE))
        return -ENOSPC;
    LIST_FOR_EACH(node, &living) {
        const struct mqueue *queue = LIST_ENTRY(node, struct mqueue, all_link);
        used += queue->uid == fresh->uid ? charge(queue) : 0;
    }
    return used > limit ? -EMFILE : 0;
}

/* The queue to open, referenced; `fresh` is entered if there is none of its name. */
static int find_or_enter(const char *name, uint32_t flags, struct mqueue *fresh, uint64_t limit, struct mqueue **result)
{
    int error = 0;

    mutex_lock(&mq_lock);
    struct mqueue *queue = find_locked(name);
    if (queue && (flags & LINUX_O_CREAT) && (flags & LINUX_O_EXCL))
        error = -EEXIST;
    else if (queue)
        error = check_access(queue, flags);
    else
        error = fresh ? check_room_locked(fresh, limit) : -ENOENT;
    if (!error && !queue) {
        queue = fresh;
        object_ref(fresh); /* the name's */
        list_push_back(&names, &fresh->link);
        list_push_back(&living, &fresh->all_link);
        living_count++;
    }
    *result = error ? NULL : object_ref(queue);
    mutex_unlock(&mq_lock);
    return error;
}

int mqueue_open(const char *name, uint32_t flags, uint32_t mode, const struct mq_attributes *limits, struct file **file)
{
    uint64_t limit = rlimit(LINUX_RLIMIT_MSGQUEUE);
    struct mqueue *fresh = NULL, *queue;
    int error = flags & LINUX_O_CREAT ? check_limits(limits) : 0;

    if (!error && (flags & LINUX_O_CREAT)) {
        fresh = mqueue_create(name, mode & 0777 & ~atomic32_load_relaxed(&current_process()->fs->umask), limits);
        error = fresh ? 0 : -ENOMEM;
    }
    if (!error)
        error = find_or_enter(name, flags, fresh, limit, &queue);
    object_unref(fresh);
    if (error)
        return error;
    *file = file_create(&mqueue_ops, flags & (LINUX_O_ACCMODE | LINUX_O_NONBLOCK), queue);
    if (!*file)
        object_unref(queue);
    return *file ? 0 : -ENOMEM;
}

int mqueue_unlink(const char *name)
{
    mutex_lock(&mq_lock);
    struct mqueue *queue = find_locked(name);
    int error = queue ? 0 : -ENOENT;
    if (!error && current_cred()->fsuid != queue->uid && !capable(LINUX_CAP_FOWNER))
        error = -EPERM;
    if (!error)
        list_remove(&queue->link);
    mutex_unlock(&mq_lock);
    if (!error)
        object_unref(queue);
    return error;
}
