/*
 * Descriptor tables: small numbers for open files, shared by the threads of a process (and by CLONE_FILES).
 *
 * A slot is free, reserved (taken, but answering EBADF until its file comes), or holds a reference to a file. Two
 * bitmaps say which slots are taken and which close on exec; `first_free` is a lower bound for the search. All is
 * guarded by a spinlock held for a few instructions: files are referenced under it and let go outside. Growth
 * allocates without the lock and retries, so a table never shrinks and never moves under a reader.
 */
#include "abi/linux/file.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

enum { FDTABLE_START = 64, FDTABLE_MAX = 1 << 20 };
#define BIT_OF(fd) ((uint64_t)1 << ((fd) % 64))

struct fdtable {
    struct object object;
    struct atomic32 users; /* who may use it; the last one to leave closes everything */
    struct spinlock lock; /* guards the rest */
    uint32_t capacity;    /* a multiple of 64 */
    uint32_t first_free;  /* no slot below it is free */
    struct file **files;
    uint64_t *taken, *cloexec;
};

static void fdtable_destroy(struct object *object)
{
    struct fdtable *table = CONTAINER_OF(object, struct fdtable, object);

    kfree(table->files);
    kfree(table->taken);
    kfree(table->cloexec);
    kfree(table);
}

static const struct object_type fdtable_type = {.name = "fdtable", .destroy = fdtable_destroy};

static struct fdtable *fdtable_create_sized(uint32_t capacity)
{
    struct fdtable *table = kzalloc(sizeof(*table));

    if (!table)
        return NULL;
    object_init(&table->object, &fdtable_type);
    atomic32_store_relaxed(&table->users, 1);
    spinlock_init(&table->lock, RANK_FD_SLOTS);
    table->capacity = capacity;
    table->files = kcalloc(capacity, sizeof(table->files[0]));
    table->taken = kcalloc(capacity / 64, sizeof(table->taken[0]));
    table->cloexec = kcalloc(capacity / 64, sizeof(table->cloexec[0]));
    if (!table->files || !table->taken || !table->cloexec) {
        object_unref(table);
        return NULL;
    }
    return table;
}

struct fdtable *fdtable_create(void) { return fdtable_create_sized(FDTABLE_START); }

struct fdtable *fdtable_ref(struct fdtable *table)
{
    atomic32_add(&table->users, 1);
    return object_ref(table);
}

static struct fdtable *current_fds(void) { return current_process()->fds; }

/* Growing: the new arrays are made first, then changed for the old ones under the lock. */
static int fdtable_grow(struct fdtable *table, uint32_t wanted)
{
    uint32_t capacity = FDTABLE_START;
    struct fdtable *fresh;

    if (wanted >= FDTABLE_MAX)
        return -EMFILE;
    while (capacity <= wanted)
        capacity *= 2;
    fresh = fdtable_create_sized(capacity);
    if (!fresh)
        return -ENOMEM;
    spin_lock(&table->lock);
    if (table->capacity < capacity) {
        struct file **files = table->files;
        uint64_t *taken = table->taken, *cloexec = table->cloexec;
        memcpy(fresh->files, files, table->capacity * sizeof(files[0]));
        memcpy(fresh->taken, taken, table->capacity / 8);
        memcpy(fresh->cloexec, cloexec, table->capacity / 8);
        table->files = fresh->files;
        table->taken = fresh->taken;
        table->cloexec = fresh->cloexec;
        table->capacity = capacity;
        fresh->files = files;
        fresh->taken = taken;
        fresh->cloexec = cloexec;
    }
    spin_unlock(&table->lock);
    object_unref(fresh);
    return 0;
}

/* The lowest free slot >= minimum, or the capacity. */
static uint32_t free_slot_locked(struct fdtable *table, uint32_t minimum)
{
    uint32_t fd = minimum > table->first_free ? minimum : table->first_free;

    while (fd < table->capacity) {
        uint64_t free_bits = ~table->taken[fd / 64] & (~(uint64_t)0 << (fd % 64));
        if (free_bits)
            return round_down(fd, 64) + __builtin_ctzll(free_bits);
        fd = round_down(fd, 64) + 64;
    }
    return table->capacity;
}

