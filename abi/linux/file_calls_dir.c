/*
 * Directories: reading entries, the current directory, the root, the umask.
 *
 * Entries are packed into a kernel buffer of at most 32 KiB and copied out once. A file system may emit an entry that no
 * longer fits; it then stays for the next call, because the cookie only moves past entries that were taken.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { ENTRIES_SIZE_MAX = 32768 };

struct entries {
    uint8_t *buffer;
    size_t size, used;
    bool old_format; /* getdents: the type is the record's last byte */
    bool full;
};

struct entry_head {
    uint64_t inode;
    int64_t next;
    uint16_t length;
} __attribute__((packed));

/* getdents64: head, type, name, NUL; getdents: head, name, NUL, …, type. Records are multiples of 8 bytes. */
static bool entry_emit(void *context, const char *name, size_t name_length, uint64_t inode, uint8_t type, int64_t next)
{
    struct entries *entries = context;
    size_t length = round_up(sizeof(struct entry_head) + name_length + 2, 8);
    struct entry_head head = {.inode = inode, .next = next, .length = (uint16_t)length};
    uint8_t *record = entries->buffer + entries->used;

    if (length > entries->size - entries->used) {
        entries->full = true;
        return false;
    }
    memset(record, 0, length);
    memcpy(record, &head, sizeof(head));
    memcpy(record + sizeof(head) + !entries->old_format, name, name_length);
    record[entries->old_format ? length - 1 : sizeof(head)] = type;
    entries->used += length;
    return true;
}

static int64_t entries_read(struct file *file, struct entries *entries)
{
    bool locked;
    int error = file_position_lock(file, &locked);

    if (error)
        return error;
    error = file->ops->read_directory(file, &file->position, entry_emit, entries);
    file_position_unlock(file, locked);
    if (!error)
        notify_file(file, NOTIFY_ACCESS);
    if (error && !entries->used)
        return error;
    if (!entries->used && entries->full)
        return -EINVAL;
    return (int64_t)entries->used;
}

static int64_t entries_copy(struct file *file, uaddr_t buffer, uint64_t size, bool old_format)
{
    struct entries entries = {.size = min_u64(size, ENTRIES_SIZE_MAX), .old_format = old_format};
    int64_t result;

    if (!file->ops->read_directory || (file->node && (file->node->mode & LINUX_S_IFMT) != LINUX_S_IFDIR))
        return -ENOTDIR;
    entries.buffer = kalloc(entries.size + 1);
    if (!entries.buffer)
        return -ENOMEM;
    result = entries_read(file, &entries);
    if (result > 0 && user_write(buffer, entries.buffer, (size_t)result))
        result = -EFAULT;
    kfree(entries.buffer);
    return result;
}

static int64_t get_entries(int fd, uaddr_t buffer, uint64_t size, bool old_format)
{
    struct file *file;
    int64_t result = fd_get(fd, &file);

    if (result)
        return result;
    result = entries_copy(file, buffer, size, old_format);
    file_unref(file);
    return result;
}

int64_t sys_getdents64(int32_t fd, uaddr_t buffer, uint32_t size) { return get_entries(fd, buffer, size, false); }
int64_t sys_getdents(int32_t fd, uaddr_t buffer, uint32_t size) { return get_entries(fd, buffer, size, true); }

/* --- where we are ------------------------------------------------------------------------------------ */

static int64_t cwd_name(char *name)
{
    static const char unreachable[] = "(unreachable)";
    struct fs_context *context = current_process()->fs;
    struct path *cwd = fs_context_cwd(context), *root = fs_context_root(context);
    size_t room = sizeof(unreachable) - 1;
    bool reached, gone;
    int64_t length = path_name_from(cwd, root, name + room, PATH_LENGTH_MAX - room, &reached, &gone);

    path_unref(cwd);
    path_unref(root);
    if (length < 0)
        return length;
    if (gone)
        return -ENOENT;
    if (reached) {
        memmove(name, name + room, (size_t)length + 1);
        return length;
    }
    memcpy(name, unreachable, room);
    return length + (int64_t)room;
}

int64_t sys_getcwd(uaddr_t buffer, uint64_t size)
{
    char *name = kalloc(PATH_LENGTH_MAX);
    int64_t length;

    if (!name)
        return -ENOMEM;
    length = cwd_name(name);
    if (length >= 0 && (uint64_t)length + 1 > size)
        length = -ERANGE;
    if (length >= 0)
        length = user_write(buffer, name, (size_t)length + 1) ? -EFAULT : length + 1;
    kfree(name);
    return length;
}

static int change_directory(struct path *path)
{
    int error = path->type != LINUX_S_IFDIR ? -ENOTDIR : node_permission(path->node, MAY_EXECUTE);

    if (!error)
        error = node_access(path->node, MAY_EXECUTE);
    if (!error)
        fs_context_set_cwd(current_process()->fs, path);
    return error;
}

int64_t sys_chdir(const char *name)
{
    struct path *path;
    int error = path_walk(LINUX_AT_FDCWD, name, WALK_DIRECTORY, &path);

    if (error)
        return error;
    error = change_directory(path);
    path_unref(path);
    return error;
}

int64_t sys_fchdir(int32_t fd)
{
    struct file *file;
    int error = fd_get_any(fd, &file);

    if (error)
        return error;
    error = file->path ? change_directory(file->path) : -ENOTDIR;
    file_unref(file);
    return error;
}

int64_t sys_chroot(const char *name)
{
    struct path *path;
    int error = path_walk(LINUX_AT_FDCWD, name, WALK_DIRECTORY, &path);

    if (error)
        return error;
    error = node_permission(path->node, MAY_EXECUTE);
    if (!error)
        error = node_access(path->node, MAY_EXECUTE);
    if (!error && !capable(LINUX_CAP_SYS_CHROOT))
        error = -EPERM;
    if (!error)
        fs_context_set_root(current_process()->fs, path);
    path_unref(path);
    return error;
}

int64_t sys_umask(uint32_t mask)
{
    return atomic32_swap(&current_process()->fs->umask, mask & 0777);
}
