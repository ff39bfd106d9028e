/*
 * The file system as an object: mount(2)'s options, life and death. See mount.fuse3(8) for the options.
 *
 * The mount binds the open /dev/fuse to a new connection and queues INIT; it does not wait for the program, which may be the
 * very one that mounts. When the last mount is gone, what is under way (handles given back) is waited for, by nobody; then the
 * connection is aborted, which tells the program (ENODEV) to end.
 */
#include "abi/linux/fs/fuse.h"

#include "kernel/alloc.h"
#include "kernel/string.h"

struct fuse_fs {
    struct fs_ops ops;
    struct fuse_conn *conn; /* referenced */
    char name[48];
};

static struct fuse_fs *fuse_fs_of(const struct fs *fs) { return CONTAINER_OF(fs->ops, struct fuse_fs, ops); }

/* --- options ----------------------------------------------------------------------------------------- */

enum option { OPTION_FD = 1, OPTION_ROOT_MODE = 2, OPTION_USER = 4, OPTION_GROUP = 8, OPTION_FLAG = 0 };
#define OPTIONS_NEEDED (OPTION_FD | OPTION_ROOT_MODE | OPTION_USER | OPTION_GROUP)

/* "name=" at the head of the option: what follows, or NULL. */
static const char *value_of(const char *option, const char *name)
{
    size_t length = strlen(name);

    return !strncmp(option, name, length) && option[length] == '=' ? option + length + 1 : NULL;
}

static bool number(const char *text, uint32_t base, uint32_t *value)
{
    uint64_t result = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text >= (char)('0' + base))
            return false;
        result = result * base + (uint64_t)(*text - '0');
        if (result > UINT32_MAX)
            return false;
    }
    *value = (uint32_t)result;
    return true;
}

static bool number_option(struct fuse_options *options, const char *option, uint32_t *given)
{
    const struct {
        const char *name;
        uint32_t base, bit, *value;
    } numbers[] = {
        {"fd", 10, OPTION_FD, (uint32_t *)&options->fd},   {"rootmode", 8, OPTION_ROOT_MODE, &options->root_mode},
        {"user_id", 10, OPTION_USER, &options->uid},       {"group_id", 10, OPTION_GROUP, &options->gid},
        {"max_read", 10, 0, &options->max_read},           {"blksize", 10, 0, &options->block_size},
    };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        const char *value = value_of(option, numbers[i].name);
        if (!value)
            continue;
        *given |= numbers[i].bit;
        return number(value, numbers[i].base, numbers[i].value);
    }
    return false;
}

static bool take_option(struct fuse_options *options, const char *option, uint32_t *given)
{
    if (!strcmp(option, "default_permissions"))
        options->default_permissions = true;
    else if (!strcmp(option, "allow_other"))
        options->allow_other = true;
    else if (*option && !value_of(option, "subtype") && !value_of(option, "source"))
        return number_option(options, option, given);
    return true;
}

static int options_parse(struct fuse_options *options, char *text)
{
    uint32_t given = 0, type;

    for (char *next, *option = text; option; option = next) {
        next = strchr(option, ',');
        if (next)
            *next++ = 0;
        if (!take_option(options, option, &given))
            return -EINVAL;
    }
    type = options->root_mode & LINUX_S_IFMT;
    if ((given & OPTIONS_NEEDED) != OPTIONS_NEEDED || (type != LINUX_S_IFDIR && type != LINUX_S_IFREG))
        return -EINVAL;
    return 0;
}

/* --- the object -------------------------------------------------------------------------------------- */

/* A disk's program is told to write everything, and may take its time. */
static void fuse_fs_unmounted(struct fs *fs)
{
    struct fuse_conn *conn = fuse_fs_of(fs)->conn;
    struct fuse_request *request = conn->options.block_device ? fuse_request_create(conn, FUSE_DESTROY, 0, 0, 0) : NULL;

    if (request)
        fuse_send(request);
    fuse_conn_close(conn);
}

static void fuse_fs_release(struct fs *fs)
{
    struct fuse_fs *fuse = fuse_fs_of(fs);

    fuse_conn_abort(fuse->conn, false);
    object_unref(fuse->conn);
    kfree(fuse);
}

static void fuse_fs_abort(struct fs *fs) { fuse_conn_abort(fuse_fs_of(fs)->conn, true); }

static void show_options(struct fs *fs, char *buffer, size_t size)
{
    const struct fuse_options *options = &fuse_fs_of(fs)->conn->options;
    int length = format(buffer, size, ",user_id=%u,group_id=%u%s%s", options->uid, options->gid,
                        options->default_permissions ? ",default_permissions" : "", options->allow_other ? ",allow_other" : "");

    if (options->max_read && (size_t)length < size)
        format(buffer + length, size - (size_t)length, ",max_read=%u", options->max_read);
}

/* Takes over the reference on conn, also on failure. */
static struct fs *fs_make(struct fuse_conn *conn, const char *type)
{
    struct fuse_fs *fuse = kzalloc(sizeof(*fuse));
    struct fs *fs;

    if (!fuse) {
        object_unref(conn);
        return NULL;
    }
    fuse->conn = conn;
    format(fuse->name, sizeof(fuse->name), "%s", type);
    fuse->ops = (struct fs_ops){.name = fuse->name, .stat_fs = fuse_stat_fs, .release = fuse_fs_release, .unmounted = fuse_fs_unmounted, .abort = fuse_fs_abort,
                                .show_options = show_options};
    fs = fs_create(&fuse->ops, NULL);
    if (!fs) {
        kfree(fuse);
        object_unref(conn);
        return NULL;
    }
    fs->rename_gate = &conn->rename_gate;
    fs->root = fuse_root_create(fs, conn);
    if (fs->root)
        return fs;
    object_unref(fs);
    return NULL;
}

static int mount_on_device(struct file *device, const struct fuse_options *options, const char *type, struct fs **fs)
{
    struct fuse_conn *conn = fuse_conn_create(options);
    int error;

    if (!conn)
        return -ENOMEM;
    error = fuse_device_bind(device, conn);
    if (error) {
        object_unref(conn);
        return error == -EBUSY ? -EINVAL : error;
    }
    *fs = fs_make(conn, type);
    if (!*fs)
        return -ENOMEM;
    error = fuse_conn_start(conn);
    if (error) {
        object_unref(*fs);
        *fs = NULL;
    }
    return error;
}

int fuse_mount(const char *type, char *text, struct fs **fs)
{
    struct fuse_options options = {.block_device = !strncmp(type, "fuseblk", 7)};
    struct file *device;
    int error = options_parse(&options, text);

    if (!error)
        error = fd_get(options.fd, &device);
    if (error)
        return error == -EBADF ? -EINVAL : error;
    error = mount_on_device(device, &options, type, fs);
    file_unref(device);
    return error;
}
