/*
 * User threads: entering the kernel, registers, FP state.
 *
 * body_user_entry is where a user thread's microthread begins each time its slot has been claimed. It
 * decodes the slot (each word read once), lets the ABI work, and answers. Between the ABI's last look for
 * signals and the answer stands a race, closed in user_resume: mode := ANSWERING, then look once more; a sender
 * marks the thread interrupted first and reads the mode then (body_user_kick).
 */
#include "body/linux/attach.h"
#include "body/linux/demand.h"

#include <signal.h>

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

/* What comes of the ABI's work, in the slot. */
static struct user_thread *put_result(struct thread *thread, const struct user_entry *entry)
{
    struct user_thread *user = thread->user; /* exec may have replaced it */
    if (user->repeat)
        user->slot->rax = user->regs.rax = entry->number;
    else if (entry->kind == USER_CALL && !user->regs_set)
        user->slot->rax = user->regs.rax = (uint64_t)entry->result; /* both: an interrupt on the way out asks for the registers */
    return user;
}

static struct user_thread *enter(struct thread *thread, struct user_entry *entry)
{
    user_enter(thread, entry);
    return put_result(thread, entry);
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

/* A call travels with six arguments: the words of a message in registers would be lost. */
bool body_user_words(uint64_t words[8] UNUSED) { return false; }
void body_user_set_words(const uint64_t words[8] UNUSED, int64_t result UNUSED, uint64_t badge UNUSED) { panic("calls here carry no words"); }
void body_user_set_second(uint64_t argument UNUSED) { panic("calls here carry no words"); }
void (*body_user_again(void))(void *argument) { return NULL; }

/* The commands use the slot that holds the answer already. */
static void settle(struct user_thread *user)
{
    uint64_t result = user->slot->rax;
    demand_settle(user);
    user->slot->rax = result;
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
        if (UNLIKELY(thread_wanted(thread) || atomic32_load(&user->lost))) {
            mode_stay_in_kernel(user);
            atomic32_sub(&users_running, 1);
            struct user_entry entry = {0};
            decode_again(user, &entry);
            user = enter(thread, &entry);
            continue;
        }
        if (UNLIKELY(atomic32_load_relaxed(&user->client->revokes))) {
            mode_stay_in_kernel(user);
            atomic32_sub(&users_running, 1);
            settle(user);
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
    if (UNLIKELY(entry.kind == USER_FAULT && user->client->paged) && demand_fault(user, &entry))
        user_resume(user);
    user_resume(enter(thread, &entry));
}

void body_user_return(struct user_entry *entry)
{
    struct thread *thread = thread_current();
    user_returned(thread, entry);
    user_resume(put_result(thread, entry));
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

/* --- what stands in the slot --------------------------------------------------------------------------- */

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
