/*
 * User memory: remote copies through process_vm_readv and process_vm_writev, which respect the client's own
 * protections and stop at the first page that faults. Where those are forbidden (host_options.no_vm_access),
 * the client's stub copies through the data area of its slot, and a word is peeked at through /proc.
 */
#include "body/linux/attach.h"
#include "body/linux/demand.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* A partial transfer stops at an iovec's boundary, so each page is an iovec of its own near a fault. */
static size_t transfer(struct aspace *aspace, void *local, uaddr_t remote, size_t size, bool write)
{
    struct client *client = aspace->body;
    int32_t pid = client ? client_pid(client) : 0;
    size_t moved = 0;
    if (pid == 0)
        return 0;
    struct iovec here = {local, size}, there = {(void *)remote, size}; // NOLINT: an address of another process
    ssize_t got = write ? process_vm_writev(pid, &here, 1, &there, 1, 0) : process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (LIKELY(got == (ssize_t)size))
        return size;
    if (got > 0)
        moved = (size_t)got;
    while (moved < size) { /* a page at a time, to learn how far it goes */
        size_t piece = min_u64(size - moved, PAGE_SIZE - ((remote + moved) & (PAGE_SIZE - 1)));
        here = (struct iovec){(char *)local + moved, piece};
        there = (struct iovec){(void *)(remote + moved), piece};
        got = write ? process_vm_writev(pid, &here, 1, &there, 1, 0) : process_vm_readv(pid, &here, 1, &there, 1, 0);
        if (got != (ssize_t)piece)
            break;
        moved += piece;
    }
    return moved;
}

/* A slot's worth at a time, by the stub. */
static size_t transfer_by_stub(struct aspace *aspace, void *local, uaddr_t remote, size_t size, bool write)
{
    struct thread *thread = thread_current();
    struct user_thread *user = thread ? thread->user : NULL;
    bool borrowed = !user || user->client != aspace->body;
    size_t moved = 0;
    if (borrowed && (!thread || client_borrow(aspace->body, thread, &user)))
        return 0;
    while (moved < size) {
        size_t piece = min_u64(size - moved, user->client->attached ? ATTACH_COPY_BYTES : sizeof user->slot->data);
        uint64_t arguments[3] = {remote + moved, piece, 0};
        if (write)
            memcpy(user->slot->data, (char *)local + moved, piece);
        int64_t got = command_one(user, write ? STUB_COPY_OUT : STUB_COPY_IN, arguments, 3);
        if (got <= 0 || (uint64_t)got > piece)
            break;
        if (!write)
            memcpy((char *)local + moved, user->slot->data, (size_t)got);
        moved += (size_t)got;
        if ((size_t)got < piece)
            break;
    }
    if (borrowed)
        client_return(user);
    return moved;
}

static int peek_through_proc(struct aspace *aspace, uaddr_t address, uint32_t *value)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/mem", client_pid(aspace->body));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : pread(fd, value, sizeof *value, (off_t)address);
    if (fd >= 0)
        close(fd);
    return got == sizeof *value ? 0 : -EFAULT;
}

static bool in_user(uaddr_t address, size_t size) { return address < 0x800000000000ul && size <= 0x800000000000ul - address; }

static size_t clamp(uaddr_t address, size_t size)
{
    if (in_user(address, size))
        return size;
    return address < 0x800000000000ul ? 0x800000000000ul - address : 0;
}

static struct user_thread *own_user(const struct aspace *aspace)
{
    struct thread *thread = thread_current();
    struct user_thread *user = thread ? thread->user : NULL;
    return user && user->client == aspace->body ? user : NULL;
}

/* What came along with the call. The client can change it meanwhile, as it can change its memory: it is copied once. */
static bool copy_from_window(const struct aspace *aspace, void *to, uaddr_t from, size_t size)
{
    const struct user_thread *user = own_user(aspace);
    if (size > CALL_WINDOW_BYTES || !user)
        return false;
    const struct call_slot *slot = user->slot;
    uint64_t base = __atomic_load_n(&slot->window_address, __ATOMIC_RELAXED);
    uint64_t length = __atomic_load_n(&slot->window_size, __ATOMIC_RELAXED);
    if (length > CALL_WINDOW_BYTES || from < base || from - base > length || size > length - (from - base))
        return false;
    memcpy(to, slot->window + (from - base), size);
    return true;
}

/* An address space that exec is filling: what was put off is done before anybody looks. */
static bool settled(struct aspace *aspace)
{
    struct client *client = aspace->body;
    return LIKELY(!client || !client->filling) || aspace_settle(client) == 0;
}

static bool no_vm_access(const struct aspace *aspace)
{
    const struct client *client = aspace->body;
    return host_options.no_vm_access || (client && atomic32_load_relaxed(&client->no_vm_access));
}

/* What a pager may have to supply first, or the client to give back. */
static size_t transfer_paged(struct aspace *aspace, char *local, uaddr_t remote, size_t size, bool write)
{
    struct user_thread *user = own_user(aspace);
    size_t moved = 0;
    if (user && atomic32_load(&user->client->revokes) && demand_settle(user))
        return 0;
    do
        moved += (no_vm_access(aspace) ? transfer_by_stub : transfer)(aspace, local + moved, remote + moved, size - moved, write);
    while (moved < size && demand_copy(aspace, remote + moved, write));
    return moved;
}

