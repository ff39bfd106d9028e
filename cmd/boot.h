/*
 * `hyla boot`: what its files share.
 *
 *   boot_options.c   argv to struct boot_options
 *   boot_root.c      the root as an initramfs: from a folder or a tar archive, or a cpio archive as it is
 *   boot_disk.c      images of disks: --disk
 *   boot_machine.c   the emulator: finding the kernel's image, the command line, starting it
 *   boot_link.c      the link between the two: streams, terminal, signals, the exit status
 *   boot.c           all of it in order
 */
#ifndef CMD_BOOT_H
#define CMD_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BOOT_DISKS_MAX 5u

/* An image of a disk, open; the emulator inherits it. */
struct boot_disk {
    const char *name;
    bool read_only;
    int fd;
};

struct boot_options {
    const char *kernel; /* NULL: where it was installed or built */
    const char *root;   /* NULL: the program alone, a static one */
    uint32_t cpus;
    const char *memory; /* as the emulator takes it */
    struct boot_disk disks[BOOT_DISKS_MAX];
    uint32_t disk_count;
    const char *cwd;
    char **environment; /* NULL-terminated */
    size_t environment_count;
    uint32_t gdb_port;  /* 0: none */
    bool trace, icount, verbose;
    char **emulator_arguments;
    size_t emulator_argument_count;
    char **kernel_arguments;
    size_t kernel_argument_count;
    char **argv;        /* the program and its arguments, NULL-terminated */
};

/* -1: go on; else the exit code (help was shown, or a complaint written). */
int boot_options_parse(struct boot_options *options, int argc, char **argv);
void boot_help(void);

/* A descriptor with the initramfs, or -1 after a complaint. The program's path in it is options->argv[0]. */
int boot_root_pack(const struct boot_options *options);

/* --disk IMG[,ro]: opens it. -1, or the exit code after a complaint. */
int boot_disk_add(struct boot_options *options, char *text);
/* How the emulator names one. malloc'ed. */
char *boot_disk_drive(const struct boot_disk *disk, uint32_t number);

/* A running emulator. */
struct boot_machine {
    pid_t pid;
    int to, from; /* the link: a virtio console */
    int log;      /* what the serial line says */
};
/* 0, or the exit code after a complaint. `streams` and `terminal_size` are for the link. */
int boot_machine_start(struct boot_machine *machine, const struct boot_options *options, int root, const char streams[3]);

/* t, s, 1 or c for each of our own three streams: body/riscv64/link.h. */
void boot_link_streams(char streams[3]);
/* Serves the line until the machine ends. The wait status of the program, or -1 when the machine ended without one. */
int boot_link_serve(const struct boot_machine *machine, const char streams[3], bool verbose);
/* Blocks the signals that are passed on; before the machine starts. */
void boot_link_block_signals(void);
void boot_link_unblock_signals(void);

#endif
