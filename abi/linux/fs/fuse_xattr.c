/*
 * Extended attributes, and what statfs tells. A program that has none answers ENOSYS, once: EOPNOTSUPP from then on.
 */
#include "abi/linux/fs/fuse.h"

#include "kernel/string.h"

static int64_t unsupported(int64_t error) { return error == -ENOSYS ? -EOPNOTSUPP : error; }

/* With size 0 only the size is asked for. */
static int64_t ask(struct node *node, uint32_t operation, const char *name, void *value, size_t size)
{
    size_t room = size ? size : sizeof(struct fuse_getxattr_out);
    struct fuse_request *request;
    int64_t result =
        fuse_begin(node, operation, sizeof(struct fuse_getxattr_in), name, name ? strlen(name) : 0, room, &request);

    if (result)
        return unsupported(result);
    ((struct fuse_getxattr_in *)request->in)->size = (uint32_t)size;
    request->out_variable = size != 0;
    result = fuse_call(request);
    if (!result && !size)
        result = ((const struct fuse_getxattr_out *)request->out)->size;
    else if (!result) {
        result = request->out_length;
        memcpy(value, request->out, request->out_length);
    }
    fuse_request_put(request);
    return unsupported(result);
}

int64_t fuse_get_xattr(struct node *node, const char *name, void *value, size_t size)
{
    return ask(node, FUSE_GETXATTR, name, value, size);
}

/* Names that end, none of them empty. */
static bool list_possible(const char *names, size_t size)
{
    for (size_t at = 0, length; at < size; at += length + 1) {
        length = strnlen(names + at, size - at);
        if (!length || length == size - at)
            return false;
    }
    return true;
}

int64_t fuse_list_xattr(struct node *node, char *names, size_t size)
{
    int64_t result = ask(node, FUSE_LISTXATTR, NULL, names, size);

    if (result > 0 && size && !list_possible(names, (size_t)result))
        result = -EIO;
    return result;
}

int fuse_set_xattr(struct node *node, const char *name, const void *value, size_t size, int flags)
{
    size_t length = strlen(name), head = sizeof(struct fuse_setxattr_in);
    struct fuse_request *request;
    int error = fuse_begin(node, FUSE_SETXATTR, head + length + 1 + size, NULL, 0, 0, &request);

    if (error)
        return (int)unsupported(error);
    *(struct fuse_setxattr_in *)request->in = (struct fuse_setxattr_in){.size = (uint32_t)size, .flags = (uint32_t)flags};
    memcpy((char *)request->in + head, name, length + 1);
    memcpy((char *)request->in + head + length + 1, value, size);
    error = fuse_call_put(request);
    fuse_attr_expire(node);
    return (int)unsupported(error);
}

int fuse_remove_xattr(struct node *node, const char *name)
{
    struct fuse_request *request;
    int error = fuse_begin(node, FUSE_REMOVEXATTR, 0, name, strlen(name), 0, &request);

    if (!error)
        error = fuse_call_put(request);
    fuse_attr_expire(node);
    return (int)unsupported(error);
}

enum { FUSE_SUPER_MAGIC = 0x65735546 };

int fuse_stat_fs(struct fs *fs, struct linux_statfs_data *stat)
{
    struct fuse_request *request;
    int error = fuse_begin(fs->root, FUSE_STATFS, 0, NULL, 0, sizeof(struct fuse_statfs_out), &request);

    if (error)
        return error;
    error = fuse_call(request);
    const struct fuse_statfs_out *out = request->out;
    if (!error)
        *stat = (struct linux_statfs_data){.type = FUSE_SUPER_MAGIC, .block_size = out->block_size, .blocks = out->blocks,
                                           .blocks_free = out->blocks_free, .blocks_available = out->blocks_available,
                                           .files = out->files, .files_free = out->files_free, .fsid = fs->device,
                                           .name_length = out->name_length};
    fuse_request_put(request);
    return error;
}
