/*
 * Calls about the process that fit nowhere else: personality, unshare and setns, kcmp.
 */
#include "abi/linux/calls.h"
#include "abi/linux/file.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/process_life.h"

#define CLONE_FS 0x200u
#define CLONE_FILES 0x400u
#define CLONE_SIGHAND 0x800u
#define CLONE_VM 0x100u
#define CLONE_THREAD 0x10000u
#define CLONE_SYSVSEM 0x40000u
#define CLONE_NAMESPACES (0x7e020000u | 0x80u)

int64_t sys_personality(uint32_t personality)
{
    struct lthread *self = current_thread();
    uint32_t old = self->personality;

    if (personality != UINT32_MAX)
        self->personality = personality;
    return old;
}

/* --- unshare ----------------------------------------------------------------------------------------- */

static bool only_thread(struct process *process)
{
    mutex_lock(&process->mutex);
    bool only = process->thread_count == 1;
    mutex_unlock(&process->mutex);
    return only;
}

static int unshare_fs(struct process *process)
{
    struct fs_context *copy = fs_context_copy(process->fs);

    if (!copy)
        return -ENOMEM;
    mutex_lock(&process->mutex);
    struct fs_context *old = process->fs;
    process->fs = copy;
    mutex_unlock(&process->mutex);
    fs_context_unref(old);
    return 0;
}

static int unshare_files(struct process *process)
{
    struct fdtable *copy = fdtable_copy(process->fds);

    if (!copy)
        return -ENOMEM;
    mutex_lock(&process->mutex);
    struct fdtable *old = process->fds;
    process->fds = copy;
    mutex_unlock(&process->mutex);
    fdtable_unref(old, process);
    return 0;
}

int64_t sys_unshare(uint64_t flags)
{
    struct process *process = current_process();
    uint64_t known = CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_VM | CLONE_THREAD | CLONE_SYSVSEM | CLONE_NAMESPACES;
    int error = 0;

    if (flags & ~known)
        return -EINVAL;
    if (flags & CLONE_NAMESPACES)
        return -EPERM;
    /* Threads of one process share what is the process's. */
    if ((flags & ~(uint64_t)CLONE_SYSVSEM) && !only_thread(process))
        return -EINVAL;
    if (flags & CLONE_FS)
        error = unshare_fs(process);
    if (!error && (flags & CLONE_FILES))
        error = unshare_files(process);
    return error;
}

/* No descriptor here stands for a namespace. */
int64_t sys_setns(int32_t fd, int32_t type)
{
    struct file *file;
    int error = fd_get(fd, &file);

    (void)type;
    if (error)
        return error;
    file_unref(file);
    return -EINVAL;
}

/* --- kcmp -------------------------------------------------------------------------------------------- */

enum { KCMP_FILE = 0, KCMP_VM = 1, KCMP_FILES = 2, KCMP_FS = 3, KCMP_SIGHAND = 4, KCMP_IO = 5, KCMP_SYSVSEM = 6, KCMP_TYPES = 8 };

/* What is compared: an identity only, never followed. */
static int identity(struct process *process, int32_t type, uint64_t index, uintptr_t *value)
{
    struct file *file = NULL;
    int error = 0;

    mutex_lock(&process->mutex);
    if (type == KCMP_FILE && index <= INT32_MAX && process->fds)
        file = fdtable_peek(process->fds, (int)index);
    *value = type == KCMP_FILE    ? (uintptr_t)file
             : type == KCMP_VM    ? (uintptr_t)process->mm
             : type == KCMP_FILES ? (uintptr_t)process->fds
             : type == KCMP_FS    ? (uintptr_t)process->fs
                                  : (uintptr_t)process;
    if (type == KCMP_FILE && !file)
        error = -EBADF;
    mutex_unlock(&process->mutex);
    if (file)
        file_unref(file);
    return error;
}

/* An order that says nothing of addresses: the products by an odd secret. */
static int64_t compare(uintptr_t a, uintptr_t b)
{
    static struct atomic64 secret;
    uint64_t key = atomic64_load_relaxed(&secret);

    if (!key) {
        uint64_t expected = 0;
        body_random(&key, sizeof key);
        key |= 1;
        if (!atomic64_cas(&secret, &expected, key))
            key = expected;
    }
    a = (a ^ key) * key;
    b = (b ^ key) * key;
    return a < b ? 1 : a > b ? 2 : 0;
}

int64_t sys_kcmp(int32_t pid1, int32_t pid2, int32_t type, uint64_t index1, uint64_t index2)
{
    if (type < 0 || type >= KCMP_TYPES)
        return -EINVAL;
    if (type > KCMP_FS)
        return -EOPNOTSUPP;
    struct process *first = process_find(pid1), *second = process_find(pid2);
    int64_t result = first && second ? 0 : -ESRCH;
    uintptr_t a = 0, b = 0;
    if (!result && (process_may_access(first) || process_may_access(second)))
        result = -EPERM;
    if (!result)
        result = identity(first, type, index1, &a);
    if (!result)
        result = identity(second, type, index2, &b);
    if (!result)
        result = compare(a, b);
    object_unref(first);
    object_unref(second);
    return result;
}
