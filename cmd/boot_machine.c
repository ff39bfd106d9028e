/*
 * The emulator: its command line, and starting it with a virtio console on two pipes and the serial line on a third.
 *
 * Virtio devices have fixed places, since the kernel names disks by them: the console 0, entropy 1, disks from 2 on; the last is
 * free for what the user adds.
 *
 * The program's words go to the kernel as boot arguments, each byte that would end or hide in them as %XX.
 */
#include "cmd/boot.h"
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EMULATOR "qemu-system-riscv64"
#define IMAGE "hyla-riscv64.img"
#define ARGUMENTS_MAX 128u
#define LOG_DESCRIPTOR 200 /* the emulator's: above all that we open */
#define FIRST_DISK_PLACE 2u
#define BOOT_ARGUMENTS_MAX (100u << 10) /* what one word of a command line may be, with room to spare */

/* --- the image ----------------------------------------------------------------------------------------- */

/* Beside the command, above it (in a build folder), or where it is installed. Static memory, or NULL. */
static const char *find_image(void)
{
    static char path[PATH_MAX + 64];
    static const char *const places[] = {"", "../", "../lib/hyla/"};
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return NULL;
    self[length] = 0;
    *(strrchr(self, '/') + 1) = 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, sizeof path, "%s%s" IMAGE, self, places[i]);
        if (!access(path, R_OK))
            return path;
    }
    return NULL;
}

/* --- boot arguments ------------------------------------------------------------------------------------ */

static void put_word(FILE *out, const char *prefix, const char *word)
{
    fputs(prefix, out);
    for (; *word; word++) {
        if ((unsigned char)*word <= ' ' || *word == '%' || (unsigned char)*word >= 0x7f)
            fprintf(out, "%%%02x", (unsigned char)*word);
        else
            fputc(*word, out);
    }
    fputc(' ', out);
}

/* malloc'ed, or NULL. */
static char *boot_arguments(const struct boot_options *options, const char streams[3])
{
    char *text = NULL, link[4] = {streams[0], streams[1], streams[2], 0};
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    put_word(out, "hyla.link=", link);
    if (options->verbose)
        put_word(out, "hyla.verbose", "");
    if (options->trace)
        put_word(out, "hyla.trace", "");
    if (options->cwd)
        put_word(out, "hyla.cwd=", options->cwd);
    for (size_t i = 0; i < options->environment_count; i++)
        put_word(out, "hyla.env=", options->environment[i]);
    for (size_t i = 0; i < options->kernel_argument_count; i++)
        put_word(out, "", options->kernel_arguments[i]);
    put_word(out, "", "--");
    for (size_t i = 0; options->argv[i]; i++)
        put_word(out, *options->argv[i] ? "" : "%", options->argv[i]);
    return fclose(out) ? NULL : text;
}

/* --- starting ------------------------------------------------------------------------------------------ */

struct words {
    char *list[ARGUMENTS_MAX + 1];
    size_t count;
};

static void add(struct words *words, const char *word)
{
    if (words->count < ARGUMENTS_MAX)
        words->list[words->count++] = (char *)(uintptr_t)word;
}

__attribute__((format(printf, 3, 4))) static void add_formatted(struct words *words, const char *option, const char *text, ...)
{
    char *word;
    va_list values;
    add(words, option);
    va_start(values, text);
    if (vasprintf(&word, text, values) < 0)
        abort();
    va_end(values);
    add(words, word);
}

