/*
 * hyla(1): chooses the command. Each command is one struct command in a file of its own.
 */
#include "cmd/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {&command_run, &command_boot, &command_server, &command_ps, &command_ports, &command_mounts, &command_df};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

void complain(const char *text, ...)
{
    char line[1024] = "hyla: ";
    size_t used = strlen(line);
    va_list args;
    va_start(args, text);
    vsnprintf(line + used, sizeof line - used - 1, text, args);
    va_end(args);
    used = strlen(line);
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

const char *error_text(int error) { return strerror(error < 0 ? -error : error); }

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    }
    return NULL;
}

static void help(void)
{
    puts("Usage: hyla COMMAND [ARGUMENT...]\n"
         "\n"
         "Hyla is a kernel in a process: it runs unmodified Linux programs and serves every system\n"
         "call they make itself.\n"
         "\n"
         "Commands:");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-8s %s\n", commands[i]->name, commands[i]->summary);
    puts("\n"
         "`hyla help COMMAND` or `hyla COMMAND --help` says more; see also hyla(1).\n"
         "  --version  print the version\n"
         "  --help     print this");
}

static int help_for(const char *name)
{
    const struct command *command = name ? find(name) : NULL;
    if (name && !command) {
        complain("'%s' is not a command; `hyla --help` lists them", name);
        return EXIT_HYLA;
    }
    if (command)
        command->help();
    else
        help();
    return fflush(stdout) ? EXIT_HYLA : 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        complain("no command given; `hyla --help` lists them");
        return EXIT_HYLA;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--version") || !strcmp(name, "-V") || !strcmp(name, "version")) {
        puts("hyla " HYLA_VERSION);
        return fflush(stdout) ? EXIT_HYLA : 0;
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))
        return help_for(argc > 2 ? argv[2] : NULL);
    const struct command *command = find(name);
    if (!command) {
        if (*name == '-')
            complain("unknown option '%s'; `hyla --help` lists what there is", name);
        else
            complain("'%s' is not a command; `hyla --help` lists them (to run a program: hyla run %s)", name, name);
        return EXIT_HYLA;
    }
    return command->main(argc - 1, argv + 1);
}
