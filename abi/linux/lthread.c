/*
 * struct lthread: one Linux thread on top of a kernel thread.
 *
 * The kernel thread's `abi` field names the lthread and is borrowed: the lthread lives as long as its thread
 * runs, because the process's list holds a reference until lthread_exit. The lthread in turn keeps the kernel
 * thread's record, so that others may kill or kick what they found in the list.
 */
#include "abi/linux/process_life.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

static void lthread_destroy(struct object *object)
{
    struct lthread *thread = CONTAINER_OF(object, struct lthread, object);

    object_unref(thread->cred);
    object_unref(thread->thread);
    object_unref(thread->process);
    kfree(thread);
}

static const struct object_type lthread_type = {.name = "lthread", .destroy = lthread_destroy};

uint32_t lthread_cpu_words(void) { return (uint32_t)min_u64((body_cpu_count() + 63) / 64, LTHREAD_CPU_WORDS_MAX); }

static void inherit(struct lthread *thread, const struct lthread *creator)
{
    memcpy(thread->name, creator->name, sizeof thread->name);
    memcpy(thread->affinity, creator->affinity, lthread_cpu_words() * sizeof thread->affinity[0]);
    thread->timer_slack_ns = creator->timer_slack_ns;
    thread->no_new_privs = creator->no_new_privs;
    thread->personality = creator->personality;
    thread->io_priority = creator->io_priority;
    thread->policy = creator->policy;
    thread->priority = creator->priority;
    thread->nice = creator->nice;
    if (creator->reset_on_fork) {
        thread->policy = thread->priority = 0;
        thread->nice = creator->nice < 0 || creator->policy ? 0 : creator->nice;
    }
}

struct lthread *lthread_create(struct process *process, const struct lthread *creator, struct cred *cred)
{
    struct lthread *thread = kzalloc(sizeof *thread + lthread_cpu_words() * sizeof thread->affinity[0]);

    if (!thread)
        return NULL;
    object_init(&thread->object, &lthread_type);
    list_init(&thread->process_link);
    thread->process = object_ref(process);
    thread->cred = object_ref(cred);
    thread->timer_slack_ns = 50000;
    for (uint32_t cpu = 0; cpu < body_cpu_count() && cpu < LTHREAD_CPU_WORDS_MAX * 64; cpu++)
        thread->affinity[cpu / 64] |= (uint64_t)1 << cpu % 64;
    if (creator)
        inherit(thread, creator);
    return thread;
}

int lthread_make_thread(struct lthread *lthread, struct task *task)
{
    char name[24];

    format(name, sizeof name, "%s", lthread->name);
    lthread->thread = thread_create_parked(name, task, body_user_entry, NULL);
    if (!lthread->thread)
        return -ENOMEM;
    lthread->thread->abi = lthread;
    return 0;
}

struct lthread *current_thread(void)
{
    struct thread *thread = thread_current();

    return thread ? thread->abi : NULL;
}

struct process *current_process(void)
{
    struct lthread *thread = current_thread();

    return thread ? thread->process : NULL;
}

/* The kernel's own threads (the command building the tree) may do everything. */
static const struct cred kernel_cred = {.cap_effective = UINT64_MAX, .cap_permitted = UINT64_MAX, .cap_bounding = UINT64_MAX};

const struct cred *current_cred(void)
{
    struct lthread *thread = current_thread();
    return LIKELY(thread) ? thread->cred : &kernel_cred;
}

bool capable(int capability) { return cred_has(current_cred(), capability); }

void lthread_cpu_time(struct lthread *thread, uint64_t *user_ns, uint64_t *system_ns)
{
    *user_ns = *system_ns = 0;
    if (thread->thread && thread->thread->user)
        body_user_cpu_time(thread->thread, user_ns, system_ns);
}