static void slot_take_locked(struct fdtable *table, uint32_t fd, struct file *file, uint32_t flags)
{
    table->files[fd] = file;
    table->taken[fd / 64] |= BIT_OF(fd);
    if (flags & LINUX_O_CLOEXEC)
        table->cloexec[fd / 64] |= BIT_OF(fd);
    else
        table->cloexec[fd / 64] &= ~BIT_OF(fd);
    if (fd == table->first_free)
        table->first_free = fd + 1;
}

/* Whatever file was there; the slot is free. */
static struct file *slot_free_locked(struct fdtable *table, uint32_t fd)
{
    struct file *file = table->files[fd];

    table->files[fd] = NULL;
    table->taken[fd / 64] &= ~BIT_OF(fd);
    table->cloexec[fd / 64] &= ~BIT_OF(fd);
    if (fd < table->first_free)
        table->first_free = fd;
    return file;
}

/* Takes the lowest slot for the file (NULL: reserves it). */
static int slot_take_lowest(struct fdtable *table, int minimum, struct file *file, uint32_t flags)
{
    uint64_t limit = min_u64(rlimit(LINUX_RLIMIT_NOFILE), FDTABLE_MAX);

    if (minimum < 0 || (uint64_t)minimum >= limit)
        return minimum < 0 ? -EINVAL : -EMFILE;
    for (;;) {
        spin_lock(&table->lock);
        uint32_t fd = free_slot_locked(table, minimum);
        uint32_t capacity = table->capacity;
        bool fits = fd < capacity && fd < limit;
        if (fits)
            slot_take_locked(table, fd, file, flags);
        spin_unlock(&table->lock);
        if (fits)
            return (int)fd;
        if (fd < capacity || fd >= limit)
            return -EMFILE;
        int error = fdtable_grow(table, max_u64(fd, (uint32_t)minimum));
        if (error)
            return error;
    }
}

int fd_install_from(struct file *file, int minimum, uint32_t flags) { return slot_take_lowest(current_fds(), minimum, file, flags); }
int fd_install(struct file *file, uint32_t flags) { return fd_install_from(file, 0, flags); }
int fd_reserve(int minimum, uint32_t flags) { return slot_take_lowest(current_fds(), minimum, NULL, flags); }

void fd_commit(int fd, struct file *file)
{
    struct fdtable *table = current_fds();

    spin_lock(&table->lock);
    KASSERT(!table->files[fd] && (table->taken[fd / 64] & BIT_OF(fd)));
    table->files[fd] = file;
    spin_unlock(&table->lock);
}

void fd_cancel(int fd)
{
    struct fdtable *table = current_fds();

    spin_lock(&table->lock);
    KASSERT(!table->files[fd]);
    slot_free_locked(table, fd);
    spin_unlock(&table->lock);
}

int fd_install_pair(struct file *first, struct file *second, uint32_t flags, int fds[2])
{
    int a = fd_reserve(0, flags), b;

    if (a < 0)
        return a;
    b = fd_reserve(0, flags);
    if (b < 0) {
        fd_cancel(a);
        return b;
    }
    fd_commit(a, first);
    fd_commit(b, second);
    fds[0] = a;
    fds[1] = b;
    return 0;
}

struct file *fdtable_peek(struct fdtable *table, int fd)
{
    struct file *file = NULL;

    spin_lock(&table->lock);
    if (LIKELY((uint32_t)fd < table->capacity)) {
        file = table->files[fd];
        if (file)
            file_ref(file);
    }
    spin_unlock(&table->lock);
    return file;
}

int fd_get_any(int fd, struct file **file)
{
    *file = fdtable_peek(current_fds(), fd);
    return *file ? 0 : -EBADF;
}

int fd_get(int fd, struct file **file)
{
    int error = fd_get_any(fd, file);

    if (!error && UNLIKELY(atomic32_load_relaxed(&(*file)->flags) & LINUX_O_PATH)) {
        file_unref(*file);
        *file = NULL;
        return -EBADF;
    }
    return error;
}

