/*
 * User threads: entering the kernel, registers, FP state, making and ending them.
 *
 * body_user_entry is where a user thread's microthread begins each time its slot has been claimed. It
 * decodes the slot (each word read once), lets the ABI work, and answers. Between the ABI's last look for
 * signals and the answer stands a race, closed in user_resume: mode := ANSWERING, then look once more; a sender
 * marks the thread interrupted first and reads the mode then (body_user_kick).
 */
#include "body/linux/attach.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CLONE_FLAGS_THREAD (0x01000000u | 0x00200000u | 0x100u | 0x200u | 0x400u | 0x800u | 0x10000u | 0x40000u)
#define CLONE_FLAGS_VFORK (0x01000000u | 0x00200000u | 0x100u | 17u)
#define CLONE_FLAGS_FORK 17u

/* --- entering ---------------------------------------------------------------------------------------- */

static void decode_fault(const struct call_slot *slot, struct user_entry *entry)
{
    entry->kind = USER_FAULT;
    entry->signal = slot->signal;
    entry->code = slot->code;
    entry->address = slot->fault_address;
    entry->trap_number = slot->trap_number;
    entry->error_code = slot->error_code;
    if (entry->signal != SIGSEGV && entry->signal != SIGBUS && entry->signal != SIGFPE && entry->signal != SIGTRAP)
        entry->signal = SIGILL;
}

static void decode(struct user_thread *user, struct user_entry *entry)
{
    const struct call_slot *slot = user->slot;
    user->regs_known = false;
    user->answer_filled = 0;
    user->regs_set = false;
    if (atomic32_load(&user->lost)) {
        entry->kind = USER_LOST;
        return;
    }
    uint32_t kind = __atomic_load_n(&slot->kind, __ATOMIC_RELAXED);
    user->trapped = kind & SLOT_TRAPPED;
    user->rewritable = kind & SLOT_REWRITABLE;
    if (UNLIKELY(user->client->attached != NULL))
        attach_decode(user, entry);
    switch (kind & SLOT_KIND_MASK) {
    case SLOT_KIND_CALL:
        entry->kind = USER_CALL;
        entry->number = slot->rax;
        entry->arguments[0] = slot->rdi;
        entry->arguments[1] = slot->rsi;
        entry->arguments[2] = slot->rdx;
        entry->arguments[3] = slot->r10;
        entry->arguments[4] = slot->r8;
        entry->arguments[5] = slot->r9;
        break;
    case SLOT_KIND_FAULT: decode_fault(slot, entry); break;
    default: entry->kind = USER_INTERRUPT; break;
    }
}

static void publish_registers(struct user_thread *user)
{
    struct call_slot *slot = user->slot;
    const struct user_regs *regs = &user->regs;
    slot->rax = regs->rax;
    slot->rdi = regs->rdi;
    slot->rsi = regs->rsi;
    slot->rdx = regs->rdx;
    slot->r10 = regs->r10;
    slot->r8 = regs->r8;
    slot->r9 = regs->r9;
    slot->rip = regs->rip;
    slot->rsp = regs->rsp;
    slot->eflags = regs->eflags;
    slot->rbx = regs->rbx;
    slot->rbp = regs->rbp;
    slot->r12 = regs->r12;
    slot->r13 = regs->r13;
    slot->r14 = regs->r14;
    slot->r15 = regs->r15;
    slot->rcx = regs->rcx;
    slot->r11 = regs->r11;
}

/* The ABI's work, and what comes of it, in the slot. */
static struct user_thread *enter(struct thread *thread, struct user_entry *entry)
{
    user_enter(thread, entry);
    struct user_thread *user = thread->user; /* exec may have replaced it */
    if (user->repeat)
        user->slot->rax = user->regs.rax = entry->number;
    else if (entry->kind == USER_CALL && !user->regs_set)
        user->slot->rax = user->regs.rax = (uint64_t)entry->result; /* both: an interrupt on the way out asks for the registers */
    return user;
}

/* What the thread enters with when it turns round on its way out. A call that was to be made again is, here. */
static void decode_again(struct user_thread *user, struct user_entry *entry)
{
    if (!atomic32_load(&user->lost) && user->repeat)
        decode(user, entry);
    else
        entry->kind = atomic32_load(&user->lost) ? USER_LOST : USER_INTERRUPT;
    user->repeat = false;
}

