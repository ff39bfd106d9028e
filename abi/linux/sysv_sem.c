/*
 * System V semaphores: semget, semop, semtimedop, semctl.
 *
 * The operations of one semop happen together or not at all (semop(2)): under sysv_lock they are tried on a copy of the values
 * that they touch; if one cannot go on, the caller waits on the set's queue and tries again after every change of the set.
 * What a waiter waits for is on a list of the set, for GETNCNT and GETZCNT.
 *
 * SEM_UNDO keeps, for each process and set, what is to be added when the process ends; undo records hang on the set.
 */
#include "abi/linux/calls.h"
#include "abi/linux/deadline.h"
#include "abi/linux/sysv_ipc.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#include <arch/semid.h>

enum { SEM_UNDO = 0x1000 };
enum { SEM_GETPID = 11, SEM_GETVAL = 12, SEM_GETALL = 13, SEM_GETNCNT = 14, SEM_GETZCNT = 15, SEM_SETVAL = 16, SEM_SETALL = 17,
       SEM_STAT = 18, SEM_INFO = 19, SEM_STAT_ANY = 20 };
#define SETS_MAX 32000u
#define SET_SIZE_MAX 32000u
#define ALL_MAX 1024000u
#define OPERATIONS_MAX 500u
#define VALUE_MAX 32767

struct semaphore {
    int32_t value, pid; /* pid: of the last that operated on it */
};

struct undo {
    struct list link; /* set->undos */
    const struct process *process; /* only compared */
    int16_t add[];
};

struct set {
    struct sysv_object base;
    uint32_t count; /* constant */
    /* under sysv_lock */
    int64_t operation_time, change_time;
    struct list undos, waiting;
    struct waitq changed;
    struct semaphore semaphores[];
};

struct waiting {
    struct list link; /* set->waiting */
    uint32_t number;
    bool for_zero;
};

struct linux_sembuf {
    uint16_t number;
    int16_t operation, flags;
};

struct linux_semid {
    struct linux_ipc_perm perm;
    struct linux_semid_rest rest;
};
_Static_assert(offsetof(struct linux_semid, rest) == 48, "semid64_ds");

struct linux_seminfo {
    int32_t map, sets, semaphores, undos, per_set, operations, undo_entries, undo_size, value, adjust;
};

static struct sysv_table sets = {.limit = SETS_MAX};
static uint32_t all_semaphores; /* under sysv_lock */
static struct atomic32 undo_count; /* changed under sysv_lock */

static struct set *set_of(struct sysv_object *object) { return CONTAINER_OF(object, struct set, base); }

/* --- life -------------------------------------------------------------------------------------------- */

static void drop_undo_locked(struct undo *undo)
{
    list_remove(&undo->link);
    kfree(undo);
    atomic32_sub(&undo_count, 1);
}

static void set_destroy(struct object *object)
{
    struct set *set = CONTAINER_OF(object, struct set, base.object);

    mutex_lock(&sysv_lock);
    while (!list_empty(&set->undos))
        drop_undo_locked(LIST_ENTRY(set->undos.next, struct undo, link));
    all_semaphores -= set->count;
    mutex_unlock(&sysv_lock);
    kfree(set);
}

static const struct object_type set_type = {.name = "semaphore set", .destroy = set_destroy};

static struct sysv_object *set_make(const struct sysv_get *get)
{
    struct set *set = NULL;

    mutex_lock(&sysv_lock);
    bool room = all_semaphores + get->size <= ALL_MAX;
    if (room)
        all_semaphores += (uint32_t)get->size;
    mutex_unlock(&sysv_lock);
    if (room)
        set = kzalloc(sizeof *set + get->size * sizeof set->semaphores[0]);
    if (!set) {
        mutex_lock(&sysv_lock);
        all_semaphores -= room ? (uint32_t)get->size : 0;
        mutex_unlock(&sysv_lock);
        return NULL;
    }
    sysv_object_init(&set->base, &set_type, get->flags);
    set->count = (uint32_t)get->size;
    set->change_time = sysv_now();
    list_init(&set->undos);
    list_init(&set->waiting);
    waitq_init(&set->changed);
    return &set->base;
}

