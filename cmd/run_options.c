/*
 * The options of `hyla run`. Everything after the first word that is no option belongs to the program.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum {
    OPTION_ROOTFS = 256, OPTION_ROOT_IMAGE, OPTION_BIND, OPTION_MOUNT, OPTION_RW, OPTION_CWD, OPTION_ENV, OPTION_USER, OPTION_HOSTNAME, OPTION_MEMORY,
    OPTION_PIDS, OPTION_WORKERS, OPTION_TRACE, OPTION_TRACE_CALLS, OPTION_TRACE_PIDS, OPTION_TRACE_STRING, OPTION_STATS,
    OPTION_NO_REWRITE, OPTION_NO_VM_ACCESS,
    OPTION_NO_NAMESPACES,
};

static const struct option long_options[] = {
    {"rootfs", required_argument, NULL, OPTION_ROOTFS},
    {"root-image", required_argument, NULL, OPTION_ROOT_IMAGE},
    {"bind", required_argument, NULL, OPTION_BIND},
    {"mount", required_argument, NULL, OPTION_MOUNT},
    {"rw", required_argument, NULL, OPTION_RW},
    {"cwd", required_argument, NULL, OPTION_CWD},
    {"env", required_argument, NULL, OPTION_ENV},
    {"user", required_argument, NULL, OPTION_USER},
    {"hostname", required_argument, NULL, OPTION_HOSTNAME},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"pids", required_argument, NULL, OPTION_PIDS},
    {"workers", required_argument, NULL, OPTION_WORKERS},
    {"trace", optional_argument, NULL, OPTION_TRACE},
    {"trace-calls", required_argument, NULL, OPTION_TRACE_CALLS},
    {"trace-pids", required_argument, NULL, OPTION_TRACE_PIDS},
    {"trace-string", required_argument, NULL, OPTION_TRACE_STRING},
    {"stats", no_argument, NULL, OPTION_STATS},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"no-rewrite", no_argument, NULL, OPTION_NO_REWRITE},
    {"no-vm-access", no_argument, NULL, OPTION_NO_VM_ACCESS},
    {"no-namespaces", no_argument, NULL, OPTION_NO_NAMESPACES},
    {NULL, 0, NULL, 0},
};

void run_help(void)
{
    puts("Usage: hyla run [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
         "\n"
         "Runs an unmodified Linux program under Hyla's own kernel. By default it sees the host's files\n"
         "read-only, with a private layer in memory for what it writes.\n"
         "\n"
         "Files:\n"
         "  --rootfs DIR         use DIR as the root of its files\n"
         "  --root-image FILE    use the archive FILE (tar or cpio, also compressed) as the root\n"
         "  --bind SRC:DST[:ro]  show the host's SRC at DST, writable unless :ro\n"
         "  --mount type=TYPE,…  show something else: type=bind,src=PATH,dst=DIR[,ro];\n"
         "                       type=tar,src=FILE,dst=DIR; type=memory,dst=DIR[,size=SIZE];\n"
         "                       type=host,src=DIR,dst=DIR (like bind and ro);\n"
         "                       type=fuse,prog=\"squashfuse IMAGE\",dst=DIR\n"
         "  --rw PATH            let it really change the host's PATH\n"
         "  --cwd DIR            start in DIR (default: where you are; / with another root)\n"
         "Program:\n"
         "  --env NAME=VALUE     set an environment variable (the others are passed on)\n"
         "  --user UID[:GID]     run as this user inside (default: you)\n"
         "  --hostname NAME      what uname shows (default: hyla)\n"
         "Limits:\n"
         "  --memory SIZE        of all its processes; SIZE may end in K, M, G or T\n"
         "  --pids N             processes and threads\n"
         "  --workers N          host threads that serve calls (default: one per CPU)\n"
         "Seeing:\n"
         "  --trace[=FILE]       write an strace-like log to FILE or standard error\n"
         "  --trace-calls LIST   only these calls: open,read or !futex,poll\n"
         "  --trace-pids LIST    only these processes, by the ids they see: 1,3\n"
         "  --trace-string N     show N bytes of strings and buffers (default: 32)\n"
         "  --stats              at the end, print which calls were made, where answered, and times\n"
         "  -v, --verbose        say what Hyla itself does\n"
         "Testing:\n"
         "  --no-rewrite         leave every call site trapping\n"
         "  --no-vm-access       do without process_vm_readv\n"
         "  --no-namespaces      do without user and pid namespaces\n"
         "\n"
         "Exit status: the program's; 125 when Hyla fails, 126 when the program can't be executed, 127\n"
         "when it isn't found. When a signal ends the program, hyla dies by the same signal.");
}

static int bad(const char *option, const char *value, const char *wanted)
{
    complain("%s '%s': %s", option, value, wanted);
    return EXIT_HYLA;
}

/* Decimal, in [low, high], nothing after it but what *end then points to. */
static bool parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *value, char **end)
{
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *value = strtoull(text, end, 10);
    return !errno && *value >= low && *value <= high;
}