bool body_user_repeat(struct thread *thread)
{
    struct user_thread *user = thread->user;
    user->repeat = !user->trapped && !user->regs_set;
    return user->repeat;
}

NORETURN static void user_resume(struct user_thread *user)
{
    struct thread *thread = user->thread;
    for (;;) {
        uint32_t state = SLOT_ANSWERED;
        if (user->regs_set) {
            publish_registers(user);
            state = SLOT_CONTEXT;
        }
        uint32_t running = atomic32_add(&users_running, 1) + 1;
        mode_begin_answer(user);
        if (UNLIKELY(thread_interrupted(thread) || atomic32_load(&user->lost))) {
            mode_stay_in_kernel(user);
            atomic32_sub(&users_running, 1);
            struct user_entry entry = {0};
            decode_again(user, &entry);
            user = enter(thread, &entry);
            continue;
        }
        if (user->repeat) {
            user->slot->repeat = 1;
            user->repeat = false;
        }
        uint32_t spin = running - client_asleep(user->client) < loop_cpus ? CLIENT_SPIN_TURNS : 0;
        if (UNLIKELY(__atomic_load_n(&kernel_page->spin, __ATOMIC_RELAXED) != spin && loop_cpus > 1))
            __atomic_store_n(&kernel_page->spin, spin, __ATOMIC_RELAXED);
        user->fresh = false;
        hot_add(user);
        post_answer(user, state, MODE_USER);
        thread_park(body_user_entry, NULL);
    }
}

static void rewrite(struct user_thread *user);

void body_user_entry(UNUSED void *argument)
{
    struct thread *thread = thread_current();
    struct user_thread *user = thread->user;
    if (UNLIKELY(user->starting)) {
        user->starting = false;
        user_resume(user);
    }
    struct user_entry entry = {0};
    decode(user, &entry);
    if (entry.kind == USER_CALL) {
        STATISTIC(calls_served, 1);
        if (UNLIKELY(user->trapped)) {
            STATISTIC(traps, 1);
            if (user->rewritable)
                rewrite(user);
        }
    }
    user_resume(enter(thread, &entry));
}

/* The page must be private and not writable: rewriting a shared page would change the file for everybody. */
static bool may_rewrite(struct aspace *aspace, uint64_t address, uint64_t size)
{
    mutex_lock(&aspace->mutex);
    struct region *region = aspace_find_locked(aspace, address);
    bool fine = region && region->end - address >= size && (region->prot & PROT_EXEC_BIT) && !(region->prot & PROT_WRITE_BIT) &&
                !(region->flags & (REGION_SHARED | REGION_BODY));
    mutex_unlock(&aspace->mutex);
    return fine;
}

static void rewrite(struct user_thread *user)
{
    struct aspace *aspace = user->thread->task->aspace;
    uint64_t call = user->slot->rip - 2;
    bool fine = may_rewrite(aspace, call - 5, 13);
    mutex_lock(&user->client->rewriting);
    struct stub_command *command = command_at(user, 0, fine ? STUB_REWRITE : STUB_REFUSE_SITE);
    command->arguments[0] = call;
    command->arguments[1] = atomic32_load(&user->client->thread_count) > 1;
    if (commands_run(user, 1) == 0 && fine && command_result(user, 0) == 0)
        STATISTIC(sites_rewritten, 1);
    mutex_unlock(&user->client->rewriting);
}

/* --- registers --------------------------------------------------------------------------------------- */

void body_user_get_regs(struct thread *thread, struct user_regs *regs)
{
    struct user_thread *user = thread->user;
    if (!user->regs_known) {
        const struct call_slot *slot = user->slot;
        struct user_regs *known = &user->regs;
        known->rax = slot->rax;
        known->rdi = slot->rdi;
        known->rsi = slot->rsi;
        known->rdx = slot->rdx;
        known->r10 = slot->r10;
        known->r8 = slot->r8;
        known->r9 = slot->r9;
        known->rip = slot->rip;
        known->rsp = slot->rsp;
        known->eflags = slot->eflags;
        known->rbx = slot->rbx;
        known->rbp = slot->rbp;
        known->r12 = slot->r12;
        known->r13 = slot->r13;
        known->r14 = slot->r14;
        known->r15 = slot->r15;
        known->rcx = user->trapped ? slot->rcx : slot->rip;
        known->r11 = user->trapped ? slot->r11 : slot->eflags;
        user->regs_known = true;
    }
    *regs = user->regs;
}

