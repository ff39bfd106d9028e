/*
 * The options of `hyla boot`. Everything after the first word that is no option belongs to the program.
 */
#include "cmd/boot.h"
#include "cmd/command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_CPUS = 256, OPTION_MEMORY, OPTION_ROOT, OPTION_DISK, OPTION_CWD, OPTION_ENV, OPTION_GDB, OPTION_TRACE, OPTION_ICOUNT, OPTION_QEMU_ARG, OPTION_KERNEL, OPTION_KERNEL_ARG };

static const struct option long_options[] = {
    {"cpus", required_argument, NULL, OPTION_CPUS},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"root", required_argument, NULL, OPTION_ROOT},
    {"disk", required_argument, NULL, OPTION_DISK},
    {"cwd", required_argument, NULL, OPTION_CWD},
    {"env", required_argument, NULL, OPTION_ENV},
    {"gdb", optional_argument, NULL, OPTION_GDB},
    {"trace", no_argument, NULL, OPTION_TRACE},
    {"icount", no_argument, NULL, OPTION_ICOUNT},
    {"qemu-arg", required_argument, NULL, OPTION_QEMU_ARG},
    {"kernel", required_argument, NULL, OPTION_KERNEL},
    {"kernel-arg", required_argument, NULL, OPTION_KERNEL_ARG},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

#define CPUS_MAX 8u
#define GDB_PORT 1234u

void boot_help(void)
{
    puts("Usage: hyla boot [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
         "\n"
         "Boots the kernel on a RISC-V machine in QEMU and runs an unmodified riscv64 Linux program there.\n"
         "Standard streams, the terminal, signals and the exit status are passed through.\n"
         "\n"
         "  --root DIR|TAR|CPIO  the machine's files (default: PROGRAM alone, a static one)\n"
         "  --disk IMG[,ro]      a disk: raw image or block device, as /dev/vda, /dev/vdb, ...; ro: only read\n"
         "  --cwd DIR            start in DIR (default: /)\n"
         "  --env NAME=VALUE     set a variable (default: PATH, HOME and TERM only)\n"
         "  --cpus N             harts, 1 to 8 (default: 2)\n"
         "  --memory SIZE        memory, such as 512M or 2G (default: 512M)\n"
         "  --trace              show every system call on standard error\n"
         "  --verbose            show what the firmware and the kernel say\n"
         "  --gdb[=PORT]         wait for gdb on PORT (default: 1234)\n"
         "  --icount             count instructions: time passes by them, one hart at a time\n"
         "  --qemu-arg ARG       pass ARG to QEMU\n"
         "  --kernel IMAGE       boot another image than the one that came with this command\n"
         "  --kernel-arg WORD    pass WORD to the kernel, such as hyla.slow (docs/riscv64.md)\n"
         "  --help               print this");
}

static bool parse_number(const char *text, uint32_t least, uint32_t most, uint32_t *value)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || number < least || number > most)
        return false;
    *value = (uint32_t)number;
    return true;
}

/* Digits, then a unit or none, as the emulator takes it. */
static bool memory_sane(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 8 && (!text[digits] || (strchr("KMGkmg", text[digits]) && !text[digits + 1]));
}

static void add(char ***list, size_t *count, char *text)
{
    char **grown = realloc(*list, (*count + 2) * sizeof *grown);
    if (!grown)
        abort();
    *list = grown;
    grown[(*count)++] = text;
    grown[*count] = NULL;
}

static int bad(const char *option, const char *text, const char *wanted)
{
    complain("--%s '%s': %s", option, text, wanted);
    return EXIT_HYLA;
}

static int take(struct boot_options *options, int option, char *text)
{
    switch (option) {
    case OPTION_CPUS:
        return parse_number(text, 1, CPUS_MAX, &options->cpus) ? -1 : bad("cpus", text, "a number from 1 to 8 is wanted");
    case OPTION_MEMORY:
        options->memory = text;
        return memory_sane(text) ? -1 : bad("memory", text, "a size such as 512M or 2G is wanted");
    case OPTION_ROOT: options->root = text; return -1;
    case OPTION_DISK: return boot_disk_add(options, text);
    case OPTION_CWD:
        options->cwd = text;
        return *text == '/' ? -1 : bad("cwd", text, "an absolute path is wanted");
    case OPTION_ENV:
        add(&options->environment, &options->environment_count, text);
        return strchr(text, '=') && *text != '=' ? -1 : bad("env", text, "NAME=VALUE is wanted");
    case OPTION_GDB:
        options->gdb_port = GDB_PORT;
        return !text || parse_number(text, 1, 65535, &options->gdb_port) ? -1 : bad("gdb", text, "a port from 1 to 65535 is wanted");
    case OPTION_TRACE: options->trace = true; return -1;
    case OPTION_ICOUNT: options->icount = true; return -1;
    case OPTION_QEMU_ARG: add(&options->emulator_arguments, &options->emulator_argument_count, text); return -1;
    case OPTION_KERNEL: options->kernel = text; return -1;
    case OPTION_KERNEL_ARG: add(&options->kernel_arguments, &options->kernel_argument_count, text); return -1;
    case 'v': options->verbose = true; return -1;
    case 'h': boot_help(); return fflush(stdout) ? EXIT_HYLA : 0;
    default: complain("`hyla boot --help` lists the options"); return EXIT_HYLA;
    }
}

static bool has_variable(const struct boot_options *options, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < options->environment_count; i++)
        if (!strncmp(options->environment[i], name, length) && options->environment[i][length] == '=')
            return true;
    return false;
}

static void add_default(struct boot_options *options, const char *name, const char *value)
{
    char *text;
    if (value && !has_variable(options, name) && asprintf(&text, "%s=%s", name, value) >= 0)
        add(&options->environment, &options->environment_count, text);
}

int boot_options_parse(struct boot_options *options, int argc, char **argv)
{
    int option, code = -1;
    options->cpus = 2;
    options->memory = "512M";
    optind = 0;
    while (code < 0 && (option = getopt_long(argc, argv, "+vh", long_options, NULL)) >= 0)
        code = take(options, option, optarg);
    if (code >= 0)
        return code;
    options->argv = argv + optind;
    if (!*options->argv) {
        complain("no program given; `hyla boot --help` says how");
        return EXIT_HYLA;
    }
    add_default(options, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    add_default(options, "HOME", "/root");
    add_default(options, "TERM", getenv("TERM"));
    return -1;
}