static int set_fits(const struct sysv_object *object, uint64_t size)
{
    return CONTAINER_OF(object, struct set, base)->count < size ? -EINVAL : 0;
}

int64_t sys_semget(int32_t key, int32_t count, uint32_t flags)
{
    struct sysv_get get = {.key = key, .flags = flags, .size = (uint64_t)count, .fits = set_fits, .make = set_make};

    if (count < 0 || (uint32_t)count > SET_SIZE_MAX)
        return -EINVAL;
    if (count == 0 && key == SYSV_IPC_PRIVATE)
        return -EINVAL;
    if (count == 0 && (flags & SYSV_IPC_CREAT)) { /* good enough for one that exists, but not to make one */
        get.flags &= ~(uint32_t)SYSV_IPC_CREAT;
        int64_t found = sysv_get(&sets, &get);
        return found == -ENOENT ? -EINVAL : found >= 0 && (flags & SYSV_IPC_EXCL) ? -EEXIST : found;
    }
    return sysv_get(&sets, &get);
}

/* --- operations -------------------------------------------------------------------------------------- */

static struct undo *find_undo_locked(struct set *set, const struct process *process)
{
    LIST_FOR_EACH(node, &set->undos) {
        struct undo *undo = LIST_ENTRY(node, struct undo, link);
        if (undo->process == process)
            return undo;
    }
    return NULL;
}

/* The caller's record for the set, made if needed. NULL: no memory. */
static struct undo *own_undo_locked(struct set *set)
{
    struct undo *undo = find_undo_locked(set, current_process());

    if (undo)
        return undo;
    undo = kzalloc(sizeof *undo + set->count * sizeof undo->add[0]);
    if (!undo)
        return NULL;
    undo->process = current_process();
    list_push_back(&set->undos, &undo->link);
    atomic32_add(&undo_count, 1);
    return undo;
}

enum { MUST_WAIT = 1 };

/* One operation on the values as they stand: 0, MUST_WAIT, -ERANGE. */
static int try_one_locked(struct set *set, struct undo *undo, const struct linux_sembuf *buf)
{
    struct semaphore *semaphore = &set->semaphores[buf->number];
    int32_t value = semaphore->value + buf->operation;

    if (buf->operation == 0)
        return semaphore->value ? MUST_WAIT : 0;
    if (value < 0)
        return MUST_WAIT;
    if (value > VALUE_MAX)
        return -ERANGE;
    if (buf->flags & SEM_UNDO) {
        int32_t add = undo->add[buf->number] - buf->operation;
        if (add < -VALUE_MAX - 1 || add > VALUE_MAX)
            return -ERANGE;
        undo->add[buf->number] = (int16_t)add;
    }
    semaphore->value = value;
    return 0;
}

static void take_back_locked(struct set *set, struct undo *undo, const struct linux_sembuf *bufs, uint32_t count)
{
    while (count-- > 0) {
        set->semaphores[bufs[count].number].value -= bufs[count].operation;
        if (bufs[count].flags & SEM_UNDO)
            undo->add[bufs[count].number] = (int16_t)(undo->add[bufs[count].number] + bufs[count].operation);
    }
}

/* All of them or none. 0, MUST_WAIT with *stuck the one that has to, -ERANGE. */
static int try_all_locked(struct set *set, struct undo *undo, const struct linux_sembuf *bufs, uint32_t count, uint32_t *stuck)
{
    bool changed = false;

    for (uint32_t i = 0; i < count; i++) {
        int result = try_one_locked(set, undo, &bufs[i]);
        if (result) {
            take_back_locked(set, undo, bufs, i);
            *stuck = i;
            return result;
        }
        changed |= bufs[i].operation != 0;
    }
    for (uint32_t i = 0; i < count; i++)
        set->semaphores[bufs[i].number].pid = current_process()->pid;
    set->operation_time = sysv_now();
    if (changed)
        waitq_wake_all(&set->changed);
    return 0;
}

