/*
 * The Linux ABI's entry: every crossing from user mode comes through here, on the user thread's own kernel
 * stack, and leaves through here or ends the thread.
 *
 * A thread that was killed while it was in the kernel, or brought in to die, ends at the bottom: nothing else
 * returns to user mode with the mark set. A lost user side takes the whole process with it, as SIGKILL would.
 */
#include "abi/linux/calls.h"
#include "abi/linux/channel.h"
#include "abi/linux/futex.h"
#include "abi/linux/mqueue.h"
#include "abi/linux/process_life.h"
#include "abi/linux/sysv_ipc.h"
#include "kernel/assert.h"

static void serve_call(struct lthread *self, struct user_entry *entry)
{
    self->call_number = entry->number;
    entry->result = call_dispatch(entry->number, entry->arguments);
}

static void serve_fault(struct lthread *self, struct user_entry *entry)
{
    if (entry->signal == LINUX_SIGSEGV && mm_grow_stack(self->process->mm, entry->address))
        return;
    signal_fault(self, entry);
}

/* The way out, or the end. */
static void leave(struct lthread *self, struct thread *thread, struct user_entry *entry)
{
    if (!thread_killed(thread))
        signal_deliver(self, entry);
    if (UNLIKELY(thread_killed(thread)))
        lthread_exit(LINUX_SIGKILL);
}

static void linux_entry(struct thread *thread, struct user_entry *entry)
{
    struct lthread *self = thread->abi;

    switch (entry->kind) {
    case USER_CALL:
        serve_call(self, entry);
        break;
    case USER_FAULT:
        serve_fault(self, entry);
        break;
    case USER_INTERRUPT:
        break;
    case USER_LOST:
        process_kill(self->process, LINUX_SIGKILL);
        break;
    }
    leave(self, thread, entry);
}

static void linux_call_returned(struct thread *thread, struct user_entry *entry) { leave(thread->abi, thread, entry); }

/* The first argument whose memory the call only reads: the table knows which. */
static bool linux_call_reads(uint64_t number, uint32_t *pointer, uint32_t *length)
{
    if (number >= call_number_limit || call_row_of_number[number] == CALL_ROW_NONE)
        return false;
    const struct call_row *row = &call_rows[call_row_of_number[number]];
    for (uint32_t i = 0; i < row->argument_count; i++) {
        const struct call_argument *argument = &row->arguments[i];
        switch (argument->kind) {
        case CALL_ARG_BYTES_IN: *pointer = i, *length = argument->other; return true;
        case CALL_ARG_STRING:
        case CALL_ARG_ADDRESS_IN:
        case CALL_ARG_TIMEVAL_IN:
        case CALL_ARG_TIMESPEC_IN:
        case CALL_ARG_SIGSET_IN: *pointer = *length = i; return true;
        }
    }
    return false;
}

/* The first argument whose memory the call fills. */
static bool linux_call_writes(uint64_t number, uint32_t *pointer, uint32_t *length)
{
    if (number >= call_number_limit || call_row_of_number[number] == CALL_ROW_NONE)
        return false;
    const struct call_row *row = &call_rows[call_row_of_number[number]];
    for (uint32_t i = 0; i < row->argument_count; i++) {
        const struct call_argument *argument = &row->arguments[i];
        switch (argument->kind) {
        case CALL_ARG_BYTES_OUT: *pointer = i, *length = i + 1; return true; /* its size follows it in all calls */
        case CALL_ARG_STAT_OUT: *pointer = *length = i; return true;
        }
    }
    return false;
}

static void linux_ids(struct thread *thread, struct user_ids *ids)
{
    const struct lthread *self = thread->abi;
    *ids = (struct user_ids){.task = self->process->pid, .thread = self->tid, .parent = (int32_t)sys_getppid()};
}

/* A reference to the living process that has this task, or NULL. */
static struct process *process_of(const struct task *task)
{
    struct process *found = NULL;
    mutex_lock(&process_tree_lock);
    LIST_FOR_EACH (link, &process_all) {
        struct process *process = LIST_ENTRY(link, struct process, all_link);
        if (process->watched == task && process->state != PROCESS_ZOMBIE && process->state != PROCESS_DEAD)
            found = object_ref(process);
    }
    mutex_unlock(&process_tree_lock);
    return found;
}

static struct thread *linux_thread_at(struct task *task, int32_t *id)
{
    struct process *process = process_of(task);
    struct lthread *found = NULL;
    if (!process)
        return NULL;
    mutex_lock(&process->mutex);
    LIST_FOR_EACH (link, &process->threads) {
        struct lthread *thread = LIST_ENTRY(link, struct lthread, process_link);
        if (thread->tid >= *id && (!found || thread->tid < found->tid))
            found = thread;
    }
    struct thread *thread = found ? object_ref(found->thread) : NULL;
    if (found)
        *id = found->tid;
    mutex_unlock(&process->mutex);
    object_unref(process);
    return thread;
}

static int linux_task_order(struct task *task, enum task_order order)
{
    static const int signals[] = {[TASK_ORDER_KILL] = LINUX_SIGKILL, [TASK_ORDER_STOP] = LINUX_SIGSTOP, [TASK_ORDER_CONTINUE] = LINUX_SIGCONT};
    struct process *process = process_of(task);
    int error = process ? signal_send_process(process, signals[order], NULL) : -ESRCH;
    object_unref(process);
    return error;
}

static const struct abi linux_abi = {.name = "linux", .entry = linux_entry, .call_reads = linux_call_reads, .call_writes = linux_call_writes,
                                     .ids = linux_ids, .channel_open = linux_channel_open, .thread_at = linux_thread_at,
                                     .task_order = linux_task_order, .futex_owner = futex_linux_owner,
                                     .call_parks = call_parks, .call_returned = linux_call_returned};

void linux_abi_init(void)
{
    process_system_init();
    sysv_system_init();
    mqueue_system_init();
    abi_register(&linux_abi);
}
