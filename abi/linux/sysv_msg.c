/*
 * System V message queues: msgget, msgsnd, msgrcv, msgctl.
 *
 * Senders and receivers wait on a queue each and look again after every change. User memory is read before a message enters
 * the queue and written after it has left it, as on Linux: a receiver whose buffer faults has lost the message.
 */
#include "abi/linux/calls.h"
#include "abi/linux/sysv_ipc.h"
#include "kernel/alloc.h"
#include "kernel/body.h"
#include "kernel/string.h"

enum { MSG_NOERROR = 010000, MSG_EXCEPT = 020000, MSG_COPY = 040000 };
enum { MSG_STAT = 11, MSG_INFO = 12, MSG_STAT_ANY = 13 };
#define QUEUES_MAX 1024u
#define MESSAGE_MAX 8192u
#define QUEUE_BYTES 16384u

struct message {
    struct list link; /* queue->messages */
    int64_t type;
    uint64_t size;
    uint8_t bytes[];
};

struct queue {
    struct sysv_object base;
    /* under sysv_lock */
    struct list messages;
    uint64_t bytes, count, bytes_max;
    int64_t send_time, receive_time, change_time;
    int32_t last_sender, last_receiver;
    struct waitq senders, receivers;
};

struct linux_msqid {
    struct linux_ipc_perm perm;
    int64_t send_time, receive_time, change_time;
    uint64_t bytes, count, bytes_max;
    int32_t last_sender, last_receiver;
    uint64_t unused[2];
};
_Static_assert(sizeof(struct linux_msqid) == 120, "msqid64_ds");

struct linux_msginfo {
    int32_t pool, map, max, queue_bytes, queues, segment_size, headers;
    uint16_t segments, padding;
};

static struct sysv_table queues = {.limit = QUEUES_MAX};

static struct queue *queue_of(struct sysv_object *object) { return CONTAINER_OF(object, struct queue, base); }

/* --- life -------------------------------------------------------------------------------------------- */

static void queue_destroy(struct object *object)
{
    struct queue *queue = CONTAINER_OF(object, struct queue, base.object);

    for (struct list *node; (node = list_pop_front(&queue->messages));)
        kfree(LIST_ENTRY(node, struct message, link));
    kfree(queue);
}

static const struct object_type queue_type = {.name = "message queue", .destroy = queue_destroy};

static struct sysv_object *queue_make(const struct sysv_get *get)
{
    struct queue *queue = kzalloc(sizeof *queue);

    if (!queue)
        return NULL;
    sysv_object_init(&queue->base, &queue_type, get->flags);
    list_init(&queue->messages);
    waitq_init(&queue->senders);
    waitq_init(&queue->receivers);
    queue->bytes_max = QUEUE_BYTES;
    queue->change_time = sysv_now();
    return &queue->base;
}

static int queue_fits(const struct sysv_object *object, uint64_t size)
{
    (void)object, (void)size;
    return 0;
}

int64_t sys_msgget(int32_t key, uint32_t flags)
{
    struct sysv_get get = {.key = key, .flags = flags, .fits = queue_fits, .make = queue_make};

    return sysv_get(&queues, &get);
}

/* A reference on a queue that the caller may read or write. */
static int take_queue_locked(int32_t id, uint32_t wanted, struct queue **queue)
{
    struct sysv_object *object;
    int error = sysv_find_locked(&queues, id, &object);

    if (!error)
        error = sysv_permitted_locked(object, wanted);
    if (!error)
        *queue = object_ref(queue_of(object));
    return error;
}

static int wait_locked(struct queue *queue, struct waitq *waitq)
{
    int error = waitq_sleep(waitq, &sysv_lock, DEADLINE_NEVER, WAIT_INTERRUPTIBLE);

    return queue->base.removed ? -EIDRM : error; /* never restarted */
}

/* --- sending ----------------------------------------------------------------------------------------- */

static int send_locked(struct queue *queue, struct message *message, uint32_t flags)
{
    int error = 0;

    /* Empty messages take room as well, or there could be any number of them. */
    while (!error && (queue->bytes + message->size > queue->bytes_max || queue->count + 1 > queue->bytes_max))
        error = flags & SYSV_IPC_NOWAIT ? -EAGAIN : wait_locked(queue, &queue->senders);
    if (error)
        return error;
    list_push_back(&queue->messages, &message->link);
    queue->bytes += message->size;
    queue->count++;
    queue->send_time = sysv_now();
    queue->last_sender = current_process()->pid;
    waitq_wake_all(&queue->receivers); /* each may want another type */
    return 0;
}

static int64_t send(int32_t id, struct message *message, uint32_t flags)
{
    struct queue *queue;

    mutex_lock(&sysv_lock);
    int error = take_queue_locked(id, SYSV_WRITE, &queue);
    int result = error ? error : send_locked(queue, message, flags);
    mutex_unlock(&sysv_lock);
    if (result)
        kfree(message);
    if (!error)
        object_unref(queue);
    return result;
}

