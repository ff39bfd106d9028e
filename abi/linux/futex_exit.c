/*
 * What a Linux thread leaves behind in its memory when it exits or execs, and what others may ask about it
 * as the owner of a PI lock.
 *
 * futex_state moves ALIVE, EXITING, GONE while the locks are passed on: who finds EXITING looks again, who
 * finds GONE knows that nobody will pass on a lock that still bears this thread's id. After an exec the
 * thread is alive again, with no lock in its hands.
 */
#include "abi/linux/futex.h"
#include "kernel/futex.h"

enum { STATE_ALIVE, STATE_EXITING, STATE_GONE };

enum futex_owner_state futex_linux_owner(uint32_t id)
{
    struct lthread *thread = thread_find((int32_t)id);
    uint32_t state;

    if (!thread)
        return FUTEX_OWNER_GONE;
    state = atomic32_load(&thread->futex_state);
    object_unref(thread);
    return state == STATE_ALIVE ? FUTEX_OWNER_ALIVE : state == STATE_EXITING ? FUTEX_OWNER_EXITING : FUTEX_OWNER_GONE;
}

/* An exec that has passed the point of no return; one that failed after it ends the process. */
static bool execs(struct lthread *thread)
{
    struct process *process = thread->process;
    bool result;

    mutex_lock(&process->mutex);
    result = process->exec_thread == thread && !process->exiting;
    mutex_unlock(&process->mutex);
    return result;
}

/* As on Linux, the word is for others who share the memory: where there are none it is left alone. */
static bool memory_is_shared(struct process *process)
{
    bool shared;

    mutex_lock(&process->mutex);
    shared = process->thread_count > 1 || process->leaving_count || (process->mm && atomic32_load(&process->mm->object.references) > 1);
    mutex_unlock(&process->mutex);
    return shared;
}

void futex_thread_exit(struct lthread *thread)
{
    struct futex_word word = {.address = thread->clear_child_tid, .shared = true};
    uint32_t zero = 0;

    atomic32_store(&thread->futex_state, STATE_EXITING);
    if (body_user_robust_list(thread->thread, &thread->robust_list))
        thread->robust_list_size = FUTEX_ROBUST_HEAD_SIZE;
    body_user_robust_forget(thread->thread);
    if (thread->robust_list && thread->robust_list_size == FUTEX_ROBUST_HEAD_SIZE)
        futex_robust_exit(thread->robust_list, (uint32_t)thread->tid);
    futex_owner_exit((uint32_t)thread->tid);
    if (word.address && memory_is_shared(thread->process) && !user_write(word.address, &zero, sizeof(zero)))
        futex_wake(word, 1, FUTEX_BITSET_ALL);
    thread->robust_list = thread->robust_list_size = thread->clear_child_tid = 0;
    atomic32_store(&thread->futex_state, execs(thread) ? STATE_ALIVE : STATE_GONE);
}
