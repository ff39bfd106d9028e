/*
 * The ABI of attached processes: every crossing comes through here, on the thread's own kernel stack.
 *
 * An interruption is meant for one call only: the mark is cleared when a call begins, before the body is asked whether this very
 * call is to be given up (user_entry.interrupted). docs/attached.md says why that is exact.
 */
#include "abi/native/native_calls.h"
#include "abi/native/task.h"
#include "abi/native/trace.h"
#include "kernel/assert.h"
#include "kernel/body.h"

static int64_t serve_call(struct thread *thread, struct user_entry *entry)
{
    thread_interrupt_clear(thread);
    if (entry->interrupted && entry->interrupted(thread))
        thread_interrupt(thread);
    struct native_thread *self = thread->abi;
    atomic32_store_relaxed(&self->call, (uint32_t)entry->number);
    if (UNLIKELY(native_traced))
        native_trace_begin(self->task->id, self->id, entry->number, entry->arguments);
    return native_call(entry->number, entry->arguments);
}

/* What a call, parked or not, ends with. */
static void call_over(struct thread *thread, struct user_entry *entry)
{
    struct native_thread *self = thread->abi;
    if (UNLIKELY(native_traced))
        native_trace_end(self->task->id, self->id, entry->number, entry->arguments, entry->result);
    atomic32_store_relaxed(&self->call, 0);
    thread_interrupt_clear(thread);
    if (entry->result == -ERESTARTSYS)
        entry->result = -EINTR;
    if (UNLIKELY(thread_killed(thread)))
        native_thread_exit();
}

static void native_entry(struct thread *thread, struct user_entry *entry)
{
    switch (entry->kind) {
    case USER_CALL:
        entry->result = serve_call(thread, entry);
        call_over(thread, entry);
        break;
    case USER_FAULT: /* the host's own affair; who claims one here gets no answer worth having */
        entry->result = -ENOSYS;
        break;
    case USER_INTERRUPT:
        thread_interrupt_clear(thread);
        break;
    case USER_LOST:
        native_thread_exit();
    }
    if (UNLIKELY(thread_killed(thread)))
        native_thread_exit();
}

static bool native_call_parks(void) { return !native_traced; }

static void native_ids(struct thread *thread, struct user_ids *ids)
{
    const struct native_thread *self = thread->abi;
    *ids = (struct user_ids){.task = self->task->id, .thread = self->id, .parent = self->task->parent_id};
}

int64_t native_thread_leave(void)
{
    if (!user_arrivals_known())
        return -ENOSYS;
    native_thread_exit();
}

static const struct abi native_abi = {.name = "native", .entry = native_entry, .ids = native_ids, .channel_open = body_channel_open,
                                      .call_parks = native_call_parks, .call_returned = call_over, .arrivals = &native_arrivals,
                                      .thread_at = native_thread_at, .task_order = body_task_order, .futex_owner = native_futex_owner};

void native_abi_init(void)
{
    abi_register(&native_abi);
    native_calls_register();
}