int fdtable_next(struct fdtable *table, int fd)
{
    int found = -1;

    spin_lock(&table->lock);
    for (uint32_t i = fd < 0 ? 0 : (uint32_t)fd; i < table->capacity && found < 0; i++)
        if (table->files[i])
            found = (int)i;
    spin_unlock(&table->lock);
    return found;
}

/* A descriptor to the file is gone: what its closing means, then the reference. */
static int file_closed(struct fdtable *table, struct file *file, struct process *process)
{
    if (file->node ? file->node->locks : file->locks)
        locks_release_posix(file, table);
    int error = file->ops->flush ? file->ops->flush(file, process) : 0;
    file_unref(file);
    return error;
}

static void file_let_go(struct file *held)
{
    if (!held)
        return;
    held->ops->hold(held, false);
    file_unref(held);
}

/*
 * Locks the table with what is at fd, if anything, held (file_ops.hold) when its kind needs that: the number is about to mean
 * something else, and nobody may use it by itself then. To be let go after the slot has changed.
 */
static struct file *slot_lock_held(struct fdtable *table, uint32_t fd)
{
    struct file *held = NULL;

    for (;;) {
        spin_lock(&table->lock);
        struct file *file = fd < table->capacity ? table->files[fd] : NULL;
        if (!file || !file->ops->hold || file == held)
            return held;
        file_ref(file);
        spin_unlock(&table->lock);
        file_let_go(held);
        held = file;
        held->ops->hold(held, true);
    }
}

/* -EBADF: nothing there, or not what was asked for. */
static int slot_close(struct fdtable *table, uint32_t fd, bool only_cloexec, struct process *process)
{
    struct file *file = NULL, *held = slot_lock_held(table, fd);

    if (fd < table->capacity && table->files[fd] && (!only_cloexec || (table->cloexec[fd / 64] & BIT_OF(fd))))
        file = slot_free_locked(table, fd);
    spin_unlock(&table->lock);
    int error = file ? file_closed(table, file, process) : -EBADF;
    file_let_go(held);
    return error;
}

int fd_close(int fd)
{
    struct process *process = current_process();

    return slot_close(process->fds, (uint32_t)fd, false, process);
}

/* Puts the file at exactly fd; *old is what was there, *held to be let go. -EBUSY: reserved by an open in progress. */
static int slot_replace(struct fdtable *table, int fd, struct file *file, uint32_t flags, struct file **old, struct file **held)
{
    int error = 0;

    *held = slot_lock_held(table, (uint32_t)fd);
    while ((uint32_t)fd >= table->capacity) { /* nothing was held there */
        spin_unlock(&table->lock);
        error = fdtable_grow(table, fd);
        if (error)
            return error;
        *held = slot_lock_held(table, (uint32_t)fd);
    }
    *old = table->files[fd];
    if (!*old && (table->taken[fd / 64] & BIT_OF(fd)))
        error = -EBUSY;
    else
        slot_take_locked(table, fd, file, flags);
    spin_unlock(&table->lock);
    return error;
}

int fdtable_install_at(struct fdtable *table, int fd, struct file *file)
{
    struct file *old, *held = NULL;
    int error = fd < 0 ? -EBADF : slot_replace(table, fd, file, 0, &old, &held);

    if (!error && old)
        file_unref(old);
    file_let_go(held);
    return error;
}

int fd_replace(int fd, struct file *file, uint32_t flags)
{
    struct process *process = current_process();
    struct file *old, *held = NULL;
    int error;

    if (fd < 0 || (uint64_t)fd >= rlimit(LINUX_RLIMIT_NOFILE))
        return -EBADF;
    error = slot_replace(process->fds, fd, file, flags, &old, &held);
    if (!error && old)
        file_closed(process->fds, old, process);
    file_let_go(held);
    return error;
}

int fd_cloexec(int fd)
{
    struct fdtable *table = current_fds();
    int result = -EBADF;

    spin_lock(&table->lock);
    if ((uint32_t)fd < table->capacity && table->files[fd])
        result = (table->cloexec[fd / 64] & BIT_OF(fd)) != 0;
    spin_unlock(&table->lock);
    return result;
}

