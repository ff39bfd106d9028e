/*
 * `hyla boot`: the kernel on a RISC-V machine of its own, in an emulator, for one program.
 */
#include "cmd/boot.h"

#include "cmd/command.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The machine said no wait status: the emulator failed, or the kernel gave up with a status of its own. */
static int finish_without_status(int emulator_status)
{
    int code = WIFEXITED(emulator_status) ? WEXITSTATUS(emulator_status) : EXIT_HYLA;
    if (code == EXIT_NOT_FOUND || code == EXIT_NOT_EXECUTABLE)
        return code;
    complain("the machine ended before the program did");
    return EXIT_HYLA;
}

static int boot(int argc, char **argv)
{
    static struct boot_options options;
    struct boot_machine machine;
    char streams[3];
    int emulator_status = 0;
    int code = boot_options_parse(&options, argc, argv);
    if (code >= 0)
        return code;
    boot_link_streams(streams);
    int root = boot_root_pack(&options);
    if (root < 0)
        return EXIT_HYLA;
    boot_link_block_signals();
    code = boot_machine_start(&machine, &options, root, streams);
    close(root);
    if (code)
        return code;
    int status = boot_link_serve(&machine, streams, options.verbose);
    while (waitpid(machine.pid, &emulator_status, 0) < 0)
        ;
    return status >= 0 ? finish_as(status) : finish_without_status(emulator_status);
}

const struct command command_boot = {"boot", "run a RISC-V program on a machine of its own", boot_help, boot};