static void command_line(struct words *words, const struct boot_options *options, const char *image, int root, const char *arguments)
{
    static const char *const fixed[] = {EMULATOR, "-machine", "virt", "-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none",
                                        "-chardev", "stdio,id=link,signal=off", "-serial", "chardev:log",
                                        "-global", "virtio-mmio.force-legacy=false",
                                        "-device", "virtio-serial-device,max_ports=2,bus=virtio-mmio-bus.0", "-device", "virtserialport,chardev=link,nr=1",
                                        "-device", "virtio-rng-device,bus=virtio-mmio-bus.1"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        add(words, fixed[i]);
    add_formatted(words, "-chardev", "file,id=log,path=/proc/self/fd/%d", LOG_DESCRIPTOR);
    add_formatted(words, "-smp", "%u", options->cpus);
    add(words, "-m");
    add(words, options->memory);
    add(words, "-kernel");
    add(words, image);
    add_formatted(words, "-initrd", "/proc/self/fd/%u", (unsigned)root);
    add(words, "-append");
    add(words, arguments);
    for (uint32_t i = 0; i < options->disk_count; i++) {
        add(words, "-drive");
        add(words, boot_disk_drive(&options->disks[i], i));
        add_formatted(words, "-device", "virtio-blk-device,drive=disk%u,bus=virtio-mmio-bus.%u", i, i + FIRST_DISK_PLACE);
    }
    if (options->icount) {
        add(words, "-icount");
        add(words, "shift=0");
    }
    if (options->gdb_port) {
        add_formatted(words, "-gdb", "tcp:127.0.0.1:%u", options->gdb_port);
        add(words, "-S");
    }
    for (size_t i = 0; i < options->emulator_argument_count; i++)
        add(words, options->emulator_arguments[i]);
}

/* In the child: the line becomes its standard input and output; it dies with us. `failed` is closed by a good exec. */
static void become_emulator(struct words *words, int input, int output, int log, int failed)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* the terminal's signals are for the program, and reach it through us */
    dup2(input, 0);
    dup2(output, 1);
    dup2(log, LOG_DESCRIPTOR);
    boot_link_unblock_signals();
    execvp(EMULATOR, words->list);
    int error = errno;
    if (write(failed, &error, sizeof error) < 0)
        _exit(1);
    _exit(EXIT_HYLA);
}

/* What exec said: 0 when the emulator runs. */
static int exec_error(int end)
{
    int error = 0;
    ssize_t got = read(end, &error, sizeof error);
    close(end);
    return got == (ssize_t)sizeof error ? error : 0;
}

static int start(struct boot_machine *machine, struct words *words)
{
    int to[2], from[2], log[2], failed[2];
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC) || pipe2(log, O_CLOEXEC) || pipe2(failed, O_CLOEXEC))
        return errno;
    machine->pid = fork();
    if (machine->pid < 0)
        return errno;
    if (machine->pid == 0)
        become_emulator(words, to[0], from[1], log[1], failed[1]);
    close(to[0]);
    close(from[1]);
    close(log[1]);
    close(failed[1]);
    machine->to = to[1];
    machine->from = from[0];
    machine->log = log[0];
    return exec_error(failed[0]);
}

int boot_machine_start(struct boot_machine *machine, const struct boot_options *options, int root, const char streams[3])
{
    const char *image = options->kernel ? options->kernel : find_image();
    char *arguments = boot_arguments(options, streams);
    struct words words = {.count = 0};
    if (!image || access(image, R_OK)) {
        complain(image ? "cannot read the kernel's image '%s'" : "the RISC-V kernel was not built: it takes gcc-riscv64-linux-gnu%s", image ? image : "");
        return EXIT_HYLA;
    }
    if (!arguments || strlen(arguments) > BOOT_ARGUMENTS_MAX) {
        complain("the program's arguments and environment are too long for the machine");
        return EXIT_HYLA;
    }
    if (options->gdb_port)
        complain("waiting for gdb: target remote 127.0.0.1:%u", options->gdb_port);
    command_line(&words, options, image, root, arguments);
    int error = start(machine, &words);
    free(arguments);
    if (!error)
        return 0;
    if (error == ENOENT)
        complain("there is no " EMULATOR ": install the package qemu-system-misc (Debian 12) or qemu-system-riscv");
    else
        complain("cannot start " EMULATOR ": %s", strerror(error));
    return EXIT_HYLA;
}
