/*
 * Credentials: immutable sets, shared by threads and replaced as a whole (credentials(7)).
 *
 * A thread changes its own only: it copies, alters, commits. Each commit applies the rules that tie capabilities
 * to user ids. The pointer is written under process->mutex, for those who look from outside; the thread itself
 * reads it without.
 */
#include "abi/linux/calls.h"
#include "abi/linux/process_life.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { SECURE_NO_SETUID_FIXUP = 4, SECURE_KEEP_CAPS = 16 };
#define ID_KEEP UINT32_MAX

static void cred_destroy(struct object *object)
{
    struct cred *cred = CONTAINER_OF(object, struct cred, object);

    kfree(cred->groups);
    kfree(cred);
}

static const struct object_type cred_type = {.name = "credentials", .destroy = cred_destroy};

static int set_groups(struct cred *cred, uint32_t count, const uint32_t *groups)
{
    uint32_t *copy = NULL;

    if (count) {
        copy = kcalloc(count, sizeof *copy);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, groups, count * sizeof *copy);
    }
    kfree(cred->groups);
    cred->groups = copy;
    cred->group_count = count;
    return 0;
}

struct cred *cred_copy(const struct cred *from)
{
    struct cred *cred = kalloc(sizeof *cred);

    if (!cred)
        return NULL;
    *cred = *from;
    object_init(&cred->object, &cred_type);
    cred->groups = NULL;
    cred->group_count = 0;
    if (set_groups(cred, from->group_count, from->groups)) {
        object_unref(cred);
        return NULL;
    }
    return cred;
}

struct cred *cred_create(uint32_t uid, uint32_t gid, uint32_t group_count, const uint32_t *groups)
{
    struct cred *cred = kzalloc(sizeof *cred);

    if (!cred)
        return NULL;
    object_init(&cred->object, &cred_type);
    cred->uid = cred->euid = cred->suid = cred->fsuid = uid;
    cred->gid = cred->egid = cred->sgid = cred->fsgid = gid;
    cred->cap_bounding = CAPABILITIES_ALL;
    if (uid == 0)
        cred->cap_permitted = cred->cap_effective = CAPABILITIES_ALL;
    if (set_groups(cred, group_count, groups)) {
        object_unref(cred);
        return NULL;
    }
    return cred;
}

void cred_commit(struct cred *cred)
{
    struct lthread *self = current_thread();
    struct process *process = self->process;
    bool new_user = self->cred->uid != cred->uid;

    mutex_lock(&process->mutex);
    struct cred *old = self->cred;
    self->cred = cred;
    mutex_unlock(&process->mutex);
    object_unref(old);
    if (new_user)
        signals_set_user(process, cred->uid);
}

/* --- user ids ---------------------------------------------------------------------------------------- */

#define FS_CAPABILITIES                                                                                                \
    ((uint64_t)1 << LINUX_CAP_CHOWN | (uint64_t)1 << LINUX_CAP_DAC_OVERRIDE | (uint64_t)1 << LINUX_CAP_DAC_READ_SEARCH | \
     (uint64_t)1 << LINUX_CAP_FOWNER | (uint64_t)1 << LINUX_CAP_FSETID | (uint64_t)1 << LINUX_CAP_MKNOD | (uint64_t)1 << 9 | \
     (uint64_t)1 << 32)

static bool some_root(const struct cred *cred) { return cred->uid == 0 || cred->euid == 0 || cred->suid == 0; }

/* What a change of user ids does to capabilities: capabilities(7), "Effect of user ID changes". */
static void fix_capabilities(struct cred *cred, const struct cred *old)
{
    if (cred->securebits & SECURE_NO_SETUID_FIXUP)
        return;
    if (some_root(old) && !some_root(cred)) {
        if (!(cred->securebits & SECURE_KEEP_CAPS))
            cred->cap_permitted = cred->cap_effective = 0;
        cred->cap_ambient = 0;
    }
    if (old->euid == 0 && cred->euid != 0)
        cred->cap_effective = 0;
    if (old->euid != 0 && cred->euid == 0)
        cred->cap_effective = cred->cap_permitted;
}

static int64_t commit_user(struct cred *cred)
{
    const struct cred *old = current_cred();

    cred->fsuid = cred->euid;
    fix_capabilities(cred, old);
    cred_commit(cred);
    return 0;
}