static bool parse_count(const char *text, uint32_t limit, uint32_t *count)
{
    char *end;
    uint64_t value;
    if (!parse_number(text, 1, limit, &value, &end) || *end)
        return false;
    *count = (uint32_t)value;
    return true;
}

bool run_size_parse(const char *text, uint64_t *size)
{
    static const char units[] = "kmgt";
    char *end;
    uint64_t value;
    if (!parse_number(text, 1, UINT64_MAX, &value, &end))
        return false;
    if (*end) {
        const char *unit = strchr(units, tolower((unsigned char)*end));
        uint32_t shift = unit ? 10 * (uint32_t)(unit - units + 1) : 0;
        if (!unit || end[1] || value >> (63 - shift))
            return false;
        value <<= shift;
    }
    *size = value;
    return true;
}

static bool parse_user(struct run_options *options, const char *text)
{
    char *end;
    uint64_t uid, gid;
    if (!parse_number(text, 0, UINT32_MAX - 1, &uid, &end))
        return false;
    gid = uid;
    if (*end == ':' && !parse_number(end + 1, 0, UINT32_MAX - 1, &gid, &end))
        return false;
    options->uid = (uint32_t)uid;
    options->gid = (uint32_t)gid;
    options->user_given = true;
    return !*end;
}

static void *must(void *pointer)
{
    if (!pointer) {
        complain("out of memory");
        exit(EXIT_HYLA);
    }
    return pointer;
}

static void set_environment(struct run_options *options, char *text)
{
    size_t name = (size_t)(strchr(text, '=') - text) + 1;
    for (size_t i = 0; i < options->environment_count; i++) {
        if (!strncmp(options->environment[i], text, name)) {
            options->environment[i] = text;
            return;
        }
    }
    options->environment = must(realloc(options->environment, (options->environment_count + 2) * sizeof(char *)));
    options->environment[options->environment_count++] = text;
    options->environment[options->environment_count] = NULL;
}

static void defaults(struct run_options *options)
{
    *options = (struct run_options){.no_program = options->no_program, .uid = getuid(), .gid = getgid(), .hostname = "hyla"};
    while (environ[options->environment_count])
        options->environment_count++;
    options->environment = must(calloc(options->environment_count + 1, sizeof(char *)));
    memcpy(options->environment, environ, options->environment_count * sizeof(char *));
}