int64_t sys_msgsnd(int32_t id, uaddr_t user, uint64_t size, uint32_t flags)
{
    int64_t type;

    if (size > MESSAGE_MAX || id < 0)
        return -EINVAL;
    if (user_read(&type, user, sizeof type))
        return -EFAULT;
    if (type < 1)
        return -EINVAL;
    struct message *message = kalloc(sizeof *message + size);
    if (!message)
        return -ENOMEM;
    list_init(&message->link);
    message->type = type;
    message->size = size;
    if (size && user_read(message->bytes, user + sizeof type, size)) {
        kfree(message);
        return -EFAULT;
    }
    return send(id, message, flags);
}

/* --- receiving --------------------------------------------------------------------------------------- */

struct wish {
    int64_t type;
    uint64_t size;
    uint32_t flags;
};

static bool matches(const struct wish *wish, const struct message *message)
{
    if (wish->type == 0)
        return true;
    if (wish->type > 0)
        return (message->type == wish->type) != !!(wish->flags & MSG_EXCEPT);
    return wish->type == INT64_MIN || message->type <= -wish->type;
}

/* The first that is wanted; for a negative type the first of the lowest type. */
static struct message *choose_locked(const struct queue *queue, const struct wish *wish)
{
    struct message *chosen = NULL;

    LIST_FOR_EACH(node, &queue->messages) {
        struct message *message = LIST_ENTRY(node, struct message, link);
        if (!matches(wish, message) || (chosen && message->type >= chosen->type))
            continue;
        chosen = message;
        if (wish->type >= 0)
            break;
    }
    return chosen;
}

static struct message *nth_locked(const struct queue *queue, int64_t index)
{
    LIST_FOR_EACH(node, &queue->messages) {
        if (index-- == 0)
            return LIST_ENTRY(node, struct message, link);
    }
    return NULL;
}

static int take_locked(struct queue *queue, const struct wish *wish, struct message **message)
{
    struct message *chosen;
    int error = 0;

    while (!(chosen = choose_locked(queue, wish)) && !error)
        error = wish->flags & SYSV_IPC_NOWAIT ? -ENOMSG : wait_locked(queue, &queue->receivers);
    if (error)
        return error;
    if (chosen->size > wish->size && !(wish->flags & MSG_NOERROR))
        return -E2BIG;
    list_remove(&chosen->link);
    queue->bytes -= chosen->size;
    queue->count--;
    queue->receive_time = sysv_now();
    queue->last_receiver = current_process()->pid;
    waitq_wake_all(&queue->senders); /* each may need another amount of room */
    *message = chosen;
    return 0;
}

static int copy_locked(struct queue *queue, const struct wish *wish, struct message **message)
{
    struct message *found = nth_locked(queue, wish->type);

    if (!found)
        return -ENOMSG;
    if (found->size > wish->size && !(wish->flags & MSG_NOERROR))
        return -E2BIG;
    *message = kalloc(sizeof *found + found->size);
    if (!*message)
        return -ENOMEM;
    memcpy(*message, found, sizeof *found + found->size);
    return 0;
}

static int64_t hand_over(struct message *message, uaddr_t user, uint64_t room)
{
    uint64_t size = min_u64(message->size, room);
    bool fine = !user_write(user, &message->type, sizeof message->type) &&
                (!size || !user_write(user + sizeof message->type, message->bytes, size));

    kfree(message);
    return fine ? (int64_t)size : -EFAULT;
}

int64_t sys_msgrcv(int32_t id, uaddr_t user, uint64_t size, int64_t type, uint32_t flags)
{
    struct wish wish = {type, size, flags};
    struct message *message = NULL;
    struct queue *queue;

    if (id < 0 || size > INT64_MAX)
        return -EINVAL;
    if ((flags & MSG_COPY) && ((flags & MSG_EXCEPT) || !(flags & SYSV_IPC_NOWAIT)))
        return -EINVAL;
    mutex_lock(&sysv_lock);
    int error = take_queue_locked(id, SYSV_READ, &queue);
    int result = error ? error : flags & MSG_COPY ? copy_locked(queue, &wish, &message) : take_locked(queue, &wish, &message);
    mutex_unlock(&sysv_lock);
    if (!error)
        object_unref(queue);
    return result ? result : hand_over(message, user, size);
}

/* --- msgctl ------------------------------------------------------------------------------------------ */

