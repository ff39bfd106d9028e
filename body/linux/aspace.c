/*
 * Address spaces on Linux: what the region map decides, the client's own stub carries out.
 *
 * A batch of map operations becomes a batch of commands in the calling thread's slot. When the address space is
 * not the caller's own (exec fills a fresh one), the batch goes to the waiting first thread of that client, driven
 * from the calling microthread. Private anonymous memory is the host's; a memobj is mapped by a descriptor
 * that travels on the client's socket and is closed again in the same batch.
 *
 * Where no thread runs yet nobody can tell when an operation is carried out. So what exec does to a fresh address space is
 * only gathered (client->filling), small copies into it too, and goes to the stub in one round: when there is no more room,
 * when somebody reads the memory, and at the latest when a thread moves in (aspace_settle). A failure then is a failure of
 * all that comes after it, and in the end of the exec.
 */
#include "body/linux/demand.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OPERATION_COMMANDS 2u /* the most one map operation takes */
#define LAST_COMMANDS 1u      /* to close the descriptor that is held */

/* --- the vdso: where exec put it in the zygote, it is in every client -------------------------------- */

static struct {
    bool known;
    uint32_t count;
    struct {
        uaddr_t start, end;
        const char *name;
    } regions[4];
} fixed;

static void learn_fixed(int32_t pid)
{
    char path[32], line[256];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    while (maps && fgets(line, sizeof line, maps) && fixed.count < ARRAY_SIZE(fixed.regions)) {
        unsigned long start, end;
        const char *name = strstr(line, "[vdso]") ? "[vdso]" : strstr(line, "[vvar") ? "[vvar]" : NULL;
        if (name && sscanf(line, "%lx-%lx", &start, &end) == 2) {
            fixed.regions[fixed.count].start = start;
            fixed.regions[fixed.count].end = end;
            fixed.regions[fixed.count++].name = name;
        }
    }
    if (maps)
        fclose(maps);
    fixed.known = true;
}

/* The ABI's hints, where the stubs can read them. */
static void publish_windows(void)
{
    _Static_assert(CALL_WINDOW_BYTES == USER_WINDOW_BYTES, "what the kernel reads at once fits the window");
    for (uint32_t index = 0; index < CALL_WINDOWS; index++) {
        uint64_t number = index < CALL_WINDOWS_FIRST ? index : index - CALL_WINDOWS_FIRST + CALL_SECOND_FIRST;
        struct call_window *window = &kernel_page->windows[index];
        uint32_t pointer, length;
        if (user_call_reads(number, &pointer, &length)) {
            window->length = (uint8_t)(length + 1);
            window->pointer = (uint8_t)(pointer + 1);
        }
        if (user_call_writes(number, &pointer, &length)) {
            window->answer_length = (uint8_t)(length + 1);
            window->answer_pointer = (uint8_t)(pointer + 1);
        }
    }
}

static void filling_drop(struct client *client);

int body_aspace_create(struct aspace *aspace)
{
    struct client *client;
    int error = sandbox_take(&client);
    if (error)
        return error;
    if (!fixed.known) {
        learn_fixed(client_pid(client));
        user_learn_fp_size(client);
        publish_windows();
    }
    aspace->body = client;
    futex_census_place(aspace, (struct atomic32 *)client->pages->census);
    aspace->floor = 0x10000;
    aspace->ceiling = 0x7ffffffff000;
    error = aspace_add_body_region(aspace, SITE_TABLE_BASE, SITE_TABLE_SIZE, 0, "[hyla]");
    if (!error)
        error = aspace_add_body_region(aspace, STUB_REGION_BASE, STUB_REGION_END - STUB_REGION_BASE, 0, "[hyla]");
    for (uint32_t i = 0; i < fixed.count && !error; i++)
        error = aspace_add_body_region(aspace, fixed.regions[i].start, fixed.regions[i].end - fixed.regions[i].start,
                                       PROT_READ_BIT | (fixed.regions[i].name[3] == 's' ? PROT_EXEC_BIT : 0), fixed.regions[i].name);
    return error;
}

void body_aspace_destroy(struct aspace *aspace)
{
    struct client *client = aspace->body;
    if (!client->attached)
        client_kill(client);
    filling_drop(client);
    if (client->first) { /* filled, but no thread moved in */
        struct user_thread *first = client->first;
        client->first = NULL;
        client_remove_thread(first);
    }
    client_unref(client);
}

/* --- batches ----------------------------------------------------------------------------------------- */

