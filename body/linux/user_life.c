/*
 * User threads are made and end here: threads, vfork and fork children by the stub of the thread that asks, the first thread
 * of a program in a process of the pool, and the ways all of them leave.
 *
 * Every clone is ordered with a nonce that lets it through the filter once (sandbox_expect_clone); one that its stub says has
 * failed though it was made counts against the client (client_odd_clone).
 */
#include "body/linux/demand.h"
#include "body/linux/attach.h"

#define CLONE_FLAGS_THREAD (0x01000000u | 0x00200000u | 0x100u | 0x200u | 0x400u | 0x800u | 0x10000u | 0x40000u)
#define CLONE_FLAGS_VFORK (0x01000000u | 0x00200000u | 0x100u | 17u)
#define CLONE_FLAGS_FORK 17u

/* --- a thread's user side ------------------------------------------------------------------------------ */

static struct spinlock attach_lock = SPINLOCK_INIT(RANK_BODY);

void user_attach(struct thread *thread, struct user_thread *user)
{
    spin_lock(&attach_lock);
    thread->user = user;
    spin_unlock(&attach_lock);
}

struct user_thread *user_of(struct thread *thread)
{
    spin_lock(&attach_lock);
    struct user_thread *user = thread->user;
    if (user)
        user_thread_ref(user);
    spin_unlock(&attach_lock);
    return user;
}

static void count_threads(struct client *client, int change)
{
    atomic32_add(&client->thread_count, (uint32_t)change);
}

void user_started(struct user_thread *user)
{
    count_threads(user->client, 1);
    atomic32_add(&users_running, 1);
    atomic32_store(&user->mode, mode_with(atomic32_load_relaxed(&user->mode), MODE_USER));
}

/* --- making ------------------------------------------------------------------------------------------ */

int body_user_create(struct thread *thread, struct aspace *aspace)
{
    struct client *client = aspace->body;
    int error = aspace_settle(client);
    if (error)
        return error;
    struct user_thread *user = client_add_thread(client, thread);
    if (!user)
        return -ENOMEM;
    user->trapped = true;
    user->regs_known = true;
    user->main = user->fresh = true;
    user_attach(thread, user);
    return 0;
}

static struct user_thread *child_of(struct user_thread *parent, struct client *client, struct thread *thread)
{
    struct user_regs regs;
    body_user_get_regs(parent->thread, &regs);
    struct user_thread *user = client_add_thread(client, thread);
    if (!user)
        return NULL;
    user->regs = regs;
    user->regs_known = user->regs_set = true;
    user->trapped = true;
    return user;
}

/* Runs commands that need the whole context; the stub saves it first if it has not. `first` is where they begin. */
static int run_trapped(struct user_thread *parent, uint32_t first, uint32_t count)
{
    int error = commands_run(parent, first + count);
    if (!error)
        parent->trapped = true;
    return error;
}

static int64_t clone_by_stub(struct user_thread *parent, uint32_t operation, uint32_t index, uint64_t nonce)
{
    uint32_t first = command_trap(parent);
    struct stub_command *command = command_at(parent, first, operation);
    command->arguments[0] = index;
    command->arguments[1] = nonce;
    int error = run_trapped(parent, first, 1);
    return error ? error : command_result(parent, first);
}

static int clone_thread(struct user_thread *parent, struct thread *child, bool vfork)
{
    struct user_thread *user = child_of(parent, parent->client, child);
    if (!user)
        return -EAGAIN;
    uint64_t nonce = sandbox_expect_clone(vfork ? CLONE_FLAGS_VFORK : CLONE_FLAGS_THREAD);
    if (vfork)
        atomic32_add(&parent->client->hellos_due, 1);
    int64_t result = nonce ? clone_by_stub(parent, vfork ? STUB_CLONE_VFORK : STUB_CLONE_THREAD, user->index, nonce) : -EAGAIN;
    if (result <= 0) {
        if (nonce && !sandbox_forget_clone(nonce))
            client_odd_clone(parent->client);
        else if (vfork)
            atomic32_sub(&parent->client->hellos_due, 1);
        client_remove_thread(user);
        return result ? (int)result : -EAGAIN;
    }
    user->inner_tid = (int32_t)result;
    user->main = vfork;
    if (!vfork) { /* a vfork child is a host process of its own: its hello, which may be here already, says which */
        spin_lock(&user->client->lock);
        user->process = parent->process;
        spin_unlock(&user->client->lock);
    }
    user_attach(child, user);
    return 0;
}