static int64_t commit_group(struct cred *cred)
{
    cred->fsgid = cred->egid;
    cred_commit(cred);
    return 0;
}

static int64_t refuse(struct cred *cred, int error)
{
    object_unref(cred);
    return error;
}

int64_t sys_getuid(void) { return current_cred()->uid; }
int64_t sys_geteuid(void) { return current_cred()->euid; }
int64_t sys_getgid(void) { return current_cred()->gid; }
int64_t sys_getegid(void) { return current_cred()->egid; }

int64_t sys_setuid(uint32_t uid)
{
    struct cred *cred = uid == ID_KEEP ? NULL : cred_copy(current_cred());

    if (!cred)
        return uid == ID_KEEP ? -EINVAL : -ENOMEM;
    if (capable(LINUX_CAP_SETUID))
        cred->uid = cred->suid = uid;
    else if (uid != cred->uid && uid != cred->suid)
        return refuse(cred, -EPERM);
    cred->euid = uid;
    return commit_user(cred);
}

int64_t sys_setgid(uint32_t gid)
{
    struct cred *cred = gid == ID_KEEP ? NULL : cred_copy(current_cred());

    if (!cred)
        return gid == ID_KEEP ? -EINVAL : -ENOMEM;
    if (capable(LINUX_CAP_SETGID))
        cred->gid = cred->sgid = gid;
    else if (gid != cred->gid && gid != cred->sgid)
        return refuse(cred, -EPERM);
    cred->egid = gid;
    return commit_group(cred);
}

int64_t sys_setreuid(uint32_t uid, uint32_t euid)
{
    const struct cred *old = current_cred();
    bool free_choice = capable(LINUX_CAP_SETUID);
    struct cred *cred = cred_copy(old);

    if (!cred)
        return -ENOMEM;
    if (uid != ID_KEEP && uid != old->uid && uid != old->euid && !free_choice)
        return refuse(cred, -EPERM);
    if (euid != ID_KEEP && euid != old->uid && euid != old->euid && euid != old->suid && !free_choice)
        return refuse(cred, -EPERM);
    cred->uid = uid == ID_KEEP ? old->uid : uid;
    cred->euid = euid == ID_KEEP ? old->euid : euid;
    if (uid != ID_KEEP || (euid != ID_KEEP && euid != old->uid))
        cred->suid = cred->euid;
    return commit_user(cred);
}

int64_t sys_setregid(uint32_t gid, uint32_t egid)
{
    const struct cred *old = current_cred();
    bool free_choice = capable(LINUX_CAP_SETGID);
    struct cred *cred = cred_copy(old);

    if (!cred)
        return -ENOMEM;
    if (gid != ID_KEEP && gid != old->gid && gid != old->egid && !free_choice)
        return refuse(cred, -EPERM);
    if (egid != ID_KEEP && egid != old->gid && egid != old->egid && egid != old->sgid && !free_choice)
        return refuse(cred, -EPERM);
    cred->gid = gid == ID_KEEP ? old->gid : gid;
    cred->egid = egid == ID_KEEP ? old->egid : egid;
    if (gid != ID_KEEP || (egid != ID_KEEP && egid != old->gid))
        cred->sgid = cred->egid;
    return commit_group(cred);
}

static bool one_of(uint32_t id, uint32_t a, uint32_t b, uint32_t c) { return id == ID_KEEP || id == a || id == b || id == c; }

int64_t sys_setresuid(uint32_t uid, uint32_t euid, uint32_t suid)
{
    const struct cred *old = current_cred();
    bool known = one_of(uid, old->uid, old->euid, old->suid) && one_of(euid, old->uid, old->euid, old->suid) &&
                 one_of(suid, old->uid, old->euid, old->suid);

    if (!known && !capable(LINUX_CAP_SETUID))
        return -EPERM;
    struct cred *cred = cred_copy(old);
    if (!cred)
        return -ENOMEM;
    cred->uid = uid == ID_KEEP ? old->uid : uid;
    cred->euid = euid == ID_KEEP ? old->euid : euid;
    cred->suid = suid == ID_KEEP ? old->suid : suid;
    return commit_user(cred);
}