/* Options about the program and its surroundings. -1: fine. */
static int take_program_option(struct run_options *options, int option, char *value)
{
    switch (option) {
    case OPTION_ROOTFS:
        options->rootfs = value;
        return -1;
    case OPTION_ROOT_IMAGE:
        options->root_image = value;
        return access(value, R_OK) ? bad("--root-image", value, strerror(errno)) : -1;
    case OPTION_BIND:
        return run_mount_bind(options, value) ? EXIT_HYLA : -1;
    case OPTION_MOUNT:
        return run_mount_parse(options, value) ? EXIT_HYLA : -1;
    case OPTION_RW:
        return run_mount_writable(options, value) ? EXIT_HYLA : -1;
    case OPTION_CWD:
        options->cwd = value;
        return *value == '/' ? -1 : bad("--cwd", value, "is not an absolute path");
    case OPTION_ENV:
        if (!strchr(value, '=') || *value == '=')
            return bad("--env", value, "is not NAME=VALUE");
        set_environment(options, value);
        return -1;
    case OPTION_USER:
        return parse_user(options, value) ? -1 : bad("--user", value, "is not UID or UID:GID in numbers");
    case OPTION_HOSTNAME:
        options->hostname = value;
        return *value && strlen(value) <= 64 ? -1 : bad("--hostname", value, "must have 1 to 64 characters");
    default:
        return EXIT_HYLA;
    }
}

/* Options about Hyla itself. -1: fine. */
static int take_option(struct run_options *options, int option, char *value)
{
    switch (option) {
    case OPTION_MEMORY:
        return run_size_parse(value, &options->memory) ? -1 : bad("--memory", value, "is not a size such as 512M");
    case OPTION_PIDS:
        return parse_count(value, 4194304, &options->processes) ? -1 : bad("--pids", value, "is not a number from 1 to 4194304");
    case OPTION_WORKERS:
        return parse_count(value, 256, &options->workers) ? -1 : bad("--workers", value, "is not a number from 1 to 256");
    case OPTION_TRACE:
        options->trace = true;
        options->trace_file = value;
        return value && !*value ? bad("--trace", value, "names no file") : -1;
    case OPTION_TRACE_CALLS:
        options->trace_calls = value;
        return -1;
    case OPTION_TRACE_PIDS:
        options->trace_processes = value;
        return -1;
    case OPTION_TRACE_STRING:
        return parse_count(value, 1024, &options->trace_string) ? -1 : bad("--trace-string", value, "is not a number from 1 to 1024");
    case OPTION_STATS:
        options->statistics = true;
        return -1;
    case OPTION_NO_REWRITE:
        options->no_rewrite = true;
        return -1;
    case OPTION_NO_VM_ACCESS:
        options->no_vm_access = true;
        return -1;
    case OPTION_NO_NAMESPACES:
        options->no_namespaces = true;
        return -1;
    case 'v':
        options->verbose = true;
        return -1;
    default:
        return take_program_option(options, option, value);
    }
}

static int refuse(char **argv)
{
    const char *word = argv[optind - 1];
    if (optopt >= 256)
        complain("run: option '%s' takes no value", word);
    else if (optopt && strncmp(word, "--", 2))
        complain("run: unknown option '-%c'; `hyla run --help` lists them", optopt);
    else
        complain("run: unknown or ambiguous option '%s'; `hyla run --help` lists them", word);
    return EXIT_HYLA;
}

int run_options_parse(struct run_options *options, int argc, char **argv)
{
    defaults(options);
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "+:hv", long_options, NULL)) != -1;) {
        if (option == 'h') {
            if (options->no_program)
                return RUN_WANTS_HELP;
            run_help();
            return 0;
        }
        if (option == ':') {
            complain("run: option '%s' needs a value", argv[optind - 1]);
            return EXIT_HYLA;
        }
        int code = option == '?' ? refuse(argv) : take_option(options, option, optarg);
        if (code >= 0)
            return code;
    }
    options->argv = argv + optind;
    if (options->no_program && *options->argv) {
        complain("'%s': no program is run; `hyla help` says more", *options->argv);
        return EXIT_HYLA;
    }
    if (!options->no_program && !*options->argv) {
        complain("run: no program given; `hyla run --help` shows how");
        return EXIT_HYLA;
    }
    if ((options->trace_calls || options->trace_processes || options->trace_string) && !options->trace)
        options->trace = true;
    return -1;
}