struct batch {
    struct user_thread *user;
    uint32_t commands;
    uint32_t last_command[STUB_COMMANDS_MAX]; /* for each operation in the batch: the command that tells its result */
    uint32_t operations;
    uint32_t wanted[STUB_COMMANDS_MAX]; /* the least result that is a success */
    struct memobj *held; /* a reference: what the stub's descriptor register 0 maps once the commands before are done */
    bool held_write;
    bool placeholder; /* that is what the register holds */
    /* when it gathers (client->filling) */
    uint32_t data_used; /* bytes of the slot's data that copies have taken */
    int error;          /* of a round before this one: nothing works any more */
};

static void host_call_command(struct batch *batch, uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    struct stub_command *command = command_at(batch->user, batch->commands++, STUB_HOST_CALL);
    const uint64_t arguments[7] = {number, a, b, c, d, e, f};
    memcpy(command->arguments, arguments, sizeof arguments);
}

static int map_flags(const struct map_op *op)
{
    int flags = MAP_FIXED | (op->flags & REGION_SHARED ? MAP_SHARED : MAP_PRIVATE);
    if (!op->memobj)
        flags |= MAP_ANONYMOUS;
    if (op->flags & REGION_NO_RESERVE)
        flags |= MAP_NORESERVE;
    return flags;
}

static void release_held(struct batch *batch)
{
    object_unref(batch->held);
    batch->held = NULL;
}

/* May send a descriptor: it waits in the socket until its command takes it, in order. The one that is held may do. */
static int hold(struct batch *batch, struct memobj *memobj, bool write_shared)
{
    bool close_it;
    if (batch->held == memobj && batch->held_write == write_shared)
        return 0;
    int fd = memobj_host_fd(memobj, write_shared, &close_it);
    if (fd < 0)
        return fd;
    struct client *client = batch->user->client;
    char tag = client->attached ? (char)++client->fd_tag : ZYGOTE_SPAWN;
    int error = sandbox_send_fds(client->socket, tag, &fd, 1);
    if (close_it)
        close(fd);
    if (error)
        return error;
    command_at(batch->user, batch->commands++, STUB_RECEIVE_FDS)->arguments[1] = (uint8_t)tag;
    release_held(batch);
    batch->placeholder = false;
    batch->held = object_ref(memobj);
    batch->held_write = write_shared;
    return 0;
}

/* A range of a paged memobj with nothing in it: every access faults. */
static int add_placeholder(struct batch *batch, const struct map_op *op)
{
    int fd = demand_placeholder();
    if (batch->user->client->attached)
        return -ENODEV;
    if (fd >= 0 && !batch->placeholder)
        fd = sandbox_send_fds(batch->user->client->socket, ZYGOTE_SPAWN, &fd, 1);
    if (fd < 0)
        return fd;
    if (!batch->placeholder)
        command_at(batch->user, batch->commands++, STUB_RECEIVE_FDS)->arguments[1] = ZYGOTE_SPAWN;
    release_held(batch);
    batch->placeholder = true;
    struct stub_command *map = command_at(batch->user, batch->commands++, STUB_MAP_FD);
    const uint64_t arguments[6] = {op->address, op->size, op->prot, (uint64_t)(map_flags(op) | MAP_NORESERVE), 0, op->offset};
    memcpy(map->arguments, arguments, sizeof arguments);
    batch->user->client->paged = true;
    return 0;
}

static int add_map(struct batch *batch, const struct map_op *op)
{
    if (op->memobj && op->memobj->paged)
        return add_placeholder(batch, op);
    if (!op->memobj) {
        host_call_command(batch, SYS_mmap, op->address, op->size, op->prot, (uint64_t)map_flags(op), (uint64_t)-1, 0);
        return 0;
    }
    int error = hold(batch, op->memobj, (op->flags & REGION_SHARED) && (op->flags & REGION_MAY_WRITE || op->prot & PROT_WRITE_BIT));
    if (error)
        return error;
    struct stub_command *map = command_at(batch->user, batch->commands++, STUB_MAP_FD);
    const uint64_t arguments[6] = {op->address, op->size, op->prot, (uint64_t)map_flags(op), 0, op->offset};
    memcpy(map->arguments, arguments, sizeof arguments);
    return 0;
}

static int host_advice(int advice)
{
    switch ((enum aspace_advice)advice) {
    case ADVICE_DONT_NEED: return MADV_DONTNEED;
    case ADVICE_FREE: return MADV_FREE;
    case ADVICE_REMOVE: return MADV_REMOVE;
    case ADVICE_WILL_NEED: return MADV_WILLNEED;
    case ADVICE_POPULATE_READ: return MADV_POPULATE_READ;
    case ADVICE_POPULATE_WRITE: return MADV_POPULATE_WRITE;
    case ADVICE_HUGE_PAGE: return MADV_HUGEPAGE;
    case ADVICE_NO_HUGE_PAGE: return MADV_NOHUGEPAGE;
    case ADVICE_DONT_FORK: return MADV_DONTFORK;
    case ADVICE_DO_FORK: return MADV_DOFORK;
    case ADVICE_WIPE_ON_FORK: return MADV_WIPEONFORK;
    case ADVICE_KEEP_ON_FORK: return MADV_KEEPONFORK;
    }
    return MADV_NORMAL;
}

