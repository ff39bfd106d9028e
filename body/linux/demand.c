/*
 * Mapping on demand: paged memobjs in clients' address spaces.
 *
 * Where no page is mapped a *placeholder* is: a mapping, with the region's own protection, of an empty file that cannot grow, so any
 * access faults (SIGBUS) whatever mprotect, mremap or a fork do with it. The fault becomes the kernel's (demand_fault): it has the page
 * brought in, waits for that without a lock, and the stub maps it from the memobj's memfd, read-only while it is clean. The first
 * write faults again (SIGSEGV). Remote copies fail at both, and have the same done before they go on (demand_copy).
 *
 * Pages are taken back (body_memobj_revoke) by the client itself. What it is to do is written down (client->revokes) and its threads
 * that are in user mode are kicked; each on its way out of the kernel carries out what is written, or waits until another thread has
 * (demand_settle). So the revoker need only wait until either it is done or nobody is in user mode.
 *
 *      revoker                            a thread that leaves the kernel (user_resume)
 *   1. revokes := written                 1. mode := ANSWERING
 *   2. reads modes, kicks                 2. reads revokes
 * Either it sees the revokes at 2, or the revoker its mode.
 *
 * All maps and revokes of one address space happen under its mutex. A client that does not come in within REVOKE_PATIENCE keeps the
 * page: it is stopped or hostile, and harms the contents only that it could write anyway.
 */
#include "body/linux/demand.h"

#include "kernel/memobj.h"
#include "kernel/waitq.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REVOKE_PATIENCE 2000000000u /* ns */
#define REVOKE_LOOK_FIRST 20000u    /* ns until the threads' modes are looked at again: twice as long each time … */
#define REVOKE_LOOK_MOST 1000000u
#define REVOKES_MAX 65536u           /* written down for one client */
#define REVOKES_STEP 16u
#define AROUND_PAGES 16u            /* mapped with the one that is needed, as far as they are there */
#define PF_WRITE 2u                 /* in a page fault's error code */

/* --- placeholders ------------------------------------------------------------------------------------- */

