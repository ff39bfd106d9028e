/*
 * --mount type=fuse: file systems that a program in the sandbox serves.
 *
 * The program is started before the guest's own, with the mount's place as its last argument, as root of the sandbox: it opens
 * /dev/fuse and mounts there, as any FUSE program does. The guest's program starts when the mount is there. When that has
 * ended, what is left of the guest is killed, the mounts are taken away, and each server has a while to write what it has not written.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include "abi/linux/fs/fs.h"
#include "abi/linux/process.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64

static struct mount **served;
static size_t served_count;

/* --- the command line -------------------------------------------------------------------------------- */

/* The next word of a command line, quotes and backslashes resolved in place; NULL at its end. */
static char *next_word(char **text)
{
    char *from = *text + strspn(*text, " \t"), *to = from, *word = from, quote = 0;
    if (!*from)
        return NULL;
    for (; *from && (quote || (*from != ' ' && *from != '\t')); from++) {
        if (quote ? *from == quote : *from == '"' || *from == '\'') {
            quote = quote ? 0 : *from;
            continue;
        }
        if (*from == '\\' && quote != '\'' && from[1])
            from++;
        *to++ = *from;
    }
    *text = *from ? from + 1 : from;
    *to = 0;
    return word;
}

static int split(char *text, char *destination, char *words[WORDS_MAX])
{
    int count = 0;
    for (char *word; (word = next_word(&text)); words[count++] = word)
        if (count == WORDS_MAX - 2)
            return 0;
    if (count)
        words[count++] = destination;
    words[count] = NULL;
    return count;
}

/* --- the servers ------------------------------------------------------------------------------------- */

static void on_first_ending(void)
{
    while (served_count)
        mount_end(served[--served_count]);
}

static int start_server(const struct run_options *options, char **words, const char *path, const char *cwd, struct process **process)
{
    struct process_start start = {
        .program = path, .argv = words, .envp = options->environment, .cwd = cwd, .umask = 022,
        .memory_limit = options->memory, .process_limit = options->processes, .hostname = options->hostname,
    };
    start.stdio[1] = run_stream(2);
    start.stdio[2] = run_stream(2);
    if (vfs_open(LINUX_AT_FDCWD, "/dev/null", LINUX_O_RDWR, 0, &start.stdio[0]))
        start.stdio[0] = NULL;
    return process_start_server(&start, process);
}

static int wait_mounted(const struct run_mount *mount, struct mount *before, struct process *process)
{
    struct mount *made;
    int error = mount_wait(mount->destination, before, process, &made);
    if (error) {
        int status = process_ended(process);
        complain("--mount type=fuse: '%s' ended with %s %d and mounted nothing at '%s'", mount->program,
                 status & 0x7f ? "signal" : "status", status & 0x7f ? status & 0x7f : status >> 8 & 0xff, mount->destination);
        return EXIT_HYLA;
    }
    served = realloc(served, (served_count + 1) * sizeof *served);
    if (!served)
        return EXIT_HYLA;
    served[served_count++] = made;
    return 0;
}

static int serve(const struct run_options *options, const struct run_mount *mount, char **words, struct mount *before)
{
    struct run_options searched = *options;
    struct process *process;
    char *path;
    searched.argv = words;
    const char *cwd = run_start_directory();
    int code = run_program_find(&searched, cwd, &path);
    if (code)
        return code;
    int error = start_server(options, words, path, cwd, &process);
    code = error ? run_program_failed(path, cwd, error) : wait_mounted(mount, before, process);
    if (!error)
        object_unref(process);
    free(path);
    return code;
}

int run_serve(const struct run_options *options, const struct run_mount *mount)
{
    char *words[WORDS_MAX], *text = strdup(mount->program);
    struct mount *before;
    if (!text || !split(text, mount->destination, words)) {
        complain("--mount type=fuse: '%s' is no command line", mount->program);
        free(text);
        return EXIT_HYLA;
    }
    int error = mount_place(mount->destination, &before);
    if (error) {
        complain("cannot mount at '%s': %s", mount->destination, error_text(error));
        free(text);
        return EXIT_HYLA;
    }
    process_first_ending = on_first_ending;
    int code = serve(options, mount, words, before);
    object_unref(before);
    free(text);
    return code;
}