static bool is_paged(const struct aspace *aspace)
{
    const struct client *client = aspace->body;
    return client && client->paged;
}

bool answer_put(struct user_thread *user, const struct answer_place *place, uaddr_t to, const void *from, size_t size)
{
    uint64_t room = min_u64(place->size, place->capacity), filled = user->answer_filled;
    if (to - place->address != filled || filled > room || size > room - filled)
        return false;
    memcpy(place->data + filled, from, size);
    user->answer_filled += (uint32_t)size;
    __atomic_store_n(place->filled, user->answer_filled, __ATOMIC_RELAXED);
    return true;
}

static bool copy_with_answer(const struct aspace *aspace, uaddr_t to, const void *from, size_t size)
{
    struct user_thread *user = own_user(aspace);
    if (!user || user->client->attached)
        return user && attach_copy_out(user, to, from, size);
    struct call_slot *slot = user->slot;
    struct answer_place place = {__atomic_load_n(&slot->answer_address, __ATOMIC_RELAXED), __atomic_load_n(&slot->answer_size, __ATOMIC_RELAXED),
                                 slot->answer, CALL_WINDOW_BYTES, &slot->answer_filled};
    return answer_put(user, &place, to, from, size);
}

/* What has been filled goes to where it belongs: somebody wants to read there. */
static void answer_deliver(struct aspace *aspace, struct user_thread *user)
{
    struct call_slot *slot = user->slot;
    uint8_t copy[CALL_WINDOW_BYTES];
    uint32_t filled = user->answer_filled;
    memcpy(copy, slot->answer, filled);
    user->answer_filled = 0;
    __atomic_store_n(&slot->answer_filled, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->answer_size, 0, __ATOMIC_RELAXED);
    body_copy_out(aspace, slot->answer_address, copy, filled);
}

static bool read_meets_answer(const struct user_thread *user, uaddr_t from, size_t size)
{
    uint64_t base = __atomic_load_n(&user->slot->answer_address, __ATOMIC_RELAXED);
    return from < base + user->answer_filled && base < from + size;
}

size_t body_copy_in(struct aspace *aspace, void *to, uaddr_t from, size_t size)
{
    size = clamp(from, size);
    struct user_thread *user = own_user(aspace);
    if (!settled(aspace))
        return 0;
    if (UNLIKELY(user && user->answer_filled && !user->client->attached) && read_meets_answer(user, from, size))
        answer_deliver(aspace, user);
    if (size && copy_from_window(aspace, to, from, size))
        return size;
    if (UNLIKELY(is_paged(aspace)))
        return transfer_paged(aspace, to, from, size, false);
    if (UNLIKELY(no_vm_access(aspace)))
        return transfer_by_stub(aspace, to, from, size, false);
    return size ? transfer(aspace, to, from, size, false) : 0;
}

size_t body_copy_out(struct aspace *aspace, uaddr_t to, const void *from, size_t size)
{
    size = clamp(to, size);
    struct client *client = aspace->body;
    if (UNLIKELY(client && client->filling) && !client->paged && aspace_copy_later(client, to, from, size))
        return size;
    if (!settled(aspace))
        return 0;
    if (copy_with_answer(aspace, to, from, size))
        return size;
    if (UNLIKELY(is_paged(aspace)))
        return transfer_paged(aspace, (char *)from, to, size, true);
    if (UNLIKELY(no_vm_access(aspace)))
        return transfer_by_stub(aspace, (void *)from, to, size, true);
    return size ? transfer(aspace, (void *)from, to, size, true) : 0;
}

int body_peek32(struct aspace *aspace, uaddr_t address, uint32_t *value)
{
    const struct client *client = aspace->body;
    if (UNLIKELY(!client || !atomic32_load(&client->ready_pid) || atomic32_load_relaxed(&client->revokes))) /* its hello is awaited where that is allowed: the copy that follows */
        return -EFAULT;
    if (UNLIKELY(no_vm_access(aspace)))
        return in_user(address, 4) ? peek_through_proc(aspace, address, value) : -EFAULT;
    return in_user(address, 4) && transfer(aspace, value, address, 4, false) == 4 ? 0 : -EFAULT;
}

int body_cas32(uaddr_t address, uint32_t expected, uint32_t desired, uint32_t *previous)
{
    struct thread *thread = thread_current();
    struct user_thread *user = thread ? thread->user : NULL;
    if (!user || !in_user(address, 4) || (address & 3))
        return -EFAULT;
    uint64_t arguments[3] = {address, expected, desired};
    int64_t result;
    do
        result = command_one(user, STUB_CAS32, arguments, 3);
    while (result < 0 && UNLIKELY(user->client->paged) && demand_copy(thread->task->aspace, address, true));
    if (result < 0)
        return -EFAULT;
    *previous = (uint32_t)result;
    return 0;
}