int demand_placeholder(void)
{
    static struct atomic32 made; /* its number plus one */
    uint32_t known = atomic32_load(&made), none = 0;
    if (known)
        return (int)known - 1;
    int fd = memfd_create("hyla hole", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    if (!atomic32_cas(&made, &none, (uint32_t)fd + 1)) {
        close(fd);
        return (int)none - 1;
    }
    return fd;
}

/* --- commands ----------------------------------------------------------------------------------------- */

/* Has the stub map a descriptor; aspace->mutex held. The result of its mmap, or an error. */
static int64_t map_fd(struct user_thread *user, int fd, uaddr_t address, uint64_t size, uint32_t prot, uint32_t flags, uint64_t offset)
{
    const uint64_t arguments[6] = {address, size, prot, (uint64_t)(MAP_FIXED | (flags & REGION_SHARED ? MAP_SHARED : MAP_PRIVATE)), 0, offset};
    mutex_lock(&user->client->passing);
    int error = sandbox_send_fds(user->client->socket, ZYGOTE_SPAWN, &fd, 1);
    if (!error) {
        command_at(user, 0, STUB_RECEIVE_FDS)->arguments[1] = ZYGOTE_SPAWN;
        memcpy(command_at(user, 1, STUB_MAP_FD)->arguments, arguments, sizeof arguments);
        command_at(user, 2, STUB_CLOSE_FDS);
        error = commands_run(user, 3);
    }
    mutex_unlock(&user->client->passing);
    return error ? error : command_result(user, 1);
}

static bool failed(int64_t result) { return result < 0 && result > -4096; }

/* --- revokes ------------------------------------------------------------------------------------------ */

static int64_t carry_out(struct user_thread *user, const struct revoke *revoke)
{
    const struct revoke copy = *revoke;
    if (copy.writes_only) {
        const uint64_t arguments[4] = {SYS_mprotect, copy.address, copy.size, copy.prot & ~(uint32_t)PROT_WRITE_BIT};
        return command_one(user, STUB_HOST_CALL, arguments, 4);
    }
    int fd = demand_placeholder();
    return fd < 0 ? fd : map_fd(user, fd, copy.address, copy.size, copy.prot, REGION_SHARED, copy.offset);
}

/* The first that is written down. False: none. */
static bool revokes_first(struct client *client, struct revoke *revoke)
{
    spin_lock(&client->lock);
    bool some = atomic32_load_relaxed(&client->revokes) > 0;
    if (some)
        *revoke = client->revoke_list[0];
    spin_unlock(&client->lock);
    return some;
}

static void revokes_drop_first(struct client *client)
{
    spin_lock(&client->lock);
    uint32_t count = atomic32_load_relaxed(&client->revokes) - 1;
    memmove(client->revoke_list, client->revoke_list + 1, count * sizeof client->revoke_list[0]);
    atomic32_store(&client->revokes, count);
    spin_unlock(&client->lock);
}

int demand_settle(struct user_thread *user)
{
    struct client *client = user->client;
    struct revoke revoke;
    int64_t result = 0;
    mutex_lock(&client->revoking);
    while (revokes_first(client, &revoke) && !failed(result)) {
        result = carry_out(user, &revoke);
        if (result != -ESRCH) /* else it dies, and another thread may do it */
            revokes_drop_first(client);
    }
    mutex_unlock(&client->revoking);
    waitq_wake_all(&client->revoked);
    return failed(result) ? (int)result : 0;
}

/* Room for so many more. -ENOMEM: none, or they are too many. */
static int revokes_reserve(struct client *client, uint32_t more)
{
    struct revoke *old = NULL, *list;
    spin_lock(&client->lock);
    uint32_t room = client->revoke_room, needed = atomic32_load_relaxed(&client->revokes) + more;
    spin_unlock(&client->lock);
    if (needed <= room)
        return 0;
    if (needed > REVOKES_MAX || !(list = kcalloc(needed + REVOKES_STEP, sizeof *list)))
        return -ENOMEM;
    spin_lock(&client->lock);
    if (client->revoke_room < needed) {
        old = client->revoke_list;
        if (old)
            memcpy(list, old, atomic32_load_relaxed(&client->revokes) * sizeof *list);
        client->revoke_list = list;
        client->revoke_room = needed + REVOKES_STEP;
    } else {
        old = list;
    }
    spin_unlock(&client->lock);
    kfree(old);
    return 0;
}

/* The address space's mutex is held, so nobody else writes. */
static int revoke_write(struct client *client, const struct revoke *revoke)
{
    int error = revokes_reserve(client, 1);
    if (error)
        return error;
    spin_lock(&client->lock);
    uint32_t count = atomic32_load_relaxed(&client->revokes);
    client->revoke_list[count] = *revoke;
    atomic32_store(&client->revokes, count + 1);
    spin_unlock(&client->lock);
    return 0;
}

int demand_forked(struct aspace *child)
{
    struct client *client = child->body;
    int error = 0;
    mutex_lock(&child->mutex);
    for (struct region *region = aspace_find_after_locked(child, 0); region && !error; region = aspace_find_after_locked(child, region->end)) {
        if (region->memobj && region->memobj->paged && (region->flags & REGION_SHARED))
            error = revoke_write(client, &(struct revoke){.address = region->start, .size = region->end - region->start,
                                                          .offset = region->offset, .prot = region->prot});
    }
    mutex_unlock(&child->mutex);
    return error;
}

/* Whether some thread may be in user mode; all such are kicked when `kick`. */
static bool anybody_out(struct client *client, bool kick)
{
    uint64_t slots[CLIENT_THREADS_MAX / 64];
    bool out = false;
    client_slots_used(client, slots);
    for (uint32_t index = 0; index < CLIENT_THREADS_MAX; index++) {
        if (!(slots[index / 64] >> (index % 64) & 1))
            continue;
        spin_lock(&client->lock);
        struct user_thread *user = client_thread_at_locked(client, index);
        if (user)
            user_thread_ref(user);
        spin_unlock(&client->lock);
        enum user_mode mode = user ? mode_of(atomic32_load(&user->mode)) : MODE_KERNEL;
        if ((mode == MODE_USER || mode == MODE_ANSWERING) && !atomic32_load(&user->lost)) {
            out = true;
            if (kick)
                user_kick(user);
        }
        if (user)
            user_thread_unref(user);
    }
    return out;
}

static bool revokes_wait(struct client *client)
{
    nanoseconds_t begin = body_now(), look = REVOKE_LOOK_FIRST;
    bool kick = true;
    while (atomic32_load(&client->revokes) && anybody_out(client, kick)) {
        nanoseconds_t now = body_now();
        if (now - begin > REVOKE_PATIENCE)
            return false;
        waitq_sleep(&client->revoked, NULL, now + look, WAIT_UNINTERRUPTIBLE);
        kick = false;
        look = min_u64(look * 2, REVOKE_LOOK_MOST);
    }
    return true;
}

/* One region's part. aspace->mutex held. */
static bool revoke_region(struct client *client, struct user_thread *own, const struct region *region, uint64_t from, uint64_t end, bool writes_only)
{
    struct revoke revoke = {.address = region->start + (from - region->offset), .size = end - from, .offset = from, .prot = region->prot, .writes_only = writes_only};
    if (!(region->flags & REGION_SHARED))
        return writes_only; /* what has been copied there cannot be told from what has not */
    if (own)
        return !failed(carry_out(own, &revoke));
    atomic_fence();
    return !revoke_write(client, &revoke) && revokes_wait(client);
}

static bool revoke_in(struct aspace *aspace, struct memobj *memobj, uint64_t from, uint64_t end, bool writes_only)
{
    struct thread *thread = thread_current();
    bool all = true;
    mutex_lock(&aspace->mutex);
    struct client *client = aspace->body;
    struct user_thread *own = thread && thread->user && ((struct user_thread *)thread->user)->client == client ? thread->user : NULL;
    if (own && client && atomic32_load(&client->revokes))
        demand_settle(own);
    for (struct region *region = aspace_find_after_locked(aspace, 0); client && region; region = aspace_find_after_locked(aspace, region->end)) {
        uint64_t low = max_u64(from, region->offset), high = min_u64(end, region->offset + (region->end - region->start));
        if (region->memobj == memobj && low < high)
            all &= revoke_region(client, own, region, low, high, writes_only);
    }
    mutex_unlock(&aspace->mutex);
    return all;
}

bool body_memobj_revoke(struct memobj *memobj, uint64_t first, uint64_t count, bool writes_only)
{
    struct aspace **aspaces;
    uint32_t found;
    bool all = true;
    if (memobj_aspaces(memobj, &aspaces, &found))
        return false;
    for (uint32_t i = 0; i < found; i++) {
        all &= revoke_in(aspaces[i], memobj, first << PAGE_SHIFT, (first + count) << PAGE_SHIFT, writes_only);
        object_unref(aspaces[i]);
    }
    kfree(aspaces);
    return all;
}

/* --- faults ------------------------------------------------------------------------------------------- */

struct wanted {
    struct memobj *memobj; /* a reference */
    uint64_t index;
    bool dirties;
};

/* Pages around one that is to be read, which are there too; those of a write stay alone. memobj->mutex held. */
static void around(struct memobj *memobj, const struct region *region, uint64_t index, uint64_t *first, uint64_t *end)
{
    uint64_t low = region->offset >> PAGE_SHIFT, high = low + ((region->end - region->start) >> PAGE_SHIFT);
    void *page;
    bool writable;
    uint64_t base = index & ~(uint64_t)(AROUND_PAGES - 1);
    while (*first > max_u64(low, base) && memobj_page_locked(memobj, *first - 1, false, &page, &writable) == 0 && !writable)
        --*first;
    while (*end < min_u64(high, base + AROUND_PAGES) && memobj_page_locked(memobj, *end, false, &page, &writable) == 0 && !writable)
        ++*end;
}

/* aspace->mutex held. 0: mapped. -EAGAIN: wait for `wanted`. */
static int map_page(struct user_thread *user, struct region *region, uaddr_t address, bool write, struct wanted *wanted)
{
    struct memobj *memobj = region->memobj;
    bool shared = region->flags & REGION_SHARED, writable, close_it;
    uint64_t index = (region->offset + (address - region->start)) >> PAGE_SHIFT, first = index, end = index + 1;
    void *page;
    *wanted = (struct wanted){.memobj = object_ref(memobj), .index = index, .dirties = write && shared};
    int fd = memobj_host_fd(memobj, shared && region->flags & REGION_MAY_WRITE, &close_it);
    if (fd < 0)
        return fd;
    mutex_lock(&memobj->mutex);
    int error = memobj_page_locked(memobj, index, write && shared, &page, &writable);
    if (!error && !(shared && writable))
        around(memobj, region, index, &first, &end);
    mutex_unlock(&memobj->mutex);
    if (!error) {
        uint32_t prot = shared && !writable ? region->prot & ~(uint32_t)PROT_WRITE_BIT : region->prot;
        const struct revoke all = {.address = region->start, .size = region->end - region->start, .offset = region->offset, .prot = region->prot};
        uaddr_t start = region->start + ((first << PAGE_SHIFT) - region->offset);
        int64_t result = map_fd(user, fd, start, (end - first) << PAGE_SHIFT, prot, region->flags, first << PAGE_SHIFT);
        if (result == -ENOMEM && shared && !failed(carry_out(user, &all))) /* too many mappings for the host: begin anew */
            result = map_fd(user, fd, start, (end - first) << PAGE_SHIFT, prot, region->flags, first << PAGE_SHIFT);
        error = failed(result) ? (int)result : 0;
    }
    if (close_it)
        close(fd);
    return error;
}

/* -EFAULT: it is no page of a pager's, or the region does not allow it. */
static int try_page(struct aspace *aspace, struct user_thread *user, uaddr_t address, bool write, struct wanted *wanted)
{
    int error = -EFAULT;
    mutex_lock(&aspace->mutex);
    if (!atomic32_load(&user->client->revokes) || demand_settle(user) == 0) {
        struct region *region = aspace_find_locked(aspace, address);
        if (region && region->memobj && region->memobj->paged && (write ? region->prot & PROT_WRITE_BIT : region->prot))
            error = map_page(user, region, address, write, wanted);
    }
    mutex_unlock(&aspace->mutex);
    return error;
}

/* 0: try the access again. Errors as try_page has them, -ENXIO, -EIO, -EINTR. No lock held. */
static int bring_page(struct aspace *aspace, struct user_thread *user, uaddr_t address, bool write, enum wait_flags flags)
{
    int error;
    do {
        struct wanted wanted = {0};
        error = try_page(aspace, user, address & PAGE_MASK, write, &wanted);
        if (!error && wanted.dirties)
            memobj_told(wanted.memobj);
        if (error == -EAGAIN) {
            error = memobj_page_wait(wanted.memobj, wanted.index, wanted.dirties, flags);
            error = !error ? -EAGAIN : error == -EINTR ? error : -EIO;
        }
        object_unref(wanted.memobj);
    } while (error == -EAGAIN);
    return error;
}

bool demand_fault(struct user_thread *user, struct user_entry *entry)
{
    struct aspace *aspace = user->thread->task->aspace;
    int error = bring_page(aspace, user, entry->address, entry->error_code & PF_WRITE, WAIT_INTERRUPTIBLE);
    if (!error || error == -EINTR) /* with a signal to be seen to on the way out */
        return true;
    if (error != -EFAULT) {
        entry->signal = SIGBUS;
        entry->code = BUS_ADRERR;
    }
    return false;
}

bool demand_copy(struct aspace *aspace, uaddr_t address, bool write)
{
    struct thread *thread = thread_current();
    struct client *client = aspace->body;
    struct user_thread *user = thread ? thread->user : NULL;
    bool own = user && user->client == client;
    if (!thread || mutex_owned(&aspace->mutex) || (!own && (!client->first || client_borrow(client, thread, &user))))
        return false;
    bool done = bring_page(aspace, user, address, write, WAIT_KILLABLE) == 0;
    if (!own)
        client_return(user);
    return done;
}