static int64_t show(int32_t id, enum sysv_shown how, uaddr_t buffer)
{
    struct linux_msqid out = {0};
    struct sysv_object *object;

    mutex_lock(&sysv_lock);
    int error = sysv_find_shown_locked(&queues, id, how, &object);
    if (!error) {
        struct queue *queue = queue_of(object);
        sysv_show_locked(object, &out.perm);
        out.send_time = queue->send_time;
        out.receive_time = queue->receive_time;
        out.change_time = queue->change_time;
        out.bytes = queue->bytes;
        out.count = queue->count;
        out.bytes_max = queue->bytes_max;
        out.last_sender = queue->last_sender;
        out.last_receiver = queue->last_receiver;
        id = how == SYSV_SHOWN_BY_ID ? 0 : object->id;
    }
    mutex_unlock(&sysv_lock);
    if (error)
        return error;
    return user_write(buffer, &out, sizeof out) ? -EFAULT : id;
}

bool sysv_msg_line(uint32_t *place, char line[SYSV_LINE])
{
    mutex_lock(&sysv_lock);
    const struct sysv_object *object = sysv_next_locked(&queues, place);
    const struct queue *queue = object ? CONTAINER_OF(object, struct queue, base) : NULL;
    if (queue)
        format(line, SYSV_LINE, "%10d %10d  %4o  %10llu %10llu %5d %5d %5u %5u %5u %5u %10lld %10lld %10lld\n", object->key, object->id,
               object->mode, (unsigned long long)queue->bytes, (unsigned long long)queue->count, queue->last_sender, queue->last_receiver,
               object->uid, object->gid, object->cuid, object->cgid, (long long)queue->send_time, (long long)queue->receive_time,
               (long long)queue->change_time);
    mutex_unlock(&sysv_lock);
    return queue;
}

static void count_all_locked(struct linux_msginfo *out)
{
    out->pool = (int32_t)queues.used;
    out->map = out->headers = 0;
    for (uint32_t i = 0; i < queues.capacity; i++) {
        if (!queues.slots[i])
            continue;
        out->map += (int32_t)queue_of(queues.slots[i])->count;
        out->headers += (int32_t)queue_of(queues.slots[i])->bytes;
    }
}

static int64_t info(int32_t command, uaddr_t buffer)
{
    struct linux_msginfo out = {.pool = QUEUES_MAX * (QUEUE_BYTES / 1024), .map = QUEUE_BYTES, .max = MESSAGE_MAX, .queue_bytes = QUEUE_BYTES,
                                .queues = QUEUES_MAX, .segment_size = 16, .headers = QUEUE_BYTES, .segments = 0xffff};

    mutex_lock(&sysv_lock);
    if (command == MSG_INFO)
        count_all_locked(&out);
    int32_t last = sysv_last_index_locked(&queues);
    mutex_unlock(&sysv_lock);
    return user_write(buffer, &out, sizeof out) ? -EFAULT : last;
}

static int set_locked(struct queue *queue, const struct linux_msqid *in)
{
    if (in->bytes_max > QUEUE_BYTES && !capable(LINUX_CAP_SYS_RESOURCE))
        return -EPERM;
    if (in->bytes_max > INT32_MAX)
        return -EINVAL;
    sysv_set_locked(&queue->base, &in->perm);
    queue->bytes_max = in->bytes_max;
    queue->change_time = sysv_now();
    waitq_wake_all(&queue->senders);
    return 0;
}

static int64_t change(int32_t id, int32_t command, uaddr_t buffer)
{
    struct linux_msqid in;
    struct sysv_object *object;

    if (command == SYSV_IPC_SET && user_read(&in, buffer, sizeof in))
        return -EFAULT;
    mutex_lock(&sysv_lock);
    int error = sysv_find_locked(&queues, id, &object);
    if (!error)
        error = sysv_owned_locked(object);
    if (!error && command == SYSV_IPC_SET) {
        error = set_locked(queue_of(object), &in);
    } else if (!error) {
        sysv_remove_locked(&queues, object);
        waitq_wake_all(&queue_of(object)->senders);
        waitq_wake_all(&queue_of(object)->receivers);
    }
    mutex_unlock(&sysv_lock);
    if (!error && command == SYSV_IPC_RMID)
        object_unref(object);
    return error;
}

int64_t sys_msgctl(int32_t id, int32_t command, uaddr_t buffer)
{
    if (id < 0 || command < 0)
        return -EINVAL;
    switch (command) {
    case SYSV_IPC_INFO:
    case MSG_INFO: return info(command, buffer);
    case SYSV_IPC_STAT: return show(id, SYSV_SHOWN_BY_ID, buffer);
    case MSG_STAT: return show(id, SYSV_SHOWN_BY_PLACE, buffer);
    case MSG_STAT_ANY: return show(id, SYSV_SHOWN_TO_ANYBODY, buffer);
    case SYSV_IPC_SET:
    case SYSV_IPC_RMID: return change(id, command, buffer);
    default: return -EINVAL;
    }
}