static int add_operation(struct batch *batch, const struct map_op *op)
{
    switch (op->kind) {
    case MAP_OP_MAP: return add_map(batch, op);
    case MAP_OP_UNMAP: host_call_command(batch, SYS_munmap, op->address, op->size, 0, 0, 0, 0); return 0;
    case MAP_OP_PROTECT: host_call_command(batch, SYS_mprotect, op->address, op->size, op->prot, 0, 0, 0); return 0;
    case MAP_OP_MOVE: {
        bool in_place = op->address == op->new_address;
        uint64_t flags = in_place ? 0 : MREMAP_MAYMOVE | MREMAP_FIXED | (op->flags & MAP_OP_KEEP_OLD ? 4 /* DONTUNMAP */ : 0);
        host_call_command(batch, SYS_mremap, op->address, op->size, op->new_size, flags, op->new_address, 0);
        return 0;
    }
    case MAP_OP_ADVISE:
        host_call_command(batch, SYS_madvise, op->address, op->size, (uint64_t)host_advice(op->advice), 0, 0, 0);
        return 0;
    case MAP_OP_BARRIER: /* membarrier: PRIVATE_EXPEDITED (8) or its SYNC_CORE (32), registered first (16, 64) */
        host_call_command(batch, SYS_membarrier, op->flags ? 64 : 16, 0, 0, 0, 0, 0);
        host_call_command(batch, SYS_membarrier, op->flags ? 32 : 8, 0, 0, 0, 0, 0);
        return 0;
    }
    return -EINVAL;
}

/* Sends what has been gathered; *done grows by what succeeded. */
static int batch_flush(struct batch *batch, size_t *done)
{
    if (batch->commands == 0)
        return 0;
    if (batch->held || batch->placeholder)
        command_at(batch->user, batch->commands++, STUB_CLOSE_FDS);
    batch->placeholder = false;
    release_held(batch);
    int error = commands_run(batch->user, batch->commands);
    for (uint32_t i = 0; i < batch->operations && !error; i++) {
        int64_t result = command_result(batch->user, batch->last_command[i]);
        if (result < 0 && result > -4096)
            error = (int)result;
        else if ((uint64_t)result < batch->wanted[i])
            error = -EFAULT;
        else
            ++*done;
    }
    batch->commands = batch->operations = 0;
    return error;
}

/* Makes room for one more operation. */
static int batch_room(struct batch *batch, size_t *done)
{
    return batch->commands + OPERATION_COMMANDS + LAST_COMMANDS > STUB_COMMANDS_MAX ? batch_flush(batch, done) : 0;
}

static void note_operation(struct batch *batch, uint32_t wanted)
{
    batch->wanted[batch->operations] = wanted;
    batch->last_command[batch->operations++] = batch->commands - 1;
}

static int batch_add(struct batch *batch, const struct map_op *op)
{
    uint32_t first = batch->commands;
    int error = add_operation(batch, op);
    if (error)
        batch->commands = first;
    else
        note_operation(batch, 0);
    return error;
}

/*
 * What is mapped of paged memobjs goes first where an operation would make it writable, or needs the range in one piece; it comes back by
 * faults. A private copy cannot go: it stays, and so may such a move fail.
 */
static int empty_paged(struct batch *batch, struct aspace *aspace, const struct map_op *op)
{
    uaddr_t end = op->address + op->size;
    int error = 0;
    for (struct region *region = aspace_find_after_locked(aspace, op->address); region && region->start < end && !error;
         region = aspace_find_after_locked(aspace, region->end)) {
        uaddr_t start = max_u64(region->start, op->address);
        struct map_op hole = {.kind = MAP_OP_MAP, .address = start, .size = min_u64(region->end, end) - start, .flags = region->flags,
                              .prot = op->kind == MAP_OP_PROTECT ? op->prot : region->prot, .memobj = region->memobj,
                              .offset = region->offset + (start - region->start)};
        size_t done = 0;
        if (!region->memobj || !region->memobj->paged || !(region->flags & REGION_SHARED))
            continue;
        error = batch_add(batch, &hole);
        if (!error)
            error = batch_flush(batch, &done);
    }
    return error;
}

static bool empties(const struct map_op *op)
{
    return (op->kind == MAP_OP_PROTECT && op->prot & PROT_WRITE_BIT) || op->kind == MAP_OP_MOVE ||
           (op->kind == MAP_OP_ADVISE && op->advice == ADVICE_DONT_NEED);
}

