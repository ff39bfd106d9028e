/*
 * The tree of files that the guest sees.
 *
 *   /            the host's /, or --rootfs, or --root-image, read-only beneath a private layer in memory
 *   /proc, /dev  Hyla's own
 *   /dev/shm     in memory (where the devices' file system has the folder)
 *   then --bind, --rw and --mount, in the order they were given
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include "abi/linux/fs/fs.h"

#include <errno.h>
#include <sys/stat.h>

static int complain_code(const char *what, const char *name, int error)
{
    complain("%s '%s': %s", what, name, error_text(error));
    return EXIT_HYLA;
}

/* The archive beneath a private layer in memory. */
static int build_root_image(const struct run_options *options)
{
    const struct run_mount image = {.type = RUN_MOUNT_TAR, .source = (char *)options->root_image, .destination = (char *)"/"};
    struct fs *lower = NULL;
    int code = run_server_start(options, &image, &lower);
    if (code)
        return code;
    struct fs *root = overlay_create(lower, false);
    int error = root ? mount_root(root) : -ENOMEM;
    return error ? complain_code("cannot mount the root", options->root_image, error) : 0;
}

static int build_root(const struct run_options *options)
{
    if (options->root_image)
        return build_root_image(options);
    const char *place = options->rootfs ? options->rootfs : "/";
    struct stat stat_buffer;
    if (stat(place, &stat_buffer))
        return complain_code("--rootfs", place, errno);
    if (!S_ISDIR(stat_buffer.st_mode)) {
        complain("--rootfs '%s': not a directory", place);
        return EXIT_HYLA;
    }
    int error = 0;
    struct fs *lower = hostfs_create(place, true, &error);
    if (!lower)
        return complain_code("cannot open the root", place, error);
    struct fs *root = overlay_create(lower, false);
    error = root ? mount_root(root) : -ENOMEM;
    return error ? complain_code("cannot mount the root", place, error) : 0;
}

static int mount_own(const char *destination, struct fs *fs)
{
    int error = fs ? mount_at(destination, fs) : -ENOMEM;
    return error ? complain_code("cannot mount", destination, error) : 0;
}

/* Anybody may make files in it, as in /tmp. */
static struct fs *create_shared_memory(void)
{
    struct node_attr attr = {.valid = ATTR_MODE, .mode = 01777};
    struct fs *fs = memfs_create();
    if (fs && fs->root->ops->set_attr(fs->root, &attr)) {
        object_unref(fs);
        return NULL;
    }
    return fs;
}

static int mount_host(const struct run_mount *mount)
{
    int error = 0;
    struct fs *fs = hostfs_create(mount->source, mount->read_only, &error);
    if (!fs)
        return complain_code("cannot open", mount->source, error);
    error = mount_at(mount->destination, fs);
    return error ? complain_code("cannot mount at", mount->destination, error) : 0;
}

static int mount_server(const struct run_options *options, const struct run_mount *mount)
{
    struct fs *fs = NULL;
    int code = run_server_start(options, mount, &fs);
    if (code)
        return code;
    int error = mount_at(mount->destination, fs);
    return error ? complain_code("cannot mount at", mount->destination, error) : 0;
}

static int mount_given(const struct run_options *options, const struct run_mount *mount)
{
    switch (mount->type) {
    case RUN_MOUNT_BIND:
        return mount_host(mount);
    case RUN_MOUNT_FUSE:
        return run_serve(options, mount);
    case RUN_MOUNT_MEMORY:
    case RUN_MOUNT_TAR:
    case RUN_MOUNT_HOST:
        return mount_server(options, mount);
    }
    return EXIT_HYLA;
}

int run_tree_build(const struct run_options *options)
{
    int code = build_root(options);
    if (!code)
        code = mount_own("/proc", procfs_create());
    if (!code)
        code = mount_own("/dev", devfs_create());
    if (!code)
        code = mount_own("/dev/shm", create_shared_memory());
    for (size_t i = 0; !code && i < options->mount_count; i++)
        code = mount_given(options, &options->mounts[i]);
    return code;
}
