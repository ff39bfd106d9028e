/*
 * Extended attributes: a list for each file. Who may see and set which has been checked by the kernel, but for the names' first part.
 */
#include "examples/memory-fs/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct xattr **find(struct file *file, const char *name)
{
    struct xattr **at = &file->xattrs;
    while (*at && strcmp((*at)->name, name))
        at = &(*at)->next;
    return at;
}

void xattr_drop(struct file *file, struct xattr *xattr)
{
    struct xattr **at = find(file, xattr->name);
    *at = xattr->next;
    free(xattr->value);
    free(xattr);
}

int64_t memory_get_xattr(struct hyla_fs *fs, uint64_t node, const char *name, uint32_t *length, void *value, uint32_t room)
{
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    struct xattr *xattr = file ? *find(file, name) : NULL;
    if (!xattr)
        return tree_unlock(file ? -ENODATA : -ESTALE);
    *length = xattr->size;
    if (xattr->size > room)
        return tree_unlock(0);
    memcpy(value, xattr->value, xattr->size);
    return tree_unlock(xattr->size);
}

static struct xattr *make(const char *name)
{
    struct xattr *xattr = calloc(1, sizeof *xattr + strlen(name) + 1);
    if (xattr)
        strcpy(xattr->name, name);
    return xattr;
}

static int64_t set(struct file *file, const char *name, uint32_t flags, const void *value, uint32_t size)
{
    struct xattr **at = find(file, name), *old = *at;
    if (old && (flags & HYLA_FILE_XATTR_CREATE))
        return -EEXIST;
    if (!old && (flags & HYLA_FILE_XATTR_REPLACE))
        return -ENODATA;
    char *copy = malloc(size ? size : 1);
    struct xattr *xattr = old ? old : make(name);
    if (!copy || !xattr) {
        free(copy);
        if (!old)
            free(xattr);
        return -ENOSPC;
    }
    memcpy(copy, value, size);
    free(xattr->value);
    xattr->value = copy;
    xattr->size = size;
    *at = xattr;
    file_changed(file, false);
    return 0;
}

int64_t memory_set_xattr(struct hyla_fs *fs, uint64_t node, const char *name, uint32_t flags, const void *value, uint32_t size)
{
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    return tree_unlock(file ? set(file, name, flags, value, size) : -ESTALE);
}

int64_t memory_list_xattr(struct hyla_fs *fs, uint64_t node, uint32_t *length, void *names, uint32_t room)
{
    uint32_t used = 0;
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    for (const struct xattr *xattr = file ? file->xattrs : NULL; xattr; xattr = xattr->next) {
        uint32_t size = (uint32_t)strlen(xattr->name) + 1;
        if (used + size <= room)
            memcpy((char *)names + used, xattr->name, size);
        used += size;
    }
    *length = used;
    return tree_unlock(!file ? -ESTALE : used <= room ? (int64_t)used : 0);
}

int64_t memory_remove_xattr(struct hyla_fs *fs, uint64_t node, const char *name)
{
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    struct xattr *xattr = file ? *find(file, name) : NULL;
    if (xattr) {
        xattr_drop(file, xattr);
        file_changed(file, false);
    }
    return tree_unlock(xattr ? 0 : file ? -ENODATA : -ESTALE);
}
