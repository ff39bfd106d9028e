/*
 * User threads: entering and leaving user mode, registers, making and ending them.
 *
 * A user thread keeps its kernel stack while it is in user mode: that is a function call (trap_run_user) which returns when
 * something happens. Between the last look for signals and user mode stands a race with body_user_kick, settled by order: the
 * thread publishes its hart in `mode`, then looks (1, 2); who interrupts marks the thread, then reads `mode` and
 * interrupts that hart (3, 4). With interrupts disabled from 1 on, the hart's interrupt waits until user mode and ends it.
 */
#include "body/riscv64/user.h"

#include "body/riscv64/csr.h"
#include "body/riscv64/fast.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/space.h"
#include "body/riscv64/trap.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/paging/paging.h"
#include "kernel/string.h"
#include "kernel/task.h"
#include "kernel/thread.h"

/* The fault classes in Linux's numbers (kernel/user.h). */
enum { SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGSEGV = 11 };
enum { SEGV_MAPERR = 1, SEGV_ACCERR = 2, BUS_ADRALN = 1, BUS_ADRERR = 2, ILL_ILLOPC = 1, TRAP_BRKPT = 1 };

static struct spinlock user_lock = SPINLOCK_INIT(RANK_BODY - 5); /* guards thread->user against body_user_kick */

/* --- user mode ----------------------------------------------------------------------------------------- */

static void fetch_anew(struct hart *hart)
{
    if (atomic64_load(&hart->instructions_stale)) {
        atomic64_store(&hart->instructions_stale, 0);
        fence_instructions();
    }
}

/* False: the thread has been interrupted and did not run. Interrupts disabled. */
static bool run(struct thread *thread, struct user_thread *user, uint64_t *cause, uint64_t *value)
{
    struct hart *hart = hart_self();
    atomic32_store(&user->mode, hart->index + 1); /* 1 */
    atomic_fence();
    if (thread_wanted(thread)) { /* 2 */
        atomic32_store(&user->mode, 0);
        return false;
    }
    space_activate(user->space);
    fetch_anew(hart);
    hart_slice_begin();
    hart->user_since = csr_read("time");
    csr_clear("sstatus", SSTATUS_SPP | SSTATUS_SUM);
    csr_set("sstatus", SSTATUS_SPIE);
    fp_enter_user(user);
    *cause = trap_run_user(&user->regs);
    *value = csr_read("stval");
    return true;
}

/* The thread that came back from user mode: not always the one that went there (fast.c). Interrupts disabled. */
static void left(struct user_thread *user)
{
    uint64_t now = csr_read("time");
    user->fp_was_off = !(csr_read("sstatus") & SSTATUS_FS);
    fp_left_user(user);
    atomic64_store_relaxed(&user->user_ticks, atomic64_load_relaxed(&user->user_ticks) + now - hart_self()->user_since);
    atomic32_store(&user->mode, 0);
}

/* --- what came ----------------------------------------------------------------------------------------- */

static void set_fault(struct user_entry *entry, int32_t signal, int32_t code, uint64_t address)
{
    entry->kind = USER_FAULT;
    entry->signal = signal;
    entry->code = code;
    entry->address = address;
}

/* A page fault that the paging code could not settle. No memory for a page ends the program, as a killed one. */
static void decode_page_fault(struct user_entry *entry, int error, uint64_t address)
{
    switch (error) {
    case -EACCES: set_fault(entry, SIGSEGV, SEGV_ACCERR, address); break;
    case -EIO:
    case -ENXIO: set_fault(entry, SIGBUS, BUS_ADRERR, address); break;
    case -ENOMEM: entry->kind = USER_LOST; break;
    default: set_fault(entry, SIGSEGV, SEGV_MAPERR, address); break;
    }
}

static void decode_call(struct user_thread *user, struct user_entry *entry)
{
    struct user_regs *regs = &user->regs;
    entry->kind = USER_CALL;
    entry->number = regs->a7;
    memcpy(entry->arguments, &regs->a0, sizeof entry->arguments);
    regs->pc += 4;
}