int64_t sys_setresgid(uint32_t gid, uint32_t egid, uint32_t sgid)
{
    const struct cred *old = current_cred();
    bool known = one_of(gid, old->gid, old->egid, old->sgid) && one_of(egid, old->gid, old->egid, old->sgid) &&
                 one_of(sgid, old->gid, old->egid, old->sgid);

    if (!known && !capable(LINUX_CAP_SETGID))
        return -EPERM;
    struct cred *cred = cred_copy(old);
    if (!cred)
        return -ENOMEM;
    cred->gid = gid == ID_KEEP ? old->gid : gid;
    cred->egid = egid == ID_KEEP ? old->egid : egid;
    cred->sgid = sgid == ID_KEEP ? old->sgid : sgid;
    return commit_group(cred);
}

static int64_t write_three(const uint32_t values[3], uaddr_t a, uaddr_t b, uaddr_t c)
{
    bool failed = user_write(a, &values[0], 4) || user_write(b, &values[1], 4) || user_write(c, &values[2], 4);

    return failed ? -EFAULT : 0;
}

int64_t sys_getresuid(uaddr_t uid, uaddr_t euid, uaddr_t suid)
{
    const struct cred *cred = current_cred();
    uint32_t values[3] = {cred->uid, cred->euid, cred->suid};

    return write_three(values, uid, euid, suid);
}

int64_t sys_getresgid(uaddr_t gid, uaddr_t egid, uaddr_t sgid)
{
    const struct cred *cred = current_cred();
    uint32_t values[3] = {cred->gid, cred->egid, cred->sgid};

    return write_three(values, gid, egid, sgid);
}

/* Both return the old id, whatever happens. */
int64_t sys_setfsuid(uint32_t uid)
{
    const struct cred *old = current_cred();
    uint32_t previous = old->fsuid;
    bool may = uid == old->uid || uid == old->euid || uid == old->suid || uid == old->fsuid || capable(LINUX_CAP_SETUID);
    struct cred *cred = may && uid != ID_KEEP ? cred_copy(old) : NULL;

    if (!cred)
        return previous;
    cred->fsuid = uid;
    if (!(cred->securebits & SECURE_NO_SETUID_FIXUP) && previous == 0 && uid != 0)
        cred->cap_effective &= ~FS_CAPABILITIES;
    if (!(cred->securebits & SECURE_NO_SETUID_FIXUP) && previous != 0 && uid == 0)
        cred->cap_effective |= cred->cap_permitted & FS_CAPABILITIES;
    cred_commit(cred);
    return previous;
}

int64_t sys_setfsgid(uint32_t gid)
{
    const struct cred *old = current_cred();
    uint32_t previous = old->fsgid;
    bool may = gid == old->gid || gid == old->egid || gid == old->sgid || gid == old->fsgid || capable(LINUX_CAP_SETGID);
    struct cred *cred = may && gid != ID_KEEP ? cred_copy(old) : NULL;

    if (cred) {
        cred->fsgid = gid;
        cred_commit(cred);
    }
    return previous;
}

/* --- supplementary groups ---------------------------------------------------------------------------- */

int64_t sys_getgroups(int32_t size, uaddr_t list)
{
    const struct cred *cred = current_cred();

    if (size < 0)
        return -EINVAL;
    if (size == 0)
        return cred->group_count;
    if ((uint32_t)size < cred->group_count)
        return -EINVAL;
    if (cred->group_count && user_write(list, cred->groups, cred->group_count * sizeof(uint32_t)))
        return -EFAULT;
    return cred->group_count;
}

int64_t sys_setgroups(uint64_t size, uaddr_t list)
{
    if (!capable(LINUX_CAP_SETGID))
        return -EPERM;
    if (size > LINUX_NGROUPS_MAX)
        return -EINVAL;
    uint32_t *groups = size ? kcalloc(size, sizeof *groups) : NULL;
    struct cred *cred = cred_copy(current_cred());
    int error = (size && !groups) || !cred ? -ENOMEM : 0;
    if (!error && size)
        error = user_read(groups, list, size * sizeof *groups);
    if (!error)
        error = set_groups(cred, (uint32_t)size, groups);
    kfree(groups);
    if (error)
        object_unref(cred);
    else
        cred_commit(cred);
    return error;
}
