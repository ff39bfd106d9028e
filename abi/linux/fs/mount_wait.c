/*
 * For the command: file systems that a program in the sandbox serves from before the first process until after it.
 *
 * Waiting for the mount and for the program's failure is one wait: new mounts wake it, and so does the end of the process.
 */
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"

static struct waitq waiters = WAITQ_INIT(waiters);

void mounts_changed(void) { waitq_wake_all(&waiters); }

static bool process_over(struct knote *knote, uint32_t events)
{
    (void)knote, (void)events;
    waitq_wake_all(&waiters);
    return true;
}

/* The mount whose root is what the name leads to, when it is not what it was before: a reference, or NULL. */
static struct mount *mount_found(const char *destination, const struct mount *before)
{
    struct mount *mount = NULL;
    struct path *path;

    if (path_walk(LINUX_AT_FDCWD, destination, 0, &path))
        return NULL;
    if (!path->parent && path->mount != before)
        mount = object_ref(path->mount);
    path_unref(path);
    return mount;
}

static int look(const char *destination, const struct mount *before, struct process *process, struct mount **mount)
{
    int32_t status = process_ended(process); /* first: it may have mounted and ended in between */

    *mount = mount_found(destination, before);
    return *mount ? 1 : status >= 0 ? -ECHILD : 0;
}

static int wait_found(const char *destination, const struct mount *before, struct process *process, struct mount **mount)
{
    for (;;) {
        struct waiter waiter;

        waiter_init(&waiter);
        spin_lock(&waiters.lock);
        waitq_enqueue_locked(&waiters, &waiter);
        spin_unlock(&waiters.lock);
        int result = look(destination, before, process, mount);
        if (result) {
            waiter_abandon(&waiter);
            return result < 0 ? result : 0;
        }
        waiter_wait(&waiter, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
    }
}

int mount_wait(const char *destination, struct mount *before, struct process *process, struct mount **mount)
{
    struct knote knote = {.interest = EVENT_READ, .activate = process_over};
    int error;

    list_init(&knote.link);
    knote_add(&process->pidfd_knotes, &knote);
    error = wait_found(destination, before, process, mount);
    knote_remove(&knote);
    return error;
}

int mount_place(const char *destination, struct mount **mount)
{
    struct path *path;
    int error = path_walk(LINUX_AT_FDCWD, destination, 0, &path);

    if (error == -ENOENT && *destination == '/') {
        error = mount_make_place(destination, LINUX_S_IFDIR);
        if (!error)
            error = path_walk(LINUX_AT_FDCWD, destination, 0, &path);
    }
    if (error)
        return error;
    *mount = object_ref(path->mount);
    path_unref(path);
    return 0;
}

void mount_end(struct mount *mount)
{
    struct path *root;

    spin_lock(&path_cache_lock);
    root = mount->root ? path_ref(mount->root) : NULL;
    spin_unlock(&path_cache_lock);
    if (root)
        mount_remove(root, MNT_DETACH);
    path_unref(root);
    object_unref(mount);
}