/* False: settled, nobody need know. */
static bool decode(struct thread *thread, struct user_thread *user, uint64_t cause, uint64_t value, struct user_entry *entry)
{
    static const uint8_t accesses[16] = {[CAUSE_FETCH_PAGE] = PROT_EXEC_BIT, [CAUSE_LOAD_PAGE] = PROT_READ_BIT, [CAUSE_STORE_PAGE] = PROT_WRITE_BIT};
    int error;
    switch (cause) {
    case CAUSE_USER_CALL: decode_call(user, entry); return true;
    case CAUSE_FETCH_PAGE:
    case CAUSE_LOAD_PAGE:
    case CAUSE_STORE_PAGE:
        error = paging_fault(thread->task->aspace, value, (enum region_prot)accesses[cause], WAIT_INTERRUPTIBLE);
        if (!error || error == -EINTR) /* with a signal to be seen to on the way out */
            return false;
        decode_page_fault(entry, error, value);
        break;
    case CAUSE_BREAKPOINT: set_fault(entry, SIGTRAP, TRAP_BRKPT, user->regs.pc); break;
    case CAUSE_ILLEGAL:
        if (user->fp_was_off) /* perhaps that was why: it goes back with its floating-point registers loaded */
            return false;
        set_fault(entry, SIGILL, ILL_ILLOPC, user->regs.pc);
        break;
    case FAST_CAUSE: entry->kind = USER_INTERRUPT; return true;
    case CAUSE_FETCH_MISALIGNED:
    case CAUSE_LOAD_MISALIGNED:
    case CAUSE_STORE_MISALIGNED: set_fault(entry, SIGBUS, BUS_ADRALN, value); break;
    default: set_fault(entry, SIGSEGV, SEGV_ACCERR, value); break;
    }
    entry->trap_number = cause;
    return true;
}

static void put_result(struct thread *thread, const struct user_entry *entry)
{
    struct user_thread *user = thread->user; /* the thread may have ended in the ABI, but then we are not here */
    if (entry->kind == USER_CALL && !user->regs_set)
        user->regs.a0 = (uint64_t)entry->result;
}

static void serve(struct thread *thread, struct user_thread *user, struct user_entry *entry)
{
    user->regs_set = false;
    user_enter(thread, entry);
    put_result(thread, entry);
}

/* The slice may have ended while the thread was in the kernel: then it has to give way before user mode. */
static void round_trip(void)
{
    struct thread *thread = thread_current();
    struct user_entry entry = {.kind = USER_INTERRUPT};
    uint64_t cause = 0, value = 0;
    body_interrupts_disable();
    bool over = hart_slice_over(), ran = !over && run(thread, thread->user, &cause, &value);
    thread = thread_current(); /* see left() */
    struct user_thread *user = thread->user;
    if (ran)
        left(user);
    bool interrupt = ran && (cause & CAUSE_INTERRUPT);
    if (interrupt) {
        trap_interrupt(cause);
        hart_slice_over(); /* it gives way now: whom it gives way to shall not do so again */
    }
    body_interrupts_restore(1);
    if (interrupt || over)
        thread_yield();
    else if (!ran || decode(thread, user, cause, value, &entry))
        serve(thread, user, &entry);
}

void body_user_entry(UNUSED void *argument)
{
    for (;;)
        round_trip();
}

void user_again(UNUSED void *argument)
{
    struct thread *thread = thread_current();
    struct user_thread *user = thread->user;
    struct user_entry entry = {.kind = USER_CALL, .number = user->regs.a7};
    memcpy(entry.arguments, &user->regs.a0, sizeof entry.arguments);
    serve(thread, user, &entry);
    body_user_entry(NULL);
}

void body_user_return(struct user_entry *entry)
{
    struct thread *thread = thread_current();
    user_returned(thread, entry);
    put_result(thread, entry);
    body_user_entry(NULL);
    panic("a thread came back from user mode for good");
}

/* --- registers ----------------------------------------------------------------------------------------- */

void body_user_get_regs(struct thread *thread, struct user_regs *regs) { *regs = ((struct user_thread *)thread->user)->regs; }

void body_user_set_regs(struct thread *thread, const struct user_regs *regs)
{
    struct user_thread *user = thread->user;
    user->regs = *regs;
    user->regs_set = true;
}

/* --- calls of words -------------------------------------------------------------------------------------- */

static struct user_regs *own_regs(void) { return &((struct user_thread *)thread_current()->user)->regs; }

bool body_user_words(uint64_t words[8])
{
    memcpy(words, &own_regs()->s2, 8 * sizeof *words);
    return true;
}

void body_user_set_words(const uint64_t words[8], int64_t result, uint64_t badge)
{
    struct user_regs *regs = own_regs();
    memcpy(&regs->s2, words, 8 * sizeof *words);
    regs->a0 = (uint64_t)result;
    regs->a1 = badge;
}

void body_user_set_second(uint64_t argument) { own_regs()->a1 = argument; }
void (*body_user_again(void))(void *argument) { return user_again; }

/* --- floating point -------------------------------------------------------------------------------------- */

/* The union of the formats in struct sigcontext: ours is the double-precision one, at its start. */
#define FRAME_FP_SIZE 528u

size_t body_user_fp_size(void) { return FRAME_FP_SIZE; }

