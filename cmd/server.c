/*
 * `hyla server`: the kernel for attached processes. It starts no program; they come over a socket.
 *
 * It runs until SIGTERM or SIGINT. Then every attached thread hears that the server is gone, and the socket's name goes.
 */
#include "cmd/command.h"
#include "cmd/run.h"
#include "cmd/server.h"

#include "abi/native/report.h"
#include "abi/native/task.h"
#include "abi/native/trace.h"
#include "body/linux/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROCESSES_MAX 1024u
#define DESCRIPTORS_PER_PROCESS 3u
#define DESCRIPTORS_OWN 64u

static struct {
    const char *socket;
    uint32_t workers;
    bool no_vm_access, ready, trace;
    const char *trace_file;
} options;

static void help(void)
{
    puts("Usage: hyla server [OPTION...]\n"
         "\n"
         "Serves Hyla's native calls to ordinary processes that are linked with libhyla and attach over a socket.\n"
         "\n"
         "  --socket PATH    where to listen (default: $HYLA_SOCKET, or hyla.sock in $XDG_RUNTIME_DIR);\n"
         "                   a socket passed on by a service manager (LISTEN_FDS) comes first\n"
         "  --workers N      host threads that serve (default: one per CPU)\n"
         "  --no-vm-access   do without process_vm_readv, as where the host forbids it\n"
         "  --trace[=FILE]   write a line for each call to FILE or standard error, as `hyla run --trace` does\n"
         "  --ready          print a line when clients may come\n"
         "  --help           print this\n"
         "\n"
         "Ends on SIGTERM or SIGINT. `hyla ps` and `hyla ports` look inside.");
}

static int parse(int argc, char **argv)
{
    static const struct option long_options[] = {{"socket", required_argument, NULL, 's'}, {"workers", required_argument, NULL, 'w'},
                                                 {"no-vm-access", no_argument, NULL, 'n'}, {"ready", no_argument, NULL, 'r'},
                                                 {"trace", optional_argument, NULL, 't'},
                                                 {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    opterr = 0;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, "+h", long_options, NULL)) >= 0;) {
        char *end = NULL;
        switch (c) {
        case 's': options.socket = optarg; break;
        case 'w':
            options.workers = (uint32_t)strtoul(optarg, &end, 10);
            if (*end || !options.workers || options.workers > 64) {
                complain("--workers: '%s' is no number from 1 to 64", optarg);
                return EXIT_HYLA;
            }
            break;
        case 'n': options.no_vm_access = true; break;
        case 'r': options.ready = true; break;
        case 't': options.trace = true, options.trace_file = optarg; break;
        case 'h': help(); return fflush(stdout) ? EXIT_HYLA : 0;
        default: complain("'%s': unknown option, or its value is missing; see `hyla server --help`", argv[optind - 1]); return EXIT_HYLA;
        }
    }
    if (optind < argc) {
        complain("'%s': a server takes no arguments", argv[optind]);
        return EXIT_HYLA;
    }
    return -1;
}

/* --- looking inside ---------------------------------------------------------------------------------- */

struct search {
    const struct task *task;
    int32_t pid;
};

static void compare(const struct attached *attached, void *context)
{
    struct search *search = context;
    if (attached->task == search->task)
        search->pid = attached->pid;
}

static int32_t host_id(const struct task *task)
{
    struct search search = {.task = task};
    attach_visit(compare, &search);
    return search.pid;
}

static void look(uint32_t what, void (*put)(void *context, const char *text, size_t length), void *context)
{
    if (what == ATTACH_LOOK_TASKS)
        report_tasks(put, context, host_id);
    else if (what == ATTACH_LOOK_PORTS)
        report_ports(put, context);
}

/* --- life -------------------------------------------------------------------------------------------- */

static void on_signal(int signal)
{
    if (signal != SIGTERM && signal != SIGINT)
        return;
    attach_stop();
    host_stop(0);
}

static void start(void *argument)
{
    (void)argument;
    int error = run_signals_forward(on_signal, false);
    if (error)
        complain("signals do not end it: %s", error_text(error));
    if (options.ready) {
        puts("ready");
        fflush(stdout);
    }
}

/* As many processes as there are descriptors for. */
static uint32_t processes_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 64;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    uint64_t room = limit.rlim_cur > DESCRIPTORS_OWN ? (limit.rlim_cur - DESCRIPTORS_OWN) / DESCRIPTORS_PER_PROCESS : 1;
    return room < PROCESSES_MAX ? (uint32_t)room : PROCESSES_MAX;
}

static int serve(int listener)
{
    const char *why = NULL;
    struct host_options host = {.workers = options.workers, .no_vm_access = options.no_vm_access, .no_sandbox = true};
    struct attach_options attach = {.listener = listener, .processes_max = processes_max(), .look = look};
    if (options.trace && trace_sink_open(options.trace_file))
        return EXIT_HYLA;
    int error = run_signals_block();
    if (!error)
        error = host_init(&host, &why);
    if (!error) {
        native_abi_init();
        if (options.trace)
            native_trace_start(trace_sink_write);
        error = attach_start(&attach, &why);
    }
    if (error) {
        complain("cannot start: %s%s%s", why ? why : "", why ? ": " : "", error_text(error));
        return EXIT_HYLA;
    }
    int status = host_run(start, NULL);
    return status & HOST_FAILED ? status & 0xff : 0;
}

static int server(int argc, char **argv)
{
    int code = parse(argc, argv);
    if (code >= 0)
        return code;
    int listener = server_inherited_socket();
    if (listener >= 0)
        return serve(listener);
    const char *path = server_socket_path(options.socket);
    listener = path ? server_listen(path) : -EXIT_HYLA;
    if (listener < 0)
        return EXIT_HYLA;
    code = serve(listener);
    unlink(path);
    return code;
}

const struct command command_server = {"server", "serve processes that attach", help, server};