void body_user_set_regs(struct thread *thread, const struct user_regs *regs)
{
    struct user_thread *user = thread->user;
    if (thread == thread_current())
        user_make_trapped(user);
    if (regs->fs_base != user->regs.fs_base) {
        user->slot->fs_base = regs->fs_base;
        user->slot->base_changes |= SLOT_SET_FS;
    }
    if (regs->gs_base != user->regs.gs_base) {
        user->slot->gs_base = regs->gs_base;
        user->slot->base_changes |= SLOT_SET_GS;
        if (!user->client->took_gs && thread == thread_current()) {
            command_one(user, STUB_DISABLE_REWRITING, NULL, 0);
            user->client->took_gs = true;
        }
    }
    user->regs = *regs;
    user->regs_known = true;
    user->regs_set = true;
}

/* The first process of the pool says it, before any guest code has run in it. */
static size_t fp_bytes;

void user_learn_fp_size(const struct client *client)
{
    uint64_t size = __atomic_load_n(&client->slots[0].fp_size, __ATOMIC_RELAXED);
    if (fp_bytes == 0 && size <= 16384)
        fp_bytes = size;
}

size_t body_user_fp_size(void) { return fp_bytes; }

int body_user_fp_save(uaddr_t to)
{
    struct user_thread *user = thread_current()->user;
    int error = user_make_trapped(user);
    if (error)
        return error;
    uint64_t arguments[2] = {to, body_user_fp_size()};
    int64_t result = command_one(user, STUB_FP_SAVE, arguments, 2);
    return result < 0 ? (int)result : 0;
}

int body_user_fp_load(uaddr_t from)
{
    struct user_thread *user = thread_current()->user;
    int error = user_make_trapped(user);
    if (error)
        return error;
    uint64_t arguments[2] = {from, body_user_fp_size()};
    int64_t result = command_one(user, STUB_FP_LOAD, arguments, 2);
    return result < 0 ? (int)result : 0;
}

void body_user_fp_reset(struct thread *thread)
{
    struct user_thread *user = thread->user;
    if (thread == thread_current() && !user->fresh && user_make_trapped(user) == 0)
        command_one(user, STUB_FP_RESET, NULL, 0);
}

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

/* --- kicking ----------------------------------------------------------------------------------------- */

/* Does the host's thread `tid` of that process have this id inside? */
static bool is_inner(int32_t pid, int32_t tid, int32_t inner_tid)
{
    char name[64], line[256];
    bool same = false;
    snprintf(name, sizeof name, "/proc/%d/task/%d/status", pid, tid);
    FILE *status = fopen(name, "r");
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, "NSpid:", 6) == 0) {
            const char *last = strrchr(line, '\t');
            same = last && atoi(last) == inner_tid;
            break;
        }
    }
    if (status)
        fclose(status);
    return same;
}

/*
 * The thread id that the server sees: the host tells it only in /proc, so it is looked up when first needed. Both ids are
 * given out in order, so threads made one after the other are the same distance apart: the last one found is tried first,
 * or the end of a thousand threads would look at each of them a thousand times.
 */
static int32_t find_outer_tid(struct user_thread *user)
{
    static struct atomic32 distance;
    char name[64];
    struct host_process *process = __atomic_load_n(&user->process, __ATOMIC_ACQUIRE);
    int32_t pid = process ? process->pid : (int32_t)atomic32_load(&user->client->ready_pid), found = 0;
    if (user->index == 0 || !user->inner_tid)
        return pid;
    int32_t guess = user->inner_tid + (int32_t)atomic32_load_relaxed(&distance);
    if (is_inner(pid, guess, user->inner_tid))
        return guess;
    snprintf(name, sizeof name, "/proc/%d/task", pid);
    DIR *dir = opendir(name);
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
        int32_t tid = atoi(entry->d_name);
        if (tid > 0 && is_inner(pid, tid, user->inner_tid))
            found = tid;
    }
    if (dir)
        closedir(dir);
    if (found)
        atomic32_store_relaxed(&distance, (uint32_t)(found - user->inner_tid));
    return found;
}

