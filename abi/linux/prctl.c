/*
 * prctl: small switches of a thread or process (prctl(2)). An option that is not here is EINVAL, as on a kernel
 * that was built without it.
 */
#include "abi/linux/calls.h"
#include "abi/linux/process_life.h"
#include "kernel/string.h"

enum { PR_SET_PDEATHSIG = 1, PR_GET_PDEATHSIG = 2, PR_GET_DUMPABLE = 3, PR_SET_DUMPABLE = 4, PR_GET_KEEPCAPS = 7,
       PR_SET_KEEPCAPS = 8, PR_GET_TIMING = 13, PR_SET_TIMING = 14, PR_SET_NAME = 15, PR_GET_NAME = 16, PR_GET_SECCOMP = 21,
       PR_CAPBSET_READ = 23, PR_CAPBSET_DROP = 24, PR_GET_TSC = 25, PR_SET_TSC = 26, PR_GET_SECUREBITS = 27,
       PR_SET_SECUREBITS = 28, PR_SET_TIMERSLACK = 29, PR_GET_TIMERSLACK = 30, PR_SET_CHILD_SUBREAPER = 36,
       PR_GET_CHILD_SUBREAPER = 37, PR_SET_NO_NEW_PRIVS = 38, PR_GET_NO_NEW_PRIVS = 39, PR_GET_TID_ADDRESS = 40,
       PR_GET_THP_DISABLE = 42, PR_CAP_AMBIENT = 47 };
enum { SECURE_KEEP_CAPS = 1 << 4, SECURE_KEEP_CAPS_LOCKED = 1 << 5, SECURE_NO_AMBIENT = 1 << 6, SECURE_ALL = 0xff };
enum { AMBIENT_IS_SET = 1, AMBIENT_RAISE = 2, AMBIENT_LOWER = 3, AMBIENT_CLEAR_ALL = 4 };
#define DEFAULT_SLACK_NS 50000

static int64_t set_name(uaddr_t address)
{
    struct lthread *self = current_thread();
    char name[16] = {0};

    int64_t length = user_read_string(name, address, sizeof name);
    if (length == -ENAMETOOLONG && user_read(name, address, sizeof name - 1))
        return -EFAULT;
    if (length < 0 && length != -ENAMETOOLONG)
        return length;
    name[sizeof name - 1] = '\0';
    mutex_lock(&self->process->mutex);
    memcpy(self->name, name, sizeof name);
    mutex_unlock(&self->process->mutex);
    return 0;
}

static int64_t write_int(uaddr_t address, int32_t value) { return user_write(address, &value, sizeof value); }

/* --- the parent's death, orphans --------------------------------------------------------------------- */

static int64_t set_death_signal(uint64_t signal)
{
    if (signal > LINUX_SIGNALS)
        return -EINVAL;
    mutex_lock(&process_tree_lock);
    current_process()->parent_death_signal = (int32_t)signal;
    mutex_unlock(&process_tree_lock);
    return 0;
}

static int64_t set_subreaper(bool on)
{
    mutex_lock(&process_tree_lock);
    current_process()->child_subreaper = on;
    mutex_unlock(&process_tree_lock);
    return 0;
}

/* --- capabilities ------------------------------------------------------------------------------------ */

static int64_t change_securebits(uint32_t bits)
{
    struct cred *cred = cred_copy(current_cred());

    if (!cred)
        return -ENOMEM;
    cred->securebits = bits;
    cred_commit(cred);
    return 0;
}

static int64_t set_securebits(uint64_t bits)
{
    uint32_t old = current_cred()->securebits;
    /* A bit's lock is the bit above it: locked bits stay, locks stay. */
    uint32_t locked = (old & 0xaa) >> 1 | (old & 0xaa);

    if (bits & ~(uint64_t)SECURE_ALL)
        return -EPERM;
    if ((old ^ bits) & locked || !capable(LINUX_CAP_SETPCAP))
        return -EPERM;
    return change_securebits((uint32_t)bits);
}

static int64_t set_keep_caps(uint64_t on)
{
    uint32_t old = current_cred()->securebits;

    if (on > 1)
        return -EINVAL;
    if (old & SECURE_KEEP_CAPS_LOCKED)
        return -EPERM;
    return change_securebits(on ? old | SECURE_KEEP_CAPS : old & ~(uint32_t)SECURE_KEEP_CAPS);
}

static bool capability_valid(uint64_t capability) { return capability < 64 && (CAPABILITIES_ALL >> capability & 1); }

static int64_t drop_bounding(uint64_t capability)
{
    if (!capable(LINUX_CAP_SETPCAP))
        return -EPERM;
    if (!capability_valid(capability))
        return -EINVAL;
    struct cred *cred = cred_copy(current_cred());
    if (!cred)
        return -ENOMEM;
    cred->cap_bounding &= ~((uint64_t)1 << capability);
    cred_commit(cred);
    return 0;
}