/* 0 after something has changed, or why the wait ended. A semop is never restarted. */
static int wait_locked(struct set *set, const struct linux_sembuf *buf, nanoseconds_t deadline)
{
    struct waiting waiting = {.number = buf->number, .for_zero = buf->operation == 0};

    if (buf->flags & SYSV_IPC_NOWAIT)
        return -EAGAIN;
    list_push_back(&set->waiting, &waiting.link);
    int error = waitq_sleep(&set->changed, &sysv_lock, deadline, WAIT_INTERRUPTIBLE);
    list_remove(&waiting.link);
    if (set->base.removed)
        return -EIDRM;
    return error == -ETIMEDOUT ? -EAGAIN : error;
}

static bool wants_undo(const struct linux_sembuf *bufs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (bufs[i].flags & SEM_UNDO)
            return true;
    }
    return false;
}

static int operate_locked(struct set *set, const struct linux_sembuf *bufs, uint32_t count, nanoseconds_t deadline)
{
    bool undoes = wants_undo(bufs, count);

    for (;;) {
        /* Looked for each time: SETVAL may have been here, and other threads of the process. */
        struct undo *undo = undoes ? own_undo_locked(set) : NULL;
        uint32_t stuck;
        if (undoes && !undo)
            return -ENOMEM;
        int result = try_all_locked(set, undo, bufs, count, &stuck);
        if (result != MUST_WAIT)
            return result;
        int error = wait_locked(set, &bufs[stuck], deadline);
        if (error)
            return error;
    }
}

static int check_operations_locked(struct sysv_object *object, const struct linux_sembuf *bufs, uint32_t count)
{
    bool alters = false;

    for (uint32_t i = 0; i < count; i++) {
        if (bufs[i].number >= set_of(object)->count)
            return -EFBIG;
        alters |= bufs[i].operation != 0;
    }
    return sysv_permitted_locked(object, alters ? SYSV_WRITE : SYSV_READ);
}

static int64_t operate(int32_t id, const struct linux_sembuf *bufs, uint32_t count, nanoseconds_t deadline)
{
    struct sysv_object *object;

    mutex_lock(&sysv_lock);
    int error = sysv_find_locked(&sets, id, &object);
    if (!error)
        error = check_operations_locked(object, bufs, count);
    struct set *set = error ? NULL : object_ref(set_of(object));
    if (set)
        error = operate_locked(set, bufs, count, deadline);
    mutex_unlock(&sysv_lock);
    object_unref(set);
    return error;
}

static int64_t semop_until(int32_t id, uaddr_t operations, uint64_t count, nanoseconds_t deadline)
{
    struct linux_sembuf few[8], *bufs = few;

    if (count < 1 || id < 0)
        return -EINVAL;
    if (count > OPERATIONS_MAX)
        return -E2BIG;
    if (count > ARRAY_SIZE(few))
        bufs = kalloc(count * sizeof *bufs);
    if (!bufs)
        return -ENOMEM;
    int64_t result = user_read(bufs, operations, count * sizeof *bufs) ? -EFAULT : operate(id, bufs, (uint32_t)count, deadline);
    if (bufs != few)
        kfree(bufs);
    return result;
}

int64_t sys_semop(int32_t id, uaddr_t operations, uint64_t count) { return semop_until(id, operations, count, DEADLINE_NEVER); }

int64_t sys_semtimedop(int32_t id, uaddr_t operations, uint64_t count, const struct linux_timespec *timeout)
{
    nanoseconds_t deadline;
    int error = deadline_after_timespec(timeout, &deadline);

    return error ? error : semop_until(id, operations, count, deadline);
}

/* --- the end of a process ---------------------------------------------------------------------------- */

static void apply_undo_locked(struct set *set, struct undo *undo)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct semaphore *semaphore = &set->semaphores[i];
        int32_t value = semaphore->value + undo->add[i];
        if (!undo->add[i])
            continue;
        semaphore->value = value < 0 ? 0 : value > VALUE_MAX ? VALUE_MAX : value;
        semaphore->pid = current_process()->pid;
    }
    set->operation_time = sysv_now();
    drop_undo_locked(undo);
    waitq_wake_all(&set->changed);
}

void sysv_sem_exit(struct process *process)
{
    if (!atomic32_load(&undo_count))
        return;
    mutex_lock(&sysv_lock);
    for (uint32_t i = 0; i < sets.capacity; i++) {
        struct set *set = sets.slots[i] ? set_of(sets.slots[i]) : NULL;
        struct undo *undo = set ? find_undo_locked(set, process) : NULL;
        if (undo)
            apply_undo_locked(set, undo);
    }
    mutex_unlock(&sysv_lock);
}

