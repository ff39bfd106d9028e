/*
 * `hyla mounts` and `hyla df`: what a program would see that `hyla run` started with the same options: its file systems, and how much
 * room they have. The sandbox is built, servers and all, looked at, and taken down.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include "abi/linux/fs/fs.h"
#include "abi/linux/process.h"
#include "abi/native/call.h"
#include "body/linux/host.h"

#include <stdio.h>

static struct run_options options;
static bool space; /* df */

static void help_with(const char *name, const char *what)
{
    printf("Usage: hyla %s [OPTION...]\n\n%s\n"
           "The options are those of `hyla run` about files: --rootfs, --root-image, --bind, --rw, --mount.\n", name, what);
}

static void help_mounts(void) { help_with("mounts", "Lists the file systems that a program would see."); }
static void help_df(void) { help_with("df", "Shows the size of the file systems that a program would see, and what is free."); }

/* "12.3M": at most four characters and a unit. */
static const char *human(uint64_t bytes, char text[16])
{
    static const char units[] = "BKMGTPE";
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit + 2 < sizeof units; unit++)
        value /= 1024;
    snprintf(text, 16, value < 10 && unit ? "%.1f%c" : "%.0f%c", value, units[unit]);
    return text;
}

static void show_space(struct fs *fs, const char *source, const char *name)
{
    struct linux_statfs_data stat = {0};
    char size[16], used[16], left[16];
    int error = fs->ops->stat_fs ? fs->ops->stat_fs(fs, &stat) : -ENOSYS;
    if (error)
        printf("%-16s %8s %8s %8s  %s\n", source, "-", "-", "-", name);
    else
        printf("%-16s %8s %8s %8s  %s\n", source, human(stat.blocks * stat.block_size, size),
               human((stat.blocks - stat.blocks_free) * stat.block_size, used), human(stat.blocks_available * stat.block_size, left), name);
}

static bool show(void *context, struct fs *fs, const char *source, const char *name, bool read_only)
{
    (void)context;
    if (space)
        show_space(fs, source, name);
    else
        printf("%-16s %-16s %s  %s\n", source, fs->ops->name, read_only ? "ro" : "rw", name);
    return true;
}

static void look(void *argument)
{
    (void)argument;
    native_calls_register();
    int code = run_tree_build(&options);
    if (!code && space)
        printf("%-16s %8s %8s %8s  %s\n", "source", "size", "used", "free", "mounted on");
    if (!code && mounts_each(show, NULL))
        code = EXIT_HYLA;
    host_stop(HOST_FAILED | code);
}

static int run_look(const struct command *command, int argc, char **argv)
{
    const char *why = NULL;
    options.no_program = true;
    int code = run_options_parse(&options, argc, argv);
    if (code == RUN_WANTS_HELP)
        command->help();
    if (code >= 0)
        return code == RUN_WANTS_HELP ? 0 : code;
    struct host_options host = {.workers = options.workers, .memory = options.memory, .verbose = options.verbose,
                                .no_vm_access = options.no_vm_access, .no_namespaces = options.no_namespaces};
    int error = host_init(&host, &why);
    if (error) {
        complain("cannot start: %s%s%s", why ? why : "", why ? ": " : "", error_text(error));
        return EXIT_HYLA;
    }
    code = host_run(look, NULL) & 0xff;
    return fflush(stdout) ? EXIT_HYLA : code;
}

static int mounts(int argc, char **argv) { return run_look(&command_mounts, argc, argv); }

static int df(int argc, char **argv)
{
    space = true;
    return run_look(&command_df, argc, argv);
}

const struct command command_mounts = {"mounts", "list the file systems that a program would see", help_mounts, mounts};
const struct command command_df = {"df", "show how much room they have", help_df, df};
