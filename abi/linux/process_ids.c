/*
 * The numbers of threads, processes, groups and sessions: one space, as Linux has it.
 *
 * A number is reserved before what it will name is complete, so that it can be told to the parent first; it is
 * found only when id_set_process or id_set_thread has been called. It is given out again when its thread or process
 * has gone and no group or session is called by it. Numbers are given out in rising order, starting over (above the
 * reserved ones) at the end, so that a number that has just been freed does not name something else at once.
 *
 * The table has two levels; its second-level blocks stay. ids_lock is the innermost lock of all this: lookups
 * try to take a reference under it, and an object that is dying is not found.
 */
#include "abi/linux/process_life.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"

#define BLOCK_IDS 512
#define RESERVED_IDS 300

struct id_entry {
    struct process *process;
    struct lthread *thread;
    uint32_t group_members;
    bool reserved;
};

static struct spinlock ids_lock = SPINLOCK_INIT(RANK_POOL);
static struct id_entry *blocks[LINUX_PID_MAX / BLOCK_IDS];
static int32_t last_id;
static int32_t highest_id;
static uint32_t reserved_count, reserved_limit;

static struct id_entry *entry_of(int32_t id)
{
    if (id <= 0 || id >= LINUX_PID_MAX || !blocks[id / BLOCK_IDS])
        return NULL;
    return &blocks[id / BLOCK_IDS][id % BLOCK_IDS];
}

/* The entry of a number that may be given out; *error when there is no memory for its block. */
static struct id_entry *free_entry_locked(int32_t id, int *error)
{
    if (!blocks[id / BLOCK_IDS])
        blocks[id / BLOCK_IDS] = kcalloc(BLOCK_IDS, sizeof(struct id_entry));
    struct id_entry *entry = entry_of(id);
    if (!entry)
        *error = -ENOMEM;
    return entry && !entry->reserved && !entry->group_members ? entry : NULL;
}

static int32_t reserve_locked(void)
{
    int error = 0;

    for (int32_t turn = 0; turn < LINUX_PID_MAX && !error; turn++) {
        last_id = last_id + 1 < LINUX_PID_MAX ? last_id + 1 : RESERVED_IDS;
        struct id_entry *entry = free_entry_locked(last_id, &error);
        if (entry) {
            entry->reserved = true;
            reserved_count++;
            highest_id = last_id > highest_id ? last_id : highest_id;
            return last_id;
        }
    }
    return error ? error : -EAGAIN;
}

void id_set_limit(uint32_t limit)
{
    spin_lock(&ids_lock);
    reserved_limit = limit;
    spin_unlock(&ids_lock);
}

uint32_t id_count(void)
{
    spin_lock(&ids_lock);
    uint32_t count = reserved_count;
    spin_unlock(&ids_lock);
    return count;
}

int32_t id_reserve(void)
{
    spin_lock(&ids_lock);
    int32_t id = reserved_limit && reserved_count >= reserved_limit ? -EAGAIN : reserve_locked();
    spin_unlock(&ids_lock);
    return id;
}

void id_release(int32_t id)
{
    spin_lock(&ids_lock);
    struct id_entry *entry = entry_of(id);
    KASSERT(entry && entry->reserved);
    entry->reserved = false;
    reserved_count--;
    entry->process = NULL;
    entry->thread = NULL;
    spin_unlock(&ids_lock);
}

void id_set_process(int32_t id, struct process *process)
{
    spin_lock(&ids_lock);
    entry_of(id)->process = process;
    spin_unlock(&ids_lock);
}

void id_set_thread(int32_t id, struct lthread *thread)
{
    spin_lock(&ids_lock);
    entry_of(id)->thread = thread;
    spin_unlock(&ids_lock);
}

void id_group_joined(int32_t id)
{
    spin_lock(&ids_lock);
    entry_of(id)->group_members++;
    spin_unlock(&ids_lock);
}

void id_group_left(int32_t id)
{
    spin_lock(&ids_lock);
    KASSERT(entry_of(id)->group_members);
    entry_of(id)->group_members--;
    spin_unlock(&ids_lock);
}

struct process *process_find(int32_t pid)
{
    spin_lock(&ids_lock);
    struct id_entry *entry = entry_of(pid);
    struct process *process = entry ? entry->process : NULL;
    if (process && !object_try_ref(process))
        process = NULL;
    spin_unlock(&ids_lock);
    return process;
}

struct lthread *thread_find(int32_t tid)
{
    spin_lock(&ids_lock);
    struct id_entry *entry = entry_of(tid);
    struct lthread *thread = entry ? entry->thread : NULL;
    if (thread && !object_try_ref(thread))
        thread = NULL;
    spin_unlock(&ids_lock);
    return thread;
}

int32_t process_next_pid(int32_t after)
{
    int32_t found = 0;

    spin_lock(&ids_lock);
    for (int32_t id = after + 1; id > 0 && id <= highest_id && !found; id++) {
        if (!blocks[id / BLOCK_IDS])
            id = id / BLOCK_IDS * BLOCK_IDS + BLOCK_IDS - 1;
        else if (entry_of(id)->process)
            found = id;
    }
    spin_unlock(&ids_lock);
    return found;
}
