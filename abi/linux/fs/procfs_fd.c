/*
 * /proc/PID/fd and fdinfo: the descriptors of a process. See proc(5).
 */
#include "abi/linux/fs/procfs.h"
#include "abi/linux/tty.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

/* The process's descriptor table: a reference, or NULL. */
static int table_of(const struct proc_node *node, struct fdtable **table)
{
    struct process *process;
    int error = proc_process_checked(node, &process);
    if (error)
        return error;
    mutex_lock(&process->mutex);
    *table = process->fds ? fdtable_ref(process->fds) : NULL;
    mutex_unlock(&process->mutex);
    object_unref(process);
    return *table ? 0 : -ENOENT;
}

static void table_done(struct fdtable *table) { fdtable_unref(table, current_process()); }

static int file_of(const struct proc_node *node, struct file **file)
{
    struct fdtable *table;
    int error = table_of(node, &table);
    if (error)
        return error;
    *file = fdtable_peek(table, node->fd_plus_one - 1);
    table_done(table);
    return *file ? 0 : -ENOENT;
}

/* --- links ------------------------------------------------------------------------------------------- */

static int follow_fd(const struct proc_node *node, struct path **path, struct file **file)
{
    *path = NULL;
    int error = file_of(node, file);
    if (error)
        return error;
    if ((*file)->path) {
        *path = path_ref((*file)->path);
        file_unref(*file);
        *file = NULL;
    }
    return 0;
}

/* What Linux shows for a file without a name: "pipe:[4711]". */
static int anonymous_name(struct file *file, char *name, size_t size)
{
    struct linux_stat_data stat = {0};
    struct tty *tty = tty_of_file(file);
    if (tty)
        return format(name, size, "%s", tty->name);
    const char *kind = file->ops->kind;
    if (file->ops->stat && !strcmp(kind, "memfd"))
        return format(name, size, "/memfd: (deleted)");
    if (!strcmp(kind, "inotify")) /* the one without brackets */
        return format(name, size, "anon_inode:inotify");
    if (strcmp(kind, "pipe") && strcmp(kind, "socket"))
        return format(name, size, "anon_inode:[%s]", kind);
    if (file->ops->stat)
        file->ops->stat(file, &stat);
    return format(name, size, "%s:[%llu]", kind, (unsigned long long)stat.inode);
}

static int64_t link_fd(const struct proc_node *node, char *target, size_t size)
{
    struct file *file;
    int64_t length = file_of(node, &file);
    if (length)
        return length;
    char *name = kalloc(PATH_LENGTH_MAX);
    if (!name)
        length = -ENOMEM;
    else
        length = file->path ? path_name(file->path, name, PATH_LENGTH_MAX) : anonymous_name(file, name, PATH_LENGTH_MAX);
    if (length > 0) {
        length = (int64_t)min_u64((uint64_t)length, size);
        memcpy(target, name, (size_t)length);
    }
    kfree(name);
    file_unref(file);
    return length;
}

/* --- fdinfo ------------------------------------------------------------------------------------------ */

#define EXTRA_SIZE 16384u /* epoll and inotify tell of each thing they watch, as far as this goes */

static int show_fdinfo(const struct proc_node *node, struct proc_text *text)
{
    struct file *file;
    int error = file_of(node, &file);
    if (error)
        return error;
    struct linux_stat_data stat = {0};
    file_stat(file, &stat);
    proc_add(text, "pos:\t%lld\nflags:\t0%o\nmnt_id:\t%d\nino:\t%llu\n", (long long)file->position, atomic32_load_relaxed(&file->flags), 1,
             (unsigned long long)stat.inode);
    char *extra = file->ops->show_fdinfo ? kzalloc(EXTRA_SIZE) : NULL;
    if (extra) {
        file->ops->show_fdinfo(file, extra, EXTRA_SIZE);
        proc_add(text, "%s", extra);
        kfree(extra);
    }
    file_unref(file);
    return 0;
}

/* --- the directories --------------------------------------------------------------------------------- */

#define FD_LINK(permissions) {.name = "", .mode = LINUX_S_IFLNK | (permissions), .link = link_fd, .follow = follow_fd}

/* The permissions say how the file is open: for reading 0500, for writing 0300. */
static const struct proc_entry fd_links[4] = {FD_LINK(0000), FD_LINK(0500), FD_LINK(0300), FD_LINK(0700)};
static const struct proc_entry fd_info = PROC_FILE("", 0444, show_fdinfo);

static const struct proc_entry *link_entry(struct file *file)
{
    bool path_only = atomic32_load_relaxed(&file->flags) & LINUX_O_PATH;
    return &fd_links[path_only ? 0 : file_readable(file) + 2 * file_writable(file)];
}

static void make_child(const struct proc_node *dir, int fd, struct file *file, bool info, struct proc_node *child)
{
    *child = *dir;
    child->entry = info ? &fd_info : link_entry(file);
    child->fd_plus_one = fd + 1;
}

static int find(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child, bool info)
{
    int64_t number = proc_number(name, length);
    struct proc_node wanted = *dir;
    struct file *file;
    if (number < 0 || number == INT32_MAX)
        return -ENOENT;
    wanted.fd_plus_one = (int)number + 1;
    int error = file_of(&wanted, &file);
    if (error)
        return error == -ESRCH ? -ENOENT : error;
    make_child(dir, (int)number, file, info, child);
    file_unref(file);
    return 0;
}

/* The first descriptor at or after fd: a reference to its file, or NULL. */
static struct file *first_from(struct fdtable *table, int *fd)
{
    struct file *file = NULL;
    for (; !file && (*fd = fdtable_next(table, *fd)) >= 0; ++*fd) {
        file = fdtable_peek(table, *fd); /* may have been closed since */
        if (file)
            break;
    }
    return file;
}

static bool next(const struct proc_node *dir, int64_t *at, char name[24], struct proc_node *child, bool info)
{
    struct fdtable *table;
    int fd = (int)*at;
    if (table_of(dir, &table))
        return false;
    struct file *file = first_from(table, &fd);
    table_done(table);
    if (!file)
        return false;
    make_child(dir, fd, file, info, child);
    file_unref(file);
    *at = fd;
    format(name, 24, "%d", fd);
    return true;
}

int proc_fd_find(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child)
{
    return find(dir, name, length, child, false);
}

bool proc_fd_next(const struct proc_node *dir, int64_t *at, char name[24], struct proc_node *child)
{
    return next(dir, at, name, child, false);
}

int proc_fdinfo_find(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child)
{
    return find(dir, name, length, child, true);
}

bool proc_fdinfo_next(const struct proc_node *dir, int64_t *at, char name[24], struct proc_node *child)
{
    return next(dir, at, name, child, true);
}
