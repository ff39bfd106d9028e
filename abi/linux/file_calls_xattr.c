/*
 * Extended attributes. The rules of the four name spaces (xattr(7)) are here, the attributes in the file systems.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

enum { ATTRIBUTE_NAME_MAX = 255, ATTRIBUTE_SIZE_MAX = 65536, ATTRIBUTE_LIST_MAX = 65536 };
enum { XATTR_CREATE = 1, XATTR_REPLACE = 2 };

static bool begins(const char *text, const char *prefix) { return !strncmp(text, prefix, strlen(prefix)); }

/* What a name space demands beyond the file's own mode. */
static int name_check(struct node *node, const char *name, bool write)
{
    uint32_t type = node->mode & LINUX_S_IFMT;

    if (begins(name, "trusted."))
        return capable(LINUX_CAP_SYS_ADMIN) ? 0 : write ? -EPERM : -ENODATA;
    if (begins(name, "security."))
        return write && !capable(LINUX_CAP_SYS_ADMIN) ? -EPERM : 0;
    if (begins(name, "system.")) /* no file system has any, and that comes before the question who asks */
        return -EOPNOTSUPP;
    if (!begins(name, "user."))
        return -EOPNOTSUPP;
    if (type != LINUX_S_IFREG && type != LINUX_S_IFDIR)
        return write ? -EPERM : -ENODATA;
    return node_permission(node, write ? MAY_WRITE : MAY_READ);
}

static int name_length_check(const char *name)
{
    size_t length = strlen(name);

    return length == 0 || length > ATTRIBUTE_NAME_MAX ? -ERANGE : 0;
}

/* --- one node ---------------------------------------------------------------------------------------- */

struct xattr_request {
    const char *name;
    uaddr_t value;
    uint64_t size;
    uint32_t flags;
};
typedef int64_t xattr_operation(struct path *path, const struct xattr_request *request);

/* Runs a node's operation on a kernel buffer of at most `limit` bytes and copies out what it gave. */
static int64_t copy_result(struct node *node, const struct xattr_request *request, uint64_t limit)
{
    uint64_t size = min_u64(request->size, limit);
    char *buffer = size ? kalloc(size) : NULL;
    int64_t result;

    if (size && !buffer)
        return -ENOMEM;
    result = request->name ? node->ops->get_xattr(node, request->name, buffer, size) : node->ops->list_xattr(node, buffer, size);
    if (result > 0 && size && user_write(request->value, buffer, (size_t)result))
        result = -EFAULT;
    kfree(buffer);
    return result;
}

static int64_t xattr_get(struct path *path, const struct xattr_request *request)
{
    int error = name_length_check(request->name);

    if (!error)
        error = name_check(path->node, request->name, false);
    if (error)
        return error;
    return path->node->ops->get_xattr ? copy_result(path->node, request, ATTRIBUTE_SIZE_MAX) : -EOPNOTSUPP;
}

static int64_t xattr_list(struct path *path, const struct xattr_request *request)
{
    return path->node->ops->list_xattr ? copy_result(path->node, request, ATTRIBUTE_LIST_MAX) : 0;
}

static int xattr_may_change(struct path *path, const char *name)
{
    int error = name_length_check(name);

    if (!error)
        error = path_writable(path);
    return error ? error : name_check(path->node, name, true);
}

static int64_t xattr_set(struct path *path, const struct xattr_request *request)
{
    void *value;
    int error = request->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE) ? -EINVAL : xattr_may_change(path, request->name);

    if (error)
        return error;
    if (request->size > ATTRIBUTE_SIZE_MAX)
        return -E2BIG;
    if (!path->node->ops->set_xattr)
        return -EOPNOTSUPP;
    value = kalloc(request->size + 1);
    if (!value)
        return -ENOMEM;
    error = request->size && user_read(value, request->value, request->size) ? -EFAULT : 0;
    if (!error)
        error = path->node->ops->set_xattr(path->node, request->name, value, request->size, (int)request->flags);
    if (!error)
        notify_path(path, NOTIFY_ATTRIB);
    kfree(value);
    return error;
}

static int64_t xattr_remove(struct path *path, const struct xattr_request *request)
{
    int error = xattr_may_change(path, request->name);

    if (error)
        return error;
    error = path->node->ops->remove_xattr ? path->node->ops->remove_xattr(path->node, request->name) : -EOPNOTSUPP;
    if (!error)
        notify_path(path, NOTIFY_ATTRIB);
    return error;
}

/* --- the three ways to a node ------------------------------------------------------------------------ */

static int64_t on_name(const char *name, uint32_t walk_flags, xattr_operation *operation, const struct xattr_request *request)
{
    struct path *path;
    int64_t result = path_walk(LINUX_AT_FDCWD, name, walk_flags, &path);

    if (result)
        return result == -ENXIO ? -EOPNOTSUPP : result;
    result = operation(path, request);
    path_unref(path);
    return result;
}

static int64_t on_descriptor(int fd, xattr_operation *operation, const struct xattr_request *request)
{
    struct file *file;
    int64_t result = fd_get(fd, &file);

    if (result)
        return result;
    result = file->path ? operation(file->path, request) : -EOPNOTSUPP;
    file_unref(file);
    return result;
}

#define REQUEST(...) &(struct xattr_request) { __VA_ARGS__ }

int64_t sys_getxattr(const char *path, const char *name, uaddr_t value, uint64_t size)
{
    return on_name(path, 0, xattr_get, REQUEST(name, value, size, 0));
}

int64_t sys_lgetxattr(const char *path, const char *name, uaddr_t value, uint64_t size)
{
    return on_name(path, WALK_NOFOLLOW, xattr_get, REQUEST(name, value, size, 0));
}

int64_t sys_fgetxattr(int32_t fd, const char *name, uaddr_t value, uint64_t size)
{
    return on_descriptor(fd, xattr_get, REQUEST(name, value, size, 0));
}

int64_t sys_setxattr(const char *path, const char *name, uaddr_t value, uint64_t size, uint32_t flags)
{
    return on_name(path, 0, xattr_set, REQUEST(name, value, size, flags));
}

int64_t sys_lsetxattr(const char *path, const char *name, uaddr_t value, uint64_t size, uint32_t flags)
{
    return on_name(path, WALK_NOFOLLOW, xattr_set, REQUEST(name, value, size, flags));
}

int64_t sys_fsetxattr(int32_t fd, const char *name, uaddr_t value, uint64_t size, uint32_t flags)
{
    return on_descriptor(fd, xattr_set, REQUEST(name, value, size, flags));
}

int64_t sys_listxattr(const char *path, uaddr_t list, uint64_t size)
{
    return on_name(path, 0, xattr_list, REQUEST(NULL, list, size, 0));
}

int64_t sys_llistxattr(const char *path, uaddr_t list, uint64_t size)
{
    return on_name(path, WALK_NOFOLLOW, xattr_list, REQUEST(NULL, list, size, 0));
}

int64_t sys_flistxattr(int32_t fd, uaddr_t list, uint64_t size) { return on_descriptor(fd, xattr_list, REQUEST(NULL, list, size, 0)); }

int64_t sys_removexattr(const char *path, const char *name) { return on_name(path, 0, xattr_remove, REQUEST(name, 0, 0, 0)); }

int64_t sys_lremovexattr(const char *path, const char *name)
{
    return on_name(path, WALK_NOFOLLOW, xattr_remove, REQUEST(name, 0, 0, 0));
}

int64_t sys_fremovexattr(int32_t fd, const char *name) { return on_descriptor(fd, xattr_remove, REQUEST(name, 0, 0, 0)); }
