/*
 * File servers for --mount and --root-image: processes of the sandbox, started before the program.
 *
 * A server has a root directory of its own, where it sees the system's libraries and its own executable and nothing else, is nobody in
 * particular (the server of a host directory is the user), and gets an archive as descriptor 3, a directory as /source. Its port is
 * made here: the receive right moves into its table, the send right is what the file system is made of. It writes complaints to our standard error.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "body/linux/stdio.h"
#include "kernel/port.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534u

/* --- the executable ---------------------------------------------------------------------------------- */

/* Where it is installed, or built, beside the command. malloc'ed; NULL: nowhere. */
static char *find_server(const char *name)
{
    static const char *const places[] = {"../libexec/hyla", "../examples", "examples"};
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = length > 0 ? memrchr(self, '/', (size_t)length) : NULL;
    if (!slash)
        return NULL;
    *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", self, places[i], name);
        if (access(path, X_OK) == 0)
            return strdup(path);
    }
    return NULL;
}

/* --- what it sees ------------------------------------------------------------------------------------ */

static int show_host(struct path *directory, const char *name, const char *host)
{
    int error = 0;
    struct fs *fs = hostfs_create(host, true, &error);
    if (!fs)
        return error;
    error = mount_under(directory, name, fs);
    if (error)
        object_unref(fs);
    return error;
}

static int link_name(struct path *directory, const char *name, const char *target)
{
    const struct create_request request = {.mode = LINUX_S_IFLNK | 0777, .target = target};
    return names_create(directory, name, strlen(name), &request, NULL);
}

/* A folder of the host's root, as the folder or the symbolic link that it is there. */
static int show_folder(struct path *root, const char *name)
{
    char host[64], target[64];
    struct stat stat;
    snprintf(host, sizeof host, "/%s", name);
    if (lstat(host, &stat))
        return 0;
    if (S_ISDIR(stat.st_mode))
        return show_host(root, name, host);
    ssize_t length = S_ISLNK(stat.st_mode) ? readlink(host, target, sizeof target - 1) : 0;
    if (length <= 0)
        return 0;
    target[length] = 0;
    return link_name(root, name, target);
}

static int build_root(const char *executable, const char *source, struct path **root)
{
    static const char *const folders[] = {"usr", "lib", "lib64", "lib32"};
    struct fs *fs = memfs_create();
    int error = fs ? mount_detached(fs, root) : -ENOMEM;
    if (error) {
        object_unref(fs);
        return error;
    }
    for (size_t i = 0; !error && i < sizeof folders / sizeof *folders; i++)
        error = show_folder(*root, folders[i]);
    if (!error)
        error = show_host(*root, "server", executable);
    if (!error && source)
        error = show_host(*root, "source", source);
    return error;
}

/* Opened with nobody's credentials: by the kernel itself. */
static int open_source(struct path *root, struct file **file)
{
    struct path *path, *covered;
    int error = names_lookup(root, "source", 6, &path);
    if (error)
        return error;
    covered = path->covering ? path_ref(path->covering->root) : path_ref(path);
    error = vfs_open_path(covered, LINUX_O_RDONLY | LINUX_O_LARGEFILE, file);
    path_unref(covered);
    path_unref(path);
    return error;
}

/* --- starting ---------------------------------------------------------------------------------------- */

struct launch {
    const char *name;         /* of the executable */
    char *executable;
    struct path *root;
    struct handle_table handles;
    handle_t receive;
    struct handle_value send;
    char number[16];
    const char *arguments[16];
};

static void set_arguments(struct launch *launch, const struct run_options *options, const struct run_mount *mount)
{
    static char uid[16], gid[16];
    size_t count = 0;
    snprintf(launch->number, sizeof launch->number, "%u", launch->receive);
    launch->arguments[count++] = launch->name;
    launch->arguments[count++] = "--port";
    launch->arguments[count++] = launch->number;
    if (mount->type == RUN_MOUNT_MEMORY) {
        snprintf(uid, sizeof uid, "%u", options->uid);
        snprintf(gid, sizeof gid, "%u", options->gid);
        launch->arguments[count++] = "--owner";
        launch->arguments[count++] = uid;
        launch->arguments[count++] = gid;
    }
    if (mount->type == RUN_MOUNT_HOST)
        launch->arguments[count++] = "/source";
    if (mount->size) {
        launch->arguments[count++] = "--size";
        launch->arguments[count++] = mount->size;
    }
}

static int make_port(struct launch *launch)
{
    handle_t send;
    handle_table_init(&launch->handles, 16);
    int error = port_create(&launch->handles, 0, &launch->receive);
    if (!error)
        error = port_make_send(&launch->handles, launch->receive, 1, RIGHT_COPY | RIGHT_TRANSFER, &send);
    if (!error)
        error = handle_get(&launch->handles, send, &port_type, RIGHT_SEND | RIGHT_COPY, &launch->send);
    return error;
}

/* Nobody, but for a server of files that only the user may read. */
static void set_user(struct process_start *start, const struct run_options *options, const struct run_mount *mount)
{
    bool own = mount->type == RUN_MOUNT_HOST;
    start->uid = own ? options->uid : NOBODY;
    start->gid = own ? options->gid : NOBODY;
}

static int start_process(struct launch *launch, const struct run_options *options, const struct run_mount *mount)
{
    static char *const nothing[] = {NULL};
    struct process_start start = {
        .program = "/server", .argv = (char *const *)launch->arguments, .envp = nothing, .cwd = "/", .umask = 022,
        .root = launch->root, .handles = &launch->handles, .handle = launch->receive,
    };
    int error = mount->type == RUN_MOUNT_TAR ? open_source(launch->root, &start.source) : 0;
    if (error)
        return error;
    set_user(&start, options, mount);
    if (stdio_file(2, &start.stdio[2]))
        start.stdio[2] = NULL;
    return process_start_file_server(&start);
}

static int launch_server(struct launch *launch, const struct run_options *options, const struct run_mount *mount, struct fs **fs)
{
    int error = make_port(launch);
    if (!error)
        error = build_root(launch->executable, mount->source, &launch->root);
    if (error)
        return error;
    set_arguments(launch, options, mount);
    error = start_process(launch, options, mount);
    if (!error)
        error = serverfs_create(&launch->send, fs);
    if (!error && mount->type != RUN_MOUNT_MEMORY)
        (*fs)->read_only = true;
    return error;
}

int run_server_start(const struct run_options *options, const struct run_mount *mount, struct fs **fs)
{
    static const char *const names[] = {[RUN_MOUNT_MEMORY] = "hyla-fs-memory", [RUN_MOUNT_TAR] = "hyla-fs-archive", [RUN_MOUNT_HOST] = "hyla-fs-host"};
    struct launch launch = {.name = names[mount->type]};
    const char *what = mount->source ? mount->source : mount->destination;
    launch.executable = find_server(launch.name);
    if (!launch.executable) {
        complain("cannot mount '%s': the file server '%s' is not installed", what, launch.name);
        return EXIT_HYLA;
    }
    int error = launch_server(&launch, options, mount, fs);
    object_unref(launch.send.object);
    handle_table_destroy(&launch.handles);
    if (launch.root)
        path_unref(launch.root);
    free(launch.executable);
    if (error)
        complain("cannot mount '%s': %s", what, error == -EIO ? "its file server gave up" : error_text(error));
    return error ? EXIT_HYLA : 0;
}
