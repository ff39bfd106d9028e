/*
 * From the boot arguments to pid 1.
 *
 *   hyla.env=NAME=VALUE    one of the environment, as often as wanted
 *   hyla.cwd=DIR           where it starts
 *   hyla.trace             every call to the log
 *   hyla.slow              every call goes the long way (docs/fast-path.md)
 *   hyla.verbose           what the machine is, and the memory account at the end
 *   -- PROGRAM [ARG…]      what runs; else /sbin/init, then /bin/sh
 *
 * Each word may hold any byte but NUL as %XX. A program without a slash is looked for along PATH.
 */
#include "body/riscv64/first.h"

#include "abi/linux/fs/cpio.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/process.h"
#include "abi/linux/trace.h"
#include "abi/native/call.h"
#include "body/riscv64/console.h"
#include "body/riscv64/fast.h"
#include "body/riscv64/frames.h"
#include "body/riscv64/machine.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/power.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/string.h"

#define WORDS_MAX 1024u
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127, FAILED = 125 };

static char *arguments[WORDS_MAX + 1], *environment[WORDS_MAX + 1];
static const char *start_directory = "/";

/* --- the arguments ------------------------------------------------------------------------------------- */

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A copy of a word, decoded. */
static char *decode(const char *from, size_t size)
{
    char *word = kalloc(size + 1), *to = word;
    if (!word)
        panic("no memory for the boot arguments");
    for (size_t i = 0; i < size; i++) {
        if (from[i] == '%' && i + 2 < size && digit(from[i + 1]) >= 0 && digit(from[i + 2]) >= 0) {
            *to++ = (char)(digit(from[i + 1]) << 4 | digit(from[i + 2]));
            i += 2;
        } else {
            *to++ = from[i];
        }
    }
    *to = 0;
    return word;
}

static void take_word(const char *word, size_t size, bool *program)
{
    static uint32_t argument_count, environment_count;
    char *text = decode(word, size);
    if (*program && argument_count < WORDS_MAX)
        arguments[argument_count++] = text;
    else if (!*program && !strcmp(text, "--"))
        *program = true;
    else if (!*program && !strncmp(text, "hyla.env=", 9) && environment_count < WORDS_MAX)
        environment[environment_count++] = text + 9;
    else if (!*program && !strncmp(text, "hyla.cwd=", 9))
        start_directory = text + 9;
}

static void read_arguments(void)
{
    bool program = false;
    for (const char *at = machine.arguments; *at;) {
        size_t size = 0;
        while (at[size] && at[size] != ' ')
            size++;
        if (size)
            take_word(at, size, &program);
        at += size + (at[size] == ' ');
    }
}

/* --- finding the program ------------------------------------------------------------------------------- */

static int check(const char *path)
{
    struct linux_stat_data stat;
    struct path *place;
    int error = path_walk(LINUX_AT_FDCWD, path, 0, &place);
    if (error)
        return error;
    error = path_node(place)->ops->get_attr(path_node(place), &stat);
    if (!error && ((stat.mode & LINUX_S_IFMT) != LINUX_S_IFREG || !(stat.mode & 0111)))
        error = -EACCES;
    path_unref(place);
    return error;
}

static const char *search_path(void)
{
    for (uint32_t i = 0; environment[i]; i++)
        if (!strncmp(environment[i], "PATH=", 5))
            return environment[i] + 5;
    return DEFAULT_PATH;
}

/* 0 with the path, or the error that execvp(3) would give. */
static int find(const char *name, char *path, size_t size)
{
    int found = -ENOENT;
    if (strchr(name, '/')) {
        format(path, size, "%s", name);
        return 0;
    }
    for (const char *at = search_path(); found && at;) {
        const char *end = strchr(at, ':');
        int length = end ? (int)(end - at) : (int)strlen(at);
        format(path, size, "%.*s/%s", length, at, name);
        int error = check(path);
        found = error && found == -EACCES ? -EACCES : error;
        at = end ? end + 1 : NULL;
    }
    return found;
}

/* --- starting ------------------------------------------------------------------------------------------ */

NORETURN static void fail(uint8_t status, const char *what, int error)
{
    log_line("%s: error %d", what, -error);
    power_off(true, status);
}

static void mount_own(const char *where, struct fs *fs)
{
    int error = fs ? mount_at(where, fs) : -ENOMEM;
    if (error)
        fail(FAILED, where, error);
}

static struct fs *create_shared_memory(void)
{
    struct node_attr attr = {.valid = ATTR_MODE, .mode = 01777};
    struct fs *fs = memfs_create();
    if (fs)
        fs->root->ops->set_attr(fs->root, &attr);
    return fs;
}

static void build_tree(void)
{
    struct fs *root = memfs_create();
    uint64_t size = machine.initrd_end - machine.initrd_start;
    int error = root ? 0 : -ENOMEM;
    if (!error && size)
        error = cpio_unpack(root, (const void *)(DIRECT_BASE + machine.initrd_start), size);
    if (error)
        fail(FAILED, error == -ENOMEM || error == -ENOSPC ? "the root does not fit into the machine's memory" : "the root's archive is damaged", error);
    if (size)
        frames_release(machine.initrd_start, size);
    error = mount_root(root);
    if (error)
        fail(FAILED, "/", error);
    mount_own("/proc", procfs_create());
    mount_own("/dev", devfs_create());
    mount_own("/dev/shm", create_shared_memory());
}

static void report(void)
{
    uint64_t tried, taken;
    fast_count(&tried, &taken);
    memory_report();
    log_line("calls of words: %lu of %lu went the short way", (unsigned long)taken, (unsigned long)tried);
}

static void on_exited(int32_t wait_status)
{
    const char *value;
    if (machine_argument("hyla.verbose", &value) >= 0)
        report();
    console_end(wait_status & 0xffff);
    power_off(false, (uint8_t)(wait_status & 0x7f ? 128 + (wait_status & 0x7f) : wait_status >> 8 & 0xff));
}

static void trace_output(const char *text, size_t length) { console_text(text, length); }

static void start_tracing(void)
{
    struct trace_options options = {.output = trace_output, .string_limit = 64};
    const char *value;
    char what[64];
    if (machine_argument("hyla.trace", &value) >= 0 && trace_start(&options, what))
        fail(FAILED, "tracing", -EINVAL);
}

static void choose_program(char *path, size_t size)
{
    static char init[] = "/sbin/init", shell[] = "/bin/sh";
    if (!arguments[0])
        arguments[0] = check(init) ? shell : init;
    int error = find(arguments[0], path, size);
    if (error)
        fail(error == -EACCES ? NOT_EXECUTABLE : NOT_FOUND, arguments[0], error);
}

void first_thread(void *argument)
{
    static char path[PATH_LENGTH_MAX];
    const char *value;
    (void)argument;
    read_arguments();
    build_tree();
    choose_program(path, sizeof path);
    struct process_start start = {.program = path, .argv = arguments, .envp = environment, .cwd = start_directory, .umask = 022, .hostname = "hyla"};
    native_calls_register();
    process_first_exited = on_exited;
    start_tracing();
    if (machine_argument("hyla.slow", &value) >= 0 || user_calls_watched())
        fast_turn_off();
    int error = console_open(&start);
    if (!error)
        error = process_start_first(&start);
    if (error)
        fail(error == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE, path, error);
}