static int32_t outer_tid(struct user_thread *user)
{
    int32_t tid = (int32_t)atomic32_load(&user->outer_tid);
    if (tid == 0) {
        tid = find_outer_tid(user);
        atomic32_store(&user->outer_tid, (uint32_t)tid);
    }
    return tid;
}

static void signal_stub(struct user_thread *user)
{
    int32_t tid = outer_tid(user);
    struct host_process *process = __atomic_load_n(&user->process, __ATOMIC_ACQUIRE);
    int32_t pid = process ? process->pid : (int32_t)atomic32_load(&user->client->ready_pid);
    if (tid > 0 && pid > 0) {
        STATISTIC(kicks, 1);
        syscall(SYS_tgkill, pid, tid, STUB_INTERRUPT_SIGNAL);
    }
}

bool user_place(struct user_thread *user, uint32_t cpu, cpu_set_t *before)
{
    cpu_set_t set;
    int32_t tid = outer_tid(user);
    if (tid <= 0 || cpu >= CPU_SETSIZE || sched_getaffinity(tid, sizeof *before, before) || !CPU_ISSET(cpu, before))
        return false;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(tid, sizeof set, &set) == 0;
}

void user_place_back(struct user_thread *user, const cpu_set_t *before) { sched_setaffinity(outer_tid(user), sizeof *before, before); }

void body_user_kick(struct thread *thread)
{
    struct user_thread *user = thread == thread_current() ? NULL : user_of(thread);
    atomic_fence();
    enum user_mode mode = user ? mode_of(atomic32_load(&user->mode)) : MODE_KERNEL;
    if (user && user->client->attached) { /* nothing can be wanted of it that waits for it */
        user_thread_unref(user);
        return;
    }
    if ((mode == MODE_USER || mode == MODE_ANSWERING) && !atomic32_load(&user->lost))
        signal_stub(user);
    if (user && mode != MODE_KERNEL && thread_killed(thread))
        client_expect_end(user);
    if (user)
        user_thread_unref(user);
}

static uint64_t process_cpu_ns(int32_t pid)
{
    struct timespec used;
    /* Another process's CPU clock, as clock_getcpuclockid(3) encodes it: ~pid << 3 | SCHED. */
    if (clock_gettime((clockid_t)(((unsigned)~pid << 3) | 2), &used) < 0)
        return 0;
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* The host has a clock for a foreign process but none for one thread in it: /proc says it. */
static uint64_t thread_cpu_ns(int32_t pid, int32_t tid)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
    return strtoull(text, NULL, 10);
}

/* The host counts a program's and its stub's time as one: all of it is user time here. */
void body_user_cpu_time(struct thread *thread, uint64_t *user_ns, uint64_t *system_ns)
{
    struct user_thread *user = thread->user;
    *user_ns = *system_ns = 0;
    if (!user)
        return;
    struct host_process *process = __atomic_load_n(&user->process, __ATOMIC_ACQUIRE);
    int32_t pid = process ? process->pid : (int32_t)atomic32_load(&user->client->ready_pid);
    if (pid == 0)
        return;
    if (atomic32_load(&user->client->thread_count) <= 1) {
        *user_ns = process_cpu_ns(pid);
        return;
    }
    int32_t tid = outer_tid(user);
    *user_ns = tid > 0 ? thread_cpu_ns(pid, tid) : 0;
}

bool body_user_robust_list(struct thread *thread, uaddr_t *head)
{
    struct user_thread *user = user_of(thread);
    bool set = user && __atomic_load_n(&user->slot->robust_set, __ATOMIC_ACQUIRE);
    if (set)
        *head = __atomic_load_n(&user->slot->robust_list, __ATOMIC_RELAXED);
    if (user)
        user_thread_unref(user);
    return set;
}

void body_user_robust_forget(struct thread *thread)
{
    struct user_thread *user = thread->user;
    if (user && __atomic_load_n(&user->slot->robust_set, __ATOMIC_RELAXED))
        user->slot->robust_set = 0;
}

void body_user_publish_ids(struct thread *thread, int32_t process_id, int32_t thread_id, int32_t parent_id)
{
    struct user_thread *user = thread->user;
    if (!user)
        return;
    user->slot->process_id = process_id;
    user->slot->thread_id = thread_id;
    user->slot->parent_id = parent_id;
}