/* --- semctl ------------------------------------------------------------------------------------------ */

static int64_t show(int32_t id, enum sysv_shown how, uaddr_t buffer)
{
    struct linux_semid out = {0};
    struct sysv_object *object;

    mutex_lock(&sysv_lock);
    int error = sysv_find_shown_locked(&sets, id, how, &object);
    if (!error) {
        struct set *set = set_of(object);
        sysv_show_locked(object, &out.perm);
        out.rest.operation_time = set->operation_time;
        out.rest.change_time = set->change_time;
        out.rest.count = set->count;
        id = how == SYSV_SHOWN_BY_ID ? 0 : object->id;
    }
    mutex_unlock(&sysv_lock);
    if (error)
        return error;
    return user_write(buffer, &out, sizeof out) ? -EFAULT : id;
}

bool sysv_sem_line(uint32_t *place, char line[SYSV_LINE])
{
    mutex_lock(&sysv_lock);
    const struct sysv_object *object = sysv_next_locked(&sets, place);
    const struct set *set = object ? CONTAINER_OF(object, struct set, base) : NULL;
    if (set)
        format(line, SYSV_LINE, "%10d %10d  %4o %10u %5u %5u %5u %5u %10lld %10lld\n", object->key, object->id, object->mode, set->count,
               object->uid, object->gid, object->cuid, object->cgid, (long long)set->operation_time, (long long)set->change_time);
    mutex_unlock(&sysv_lock);
    return set;
}

static int64_t info(int32_t command, uaddr_t buffer)
{
    struct linux_seminfo out = {.map = (int32_t)ALL_MAX, .sets = SETS_MAX, .semaphores = (int32_t)ALL_MAX, .undos = (int32_t)ALL_MAX,
                                .per_set = SET_SIZE_MAX, .operations = OPERATIONS_MAX, .undo_entries = OPERATIONS_MAX,
                                .undo_size = 20, .value = VALUE_MAX, .adjust = VALUE_MAX};

    mutex_lock(&sysv_lock);
    if (command == SEM_INFO) {
        out.undo_size = (int32_t)sets.used;
        out.adjust = (int32_t)all_semaphores;
    }
    int32_t last = sysv_last_index_locked(&sets);
    mutex_unlock(&sysv_lock);
    return user_write(buffer, &out, sizeof out) ? -EFAULT : last;
}

static int64_t count_waiting_locked(const struct set *set, uint32_t number, bool for_zero)
{
    int64_t count = 0;

    LIST_FOR_EACH(node, &set->waiting) {
        const struct waiting *waiting = LIST_ENTRY(node, struct waiting, link);
        count += waiting->number == number && waiting->for_zero == for_zero;
    }
    return count;
}

static void set_value_locked(struct set *set, uint32_t number, int32_t value)
{
    set->semaphores[number].value = value;
    set->semaphores[number].pid = current_process()->pid;
    LIST_FOR_EACH(node, &set->undos)
        LIST_ENTRY(node, struct undo, link)->add[number] = 0;
}

static int64_t one_locked(struct set *set, uint32_t number, int32_t command, int32_t value)
{
    switch (command) {
    case SEM_GETVAL: return set->semaphores[number].value;
    case SEM_GETPID: return set->semaphores[number].pid;
    case SEM_GETNCNT: return count_waiting_locked(set, number, false);
    case SEM_GETZCNT: return count_waiting_locked(set, number, true);
    default:
        set_value_locked(set, number, value);
        set->change_time = sysv_now();
        waitq_wake_all(&set->changed);
        return 0;
    }
}

static int64_t one(int32_t id, int32_t number, int32_t command, int32_t value)
{
    struct sysv_object *object;

    if (command == SEM_SETVAL && (value < 0 || value > VALUE_MAX))
        return -ERANGE;
    mutex_lock(&sysv_lock);
    int64_t result = sysv_find_locked(&sets, id, &object);
    if (!result && (number < 0 || (uint32_t)number >= set_of(object)->count))
        result = -EINVAL;
    if (!result)
        result = sysv_permitted_locked(object, command == SEM_SETVAL ? SYSV_WRITE : SYSV_READ);
    if (!result)
        result = one_locked(set_of(object), (uint32_t)number, command, value);
    mutex_unlock(&sysv_lock);
    return result;
}

