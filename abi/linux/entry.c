/*
 * The Linux ABI's entry: every crossing from user mode comes through here, on the user thread's own kernel
 * stack, and leaves through here or ends the thread.
 *
 * A thread that was killed while it was in the kernel, or brought in to die, ends at the bottom: nothing else
 * returns to user mode with the mark set. A lost user side takes the whole process with it, as SIGKILL would.
 */
#include "abi/linux/call.h"
#include "abi/linux/process_life.h"
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
    if (!thread_killed(thread))
        signal_deliver(self, entry);
    if (UNLIKELY(thread_killed(thread)))
        lthread_exit(LINUX_SIGKILL);
}

static const struct abi linux_abi = {.name = "linux", .entry = linux_entry};

void linux_abi_init(void)
{
    process_system_init();
    abi_register(&linux_abi);
}
