/*
 * Extended attributes of in-memory nodes: a list of (name, value), under the node's mutex. xattr(7) says who may
 * have which; access control lists are not kept.
 */
#include "abi/linux/fs/memfs_node.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define XATTR_VALUE_MAX 65536u
#define XATTR_TOTAL_MAX 65536u /* bytes of names and values of one node */
enum { XATTR_CREATE = 1, XATTR_REPLACE = 2 };

struct xattr {
    struct list link;
    size_t size;
    char *name;
    uint8_t value[];
};

static struct xattr *xattr_find(struct memnode *mem, const char *name)
{
    LIST_FOR_EACH (link, &mem->xattrs) {
        struct xattr *xattr = LIST_ENTRY(link, struct xattr, link);
        if (!strcmp(xattr->name, name))
            return xattr;
    }
    return NULL;
}

static bool has_prefix(const char *name, const char *prefix) { return !strncmp(name, prefix, strlen(prefix)); }

static int check_name(struct node *node, const char *name, bool write)
{
    if (has_prefix(name, "user.")) {
        uint32_t type = node->mode & LINUX_S_IFMT;
        if (type != LINUX_S_IFREG && type != LINUX_S_IFDIR)
            return write ? -EPERM : -ENODATA;
        return 0;
    }
    if (has_prefix(name, "trusted."))
        return capable(LINUX_CAP_SYS_ADMIN) ? 0 : write ? -EPERM : -ENODATA;
    if (has_prefix(name, "security."))
        return write && !capable(LINUX_CAP_SYS_ADMIN) ? -EPERM : 0;
    return -EOPNOTSUPP;
}

int64_t memfs_get_xattr(struct node *node, const char *name, void *value, size_t size)
{
    int64_t result = check_name(node, name, false);
    if (result || (result = overlay_own_xattrs(node)))
        return result;
    mutex_lock(&node->mutex);
    struct xattr *xattr = xattr_find(memnode_of(node), name);
    if (!xattr)
        result = -ENODATA;
    else if (size && size < xattr->size)
        result = -ERANGE;
    else {
        if (size)
            memcpy(value, xattr->value, xattr->size);
        result = (int64_t)xattr->size;
    }
    mutex_unlock(&node->mutex);
    return result;
}

static struct xattr *xattr_create(const char *name, const void *value, size_t size)
{
    size_t length = strlen(name) + 1;
    struct xattr *xattr = kalloc(sizeof *xattr + size + length);
    if (!xattr)
        return NULL;
    xattr->size = size;
    xattr->name = (char *)xattr->value + size;
    memcpy(xattr->value, value, size);
    memcpy(xattr->name, name, length);
    list_init(&xattr->link);
    return xattr;
}

bool memfs_add_xattr(struct memnode *mem, const char *name, const void *value, size_t size)
{
    struct xattr *xattr = xattr_create(name, value, size);
    if (xattr)
        list_push_back(&mem->xattrs, &xattr->link);
    return xattr;
}

static size_t total_size(struct memnode *mem)
{
    size_t total = 0;
    LIST_FOR_EACH (link, &mem->xattrs)
        total += LIST_ENTRY(link, struct xattr, link)->size + strlen(LIST_ENTRY(link, struct xattr, link)->name) + 1;
    return total;
}

int memfs_set_xattr(struct node *node, const char *name, const void *value, size_t size, int flags)
{
    int error = check_name(node, name, true);
    if (error || size > XATTR_VALUE_MAX)
        return error ? error : -E2BIG;
    error = overlay_own(node);
    if (!error)
        error = overlay_own_xattrs(node);
    if (error)
        return error;
    struct xattr *fresh = xattr_create(name, value, size);
    if (!fresh)
        return -ENOMEM;
    mutex_lock(&node->mutex);
    struct memnode *mem = memnode_of(node);
    struct xattr *old = xattr_find(mem, name);
    if (old && (flags & XATTR_CREATE))
        error = -EEXIST;
    else if (!old && (flags & XATTR_REPLACE))
        error = -ENODATA;
    else if (total_size(mem) + size > XATTR_TOTAL_MAX)
        error = -ENOSPC;
    else {
        if (old)
            list_remove(&old->link);
        list_push_back(&mem->xattrs, &fresh->link);
        fresh = old;
    }
    mutex_unlock(&node->mutex);
    kfree(fresh);
    return error;
}

int64_t memfs_list_xattr(struct node *node, char *names, size_t size)
{
    int64_t length = overlay_own_xattrs(node);
    if (length)
        return length;
    mutex_lock(&node->mutex);
    LIST_FOR_EACH (link, &memnode_of(node)->xattrs) {
        struct xattr *xattr = LIST_ENTRY(link, struct xattr, link);
        size_t one = strlen(xattr->name) + 1;
        if (has_prefix(xattr->name, "trusted.") && !capable(LINUX_CAP_SYS_ADMIN))
            continue;
        if (size && (size_t)length + one > size) {
            length = -ERANGE;
            break;
        }
        if (size)
            memcpy(names + length, xattr->name, one);
        length += (int64_t)one;
    }
    mutex_unlock(&node->mutex);
    return length;
}

int memfs_remove_xattr(struct node *node, const char *name)
{
    int error = check_name(node, name, true);
    if (!error)
        error = overlay_own(node);
    if (!error)
        error = overlay_own_xattrs(node);
    if (error)
        return error;
    mutex_lock(&node->mutex);
    struct xattr *xattr = xattr_find(memnode_of(node), name);
    if (xattr)
        list_remove(&xattr->link);
    mutex_unlock(&node->mutex);
    kfree(xattr);
    return xattr ? 0 : -ENODATA;
}

void memfs_free_xattrs(struct memnode *mem)
{
    struct list *link;
    while ((link = list_pop_front(&mem->xattrs)))
        kfree(LIST_ENTRY(link, struct xattr, link));
}