/* A reference on a set that the caller may read or write. */
static int take_set(int32_t id, uint32_t wanted, struct set **set)
{
    struct sysv_object *object;

    mutex_lock(&sysv_lock);
    int error = sysv_find_locked(&sets, id, &object);
    if (!error)
        error = sysv_permitted_locked(object, wanted);
    if (!error)
        *set = object_ref(set_of(object));
    mutex_unlock(&sysv_lock);
    return error;
}

static int get_all(struct set *set, uint16_t *values, uaddr_t array)
{
    mutex_lock(&sysv_lock);
    for (uint32_t i = 0; i < set->count; i++)
        values[i] = (uint16_t)set->semaphores[i].value;
    bool removed = set->base.removed;
    mutex_unlock(&sysv_lock);
    if (removed)
        return -EIDRM;
    return user_write(array, values, set->count * sizeof values[0]) ? -EFAULT : 0;
}

static int set_all(struct set *set, uint16_t *values, uaddr_t array)
{
    if (user_read(values, array, set->count * sizeof values[0]))
        return -EFAULT;
    for (uint32_t i = 0; i < set->count; i++) {
        if (values[i] > VALUE_MAX)
            return -ERANGE;
    }
    mutex_lock(&sysv_lock);
    bool removed = set->base.removed;
    for (uint32_t i = 0; i < set->count && !removed; i++)
        set_value_locked(set, i, values[i]);
    set->change_time = sysv_now();
    waitq_wake_all(&set->changed);
    mutex_unlock(&sysv_lock);
    return removed ? -EIDRM : 0;
}

static int64_t all(int32_t id, int32_t command, uaddr_t array)
{
    struct set *set;
    int error = take_set(id, command == SEM_SETALL ? SYSV_WRITE : SYSV_READ, &set);

    if (error)
        return error;
    uint16_t *values = kalloc(set->count * sizeof *values);
    if (!values)
        error = -ENOMEM;
    else
        error = command == SEM_SETALL ? set_all(set, values, array) : get_all(set, values, array);
    kfree(values);
    object_unref(set);
    return error;
}

static int64_t change(int32_t id, int32_t command, uaddr_t buffer)
{
    struct linux_semid in;
    struct sysv_object *object;

    if (command == SYSV_IPC_SET && user_read(&in, buffer, sizeof in))
        return -EFAULT;
    mutex_lock(&sysv_lock);
    int error = sysv_find_locked(&sets, id, &object);
    if (!error)
        error = sysv_owned_locked(object);
    if (!error && command == SYSV_IPC_SET) {
        sysv_set_locked(object, &in.perm);
        set_of(object)->change_time = sysv_now();
    } else if (!error) {
        sysv_remove_locked(&sets, object);
        waitq_wake_all(&set_of(object)->changed);
    }
    mutex_unlock(&sysv_lock);
    if (!error && command == SYSV_IPC_RMID)
        object_unref(object);
    return error;
}

int64_t sys_semctl(int32_t id, int32_t number, int32_t command, uint64_t argument)
{
    if (id < 0)
        return -EINVAL;
    switch (command) {
    case SYSV_IPC_INFO:
    case SEM_INFO: return info(command, argument);
    case SYSV_IPC_STAT: return show(id, SYSV_SHOWN_BY_ID, argument);
    case SEM_STAT: return show(id, SYSV_SHOWN_BY_PLACE, argument);
    case SEM_STAT_ANY: return show(id, SYSV_SHOWN_TO_ANYBODY, argument);
    case SEM_GETVAL:
    case SEM_GETPID:
    case SEM_GETNCNT:
    case SEM_GETZCNT:
    case SEM_SETVAL: return one(id, number, command, (int32_t)argument);
    case SEM_GETALL:
    case SEM_SETALL: return all(id, command, argument);
    case SYSV_IPC_SET:
    case SYSV_IPC_RMID: return change(id, command, argument);
    default: return -EINVAL;
    }
}
