/*
 * Dispositions: what a process does with each signal, and what the default is.
 *
 * The table is an object of its own because CLONE_SIGHAND shares it between processes that share nothing else of
 * their signal state. Its spinlock only makes reading and writing one entry atomic; the process's signals->mutex is
 * held around it, so that a sender and sigaction of one process see one order.
 */
#include "abi/linux/signal_state.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

enum signal_default signal_default(int signal)
{
    switch (signal) {
    case LINUX_SIGCHLD:
    case LINUX_SIGURG:
    case LINUX_SIGWINCH:
        return SIGNAL_IGNORE;
    case LINUX_SIGCONT:
        return SIGNAL_CONTINUE;
    case LINUX_SIGSTOP:
    case LINUX_SIGTSTP:
    case LINUX_SIGTTIN:
    case LINUX_SIGTTOU:
        return SIGNAL_STOP;
    case LINUX_SIGQUIT:
    case LINUX_SIGILL:
    case LINUX_SIGTRAP:
    case LINUX_SIGABRT:
    case LINUX_SIGBUS:
    case LINUX_SIGFPE:
    case LINUX_SIGSEGV:
    case LINUX_SIGXCPU:
    case LINUX_SIGXFSZ:
    case LINUX_SIGSYS:
        return SIGNAL_CORE;
    default:
        return SIGNAL_TERMINATE;
    }
}

static void actions_destroy(struct object *object) { kfree(CONTAINER_OF(object, struct signal_actions, object)); }

static const struct object_type actions_type = {.name = "signal actions", .destroy = actions_destroy};

/* What exec leaves of an action: ignored stays ignored. */
static void action_clear(struct signal_action *action)
{
    uaddr_t handler = action->handler == LINUX_SIG_IGN ? LINUX_SIG_IGN : LINUX_SIG_DFL;
    *action = (struct signal_action){.handler = handler};
}

struct signal_actions *signal_actions_create(const struct signal_actions *from, bool clear_handlers)
{
    struct signal_actions *actions = kzalloc(sizeof *actions);
    if (!actions)
        return NULL;
    object_init(&actions->object, &actions_type);
    spinlock_init(&actions->lock, RANK_EVENT_QUEUE);
    if (from) {
        struct spinlock *lock = (struct spinlock *)&from->lock;
        spin_lock(lock);
        memcpy(actions->action, from->action, sizeof actions->action);
        spin_unlock(lock);
    }
    for (int i = 0; clear_handlers && i < LINUX_SIGNALS; i++)
        action_clear(&actions->action[i]);
    return actions;
}

struct signal_action signal_action_read(struct process_signals *signals, int signal)
{
    KASSERT(signal_valid(signal));
    struct signal_actions *actions = signals->actions;
    spin_lock(&actions->lock);
    struct signal_action action = actions->action[signal - 1];
    spin_unlock(&actions->lock);
    return action;
}

void signal_action_write(struct process_signals *signals, int signal, const struct signal_action *action)
{
    KASSERT(signal_valid(signal));
    struct signal_actions *actions = signals->actions;
    spin_lock(&actions->lock);
    actions->action[signal - 1] = *action;
    spin_unlock(&actions->lock);
}

bool signal_action_ignores(const struct signal_action *action, int signal)
{
    if (action->handler == LINUX_SIG_IGN)
        return true;
    enum signal_default what = signal_default(signal);
    return action->handler == LINUX_SIG_DFL && (what == SIGNAL_IGNORE || what == SIGNAL_CONTINUE);
}