int body_user_fp_save(uaddr_t to)
{
    struct thread *thread = thread_current();
    struct user_thread *user = thread->user;
    uint8_t frame[FRAME_FP_SIZE] = {0};
    fp_flush(user);
    memcpy(frame, user->fp.f, sizeof user->fp.f);
    memcpy(frame + sizeof user->fp.f, &user->fp.fcsr, sizeof user->fp.fcsr);
    return body_copy_out(thread->task->aspace, to, frame, sizeof frame) == sizeof frame ? 0 : -EFAULT;
}

int body_user_fp_load(uaddr_t from)
{
    struct thread *thread = thread_current();
    struct user_thread *user = thread->user;
    struct fp_state state;
    size_t size = offsetof(struct fp_state, pad);
    if (body_copy_in(thread->task->aspace, &state, from, size) != size)
        return -EFAULT;
    fp_changed(user);
    memcpy(user->fp.f, state.f, sizeof state.f);
    user->fp.fcsr = state.fcsr & 0xff;
    return 0;
}

void body_user_fp_reset(struct thread *thread)
{
    struct user_thread *user = thread->user;
    fp_changed(user);
    memset(&user->fp, 0, sizeof user->fp);
}

/* --- life ---------------------------------------------------------------------------------------------- */

static struct user_thread *create(struct space *space)
{
    struct user_thread *user = kzalloc(sizeof *user);
    if (!user)
        return NULL;
    space_ref(space);
    user->space = space;
    user->fp_hart = UINT32_MAX;
    return user;
}

static void attach(struct thread *thread, struct user_thread *user)
{
    spin_lock(&user_lock);
    thread->user = user;
    spin_unlock(&user_lock);
}

int body_user_create(struct thread *thread, struct aspace *aspace)
{
    struct user_thread *user = create(aspace->body);
    if (!user)
        return -ENOMEM;
    attach(thread, user);
    return 0;
}

static int fork_space(struct aspace *child_aspace)
{
    struct aspace *parent = thread_current()->task->aspace;
    child_aspace->body = space_create();
    if (!child_aspace->body)
        return -ENOMEM;
    int error = paging_fork(child_aspace, parent);
    return error ? error : memobj_attach_all(child_aspace->body, parent->body);
}

int body_user_clone(struct thread *child, struct aspace *child_aspace, enum user_clone_kind kind, const struct user_word *word)
{
    struct user_thread *parent = thread_current()->user;
    int error = kind == USER_CLONE_FORK ? fork_space(child_aspace) : 0;
    if (error)
        return error;
    fp_flush(parent);
    struct user_thread *user = create(kind == USER_CLONE_FORK ? child_aspace->body : parent->space);
    if (!user)
        return -ENOMEM;
    user->regs = parent->regs;
    user->fp = parent->fp;
    if (kind == USER_CLONE_FORK && word)
        body_copy_out(child_aspace, word->address, &word->value, sizeof word->value);
    attach(child, user);
    return 0;
}

int body_user_exec(struct aspace *aspace)
{
    struct user_thread *user = thread_current()->user;
    struct space *old = user->space;
    space_ref(aspace->body);
    user->space = aspace->body;
    space_unref(old);
    return 0;
}

void body_user_start(struct thread *thread) { thread_unpark(thread); }

void body_user_exit(UNUSED bool last)
{
    struct thread *thread = thread_current();
    struct user_thread *user = thread->user;
    attach(thread, NULL);
    uint32_t interrupts = body_interrupts_disable();
    if (hart_self()->active == user->space)
        space_activate(NULL);
    body_interrupts_restore(interrupts);
    fp_forget(user);
    space_unref(user->space);
    kfree(user);
}

void body_user_kick(struct thread *thread)
{
    spin_lock(&user_lock);
    struct user_thread *user = thread->user;
    atomic_fence(); /* 3: the mark came before */
    uint32_t mode = user ? atomic32_load(&user->mode) : 0; /* 4 */
    if (mode)
        hart_interrupt(mode - 1);
    spin_unlock(&user_lock);
}

/* What the thread did in the kernel is not counted apart. */
void body_user_cpu_time(struct thread *thread, uint64_t *user_ns, uint64_t *system_ns)
{
    spin_lock(&user_lock);
    struct user_thread *user = thread->user;
    *user_ns = user ? time_of_ticks(atomic64_load_relaxed(&user->user_ticks)) : 0;
    *system_ns = 0;
    spin_unlock(&user_lock);
}

/* getpid and gettid are answered at the very door (trap.S), unless somebody wants to see every call. */
void body_user_publish_ids(struct thread *thread, int32_t process_id, int32_t thread_id, UNUSED int32_t parent_id)
{
    struct user_thread *user = thread->user;
    if (!user || user_calls_watched())
        return;
    user->process_id = process_id;
    user->thread_id = thread_id;
}