static int64_t fork_by_stub(struct user_thread *parent, const int remote[3], uint64_t nonce, const struct user_word *word)
{
    uint32_t first = command_trap(parent);
    mutex_lock(&parent->client->passing);
    int error = sandbox_send_fds(parent->client->socket, ZYGOTE_SPAWN, remote, 3);
    if (!error) {
        command_at(parent, first, STUB_RECEIVE_FDS);
        struct stub_command *command = command_at(parent, first + 1, STUB_FORK);
        command->arguments[0] = nonce;
        command->arguments[1] = word ? word->address : 0;
        command->arguments[2] = word ? word->value : 0;
        error = run_trapped(parent, first, 2);
    }
    mutex_unlock(&parent->client->passing);
    return error ? error : command_result(parent, first + 1);
}

static int fork_client(struct user_thread *parent, struct thread *child, struct aspace *child_aspace, const struct user_word *word)
{
    int remote[3];
    struct client *client = sandbox_take_spare(remote);
    if (!client)
        return -EAGAIN;
    client->took_gs = parent->client->took_gs;
    client->paged = parent->client->paged;
    /* The child's stub goes on in the same area: it keeps its index. */
    struct user_thread *user = NULL;
    int64_t result = -ENOMEM;
    uint64_t nonce = sandbox_expect_clone(CLONE_FLAGS_FORK);
    struct user_regs regs;
    body_user_get_regs(parent->thread, &regs);
    user = client_add_thread_at(client, child, parent->index);
    if (user && nonce) {
        user->regs = regs;
        user->regs_known = user->regs_set = user->trapped = true;
        result = fork_by_stub(parent, remote, nonce, word);
    }
    client_close_remote(remote);
    bool made = nonce && !sandbox_forget_clone(nonce);
    if (made)
        client_expect_hello(client);
    if (result <= 0) {
        if (made)
            client_odd_clone(parent->client);
        if (user)
            client_remove_thread(user);
        client_unref(client);
        return result ? (int)result : -EAGAIN;
    }
    user->inner_tid = (int32_t)result;
    child_aspace->body = client;
    futex_census_place(child_aspace, (struct atomic32 *)client->pages->census);
    user->main = user->forked = true;
    user_attach(child, user);
    if (UNLIKELY(client->paged) && demand_forked(child_aspace))
        client_kill(client); /* no memory: it dies before it runs */
    return 0;
}

int body_user_clone(struct thread *child, struct aspace *child_aspace, enum user_clone_kind kind, const struct user_word *word)
{
    struct user_thread *parent = thread_current()->user;
    if (kind == USER_CLONE_FORK)
        return fork_client(parent, child, child_aspace, word);
    return clone_thread(parent, child, kind == USER_CLONE_VFORK);
}

void body_user_start(struct thread *thread)
{
    struct user_thread *user = thread->user;
    user->starting = true;
    count_threads(user->client, 1);
    if (user->forked)
        sandbox_want_spare();
    else if (user->main && user->index == 0)
        sandbox_want_process();
    user->forked = false;
    thread_unpark(thread);
}

/* --- ending ------------------------------------------------------------------------------------------ */

enum leaving {
    THREAD_LEAVES,
    PROCESS_LEAVES, /* the host process that the thread is in */
    ALL_LEAVE,      /* every host process of the client */
};

/*
 * The stub's thread goes by itself; nobody waits for it: its slot stays taken until the host clears host_tid. A process's
 * first thread waits on, unanswered, until the process goes: the host reaches the memory of a process through it. When
 * all go they are killed, and only a process that nobody knows yet is told to go.
 */
static void send_away(struct user_thread *user, enum leaving leaving)
{
    count_threads(user->client, -1);
    if (user->client->attached) {
        attach_send_away(user);
        return;
    }
    user_thread_ref(user);
    /* Out of the client's table first: the end of the host process is no loss to this thread any more. */
    client_remove_thread(user);
    bool killed = leaving == ALL_LEAVE && client_kill(user->client);
    if (!killed && !atomic32_load(&user->lost) && (leaving != THREAD_LEAVES || !user->main)) {
        command_at(user, 0, leaving == THREAD_LEAVES ? STUB_EXIT_THREAD : STUB_EXIT_PROCESS);
        user->slot->command_count = 1;
        post_answer(user, SLOT_COMMAND, MODE_KERNEL);
    }
    user_thread_unref(user);
}

int body_user_exec(struct aspace *aspace)
{
    struct thread *thread = thread_current();
    struct user_thread *old = thread->user;
    int error = body_user_create(thread, aspace);
    if (error)
        return error;
    struct user_thread *user = thread->user;
    count_threads(user->client, 1);
    sandbox_want_process();
    send_away(old, PROCESS_LEAVES); /* the other threads are gone */
    return 0;
}

void body_user_exit(bool last)
{
    struct thread *thread = thread_current();
    struct user_thread *user = thread->user;
    user_attach(thread, NULL);
    send_away(user, last ? ALL_LEAVE : THREAD_LEAVES);
}