/* Populating is a hint that a pager does not take. */
static bool is_paged_hint(struct aspace *aspace, const struct map_op *op)
{
    const struct region *region = op->kind == MAP_OP_ADVISE ? aspace_find_locked(aspace, op->address) : NULL;
    return region && region->memobj && region->memobj->paged &&
           (op->advice == ADVICE_POPULATE_READ || op->advice == ADVICE_POPULATE_WRITE || op->advice == ADVICE_HUGE_PAGE);
}

/* Of an address space with paged memory: one by one. */
static int apply_paged(struct aspace *aspace, struct user_thread *user, const struct map_op *ops, size_t count, size_t *done)
{
    struct batch batch = {.user = user};
    int error = atomic32_load(&user->client->revokes) ? demand_settle(user) : 0;
    for (size_t i = 0; i < count && !error; i++) {
        size_t one = 0;
        if (is_paged_hint(aspace, &ops[i])) {
            ++*done;
            continue;
        }
        error = empties(&ops[i]) ? empty_paged(&batch, aspace, &ops[i]) : 0;
        if (!error)
            error = batch_add(&batch, &ops[i]);
        if (!error)
            error = batch_flush(&batch, &one);
        *done += one;
    }
    release_held(&batch);
    return error;
}

static int apply_now(struct user_thread *user, const struct map_op *ops, size_t count, size_t *done)
{
    struct batch batch = {.user = user};
    int error = 0;
    for (size_t i = 0; i < count && !error; i++) {
        error = batch_room(&batch, done);
        if (!error)
            error = batch_add(&batch, &ops[i]);
    }
    int flushed = batch_flush(&batch, done);
    release_held(&batch);
    return flushed ? flushed : error;
}

/* --- filling an address space that nobody runs in ----------------------------------------------------- */

static void filling_drop(struct client *client)
{
    if (client->filling)
        release_held(client->filling);
    kfree(client->filling);
    client->filling = NULL;
}

static int filling_flush(struct batch *filling)
{
    size_t done;
    int error = batch_flush(filling, &done);
    filling->data_used = 0;
    if (!filling->error)
        filling->error = error;
    return filling->error;
}

static int apply_later(struct user_thread *user, const struct map_op *ops, size_t count, size_t *done)
{
    struct client *client = user->client;
    if (!client->filling && !(client->filling = kzalloc(sizeof *client->filling)))
        return -ENOMEM;
    struct batch *filling = client->filling;
    size_t flushed;
    filling->user = user;
    for (size_t i = 0; i < count && !filling->error; i++) {
        filling->error = batch_room(filling, &flushed);
        if (filling->commands == 0)
            filling->data_used = 0;
        if (!filling->error)
            filling->error = batch_add(filling, &ops[i]);
        *done += !filling->error;
    }
    return filling->error;
}

bool aspace_copy_later(struct client *client, uaddr_t to, const void *from, size_t size)
{
    struct batch *filling = client->filling;
    struct user_thread *user;
    if (!filling || size > sizeof user->slot->data || client_borrow(client, thread_current(), &user))
        return false;
    filling->user = user;
    if (filling->data_used + size > sizeof user->slot->data || filling->commands + 1 + LAST_COMMANDS > STUB_COMMANDS_MAX)
        filling_flush(filling);
    memcpy(user->slot->data + filling->data_used, from, size);
    struct stub_command *copy = command_at(user, filling->commands, STUB_COPY_OUT);
    copy->arguments[0] = to;
    copy->arguments[1] = size;
    copy->arguments[2] = filling->data_used;
    filling->commands++;
    note_operation(filling, (uint32_t)size);
    filling->data_used += (uint32_t)size;
    client_return(user);
    return !filling->error;
}

int aspace_settle(struct client *client)
{
    struct user_thread *user;
    if (!client->filling)
        return 0;
    int error = client_borrow(client, thread_current(), &user);
    if (error)
        return error;
    client->filling->user = user;
    error = filling_flush(client->filling);
    if (!error)
        filling_drop(client);
    client_return(user);
    return error;
}

int body_aspace_apply(struct aspace *aspace, const struct map_op *ops, size_t count, size_t *done)
{
    struct thread *thread = thread_current();
    struct user_thread *own = thread ? thread->user : NULL, *user;
    struct client *client = aspace->body;
    *done = 0;
    if (!client)
        return -EFAULT;
    if (own && own->client == client)
        return UNLIKELY(client->paged) ? apply_paged(aspace, own, ops, count, done) : apply_now(own, ops, count, done);
    int error = client_borrow(client, thread, &user);
    if (error)
        return error;
    error = client->first && !client->attached ? apply_later(user, ops, count, done) : apply_now(user, ops, count, done);
    client_return(user);
    return error;
}