int fd_set_cloexec(int fd, bool cloexec)
{
    struct fdtable *table = current_fds();
    int result = -EBADF;

    spin_lock(&table->lock);
    if ((uint32_t)fd < table->capacity && table->files[fd]) {
        slot_take_locked(table, fd, table->files[fd], cloexec ? LINUX_O_CLOEXEC : 0);
        result = 0;
    }
    spin_unlock(&table->lock);
    return result;
}

/* Copies the slots whose files exist (reserved ones stay the other's), up to a limit. The target is fresh and large enough. */
static void slots_copy_locked(struct fdtable *to, struct fdtable *from, uint32_t limit)
{
    for (uint32_t fd = 0; fd < from->capacity && fd < limit; fd++) {
        struct file *file = from->files[fd];
        if (file)
            slot_take_locked(to, fd, file_ref(file), (from->cloexec[fd / 64] & BIT_OF(fd)) ? LINUX_O_CLOEXEC : 0);
    }
}

/* How many slots are of interest: the last taken one plus one. */
static uint32_t slots_used_locked(struct fdtable *table)
{
    for (uint32_t word = table->capacity / 64; word > 0; word--)
        if (table->taken[word - 1])
            return word * 64;
    return 0;
}

struct fdtable *fdtable_copy(struct fdtable *from)
{
    uint32_t capacity = FDTABLE_START;

    for (;;) {
        struct fdtable *copy = fdtable_create_sized(capacity);
        if (!copy)
            return NULL;
        spin_lock(&from->lock);
        uint32_t used = slots_used_locked(from);
        if (used <= capacity)
            slots_copy_locked(copy, from, used);
        spin_unlock(&from->lock);
        if (used <= capacity)
            return copy;
        object_unref(copy);
        while (capacity < used)
            capacity *= 2;
    }
}

/* The first descriptor >= fd that is of interest (only_cloexec: those marked so) and not after last; false when there is none. */
static bool find_next(struct fdtable *table, uint32_t *fd, uint32_t last, bool only_cloexec)
{
    bool found = false;

    spin_lock(&table->lock);
    for (; *fd < table->capacity && *fd <= last; ++*fd) {
        found = table->files[*fd] && (!only_cloexec || (table->cloexec[*fd / 64] & BIT_OF(*fd)));
        if (found)
            break;
    }
    spin_unlock(&table->lock);
    return found;
}

static void close_files(struct fdtable *table, uint32_t first, uint32_t last, bool only_cloexec, struct process *process)
{
    for (; find_next(table, &first, last, only_cloexec); first++)
        slot_close(table, first, only_cloexec, process);
}

void fdtable_unref(struct fdtable *table, struct process *process)
{
    if (!table)
        return;
    if (atomic32_sub(&table->users, 1) == 1)
        close_files(table, 0, UINT32_MAX, false, process);
    object_unref(table);
}

int fdtable_unshare(struct process *process)
{
    struct fdtable *table = process->fds, *copy;

    if (atomic32_load_acquire(&table->users) == 1)
        return 0;
    /* Threads use the table without a reference of their own, so it cannot be changed under them. */
    mutex_lock(&process->mutex);
    bool alone = process->thread_count <= 1;
    mutex_unlock(&process->mutex);
    if (!alone)
        return -EINVAL;
    copy = fdtable_copy(table);
    if (!copy)
        return -ENOMEM;
    mutex_lock(&process->mutex);
    process->fds = copy;
    mutex_unlock(&process->mutex);
    fdtable_unref(table, process);
    return 0;
}

int fdtable_exec(struct process *process)
{
    int error = fdtable_unshare(process);

    if (!error)
        close_files(process->fds, 0, UINT32_MAX, true, process);
    return error;
}

void fd_close_range(uint32_t first, uint32_t last)
{
    struct process *process = current_process();

    close_files(process->fds, first, last, false, process);
}

void fd_cloexec_range(uint32_t first, uint32_t last)
{
    struct fdtable *table = current_fds();

    spin_lock(&table->lock);
    for (uint32_t fd = first; fd < table->capacity && fd <= last; fd++)
        if (table->files[fd])
            table->cloexec[fd / 64] |= BIT_OF(fd);
    spin_unlock(&table->lock);
}