static int64_t change_ambient(uint64_t action, uint64_t capability)
{
    const struct cred *old = current_cred();
    uint64_t bit = action == AMBIENT_CLEAR_ALL ? CAPABILITIES_ALL : (uint64_t)1 << (capability & 63);
    bool allowed = (old->cap_permitted & old->cap_inheritable & bit) && !(old->securebits & SECURE_NO_AMBIENT);

    if (action == AMBIENT_RAISE && !allowed)
        return -EPERM;
    struct cred *cred = cred_copy(old);
    if (!cred)
        return -ENOMEM;
    cred->cap_ambient = action == AMBIENT_RAISE ? cred->cap_ambient | bit : cred->cap_ambient & ~bit;
    cred_commit(cred);
    return 0;
}

static int64_t ambient(uint64_t action, uint64_t capability, uint64_t fourth, uint64_t fifth)
{
    if (fourth || fifth)
        return -EINVAL;
    if (action == AMBIENT_CLEAR_ALL)
        return capability ? -EINVAL : change_ambient(action, 0);
    if (!capability_valid(capability))
        return -EINVAL;
    if (action == AMBIENT_IS_SET)
        return current_cred()->cap_ambient >> capability & 1;
    return action == AMBIENT_RAISE || action == AMBIENT_LOWER ? change_ambient(action, capability) : -EINVAL;
}

/* --- the call ---------------------------------------------------------------------------------------- */

static int64_t set_slack(uint64_t ns)
{
    current_thread()->timer_slack_ns = (int64_t)ns <= 0 ? DEFAULT_SLACK_NS : ns;
    return 0;
}

static int64_t set_dumpable(uint64_t value)
{
    if (value > 1)
        return -EINVAL;
    current_process()->mm->dumpable = value;
    return 0;
}

static int64_t set_no_new_privs(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    if (a != 1 || b || c || d)
        return -EINVAL;
    current_thread()->no_new_privs = true;
    return 0;
}

static int64_t capability_option(int32_t option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    switch (option) {
    case PR_GET_KEEPCAPS:
        return (current_cred()->securebits & SECURE_KEEP_CAPS) != 0;
    case PR_SET_KEEPCAPS:
        return set_keep_caps(a);
    case PR_CAPBSET_READ:
        return capability_valid(a) ? (int64_t)(current_cred()->cap_bounding >> a & 1) : -EINVAL;
    case PR_CAPBSET_DROP:
        return drop_bounding(a);
    case PR_GET_SECUREBITS:
        return current_cred()->securebits;
    case PR_SET_SECUREBITS:
        return set_securebits(a);
    case PR_CAP_AMBIENT:
        return ambient(a, b, c, d);
    default:
        return -EINVAL;
    }
}

int64_t sys_prctl(int32_t option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct lthread *self = current_thread();
    struct process *process = self->process;

    switch (option) {
    case PR_SET_PDEATHSIG:
        return set_death_signal(a);
    case PR_GET_PDEATHSIG:
        return write_int(a, process->parent_death_signal);
    case PR_GET_DUMPABLE:
        return process->mm->dumpable;
    case PR_SET_DUMPABLE:
        return set_dumpable(a);
    case PR_GET_TIMING:
    case PR_GET_SECCOMP:
        return 0;
    case PR_SET_TIMING:
        return a ? -EINVAL : 0;
    case PR_SET_NAME:
        return set_name(a);
    case PR_GET_NAME:
        return user_write(a, self->name, sizeof self->name);
    case PR_GET_TSC:
        return write_int(a, 1);
    case PR_SET_TSC:
        return a == 1 ? 0 : -EINVAL;
    case PR_SET_TIMERSLACK:
        return set_slack(a);
    case PR_GET_TIMERSLACK:
        return self->timer_slack_ns;
    case PR_SET_CHILD_SUBREAPER:
        return set_subreaper(a);
    case PR_GET_CHILD_SUBREAPER:
        return write_int(a, process->child_subreaper);
    case PR_SET_NO_NEW_PRIVS:
        return set_no_new_privs(a, b, c, d);
    case PR_GET_NO_NEW_PRIVS:
        return a || b || c || d ? -EINVAL : self->no_new_privs;
    case PR_GET_TID_ADDRESS:
        return user_write(a, &self->clear_child_tid, sizeof self->clear_child_tid);
    case PR_GET_THP_DISABLE:
        return a || b || c || d ? -EINVAL : 0;
    default:
        return capability_option(option, a, b, c, d);
    }
}
