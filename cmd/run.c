/*
 * `hyla run`: one sandbox, one program, until it and all it started have ended.
 *
 * The host part (options, signals, the body) runs on the main thread. `start_guest` runs on a kernel thread once the
 * server is up, since file systems and processes may only be touched there. What it decides comes back through
 * host_stop: a wait status of the program, or FAILED with an exit code of our own.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include "abi/linux/fs/fs.h"
#include "abi/linux/process.h"
#include "abi/native/call.h"
#include "body/linux/host.h"
#include "body/linux/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The low byte is then our exit code. */
#define FAILED HOST_FAILED

static struct run_options options;
static mode_t user_umask; /* the program's; the server itself has none, so that what the guest makes on the host has the mode it asks for */

static void on_first_exited(int32_t wait_status) { host_stop(wait_status & 0xffff); }

const char *run_start_directory(void)
{
    static char here[PATH_MAX];
    if (options.cwd)
        return options.cwd;
    return options.rootfs || options.root_image || !getcwd(here, sizeof here) || *here != '/' ? "/" : here;
}

/* The caller's supplementary groups, unless another user was asked for. */
static void set_groups(struct process_start *start)
{
    static gid_t groups[LINUX_NGROUPS_MAX];
    _Static_assert(sizeof(gid_t) == sizeof(uint32_t), "gid_t");
    int count = options.user_given ? 0 : getgroups(LINUX_NGROUPS_MAX, groups);
    start->group_count = count > 0 ? (uint32_t)count : 0;
    start->groups = groups;
}

/* Descriptors 0 to 2 that are closed must not become something of ours. The guest still finds them closed. */
static bool closed_streams[3];
static bool has_terminal; /* some of them are */

static int hold_streams(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        closed_streams[fd] = true;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null != fd)
            return EXIT_HYLA;
    }
    return 0;
}

/* Standard streams: the console for those that are a terminal, the host's files else, closed when closed there. */
static struct process_start streams; /* of which only tty and stdio count */

struct file *run_stream(int fd) { return streams.stdio[fd] ? object_ref(streams.stdio[fd]) : NULL; }

static int open_streams(void)
{
    static const int fds[] = {0, 1, 2};
    struct process_start *start = &streams;
    int error = 0;
    start->tty = stdio_console_open(fds, 3, &error);
    has_terminal = start->tty != NULL;
    if (!start->tty && error != -ENOTTY)
        complain("cannot use the terminal: %s", error_text(error));
    for (int i = 0; i < 3; i++) {
        error = closed_streams[i] ? -EBADF : stdio_file(i, &start->stdio[i]);
        if (error && error != -EBADF) {
            complain("cannot pass on descriptor %d: %s", i, error_text(error));
            return EXIT_HYLA;
        }
    }
    return 0;
}

static int check_directory(const char *cwd)
{
    struct path *place;
    int error = path_walk(LINUX_AT_FDCWD, cwd, WALK_DIRECTORY, &place);
    if (error) {
        complain("cannot start in '%s': %s", cwd, error_text(error));
        return EXIT_HYLA;
    }
    path_unref(place);
    return 0;
}

static int start_program(const char *cwd)
{
    char *path = NULL;
    int code = run_program_find(&options, cwd, &path);
    if (code)
        return code;
    struct process_start start = {
        .program = path, .argv = options.argv, .envp = options.environment, .cwd = cwd, .uid = options.uid, .gid = options.gid, .umask = user_umask,
        .memory_limit = options.memory, .process_limit = options.processes, .hostname = options.hostname,
    };
    set_groups(&start);
    start.tty = streams.tty;
    memcpy(start.stdio, streams.stdio, sizeof start.stdio);
    int error = process_start_first(&start);
    if (error) {
        stdio_console_close();
        code = run_program_failed(path, cwd, error);
    }
    free(path);
    return code;
}

static void start_guest(void *argument)
{
    (void)argument;
    const char *cwd = run_start_directory();
    process_first_exited = on_first_exited;
    native_calls_register();
    int code = run_report_enable(&options);
    if (!code)
        code = open_streams();
    if (!code)
        code = run_tree_build(&options);
    if (!code)
        code = check_directory(cwd);
    if (!code)
        code = start_program(cwd);
    int error = code ? 0 : run_signals_forward(process_signal_first, has_terminal);
    if (error)
        complain("signals are not forwarded: %s", error_text(error));
    if (code)
        host_stop(FAILED | code);
}

static int run(int argc, char **argv)
{
    int code = hold_streams();
    if (code)
        return code;
    code = run_options_parse(&options, argc, argv);
    if (code >= 0)
        return code;
    code = run_report_start(&options);
    if (code)
        return code;
    user_umask = umask(0);
    const char *why = NULL;
    struct host_options host = {.workers = options.workers, .memory = options.memory, .verbose = options.verbose, .no_rewrite = options.no_rewrite, .no_local_waits = options.trace,
                                .no_vm_access = options.no_vm_access, .no_namespaces = options.no_namespaces};
    int error = run_signals_block();
    if (!error)
        error = host_init(&host, &why);
    if (error) {
        complain("cannot start: %s%s%s", why ? why : "", why ? ": " : "", error_text(error));
        return EXIT_HYLA;
    }
    int status = host_run(start_guest, NULL);
    stdio_console_close();
    run_report_finish(&options);
    return status & FAILED ? status & 0xff : finish_as(status);
}

const struct command command_run = {"run", "run a program", run_help, run};
