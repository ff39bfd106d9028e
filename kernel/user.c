/*
 * The boundary with user mode: the registered ABI, and user memory of the calling thread.
 *
 * A task's address space is replaced only by exec, which its last remaining thread does, so the calling
 * thread may use task->aspace without the task's lock and without a reference.
 */
#include "kernel/user.h"

#include "kernel/assert.h"
#include "kernel/atomic.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/string.h"
#include "kernel/task.h"
#include "kernel/thread.h"

#define CHUNK_BYTES 512u

static const struct abi *registered;
static const struct abi_calls *registered_calls;
static struct atomic32 watched;

void abi_register(const struct abi *abi)
{
    KASSERT(abi->entry && !registered);
    registered = abi;
    if (abi->futex_owner)
        futex_owner_register(abi->futex_owner);
}

void abi_register_calls(const struct abi_calls *calls)
{
    KASSERT(calls->call && calls->first < calls->end && (!registered_calls || registered_calls == calls));
    registered_calls = calls;
}

const struct abi_calls *abi_calls_of(uint64_t number)
{
    const struct abi_calls *calls = registered_calls;
    return calls && number >= calls->first && number < calls->end ? calls : NULL;
}

void abi_task_ended(const struct task *task)
{
    if (registered_calls && registered_calls->task_ended)
        registered_calls->task_ended(task);
}

void user_calls_watch(void) { atomic32_store(&watched, 1); }
bool user_calls_watched(void) { return atomic32_load_relaxed(&watched); }

void user_ids_get(struct user_ids *ids)
{
    *ids = (struct user_ids){0};
    if (registered->ids)
        registered->ids(thread_current(), ids);
}

struct thread *user_thread_at(struct task *task, int32_t *id) { return registered->thread_at(task, id); }
int user_task_order(struct task *task, enum task_order order) { return registered->task_order(task, order); }

int64_t user_channel_open(user_channel_maker make, void *context)
{
    return registered->channel_open ? registered->channel_open(make, context) : -ENOSYS;
}

const struct abi_arrivals *abi_arrivals(void)
{
    KASSERT(registered && registered->arrivals);
    return registered->arrivals;
}

bool user_arrivals_known(void) { return registered->arrivals; }

bool user_may_change(const struct task *task) { return user_arrivals_known() || task == thread_current()->task; }

void user_enter(struct thread *thread, struct user_entry *entry)
{
    KASSERT(registered && thread == thread_current());
    registered->entry(thread, entry);
}

bool user_call_reads(uint64_t number, uint32_t *pointer, uint32_t *length)
{
    const struct abi_calls *calls = abi_calls_of(number);
    if (calls)
        return calls->call_reads && calls->call_reads(number, pointer, length);
    return registered && registered->call_reads && registered->call_reads(number, pointer, length);
}

bool user_call_writes(uint64_t number, uint32_t *pointer, uint32_t *length)
{
    const struct abi_calls *calls = abi_calls_of(number);
    if (calls)
        return calls->call_writes && calls->call_writes(number, pointer, length);
    return registered && registered->call_writes && registered->call_writes(number, pointer, length);
}

void user_returned(struct thread *thread, struct user_entry *entry)
{
    KASSERT(registered->call_returned && thread == thread_current() && entry->kind == USER_CALL);
    registered->call_returned(thread, entry);
}

bool user_call_parks(void) { return registered && registered->call_parks && registered->call_parks(); }

void user_call_return(struct user_entry *entry) { body_user_return(entry); }

static struct aspace *own_aspace(void)
{
    struct thread *thread = thread_current();
    KASSERT(thread && thread->task);
    return thread->task->aspace;
}

size_t user_read_some(void *to, uaddr_t from, size_t size)
{
    struct aspace *aspace = own_aspace();
    return aspace ? body_copy_in(aspace, to, from, size) : 0;
}

size_t user_write_some(uaddr_t to, const void *from, size_t size)
{
    struct aspace *aspace = own_aspace();
    return aspace ? body_copy_out(aspace, to, from, size) : 0;
}

int user_read(void *to, uaddr_t from, size_t size) { return user_read_some(to, from, size) == size ? 0 : -EFAULT; }
int user_write(uaddr_t to, const void *from, size_t size) { return user_write_some(to, from, size) == size ? 0 : -EFAULT; }

/* In pieces, the first as a body may have it at hand, that end at a page's end, so that a string at the end of what is mapped is read whole. */
int64_t user_read_string(char *to, uaddr_t from, size_t size)
{
    size_t length = 0;
    while (length < size) {
        size_t wanted = PAGE_SIZE - (size_t)((from + length) % PAGE_SIZE);
        if (wanted > size - length)
            wanted = size - length;
        if (wanted > (length ? CHUNK_BYTES : USER_WINDOW_BYTES))
            wanted = length ? CHUNK_BYTES : USER_WINDOW_BYTES;
        size_t got = user_read_some(to + length, from + length, wanted);
        const char *end = memchr(to + length, 0, got);
        if (end)
            return end - to;
        if (got < wanted)
            return -EFAULT;
        length += got;
    }
    return -ENAMETOOLONG;
}

int user_zero(uaddr_t to, size_t size)
{
    static const char zeros[CHUNK_BYTES];
    while (size > 0) {
        size_t chunk = size < CHUNK_BYTES ? size : CHUNK_BYTES;
        int error = user_write(to, zeros, chunk);
        if (error)
            return error;
        to += chunk;
        size -= chunk;
    }
    return 0;
}
